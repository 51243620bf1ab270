//! The gateway as a whole: start, follow the snapshots, drain.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fabric::name::ObjectName;
use fabric::origin::Revision;
use fabric::snapshot::Snapshot;
use tokio::sync::watch;

use crate::config::{Config, StatusProvider};

/// The snapshots that a gateway follows; none means that nothing is let through.
pub type Snapshots = watch::Receiver<Option<Arc<Snapshot>>>;

/// A gateway that can be started.
#[derive(Debug)]
pub struct Gateway;

/// A gateway that runs; dropped, it ends at once.
#[derive(Debug)]
pub struct Running {
    listen: SocketAddr,
    admin: SocketAddr,
    in_force: watch::Receiver<Option<Revision>>,
}

/// How an import's listener does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImportListener {
    /// Clients can connect here.
    Listening(SocketAddr),
    /// The address can't be had; tried again and again.
    Failed(SocketAddr, String),
}

/// Why a gateway can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// None of the identities can be used.
    #[error("read certificate {path}: {reason}")]
    Identity {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// An address can't be listened at.
    #[error("listen at {address} for {what}")]
    Listen {
        /// What for.
        what: &'static str,
        /// The address.
        address: SocketAddr,
        /// The system's reason.
        source: std::io::Error,
    },
}

impl Gateway {
    /// Starts a gateway that follows the snapshots.
    pub async fn start(
        config: Config,
        snapshots: Snapshots,
        status: Option<StatusProvider>,
    ) -> Result<Running, StartError> {
        let _ = (config, snapshots, status);
        Err(StartError::Identity { path: PathBuf::new(), reason: "not there yet".to_owned() })
    }
}

impl Running {
    /// Where other gateways connect to.
    #[must_use]
    pub const fn listen_addr(&self) -> SocketAddr {
        self.listen
    }

    /// Where the admin port is.
    #[must_use]
    pub const fn admin_addr(&self) -> SocketAddr {
        self.admin
    }

    /// The imports' listeners.
    #[must_use]
    pub fn imports(&self) -> BTreeMap<ObjectName, ImportListener> {
        BTreeMap::new()
    }

    /// The revision in force: set once everything that it forbids is cut and its imports listen
    /// (or have failed to).
    #[must_use]
    pub fn in_force(&self) -> watch::Receiver<Option<Revision>> {
        self.in_force.clone()
    }

    /// Reads the certificates and keys anew; errors are logged, and the old ones stay.
    pub fn reload(&self) {}

    /// Takes nothing new, waits for what runs, and cuts what still runs at the deadline.
    pub async fn drain(self, deadline: Duration) {
        let _ = deadline;
    }
}
