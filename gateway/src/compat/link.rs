//! One TLS connection with a peer that speaks the dialect, and who accepted it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use fabric::api::Fingerprint;
use fabric::name::PeerName;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::compat::is_spoken;
use crate::metrics::{ReasonLabel, RoleLabel};
use crate::state::State;
use crate::tunnel::ConnectionFacts;
use crate::world::World;

/// The live connections.
#[derive(Debug, Default)]
pub(super) struct Links {
    links: Mutex<BTreeMap<u64, Arc<Link>>>,
    next: AtomicU64,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Link {
    id: u64,
    facts: ConnectionFacts,
    /// By which snapshot it was accepted last.
    accepted_by: AtomicU64,
    cut: CancellationToken,
    why: OnceLock<&'static str>,
}

/// A connection that is known; forgotten when dropped.
#[derive(Debug)]
pub(crate) struct Known {
    state: Arc<State>,
    link: Arc<Link>,
}

// === impl Links ===

impl Links {
    /// All of them.
    pub(super) fn all(&self) -> Vec<Arc<Link>> {
        self.links.lock().values().cloned().collect()
    }
}

// === impl Link ===

impl Link {
    /// The authenticated peer.
    #[must_use]
    pub(super) const fn peer(&self) -> &PeerName {
        &self.facts.peer
    }

    /// The certificate that this side showed.
    #[must_use]
    pub(super) const fn own(&self) -> Fingerprint {
        self.facts.own
    }

    /// Whether a snapshot accepts it now.
    pub(super) fn verify(&self, world: &World) -> Result<(), &'static str> {
        self.is_spoken(world)?;
        world
            .verify_facts(&self.facts, &self.accepted_by)
            .map_err(crate::tls::verify::Refused::as_str)
    }

    /// Whether a snapshot accepts it; looked at once.
    pub(super) fn accepts(&self, world: &World) -> Result<(), &'static str> {
        self.is_spoken(world)?;
        world
            .accepts_facts(&self.facts, &self.accepted_by)
            .map_err(crate::tls::verify::Refused::as_str)
    }

    fn is_spoken(&self, world: &World) -> Result<(), &'static str> {
        if is_spoken(&world.snapshot, &self.facts.peer) {
            Ok(())
        } else {
            Err("not_opted_in")
        }
    }

    /// Ends it, and what it carries.
    pub(super) fn cut(&self, reason: &'static str) {
        let _ = self.why.set(reason);
        self.cut.cancel();
    }

    /// Waits until it is cut.
    pub(super) async fn until_cut(&self) {
        self.cut.cancelled().await;
    }

    /// Whether it is cut.
    #[must_use]
    pub(super) fn is_cut(&self) -> bool {
        self.cut.is_cancelled()
    }
}

// === impl Known ===

impl Known {
    /// Makes a connection known, and then looks whether the snapshot in force accepts it: whoever
    /// swaps it sees the connection or is seen here.
    pub(super) fn new(state: &Arc<State>, facts: ConnectionFacts) -> Result<Self, &'static str> {
        let links = &state.compat.links;
        let link = Arc::new(Link {
            id: links.next.fetch_add(1, Ordering::Relaxed),
            facts,
            accepted_by: AtomicU64::new(0),
            cut: CancellationToken::new(),
            why: OnceLock::new(),
        });
        links.links.lock().insert(link.id, Arc::clone(&link));
        let known = Self {
            state: Arc::clone(state),
            link,
        };
        state
            .metrics
            .gateway_connections
            .get_or_create(&known.label())
            .inc();
        let world = state.world().ok_or("no_snapshot")?;
        known.link.verify(&world)?;
        Ok(known)
    }

    /// The connection.
    #[must_use]
    pub(super) const fn link(&self) -> &Arc<Link> {
        &self.link
    }

    fn label(&self) -> RoleLabel {
        let role = if self.link.facts.dialled {
            "dial"
        } else {
            "accept"
        };
        RoleLabel { role }
    }
}

impl Drop for Known {
    fn drop(&mut self) {
        self.state.compat.links.links.lock().remove(&self.link.id);
        let gauge = &self.state.metrics.gateway_connections;
        gauge.get_or_create(&self.label()).dec();
        let reason = self.link.why.get().copied().unwrap_or("done");
        let ended = &self.state.metrics.gateway_connections_ended;
        ended.get_or_create(&ReasonLabel { reason }).inc();
    }
}
