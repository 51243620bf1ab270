//! A ClusterLink peer that imports: its control plane's and its data plane's requests.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustls::{ClientConfig, SupportedProtocolVersion};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::common::any_server::AnyServer;
use crate::common::authority::Leaf;
use crate::common::soon;

/// How a connection is made.
#[derive(Clone, Copy)]
pub(super) struct Terms {
    pub version: &'static SupportedProtocolVersion,
    pub alpn: Option<&'static [u8]>,
}

/// As ClusterLink's Envoy connects.
pub(super) const ENVOY: Terms = Terms {
    version: &rustls::version::TLS12,
    alpn: Some(b"http/1.1"),
};

/// As ClusterLink's control plane, and its data plane in Go, connect.
pub(super) const GO: Terms = Terms {
    version: &rustls::version::TLS13,
    alpn: None,
};

/// One connection to a gateway.
pub(super) struct Caller {
    stream: TlsStream<ByRecord>,
    /// What was read beyond the last answer.
    pub rest: Vec<u8>,
}

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

/// A socket from which a read takes no more than one TLS record.
struct ByRecord {
    socket: TcpStream,
    header: Vec<u8>,
    left: usize,
}

impl Caller {
    pub(super) async fn connect(to: SocketAddr, leaf: &Leaf, terms: Terms) -> io::Result<Self> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let chain = CertificateDer::pem_file_iter(&leaf.files.certificate).unwrap();
        let key = PrivateKeyDer::from_pem_file(&leaf.files.key).unwrap();
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[terms.version])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyServer))
            .with_client_auth_cert(chain.map(Result::unwrap).collect(), key)
            .unwrap();
        config.alpn_protocols = terms.alpn.map(<[u8]>::to_vec).into_iter().collect();
        let socket = ByRecord {
            socket: TcpStream::connect(to).await?,
            header: Vec::new(),
            left: 0,
        };
        let name = ServerName::try_from("east").unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        let stream = soon("the handshake", connector.connect(name, socket)).await?;
        Ok(Self {
            stream,
            rest: Vec::new(),
        })
    }

    pub(super) async fn send(&mut self, text: &str) -> io::Result<()> {
        self.stream.write_all(text.as_bytes()).await?;
        self.stream.flush().await
    }

    /// The answer to a request that is written out.
    pub(super) async fn ask(&mut self, request: &str) -> io::Result<Answer> {
        self.send(request).await?;
        self.answer().await
    }

    pub(super) async fn answer(&mut self) -> io::Result<Answer> {
        let end = loop {
            if let Some(at) = self.rest.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            self.more().await?;
        };
        let head: Vec<u8> = self.rest.drain(..end).collect();
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap();
        let status = status.parse().unwrap();
        let headers: BTreeMap<_, _> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let length: usize = headers
            .get("content-length")
            .map_or(0, |length| length.parse().unwrap());
        while self.rest.len() < length {
            self.more().await?;
        }
        let body = String::from_utf8(self.rest.drain(..length).collect()).unwrap();
        Ok(Answer {
            status,
            headers,
            body,
        })
    }

    /// Exactly this many bytes.
    pub(super) async fn read(&mut self, length: usize) -> io::Result<String> {
        while self.rest.len() < length {
            self.more().await?;
        }
        Ok(String::from_utf8(self.rest.drain(..length).collect()).unwrap())
    }

    /// Reads until the end, which has to come in order.
    pub(super) async fn until_end(&mut self) -> io::Result<String> {
        let rest = soon("the end", self.stream.read_to_end(&mut self.rest)).await;
        rest.map(|_| String::from_utf8(std::mem::take(&mut self.rest)).unwrap())
    }

    /// Ends this direction.
    pub(super) async fn end(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    async fn more(&mut self) -> io::Result<()> {
        // What one record held: a read would go on to the next.
        let bytes = soon("more", self.stream.fill_buf()).await?;
        self.rest.extend_from_slice(bytes);
        let length = bytes.len();
        self.stream.consume(length);
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }

    pub(super) async fn health(&mut self) -> io::Result<Answer> {
        self.ask(
            "GET /healthz HTTP/1.1\r\nHost: 10.0.0.7:443\r\nUser-Agent: Go-http-client/1.1\r\n\r\n",
        )
        .await
    }

    /// Asks for access to an export in the namespace `shop`, for a client with these attributes.
    pub(super) async fn authorize(
        &mut self,
        export: &str,
        attributes: &[(&str, &str)],
    ) -> io::Result<Answer> {
        let attributes: BTreeMap<_, _> = attributes.iter().copied().collect();
        let body = serde_json::json!({
            "ServiceName": export,
            "ServiceNamespace": "shop",
            "SrcAttributes": attributes,
        });
        self.post(&body.to_string()).await
    }

    pub(super) async fn post(&mut self, body: &str) -> io::Result<Answer> {
        let head = format!(
            "POST /authz HTTP/1.1\r\nHost: 10.0.0.7:443\r\n\
             Content-Type: application/json; charset=utf-8\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        self.ask(&(head + body)).await
    }

    /// Opens the tunnel, as ClusterLink's Envoy does.
    pub(super) async fn tunnel(&mut self, token: &str) -> io::Result<Answer> {
        self.ask(&connect(token)).await
    }
}

/// CONNECT as ClusterLink's Envoy sends it.
pub(super) fn connect(token: &str) -> String {
    format!(
        "CONNECT east:443 HTTP/1.1\r\nhost: east:443\r\nx-import-name: ledger\r\n\
         x-import-namespace: shop\r\nx-client-ip: 10.1.2.3\r\nx-forwarded-proto: http\r\n\
         x-request-id: 5\r\nauthorization: Bearer {token}\r\n\
         x-envoy-expected-rq-timeout-ms: 15000\r\nx-envoy-original-host: remote-peer-east\r\n\r\n"
    )
}

impl Answer {
    pub(super) fn token(&self) -> String {
        assert_eq!(self.status, 200, "{self:?}");
        self.headers["x-access-token"].clone()
    }
}

impl AsyncRead for ByRecord {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while this.left == 0 && this.header.len() < 5 {
            let mut room = [0; 5];
            let mut part = ReadBuf::new(&mut room[..5 - this.header.len()]);
            ready!(Pin::new(&mut this.socket).poll_read(context, &mut part))?;
            if part.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            this.header.extend_from_slice(part.filled());
        }
        if this.header.len() == 5 {
            this.left = usize::from(u16::from_be_bytes([this.header[3], this.header[4]]));
            buffer.put_slice(&this.header);
            this.header.clear();
            return Poll::Ready(Ok(()));
        }
        let mut room = vec![0; this.left.min(buffer.remaining())];
        let mut part = ReadBuf::new(&mut room);
        ready!(Pin::new(&mut this.socket).poll_read(context, &mut part))?;
        let length = part.filled().len();
        buffer.put_slice(part.filled());
        this.left -= length;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ByRecord {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}
