//! What a reconciler does with a real API server that refuses, fails, and is written to by others.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking; clippy knows only functions marked as tests"
)]

#[path = "cluster_apply/stage.rs"]
mod stage;

use std::fs;

use serde_json::json;
use weft_tests::api_proxy::Fault;
use weft_tests::api_server::has_condition;
use weft_tests::wait::{holds, wait_for};
use weft_tests::yaml;

use self::stage::{SHOP, SYSTEM, Stage};

fn count(requests: &[String], part: &str) -> usize {
    let found = requests.iter().filter(|request| request.contains(part));
    found.count()
}

#[test]
fn what_only_moved_or_was_there_before_costs_nothing() {
    let mut stage = Stage::started(5);
    // Another file, the same objects.
    stage.forget_requests();
    let moved = ["mv", "peers/east/e4.yaml", "peers/east/moved.yaml"];
    stage.repository.git(&moved);
    stage.repository.commit("Move one");
    stage.wait_until_ready();
    let moved = stage.requests();
    assert_eq!(count(&moved, "clusterlink.net"), 0, "{moved:#?}");

    // A process that begins anew finds everything as it should be.
    stage.kill();
    stage.forget_requests();
    stage.start_reconciler();
    let asked = "weft.dev/reconcile-requested-at=now";
    let ask = ["annotate", "fabricsync", "weft", "-n", SYSTEM, asked];
    stage.kubectl.run(&ask);
    stage.wait_for_sync("the new process has done a round", |sync| {
        sync["status"]["lastHandledReconcileAt"] == "now"
    });
    let again = stage.requests();
    assert_eq!(count(&again, "clusterlink.net"), 0, "{again:#?}");
    assert_eq!(count(&again, "/fabricstates/"), 0, "{again:#?}");
}

#[test]
fn an_object_that_the_server_refuses_stops_no_other_and_stays_as_it_was() {
    let stage = Stage::started(3);
    let before = stage.listed("e0");
    assert!(before.is_string());
    let read = |export: &str| {
        let path = format!("peers/east/{export}.yaml");
        fs::read_to_string(stage.repository.work().join(path)).unwrap()
    };
    // More than a server takes in annotations, and within what a repository may hold.
    let annotations = format!("  annotations: {{x: {}}}\nspec:", "x".repeat(300_000));
    let large = read("e0").replace("spec:", &annotations);
    let large = large.replace("8000", "8001");
    stage.repository.write("peers/east/e0.yaml", large);
    stage.export("e1", 8001);
    let elsewhere = read("e2").replace(SHOP, "late");
    stage
        .repository
        .write("peers/east/elsewhere.yaml", elsewhere);
    stage.repository.commit("Ask for more than can be had");
    let sync = stage.wait_until_applied(|sync| {
        let refused = sync["status"]["refused"].as_array();
        refused.is_some_and(|refused| refused.len() == 2)
    });
    assert!(!has_condition(&sync, "Ready", "True"), "{sync:#}");
    let refused = sync["status"]["refused"].to_string();
    assert!(refused.contains("metadata.annotations"), "{refused}");
    let namespace = r#"namespaces \"late\" not found"#;
    assert!(refused.contains(namespace), "{refused}");
    let ports = [("e0", 8000), ("e1", 8001), ("e2", 8000)];
    stage.has_ports(&ports).unwrap();
    // What the gateways go by is what can be found.
    assert_eq!(stage.listed("e0"), before);
    let told = stage.event(SHOP, "e0", "Refused");
    assert!(told.contains("metadata.annotations"), "{told}");
    let told = stage.event(SYSTEM, "weft", "Refused");
    assert!(told.contains("late"), "{told}");

    // The world is mended, and the repository.
    stage.kubectl.run(&["create", "namespace", "late"]);
    stage.export("e0", 8002);
    stage.repository.commit("Ask for less");
    stage.wait_until_ready();
    let ports = [("e0", 8002), ("e1", 8001), ("e2", 8000)];
    stage.has_ports(&ports).unwrap();
    assert_ne!(stage.listed("e0"), before);
    let late = stage.kubectl.find(&["export", "e2", "-n", "late"]);
    assert!(late.is_some());
}

#[test]
fn a_request_that_is_never_answered_holds_no_other_up_for_ever() {
    let stage = Stage::started(4);
    for export in 0..4 {
        stage.export(&format!("e{export}"), 8001);
    }
    let mut is_first = true;
    stage.faults(move |seen| {
        let is_it = seen.method == "PATCH" && seen.path.ends_with("/e2") && is_first;
        is_first &= !is_it;
        is_it.then_some(Fault::Hang)
    });
    stage.repository.commit("Change all");
    wait_for("the others are there", || {
        stage.has_ports(&[("e0", 8001), ("e1", 8001), ("e2", 8000), ("e3", 8001)])
    });
    stage.wait_until_ready();
    let ports = [("e0", 8001), ("e1", 8001), ("e2", 8001), ("e3", 8001)];
    stage.has_ports(&ports).unwrap();
}

#[test]
fn killed_or_cut_off_at_any_step_the_next_one_ends_where_the_commit_wants() {
    let mut stage = Stage::started(6);
    // Each time one changes, one goes and one comes; the server is lost after so many writes.
    for (round, writes) in (0_u16..).zip(0..5_usize) {
        let (new, gone) = (format!("new{round}"), round.checked_sub(1));
        let gone = gone.map_or_else(|| "e1".to_owned(), |round| format!("new{round}"));
        stage.export("e0", 8100 + round);
        stage.export(&new, 8000);
        stage.repository.remove(&format!("peers/east/{gone}.yaml"));
        stage.forget_requests();
        let mut done = 0;
        stage.faults(move |seen| {
            done += usize::from(seen.method != "GET");
            match done.checked_sub(writes) {
                None | Some(0) => None,
                Some(1) => Some(Fault::CutAfter),
                Some(_) => Some(Fault::CutBefore),
            }
        });
        stage.repository.commit("Change");
        wait_for("the server is lost", || {
            let requests = stage.requests();
            let done = requests.len() - count(&requests, "GET ");
            holds(done > writes, || format!("{requests:?}"))
        });
        stage.kill();
        stage.no_faults();
        stage.start_reconciler();
        stage.wait_until_ready();
        let stay = ["e2", "e3", "e4", "e5", &new].map(|name| (name, 8000));
        let changed = ("e0", u64::from(8100 + round));
        stage.has_ports(&[&[changed], &stay[..]].concat()).unwrap();
        assert!(stage.listed(&gone).is_null());
        assert!(stage.listed(&new).is_string());
    }
}

#[test]
fn an_object_that_is_there_already_is_adopted_and_that_is_told() {
    let mut stage = Stage::new();
    let by_hand = yaml::export(SHOP, "e0", "10.0.0.9:7".parse().unwrap());
    stage.kubectl.apply(&by_hand.replace("app:", "mine:"));
    stage.export("e0", 8000);
    stage.repository.commit("Want what is there");
    stage.start("");
    stage.wait_until_ready();
    stage.event(SHOP, "e0", "Adopted");
    let live = stage.live("e0").unwrap();
    assert_eq!(live["spec"], json!({"host": "127.0.0.1", "port": 8000}));
    assert!(live["metadata"]["labels"]["mine"].is_null(), "{live:#}");
    assert!(stage.listed("e0").is_string());
}

#[test]
fn an_object_that_is_there_already_is_left_alone_where_the_fabric_sync_says_so() {
    let mut stage = Stage::new();
    stage
        .kubectl
        .apply(&yaml::export(SHOP, "e0", "10.0.0.9:7".parse().unwrap()));
    stage.export("e0", 8000);
    stage.export("e1", 8000);
    stage.repository.commit("Want what is there");
    stage.start(", adoption: Refuse");
    let sync = stage.wait_until_applied(|sync| sync["status"]["refused"].is_array());
    let refused = &sync["status"]["refused"][0];
    assert_eq!(refused["object"], "Export shop/e0", "{sync:#}");
    stage.event(SHOP, "e0", "Refused");
    stage.has_ports(&[("e0", 7), ("e1", 8000)]).unwrap();
    assert!(stage.listed("e0").is_null() && stage.listed("e1").is_string());
    // Nor is it the repository's to delete.
    stage.repository.remove("peers/east/e0.yaml");
    stage.repository.commit("Want it no more");
    stage.wait_until_ready();
    stage.has_ports(&[("e0", 7), ("e1", 8000)]).unwrap();
}

#[test]
fn a_commit_that_deletes_much_waits_for_an_approval() {
    let stage = Stage::started(10);
    for number in 0..9 {
        let path = format!("peers/east/e{number}.yaml");
        stage.repository.remove(&path);
    }
    // What takes access away isn't held back.
    stage.repository.remove("peers/west");
    stage.repository.commit("Delete nearly all");
    let sync = stage.wait_until_applied(|sync| has_condition(sync, "PruneBlocked", "True"));
    let blocked = sync["status"]["pruneBlocked"].as_array().unwrap();
    assert_eq!(blocked.len(), 9);
    assert_eq!(stage.ports().len(), 10);
    let west = stage.kubectl.find(&["peer", "west", "-n", SYSTEM]);
    assert_eq!(west, None);
    assert!(stage.listed("e0").is_string(), "it stays in force");
    let note = stage.event(SYSTEM, "weft", "PruneBlocked");
    assert!(note.contains("Weft-Approve: prune=9"), "{note}");

    let approve = |number: u32| {
        let message = format!("Approve\n\nWeft-Approve: prune={number}");
        let commit = ["commit", "--quiet", "--allow-empty", "--message", &message];
        stage.repository.git(&commit);
        let push = ["push", "--quiet", "origin", "main"];
        stage.repository.git(&push);
    };
    approve(8);
    stage.wait_until_applied(|sync| has_condition(sync, "PruneBlocked", "True"));
    assert_eq!(stage.ports().len(), 10, "too few are approved");

    // One of them is held by somebody.
    stage.patch("e1", r#"{"metadata":{"finalizers":["example.org/hold"]}}"#);
    approve(9);
    wait_for("what is approved is gone, but for what is held", || {
        stage.has_ports(&[("e1", 8000), ("e9", 8000)])
    });
    wait_for("what is held isn't in force any more", || {
        let listed = stage.listed("e1");
        holds(listed.is_null(), || listed.to_string())
    });
    let held = stage.live("e1").unwrap();
    assert!(held["metadata"]["deletionTimestamp"].is_string());
    stage.patch("e1", r#"{"metadata":{"finalizers":null}}"#);
    wait_for("it is gone", || stage.has_ports(&[("e9", 8000)]));
    stage.wait_until_ready();
}

#[test]
fn what_is_approved_goes_though_the_reconciler_was_killed_before_it_went() {
    let mut stage = Stage::started(6);
    for number in 0..5 {
        let path = format!("peers/east/e{number}.yaml");
        stage.repository.remove(&path);
    }
    stage.faults(|seen| (seen.method == "DELETE").then_some(Fault::Hang));
    stage.forget_requests();
    stage
        .repository
        .commit("Delete nearly all\n\nWeft-Approve: prune=5");
    wait_for("it deletes", || {
        let requests = stage.requests();
        holds(count(&requests, "DELETE ") > 0, || format!("{requests:?}"))
    });
    stage.kill();
    stage.no_faults();
    assert_eq!(stage.ports().len(), 6);
    stage.start_reconciler();
    wait_for("what is approved is gone", || {
        stage.has_ports(&[("e5", 8000)])
    });
    stage.wait_until_ready();
}

#[test]
fn what_the_budget_holds_back_stays_though_somebody_deletes_the_state() {
    let stage = Stage::started(10);
    for number in 0..9 {
        let path = format!("peers/east/e{number}.yaml");
        stage.repository.remove(&path);
    }
    stage.repository.commit("Delete nearly all");
    stage.wait_until_applied(|sync| has_condition(sync, "PruneBlocked", "True"));
    let delete = ["delete", "fabricstate", "weft", "-n", SYSTEM];
    stage.kubectl.run(&delete);
    wait_for("the state is there again", || {
        holds(stage.listed("e9").is_string(), String::new)
    });
    // Nor does what is left of them go once somebody changes it.
    stage.patch("e1", r#"{"metadata":{"labels":{"x":"y"}}}"#);
    wait_for("what was changed isn't in force any more", || {
        holds(stage.listed("e1").is_null(), String::new)
    });
    stage.export("e9", 8001);
    stage.repository.commit("Change the last one");
    stage.wait_until_applied(|sync| has_condition(sync, "PruneBlocked", "True"));
    assert_eq!(stage.ports().len(), 10, "all of them stay");
    assert!(stage.listed("e0").is_string(), "it stays in force");
}

#[test]
fn a_state_that_somebody_restored_is_put_right() {
    let stage = Stage::started(3);
    let state = ["fabricstate", "weft", "-n", SYSTEM];
    let before = stage.kubectl.find(&state).unwrap()["spec"].clone();
    stage.export("e0", 8001);
    stage.repository.commit("Change one");
    stage.wait_until_ready();
    let after = stage.kubectl.find(&state).unwrap()["spec"].clone();
    assert_ne!(before["revision"], after["revision"]);
    // As a backup has it.
    let patch = json!({"spec": before}).to_string();
    stage
        .kubectl
        .run(&[&["patch"], &state[..], &["--type=merge", "-p", &patch]].concat());
    wait_for("the state is as it was", || {
        let spec = stage.kubectl.find(&state).unwrap()["spec"].clone();
        holds(spec == after, || spec["revision"].to_string())
    });
    // And objects are looked after.
    stage.patch("e1", r#"{"spec":{"port":9}}"#);
    wait_for("the object is as it was", || {
        stage.has_ports(&[("e0", 8001), ("e1", 8000), ("e2", 8000)])
    });
}

#[test]
fn a_deletion_that_is_refused_is_told_and_tried_again() {
    let stage = Stage::started(3);
    stage.faults(|seen| {
        let is_it = seen.method == "DELETE" && seen.path.ends_with("/e0");
        is_it.then_some(Fault::Answer(403, None))
    });
    stage.repository.remove("peers/east/e0.yaml");
    stage.repository.commit("Delete one");
    stage.wait_until_applied(|sync| {
        let refused = &sync["status"]["refused"][0];
        refused["object"] == "Export shop/e0"
    });
    assert!(stage.listed("e0").is_null(), "it isn't in force any more");
    stage.no_faults();
    stage.wait_until_ready();
    stage.has_ports(&[("e1", 8000), ("e2", 8000)]).unwrap();
}

#[test]
fn an_object_that_somebody_made_anew_under_the_pruner_is_left_alone() {
    let stage = Stage::started(3);
    let kubectl = stage.kubectl.clone();
    let mut is_first = true;
    // Before the deletion reaches the server, the object is another one, and somebody else's.
    stage.faults(move |seen| {
        if seen.method == "DELETE" && is_first {
            is_first = false;
            kubectl.run(&["delete", "export", "e0", "-n", SHOP]);
            kubectl.apply(&yaml::export(SHOP, "e0", "10.0.0.9:7".parse().unwrap()));
        }
        None
    });
    stage.repository.remove("peers/east/e0.yaml");
    stage.repository.commit("Delete one");
    stage.wait_until_ready();
    let ports = [("e0", 7), ("e1", 8000), ("e2", 8000)];
    stage.has_ports(&ports).unwrap();
    assert!(stage.listed("e0").is_null());
    let requests = stage.requests();
    assert_eq!(count(&requests, "DELETE "), 1, "{requests:#?}");
}

#[test]
fn what_somebody_changes_is_put_back_and_told() {
    let stage = Stage::started(3);
    let change = json!({
        "spec": {"port": 9, "host": "evil.example"},
        "metadata": {"labels": {"x": "y"}},
    });
    stage.patch("e0", &change.to_string());
    wait_for("the object is as it was", || {
        let live = stage.live("e0").unwrap();
        let is_back = live["spec"] == json!({"host": "127.0.0.1", "port": 8000})
            && live["metadata"]["labels"]["x"].is_null();
        holds(is_back, || live.to_string())
    });
    let note = stage.event(SHOP, "e0", "DriftCorrected");
    let expected = "kubectl-patch changed /metadata/labels/x, /spec/host, /spec/port";
    assert_eq!(note, expected);

    let label = || stage.live("e1").unwrap()["metadata"]["labels"]["weft.dev/sync"].clone();
    let ours = label();
    for other in [json!(null), json!("somebody.else")] {
        let patch = json!({"metadata": {"labels": {"weft.dev/sync": other}}});
        stage.patch("e1", &patch.to_string());
        wait_for("our label is back", || {
            holds(label() == ours, || label().to_string())
        });
    }
    stage.kubectl.run(&["delete", "export", "e2", "-n", SHOP]);
    wait_for("it is there again", || {
        holds(stage.live("e2").is_some(), String::new)
    });
    stage.event(SHOP, "e2", "DriftCorrected");
    // None of it took anything out of force.
    stage.wait_until_ready();
    let exports = ["e0", "e1", "e2"];
    assert!(exports.iter().all(|name| stage.listed(name).is_string()));
}

#[test]
fn two_writers_dont_overwrite_each_other_as_fast_as_they_can() {
    let stage = Stage::started(2);
    let listed = stage.listed("e0");
    let mut port = 9000;
    wait_for("the fight is noticed", || {
        port += 1;
        stage.patch("e0", &json!({"spec": {"port": port}}).to_string());
        let refused = stage.sync()["status"]["refused"].to_string();
        holds(refused.contains("another writer"), || refused)
    });
    stage.event(SHOP, "e0", "Fighting");
    // The other one's version isn't in force, however often it is written.
    assert_eq!(stage.listed("e0"), listed);
    assert_eq!(stage.ports()["e1"], 8000);
}
