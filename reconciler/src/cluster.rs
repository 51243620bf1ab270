//! The gateway's side of a cluster: snapshots out of watches, who connects from which address, what
//! stands behind a Service, and the report that a gateway writes of itself.
//!
//! ```text
//!  FabricState, objects ──▶ assemble (pure) ──▶ plan ──▶ Snapshot ──▶ gateway
//!                               ▲                │
//!                               └── last plan ◀──┘ on disk: in force again after a restart
//!  Pods, Services, EndpointSlices ──▶ Cluster ──▶ gateway
//! ```

mod plan;
mod report;
mod view;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fabric::api::IgnoredObject;
use fabric::attributes::Labels;
use fabric::cluster::Cluster;
use fabric::name::PeerName;
use fabric::snapshot::Snapshot;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::kubernetes::cache::{Cache, Changes};
use crate::kubernetes::client::Connection;
use crate::store::{Local, StoreError};

pub use report::Reporter;

/// A burst of events becomes one snapshot: a commit changes several objects within milliseconds.
const BURST: Duration = Duration::from_millis(20);

/// What a gateway is told of itself.
#[derive(Clone, Debug)]
pub struct Options {
    /// The system namespace.
    pub namespace: String,
    /// The peer that the gateway's certificate names.
    pub peer: PeerName,
    /// Where the last plan is kept; without it a restart waits for the API server.
    pub state: Option<PathBuf>,
    /// The fabric's CA certificates where no repository says them; read again when it changes.
    pub authorities: Option<PathBuf>,
    /// The labels of the peer where no repository says them.
    pub labels: Labels,
    /// How long one watch lasts.
    pub watch_seconds: u32,
}

/// What a gateway follows.
#[derive(Clone, Debug)]
pub struct Following {
    /// What is in force; none as long as nothing is.
    pub snapshots: watch::Receiver<Option<Arc<Snapshot>>>,
    /// The cluster around.
    pub cluster: watch::Receiver<Arc<Cluster>>,
    /// The objects that don't count, and why.
    pub ignored: watch::Receiver<Vec<IgnoredObject>>,
}

/// Follows a cluster until `cancelled`; what was in force before a restart is so at once.
pub fn follow(
    connection: &Connection,
    options: Options,
    tasks: &TaskTracker,
    cancelled: &CancellationToken,
) -> Result<Following, StoreError> {
    let local = match &options.state {
        Some(directory) => Some(Local::open(directory, &options.peer)?),
        None => None,
    };
    let cluster = view::follow(connection, options.watch_seconds, tasks, cancelled);
    let (snapshots, ignored) = plan::follow(connection, options, local, tasks, cancelled);
    Ok(Following {
        snapshots,
        cluster,
        ignored,
    })
}

/// Notifies whenever one of the caches changes.
pub(crate) fn notify_on<T: Send + Sync + 'static>(
    caches: &[&Arc<Cache<T>>],
    notify: &Arc<Notify>,
    tasks: &TaskTracker,
    cancelled: &CancellationToken,
) {
    for cache in caches {
        let mut changes: Changes = cache.changes();
        let (notify, cancelled) = (Arc::clone(notify), cancelled.clone());
        tasks.spawn(async move {
            let forward = async {
                loop {
                    changes.next().await;
                    notify.notify_one();
                }
            };
            cancelled.run_until_cancelled(forward).await;
        });
    }
}
