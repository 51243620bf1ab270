//! Services to export: each on an address of its own, until it is dropped.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use rand::{RngCore, SeedableRng, rngs::StdRng};

use crate::network::Loopback;
use crate::wait::DEADLINE;

/// The port of every service.
const PORT: u16 = 8000;

/// A TCP service that treats every connection in a thread of its own.
#[derive(Debug)]
pub struct Service {
    address: SocketAddr,
    accepted: Arc<AtomicUsize>,
    ends: Arc<AtomicBool>,
    _loopback: Loopback,
}

/// A stream of bytes in which no block equals another, without an end.
///
/// Cheaper to compare than a digest is to compute, and a lost, doubled, swapped or altered block
/// shows at the place where it is.
#[derive(Debug)]
pub struct Pattern {
    block: Vec<u8>,
    index: u64,
}

// === impl Service ===

impl Service {
    /// Sends back every byte as it comes, and ends when the client ends.
    pub fn echo() -> Self {
        Self::new(|mut stream| {
            let mut reader = stream.try_clone()?;
            io::copy(&mut reader, &mut stream)?;
            stream.shutdown(Shutdown::Write)
        })
    }

    /// Answers only after the client has ended its half: with everything that it sent.
    pub fn echo_after_end() -> Self {
        Self::new(|mut stream| {
            let mut bytes = Vec::new();
            stream.read_to_end(&mut bytes)?;
            stream.write_all(&bytes)?;
            stream.shutdown(Shutdown::Write)
        })
    }

    /// Greets the client before it says anything, then is an echo.
    pub fn banner(banner: &'static str) -> Self {
        Self::new(move |mut stream| {
            stream.write_all(banner.as_bytes())?;
            let mut reader = stream.try_clone()?;
            io::copy(&mut reader, &mut stream)?;
            stream.shutdown(Shutdown::Write)
        })
    }

    /// Answers each HTTP/1.1 request with its own method, path and body, and keeps the connection.
    pub fn http() -> Self {
        Self::new(answer_http)
    }

    /// Sends `bytes` of the [`Pattern`] of `seed` while it checks that it gets as many of the
    /// pattern of `seed + 1`; what it got wrong is the last line it sends.
    pub fn exchange(seed: u64, bytes: u64) -> Self {
        Self::new(move |stream| {
            let result = exchange_patterns(&stream, seed, seed + 1, bytes);
            let verdict = result.map_or_else(|error| error.to_string(), |()| "intact".to_owned());
            (&stream).write_all(verdict.as_bytes())?;
            stream.shutdown(Shutdown::Write)
        })
    }

    fn new(treat: impl Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static) -> Self {
        let loopback = Loopback::take();
        let address = loopback.at(PORT);
        let listener = TcpListener::bind(address).expect("the address is ours");
        let accepted = Arc::new(AtomicUsize::new(0));
        let ends = Arc::new(AtomicBool::new(false));
        let treat = Arc::new(treat);
        let (counter, over) = (Arc::clone(&accepted), Arc::clone(&ends));
        thread::spawn(move || {
            for stream in listener.incoming() {
                if over.load(Ordering::SeqCst) {
                    break;
                }
                let Ok(stream) = stream else { continue };
                counter.fetch_add(1, Ordering::SeqCst);
                let treat = Arc::clone(&treat);
                // A client that goes away is no failure of the service; the test sees its own end.
                thread::spawn(move || treat(stream).ok());
            }
        });
        Self {
            address,
            accepted,
            ends,
            _loopback: loopback,
        }
    }

    /// Where the service listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections it has accepted.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::SeqCst);
        // Wakes the thread, so that it sees the end.
        let _ = TcpStream::connect_timeout(&self.address, DEADLINE);
    }
}

// === impl Pattern ===

impl Pattern {
    /// What one block holds.
    const BLOCK: usize = 64 << 10;

    /// The pattern of a seed.
    pub fn new(seed: u64) -> Self {
        let mut block = vec![0; Self::BLOCK];
        StdRng::seed_from_u64(seed).fill_bytes(&mut block);
        Self { block, index: 0 }
    }

    /// The next block.
    pub fn next_block(&mut self) -> &[u8] {
        let (mark, _) = self.block.split_at_mut(8);
        mark.copy_from_slice(&self.index.to_be_bytes());
        self.index += 1;
        &self.block
    }
}

/// Sends `bytes` of one pattern while it checks that as many of another one come in.
pub fn exchange_patterns(stream: &TcpStream, sent: u64, wanted: u64, bytes: u64) -> io::Result<()> {
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.set_write_timeout(Some(DEADLINE))?;
    let blocks = bytes / Pattern::BLOCK as u64;
    thread::scope(|scope| {
        let sender = scope.spawn(move || {
            let (mut stream, mut pattern) = (stream, Pattern::new(sent));
            (0..blocks).try_for_each(|_| stream.write_all(pattern.next_block()))
        });
        let (mut stream, mut pattern) = (stream, Pattern::new(wanted));
        let mut block = vec![0; Pattern::BLOCK];
        // To the end also after a difference, so that the other side can send all of its own.
        let mut different = None;
        for index in 0..blocks {
            stream.read_exact(&mut block)?;
            if block != pattern.next_block() && different.is_none() {
                different = Some(index);
            }
        }
        sender.join().expect("the sender doesn't panic")?;
        match different {
            Some(index) => Err(io::Error::other(format!(
                "block {index} isn't what was sent"
            ))),
            None => Ok(()),
        }
    })
}

fn answer_http(mut stream: TcpStream) -> io::Result<()> {
    let mut reader = io::BufReader::new(stream.try_clone()?);
    loop {
        let Some((head, length)) = read_head(&mut reader)? else {
            return Ok(());
        };
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let request = head.lines().next().unwrap_or_default();
        let answer = format!("{request}\n{}", String::from_utf8_lossy(&body));
        let ends = request.ends_with("HTTP/1.0");
        write!(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: {}\r\n\r\n{answer}",
            answer.len(),
            if ends { "close" } else { "keep-alive" },
        )?;
        if ends {
            return stream.shutdown(Shutdown::Write);
        }
    }
}

/// A request's head and its body's length; none when the client has ended.
fn read_head(reader: &mut impl io::BufRead) -> io::Result<Option<(String, usize)>> {
    let mut head = String::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        if line == "\r\n" {
            break;
        }
        head.push_str(&line);
    }
    let length = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse().ok());
    Ok(Some((head, length.unwrap_or(0))))
}
