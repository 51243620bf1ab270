//! What the gateway counts. Labels are of few values: names of peers, sides and fixed reasons.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// What the gateway counts.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Connections accepted at imports.
    pub import_connections: Counter,
    /// Decisions about connections.
    pub decisions: Family<SideReason, Counter>,
    /// Tunnels asked of peers, by the peer's answer.
    pub tunnel_opens: Family<ResultLabel, Counter>,
    /// TLS handshakes with other gateways.
    pub handshakes: Family<RoleResult, Counter>,
    /// Connections to other gateways that ended.
    pub gateway_connections_ended: Family<ReasonLabel, Counter>,
    /// Live connections to other gateways.
    pub gateway_connections: Family<RoleLabel, Gauge>,
    /// Live connections of clients and services.
    pub connections: Family<SideLabel, Gauge>,
    /// Connections of clients and services that ended.
    pub connections_ended: Family<SideReason, Counter>,
    /// Bytes carried.
    pub bytes: Family<SideDirection, Counter>,
    /// Whether peers are reachable.
    pub peer_reachable: Family<PeerLabel, Gauge>,
    /// The snapshot in force.
    pub snapshot: Family<SnapshotLabel, Gauge>,
    /// Snapshots that came into force.
    pub snapshots: Counter,
    /// Failures to accept a connection.
    pub accept_errors: Counter,
    /// HTTP requests at the gateway port.
    pub http_requests: Counter,
    /// When the shown certificate ends, in seconds since 1970.
    pub certificate_not_after: Gauge<i64, std::sync::atomic::AtomicI64>,
}

/// A counter of bytes that is added to without looking its labels up again.
pub(crate) type Bytes = Counter<u64, AtomicU64>;

/// Which side of the way: the import's or the export's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// Where the client is.
    Import,
    /// Where the service is.
    Export,
}

/// A side.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct SideLabel {
    /// `import` or `export`.
    pub side: &'static str,
}

/// A side and a reason.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct SideReason {
    /// `import` or `export`.
    pub side: &'static str,
    /// A stable name.
    pub reason: &'static str,
}

/// A side and a direction.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct SideDirection {
    /// `import` or `export`.
    pub side: &'static str,
    /// `to_peer` or `from_peer`.
    pub direction: &'static str,
}

/// A result.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ResultLabel {
    /// A stable name.
    pub result: &'static str,
}

/// A reason.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ReasonLabel {
    /// A stable name.
    pub reason: &'static str,
}

/// Who opened a connection between gateways.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RoleLabel {
    /// `dial` or `accept`.
    pub role: &'static str,
}

/// Who opened a connection between gateways, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RoleResult {
    /// `dial` or `accept`.
    pub role: &'static str,
    /// `ok` or why not.
    pub result: &'static str,
}

/// A peer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct PeerLabel {
    /// The peer's name.
    pub peer: String,
}

/// A snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct SnapshotLabel {
    /// The fabric's name.
    pub fabric: String,
    /// The revision.
    pub revision: String,
}

// === impl Side ===

impl Side {
    /// The side's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Import => "import",
            Self::Export => "export",
        }
    }

    /// The side as a label.
    #[must_use]
    pub const fn label(self) -> SideLabel {
        SideLabel {
            side: self.as_str(),
        }
    }

    /// The side and a reason as labels.
    #[must_use]
    pub const fn reason(self, reason: &'static str) -> SideReason {
        SideReason {
            side: self.as_str(),
            reason,
        }
    }

    /// The side and a direction as labels.
    #[must_use]
    pub const fn direction(self, direction: &'static str) -> SideDirection {
        SideDirection {
            side: self.as_str(),
            direction,
        }
    }
}

// === impl Metrics ===

impl Metrics {
    /// Counts a handshake.
    pub fn handshake(&self, role: &'static str, result: &'static str) {
        self.handshakes
            .get_or_create(&RoleResult { role, result })
            .inc();
    }

    /// The registry that renders them.
    #[must_use]
    pub fn registry(&self) -> Registry {
        let mut registry = Registry::with_prefix("weft");
        registry.register(
            "import_connections",
            "Connections accepted at imports",
            self.import_connections.clone(),
        );
        registry.register(
            "decisions",
            "Decisions about connections, by side and reason",
            self.decisions.clone(),
        );
        registry.register(
            "tunnel_opens",
            "Tunnels asked of peers, by the answer",
            self.tunnel_opens.clone(),
        );
        registry.register(
            "handshakes",
            "TLS handshakes with other gateways, by role and result",
            self.handshakes.clone(),
        );
        registry.register(
            "gateway_connections_ended",
            "Connections to other gateways that ended, by reason",
            self.gateway_connections_ended.clone(),
        );
        registry.register(
            "gateway_connections",
            "Live connections to other gateways, by role",
            self.gateway_connections.clone(),
        );
        registry.register(
            "connections",
            "Live connections of clients and services, by side",
            self.connections.clone(),
        );
        registry.register(
            "connections_ended",
            "Connections of clients and services that ended, by side and reason",
            self.connections_ended.clone(),
        );
        registry.register(
            "bytes",
            "Bytes carried, by side and direction",
            self.bytes.clone(),
        );
        registry.register(
            "peer_reachable",
            "Whether a peer answers heartbeats",
            self.peer_reachable.clone(),
        );
        registry.register(
            "snapshot_info",
            "The snapshot in force",
            self.snapshot.clone(),
        );
        registry.register(
            "snapshots",
            "Snapshots that came into force",
            self.snapshots.clone(),
        );
        registry.register(
            "accept_errors",
            "Failures to accept a connection",
            self.accept_errors.clone(),
        );
        registry.register(
            "http_requests",
            "HTTP requests at the gateway port",
            self.http_requests.clone(),
        );
        registry.register(
            "certificate_not_after_seconds",
            "When the certificate that is shown ends, in seconds since 1970",
            self.certificate_not_after.clone(),
        );
        registry
    }
}
