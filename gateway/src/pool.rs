//! The live connections to other gateways, whoever opened them.

use std::collections::BTreeMap;
use std::sync::Arc;

use fabric::name::PeerName;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::limits::{CONNECTIONS_PER_PEER, DIALLED_PER_PEER, DOUBTED_PER_PEER, SPREAD_FROM};
use crate::tunnel::Connection;

/// The live connections to other gateways.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    peers: Mutex<BTreeMap<PeerName, Connections>>,
}

/// The connections of one peer.
#[derive(Debug, Default)]
struct Connections {
    live: Vec<Arc<Connection>>,
    dial: Option<watch::Receiver<Option<Dialled>>>,
}

/// What came of dialling a peer: nothing, or why not.
pub(crate) type Dialled = Result<(), DialError>;

/// Why a peer can't be reached.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {text}")]
pub(crate) struct DialError {
    /// A stable name.
    pub reason: &'static str,
    /// What happened, for people.
    pub text: String,
}

/// A dial that is running, or is to be started by whoever asked.
#[derive(Debug)]
pub(crate) enum Dial {
    /// Somebody does it already.
    Running(watch::Receiver<Option<Dialled>>),
    /// To be done now, and its result sent.
    Start(watch::Sender<Option<Dialled>>),
}

// === impl Pool ===

impl Pool {
    /// Takes a connection in; false when the peer has too many.
    pub(crate) fn add(&self, connection: &Arc<Connection>) -> bool {
        let facts = connection.facts();
        let mut peers = self.peers.lock();
        let of_peer = peers.entry(facts.peer.clone()).or_default();
        let accepted = of_peer
            .live
            .iter()
            .filter(|connection| !connection.facts().dialled);
        if !facts.dialled && accepted.count() >= CONNECTIONS_PER_PEER {
            return false;
        }
        of_peer.live.push(Arc::clone(connection));
        true
    }

    /// Forgets a connection.
    pub(crate) fn remove(&self, connection: &Arc<Connection>) {
        let mut peers = self.peers.lock();
        let peer = &connection.facts().peer;
        if let Some(of_peer) = peers.get_mut(peer) {
            of_peer.live.retain(|other| !Arc::ptr_eq(other, connection));
            if of_peer.live.is_empty() && of_peer.dial.is_none() {
                peers.remove(peer);
            }
        }
    }

    /// The usable connection with the fewest tunnels, and whether another one should be opened; one
    /// that is doubted only where there is no other.
    #[must_use]
    pub(crate) fn pick(&self, peer: &PeerName) -> Option<(Arc<Connection>, bool)> {
        let peers = self.peers.lock();
        let of_peer = peers.get(peer)?;
        let best = of_peer
            .live
            .iter()
            .filter(|connection| connection.is_usable())
            .min_by_key(|connection| (connection.is_doubted(), connection.load()))?;
        let is_crowded = best.load() >= SPREAD_FROM && of_peer.may_dial();
        Some((Arc::clone(best), is_crowded))
    }

    /// Whether another connection to a peer may be opened.
    #[must_use]
    pub(crate) fn may_dial(&self, peer: &PeerName) -> bool {
        self.peers
            .lock()
            .get(peer)
            .is_none_or(Connections::may_dial)
    }

    /// All live connections of a peer.
    #[must_use]
    pub(crate) fn of(&self, peer: &PeerName) -> Vec<Arc<Connection>> {
        self.peers
            .lock()
            .get(peer)
            .map(|of_peer| of_peer.live.clone())
            .unwrap_or_default()
    }

    /// All live connections.
    #[must_use]
    pub(crate) fn all(&self) -> Vec<Arc<Connection>> {
        self.peers
            .lock()
            .values()
            .flat_map(|of_peer| of_peer.live.iter().cloned())
            .collect()
    }

    /// Joins the dial of a peer, or starts one: there is one at a time.
    #[must_use]
    pub(crate) fn dial(&self, peer: &PeerName) -> Dial {
        let mut peers = self.peers.lock();
        let of_peer = peers.entry(peer.clone()).or_default();
        // A dial whose task is gone without a result is over, too.
        if let Some(running) = &of_peer.dial
            && running.has_changed().is_ok()
        {
            return Dial::Running(running.clone());
        }
        let (sender, receiver) = watch::channel(None);
        of_peer.dial = Some(receiver);
        Dial::Start(sender)
    }

    /// The dial of a peer is over.
    pub(crate) fn dialled(&self, peer: &PeerName) {
        let mut peers = self.peers.lock();
        if let Some(of_peer) = peers.get_mut(peer) {
            of_peer.dial = None;
            if of_peer.live.is_empty() {
                peers.remove(peer);
            }
        }
    }
}

// === impl Connections ===

impl Connections {
    /// Those that take no more tunnels don't count: what replaces them must have room. Nor do those
    /// that are doubted, up to as many.
    fn may_dial(&self) -> bool {
        let dialled = |doubted: bool| {
            let live = self.live.iter().filter(|connection| {
                let is_dialled = connection.facts().dialled && !connection.is_going();
                is_dialled && connection.is_doubted() == doubted
            });
            live.count()
        };
        dialled(false) < DIALLED_PER_PEER && dialled(true) < DOUBTED_PER_PEER
    }
}
