//! `weft reconcile --hub`: one process for several clusters, each on its own.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::net::SocketAddr;

use serde_json::{Value, json};
use weft_tests::api_server::{ApiServer, condition, has_condition};
use weft_tests::certificates::Authority;
use weft_tests::repository::FabricRepository;
use weft_tests::role::{Reconciler, SYSTEM};
use weft_tests::wait::{holds, wait_for};
use weft_tests::yaml;

const NAMESPACE: &str = "shop";

/// A cluster with the FabricSyncs, and those that they lead into.
struct Hub {
    server: ApiServer,
    members: [(&'static str, ApiServer); 2],
    repository: FabricRepository,
}

impl Hub {
    fn new() -> Self {
        let member = |name| {
            let server = ApiServer::start_own();
            server.kubectl().run(&["create", "namespace", NAMESPACE]);
            (name, server)
        };
        let members = [member("east"), member("west")];
        let server = ApiServer::start_own();
        let repository = FabricRepository::new();
        repository.write("fabric.yaml", yaml::fabric());
        repository.write("ca/test.pem", Authority::new("test").pem());
        for (peer, _) in &members {
            let gateway = "192.0.2.1:4443".parse().unwrap();
            repository.write(
                &format!("peers/{peer}/peer.yaml"),
                yaml::peer(peer, gateway),
            );
            repository.write(&format!("peers/{peer}/export.yaml"), export(8080));
        }
        let import = yaml::import(NAMESPACE, "ledger", 80, "east");
        repository.write("peers/west/import.yaml", import);
        repository.commit("Begin");
        let hub = Self {
            server,
            members,
            repository,
        };
        for (name, server) in &hub.members {
            hub.lead_to(name, &fs::read_to_string(server.kubeconfig()).unwrap());
        }
        hub
    }

    /// A FabricSync that leads into another cluster by this kubeconfig.
    fn lead_to(&self, name: &str, kubeconfig: &str) {
        let secret = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": format!("{name}-kubeconfig"), "namespace": SYSTEM},
            "stringData": {"kubeconfig": kubeconfig},
        });
        let sync = json!({
            "apiVersion": "weft.dev/v1alpha1",
            "kind": "FabricSync",
            "metadata": {"name": name, "namespace": SYSTEM},
            "spec": {
                "peer": name,
                "repository": self.repository.url(),
                "ref": "main",
                "interval": "1s",
                "kubeconfigSecretRef": {"name": format!("{name}-kubeconfig")},
            },
        });
        self.server.kubectl().apply(&secret.to_string());
        self.server.kubectl().apply(&sync.to_string());
    }

    fn reconcile(&self) -> Reconciler {
        let arguments = ["--hub", "--lease-duration", "5s"];
        Reconciler::start("hub", &self.server.kubeconfig(), &arguments)
    }

    fn wait_for_sync(&self, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let sync = ["fabricsync", "-n", SYSTEM, name];
        self.server.kubectl().wait_until(&sync, wanted)
    }

    fn wait_until_in_force(&self, name: &str, commit: &str) {
        self.wait_for_sync(name, |sync| {
            sync["status"]["revision"] == commit && has_condition(sync, "Ready", "True")
        });
    }

    fn port(&self, member: usize) -> Value {
        let kubectl = self.members[member].1.kubectl();
        let export = kubectl.find(&["export", "-n", NAMESPACE, "ledger"]);
        export.map_or(Value::Null, |export| export["spec"]["port"].clone())
    }
}

fn export(port: u16) -> String {
    yaml::export(NAMESPACE, "ledger", SocketAddr::from(([10, 1, 2, 3], port)))
}

#[test]
fn what_a_fabric_sync_comes_to_is_told_where_it_lives() {
    let hub = Hub::new();
    let _reconciler = hub.reconcile();
    hub.wait_until_in_force("west", &hub.repository.head());
    let kubectl = hub.server.kubectl();
    let none = json!({"spec": {"prune": {"maxCount": 0, "maxPercent": 0}}}).to_string();
    let patch = ["patch", "--type", "merge", "-p", &none];
    kubectl.run(&[&patch[..], &["-n", SYSTEM, "fabricsync", "west"]].concat());
    hub.repository.remove("peers/west/export.yaml");
    hub.repository.commit("Without the export");
    let about = |kubectl: &weft_tests::api_server::Kubectl| {
        let events = kubectl.find(&["events", "-n", SYSTEM]);
        let events = events.map_or(Vec::new(), |list| {
            list["items"].as_array().cloned().unwrap_or_default()
        });
        let about = events.into_iter().filter(|event| {
            event["reason"] == "PruneBlocked" && event["involvedObject"]["name"] == "west"
        });
        about.count()
    };
    wait_for("the hub's FabricSync has the event", || {
        holds(about(&kubectl) > 0, String::new)
    });
    assert_eq!(about(&hub.members[1].1.kubectl()), 0);
}

#[test]
fn a_dead_cluster_delays_no_other() {
    let mut hub = Hub::new();
    let mut reconciler = hub.reconcile();
    let first = hub.repository.head();
    for name in ["east", "west"] {
        hub.wait_until_in_force(name, &first);
    }
    assert_eq!((hub.port(0), hub.port(1)), (8080.into(), 8080.into()));
    // Nothing of the fabric is in the hub itself.
    let kubectl = hub.server.kubectl();
    assert_eq!(kubectl.find(&["exports", "-A"]), None);
    // What an object comes to is done there as well: ports, Services, conditions.
    let west = hub.members[1].1.kubectl();
    west.wait_until(&["import", "-n", NAMESPACE, "ledger"], |import| {
        has_condition(import, "ImportServiceValid", "True")
    });
    west.wait_until(&["service", "-n", NAMESPACE, "ledger"], |service| {
        service["spec"]["type"] == "ExternalName"
    });

    hub.members[0].1.kill();
    for peer in ["east", "west"] {
        let path = format!("peers/{peer}/export.yaml");
        hub.repository.write(&path, export(9090));
    }
    let second = hub.repository.commit("While one cluster is dead");
    hub.wait_until_in_force("west", &second);
    assert_eq!(hub.port(1), 9090);
    let east = hub.wait_for_sync("east", |sync| has_condition(sync, "Ready", "False"));
    assert_eq!(east["status"]["revision"], first);

    // Nor does it when the hub begins anew.
    reconciler.process().kill();
    let reconciler = hub.reconcile();
    let east = hub.wait_for_sync("east", |sync| {
        condition(sync, "Ready").is_some_and(|(_, reason, _)| reason == "ClusterUnreachable")
    });
    let message = condition(&east, "Ready").unwrap().2;
    assert!(message.contains(hub.members[0].1.address()), "{message}");
    hub.repository.write("peers/west/export.yaml", export(7070));
    let third = hub.repository.commit("Still dead");
    hub.wait_until_in_force("west", &third);
    assert_eq!(hub.port(1), 7070);

    hub.members[0].1.resume();
    hub.wait_until_in_force("east", &third);
    assert_eq!(hub.port(0), 9090);
    drop(reconciler);
}

#[test]
fn a_cluster_may_have_a_reconciler_of_its_own_or_none() {
    let hub = Hub::new();
    let (_, west) = &hub.members[1];
    let leader = || {
        let lease = west
            .kubectl()
            .find(&["lease", "-n", SYSTEM, "weft-reconciler"]);
        lease.map(|lease| lease["spec"]["holderIdentity"].to_string())
    };
    // It does what there is to do beside the repository.
    let arguments = ["--lease-duration", "5s"];
    let mut own = Reconciler::start("own", &west.kubeconfig(), &arguments);
    own.wait_until_it_leads();
    let _reconciler = hub.reconcile();
    for name in ["east", "west"] {
        hub.wait_until_in_force(name, &hub.repository.head());
    }
    assert_eq!(hub.port(1), 8080);
    let is_served = |import: &Value| has_condition(import, "ImportServiceValid", "True");
    let ledger = ["import", "-n", NAMESPACE, "ledger"];
    west.kubectl().wait_until(&ledger, is_served);
    assert!(leader().unwrap().contains("own_"), "{:?}", leader());

    own.process().kill();
    let import = yaml::import(NAMESPACE, "other", 81, "east");
    hub.repository.write("peers/west/other.yaml", import);
    let commit = hub.repository.commit("Another import");
    hub.wait_until_in_force("west", &commit);
    let other = ["import", "-n", NAMESPACE, "other"];
    west.kubectl().wait_until(&other, is_served);
    assert!(leader().unwrap().contains("hub_"), "{:?}", leader());
}

#[test]
fn what_a_secret_must_not_hold_is_refused() {
    let hub = Hub::new();
    let text = fs::read_to_string(hub.members[0].1.kubeconfig()).unwrap();
    let mut config: Value = serde_yaml::from_str(&text).unwrap();
    config["users"][0]["user"] = json!({"exec": {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": "/bin/touch",
        "args": ["/tmp/weft-test-exec"],
    }});
    hub.lead_to("east", &config.to_string());
    let _reconciler = hub.reconcile();
    hub.wait_until_in_force("west", &hub.repository.head());
    let east = hub.wait_for_sync("east", |sync| has_condition(sync, "Stalled", "True"));
    let (_, reason, message) = condition(&east, "Ready").unwrap();
    assert_eq!(reason, "InvalidKubeconfig");
    assert!(message.contains("may start no program"), "{message}");
    // The Secret is mended, and heeded at once.
    hub.lead_to("east", &text);
    hub.wait_until_in_force("east", &hub.repository.head());
    wait_for("the object is there", || {
        let port = hub.port(0);
        holds(port == 8080, || port.to_string())
    });
}
