//! Waiting for a condition instead of sleeping.

use std::thread;
use std::time::{Duration, Instant};

/// How long a test waits for what should happen at once: far more than a loaded machine needs.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Asks until the answer is there and returns it; panics at the [`DEADLINE`] with the last reason.
pub fn wait_for<T>(what: &str, ask: impl FnMut() -> Result<T, String>) -> T {
    wait_within(DEADLINE, what, ask)
}

/// The same, for what takes long by its size.
pub fn wait_within<T>(
    deadline: Duration,
    what: &str,
    mut ask: impl FnMut() -> Result<T, String>,
) -> T {
    let start = Instant::now();
    loop {
        match ask() {
            Ok(answer) => return answer,
            Err(reason) if start.elapsed() > deadline => {
                panic!("{what}: not after {deadline:?}; last seen: {reason}")
            }
            // Short against what is waited for, long against what asking costs.
            Err(_) => thread::sleep(Duration::from_millis(10)),
        }
    }
}

/// Turns a condition into an answer for [`wait_for`].
pub fn holds(condition: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if condition { Ok(()) } else { Err(otherwise()) }
}
