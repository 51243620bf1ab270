//! What is written to one connection, in one order for all its tunnels.
//!
//! Small frames are gathered and go out together. A task that carries much takes its turn at the
//! connection first and seals what it read right where it read it, so that nothing large ever
//! waits here: what can't be sent stays in the socket that it comes from.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use bytes::BytesMut;
use parking_lot::Mutex;
use tokio::sync::{MutexGuard, Notify};
use tokio_util::sync::CancellationToken;

use super::frame::{self, FrameError, HEADER_LENGTH, MAX_DATA};
use super::link::Transmitter;

/// Small DATA that may wait: several times what a busy moment of many small tunnels gathers.
const MAX_WAITING_DATA: usize = 64 * 1024;

/// Bytes of frames that wait for nothing. Only a peer that makes us answer without reading the
/// answers gets there: a full connection's tunnels open, end and give credit in fewer.
const MAX_WAITING: usize = 4 * 1024 * 1024;

/// The most that is sealed and written in one turn: 16 records.
pub const BATCH: usize = 256 * 1024;

/// The buffer that a connection keeps for small frames.
const KEPT: usize = 16 * 1024;

/// Pieces that go out with one system call.
const SLICES: usize = 32;

/// The sending end of a connection.
#[derive(Debug)]
pub(super) struct Outbox {
    waiting: Mutex<Waiting>,
    writer: tokio::sync::Mutex<Writer>,
    /// Something waits for the connection's own task to write it.
    due: Notify,
    /// Nothing more is taken, and nobody waits for his turn.
    over: CancellationToken,
}

#[derive(Debug)]
struct Waiting {
    frames: BytesMut,
    finish: bool,
    closed: bool,
}

/// Seals and writes; whoever has it has the connection's turn.
#[derive(Debug)]
struct Writer {
    link: Transmitter,
    /// Sealed, but not written yet.
    sealed: VecDeque<Vec<u8>>,
    /// How much of the first of them is written.
    written: usize,
    /// Nothing is left in a buffer that the stream has of its own.
    flushed: bool,
    /// Sealing failed: nothing can follow.
    failed: Option<io::ErrorKind>,
    closed: bool,
}

/// The turn at the connection: everything before is written.
pub(super) struct Turn<'a> {
    outbox: &'a Outbox,
    writer: MutexGuard<'a, Writer>,
}

/// The connection takes nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

// === impl Outbox ===

impl Outbox {
    pub(super) fn new(link: Transmitter) -> Self {
        Self {
            waiting: Mutex::new(Waiting {
                frames: BytesMut::new(),
                finish: false,
                closed: false,
            }),
            writer: tokio::sync::Mutex::new(Writer {
                link,
                sealed: VecDeque::new(),
                written: 0,
                flushed: true,
                failed: None,
                closed: false,
            }),
            due: Notify::new(),
            over: CancellationToken::new(),
        }
    }

    /// Has frames wait to be written; [`write_now`](Self::write_now) or
    /// [`write_soon`](Self::write_soon) is to follow.
    pub(super) fn put(
        &self,
        write: impl FnOnce(&mut BytesMut) -> Result<(), FrameError>,
    ) -> Result<Result<(), FrameError>, Full> {
        let mut waiting = self.waiting.lock();
        if waiting.closed || waiting.frames.len() >= MAX_WAITING {
            return Err(Full);
        }
        if waiting.finish {
            // Nobody reads it any more.
            return Ok(Ok(()));
        }
        let before = waiting.frames.len();
        let written = write(&mut waiting.frames);
        if written.is_err() {
            waiting.frames.truncate(before);
        }
        Ok(written)
    }

    /// Waits until small DATA may wait.
    pub(super) async fn room(&self) -> Result<(), Full> {
        loop {
            {
                let waiting = self.waiting.lock();
                if waiting.closed {
                    return Err(Full);
                }
                if waiting.frames.len() < MAX_WAITING_DATA {
                    return Ok(());
                }
            }
            // Everything that waits is written by then, and nobody is overtaken for long.
            drop(self.turn().await?);
        }
    }

    /// Writes what waits, as far as it goes without waiting.
    pub(super) fn write_now(&self) {
        let Ok(mut writer) = self.writer.try_lock() else {
            return self.write_soon();
        };
        let mut context = Context::from_waker(Waker::noop());
        // What is left, a failure included, is for the connection's own task.
        if !matches!(
            self.poll_write(&mut writer, &mut context),
            Poll::Ready(Ok(()))
        ) {
            self.write_soon();
        }
    }

    /// Has the connection's own task write what waits.
    pub(super) fn write_soon(&self) {
        self.due.notify_one();
    }

    /// Waits for the turn at the connection, until everything before is written.
    pub(super) async fn turn(&self) -> Result<Turn<'_>, Full> {
        let mut turn = Turn {
            outbox: self,
            writer: self.writer.lock().await,
        };
        let write = poll_fn(|context| self.poll_write(&mut turn.writer, context));
        // A peer that reads nothing would hold whoever has the turn, and with it the socket, for ever.
        let written = self.over.run_until_cancelled(write).await;
        written.ok_or(Full)?.map_err(|_| Full)?;
        if turn.writer.closed {
            return Err(Full);
        }
        Ok(turn)
    }

    /// Writes everything that waits.
    fn poll_write(&self, writer: &mut Writer, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(writer.poll_write(context))?;
            let mut frames = {
                let mut waiting = self.waiting.lock();
                if waiting.frames.is_empty() {
                    return Poll::Ready(Ok(()));
                }
                if waiting.frames.len() <= BATCH {
                    std::mem::take(&mut waiting.frames)
                } else {
                    waiting.frames.split_to(BATCH)
                }
            };
            writer.seal(&[&frames])?;
            if frames.capacity() <= KEPT {
                frames.clear();
                let mut waiting = self.waiting.lock();
                if waiting.frames.capacity() == 0 {
                    waiting.frames = frames;
                }
            }
        }
    }

    /// Has the connection shut down once everything before is written.
    pub(super) fn finish(&self) {
        self.waiting.lock().finish = true;
        self.write_soon();
    }

    /// Whether nothing is left to write before the end. What came just before the wish to finish is:
    /// it may have come behind the last look at what waits.
    fn is_at_end(&self) -> bool {
        let waiting = self.waiting.lock();
        waiting.finish && waiting.frames.is_empty()
    }

    /// Nothing more is taken: the connection is over.
    pub(super) fn close(&self) {
        let mut waiting = self.waiting.lock();
        waiting.closed = true;
        waiting.frames = BytesMut::new();
        drop(waiting);
        self.over.cancel();
    }

    /// Lets go of the stream, whoever still knows the connection.
    pub(super) async fn release(&self) {
        self.writer.lock().await.link.stream = Box::new(tokio::io::sink());
    }

    /// Writes whenever something is due, until the end; `gather` is whether to let others add
    /// theirs first.
    pub(super) async fn run(&self, gather: impl Fn() -> bool) -> io::Result<()> {
        loop {
            self.due.notified().await;
            if gather() {
                // Behind every task that is ready now, and what the next look at the sockets wakes.
                tokio::task::yield_now().await;
            }
            let mut writer = self.writer.lock().await;
            poll_fn(|context| self.poll_write(&mut writer, context)).await?;
            if self.is_at_end() {
                return writer.shut_down().await;
            }
        }
    }

    /// Says that nothing follows, or why not; what waits is left.
    pub(super) async fn shut_down(&self) -> io::Result<()> {
        self.writer.lock().await.shut_down().await
    }
}

// === impl Turn ===

impl Turn<'_> {
    /// Sends the bytes of one tunnel, as far as it goes without waiting; what is left then is
    /// sealed, and written before anybody else's turn.
    pub(super) fn send(&mut self, tunnel: u32, bytes: &[u8]) -> Result<(), Full> {
        let mut headers = [[0; HEADER_LENGTH]; BATCH.div_ceil(MAX_DATA)];
        let mut slices: [&[u8]; 2 * BATCH.div_ceil(MAX_DATA)] = Default::default();
        let parts = bytes.chunks(MAX_DATA);
        for (header, part) in headers.iter_mut().zip(parts.clone()) {
            *header = frame::data_header(tunnel, part.len(), false);
        }
        let mut count = 0;
        for ((pair, header), part) in slices.chunks_mut(2).zip(&headers).zip(parts) {
            if let [first, second] = pair {
                (*first, *second) = (header, part);
                count += 2;
            }
        }
        let plain = slices.get(..count).unwrap_or_default();
        let mut context = Context::from_waker(Waker::noop());
        let sealed = self.writer.seal(plain);
        if sealed.is_err() || !matches!(self.writer.poll_write(&mut context), Poll::Ready(Ok(()))) {
            self.outbox.write_soon();
        }
        sealed.map_err(|_| Full)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        // Given up in the middle, or somebody had something to say meanwhile.
        let is_done = self.writer.sealed.is_empty() && self.writer.flushed;
        if !is_done || !self.outbox.waiting.lock().frames.is_empty() {
            self.outbox.write_soon();
        }
    }
}

// === impl Writer ===

impl Writer {
    fn seal(&mut self, plain: &[&[u8]]) -> io::Result<()> {
        self.link
            .seal
            .seal(plain, &mut self.sealed)
            .inspect_err(|error| self.failed = Some(error.kind()))
    }

    fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(kind) = self.failed {
            return Poll::Ready(Err(kind.into()));
        }
        while !self.sealed.is_empty() {
            self.flushed = false;
            let mut slices = [IoSlice::new(&[]); SLICES];
            let mut count = 0;
            let mut skip = self.written;
            for (slice, record) in slices.iter_mut().zip(&self.sealed) {
                *slice = IoSlice::new(record.get(skip..).unwrap_or_default());
                (skip, count) = (0, count + 1);
            }
            let slices = slices.get(..count).unwrap_or_default();
            let stream = Pin::new(&mut *self.link.stream);
            let length = match ready!(stream.poll_write_vectored(context, slices)) {
                Ok(0) => Err(io::ErrorKind::WriteZero.into()),
                result => result,
            }
            .inspect_err(|error| self.failed = Some(error.kind()))?;
            self.written += length;
            while let Some(first) = self.sealed.front()
                && self.written >= first.len()
            {
                self.written -= first.len();
                self.sealed.pop_front();
            }
        }
        ready!(Pin::new(&mut *self.link.stream).poll_flush(context))?;
        self.flushed = true;
        Poll::Ready(Ok(()))
    }

    async fn shut_down(&mut self) -> io::Result<()> {
        if std::mem::replace(&mut self.closed, true) {
            return Ok(());
        }
        self.link.seal.close(&mut self.sealed)?;
        poll_fn(|context| self.poll_write(context)).await?;
        poll_fn(|context| Pin::new(&mut *self.link.stream).poll_shutdown(context)).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use futures::FutureExt as _;
    use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};

    use super::super::link::Link;
    use super::*;

    /// Takes everything at once, and passes nothing on before it is let.
    #[derive(Default)]
    struct Buffer {
        is_let: AtomicBool,
        holds: AtomicBool,
        is_flushed: AtomicBool,
    }

    struct Buffered(Arc<Buffer>);

    impl AsyncRead for Buffered {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    impl AsyncWrite for Buffered {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.0.holds.store(true, Ordering::SeqCst);
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
            if self.0.holds.load(Ordering::SeqCst) {
                if !self.0.is_let.load(Ordering::SeqCst) {
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                self.0.is_flushed.store(true, Ordering::SeqCst);
            }
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn text(text: &[u8]) -> impl FnOnce(&mut BytesMut) -> Result<(), FrameError> {
        |out| {
            out.extend_from_slice(text);
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_turn_that_is_given_up_leaves_nothing_in_the_streams_own_buffer() {
        let buffer = Arc::new(Buffer::default());
        let outbox = Outbox::new(Link::plain(Buffered(Arc::clone(&buffer))).transmitter);
        outbox.put(text(b"the last bytes")).unwrap().unwrap();
        assert!(outbox.turn().now_or_never().is_none());
        buffer.is_let.store(true, Ordering::SeqCst);
        let flushed = async {
            while !buffer.is_flushed.load(Ordering::SeqCst) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::select! {
            _ = outbox.run(|| false) => panic!("it goes on"),
            flushed = tokio::time::timeout(Duration::from_secs(30), flushed) => flushed.unwrap(),
        }
    }

    #[tokio::test]
    async fn what_comes_just_before_the_end_is_written_before_it() {
        let (near, mut far) = tokio::io::duplex(1024);
        let outbox = Outbox::new(Link::plain(near).transmitter);
        // As if it came while what was there before is being written.
        outbox.put(text(b"the last bytes")).unwrap().unwrap();
        outbox.finish();
        assert!(!outbox.is_at_end());
        outbox.run(|| false).await.unwrap();
        assert!(outbox.is_at_end());
        outbox.release().await;
        let mut written = Vec::new();
        far.read_to_end(&mut written).await.unwrap();
        assert_eq!(written, b"the last bytes");
    }
}
