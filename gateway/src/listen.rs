//! The gateway's one open port: TLS, and behind it tunnels or a little HTTP.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fabric::api;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::limits::{self, Limit, Slot};
use crate::link;
use crate::state::State;
use crate::tls::{self, ALPN_WEFT, TLS_BUFFER};
use crate::tunnel::ConnectionFacts;

/// After a failed accept, mostly for want of descriptors: until some are free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A request's header: nobody needs longer for a health check.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// A whole request with its answer, however slowly the other side reads.
const HTTP_TIMEOUT: Duration = Duration::from_secs(10);

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
    socket.bind(&address.into())?;
    socket.listen(limits::BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// The next connection; failures to accept are counted and waited out.
pub(crate) async fn accept(state: &State, listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((socket, address)) => {
                prepare(&socket);
                return (socket, address);
            }
            Err(error) => {
                state.metrics.accept_errors.inc();
                tracing::warn!(%error, "a connection can't be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// No waiting for more to send, and a sign of life now and then where nothing is sent.
pub(crate) fn prepare(socket: &TcpStream) {
    let _ = socket.set_nodelay(true);
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(60))
        .with_interval(Duration::from_secs(15));
    let _ = SockRef::from(socket).set_tcp_keepalive(&keepalive);
}

/// Takes connections of other gateways until the drain.
pub(crate) async fn serve(state: Arc<State>, listener: TcpListener) {
    let handshakes = Arc::new(Semaphore::new(limits::HANDSHAKES));
    let http = Arc::new(Semaphore::new(limits::HTTP_CONNECTIONS));
    loop {
        // Before the accept: what is too much waits in the kernel's queue.
        let Ok(handshake) = Arc::clone(&handshakes).acquire_owned().await else {
            return;
        };
        let (socket, address) = accept(&state, &listener).await;
        let in_progress = limits::HANDSHAKES - handshakes.available_permits();
        let slot = match admit(&state, address, in_progress) {
            Ok(slot) => slot,
            Err(limit) => {
                state.metrics.limit(limit);
                failed(&state, address, "limit", limit.words());
                continue;
            }
        };
        let handshake = (handshake, slot);
        let task = handle(
            Arc::clone(&state),
            socket,
            address,
            handshake,
            Arc::clone(&http),
        );
        let stop = state.stop.clone();
        state.tasks.spawn(async move {
            stop.run_until_cancelled(Box::pin(task)).await;
        });
    }
}

/// Whether there is room for one more handshake.
fn admit(state: &State, address: SocketAddr, in_progress: usize) -> Result<Slot<IpAddr>, Limit> {
    let world = state.world();
    let limits = world.as_ref().map(|world| &world.snapshot.limits);
    let configured = |of: fn(&api::Limits) -> u32| limits.map_or(0, of);
    let most = limits::bound(limits::HANDSHAKES, configured(|limits| limits.handshakes));
    if in_progress > most {
        return Err(Limit::Handshakes);
    }
    let most = limits::bound(
        limits::HANDSHAKES_PER_ADDRESS,
        configured(|limits| limits.handshakes_per_address),
    );
    let slot = state.handshakes.take(&network(address.ip()), most);
    slot.ok_or(Limit::HandshakesPerAddress)
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

async fn handle(
    state: Arc<State>,
    socket: TcpStream,
    address: SocketAddr,
    handshake: (OwnedSemaphorePermit, Slot<IpAddr>),
    http: Arc<Semaphore>,
) {
    let refused = |reason, detail: &str| failed(&state, address, reason, detail);
    // One snapshot for the whole handshake.
    let Some(world) = state.world() else {
        return refused("no_snapshot", "");
    };
    let limits = &world.snapshot.limits;
    let limit = limits::time(state.config.timeouts.handshake, limits.handshake_timeout);
    let acceptor = TlsAcceptor::from(Arc::clone(&world.server));
    let mut stream = match timeout(limit, acceptor.accept(socket)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return refused(tls::failure(&error), &error.to_string()),
        Err(_) => return refused("timeout", ""),
    };
    let (_, session) = stream.get_mut();
    session.set_buffer_limit(Some(TLS_BUFFER));
    let chain: Vec<_> = session
        .peer_certificates()
        .unwrap_or_default()
        .iter()
        .map(|certificate| certificate.clone().into_owned())
        .collect();
    let peer = match world.client_peer(&chain) {
        Ok(peer) => peer,
        Err(error) => return refused(error.as_str(), ""),
    };
    if session.alpn_protocol() != Some(ALPN_WEFT) {
        drop(handshake);
        state.metrics.handshake("accept", "ok");
        let header = limits::bound(limits::HEADER_BYTES, limits.header_bytes);
        return serve_http(&state, stream, header, &http).await;
    }
    let facts = ConnectionFacts {
        peer,
        dialled: false,
        address,
        gateway: None,
        chain,
        own: world.identity.fingerprint(),
    };
    match timeout(limit, link::start(&state, stream.into(), facts)).await {
        Ok(Ok(_)) => state.metrics.handshake("accept", "ok"),
        Ok(Err(error)) => refused(error.reason, &error.text),
        Err(_) => refused("timeout", ""),
    }
}

async fn serve_http(
    state: &Arc<State>,
    stream: TlsStream<TcpStream>,
    header: usize,
    http: &Semaphore,
) {
    let Ok(_permit) = http.try_acquire() else {
        state.metrics.limit(Limit::HttpConnections);
        return;
    };
    let state = Arc::clone(state);
    let service = service_fn(move |request: Request<Incoming>| {
        state.metrics.http_requests.inc();
        async move { Ok::<_, Infallible>(answer(&request)) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(limits::HEADER_BYTES)
        .max_header_size(header)
        // One request each: no connection outlives the certificate that it was accepted by.
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    match timeout(HTTP_TIMEOUT, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "http connection ended"),
        Err(_) => tracing::debug!("http connection took too long"),
    }
}

fn answer(request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let (status, text) = match (request.method(), request.uri().path()) {
        (&Method::GET, "/healthz") => (StatusCode::OK, "ok\n"),
        _ => (StatusCode::NOT_FOUND, "there is nothing here\n"),
    };
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response
}
