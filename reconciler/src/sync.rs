//! FabricSyncs: which repository a cluster keeps to, and how that goes.
//!
//! ```text
//!  Lease ──▶ leads? ──▶ FabricSyncs ──▶ the one that acts ──▶ Reconciler over store::Kubernetes
//!                                            ▲                       │
//!                                            └──── status ◀──────────┘
//! ```

mod acting;
pub mod admin;
mod credentials;
mod secrets;
mod status;
mod task;
mod webhook;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fabric::crd::CustomKind;
use fabric::tree::Limits;
use kube::runtime::watcher;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::controller;
use crate::kubernetes::cache::Cache;
use crate::kubernetes::client::Connection;
use crate::kubernetes::election::{self, Term};
use crate::kubernetes::event::Events;
use crate::kubernetes::lease::Candidate;
use crate::kubernetes::objects::{LiveSync, Objects};
use crate::kubernetes::resource::api;
use crate::metrics::Metrics;
use crate::reconcile::Trigger;

use self::acting::Acting;

pub use self::webhook::Webhook;

/// The Lease of the role.
const LEASE: &str = "weft-reconciler";
/// After a FabricSync's task ended by a failure.
const RETRY: Duration = Duration::from_secs(5);

/// What a reconciler of a cluster is told at its start.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where Git stores and credentials' files are; nothing in it is needed after a restart.
    pub directory: PathBuf,
    /// What tells this process from others of its role.
    pub identity: String,
    /// How long a leader that falls silent still leads.
    pub lease: Duration,
    /// How long one watch lasts.
    pub watch_seconds: u32,
    /// What is read of a revision.
    pub limits: Limits,
    /// Whether FabricSyncs may lead into other clusters.
    pub hub: bool,
}

/// What is seen of a running reconciler from outside, and what moves it.
#[derive(Clone, Debug, Default)]
pub struct Handle {
    triggers: Arc<Mutex<Vec<Trigger>>>,
    health: Arc<Mutex<Health>>,
    metrics: Metrics,
}

/// A trigger that is fired with the others.
struct Listed(Handle, Trigger);

/// How a reconciler does.
#[derive(Clone, Debug, Default)]
pub struct Health {
    /// Whether this process leads.
    pub leads: bool,
    /// Whether the FabricSyncs were seen.
    pub is_synced: bool,
}

/// Keeps the cluster to what its FabricSyncs say, until `cancelled`; only while no other process does.
pub async fn run(
    connection: Connection,
    options: Options,
    handle: Handle,
    cancelled: CancellationToken,
) {
    let candidate = Candidate::new(&connection, LEASE, options.identity.clone(), options.lease);
    let work = |term| lead(&connection, &options, &handle, term);
    let ended = || handle.set_leads(false);
    election::lead(candidate, &cancelled, work, ended).await;
}

async fn lead(connection: &Connection, options: &Options, handle: &Handle, term: Term) {
    let Term {
        leadership,
        tasks,
        over,
    } = &term;
    handle.set_leads(true);
    let events = Events::new(connection.client.clone(), LEASE, &options.identity);
    let syncs = Cache::watch(
        "fabricsyncs",
        api(
            &connection.client,
            CustomKind::FabricSync,
            Some(&connection.namespace),
        ),
        watcher::Config::default().timeout(options.watch_seconds),
        LiveSync::decode,
        tasks,
        over.clone(),
    );
    let objects = Objects::watch(
        connection,
        &connection.namespace,
        options.watch_seconds,
        tasks,
        over,
    );
    let context = controller::Context {
        connection: connection.clone(),
        leadership: leadership.clone(),
        events: events.clone(),
        watch_seconds: options.watch_seconds,
        objects: Arc::clone(&objects),
        syncs: Arc::clone(&syncs),
        is_remote: false,
        metrics: handle.metrics.clone(),
    };
    tasks.spawn(controller::run(context, over.clone()));
    syncs.synced().await;
    handle.set_synced();
    let acting = Acting {
        connection: connection.clone(),
        options: options.clone(),
        leadership: leadership.clone(),
        events,
        handle: handle.clone(),
        syncs,
        objects,
        tasks: tasks.clone(),
    };
    acting.run(over.clone()).await;
}

// === impl Handle ===

impl Handle {
    /// Of a role that works over this connection.
    #[must_use]
    pub fn new(connection: &Connection) -> Self {
        Self {
            metrics: Metrics::new(connection.requests.clone()),
            ..Self::default()
        }
    }

    /// Begins a round at once, of every FabricSync that acts.
    pub fn trigger(&self) {
        for trigger in self.triggers.lock().iter() {
            trigger.fire();
        }
    }

    /// Has a trigger fired with the others, as long as what is returned is held.
    fn list(&self, trigger: &Trigger) -> Listed {
        self.triggers.lock().push(trigger.clone());
        Listed(self.clone(), trigger.clone())
    }

    /// Notes whether this process leads.
    pub(crate) fn set_leads(&self, leads: bool) {
        self.health.lock().leads = leads;
        self.metrics.set_leads(leads);
    }

    /// Notes that this process sees what it works on.
    pub(crate) fn set_synced(&self) {
        self.health.lock().is_synced = true;
    }

    /// What is counted.
    #[must_use]
    pub const fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// How the reconciler does.
    #[must_use]
    pub fn health(&self) -> Health {
        self.health.lock().clone()
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        let mut triggers = self.0.triggers.lock();
        triggers.retain(|other| !other.is_same(&self.1));
    }
}
