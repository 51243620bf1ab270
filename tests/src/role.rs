//! The roles of a cluster as processes outside of it: reconcilers, gateways, operators.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::binary::{clean, weft};
use crate::certificates::{Identity, IdentityFiles};
use crate::network::{Answer, Loopback, http_get, http_post};
use crate::process::Process;
use crate::wait::{holds, wait_for};

/// The namespace that the roles are told to work in.
pub const SYSTEM: &str = "clusterlink-system";
/// The namespace of the operator.
pub const OPERATOR: &str = "clusterlink-operator";

/// What webhooks are signed with.
const WEBHOOK_SECRET: &str = "It's a Secret to Everybody\n";

/// A `weft reconcile` that runs.
#[derive(Debug)]
pub struct Reconciler {
    process: Process,
    address: Loopback,
    _state: TempDir,
}

/// A `weft operator` that runs.
#[derive(Debug)]
pub struct Operator {
    process: Process,
}

/// A `weft gateway`, running or not.
#[derive(Debug)]
pub struct ClusterGateway {
    name: String,
    process: Option<Process>,
    address: Loopback,
    state: TempDir,
    kubeconfig: String,
    identity: IdentityFiles,
    arguments: Vec<String>,
}

// === impl Reconciler ===

impl Reconciler {
    /// Starts a reconciler.
    pub fn start(name: &str, kubeconfig: &Path, arguments: &[&str]) -> Self {
        let state = TempDir::new().expect("a folder for the reconciler");
        let address = Loopback::take();
        let secret = state.path().join("secret");
        fs::write(&secret, WEBHOOK_SECRET).expect("the webhook's secret is written");
        let mut command = Command::new(weft());
        clean(&mut command)
            .arg("reconcile")
            .arg("--kubeconfig")
            .arg(kubeconfig)
            .args(["--namespace", SYSTEM])
            .args(["--admin", &address.at(4480).to_string()])
            .args(["--webhook", &address.at(4490).to_string()])
            .arg("--webhook-secret")
            .arg(&secret)
            .arg("--state")
            .arg(state.path().join("state"))
            .env("POD_NAME", name)
            .env("WEFT_LOG", "info,reconciler=debug")
            .args(arguments);
        Self {
            process: Process::start(name, &mut command),
            address,
            _state: state,
        }
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// What the admin server answers; nothing as long as there is none.
    pub fn admin(&self, path: &str) -> Option<Answer> {
        http_get(self.address.at(4480), path).ok()
    }

    /// Sends a webhook with a header; the status of the answer.
    pub fn hook_with(&self, header: &str) -> u16 {
        let answer = http_post(self.address.at(4490), "/hook", header, "{}");
        answer.expect("webhooks are received").status
    }

    /// Sends a webhook as GitLab would, again where nobody leads yet.
    pub fn hook(&self) {
        let header = format!("X-Gitlab-Token: {}", WEBHOOK_SECRET.trim_end());
        wait_for("the webhook is heeded", || {
            let answer = http_post(self.address.at(4490), "/hook", &header, "{}");
            let status = answer.map_err(|error| error.to_string())?.status;
            holds(status == 202, || status.to_string())
        });
    }

    /// The value of a metric, by its name and labels as they are written.
    pub fn metric(&self, name: &str) -> Option<f64> {
        let text = self.admin("/metrics")?.body;
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line?.trim().parse().ok()
    }

    /// Waits until it leads.
    pub fn wait_until_it_leads(&self) {
        self.process
            .wait_for_line("that it leads", |line| line.contains("leads=true"));
    }
}

// === impl Operator ===

impl Operator {
    /// Starts an operator.
    pub fn start(kubeconfig: &Path) -> Self {
        let mut command = Command::new(weft());
        clean(&mut command)
            .args(["operator", "--admin", "127.0.0.1:0"])
            .args(["--lease-duration", "2s", "--namespace", OPERATOR])
            .arg("--kubeconfig")
            .arg(kubeconfig);
        Self {
            process: Process::start("the operator", &mut command),
        }
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}

// === impl ClusterGateway ===

impl ClusterGateway {
    /// A gateway that isn't started yet, with the peer's identity.
    pub fn new(name: &str, kubeconfig: &Path, identity: &Identity) -> Self {
        let state = TempDir::new().expect("a folder for the gateway");
        Self {
            name: name.to_owned(),
            process: None,
            address: Loopback::take(),
            kubeconfig: kubeconfig.to_string_lossy().into_owned(),
            identity: identity.write(state.path(), name),
            state,
            arguments: Vec::new(),
        }
    }

    /// Adds arguments for the next start.
    pub fn add_arguments(&mut self, arguments: &[&str]) {
        let more = arguments.iter().map(|argument| (*argument).to_owned());
        self.arguments.extend(more);
    }

    /// Where other gateways connect to.
    pub fn address(&self) -> SocketAddr {
        self.address.at(4443)
    }

    /// Where an import with a listening port is.
    pub fn import(&self, port: u16) -> SocketAddr {
        self.address.at(port)
    }

    /// Starts the gateway.
    pub fn start(&mut self) {
        let address = self.address.address().to_string();
        let mut command = Command::new(weft());
        clean(&mut command)
            .args(["gateway", "--namespace", SYSTEM, "--name", &self.name])
            .args(["--kubeconfig", &self.kubeconfig])
            .arg("--cert")
            .arg(&self.identity.certificate)
            .arg("--key")
            .arg(&self.identity.key)
            .args(["--listen", &self.address().to_string()])
            .args(["--import-address", &address])
            .args(["--admin", &self.address.at(4480).to_string()])
            .arg("--state")
            .arg(self.state.path().join("state"))
            .args(&self.arguments);
        self.process = Some(Process::start(&self.name, &mut command));
    }

    /// The running process.
    pub fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("the gateway was started")
    }

    /// What the admin server tells of the snapshot in force.
    pub fn snapshot(&self) -> Result<Value, String> {
        let answer = http_get(self.address.at(4480), "/snapshot");
        let answer = answer.map_err(|error| error.to_string())?;
        serde_json::from_str(&answer.body).map_err(|error| format!("{error}: {answer:?}"))
    }

    /// Whether the gateway says that it is ready; what it says otherwise.
    pub fn readiness(&self) -> Result<(), String> {
        let answer = http_get(self.address.at(4480), "/readyz");
        match answer {
            Ok(answer) if answer.status == 200 => Ok(()),
            Ok(answer) => Err(answer.body),
            Err(error) => Err(error.to_string()),
        }
    }
}
