//! A small smart HTTP server around `git http-backend`, which misbehaves on demand.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use parking_lot::Mutex;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use reconciler::git::Remote;
use rustls::pki_types::PrivateKeyDer;

/// What the server does with a request.
#[derive(Clone, Debug)]
pub(crate) enum Behaviour {
    Serve,
    /// Serves only those who show this `Authorization` header.
    Authorize(String),
    /// Accepts and never answers.
    Silent,
    /// Closes the connection after so many bytes of the pack's body.
    Cut(usize),
    /// Answers with a status and a page.
    Status(u16),
    /// Redirects to another base address.
    Redirect(String),
}

pub(crate) struct Server {
    shared: Arc<Shared>,
    address: SocketAddr,
    acceptor: Option<JoinHandle<()>>,
    tls: Option<Authority>,
}

pub(crate) struct Request {
    pub(crate) line: String,
    pub(crate) authorization: Option<String>,
}

struct Shared {
    root: PathBuf,
    behaviour: Mutex<Behaviour>,
    requests: Mutex<Vec<Request>>,
    open: Mutex<Vec<TcpStream>>,
    is_stopped: AtomicBool,
    tls: Option<Arc<rustls::ServerConfig>>,
}

/// A CA of its own and where its certificate lies.
struct Authority {
    directory: tempfile::TempDir,
}

impl Server {
    /// Serves the repositories below a directory over http.
    pub(crate) fn start(root: &Path) -> Self {
        Self::start_with(root, None)
    }

    /// The same over https, with a certificate of a CA of its own.
    pub(crate) fn start_tls(root: &Path) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let authority = params.self_signed(&key).unwrap();
        std::fs::write(directory.path().join("ca.pem"), authority.pem()).unwrap();
        let issuer = Issuer::new(params, key);
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(vec!["127.0.0.1".to_owned()])
            .unwrap()
            .signed_by(&key, &issuer)
            .unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![leaf.der().clone()],
                PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            )
            .unwrap();
        Self::start_with(root, Some((Authority { directory }, Arc::new(config))))
    }

    fn start_with(root: &Path, tls: Option<(Authority, Arc<rustls::ServerConfig>)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (authority, config) = tls.unzip();
        let shared = Arc::new(Shared {
            root: root.to_owned(),
            behaviour: Mutex::new(Behaviour::Serve),
            requests: Mutex::default(),
            open: Mutex::default(),
            is_stopped: AtomicBool::new(false),
            tls: config,
        });
        let accepting = Arc::clone(&shared);
        let acceptor = std::thread::spawn(move || {
            let mut handlers = Vec::new();
            for stream in listener.incoming() {
                if accepting.is_stopped.load(Ordering::SeqCst) {
                    break;
                }
                let Ok(stream) = stream else { continue };
                accepting.open.lock().push(stream.try_clone().unwrap());
                let shared = Arc::clone(&accepting);
                handlers.push(std::thread::spawn(move || shared.connection(stream)));
            }
            for handler in handlers {
                handler.join().unwrap();
            }
        });
        Self {
            shared,
            address,
            acceptor: Some(acceptor),
            tls: authority,
        }
    }

    pub(crate) fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}/fabric.git", self.address)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The repository at this server, with its CA trusted.
    pub(crate) fn remote(&self) -> Remote {
        let remote = Remote::new(self.url().parse().unwrap());
        match &self.tls {
            Some(authority) => remote.with_authorities(authority.directory.path().join("ca.pem")),
            None => remote,
        }
    }

    pub(crate) fn behave(&self, behaviour: Behaviour) {
        *self.shared.behaviour.lock() = behaviour;
    }

    /// The requests since the last call.
    pub(crate) fn requests(&self) -> Vec<Request> {
        std::mem::take(&mut self.shared.requests.lock())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.is_stopped.store(true, Ordering::SeqCst);
        // Wakes whoever accepts or reads.
        let _ = TcpStream::connect(self.address);
        for stream in self.shared.open.lock().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        let acceptor = self.acceptor.take().unwrap();
        // A failed test is told by its own panic.
        let _ = acceptor.join();
    }
}

impl Shared {
    fn connection(&self, stream: TcpStream) {
        let open = stream.try_clone().unwrap();
        // A client that goes away in the middle is what several tests are about.
        let _ = match &self.tls {
            None => self.requests(stream),
            Some(config) => {
                let connection = rustls::ServerConnection::new(Arc::clone(config)).unwrap();
                self.requests(rustls::StreamOwned::new(connection, stream))
            }
        };
        // The list of open streams holds it too.
        let _ = open.shutdown(Shutdown::Both);
    }

    fn requests(&self, stream: impl Read + Write) -> std::io::Result<()> {
        let mut stream = BufReader::new(stream);
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let mut headers = HashMap::new();
            loop {
                let mut header = String::new();
                stream.read_line(&mut header)?;
                let Some((name, value)) = header.trim().split_once(':') else {
                    break;
                };
                headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
            }
            let length = headers
                .get("content-length")
                .map_or(0, |length| length.parse().unwrap());
            let mut body = vec![0; length];
            stream.read_exact(&mut body)?;
            let authorization = headers.get("authorization").cloned();
            self.requests.lock().push(Request {
                line: line.trim().to_owned(),
                authorization: authorization.clone(),
            });
            let target = line.split(' ').nth(1).unwrap_or_default().to_owned();
            let behaviour = self.behaviour.lock().clone();
            let answer = match behaviour {
                Behaviour::Silent => {
                    // Until the client goes or the server is dropped.
                    let _ = stream.read(&mut [0; 1]);
                    return Ok(());
                }
                Behaviour::Authorize(ref wanted) if authorization.as_ref() != Some(wanted) => {
                    page(401, "who are you?")
                }
                Behaviour::Status(status) => page(status, "<html>a page</html>"),
                Behaviour::Redirect(ref base) => {
                    let rest = target.strip_prefix("/fabric.git").unwrap();
                    format!("HTTP/1.1 302 x\r\nLocation: {base}{rest}\r\nContent-Length: 0\r\n\r\n")
                        .into_bytes()
                }
                Behaviour::Serve | Behaviour::Authorize(_) | Behaviour::Cut(_) => {
                    self.backend(&target, &headers, &body)
                }
            };
            if let (Behaviour::Cut(bytes), true) = (behaviour, length > 0) {
                // Shorter answers, as that to the question for the depth, come whole.
                let start = answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
                if let Some(part) = answer.get(..start + bytes) {
                    stream.get_mut().write_all(part)?;
                    stream.get_mut().flush()?;
                    return Ok(());
                }
            }
            stream.get_mut().write_all(&answer)?;
            stream.get_mut().flush()?;
        }
    }

    fn backend(&self, target: &str, headers: &HashMap<String, String>, body: &[u8]) -> Vec<u8> {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let is_post = !body.is_empty();
        let mut child = Command::new("git")
            .arg("http-backend")
            .env("GIT_PROJECT_ROOT", &self.root)
            .env("GIT_HTTP_EXPORT_ALL", "1")
            .env("PATH_INFO", path)
            .env("QUERY_STRING", query)
            .env("REQUEST_METHOD", if is_post { "POST" } else { "GET" })
            .env(
                "CONTENT_TYPE",
                headers.get("content-type").map_or("", String::as_str),
            )
            .env("CONTENT_LENGTH", body.len().to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(body).unwrap();
        let output = child.wait_with_output().unwrap().stdout;
        let end = output.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
        let mut status = "200 OK".to_owned();
        let mut head = String::new();
        for line in String::from_utf8_lossy(&output[..end]).lines() {
            match line.strip_prefix("Status: ") {
                Some(other) => status = other.to_owned(),
                None => head.push_str(&format!("{line}\r\n")),
            }
        }
        let content = &output[end + 4..];
        let length = content.len();
        let mut answer =
            format!("HTTP/1.1 {status}\r\n{head}Content-Length: {length}\r\n\r\n").into_bytes();
        answer.extend_from_slice(content);
        answer
    }
}

fn page(status: u16, text: &str) -> Vec<u8> {
    let length = text.len();
    format!(
        "HTTP/1.1 {status} x\r\nContent-Type: text/html\r\nContent-Length: {length}\r\n\r\n{text}"
    )
    .into_bytes()
}
