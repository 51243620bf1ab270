//! The kustomize base, and what `weft deploy peer` has of it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;
use weft_tests::api_server::ApiServer;
use weft_tests::role::{OPERATOR, SYSTEM};

use super::common::{BASE, DEFINITIONS, certificates, objects, place, run, said};

#[test]
fn a_server_accepts_everything_and_nothing_differs_the_second_time() {
    let server = ApiServer::bare();
    let kubectl = server.kubectl();
    let built = objects(&kubectl.run(&["kustomize", BASE]));

    // A trial, for which the namespaces have to be there.
    let definitions = kubectl.run(&["apply", "--dry-run=server", "-k", DEFINITIONS]);
    for namespace in [OPERATOR, SYSTEM] {
        kubectl.run(&["create", "namespace", namespace]);
    }
    let tried = kubectl.run(&["apply", "--dry-run=server", "-k", BASE]);
    let count = |text: &str| {
        let lines = text
            .lines()
            .filter(|line| line.ends_with("(server dry run)"));
        lines.count()
    };
    let is_definition = |object: &&Value| object["kind"] == "CustomResourceDefinition";
    assert_eq!(
        count(&definitions),
        built.iter().filter(is_definition).count()
    );
    assert_eq!(count(&tried), built.len());
    assert_eq!(kubectl.run(&["get", "crds", "-o", "name"]), "");
    assert_eq!(kubectl.run(&["get", "deployments", "-A", "-o", "name"]), "");

    // In earnest, and again.
    kubectl.run(&["apply", "--server-side", "--force-conflicts", "-k", BASE]);
    kubectl.run(&[
        "wait",
        "--for=condition=Established",
        "--timeout=60s",
        "crd",
        "--all",
    ]);
    let versions = || {
        // A Deployment's generation: a server may note the time of an application that changes nothing.
        let of = |kinds: &str, version: &str| {
            let line = format!("{{.kind}} {{.metadata.name}} {{.metadata.{version}}}");
            let lines = format!("jsonpath={{range .items[*]}}{line}{{\"\\n\"}}{{end}}");
            kubectl.run(&["get", kinds, "-A", "-o", &lines])
        };
        let kinds = "namespaces,serviceaccounts,clusterroles,clusterrolebindings,rolebindings";
        of(kinds, "resourceVersion") + &of("crds,deployments", "generation")
    };
    let before = versions();
    assert!(
        before.contains("Deployment cl-operator-controller-manager 1"),
        "{before}"
    );
    kubectl.run(&["apply", "--server-side", "--force-conflicts", "-k", BASE]);
    assert_eq!(versions(), before);
}

#[test]
fn what_is_deployed_is_the_base_and_little_more() {
    let server = ApiServer::start_own();
    let kubectl = server.kubectl();
    let folder = certificates(&["east"]);
    let kubeconfig = server.kubeconfig();
    let base = objects(&kubectl.run(&["kustomize", BASE]));
    let by_place = |objects: Vec<Value>| -> BTreeMap<String, Value> {
        objects
            .into_iter()
            .map(|object| (place(&object), object))
            .collect()
    };
    let base = by_place(base);

    let output = run(
        folder.path(),
        &kubeconfig,
        &["deploy", "peer", "--name", "east", "--dry-run"],
    );
    assert!(output.status.success(), "{}", said(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    let printed = objects(&text);
    let order: Vec<_> = printed
        .iter()
        .map(|object| object["kind"].as_str().unwrap().to_owned())
        .collect();
    let mut printed = by_place(printed);
    for (place, object) in &base {
        assert_eq!(printed.remove(place).as_ref(), Some(object), "{place}");
    }
    let more: Vec<_> = printed.keys().map(String::as_str).collect();
    let own = [
        "Instance clusterlink-operator/cl-instance",
        "Secret clusterlink-system/cl-ca",
        "Secret clusterlink-system/cl-peer",
    ];
    assert_eq!(more, own);
    assert!(!text.contains("PRIVATE KEY"), "a key is printed");
    // What others need comes before them.
    let at = |kind: &str| order.iter().position(|other| other == kind).unwrap();
    assert_eq!(at("CustomResourceDefinition"), 0);
    assert!(at("Namespace") < at("ServiceAccount"));
    assert!(at("Deployment") < at("Instance"));
    assert_eq!(kubectl.run(&["get", "deployments", "-A", "-o", "name"]), "");

    // Without an operator: a file for kubectl, which holds the key.
    let none = ["deploy", "peer", "--name", "east", "--start", "none"];
    let output = run(folder.path(), &kubeconfig, &none);
    assert!(output.status.success(), "{}", said(&output));
    let file = folder.path().join("default_fabric/east/k8s.yaml");
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let written = by_place(objects(&fs::read_to_string(&file).unwrap()));
    assert!(
        !written.keys().any(|place| place.contains("operator")),
        "{:?}",
        written.keys()
    );
    assert!(written.contains_key("Deployment clusterlink-system/cl-dataplane"));
    kubectl.run(&[
        "apply",
        "--server-side",
        "--force-conflicts",
        "-f",
        file.to_str().unwrap(),
    ]);
    for deployment in ["cl-controlplane", "cl-dataplane"] {
        let live = kubectl.find(&["deployment", deployment, "-n", SYSTEM]);
        assert!(live.is_some(), "{deployment}");
    }
}
