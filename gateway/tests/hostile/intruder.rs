//! A peer that speaks for itself, byte by byte.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use fabric::attributes::Client;
use gateway::tunnel::frame::{Frame, Hello, Open};
use rustls::ClientConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::common::any_server::AnyServer;
use crate::common::authority::Leaf;
use crate::common::soon;

/// The credit that an intruder gives for each tunnel towards itself.
pub(crate) const WINDOW: u32 = 64 * 1024;

/// A connection to a gateway, made by hand.
pub(crate) struct Intruder {
    pub stream: TlsStream<TcpStream>,
    pub buffer: BytesMut,
}

/// A TCP connection from one of this host's loopback addresses.
pub(crate) async fn connect_from(from: Ipv4Addr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((from, 0).into())?;
    socket.connect(to).await
}

/// TLS as a peer speaks it that shows `leaf`.
pub(crate) fn tls(leaf: &Leaf, alpn: &[u8]) -> TlsConnector {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let chain = CertificateDer::pem_file_iter(&leaf.files.certificate).unwrap();
    let key = PrivateKeyDer::from_pem_file(&leaf.files.key).unwrap();
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyServer))
        .with_client_auth_cert(chain.map(Result::unwrap).collect(), key)
        .unwrap();
    if !alpn.is_empty() {
        config.alpn_protocols = vec![alpn.to_vec()];
    }
    TlsConnector::from(Arc::new(config))
}

/// Asks for an export.
pub(crate) fn open(id: u32, export: &str) -> Frame {
    open_as(id, export, None)
}

/// Asks for an export in the name of a client.
pub(crate) fn open_as(id: u32, export: &str, client: Option<Client>) -> Frame {
    let open = Open {
        request: [id as u8; 16],
        export: export.parse().unwrap(),
        client: client.map(Arc::new),
        via: Vec::new(),
        trace: None,
    };
    Frame::Open(id, Box::new(open))
}

pub(crate) fn data(tunnel: u32, payload: impl Into<Bytes>) -> Frame {
    Frame::Data {
        tunnel,
        payload: payload.into(),
        end: false,
    }
}

// === impl Intruder ===

impl Intruder {
    /// A TLS connection to a gateway.
    pub(crate) async fn connect(to: SocketAddr, leaf: &Leaf, alpn: &[u8]) -> io::Result<Self> {
        let socket = TcpStream::connect(to).await?;
        let name = ServerName::try_from("east").unwrap();
        let stream = tls(leaf, alpn).connect(name, socket).await?;
        Ok(Self {
            stream,
            buffer: BytesMut::new(),
        })
    }

    /// A connection that speaks `weft/1`, with the hello behind it.
    pub(crate) async fn greeted(to: SocketAddr, leaf: &Leaf) -> Self {
        let mut intruder = Self::connect(to, leaf, b"weft/1").await.unwrap();
        intruder.hello().await;
        intruder
    }

    pub(crate) async fn hello(&mut self) {
        let hello = Hello {
            minor: 0,
            capabilities: 0,
            window: WINDOW,
            tunnels: 10_000,
        };
        self.send(&Frame::Hello(hello)).await;
        let answer = self.receive().await;
        assert!(matches!(answer, Some(Frame::Hello(_))), "{answer:?}");
    }

    pub(crate) async fn send(&mut self, frame: &Frame) {
        self.bytes(&frame.encode().unwrap()).await;
    }

    /// Sends bytes; that the other side has hung up meanwhile shows at the next read.
    pub(crate) async fn bytes(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
        let _ = self.stream.flush().await;
    }

    /// The next frame that isn't a heartbeat; none at the end.
    pub(crate) async fn receive(&mut self) -> Option<Frame> {
        loop {
            match Frame::decode(&mut self.buffer).unwrap() {
                Some(Frame::Ping(beat)) => self.send(&Frame::Pong(beat)).await,
                Some(frame) => return Some(frame),
                None => {
                    let read = self.stream.read_buf(&mut self.buffer);
                    if soon("a frame or the end", read).await.unwrap_or(0) == 0 {
                        return None;
                    }
                }
            }
        }
    }

    /// Opens a tunnel, and waits until it is answered.
    pub(crate) async fn opened(&mut self, id: u32, export: &str) {
        self.send(&open(id, export)).await;
        // Credit of other tunnels may come between.
        let answer = loop {
            match self.receive().await {
                Some(Frame::Window(..)) => {}
                answer => break answer,
            }
        };
        assert_eq!(answer, Some(Frame::Accept(id)));
    }

    /// Reads until the gateway has hung up.
    pub(crate) async fn hung_up_on(&mut self) {
        while self.receive().await.is_some() {}
    }
}
