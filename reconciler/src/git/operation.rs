//! One fetch while it runs: its deadline, its budget, how it is stopped, and why it failed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tokio_util::sync::CancellationToken;

use super::error::FetchError;
use super::remote::{FetchLimits, Remote};

/// What the transports need to know of the fetch that they serve.
pub(super) struct Operation {
    pub(super) remote: Remote,
    pub(super) limits: FetchLimits,
    started: Instant,
    received: AtomicU64,
    cancelled: CancellationToken,
    state: Mutex<State>,
    finished: Condvar,
}

#[derive(Default)]
struct State {
    is_finished: bool,
    is_stopped: bool,
    /// The first failure that was noticed: what libgit2 says later only follows from it.
    failure: Option<FetchError>,
    /// What interrupts whoever is blocked.
    interrupts: Vec<Box<dyn FnOnce() + Send>>,
}

/// How long a cancellation may go unnoticed.
const CANCELLATION_CHECK: Duration = Duration::from_millis(50);

// === impl Operation ===

impl Operation {
    /// Runs a fetch; it is interrupted at its deadline or when the token is cancelled.
    pub(super) fn run<T>(
        remote: &Remote,
        limits: FetchLimits,
        cancelled: &CancellationToken,
        fetch: impl FnOnce(&Arc<Self>) -> Result<T, FetchError>,
    ) -> Result<T, FetchError> {
        let operation = Arc::new(Self {
            remote: remote.clone(),
            limits,
            started: Instant::now(),
            received: AtomicU64::new(0),
            cancelled: cancelled.clone(),
            state: Mutex::default(),
            finished: Condvar::new(),
        });
        std::thread::scope(|scope| {
            scope.spawn(|| operation.watch());
            // Also when it panics, or the scope would wait for the watch until the deadline.
            let finish = Finish(&operation);
            let result = fetch(&operation);
            drop(finish);
            // Where a failure was noted, it is the reason of whatever was returned.
            match (operation.state.lock().failure.take(), result) {
                (Some(failure), Err(_)) => Err(failure),
                (_, result) => result,
            }
        })
    }

    /// Fails when the fetch is to end: at the deadline, or when it was cancelled.
    pub(super) fn check(&self) -> Result<(), FetchError> {
        let failure = if self.cancelled.is_cancelled() {
            FetchError::Cancelled
        } else if self.started.elapsed() >= self.limits.deadline {
            FetchError::Deadline(self.limits.deadline)
        } else {
            return Ok(());
        };
        Err(failure)
    }

    /// Counts received bytes.
    pub(super) fn receive(&self, bytes: usize) -> Result<(), FetchError> {
        self.check()?;
        let before = self.received.fetch_add(bytes as u64, Ordering::Relaxed);
        match before.saturating_add(bytes as u64) > self.limits.bytes {
            true => Err(FetchError::TooLarge(self.limits.bytes)),
            false => Ok(()),
        }
    }

    pub(super) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Keeps the first reason, behind which libgit2 has only a short text.
    pub(super) fn fail(&self, failure: FetchError) {
        // Whatever breaks at the deadline breaks because of it.
        let failure = self.check().err().unwrap_or(failure);
        self.state.lock().failure.get_or_insert(failure);
    }

    /// Has something called when the fetch is to end while it is blocked.
    pub(super) fn on_stop(&self, interrupt: impl FnOnce() + Send + 'static) {
        let mut state = self.state.lock();
        if state.is_stopped {
            drop(state);
            interrupt();
        } else {
            state.interrupts.push(Box::new(interrupt));
        }
    }

    fn watch(&self) {
        let mut state = self.state.lock();
        while !state.is_finished {
            if let Err(failure) = self.check() {
                state.failure.get_or_insert(failure);
                state.is_stopped = true;
                let interrupts = std::mem::take(&mut state.interrupts);
                drop(state);
                for interrupt in interrupts {
                    interrupt();
                }
                return;
            }
            let left = self.limits.deadline.saturating_sub(self.started.elapsed());
            self.finished
                .wait_for(&mut state, left.min(CANCELLATION_CHECK));
        }
    }
}

struct Finish<'a>(&'a Operation);

impl Drop for Finish<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.is_finished = true;
        state.interrupts.clear();
        self.0.finished.notify_all();
    }
}
