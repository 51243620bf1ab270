//! The decision log as a file of its own: a JSON object per line, written by a thread.
//!
//! Who decides serialises the line and leaves it in memory: no disk and no reader, however slow,
//! ever holds up traffic. Where more comes than can be written, lines are lost, and counted.

use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use serde::Serialize;

use crate::config::DecisionLog;
use crate::gateway::StartError;
use crate::metrics::Metrics;

/// Bytes that wait to be written: some 15,000 lines, which is half a second of a gateway that does
/// nothing but short connections.
const MOST: usize = 8 * 1024 * 1024;

/// So much is written at once, without waiting for more.
const ENOUGH: usize = 64 * 1024;

/// How long a line waits for others to be written with it.
const WAIT: Duration = Duration::from_millis(200);

/// The decision log; every line goes to one place.
#[derive(Debug)]
pub(crate) struct Log {
    lines: Arc<Lines>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct Lines {
    waiting: Mutex<Waiting>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    bytes: Vec<u8>,
    reopen: bool,
    closed: bool,
}

/// Where lines go.
enum Target {
    Stdout,
    File(std::path::PathBuf, File),
}

thread_local! {
    /// A line in the making: as many as there are threads, and none is allocated anew.
    static LINE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

// === impl Log ===

impl Log {
    /// Opens the log; none where decisions are events of the process's own log.
    pub(crate) fn open(
        config: &DecisionLog,
        metrics: &Metrics,
    ) -> Result<Option<Self>, StartError> {
        let failed = |source| StartError::DecisionLog {
            file: config.clone(),
            source,
        };
        let target = match config {
            DecisionLog::Events => return Ok(None),
            DecisionLog::Stdout => Target::Stdout,
            DecisionLog::File(path) => Target::File(path.clone(), append(path).map_err(failed)?),
        };
        let lines = Arc::new(Lines::default());
        let (waiting, lost) = (Arc::clone(&lines), metrics.decisions_lost.clone());
        let writer = std::thread::Builder::new()
            .name("weft-decisions".to_owned())
            .spawn(move || {
                waiting.write_to(target, |lines| {
                    lost.inc_by(lines);
                });
            })
            .map_err(failed)?;
        Ok(Some(Self {
            lines,
            writer: Mutex::new(Some(writer)),
        }))
    }

    /// Adds a line.
    pub(crate) fn add(&self, line: &impl Serialize, metrics: &Metrics) {
        LINE.with_borrow_mut(|text| {
            text.clear();
            let is_written = serde_json::to_writer(&mut *text, line).is_ok();
            text.push(b'\n');
            if !is_written || !self.lines.add(text) {
                metrics.decisions_lost.inc();
            }
        });
    }

    /// Opens the file anew, since it may have been moved away.
    pub(crate) fn reopen(&self) {
        self.lines.waiting.lock().reopen = true;
        self.lines.wake.notify_one();
    }

    /// Writes what waits, and ends.
    pub(crate) fn close(&self) {
        self.lines.waiting.lock().closed = true;
        self.lines.wake.notify_one();
        let writer = self.writer.lock().take();
        if let Some(writer) = writer {
            let _ = writer.join();
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        // The thread writes what waits; nobody waits for it here.
        self.lines.waiting.lock().closed = true;
        self.lines.wake.notify_one();
    }
}

// === impl Lines ===

impl Lines {
    /// Adds a line; false where there is no room.
    fn add(&self, line: &[u8]) -> bool {
        let mut waiting = self.waiting.lock();
        let before = waiting.bytes.len();
        if before + line.len() > MOST || waiting.closed {
            return false;
        }
        waiting.bytes.extend_from_slice(line);
        let after = waiting.bytes.len();
        drop(waiting);
        // The thread sleeps until there is a first line, and then a while, or until it is enough.
        if before == 0 || (before < ENOUGH && after >= ENOUGH) {
            self.wake.notify_one();
        }
        true
    }

    /// Takes what waits; none at the end.
    fn take(&self, into: &mut Vec<u8>) -> Option<bool> {
        let mut waiting = self.waiting.lock();
        while waiting.bytes.is_empty() && !waiting.reopen {
            if waiting.closed {
                return None;
            }
            self.wake.wait(&mut waiting);
        }
        if waiting.bytes.len() < ENOUGH && !waiting.reopen && !waiting.closed {
            self.wake.wait_for(&mut waiting, WAIT);
        }
        std::mem::swap(&mut waiting.bytes, into);
        Some(std::mem::take(&mut waiting.reopen))
    }

    fn write_to(&self, mut target: Target, lost: impl Fn(u64)) {
        let mut bytes = Vec::new();
        // Whether the end of a line is missing in the file.
        let mut is_torn = false;
        let mut is_told = false;
        while let Some(reopen) = self.take(&mut bytes) {
            let result = target.write(&bytes, &mut is_torn);
            match &result {
                Ok(()) => is_told = false,
                Err((error, left)) => {
                    lost(left.iter().filter(|byte| **byte == b'\n').count() as u64);
                    if !std::mem::replace(&mut is_told, true) {
                        tracing::error!(%error, "the decision log can't be written; lines are lost");
                    }
                }
            }
            bytes.clear();
            // A burst's memory isn't kept for ever.
            bytes.shrink_to(2 * ENOUGH);
            if reopen && let Err(error) = target.reopen() {
                tracing::error!(%error, "the decision log can't be opened anew; the old file stays");
            }
        }
    }
}

// === impl Target ===

impl Target {
    /// Writes lines; on failure what of them isn't written.
    fn write<'a>(
        &mut self,
        bytes: &'a [u8],
        is_torn: &mut bool,
    ) -> Result<(), (io::Error, &'a [u8])> {
        let mut left = bytes;
        let mut write = || -> io::Result<()> {
            if *is_torn {
                self.write_some(b"\n")?;
                *is_torn = false;
            }
            while !left.is_empty() {
                let written = match self.write_some(left) {
                    Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Ok(written) => written,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) => return Err(error),
                };
                let (done, rest) = left.split_at(written.min(left.len()));
                *is_torn = done.last() != Some(&b'\n');
                left = rest;
            }
            Ok(())
        };
        let result = write();
        result.map_err(|error| (error, left))
    }

    fn write_some(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stdout => {
                let mut stdout = io::stdout().lock();
                let written = stdout.write(bytes)?;
                stdout.flush()?;
                Ok(written)
            }
            Self::File(_, file) => file.write(bytes),
        }
    }

    fn reopen(&mut self) -> io::Result<()> {
        if let Self::File(path, file) = self {
            *file = append(path)?;
        }
        Ok(())
    }
}

/// Opens a file to be written at its end; it says who talks to whom, so it is for its owner.
fn append(path: &std::path::Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &std::path::Path) -> Vec<u64> {
        let text = std::fs::read_to_string(path).unwrap();
        text.lines().map(|line| line.parse().unwrap()).collect()
    }

    #[test]
    fn every_line_is_written_in_order_also_over_a_rotation() {
        let folder = tempfile::tempdir().unwrap();
        let (path, moved) = (folder.path().join("log"), folder.path().join("log.1"));
        let metrics = Metrics::default();
        let config = DecisionLog::File(path.clone());
        let log = Log::open(&config, &metrics).unwrap().unwrap();
        for number in 0..100_000_u64 {
            log.add(&number, &metrics);
            if number == 50_000 {
                std::fs::rename(&path, &moved).unwrap();
                log.reopen();
            }
        }
        log.close();
        let all: Vec<_> = [read(&moved), read(&path)].concat();
        assert_eq!(metrics.decisions_lost.get(), 0);
        assert_eq!(all, (0..100_000).collect::<Vec<_>>());
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("missing").join("log");
        let config = DecisionLog::File(path.clone());
        let error = Log::open(&config, &Metrics::default()).unwrap_err();
        let text = format!("open the decision log {}", path.display());
        assert_eq!(error.to_string(), text);
    }

    #[test]
    fn what_does_not_fit_is_lost_and_counted_and_nobody_waits() {
        let lines = Lines::default();
        let line = [b'x'; 1023];
        let taken = (0..MOST).take_while(|_| lines.add(&line)).count();
        assert_eq!(taken, MOST / line.len());
        let mut bytes = Vec::new();
        lines.take(&mut bytes);
        assert_eq!(bytes.len(), taken * line.len());
        assert!(lines.add(&line), "there is room again");
    }

    #[test]
    fn a_disk_that_takes_nothing_loses_lines_and_stops_nobody() {
        let metrics = Metrics::default();
        // Every write to it fails as on a full disk.
        let config = DecisionLog::File("/dev/full".into());
        let log = Log::open(&config, &metrics).unwrap().unwrap();
        for number in 0..1000_u64 {
            log.add(&number, &metrics);
        }
        log.close();
        assert_eq!(metrics.decisions_lost.get(), 1000);
    }
}
