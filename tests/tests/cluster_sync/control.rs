//! What moves and stops a reconciler.

use std::time::Instant;

use weft_tests::api_server::{condition, has_condition};
use weft_tests::role::SYSTEM;

use super::stage::*;

#[test]
fn a_sync_is_suspended_asked_and_refuses_rewrites() {
    let cluster = Cluster::new(", onRewrite: Refuse, interval: 1h");
    let _reconciler = cluster.reconciler("one");
    let first = cluster.repository.head();
    cluster.wait_until_in_force(&first);
    let kubectl = cluster.kubectl();
    let set = |patch: &str| {
        let sync = [
            "patch",
            "fabricsync",
            "-n",
            SYSTEM,
            "weft",
            "--type=merge",
            "-p",
            patch,
        ];
        kubectl.run(&sync);
    };

    set(r#"{"spec":{"suspend":true}}"#);
    cluster.wait_for_sync(|sync| {
        condition(sync, "Ready").is_some_and(|(_, reason, _)| reason == "Suspended")
    });
    cluster
        .repository
        .write("peers/east/export.yaml", export("ledger", 9090));
    let second = cluster.repository.commit("While it is suspended");
    assert_eq!(cluster.export("ledger").unwrap()["spec"]["port"], 8080);
    set(r#"{"spec":{"suspend":false}}"#);
    cluster.wait_until_in_force(&second);

    let annotation = "weft.dev/reconcile-requested-at=now";
    kubectl.run(&["annotate", "fabricsync", "-n", SYSTEM, "weft", annotation]);
    cluster.wait_for_sync(|sync| sync["status"]["lastHandledReconcileAt"] == "now");

    cluster
        .repository
        .git(&["reset", "--quiet", "--hard", &first]);
    cluster
        .repository
        .git(&["push", "--quiet", "--force", "origin", "main"]);
    let sync = cluster.wait_for_sync(|sync| has_condition(sync, "Stalled", "True"));
    let (_, reason, _) = condition(&sync, "Ready").unwrap();
    assert_eq!(reason, "HistoryRewritten");
    assert_eq!(sync["status"]["revision"], second);
    assert_eq!(cluster.export("ledger").unwrap()["spec"]["port"], 9090);
}

#[test]
fn a_webhook_begins_a_round() {
    // A Git server over the network is asked once an hour; the webhook makes it a matter of a moment.
    let cluster = Cluster::new("");
    let server = weft_tests::git_server::GitServer::start(&cluster.repository.bare());
    let patch = format!(
        r#"{{"spec":{{"repository":"{}","interval":"1h"}}}}"#,
        server.url()
    );
    let kubectl = cluster.kubectl();
    kubectl.run(&[
        "patch",
        "fabricsync",
        "-n",
        SYSTEM,
        "weft",
        "--type=merge",
        "-p",
        &patch,
    ]);
    let reconciler = cluster.reconciler("one");
    cluster.wait_until_in_force(&cluster.repository.head());
    cluster
        .repository
        .write("peers/east/export.yaml", export("ledger", 9090));
    let commit = cluster.repository.commit("Pushed");
    assert_eq!(reconciler.hook_with("X-Gitlab-Token: wrong"), 403);
    assert_eq!(reconciler.hook_with("X-Nothing: at all"), 401);
    let begun = Instant::now();
    reconciler.hook();
    cluster.wait_until_in_force(&commit);
    println!(
        "from the webhook to in force, as kubectl sees it: {:?}",
        begun.elapsed()
    );
}
