//! Connections that are open ahead of need, so that a tunnel costs no handshake while it is asked
//! for.

use std::collections::{BTreeMap, BTreeSet};

use fabric::name::PeerName;
use parking_lot::Mutex;

use crate::compat::link::Link;
use crate::compat::session::Session;

/// Connections that wait for each peer: one for the heartbeat, and a few for what comes at once.
const READY: usize = 4;

/// Connections that are open ahead of need.
#[derive(Debug, Default)]
pub(super) struct Idle {
    peers: Mutex<BTreeMap<PeerName, Vec<Session>>>,
    filling: Mutex<BTreeSet<PeerName>>,
}

/// The one task that opens connections to a peer ahead of need.
#[derive(Debug)]
pub(super) struct Filling<'a> {
    idle: &'a Idle,
    peer: PeerName,
}

// === impl Idle ===

impl Idle {
    /// The one that was used last: it is the least likely to have been given up over there.
    pub(super) fn take(&self, peer: &PeerName) -> Option<Session> {
        let mut peers = self.peers.lock();
        let sessions = peers.get_mut(peer)?;
        sessions.retain(Session::is_usable);
        let session = sessions.pop();
        if sessions.is_empty() {
            peers.remove(peer);
        }
        session
    }

    /// Keeps one for later, unless enough wait already.
    pub(super) fn put(&self, peer: &PeerName, session: Session) {
        let mut peers = self.peers.lock();
        let sessions = peers.entry(peer.clone()).or_default();
        sessions.retain(Session::is_usable);
        if sessions.len() < READY {
            sessions.push(session);
        }
    }

    /// Forgets those that aren't to be used any more.
    pub(super) fn keep(&self, is_kept: impl Fn(&Link) -> bool) {
        let mut peers = self.peers.lock();
        for sessions in peers.values_mut() {
            sessions.retain(|session| is_kept(session.link()));
        }
        peers.retain(|_, sessions| !sessions.is_empty());
    }

    /// Whether enough wait for a peer.
    pub(super) fn is_full(&self, peer: &PeerName) -> bool {
        let peers = self.peers.lock();
        peers
            .get(peer)
            .is_some_and(|sessions| sessions.len() >= READY)
    }

    /// Begins to open connections ahead of need; none where somebody does.
    pub(super) fn fill(&self, peer: &PeerName) -> Option<Filling<'_>> {
        let is_first = self.filling.lock().insert(peer.clone());
        is_first.then(|| Filling {
            idle: self,
            peer: peer.clone(),
        })
    }
}

// === impl Filling ===

impl Drop for Filling<'_> {
    fn drop(&mut self) {
        self.idle.filling.lock().remove(&self.peer);
    }
}
