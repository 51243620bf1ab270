//! Bounds on what another party can make grow. Those of the snapshot come on top.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use parking_lot::Mutex;

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

/// Tunnels on a connection from which on another one is opened.
pub(crate) const SPREAD_FROM: usize = 16;

/// Tunnels at a time with one peer, whatever the snapshot says: the descriptors of a process.
pub(crate) const TUNNELS_PER_PEER: usize = 16 * 1024;

/// Connections at a time through one import, whatever the snapshot says: the same.
pub(crate) const CONNECTIONS_PER_IMPORT: usize = 16 * 1024;

/// HTTP connections at the gateway port: health checks of peers and load balancers.
pub(crate) const HTTP_CONNECTIONS: usize = 128;

/// Those of one peer, so that none can keep the others from asking.
pub(crate) const HTTP_PER_PEER: usize = 16;

/// Connections at the admin port: a few scrapers and people.
pub(crate) const ADMIN_CONNECTIONS: usize = 64;

/// Connections that wait to be accepted; the kernel cuts it to its own limit.
pub(crate) const BACKLOG: i32 = 1024;

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

/// The tighter of a built-in bound and a configured one, where 0 is no limit.
#[must_use]
pub(crate) fn bound(built_in: usize, configured: u32) -> usize {
    match configured {
        0 => built_in,
        limit => built_in.min(limit as usize),
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
    fn zero_is_no_limit() {
        assert_eq!(bound(100, 0), 100);
        assert_eq!(bound(100, 7), 7);
        assert_eq!(bound(100, 700), 100);
    }
}
