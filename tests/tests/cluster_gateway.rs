//! `weft gateway` in clusters: what it goes by, and that it goes on.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;

use serde_json::{Value, json};
use weft_tests::api_server::{ApiServer, Kubectl, condition, has_condition};
use weft_tests::certificates::Authority;
use weft_tests::git_server::GitServer;
use weft_tests::network::{Loopback, exchange, exchange_from};
use weft_tests::repository::FabricRepository;
use weft_tests::role::{ClusterGateway, Reconciler, SYSTEM};
use weft_tests::services::Service;
use weft_tests::wait::{holds, wait_for};
use weft_tests::yaml;

const NAMESPACE: &str = "shop";

/// One cluster with its gateway.
struct Cluster {
    name: &'static str,
    server: ApiServer,
    gateway: ClusterGateway,
    reconciler: Option<Reconciler>,
}

/// East exports a service that west imports.
struct Two {
    east: Cluster,
    west: Cluster,
    repository: FabricRepository,
    git: GitServer,
    authority: Authority,
    service: Service,
}

impl Cluster {
    fn new(name: &'static str, authority: &Authority) -> Self {
        let server = ApiServer::start_own();
        server.kubectl().run(&["create", "namespace", NAMESPACE]);
        let gateway = ClusterGateway::new(name, &server.kubeconfig(), &authority.peer(name));
        Self {
            name,
            server,
            gateway,
            reconciler: None,
        }
    }

    fn kubectl(&self) -> Kubectl {
        self.server.kubectl()
    }

    fn reconcile(&mut self) {
        let arguments = ["--lease-duration", "5s"];
        let reconciler = Reconciler::start(self.name, &self.server.kubeconfig(), &arguments);
        self.reconciler = Some(reconciler);
    }

    fn keep_to(&self, url: &str) {
        let name = self.name;
        self.kubectl().apply(&format!(
            "apiVersion: weft.dev/v1alpha1
kind: FabricSync
metadata: {{name: weft, namespace: {SYSTEM}}}
spec: {{peer: {name}, repository: \"{url}\", ref: main, interval: 1h}}
"
        ));
    }

    fn wait_until_enforced(&self, commit: &str) {
        wait_for(&format!("{} enforces {commit}", self.name), || {
            let snapshot = self.gateway.snapshot()?;
            holds(snapshot["revision"] == commit, || snapshot.to_string())
        });
    }

    /// The address of the import `ledger`, once it has a port.
    fn import(&self) -> SocketAddr {
        let import = self
            .kubectl()
            .wait_until(&["import", "-n", NAMESPACE, "ledger"], |import| {
                has_condition(import, "ImportTargetPortValid", "True")
            });
        let port = import["status"]["targetPort"].as_u64().unwrap();
        self.gateway.import(u16::try_from(port).unwrap())
    }
}

impl Two {
    /// Two clusters, and nothing in them.
    fn new() -> Self {
        let authority = Authority::new("test");
        let east = Cluster::new("east", &authority);
        let west = Cluster::new("west", &authority);
        let service = Service::echo();
        let repository = FabricRepository::new();
        repository.write("fabric.yaml", yaml::fabric());
        repository.write("ca/test.pem", authority.pem());
        for cluster in [&east, &west] {
            let peer = yaml::peer(cluster.name, cluster.gateway.address());
            repository.write(&format!("peers/{}/peer.yaml", cluster.name), peer);
        }
        let allow = yaml::policy(NAMESPACE, "allow", "allow");
        let git = GitServer::start(&repository.bare());
        repository.write("peers/east/allow.yaml", &allow);
        repository.write("peers/west/allow.yaml", &allow);
        let export = yaml::export(NAMESPACE, "ledger", service.address());
        repository.write("peers/east/export.yaml", export);
        repository.write("peers/west/import.yaml", import());
        repository.commit("Begin");
        Self {
            east,
            west,
            repository,
            git,
            authority,
            service,
        }
    }

    /// Both keep to the repository, and their gateways run.
    fn start(&mut self) {
        for cluster in [&mut self.east, &mut self.west] {
            cluster.keep_to(&self.git.url());
            cluster.reconcile();
            cluster.gateway.start();
        }
        self.wait_until_enforced(&self.repository.head());
    }

    /// Commits, and tells both reconcilers as the repository's host would.
    fn push(&self, message: &str) -> String {
        let commit = self.repository.commit(message);
        self.hook();
        commit
    }

    fn hook(&self) {
        for cluster in [&self.east, &self.west] {
            cluster.reconciler.iter().for_each(Reconciler::hook);
        }
    }

    fn wait_until_enforced(&self, commit: &str) {
        self.east.wait_until_enforced(commit);
        self.west.wait_until_enforced(commit);
    }
}

/// An Import whose port is left to the cluster.
fn import() -> String {
    format!(
        "apiVersion: clusterlink.net/v1alpha1
kind: Import
metadata: {{name: ledger, namespace: {NAMESPACE}}}
spec:
  port: 80
  sources:
  - {{peer: east, exportName: ledger, exportNamespace: {NAMESPACE}}}
"
    )
}

fn is_allowed(import: SocketAddr) -> bool {
    exchange(import, b"hello").is_ok_and(|answer| answer == b"hello")
}

fn wait_until(import: SocketAddr, allowed: bool) {
    wait_for("traffic is as it should be", || {
        holds(is_allowed(import) == allowed, || format!("not {allowed}"))
    });
}

#[test]
fn two_clusters_share_a_service_through_one_repository() {
    let mut two = Two::new();
    two.start();
    let import = two.west.import();
    wait_until(import, true);
    assert!(two.service.accepted() > 0);

    // What the gateways know of each other stands in the Peers.
    let peer = two
        .west
        .kubectl()
        .wait_until(&["peer", "-n", SYSTEM, "east"], |peer| {
            has_condition(peer, "PeerReachable", "True")
        });
    assert_eq!(peer["status"]["labels"]["site"], "east");
    assert!(peer["status"]["lastSeen"].is_null());

    let deny = yaml::policy(NAMESPACE, "deny", "deny");
    two.repository.write("peers/west/deny.yaml", &deny);
    two.repository.write("peers/east/deny.yaml", &deny);
    let begun = Instant::now();
    let commit = two.push("Deny everything");
    two.wait_until_enforced(&commit);
    println!(
        "from the push to enforced in both clusters, by a webhook: {:?}",
        begun.elapsed()
    );
    assert!(!is_allowed(import));
    two.repository.revert();
    two.hook();
    wait_until(import, true);

    // A gateway that goes is noticed by the other cluster.
    drop(
        two.east
            .gateway
            .process()
            .wait_for_line("anything", |_| true),
    );
    two.east.gateway.process().kill();
    let peer = two
        .west
        .kubectl()
        .wait_until(&["peer", "-n", SYSTEM, "east"], |peer| {
            has_condition(peer, "PeerReachable", "False")
        });
    assert!(peer["status"]["lastSeen"].is_string(), "{peer:#}");
    two.east.gateway.start();
    two.west
        .kubectl()
        .wait_until(&["peer", "-n", SYSTEM, "east"], |peer| {
            has_condition(peer, "PeerReachable", "True") && peer["status"]["lastSeen"].is_null()
        });
    wait_until(import, true);
}

#[test]
fn row_54_gateways_go_on_without_reconciler_and_server_and_start_without_them() {
    let mut two = Two::new();
    two.start();
    let import = two.west.import();
    wait_until(import, true);
    for cluster in [&mut two.east, &mut two.west] {
        cluster.reconciler = None;
        cluster.server.kill();
    }
    assert!(is_allowed(import));
    two.west.gateway.process().kill();
    two.west.gateway.start();
    wait_until(import, true);
    assert_eq!(two.west.gateway.readiness(), Ok(()));

    // They come back, and so do news.
    for cluster in [&mut two.east, &mut two.west] {
        cluster.server.resume();
        cluster.reconcile();
    }
    two.repository.write(
        "peers/west/deny.yaml",
        yaml::policy(NAMESPACE, "deny", "deny"),
    );
    let commit = two.repository.commit("Deny");
    two.west.wait_until_enforced(&commit);
    assert!(!is_allowed(import));
}

#[test]
fn killed_gateways_and_reconcilers_converge_to_the_head() {
    // The long form:
    // WEFT_KILLS=50 cargo test -p weft-tests --test cluster_gateway killed -- --nocapture
    let kills = std::env::var("WEFT_KILLS").ok();
    let kills: u32 = kills.and_then(|kills| kills.parse().ok()).unwrap_or(5);
    let mut two = Two::new();
    two.start();
    let import = two.west.import();
    let mut is_denied = false;
    for kill in 0..kills {
        is_denied = !is_denied;
        match is_denied {
            true => two.repository.write(
                "peers/west/deny.yaml",
                yaml::policy(NAMESPACE, "deny", "deny"),
            ),
            false => two.repository.remove("peers/west/deny.yaml"),
        }
        let commit = two.push("Flip");
        // Somewhere between the push and what becomes of it, and sometimes after it.
        for _ in 0..(kill * 7919) % 400 {
            let snapshot = two.west.gateway.snapshot();
            if snapshot.is_ok_and(|snapshot| snapshot["revision"] == commit) {
                break;
            }
        }
        if kill % 3 != 0 {
            two.west.gateway.process().kill();
            two.west.gateway.start();
        }
        if kill % 3 != 1 {
            let mut reconciler = two.west.reconciler.take().unwrap();
            reconciler.process().kill();
            two.west.reconcile();
        }
    }
    let head = two.repository.head();
    two.west.wait_until_enforced(&head);
    wait_until(import, !is_denied);
    println!("killed {kills} times");
}

#[test]
fn what_is_applied_by_hand_opens_nothing_unless_it_is_honoured() {
    let mut two = Two::new();
    two.repository.remove("peers/west/allow.yaml");
    two.repository.commit("West allows nothing");
    two.start();
    let import = two.west.import();
    assert!(!is_allowed(import));
    let kubectl = two.west.kubectl();
    let mut allow: Value =
        serde_yaml::from_str(&yaml::policy(NAMESPACE, "by-hand", "allow")).unwrap();
    kubectl.apply(&allow.to_string());
    let policy = ["accesspolicy", "-n", NAMESPACE, "by-hand"];
    let found = kubectl.wait_until(&policy, |policy| has_condition(policy, "Accepted", "False"));
    assert_eq!(condition(&found, "Accepted").unwrap().1, "NotInRepository");
    assert!(!is_allowed(import));

    // Nor does one that carries our marks.
    allow["metadata"]["name"] = json!("forged");
    allow["metadata"]["labels"] = json!({ "weft.dev/sync": format!("{SYSTEM}.weft") });
    two.west.reconciler = None;
    kubectl.apply(&allow.to_string());
    two.repository.write(
        "peers/west/marker.yaml",
        yaml::export(NAMESPACE, "x", ([10, 0, 0, 1], 1).into()),
    );
    let commit = two.repository.commit("Something else");
    two.west.reconcile();
    two.west.wait_until_enforced(&commit);
    assert!(!is_allowed(import));
    kubectl.wait_until_gone(&["accesspolicy", "-n", NAMESPACE, "forged"]);

    let honour = r#"{"spec":{"unmanaged":"Honour"}}"#;
    kubectl.run(&[
        "patch",
        "fabricsync",
        "-n",
        SYSTEM,
        "weft",
        "--type=merge",
        "-p",
        honour,
    ]);
    wait_until(import, true);
    kubectl.wait_until(&policy, |policy| has_condition(policy, "Accepted", "True"));
    kubectl.run(&["delete", "accesspolicy", "-n", NAMESPACE, "by-hand"]);
    wait_until(import, false);
}

#[test]
fn without_a_repository_everything_counts_as_in_clusterlink() {
    let mut two = Two::new();
    let authority = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(authority.path(), two.authority.pem()).unwrap();
    let path = authority.path().to_str().unwrap().to_owned();
    for cluster in [&mut two.east, &mut two.west] {
        cluster
            .gateway
            .add_arguments(&["--ca", &path, "--peer-label", "site=here"]);
        cluster.reconcile();
        cluster.gateway.start();
    }
    // Without guard rails in a repository, loopback is no place for an export: its own address is.
    let east = two.east.kubectl();
    east.apply(&yaml::peer("west", two.west.gateway.address()));
    east.apply(&yaml::export(NAMESPACE, "ledger", two.service.address()));
    east.apply(&yaml::policy(NAMESPACE, "allow", "allow"));
    let west = two.west.kubectl();
    west.apply(&yaml::peer("east", two.east.gateway.address()));
    west.apply(&import());
    west.apply(&yaml::policy(NAMESPACE, "allow", "allow"));
    west.wait_until(&["peer", "-n", SYSTEM, "east"], |peer| {
        has_condition(peer, "PeerReachable", "True")
    });
    east.wait_until(&["export", "-n", NAMESPACE, "ledger"], |export| {
        has_condition(export, "ExportValid", "True")
    });
    let import = two.west.import();
    wait_for("the decision is the other side's", || {
        let _ = is_allowed(import);
        let lines = two.east.gateway.process().lines();
        let refused = lines.iter().any(|line| line.contains("guard"));
        holds(refused, || format!("{} lines", lines.len()))
    });
}

#[test]
fn a_client_is_known_by_its_pods_address() {
    let mut two = Two::new();
    two.repository
        .write("peers/west/allow.yaml", allow_tills_alone());
    two.repository.commit("Tills alone");
    two.start();
    let import = two.west.import();
    let pods = [Loopback::take(), Loopback::take()];
    let kubectl = two.west.kubectl();
    for (pod, app) in pods.iter().zip(["till", "other"]) {
        create_pod(&two.west, app, pod.address());
    }
    let from = |pod: &Loopback| {
        exchange_from(pod.address(), import, b"hello").is_ok_and(|answer| answer == b"hello")
    };
    wait_for("the till is known", || {
        holds(from(&pods[0]), || "refused".to_owned())
    });
    assert!(!from(&pods[1]));
    // Somebody from outside, of whom nothing is known.
    assert!(!is_allowed(import));
    // The Pod is another one now.
    kubectl.run(&[
        "label",
        "pod",
        "-n",
        NAMESPACE,
        "till",
        "app=other",
        "--overwrite",
    ]);
    wait_for("the till is none any more", || {
        holds(!from(&pods[0]), || "allowed".to_owned())
    });
}

#[test]
fn a_pod_that_connects_before_its_address_is_known_is_waited_for() {
    let mut two = Two::new();
    two.repository
        .write("peers/west/allow.yaml", allow_tills_alone());
    two.repository.commit("Tills alone");
    two.start();
    let import = two.west.import();
    let pod = Loopback::take();
    let address = pod.address();
    // `kubectl` takes longer than a connection does to be refused.
    let client = std::thread::spawn(move || exchange_from(address, import, b"hello"));
    create_pod(&two.west, "till", address);
    assert_eq!(client.join().unwrap().unwrap(), b"hello");
    // Who never is a Pod is refused all the same.
    let stranger = Loopback::take();
    assert!(exchange_from(stranger.address(), import, b"hello").is_err());
}

fn allow_tills_alone() -> String {
    format!(
        "apiVersion: clusterlink.net/v1alpha1
kind: AccessPolicy
metadata: {{name: allow, namespace: {NAMESPACE}}}
spec:
  action: allow
  from:
  - workloadSelector:
      matchLabels: {{client.clusterlink.net/labels.app: till}}
  to:
  - workloadSelector: {{}}
"
    )
}

/// A Pod with an address, as a kubelet would say.
fn create_pod(cluster: &Cluster, app: &str, address: Ipv4Addr) {
    let kubectl = cluster.kubectl();
    kubectl.apply(&format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: {app}, namespace: {NAMESPACE}, labels: {{app: {app}}}}}
spec: {{containers: [{{name: c, image: i}}]}}
"
    ));
    let mut pod = kubectl.find(&["pod", "-n", NAMESPACE, app]).unwrap();
    let address = address.to_string();
    pod["status"] = json!({ "phase": "Running", "podIP": address, "podIPs": [{ "ip": address }] });
    let path = format!("/api/v1/namespaces/{NAMESPACE}/pods/{app}/status");
    kubectl.run_with(&["replace", "--raw", &path, "-f", "-"], &pod.to_string());
}
