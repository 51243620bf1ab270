//! Connecting to a peer's gateways.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use fabric::api::Gateway;
use fabric::name::PeerName;
use fabric::snapshot::Remote;
use rustls::{ClientConfig, ProtocolVersion};
use rustls_pki_types::{CertificateDer, UnixTime};
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::compat;
use crate::link;
use crate::listen::prepare;
use crate::pool::{Dial, DialError, Dialled};
use crate::resolve::{authority, race};
use crate::state::State;
use crate::tls::{self, ALPN_WEFT, TLS_BUFFER, handshake};
use crate::tunnel::{Connection, ConnectionFacts, Link};
use crate::world::World;

/// A usable connection to a peer: one that is there, or a new one.
///
/// One that is doubted is left alone while another one is dialled, unless it answers after all or
/// there is nothing to dial.
pub(crate) async fn connection(
    state: &Arc<State>,
    remote: &Remote,
) -> Result<Arc<Connection>, DialError> {
    let peer = &remote.peer.name;
    let picked = state.pool.pick(peer);
    let doubted = match picked {
        Some((connection, is_crowded)) if !connection.is_doubted() => {
            if is_crowded && !remote.gateways.is_empty() {
                let _ = start(state, peer);
            }
            return Ok(connection);
        }
        picked => picked.map(|(connection, _)| connection),
    };
    let Some(doubted) = doubted else {
        return fresh(state, remote).await;
    };
    if remote.gateways.is_empty() || !state.pool.may_dial(peer) {
        return Ok(doubted);
    }
    tokio::select! {
        fresh = fresh(state, remote) => fresh,
        () = doubted.until_doubted(false) => Ok(doubted),
    }
}

/// A new connection to a peer, or one that somebody else has dialled meanwhile.
async fn fresh(state: &Arc<State>, remote: &Remote) -> Result<Arc<Connection>, DialError> {
    let peer = &remote.peer.name;
    if remote.gateways.is_empty() {
        return Err(DialError {
            reason: "no_gateway",
            text: format!("{peer} has no gateway to dial, and isn't connected"),
        });
    }
    // Full as they are, or a peer that takes no tunnels at all: more of them don't help.
    if !state.pool.may_dial(peer) {
        return Err(DialError {
            reason: "limit",
            text: format!("the connections to {peer} take no more tunnels"),
        });
    }
    let (running, is_joined) = start(state, peer);
    let mut dialled = outcome(running).await;
    if is_joined && dialled.is_err() {
        // That dial began earlier, and its failure may be over. One that runs now began later.
        dialled = outcome(start(state, peer).0).await;
    }
    dialled?;
    state
        .pool
        .pick(peer)
        .map(|(connection, _)| connection)
        .ok_or_else(|| DialError {
            reason: "closed_by_peer",
            text: format!("{peer} closed the connection at once"),
        })
}

/// Waits for what comes of a dial.
async fn outcome(mut running: watch::Receiver<Option<Dialled>>) -> Dialled {
    let dialled = match running.wait_for(Option::is_some).await {
        Ok(dialled) => dialled.clone(),
        Err(_) => None,
    };
    dialled.unwrap_or_else(|| {
        Err(DialError {
            reason: "draining",
            text: "the gateway goes down".to_owned(),
        })
    })
}

/// Starts to dial a peer, or joins the dial that is running; whether it was joined.
fn start(state: &Arc<State>, peer: &PeerName) -> (watch::Receiver<Option<Dialled>>, bool) {
    let sender = match state.pool.dial(peer) {
        Dial::Running(running) => return (running, true),
        Dial::Start(sender) => sender,
    };
    let receiver = sender.subscribe();
    let (state, peer) = (Arc::clone(state), peer.clone());
    let tasks = state.tasks.clone();
    tasks.spawn(async move {
        let dial = Box::pin(dial(&state, &peer));
        let Some(dialled) = state.stop.run_until_cancelled(dial).await else {
            return;
        };
        match &dialled {
            Ok(()) => state.metrics.handshake("dial", "ok"),
            Err(error) => {
                state.metrics.handshake("dial", error.reason);
                tracing::debug!(target: "weft::handshake", role = "dial", %peer, reason = error.reason, detail = error.text, "dial failed");
            }
        }
        state.pool.dialled(&peer);
        sender.send_replace(Some(dialled));
    });
    (receiver, false)
}

/// Dials all gateways of a peer, one a little after the other, until one answers.
async fn dial(state: &Arc<State>, peer: &PeerName) -> Dialled {
    // One snapshot for the address, the certificate and the handshake.
    let error = |reason, text: &str| DialError {
        reason,
        text: text.to_owned(),
    };
    let world = state
        .world()
        .ok_or_else(|| error("no_snapshot", "there is no snapshot in force"))?;
    let remote = world
        .snapshot
        .remotes
        .get(peer)
        .ok_or_else(|| error("unknown_peer", "the peer isn't part of the fabric"))?;
    let live = state.pool.of(peer);
    let is_doubted = |gateway: &Gateway| {
        let at_it =
            |connection: &&Arc<Connection>| connection.facts().gateway.as_ref() == Some(gateway);
        live.iter().filter(at_it).any(|other| other.is_doubted())
    };
    each(&remote.gateways, is_doubted, |gateway| {
        dial_one(state, &world, peer, gateway)
    })
    .await
    .map(|_| ())
}

/// Tries all gateways of a peer, one a little after the other, until one succeeds; those that are
/// doubted come last.
pub(crate) async fn each<T, F: Future<Output = Result<T, DialError>>>(
    gateways: &[Gateway],
    is_doubted: impl Fn(&Gateway) -> bool,
    attempt: impl Fn(Gateway) -> F,
) -> Result<T, DialError> {
    let none = || DialError {
        reason: "no_gateway",
        text: "the peer has no gateway to dial".to_owned(),
    };
    let mut gateways = gateways.to_vec();
    if gateways.is_empty() {
        return Err(none());
    }
    let start = rand::random_range(0..gateways.len());
    gateways.rotate_left(start);
    gateways.sort_by_cached_key(is_doubted);
    let attempts: Vec<_> = gateways
        .into_iter()
        .map(|gateway| Box::pin(attempt(gateway)))
        .collect();
    race(attempts)
        .await
        .map_err(|last| last.unwrap_or_else(none))
}

async fn dial_one(
    state: &Arc<State>,
    world: &Arc<World>,
    peer: &PeerName,
    gateway: Gateway,
) -> Result<Arc<Connection>, DialError> {
    #[cfg(test)]
    if let Some(network) = &state.network {
        return network.dial(state, world, peer, &gateway).await;
    }
    let no_protocol = |address| DialError {
        reason: "no_protocol",
        text: format!("{peer} at {address} doesn't speak weft/1"),
    };
    let (link, facts) = if compat::is_spoken(&world.snapshot, peer) {
        let (stream, facts) = secure(state, world, peer, &gateway).await?;
        if stream.get_ref().1.alpn_protocol() != Some(ALPN_WEFT) {
            return Err(no_protocol(facts.address));
        }
        // It could have been another dialect, so the stream has its protection already.
        (Link::plain(stream), facts)
    } else {
        let (socket, address) = socket(state, world, peer, &gateway).await?;
        let secured = of_gateway(state, world, peer, &gateway, |config| {
            handshake::connect(config, tls::server_name(peer), socket)
        });
        let secured = secured.await?;
        if !secured.is_weft {
            return Err(no_protocol(address));
        }
        let facts = facts(world, peer, &gateway, address, secured.chain);
        (secured.link, facts)
    };
    let start = link::start(state, link, facts);
    let started = timeout(state.config.timeouts.handshake, start).await;
    started.unwrap_or_else(|_| {
        Err(DialError {
            reason: "timeout",
            text: format!("{peer}: the hello timed out"),
        })
    })
}

/// A TLS connection to one of a peer's gateways, with the peer's name proven.
pub(crate) async fn secure(
    state: &State,
    world: &World,
    peer: &PeerName,
    gateway: &Gateway,
) -> Result<(TlsStream<TcpStream>, ConnectionFacts), DialError> {
    let (socket, address) = socket(state, world, peer, gateway).await?;
    let stream = of_gateway(state, world, peer, gateway, |config| {
        TlsConnector::from(config).connect(tls::server_name(peer), socket)
    });
    let mut stream = stream.await?;
    let (_, session) = stream.get_mut();
    // Version 1.2 is for the dialect alone; both were agreed at once.
    let is_weft = session.alpn_protocol() == Some(ALPN_WEFT);
    if is_weft && session.protocol_version() != Some(ProtocolVersion::TLSv1_3) {
        return Err(failed(
            peer,
            gateway,
            "tls_version",
            &"weft/1 wants TLS 1.3",
        ));
    }
    session.set_buffer_limit(Some(TLS_BUFFER));
    let chain = session
        .peer_certificates()
        .unwrap_or_default()
        .iter()
        .map(|certificate| certificate.clone().into_owned())
        .collect();
    let facts = facts(world, peer, gateway, address, chain);
    Ok((stream, facts))
}

fn facts(
    world: &World,
    peer: &PeerName,
    gateway: &Gateway,
    address: SocketAddr,
    chain: Vec<CertificateDer<'static>>,
) -> ConnectionFacts {
    ConnectionFacts {
        peer: peer.clone(),
        dialled: true,
        address,
        gateway: Some(gateway.clone()),
        chain,
        own: world.identity.fingerprint(),
        made: UnixTime::now(),
    }
}

fn failed(
    peer: &PeerName,
    gateway: &Gateway,
    reason: &'static str,
    text: &dyn std::fmt::Display,
) -> DialError {
    let target = authority(&gateway.host, gateway.port.get());
    DialError {
        reason,
        text: format!("connect to {target} of {peer}: {text}"),
    }
}

/// A TCP connection to one of a peer's gateways, and to which address.
async fn socket(
    state: &State,
    world: &World,
    peer: &PeerName,
    gateway: &Gateway,
) -> Result<(TcpStream, SocketAddr), DialError> {
    let error = |reason, text: &dyn std::fmt::Display| failed(peer, gateway, reason, text);
    let timeouts = world.timeouts(state.config.timeouts);
    let connect = async {
        let addresses = state
            .resolve_gateways
            .resolve(&gateway.host, gateway.port.get())
            .await?;
        let attempts = addresses.into_iter().map(|address| async move {
            let socket = TcpStream::connect(address).await?;
            Ok((socket, address))
        });
        race(attempts).await.map_err(|last| {
            last.unwrap_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable))
        })
    };
    let (socket, address) = match timeout(timeouts.dial, connect).await {
        Ok(Ok(connected)) => connected,
        Ok(Err(failure)) => return Err(error("connect", &failure)),
        Err(_) => return Err(error("connect_timeout", &"timed out")),
    };
    prepare(&SockRef::from(&socket));
    Ok((socket, address))
}

/// A handshake with a peer's gateway, in time.
async fn of_gateway<T, F: Future<Output = io::Result<T>>>(
    state: &State,
    world: &World,
    peer: &PeerName,
    gateway: &Gateway,
    handshake: impl FnOnce(Arc<ClientConfig>) -> F,
) -> Result<T, DialError> {
    let error = |reason, text: &dyn std::fmt::Display| failed(peer, gateway, reason, text);
    let config = world
        .client(peer)
        .map_err(|failure| error("tls", &failure))?;
    match timeout(state.config.timeouts.handshake, handshake(config)).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(failure)) => Err(error(tls::failure(&failure), &failure)),
        Err(_) => Err(error("timeout", &"the handshake timed out")),
    }
}
