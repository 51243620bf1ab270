//! Health, readiness and metrics of the role.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Handle;

/// For a whole request.
const DEADLINE: Duration = Duration::from_secs(10);

/// Answers until `cancelled`.
pub async fn serve(handle: Handle, listener: TcpListener, cancelled: CancellationToken) {
    let tasks = TaskTracker::new();
    let accept = async {
        loop {
            let Ok((socket, _)) = listener.accept().await else {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let handle = handle.clone();
            tasks.spawn(async move {
                let service = service_fn(|request| {
                    let answer = answer(&handle, &request);
                    async move { Ok::<_, Infallible>(answer) }
                });
                let mut server = http1::Builder::new();
                server.timer(TokioTimer::new()).keep_alive(false);
                let serve = server.serve_connection(TokioIo::new(socket), service);
                let _ = timeout(DEADLINE, serve).await;
            });
        }
    };
    cancelled.run_until_cancelled(accept).await;
    tasks.close();
    tasks.wait().await;
}

fn answer(handle: &Handle, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let health = handle.health();
    let (status, text) = match request.uri().path() {
        _ if request.method() != Method::GET => {
            (StatusCode::METHOD_NOT_ALLOWED, "GET alone\n".to_owned())
        }
        // A restart frees what hangs; what is in force doesn't depend on it.
        "/healthz" => match handle.metrics().stuck() {
            None => (StatusCode::OK, "ok\n".to_owned()),
            Some((sync, time)) => {
                let text = format!("a round of the FabricSync {sync} runs for {time:?}\n");
                (StatusCode::INTERNAL_SERVER_ERROR, text)
            }
        },
        // Who doesn't lead is ready to.
        "/readyz" if health.leads && !health.is_synced => {
            let text = "the FabricSyncs weren't seen yet\n".to_owned();
            (StatusCode::SERVICE_UNAVAILABLE, text)
        }
        "/readyz" => (StatusCode::OK, "ready\n".to_owned()),
        "/metrics" => (StatusCode::OK, handle.metrics().encode()),
        _ => (
            StatusCode::NOT_FOUND,
            "/healthz\n/readyz\n/metrics\n".to_owned(),
        ),
    };
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response
}
