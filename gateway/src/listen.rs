//! The gateway's one open port: TLS, and behind it tunnels or a little HTTP.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Weak};
use std::time::Duration;

use fabric::api;
use fabric::name::PeerName;
use rustls::ProtocolVersion;
use rustls_pki_types::UnixTime;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::StartHandshake;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use crate::compat;
use crate::health;
use crate::limits::{self, Limit, Slot, Slots};
use crate::link;
use crate::state::State;
use crate::tls::handshake::{self, Greeting, Secured};
use crate::tls::{self, TLS_BUFFER};
use crate::tunnel::ConnectionFacts;

/// After a failed accept, mostly for want of descriptors: until some are free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long a handshake is left alone while others wait for its place: two round trips around the
/// world, and some.
const GRACE: Duration = Duration::from_secs(1);

/// A listener on an address; `[::]` is every address of both IP versions, or of IPv4 alone where
/// the host has no IPv6.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let is_any = address.ip() == IpAddr::from(Ipv6Addr::UNSPECIFIED);
    match bind_exactly(address) {
        Err(error) if is_any && lacks_ipv6(&error) => {
            bind_exactly((Ipv4Addr::UNSPECIFIED, address.port()).into())
        }
        bound => bound,
    }
}

fn lacks_ipv6(error: &io::Error) -> bool {
    // The number is Linux's for an address family that isn't supported, which has no kind.
    error.kind() == io::ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(97)
}

fn bind_exactly(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    // Whatever is accepted has it from here: four system calls fewer for each.
    prepare(&SockRef::from(&socket));
    socket.bind(&address.into())?;
    socket.listen(limits::BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// The next connection; failures to accept are counted and waited out.
pub(crate) async fn accept(state: &State, listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            // Its own failure, and no reason to let the next one wait.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                state.metrics.accept_errors.inc();
                // Every listener meets this at once, ten times a second.
                if state.budgets.stranger() {
                    tracing::warn!(%error, "a connection can't be accepted");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// No waiting for more to send, and a sign of life now and then where nothing is sent.
pub(crate) fn prepare(socket: &SockRef<'_>) {
    let _ = socket.set_tcp_nodelay(true);
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(60))
        .with_interval(Duration::from_secs(15));
    let _ = socket.set_tcp_keepalive(&keepalive);
}

/// What may be in progress at the gateway's port at a time.
struct Door {
    handshakes: Arc<Semaphore>,
    /// Those in progress, the oldest first; of one that is over nothing is left.
    oldest: VecDeque<(Instant, Weak<CancellationToken>)>,
    http: Http,
}

/// Requests in progress, in all and by peer.
#[derive(Clone)]
struct Http {
    all: Arc<Semaphore>,
    peers: Arc<Slots<PeerName>>,
}

/// A place among the handshakes in progress; given back when dropped.
struct Place {
    _permit: OwnedSemaphorePermit,
    give_way: Arc<CancellationToken>,
}

/// Takes connections of other gateways until the drain.
pub(crate) async fn serve(state: Arc<State>, listener: TcpListener) {
    let mut door = Door::default();
    loop {
        // Before the accept: what is too much waits in the kernel's queue.
        let Some(permit) = door.permit().await else {
            return;
        };
        let (socket, address) = accept(&state, &listener).await;
        let slot = match admit(&state, address, &mut door) {
            Ok(slot) => slot,
            Err(limit) => {
                state.metrics.limit(limit);
                failed(&state, address, "limit", limit.words());
                continue;
            }
        };
        let place = door.begin(permit);
        let give_way = CancellationToken::clone(&place.give_way);
        let handshake = (place, slot);
        let http = door.http.clone();
        let task = handle(Arc::clone(&state), socket, address, handshake, http);
        let (task, stop) = (Box::pin(task), state.stop.clone());
        let crowded = Arc::clone(&state);
        state.tasks.spawn(async move {
            let handled = stop.run_until_cancelled(give_way.run_until_cancelled(task));
            if handled.await == Some(None) {
                failed(&crowded, address, "crowded", "others waited for its place");
            }
        });
    }
}

/// Whether there is room for one more handshake, whose permit is taken already.
fn admit(state: &State, address: SocketAddr, door: &mut Door) -> Result<Slot<IpAddr>, Limit> {
    let world = state.world();
    let limits = world.as_ref().map(|world| &world.snapshot.limits);
    let configured = |of: fn(&api::Limits) -> u32| limits.map_or(0, of);
    let most = limits::bound(limits::HANDSHAKES, configured(|limits| limits.handshakes));
    if door.in_progress() > most && !door.make_room() {
        return Err(Limit::Handshakes);
    }
    let most = limits::bound(
        limits::HANDSHAKES_PER_ADDRESS,
        configured(|limits| limits.handshakes_per_address),
    );
    let slot = state.handshakes.take(&network(address.ip()), most);
    slot.ok_or(Limit::HandshakesPerAddress)
}

// === impl Door ===

impl Door {
    /// Waits for room for one more handshake. Where there is none, the oldest gives way, but not
    /// before its grace is over: else who makes many hang would have all places for long.
    async fn permit(&mut self) -> Option<OwnedSemaphorePermit> {
        loop {
            let next = Arc::clone(&self.handshakes).acquire_owned();
            let Some(began) = self.oldest() else {
                return next.await.ok();
            };
            tokio::select! {
                biased;
                permit = next => return permit.ok(),
                () = sleep_until(began + GRACE) => {
                    self.make_room();
                }
            }
        }
    }

    /// Handshakes in progress, with those that have a permit and are about to begin.
    fn in_progress(&self) -> usize {
        limits::HANDSHAKES - self.handshakes.available_permits()
    }

    /// When the oldest handshake that isn't over began.
    fn oldest(&mut self) -> Option<Instant> {
        while let Some((began, place)) = self.oldest.front() {
            if place.strong_count() > 0 {
                return Some(*began);
            }
            self.oldest.pop_front();
        }
        None
    }

    /// Lets the oldest give way; false where not even its grace is over.
    fn make_room(&mut self) -> bool {
        if self.oldest().is_none_or(|began| began.elapsed() < GRACE) {
            return false;
        }
        let oldest = self.oldest.pop_front();
        if let Some(give_way) = oldest.and_then(|(_, place)| place.upgrade()) {
            give_way.cancel();
        }
        true
    }

    /// A handshake begins.
    fn begin(&mut self, permit: OwnedSemaphorePermit) -> Place {
        let give_way = Arc::new(CancellationToken::new());
        // Behind one that lasts, many may be over by now.
        if self.oldest.len() >= 2 * limits::HANDSHAKES {
            self.oldest.retain(|(_, place)| place.strong_count() > 0);
        }
        self.oldest
            .push_back((Instant::now(), Arc::downgrade(&give_way)));
        Place {
            _permit: permit,
            give_way,
        }
    }
}

impl Default for Door {
    fn default() -> Self {
        Self {
            handshakes: Arc::new(Semaphore::new(limits::HANDSHAKES)),
            oldest: VecDeque::new(),
            http: Http {
                all: Arc::new(Semaphore::new(limits::HTTP_CONNECTIONS)),
                peers: Arc::default(),
            },
        }
    }
}

/// What counts as one host: an address, or the network that an IPv6 host has to itself.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
    }
}

fn failed(state: &State, address: SocketAddr, reason: &'static str, detail: &str) {
    state.metrics.handshake("accept", reason);
    if state.budgets.stranger() {
        tracing::info!(target: "weft::handshake", role = "accept", %address, reason, detail, "handshake failed");
    }
}

/// What was agreed with whoever connected.
enum Agreed {
    Weft(Secured),
    Http(Box<TlsStream<TcpStream>>),
}

async fn handle(
    state: Arc<State>,
    mut socket: TcpStream,
    address: SocketAddr,
    handshake: (Place, Slot<IpAddr>),
    http: Http,
) {
    let refused = |reason, detail: &str| failed(&state, address, reason, detail);
    // One snapshot for the whole handshake.
    let Some(world) = state.world() else {
        return refused("no_snapshot", "");
    };
    let limits = &world.snapshot.limits;
    let limit = limits::time(state.config.timeouts.handshake, limits.handshake_timeout);
    let config = Arc::clone(&world.server);
    let secure = async {
        Ok(match handshake::greeting(&mut socket).await? {
            Greeting::Weft(received) => {
                Agreed::Weft(handshake::accept(config, socket, received).await?)
            }
            Greeting::Other(accepted) => {
                let handshake = StartHandshake::from_parts(*accepted, socket);
                Agreed::Http(Box::new(handshake.into_stream(config).await?))
            }
        })
    };
    let agreed = match timeout(limit, Box::pin(secure)).await {
        Ok(Ok(agreed)) => agreed,
        Ok(Err(error)) => return refused(tls::failure(&error), &error.to_string()),
        Err(_) => return refused("timeout", ""),
    };
    let chain = match &agreed {
        Agreed::Weft(secured) => secured.chain.clone(),
        Agreed::Http(stream) => {
            let shown = stream.get_ref().1.peer_certificates().unwrap_or_default();
            let owned = shown
                .iter()
                .map(|certificate| certificate.clone().into_owned());
            owned.collect()
        }
    };
    let peer = match world.client_peer(&chain) {
        Ok(peer) => peer,
        Err(error) => return refused(error.as_str(), ""),
    };
    let facts = ConnectionFacts {
        peer,
        dialled: false,
        address,
        gateway: None,
        chain,
        own: world.identity.fingerprint(),
        made: UnixTime::now(),
    };
    let mut stream = match agreed {
        // Asked for at first, and not any more when asked again.
        Agreed::Weft(secured) if !secured.is_weft => return refused("no_protocol", ""),
        Agreed::Weft(secured) => {
            return match timeout(limit, link::start(&state, secured.link, facts)).await {
                Ok(Ok(_)) => state.metrics.handshake("accept", "ok"),
                Ok(Err(error)) => refused(error.reason, &error.text),
                Err(_) => refused("timeout", ""),
            };
        }
        Agreed::Http(stream) => stream,
    };
    let (_, session) = stream.get_mut();
    session.set_buffer_limit(Some(TLS_BUFFER));
    let speaks_clusterlink = compat::is_spoken(&world.snapshot, &facts.peer);
    // Agreed before the peer was known.
    let is_old = session.protocol_version() != Some(ProtocolVersion::TLSv1_3);
    if is_old && !speaks_clusterlink {
        return refused("tls_version", "");
    }
    drop(handshake);
    if speaks_clusterlink {
        return compat::export::serve(state, *stream, facts).await;
    }
    let slot = http.peers.take(&facts.peer, limits::HTTP_PER_PEER);
    let (Some(_slot), Ok(_permit)) = (slot, http.all.try_acquire()) else {
        state.metrics.limit(Limit::HttpConnections);
        return refused("limit", Limit::HttpConnections.words());
    };
    state.metrics.handshake("accept", "ok");
    let header = limits::size(limits::HEADER_BYTES, limits.header_bytes);
    let count = || _ = state.metrics.http_requests.inc();
    if !health::serve(*stream, header, count).await {
        state.metrics.limit(Limit::HeaderBytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn row_90_connections_show_signs_of_life_where_nothing_is_sent() {
        let listener = bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let dialled = TcpStream::connect(listener.local_addr().unwrap()).await;
        let dialled = dialled.unwrap();
        prepare(&SockRef::from(&dialled));
        let (accepted, _) = listener.accept().await.unwrap();
        for socket in [SockRef::from(&dialled), SockRef::from(&accepted)] {
            assert!(socket.tcp_nodelay().unwrap());
            assert!(socket.keepalive().unwrap());
            assert_eq!(socket.tcp_keepalive_time().unwrap().as_secs(), 60);
            assert_eq!(socket.tcp_keepalive_interval().unwrap().as_secs(), 15);
        }
    }
}
