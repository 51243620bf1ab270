//! Whether peers answer, watched by one task per peer.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fabric::name::PeerName;
use fabric::snapshot::{Remote, Snapshot};
use futures::future::join_all;
use jiff::Timestamp;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::compat;
use crate::dial;
use crate::link;
use crate::metrics::PeerLabel;
use crate::state::State;
use crate::tunnel::Connection;
use crate::tunnel::connection::Closed;

/// The shortest time between two heartbeats, whatever the snapshot says.
const SHORTEST: Duration = Duration::from_millis(50);

/// The tasks that watch peers.
#[derive(Debug, Default)]
pub(crate) struct Heartbeats {
    running: BTreeMap<PeerName, (CancellationToken, JoinHandle<()>)>,
}

// === impl Heartbeats ===

impl Heartbeats {
    /// Watches exactly the peers of a snapshot.
    pub(crate) async fn follow(&mut self, state: &Arc<State>, snapshot: Option<&Snapshot>) {
        let (kept, gone) = std::mem::take(&mut self.running)
            .into_iter()
            .partition(|(peer, _)| {
                snapshot.is_some_and(|snapshot| snapshot.remotes.contains_key(peer))
            });
        self.running = kept;
        let gone: BTreeMap<_, (CancellationToken, JoinHandle<()>)> = gone;
        for (peer, (stop, task)) in gone {
            stop.cancel();
            // Only then it says nothing more of a peer that may come back with the next snapshot.
            let _ = task.await;
            state.reach.forget(&peer);
            state.metrics.peer_reachable.remove(&PeerLabel {
                peer: peer.to_string(),
            });
        }
        let peers = snapshot
            .into_iter()
            .flat_map(|snapshot| snapshot.remotes.keys());
        for peer in peers {
            if self.running.contains_key(peer) {
                continue;
            }
            let stop = state.draining.child_token();
            let (stopped, watched) = (stop.clone(), Arc::clone(state));
            let watching = peer.clone();
            let task = state.tasks.spawn(async move {
                let watch = Box::pin(watch(&watched, &watching));
                stopped.run_until_cancelled(watch).await;
            });
            self.running.insert(peer.clone(), (stop, task));
        }
    }
}

async fn watch(state: &Arc<State>, peer: &PeerName) {
    // How many heartbeats in a row each connection didn't answer, by its own identity.
    let mut missed = HashMap::new();
    loop {
        let Some(world) = state.world() else { return };
        let Some(remote) = world.snapshot.remotes.get(peer) else {
            return;
        };
        let heartbeat = &world.snapshot.heartbeat;
        let started = Instant::now();
        let result = beat(state, remote, heartbeat.down, &mut missed).await;
        let failure = result.as_ref().err().cloned().unwrap_or_default();
        let changed = state
            .reach
            .observe(peer, result, heartbeat, Timestamp::now());
        match changed {
            Some(true) => tracing::info!(%peer, "a peer is reachable"),
            Some(false) => tracing::warn!(%peer, reason = failure, "a peer isn't reachable"),
            None => {}
        }
        if let Some(reachable) = changed {
            let label = PeerLabel {
                peer: peer.to_string(),
            };
            let gauge = state.metrics.peer_reachable.get_or_create_owned(&label);
            gauge.set(i64::from(reachable));
        }
        let interval = heartbeat.interval.get().max(SHORTEST);
        drop(world);
        // From one to the next, however long this one waited for its answer.
        let rest = interval.saturating_sub(started.elapsed());
        tokio::time::sleep(rest.max(SHORTEST)).await;
    }
}

/// One heartbeat over every connection of the peer; one answer is enough.
async fn beat(
    state: &Arc<State>,
    remote: &Remote,
    down: u32,
    missed: &mut HashMap<usize, u32>,
) -> Result<Duration, String> {
    let peer = &remote.peer.name;
    if compat::import::applies(state, remote)
        && let Some(result) = compat::import::beat(state, remote).await
    {
        return result;
    }
    let mut failure = None;
    if state.pool.pick(peer).is_none() {
        failure = dial::connection(state, remote).await.err();
    }
    let connections = state.pool.of(peer);
    let revision = link::revision(state);
    let limit = state.config.timeouts.heartbeat;
    let answers = connections.iter().map(|connection| {
        let revision = revision.clone();
        async move {
            let started = Instant::now();
            let answer = timeout(limit, connection.ping(revision)).await;
            connection.forget_beats();
            let round_trip = answer.ok().flatten().map(|()| started.elapsed());
            (connection, round_trip)
        }
    });
    let answers = join_all(answers).await;
    let identity = |connection: &Arc<Connection>| Arc::as_ptr(connection) as usize;
    missed.retain(|known, _| connections.iter().any(|other| identity(other) == *known));
    let mut fastest: Option<Duration> = None;
    for (connection, round_trip) in answers {
        let missed = missed.entry(identity(connection)).or_insert(0);
        if let Some(round_trip) = round_trip {
            *missed = 0;
            // One that takes no more tunnels doesn't make the peer reachable.
            if connection.is_going() {
                continue;
            }
            fastest = Some(fastest.map_or(round_trip, |fastest| fastest.min(round_trip)));
            continue;
        }
        *missed += 1;
        if *missed >= down {
            // Dead without a word: its tunnels shall know.
            connection.close(Closed::Silent);
        }
    }
    fastest.ok_or_else(|| {
        failure.map_or_else(
            || "heartbeats weren't answered".to_owned(),
            |error| error.to_string(),
        )
    })
}
