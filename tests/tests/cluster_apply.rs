//! What a reconciler does with a real API server that refuses, fails, and is written to by others.

#![expect(
    clippy::unwrap_used,
    clippy::unwrap_in_result,
    clippy::print_stderr,
    reason = "a test fails by panicking; clippy knows only functions marked as tests"
)]

#[path = "cluster_apply/stage.rs"]
mod stage;

use std::collections::BTreeMap;

use serde_json::json;
use weft_tests::wait::{holds, wait_for};
use weft_tests::yaml;

use self::stage::{Fault, Stage, condition};

/// A stage with so many exports `e0`, `e1`, ... at port 8000, in force; none without a cluster.
fn started(exports: usize, spec: &str) -> Option<Stage> {
    let mut stage = Stage::new()?;
    for number in 0..exports {
        stage.export(&format!("e{number}"), 8000);
    }
    stage.repository.commit("Lay down the fabric");
    stage.start(spec);
    stage.wait_until_ready();
    Some(stage)
}

fn ports(stage: &Stage, wanted: &[(&str, u64)]) -> Result<(), String> {
    let ports = stage.ports();
    let wanted: BTreeMap<String, u64> = wanted
        .iter()
        .map(|(name, port)| ((*name).to_owned(), *port))
        .collect();
    holds(ports == wanted, || format!("{ports:?}"))
}

#[test]
fn what_changes_costs_one_request_and_what_stays_none() {
    let Some(mut stage) = started(20, "") else {
        return;
    };
    let count = |requests: &[String], part: &str| {
        let requests = requests.iter().filter(|request| request.contains(part));
        requests.count()
    };
    let cold = stage.requests();
    assert_eq!(
        count(&cold, "PATCH /apis/clusterlink.net/"),
        21,
        "{cold:#?}"
    );
    assert_eq!(count(&cold, "/fabricstates/"), 1, "{cold:#?}");

    stage.export("e3", 8003);
    stage.repository.commit("Change one");
    stage.wait_until_ready();
    let one = stage.requests();
    assert_eq!(count(&one, "PATCH /apis/clusterlink.net/"), 1, "{one:#?}");
    assert_eq!(count(&one, "/fabricstates/"), 1, "{one:#?}");
    assert!(count(&one, "/fabricsyncs/") <= 1, "{one:#?}");
    assert!(one.len() <= 3, "{one:#?}");

    // Another file, the same objects.
    stage
        .repository
        .git(&["mv", "peers/east/e4.yaml", "peers/east/moved.yaml"]);
    stage.repository.commit("Move one");
    stage.wait_until_ready();
    let moved = stage.requests();
    assert_eq!(count(&moved, "clusterlink.net"), 0, "{moved:#?}");

    // A process that begins anew finds everything as it should be.
    stage.kill();
    stage.start_reconciler();
    let asked = r#"{"metadata":{"annotations":{"weft.dev/reconcile-requested-at":"now"}}}"#;
    let system = stage.system.clone();
    stage.kubectl(&[
        "patch",
        "fabricsync",
        "weft",
        "-n",
        &system,
        "--type=merge",
        "-p",
        asked,
    ]);
    wait_for("the new process has done a round", || {
        let handled = stage.sync()["status"]["lastHandledReconcileAt"].clone();
        holds(handled == "now", || handled.to_string())
    });
    let again = stage.requests();
    assert_eq!(count(&again, "clusterlink.net"), 0, "{again:#?}");
    assert_eq!(count(&again, "/fabricstates/"), 0, "{again:#?}");
}

#[test]
fn an_object_that_the_server_refuses_stops_no_other_and_stays_as_it_was() {
    let Some(stage) = started(3, "") else { return };
    let before = stage.listed("e0");
    assert!(before.is_string());
    // More than a server takes in annotations, and within what a repository may hold.
    let text = stage.repository.work().join("peers/east/e0.yaml");
    let large = std::fs::read_to_string(&text)
        .unwrap()
        .replace(
            "spec:",
            &format!("  annotations: {{x: {}}}\nspec:", "x".repeat(300_000)),
        )
        .replace("8000", "8001");
    stage.repository.write("peers/east/e0.yaml", large);
    stage.export("e1", 8001);
    let namespace = format!("{}-late", stage.shop);
    let elsewhere = std::fs::read_to_string(stage.repository.work().join("peers/east/e2.yaml"))
        .unwrap()
        .replace(&stage.shop, &namespace);
    stage
        .repository
        .write("peers/east/elsewhere.yaml", elsewhere);
    stage.repository.commit("Ask for more than can be had");
    let sync = wait_for("the refusals are told", || {
        let sync = stage.wait_until_applied();
        let refused = sync["status"]["refused"].as_array().map_or(0, Vec::len);
        holds(refused == 2, || sync["status"].to_string()).map(|()| sync)
    });
    assert_ne!(condition(&sync, "Ready"), "True", "{sync:#}");
    let refused = sync["status"]["refused"].to_string();
    assert!(
        refused.contains("must") || refused.contains("may not be more than"),
        "{refused}"
    );
    assert!(
        refused.contains(&format!("namespaces \\\"{namespace}\\\" not found")),
        "{refused}"
    );
    ports(&stage, &[("e0", 8000), ("e1", 8001), ("e2", 8000)]).unwrap();
    // What the gateways go by is what can be found.
    assert_eq!(stage.listed("e0"), before);
    assert!(
        stage
            .event(&stage.shop, "e0", "Refused")
            .contains("annotations")
    );
    assert!(
        stage
            .event(&stage.system, "weft", "Refused")
            .contains(&namespace)
    );

    // The world mends itself, and so does the repository.
    stage.kubectl(&["create", "namespace", &namespace]);
    stage.export("e0", 8002);
    stage.repository.commit("Ask for less");
    stage.wait_until_ready();
    ports(&stage, &[("e0", 8002), ("e1", 8001), ("e2", 8000)]).unwrap();
    assert_ne!(stage.listed("e0"), before);
    assert!(stage.get("export", &namespace, "e2").is_some());
}

#[test]
fn a_server_that_fails_in_any_way_gets_what_it_missed() {
    let Some(stage) = started(8, "") else { return };
    let faults = [
        ("throttles", Fault::Status(429, Some(1))),
        ("conflicts", Fault::Status(409, None)),
        ("fails", Fault::Status(500, None)),
        ("hangs up", Fault::Cut),
        ("loses its answers", Fault::Lose),
    ];
    for (port, (what, fault)) in (8010..).zip(faults) {
        for export in 0..8 {
            stage.export(&format!("e{export}"), port);
        }
        // Every second request that writes, a few times over.
        let mut number = 0;
        stage.faults(move |method, _| {
            number += u32::from(method == "PATCH");
            (method == "PATCH" && number % 2 == 0 && number < 30).then_some(fault)
        });
        stage.repository.commit(what);
        stage.wait_until_ready();
        assert!(
            stage
                .ports()
                .values()
                .all(|there| *there == u64::from(port)),
            "{what}"
        );
        stage.no_faults();
    }
}

#[test]
fn killed_or_cut_off_at_any_step_the_next_one_ends_where_the_commit_wants() {
    let Some(mut stage) = started(6, "") else {
        return;
    };
    // Each round: one changes, one goes, one comes; and the server is lost after so many writes.
    for (round, writes) in (0_u16..).zip([0, 1, 2, 3, 4]) {
        stage.export("e0", 8100 + round);
        stage.export(&format!("new{round}"), 8000);
        let gone = match round {
            0 => "e1".to_owned(),
            _ => format!("new{}", round - 1),
        };
        stage.repository.remove(&format!("peers/east/{gone}.yaml"));
        let mut left = writes;
        stage.requests();
        stage.faults(move |method, _| {
            if method == "GET" {
                return None;
            }
            left -= 1;
            (left < 0).then_some(if left == -1 { Fault::Lose } else { Fault::Cut })
        });
        stage.repository.commit("Change");
        wait_for("the server is lost", || {
            let requests = stage.wire_len();
            holds(requests > writes as usize, || requests.to_string())
        });
        stage.kill();
        stage.no_faults();
        stage.start_reconciler();
        stage.wait_until_ready();
        let mut wanted = vec![("e0", u64::from(8100 + round))];
        let new = format!("new{round}");
        wanted.extend([("e2", 8000), ("e3", 8000), ("e4", 8000), ("e5", 8000)]);
        wanted.push((&new, 8000));
        ports(&stage, &wanted).unwrap();
        assert!(stage.listed(&gone).is_null() && stage.listed(&new).is_string());
    }
}

#[test]
fn an_object_that_is_there_already_is_adopted_or_left_alone_but_never_in_silence() {
    for (adoption, port) in [("Adopt", 8000), ("Refuse", 7)] {
        let Some(mut stage) = Stage::new() else {
            return;
        };
        let by_hand = yaml::export(&stage.shop, "e0", "10.0.0.9:7".parse().unwrap());
        stage.apply(&by_hand.replace("app:", "mine:"));
        stage.export("e0", 8000);
        stage.repository.commit("Want what is there");
        stage.start(&format!(", adoption: {adoption}"));
        let sync = stage.wait_until_applied();
        ports(&stage, &[("e0", port)]).unwrap();
        let there = stage.get("export", &stage.shop, "e0").unwrap();
        if adoption == "Adopt" {
            stage.event(&stage.shop, "e0", "Adopted");
            assert!(there["metadata"]["labels"]["mine"].is_null(), "{there:#}");
            assert!(stage.listed("e0").is_string());
        } else {
            stage.event(&stage.shop, "e0", "Refused");
            assert!(
                sync["status"]["refused"].to_string().contains("Refuse"),
                "{sync:#}"
            );
            assert!(there["metadata"]["labels"]["weft.dev/sync"].is_null());
            assert!(stage.listed("e0").is_null());
            // And it isn't the repository's to delete.
            stage.repository.remove("peers/east/e0.yaml");
            stage.repository.commit("Want it no more");
            stage.wait_until_ready();
            ports(&stage, &[("e0", 7)]).unwrap();
        }
    }
}

#[test]
fn a_commit_that_deletes_much_waits_for_an_approval() {
    let Some(stage) = started(10, "") else { return };
    for number in 0..9 {
        stage
            .repository
            .remove(&format!("peers/east/e{number}.yaml"));
    }
    // What takes access away isn't held back.
    stage.repository.remove("peers/west");
    stage.repository.commit("Delete nearly all");
    let sync = wait_for("the deletion is held back", || {
        let sync = stage.wait_until_applied();
        holds(condition(&sync, "PruneBlocked") == "True", || {
            sync["status"].to_string()
        })
        .map(|()| sync)
    });
    assert_eq!(sync["status"]["pruneBlocked"].as_array().unwrap().len(), 9);
    assert_eq!(stage.ports().len(), 10);
    assert!(stage.get("peer", &stage.system, "west").is_none());
    assert!(stage.listed("e0").is_string(), "it stays in force");
    let note = stage.event(&stage.system, "weft", "PruneBlocked");
    assert!(note.contains("Weft-Approve: prune=9"), "{note}");

    let allow = |trailer: &str| {
        let message = format!("Approve\n\nWeft-Approve: prune={trailer}");
        stage
            .repository
            .git(&["commit", "--quiet", "--allow-empty", "--message", &message]);
        stage.repository.git(&["push", "--quiet", "origin", "main"]);
    };
    allow("8");
    stage.wait_until_applied();
    assert_eq!(stage.ports().len(), 10, "too few are approved");
    // One of them is held by somebody.
    stage.patch("e1", r#"{"metadata":{"finalizers":["example.org/hold"]}}"#);
    allow("9");
    wait_for("what is approved is gone, but for one that is held", || {
        ports(&stage, &[("e1", 8000), ("e9", 8000)])
    });
    assert!(stage.listed("e1").is_null(), "it isn't in force any more");
    let held = stage.get("export", &stage.shop, "e1").unwrap();
    assert!(held["metadata"]["deletionTimestamp"].is_string());
    stage.patch("e1", r#"{"metadata":{"finalizers":null}}"#);
    wait_for("it is gone", || ports(&stage, &[("e9", 8000)]));
    stage.wait_until_ready();
}

#[test]
fn a_deletion_that_is_refused_is_told_and_tried_again() {
    let Some(stage) = started(3, "") else { return };
    stage.faults(|method, path| {
        let is_it = method == "DELETE" && path.contains("/e0");
        is_it.then_some(Fault::Status(403, None))
    });
    stage.repository.remove("peers/east/e0.yaml");
    stage.repository.commit("Delete one");
    wait_for("the refusal is told", || {
        let sync = stage.wait_until_applied();
        let refused = sync["status"]["refused"].to_string();
        holds(refused.contains("/e0"), || refused)
    });
    assert!(stage.listed("e0").is_null(), "it isn't in force any more");
    stage.no_faults();
    stage.wait_until_ready();
    ports(&stage, &[("e1", 8000), ("e2", 8000)]).unwrap();
}

#[test]
fn what_somebody_changes_is_put_back_and_told() {
    let Some(stage) = started(4, "") else { return };
    let spec = |name: &str| stage.get("export", &stage.shop, name);
    stage.patch(
        "e0",
        r#"{"spec":{"port":9,"host":"evil.example"},"metadata":{"labels":{"x":"y"}}}"#,
    );
    wait_for("the object is as it was", || {
        let there = spec("e0").unwrap();
        let is_back = there["spec"] == json!({"host": "127.0.0.1", "port": 8000})
            && there["metadata"]["labels"]["x"].is_null();
        holds(is_back, || there.to_string())
    });
    let note = stage.event(&stage.shop, "e0", "DriftCorrected");
    assert_eq!(
        note,
        "kubectl-patch changed /metadata/labels/x, /spec/host, /spec/port"
    );

    stage.patch("e1", r#"{"metadata":{"labels":{"weft.dev/sync":null}}}"#);
    wait_for("our label is back", || {
        let labels = spec("e1").unwrap()["metadata"]["labels"].clone();
        holds(labels["weft.dev/sync"].is_string(), || labels.to_string())
    });
    stage.kubectl(&["delete", "export", "e2", "-n", &stage.shop]);
    wait_for("it is there again", || {
        holds(spec("e2").is_some(), String::new)
    });
    stage.event(&stage.shop, "e2", "DriftCorrected");
    // None of it was a commit, and nothing of it took anything out of force.
    stage.wait_until_ready();
    assert!(
        ["e0", "e1", "e2"]
            .iter()
            .all(|name| stage.listed(name).is_string())
    );
}

#[test]
fn two_writers_dont_overwrite_each_other_as_fast_as_they_can() {
    let Some(stage) = started(2, "") else { return };
    let listed = stage.listed("e0");
    let mut port = 9000;
    wait_for("the fight is noticed", || {
        port += 1;
        stage.patch("e0", &format!(r#"{{"spec":{{"port":{port}}}}}"#));
        let refused = stage.sync()["status"]["refused"].to_string();
        holds(refused.contains("another writer"), || refused)
    });
    stage.event(&stage.shop, "e0", "Fighting");
    // The other one's version isn't in force, however often it is written.
    assert_eq!(stage.listed("e0"), listed);
    assert_eq!(stage.ports()["e1"], 8000);
}
