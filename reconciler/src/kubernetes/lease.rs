//! Who leads of several processes of one role: a Lease, and writes that a stale leader can't win.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Whether this process leads, right now.
///
/// It is asked before every write. A process that was paused and wakes up finds the time past to
/// which it was leader, and writes nothing; what is on its way already fails by the preconditions
/// that each write carries.
#[derive(Clone)]
pub struct Leadership {
    /// To when this process leads, in milliseconds of [`uptime`].
    until: Arc<AtomicU64>,
}

// === impl Leadership ===

impl Leadership {
    /// Of a process that nobody else competes with.
    #[must_use]
    pub fn always() -> Self {
        Self {
            until: Arc::new(AtomicU64::new(u64::MAX)),
        }
    }

    /// Whether this process leads.
    #[must_use]
    pub fn holds(&self) -> bool {
        uptime() < self.until.load(Ordering::Acquire)
    }
}

impl fmt::Debug for Leadership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Leadership({})", self.holds())
    }
}

/// Milliseconds since the machine started, those that it slept included.
fn uptime() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let (seconds, nanos) = (time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs());
    seconds * 1000 + nanos / 1_000_000
}
