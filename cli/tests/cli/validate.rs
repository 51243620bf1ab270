use std::io::Read as _;
use std::process::Stdio;

use serde_json::Value;

use crate::sandbox::Sandbox;

/// A fabric with a mistake of each kind of effect.
fn broken() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.fabric();
    sandbox.edit(
        "acme/peers/west/imports.yaml",
        "  port: 8080",
        "  portt: 8080",
    );
    sandbox.edit(
        "acme/peers/east/exports.yaml",
        "host: ledger.shop.internal",
        "host: 127.0.0.1",
    );
    sandbox
}

#[test]
fn a_whole_fabric_is_valid_in_the_files_and_in_the_commit() {
    let sandbox = Sandbox::new();
    sandbox.fabric();
    let all = ": 2 peers, 11 files, 1 note (--notes shows them)\n";
    for (arguments, begin) in [
        (&["validate"][..], "ok: fabric acme: "),
        (&["validate", "peers/east"], "ok: fabric acme: "),
        (&["validate", "--rev", "HEAD"], "ok: fabric acme at commit "),
    ] {
        let outcome = sandbox.ok("acme", arguments);
        assert!(outcome.stdout.starts_with(begin), "{outcome:?}");
        assert!(outcome.stdout.ends_with(all), "{outcome:?}");
        assert_eq!(outcome.stderr, "");
    }
    let notes = sandbox.ok("acme", &["validate", "--notes"]).stdout;
    insta::assert_snapshot!("validate_notes", notes);
}

#[test]
fn mistakes_are_shown_at_their_places() {
    let sandbox = broken();
    let outcome = sandbox.weft("acme", &["validate"]);
    assert_eq!(outcome.code, 1);
    assert_eq!(outcome.stderr, "");
    insta::assert_snapshot!(outcome.stdout);
    // The commit has none of them.
    sandbox.ok("acme", &["validate", "--rev", "HEAD"]);
}

#[test]
fn the_json_form_tells_the_same() {
    let sandbox = broken();
    let outcome = sandbox.weft("acme", &["validate", "-o", "json"]);
    assert_eq!(outcome.code, 1);
    insta::assert_snapshot!(outcome.stdout);
}

#[test]
fn several_forms_go_to_several_places() {
    let sandbox = broken();
    let plain = sandbox.weft("acme", &["validate"]);
    let outcome = sandbox.weft(
        "acme",
        &[
            "validate",
            "-o",
            "text",
            "-o",
            "json=report.json",
            "--color",
            "never",
        ],
    );
    assert_eq!(outcome.code, 1);
    assert_eq!(outcome.stdout, plain.stdout);
    let report: Value = serde_json::from_str(&sandbox.read("acme/report.json")).unwrap();
    assert_eq!(report["formatVersion"], 1);
    assert_eq!(
        report["summary"]["errors"],
        report["diagnostics"].as_array().unwrap().len()
    );

    let refused = sandbox.weft("acme", &["validate", "-o", "json=/no/such/folder/x"]);
    assert_eq!(refused.code, 2);
    assert!(refused.stderr.contains("/no/such/folder/x"), "{refused:?}");
}

#[test]
fn colours_are_there_when_asked_for_and_not_in_a_pipe() {
    let sandbox = broken();
    let plain = sandbox.weft("acme", &["validate"]).stdout;
    assert!(!plain.contains('\u{1b}'));
    let colored = sandbox
        .weft("acme", &["validate", "--color", "always"])
        .stdout;
    assert!(colored.contains("\u{1b}["));
    assert_eq!(anstream::adapter::strip_str(&colored).to_string(), plain);
}

#[test]
fn a_closed_pipe_changes_nothing_about_the_verdict() {
    let sandbox = broken();
    let mut child = sandbox
        .command("acme", &["validate"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut stderr = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut stderr)
        .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert_eq!(stderr, "");
}

#[test]
fn failures_of_the_world_are_told_apart_from_findings() {
    let sandbox = Sandbox::new();
    sandbox.fabric();
    for arguments in [
        &["validate", "/no/such/place"][..],
        &["validate", "--rev", "no-such-branch"],
    ] {
        let outcome = sandbox.weft("acme", arguments);
        assert_eq!(outcome.code, 2, "{outcome:?}");
        assert_eq!(outcome.stdout, "");
        assert!(outcome.stderr.starts_with("error: "), "{outcome:?}");
    }
    // A directory that is no fabric is a finding: its fabric.yaml is missing.
    let outcome = sandbox.weft("home", &["validate"]);
    assert_eq!(outcome.code, 1);
    assert!(outcome.stdout.contains("WEFT0211"), "{outcome:?}");
}

#[test]
fn limits_and_the_time_can_be_set() {
    let sandbox = Sandbox::new();
    sandbox.fabric();
    let small = sandbox.weft("acme", &["validate", "--max-file-bytes", "100"]);
    assert_eq!(small.code, 1);
    assert!(small.stdout.contains("WEFT0010"), "{small:?}");
    let late = sandbox.weft("acme", &["validate", "--now", "2060-01-01T00:00:00Z"]);
    assert_eq!(late.code, 1);
    assert!(late.stdout.contains("WEFT0304"), "{late:?}");
}

#[test]
fn a_key_in_the_repository_is_found_and_not_shown() {
    let sandbox = Sandbox::new();
    sandbox.fabric();
    let key = sandbox.read("home/.config/weft/acme/east/key.pem");
    sandbox.write("acme/notes/backup.txt", &key);
    let outcome = sandbox.weft("acme", &["validate"]);
    assert_eq!(outcome.code, 1);
    assert!(outcome.stdout.contains("WEFT0501"), "{outcome:?}");
    let secret = key.lines().nth(1).unwrap();
    assert!(!outcome.stdout.contains(secret));
    let json = sandbox.weft("acme", &["validate", "-o", "json"]).stdout;
    assert!(!json.contains(secret));
}

#[test]
fn certain_mistakes_are_mended() {
    let sandbox = Sandbox::new();
    sandbox.fabric();
    sandbox.write(
        "acme/peers/east/till.yaml",
        "\
apiVersion: clusterlink.net/v1alpha1
kind: Export
metadata:
  name: till # of the shop
  uid: 5c9a0a1e
  labels:
    since: 2026
    on: no
spec:
  port: \"80\"
  prot: 80
status: {}
",
    );
    let before = sandbox.weft("acme", &["validate"]);
    assert_eq!(before.code, 1);
    assert!(before.stdout.contains("(--fix mends 6)"), "{before:?}");
    let json = sandbox.weft("acme", &["validate", "-o", "json"]).stdout;
    let report: Value = serde_json::from_str(&json).unwrap();
    let fixes = report["diagnostics"].as_array().unwrap().iter();
    let fixes: Vec<_> = fixes.filter(|d| d["fix"].is_object()).collect();
    assert_eq!(fixes.len(), 6);
    let replacements: Vec<_> = fixes
        .iter()
        .map(|d| d["fix"]["edits"][0]["replacement"].as_str().unwrap())
        .collect();
    assert!(replacements.contains(&"\"2026\""), "{replacements:?}");

    let fixed = sandbox.weft("acme", &["validate", "--fix"]);
    assert_eq!(fixed.code, 1, "what isn't certain is left");
    insta::assert_snapshot!(
        "validate_fix",
        format!("{}---\n{}", fixed.stderr, fixed.stdout)
    );
    assert_eq!(
        sandbox.read("acme/peers/east/till.yaml"),
        "\
apiVersion: clusterlink.net/v1alpha1
kind: Export
metadata:
  name: till # of the shop
  namespace: default
  labels:
    since: \"2026\"
    \"on\": \"no\"
spec:
  port: 80
  prot: 80
"
    );
    let again = sandbox.weft("acme", &["validate", "--fix"]);
    assert_eq!(again.stderr, "nothing to fix\n");
    assert_eq!(again.stdout, fixed.stdout);
    let refused = sandbox.weft("acme", &["validate", "--fix", "--rev", "HEAD"]);
    assert_eq!(refused.code, 2);
}

#[test]
fn a_tree_without_a_commit_can_be_checked() {
    let sandbox = Sandbox::new();
    sandbox.fabric();
    let repository = git2::Repository::open(sandbox.path("acme")).unwrap();
    let tree = repository
        .head()
        .unwrap()
        .peel_to_tree()
        .unwrap()
        .id()
        .to_string();
    let outcome = sandbox.ok("acme", &["validate", "--rev", &tree]);
    let begin = format!("ok: fabric acme at tree {}: 2 peers", &tree[..12]);
    assert!(outcome.stdout.starts_with(&begin), "{outcome:?}");
}
