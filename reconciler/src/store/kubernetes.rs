//! A cluster as the store: objects applied one by one, and a FabricState that says which count.
//!
//! ```text
//!  watches ──▶ Objects ──▶ action::actions (pure) ──▶ tasks ──▶ one PATCH or DELETE each ──▶ FabricState
//!                 ▲                                   │ what fails is tried again, by itself
//!                 └───────────────────────────────────┘
//! ```
//!
//! The cluster is the only memory: a process that is killed at any step leaves objects of ours and
//! an older FabricState, and the next one goes on from there.

mod body;
mod keep;
mod round;
mod send;
mod state;
mod tell;
mod throttle;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fabric::api::{Adoption, Prune, Unmanaged};
use fabric::digest::Digest;
use fabric::mark;
use fabric::name::{ObjectKey, PeerName};
use fabric::origin::Revision;
use fabric::plan::action::Wanted;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, interval};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::state::{Compared, InForce};
use self::tell::Teller;
use self::throttle::Throttle;
use super::{Approvals, Desired, Report, Store, StoreError};
use crate::kubernetes::brake::Brake;
use crate::kubernetes::client::Connection;
use crate::kubernetes::event::Events;
use crate::kubernetes::lease::Leadership;
use crate::kubernetes::objects::Objects;
use crate::kubernetes::write::{Failure, Writer};
use crate::metrics::SyncMetrics;

/// How often is said what is waited for at the start.
const PATIENCE: Duration = Duration::from_secs(10);

/// A cluster that objects are applied to, for one FabricSync.
#[derive(Debug)]
pub struct Kubernetes {
    client: ClientBox,
    target: Target,
    /// The value of the label by which objects are ours.
    label: String,
    objects: Arc<Objects>,
    writer: Writer,
    leadership: Leadership,
    teller: Teller,
    throttle: Throttle,
    settings: RwLock<Settings>,
    memory: Mutex<Memory>,
    /// Held by whoever compares and writes: a round, or the corrections between rounds.
    turn: tokio::sync::Mutex<()>,
    status: watch::Sender<StoreStatus>,
    wake: Notify,
    metrics: SyncMetrics,
    cancelled: CancellationToken,
}

/// A cluster, and what the work in it needs.
#[derive(Debug)]
pub struct Cluster {
    /// The API server.
    pub connection: Connection,
    /// What lives there.
    pub objects: Arc<Objects>,
    /// Where events of its objects go.
    pub events: Events,
    /// Whether this process may write.
    pub leadership: Leadership,
    /// Where is counted.
    pub metrics: SyncMetrics,
}

/// Which part of a cluster is whose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The system namespace: of the FabricSync, the FabricState and the Peers.
    pub namespace: String,
    /// The FabricSync's name, which is the FabricState's too.
    pub name: String,
    /// The peer that the cluster is.
    pub peer: PeerName,
}

/// Where a FabricSync's events go: a hub's FabricSyncs live in another cluster than their objects.
#[derive(Clone, Debug)]
pub struct SyncEvents {
    /// Of the cluster that the FabricSync lives in.
    pub events: Events,
    /// How events name it; with its uid, so that `kubectl describe` shows them.
    pub reference: ObjectReference,
}

/// What a FabricSync says of applying.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Whether objects count that aren't applied from the repository.
    pub unmanaged: Unmanaged,
    /// What happens to objects that exist already.
    pub adoption: Adoption,
    /// How much may be deleted at once; what the repository's `fabric.yaml` says where absent.
    pub prune: Option<Prune>,
}

/// Where the objects stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreStatus {
    /// The revision in force; none as long as there is none.
    pub revision: Option<Revision>,
    /// How many objects are in force.
    pub objects: usize,
    /// The objects that can't be applied or deleted, and why; they are tried again.
    pub refused: Vec<(ObjectKey, String)>,
    /// The objects that the prune budget holds back.
    pub blocked: Vec<ObjectKey>,
    /// The objects whose deletion waits for somebody's finalizer.
    pub terminating: Vec<ObjectKey>,
    /// Over how many objects somebody fights with us.
    pub fights: usize,
    /// How many objects were corrected since the start because somebody changed them.
    pub corrected: u64,
    /// Whether all that is to be in force is, and nothing else but what is held back.
    pub is_complete: bool,
}

/// The client says nothing of itself.
struct ClientBox(Client);

#[derive(Debug, Default)]
struct Memory {
    /// What is to be in force; none before the first round.
    goal: Option<Arc<Goal>>,
    /// The [term](Leadership::term) in which it was set.
    term: u64,
    in_force: Option<InForce>,
    /// What the FabricState was last compared with, and found to say.
    compared: Option<Compared>,
    /// The states of the FabricStates that were remembered, where nothing was compared yet.
    remembered: Vec<(String, String)>,
    /// The objects that were seen as they should be, by the digest of what was wanted.
    met: BTreeMap<ObjectKey, Digest>,
    /// The objects that couldn't be dealt with.
    troubles: BTreeMap<ObjectKey, Trouble>,
    brakes: BTreeMap<ObjectKey, Brake>,
    /// What events told of refused objects.
    told: BTreeMap<ObjectKey, String>,
}

/// What is to be in force.
#[derive(Debug)]
struct Goal {
    /// The plan is without its objects: they are in `wanted`.
    desired: Desired,
    /// The objects; none where nothing is to be in force.
    wanted: Option<BTreeMap<ObjectKey, Wanted>>,
    approvals: Approvals,
}

/// Why an object couldn't be dealt with, and when it is tried again.
#[derive(Clone, Debug)]
struct Trouble {
    message: String,
    failure: Failure,
    attempts: u32,
    due: Instant,
}

// === impl Target ===

impl Target {
    /// The part of a FabricSync.
    #[must_use]
    pub fn new(namespace: &str, name: &str, peer: PeerName) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            peer,
        }
    }
}

// === impl Kubernetes ===

impl Kubernetes {
    /// Waits until all of the cluster was seen; what its FabricState says is in force from then on.
    pub async fn open(
        cluster: Cluster,
        target: Target,
        sync: SyncEvents,
        tasks: &TaskTracker,
        cancelled: CancellationToken,
    ) -> Result<Arc<Self>, StoreError> {
        let Cluster {
            connection,
            objects,
            events,
            leadership,
            metrics,
        } = cluster;
        let store = Self {
            client: ClientBox(connection.client.clone()),
            label: mark::sync_label(&target.namespace, &target.name),
            objects,
            writer: Writer::new(mark::APPLIER, &connection.server, leadership.clone()),
            leadership,
            teller: Teller::new(events, sync, tasks, cancelled.clone()),
            throttle: Throttle::new(),
            settings: RwLock::default(),
            memory: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
            status: watch::Sender::default(),
            wake: Notify::new(),
            metrics,
            cancelled: cancelled.clone(),
            target,
        };
        let mut patience = interval(PATIENCE);
        patience.reset();
        loop {
            tokio::select! {
                () = store.objects.synced() => break,
                () = cancelled.cancelled() => return Err(StoreError::Closed),
                _ = patience.tick() => tracing::info!(
                    server = connection.server,
                    "still waiting for the first lists of all kinds"
                ),
            }
        }
        store.remember();
        Ok(Arc::new(store))
    }

    /// Sets what the FabricSync says; it counts from the next round on.
    pub fn configure(&self, settings: Settings) {
        let mut before = self.settings.write();
        if *before != settings {
            *before = settings;
            self.wake.notify_one();
        }
    }

    /// Where the objects stand, from now on.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<StoreStatus> {
        self.status.subscribe()
    }

    /// The value of the label by which objects are this FabricSync's.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.label
    }
}

impl Store for Kubernetes {
    async fn apply(&self, desired: Desired, approvals: Approvals) -> Result<Report, StoreError> {
        // A process that is killed at any step leaves no more behind, and who suspends a FabricSync
        // doesn't want the rest of thousands of objects.
        let round = Box::pin(self.round(desired, approvals));
        match self.cancelled.run_until_cancelled(round).await {
            Some(result) => result.map_err(StoreError::Cluster),
            None => Err(StoreError::Closed),
        }
    }

    fn in_force(&self) -> Option<Arc<Desired>> {
        // Whoever has the turn is about to change it.
        if let Ok(_turn) = self.turn.try_lock() {
            self.look_for_another_leader();
        }
        let memory = self.memory.lock();
        memory.in_force.as_ref().map(InForce::desired)
    }
}

impl std::fmt::Debug for ClientBox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client")
    }
}
