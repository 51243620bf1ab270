//! The service behind the gateways: it swallows, sends or answers, as a connection's first byte says.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

/// How much is read and written at once in bulk, as iperf3 and most services do or more.
pub const BLOCK: usize = 256 * 1024;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The service reads what comes until the end.
    Upload,
    /// The service sends until it can't any more.
    Download,
    /// The service answers each message of so many bytes with one of the same length.
    Answer(usize),
}

/// A running service; it ends when it is dropped.
#[derive(Debug)]
pub struct Service {
    addresses: Vec<SocketAddr>,
    counts: Arc<Counts>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Counts {
    received: AtomicU64,
    open: AtomicUsize,
}

// === impl Mode ===

impl Mode {
    /// The first byte of a connection's first message.
    #[must_use]
    pub const fn byte(self) -> u8 {
        match self {
            Self::Upload => b'u',
            Self::Download => b'd',
            Self::Answer(length) => match length {
                SHORT => b's',
                _ => b'p',
            },
        }
    }

    const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            b'u' => Some(Self::Upload),
            b'd' => Some(Self::Download),
            b's' => Some(Self::Answer(SHORT)),
            b'p' => Some(Self::Answer(PING)),
            _ => None,
        }
    }
}

/// The length of a short connection's one message and its answer.
pub const SHORT: usize = 100;

/// The length of a ping and its answer.
pub const PING: usize = 1024;

// === impl Service ===

impl Service {
    /// Starts a service on a thread of its own, at so many ports.
    pub fn start(ports: usize) -> Result<Self> {
        let listeners: Vec<TcpListener> = (0..ports)
            .map(|_| listen())
            .collect::<Result<_, _>>()
            .context("the service can't listen")?;
        let addresses = listeners
            .iter()
            .map(TcpListener::local_addr)
            .collect::<Result<_, _>>()?;
        let counts = Arc::new(Counts::default());
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let shared = Arc::clone(&counts);
        let thread = std::thread::Builder::new()
            .name("service".to_owned())
            .spawn(move || {
                runtime.block_on(async move {
                    for listener in listeners {
                        tokio::spawn(accept(listener, Arc::clone(&shared)));
                    }
                    // Its sender does nothing but go away.
                    let _ = stopped.await;
                });
            })?;
        Ok(Self {
            addresses,
            counts,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Where the service listens.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The first of the addresses.
    pub fn address(&self) -> Result<SocketAddr> {
        let first = self.addresses.first().copied();
        first.context("the service listens nowhere")
    }

    /// The bytes that uploads have brought so far.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.counts.received.load(Ordering::Relaxed)
    }

    /// The connections that are open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.counts.open.load(Ordering::Relaxed)
    }

    /// Waits until no connection is open, so that one measurement doesn't run into the next.
    pub async fn wait_until_idle(&self, patience: Duration) -> Result<()> {
        let deadline = Instant::now() + patience;
        while self.open() > 0 {
            ensure!(
                Instant::now() < deadline,
                "{} connections to the service stay open {patience:?} after their clients went",
                self.open()
            );
            sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It can't be asked again what went wrong in there.
            let _ = thread.join();
        }
    }
}

fn listen() -> io::Result<TcpListener> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

async fn accept(listener: TcpListener, counts: Arc<Counts>) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else {
        return;
    };
    loop {
        match listener.accept().await {
            Ok((socket, _)) => {
                let counts = Arc::clone(&counts);
                counts.open.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(async move {
                    // However it ended: the client counts what failed.
                    let _ = serve(socket, &counts).await;
                    counts.open.fetch_sub(1, Ordering::Relaxed);
                });
            }
            // Descriptors ran out, or a client went again at once.
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
    }
}

async fn serve(mut socket: TcpStream, counts: &Counts) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let mut first = [0];
    socket.read_exact(&mut first).await?;
    let [byte] = first;
    match Mode::from_byte(byte).ok_or(io::ErrorKind::InvalidData)? {
        Mode::Upload => {
            let mut buffer = vec![0; BLOCK];
            loop {
                let length = socket.read(&mut buffer).await?;
                if length == 0 {
                    return Ok(());
                }
                counts.received.fetch_add(length as u64, Ordering::Relaxed);
            }
        }
        Mode::Download => {
            let block = vec![0xA5; BLOCK];
            loop {
                socket.write_all(&block).await?;
            }
        }
        Mode::Answer(length) => {
            let mut message = vec![byte; length];
            // The first byte is here already.
            let mut read = 1;
            loop {
                while read < length {
                    let rest = message.get_mut(read..).unwrap_or_default();
                    match socket.read(rest).await? {
                        0 => return Ok(()),
                        more => read += more,
                    }
                }
                socket.write_all(&message).await?;
                read = 0;
            }
        }
    }
}
