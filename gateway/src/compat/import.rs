//! The source: tunnels to a peer that runs ClusterLink, and whether it answers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fabric::snapshot::Remote;
use http::StatusCode;
use tokio::time::timeout;

use crate::compat::attributes::Authorization;
use crate::compat::carry::Tunnel;
use crate::compat::grant::Token;
use crate::compat::session::{Failure, Session};
use crate::decision::Outcome;
use crate::dial::{each, secure};
use crate::link;
use crate::metrics::ResultLabel;
use crate::pool::DialError;
use crate::resolve::authority;
use crate::state::State;
use crate::tls::ALPN_WEFT;
use crate::tunnel::Link;
use crate::tunnel::frame::Open;
use crate::world::World;

/// The largest body of `/authz`: more is refused there.
pub(super) const MAX_BODY: usize = 64 * 1024;

/// What a peer turned out to speak.
enum Spoken {
    ClusterLink(Session),
    /// It runs Weft by now, and the connection is in the pool.
    Weft,
}

/// Whether a peer is to be spoken with by the dialect: it has opted in, and isn't connected by
/// `weft/1`, as it is once it runs Weft.
#[must_use]
pub(crate) fn applies(state: &State, remote: &Remote) -> bool {
    remote.compatibility.is_some() && state.pool.pick(&remote.peer.name).is_none()
}

/// Opens a tunnel; none where the peer turns out to speak `weft/1`.
///
/// On failure nothing of the client's data has gone anywhere.
pub(crate) async fn open(
    state: &Arc<State>,
    world: &World,
    remote: &Remote,
    open: &Open,
) -> Result<Option<Tunnel>, (Outcome, String)> {
    let opened = try_open(state, world, remote, open).await;
    let result = match &opened {
        Ok(Some(_)) => "accepted",
        Ok(None) => return opened,
        Err((Outcome::PeerDenied, _)) => "denied",
        Err((Outcome::PeerMissingExport, _)) => "missing_export",
        Err((Outcome::PeerExportUnreachable, _)) => "export_unreachable",
        Err((Outcome::Limit, _)) => "too_large",
        Err((Outcome::PeerUnreachable, _)) => "unreachable",
        Err(_) => "other",
    };
    let label = ResultLabel { result };
    state.metrics.tunnel_opens.get_or_create(&label).inc();
    opened
}

async fn try_open(
    state: &Arc<State>,
    world: &World,
    remote: &Remote,
    open: &Open,
) -> Result<Option<Tunnel>, (Outcome, String)> {
    let peer = &remote.peer.name;
    let own = &world.snapshot.peer;
    let body = Authorization::new(&open.export, open.client.as_deref(), own);
    let body = serde_json::to_vec(&body).map_err(|error| (Outcome::Limit, error.to_string()))?;
    if body.len() > MAX_BODY {
        let text = "the client's attributes are too long".to_owned();
        return Err((Outcome::Limit, text));
    }
    let body = Bytes::from(body);
    let waiting = state.compat.idle.take(peer);
    let waiting = waiting.filter(|session| session.link().accepts(world).is_ok());
    fill(state, remote);
    let answer = async {
        let access = access(state, world, remote, body, waiting).await?;
        let Some((token, mut session)) = access else {
            return Ok(None);
        };
        // One that ends after each answer.
        if !session.is_ready().await {
            match connect(state, world, remote).await.map_err(unreachable)? {
                Spoken::ClusterLink(another) => session = another,
                Spoken::Weft => return Ok(None),
            }
        }
        let tunnel = session.connect(&token).await;
        tunnel.map(Some).map_err(|failure| refused(&failure))
    };
    let timeouts = world.timeouts(state.config.timeouts);
    let limit = timeouts.dial.saturating_add(timeouts.open);
    timeout(limit, answer).await.unwrap_or_else(|_| {
        let text = "the peer didn't answer in time".to_owned();
        Err((Outcome::PeerUnreachable, text))
    })
}

/// Access, and the connection that it came by; none where the peer turns out to speak `weft/1`.
async fn access(
    state: &Arc<State>,
    world: &World,
    remote: &Remote,
    body: Bytes,
    waiting: Option<Session>,
) -> Result<Option<(Token, Session)>, (Outcome, String)> {
    if let Some(mut session) = waiting {
        match session.authorize(body.clone()).await {
            Ok(token) => return Ok(Some((token, session))),
            // It was given up over there while it waited.
            Err(Failure::Broken(_)) => {}
            Err(failure) => return Err(refused(&failure)),
        }
    }
    match connect(state, world, remote).await.map_err(unreachable)? {
        Spoken::ClusterLink(mut session) => {
            let token = session.authorize(body).await;
            let token = token.map_err(|failure| refused(&failure))?;
            Ok(Some((token, session)))
        }
        Spoken::Weft => Ok(None),
    }
}

/// One heartbeat: any of the gateways is enough. None where the peer turns out to speak `weft/1`.
pub(crate) async fn beat(state: &Arc<State>, remote: &Remote) -> Option<Result<Duration, String>> {
    let peer = &remote.peer.name;
    let world = state.world()?;
    let limit = world.snapshot.heartbeat.timeout.get();
    let waiting = state.compat.idle.take(peer);
    if let Some(mut session) = waiting.filter(|session| session.link().accepts(&world).is_ok()) {
        let started = Instant::now();
        // Otherwise it may be this connection alone that is dead.
        if let Ok(Ok(())) = timeout(limit, session.health()).await {
            state.compat.idle.put(peer, session);
            return Some(Ok(started.elapsed()));
        }
    }
    let mut session = match connect(state, &world, remote).await {
        Ok(Spoken::ClusterLink(session)) => session,
        Ok(Spoken::Weft) => return None,
        Err(error) => return Some(Err(error.to_string())),
    };
    let started = Instant::now();
    let answer = timeout(limit, session.health()).await;
    Some(match answer {
        Ok(Ok(())) => {
            let round_trip = started.elapsed();
            state.compat.idle.put(peer, session);
            Ok(round_trip)
        }
        Ok(Err(failure)) => Err(format!("/healthz: {failure}")),
        Err(_) => Err("heartbeats weren't answered".to_owned()),
    })
}

/// Opens connections ahead of need, as long as there are too few.
fn fill(state: &Arc<State>, remote: &Remote) {
    let (state, peer) = (Arc::clone(state), remote.peer.name.clone());
    let tasks = state.tasks.clone();
    tasks.spawn(async move {
        let Some(_filling) = state.compat.idle.fill(&peer) else {
            return;
        };
        let filled = async {
            while !state.compat.idle.is_full(&peer) {
                let Some(world) = state.world() else { return };
                let Some(remote) = world.snapshot.remotes.get(&peer) else {
                    return;
                };
                match connect(&state, &world, remote).await {
                    Ok(Spoken::ClusterLink(session)) => state.compat.idle.put(&peer, session),
                    // The heartbeat tells how it is with the peer.
                    Ok(Spoken::Weft) | Err(_) => return,
                }
            }
        };
        state.draining.run_until_cancelled(Box::pin(filled)).await;
    });
}

/// Connects to one of a peer's gateways.
async fn connect(state: &Arc<State>, world: &World, remote: &Remote) -> Result<Spoken, DialError> {
    let peer = &remote.peer.name;
    let connected = each(
        &remote.gateways,
        |_| false,
        |gateway| async move {
            let host = authority(&gateway.host, gateway.port.get());
            let (stream, facts) = secure(state, world, peer, &gateway).await?;
            if stream.get_ref().1.alpn_protocol() == Some(ALPN_WEFT) {
                let started = link::start(state, Link::plain(stream), facts);
                let started = timeout(state.config.timeouts.handshake, started).await;
                let started =
                    started.unwrap_or_else(|_| Err(failed("timeout", "the hello timed out")));
                return started.map(|_| Spoken::Weft);
            }
            let session = Session::start(state, stream.into(), facts, &host).await;
            session
                .map(Spoken::ClusterLink)
                .map_err(|text| failed("closed_by_peer", &text))
        },
    )
    .await;
    let result = connected
        .as_ref()
        .map_or_else(|error| error.reason, |_| "ok");
    state.metrics.handshake("dial", result);
    connected
}

fn failed(reason: &'static str, text: &str) -> DialError {
    DialError {
        reason,
        text: text.to_owned(),
    }
}

fn unreachable(error: DialError) -> (Outcome, String) {
    (Outcome::PeerUnreachable, error.to_string())
}

/// What an answer comes to.
fn refused(failure: &Failure) -> (Outcome, String) {
    let outcome = match failure {
        Failure::Status(StatusCode::FORBIDDEN) => Outcome::PeerDenied,
        Failure::Status(StatusCode::NOT_FOUND) => Outcome::PeerMissingExport,
        Failure::Status(
            StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT,
        ) => Outcome::PeerExportUnreachable,
        Failure::Status(_) | Failure::Odd(_) => Outcome::PeerRefused,
        Failure::Broken(_) => Outcome::PeerUnreachable,
    };
    (outcome, failure.to_string())
}
