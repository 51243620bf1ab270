//! The destination: what a peer that runs ClusterLink asks of this gateway.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONNECTION};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_rustls::TlsStream;

use crate::compat::attributes::Authorization;
use crate::compat::carry::Tunnel;
use crate::compat::grant::{self, Grant};
use crate::compat::import::MAX_BODY;
use crate::compat::link::Known;
use crate::decision::{End, Outcome, Record};
use crate::export::connect;
use crate::judge;
use crate::limits::admission::{self, ExportAdmission};
use crate::limits::{self, Limit, Quiet};
use crate::live::Subject;
use crate::metrics::Side;
use crate::state::State;
use crate::tunnel::ConnectionFacts;
use crate::world::World;

/// Connections of one peer that carry no tunnel (yet): its control planes keep a few, and each of
/// its tunnels begins as one.
const CONNECTIONS: usize = 512;

/// How long a connection waits for the whole header of its next request; ClusterLink's control plane
/// asks for health every one to ten seconds.
const HEADER_TIMEOUT: Duration = Duration::from_secs(60);

/// The largest header of a request; a token of ours fits twice.
const MAX_HEADER: usize = 64 * 1024;

/// A request's body, however slowly it is sent.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

type Answer = Response<Full<Bytes>>;

/// Serves one connection of a peer.
pub(crate) async fn serve(
    state: Arc<State>,
    stream: tokio_rustls::server::TlsStream<TcpStream>,
    facts: ConnectionFacts,
) {
    let peer = facts.peer.clone();
    let refused = |reason: &'static str| {
        state.metrics.handshake("accept", reason);
        if state.budgets.peer(&peer) {
            tracing::info!(target: "weft::handshake", role = "accept", %peer, reason, "handshake failed");
        }
    };
    let Some(_slot) = state.compat.connections.take(&peer, CONNECTIONS) else {
        return refused("limit");
    };
    let known = match Known::new(&state, facts) {
        Ok(known) => Arc::new(known),
        Err(reason) => return refused(reason),
    };
    state.metrics.handshake("accept", "ok");
    let configured = |world: Arc<World>| world.snapshot.limits.header_bytes;
    let header = limits::size(MAX_HEADER, state.world().map_or(0, configured));
    let service = service_fn(|request| {
        state.metrics.http_requests.inc();
        let (state, known) = (Arc::clone(&state), Arc::clone(&known));
        async move { Ok::<_, Infallible>(Box::pin(answer(&state, &known, request)).await) }
    });
    // Kept alive, other than for those who only ask for health: every request is judged by the
    // snapshot of its moment, and a changed snapshot cuts the connection.
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_HEADER)
        .max_header_size(header)
        .serve_connection(TokioIo::new(TlsStream::from(stream)), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let mut is_going = false;
    loop {
        tokio::select! {
            result = connection.as_mut() => {
                if let Err(error) = result {
                    if error.is_parse_too_large() {
                        state.metrics.limit(Limit::HeaderBytes);
                    }
                    tracing::debug!(%peer, %error, "http connection ended");
                }
                return;
            }
            () = known.link().until_cut() => return,
            () = state.draining.cancelled(), if !is_going => {
                is_going = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

async fn answer(state: &Arc<State>, known: &Arc<Known>, request: Request<Incoming>) -> Answer {
    let Some(world) = state.world().filter(|_| !state.draining.is_cancelled()) else {
        return closing(said(StatusCode::SERVICE_UNAVAILABLE, "not ready\n"));
    };
    if let Err(reason) = known.link().accepts(&world) {
        known.link().cut(reason);
        return closing(said(StatusCode::FORBIDDEN, "not accepted\n"));
    }
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    match (&method, path.as_str()) {
        (&Method::GET, "/healthz") => healthy(&world),
        (&Method::POST, "/authz") => authorize(state, known, &world, request).await,
        (&Method::CONNECT, _) => tunnel(state, known, request).await,
        _ => said(StatusCode::BAD_REQUEST, "No handler defined.\n"),
    }
}

fn healthy(world: &World) -> Answer {
    let mut response = said(StatusCode::OK, "");
    let labels = serde_json::to_vec(&world.snapshot.peer.labels).unwrap_or_default();
    if let Ok(labels) = HeaderValue::try_from(STANDARD.encode(labels)) {
        response
            .headers_mut()
            .insert("clusterlinkpeerlabels", labels);
    }
    response
}

/// Grants access, or says why not.
async fn authorize(
    state: &Arc<State>,
    known: &Known,
    world: &World,
    request: Request<Incoming>,
) -> Answer {
    let most = limits::size(MAX_BODY, world.snapshot.limits.message_bytes);
    let body = Limited::new(request.into_body(), most).collect();
    let body = match timeout(BODY_TIMEOUT, body).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            state.metrics.limit(Limit::MessageBytes);
            return closing(said(StatusCode::PAYLOAD_TOO_LARGE, "Payload Too Large\n"));
        }
        Ok(Err(_)) => return closing(said(StatusCode::BAD_REQUEST, "bad body\n")),
        Err(_) => return closing(said(StatusCode::REQUEST_TIMEOUT, "too slow\n")),
    };
    let Some(asked) = Authorization::read(&body) else {
        return said(
            StatusCode::BAD_REQUEST,
            "The body isn't what was expected.\n",
        );
    };
    let (peer, snapshot) = (known.link().peer(), &world.snapshot);
    let (client, export) = (asked.client(), asked.export());
    let id: [u8; 16] = rand::random();
    let request = hex::encode(id);
    let name = asked.asked();
    let mut record = Record {
        client: client.as_ref(),
        export: export.as_ref(),
        ..record(&request, Some(world), known)
    };
    let Some(export) = &export else {
        record.outcome = Outcome::MissingExport;
        record.detail = &name;
        refuse(state, &record);
        return said_of(record.outcome, &name);
    };
    let (outcome, rule) = judge::inbound(snapshot, client.as_ref(), peer, export);
    record.outcome = outcome;
    record.rule = rule;
    if outcome != Outcome::Allowed {
        refuse(state, &record);
        return said_of(outcome, &name);
    }
    let (peer, export, client) = (peer.clone(), export.clone(), client.clone());
    let grant = Grant::new(peer, export, client, request.clone(), grant::now());
    let Some(token) = state.compat.grants.seal(world.identity.grants(), &grant) else {
        record.outcome = Outcome::Limit;
        record.detail = "the client's attributes are too long";
        refuse(state, &record);
        return said_of(record.outcome, &name);
    };
    let mut response = said(StatusCode::OK, "");
    let Ok(mut token) = HeaderValue::try_from(token.as_str()) else {
        return said(StatusCode::INTERNAL_SERVER_ERROR, "");
    };
    token.set_sensitive(true);
    response.headers_mut().insert("x-access-token", token);
    response
}

/// Takes access, and opens the way to the service.
async fn tunnel(state: &Arc<State>, known: &Arc<Known>, mut request: Request<Incoming>) -> Answer {
    let token = match bearer(request.headers()) {
        Ok(token) => token,
        Err(text) => return closing(said(StatusCode::BAD_REQUEST, text)),
    };
    let peer = known.link().peer();
    let grant = match state.compat.grants.redeem(token, peer, grant::now()) {
        Ok(grant) => grant,
        Err(ungranted) => {
            let world = state.world();
            let detail = ungranted.to_string();
            let record = Record {
                outcome: Outcome::Denied,
                detail: &detail,
                ..record("", world.as_deref(), known)
            };
            refuse(state, &record);
            return closing(said(StatusCode::FORBIDDEN, "The token grants nothing.\n"));
        }
    };
    let upgrade = hyper::upgrade::on(&mut request);
    let (answer, answered) = oneshot::channel();
    let export = grant.export.to_string();
    let serve = Box::pin(open(
        Arc::clone(state),
        Arc::clone(known),
        grant,
        upgrade,
        answer,
    ));
    let stop = state.stop.clone();
    // Its own task: what it carries outlives HTTP.
    state.serving.spawn(async move {
        stop.run_until_cancelled(serve).await;
    });
    match answered.await {
        Ok(Outcome::Allowed) => Response::new(Full::default()),
        // What comes behind a CONNECT that was refused is nobody's request.
        Ok(outcome) => closing(said_of(outcome, &export)),
        Err(_) => closing(said(StatusCode::SERVICE_UNAVAILABLE, "")),
    }
}

/// Decides anew, connects to the service, and carries once the peer knows.
async fn open(
    state: Arc<State>,
    known: Arc<Known>,
    grant: Grant,
    upgrade: OnUpgrade,
    answer: oneshot::Sender<Outcome>,
) {
    let started = Instant::now();
    let peer = known.link().peer();
    // The one in force now: what was granted may be denied since.
    let world = state.world();
    let mut record = Record {
        client: grant.client.as_ref(),
        export: Some(&grant.export),
        ..record(&grant.request, world.as_deref(), &known)
    };
    let refuse = |record: &Record<'_>, answer: oneshot::Sender<Outcome>| {
        refuse(&state, record);
        let _ = answer.send(record.outcome);
    };
    let Some(world) = &world else {
        return refuse(&record, answer);
    };
    let snapshot = &world.snapshot;
    if state.draining.is_cancelled() {
        record.outcome = Outcome::Draining;
        return refuse(&record, answer);
    }
    if let Err(reason) = known.link().accepts(world) {
        known.link().cut(reason);
        record.outcome = Outcome::UnknownPeer;
        record.detail = reason;
        return refuse(&record, answer);
    }
    let _slot = match admission::tunnel(&state, world, peer) {
        Ok(slot) => slot,
        Err(limit) => {
            record.hit(limit, &state.metrics);
            return refuse(&record, answer);
        }
    };
    let (outcome, rule) = judge::inbound(snapshot, grant.client.as_ref(), peer, &grant.export);
    record.outcome = outcome;
    record.rule = rule;
    if outcome != Outcome::Allowed {
        return refuse(&record, answer);
    }
    let Some(export) = snapshot.exports.get(&grant.export) else {
        record.outcome = Outcome::MissingExport;
        return refuse(&record, answer);
    };
    let _admission = match ExportAdmission::of(&state, world, export) {
        Ok(admission) => admission,
        Err(limit) => {
            record.hit(limit, &state.metrics);
            return refuse(&record, answer);
        }
    };
    if world.relayed(export).is_some() {
        // The dialect has no place for the hops, so that a loop would never be found.
        record.outcome = Outcome::Loop;
        record.detail = "a peer of this dialect isn't relayed";
        return refuse(&record, answer);
    }
    let (socket, host, target) = match connect(&state, world, export).await {
        Ok(connected) => connected,
        Err((outcome, text)) => {
            record.outcome = outcome;
            record.detail = &text;
            return refuse(&record, answer);
        }
    };
    let subject = Subject::Export {
        peer: peer.clone(),
        client: grant.client.clone().map(Arc::new),
        export: grant.export.clone(),
        host,
        target,
    };
    let Some(registered) = state.register(subject, world) else {
        record.outcome = Outcome::NoLongerAllowed;
        return refuse(&record, answer);
    };
    let detail = target.to_string();
    record.detail = &detail;
    record.write(&state);
    let entry = registered.entry();
    let end = |end| {
        let (bytes, duration) = (entry.bytes(), started.elapsed());
        record.write_end(&state, end, bytes, duration);
    };
    // The head of the answer goes out by itself before the first byte of the service is read:
    // ClusterLink's data plane in Go loses what comes in one record with it.
    let upgraded = match answer.send(Outcome::Allowed) {
        Ok(()) => upgraded(&state, &known, upgrade).await,
        Err(_) => None,
    };
    let Some(tunnel) = upgraded else {
        let _ = socket.set_zero_linger();
        return end(End::Lost);
    };
    let quiet = Quiet::of(&snapshot.limits);
    let counters = state.counters(Side::Export);
    end(tunnel
        .carry(socket, Vec::new(), entry, counters, quiet)
        .await);
}

/// The connection, once the peer has its answer and HTTP is over.
async fn upgraded(state: &State, known: &Arc<Known>, upgrade: OnUpgrade) -> Option<Tunnel> {
    let upgraded = timeout(state.config.timeouts.handshake, upgrade);
    let upgraded = tokio::select! {
        upgraded = upgraded => upgraded.ok()?.ok()?,
        () = known.link().until_cut() => return None,
    };
    let parts = upgraded.downcast::<TokioIo<TlsStream<TcpStream>>>().ok()?;
    let stream = parts.io.into_inner();
    Some(Tunnel::accepted(stream, parts.read_buf, Arc::clone(known)))
}

/// The token of a request.
fn bearer(headers: &HeaderMap) -> Result<&str, &'static str> {
    let value = headers
        .get(AUTHORIZATION)
        .ok_or("Missing 'authorization' header.\n")?;
    let value = value.to_str().unwrap_or_default();
    match value.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(token.trim()),
        _ => Err("Authorization header is not using the bearer scheme.\n"),
    }
}

/// What is known of a request before it is decided.
fn record<'a>(request: &'a str, world: Option<&'a World>, known: &'a Known) -> Record<'a> {
    Record {
        side: Side::Export,
        request,
        outcome: Outcome::NoSnapshot,
        rule: None,
        snapshot: world.map(|world| &*world.snapshot),
        address: None,
        client: None,
        import: None,
        peer: Some(known.link().peer()),
        export: None,
        via: &[],
        detail: "",
        span: None,
    }
}

fn refuse(state: &State, record: &Record<'_>) {
    if record.peer.is_some_and(|peer| state.budgets.peer(peer)) {
        record.write(state);
    } else {
        record.count(&state.metrics);
    }
}

/// The answer to what isn't allowed; the peer learns what ClusterLink would tell it.
fn said_of(outcome: Outcome, export: &str) -> Answer {
    match outcome {
        Outcome::MissingExport => {
            let text = format!("Exported service '{export}' not found.\n");
            said(StatusCode::NOT_FOUND, text)
        }
        Outcome::NoSnapshot
        | Outcome::Draining
        | Outcome::Limit
        | Outcome::ExportUnreachable
        | Outcome::GuardRefused => said(StatusCode::SERVICE_UNAVAILABLE, ""),
        _ => {
            let text = format!("Permission denied for '{export}'.\n");
            said(StatusCode::FORBIDDEN, text)
        }
    }
}

fn said(status: StatusCode, text: impl Into<Bytes>) -> Answer {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    response
}

/// The same as the last answer of its connection.
fn closing(mut answer: Answer) -> Answer {
    let close = HeaderValue::from_static("close");
    answer.headers_mut().insert(CONNECTION, close);
    answer
}
