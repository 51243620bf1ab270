//! A large fabric, for measuring: as many small files as asked for, with real relations.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;

use crate::certificates::Authority;
use crate::yaml;

/// Files of one peer: peer, certificate and workloads, then exports, imports and policies.
const FILES: usize = 3 + EXPORTS + IMPORTS + POLICIES;
const EXPORTS: usize = 15;
const IMPORTS: usize = 20;
const POLICIES: usize = 12;
/// Files outside the units: the Fabric, its CA.
const SHARED: usize = 2;
/// Namespaces of a peer, over which its objects are spread.
const NAMESPACES: usize = 3;

/// Writes a fabric of exactly so many files, no fewer than the shared ones and one unit; the same one for the
/// same number, but for keys and certificates.
pub fn generate(folder: &Path, files: usize) -> io::Result<()> {
    let peers = (files.saturating_sub(SHARED) / FILES).max(1);
    let authority = Authority::new("generated");
    let mut writer = Writer { folder, written: 0 };
    writer.write("fabric.yaml", &yaml::fabric())?;
    writer.write("ca/fabric.pem", authority.pem())?;
    for peer in 0..peers {
        writer.write_peer(peer, peers, &authority)?;
    }
    // What is left over are policies for all peers.
    let mut index = 0;
    while writer.written < files {
        writer.write(
            &format!("policies/allow-{index}.yaml"),
            &shared(index, peers),
        )?;
        index += 1;
    }
    Ok(())
}

struct Writer<'a> {
    folder: &'a Path,
    written: usize,
}

// === impl Writer ===

impl Writer<'_> {
    fn write(&mut self, path: &str, text: &str) -> io::Result<()> {
        let path = self.folder.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(path, text)?;
        self.written += 1;
        Ok(())
    }

    fn write_peer(&mut self, peer: usize, peers: usize, authority: &Authority) -> io::Result<()> {
        let name = peer_name(peer);
        let unit = format!("peers/{name}");
        let gateway = SocketAddr::from((address(peer), 4443));
        self.write(&format!("{unit}/peer.yaml"), &yaml::peer(&name, gateway))?;
        let certificate = authority.peer(&name).certificate;
        self.write(&format!("{unit}/cert.pem"), &certificate)?;
        let workloads = yaml::workloads(&name, "shop-0");
        self.write(&format!("{unit}/workloads.yaml"), &workloads)?;
        for index in 0..EXPORTS {
            let service = SocketAddr::from(([10, 1, 0, 1], 8000 + index as u16));
            let export = yaml::export(&namespace(index), &export_name(index), service);
            self.write(
                &format!("{unit}/exports/{}.yaml", export_name(index)),
                &export,
            )?;
        }
        for index in 0..IMPORTS {
            let import = import(index, peer, peers);
            self.write(&format!("{unit}/imports/import-{index}.yaml"), &import)?;
        }
        for index in 0..POLICIES {
            let policy = policy(index, peer, peers);
            self.write(&format!("{unit}/policies/policy-{index}.yaml"), &policy)?;
        }
        Ok(())
    }
}

fn peer_name(peer: usize) -> String {
    format!("peer-{peer:05}")
}

fn namespace(index: usize) -> String {
    format!("shop-{}", index % NAMESPACES)
}

fn export_name(index: usize) -> String {
    format!("export-{index}")
}

fn address(peer: usize) -> [u8; 4] {
    let [.., high, low] = peer.to_be_bytes();
    [10, 0, high, low]
}

/// The peer that is so many steps further on.
fn neighbour(peer: usize, steps: usize, peers: usize) -> String {
    peer_name((peer + steps) % peers)
}

/// An Import of an export of two other peers.
fn import(index: usize, peer: usize, peers: usize) -> String {
    let export = index % EXPORTS;
    let (namespace, name) = (namespace(export), export_name(export));
    let port = 10_000 + index;
    let (first, second) = (
        neighbour(peer, index + 1, peers),
        neighbour(peer, index + 2, peers),
    );
    format!(
        "\
apiVersion: clusterlink.net/v1alpha1
kind: Import
metadata:
  name: import-{index}
  namespace: {namespace}
  labels:
    tier: backend
spec:
  port: 80
  targetPort: {port}
  lbScheme: round-robin
  sources:
  - peer: {first}
    exportName: {name}
    exportNamespace: {namespace}
  - peer: {second}
    exportName: {name}
    exportNamespace: {namespace}
"
    )
}

/// A policy of a namespace: the first ones allow what the imports need, others deny a peer.
fn policy(index: usize, peer: usize, peers: usize) -> String {
    let namespace = namespace(index);
    let allows = index < NAMESPACES;
    let (action, from) = if allows {
        (
            "allow",
            "      matchLabels:\n        client.clusterlink.net/namespace: shop-0\n".to_owned(),
        )
    } else {
        let other = neighbour(peer, index + 30, peers);
        let from = format!(
            "      matchExpressions:
      - key: peer.clusterlink.net/name
        operator: In
        values: [{other}]
      - key: client.clusterlink.net/labels.app
        operator: Exists
"
        );
        ("deny", from)
    };
    format!(
        "\
apiVersion: clusterlink.net/v1alpha1
kind: AccessPolicy
metadata:
  name: policy-{index}
  namespace: {namespace}
spec:
  action: {action}
  from:
  - workloadSelector:
{from}  to:
  - workloadSelector:
      matchExpressions:
      - key: export.clusterlink.net/name
        operator: Exists
"
    )
}

/// A policy for every peer.
fn shared(index: usize, peers: usize) -> String {
    let peer = peer_name(index % peers);
    format!(
        "\
apiVersion: clusterlink.net/v1alpha1
kind: PrivilegedAccessPolicy
metadata:
  name: deny-{index}
spec:
  action: deny
  from:
  - workloadSelector:
      matchLabels:
        peer.clusterlink.net/name: {peer}
        client.clusterlink.net/labels.app: app-{index}
  to:
  - workloadSelector: {{}}
"
    )
}
