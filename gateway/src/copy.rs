//! Carries the bytes between a socket and a tunnel, both ways.

use bytes::BufMut;
use std::io;
use std::sync::atomic::Ordering;
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::time::Instant;

use crate::decision::End;
use crate::limits::Quiet;
use crate::live::Entry;
use crate::metrics::{Bytes, Metrics, Side};
use crate::tunnel::Tunnel;
use crate::tunnel::frame::{self, MAX_DATA};

/// The first read of a connection: most requests fit, and idle connections hold none of it.
const FIRST_READ: usize = 4 * 1024;

/// The counters of one side.
#[derive(Clone, Debug)]
pub(crate) struct Counters {
    to_peer: Bytes,
    from_peer: Bytes,
}

/// Carries until both directions have ended, one fails, or the connection is cut.
///
/// A side that ends its direction has that passed on while the other direction goes on. What ends
/// otherwise is ended by RST, so that nobody takes a part for the whole.
pub(crate) async fn carry(
    mut socket: TcpStream,
    tunnel: Tunnel,
    entry: &Entry,
    counters: &Counters,
    quiet: Quiet,
) -> End {
    let end = {
        let (reader, writer) = socket.split();
        let both = async {
            tokio::try_join!(
                outwards(&reader, &tunnel, entry, counters),
                inwards(writer, &tunnel, entry, counters),
            )
        };
        tokio::select! {
            biased;
            result = both => result.map_or_else(|end| end, |_| End::Complete),
            end = entry.until_cut() => end,
            () = idled(entry, quiet) => End::Idle,
            // A direction that is over or waits for the other side notices neither.
            broken = tunnel.broken() => broken.into(),
            () = aborted(&reader) => End::Aborted,
        }
    };
    if end != End::Complete {
        tunnel.reset(end.reason());
        let _ = socket.set_zero_linger();
    }
    end
}

async fn outwards(
    reader: &ReadHalf<'_>,
    tunnel: &Tunnel,
    entry: &Entry,
    counters: &Counters,
) -> Result<(), End> {
    let mut size = FIRST_READ;
    loop {
        let room = tunnel.credit().await?.min(size);
        reader.readable().await.map_err(|_| End::Aborted)?;
        let mut buffer = frame::data_buffer(room).limit(room);
        let length = match reader.try_read_buf(&mut buffer) {
            Ok(0) => {
                entry.half_closed.store(true, Ordering::Relaxed);
                return Ok(tunnel.end().await?);
            }
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(_) => return Err(End::Aborted),
        };
        // A full read asks for a larger one, a small one for less.
        if length == size {
            size = (size * 4).min(MAX_DATA);
        } else if length < size / 8 {
            size = (size / 2).max(FIRST_READ);
        }
        counters.to_peer.inc_by(length as u64);
        entry.to_peer.fetch_add(length as u64, Ordering::Relaxed);
        tunnel.send(buffer.into_inner()).await?;
    }
}

async fn inwards(
    mut writer: WriteHalf<'_>,
    tunnel: &Tunnel,
    entry: &Entry,
    counters: &Counters,
) -> Result<(), End> {
    while let Some(bytes) = tunnel.receive().await? {
        writer.write_all(&bytes).await.map_err(|_| End::Aborted)?;
        let length = bytes.len();
        counters.from_peer.inc_by(length as u64);
        entry.from_peer.fetch_add(length as u64, Ordering::Relaxed);
        tunnel.passed_on(length);
    }
    entry.half_closed.store(true, Ordering::Relaxed);
    writer.shutdown().await.map_err(|_| End::Aborted)
}

/// Waits until the socket's other side has broken the connection off.
pub(crate) async fn aborted(reader: &ReadHalf<'_>) {
    // A failure to wait is found by whoever reads.
    if reader.ready(Interest::ERROR).await.is_err() {
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
