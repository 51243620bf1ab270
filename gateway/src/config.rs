//! What a gateway is told at its start; all else comes with the snapshots.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fabric::api::{self, Limits};
use fabric::cluster::Cluster;
use tokio::sync::watch;

/// What a gateway is told at its start.
#[derive(Clone, Debug)]
pub struct Config {
    /// The gateway's certificates with their keys; of several, a committed one is shown.
    pub identities: Vec<IdentityFiles>,
    /// Where other gateways connect to.
    pub listen: SocketAddr,
    /// The address at which imports listen, each at its own port.
    pub import_address: IpAddr,
    /// Where health, readiness, metrics and the snapshot are served.
    pub admin: SocketAddr,
    /// The cluster around the gateway; none on a host without Kubernetes.
    pub cluster: Option<ClusterView>,
    /// How long things may take.
    pub timeouts: Timeouts,
    /// Where decisions are written.
    pub decision_log: DecisionLog,
    /// Where traces are sent; none are made where it is absent.
    pub traces: Option<TraceExport>,
}

/// Where decisions are written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum DecisionLog {
    /// To the log of the process, as events of the target `weft::decision`.
    #[default]
    Events,
    /// To the standard output, a JSON object per line.
    Stdout,
    /// To the end of a file, a JSON object per line; opened anew with
    /// [`Running::reload`](crate::Running::reload).
    File(PathBuf),
}

/// Where traces are sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceExport {
    /// The base URL of an OTLP receiver over HTTP; `/v1/traces` is added.
    pub endpoint: String,
    /// The part of the connections for which a trace begins, in thousandths.
    pub per_mille: u32,
}

/// The cluster as it is now, and a word whenever it is otherwise.
pub type ClusterView = watch::Receiver<Arc<Cluster>>;

/// The files of one certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityFiles {
    /// The certificate in PEM, and its intermediates behind it.
    pub certificate: PathBuf,
    /// The private key in PEM.
    pub key: PathBuf,
}

/// How long things may take where the snapshot's limits say nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// The TLS handshake and the hello: several round trips around the world, and a loss.
    pub handshake: Duration,
    /// Connecting to one address of a peer's gateway, resolution included.
    pub dial: Duration,
    /// From OPEN to its answer; longer than `connect`, which the other side waits for.
    pub open: Duration,
    /// Connecting to an exported service, resolution included.
    pub connect: Duration,
}

/// A JSON value that the caller wants to see under `status` in `/snapshot`.
pub type StatusProvider = Arc<dyn Fn() -> serde_json::Value + Send + Sync>;

impl Config {
    /// The configuration with the default addresses: gateways on port 4443 of all addresses,
    /// imports and the admin port on loopback.
    #[must_use]
    pub fn new(identities: Vec<IdentityFiles>) -> Self {
        Self {
            identities,
            listen: SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 4443),
            import_address: Ipv4Addr::LOCALHOST.into(),
            admin: SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 4480),
            cluster: None,
            timeouts: Timeouts::default(),
            decision_log: DecisionLog::default(),
            traces: None,
        }
    }
}

impl Timeouts {
    /// How long things may take by the limits of a snapshot.
    #[must_use]
    pub(crate) fn of(self, limits: &Limits) -> Self {
        let or = |said: api::Duration, otherwise| match said.is_zero() {
            true => otherwise,
            false => said.get(),
        };
        Self {
            handshake: self.handshake,
            dial: or(limits.dial_timeout, self.dial),
            open: or(limits.open_timeout, self.open),
            connect: or(limits.connect_timeout, self.connect),
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            dial: Duration::from_secs(5),
            open: Duration::from_secs(10),
            connect: Duration::from_secs(5),
        }
    }
}
