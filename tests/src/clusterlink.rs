//! A peer that runs ClusterLink: Envoy as its data plane, and what its control plane does for it.
//!
//! Envoy is the binary that ClusterLink ships, with the listeners, clusters and filters that
//! ClusterLink gives it. Other than there
//!
//! - all of it stands in one file: there is no xDS, since nothing of it changes;
//! - Envoy talks to the control plane over plain HTTP/2 on loopback, not over mutual TLS, which no
//!   other peer sees anything of;
//! - Envoy waits 30 seconds for the control plane's word, not 200 ms: a busy machine shall not look
//!   like a peer that refuses. How long it took is printed.

mod check;
mod control;
mod envoy;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use tempfile::TempDir;

use crate::certificates::Identity;
use crate::network::Loopback;
use crate::process::Process;
use crate::wait::wait_for;

pub use control::Asked;
use control::{ControlPlane, Role};

/// The port of the gateway.
const GATEWAY_PORT: u16 = 4443;
/// The port of Envoy's own server.
const ADMIN_PORT: u16 = 1500;
/// The port of the control plane.
const CONTROL_PORT: u16 = 4444;
/// The port of the import.
const IMPORT_PORT: u16 = 7000;

/// A peer that runs ClusterLink.
#[derive(Debug)]
pub struct ClusterLink {
    loopback: Loopback,
    control: ControlPlane,
    envoy: Process,
    _folder: TempDir,
}

/// Where Envoy is; none where it wasn't installed.
pub fn installed() -> Option<PathBuf> {
    std::env::var_os("WEFT_ENVOY").map(PathBuf::from)
}

/// A peer's addresses before it runs, since the others have to know them.
#[derive(Debug)]
pub struct Place {
    loopback: Loopback,
}

// === impl Place ===

impl Place {
    /// Addresses of its own.
    pub fn take() -> Self {
        Self {
            loopback: Loopback::take(),
        }
    }

    /// Where its gateway will be.
    pub fn gateway(&self) -> SocketAddr {
        self.loopback.at(GATEWAY_PORT)
    }
}

// === impl ClusterLink ===

impl ClusterLink {
    /// Imports `shop/service` from the peer `remote` at `gateway`.
    pub fn importer(
        place: Place,
        identity: &Identity,
        authority: &str,
        remote: &str,
        gateway: SocketAddr,
    ) -> Self {
        let role = Role::Importer {
            remote: remote.to_owned(),
            gateway,
        };
        Self::start(place, identity, authority, role, |config| {
            config.import(remote, gateway)
        })
    }

    /// Exports `shop/service`, which is at `service`.
    pub fn exporter(
        place: Place,
        identity: &Identity,
        authority: &str,
        service: SocketAddr,
    ) -> Self {
        Self::start(place, identity, authority, Role::Exporter, |config| {
            config.export(service)
        })
    }

    fn start(
        place: Place,
        identity: &Identity,
        authority: &str,
        role: Role,
        write: impl FnOnce(&envoy::Config) -> String,
    ) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let files = identity.write(folder.path(), "identity");
        let ca = folder.path().join("ca.pem");
        std::fs::write(&ca, authority).expect("the folder is there");
        let loopback = place.loopback;
        let control = ControlPlane::start(loopback.at(CONTROL_PORT), &files, &ca, role);
        let config = envoy::Config {
            admin: loopback.at(ADMIN_PORT),
            control: loopback.at(CONTROL_PORT),
            gateway: loopback.at(GATEWAY_PORT),
            import: loopback.at(IMPORT_PORT),
            files,
            ca,
        };
        let binary = installed().expect("Envoy is installed");
        let text = write(&config);
        let path = folder.path().join("envoy.yaml");
        std::fs::write(&path, text).expect("the folder is there");
        let envoy = envoy::start(&binary, &path);
        let this = Self {
            loopback,
            control,
            envoy,
            _folder: folder,
        };
        this.wait_until_ready();
        this
    }

    fn wait_until_ready(&self) {
        wait_for("Envoy is ready", || {
            match self.control.get(self.loopback.at(ADMIN_PORT), "/ready") {
                Ok((200, _)) => Ok(()),
                Ok(answer) => Err(format!("{answer:?}")),
                Err(error) => Err(error.to_string()),
            }
        });
    }

    /// Where its clients find what it imports.
    pub fn import(&self) -> SocketAddr {
        self.loopback.at(IMPORT_PORT)
    }

    /// What its control plane was asked by Envoy.
    pub fn asked(&self) -> Vec<Asked> {
        self.control.asked()
    }

    /// Envoy's counters.
    pub fn statistics(&self) -> BTreeMap<String, String> {
        let page = self.control.get(self.loopback.at(ADMIN_PORT), "/stats");
        let (_, text) = page.expect("Envoy answers");
        let lines = text.lines();
        lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    /// Kills Envoy.
    pub fn kill(&mut self) {
        self.envoy.kill();
    }
}
