use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::Options;
use crate::git::{Remote, reference_files};

/// Notices that a reference of a repository on this machine moved, by the files that hold it.
///
/// A look costs three calls of `stat`, less than a subscription to the directories in which Git
/// replaces those files. What it misses (another file format) the interval finds.
#[derive(Debug)]
pub(super) struct ReferenceWatch {
    remote: Remote,
    period: Option<Duration>,
    files: Vec<PathBuf>,
    seen: Vec<Option<State>>,
}

/// Git replaces a reference's file by another one, so that the file's number changes too when two
/// moves fall into one tick of the file system's clock.
type State = (u64, SystemTime, u64);

// === impl ReferenceWatch ===

impl ReferenceWatch {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            remote: options.remote.clone(),
            period: options.watch,
            files: Vec::new(),
            seen: Vec::new(),
        }
    }

    /// Remembers how the files are now.
    pub(super) fn look(&mut self) {
        if let (Some(path), Some(_)) = (self.remote.address().local_path(), self.period) {
            // Anew each time: `HEAD` may lead to another branch meanwhile.
            self.files = reference_files(path, self.remote.reference());
        }
        self.seen = self.state();
    }

    /// Waits until they are otherwise.
    pub(super) async fn changed(&self) {
        let Some(period) = self.period.filter(|_| !self.files.is_empty()) else {
            return std::future::pending().await;
        };
        while self.state() == self.seen {
            tokio::time::sleep(period).await;
        }
    }

    fn state(&self) -> Vec<Option<State>> {
        let state = |path: &PathBuf| {
            let metadata = fs::metadata(path).ok()?;
            Some((metadata.ino(), metadata.modified().ok()?, metadata.len()))
        };
        self.files.iter().map(state).collect()
    }
}
