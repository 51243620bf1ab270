//! The little HTTP that the gateway's port serves to peers: whether somebody is there.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use crate::limits;

/// A request's header: nobody needs longer for a health check.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// A whole request with its answer, however slowly the other side reads.
const HTTP_TIMEOUT: Duration = Duration::from_secs(10);

/// Answers one request, whose sender is known already, with at most so many bytes of header; false
/// where there were more.
pub async fn serve<S>(stream: S, header: usize, count: impl Fn() + Send) -> bool
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let service = service_fn(|request: Request<Incoming>| {
        count();
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
        Ok(Err(error)) => {
            tracing::debug!(%error, "http connection ended");
            return !error.is_parse_too_large();
        }
        Err(_) => tracing::debug!("http connection took too long"),
    }
    true
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
