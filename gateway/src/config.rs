//! What a gateway is told at its start; all else comes with the snapshots.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use fabric::api::{self, Limits};
use fabric::cluster::Cluster;
use http::Uri;
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
    /// The receiver.
    pub endpoint: OtlpEndpoint,
    /// The part of the connections for which a trace begins, in thousandths.
    pub per_mille: u32,
}

/// The base URL of an OTLP receiver over HTTP, without a slash at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtlpEndpoint {
    url: String,
    is_secure: bool,
}

/// A text that is no base URL of an OTLP receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not the URL of a receiver such as http://collector:4318, without user, password and query"
)]
pub struct OtlpEndpointError;

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

// === impl Config ===

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

// === impl DecisionLog ===

impl fmt::Display for DecisionLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Events => f.write_str("the log of the process"),
            Self::Stdout => f.write_str("the decision log on the standard output"),
            Self::File(path) => write!(f, "the decision log {}", path.display()),
        }
    }
}

// === impl OtlpEndpoint ===

impl OtlpEndpoint {
    /// Whether it is reached by TLS.
    #[must_use]
    pub const fn is_secure(&self) -> bool {
        self.is_secure
    }
}

impl FromStr for OtlpEndpoint {
    type Err = OtlpEndpointError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let uri: Uri = text.parse().map_err(|_| OtlpEndpointError)?;
        let is_secure = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(OtlpEndpointError),
        };
        let authority = uri.authority().ok_or(OtlpEndpointError)?.as_str();
        // It is named in the log, where no password belongs.
        if authority.contains('@') || uri.query().is_some() {
            return Err(OtlpEndpointError);
        }
        let scheme = if is_secure { "https" } else { "http" };
        let path = uri.path().trim_end_matches('/');
        Ok(Self {
            url: format!("{scheme}://{authority}{path}"),
            is_secure,
        })
    }
}

impl fmt::Display for OtlpEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

// === impl Timeouts ===

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receivers_of_traces() {
        for (text, base) in [
            ("http://collector:4318", Some("http://collector:4318")),
            ("http://collector:4318/", Some("http://collector:4318")),
            ("https://[fd00::1]/otlp//", Some("https://[fd00::1]/otlp")),
            ("collector:4318", None),
            ("collector", None),
            ("ftp://collector", None),
            ("http://", None),
            ("http://user:password@collector", None),
            ("http://collector/?key=1", None),
            ("", None),
        ] {
            let read = text.parse::<OtlpEndpoint>().ok();
            assert_eq!(read.map(|read| read.to_string()).as_deref(), base, "{text}");
        }
    }
}
