//! What the repository of a pair of Weft's peers says.

use std::fmt::Write as _;
use std::net::SocketAddr;

use anyhow::Result;

use crate::ports::{free_addresses, free_block};
use crate::stage::{EXPORTER, IMPORTER, Stage};

/// Objects in one file; far below what a file may hold.
const OBJECTS_PER_FILE: usize = 500;

/// Of the policies, those that are privileged.
const PRIVILEGED_SHARE: usize = 100;

/// How much a repository holds beside the one import and the policies by which it is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Over which imports and policies are spread.
    pub namespaces: usize,
    /// Imports of the one peer, each of an export of the other.
    pub imports: usize,
    /// Policies of each peer.
    pub policies: usize,
}

/// A fabric in which one peer exports a service and the other imports it, and policies on both sides
/// allow it to one workload.
#[derive(Clone, Debug)]
pub struct Fabric {
    pub(super) gateways: [SocketAddr; 2],
    pub(super) import: SocketAddr,
    size: Size,
    first_port: u16,
}

// === impl Size ===

impl Size {
    /// One import, and on each side the policy that allows it and one that is there to be changed.
    pub const ONE: Self = Self {
        namespaces: 1,
        imports: 1,
        policies: 2,
    };

    /// 2,000 imports and 10,000 policies in 100 namespaces.
    pub const LARGE: Self = Self {
        namespaces: 100,
        imports: 2_000,
        policies: 10_000,
    };

    /// As many, all in one namespace: each policy could decide about each connection.
    pub const CROWDED: Self = Self {
        namespaces: 1,
        ..Self::LARGE
    };
}

// === impl Fabric ===

impl Fabric {
    /// Writes and commits a fabric of a size.
    pub fn lay_down(stage: &Stage, service: SocketAddr, size: Size) -> Result<Self> {
        let [east, west, import] = free_addresses()?;
        let fabric = Self {
            gateways: [east, west],
            import,
            size,
            first_port: free_block(u16::try_from(size.imports)?)?,
        };
        fabric.write_base(stage, service)?;
        fabric.write_others(stage, service)?;
        fabric.write_change(stage, usize::MAX)?;
        stage.commit("Two peers: west exports the service, east imports it")?;
        Ok(fabric)
    }

    /// Changes one policy of each peer, of which no connection takes notice, and commits that; the
    /// commit's name.
    pub fn change(&self, stage: &Stage, number: usize) -> Result<String> {
        self.write_change(stage, number)?;
        stage.commit("Change one policy of each peer")
    }

    fn write_base(&self, stage: &Stage, service: SocketAddr) -> Result<()> {
        stage.write("fabric.yaml", FABRIC)?;
        for (name, gateway) in [IMPORTER, EXPORTER].into_iter().zip(self.gateways) {
            let text = PEER
                .replace("NAME", name)
                .replace("HOST", &gateway.ip().to_string())
                .replace("PORT", &gateway.port().to_string());
            stage.write(&format!("peers/{name}/peer.yaml"), &text)?;
        }
        stage.write("peers/east/workloads.yaml", WORKLOADS)?;
        stage.write(
            "peers/east/service.yaml",
            &import("shop", "service", self.import.port()),
        )?;
        stage.write(
            "peers/west/service.yaml",
            &export("shop", "service", service),
        )?;
        let to = "export.clusterlink.net/name: service";
        for (peer, from) in [
            (IMPORTER, "client.clusterlink.net/namespace: shop"),
            (EXPORTER, "client.clusterlink.net/labels.app: till"),
        ] {
            let text = policy(Some("shop"), "tills", "allow", from, to);
            stage.write(&format!("peers/{peer}/tills.yaml"), &text)?;
        }
        Ok(())
    }

    /// All but what is measured.
    fn write_others(&self, stage: &Stage, service: SocketAddr) -> Result<()> {
        let (mut imports, mut exports) = (Vec::new(), Vec::new());
        for index in 1..self.size.imports {
            let (namespace, name) = (self.namespace(index), format!("service-{index}"));
            let port = self.first_port + u16::try_from(index)?;
            imports.push(import(&namespace, &name, port));
            exports.push(export(&namespace, &name, service));
        }
        write_in_parts(stage, "peers/east/imports", &imports)?;
        write_in_parts(stage, "peers/west/exports", &exports)?;
        // One of them stands beside the service, and one is what changes.
        let others = self.size.policies.saturating_sub(2);
        let privileged = others / PRIVILEGED_SHARE;
        let policies: Vec<_> = (privileged..others)
            .map(|index| self.other_policy(index))
            .collect();
        for peer in [IMPORTER, EXPORTER] {
            write_in_parts(stage, &format!("peers/{peer}/policies"), &policies)?;
        }
        let shared: Vec<_> = (0..privileged)
            .map(|index| {
                let from = format!("client.clusterlink.net/labels.quarantine: ward-{index}");
                policy(None, &format!("ward-{index}"), "deny", &from, "")
            })
            .collect();
        write_in_parts(stage, "policies/wards", &shared)
    }

    /// A policy that could concern the connections of its namespace, and doesn't concern what is measured.
    fn other_policy(&self, index: usize) -> String {
        let service = index % self.size.imports.max(1);
        let to = format!("export.clusterlink.net/name: service-{service}");
        let (action, from, to) = match index % 4 {
            0 => (
                "deny",
                format!("client.clusterlink.net/labels.app: app-{index}"),
                to,
            ),
            1 => (
                "allow",
                format!("client.clusterlink.net/labels.app: app-{index}"),
                to,
            ),
            2 => (
                "allow",
                format!("client.clusterlink.net/service-account: account-{index}"),
                String::new(),
            ),
            _ => (
                "deny",
                format!("client.clusterlink.net/labels.canary: flight-{index}"),
                String::new(),
            ),
        };
        let namespace = self.namespace(index);
        policy(
            Some(&namespace),
            &format!("policy-{index}"),
            action,
            &from,
            &to,
        )
    }

    fn write_change(&self, stage: &Stage, number: usize) -> Result<()> {
        let from = format!("client.clusterlink.net/labels.change: change-{number}");
        let text = policy(Some("shop"), "change", "deny", &from, "");
        for peer in [IMPORTER, EXPORTER] {
            stage.write(&format!("peers/{peer}/change.yaml"), &text)?;
        }
        Ok(())
    }

    fn namespace(&self, index: usize) -> String {
        match index % self.size.namespaces.max(1) {
            0 => "shop".to_owned(),
            other => format!("shop-{other}"),
        }
    }
}

fn write_in_parts(stage: &Stage, place: &str, objects: &[String]) -> Result<()> {
    for (index, part) in objects.chunks(OBJECTS_PER_FILE).enumerate() {
        stage.write(&format!("{place}-{index}.yaml"), &part.join("---\n"))?;
    }
    Ok(())
}

fn import(namespace: &str, name: &str, port: u16) -> String {
    format!(
        "\
apiVersion: clusterlink.net/v1alpha1
kind: Import
metadata:
  name: {name}
  namespace: {namespace}
spec:
  port: 80
  targetPort: {port}
  sources:
  - peer: west
    exportName: {name}
    exportNamespace: {namespace}
"
    )
}

fn export(namespace: &str, name: &str, service: SocketAddr) -> String {
    format!(
        "\
apiVersion: clusterlink.net/v1alpha1
kind: Export
metadata:
  name: {name}
  namespace: {namespace}
spec:
  host: {}
  port: {}
",
        service.ip(),
        service.port()
    )
}

/// A policy of a namespace, or a privileged one; labels that are empty match everything.
fn policy(namespace: Option<&str>, name: &str, action: &str, from: &str, to: &str) -> String {
    let kind = match namespace {
        Some(_) => "AccessPolicy",
        None => "PrivilegedAccessPolicy",
    };
    let mut text =
        format!("apiVersion: clusterlink.net/v1alpha1\nkind: {kind}\nmetadata:\n  name: {name}\n");
    // A string takes everything that is written.
    if let Some(namespace) = namespace {
        let _ = writeln!(text, "  namespace: {namespace}");
    }
    let _ = writeln!(text, "spec:\n  action: {action}");
    for (side, labels) in [("from", from), ("to", to)] {
        let _ = writeln!(text, "  {side}:");
        let _ = match labels {
            "" => writeln!(text, "  - workloadSelector: {{}}"),
            labels => writeln!(
                text,
                "  - workloadSelector:\n      matchLabels: {{{labels}}}"
            ),
        };
    }
    text
}

const FABRIC: &str = "\
apiVersion: weft.dev/v1alpha1
kind: Fabric
metadata:
  name: bench
spec:
  exportHosts:
    allow: [127.0.0.0/8]
";

const PEER: &str = "\
apiVersion: clusterlink.net/v1alpha1
kind: Peer
metadata:
  name: NAME
spec:
  gateways:
  - host: HOST
    port: PORT
";

const WORKLOADS: &str = "\
apiVersion: weft.dev/v1alpha1
kind: Workloads
metadata:
  name: east
spec:
  workloads:
  - addresses: [127.0.0.1]
    namespace: shop
    serviceAccount: till
    labels: {app: till}
";
