//! HTTP/1.1 over one connection to a ClusterLink gateway.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;

use crate::compat::carry::Tunnel;
use crate::compat::grant::Token;
use crate::compat::link::{Known, Link};
use crate::state::State;
use crate::tunnel::ConnectionFacts;

/// The largest header of an answer: the token and the labels stand there.
const MAX_HEADER: usize = 64 * 1024;

/// The largest body of an answer, which nobody reads.
const MAX_BODY: usize = 64 * 1024;

/// A connection that takes a request at a time.
#[derive(Debug)]
pub(super) struct Session {
    sender: SendRequest<Full<Bytes>>,
    known: Arc<Known>,
    /// The gateway as requests name it.
    host: HeaderValue,
}

/// Why a request has no good answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The connection is over.
    #[error("the connection broke: {0}")]
    Broken(#[from] hyper::Error),
    /// Another status than 200.
    #[error("answered {0}")]
    Status(StatusCode),
    /// An answer that says nothing.
    #[error("{0}")]
    Odd(&'static str),
}

// === impl Session ===

impl Session {
    /// Speaks HTTP/1.1 over a TLS connection; the reason where it isn't accepted any more.
    pub(super) async fn start(
        state: &Arc<State>,
        stream: TlsStream<TcpStream>,
        facts: ConnectionFacts,
        host: &str,
    ) -> Result<Self, String> {
        let host = HeaderValue::from_str(host).map_err(|error| error.to_string())?;
        let known = Arc::new(Known::new(state, facts).map_err(ToOwned::to_owned)?);
        let (sender, connection) = Builder::new()
            .max_buf_size(MAX_HEADER)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| error.to_string())?;
        let (link, stop) = (Arc::clone(known.link()), state.stop.clone());
        state.tasks.spawn(async move {
            tokio::select! {
                _ = connection.with_upgrades() => {}
                () = link.until_cut() => {}
                () = stop.cancelled() => {}
            }
        });
        Ok(Self {
            sender,
            known,
            host,
        })
    }

    /// The connection.
    pub(super) fn link(&self) -> &Arc<Link> {
        self.known.link()
    }

    /// Whether it takes a request, as far as is known.
    pub(super) fn is_usable(&self) -> bool {
        self.sender.is_ready() && !self.link().is_cut()
    }

    /// Waits until it takes another request; false where it doesn't.
    pub(super) async fn is_ready(&mut self) -> bool {
        self.sender.ready().await.is_ok()
    }

    /// Asks whether the gateway is there.
    pub(super) async fn health(&mut self) -> Result<(), Failure> {
        let request = self.request(Method::GET, "/healthz", Bytes::new())?;
        self.send(request).await.map(|_| ())
    }

    /// Asks for access.
    pub(super) async fn authorize(&mut self, body: Bytes) -> Result<Token, Failure> {
        let mut request = self.request(Method::POST, "/authz", body)?;
        let json = HeaderValue::from_static("application/json; charset=utf-8");
        request.headers_mut().insert(CONTENT_TYPE, json);
        let response = self.send(request).await?;
        let token = response.headers().get("x-access-token");
        let token = token.and_then(|token| token.to_str().ok());
        let token = token.ok_or(Failure::Odd("access without a token"))?;
        Ok(Token::of_peer(token.to_owned()))
    }

    /// Uses access; nothing is sent before the answer is there.
    pub(super) async fn connect(mut self, token: &Token) -> Result<Tunnel, Failure> {
        // Any name will do there; ClusterLink's own gateways say this one.
        let target = format!("{}:443", self.link().peer());
        let mut bearer = HeaderValue::try_from(format!("Bearer {}", token.as_str()))
            .map_err(|_| Failure::Odd("a token that is none"))?;
        bearer.set_sensitive(true);
        let mut request = self.request(Method::CONNECT, &target, Bytes::new())?;
        let host = HeaderValue::try_from(target).map_err(|_| Failure::Odd("the peer's name"))?;
        request.headers_mut().insert(HOST, host);
        request.headers_mut().insert(AUTHORIZATION, bearer);
        let response = self.sender.send_request(request).await?;
        if response.status() != StatusCode::OK {
            return Err(Failure::Status(response.status()));
        }
        let upgraded = hyper::upgrade::on(response).await?;
        let parts = upgraded
            .downcast::<TokioIo<TlsStream<TcpStream>>>()
            .map_err(|_| Failure::Odd("another connection came back"))?;
        let stream = parts.io.into_inner();
        Ok(Tunnel::opened(stream, parts.read_buf, self.known))
    }

    /// A request with nothing in it but what is needed: no address of a client above all.
    fn request(
        &self,
        method: Method,
        target: &str,
        body: Bytes,
    ) -> Result<Request<Full<Bytes>>, Failure> {
        Request::builder()
            .method(method)
            .uri(target)
            .header(HOST, &self.host)
            .body(Full::new(body))
            .map_err(|_| Failure::Odd("the request can't be written"))
    }

    async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Response<()>, Failure> {
        let response: Response<Incoming> = self.sender.send_request(request).await?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, MAX_BODY).collect().await;
        if head.status != StatusCode::OK {
            return Err(Failure::Status(head.status));
        }
        body.map_err(|_| Failure::Odd("a body that is too long"))?;
        Ok(Response::from_parts(head, ()))
    }
}
