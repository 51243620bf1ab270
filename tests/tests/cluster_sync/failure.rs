//! Failures of the server and of ourselves.

use std::env;
use std::time::Duration;

use serde_json::Value;
use weft_tests::api_proxy::{Fault, Seen};
use weft_tests::api_server::{ApiServer, condition};
use weft_tests::git_server::GitServer;
use weft_tests::process::Signal;
use weft_tests::role::{Reconciler, SYSTEM};
use weft_tests::wait::{holds, wait_for};
use weft_tests::yaml;

use super::stage::*;

#[test]
fn an_apply_goes_on_after_every_kind_of_failure() {
    let cluster = Cluster::new("");
    let _reconciler = cluster.reconciler("one");
    cluster.wait_until_in_force(&cluster.repository.head());
    let faults = [
        ("429", Fault::Answer(429, Some(1))),
        ("500", Fault::Answer(500, None)),
        ("409", Fault::Answer(409, None)),
        ("cut before", Fault::CutBefore),
        ("cut after", Fault::CutAfter),
        ("slow", Fault::Delay(Duration::from_millis(500))),
    ];
    for (round, (name, fault)) in faults.into_iter().enumerate() {
        let mut left = 4;
        let is_fault = move |seen: &Seen| {
            let counts = seen.method == "PATCH" && left > 0;
            left -= u32::from(counts);
            counts.then(|| fault.clone())
        };
        cluster.proxy.set_rule(is_fault);
        let port = 1000 + u16::try_from(round).unwrap();
        cluster
            .repository
            .write("peers/east/many.yaml", exports(8, port));
        let commit = cluster.repository.commit(name);
        cluster.wait_until_in_force(&commit);
        let list = cluster
            .kubectl()
            .find(&["exports", "-n", NAMESPACE])
            .unwrap();
        let items = list["items"].as_array().unwrap();
        let many = items
            .iter()
            .filter(|item| item["spec"]["port"] == port)
            .count();
        assert_eq!(many, 8, "after {name}");
    }
}

#[test]
fn a_server_that_was_away_and_watches_that_died_change_nothing() {
    let mut cluster = Cluster::of(ApiServer::start_own(), "");
    let arguments = ["--lease-duration", "5s", "--watch-timeout", "5"];
    let _reconciler = Reconciler::start("one", &cluster.proxy.kubeconfig(), &arguments);
    cluster.wait_until_in_force(&cluster.repository.head());

    let kubectl = cluster.kubectl();
    let change_and_wait = |port: u16| {
        let patch = format!(r#"{{"spec":{{"port":{port}}}}}"#);
        let ledger = ["patch", "export", "-n", NAMESPACE, "ledger", "--type=merge"];
        kubectl.run(&[&ledger[..], &["-p", &patch]].concat());
        kubectl.wait_until(&["export", "-n", NAMESPACE, "ledger"], |export| {
            export["spec"]["port"] == 8080
        });
    };

    // Open watches fall silent; what changes meanwhile is noticed by the next ones.
    cluster.proxy.silence_watches();
    change_and_wait(1);

    // The state from which a watch would go on is too old: everything is listed anew.
    let mut left = 10;
    cluster.proxy.set_rule(move |seen| {
        let counts = seen.is_watch && left > 0;
        left -= u32::from(counts);
        counts.then_some(Fault::Answer(410, None))
    });
    cluster.proxy.cut_watches();
    change_and_wait(2);
    let gone = cluster
        .proxy
        .count(|seen| seen.is_watch && seen.status == 410);
    assert_eq!(gone, 10);
    cluster.proxy.clear_rule();

    cluster.server.kill();
    cluster
        .repository
        .write("peers/east/late.yaml", export("late", 80));
    let commit = cluster.repository.commit("While the server is away");
    cluster.server.resume();
    cluster.wait_until_in_force(&commit);
    assert!(cluster.export("late").is_some());
}

#[test]
fn a_killed_reconciler_converges_to_the_head() {
    // The long form: WEFT_KILLS=50 cargo test -p weft-tests --test cluster_sync killed -- --nocapture
    let kills = env::var("WEFT_KILLS")
        .ok()
        .and_then(|kills| kills.parse().ok());
    let kills: u32 = kills.unwrap_or(3);
    let cluster = Cluster::new("");
    for kill in 0..kills {
        let port = 1000 + u16::try_from(kill).unwrap();
        let count = 30 + usize::try_from(kill * 7 % 20).unwrap();
        cluster
            .repository
            .write("peers/east/many.yaml", exports(count, port));
        let commit = cluster.repository.commit("Change");
        let mut reconciler = cluster.reconciler("one");
        // After as many of its writes as never before.
        cluster.proxy.reset();
        let after = usize::try_from(kill * 13 % 40).unwrap();
        wait_for("it has written something", || {
            let count = cluster.proxy.count(|seen| seen.method == "PATCH");
            let is_over = cluster.sync()["status"]["revision"] == commit;
            holds(count >= after || is_over, || format!("{count} of {after}"))
        });
        reconciler.process().kill();
    }
    let _reconciler = cluster.reconciler("last");
    let head = cluster.repository.head();
    cluster.wait_until_in_force(&head);
    let list = cluster
        .kubectl()
        .find(&["exports", "-n", NAMESPACE])
        .unwrap();
    let items = list["items"].as_array().unwrap();
    let port = 1000 + u16::try_from(kills - 1).unwrap();
    let count = 30 + usize::try_from((kills - 1) * 7 % 20).unwrap();
    let many = items
        .iter()
        .filter(|item| item["spec"]["port"] == port)
        .count();
    assert_eq!((many, items.len()), (count, count + 1));
}

#[test]
fn a_leader_that_slept_writes_nothing() {
    let cluster = Cluster::new("");
    let mut first = cluster.reconciler("first");
    first.wait_until_it_leads();
    cluster.wait_until_in_force(&cluster.repository.head());
    let second = cluster.reconciler("second");
    first.process().signal(Signal::STOP);
    second.wait_until_it_leads();
    cluster
        .repository
        .write("peers/east/export.yaml", export("ledger", 9090));
    let commit = cluster.repository.commit("While the first one sleeps");
    cluster.wait_until_in_force(&commit);
    let version = |export: Value| export["metadata"]["resourceVersion"].clone();
    let before = version(cluster.export("ledger").unwrap());
    first.process().signal(Signal::CONT);
    first
        .process()
        .wait_for_line("that it leads no longer", |line| {
            line.contains("leads=false") || line.contains("another process leads")
        });
    assert_eq!(version(cluster.export("ledger").unwrap()), before);
    assert_eq!(cluster.export("ledger").unwrap()["spec"]["port"], 9090);
    drop(second);
}

#[test]
fn what_git_doesnt_give_leaves_in_force_what_is() {
    let cluster = Cluster::new("");
    let kubectl = cluster.kubectl();
    let _reconciler = cluster.reconciler("one");
    let first = cluster.repository.head();
    cluster.wait_until_in_force(&first);
    let set = |spec: &str| {
        let patch = format!(r#"{{"spec":{spec}}}"#);
        let sync = ["patch", "fabricsync", "-n", SYSTEM, "weft", "--type=merge"];
        kubectl.run(&[&sync[..], &["-p", &patch]].concat());
    };
    // Why it isn't ready; and what was in force still is.
    let fails = |wanted: &str| {
        let sync = cluster.wait_for_sync(|sync| {
            condition(sync, "Ready")
                .is_some_and(|(holds, reason, _)| holds == "False" && reason == wanted)
        });
        assert_eq!(sync["status"]["revision"], first);
        assert_eq!(cluster.export("ledger").unwrap()["spec"]["port"], 8080);
        condition(&sync, "Ready").unwrap().2
    };

    let (bare, away) = (
        cluster.repository.bare(),
        cluster.repository.work().join("away"),
    );
    std::fs::rename(&bare, &away).unwrap();
    let message = fails("RepositoryNotFound");
    assert!(message.contains(bare.to_str().unwrap()), "{message}");
    std::fs::rename(&away, &bare).unwrap();
    cluster.wait_until_in_force(&first);

    set(r#"{"ref":"nowhere"}"#);
    let message = fails("ReferenceNotFound");
    assert!(message.contains("nowhere"), "{message}");
    set(r#"{"ref":"main"}"#);
    cluster.wait_until_in_force(&first);

    let header = "Basic d2VmdDpzZWNyZXQ=";
    let mut server = GitServer::start_with_authorization(&bare, header);
    let url = server.url();
    set(&format!(r#"{{"repository":"{url}"}}"#));
    let message = fails("AuthenticationFailed");
    assert!(!message.contains("secret"), "{message}");
    cluster.proxy.set_rule(|seen| {
        let is_secret = seen.path.ends_with("/secrets");
        is_secret.then_some(Fault::Answer(403, None))
    });
    set(r#"{"secretRef":{"name":"weft-git"}}"#);
    let message = fails("SecretUnreadable");
    assert!(message.contains("weft-git"), "{message}");
    cluster.proxy.clear_rule();
    fails("SecretNotFound");
    let secret = |password: &str| {
        kubectl.apply(&format!(
            "apiVersion: v1
kind: Secret
metadata: {{name: weft-git, namespace: {SYSTEM}}}
stringData: {{username: weft, password: {password}}}
"
        ));
    };
    secret("wrong");
    fails("AuthenticationFailed");
    // Credentials are read again when they change.
    secret("secret");
    cluster.wait_until_in_force(&first);

    server.stop();
    fails("Unreachable");
    cluster
        .repository
        .write("peers/east/export.yaml", export("ledger", 9090));
    let second = cluster.repository.commit("While the server is away");
    server.restart();
    cluster.wait_until_in_force(&second);
    assert_eq!(cluster.export("ledger").unwrap()["spec"]["port"], 9090);
}

#[test]
fn an_invalid_file_freezes_its_unit_and_no_other() {
    let cluster = Cluster::new("");
    let _reconciler = cluster.reconciler("one");
    let first = cluster.repository.head();
    cluster.wait_until_in_force(&first);
    let kubectl = cluster.kubectl();
    let policy = || kubectl.find(&["accesspolicy", "-n", NAMESPACE, "allow"]);
    assert!(policy().is_some());

    // In one unit a mistake and a deletion, in the other one a change.
    cluster
        .repository
        .write("peers/east/export.yaml", "kind: [\n");
    cluster.repository.remove("peers/east/allow.yaml");
    let elsewhere = "192.0.2.9:4443".parse().unwrap();
    cluster
        .repository
        .write("peers/west/peer.yaml", yaml::peer("west", elsewhere));
    let second = cluster.repository.commit("Break east");
    let sync = cluster.wait_for_sync(|sync| {
        sync["status"]["attemptedRevision"] == second && sync["status"]["revision"] == second
    });
    let (holds, reason, _) = condition(&sync, "Ready").unwrap();
    assert_eq!((holds.as_str(), reason.as_str()), ("True", "UnitsFrozen"));
    let frozen = &sync["status"]["frozenUnits"][0];
    assert_eq!(
        (&frozen["name"], &frozen["revision"]),
        (&"east".into(), &first.into())
    );
    let finding = sync["status"]["findings"][0].as_str().unwrap();
    assert!(finding.starts_with("peers/east/export.yaml:"), "{finding}");
    let west = kubectl.find(&["peer", "-n", SYSTEM, "west"]).unwrap();
    assert_eq!(west["spec"]["gateways"][0]["host"], "192.0.2.9");
    assert!(policy().is_some());
    assert_eq!(cluster.export("ledger").unwrap()["spec"]["port"], 8080);

    cluster
        .repository
        .write("peers/east/export.yaml", export("ledger", 9090));
    let third = cluster.repository.commit("Mend east");
    cluster.wait_until_in_force(&third);
    assert!(policy().is_none());
    assert_eq!(cluster.export("ledger").unwrap()["spec"]["port"], 9090);
}
