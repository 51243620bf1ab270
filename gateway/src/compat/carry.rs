//! Carries the bytes between a socket and a peer's connection, both ways.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::time::sleep;
use tokio_rustls::TlsStream;
use tokio_util::sync::CancellationToken;

use crate::compat::link::Known;
use crate::copy::{Counters, aborted, idled};
use crate::decision::End;
use crate::limits::Quiet;
use crate::live::Entry;
use crate::tunnel::Reason;

/// What is read at once: a record of TLS.
const BUFFER: usize = 16 * 1024;

/// How long a service may think about what the client said last, until it is told that the client
/// has ended.
const HOLD: Duration = Duration::from_secs(5);

/// The same once it has answered something: mostly that was all, and the client is gone.
const HOLD_ANSWERED: Duration = Duration::from_secs(1);

/// How long the end of a service's direction waits behind its last bytes: a data plane of
/// ClusterLink's drops what it hasn't passed on within itself when the connection ends.
const LINGER: Duration = Duration::from_millis(200);

/// A connection to a peer that carries raw bytes from now on.
#[derive(Debug)]
pub(crate) struct Tunnel {
    stream: TlsStream<TcpStream>,
    /// What came together with the end of HTTP.
    received: Bytes,
    known: Arc<Known>,
    /// Whether the other side takes the end of this direction for the end of both.
    holds_end: bool,
}

/// How far both directions are.
#[derive(Debug, Default)]
struct Ends {
    received: CancellationToken,
    sent: AtomicBool,
    /// Whether something came since something was last sent.
    answered: AtomicBool,
}

// === impl Tunnel ===

impl Tunnel {
    /// A tunnel that a peer opened to a service here.
    pub(super) const fn accepted(
        stream: TlsStream<TcpStream>,
        received: Bytes,
        known: Arc<Known>,
    ) -> Self {
        Self {
            stream,
            received,
            known,
            holds_end: false,
        }
    }

    /// A tunnel to a peer's service.
    ///
    /// ClusterLink's data planes end both directions when one has ended. So the end of the client's
    /// is held back while the service still answers.
    pub(super) const fn opened(
        stream: TlsStream<TcpStream>,
        received: Bytes,
        known: Arc<Known>,
    ) -> Self {
        Self {
            stream,
            received,
            known,
            holds_end: true,
        }
    }

    /// Breaks it off.
    pub(crate) fn reset(&self) {
        let _ = self.stream.get_ref().0.set_zero_linger();
    }

    /// Carries until both directions have ended, one fails, or the connection is cut; `early` is
    /// what was read from the socket before, and is counted already.
    ///
    /// What doesn't end in order is ended by RST, so that nobody takes a part for the whole.
    pub(crate) async fn carry(
        self,
        mut socket: TcpStream,
        early: Vec<u8>,
        entry: &Entry,
        counters: &Counters,
        quiet: Quiet,
    ) -> End {
        let link = Arc::clone(self.known.link());
        let ends = Ends::default();
        let (mut from_peer, mut to_peer) = tokio::io::split(self.stream);
        let end = {
            let (reader, writer) = socket.split();
            let holds_end = self.holds_end;
            let outwards = async {
                to_peer
                    .write_all(&early)
                    .await
                    .map_err(|error| ends.broken(&error))?;
                drop(early);
                outwards(&reader, &mut to_peer, entry, counters, &ends, holds_end).await
            };
            let inwards = inwards(
                &mut from_peer,
                writer,
                self.received,
                entry,
                counters,
                &ends,
            );
            let both = async { tokio::try_join!(outwards, inwards) };
            tokio::select! {
                biased;
                result = both => result.map_or_else(|end| end, |_| End::Complete),
                end = entry.until_cut() => end,
                () = link.until_cut() => End::NoLongerAllowed,
                () = idled(entry, quiet) => End::Idle,
                // A direction that is over or waits for the other side doesn't notice.
                () = aborted(reader.as_ref()) => End::Aborted,
            }
        };
        if end != End::Complete {
            let stream = from_peer.unsplit(to_peer);
            let _ = stream.get_ref().0.set_zero_linger();
            let _ = socket.set_zero_linger();
        }
        end
    }
}

async fn outwards(
    reader: &ReadHalf<'_>,
    to_peer: &mut (impl AsyncWrite + Unpin),
    entry: &Entry,
    counters: &Counters,
    ends: &Ends,
    holds_end: bool,
) -> Result<(), End> {
    let broken = |error: io::Error| ends.broken(&error);
    to_peer.flush().await.map_err(broken)?;
    let mut buffer = vec![0; BUFFER];
    loop {
        reader.readable().await.map_err(|_| End::Aborted)?;
        let length = match reader.try_read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
            Err(_) => return Err(End::Aborted),
        };
        let bytes = buffer.get(..length).unwrap_or_default();
        to_peer.write_all(bytes).await.map_err(broken)?;
        to_peer.flush().await.map_err(broken)?;
        counters.early(entry, length);
        ends.answered.store(false, Ordering::Relaxed);
    }
    drop(buffer);
    entry.half_closed.store(true, Ordering::Relaxed);
    if holds_end {
        silence(entry, ends).await;
    } else {
        tokio::select! {
            () = ends.received.cancelled() => {}
            () = sleep(LINGER) => {}
        }
    }
    ends.sent.store(true, Ordering::Release);
    match to_peer.shutdown().await {
        // It has ended already, and doesn't wait for us.
        Err(_) if ends.received.is_cancelled() => Ok(()),
        result => result.map_err(broken),
    }
}

async fn inwards(
    from_peer: &mut (impl AsyncRead + Unpin),
    mut writer: WriteHalf<'_>,
    received: Bytes,
    entry: &Entry,
    counters: &Counters,
    ends: &Ends,
) -> Result<(), End> {
    let aborted = |_| End::Aborted;
    writer.write_all(&received).await.map_err(aborted)?;
    counters.received(entry, received.len());
    drop(received);
    let mut buffer = vec![0; BUFFER];
    loop {
        let length = match from_peer.read(&mut buffer).await {
            Ok(length) => length,
            // Whoever takes our end for the end of both says no goodbye of its own. That is all that
            // is lacking: a reset, or a record that was tampered with, may have taken bytes away.
            Err(error)
                if error.kind() == ErrorKind::UnexpectedEof
                    && ends.sent.load(Ordering::Acquire) =>
            {
                0
            }
            Err(error) => return Err(ends.broken(&error)),
        };
        let Some(bytes) = buffer.get(..length).filter(|bytes| !bytes.is_empty()) else {
            break;
        };
        writer.write_all(bytes).await.map_err(aborted)?;
        counters.received(entry, length);
        ends.answered.store(true, Ordering::Relaxed);
    }
    entry.half_closed.store(true, Ordering::Relaxed);
    ends.received.cancel();
    writer.shutdown().await.map_err(aborted)
}

/// Waits until the other side has ended, or has said nothing for a while.
async fn silence(entry: &Entry, ends: &Ends) {
    loop {
        let (_, before) = entry.bytes();
        let hold = match ends.answered.load(Ordering::Relaxed) {
            true => HOLD_ANSWERED,
            false => HOLD,
        };
        tokio::select! {
            () = ends.received.cancelled() => return,
            () = sleep(hold) => {}
        }
        if entry.bytes().1 == before {
            return;
        }
    }
}

// === impl Ends ===

impl Ends {
    /// What an error of the peer's connection comes to.
    fn broken(&self, error: &io::Error) -> End {
        match error.kind() {
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted => {
                End::ByPeer(Reason::Aborted)
            }
            _ if self.received.is_cancelled() => End::ByPeer(Reason::Aborted),
            _ => End::Lost,
        }
    }
}
