//! What the gateway counts. Labels are of few values: names of peers, sides and fixed reasons.

mod labels;

use std::sync::atomic::{AtomicI64, AtomicU64};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::decision::End;
use crate::gateway::ImportListener;
use crate::limits::Limit;
use crate::state::State;

use labels::{LimitLabel, VersionLabel};
pub(crate) use labels::{
    PeerLabel, ReasonLabel, ResultLabel, RoleLabel, RoleResult, Side, SideDirection, SideLabel,
    SideReason, SnapshotLabel,
};

/// What the gateway counts.
#[derive(Debug)]
pub struct Metrics {
    /// Connections accepted at imports.
    pub import_connections: Counter,
    /// Limits that something ran into.
    limits: Family<LimitLabel, Counter>,
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
    /// The last heartbeat's round trip, by peer.
    peer_round_trip: Family<PeerLabel, Seconds>,
    /// Whether peers have the same revision in force as this one.
    peer_in_step: Family<PeerLabel, Gauge>,
    /// Live connections to a peer's gateways.
    peer_connections: Family<PeerLabel, Gauge>,
    /// Tunnels over them.
    peer_tunnels: Family<PeerLabel, Gauge>,
    /// From asking a peer for a tunnel to its answer.
    pub(crate) tunnel_open_duration: Histogram,
    /// The snapshot in force.
    pub snapshot: Family<SnapshotLabel, Gauge>,
    /// Snapshots that came into force.
    pub snapshots: Counter,
    /// When the snapshot came into force, in seconds since 1970.
    pub(crate) snapshot_since: Gauge<i64, AtomicI64>,
    /// From a snapshot's arrival until everything that it doesn't allow is cut.
    pub(crate) judged: Histogram,
    /// Live connections that a snapshot cut.
    pub(crate) connections_cut: Counter,
    /// Policies that have ended by the clock.
    policies_over: Gauge,
    /// Imports that listen, and that can't.
    imports: Family<ResultLabel, Gauge>,
    /// Lines of the decision log that are lost.
    pub(crate) decisions_lost: Counter,
    /// The program.
    build: Family<VersionLabel, Gauge>,
    /// Failures to accept a connection.
    pub accept_errors: Counter,
    /// HTTP requests at the gateway port.
    pub http_requests: Counter,
    /// When the shown certificate ends, in seconds since 1970.
    pub certificate_not_after: Gauge<i64, AtomicI64>,
}

/// A gauge of seconds.
type Seconds = Gauge<f64, AtomicU64>;

/// The bounds of the histograms: from a loopback's answer to one around the world with a loss.
const SECONDS: [f64; 12] = [
    0.000_1, 0.000_25, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0,
];

/// A counter of bytes that is added to without looking its labels up again.
pub(crate) type Bytes = Counter<u64, AtomicU64>;

// === impl Metrics ===

impl Default for Metrics {
    fn default() -> Self {
        let histogram = || Histogram::new(SECONDS);
        let metrics = Self {
            import_connections: Counter::default(),
            limits: Family::default(),
            decisions: Family::default(),
            tunnel_opens: Family::default(),
            handshakes: Family::default(),
            gateway_connections_ended: Family::default(),
            gateway_connections: Family::default(),
            connections: Family::default(),
            connections_ended: Family::default(),
            bytes: Family::default(),
            peer_reachable: Family::default(),
            peer_round_trip: Family::default(),
            peer_in_step: Family::default(),
            peer_connections: Family::default(),
            peer_tunnels: Family::default(),
            tunnel_open_duration: histogram(),
            snapshot: Family::default(),
            snapshots: Counter::default(),
            snapshot_since: Gauge::default(),
            judged: histogram(),
            connections_cut: Counter::default(),
            policies_over: Gauge::default(),
            imports: Family::default(),
            decisions_lost: Counter::default(),
            build: Family::default(),
            accept_errors: Counter::default(),
            http_requests: Counter::default(),
            certificate_not_after: Gauge::default(),
        };
        let version = env!("CARGO_PKG_VERSION");
        // There from the start, so that a rate is seen from the first one on.
        for limit in Limit::ALL {
            let limit = limit.as_str();
            let _ = metrics.limits.get_or_create(&LimitLabel { limit });
        }
        for side in [Side::Import, Side::Export] {
            let label = side.reason(End::Complete.as_str());
            let _ = metrics.connections_ended.get_or_create(&label);
            let _ = metrics.connections.get_or_create(&side.label());
        }
        let reason = "closed_by_peer";
        let ended = &metrics.gateway_connections_ended;
        let _ = ended.get_or_create(&ReasonLabel { reason });
        metrics
            .build
            .get_or_create(&VersionLabel { version })
            .set(1);
        metrics
    }
}

impl Metrics {
    /// Brings up to date what is only looked at when somebody asks.
    pub(crate) fn refresh(&self, state: &State) {
        let world = state.world();
        let over = world.as_ref().map_or(0, |world| world.over.len());
        self.policies_over
            .set(i64::try_from(over).unwrap_or(i64::MAX));
        let families = [
            &self.peer_in_step,
            &self.peer_connections,
            &self.peer_tunnels,
        ];
        families.iter().for_each(|family| family.clear());
        self.peer_round_trip.clear();
        let snapshot = world.as_ref().map(|world| &world.snapshot);
        for peer in snapshot.into_iter().flat_map(|all| all.remotes.keys()) {
            let label = PeerLabel {
                peer: peer.to_string(),
            };
            let connections = state.pool.of(peer);
            let set = |family: &Family<PeerLabel, Gauge>, value: usize| {
                let gauge = family.get_or_create(&label);
                gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
            };
            set(&self.peer_connections, connections.len());
            let tunnels = connections.iter().map(|connection| connection.load());
            set(&self.peer_tunnels, tunnels.sum());
            let own = snapshot.map(|all| all.revision.as_str());
            let revisions = connections.iter().map(|connection| connection.revision());
            let told: Vec<_> = revisions.filter(|revision| !revision.is_empty()).collect();
            // Who has told nothing, as peers that run ClusterLink, isn't behind.
            if !told.is_empty() {
                let is_in_step = told.iter().any(|revision| Some(revision.as_str()) == own);
                set(&self.peer_in_step, usize::from(is_in_step));
            }
            let round_trip = state.reach.of(peer).and_then(|reach| reach.round_trip);
            if let Some(time) = round_trip {
                let gauge = self.peer_round_trip.get_or_create(&label);
                gauge.set(time.as_secs_f64());
            }
        }
        let listeners = state.listeners.lock();
        let listening = listeners
            .values()
            .filter(|listener| matches!(listener, ImportListener::Listening(_)));
        let listening = listening.count();
        let failed = listeners.len() - listening;
        for (result, count) in [("listening", listening), ("failed", failed)] {
            let gauge = self.imports.get_or_create(&ResultLabel { result });
            gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// Counts a handshake.
    pub fn handshake(&self, role: &'static str, result: &'static str) {
        self.handshakes
            .get_or_create(&RoleResult { role, result })
            .inc();
    }

    /// Counts that something ran into a limit.
    pub(crate) fn limit(&self, limit: Limit) {
        let limit = limit.as_str();
        self.limits.get_or_create(&LimitLabel { limit }).inc();
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
        registry.register_with_unit(
            "tunnel_open_duration",
            "From asking a peer for a tunnel to its answer",
            Unit::Seconds,
            self.tunnel_open_duration.clone(),
        );
        registry.register(
            "limits_hit",
            "Limits that something ran into",
            self.limits.clone(),
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
        registry.register_with_unit(
            "peer_round_trip",
            "The last heartbeat's round trip to a peer",
            Unit::Seconds,
            self.peer_round_trip.clone(),
        );
        registry.register(
            "peer_in_step",
            "Whether a peer has the same revision in force as this one, once it has told",
            self.peer_in_step.clone(),
        );
        registry.register(
            "peer_connections",
            "Live connections to a peer's gateways",
            self.peer_connections.clone(),
        );
        registry.register(
            "peer_tunnels",
            "Tunnels over the connections to a peer's gateways",
            self.peer_tunnels.clone(),
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
        registry.register_with_unit(
            "snapshot_since_timestamp",
            "When the snapshot in force came into force, since 1970",
            Unit::Seconds,
            self.snapshot_since.clone(),
        );
        registry.register_with_unit(
            "snapshot_judged_duration",
            "From a snapshot's arrival until all that it doesn't allow is cut",
            Unit::Seconds,
            self.judged.clone(),
        );
        registry.register(
            "connections_cut",
            "Live connections that a changed snapshot, or the end of a policy, doesn't allow any more",
            self.connections_cut.clone(),
        );
        registry.register(
            "policies_over",
            "Policies that have ended by the clock",
            self.policies_over.clone(),
        );
        registry.register(
            "imports",
            "Imports, by whether they listen",
            self.imports.clone(),
        );
        registry.register(
            "decision_log_lost",
            "Lines of the decision log that are lost, since it couldn't be written in time",
            self.decisions_lost.clone(),
        );
        registry.register("build_info", "The program", self.build.clone());
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
