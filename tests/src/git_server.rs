//! A Git server over smart HTTP: `git http-backend` behind hyper, as forges serve it.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;

use crate::certificates::{Authority, Request as CertificateRequest};
use crate::network::Loopback;
use crate::repository::git_command;

/// The port of every server.
const PORT: u16 = 8418;

/// A server of one repository; it can be stopped and started again at the same address.
#[derive(Debug)]
pub struct GitServer {
    address: Ipv4Addr,
    /// Held so that the address is the test's own.
    _loopback: Option<Loopback>,
    backend: Arc<Backend>,
    tls: Option<Arc<ServerConfig>>,
    runtime: Option<Runtime>,
}

/// What answers the requests.
#[derive(Debug)]
struct Backend {
    repository: PathBuf,
    /// The `Authorization` header that every request must carry, where one must.
    authorization: Option<String>,
    requests: AtomicUsize,
}

// === impl GitServer ===

impl GitServer {
    /// Serves a bare repository over http.
    pub fn start(repository: &Path) -> Self {
        Self::new(repository, None, None)
    }

    /// Serves it over http at another address, where clusters of the test reach it.
    pub fn start_at(repository: &Path, address: Ipv4Addr) -> Self {
        Self::at(repository, address, None, None, None)
    }

    /// Serves it to those alone that send this `Authorization` header.
    pub fn start_with_authorization(repository: &Path, header: &str) -> Self {
        Self::new(repository, Some(header.to_owned()), None)
    }

    /// Serves it over https, with a certificate of an authority.
    pub fn start_with_tls(repository: &Path, authority: &Authority) -> Self {
        Self::new(repository, None, Some(authority))
    }

    fn new(
        repository: &Path,
        authorization: Option<String>,
        authority: Option<&Authority>,
    ) -> Self {
        let loopback = Loopback::take();
        let tls = authority.map(|authority| tls_config(authority, &loopback));
        let address = loopback.address();
        Self::at(repository, address, Some(loopback), authorization, tls)
    }

    fn at(
        repository: &Path,
        address: Ipv4Addr,
        loopback: Option<Loopback>,
        authorization: Option<String>,
        tls: Option<Arc<ServerConfig>>,
    ) -> Self {
        let backend = Backend {
            repository: repository.to_owned(),
            authorization,
            requests: AtomicUsize::new(0),
        };
        let mut server = Self {
            address,
            _loopback: loopback,
            backend: Arc::new(backend),
            tls,
            runtime: None,
        };
        server.restart();
        server
    }

    /// Where the server listens.
    pub fn address(&self) -> SocketAddr {
        (self.address, PORT).into()
    }

    /// The repository's URL.
    pub fn url(&self) -> String {
        self.url_with("")
    }

    /// The repository's URL with credentials in it, written `name:password@`.
    pub fn url_with(&self, credentials: &str) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let address = self.address();
        format!("{scheme}://{credentials}{address}/fabric.git")
    }

    /// How many requests it has got.
    pub fn requests(&self) -> usize {
        self.backend.requests.load(Ordering::SeqCst)
    }

    /// Stops serving: who connects is refused, and connections are cut.
    pub fn stop(&mut self) {
        let runtime = self.runtime.take().expect("the server runs");
        runtime.shutdown_timeout(crate::wait::DEADLINE);
    }

    /// Serves again at the same address.
    pub fn restart(&mut self) {
        assert!(self.runtime.is_none(), "the server runs already");
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let address = self.address();
        let listener = runtime
            .block_on(TcpListener::bind(address))
            .expect("the address is ours");
        let tls = self.tls.clone().map(TlsAcceptor::from);
        runtime.spawn(serve(listener, tls, Arc::clone(&self.backend)));
        self.runtime = Some(runtime);
    }
}

// === impl Backend ===

impl Backend {
    async fn answer(
        &self,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        self.requests.fetch_add(1, Ordering::SeqCst);
        let authorization = request.headers().get(http::header::AUTHORIZATION);
        let authorization = authorization.and_then(|value| value.to_str().ok());
        if self.authorization.is_some() && self.authorization.as_deref() != authorization {
            let response = Response::builder()
                .status(StatusCode::UNAUTHORIZED)
                .header("WWW-Authenticate", "Basic realm=\"fabric\"")
                .body(Full::default());
            return Ok(response.expect("the response is well-formed"));
        }
        Ok(self.run(request).await.unwrap_or_else(|error| {
            let body = Full::from(error.to_string());
            let mut response = Response::new(body);
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            response
        }))
    }

    /// Runs `git http-backend` for one request, as CGI has it.
    async fn run(&self, request: Request<Incoming>) -> io::Result<Response<Full<Bytes>>> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        let header = |name: &str| {
            let value = parts
                .headers
                .get(name)
                .and_then(|value| value.to_str().ok());
            value.unwrap_or_default().to_owned()
        };
        let root = self.repository.parent().expect("it lies in a folder");
        let mut child = Command::from(git_command(root))
            .arg("http-backend")
            .env("GIT_PROJECT_ROOT", root)
            .env("GIT_HTTP_EXPORT_ALL", "1")
            .env("GIT_PROTOCOL", header("git-protocol"))
            .env("PATH_INFO", parts.uri.path())
            .env("QUERY_STRING", parts.uri.query().unwrap_or_default())
            .env("REQUEST_METHOD", parts.method.as_str())
            .env("CONTENT_TYPE", header("content-type"))
            .env("CONTENT_LENGTH", body.len().to_string())
            .env("HTTP_CONTENT_ENCODING", header("content-encoding"))
            .env("REMOTE_ADDR", "127.0.0.1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut stdin = child.stdin.take().expect("stdin is piped");
        let mut stdout = child.stdout.take().expect("stdout is piped");
        let mut output = Vec::new();
        let write = async {
            // The backend may answer before it has read everything.
            let _ = stdin.write_all(&body).await;
            drop(stdin);
            Ok(())
        };
        tokio::try_join!(write, stdout.read_to_end(&mut output))?;
        child.wait().await?;
        parse_cgi(output)
    }
}

async fn serve(listener: TcpListener, tls: Option<TlsAcceptor>, backend: Arc<Backend>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, backend) = (tls.clone(), Arc::clone(&backend));
        tokio::spawn(async move {
            match tls {
                None => serve_connection(stream, backend).await,
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        serve_connection(stream, backend).await;
                    }
                }
            }
        });
    }
}

async fn serve_connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    backend: Arc<Backend>,
) {
    let service = service_fn(|request| backend.answer(request));
    // A client that goes away is its own affair.
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

fn tls_config(authority: &Authority, loopback: &Loopback) -> Arc<ServerConfig> {
    let identity = authority.issue(&CertificateRequest::new(&loopback.address().to_string()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has the protocol")
        .with_no_client_auth()
        .with_single_cert(identity.chain(), identity.private_key())
        .expect("the key goes with the certificate");
    Arc::new(config)
}

/// Splits what a CGI program wrote into status, headers and body.
fn parse_cgi(output: Vec<u8>) -> io::Result<Response<Full<Bytes>>> {
    let end = output.windows(4).position(|window| window == b"\r\n\r\n");
    let end = end.ok_or_else(|| io::Error::other("git http-backend wrote no header"))?;
    let output = Bytes::from(output);
    let mut response = Response::builder();
    for line in String::from_utf8_lossy(&output[..end]).lines() {
        let (name, value) = line.split_once(": ").unwrap_or((line, ""));
        response = match name {
            "Status" => response.status(value.split(' ').next().unwrap_or_default()),
            _ => response.header(name, value),
        };
    }
    response
        .body(Full::new(output.slice(end + 4..)))
        .map_err(io::Error::other)
}
