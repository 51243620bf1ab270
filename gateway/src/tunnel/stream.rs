//! One tunnel: what waits to be passed on, and the credit of both directions.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, IoSlice};
use std::sync::{Arc, OnceLock};

use bytes::{Buf, Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::connection::{Connection, WINDOW};
use super::frame::{Frame, MAX_DATA};
use super::outbox::{Full, Turn};
use super::reason::Reason;

/// The largest credit of a tunnel whose bytes are passed on as fast as they come: the
/// bandwidth-delay product of 30 ms at 1 Gbit/s.
const MAX_WINDOW: u32 = 4 * 1024 * 1024;

/// What waits is kept in the buffer that it was read with where it is at least so much of it: half
/// of the largest, so that what is held is never more than twice what waits.
const KEEP_FROM: usize = 128 * 1024;

/// Up to here pieces that wait are put together.
const MERGE_TO: usize = 64 * 1024;

/// Payloads below this are put together at once, so that frames of a byte don't cost a system call
/// for few of them.
const SMALL: usize = 2 * 1024;

/// Pieces that are passed on with one call.
const SLICES: usize = 64;

/// Where the bytes of a tunnel go.
pub trait Sink: Send + Sync {
    /// Takes some of the bytes without waiting; fewer than all of them when it is full.
    fn write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Nothing follows.
    fn finish(&self) -> io::Result<()>;
}

/// What came of passing on what was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PassedOn {
    /// Everything that has come.
    All,
    /// The sink is full.
    Full,
    /// Everything that will ever come.
    End,
    /// The sink takes nothing any more.
    Failed,
}

/// One tunnel, in the hands of the task that carries its bytes; dropped early, it is reset.
#[derive(Debug)]
pub struct Tunnel {
    shared: Arc<Shared>,
    connection: Arc<Connection>,
}

/// A tunnel's turn to send: what is sent now is written right behind what was before.
pub struct Sending<'a> {
    tunnel: &'a Tunnel,
    turn: Turn<'a>,
}

/// What the connection's reader and the tunnel's task share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) id: u32,
    inbound: Mutex<Inbound>,
    outbound: Mutex<Outbound>,
    broken: OnceLock<Broken>,
    /// The task has something to do: an answer, a full or finished sink, bytes without a sink.
    incoming: Notify,
    /// Credit was received, or the tunnel was broken.
    credit: Notify,
    /// The tunnel was broken.
    breaking: Notify,
}

struct Inbound {
    chunks: VecDeque<Chunk>,
    /// How many of the last chunks came with what is being read.
    fresh: usize,
    /// Where the bytes go; without one they wait to be fetched.
    sink: Option<Arc<dyn Sink>>,
    /// The sink is full, and the task waits until it isn't.
    is_full: bool,
    has_failed: bool,
    /// The reader will come back to this tunnel.
    is_touched: bool,
    /// The credit that the other side has when everything is passed on.
    window: u32,
    /// How much the other side may still send.
    allowance: u32,
    /// How much was passed on since credit was last given back.
    passed_on: u32,
    received_end: bool,
    finished: bool,
}

#[derive(Debug)]
struct Outbound {
    /// How much may still be sent.
    credit: u32,
    accepted: bool,
    sent_end: bool,
}

#[derive(Debug)]
enum Chunk {
    Whole(Bytes),
    Merged(BytesMut),
}

/// What [`Shared::received`] makes of a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// The reader has to call [`Shared::deliver`] when it has read everything.
    Touched,
    /// The reader knows already, or nobody wants it.
    Known,
    /// It is more than was allowed, or behind the end.
    Forbidden,
}

/// Why a tunnel carries nothing more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// The other side didn't open it.
    #[error("refused by the peer: {}", told(*.0, .1))]
    Refused(Reason, String),
    /// The other side broke it off.
    #[error("reset by the peer: {}", told(*.0, .1))]
    Reset(Reason, String),
    /// This side broke it off.
    #[error("reset: {0}")]
    Ended(Reason),
    /// The connection to the peer is gone.
    #[error("the connection to the peer is lost")]
    Lost,
}

/// A reason with its text, where it has one.
fn told(reason: Reason, text: &str) -> String {
    match text {
        "" => reason.to_string(),
        text => format!("{reason} ({text})"),
    }
}

// === impl Tunnel ===

impl Tunnel {
    pub(super) fn new(shared: Arc<Shared>, connection: Arc<Connection>) -> Self {
        Self { shared, connection }
    }

    /// The connection that carries the tunnel.
    #[must_use]
    pub fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// Waits until the other side has accepted.
    pub async fn answered(&self) -> Result<(), Broken> {
        loop {
            // Also when it is broken by now: the service has seen it, and no other one may.
            if self.shared.outbound.lock().accepted {
                return Ok(());
            }
            self.shared.intact()?;
            self.shared.incoming.notified().await;
        }
    }

    /// Says that the service is reached.
    pub fn accept(&self) {
        self.shared.outbound.lock().accepted = true;
        self.connection.send_control(&Frame::Accept(self.shared.id));
    }

    /// Refuses the tunnel.
    pub fn refuse(self, reason: Reason, text: &str) {
        if self.shared.end(Broken::Ended(reason)) {
            let frame = Frame::Refuse(self.shared.id, reason, text.to_owned());
            self.connection.send_control(&frame);
        }
    }

    /// Breaks the tunnel off.
    pub fn reset(&self, reason: Reason) {
        if self.shared.end(Broken::Ended(reason)) {
            let frame = Frame::Reset(self.shared.id, reason, String::new());
            self.connection.send_control(&frame);
        }
    }

    /// Waits until the tunnel is broken off, whatever its directions wait for.
    pub async fn broken(&self) -> Broken {
        loop {
            if let Some(broken) = self.shared.broken.get() {
                return broken.clone();
            }
            self.shared.breaking.notified().await;
        }
    }

    /// The next bytes; none once the other side has ended its direction.
    ///
    /// Whoever fetches bytes gives their credit back by [`passed_on`](Self::passed_on).
    pub async fn receive(&self) -> Result<Option<Bytes>, Broken> {
        loop {
            {
                let mut inbound = self.shared.inbound.lock();
                // Under the lock: what waited may be gone, and its end mustn't be taken for that of all.
                self.shared.intact()?;
                let first = inbound.chunks.pop_front();
                inbound.fresh = inbound.fresh.min(inbound.chunks.len());
                match first {
                    Some(Chunk::Whole(bytes)) => return Ok(Some(bytes)),
                    Some(Chunk::Merged(bytes)) => return Ok(Some(bytes.freeze())),
                    None if inbound.received_end => return Ok(None),
                    None => {}
                }
            }
            self.shared.incoming.notified().await;
        }
    }

    /// What has been received by now, as far as it fits.
    #[must_use]
    pub fn received(&self, at_most: usize) -> BytesMut {
        let mut received = BytesMut::new();
        let mut inbound = self.shared.inbound.lock();
        while let Some(chunk) = inbound.chunks.front() {
            if received.len() + chunk.len() > at_most {
                break;
            }
            received.extend_from_slice(chunk);
            inbound.chunks.pop_front();
        }
        inbound.fresh = inbound.fresh.min(inbound.chunks.len());
        received
    }

    /// Gives the other side credit for bytes that were fetched and passed on.
    pub fn passed_on(&self, length: usize) {
        let credit = self
            .shared
            .inbound
            .lock()
            .passed_on(length, &self.connection);
        self.connection.give(self.shared.id, credit);
    }

    /// Has everything that is received from now on go to a sink, at once and by whoever reads it.
    pub fn deliver_to(&self, sink: Arc<dyn Sink>) {
        self.shared.inbound.lock().sink = Some(sink);
    }

    /// Passes on what waits, after the sink was set, or was full.
    pub fn pass_on(&self) -> Result<PassedOn, Broken> {
        let (result, credit) = {
            let mut inbound = self.shared.inbound.lock();
            // Under the lock: what waited may be gone, and its end mustn't be taken for that of all.
            self.shared.intact()?;
            inbound.is_full = false;
            inbound.pass_on(&self.connection)
        };
        self.connection.give(self.shared.id, credit);
        Ok(result)
    }

    /// Waits until there is something to look at: a sink that is full, finished or failed.
    pub async fn noticed(&self) {
        self.shared.incoming.notified().await;
    }

    /// Waits for credit; how many bytes may be sent.
    pub async fn credit(&self) -> Result<usize, Broken> {
        loop {
            self.shared.intact()?;
            let credit = self.shared.outbound.lock().credit;
            if credit > 0 {
                return Ok(credit as usize);
            }
            self.shared.credit.notified().await;
        }
    }

    /// Waits until [`put`](Self::put) may be used.
    pub async fn room(&self) -> Result<(), Broken> {
        let room = self.connection.outbox().room().await;
        room.map_err(|Full| Broken::Lost)
    }

    /// Has a few bytes sent, for which there is credit and [`room`](Self::room).
    pub fn put(&self, bytes: &[u8]) -> Result<(), Broken> {
        self.shared.intact()?;
        self.shared.spend(bytes.len());
        for part in bytes.chunks(MAX_DATA) {
            self.connection.put_data(self.shared.id, part, false)?;
        }
        self.connection.flush();
        Ok(())
    }

    /// Waits for the tunnel's turn to send many bytes.
    pub async fn turn(&self) -> Result<Sending<'_>, Broken> {
        let turn = self.connection.outbox().turn().await;
        let turn = turn.map_err(|Full| Broken::Lost)?;
        self.shared.intact()?;
        Ok(Sending { tunnel: self, turn })
    }

    /// Sends bytes, for which there is credit.
    pub async fn send(&self, bytes: &[u8]) -> Result<(), Broken> {
        if bytes.len() < SMALL {
            self.room().await?;
            return self.put(bytes);
        }
        for part in bytes.chunks(super::outbox::BATCH) {
            self.turn().await?.send(part)?;
        }
        Ok(())
    }

    /// Ends this side's direction.
    pub fn end(&self) -> Result<(), Broken> {
        self.shared.intact()?;
        // Behind the data before it.
        // Known first: once the other side has it, it may end the tunnel, and the connection with it.
        self.shared.outbound.lock().sent_end = true;
        let put = self.connection.put_data(self.shared.id, &[], true);
        put.inspect_err(|_| self.shared.outbound.lock().sent_end = false)?;
        self.connection.flush();
        Ok(())
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        if !self.shared.is_complete() {
            self.reset(Reason::Aborted);
        }
        let grown = {
            let mut inbound = self.shared.inbound.lock();
            inbound.sink = None;
            std::mem::replace(&mut inbound.window, WINDOW).saturating_sub(WINDOW)
        };
        self.connection.forget(self.shared.id, grown);
    }
}

// === impl Sending ===

impl Sending<'_> {
    /// Sends bytes, for which there is credit; at most what [`MAX_TURN`](super::MAX_TURN) says.
    pub fn send(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        self.tunnel.shared.spend(bytes.len());
        let sent = self.turn.send(self.tunnel.shared.id, bytes);
        sent.map_err(|Full| Broken::Lost)
    }
}

// === impl Shared ===

impl Shared {
    pub(super) fn new(id: u32, credit: u32) -> Self {
        Self {
            id,
            inbound: Mutex::new(Inbound {
                chunks: VecDeque::new(),
                fresh: 0,
                sink: None,
                is_full: false,
                has_failed: false,
                is_touched: false,
                window: WINDOW,
                allowance: WINDOW,
                passed_on: 0,
                received_end: false,
                finished: false,
            }),
            outbound: Mutex::new(Outbound {
                credit,
                accepted: false,
                sent_end: false,
            }),
            broken: OnceLock::new(),
            incoming: Notify::new(),
            credit: Notify::new(),
            breaking: Notify::new(),
        }
    }

    fn intact(&self) -> Result<(), Broken> {
        self.broken.get().cloned().map_or(Ok(()), Err)
    }

    fn is_complete(&self) -> bool {
        self.outbound.lock().sent_end && self.inbound.lock().received_end
    }

    /// The other side accepted; false when there was nothing to accept.
    pub(super) fn accepted(&self) -> bool {
        let first = !std::mem::replace(&mut self.outbound.lock().accepted, true);
        self.incoming.notify_one();
        first
    }

    /// Takes what was received.
    pub(super) fn received(&self, payload: Bytes, end: bool) -> Received {
        if self.broken.get().is_some() {
            return Received::Known;
        }
        let mut inbound = self.inbound.lock();
        let allowance = u32::try_from(payload.len())
            .ok()
            .and_then(|length| inbound.allowance.checked_sub(length));
        let Some(allowance) = allowance.filter(|_| !inbound.received_end) else {
            return Received::Forbidden;
        };
        inbound.allowance = allowance;
        inbound.received_end = end;
        inbound.push(payload);
        if std::mem::replace(&mut inbound.is_touched, true) {
            Received::Known
        } else {
            Received::Touched
        }
    }

    /// Passes on what was read, as far as that goes without waiting.
    pub(super) fn deliver(&self, connection: &Connection) {
        let credit = {
            let mut inbound = self.inbound.lock();
            inbound.is_touched = false;
            // Under the lock: what waited may be gone, and its end mustn't be taken for that of all.
            if self.broken.get().is_some() {
                return;
            }
            if inbound.sink.is_none() || inbound.is_full {
                inbound.settle();
                if inbound.sink.is_none() {
                    self.incoming.notify_one();
                }
                return;
            }
            let (result, credit) = inbound.pass_on(connection);
            if result != PassedOn::All {
                self.incoming.notify_one();
            }
            credit
        };
        connection.give(self.id, credit);
    }

    /// Takes credit; false when it overflows.
    pub(super) fn credited(&self, credit: u32) -> bool {
        {
            let mut outbound = self.outbound.lock();
            let Some(sum) = outbound.credit.checked_add(credit) else {
                return false;
            };
            outbound.credit = sum;
        }
        self.credit.notify_one();
        true
    }

    /// Uses credit.
    pub(super) fn spend(&self, length: usize) {
        let mut outbound = self.outbound.lock();
        // Nobody sends more at a time than there is credit, which has 32 bits.
        outbound.credit = outbound.credit.saturating_sub(length as u32);
    }

    /// The connection is gone: what hasn't come to its end won't any more.
    ///
    /// A tunnel whose both ends are on this side already still has its last bytes to pass on.
    pub(super) fn lost(&self) {
        if !self.is_complete() {
            self.end(Broken::Lost);
        }
    }

    /// Ends both directions; false when they had ended already.
    pub(super) fn end(&self, broken: Broken) -> bool {
        if self.broken.set(broken).is_err() {
            return false;
        }
        {
            let mut inbound = self.inbound.lock();
            inbound.chunks.clear();
            inbound.fresh = 0;
        }
        self.incoming.notify_one();
        self.credit.notify_one();
        self.breaking.notify_one();
        true
    }
}

// === impl Inbound ===

impl Inbound {
    fn push(&mut self, payload: Bytes) {
        if payload.is_empty() {
            return;
        }
        if self.fresh > 0
            && payload.len() < SMALL
            && let Some(last) = self.chunks.pop_back()
        {
            let merged = match last {
                Chunk::Merged(mut bytes) if bytes.len() < MERGE_TO => {
                    bytes.extend_from_slice(&payload);
                    Chunk::Merged(bytes)
                }
                Chunk::Whole(bytes) if bytes.len() < SMALL => {
                    let mut merged = BytesMut::with_capacity(2 * SMALL);
                    merged.extend_from_slice(&bytes);
                    merged.extend_from_slice(&payload);
                    Chunk::Merged(merged)
                }
                other => {
                    self.chunks.push_back(other);
                    self.fresh += 1;
                    Chunk::Whole(payload)
                }
            };
            self.chunks.push_back(merged);
            return;
        }
        self.chunks.push_back(Chunk::Whole(payload));
        self.fresh += 1;
    }

    /// Passes on what waits; also how much credit is to be given.
    fn pass_on(&mut self, connection: &Connection) -> (PassedOn, u32) {
        let mut passed = 0;
        let result = self.write(&mut passed);
        self.settle();
        let credit = if passed > 0 {
            self.passed_on(passed, connection)
        } else {
            0
        };
        (result, credit)
    }

    fn write(&mut self, passed: &mut usize) -> PassedOn {
        let Some(sink) = &self.sink else {
            return PassedOn::All;
        };
        while !self.chunks.is_empty() && !self.has_failed {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let (mut count, mut length) = (0, 0);
            for (slice, chunk) in slices.iter_mut().zip(&self.chunks) {
                *slice = IoSlice::new(chunk);
                (count, length) = (count + 1, length + chunk.len());
            }
            match sink.write(slices.get(..count).unwrap_or_default()) {
                Ok(written) => {
                    *passed += written;
                    self.is_full = written < length;
                    let mut left = written;
                    while let Some(first) = self.chunks.front_mut() {
                        if left < first.len() {
                            first.advance(left);
                            break;
                        }
                        left -= first.len();
                        self.chunks.pop_front();
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.is_full = true,
                Err(_) => self.has_failed = true,
            }
            if self.is_full {
                self.fresh = self.fresh.min(self.chunks.len());
                return PassedOn::Full;
            }
        }
        self.fresh = self.fresh.min(self.chunks.len());
        if self.received_end && !self.finished && !self.has_failed {
            self.finished = true;
            self.has_failed = sink.finish().is_err();
        }
        if self.has_failed {
            PassedOn::Failed
        } else if self.finished {
            PassedOn::End
        } else {
            PassedOn::All
        }
    }

    /// What waits on lets go of the buffer that it was read with, unless it is most of it.
    fn settle(&mut self) {
        let fresh = std::mem::take(&mut self.fresh);
        if fresh == 0 {
            return;
        }
        let from = self.chunks.len().saturating_sub(fresh);
        let length: usize = self.chunks.iter().skip(from).map(|chunk| chunk.len()).sum();
        if length >= KEEP_FROM {
            return;
        }
        let new = self.chunks.split_off(from);
        let into = match self.chunks.back_mut() {
            Some(Chunk::Merged(last)) if last.len() + length <= MERGE_TO => last,
            _ => {
                let room = BytesMut::with_capacity(length);
                self.chunks.push_back(Chunk::Merged(room));
                match self.chunks.back_mut() {
                    Some(Chunk::Merged(last)) => last,
                    _ => return,
                }
            }
        };
        for chunk in new {
            into.extend_from_slice(&chunk);
        }
    }

    /// Counts what was passed on; how much credit is to be given, if any.
    fn passed_on(&mut self, length: usize, connection: &Connection) -> u32 {
        // Never more than the window, since only allowed bytes are received.
        self.passed_on = self.passed_on.saturating_add(length as u32);
        if self.passed_on < self.window / 2 || self.received_end {
            return 0;
        }
        let mut credit = std::mem::take(&mut self.passed_on);
        // Whoever keeps up may have more on its way; it costs nothing until it doesn't.
        if self.chunks.is_empty() {
            let grown = connection.grow(self.window.min(MAX_WINDOW - self.window));
            self.window += grown;
            credit = credit.saturating_add(grown);
        }
        self.allowance = self.allowance.saturating_add(credit);
        credit
    }
}

impl fmt::Debug for Inbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbound")
            .field("chunks", &self.chunks.len())
            .field("window", &self.window)
            .field("allowance", &self.allowance)
            .field("received_end", &self.received_end)
            .finish_non_exhaustive()
    }
}

// === impl Chunk ===

impl std::ops::Deref for Chunk {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Whole(bytes) => bytes,
            Self::Merged(bytes) => bytes,
        }
    }
}

impl Chunk {
    fn advance(&mut self, length: usize) {
        match self {
            Self::Whole(bytes) => bytes.advance(length),
            Self::Merged(bytes) => bytes.advance(length),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
