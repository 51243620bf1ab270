//! What ClusterLink's control plane does while a connection is opened.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use prost::Message;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsConnector;

use super::check::{CheckRequest, CheckResponse, HttpRequest};
use crate::certificates::IdentityFiles;

/// The control plane; ends when dropped.
#[derive(Debug)]
pub(super) struct ControlPlane {
    shared: Arc<Shared>,
    runtime: Runtime,
}

/// What a peer does.
#[derive(Clone, Debug)]
pub(super) enum Role {
    /// It uses `shop/service` of another peer.
    Importer {
        /// The other peer.
        remote: String,
        /// Its gateway.
        gateway: SocketAddr,
    },
    /// It offers `shop/service`.
    Exporter,
}

/// What Envoy asked.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The method of the request that waits.
    pub method: String,
    /// Its path.
    pub path: String,
    /// Its body.
    pub body: String,
    /// How long the answer took.
    pub took: Duration,
}

#[derive(Debug)]
struct Shared {
    role: Role,
    tls: Arc<ClientConfig>,
    asked: Mutex<Vec<Asked>>,
}

// === impl ControlPlane ===

impl ControlPlane {
    /// Starts it at an address, with the peer's own identity.
    pub(super) fn start(at: SocketAddr, files: &IdentityFiles, ca: &Path, role: Role) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let shared = Arc::new(Shared {
            role,
            tls: tls(files, ca),
            asked: Mutex::default(),
        });
        let listener = runtime
            .block_on(TcpListener::bind(at))
            .expect("a free port");
        runtime.spawn(serve(listener, Arc::clone(&shared)));
        Self { shared, runtime }
    }

    /// A page of Envoy's own server, which takes HTTP/1.1 alone.
    pub(super) fn get(&self, from: SocketAddr, path: &str) -> io::Result<(u16, String)> {
        self.runtime.block_on(async {
            let socket = TcpStream::connect(from).await?;
            let socket = TokioIo::new(socket);
            let (mut sender, connection) = hyper::client::conn::http1::handshake(socket)
                .await
                .map_err(io::Error::other)?;
            tokio::spawn(connection);
            let request = Request::get(path)
                .header("host", from.to_string())
                .body(Full::new(Bytes::new()))
                .map_err(io::Error::other)?;
            let response = sender
                .send_request(request)
                .await
                .map_err(io::Error::other)?;
            let status = response.status().as_u16();
            let body = response
                .into_body()
                .collect()
                .await
                .map_err(io::Error::other)?;
            let body = String::from_utf8_lossy(&body.to_bytes()).into_owned();
            Ok((status, body))
        })
    }

    /// What it was asked so far.
    pub(super) fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().clone()
    }
}

/// As ClusterLink's control plane: TLS 1.2 or 1.3, no ALPN, the server's name is checked.
fn tls(files: &IdentityFiles, ca: &Path) -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    let root = CertificateDer::from_pem_file(ca).expect("a certificate");
    roots.add(root).expect("a CA");
    let chain = CertificateDer::pem_file_iter(&files.certificate).expect("a file");
    let chain = chain.collect::<Result<_, _>>().expect("certificates");
    let key = PrivateKeyDer::from_pem_file(&files.key).expect("a key");
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .expect("versions that are there")
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .expect("a certificate and its key");
    Arc::new(config)
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((socket, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let service = service_fn(move |request| grpc(Arc::clone(&shared), request));
            // Envoy ends it when it ends.
            let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(socket), service)
                .await;
        });
    }
}

/// One call: a message behind five bytes, there and back, and a status behind it.
async fn grpc(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<
    Response<StreamBody<impl futures::Stream<Item = Result<Frame<Bytes>, Infallible>>>>,
    hyper::Error,
> {
    let body = request.into_body().collect().await?.to_bytes();
    let check = body.get(5..).unwrap_or_default();
    let check = CheckRequest::decode(check).expect("Envoy's own message");
    let http = check
        .attributes
        .and_then(|attributes| attributes.request?.http);
    let http = http.expect("it is about a request");
    let started = Instant::now();
    let answer = match &shared.role {
        Role::Importer { remote, gateway } => egress(&shared, remote, *gateway, &http).await,
        Role::Exporter => ingress(&http),
    };
    shared.asked.lock().push(Asked {
        method: http.method,
        path: http.path,
        body: http.body,
        took: started.elapsed(),
    });
    let answer = answer.encode_to_vec();
    let mut message = BytesMut::new();
    message.put_u8(0);
    message.put_u32(u32::try_from(answer.len()).expect("a short message"));
    message.put_slice(&answer);
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let frames = [Frame::data(message.freeze()), Frame::trailers(trailers)];
    let frames = futures::stream::iter(frames.map(Ok));
    let mut response = Response::new(StreamBody::new(frames));
    let grpc = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert("content-type", grpc);
    Ok(response)
}

/// A client's connection: access is asked for, and Envoy told where to go with it.
async fn egress(
    shared: &Shared,
    remote: &str,
    gateway: SocketAddr,
    http: &HttpRequest,
) -> CheckResponse {
    for header in ["x-import-name", "x-import-namespace", "x-client-ip"] {
        if !http.headers.contains_key(header) {
            return CheckResponse::answer(400, &[], &format!("Missing '{header}' header."));
        }
    }
    match access(shared, remote, gateway).await {
        Ok(token) => CheckResponse::allow(&[
            ("host", &format!("remote-peer-{remote}")),
            ("authorization", &format!("Bearer {token}")),
        ]),
        Err(error) => CheckResponse::answer(500, &[], &error.to_string()),
    }
}

/// `POST /authz` to the other peer.
async fn access(shared: &Shared, remote: &str, gateway: SocketAddr) -> io::Result<String> {
    let socket = TcpStream::connect(gateway).await?;
    let name = ServerName::try_from(remote.to_owned()).map_err(io::Error::other)?;
    let stream = TlsConnector::from(Arc::clone(&shared.tls))
        .connect(name, socket)
        .await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    tokio::spawn(connection);
    let body = json!({
        "ServiceName": "service",
        "ServiceNamespace": "shop",
        "SrcAttributes": {
            "client.clusterlink.net/namespace": "shop",
            "client.clusterlink.net/service-account": "till",
            "client.clusterlink.net/labels.app": "till",
            "peer.clusterlink.net/name": "not-looked-at",
        },
    });
    let request = Request::post("/authz")
        .header("host", gateway.to_string())
        .header("content-type", "application/json; charset=utf-8")
        .header("user-agent", "Go-http-client/1.1")
        .body(Full::new(Bytes::from(body.to_string())))
        .map_err(io::Error::other)?;
    let response = sender
        .send_request(request)
        .await
        .map_err(io::Error::other)?;
    let token = response.headers().get("x-access-token");
    let token = token.and_then(|token| token.to_str().ok());
    token
        .map(str::to_owned)
        .ok_or_else(|| io::Error::other(format!("/authz answered {}", response.status())))
}

/// A peer's request.
fn ingress(http: &HttpRequest) -> CheckResponse {
    match (http.method.as_str(), http.path.as_str()) {
        ("GET", "/healthz") => {
            CheckResponse::answer(200, &[("ClusterLinkPeerLabels", "bnVsbA==")], "")
        }
        ("POST", "/authz") => {
            let body: Value = serde_json::from_str(&http.body).unwrap_or_default();
            if body["ServiceName"] == "service" && body["ServiceNamespace"] == "shop" {
                CheckResponse::answer(200, &[("x-access-token", "shop.service")], "")
            } else {
                CheckResponse::answer(404, &[], "Exported service not found.")
            }
        }
        ("CONNECT", _) => match http.headers.get("authorization").map(String::as_str) {
            Some("Bearer shop.service") => CheckResponse::allow(&[("host", "export-shop/service")]),
            Some(_) => CheckResponse::answer(403, &[], ""),
            None => CheckResponse::answer(400, &[], "Missing 'authorization' header."),
        },
        (method, path) => CheckResponse::answer(
            400,
            &[],
            &format!("No handler defined for {method} {path}."),
        ),
    }
}
