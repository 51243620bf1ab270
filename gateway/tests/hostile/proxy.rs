//! What sits between two gateways: a wire that breaks at a byte of choice.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// From who dialled.
    Up,
    /// To who dialled.
    Down,
}

/// What happens to a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// RST to both sides once so many bytes went that way.
    Reset(Way, usize),
    /// One bit of the byte there is another one.
    Flip(Way, usize),
    /// From there on nothing goes that way, and nobody is told.
    Swallow(Way, usize),
}

/// A proxy in front of one address; ends when dropped.
pub(crate) struct Proxy {
    pub address: SocketAddr,
    fault: Arc<Mutex<Fault>>,
    carried: Arc<[AtomicUsize; 2]>,
    struck: Arc<AtomicUsize>,
    accepted: Arc<AtomicUsize>,
    silent: watch::Sender<bool>,
    _tasks: JoinSet<()>,
}

/// One direction of one connection.
struct Wire {
    way: Way,
    fault: Fault,
    carried: Arc<[AtomicUsize; 2]>,
    struck: Arc<AtomicUsize>,
    silent: watch::Receiver<bool>,
}

// === impl Proxy ===

impl Proxy {
    pub(crate) async fn start(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let fault = Arc::new(Mutex::new(Fault::None));
        let carried: Arc<[AtomicUsize; 2]> = Arc::default();
        let struck = Arc::new(AtomicUsize::new(0));
        let accepted = Arc::new(AtomicUsize::new(0));
        let silent = watch::Sender::new(false);
        let mut tasks = JoinSet::new();
        let is_silent = silent.subscribe();
        let (current, counters) = (Arc::clone(&fault), Arc::clone(&carried));
        let (count, dialled) = (Arc::clone(&struck), Arc::clone(&accepted));
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((below, _)) = listener.accept().await {
                dialled.fetch_add(1, Ordering::SeqCst);
                let Ok(above) = TcpStream::connect(to).await else {
                    continue;
                };
                let fault = *current.lock();
                for counter in &*counters {
                    counter.store(0, Ordering::SeqCst);
                }
                let wire = |way| Wire {
                    way,
                    fault,
                    carried: Arc::clone(&counters),
                    struck: Arc::clone(&count),
                    silent: is_silent.clone(),
                };
                connections.spawn(carry(below, above, wire(Way::Up), wire(Way::Down)));
            }
        });
        Self {
            address,
            fault,
            carried,
            struck,
            accepted,
            silent,
            _tasks: tasks,
        }
    }

    /// What happens to connections from now on; those that live keep theirs.
    pub(crate) fn set(&self, fault: Fault) {
        *self.fault.lock() = fault;
    }

    /// Nothing goes either way any more on any connection, also on new ones, and nobody is told.
    pub(crate) fn fall_silent(&self) {
        self.silent.send_replace(true);
    }

    /// How many bytes went a way on the newest connection.
    pub(crate) fn carried(&self, way: Way) -> usize {
        self.carried[way as usize].load(Ordering::SeqCst)
    }

    /// How many connections there were.
    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    /// How many connections a fault has struck.
    pub(crate) fn struck(&self) -> usize {
        self.struck.load(Ordering::SeqCst)
    }
}

async fn carry(mut below: TcpStream, mut above: TcpStream, up: Wire, down: Wire) {
    let _ = below.set_nodelay(true);
    let _ = above.set_nodelay(true);
    let ended = {
        let (from_below, to_below) = below.split();
        let (from_above, to_above) = above.split();
        tokio::try_join!(
            up.pump(from_below, to_above),
            down.pump(from_above, to_below)
        )
    };
    if ended.is_err() {
        // RST, and not the end in order that a close would be.
        let _ = below.set_zero_linger();
        let _ = above.set_zero_linger();
    }
}

// === impl Wire ===

impl Wire {
    /// Carries one direction to its end; an error breaks both.
    async fn pump(mut self, mut from: ReadHalf<'_>, mut to: WriteHalf<'_>) -> io::Result<()> {
        let mut buffer = vec![0; 64 * 1024];
        let mut before = 0;
        loop {
            let length = from.read(&mut buffer).await?;
            if length == 0 {
                return to.shutdown().await;
            }
            let _ = self.silent.wait_for(|is_silent| !is_silent).await;
            let mut bytes = &mut buffer[..length];
            let here = |at: usize| (before..before + length).contains(&at).then(|| at - before);
            match self.fault {
                Fault::Reset(way, at) if way == self.way && at <= before + length => {
                    to.write_all(&bytes[..at.saturating_sub(before)]).await?;
                    self.struck.fetch_add(1, Ordering::SeqCst);
                    return Err(io::ErrorKind::ConnectionReset.into());
                }
                Fault::Flip(way, at) if way == self.way => {
                    if let Some(at) = here(at) {
                        bytes[at] ^= 0x10;
                        self.struck.fetch_add(1, Ordering::SeqCst);
                    }
                }
                Fault::Swallow(way, at) if way == self.way => {
                    if here(at).is_some() {
                        self.struck.fetch_add(1, Ordering::SeqCst);
                    }
                    bytes = &mut bytes[..at.saturating_sub(before).min(length)];
                }
                _ => {}
            }
            before += length;
            self.carried[self.way as usize].fetch_add(length, Ordering::SeqCst);
            to.write_all(bytes).await?;
        }
    }
}
