//! The gateway as a whole: start, follow the snapshots, drain.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use fabric::api::{FailedImport, GatewayReportStatus, PeerReport};
use fabric::name::ObjectName;
use fabric::origin::Revision;
use fabric::policy::{Clock, Rule};
use fabric::snapshot::Snapshot;
use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::admin;
use crate::compat;
use crate::config::{ClusterView, Config, DecisionLog, StatusProvider};
use crate::decision::{End, place};
use crate::heartbeat::Heartbeats;
use crate::import::listener::Listeners;
use crate::link;
use crate::listen;
use crate::metrics::SnapshotLabel;
use crate::state::State;
use crate::tls;
use crate::tls::identity::Identities;
use crate::world::{self, World};

/// How often certificates are looked at again, ours on disk and those of live connections: one that
/// has expired meanwhile is noticed so late at most.
const RECHECK: Duration = Duration::from_secs(60);

/// How often the clock is looked at while policies are going to end: it may be set meanwhile, so that
/// no sleep is as long as it should be.
const CLOCK: Duration = Duration::from_secs(1);

/// Policies that a line of the log names: `/snapshot` has them all.
const NAMED: usize = 10;

/// What is cut in a drain may take so long to say so to the other side.
const GOODBYE: Duration = Duration::from_secs(2);

/// The snapshots that a gateway follows; none means that nothing is let through.
pub type Snapshots = watch::Receiver<Option<Arc<Snapshot>>>;

/// A gateway that can be started.
#[derive(Debug)]
pub struct Gateway;

/// A gateway that runs; dropped, it ends at once.
#[derive(Debug)]
pub struct Running {
    state: Arc<State>,
    in_force: watch::Receiver<Option<Revision>>,
    reload: mpsc::Sender<()>,
    admin: Option<JoinHandle<()>>,
}

/// What follows the snapshots.
struct Follower {
    state: Arc<State>,
    identities: Identities,
    listeners: Listeners,
    heartbeats: Heartbeats,
    in_force: watch::Sender<Option<Revision>>,
    /// What time it is, for policies that end.
    clock: Clock,
}

/// How an import's listener does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImportListener {
    /// Clients can connect here.
    Listening(SocketAddr),
    /// The address can't be had; tried again and again.
    Failed(SocketAddr, String),
}

/// Why a gateway can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// None of the identities can be used.
    #[error("read certificate {path}: {reason}")]
    Identity {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The decision log can't be opened.
    #[error("open {file}")]
    DecisionLog {
        /// Where it is.
        file: DecisionLog,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Traces can't be exported as the configuration says.
    #[error("set up the export of traces")]
    Traces(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// An address can't be listened at.
    #[error("listen at {address} for {what}")]
    Listen {
        /// What for.
        what: &'static str,
        /// The address.
        address: SocketAddr,
        /// The system's reason.
        source: std::io::Error,
    },
}

impl Gateway {
    /// Starts a gateway that follows the snapshots.
    ///
    /// It ends with [`Running::drain`], or at once when what is returned is dropped. When the
    /// snapshots' sender goes away, the last snapshot stays in force.
    pub async fn start(
        config: Config,
        snapshots: Snapshots,
        status: Option<StatusProvider>,
    ) -> Result<Running, StartError> {
        let provider = tls::provider();
        let mut identities = Identities::default();
        let mut errors = identities.reload(&provider, &config.identities).await;
        if identities.is_empty() {
            return Err(errors.pop().unwrap_or_else(|| StartError::Identity {
                path: PathBuf::new(),
                reason: "no certificate is configured".to_owned(),
            }));
        }
        let bind = |what, address| {
            listen::bind(address).map_err(|source| StartError::Listen {
                what,
                address,
                source,
            })
        };
        let local =
            |listener: &tokio::net::TcpListener, address| listener.local_addr().unwrap_or(address);
        let gateway = bind("other gateways", config.listen)?;
        let admin = bind("the admin port", config.admin)?;
        let listen_address = local(&gateway, config.listen);
        let admin_address = local(&admin, config.admin);
        let state = State::new(config, provider, listen_address, admin_address);
        let state = Arc::new(state?);
        let admin = admin
            .into_std()
            .and_then(|listener| admin::start(Arc::clone(&state), listener, status))
            .map_err(|source| StartError::Listen {
                what: "the admin port",
                address: admin_address,
                source,
            })?;
        let (in_force, receiver) = watch::channel(None);
        // One waiting reload reads everything that later ones would.
        let (reload, reloads) = mpsc::channel(1);
        let follower = Follower {
            state: Arc::clone(&state),
            identities,
            listeners: Listeners::default(),
            heartbeats: Heartbeats::default(),
            in_force,
            clock: Clock::at(Timestamp::now()),
        };
        let draining = state.draining.clone();
        let follow = Box::pin(follower.run(snapshots, reloads));
        state.tasks.spawn(async move {
            draining.run_until_cancelled(follow).await;
        });
        let draining = state.draining.clone();
        let accept = Box::pin(listen::serve(Arc::clone(&state), gateway));
        state.tasks.spawn(async move {
            draining.run_until_cancelled(accept).await;
        });
        Ok(Running {
            state,
            in_force: receiver,
            reload,
            admin: Some(admin),
        })
    }
}

// === impl ImportListener ===

impl ImportListener {
    /// Where it listens, or is to.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        match self {
            Self::Listening(address) | Self::Failed(address, _) => *address,
        }
    }
}

// === impl Running ===

impl Running {
    /// Where other gateways connect to.
    #[must_use]
    pub fn listen_addr(&self) -> SocketAddr {
        self.state.listen
    }

    /// Where the admin port is.
    #[must_use]
    pub fn admin_addr(&self) -> SocketAddr {
        self.state.admin
    }

    /// The imports' listeners.
    #[must_use]
    pub fn imports(&self) -> BTreeMap<ObjectName, ImportListener> {
        self.state.listeners.lock().clone()
    }

    /// The revision in force: set once everything that it forbids is cut and its imports listen
    /// (or have failed to).
    #[must_use]
    pub fn in_force(&self) -> watch::Receiver<Option<Revision>> {
        self.in_force.clone()
    }

    /// Why the gateway isn't ready; nothing when it is.
    #[must_use]
    pub fn not_ready(&self) -> Vec<String> {
        admin::not_ready(&self.state)
    }

    /// What the gateway says of itself where others look for it.
    #[must_use]
    pub fn report(&self) -> GatewayReportStatus {
        let world = self.state.world();
        let mut report = GatewayReportStatus {
            not_ready: self.not_ready(),
            ..GatewayReportStatus::default()
        };
        let Some(world) = world else { return report };
        report.revision = self.in_force.borrow().as_ref().map(ToString::to_string);
        report.certificate = Some(world.identity.fingerprint().to_string());
        report.peers = world
            .snapshot
            .remotes
            .keys()
            .filter_map(|peer| {
                let reach = self.state.reach.of(peer)?;
                Some(PeerReport {
                    name: peer.to_string(),
                    reachable: reach.reachable,
                    since: reach.since,
                })
            })
            .collect();
        report.failed_imports = self
            .imports()
            .into_iter()
            .filter_map(|(name, listener)| match listener {
                ImportListener::Failed(_, message) => Some(FailedImport {
                    name: name.to_string(),
                    message,
                }),
                ImportListener::Listening(_) => None,
            })
            .collect();
        report
    }

    /// Reads the certificates and keys anew, and opens the decision log anew; errors are logged, and
    /// the old ones stay.
    pub fn reload(&self) {
        if let Some(log) = &self.state.decisions {
            log.reopen();
        }
        // Full means that one is waiting already.
        let _ = self.reload.try_send(());
    }

    /// Takes nothing new, waits for what runs, and cuts what still runs at the deadline.
    pub async fn drain(mut self, deadline: Duration) {
        let state = Arc::clone(&self.state);
        tracing::info!("the gateway drains");
        state.draining.cancel();
        for connection in state.pool.all() {
            connection.retire("the gateway goes down");
        }
        compat::drain(&state);
        state.serving.close();
        if timeout(deadline, state.serving.wait()).await.is_err() {
            let cut = state.live.cut_all(End::Draining);
            tracing::warn!(
                connections = cut,
                "connections are cut at the end of the drain"
            );
            let _ = timeout(GOODBYE, state.serving.wait()).await;
        }
        for connection in state.pool.all() {
            connection.finish();
        }
        state.tasks.close();
        let _ = timeout(GOODBYE, state.tasks.wait()).await;
        state.stop.cancel();
        state.serving.wait().await;
        state.tasks.wait().await;
        if let Some(admin) = self.admin.take() {
            let _ = tokio::task::spawn_blocking(move || admin.join()).await;
        }
        let _ = tokio::task::spawn_blocking(move || {
            if let Some(log) = &state.decisions {
                log.close();
            }
            if let Some(traces) = &state.traces {
                traces.close();
            }
        })
        .await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.state.draining.cancel();
        self.state.stop.cancel();
    }
}

// === impl Follower ===

impl Follower {
    async fn run(mut self, mut snapshots: Snapshots, mut reloads: mpsc::Receiver<()>) {
        let mut recheck = interval(RECHECK);
        recheck.set_missed_tick_behavior(MissedTickBehavior::Delay);
        recheck.reset();
        let mut is_followed = true;
        let mut cluster = self.state.config.cluster.clone();
        loop {
            let snapshot = snapshots.borrow_and_update().clone();
            let old = self.state.world();
            self.apply(snapshot).await;
            // Beside the threads that carry traffic: thousands of policies are freed one by one.
            let _ = tokio::task::spawn_blocking(move || drop(old)).await;
            loop {
                tokio::select! {
                    changed = snapshots.changed(), if is_followed => is_followed = changed.is_ok(),
                    Some(()) = reloads.recv() => {}
                    _ = recheck.tick() => {}
                    () = until_next_end(self.state.world()) => {
                        if !self.has_ended() {
                            continue;
                        }
                    }
                    () = changed(&mut cluster) => {
                        // A Pod is another one, or has other labels: what lives by it is judged anew.
                        if let Some(world) = self.state.world() {
                            let (_, cut) = judge(&self.state, Some(world)).await;
                            self.state.metrics.connections_cut.inc_by(cut as u64);
                        }
                        continue;
                    }
                }
                break;
            }
        }
    }

    /// Puts a snapshot in force, and the certificate that goes with it.
    async fn apply(&mut self, snapshot: Option<Arc<Snapshot>>) {
        let state = &self.state;
        let files = &state.config.identities;
        for error in self.identities.reload(&state.provider, files).await {
            tracing::warn!(%error, "a certificate can't be read; the one before stays");
        }
        self.clock = self.clock.read(Timestamp::now());
        let started = Instant::now();
        state.compat.grants.know(self.identities.grants());
        let world = snapshot.and_then(|snapshot| self.world(snapshot));
        let old = state.world();
        let (is_same, is_same_source) = match (&old, &world) {
            (Some(old), Some(new)) => {
                let is_same_source = Arc::ptr_eq(&old.source, &new.source)
                    && old.identity.fingerprint() == new.identity.fingerprint();
                (is_same_source && old.over == new.over, is_same_source)
            }
            (None, None) => (true, true),
            _ => (false, false),
        };
        if is_same {
            // Time has passed: certificates may have expired.
            link::judge(state, old.as_deref());
            return;
        }
        state.swap(world.clone());
        // First what takes access away.
        let (gone, cut) = judge(state, world.clone()).await;
        let took = started.elapsed();
        state.metrics.judged.observe(took.as_secs_f64());
        state.metrics.connections_cut.inc_by(cut as u64);
        let snapshot = world.as_ref().map(|world| &*world.snapshot);
        if is_same_source {
            // The clock alone: nothing else of the snapshot is otherwise.
            let [before, over] = [&old, &world].map(|world| {
                let over = world.as_ref().map(|world| world.over.as_slice());
                over.unwrap_or_default()
            });
            tracing::info!(
                ended = named(over, before),
                // Denies alone, where the clock was set back.
                counts_again = named(before, over),
                policies.over = over.len(),
                connections.cut = cut,
                took_us = took.as_micros() as u64,
                "the clock has changed which policies count",
            );
            return;
        }
        self.listeners.follow(state, snapshot).await;
        self.heartbeats.follow(state, snapshot).await;
        if let Some(world) = &world {
            link::retire_others(state, world);
        }
        let is_import = |name: &_| snapshot.is_some_and(|all| all.imports.contains_key(name));
        let is_export = |name: &_| snapshot.is_some_and(|all| all.exports.contains_key(name));
        state.import_rates.keep(is_import);
        state.export_rates.keep(is_export);
        state.metrics.snapshots.inc();
        state.metrics.snapshot_since.set(link::now_seconds());
        state.metrics.snapshot.clear();
        let revision = snapshot.map(|snapshot| snapshot.revision.clone());
        if let Some(snapshot) = snapshot {
            let label = SnapshotLabel {
                fabric: snapshot.fabric.clone(),
                revision: snapshot.revision.to_string(),
            };
            state.metrics.snapshot.get_or_create(&label).set(1);
        }
        tracing::info!(
            revision = revision.as_ref().map(Revision::as_str),
            connections.cut = cut,
            gateways.cut = gone,
            took_us = took.as_micros() as u64,
            "a snapshot is in force",
        );
        self.in_force.send_replace(revision);
    }

    /// Whether policies have ended that hadn't when they were looked through, or the other way round:
    /// clocks are set.
    fn has_ended(&mut self) -> bool {
        self.clock = self.clock.read(Timestamp::now());
        let world = self.state.world();
        world.is_some_and(|world| world::over(&world.source, &self.clock) != world.over)
    }

    fn world(&self, snapshot: Arc<Snapshot>) -> Option<Arc<World>> {
        let now = link::now_seconds();
        let identity = self.identities.choose(&snapshot, now)?;
        if !self.identities.is_committed(&snapshot, identity) {
            tracing::warn!(
                fingerprint = %identity.fingerprint(),
                "the certificate isn't among the committed ones; peers will refuse it",
            );
        }
        self.state
            .metrics
            .certificate_not_after
            .set(identity.not_after());
        let cluster = self.state.config.cluster.clone();
        let world = World::new(
            &self.state.provider,
            snapshot,
            &self.clock,
            identity.clone(),
            cluster,
        );
        match world {
            Ok(world) => Some(Arc::new(world)),
            Err(error) => {
                tracing::error!(%error, "tls can't be set up; nothing is let through");
                None
            }
        }
    }
}

/// Cuts what a snapshot doesn't allow; how many connections with gateways and of clients that were.
///
/// Beside the threads that carry traffic, since it takes milliseconds where there are thousands.
async fn judge(state: &Arc<State>, world: Option<Arc<World>>) -> (usize, usize) {
    let judging = Arc::clone(state);
    let judged = tokio::task::spawn_blocking(move || {
        let gone = link::judge(&judging, world.as_deref());
        let cut = match &world {
            Some(world) => judging.live.judge(world),
            None => judging.live.cut_all(End::NoLongerAllowed),
        };
        (gone, cut)
    });
    judged.await.unwrap_or_else(|error| {
        tracing::error!(%error, "connections can't be judged, and are all cut");
        (0, state.live.cut_all(End::NoLongerAllowed))
    })
}

/// The names of the rules that aren't among others, for people; none where there is none.
fn named(rules: &[Rule], others: &[Rule]) -> Option<String> {
    let new = || rules.iter().filter(|rule| !others.contains(rule));
    let named = |rule: &Rule| format!("{} at {}", rule.key, place(rule));
    let mut text = new().take(NAMED).map(named).collect::<Vec<_>>().join(", ");
    if let Some(more @ 1..) = new().count().checked_sub(NAMED) {
        text.push_str(&format!(", and {more} more"));
    }
    (!text.is_empty()).then_some(text)
}

/// Waits until the next policy may have ended; for ever where none does.
async fn until_next_end(world: Option<Arc<World>>) {
    let Some(world) = world else {
        return std::future::pending().await;
    };
    let mut ends = world.source.policies.ends().peekable();
    if ends.peek().is_none() {
        return std::future::pending().await;
    }
    let now = Timestamp::now();
    let next = ends.find(|end| *end > now);
    let left = next.and_then(|next| Duration::try_from(next.duration_since(now)).ok());
    // Not sooner than the clock's own grain, or it would be asked again and again.
    let wait = left.map_or(CLOCK, |left| left.clamp(Duration::from_millis(1), CLOCK));
    tokio::time::sleep(wait).await;
}

/// Waits until the cluster around is otherwise; for ever where there is none, or no more word of it.
async fn changed(cluster: &mut Option<ClusterView>) {
    if let Some(view) = cluster {
        if view.changed().await.is_ok() {
            return;
        }
        *cluster = None;
    }
    std::future::pending::<()>().await;
}
