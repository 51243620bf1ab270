//! Scenario 14, and the test of the command line: what `weft deploy peer` brings, and takes away.

use serde_json::Value;
use tempfile::TempDir;
use weft_tests::binary;
use weft_tests::cluster::Cluster;
use weft_tests::installation::{GATEWAY, RECONCILER, SYSTEM};
use weft_tests::namespace::isolated;
use weft_tests::wait::{holds, wait_for};

use super::common::{USER, client, export, import, peer, policy};

/// Where Instances are.
const OPERATOR: &str = "clusterlink-operator";

#[test]
fn test_operator() {
    isolated(|| {
        let cluster = Cluster::start(1, "cl0");
        let folder = tempfile::tempdir().unwrap();
        certificates(&folder, &["cl0"]);
        cluster.serve_echo(USER);
        deploy(&cluster, &folder);
        cluster.apply(&peer(&cluster));
        cluster.apply(&export(USER, "http-echo", ""));
        cluster.apply(&import(USER, "imported", 80, 0, "cl0"));
        cluster.apply(&policy(USER, "allow", "allow"));
        let client = client(&cluster);
        cluster.wait_for_answer(&client, "imported", 80, "cl0");
        wait_for_instance(&cluster, "cl-instance", ["True", "True"], Some("True"));

        // A second Instance of the same namespace waits.
        let mut second = cluster.find("instance", OPERATOR, "cl-instance").unwrap();
        second["metadata"] = serde_json::json!({"name": "second", "namespace": OPERATOR});
        second["status"].take();
        cluster.apply(&second.to_string());
        wait_for_instance(&cluster, "second", ["False", "False"], None);
        wait_for_instance(&cluster, "cl-instance", ["True", "True"], Some("True"));

        // It takes over.
        let before = pods(&cluster);
        cluster.delete("instance", OPERATOR, "cl-instance");
        wait_for("the first Instance's Pods are gone", || {
            let now = pods(&cluster);
            let stays = before.iter().filter(|pod| now.contains(pod)).count();
            holds(stays == 0, || format!("{now:?}"))
        });
        wait_for_instance(&cluster, "second", ["True", "True"], Some("True"));
        cluster.wait_for_answer(&client, "imported", 80, "cl0");
    });
}

#[test]
fn basic_test() {
    isolated(|| {
        let cluster = Cluster::start(1, "peer1");
        let folder = tempfile::tempdir().unwrap();
        let before = everything(&cluster);
        certificates(&folder, &["peer1"]);
        deploy(&cluster, &folder);
        // What is there already is left as it is.
        deploy(&cluster, &folder);
        // Something that only Weft can clean up, in a user's namespace.
        cluster.apply(&import(USER, "imported", 80, 0, "peer1"));
        cluster.wait_for_presence("service", USER, "imported", true);
        cluster.weft(
            folder.path(),
            &["delete", "peer", "--name", "peer1", "--yes"],
        );
        wait_for("what there is is what there was", || {
            let after = everything(&cluster);
            holds(after == before, || {
                let differs: Vec<_> = after
                    .iter()
                    .filter(|name| !before.contains(name))
                    .chain(before.iter().filter(|name| !after.contains(name)))
                    .collect();
                format!("{differs:#?}")
            })
        });
    });
}

/// `weft create fabric`, and `weft create peer-cert` for each peer.
pub(crate) fn certificates(folder: &TempDir, peers: &[&str]) {
    let run = |arguments: &[&str]| {
        let output = binary::run(folder.path(), arguments);
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    };
    run(&["create", "fabric"]);
    for peer in peers {
        run(&["create", "peer-cert", "--name", peer]);
    }
}

/// `weft deploy peer`, and both rollouts.
fn deploy(cluster: &Cluster, folder: &TempDir) {
    let arguments = [
        "deploy",
        "peer",
        "--name",
        cluster.name(),
        "--ingress=NodePort",
        "--ingress-port=30443",
    ];
    cluster.weft(folder.path(), &arguments);
    for deployment in [RECONCILER, GATEWAY] {
        cluster.wait_for_presence("deployment", SYSTEM, deployment, true);
        cluster.wait_for_rollout(SYSTEM, deployment);
    }
}

/// Waits for what an Instance's status says of its Deployments, and of its ingress.
fn wait_for_instance(cluster: &Cluster, name: &str, ready: [&str; 2], ingress: Option<&str>) {
    wait_for(&format!("the Instance {name} is {ready:?}"), || {
        let instance = cluster
            .find("instance", OPERATOR, name)
            .ok_or("it isn't there")?;
        let status = |part: &str, kind: &str| {
            let conditions = &instance["status"][part]["conditions"];
            conditions[kind]["status"].clone()
        };
        let is_so = status("controlplane", "DeploymentReady") == ready[0]
            && status("dataplane", "DeploymentReady") == ready[1]
            && ingress.is_none_or(|wanted| status("ingress", "ServiceReady") == wanted);
        holds(is_so, || instance["status"].to_string())
    });
}

fn pods(cluster: &Cluster) -> Vec<String> {
    let text = cluster.kubectl(&["get", "pods", "-n", SYSTEM, "-o", "name"]);
    text.lines().map(str::to_owned).collect()
}

/// The names of all objects of a cluster, but for what is said and not kept.
fn everything(cluster: &Cluster) -> Vec<String> {
    let kinds = cluster.kubectl(&["api-resources", "--verbs=list", "-o", "name"]);
    let kinds: Vec<_> = kinds
        .lines()
        .filter(|kind| !kind.starts_with("events") && !kind.starts_with("componentstatuses"))
        .collect();
    let mut found = Vec::new();
    let text = cluster.kubectl(&["get", &kinds.join(","), "-A", "-o", "json"]);
    let list: Value = serde_json::from_str(&text).unwrap();
    for object in list["items"].as_array().unwrap() {
        let name = |path: &str| {
            object["metadata"][path]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        found.push(format!(
            "{} {}/{}",
            object["kind"],
            name("namespace"),
            name("name")
        ));
    }
    found.sort();
    found
}
