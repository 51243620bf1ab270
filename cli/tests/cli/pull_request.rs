//! What a pull request is told: gates and their approvals, merges, invariants.

use git2::{Repository, Signature, Time};

use crate::sandbox::{Outcome, Sandbox};

/// The fabric `acme`, with gates.
fn gated() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.fabric();
    sandbox.edit(
        "acme/fabric.yaml",
        "spec: {}",
        "spec: {gates: [widens-access, prune, certificate, privileged-policy]}",
    );
    sandbox.commit("acme", "Ask before access becomes wider");
    sandbox
}

const WEST: &str = "acme/peers/west/access.yaml";
const EAST: &str = "acme/peers/east/access.yaml";

fn repository(sandbox: &Sandbox) -> Repository {
    Repository::open(sandbox.path("acme")).unwrap()
}

/// Puts the repository back to a commit, on a branch of its own.
fn branch(sandbox: &Sandbox, name: &str, from: &str) {
    let repository = repository(sandbox);
    let commit = repository
        .revparse_single(from)
        .unwrap()
        .peel_to_commit()
        .unwrap();
    repository.branch(name, &commit, true).unwrap();
    repository.set_head(&format!("refs/heads/{name}")).unwrap();
    let mut force = git2::build::CheckoutBuilder::new();
    repository.checkout_head(Some(force.force())).unwrap();
}

/// Merges a branch into HEAD by a merge commit, as a forge does.
fn merge(sandbox: &Sandbox, name: &str, message: &str) {
    let repository = repository(sandbox);
    let ours = repository.head().unwrap().peel_to_commit().unwrap();
    let theirs = repository
        .revparse_single(name)
        .unwrap()
        .peel_to_commit()
        .unwrap();
    let mut index = repository.merge_commits(&ours, &theirs, None).unwrap();
    let tree = repository
        .find_tree(index.write_tree_to(&repository).unwrap())
        .unwrap();
    let forge = Signature::new("Forge", "forge@example.com", &Time::new(1_767_225_600, 0)).unwrap();
    repository
        .commit(
            Some("HEAD"),
            &forge,
            &forge,
            message,
            &tree,
            &[&ours, &theirs],
        )
        .unwrap();
    let mut force = git2::build::CheckoutBuilder::new();
    repository.checkout_head(Some(force.force())).unwrap();
}

/// The text without the ids of commits.
fn told(outcome: &Outcome, commits: &[(&str, &str)]) -> String {
    let mut text = outcome.stdout.clone();
    for (id, name) in commits {
        text = text.replace(&id[..12], name);
    }
    text
}

#[test]
fn a_widening_wants_an_approval() {
    let sandbox = gated();
    branch(&sandbox, "wider", "HEAD");
    sandbox.edit(WEST, "labels.app: till", "namespace: shop");
    sandbox.edit(
        WEST,
        "        client.clusterlink.net/namespace: shop\n        client.clusterlink.net/namespace: shop\n",
        "        client.clusterlink.net/namespace: shop\n",
    );
    let files = sandbox.weft("acme", &["plan"]);
    assert_eq!(files.code, 4, "{files:#?}");
    insta::assert_snapshot!(files.stdout);

    sandbox.commit("acme", "Let the whole shop reach the ledger");
    let plan = ["plan", "--base", "main", "--head", "wider"];
    assert_eq!(sandbox.weft("acme", &plan).code, 4);
    // Another gate's approval is none.
    sandbox.write("acme/README.md", "more\n");
    sandbox.commit(
        "acme",
        "Say more\n\nWeft-Approve: prune=100\nWeft-Approve: certificate\n",
    );
    assert_eq!(sandbox.weft("acme", &plan).code, 4);
    sandbox.write("acme/README.md", "much more\n");
    sandbox.commit("acme", "Say much more\n\nWeft-Approve: widens-access\n");
    let approved = sandbox.ok("acme", &plan);
    assert!(
        approved.stdout.contains("widens-access: approved by "),
        "{approved:?}"
    );
    // What was approved before the base approves nothing of this change.
    let approval = sandbox.weft("acme", &["plan", "--base", "wider", "--head", "main"]);
    assert_eq!(approval.code, 0, "it only closes: {approval:?}");
    let again = ["plan", "--base", "wider~3", "--head", "wider~2"];
    assert_eq!(sandbox.weft("acme", &again).code, 4);
}

#[test]
fn squashed_and_merged_approvals_count() {
    let sandbox = gated();
    branch(&sandbox, "wider", "HEAD");
    sandbox.edit(WEST, "action: allow", "action: deny");
    sandbox.commit("acme", "Close\n\nWeft-Approve: widens-access\n");
    sandbox.edit(WEST, "action: deny", "action: allow");
    sandbox.edit(WEST, "labels.app: till", "service-account: till");
    sandbox.commit("acme", "Open it for others");
    branch(&sandbox, "merged", "main");
    merge(&sandbox, "wider", "Merge pull request #7");
    let merged = sandbox.ok("acme", &["plan", "--base", "main", "--head", "merged"]);
    assert!(
        merged.stdout.contains("widens-access: approved"),
        "{merged:?}"
    );
    let forced = sandbox.ok("acme", &["plan", "--head", "merged"]);
    assert!(
        forced.stdout.contains("widens-access: approved"),
        "{forced:?}"
    );

    branch(&sandbox, "squashed", "main");
    sandbox.edit(WEST, "labels.app: till", "service-account: till");
    sandbox.commit(
        "acme",
        "Open it (#7)\n\n* Close\n\nWeft-Approve: widens-access\n\n* Open it for others\n",
    );
    sandbox.ok("acme", &["plan", "--head", "squashed"]);
}

#[test]
fn no_change_switches_its_own_gate_off() {
    let sandbox = gated();
    sandbox.edit("acme/fabric.yaml", "widens-access, ", "");
    sandbox.edit(WEST, "labels.app: till", "service-account: till");
    assert_eq!(sandbox.weft("acme", &["plan"]).code, 4);
}

#[test]
fn what_goes_above_the_budget_is_told() {
    let sandbox = gated();
    let export = sandbox.read("acme/peers/east/exports.yaml");
    for number in 0..30 {
        let name = format!("name: extra-{number}");
        let text = export.replace("name: ledger", &name);
        sandbox.write(&format!("acme/peers/east/extra/{number}.yaml"), &text);
    }
    sandbox.commit("acme", "Offer more");
    std::fs::remove_dir_all(sandbox.path("acme/peers/east/extra")).unwrap();
    let blocked = sandbox.weft("acme", &["plan", "--peer", "east"]);
    assert_eq!(blocked.code, 4);
    let prune = blocked
        .stdout
        .lines()
        .filter(|line| line.contains("prune") || line.contains("the objects back"));
    let lines: Vec<_> = prune.collect();
    insta::assert_snapshot!(lines.join("\n"));
    sandbox.commit("acme", "Offer less\n\nWeft-Approve: prune=30");
    let approved = sandbox.ok("acme", &["plan", "--head", "HEAD"]);
    assert!(
        approved.stdout.contains("above the budget, approved"),
        "{approved:?}"
    );
}

/// Two changes of the gated fabric, each safe: west lets everybody out, east lets everybody in.
fn two_changes() -> (Sandbox, String, String) {
    let sandbox = gated();
    // East still looks at the client.
    sandbox.edit(
        EAST,
        "peer.clusterlink.net/name: west",
        "client.clusterlink.net/labels.app: till",
    );
    sandbox.commit("acme", "Let tills alone in");
    branch(&sandbox, "out", "HEAD");
    sandbox.edit(
        WEST,
        "client.clusterlink.net/labels.app: till",
        "peer.clusterlink.net/name: west",
    );
    let first = sandbox.commit("acme", "Let the shop out");
    branch(&sandbox, "in", "main");
    sandbox.edit(
        EAST,
        "client.clusterlink.net/labels.app: till",
        "peer.clusterlink.net/name: west",
    );
    let second = sandbox.commit("acme", "Let west in");
    (sandbox, first, second)
}

#[test]
fn two_changes_each_safe_are_unsafe_together() {
    let (sandbox, first, second) = two_changes();
    for alone in ["out", "in"] {
        let plan = sandbox.ok("acme", &["plan", "--base", "main", "--head", alone]);
        assert!(
            plan.stdout.contains("nobody reaches more or less"),
            "{plan:#?}"
        );
    }
    let before = sandbox.files("acme");
    let merged = sandbox.weft("acme", &["plan", "--merge", "out", "in"]);
    assert_eq!(merged.code, 4, "{merged:#?}");
    insta::assert_snapshot!(told(
        &merged,
        &[(&first, "COMMIT-ONE"), (&second, "COMMIT-TWO")]
    ));
    let json = sandbox.weft("acme", &["plan", "--merge", "out", "in", "-o", "json"]);
    let json: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(json["merge"]["openedTogether"].as_array().unwrap().len(), 1);
    assert_eq!(json["head"], "merge-result");
    assert_eq!(before, sandbox.files("acme"), "nothing is written");
    let onto = ["plan", "--base", "out", "--merge", "out", "in"];
    let onto = sandbox.weft("acme", &onto);
    assert!(!onto.stdout.contains("opens only together"), "{onto:#?}");

    // The approval is in what is added; where both are new since the base, in either.
    sandbox.write("acme/README.md", "more\n");
    sandbox.commit("acme", "More\n\nWeft-Approve: widens-access");
    sandbox.ok("acme", &["plan", "--merge", "out", "in"]);
    let other = sandbox.weft("acme", &["plan", "--merge", "in", "out"]);
    assert_eq!(other.code, 4, "{other:#?}");
    let both = ["plan", "--base", "main", "--merge", "in", "out"];
    sandbox.ok("acme", &both);
}

/// Once the gates asked a pull request about what had come to main since it began.
#[test]
fn gates_judge_what_is_added_to_main() {
    let (sandbox, ..) = two_changes();
    branch(&sandbox, "widened", "in");
    sandbox.edit(
        WEST,
        "        client.clusterlink.net/labels.app: till\n",
        "        peer.clusterlink.net/name: west\n",
    );
    sandbox.commit("acme", "Open it, as was approved elsewhere");
    branch(&sandbox, "harmless", "main");
    sandbox.write("acme/README.md", "a word\n");
    sandbox.commit("acme", "A word");
    let merged = sandbox.ok("acme", &["plan", "--merge", "widened", "harmless"]);
    assert!(
        merged.stdout.contains("access opens (WIDER)"),
        "{merged:#?}"
    );
    assert!(
        merged.stdout.contains("gates passed: widens-access"),
        "{merged:#?}"
    );
    // And what is added is asked about, whatever else was.
    let added = sandbox.weft("acme", &["plan", "--merge", "harmless", "widened"]);
    assert_eq!(added.code, 4, "{added:#?}");
    let both = ["plan", "--base", "main", "--merge", "widened", "harmless"];
    assert_eq!(sandbox.weft("acme", &both).code, 4);
}

#[test]
fn an_approval_that_approves_nothing_is_told() {
    let sandbox = gated();
    sandbox.edit(
        WEST,
        "        client.clusterlink.net/labels.app: till\n",
        "",
    );
    let message = "Open it\n\nWeft-Approve: widen-access\nWeft-Approve: widens-access, prune=3";
    let commit = sandbox.commit("acme", message);
    let plan = [
        "plan",
        "--head",
        "HEAD",
        "-o",
        "text",
        "-o",
        "markdown=plan.md",
        "-o",
        "github=log",
    ];
    let refused = sandbox.weft("acme", &plan);
    assert_eq!(refused.code, 4, "{refused:#?}");
    let words: Vec<_> = refused.stdout.split_whitespace().collect();
    let words = words.join(" ");
    let commit = &commit[..12];
    for told in [
        format!(
            "ignored: `Weft-Approve: widen-access` of {commit} approves nothing: there is no such \
             gate: did you mean widens-access?"
        ),
        format!(
            "ignored: `Weft-Approve: widens-access, prune=3` of {commit} approves nothing: it names \
             more than a gate: a line approves one, so write a line for each"
        ),
    ] {
        assert!(words.contains(&told), "{refused:#?}");
    }
    let page = sandbox.read("acme/plan.md");
    assert!(
        page.contains("#### Approves nothing\n\n- `Weft-Approve: widen-access` of"),
        "{page}"
    );
    let log = sandbox.read("acme/log");
    assert!(
        log.contains("::warning") && log.contains("widen-access"),
        "{log}"
    );
}

#[test]
fn conflicts_are_told() {
    let (sandbox, first, _) = two_changes();
    branch(&sandbox, "other", "main");
    sandbox.edit(
        WEST,
        "client.clusterlink.net/labels.app: till",
        "client.clusterlink.net/labels.app: pos",
    );
    std::fs::remove_file(sandbox.path("acme/peers/west/imports.yaml")).unwrap();
    let other = sandbox.commit("acme", "Something else");
    let outcome = sandbox.weft("acme", &["plan", "--merge", "out", "other"]);
    assert_eq!(outcome.code, 1);
    let names = [(&first[..], "COMMIT-ONE"), (&other, "COMMIT-TWO")];
    insta::assert_snapshot!(told(&outcome, &names));
    // The base moved on, and one of them can't follow.
    let moved = ["plan", "--base", "out", "--merge", "in", "other"];
    let moved = sandbox.weft("acme", &moved);
    assert_eq!(moved.code, 1);
    assert!(
        moved.stdout.contains("can't be merged onto the base"),
        "{moved:?}"
    );
}

#[test]
fn commits_without_a_common_history_are_a_failure() {
    let (sandbox, ..) = two_changes();
    let repository = repository(&sandbox);
    let nobody = Signature::new("Ada", "ada@example.com", &Time::new(0, 0)).unwrap();
    let tree = repository
        .find_tree(repository.index().unwrap().write_tree().unwrap())
        .unwrap();
    let alone = repository
        .commit(None, &nobody, &nobody, "Alone", &tree, &[])
        .unwrap();
    let outcome = sandbox.weft("acme", &["plan", "--merge", "out", &alone.to_string()]);
    assert_eq!(outcome.code, 2);
    assert!(outcome.stderr.contains("no common history"), "{outcome:?}");
}

#[test]
fn a_broken_invariant_fails_both_commands() {
    let sandbox = gated();
    sandbox.write(
        "acme/invariants/money.yaml",
        "\
apiVersion: weft.dev/v1alpha1
kind: Invariant
metadata:
  name: only-tills-reach-the-ledger
spec:
  rule: only
  reason: whoever reaches it can book
  from:
  - workloadSelector:
      matchLabels:
        client.clusterlink.net/labels.app: till
  to:
  - workloadSelector:
      matchLabels:
        export.clusterlink.net/name: ledger
",
    );
    sandbox.commit("acme", "Say what must be true");
    let good = sandbox.ok("acme", &["plan", "--head", "HEAD"]);
    assert_eq!(
        good.stdout,
        "gates and invariants that change:\n  + invariant only-tills-reach-the-ledger  \
         invariants/money.yaml:1\n\ngates passed: widens-access, prune, certificate, \
         privileged-policy, safeguards\n\nthe invariant holds\n\n0 of 2 peers: 0 added, 0 changed, 0 removed; \
         nobody reaches more or less; gates or invariants change\n"
    );
    sandbox.ok("acme", &["validate"]);
    sandbox.edit(
        WEST,
        "        client.clusterlink.net/labels.app: till\n",
        "",
    );
    let broken = sandbox.weft("acme", &["plan"]);
    assert_eq!(broken.code, 1);
    insta::assert_snapshot!(broken.stdout);
    let broken = sandbox.weft("acme", &["validate"]);
    assert_eq!(broken.code, 1);
    assert!(
        broken.stdout.contains("error[WEFT0601]: broken: "),
        "{broken:?}"
    );
}
