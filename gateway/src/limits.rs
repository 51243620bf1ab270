//! Bounds on what another party can make grow. Those of the snapshot come on top.

pub(crate) mod admission;
mod rate;

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use fabric::api;
use parking_lot::Mutex;
use rustix::process::{Resource, getrlimit};

pub(crate) use rate::Rates;

/// TLS handshakes at a time: at 0.3 ms of CPU each, a second's worth of them is far more; the bound
/// is for those that hang until their deadline.
pub(crate) const HANDSHAKES: usize = 512;

/// Handshakes at a time with one address (an IPv6 network of 64 bits), so that one host that lets
/// them hang doesn't have all of them: more than a busy site behind one address makes.
pub(crate) const HANDSHAKES_PER_ADDRESS: usize = 64;

/// Names that are resolved at a time: an eighth of the threads for what blocks, twice.
pub(crate) const LOOKUPS: usize = 64;

/// Connections that one peer may have open to this gateway: a few from each of its replicas, and
/// again as many while certificates change.
pub(crate) const CONNECTIONS_PER_PEER: usize = 64;

/// Connections that this gateway opens to one peer, so that a loss delays a part of the tunnels.
pub(crate) const DIALLED_PER_PEER: usize = 4;

/// Connections that this gateway opened to one peer and that don't answer, beside which others are
/// opened: they are given up when they have missed a few heartbeats.
pub(crate) const DOUBTED_PER_PEER: usize = 4;

/// Tunnels on a connection from which on another one is opened.
pub(crate) const SPREAD_FROM: usize = 16;

/// Tunnels at a time with one peer, whatever the snapshot says: the descriptors of a process.
pub(crate) const TUNNELS_PER_PEER: usize = 16 * 1024;

/// Connections at a time through one import, whatever the snapshot says: the same.
pub(crate) const CONNECTIONS_PER_IMPORT: usize = 16 * 1024;

/// Connections at a time to one export, whatever the snapshot says: the same.
pub(crate) const CONNECTIONS_PER_EXPORT: usize = 16 * 1024;

/// The largest header of an HTTP request, whatever the snapshot says: a health check has a tenth.
pub(crate) const HEADER_BYTES: usize = 16 * 1024;

/// HTTP connections at the gateway port: health checks of peers and load balancers.
pub(crate) const HTTP_CONNECTIONS: usize = 128;

/// Those of one peer, so that none can keep the others from asking.
pub(crate) const HTTP_PER_PEER: usize = 16;

/// Connections at the admin port: a few scrapers and people.
pub(crate) const ADMIN_CONNECTIONS: usize = 64;

/// Connections that wait to be accepted; the kernel cuts it to its own limit.
pub(crate) const BACKLOG: i32 = 1024;

/// A limit that something ran into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Limit {
    ConnectionsPerImport,
    ConnectionsPerExport,
    ConnectionsPerClient,
    NewConnectionsPerImport,
    NewConnectionsPerExport,
    TunnelsPerPeer,
    MessageBytes,
    HeaderBytes,
    Handshakes,
    HandshakesPerAddress,
    ConnectionsPerPeer,
    HttpConnections,
}

/// How long a connection may carry nothing; zero is for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Quiet {
    /// While both directions are open.
    pub open: Duration,
    /// Once one of them has ended.
    pub half_closed: Duration,
}

/// Counts what is in use, by key.
#[derive(Debug)]
pub(crate) struct Slots<K: Eq + Hash + Clone> {
    used: Arc<Mutex<HashMap<K, usize>>>,
}

/// One in use; given back when dropped.
#[derive(Debug)]
pub(crate) struct Slot<K: Eq + Hash + Clone> {
    used: Arc<Mutex<HashMap<K, usize>>>,
    key: K,
}

/// The tighter of a built-in bound and a configured one, where 0 is no limit; and never more than
/// half of the descriptors that the process may open, so that one peer or import can't have them
/// all.
#[must_use]
pub(crate) fn bound(built_in: usize, configured: u32) -> usize {
    tightest(built_in, configured, descriptors())
}

fn tightest(built_in: usize, configured: u32, descriptors: usize) -> usize {
    let built_in = built_in.min(descriptors / 2);
    match configured {
        0 => built_in,
        limit => built_in.min(limit as usize),
    }
}

/// How many descriptors the process may open; looked at once, since nothing changes it.
fn descriptors() -> usize {
    static LIMIT: LazyLock<usize> = LazyLock::new(|| {
        let limit = getrlimit(Resource::Nofile).current;
        limit.map_or(usize::MAX, |limit| {
            usize::try_from(limit).unwrap_or(usize::MAX)
        })
    });
    *LIMIT
}

/// The tighter of a built-in number of bytes and a configured one, where 0 is no limit.
#[must_use]
pub(crate) fn size(built_in: usize, configured: u32) -> usize {
    tightest(built_in, configured, usize::MAX)
}

/// The tighter of a built-in time and a configured one, where zero is no limit.
#[must_use]
pub(crate) fn time(built_in: Duration, configured: api::Duration) -> Duration {
    match configured.is_zero() {
        true => built_in,
        false => built_in.min(configured.get()),
    }
}

// === impl Limit ===

impl Limit {
    /// All of them.
    pub(crate) const ALL: [Self; 12] = [
        Self::ConnectionsPerImport,
        Self::ConnectionsPerExport,
        Self::ConnectionsPerClient,
        Self::NewConnectionsPerImport,
        Self::NewConnectionsPerExport,
        Self::TunnelsPerPeer,
        Self::MessageBytes,
        Self::HeaderBytes,
        Self::Handshakes,
        Self::HandshakesPerAddress,
        Self::ConnectionsPerPeer,
        Self::HttpConnections,
    ];

    /// The stable name in metrics.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::ConnectionsPerImport => "connections_per_import",
            Self::ConnectionsPerExport => "connections_per_export",
            Self::ConnectionsPerClient => "connections_per_client",
            Self::NewConnectionsPerImport => "new_connections_per_import",
            Self::NewConnectionsPerExport => "new_connections_per_export",
            Self::TunnelsPerPeer => "tunnels_per_peer",
            Self::MessageBytes => "message_bytes",
            Self::HeaderBytes => "header_bytes",
            Self::Handshakes => "handshakes",
            Self::HandshakesPerAddress => "handshakes_per_address",
            Self::ConnectionsPerPeer => "connections_per_peer",
            Self::HttpConnections => "http_connections",
        }
    }

    /// What it is a limit of, for people.
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::ConnectionsPerImport => "connections of the import",
            Self::ConnectionsPerExport => "connections of the export",
            Self::ConnectionsPerClient => "connections of the client",
            Self::NewConnectionsPerImport => "new connections of the import",
            Self::NewConnectionsPerExport => "new connections of the export",
            Self::TunnelsPerPeer => "tunnels of the peer",
            Self::MessageBytes => "bytes of the message",
            Self::HeaderBytes => "bytes of the header",
            Self::Handshakes => "handshakes in progress",
            Self::HandshakesPerAddress => "handshakes of the address",
            Self::ConnectionsPerPeer => "connections of the peer",
            Self::HttpConnections => "http connections",
        }
    }
}

// === impl Quiet ===

impl Quiet {
    /// What a snapshot allows.
    #[must_use]
    pub(crate) const fn of(limits: &api::Limits) -> Self {
        let (open, half_closed) = (limits.idle_timeout, limits.half_closed_timeout);
        Self {
            open: open.get(),
            half_closed: if half_closed.is_zero() {
                open.get()
            } else {
                half_closed.get()
            },
        }
    }
}

// === impl Slots ===

impl<K: Eq + Hash + Clone> Default for Slots<K> {
    fn default() -> Self {
        Self {
            used: Arc::default(),
        }
    }
}

impl<K: Eq + Hash + Clone> Slots<K> {
    /// Takes one, unless `limit` are taken.
    #[must_use]
    pub(crate) fn take(&self, key: &K, limit: usize) -> Option<Slot<K>> {
        let mut used = self.used.lock();
        let count = used.entry(key.clone()).or_insert(0);
        if *count >= limit {
            return None;
        }
        *count += 1;
        Some(Slot {
            used: Arc::clone(&self.used),
            key: key.clone(),
        })
    }
}

// === impl Slot ===

impl<K: Eq + Hash + Clone> Drop for Slot<K> {
    fn drop(&mut self) {
        let mut used = self.used.lock();
        if let Some(count) = used.get_mut(&self.key) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                used.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_given_back() {
        let slots = Slots::<&str>::default();
        let one = slots.take(&"east", 2).unwrap();
        let _two = slots.take(&"east", 2).unwrap();
        assert!(slots.take(&"east", 2).is_none());
        assert!(slots.take(&"west", 2).is_some());
        drop(one);
        assert!(slots.take(&"east", 2).is_some());
    }

    #[test]
    fn nobody_has_more_than_half_of_the_descriptors() {
        assert_eq!(tightest(16 * 1024, 0, 1024), 512);
        assert_eq!(tightest(16 * 1024, 9000, 1024), 512);
        assert_eq!(tightest(16 * 1024, 9000, usize::MAX), 9000);
    }

    #[test]
    fn times_are_the_tighter_ones() {
        let second = Duration::from_secs(1);
        assert_eq!(time(second, api::Duration::from_secs(0)), second);
        assert_eq!(time(second, api::Duration::from_secs(2)), second);
        let less = api::Duration::from_millis(7);
        assert_eq!(time(second, less), less.get());
        // Half closed goes by the other one where nothing is said.
        let limits = api::Limits {
            idle_timeout: less,
            ..api::Limits::default()
        };
        assert_eq!(Quiet::of(&limits).half_closed, less.get());
    }

    #[test]
    fn zero_is_no_limit() {
        assert_eq!(tightest(100, 0, 5000), 100);
        assert_eq!(tightest(100, 7, 5000), 7);
        assert_eq!(tightest(100, 700, 5000), 100);
    }
}
