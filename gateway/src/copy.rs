//! Carries the bytes between a socket and a tunnel, both ways.
//!
//! Nothing is held here: what is read is sealed before the task lets go of the thread, and what is
//! received is written by the connection's reader right where it was opened. So an idle tunnel has
//! no buffer, and a busy one uses the one that its thread has.

use std::cell::RefCell;
use std::io::{self, IoSlice, Read as _};
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::decision::End;
use crate::limits::Quiet;
use crate::live::Entry;
use crate::metrics::{Bytes, Metrics, Side};
use crate::tunnel::{MAX_TURN, PassedOn, Sink, Tunnel};

/// What is read at once of a connection that carries little: most requests, whole. A read that
/// fills it is a sign of more.
const LITTLE: usize = 16 * 1024;

/// Little reads in a row after which a connection doesn't carry much any more.
const LITTLE_READS: u32 = 4;

thread_local! {
    /// What is read and not yet sealed: used between two points where a task can wait, so that
    /// one of them for each thread is enough.
    static READ: RefCell<Vec<u8>> = RefCell::new(vec![0; MAX_TURN]);
}

/// Lends the thread's buffer, or a part of it.
pub(crate) fn with_buffer<T>(most: usize, f: impl FnOnce(&mut [u8]) -> T) -> T {
    READ.with_borrow_mut(|buffer| f(buffer.get_mut(..most).unwrap_or_default()))
}

/// The counters of one side.
#[derive(Clone, Debug)]
pub(crate) struct Counters {
    to_peer: Bytes,
    from_peer: Bytes,
}

/// A socket that takes what comes out of a tunnel.
struct Delivery {
    socket: TcpStream,
    entry: Arc<Entry>,
    from_peer: Bytes,
}

/// A socket that is ended by RST, also where its task is given up in the middle.
struct Unfinished<'a>(Option<&'a TcpStream>);

/// Carries until both directions have ended, one fails, or the connection is cut.
///
/// A side that ends its direction has that passed on while the other direction goes on. What ends
/// otherwise is ended by RST, so that nobody takes a part for the whole.
///
/// What it returns is nearly all that an idle connection costs, so it holds what it needs once: an
/// `async fn` has room for each argument twice.
pub(crate) fn carry(
    socket: TcpStream,
    tunnel: Tunnel,
    entry: &Arc<Entry>,
    counters: &Counters,
    quiet: Quiet,
) -> impl Future<Output = End> {
    let delivery = Arc::new(Delivery {
        socket,
        entry: Arc::clone(entry),
        from_peer: counters.from_peer.clone(),
    });
    tunnel.deliver_to(Arc::clone(&delivery) as Arc<dyn Sink>);
    async move {
        let socket = &delivery.socket;
        let mut unfinished = Unfinished(Some(socket));
        let end = {
            let both = async {
                tokio::try_join!(
                    inwards(socket, &tunnel, entry),
                    outwards(socket, &tunnel, entry, counters),
                )
            };
            tokio::select! {
                biased;
                result = both => result.map_or_else(|end| end, |_| End::Complete),
                end = entry.until_cut() => end,
                () = idled(entry, quiet) => End::Idle,
                // A direction that is over or waits for the other side notices neither.
                broken = tunnel.broken() => broken.into(),
                () = aborted(socket) => End::Aborted,
            }
        };
        if end == End::Complete {
            unfinished.0 = None;
        } else {
            tunnel.reset(end.reason());
        }
        end
    }
}

async fn outwards(
    socket: &TcpStream,
    tunnel: &Tunnel,
    entry: &Entry,
    counters: &Counters,
) -> Result<(), End> {
    let mut little = 0;
    let mut is_bulk = false;
    loop {
        let credit = tunnel.credit().await?;
        socket.readable().await.map_err(|_| End::Aborted)?;
        let (read, sent) = if is_bulk {
            // The turn first: what is read then is sealed while it is in the core's own cache.
            let mut turn = tunnel.turn().await?;
            read(socket, credit.min(MAX_TURN), |bytes| turn.send(bytes))
        } else {
            tunnel.room().await?;
            read(socket, credit.min(LITTLE), |bytes| tunnel.put(bytes))
        };
        let length = match read {
            Ok(0) => {
                entry.half_closed.store(true, Ordering::Relaxed);
                return Ok(tunnel.end()?);
            }
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(_) => return Err(End::Aborted),
        };
        counters.to_peer.inc_by(length as u64);
        entry.to_peer.fetch_add(length as u64, Ordering::Relaxed);
        sent?;
        little = if length < LITTLE { little + 1 } else { 0 };
        is_bulk = little < if is_bulk { LITTLE_READS } else { 1 };
    }
}

/// Reads what is there, and has it sent; a failure to send is no failure to read.
fn read<E>(
    socket: &TcpStream,
    most: usize,
    send: impl FnOnce(&[u8]) -> Result<(), E>,
) -> (io::Result<usize>, Result<(), E>) {
    with_buffer(most, |room| {
        // A read that leaves room was the last for now: the next would only find that out.
        let mut last = None;
        let read = socket.try_io(Interest::READABLE, || {
            let length = (&*SockRef::from(socket)).read(room)?;
            if length > 0 && length < room.len() {
                last = Some(length);
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Ok(length)
        });
        let read = last.map_or(read, Ok);
        let bytes = read.as_ref().ok().and_then(|length| room.get(..*length));
        let sent = match bytes {
            Some(bytes) if !bytes.is_empty() => send(bytes),
            _ => Ok(()),
        };
        (read, sent)
    })
}

async fn inwards(socket: &TcpStream, tunnel: &Tunnel, entry: &Entry) -> Result<(), End> {
    loop {
        match tunnel.pass_on()? {
            PassedOn::All => tunnel.noticed().await,
            PassedOn::Full => socket.writable().await.map_err(|_| End::Aborted)?,
            PassedOn::End => {
                entry.half_closed.store(true, Ordering::Relaxed);
                return Ok(());
            }
            PassedOn::Failed => return Err(End::Aborted),
        }
    }
}

/// Waits until the socket's other side has broken the connection off.
pub(crate) async fn aborted(socket: &TcpStream) {
    // A failure to wait is found by whoever reads.
    if socket.ready(Interest::ERROR).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Waits until nothing was carried for so long, or a quarter longer; zero is for ever.
pub(crate) async fn idled(entry: &Entry, limit: Quiet) {
    if limit.open.is_zero() && limit.half_closed.is_zero() {
        return std::future::pending().await;
    }
    // Where one of the two is for ever, it is asked now and then which of them counts.
    let shortest = [limit.open, limit.half_closed].into_iter();
    let step = shortest.filter(|time| !time.is_zero()).min();
    let step = step.unwrap_or(limit.open) / 4;
    let (mut last, mut since) = (entry.bytes(), Instant::now());
    loop {
        tokio::time::sleep(step).await;
        let now = entry.bytes();
        if now != last {
            (last, since) = (now, Instant::now());
        }
        let limit = match entry.half_closed.load(Ordering::Relaxed) {
            true => limit.half_closed,
            false => limit.open,
        };
        if !limit.is_zero() && since.elapsed() >= limit {
            return;
        }
    }
}

// === impl Unfinished ===

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if let Some(socket) = self.0 {
            let _ = socket.set_zero_linger();
        }
    }
}

// === impl Delivery ===

impl Sink for Delivery {
    fn write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let whole: usize = slices.iter().map(|slice| slice.len()).sum();
        let mut part = None;
        let written = self.socket.try_io(Interest::WRITABLE, || {
            let length = SockRef::from(&self.socket).send_vectored(slices)?;
            if length < whole {
                part = Some(length);
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Ok(length)
        });
        let length = part.map_or(written, Ok)?;
        self.from_peer.inc_by(length as u64);
        let carried = &self.entry.from_peer;
        carried.fetch_add(length as u64, Ordering::Relaxed);
        Ok(length)
    }

    fn finish(&self) -> io::Result<()> {
        SockRef::from(&self.socket).shutdown(Shutdown::Write)
    }
}

// === impl Counters ===

impl Counters {
    /// The counters of a side.
    #[must_use]
    pub(crate) fn new(metrics: &Metrics, side: Side) -> Self {
        let counter = |direction| {
            let label = side.direction(direction);
            metrics.bytes.get_or_create_owned(&label)
        };
        Self {
            to_peer: counter("to_peer"),
            from_peer: counter("from_peer"),
        }
    }

    /// What counts bytes to the other gateway.
    #[must_use]
    pub(crate) const fn bytes_to_peer(&self) -> &Bytes {
        &self.to_peer
    }

    /// What counts bytes from the other gateway.
    #[must_use]
    pub(crate) const fn bytes_from_peer(&self) -> &Bytes {
        &self.from_peer
    }

    /// Counts bytes that came from the peer.
    pub(crate) fn received(&self, entry: &Entry, length: usize) {
        self.from_peer.inc_by(length as u64);
        entry.from_peer.fetch_add(length as u64, Ordering::Relaxed);
    }

    /// Counts bytes that went out together with OPEN, or otherwise than by [`carry`].
    pub(crate) fn early(&self, entry: &Entry, length: usize) {
        self.to_peer.inc_by(length as u64);
        entry.to_peer.fetch_add(length as u64, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
