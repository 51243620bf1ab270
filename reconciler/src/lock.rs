//! A file that says that a directory is in use.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long somebody else may hold the lock.
///
/// A process that is just being started (`ssh`, say) holds the locks of the one that starts it
/// until it has become another program, and a service that is started anew may meet its
/// predecessor on the way out.
const PATIENCE: Duration = Duration::from_secs(1);
const STEP: Duration = Duration::from_millis(10);

/// Locks a file, which is made where it isn't there; none where somebody else holds it.
///
/// The lock lasts until the file is dropped, and the system lets go of it however a process ends.
pub(crate) fn lock(path: &Path) -> io::Result<Option<File>> {
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)?;
    let begun = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Some(file)),
            Err(TryLockError::WouldBlock) if begun.elapsed() < PATIENCE => std::thread::sleep(STEP),
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}
