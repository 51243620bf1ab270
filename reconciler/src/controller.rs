//! The conditions of the objects, and what an Import is made of: Services, EndpointSlices, ports.
//!
//! All of it is computed from what is watched, each time as a whole, and what differs from what lives
//! is written.
//!
//! ```text
//!  objects, Services, EndpointSlices, Pods, reports ──▶ View ──▶ wanted (pure) ──▶ what differs ──▶ writes
//! ```

mod export;
mod fight;
mod import;
mod peer;
mod policy;
mod service;
mod slice;
mod view;
mod write;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::view::Caches;
use self::write::Pen;
use crate::kubernetes::cache::Cache;
use crate::kubernetes::client::Connection;
use crate::kubernetes::event::Events;
use crate::kubernetes::lease::Leadership;
use crate::kubernetes::objects::{LiveSync, Objects};
use crate::metrics::Metrics;

/// Events within so short a time are looked at together.
const BURST: Duration = Duration::from_millis(30);
/// After something couldn't be written.
const RETRY: Duration = Duration::from_secs(2);
/// The ports of our own that no Import can have: other gateways, admin, webhooks.
const RESERVED: [u16; 3] = [4443, 4480, 4490];

/// What the controllers work with.
#[derive(Clone, Debug)]
pub struct Context {
    /// The cluster; its namespace is the system namespace.
    pub connection: Connection,
    /// Whether this process may write.
    pub leadership: Leadership,
    /// Where events go.
    pub events: Events,
    /// How long one watch lasts.
    pub watch_seconds: u32,
    /// What lives in the cluster.
    pub(crate) objects: Arc<Objects>,
    pub(crate) syncs: Arc<Cache<LiveSync>>,
    /// Whether the cluster is another one than that of the FabricSyncs.
    pub(crate) is_remote: bool,
    /// Where is counted how long gateways take.
    pub metrics: Metrics,
}

/// Keeps conditions, Services and ports as the objects want them, until `cancelled`.
pub async fn run(context: Context, cancelled: CancellationToken) {
    let tasks = TaskTracker::new();
    let notify = Arc::new(Notify::new());
    let caches = Caches::watch(&context, &notify, &tasks, &cancelled);
    let mut pen = Pen::new(&context);
    let work = Box::pin(async {
        caches.synced().await;
        loop {
            let view = caches.view();
            if let Some(revision) = view.enforced() {
                let server = &context.connection.server;
                context.metrics.note_enforced(server, revision);
            }
            let is_done = pen.write_all(&view).await;
            let retry = async {
                match is_done {
                    true => std::future::pending().await,
                    false => tokio::time::sleep(RETRY).await,
                }
            };
            tokio::select! {
                () = notify.notified() => {}
                () = retry => {}
            }
            tokio::time::sleep(BURST).await;
        }
    });
    cancelled.run_until_cancelled(work).await;
    tasks.close();
    tasks.wait().await;
}
