//! ClusterLink's HTTP dialect on the gateway's port, for the peers that have opted in.
//!
//! ```text
//! GET /healthz                       200, clusterlinkpeerlabels
//! POST /authz {who, what}            200, x-access-token
//! CONNECT + authorization: Bearer    200, then raw bytes
//! ```
//!
//! A peer opts in by `weft.dev/compatibility: clusterlink` at its Peer in the repository. What else
//! holds for tunnels holds here: the same snapshot, decisions, limits, log and cuts.

mod attributes;
mod carry;
pub(crate) mod export;
/// What `/authz` gives out, and CONNECT takes.
pub(crate) mod grant;
mod idle;
pub(crate) mod import;
mod link;
mod session;

use fabric::name::PeerName;
use fabric::snapshot::Snapshot;

use crate::limits::Slots;
use crate::state::State;
use crate::world::World;

use grant::Grants;
use idle::Idle;
use link::Links;

pub(crate) use carry::Tunnel;

/// What there is with peers that speak ClusterLink's dialect.
#[derive(Debug, Default)]
pub(crate) struct Compat {
    /// The access that is granted.
    pub grants: Grants,
    links: Links,
    idle: Idle,
    /// Connections of a peer that are no tunnels, yet or at all.
    connections: Slots<PeerName>,
}

/// Whether the dialect is spoken with a peer.
#[must_use]
pub(crate) fn is_spoken(snapshot: &Snapshot, peer: &PeerName) -> bool {
    let remote = snapshot.remotes.get(peer);
    remote.is_some_and(|remote| remote.compatibility.is_some())
}

/// Cuts the connections of peers that a snapshot doesn't accept, or doesn't speak the dialect with;
/// how many that were.
pub(crate) fn judge(state: &State, world: Option<&World>) -> usize {
    let mut cut = 0;
    for link in state.compat.links.all() {
        let verdict = world.map_or(Err("no_snapshot"), |world| link.verify(world));
        if let Err(reason) = verdict {
            tracing::warn!(peer = %link.peer(), reason, "a peer isn't accepted any more");
            link.cut(reason);
            cut += 1;
        }
    }
    state.compat.idle.keep(|link| !link.is_cut());
    cut
}

/// Gives up the connections that wait for use.
pub(crate) fn drain(state: &State) {
    state.compat.idle.keep(|_| false);
}

/// Leaves the connections that wait for use and were made with another certificate than the one
/// shown now.
pub(crate) fn retire_others(state: &State, world: &World) {
    let own = world.identity.fingerprint();
    state.compat.idle.keep(|link| link.own() == own);
}
