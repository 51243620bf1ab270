//! What changes, in the repository and beside it.

use serde_json::json;
use weft_tests::api_proxy::Fault;
use weft_tests::api_server::{condition, has_condition};
use weft_tests::role::SYSTEM;
use weft_tests::wait::wait_for;
use weft_tests::yaml;

use super::stage::*;

#[test]
fn a_commit_that_deletes_much_waits_for_an_approval() {
    let cluster = Cluster::new("");
    cluster
        .repository
        .write("peers/east/many.yaml", exports(60, 80));
    let commit = cluster.repository.commit("Many");
    let _reconciler = cluster.reconciler("one");
    cluster.wait_until_in_force(&commit);
    cluster.repository.remove("peers/east/many.yaml");
    let commit = cluster.repository.commit("Nothing of it");
    let sync = cluster.wait_for_sync(|sync| {
        sync["status"]["revision"] == commit && has_condition(sync, "PruneBlocked", "True")
    });
    assert!(has_condition(&sync, "Ready", "False"));
    let (_, _, message) = condition(&sync, "PruneBlocked").unwrap();
    assert!(message.contains("Weft-Approve: prune=60"), "{message}");
    assert_eq!(sync["status"]["pruneBlocked"].as_array().unwrap().len(), 60);
    assert_eq!(cluster.exports().len(), 61);

    // Too few are no approval.
    cluster.repository.write("notes", "1");
    let commit = cluster.repository.commit("Some\n\nWeft-Approve: prune=59");
    cluster.wait_for_sync(|sync| sync["status"]["revision"] == commit);
    assert_eq!(cluster.exports().len(), 61);
    cluster.repository.write("notes", "2");
    let commit = cluster
        .repository
        .commit("All of them\n\nWeft-Approve: prune=60");
    cluster.wait_until_in_force(&commit);
    assert_eq!(cluster.exports(), ["ledger".to_owned()].into());
}

#[test]
fn drift_is_corrected_and_its_writer_named() {
    let cluster = Cluster::new("");
    let _reconciler = cluster.reconciler("one");
    cluster.wait_until_in_force(&cluster.repository.head());
    let kubectl = cluster.kubectl();
    let patch = r#"{"spec":{"port":1},"metadata":{"labels":{"team":"somebody"}}}"#;
    kubectl.run(&[
        "patch",
        "export",
        "-n",
        NAMESPACE,
        "ledger",
        "--type=merge",
        "-p",
        patch,
    ]);
    kubectl.wait_until(&["export", "-n", NAMESPACE, "ledger"], |export| {
        export["spec"]["port"] == 8080 && export["metadata"]["labels"]["team"].is_null()
    });
    let event = wait_for("an event tells", || {
        let events = cluster.events("DriftCorrected");
        events.into_iter().next().ok_or_else(|| "none".to_owned())
    });
    let note = event["note"]
        .as_str()
        .or_else(|| event["message"].as_str())
        .unwrap();
    assert!(note.contains("kubectl-patch"), "{note}");
    assert!(note.contains("/spec/port"), "{note}");
    // Another change of the same object is another event.
    let patch = r#"{"spec":{"host":"somewhere.example"}}"#;
    let name = ["patch", "export", "-n", NAMESPACE, "ledger", "--type=merge"];
    kubectl.run(&[&name[..], &["-p", patch]].concat());
    wait_for("an event tells of that", || {
        let events = cluster.events("DriftCorrected");
        let found = events
            .iter()
            .any(|event| event.to_string().contains("/spec/host"));
        found.then_some(()).ok_or_else(|| format!("{events:?}"))
    });

    kubectl.run(&[
        "delete",
        "export",
        "-n",
        NAMESPACE,
        "ledger",
        "--wait=false",
    ]);
    kubectl.wait_until(&["export", "-n", NAMESPACE, "ledger"], |export| {
        export["metadata"]["deletionTimestamp"].is_null() && export["spec"]["port"] == 8080
    });
}

#[test]
fn a_service_that_somebody_keeps_changing_is_corrected_less_often() {
    let cluster = Cluster::new("");
    let import = yaml::import(NAMESPACE, "bought", 81, "west");
    cluster.repository.write("peers/east/import.yaml", import);
    let commit = cluster.repository.commit("Import");
    let _reconciler = cluster.reconciler("one");
    cluster.wait_until_in_force(&commit);
    let kubectl = cluster.kubectl();
    let service = ["service", "-n", NAMESPACE, "bought"];
    let right = kubectl.wait_until(&service, |service| {
        service["spec"]["externalName"].is_string()
    });
    cluster.proxy.reset();
    for number in 0..30 {
        let patch = format!(r#"{{"spec":{{"externalName":"other-{number}.example"}}}}"#);
        let name = ["patch", "service", "-n", NAMESPACE, "bought", "-p", &patch];
        kubectl.run(&name);
    }
    let path = format!("/api/v1/namespaces/{NAMESPACE}/services/bought");
    let corrections = cluster
        .proxy
        .count(|seen| seen.method == "PATCH" && seen.path == path);
    assert!((1..=6).contains(&corrections), "{corrections}");
    // It isn't given up.
    kubectl.wait_until(&service, |service| {
        service["spec"]["externalName"] == right["spec"]["externalName"]
    });
}

#[test]
fn imports_by_hand_keep_their_services_until_it_is_known_whether_they_count() {
    let cluster = Cluster::new("");
    let kubectl = cluster.kubectl();
    let sync = ["fabricsync", "-n", SYSTEM, "weft"];
    let mut wanted = cluster.sync();
    kubectl.run(&[&["delete"], &sync[..]].concat());
    kubectl.apply(&yaml::import(NAMESPACE, "bought", 81, "west"));
    let labelled = yaml::import(NAMESPACE, "labelled", 82, "west");
    let labels = "metadata:\n  labels: {weft.dev/sync: x}\n";
    let labelled = labelled.replace("metadata:\n", labels);
    let _reconciler = cluster.reconciler("one");
    let service = ["service", "-n", NAMESPACE, "bought"];
    let before = kubectl.wait_until(&service, |service| {
        service["spec"]["externalName"].is_string()
    });
    let import = ["import", "-n", NAMESPACE, "bought"];
    kubectl.wait_until(&import, |import| import["status"]["targetPort"].is_u64());

    // A repository that can't be had at first.
    let repository = wanted["spec"]["repository"].clone();
    wanted["metadata"] = json!({"name": "weft", "namespace": SYSTEM});
    wanted["spec"]["unmanaged"] = json!("Honour");
    wanted["spec"]["repository"] = json!("file:///nowhere.git");
    kubectl.apply(&wanted.to_string());
    cluster.wait_for_sync(|sync| has_condition(sync, "Ready", "False"));
    wanted["spec"]["repository"] = repository;
    kubectl.apply(&wanted.to_string());
    cluster.wait_until_in_force(&cluster.repository.head());
    let after = kubectl.find(&service).expect("the Service is there");
    assert_eq!(after["metadata"]["uid"], before["metadata"]["uid"]);

    // Where the repository alone counts, a label that anybody may write is no way around it.
    wanted["spec"]["unmanaged"] = json!("Ignore");
    kubectl.apply(&wanted.to_string());
    kubectl.apply(&labelled);
    kubectl.wait_until(&import, |import| {
        condition(import, "Accepted").is_some_and(|(_, reason, _)| reason == "NotInRepository")
    });
    wait_for("its Service is gone", || {
        let found = kubectl.find(&service);
        found.map_or(Ok(()), |service| Err(service.to_string()))
    });
    let labelled = ["import", "-n", NAMESPACE, "labelled"];
    let labelled = kubectl.find(&labelled).expect("the Import is there");
    assert!(labelled["status"]["targetPort"].is_null(), "{labelled:#}");
}

#[test]
fn one_refused_object_stops_no_other() {
    let cluster = Cluster::new("");
    cluster
        .proxy
        .set_rule(|seen| (seen.path.ends_with("/exports/bad")).then_some(Fault::Answer(422, None)));
    cluster
        .repository
        .write("peers/east/bad.yaml", export("bad", 80));
    cluster
        .repository
        .write("peers/east/good.yaml", export("good", 80));
    let commit = cluster.repository.commit("One of them is refused");
    let _reconciler = cluster.reconciler("one");
    let sync = cluster.wait_for_sync(|sync| {
        sync["status"]["revision"] == commit && has_condition(sync, "Ready", "False")
    });
    let (_, reason, _) = condition(&sync, "Ready").unwrap();
    assert_eq!(reason, "ObjectsRefused");
    assert_eq!(sync["status"]["refused"][0]["object"], "Export shop/bad");
    assert_eq!(
        cluster.exports(),
        ["good".to_owned(), "ledger".to_owned()].into()
    );
    // It is tried again by itself.
    cluster.proxy.clear_rule();
    cluster.wait_until_in_force(&commit);
    assert!(cluster.export("bad").is_some());
}
