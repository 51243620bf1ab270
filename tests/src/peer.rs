//! A peer: the real binary, running.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::process::{Command, ExitStatus};

use serde_json::Value;
use tempfile::TempDir;

use crate::binary::{clean, weft};
use crate::certificates::{Identity, IdentityFiles};
use crate::network::{Answer, Loopback, http_get};
use crate::process::{Process, Signal};
use crate::wait::{holds, wait_for};

/// The port of a peer's gateway.
const GATEWAY_PORT: u16 = 4443;
/// The port of a peer's admin server.
const ADMIN_PORT: u16 = 9090;

/// A peer on a loopback address of its own; `weft run` under test.
#[derive(Debug)]
pub struct Peer {
    name: String,
    loopback: Loopback,
    /// Where the gateway listens, where that isn't at the loopback address.
    listen: Option<SocketAddr>,
    folder: TempDir,
    identity: IdentityFiles,
    repository: String,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    descriptors: Option<u64>,
    process: Option<Process>,
}

// === impl Peer ===

impl Peer {
    /// A peer that is not started yet.
    pub fn new(name: &str, repository: &str, identity: &Identity) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let identity = identity.write(folder.path(), "identity");
        Self {
            name: name.to_owned(),
            loopback: Loopback::take(),
            listen: None,
            folder,
            identity,
            repository: repository.to_owned(),
            arguments: Vec::new(),
            environment: Vec::new(),
            descriptors: None,
            process: None,
        }
    }

    /// The peer's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The address of the peer's gateway.
    pub fn gateway(&self) -> SocketAddr {
        let usual = || self.loopback.at(GATEWAY_PORT);
        self.listen.unwrap_or_else(usual)
    }

    /// Lets the gateway listen elsewhere, from the peer's next start on.
    pub fn listen_at(&mut self, address: SocketAddr) {
        self.listen = Some(address);
    }

    /// The address at which the peer's clients find an import.
    pub fn import(&self, port: u16) -> SocketAddr {
        self.loopback.at(port)
    }

    /// The peer's certificate in PEM.
    pub fn certificate(&self) -> String {
        fs::read_to_string(&self.identity.certificate).expect("it was written")
    }

    /// Replaces the peer's certificate and key on disk.
    pub fn replace_identity(&mut self, identity: &Identity) {
        self.identity = identity.write(self.folder.path(), "identity");
    }

    /// Tells the peer, from its next start on, to fetch from elsewhere.
    pub fn set_repository(&mut self, repository: &str) {
        repository.clone_into(&mut self.repository);
    }

    /// Adds arguments, from the peer's next start on.
    pub fn add_arguments(&mut self, arguments: &[&str]) {
        let arguments = arguments.iter().map(|&argument| argument.to_owned());
        self.arguments.extend(arguments);
    }

    /// Sets a variable of the environment, from the peer's next start on.
    pub fn set_variable(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Lets the peer open no more than so many descriptors, from its next start on.
    pub fn set_descriptors(&mut self, count: u64) {
        self.descriptors = Some(count);
    }

    /// Starts the peer; its state stays from one start to the next.
    pub fn start(&mut self) {
        assert!(self.process.is_none(), "{} runs already", self.name);
        let mut command = match self.descriptors {
            None => Command::new(weft()),
            Some(count) => {
                let mut command = Command::new("prlimit");
                command.arg(format!("--nofile={count}:{count}")).arg(weft());
                command
            }
        };
        clean(&mut command)
            .args(["run", "--peer", &self.name])
            .args(["--repo", &self.repository, "--ref", "main"])
            .arg("--cert")
            .arg(&self.identity.certificate)
            .arg("--key")
            .arg(&self.identity.key)
            .args(["--listen", &self.gateway().to_string()])
            .args(["--import-address", &self.loopback.address().to_string()])
            .args(["--admin", &self.loopback.at(ADMIN_PORT).to_string()])
            .arg("--state")
            .arg(self.folder.path().join("state"))
            // Long, so that only what the test asks for by a signal happens.
            .args(["--interval", "1h", "--log-format", "json"])
            .args(&self.arguments)
            .envs(self.environment.iter().cloned());
        self.process = Some(Process::start(&self.name, &mut command));
    }

    /// Waits until the peer says that it is ready.
    pub fn wait_until_ready(&mut self) {
        let admin = self.loopback.at(ADMIN_PORT);
        let process = self.process.as_mut().expect("the peer was started");
        wait_for(&format!("{} is ready", self.name), || {
            if !process.is_running() {
                return Ok(Err("it ended".to_owned()));
            }
            match http_get(admin, "/readyz") {
                Ok(answer) if answer.status == 200 => Ok(Ok(())),
                Ok(answer) => Err(format!("{answer:?}")),
                Err(error) => Err(error.to_string()),
            }
        })
        .unwrap_or_else(|reason| panic!("{} is never ready: {reason}", self.name));
    }

    /// Tells the peer to look into the repository now.
    pub fn reconcile(&self) {
        self.process().signal(Signal::HUP);
    }

    /// Waits until a commit is in force.
    pub fn wait_for_revision(&self, commit: &str) {
        wait_for(&format!("{} is at {commit}", self.name), || {
            let revision = self.revision()?;
            holds(revision == commit, || format!("it is at {revision}"))
        });
    }

    /// Tells the peer to look into the repository and waits until a commit is in force.
    pub fn reconcile_to(&self, commit: &str) {
        self.reconcile();
        self.wait_for_revision(commit);
    }

    /// The snapshot that is in force, as the admin server tells it.
    pub fn snapshot(&self) -> Result<Value, String> {
        let answer = http_get(self.loopback.at(ADMIN_PORT), "/snapshot");
        let answer = answer.map_err(|error| error.to_string())?;
        serde_json::from_str(&answer.body).map_err(|error| format!("{error}: {answer:?}"))
    }

    /// The commit that is in force.
    pub fn revision(&self) -> Result<String, String> {
        let snapshot = self.snapshot()?;
        let revision = snapshot["revision"].as_str().map(str::to_owned);
        revision.ok_or_else(|| format!("no revision in {snapshot}"))
    }

    /// Waits until a commit was looked into, whether it could be brought into force or not; returns
    /// what the reconciler says of it.
    pub fn wait_for_attempt(&self, commit: &str) -> Value {
        wait_for(&format!("{} has looked into {commit}", self.name), || {
            let mut snapshot = self.snapshot()?;
            let status = snapshot["status"].take();
            let attempted = status["attempted"] == commit;
            holds(attempted, || status.to_string()).map(|()| status)
        })
    }

    /// What the admin server answers to a path.
    pub fn admin(&self, path: &str) -> Answer {
        self.try_admin(path)
            .unwrap_or_else(|error| panic!("{}'s {path}: {error}", self.name))
    }

    /// What the admin server answers to a path, where it answers.
    pub fn try_admin(&self, path: &str) -> io::Result<Answer> {
        http_get(self.loopback.at(ADMIN_PORT), path)
    }

    /// The sum of a counter over the series whose text holds all of `labels`.
    pub fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let text = self.admin("/metrics").body;
        text.lines()
            .filter(|line| {
                let rest = line.strip_prefix(name).unwrap_or_default();
                rest.starts_with(['{', ' ']) && labels.iter().all(|label| rest.contains(label))
            })
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }

    /// The running process.
    pub fn process(&self) -> &Process {
        self.process
            .as_ref()
            .unwrap_or_else(|| panic!("{} isn't running", self.name))
    }

    /// Ends the peer at once, as a crash does.
    pub fn kill(&mut self) {
        let mut process = self.process.take().expect("the peer was started");
        process.kill();
    }

    /// Ends the peer cleanly.
    pub fn terminate(&mut self) -> ExitStatus {
        self.process().signal(Signal::TERM);
        self.wait()
    }

    /// Waits until the peer has ended by itself.
    pub fn wait(&mut self) -> ExitStatus {
        let mut process = self.process.take().expect("the peer was started");
        process.wait()
    }
}
