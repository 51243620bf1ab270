//! What one client does.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::Work;
use crate::service::{BLOCK, Mode, PING, SHORT};

/// After a failure, so that a pair that refuses everything isn't asked a million times.
const PAUSE: Duration = Duration::from_millis(5);

/// What all clients of a load count together; they share a thread.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) amount: Cell<u64>,
    pub(super) failures: Cell<u64>,
    /// The clients that got through once, so that opening connections is no part of what is measured.
    pub(super) ready: Cell<usize>,
    pub(super) is_measuring: Cell<bool>,
    pub(super) is_over: Cell<bool>,
    pub(super) latencies: RefCell<Vec<u64>>,
}

// === impl Tally ===

impl Tally {
    fn is_ready(&self, first: &mut bool) {
        if std::mem::take(first) {
            self.ready.set(self.ready.get() + 1);
        }
    }

    fn add(&self, amount: u64) {
        self.amount.set(self.amount.get() + amount);
    }

    fn fail(&self) {
        self.failures.set(self.failures.get() + 1);
    }

    /// Counts an operation; its time only when it began and ended within what is measured.
    fn operation(&self, began_measured: bool, took: Duration) {
        self.add(1);
        if began_measured && self.is_measuring.get() {
            let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
            self.latencies.borrow_mut().push(nanoseconds);
        }
    }
}

/// Starts the clients of a load.
pub(super) fn start(
    work: Work,
    targets: &Rc<[SocketAddr]>,
    tally: &Rc<Tally>,
    clients: &mut JoinSet<()>,
) {
    let count = match work {
        Work::Upload(count) | Work::Download(count) => count,
        Work::Short(count) | Work::PingPong(count) => count,
    };
    for index in 0..usize::from(count) {
        let (targets, tally) = (Rc::clone(targets), Rc::clone(tally));
        clients.spawn_local(async move {
            // Their order differs, so that they don't all ask the same one at once.
            let mut targets = targets.iter().copied().cycle().skip(index);
            let mut first = true;
            while !tally.is_over.get() {
                let Some(target) = targets.next() else { return };
                let done = match work {
                    Work::Upload(_) => upload(target, &tally, &mut first).await,
                    Work::Download(_) => download(target, &tally, &mut first).await,
                    Work::PingPong(_) => ping_pong(target, &tally, &mut first).await,
                    Work::Short(_) => short(target, &tally, &mut first).await,
                };
                if done.is_err() {
                    tally.fail();
                    sleep(PAUSE).await;
                }
            }
        });
    }
}

/// Connects, says something, hears the answer, and closes unless the caller keeps the connection.
pub async fn exchange(target: SocketAddr) -> io::Result<TcpStream> {
    let mut socket = connect(target).await?;
    let mut message = [Mode::Answer(SHORT).byte(); SHORT];
    socket.write_all(&message).await?;
    socket.read_exact(&mut message).await?;
    Ok(socket)
}

async fn short(target: SocketAddr, tally: &Tally, first: &mut bool) -> io::Result<()> {
    let (measured, began) = (tally.is_measuring.get(), Instant::now());
    drop(exchange(target).await?);
    tally.operation(measured, began.elapsed());
    tally.is_ready(first);
    Ok(())
}

async fn ping_pong(target: SocketAddr, tally: &Tally, first: &mut bool) -> io::Result<()> {
    let mut socket = connect(target).await?;
    let mut message = vec![Mode::Answer(PING).byte(); PING];
    while !tally.is_over.get() {
        let (measured, began) = (tally.is_measuring.get(), Instant::now());
        socket.write_all(&message).await?;
        socket.read_exact(&mut message).await?;
        tally.operation(measured, began.elapsed());
        tally.is_ready(first);
    }
    Ok(())
}

async fn upload(target: SocketAddr, tally: &Tally, first: &mut bool) -> io::Result<()> {
    let mut socket = connect(target).await?;
    let block = vec![Mode::Upload.byte(); BLOCK];
    loop {
        socket.write_all(&block).await?;
        tally.is_ready(first);
    }
}

async fn download(target: SocketAddr, tally: &Tally, first: &mut bool) -> io::Result<()> {
    let mut socket = connect(target).await?;
    socket.write_all(&[Mode::Download.byte()]).await?;
    let mut buffer = vec![0; BLOCK];
    loop {
        match socket.read(&mut buffer).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            length => tally.add(length as u64),
        }
        tally.is_ready(first);
    }
}

async fn connect(target: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpStream::connect(target).await?;
    socket.set_nodelay(true)?;
    Ok(socket)
}
