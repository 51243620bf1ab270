//! The receiver of a Git host's webhooks: a hint that something was pushed, and no more.
//!
//! What a request says isn't believed and isn't even read: a valid signature begins a round, which
//! asks the repository itself. So a replayed request costs one look into the repository.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::{constant_time, hmac};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Handle;

/// The largest body that is read: hosts send tens of KiB, and 25 MiB for what we don't want.
const MOST: usize = 1 << 20;
/// Connections at a time: hosts send a request for a push.
const CONNECTIONS: usize = 64;
/// For a whole connection: a host sends its request at once.
const DEADLINE: Duration = Duration::from_secs(10);
/// The largest secret.
const MAX_SECRET: usize = 4096;

/// A receiver of webhooks.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// The file with the secret that is shared with the host; read for every request, so that it may
    /// be replaced.
    pub secret: PathBuf,
    /// What is triggered.
    pub handle: Handle,
}

/// What a request's headers prove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Proof {
    Valid,
    Wrong,
    Missing,
}

// === impl Webhook ===

impl Webhook {
    /// Receives until `cancelled`.
    pub async fn serve(self, listener: TcpListener, cancelled: CancellationToken) {
        let tasks = TaskTracker::new();
        let slots = Arc::new(Semaphore::new(CONNECTIONS));
        let receiver = Arc::new(self);
        let accept = async {
            loop {
                let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
                    return;
                };
                let socket = match listener.accept().await {
                    Ok((socket, _)) => socket,
                    Err(error) => {
                        tracing::warn!(%error, "a webhook can't be accepted");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                        continue;
                    }
                };
                let (receiver, cancelled) = (Arc::clone(&receiver), cancelled.clone());
                tasks.spawn(async move {
                    let _slot = slot;
                    let service = service_fn(|request| {
                        let receiver = Arc::clone(&receiver);
                        async move { Ok::<_, Infallible>(receiver.answer(request).await) }
                    });
                    let mut server = http1::Builder::new();
                    server.timer(TokioTimer::new()).keep_alive(false);
                    let serve = server.serve_connection(TokioIo::new(socket), service);
                    let serve = cancelled.run_until_cancelled(timeout(DEADLINE, serve));
                    if let Some(Ok(Err(error))) = serve.await {
                        tracing::debug!(%error, "a webhook's connection failed");
                    }
                });
            }
        };
        cancelled.run_until_cancelled(accept).await;
        tasks.close();
        tasks.wait().await;
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Empty<Bytes>> {
        let status = self.judge(request).await;
        tracing::info!(status = status.as_u16(), "a webhook was received");
        let mut response = Response::new(Empty::new());
        *response.status_mut() = status;
        response
    }

    async fn judge(&self, request: Request<Incoming>) -> StatusCode {
        if request.method() != Method::POST {
            return StatusCode::METHOD_NOT_ALLOWED;
        }
        let (head, body) = request.into_parts();
        let Ok(body) = Limited::new(body, MOST).collect().await else {
            return StatusCode::PAYLOAD_TOO_LARGE;
        };
        let secret = match tokio::fs::read(&self.secret).await {
            Ok(secret) if !secret.trim_ascii().is_empty() && secret.len() <= MAX_SECRET => secret,
            Ok(_) => {
                tracing::error!(path = %self.secret.display(), "the webhook's secret is no secret");
                return StatusCode::SERVICE_UNAVAILABLE;
            }
            Err(error) => {
                tracing::error!(path = %self.secret.display(), %error, "the webhook's secret can't be read");
                return StatusCode::SERVICE_UNAVAILABLE;
            }
        };
        match prove(&head.headers, &body.to_bytes(), secret.trim_ascii()) {
            Proof::Valid if self.handle.health().leads => {
                self.handle.trigger();
                StatusCode::ACCEPTED
            }
            // The host shows that it wasn't heard, or sends it again.
            Proof::Valid => StatusCode::SERVICE_UNAVAILABLE,
            Proof::Wrong => StatusCode::FORBIDDEN,
            Proof::Missing => StatusCode::UNAUTHORIZED,
        }
    }
}

/// Whether a request was signed with the secret, in the way of one of the hosts: GitHub, Gitea and
/// Forgejo, GitLab, or anybody with `X-Signature: sha256=...`.
fn prove(headers: &HeaderMap, body: &[u8], secret: &[u8]) -> Proof {
    let header = |name: &str| headers.get(name).map(http::HeaderValue::as_bytes);
    let signatures = [
        header("x-hub-signature-256"),
        header("x-gitea-signature"),
        header("x-forgejo-signature"),
        header("x-signature"),
    ];
    let mut proof = Proof::Missing;
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    for signature in signatures.into_iter().flatten() {
        let digits = signature.strip_prefix(b"sha256=").unwrap_or(signature);
        let is_valid =
            hex::decode(digits).is_ok_and(|signature| hmac::verify(&key, body, &signature).is_ok());
        if is_valid {
            return Proof::Valid;
        }
        proof = Proof::Wrong;
    }
    if let Some(token) = header("x-gitlab-token") {
        // GitLab sends the secret itself.
        if constant_time::verify_slices_are_equal(token, secret).is_ok() {
            return Proof::Valid;
        }
        proof = Proof::Wrong;
    }
    proof
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Signed by `openssl dgst -sha256 -hmac` with the secret below.
    const BODY: &[u8] = b"Hello, World!";
    const SECRET: &[u8] = b"It's a Secret to Everybody";
    const SIGNATURE: &str = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

    #[test]
    fn requests_prove_that_they_know_the_secret() {
        let prefixed = format!("sha256={SIGNATURE}");
        let upper = SIGNATURE.to_uppercase();
        let secret = "It's a Secret to Everybody";
        for (name, value, body, expected) in [
            ("X-Hub-Signature-256", prefixed.as_str(), BODY, Proof::Valid),
            (
                "X-Hub-Signature-256",
                prefixed.as_str(),
                b"Hello, World?",
                Proof::Wrong,
            ),
            ("X-Hub-Signature-256", "sha256=", BODY, Proof::Wrong),
            ("X-Hub-Signature-256", "sha1=757107ea", BODY, Proof::Wrong),
            ("X-Gitea-Signature", SIGNATURE, BODY, Proof::Valid),
            ("X-Forgejo-Signature", SIGNATURE, BODY, Proof::Valid),
            ("X-Signature", prefixed.as_str(), BODY, Proof::Valid),
            ("X-Signature", upper.as_str(), BODY, Proof::Valid),
            ("X-Gitlab-Token", secret, BODY, Proof::Valid),
            ("X-Gitlab-Token", "It's a Secret", BODY, Proof::Wrong),
            ("X-Gitlab-Token", "", BODY, Proof::Wrong),
            ("X-Other", secret, BODY, Proof::Missing),
        ] {
            let mut headers = HeaderMap::new();
            let name: http::HeaderName = name.parse().unwrap();
            headers.insert(&name, value.parse().unwrap());
            assert_eq!(prove(&headers, body, SECRET), expected, "{name}: {value}");
        }
    }
}
