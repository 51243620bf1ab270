//! Between a program and an API server: counts its requests, and spoils them where a test wants it.

use std::convert::Infallible;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio_rustls::TlsConnector;

use crate::api_server::ApiServer;

/// A proxy in front of an API server.
#[derive(Debug)]
pub struct ApiProxy {
    shared: Arc<Shared>,
    directory: TempDir,
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

/// A request that went through, or was to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The method.
    pub method: String,
    /// The path, without the query.
    pub path: String,
    /// The query.
    pub query: String,
    /// Whether it is a watch.
    pub is_watch: bool,
    /// The answer's status; 0 as long as there is none.
    pub status: u16,
}

/// What is done to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It waits before it is sent on.
    Delay(Duration),
    /// It is answered with a failure; the second value is `Retry-After`, in seconds.
    Answer(u16, Option<u32>),
    /// The connection is cut before it is sent on.
    CutBefore,
    /// It is sent on, and the connection is cut before the answer comes back.
    CutAfter,
    /// It is never answered.
    Hang,
}

/// Says what is done to a request; none lets it through.
pub type Rule = Box<dyn FnMut(&Seen) -> Option<Fault> + Send>;

struct Shared {
    upstream: String,
    with_certificate: Arc<ClientConfig>,
    with_token: Arc<ClientConfig>,
    seen: Mutex<Vec<Seen>>,
    rule: Mutex<Option<Rule>>,
    /// How often open watches were silenced, and how often they were cut.
    watches: watch::Sender<(u32, u32)>,
}

// === impl ApiProxy ===

impl ApiProxy {
    /// Starts a proxy in front of a server.
    pub fn start(server: &ApiServer) -> Self {
        let config = fs::read_to_string(server.kubeconfig()).expect("the kubeconfig");
        let config: Value = serde_yaml::from_str(&config).expect("the kubeconfig is YAML");
        let decode = |value: &Value| {
            let text = value.as_str().expect("base64 in the kubeconfig");
            BASE64.decode(text).expect("base64")
        };
        let cluster = &config["clusters"][0]["cluster"];
        let user = &config["users"][0]["user"];
        let mut roots = RootCertStore::empty();
        let authority = decode(&cluster["certificate-authority-data"]);
        for certificate in CertificateDer::pem_slice_iter(&authority) {
            roots.add(certificate.expect("PEM")).expect("a CA");
        }
        let certificate = decode(&user["client-certificate-data"]);
        let chain = CertificateDer::pem_slice_iter(&certificate);
        let chain: Vec<_> = chain.map(|certificate| certificate.expect("PEM")).collect();
        let key = PrivateKeyDer::from_pem_slice(&decode(&user["client-key-data"])).expect("a key");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = || {
            ClientConfig::builder_with_provider(Arc::clone(&provider))
                .with_safe_default_protocol_versions()
                .expect("versions of TLS")
                .with_root_certificates(roots.clone())
        };
        let shared = Arc::new(Shared {
            upstream: server.address().to_owned(),
            with_certificate: Arc::new(builder().with_client_auth_cert(chain, key).expect("a key")),
            with_token: Arc::new(builder().with_no_client_auth()),
            seen: Mutex::default(),
            rule: Mutex::default(),
            watches: watch::Sender::new((0, 0)),
        });
        let (stop, stopped) = oneshot::channel();
        let (tell, told) = std::sync::mpsc::channel();
        let serving = Arc::clone(&shared);
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
                tell.send(listener.local_addr().expect("an address"))
                    .expect("the test waits");
                tokio::select! {
                    () = serve(serving, listener) => {}
                    _ = stopped => {}
                }
            });
            runtime.shutdown_background();
        });
        Self {
            shared,
            directory: TempDir::new().expect("a folder for the proxy"),
            address: told.recv().expect("the proxy's address"),
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// A kubeconfig that leads through the proxy, as the cluster's administrator.
    pub fn kubeconfig(&self) -> PathBuf {
        self.write_kubeconfig("kubeconfig", &json!({}))
    }

    /// A kubeconfig that leads through the proxy, as the user of another one, who has a token.
    pub fn kubeconfig_as(&self, user: &Path) -> PathBuf {
        let config = fs::read_to_string(user).expect("the user's kubeconfig");
        let config: Value = serde_yaml::from_str(&config).expect("the kubeconfig is YAML");
        let user_of = &config["users"][0]["user"];
        assert!(
            user_of["token"].is_string(),
            "without a token the proxy is the administrator"
        );
        let name = user.file_name().expect("a file").to_string_lossy();
        self.write_kubeconfig(&name, user_of)
    }

    /// The proxy's address; it speaks HTTP.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    fn write_kubeconfig(&self, name: &str, user: &Value) -> PathBuf {
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{ "name": "proxy", "cluster": { "server": format!("http://{}", self.address) } }],
            "users": [{ "name": "proxy", "user": user }],
            "contexts": [{ "name": "proxy", "context": { "cluster": "proxy", "user": "proxy" } }],
            "current-context": "proxy",
        });
        let file = self.directory.path().join(name);
        fs::write(&file, config.to_string()).expect("a kubeconfig is written");
        file
    }

    /// The requests since the last [`reset`](Self::reset).
    pub fn requests(&self) -> Vec<Seen> {
        self.shared.seen.lock().clone()
    }

    /// How many requests satisfy a condition.
    pub fn count(&self, wanted: impl Fn(&Seen) -> bool) -> usize {
        self.shared
            .seen
            .lock()
            .iter()
            .filter(|seen| wanted(seen))
            .count()
    }

    /// The requests that aren't watches or about a Lease.
    pub fn work(&self) -> Vec<Seen> {
        let mut seen = self.requests();
        seen.retain(|seen| !seen.is_watch && !seen.path.contains("/leases"));
        seen
    }

    /// Forgets the requests so far.
    pub fn reset(&self) {
        self.shared.seen.lock().clear();
    }

    /// Sets what is done to requests from now on.
    pub fn set_rule(&self, rule: impl FnMut(&Seen) -> Option<Fault> + Send + 'static) {
        *self.shared.rule.lock() = Some(Box::new(rule));
    }

    /// Lets everything through again.
    pub fn clear_rule(&self) {
        *self.shared.rule.lock() = None;
    }

    /// Cuts all open watches.
    pub fn cut_watches(&self) {
        self.shared.watches.send_modify(|(_, cut)| *cut += 1);
    }

    /// Open watches carry nothing any more, and aren't closed either; later ones are as usual.
    pub fn silence_watches(&self) {
        self.shared
            .watches
            .send_modify(|(silenced, _)| *silenced += 1);
    }
}

impl Drop for ApiProxy {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn note_status(&self, index: usize, status: u16) {
        if let Some(seen) = self.seen.lock().get_mut(index) {
            seen.status = status;
        }
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Shared({})", self.upstream)
    }
}

// === impl Seen ===

impl Seen {
    /// Whether it is a PATCH of something whose path holds `part`, and not of its status.
    pub fn is_patch(&self, part: &str) -> bool {
        self.method == "PATCH" && self.path.contains(part) && !self.path.ends_with("/status")
    }
}

async fn serve(shared: Arc<Shared>, listener: TcpListener) {
    loop {
        let Ok((socket, _)) = listener.accept().await else {
            return;
        };
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let _ = socket.set_nodelay(true);
            let service = service_fn(move |request| answer(Arc::clone(&shared), request));
            let server = hyper::server::conn::http1::Builder::new();
            // A connection that was cut on purpose ends in an error.
            let _ = server.serve_connection(TokioIo::new(socket), service).await;
        });
    }
}

type Answer = Response<BoxBody<Bytes, std::io::Error>>;

/// What ends the connection without an answer.
fn cut() -> std::io::Error {
    std::io::ErrorKind::ConnectionReset.into()
}

async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Answer, std::io::Error> {
    let query = request.uri().query().unwrap_or_default().to_owned();
    let seen = Seen {
        method: request.method().to_string(),
        path: request.uri().path().to_owned(),
        is_watch: query.contains("watch=true") || query.contains("watch=1"),
        query,
        status: 0,
    };
    let fault = shared.rule.lock().as_mut().and_then(|rule| rule(&seen));
    let index = {
        let mut all = shared.seen.lock();
        all.push(seen.clone());
        all.len() - 1
    };
    match fault {
        Some(Fault::Delay(time)) => tokio::time::sleep(time).await,
        Some(Fault::CutBefore) => return Err(cut()),
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::Answer(status, after)) => {
            shared.note_status(index, status);
            return Ok(failure(status, after));
        }
        Some(Fault::CutAfter) | None => {}
    }
    let Ok(response) = forward(&shared, request, seen.is_watch).await else {
        return Err(cut());
    };
    shared.note_status(index, response.status().as_u16());
    if fault == Some(Fault::CutAfter) {
        return Err(cut());
    }
    Ok(response)
}

async fn forward(
    shared: &Shared,
    request: Request<Incoming>,
    is_watch: bool,
) -> Result<Answer, Box<dyn std::error::Error + Send + Sync>> {
    let (mut head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let config = match head.headers.contains_key("authorization") {
        true => &shared.with_token,
        false => &shared.with_certificate,
    };
    let socket = TcpStream::connect(&shared.upstream).await?;
    socket.set_nodelay(true)?;
    let host = shared
        .upstream
        .rsplit_once(':')
        .map_or("", |(host, _)| host);
    let name = ServerName::try_from(host.to_owned())?;
    let stream = TlsConnector::from(Arc::clone(config))
        .connect(name, socket)
        .await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(async move {
        let _ = connection.await;
    });
    head.headers
        .insert("host", HeaderValue::from_str(&shared.upstream)?);
    head.version = http::Version::HTTP_11;
    let response = sender
        .send_request(Request::from_parts(head, Full::new(body)))
        .await?;
    let (head, body) = response.into_parts();
    let body = Spoiled {
        body,
        state: is_watch.then(|| shared.watches.subscribe()),
        is_silent: false,
        waiting: None,
    };
    Ok(Response::from_parts(head, body.boxed()))
}

fn failure(status: u16, after: Option<u32>) -> Answer {
    let code = StatusCode::from_u16(status).expect("a status");
    let text = json!({
        "apiVersion": "v1",
        "kind": "Status",
        "status": "Failure",
        "message": format!("spoiled by the test: {code}"),
        "reason": code.canonical_reason().unwrap_or_default().replace(' ', ""),
        "code": status,
        "details": { "retryAfterSeconds": after.unwrap_or(0) },
    });
    let body = Full::from(text.to_string()).map_err(|never: Infallible| match never {});
    let mut response = Response::new(body.boxed());
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert("content-type", HeaderValue::from_static("application/json"));
    if let Some(after) = after {
        headers.insert("retry-after", after.into());
    }
    response
}

/// A body whose watch may be cut or silenced on the way.
struct Spoiled {
    body: Incoming,
    state: Option<watch::Receiver<(u32, u32)>>,
    is_silent: bool,
    /// Whether the watch was cut, and not only silenced.
    waiting: Option<Pin<Box<dyn Future<Output = bool> + Send + Sync>>>,
}

impl Body for Spoiled {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        if self.waiting.is_none()
            && let Some(mut state) = self.state.clone()
        {
            let before = *state.borrow_and_update();
            self.waiting = Some(Box::pin(async move {
                state.changed().await.is_err() || state.borrow().1 != before.1
            }));
        }
        if let Some(waiting) = &mut self.waiting
            && let Poll::Ready(is_cut) = waiting.as_mut().poll(context)
        {
            if is_cut {
                return Poll::Ready(Some(Err(cut())));
            }
            self.is_silent = true;
            self.waiting = None;
            self.state = None;
        }
        if self.is_silent {
            return Poll::Pending;
        }
        Pin::new(&mut self.body)
            .poll_frame(context)
            .map_err(std::io::Error::other)
    }

    fn size_hint(&self) -> SizeHint {
        match self.state {
            Some(_) => SizeHint::default(),
            None => self.body.size_hint(),
        }
    }
}
