//! The demo's service: a ledger that answers over HTTP.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// A small HTTP service on a port of its own; it stops when it is dropped.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl Service {
    /// Starts the service.
    pub(super) async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .context("opening a port for the service")?;
        let address = listener.local_addr()?;
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(listener));
        Ok(Self {
            address,
            _tasks: tasks,
        })
    }
}

async fn serve(listener: TcpListener) {
    let count = Arc::new(AtomicU64::new(0));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                let count = Arc::clone(&count);
                let answer = move |_: Request<Incoming>| {
                    let number = count.fetch_add(1, Ordering::Relaxed) + 1;
                    let text = format!("the ledger of west, answer {number}");
                    async move { Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(text)))) }
                };
                connections.spawn(async move {
                    let server = hyper::server::conn::http1::Builder::new();
                    // A client that goes away is no matter of the service's.
                    let _ = server.serve_connection(TokioIo::new(stream), service_fn(answer)).await;
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}
