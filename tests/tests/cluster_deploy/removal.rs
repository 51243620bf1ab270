//! `weft deploy peer` twice and `weft delete peer`, on two clusters between which traffic went.

use serde_json::{Value, json};
use weft_tests::cluster::Cluster;
use weft_tests::namespace::isolated;
use weft_tests::role::{OPERATOR, SYSTEM};
use weft_tests::wait::{holds, wait_for};

use super::common::{certificates, run, said, told};

/// A namespace of users.
const SHOP: &str = "shop";
/// Where a second Instance installs gateways.
const TEAMS: &str = "teams";
/// The node port by which the clusters reach each other.
const PORT: u16 = 30_443;

#[test]
fn two_clusters_are_after_it_what_they_were_before() {
    isolated(|| {
        let clusters = [Cluster::start(1, "east"), Cluster::start(2, "west")];
        let folder = certificates(&["east", "west"]);
        let folder = folder.path();
        let [east, west] = &clusters;
        for cluster in &clusters {
            cluster.kubectl(&["create", "namespace", SHOP]);
            cluster.kubectl(&["create", "namespace", TEAMS]);
            cluster.serve_echo(SHOP);
            for object in foreign() {
                cluster.apply(&object.to_string());
            }
        }
        let client = west.client(SHOP, "client", "default");
        // Once the cluster's own controllers have done theirs.
        let before = clusters.each_ref().map(settled);
        let weft = |cluster: &Cluster, arguments: &[&str]| {
            let output = run(folder, &cluster.kubeconfig(), arguments);
            assert!(output.status.success(), "{}", said(&output));
            told(folder, &output)
        };

        for cluster in &clusters {
            let port = format!("--ingress-port={PORT}");
            let deploy = [
                "deploy",
                "peer",
                "--name",
                cluster.name(),
                "--ingress=NodePort",
                &port,
            ];
            weft(cluster, &deploy);
            let versions = installed(cluster);
            weft(cluster, &[&deploy[..], &["--wait"]].concat());
            assert_eq!(
                installed(cluster),
                versions,
                "the second time changed something"
            );
        }
        for (cluster, other) in [(east, west), (west, east)] {
            cluster.apply(&peer(other));
            for object in policies() {
                cluster.apply(&object.to_string());
            }
        }
        east.apply(&export().to_string());
        for object in imports() {
            west.apply(&object.to_string());
        }
        west.wait_for_answer(&client, "imported", 80, "east");
        west.wait_for_presence("service", "default", "imported", true);
        wait_for("a foreign Service has slices of the gateways", || {
            let slices = slices(west);
            holds(!slices.is_empty(), || "none".to_owned())
        });
        // A second installation, where there is no Import that both could want to serve.
        east.apply(&second_instance().to_string());
        east.wait_for_presence("deployment", TEAMS, "cl-dataplane", true);
        east.wait_for_presence("lease", TEAMS, "weft-reconciler", true);
        // The foreign one of the name of an Import is told, and left alone.
        west.wait_for_condition("import", SHOP, "theirs", "ImportServiceValid", "False");

        let delete =
            |cluster: &Cluster| ["delete", "peer", "--name", cluster.name()].map(str::to_owned);
        for cluster in &clusters {
            let arguments = delete(cluster);
            let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
            let refused = run(folder, &cluster.kubeconfig(), &arguments);
            assert!(!refused.status.success(), "people's objects would be gone");
            let said = weft(cluster, &[&arguments[..], &["--yes"]].concat());
            let unhashed = unhashed(&said);
            insta::assert_snapshot!(format!("delete_of_{}", cluster.name()), unhashed);
        }
        for (cluster, before) in clusters.iter().zip(&before) {
            wait_until_as_before(cluster, before);
            // To take it away again is no mistake.
            let arguments = delete(cluster);
            let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
            let nothing = weft(cluster, &arguments);
            assert!(nothing.contains(": 0 objects"), "{nothing}");
        }
    });
}

#[test]
fn an_installation_without_an_operator_goes_as_a_whole() {
    isolated(|| {
        let cluster = Cluster::start(1, "east");
        let folder = certificates(&["east"]);
        let folder = folder.path();
        let before = settled(&cluster);
        let weft = |arguments: &[&str]| {
            let output = run(folder, &cluster.kubeconfig(), arguments);
            assert!(output.status.success(), "{}", said(&output));
        };
        weft(&["deploy", "peer", "--name", "east", "--start=none"]);
        let file = folder.join("default_fabric/east/k8s.yaml");
        let file = file.to_str().unwrap();
        let apply = ["apply", "--server-side", "-f", file];
        // Objects of kinds that the same file defines are accepted once these are served.
        wait_for("the file is accepted", || {
            cluster.kubectl_command().try_run(&apply, "")
        });
        for deployment in ["cl-controlplane", "cl-dataplane"] {
            cluster.wait_for_rollout(SYSTEM, deployment);
        }
        weft(&["delete", "peer", "--name", "east"]);
        wait_until_as_before(&cluster, &before);
    });
}

/// Waits until a cluster has the objects that it had.
fn wait_until_as_before(cluster: &Cluster, before: &[String]) {
    wait_for(&format!("{} is what it was", cluster.name()), || {
        let after = everything(cluster);
        let gone = before.iter().filter(|object| !after.contains(object));
        let new = after.iter().filter(|object| !before.contains(object));
        let differs: Vec<_> = gone.chain(new).collect();
        holds(differs.is_empty(), || format!("{differs:#?}"))
    });
}

/// What is somebody else's, and looks like ours.
fn foreign() -> Vec<Value> {
    let service = |name: &str, labels: Value| {
        json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name, "namespace": SHOP, "labels": labels},
            "spec": {"ports": [{"port": 80, "targetPort": 8080, "protocol": "TCP"}]},
        })
    };
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": "merged-by-hand",
            "namespace": SHOP,
            "labels": {"kubernetes.io/service-name": "merged"},
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["192.0.2.9"]}],
        "ports": [{"port": 8080, "protocol": "TCP"}],
    });
    let secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "cl-peer", "namespace": SHOP},
        "stringData": {"mine": "too"},
    });
    let account = json!({
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "cl-dataplane", "namespace": SHOP},
    });
    vec![
        service("theirs", json!({})),
        service("merged", json!({})),
        service(
            "other-manager",
            json!({
                "app.kubernetes.io/managed-by": "helm",
                "clusterlink.net/import-name": "x",
            }),
        ),
        service(
            "clusterlink",
            json!({"app.kubernetes.io/part-of": "theirs"}),
        ),
        slice,
        secret,
        account,
    ]
}

fn peer(cluster: &Cluster) -> String {
    json!({
        "apiVersion": "clusterlink.net/v1alpha1",
        "kind": "Peer",
        "metadata": {"name": cluster.name(), "namespace": SYSTEM},
        "spec": {"gateways": [{"host": cluster.address().to_string(), "port": PORT}]},
    })
    .to_string()
}

fn export() -> Value {
    json!({
        "apiVersion": "clusterlink.net/v1alpha1",
        "kind": "Export",
        "metadata": {"name": "http-echo", "namespace": SHOP},
        "spec": {"port": 8080},
    })
}

/// One in the users' namespace, one in another, one that adds to a Service, one whose name is taken, and
/// one in the system namespace.
fn imports() -> Vec<Value> {
    let import = |namespace: &str, name: &str, labels: Value| {
        json!({
            "apiVersion": "clusterlink.net/v1alpha1",
            "kind": "Import",
            "metadata": {"name": name, "namespace": namespace, "labels": labels},
            "spec": {
                "port": 80,
                "sources": [{"peer": "east", "exportName": "http-echo", "exportNamespace": SHOP}],
            },
        })
    };
    vec![
        import(SHOP, "imported", json!({})),
        import("default", "imported", json!({})),
        import(
            SHOP,
            "merged",
            json!({"import.clusterlink.net/merge": "true"}),
        ),
        import(SHOP, "theirs", json!({})),
        import(SYSTEM, "inside", json!({})),
    ]
}

fn second_instance() -> Value {
    json!({
        "apiVersion": "clusterlink.net/v1alpha1",
        "kind": "Instance",
        "metadata": {"name": "second", "namespace": SHOP},
        "spec": {"namespace": TEAMS},
    })
}

fn policies() -> Vec<Value> {
    let policy = |kind: &str, metadata: Value| {
        json!({
            "apiVersion": "clusterlink.net/v1alpha1",
            "kind": kind,
            "metadata": metadata,
            "spec": {
                "action": "allow",
                "from": [{"workloadSelector": {}}],
                "to": [{"workloadSelector": {}}],
            },
        })
    };
    vec![
        policy("AccessPolicy", json!({"name": "allow", "namespace": SHOP})),
        policy("PrivilegedAccessPolicy", json!({"name": "allow"})),
    ]
}

/// The slices that merged Imports made.
fn slices(cluster: &Cluster) -> Vec<String> {
    let label = "clusterlink.net/dataplane-endpointslice-name";
    let names = cluster.kubectl(&["get", "endpointslices", "-A", "-l", label, "-o", "name"]);
    names.lines().map(str::to_owned).collect()
}

/// Everything that is installed, with the generations of what has one.
fn installed(cluster: &Cluster) -> String {
    let line = "{.kind} {.metadata.name} {.metadata.uid} {.metadata.generation}";
    let lines = format!("jsonpath={{range .items[*]}}{line}{{\"\\n\"}}{{end}}");
    let kinds = "crds,namespaces,serviceaccounts,secrets,clusterroles,clusterrolebindings";
    let of_weft = [
        "get",
        kinds,
        "-A",
        "-l",
        "app.kubernetes.io/part-of=weft",
        "-o",
        &lines,
    ];
    let operator = ["get", "deployments,instances", "-n", OPERATOR, "-o", &lines];
    cluster.kubectl(&of_weft) + &cluster.kubectl(&operator)
}

/// All objects of a cluster with what people say of them, once nothing changes any more.
fn settled(cluster: &Cluster) -> Vec<String> {
    let mut last = Vec::new();
    wait_for("the cluster is at rest", || {
        let now = everything(cluster);
        let is_same = now == last;
        last.clone_from(&now);
        holds(is_same, || format!("{last:#?}")).map(|()| now)
    })
}

/// All objects of a cluster, but for what is said and not kept: kind, name, and for Services, slices and
/// Secrets what they hold.
fn everything(cluster: &Cluster) -> Vec<String> {
    let kinds = cluster.kubectl(&["api-resources", "--verbs=list", "-o", "name"]);
    let kinds: Vec<_> = kinds
        .lines()
        .filter(|kind| !kind.starts_with("events") && !kind.starts_with("componentstatuses"))
        .collect();
    let text = cluster.kubectl(&["get", &kinds.join(","), "-A", "-o", "json"]);
    let list: Value = serde_json::from_str(&text).unwrap();
    let mut found: Vec<_> = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|object| {
            let metadata = &object["metadata"];
            let holds = ["spec", "endpoints", "ports", "data", "labels"].map(|field| match field {
                "labels" => metadata[field].to_string(),
                // A machine's name and its leases come and go with time.
                _ if object["kind"] == "Lease" => String::new(),
                _ => object[field].to_string(),
            });
            let (kind, namespace, name) =
                (&object["kind"], &metadata["namespace"], &metadata["name"]);
            format!(
                "{kind} {namespace}/{name} {} {}",
                metadata["uid"],
                holds.join(" ")
            )
        })
        .collect();
    found.sort();
    found
}

/// The names of Services of Imports and of the slices that they follow end in something random.
fn unhashed(text: &str) -> String {
    let is_random = |part: &str| {
        part.len() >= 5
            && part.chars().all(|c| c.is_ascii_alphanumeric())
            && part.chars().any(|c| c.is_ascii_digit())
    };
    let lines = text.lines().map(|line| match line.rsplit_once('-') {
        Some((rest, last)) if is_random(last) => format!("{rest}-RANDOM"),
        _ => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}
