//! The demo's HTTP client: one connection, kept open between requests.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Longer than any answer of the demo takes on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(10);

/// More than any answer of the demo holds.
const MAX_BODY: usize = 1 << 20;

/// A client of one address.
#[derive(Debug)]
pub(super) struct Client {
    address: SocketAddr,
    connection: Option<SendRequest<Empty<Bytes>>>,
    tasks: JoinSet<()>,
}

impl Client {
    /// A client that isn't connected yet.
    pub(super) fn new(address: SocketAddr) -> Self {
        Self {
            address,
            connection: None,
            tasks: JoinSet::new(),
        }
    }

    /// Asks for `/`.
    pub(super) async fn get(&mut self) -> Result<String> {
        self.get_path("/").await
    }

    /// Asks for a path, on the connection that is open if one is.
    pub(super) async fn get_path(&mut self, path: &str) -> Result<String> {
        tokio::time::timeout(TIMEOUT, self.request(path))
            .await
            .map_err(|_| anyhow!("no answer from {} within {TIMEOUT:?}", self.address))?
            .with_context(|| format!("GET http://{}{path}", self.address))
    }

    async fn request(&mut self, path: &str) -> Result<String> {
        let sender = match &mut self.connection {
            Some(sender) => sender,
            None => {
                let stream = TcpStream::connect(self.address).await?;
                let (sender, connection) = handshake(TokioIo::new(stream)).await?;
                self.tasks.spawn(async move {
                    // How the connection ends shows in the request that it ends.
                    let _ = connection.await;
                });
                self.connection.insert(sender)
            }
        };
        let request = Request::get(path)
            .header(hyper::header::HOST, self.address.to_string())
            .body(Empty::new())?;
        // The answer before this may have been read to its end without the connection's knowing yet.
        sender.ready().await?;
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_BODY)
            .collect()
            .await
            .map_err(|error| anyhow!("reading the answer: {error}"))?;
        let text = String::from_utf8_lossy(&body.to_bytes()).into_owned();
        if status.is_success() {
            Ok(text)
        } else {
            Err(anyhow!("{status}: {text}"))
        }
    }
}
