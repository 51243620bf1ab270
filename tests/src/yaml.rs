//! The objects of a fabric as text, the way that users write them.

use std::net::SocketAddr;

/// A `fabric.yaml` that lets exports aim at this host, where the tests' services are.
pub fn fabric() -> String {
    "\
apiVersion: weft.dev/v1alpha1
kind: Fabric
metadata:
  name: test
spec:
  exportHosts:
    allow: [127.0.0.0/8]
"
    .to_owned()
}

/// A Peer with one gateway.
pub fn peer(name: &str, gateway: SocketAddr) -> String {
    format!(
        "\
apiVersion: clusterlink.net/v1alpha1
kind: Peer
metadata:
  name: {name}
  namespace: clusterlink-system
  labels:
    site: {name}
spec:
  gateways:
  - host: {}
    port: {}
",
        gateway.ip(),
        gateway.port()
    )
}

/// An Export of a service at an address.
pub fn export(namespace: &str, name: &str, service: SocketAddr) -> String {
    format!(
        "\
apiVersion: clusterlink.net/v1alpha1
kind: Export
metadata:
  name: {name}
  namespace: {namespace}
  labels:
    app: {name}
spec:
  host: {}
  port: {}
",
        service.ip(),
        service.port()
    )
}

/// An Import, from one peer, of an export of the same namespace and name.
pub fn import(namespace: &str, name: &str, port: u16, peer: &str) -> String {
    format!(
        "\
apiVersion: clusterlink.net/v1alpha1
kind: Import
metadata:
  name: {name}
  namespace: {namespace}
spec:
  port: {port}
  targetPort: {port}
  sources:
  - peer: {peer}
    exportName: {name}
    exportNamespace: {namespace}
"
    )
}

/// An AccessPolicy of a namespace that decides about every connection.
pub fn policy(namespace: &str, name: &str, action: &str) -> String {
    format!(
        "\
apiVersion: clusterlink.net/v1alpha1
kind: AccessPolicy
metadata:
  name: {name}
  namespace: {namespace}
spec:
  action: {action}
  from:
  - workloadSelector: {{}}
  to:
  - workloadSelector: {{}}
"
    )
}

/// The revocation of one certificate.
pub fn revocation(fingerprint: &str) -> String {
    format!(
        "\
apiVersion: weft.dev/v1alpha1
kind: Revocations
metadata:
  name: test
spec:
  certificates:
  - fingerprint: {fingerprint}
    reason: key compromise
    date: \"2026-01-01\"
"
    )
}

/// Workloads of a host: every client on it is one of `namespace`.
pub fn workloads(peer: &str, namespace: &str) -> String {
    format!(
        "\
apiVersion: weft.dev/v1alpha1
kind: Workloads
metadata:
  name: {peer}
spec:
  workloads:
  - addresses: [127.0.0.0/8]
    namespace: {namespace}
    serviceAccount: default
    labels:
      app: client
"
    )
}
