use crate::sandbox::Sandbox;

/// The text without the ids of commits.
fn scrub(text: &str) -> String {
    let is_id = |word: &str| {
        matches!(word.len(), 12 | 40) && word.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    let mut scrubbed = String::new();
    for part in text.split_inclusive(|c: char| !c.is_ascii_alphanumeric()) {
        let word = part.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
        match is_id(word) {
            true => scrubbed.push_str(&part.replace(word, "COMMIT")),
            false => scrubbed.push_str(part),
        }
    }
    scrubbed
}

fn changed() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.fabric();
    sandbox.edit("acme/peers/east/exports.yaml", "port: 8080", "port: 8081");
    sandbox.edit("acme/peers/east/peer.yaml", "region: eu", "region: us");
    sandbox.write(
        "acme/policies/no-tills.yaml",
        &sandbox
            .read("acme/peers/west/access.yaml")
            .replace("kind: AccessPolicy", "kind: PrivilegedAccessPolicy")
            .replace("  namespace: shop\n", "")
            .replace("action: allow", "action: deny")
            .replace("tills-reach-ledger", "no-tills"),
    );
    std::fs::remove_file(sandbox.path("acme/peers/east/access.yaml")).unwrap();
    sandbox
}

#[test]
fn what_is_about_to_be_committed() {
    let sandbox = changed();
    let outcome = sandbox.ok("acme", &["plan"]);
    insta::assert_snapshot!(outcome.stdout);
    assert_eq!(outcome.stderr, "");
    assert_eq!(sandbox.weft("acme", &["plan", "--exit-code"]).code, 3);

    let json = sandbox
        .ok("acme", &["plan", "--peer", "west", "-o", "json"])
        .stdout;
    insta::assert_snapshot!("plan_json", scrub(&json));
}

#[test]
fn between_commits() {
    let sandbox = changed();
    let files = sandbox.ok("acme", &["plan"]).stdout;
    sandbox.commit("acme", "Change");
    assert_eq!(sandbox.ok("acme", &["plan"]).stdout, "nothing changes\n");
    assert_eq!(sandbox.ok("acme", &["plan", "--exit-code"]).code, 0);
    assert_eq!(
        sandbox.ok("acme", &["plan", "--head", "HEAD"]).stdout,
        files
    );
    assert_eq!(
        sandbox.ok("acme", &["plan", "--base", "HEAD~1"]).stdout,
        files
    );
    let first = sandbox.ok("acme", &["plan", "--head", "HEAD~1"]).stdout;
    assert!(first.contains("west (new peer)"), "{first}");
    let back = sandbox.ok("acme", &["plan", "--base", "HEAD", "--head", "HEAD~2"]);
    assert!(back.stdout.contains("west (removed peer)"), "{back:?}");
    // The first commit of all has no parent.
    let root = sandbox.ok("acme", &["plan", "--head", "HEAD~2"]).stdout;
    assert_eq!(root, "nothing changes\n", "there is no peer yet");
}

#[test]
fn a_broken_unit_stays_as_it_is_and_that_is_told() {
    let sandbox = changed();
    sandbox.edit(
        "acme/peers/west/imports.yaml",
        "  port: 8080",
        "  portt: 8080",
    );
    let outcome = sandbox.weft("acme", &["plan", "--peer", "west"]);
    assert_eq!(outcome.code, 1);
    assert!(!outcome.stdout.contains("- Import"), "{outcome:?}");
    insta::assert_snapshot!(outcome.stderr);
}

#[test]
fn a_peer_that_is_nowhere() {
    let sandbox = changed();
    let outcome = sandbox.weft("acme", &["plan", "--peer", "wset"]);
    assert_eq!(outcome.code, 2);
    insta::assert_snapshot!(outcome.stderr, @r#"
    error: there is no peer "wset" in either state
    hint: did you mean west?
    "#);
}

#[test]
fn before_the_first_commit_everything_is_new() {
    let sandbox = Sandbox::new();
    sandbox.fabric();
    std::fs::remove_dir_all(sandbox.path("acme/.git")).unwrap();
    git2::Repository::init(sandbox.path("acme")).unwrap();
    let outcome = sandbox.ok("acme", &["plan"]);
    assert!(outcome.stdout.contains("west (new peer)"), "{outcome:?}");
}

/// Once everything was told to be added, as if the commit where a shallow clone ends were the first.
#[test]
fn the_parent_of_a_shallow_clones_last_commit_is_missed() {
    let sandbox = Sandbox::new();
    sandbox.fabric();
    sandbox.write("acme/README.md", "more");
    let id = sandbox.commit("acme", "Say more");
    sandbox.write("acme/.git/shallow", &format!("{id}\n"));
    let outcome = sandbox.weft("acme", &["plan", "--head", "HEAD"]);
    assert_eq!(outcome.code, 2, "{outcome:#?}");
    assert!(
        outcome
            .stderr
            .contains("the parent of HEAD isn't in this shallow clone"),
        "{outcome:#?}"
    );
}

/// Once the second form wrote over the first one in silence.
#[test]
fn two_forms_do_not_go_to_one_file() {
    let sandbox = Sandbox::new();
    sandbox.fabric();
    let outcome = sandbox.weft("acme", &["plan", "-o", "json=it", "-o", "sarif=it"]);
    assert_eq!(outcome.code, 2, "{outcome:#?}");
    assert!(outcome.stderr.contains("only one form"), "{outcome:#?}");
}

/// Once it was called "no such import of such a service".
#[test]
fn a_way_that_is_not_there_any_more_is_said_in_plain_words() {
    let sandbox = Sandbox::new();
    sandbox.fabric();
    std::fs::remove_file(sandbox.path("acme/peers/west/imports.yaml")).unwrap();
    let plan = sandbox.ok("acme", &["plan"]).stdout;
    let words = "now:    there is no such service, or no import of it";
    assert!(plan.contains(words), "{plan}");
}
