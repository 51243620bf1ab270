//! The admin port: health, readiness, metrics and the snapshot, on a thread of its own, so that
//! traffic can't starve it, nor it the traffic.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use fabric::name::ObjectName;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use crate::config::StatusProvider;
use crate::gateway::ImportListener;
use crate::limits;
use crate::link;
use crate::listen::accept;
use crate::state::State;
use crate::world::World;

/// A request's header.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// A whole connection: nobody scrapes for longer over one.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(300);

/// The largest header of a request.
const MAX_HEADER: usize = 16 * 1024;

/// What the admin port serves.
struct Admin {
    state: Arc<State>,
    registry: Registry,
    status: Option<StatusProvider>,
}

/// Starts the admin port's thread.
pub(crate) fn start(
    state: Arc<State>,
    listener: std::net::TcpListener,
    status: Option<StatusProvider>,
) -> io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    std::thread::Builder::new()
        .name("weft-admin".to_owned())
        .spawn(move || {
            let served = runtime.block_on(serve(state, listener, status));
            if let Err(error) = served {
                tracing::error!(%error, "the admin port can't be served");
            }
        })
}

async fn serve(
    state: Arc<State>,
    listener: std::net::TcpListener,
    status: Option<StatusProvider>,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let admin = Arc::new(Admin {
        registry: state.metrics.registry(),
        state,
        status,
    });
    let (tasks, stop) = (TaskTracker::new(), admin.state.stop.clone());
    let connections = Arc::new(Semaphore::new(limits::ADMIN_CONNECTIONS));
    let accepting = async {
        while let Ok(permit) = Arc::clone(&connections).acquire_owned().await {
            let (socket, _) = accept(&admin.state, &listener).await;
            let (admin, stop) = (Arc::clone(&admin), stop.clone());
            let service = service_fn(move |request: Request<Incoming>| {
                let admin = Arc::clone(&admin);
                async move { Ok::<_, Infallible>(admin.answer(&request)) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIMEOUT)
                .max_buf_size(MAX_HEADER)
                .serve_connection(TokioIo::new(socket), service);
            tasks.spawn(async move {
                let served = timeout(CONNECTION_TIMEOUT, connection);
                let _ = stop.run_until_cancelled(served).await;
                drop(permit);
            });
        }
    };
    stop.run_until_cancelled(accepting).await;
    tasks.close();
    tasks.wait().await;
    Ok(())
}

/// Why the gateway isn't ready; nothing when it is.
#[must_use]
pub(crate) fn not_ready(state: &State) -> Vec<String> {
    let mut reasons = Vec::new();
    if state.draining.is_cancelled() {
        reasons.push("the gateway goes down".to_owned());
    }
    match state.world() {
        None => reasons.push("there is no snapshot in force".to_owned()),
        Some(world) => {
            let listeners = state.listeners.lock();
            let missing = |import: &ObjectName| match listeners.get(import) {
                Some(ImportListener::Listening(_)) => None,
                Some(ImportListener::Failed(address, error)) => Some(format!(
                    "import {import} can't listen at {address}: {error}"
                )),
                None => Some(format!("import {import} doesn't listen yet")),
            };
            reasons.extend(world.snapshot.imports.keys().filter_map(missing));
        }
    }
    reasons
}

// === impl Admin ===

impl Admin {
    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        const TEXT: &str = "text/plain; charset=utf-8";
        const METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        if request.method() != Method::GET && request.method() != Method::HEAD {
            return respond(
                StatusCode::METHOD_NOT_ALLOWED,
                TEXT,
                "GET alone\n".to_owned(),
            );
        }
        match request.uri().path() {
            "/healthz" => respond(StatusCode::OK, TEXT, "ok\n".to_owned()),
            "/readyz" => match not_ready(&self.state).as_slice() {
                [] => respond(StatusCode::OK, TEXT, "ready\n".to_owned()),
                reasons => {
                    let text = format!("{}\n", reasons.join("\n"));
                    respond(StatusCode::SERVICE_UNAVAILABLE, TEXT, text)
                }
            },
            "/metrics" => {
                let mut text = String::new();
                self.state.metrics.refresh(&self.state);
                match prometheus_client::encoding::text::encode(&mut text, &self.registry) {
                    Ok(()) => respond(StatusCode::OK, METRICS, text),
                    Err(error) => {
                        respond(StatusCode::INTERNAL_SERVER_ERROR, TEXT, error.to_string())
                    }
                }
            }
            "/snapshot" => {
                let text = format!("{:#}\n", self.snapshot());
                respond(StatusCode::OK, "application/json", text)
            }
            _ => {
                let text = "/healthz\n/readyz\n/metrics\n/snapshot\n".to_owned();
                respond(StatusCode::NOT_FOUND, TEXT, text)
            }
        }
    }

    fn snapshot(&self) -> Value {
        let mut value = match self.state.world() {
            Some(world) => describe(&self.state, &world),
            None => json!({ "revision": null }),
        };
        if let (Some(status), Value::Object(fields)) = (&self.status, &mut value) {
            fields.insert("status".to_owned(), status());
        }
        value
    }
}

fn describe(state: &State, world: &World) -> Value {
    let snapshot = &world.snapshot;
    let (import_counts, export_counts) = state.live.counts();
    let peers = snapshot.remotes.values().map(|remote| {
        let name = &remote.peer.name;
        let reach = state.reach.of(name);
        let revisions = state.pool.of(name);
        let revision = revisions
            .iter()
            .map(|connection| connection.revision())
            .find(|revision| !revision.is_empty());
        let round_trip = reach
            .as_ref()
            .and_then(|reach| reach.round_trip)
            .map(|time| time.as_micros() as u64);
        json!({
            "name": name,
            "labels": remote.peer.labels,
            "gateways": remote.gateways,
            "reachable": reach.as_ref().map(|reach| reach.reachable),
            "since": reach.as_ref().map(|reach| reach.since.to_string()),
            "failure": reach.as_ref().and_then(|reach| reach.failure.clone()),
            "roundTripMicroseconds": round_trip,
            "revision": revision,
            "connections": link::addresses(state, name),
        })
    });
    let imports = snapshot.imports.values().map(|import| {
        let listener = state.listeners.lock().get(&import.name).cloned();
        let (address, error) = match listener {
            Some(ImportListener::Listening(address)) => (Some(address), None),
            Some(ImportListener::Failed(address, error)) => (Some(address), Some(error)),
            None => (None, None),
        };
        let sources = import
            .sources
            .iter()
            .map(|source| json!({ "peer": source.peer, "export": source.export.name }));
        json!({
            "name": import.name,
            "address": address,
            "error": error,
            "sources": sources.collect::<Vec<_>>(),
            "connections": import_counts.get(&import.name).unwrap_or(&0),
            "origin": import.origin.to_string(),
        })
    });
    let exports = snapshot.exports.values().map(|export| {
        let name = &export.attributes.name;
        json!({
            "name": name,
            "host": export.host,
            "port": export.port,
            "connections": export_counts.get(name).unwrap_or(&0),
            "origin": export.origin.to_string(),
        })
    });
    let ended = world.over.iter().map(|rule| {
        json!({
            "policy": rule.key.to_string(),
            "origin": rule.origin.to_string(),
            "expires": rule.expires,
        })
    });
    json!({
        "fabric": snapshot.fabric,
        "peer": snapshot.peer.name,
        "revision": snapshot.revision,
        "units": snapshot.units,
        "listen": state.listen,
        "certificate": world.identity.fingerprint(),
        "endedPolicies": ended.collect::<Vec<_>>(),
        "peers": peers.collect::<Vec<_>>(),
        "imports": imports.collect::<Vec<_>>(),
        "exports": exports.collect::<Vec<_>>(),
    })
}

fn respond(status: StatusCode, kind: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
