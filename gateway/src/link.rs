//! From an authenticated TLS stream to a live connection in the pool.

use std::io;
use std::sync::Arc;

use fabric::name::PeerName;
use rustls_pki_types::UnixTime;

use crate::compat;
use crate::export;
use crate::limits::Limit;
use crate::metrics::{ReasonLabel, RoleLabel};
use crate::pool::DialError;
use crate::state::State;
use crate::tls;
use crate::tunnel::connection::{Closed, EstablishError, establish};
use crate::tunnel::frame::Open;
use crate::tunnel::{Accept, Connection, ConnectionFacts, Link, Tunnel};
use crate::world::World;

/// What a connection asks of the gateway.
struct Serve(Arc<State>);

/// Exchanges the hello, takes the connection into the pool and runs it.
pub(crate) async fn start(
    state: &Arc<State>,
    link: Link,
    facts: ConnectionFacts,
) -> Result<Arc<Connection>, DialError> {
    let (connection, incoming) = establish(facts, link)
        .await
        .map_err(|error| failed(&error))?;
    let role = if connection.facts().dialled {
        "dial"
    } else {
        "accept"
    };
    if !state.pool.add(&connection) {
        state.metrics.limit(Limit::ConnectionsPerPeer);
        return Err(DialError {
            reason: "limit",
            text: format!("{} has too many connections", connection.facts().peer),
        });
    }
    // Known before the look at the snapshot in force: whoever swaps it sees it or is seen here.
    if let Err(refused) = verify(state, &connection) {
        state.pool.remove(&connection);
        return Err(refused);
    }
    // A peer that comes and goes in a loop mustn't fill the log.
    if state.budgets.peer(&connection.facts().peer) {
        tracing::info!(
            peer = %connection.facts().peer,
            address = %connection.facts().address,
            role,
            "connected to a gateway",
        );
    }
    let live = state
        .metrics
        .gateway_connections
        .get_or_create_owned(&RoleLabel { role });
    live.inc();
    let accept = Arc::new(Serve(Arc::clone(state)));
    let (task, state) = (Arc::clone(&connection), Arc::clone(state));
    let tasks = state.tasks.clone();
    tasks.spawn(async move {
        let run = Box::pin(Arc::clone(&task).run(incoming, accept));
        state.stop.run_until_cancelled(run).await;
        task.close(Closed::Done);
        state.pool.remove(&task);
        live.dec();
        ended(&state, &task, role);
    });
    Ok(connection)
}

/// Whether the snapshot in force by now accepts what another one accepted.
fn verify(state: &State, connection: &Connection) -> Result<(), DialError> {
    let refused = |reason: &'static str| DialError {
        reason,
        text: format!(
            "the snapshot changed, and {} isn't accepted: {reason}",
            connection.facts().peer
        ),
    };
    let current = state.world().ok_or_else(|| refused("no_snapshot"))?;
    current
        .verify(connection)
        .map_err(|error| refused(error.as_str()))
}

fn ended(state: &State, connection: &Connection, role: &'static str) {
    let why = connection.why_closed().unwrap_or(Closed::Done);
    let reason = match &why {
        Closed::ByPeer => "closed_by_peer",
        Closed::Failed(_) => "failed",
        Closed::Protocol(_) => "protocol",
        Closed::Stalled => "stalled",
        Closed::Silent => "silent",
        Closed::Unaccepted(reason) => reason,
        Closed::Done => "done",
    };
    state
        .metrics
        .gateway_connections_ended
        .get_or_create(&ReasonLabel { reason })
        .inc();
    if state.budgets.peer(&connection.facts().peer) {
        tracing::info!(
            peer = %connection.facts().peer,
            address = %connection.facts().address,
            role,
            reason,
            detail = %why,
            "a connection to a gateway ended",
        );
    }
}

fn failed(error: &EstablishError) -> DialError {
    let reason = match error {
        // A server that doesn't accept our certificate says so only now.
        EstablishError::Io(error) => match tls::failure(error) {
            "io" if error.kind() == io::ErrorKind::UnexpectedEof => "closed_by_peer",
            reason => reason,
        },
        EstablishError::Frame(_) | EstablishError::NoHello => "protocol",
    };
    DialError {
        reason,
        text: error.to_string(),
    }
}

/// Cuts the connections of peers that a snapshot doesn't accept; how many that were.
pub(crate) fn judge(state: &State, world: Option<&World>) -> usize {
    let mut cut = 0;
    for connection in state.pool.all() {
        let verdict = world.map_or(Err("no_snapshot"), |world| {
            world
                .verify(&connection)
                .map_err(tls::verify::Refused::as_str)
        });
        if let Err(reason) = verdict {
            tracing::warn!(peer = %connection.facts().peer, reason, "a peer isn't accepted any more");
            connection.close(Closed::Unaccepted(reason));
            cut += 1;
        }
    }
    cut + compat::judge(state, world)
}

/// Leaves the connections of a peer that were made with another certificate than the one shown
/// now, or to a gateway that isn't the peer's any more.
pub(crate) fn retire_others(state: &State, world: &World) {
    for connection in state.pool.all() {
        let facts = connection.facts();
        let remote = world.snapshot.remotes.get(&facts.peer);
        let is_gone = |gateway| remote.is_none_or(|remote| !remote.gateways.contains(gateway));
        if facts.own != world.identity.fingerprint() {
            connection.retire("the certificate was replaced");
        } else if facts.gateway.as_ref().is_some_and(is_gone) {
            connection.retire("the gateway isn't the peer's any more");
        }
    }
    compat::retire_others(state, world);
}

/// The moment as certificates count it.
#[must_use]
pub(crate) fn now_seconds() -> i64 {
    i64::try_from(UnixTime::now().as_secs()).unwrap_or(i64::MAX)
}

/// The names of a peer's live connections' other ends, for people.
#[must_use]
pub(crate) fn addresses(state: &State, peer: &PeerName) -> Vec<String> {
    let connections = state.pool.of(peer);
    connections
        .iter()
        .map(|connection| connection.facts().address.to_string())
        .collect()
}

// === impl Serve ===

impl Accept for Serve {
    fn accept(&self, tunnel: Tunnel, mut open: Open) {
        open.client = open.client.map(|client| self.0.told.share(client));
        let serve = Box::pin(export::serve(Arc::clone(&self.0), tunnel, open));
        let stop = self.0.stop.clone();
        self.0.serving.spawn(async move {
            stop.run_until_cancelled(serve).await;
        });
    }

    fn revision(&self) -> String {
        revision(&self.0)
    }
}

/// The revision in force, as heartbeats carry it.
#[must_use]
pub(crate) fn revision(state: &State) -> String {
    let revision = state
        .world()
        .map(|world| world.snapshot.revision.as_str().to_owned());
    // A commit's id has 64 digits at most; what is longer is none and isn't told.
    revision
        .filter(|revision| revision.len() <= 128)
        .unwrap_or_default()
}
