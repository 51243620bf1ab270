use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fabric::name::PeerName;
use fabric::snapshot::Snapshot;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::file::{Slots, failed};
use super::{Approvals, Desired, Report, Store, StoreError};

/// A state directory on this machine: the store of a host without Kubernetes.
///
/// What was in force last is in force again as soon as it is opened, whether or not Git can be
/// reached.
#[derive(Clone, Debug)]
pub struct Local {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    directory: PathBuf,
    peer: PeerName,
    state: Mutex<State>,
    snapshots: watch::Sender<Option<Arc<Snapshot>>>,
    /// Held for as long as the store is open; the system lets go of it however the process ends.
    _lock: File,
}

#[derive(Debug)]
struct State {
    slots: Slots,
    in_force: Option<Arc<Desired>>,
}

// === impl Local ===

impl Local {
    /// Opens the state directory of a peer, or makes it.
    pub fn open(directory: &Path, peer: &PeerName) -> Result<Self, StoreError> {
        fs::create_dir_all(directory).map_err(failed("make", directory))?;
        let path = directory.join("lock");
        let lock = crate::lock::lock(&path)
            .map_err(failed("lock", &path))?
            .ok_or_else(|| StoreError::InUse(directory.to_owned()))?;
        let (slots, in_force) = Slots::open(directory, peer)?;
        let snapshot = in_force.as_ref().and_then(compile);
        if let Some(desired) = &in_force {
            tracing::info!(revision = %desired.revision, "the last good state is in force again");
        }
        let state = State {
            slots,
            in_force: in_force.map(Arc::new),
        };
        let inner = Inner {
            directory: directory.to_owned(),
            peer: peer.clone(),
            state: Mutex::new(state),
            snapshots: watch::Sender::new(snapshot),
            _lock: lock,
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Where the Git store of the same state belongs.
    #[must_use]
    pub fn git_directory(&self) -> PathBuf {
        self.inner.directory.join("git")
    }

    /// What a gateway goes by, from now on; none as long as nothing is in force.
    #[must_use]
    pub fn snapshots(&self) -> watch::Receiver<Option<Arc<Snapshot>>> {
        self.inner.snapshots.subscribe()
    }

    /// The peer whose state it is.
    #[must_use]
    pub fn peer(&self) -> &PeerName {
        &self.inner.peer
    }
}

impl Store for Local {
    async fn apply(&self, desired: Desired, _: Approvals) -> Result<Report, StoreError> {
        let inner = Arc::clone(&self.inner);
        // Writing waits for the disk.
        tokio::task::spawn_blocking(move || inner.apply(desired))
            .await
            .map_err(StoreError::Lost)?
    }

    fn in_force(&self) -> Option<Arc<Desired>> {
        self.inner.state.lock().in_force.clone()
    }
}

// === impl Inner ===

impl Inner {
    fn apply(&self, desired: Desired) -> Result<Report, StoreError> {
        let mut state = self.state.lock();
        let (desired, mut report) = desired.after(state.in_force.as_deref());
        if state.in_force.as_deref() == Some(&desired) {
            return Ok(report);
        }
        // First the disk: what gateways go by must still be there after a restart.
        state.slots.write(&self.peer, &desired)?;
        report.is_written = true;
        let is_other = state
            .in_force
            .as_ref()
            .is_none_or(|before| before.plan != desired.plan);
        if is_other {
            self.snapshots.send_replace(compile(&desired));
        }
        state.in_force = Some(Arc::new(desired));
        Ok(report)
    }
}

fn compile(desired: &Desired) -> Option<Arc<Snapshot>> {
    let plan = desired.plan.as_ref()?;
    Some(Arc::new(Snapshot::compile(plan)))
}
