//! Two peers of a fabric, each a `weft run`: policies, metrics and the decision log are on.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::Result;

use super::{Kind, Pair};
use crate::ports::free_addresses;
use crate::process::{Process, clean};
use crate::stage::{EXPORTER, IMPORTER, Stage};

/// As many as every other pair's processes have.
const WORKER_THREADS: &str = "2";

/// What the repository of a pair says of where things are.
#[derive(Clone, Debug)]
pub struct Fabric {
    gateways: [SocketAddr; 2],
    import: SocketAddr,
}

/// A running pair of peers.
#[derive(Debug)]
pub struct WeftPair {
    import: SocketAddr,
    admins: [SocketAddr; 2],
    processes: [Process; 2],
}

// === impl Fabric ===

impl Fabric {
    /// Writes and commits a fabric in which one peer exports a service and the other imports it, and
    /// policies on both sides allow it to one workload.
    pub fn lay_down(stage: &Stage, service: SocketAddr) -> Result<Self> {
        let [east, west, import] = free_addresses()?;
        let fabric = Self {
            gateways: [east, west],
            import,
        };
        for (path, text) in fabric.files(service) {
            stage.write(&path, &text)?;
        }
        stage.commit("Two peers: west exports the service, east imports it")?;
        Ok(fabric)
    }

    /// Starts both peers.
    pub fn start(&self, stage: &Stage, folder: &Path) -> Result<WeftPair> {
        let admins = free_addresses::<2>()?;
        let start = |index: usize, name: &str| {
            let (gateway, admin) = (self.gateways[index], admins[index]);
            let state = folder.join(format!("{name}.state"));
            if state.exists() {
                fs::remove_dir_all(&state)?;
            }
            let mut command = clean(stage.binary());
            command
                .env("TOKIO_WORKER_THREADS", WORKER_THREADS)
                .args(["run", "--peer", name, "--ref", "main"])
                .arg("--repo")
                .arg(stage.repository())
                .arg("--cert")
                .arg(stage.certificate(name))
                .arg("--key")
                .arg(stage.key(name))
                .arg("--state")
                .arg(state)
                .args(["--listen", &gateway.to_string()])
                .args(["--admin", &admin.to_string()])
                // A commit is told by a signal; the clock is not to interfere.
                .args(["--interval", "1h", "--log-format", "json"]);
            Process::start(name, folder, &mut command)
        };
        Ok(WeftPair {
            import: self.import,
            admins,
            processes: [start(0, IMPORTER)?, start(1, EXPORTER)?],
        })
    }

    fn files(&self, service: SocketAddr) -> Vec<(String, String)> {
        let [east, west] = self.gateways;
        let mut files = vec![
            ("fabric.yaml".to_owned(), FABRIC.to_owned()),
            (
                "peers/west/service.yaml".to_owned(),
                EXPORT
                    .replace("{host}", &service.ip().to_string())
                    .replace("{port}", &service.port().to_string()),
            ),
            (
                "peers/east/service.yaml".to_owned(),
                IMPORT.replace("{port}", &self.import.port().to_string()),
            ),
            ("peers/east/workloads.yaml".to_owned(), WORKLOADS.to_owned()),
            (
                "peers/east/policy.yaml".to_owned(),
                POLICY.replace("FROM", "client.clusterlink.net/namespace: shop"),
            ),
            (
                "peers/west/policy.yaml".to_owned(),
                POLICY.replace("FROM", "client.clusterlink.net/labels.app: till"),
            ),
        ];
        for (name, gateway) in [(IMPORTER, east), (EXPORTER, west)] {
            let text = PEER
                .replace("{name}", name)
                .replace("{host}", &gateway.ip().to_string())
                .replace("{port}", &gateway.port().to_string());
            files.push((format!("peers/{name}/peer.yaml"), text));
        }
        files
    }
}

// === impl WeftPair ===

impl WeftPair {
    /// The admin addresses of the importing and of the exporting peer.
    #[must_use]
    pub const fn admins(&self) -> [SocketAddr; 2] {
        self.admins
    }

    /// The processes of the importing and of the exporting peer.
    #[must_use]
    pub const fn processes(&self) -> &[Process; 2] {
        &self.processes
    }

    /// The pair as any other.
    #[must_use]
    pub fn into_pair(self) -> Pair {
        Pair {
            kind: Kind::Weft,
            targets: vec![self.import],
            processes: self.processes.into(),
        }
    }
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
  name: {name}
spec:
  gateways:
  - host: {host}
    port: {port}
";

const EXPORT: &str = "\
apiVersion: clusterlink.net/v1alpha1
kind: Export
metadata:
  name: service
  namespace: shop
spec:
  host: {host}
  port: {port}
";

const IMPORT: &str = "\
apiVersion: clusterlink.net/v1alpha1
kind: Import
metadata:
  name: service
  namespace: shop
spec:
  port: 80
  targetPort: {port}
  sources:
  - peer: west
    exportName: service
    exportNamespace: shop
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

const POLICY: &str = "\
apiVersion: clusterlink.net/v1alpha1
kind: AccessPolicy
metadata:
  name: tills
  namespace: shop
spec:
  action: allow
  from:
  - workloadSelector:
      matchLabels: {FROM}
  to:
  - workloadSelector:
      matchLabels: {export.clusterlink.net/name: service}
";
