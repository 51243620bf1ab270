//! What all tasks of a gateway share.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use fabric::name::{ObjectName, PeerName};
use parking_lot::Mutex;
use rustls::crypto::CryptoProvider;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::budget::Budgets;
use crate::compat::Compat;
use crate::config::Config;
use crate::copy::Counters;
use crate::decision::log::Log;
use crate::gateway::{ImportListener, StartError};
use crate::import::balance::Balance;
use crate::limits::{Rates, Slots};
use crate::live::{Entry, Live, Subject};
use crate::metrics::{Metrics, Side};
use crate::pool::Pool;
use crate::reach::Reachability;
use crate::resolve::Resolver;
use crate::told::Told;
use crate::trace::Traces;
use crate::world::World;

/// What all tasks of a gateway share.
#[derive(Debug)]
pub(crate) struct State {
    /// What the gateway was told at its start.
    pub config: Config,
    /// The cryptography.
    pub provider: Arc<CryptoProvider>,
    /// What is counted.
    pub metrics: Metrics,
    /// What traces connections; none where nobody receives them.
    pub traces: Option<Traces>,
    /// The decision log; none where decisions are events of the process's own.
    pub decisions: Option<Log>,
    /// The snapshot in force; none fails closed.
    world: ArcSwapOption<World>,
    /// The live connections of clients and services.
    pub live: Live,
    /// The live connections to other gateways.
    pub pool: Pool,
    /// What there is with peers that speak ClusterLink's dialect.
    pub compat: Compat,
    /// Whether peers answer.
    pub reach: Reachability,
    /// Where each import's next connection goes.
    pub balance: Balance,
    /// Tunnels in use, by peer.
    pub tunnels: Slots<PeerName>,
    /// Connections in use, by import.
    pub import_connections: Slots<ObjectName>,
    /// Connections in use, by export.
    pub export_connections: Slots<ObjectName>,
    /// Connections in use, by the client's address; only where that is limited.
    pub clients: Slots<IpAddr>,
    /// New connections, by import; only where they are limited.
    pub import_rates: Rates<ObjectName>,
    /// New connections, by export; only where they are limited.
    pub export_rates: Rates<ObjectName>,
    /// Handshakes in progress, by the other side's network.
    pub handshakes: Slots<IpAddr>,
    /// The clients that peers tell of.
    pub told: Told,
    /// Names of exported services.
    pub resolve_exports: Resolver,
    /// Names of peers' gateways; of its own, so that exports can't hold up the peers.
    pub resolve_gateways: Resolver,
    /// What strangers and peers may make us write to the log.
    pub budgets: Budgets,
    /// How the imports' listeners do.
    pub listeners: Mutex<BTreeMap<ObjectName, ImportListener>>,
    /// Where other gateways connect to.
    pub listen: SocketAddr,
    /// Where the admin port is.
    pub admin: SocketAddr,
    /// The tasks that carry or decide a connection; the drain waits for them.
    pub serving: TaskTracker,
    /// All other tasks.
    pub tasks: TaskTracker,
    /// Nothing new is taken.
    pub draining: CancellationToken,
    /// Everything ends.
    pub stop: CancellationToken,
    counters: [Counters; 2],
    /// What stands for the network, where time is simulated.
    #[cfg(test)]
    pub network: Option<Arc<crate::simulation::network::Network>>,
}

/// A live connection that is known; forgotten when dropped.
#[derive(Debug)]
pub(crate) struct Registered<'a> {
    state: &'a State,
    entry: Arc<Entry>,
}

// === impl State ===

impl State {
    /// The state before the first snapshot.
    pub(crate) fn new(
        config: Config,
        provider: Arc<CryptoProvider>,
        listen: SocketAddr,
        admin: SocketAddr,
    ) -> Result<Self, StartError> {
        let metrics = Metrics::default();
        Ok(Self {
            decisions: Log::open(&config.decision_log, &metrics)?,
            traces: (config.traces.as_ref())
                .map(Traces::start)
                .transpose()
                .map_err(StartError::Traces)?,
            counters: [Side::Import, Side::Export].map(|side| Counters::new(&metrics, side)),
            config,
            provider,
            metrics,
            world: ArcSwapOption::empty(),
            live: Live::default(),
            pool: Pool::default(),
            compat: Compat::default(),
            reach: Reachability::default(),
            balance: Balance::default(),
            tunnels: Slots::default(),
            import_connections: Slots::default(),
            export_connections: Slots::default(),
            clients: Slots::default(),
            import_rates: Rates::default(),
            export_rates: Rates::default(),
            handshakes: Slots::default(),
            told: Told::default(),
            resolve_exports: Resolver::default(),
            resolve_gateways: Resolver::default(),
            budgets: Budgets::default(),
            listeners: Mutex::default(),
            listen,
            admin,
            serving: TaskTracker::new(),
            tasks: TaskTracker::new(),
            draining: CancellationToken::new(),
            stop: CancellationToken::new(),
            #[cfg(test)]
            network: None,
        })
    }

    /// The snapshot in force.
    #[must_use]
    pub(crate) fn world(&self) -> Option<Arc<World>> {
        self.world.load_full()
    }

    /// Puts a snapshot in force; whoever does has to judge what lives by it.
    pub(crate) fn swap(&self, world: Option<Arc<World>>) {
        self.world.store(world);
    }

    /// The byte counters of a side.
    #[must_use]
    pub(crate) const fn counters(&self, side: Side) -> &Counters {
        let [import, export] = &self.counters;
        match side {
            Side::Import => import,
            Side::Export => export,
        }
    }

    /// Makes a connection known that `world` allowed; none when the snapshot in force by now
    /// doesn't.
    ///
    /// It is known before the look at the snapshot in force, so that whoever swaps it either sees
    /// the connection or is seen here.
    #[must_use]
    pub(crate) fn register(&self, subject: Subject, world: &Arc<World>) -> Option<Registered<'_>> {
        let side = subject.side();
        let registered = Registered {
            entry: self.live.add(subject),
            state: self,
        };
        self.metrics.connections.get_or_create(&side.label()).inc();
        let current = self.world()?;
        // Pods change without a new snapshot.
        let may_differ = !Arc::ptr_eq(&current, world) || self.config.cluster.is_some();
        if may_differ && !registered.entry.subject().is_allowed(&current) {
            return None;
        }
        Some(registered)
    }
}

// === impl Registered ===

impl Registered<'_> {
    /// The connection.
    #[must_use]
    pub(crate) fn entry(&self) -> &Arc<Entry> {
        &self.entry
    }
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        self.state.live.remove(&self.entry);
        let label = self.entry.subject().side().label();
        self.state.metrics.connections.get_or_create(&label).dec();
    }
}
