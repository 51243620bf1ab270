//! Whether peers answer: the first heartbeat decides at once, then several in a row must agree.

use std::collections::BTreeMap;
use std::time::Duration;

use fabric::api::Heartbeat;
use fabric::name::PeerName;
use jiff::Timestamp;
use parking_lot::Mutex;

/// What is known of the peers' reachability.
#[derive(Debug, Default)]
pub(crate) struct Reachability {
    peers: Mutex<BTreeMap<PeerName, PeerState>>,
}

/// What is known of one peer's reachability.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PeerState {
    /// Whether the peer counts as reachable.
    pub reachable: bool,
    /// Since when.
    pub since: Timestamp,
    /// The last answer's round trip.
    pub round_trip: Option<Duration>,
    /// Why the last heartbeat failed, where it did.
    pub failure: Option<String>,
    /// Heartbeats in a row that say otherwise.
    against: u32,
}

// === impl Reachability ===

impl Reachability {
    /// What is known of a peer; none before its first heartbeat.
    #[must_use]
    pub(crate) fn of(&self, peer: &PeerName) -> Option<PeerState> {
        self.peers.lock().get(peer).cloned()
    }

    /// Whether a peer is known not to answer.
    #[must_use]
    pub(crate) fn is_down(&self, peer: &PeerName) -> bool {
        self.peers
            .lock()
            .get(peer)
            .is_some_and(|state| !state.reachable)
    }

    /// Takes a heartbeat's result, with the round trip where it was answered; the new state, when the
    /// peer's reachability changed.
    pub(crate) fn observe(
        &self,
        peer: &PeerName,
        result: Result<Option<Duration>, String>,
        heartbeat: &Heartbeat,
        now: Timestamp,
    ) -> Option<bool> {
        let ok = result.is_ok();
        let (round_trip, failure) = match result {
            Ok(round_trip) => (round_trip, None),
            Err(failure) => (None, Some(failure)),
        };
        let mut peers = self.peers.lock();
        let Some(state) = peers.get_mut(peer) else {
            let state = PeerState {
                reachable: ok,
                since: now,
                round_trip,
                failure,
                against: 0,
            };
            peers.insert(peer.clone(), state);
            return Some(ok);
        };
        state.round_trip = round_trip.or(state.round_trip);
        state.failure = failure;
        if ok == state.reachable {
            state.against = 0;
            return None;
        }
        state.against += 1;
        let needed = if ok { heartbeat.up } else { heartbeat.down };
        if state.against < needed {
            return None;
        }
        state.reachable = ok;
        state.since = now;
        state.against = 0;
        Some(ok)
    }

    /// Forgets a peer.
    pub(crate) fn forget(&self, peer: &PeerName) {
        self.peers.lock().remove(peer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_57_several_in_a_row_must_agree() {
        let reach = Reachability::default();
        let peer = "east".parse().unwrap();
        let heartbeat = Heartbeat {
            down: 3,
            up: 2,
            ..Heartbeat::default()
        };
        let observe = |ok: bool| {
            let result = if ok {
                Ok(Some(Duration::ZERO))
            } else {
                Err("timed out".to_owned())
            };
            reach.observe(&peer, result, &heartbeat, Timestamp::UNIX_EPOCH)
        };
        let script = [
            (false, Some(false)),
            (true, None),
            (false, None),
            (true, None),
            (true, Some(true)),
            (false, None),
            (false, None),
            (true, None),
            (false, None),
            (false, None),
            (false, Some(false)),
        ];
        for (at, (ok, expected)) in script.into_iter().enumerate() {
            assert_eq!(observe(ok), expected, "step {at}");
        }
        assert!(reach.is_down(&peer));
    }
}
