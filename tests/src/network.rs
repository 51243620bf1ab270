//! Addresses of a test's own, and what talks over them.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use rand::Rng;

use crate::wait::DEADLINE;

/// The port by which a loopback address is taken: below the ports that the system gives out, and
/// nobody's.
const LOCK_PORT: u16 = 24_039;

/// A loopback address that no other test on the machine uses as long as this lives.
///
/// All of 127.0.0.0/8 is this host, so every peer gets an address of its own and keeps its usual
/// ports; a port can't be taken by someone else between two starts.
#[derive(Debug)]
pub struct Loopback {
    address: Ipv4Addr,
    _lock: TcpListener,
}

// === impl Loopback ===

impl Loopback {
    /// An address that is free.
    pub fn take() -> Self {
        loop {
            let random: [u8; 3] = rand::rng().random();
            // Neither 127.0.x.y, where people's own services are, nor an end of a range.
            let address = Ipv4Addr::new(
                127,
                random[0].clamp(1, 254),
                random[1],
                random[2].clamp(2, 253),
            );
            match TcpListener::bind((address, LOCK_PORT)) {
                Ok(lock) => {
                    return Self {
                        address,
                        _lock: lock,
                    };
                }
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                Err(error) => panic!("no loopback address can be had: {error}"),
            }
        }
    }

    /// The address.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// The address with a port.
    pub fn at(&self, port: u16) -> SocketAddr {
        (self.address, port).into()
    }
}

/// Connects, with a deadline for everything that follows.
pub fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, DEADLINE)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.set_write_timeout(Some(DEADLINE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// An answer to an HTTP request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The body.
    pub body: String,
}

/// Sends a GET request over a connection of its own and reads the whole answer.
pub fn http_get(address: SocketAddr, path: &str) -> io::Result<Answer> {
    http(
        address,
        &format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n"),
    )
}

/// Sends a POST request with one more header, and reads the whole answer.
pub fn http_post(address: SocketAddr, path: &str, header: &str, body: &str) -> io::Result<Answer> {
    let length = body.len();
    http(
        address,
        &format!(
            "POST {path} HTTP/1.0\r\nHost: {address}\r\nContent-Length: {length}\r\n{header}\r\n\r\n{body}"
        ),
    )
}

/// HTTP/1.0: the answer ends with the connection and is never chunked.
fn http(address: SocketAddr, request: &str) -> io::Result<Answer> {
    let mut stream = connect(address)?;
    // A dead peer shows at the first request; the usual deadline would hide that for long.
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    stream.write_all(request.as_bytes())?;
    let mut text = Vec::new();
    stream.read_to_end(&mut text)?;
    let text = String::from_utf8_lossy(&text);
    let invalid = || {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("not an HTTP answer: {text:?}"),
        )
    };
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(invalid)?;
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
    Ok(Answer {
        status: status.ok_or_else(invalid)?,
        body: body.to_owned(),
    })
}

/// The same as [`connect`], from an address of this host.
pub fn connect_from(from: Ipv4Addr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = rustix::net::socket(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::STREAM,
        None,
    )?;
    rustix::net::bind(&socket, &SocketAddr::from((from, 0)))?;
    rustix::net::connect(&socket, &to)?;
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.set_write_timeout(Some(DEADLINE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The same as [`exchange`], from an address of this host.
pub fn exchange_from(from: Ipv4Addr, to: SocketAddr, bytes: &[u8]) -> io::Result<Vec<u8>> {
    exchange_over(connect_from(from, to)?, bytes)
}

/// Sends bytes, ends the sending half, and reads what comes back to its end.
pub fn exchange(address: SocketAddr, bytes: &[u8]) -> io::Result<Vec<u8>> {
    exchange_over(connect(address)?, bytes)
}

fn exchange_over(mut stream: TcpStream, bytes: &[u8]) -> io::Result<Vec<u8>> {
    stream.write_all(bytes)?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(answer)
}
