//! A peer of the demo: a `weft run` of its own.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::process::{Child, Command};

use super::http::Client;

/// A running peer.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) name: &'static str,
    pub(super) gateway: SocketAddr,
    admin: SocketAddr,
    log: PathBuf,
    process: Child,
}

/// Where a peer listens and keeps its things.
#[derive(Debug)]
pub(super) struct Place<'a> {
    pub(super) gateway: SocketAddr,
    pub(super) admin: SocketAddr,
    pub(super) repository: &'a Path,
    /// The folder with the peer's `cert.pem` and `key.pem`.
    pub(super) certificates: &'a Path,
    /// The folder for its state and its log.
    pub(super) folder: &'a Path,
}

impl Peer {
    /// Starts a peer.
    pub(super) fn start(name: &'static str, place: &Place<'_>) -> Result<Self> {
        let log = place.folder.join(format!("{name}.log"));
        let file = File::create(&log).with_context(|| format!("creating {}", log.display()))?;
        let program = std::env::current_exe().context("finding this program's file")?;
        let process = Command::new(program)
            .args(["run", "--peer", name, "--log-format", "json"])
            // The demo tells the peers of a commit by SIGHUP; the clock is not to interfere.
            .args(["--interval", "1h"])
            .arg("--repo")
            .arg(place.repository)
            .arg("--cert")
            .arg(place.certificates.join("cert.pem"))
            .arg("--key")
            .arg(place.certificates.join("key.pem"))
            .arg("--state")
            .arg(place.folder.join(format!("{name}.state")))
            .args(["--listen", &place.gateway.to_string()])
            .args(["--admin", &place.admin.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting the peer {name}"))?;
        Ok(Self {
            name,
            gateway: place.gateway,
            admin: place.admin,
            log,
            process,
        })
    }

    /// The process's id; 0 once it ended.
    pub(super) fn id(&self) -> u32 {
        self.process.id().unwrap_or(0)
    }

    /// Tells the peer to look at the repository now.
    pub(super) fn reconcile(&self) -> Result<()> {
        self.signal(Signal::HUP)
    }

    /// What the peer says of the snapshot that it has in force.
    pub(super) async fn snapshot(&mut self) -> Result<Value> {
        if let Some(status) = self.process.try_wait()? {
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            return Err(anyhow!(
                "the peer {} ended ({status}); its log:\n{log}",
                self.name
            ));
        }
        let mut client = Client::new(self.admin);
        client.get_path("/readyz").await?;
        Ok(serde_json::from_str(&client.get_path("/snapshot").await?)?)
    }

    /// The last decision of a kind in the peer's log, as people read it.
    pub(super) fn last_decision(&self, action: &str) -> Option<String> {
        let log = std::fs::read_to_string(&self.log).ok()?;
        let entry = log.lines().rev().find_map(|line| {
            let entry: Value = serde_json::from_str(line).ok()?;
            let is_decision = entry["target"] == "weft::decision";
            (is_decision && entry["fields"]["action"] == action).then_some(entry)
        })?;
        let field = |name: &str| entry["fields"][name].as_str().unwrap_or("-").to_owned();
        let commit = field("commit");
        Some(format!(
            "{} decided: {action} by {} at {} of commit {}",
            self.name,
            field("rule"),
            field("origin"),
            commit.get(..8).unwrap_or(&commit)
        ))
    }

    /// Lets the peer finish what is under way, and waits until it ended.
    pub(super) async fn stop(mut self) -> Result<()> {
        self.signal(Signal::TERM)?;
        // More than the drain of a peer without traffic takes.
        let status = tokio::time::timeout(Duration::from_secs(30), self.process.wait())
            .await
            .map_err(|_| anyhow!("the peer {} doesn't end", self.name))??;
        match status.success() {
            true => Ok(()),
            false => Err(anyhow!("the peer {} ended with {status}", self.name)),
        }
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let id = self
            .process
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(Pid::from_raw);
        let id = id.ok_or_else(|| anyhow!("the peer {} ended", self.name))?;
        kill_process(id, signal).with_context(|| format!("signalling the peer {}", self.name))
    }
}
