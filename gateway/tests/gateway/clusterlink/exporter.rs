//! A ClusterLink peer that exports: its gateway, which remembers what it was asked.

use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::common::authority::{Authority, Leaf};

/// What it answers.
#[derive(Clone, Copy)]
pub(super) struct Manners {
    pub version: &'static SupportedProtocolVersion,
    /// What it speaks, if it says so.
    pub protocol: &'static str,
    pub authorize: u16,
    pub connect: u16,
    /// Whether each answer ends its connection.
    pub closes: bool,
    /// What the service says first, in one record with the answer to CONNECT.
    pub banner: &'static str,
}

/// The token that it gives out.
pub(super) const TOKEN: &str = "eyJhbGciOiJIUzI1NiJ9.opaque.token";

pub(super) const GOOD: Manners = Manners {
    version: &rustls::version::TLS12,
    protocol: "",
    authorize: 200,
    connect: 200,
    closes: false,
    banner: "",
};

/// The gateway; ends when dropped.
pub(super) struct Exporter {
    pub address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
    tasks: JoinSet<()>,
}

impl Exporter {
    pub(super) async fn start(authority: &Authority, leaf: &Leaf, manners: Manners) -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        let root = CertificateDer::from(authority.certificate().der().to_vec());
        roots.add(root).unwrap();
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .build()
                .unwrap();
        let chain = CertificateDer::pem_file_iter(&leaf.files.certificate).unwrap();
        let key = PrivateKeyDer::from_pem_file(&leaf.files.key).unwrap();
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[manners.version])
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain.map(Result::unwrap).collect(), key)
            .unwrap();
        if !manners.protocol.is_empty() {
            config.alpn_protocols = vec![manners.protocol.into()];
        }
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (seen, mut tasks) = (Arc::clone(&requests), JoinSet::new());
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                let (acceptor, seen) = (acceptor.clone(), Arc::clone(&seen));
                connections.spawn(async move {
                    if let Ok(stream) = acceptor.accept(socket).await {
                        serve(stream, &manners, &seen).await;
                    }
                });
            }
        });
        Self {
            address,
            requests,
            tasks,
        }
    }

    /// The whole requests that begin like this.
    pub(super) fn asked(&self, with: &str) -> Vec<String> {
        let requests = self.requests.lock();
        let wanted = |request: &&String| request.starts_with(with);
        requests.iter().filter(wanted).cloned().collect()
    }

    /// Ends it, with all its connections.
    pub(super) async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}

async fn serve(mut stream: TlsStream<TcpStream>, manners: &Manners, requests: &Mutex<Vec<String>>) {
    let mut buffer = Vec::new();
    loop {
        let Some(request) = request(&mut stream, &mut buffer).await else {
            return;
        };
        requests.lock().push(request.clone());
        let (status, headers) = match request.split(' ').next() {
            Some("GET") => (200, "ClusterLinkPeerLabels: bnVsbA==\r\n".to_owned()),
            Some("POST") => (manners.authorize, format!("x-access-token: {TOKEN}\r\n")),
            _ => (manners.connect, String::new()),
        };
        let is_tunnel = request.starts_with("CONNECT") && status == 200;
        let length = if is_tunnel {
            ""
        } else {
            "content-length: 0\r\n"
        };
        let close = if manners.closes && !is_tunnel {
            "connection: close\r\n"
        } else {
            ""
        };
        let mut answer =
            format!("HTTP/1.1 {status} X\r\nserver: envoy\r\n{headers}{length}{close}\r\n");
        if is_tunnel {
            // Whoever sends before the answer has it lost.
            assert_eq!(buffer, b"", "sent before the answer");
            answer.push_str(manners.banner);
        }
        if stream.write_all(answer.as_bytes()).await.is_err() || stream.flush().await.is_err() {
            return;
        }
        if is_tunnel {
            return echo(stream).await;
        }
        if manners.closes {
            let _ = stream.shutdown().await;
            return;
        }
    }
}

/// The end of one direction is the end of both, as in ClusterLink's data planes.
async fn echo(mut stream: TlsStream<TcpStream>) {
    let mut buffer = [0; 1024];
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        if stream.write_all(&buffer[..length]).await.is_err() || stream.flush().await.is_err() {
            return;
        }
    }
    let _ = stream.shutdown().await;
}

async fn request(stream: &mut TlsStream<TcpStream>, buffer: &mut Vec<u8>) -> Option<String> {
    loop {
        let text = String::from_utf8_lossy(buffer).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .map_or(0, |length| length.parse().unwrap());
            if body.len() >= length {
                let whole = head.len() + 4 + length;
                let rest = buffer.split_off(whole);
                let request = std::mem::replace(buffer, rest);
                return Some(String::from_utf8(request).unwrap());
            }
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
}
