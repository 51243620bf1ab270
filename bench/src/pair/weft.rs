//! Two peers of a fabric, each a `weft run`: policies, metrics and the decision log are on.

use std::env;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::Result;

use super::fabric::Fabric;
use super::{Kind, Pair};
use crate::ports::free_addresses;
use crate::process::{Process, clean};
use crate::stage::{EXPORTER, IMPORTER, Stage};

/// How many threads carry traffic, where it isn't to be what Weft takes by itself.
const THREADS: &str = "TOKIO_WORKER_THREADS";

/// Starts both peers of a fabric.
pub(super) fn start(kind: Kind, fabric: &Fabric, stage: &Stage, folder: &Path) -> Result<Pair> {
    let admins = free_addresses::<2>()?;
    let [east, west] = fabric.gateways;
    let [east_admin, west_admin] = admins;
    let start = |name: &str, gateway: SocketAddr, admin: SocketAddr| {
        let state = folder.join(format!("{name}.state"));
        if state.exists() {
            fs::remove_dir_all(&state)?;
        }
        let mut command = clean(stage.binary());
        if let Some(threads) = env::var_os(THREADS) {
            command.env(THREADS, threads);
        }
        command
            .args(["run", "--peer", name, "--ref", "main"])
            .arg("--repo")
            .arg(stage.repository())
            .arg("--cert")
            .arg(stage.certificate(name))
            .arg("--key")
            .arg(stage.key(name))
            .arg("--state")
            .arg(state)
            .args(["--listen", &gateway.to_string()])
            .args(["--admin", &admin.to_string()])
            .arg("--decision-log")
            .arg(folder.join(format!("{name}.decisions")))
            // A commit is told by a signal; the clock is not to interfere.
            .args(["--interval", "1h", "--log-format", "json"]);
        Process::start(name, folder, &mut command)
    };
    Ok(Pair {
        kind,
        targets: vec![fabric.import],
        admins: admins.to_vec(),
        processes: vec![
            start(IMPORTER, east, east_admin)?,
            start(EXPORTER, west, west_admin)?,
        ],
    })
}
