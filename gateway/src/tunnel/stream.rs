//! One tunnel: what waits to be read, and the credit of both directions.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::connection::Connection;
use super::frame::{self, FrameError};
use super::reason::Reason;

/// Received payloads below this are merged where they wait, so that small frames neither cost more
/// than they carry nor hold on to the whole buffer that they were read with.
const MERGE_BELOW: usize = 16 * 1024;

/// Payloads that may wait as they were read: more than a reader that keeps up leaves behind.
const MAX_WHOLE: usize = 4;

/// One tunnel, in the hands of the task that carries its bytes; dropped early, it is reset.
#[derive(Debug)]
pub struct Tunnel {
    shared: Arc<Shared>,
    connection: Arc<Connection>,
}

/// What the connection's reader and the tunnel's task share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) id: u32,
    state: Mutex<State>,
    /// Something was received, or the tunnel was answered or broken.
    incoming: Notify,
    /// Credit was received, or the tunnel was broken.
    credit: Notify,
    /// The tunnel was broken.
    broken: Notify,
}

#[derive(Debug)]
struct State {
    chunks: VecDeque<Chunk>,
    /// How much the other side may still send.
    allowance: u32,
    /// How much was passed on since credit was last given back.
    passed_on: u32,
    /// How much may still be sent.
    credit: u32,
    accepted: bool,
    received_end: bool,
    sent_end: bool,
    broken: Option<Broken>,
}

#[derive(Debug)]
enum Chunk {
    Whole(Bytes),
    Merged(BytesMut),
}

/// Why a tunnel carries nothing more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// The other side didn't open it.
    #[error("refused by the peer: {0} {1}")]
    Refused(Reason, String),
    /// The other side broke it off.
    #[error("reset by the peer: {0} {1}")]
    Reset(Reason, String),
    /// This side broke it off.
    #[error("reset: {0}")]
    Ended(Reason),
    /// The connection to the peer is gone.
    #[error("the connection to the peer is lost")]
    Lost,
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
            {
                let state = self.shared.state.lock();
                // Also when it is broken by now: the service has seen it, and no other one may.
                if state.accepted {
                    return Ok(());
                }
                if let Some(broken) = &state.broken {
                    return Err(broken.clone());
                }
            }
            self.shared.incoming.notified().await;
        }
    }

    /// Says that the service is reached.
    pub fn accept(&self) {
        self.shared.state.lock().accepted = true;
        self.connection
            .send_control(&frame::Frame::Accept(self.shared.id));
    }

    /// Refuses the tunnel.
    pub fn refuse(self, reason: Reason, text: &str) {
        if self.shared.end(Broken::Ended(reason)) {
            let frame = frame::Frame::Refuse(self.shared.id, reason, text.to_owned());
            self.connection.send_control(&frame);
        }
    }

    /// Breaks the tunnel off.
    pub fn reset(&self, reason: Reason) {
        if self.shared.end(Broken::Ended(reason)) {
            let frame = frame::Frame::Reset(self.shared.id, reason, String::new());
            self.connection.send_control(&frame);
        }
    }

    /// Waits until the tunnel is broken off, whatever its directions wait for.
    pub async fn broken(&self) -> Broken {
        loop {
            if let Some(broken) = &self.shared.state.lock().broken {
                return broken.clone();
            }
            self.shared.broken.notified().await;
        }
    }

    /// The next bytes; none once the other side has ended its direction.
    pub async fn receive(&self) -> Result<Option<Bytes>, Broken> {
        loop {
            {
                let mut state = self.shared.state.lock();
                if let Some(broken) = &state.broken {
                    return Err(broken.clone());
                }
                match state.chunks.pop_front() {
                    Some(Chunk::Whole(bytes)) => return Ok(Some(bytes)),
                    Some(Chunk::Merged(bytes)) => return Ok(Some(bytes.freeze())),
                    None if state.received_end => return Ok(None),
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
        let mut state = self.shared.state.lock();
        while let Some(chunk) = state.chunks.front() {
            let bytes = chunk.bytes();
            if received.len() + bytes.len() > at_most {
                break;
            }
            received.extend_from_slice(bytes);
            state.chunks.pop_front();
        }
        received
    }

    /// Gives the other side credit for bytes that were passed on.
    pub fn passed_on(&self, length: usize) {
        let window = self.connection.window();
        let credit = {
            let mut state = self.shared.state.lock();
            // Never more than the window, since only allowed bytes are received.
            state.passed_on = state.passed_on.saturating_add(length as u32);
            if state.passed_on < window / 2 || state.received_end {
                return;
            }
            let credit = std::mem::take(&mut state.passed_on);
            state.allowance = state.allowance.saturating_add(credit);
            credit
        };
        self.connection
            .send_control(&frame::Frame::Window(self.shared.id, credit));
    }

    /// Waits for credit; how many bytes may be sent.
    pub async fn credit(&self) -> Result<usize, Broken> {
        loop {
            {
                let state = self.shared.state.lock();
                if let Some(broken) = &state.broken {
                    return Err(broken.clone());
                }
                if state.credit > 0 {
                    return Ok(state.credit as usize);
                }
            }
            self.shared.credit.notified().await;
        }
    }

    /// Sends a buffer made by [`frame::data_buffer`], with at most as many bytes as there is
    /// credit.
    pub async fn send(&self, buffer: BytesMut) -> Result<(), Broken> {
        let length = buffer.len().saturating_sub(frame::HEADER_LENGTH);
        {
            let mut state = self.shared.state.lock();
            if let Some(broken) = &state.broken {
                return Err(broken.clone());
            }
            state.credit = state.credit.saturating_sub(length as u32);
        }
        let frame = frame::seal_data(buffer, self.shared.id, false).map_err(broken_by)?;
        self.connection.send_data(frame).await
    }

    /// Ends this side's direction.
    pub async fn end(&self) -> Result<(), Broken> {
        let frame =
            frame::seal_data(frame::data_buffer(0), self.shared.id, true).map_err(broken_by)?;
        // In the order of the data before it.
        self.connection.send_data(frame).await?;
        self.shared.state.lock().sent_end = true;
        Ok(())
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        let complete = {
            let state = self.shared.state.lock();
            state.sent_end && state.received_end
        };
        if !complete {
            self.reset(Reason::Aborted);
        }
        self.connection.forget(self.shared.id);
    }
}

fn broken_by(_: FrameError) -> Broken {
    Broken::Ended(Reason::Protocol)
}

// === impl Chunk ===

impl Chunk {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Whole(bytes) => bytes,
            Self::Merged(bytes) => bytes,
        }
    }
}

// === impl Shared ===

impl Shared {
    pub(super) fn new(id: u32, allowance: u32, credit: u32) -> Self {
        Self {
            id,
            state: Mutex::new(State {
                chunks: VecDeque::new(),
                allowance,
                passed_on: 0,
                credit,
                accepted: false,
                received_end: false,
                sent_end: false,
                broken: None,
            }),
            incoming: Notify::new(),
            credit: Notify::new(),
            broken: Notify::new(),
        }
    }

    /// The other side accepted; false when there was nothing to accept.
    pub(super) fn accepted(&self) -> bool {
        let first = !std::mem::replace(&mut self.state.lock().accepted, true);
        self.incoming.notify_one();
        first
    }

    /// Takes what was received; false when it is more than was allowed, or behind the end.
    pub(super) fn received(&self, payload: Bytes, end: bool) -> bool {
        {
            let mut state = self.state.lock();
            if state.broken.is_some() {
                return true;
            }
            let allowance = u32::try_from(payload.len())
                .ok()
                .and_then(|length| state.allowance.checked_sub(length));
            let Some(allowance) = allowance.filter(|_| !state.received_end) else {
                return false;
            };
            state.allowance = allowance;
            state.received_end = end;
            let copy = payload.len() < MERGE_BELOW || state.chunks.len() >= MAX_WHOLE;
            match state.chunks.back_mut() {
                _ if payload.is_empty() => {}
                Some(Chunk::Merged(merged)) if merged.len() + payload.len() <= MERGE_BELOW => {
                    merged.extend_from_slice(&payload);
                }
                // Neither may many large ones: each holds the whole buffer that it was read with.
                _ if copy => state
                    .chunks
                    .push_back(Chunk::Merged(BytesMut::from(&payload[..]))),
                _ => state.chunks.push_back(Chunk::Whole(payload)),
            }
        }
        self.incoming.notify_one();
        true
    }

    /// Takes credit; false when it overflows.
    pub(super) fn credited(&self, credit: u32) -> bool {
        {
            let mut state = self.state.lock();
            let Some(sum) = state.credit.checked_add(credit) else {
                return false;
            };
            state.credit = sum;
        }
        self.credit.notify_one();
        true
    }

    /// Uses credit for what goes out together with OPEN.
    pub(super) fn spend(&self, length: u32) {
        let mut state = self.state.lock();
        state.credit = state.credit.saturating_sub(length);
    }

    /// The connection is gone: what hasn't come to its end won't any more.
    ///
    /// A tunnel whose both ends are on this side already still has its last bytes to pass on.
    pub(super) fn lost(&self) {
        let complete = {
            let state = self.state.lock();
            state.sent_end && state.received_end
        };
        if !complete {
            self.end(Broken::Lost);
        }
    }

    /// Ends both directions; false when they had ended already.
    pub(super) fn end(&self, broken: Broken) -> bool {
        {
            let mut state = self.state.lock();
            if state.broken.is_some() {
                return false;
            }
            state.broken = Some(broken);
            state.chunks.clear();
        }
        self.incoming.notify_one();
        self.credit.notify_one();
        self.broken.notify_one();
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stalled_tunnel_holds_on_to_few_read_buffers() {
        let shared = Shared::new(1, 256 * 1024, 0);
        let buffers: Vec<_> = (0..16).map(|_| Bytes::from(vec![7; 128 * 1024])).collect();
        for buffer in &buffers {
            assert!(shared.received(buffer.slice(..MERGE_BELOW), false));
        }
        let held = buffers.iter().filter(|buffer| !buffer.is_unique());
        assert_eq!(held.count(), MAX_WHOLE);
        let waiting = |chunk: &Chunk| match chunk {
            Chunk::Whole(bytes) => bytes.len(),
            Chunk::Merged(bytes) => bytes.len(),
        };
        let state = shared.state.lock();
        let length: usize = state.chunks.iter().map(waiting).sum();
        assert_eq!(length, 256 * 1024);
    }
}
