//! The handshake of a connection that carries tunnels, driven over a socket.

use std::io;
use std::sync::Arc;

use bytes::{Buf, BytesMut};
use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::server::{Accepted, Acceptor, ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, UnbufferedStatus};
use rustls::{ClientConfig, CommonState, Error, PeerIncompatible, ProtocolVersion, ServerConfig};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::ALPN_WEFT;
use super::record::{Opener, Sealer, records};
use crate::tunnel::Link;

/// What a handshake may need: the largest message that rustls takes, and some.
const MAX_HANDSHAKE: usize = 80 * 1024;

/// The longest record: with a header that says more, it isn't TLS.
const MAX_RECORD: usize = 5 + 16 * 1024 + 2048;

/// A connection that is ready to carry tunnels, and who is at its other end.
pub(crate) struct Secured {
    pub link: Link,
    /// The chain that the other side showed, its own certificate first.
    pub chain: Vec<CertificateDer<'static>>,
    /// Whether both sides agreed on tunnels.
    pub is_weft: bool,
}

/// What a client of the gateway's port asks for.
pub(crate) enum Greeting {
    /// Tunnels; with what was received so far.
    Weft(BytesMut),
    /// Anything else.
    Other(Box<Accepted>),
}

/// Reads a ClientHello, and whether it asks for tunnels.
pub(crate) async fn greeting(socket: &mut TcpStream) -> io::Result<Greeting> {
    let mut acceptor = Acceptor::default();
    let mut received = BytesMut::with_capacity(4 * 1024);
    loop {
        let fed = received.len();
        read(socket, &mut received).await?;
        let mut new = received.get(fed..).unwrap_or_default();
        while !new.is_empty() {
            acceptor.read_tls(&mut new)?;
        }
        match acceptor.accept() {
            Ok(Some(accepted)) => {
                let hello = accepted.client_hello();
                let is_weft = hello
                    .alpn()
                    .is_some_and(|mut asked| asked.any(|protocol| protocol == ALPN_WEFT));
                return Ok(if is_weft {
                    Greeting::Weft(received)
                } else {
                    Greeting::Other(Box::new(accepted))
                });
            }
            Ok(None) => {}
            Err((error, mut alert)) => {
                let mut bytes = Vec::new();
                alert.write_all(&mut bytes)?;
                let _ = socket.write_all(&bytes).await;
                return Err(failed(error));
            }
        }
    }
}

/// Answers a handshake of which `received` was read.
pub(crate) async fn accept(
    config: Arc<ServerConfig>,
    socket: TcpStream,
    received: BytesMut,
) -> io::Result<Secured> {
    answer(config, socket, received).await.map(Shaken::secured)
}

/// Makes a handshake with a server.
pub(crate) async fn connect(
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    socket: TcpStream,
) -> io::Result<Secured> {
    ask(config, name, socket).await.map(Shaken::secured)
}

/// What is there after a handshake.
pub(super) struct Shaken {
    pub(super) socket: TcpStream,
    pub(super) sealer: Sealer,
    pub(super) opener: Opener,
    /// What was read behind the handshake.
    pub(super) received: BytesMut,
    chain: Vec<CertificateDer<'static>>,
    is_weft: bool,
}

pub(super) async fn answer(
    config: Arc<ServerConfig>,
    mut socket: TcpStream,
    mut received: BytesMut,
) -> io::Result<Shaken> {
    let mut connection = UnbufferedServerConnection::new(config).map_err(failed)?;
    shake(&mut connection, &mut socket, &mut received).await?;
    let (chain, is_weft) = other_side(&connection)?;
    let (secrets, connection) = connection
        .dangerous_into_kernel_connection()
        .map_err(failed)?;
    let (sealer, opener) = records(secrets, connection).map_err(failed)?;
    Ok(Shaken {
        socket,
        sealer,
        opener,
        received,
        chain,
        is_weft,
    })
}

pub(super) async fn ask(
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    mut socket: TcpStream,
) -> io::Result<Shaken> {
    let mut connection = UnbufferedClientConnection::new(config, name).map_err(failed)?;
    let mut received = BytesMut::with_capacity(4 * 1024);
    shake(&mut connection, &mut socket, &mut received).await?;
    let (chain, is_weft) = other_side(&connection)?;
    let (secrets, connection) = connection
        .dangerous_into_kernel_connection()
        .map_err(failed)?;
    let (sealer, opener) = records(secrets, connection).map_err(failed)?;
    Ok(Shaken {
        socket,
        sealer,
        opener,
        received,
        chain,
        is_weft,
    })
}

// === impl Shaken ===

impl Shaken {
    fn secured(self) -> Secured {
        let halves = self.socket.into_split();
        Secured {
            link: Link::new(halves, self.sealer, self.opener, self.received),
            chain: self.chain,
            is_weft: self.is_weft,
        }
    }
}

fn other_side(connection: &CommonState) -> io::Result<(Vec<CertificateDer<'static>>, bool)> {
    if connection.protocol_version() != Some(ProtocolVersion::TLSv1_3) {
        return Err(failed(PeerIncompatible::Tls12NotOffered.into()));
    }
    let chain = connection
        .peer_certificates()
        .unwrap_or_default()
        .iter()
        .map(|certificate| certificate.clone().into_owned());
    let is_weft = connection.alpn_protocol() == Some(ALPN_WEFT);
    Ok((chain.collect(), is_weft))
}

/// One side of a handshake.
pub(super) trait Side:
    std::ops::Deref<Target: std::ops::Deref<Target = CommonState>>
{
    type Data;

    fn process<'c, 'i>(&'c mut self, records: &'i mut [u8])
    -> UnbufferedStatus<'c, 'i, Self::Data>;
}

impl Side for UnbufferedClientConnection {
    type Data = ClientConnectionData;

    fn process<'c, 'i>(
        &'c mut self,
        records: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(records)
    }
}

impl Side for UnbufferedServerConnection {
    type Data = ServerConnectionData;

    fn process<'c, 'i>(
        &'c mut self,
        records: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(records)
    }
}

/// What a handshake needs next.
enum Next {
    Again,
    Send,
    Receive,
    Failed(io::Error),
}

/// Makes the handshake. What is received behind it stays in `received` as it came: rustls sees one
/// record after the other, since it would open whatever it sees.
pub(super) async fn shake(
    side: &mut impl Side,
    socket: &mut TcpStream,
    received: &mut BytesMut,
) -> io::Result<()> {
    let mut offered = 0;
    let mut out = Vec::new();
    let mut failure = None;
    loop {
        let records = received.get_mut(..offered).unwrap_or_default();
        let UnbufferedStatus { discard, state } = side.process(records);
        let next = match state {
            Ok(ConnectionState::EncodeTlsData(mut data)) => {
                let at = out.len();
                match data.encode(&mut []) {
                    Err(EncodeError::InsufficientSize(size)) => {
                        out.resize(at + size.required_size, 0);
                        let room = out.get_mut(at..).unwrap_or_default();
                        match data.encode(room) {
                            Ok(_) => Next::Again,
                            Err(error) => Next::Failed(io::Error::other(error)),
                        }
                    }
                    Ok(_) => Next::Again,
                    Err(error) => Next::Failed(io::Error::other(error)),
                }
            }
            Ok(ConnectionState::TransmitTlsData(data)) => {
                data.done();
                Next::Send
            }
            Ok(ConnectionState::BlockedHandshake | ConnectionState::WriteTraffic(_)) => {
                Next::Receive
            }
            Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => {
                Next::Failed(io::ErrorKind::UnexpectedEof.into())
            }
            Ok(_) => Next::Failed(failed(Error::General(
                "data before the end of the handshake".to_owned(),
            ))),
            Err(error) => Next::Failed(failed(error)),
        };
        received.advance(discard);
        offered = offered.saturating_sub(discard);
        match next {
            Next::Again => {}
            Next::Send => {
                let sent = socket.write_all(&out).await;
                out.clear();
                sent.map_err(|error| failure.take().unwrap_or(error))?;
            }
            Next::Receive if failure.is_some() || !side.is_handshaking() => {
                socket.flush().await?;
                return failure.map_or(Ok(()), Err);
            }
            Next::Receive => offered += record(socket, received, offered).await?,
            // What rustls has to say of it is still to be sent, once.
            Next::Failed(error) if failure.is_none() => failure = Some(error),
            Next::Failed(error) => {
                let _ = socket.write_all(&out).await;
                return Err(failure.unwrap_or(error));
            }
        }
    }
}

/// Reads until there is a whole record behind `offset`; its length.
async fn record(
    socket: &mut TcpStream,
    received: &mut BytesMut,
    offset: usize,
) -> io::Result<usize> {
    loop {
        let behind = received.get(offset..).unwrap_or_default();
        if let Some(&[_, _, _, high, low]) = behind.first_chunk() {
            let length = 5 + usize::from(u16::from_be_bytes([high, low]));
            if behind.len() >= length || length > MAX_RECORD {
                return Ok(behind.len().min(length));
            }
        }
        read(socket, received).await?;
    }
}

async fn read(socket: &mut TcpStream, received: &mut BytesMut) -> io::Result<()> {
    if received.len() >= MAX_HANDSHAKE {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "a handshake without end",
        ));
    }
    received.reserve(2 * 1024);
    if socket.read_buf(received).await? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}

fn failed(error: Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
