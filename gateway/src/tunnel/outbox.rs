//! What waits to be written to one connection, in one order for all its tunnels.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// Bytes of DATA that may wait for the connection: enough for several full writes, little enough
/// that a small tunnel's turn comes soon.
const MAX_WAITING_DATA: usize = 512 * 1024;

/// Frames without a permit that may wait. Only a peer that makes us answer without reading the
/// answers gets there: a full connection's tunnels end and give credit in fewer.
const MAX_WAITING_CONTROL: usize = 8 * 1024;

/// Frames that go out in one write.
const BATCH: usize = 32;

/// The sending end: where frames are queued.
#[derive(Debug)]
pub(super) struct Outbox {
    queue: mpsc::UnboundedSender<Outgoing>,
    control: Arc<AtomicUsize>,
    room: Arc<Semaphore>,
}

/// The writing end.
#[derive(Debug)]
pub struct Outgoings {
    queue: mpsc::UnboundedReceiver<Outgoing>,
    control: Arc<AtomicUsize>,
}

#[derive(Debug)]
enum Outgoing {
    Control(Bytes),
    Data(
        Bytes,
        #[expect(dead_code, reason = "given back when dropped")] OwnedSemaphorePermit,
    ),
    Finish,
}

/// The connection takes nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

// === impl Outbox ===

impl Outbox {
    pub(super) fn new() -> (Self, Outgoings) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let control = Arc::new(AtomicUsize::new(0));
        let outbox = Self {
            queue: sender,
            control: Arc::clone(&control),
            room: Arc::new(Semaphore::new(MAX_WAITING_DATA)),
        };
        let outgoings = Outgoings {
            queue: receiver,
            control,
        };
        (outbox, outgoings)
    }

    /// Queues a frame that waits for nothing.
    pub(super) fn control(&self, frame: Bytes) -> Result<(), Full> {
        if self.control.fetch_add(1, Ordering::Relaxed) >= MAX_WAITING_CONTROL {
            return Err(Full);
        }
        self.queue.send(Outgoing::Control(frame)).map_err(|_| Full)
    }

    /// Queues a DATA as soon as there is room for it; fair between those that wait.
    pub(super) async fn data(&self, frame: Bytes) -> Result<(), Full> {
        // No frame is longer than 64 KiB.
        let length = frame.len().min(MAX_WAITING_DATA) as u32;
        let room = Arc::clone(&self.room);
        let permit = room.acquire_many_owned(length).await.map_err(|_| Full)?;
        self.queue
            .send(Outgoing::Data(frame, permit))
            .map_err(|_| Full)
    }

    /// Has the connection shut down once everything before is written.
    pub(super) fn finish(&self) {
        let _ = self.queue.send(Outgoing::Finish);
    }

    /// Wakes everybody who waits for room: the connection is over.
    pub(super) fn close(&self) {
        self.room.close();
    }
}

// === impl Outgoings ===

impl Outgoings {
    /// Writes what is queued until the end is queued.
    pub(super) async fn write_to<W: AsyncWrite + Unpin>(&mut self, mut out: W) -> io::Result<()> {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            if self.queue.recv_many(&mut batch, BATCH).await == 0 {
                return Ok(());
            }
            let control = batch
                .iter()
                .filter(|outgoing| matches!(outgoing, Outgoing::Control(_)));
            self.control.fetch_sub(control.count(), Ordering::Relaxed);
            let finish = batch
                .iter()
                .any(|outgoing| matches!(outgoing, Outgoing::Finish));
            write_all(&mut out, &batch).await?;
            out.flush().await?;
            batch.clear();
            if finish {
                return out.shutdown().await;
            }
        }
    }
}

async fn write_all<W: AsyncWrite + Unpin>(out: &mut W, batch: &[Outgoing]) -> io::Result<()> {
    let mut slices = [IoSlice::new(&[]); BATCH];
    let bytes = batch.iter().filter_map(|outgoing| match outgoing {
        Outgoing::Control(bytes) | Outgoing::Data(bytes, _) => Some(bytes),
        Outgoing::Finish => None,
    });
    let mut count = 0;
    for (slice, bytes) in slices.iter_mut().zip(bytes) {
        *slice = IoSlice::new(bytes);
        count += 1;
    }
    let mut rest = slices.get_mut(..count).unwrap_or_default();
    while !rest.is_empty() {
        let written = out.write_vectored(rest).await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        IoSlice::advance_slices(&mut rest, written);
    }
    Ok(())
}
