//! Whether peers answer, watched by one task per peer.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use fabric::api::Heartbeat;
use fabric::name::PeerName;
use fabric::snapshot::{Remote, Snapshot};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use jiff::Timestamp;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
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

/// A connection is doubted when this part of the time for an answer is over.
const DOUBT: u32 = 3;

/// The tasks that watch peers.
#[derive(Debug, Default)]
pub(crate) struct Heartbeats {
    running: BTreeMap<PeerName, (CancellationToken, JoinHandle<()>)>,
}

/// The heartbeats of one peer's connections.
///
/// Each connection has one under way at a time. What answers at once isn't held up by what doesn't:
/// its answer is waited for beside the next heartbeats of the others.
#[derive(Default)]
struct Beats {
    under_way: FuturesUnordered<Pin<Box<dyn Future<Output = Event> + Send>>>,
    /// The connections that have one under way, by their own identity, and what had been received
    /// over each when it was sent, or when it was late.
    asked: HashMap<usize, (Arc<Connection>, u64)>,
}

/// What comes of a heartbeat over one connection.
enum Event {
    /// It should have been answered by now, and still may be.
    Late(Asked),
    /// It was answered after so long, or wasn't.
    Over(Asked, Option<Duration>),
}

/// That a peer is there.
struct Sign {
    round_trip: Option<Duration>,
}

/// A heartbeat that is to be answered in time.
struct Asked {
    connection: Arc<Connection>,
    at: Instant,
    /// How long it still has once it is late.
    rest: Duration,
    answer: Pin<Box<dyn Future<Output = Option<()>> + Send>>,
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
    let mut beats = Beats::default();
    let mut is_first = true;
    loop {
        let Some(world) = state.world() else { return };
        let Some(remote) = world.snapshot.remotes.get(peer) else {
            return;
        };
        let heartbeat = &world.snapshot.heartbeat;
        let started = Instant::now();
        // The first one decides at once, and so may take as long as connecting does.
        let limit = match std::mem::take(&mut is_first) {
            true => None,
            false => Some(heartbeat.timeout.get()),
        };
        let result = beats.beat(state, remote, heartbeat, limit).await;
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
        let down = heartbeat.down;
        drop(world);
        // From one to the next, however long this one waited for its answer.
        let rest = interval.saturating_sub(started.elapsed());
        beats.rest(rest.max(SHORTEST), down).await;
    }
}

// === impl Beats ===

impl Beats {
    /// One heartbeat over every connection of the peer; one answer is enough, or anything else that
    /// comes from it. The round trip, where it was answered.
    async fn beat(
        &mut self,
        state: &Arc<State>,
        remote: &Remote,
        heartbeat: &Heartbeat,
        limit: Option<Duration>,
    ) -> Result<Option<Duration>, String> {
        let peer = &remote.peer.name;
        if compat::import::applies(state, remote)
            && let Some(result) = compat::import::beat(state, remote).await
        {
            return result.map(Some);
        }
        let revision = link::revision(state);
        for connection in state.pool.of(peer) {
            self.ask(connection, revision.clone(), heartbeat);
        }
        let mut failure = None;
        let mut dial = pin!(dial::connection(state, remote));
        let mut is_dialled = false;
        let mut over = pin!(async {
            match limit {
                Some(limit) => sleep(limit).await,
                None => std::future::pending().await,
            }
        });
        loop {
            // Beside those that are silent: the peer may have another gateway.
            let picked = state.pool.pick(peer);
            let is_doubtful = picked.is_none_or(|(connection, _)| connection.is_doubted());
            let is_dialling = is_doubtful && !is_dialled;
            if self.under_way.is_empty() && !is_dialling {
                break;
            }
            tokio::select! {
                biased;
                Some(event) = self.under_way.next() => {
                    if let Some(sign) = self.note(event, heartbeat.down) {
                        return Ok(sign.round_trip);
                    }
                }
                dialled = &mut dial, if is_dialling => {
                    is_dialled = true;
                    match dialled {
                        Ok(connection) => self.ask(connection, revision.clone(), heartbeat),
                        Err(error) => failure = Some(error),
                    }
                }
                () = &mut over => break,
            }
        }
        let mut asked = self.asked.values().map(|(connection, _)| connection);
        if asked.any(|connection| self.is_heard(connection) && !connection.is_going()) {
            return Ok(None);
        }
        Err(failure.map_or_else(
            || "heartbeats weren't answered".to_owned(),
            |error| error.to_string(),
        ))
    }

    /// Rests until the next heartbeat, with an eye on those that are under way.
    async fn rest(&mut self, rest: Duration, down: u32) {
        let mut over = pin!(sleep(rest));
        loop {
            tokio::select! {
                () = &mut over => return,
                Some(event) = self.under_way.next() => {
                    self.note(event, down);
                }
            }
        }
    }

    /// Sends a heartbeat over a connection, unless one is under way.
    fn ask(&mut self, connection: Arc<Connection>, revision: String, heartbeat: &Heartbeat) {
        let Entry::Vacant(asked) = self.asked.entry(identity(&connection)) else {
            return;
        };
        asked.insert((Arc::clone(&connection), connection.heard()));
        let limit = heartbeat.timeout.get();
        let soon = limit / DOUBT;
        let mut asked = Asked {
            at: Instant::now(),
            rest: limit.saturating_sub(soon),
            answer: {
                let connection = Arc::clone(&connection);
                Box::pin(async move { connection.ping(revision).await })
            },
            connection,
        };
        self.under_way.push(Box::pin(async move {
            match timeout(soon, &mut asked.answer).await {
                Ok(answer) => asked.over(answer),
                Err(_) => Event::Late(asked),
            }
        }));
    }

    /// Takes note of what came of a heartbeat; a sign of life, where it says that the peer is there.
    fn note(&mut self, event: Event, down: u32) -> Option<Sign> {
        let (asked, round_trip) = match event {
            Event::Late(mut asked) => {
                let connection = &asked.connection;
                if !self.is_heard(connection) {
                    connection.doubt();
                }
                // From here on anew: what was heard once is soon no sign of life any more.
                let mark = (Arc::clone(connection), connection.heard());
                self.asked.insert(identity(connection), mark);
                self.under_way.push(Box::pin(async move {
                    let answer = timeout(asked.rest, &mut asked.answer).await;
                    asked.over(answer.ok().flatten())
                }));
                return None;
            }
            Event::Over(asked, round_trip) => (asked, round_trip),
        };
        let connection = &asked.connection;
        connection.forget_beats();
        let is_heard = self.is_heard(connection);
        self.asked.remove(&identity(connection));
        let sign = match round_trip {
            Some(_) => Some(Sign { round_trip }),
            None if is_heard => {
                connection.trust();
                Some(Sign { round_trip: None })
            }
            None => {
                if connection.missed() >= down {
                    // Dead without a word: its tunnels shall know.
                    connection.close(Closed::Silent);
                }
                None
            }
        };
        // One that takes no more tunnels doesn't make the peer reachable.
        sign.filter(|_| !connection.is_going())
    }

    /// Whether anything was received over a connection since its heartbeat was sent, or was late.
    ///
    /// The answer may be behind much else: on a narrow way that is full, what waits to be sent takes
    /// longer than any heartbeat may.
    fn is_heard(&self, connection: &Arc<Connection>) -> bool {
        let asked = self.asked.get(&identity(connection));
        asked.is_some_and(|(_, heard)| connection.heard() != *heard) && !connection.is_closed()
    }
}

// === impl Asked ===

impl Asked {
    fn over(self, answer: Option<()>) -> Event {
        let took = self.at.elapsed();
        Event::Over(self, answer.map(|()| took))
    }
}

/// What tells a connection from another as long as a heartbeat of it is under way.
fn identity(connection: &Arc<Connection>) -> usize {
    Arc::as_ptr(connection) as usize
}
