//! What the scenarios begin with.

use std::sync::Arc;

use weft_tests::certificates::Authority;
use weft_tests::cluster::Cluster;
use weft_tests::installation::{GATEWAY_PORT, SYSTEM, install};
use weft_tests::node::RunningPod;

/// Where the scenarios' user objects are.
pub(crate) const USER: &str = "default";

/// Clusters of one fabric; each has `http-echo` in `default`.
pub(crate) struct Fabric {
    pub(crate) clusters: Vec<Cluster>,
}

// === impl Fabric ===

impl Fabric {
    /// `cl0`, `cl1`, ..., with Weft installed.
    pub(crate) fn new(count: u8) -> Self {
        let authority = Authority::new("fabric");
        let numbers: Vec<u8> = (0..count).collect();
        let clusters = std::thread::scope(|scope| {
            let start = |number: &u8| {
                let (number, authority) = (*number, &authority);
                scope.spawn(move || {
                    let cluster = Cluster::start(number + 1, &format!("cl{number}"));
                    install(&cluster, authority);
                    cluster.serve_echo(USER);
                    cluster
                })
            };
            let threads: Vec<_> = numbers.iter().map(start).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        Self { clusters }
    }

    /// `cl0` exports `http-echo`, `cl1` imports it as `imported` at port 80; nothing is allowed yet.
    pub(crate) fn two() -> Self {
        let fabric = Self::new(2);
        let [cl0, cl1] = fabric.pair();
        cl0.apply(&export(USER, "http-echo", ""));
        cl1.apply(&peer(cl0));
        cl0.apply(&peer_at("cl1", &[]));
        cl1.apply(&import(USER, "imported", 80, 0, "cl0"));
        fabric
    }

    pub(crate) fn pair(&self) -> [&Cluster; 2] {
        [&self.clusters[0], &self.clusters[1]]
    }

    pub(crate) fn one(&self) -> &Cluster {
        &self.clusters[0]
    }
}

/// A client in `default`.
pub(crate) fn client(cluster: &Cluster) -> Arc<RunningPod> {
    cluster.client(USER, "client", "default")
}

/// The Peer that a cluster is to others.
pub(crate) fn peer(cluster: &Cluster) -> String {
    peer_at(
        cluster.name(),
        &[(cluster.address().to_string(), GATEWAY_PORT)],
    )
}

pub(crate) fn peer_at(name: &str, gateways: &[(String, u16)]) -> String {
    let gateways: String = gateways
        .iter()
        .map(|(host, port)| format!("{{host: {host}, port: {port}}}, "))
        .collect();
    format!(
        "\
apiVersion: clusterlink.net/v1alpha1
kind: Peer
metadata: {{name: {name}, namespace: {SYSTEM}}}
spec:
  gateways: [{gateways}]
"
    )
}

/// An Export of port 8080, with more lines of its spec.
pub(crate) fn export(namespace: &str, name: &str, more: &str) -> String {
    format!(
        "\
apiVersion: clusterlink.net/v1alpha1
kind: Export
metadata:
  name: {name}
  namespace: {namespace}
  labels: {{env: test}}
spec:
  port: 8080
{more}"
    )
}

/// An Import of `http-echo`; from nowhere where the peer is empty, and with a target port that is
/// chosen where it is 0.
pub(crate) fn import(namespace: &str, name: &str, port: u16, target: u16, peer: &str) -> String {
    let sources = match peer {
        "" => "[]".to_owned(),
        peer => format!("[{{peer: {peer}, exportName: http-echo, exportNamespace: {USER}}}]"),
    };
    format!(
        "\
apiVersion: clusterlink.net/v1alpha1
kind: Import
metadata:
  name: {name}
  namespace: {namespace}
  labels: {{env: test}}
spec:
  port: {port}
  targetPort: {target}
  sources: {sources}
"
    )
}

/// A policy that decides about everything; without a namespace a privileged one.
pub(crate) fn policy(namespace: &str, name: &str, action: &str) -> String {
    let (kind, place) = match namespace {
        "" => ("PrivilegedAccessPolicy", String::new()),
        namespace => ("AccessPolicy", format!(", namespace: {namespace}")),
    };
    format!(
        "\
apiVersion: clusterlink.net/v1alpha1
kind: {kind}
metadata: {{name: {name}{place}}}
spec:
  action: {action}
  from: [{{workloadSelector: {{}}}}]
  to: [{{workloadSelector: {{}}}}]
"
    )
}
