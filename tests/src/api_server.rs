//! A real Kubernetes API server of a test's own, and `kubectl` to talk to it.

mod assets;
mod existing;
mod kubectl;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use serde_json::Value;
use tempfile::TempDir;

use crate::network::Loopback;
use crate::process::Process;
use crate::wait::{holds, wait_for};

use self::existing::Existing;
pub use self::kubectl::{Kubectl, condition, has_condition};

/// A Kubernetes API server.
///
/// Usually one with an etcd of its own that ends with the test: of the binaries that
/// `KUBEBUILDER_ASSETS` names, else the one that `tests/apiserver` builds. Where
/// `WEFT_TEST_KUBECONFIG` names clusters that exist, tests that can do with one have that.
#[derive(Debug)]
pub struct ApiServer {
    running: Running,
    directory: TempDir,
    address: String,
}

#[derive(Debug)]
enum Running {
    /// Ours, in the order in which they were started; none while it is away. The address is kept, so
    /// that a restart has the same.
    Own(Vec<Process>, Loopback),
    /// It was there before.
    Existing(#[expect(dead_code, reason = "held until the test ends")] Existing),
}

// === impl ApiServer ===

impl ApiServer {
    /// A cluster with the definitions of our kinds, and the system namespace.
    pub fn start() -> Self {
        let directory = folder();
        match Existing::take(directory.path()) {
            Some(existing) => {
                let server = Self {
                    address: existing.address.clone(),
                    running: Running::Existing(existing),
                    directory,
                };
                server.prepared()
            }
            None => Self::start_own(),
        }
    }

    /// The same, and a server of the test's own in any case, which it may end.
    pub fn start_own() -> Self {
        Self::bare().prepared()
    }

    /// A server of the test's own with nothing in it.
    pub fn bare() -> Self {
        let loopback = Loopback::take();
        let mut server = Self {
            address: loopback.at(6443).to_string(),
            running: Running::Own(Vec::new(), loopback),
            directory: folder(),
        };
        server.resume();
        server
    }

    fn prepared(self) -> Self {
        self.create_definitions();
        let create = ["create", "namespace", "clusterlink-system"];
        self.kubectl().run(&create);
        self
    }

    /// Ends the server at once, as a crash does; what it stored stays.
    pub fn kill(&mut self) {
        let Running::Own(processes, _) = &mut self.running else {
            panic!("a test that ends its server begins with `start_own`");
        };
        for mut process in processes.drain(..).rev() {
            process.kill();
        }
    }

    /// Starts the server again where it was ended, with what it stored.
    pub fn resume(&mut self) {
        let kubeconfig = self.kubeconfig();
        let Running::Own(processes, loopback) = &mut self.running else {
            panic!("a test that ends its server begins with `start_own`");
        };
        let directory = self.directory.path();
        *processes = match assets::folder() {
            Some(assets) => assets::start(&assets, directory, loopback),
            None => vec![start(directory, &kubeconfig, &self.address)],
        };
    }

    /// The kubeconfig of the cluster's administrator.
    pub fn kubeconfig(&self) -> PathBuf {
        self.directory.path().join("kubeconfig")
    }

    /// The server's address, as `host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// `kubectl` as the cluster's administrator.
    pub fn kubectl(&self) -> Kubectl {
        self.kubectl_with(&self.kubeconfig())
    }

    /// `kubectl` with another kubeconfig.
    pub fn kubectl_with(&self, kubeconfig: &Path) -> Kubectl {
        Kubectl {
            kubeconfig: kubeconfig.to_owned(),
            home: self.directory.path().to_owned(),
        }
    }

    /// Installs the definitions of our kinds, and waits until they are served.
    pub fn create_definitions(&self) {
        let kubectl = self.kubectl();
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas/crds");
        let folder = folder.to_string_lossy();
        kubectl.run(&["apply", "--server-side", "-k", &folder]);
        kubectl.run(&[
            "wait",
            "--for=condition=Established",
            "--timeout=60s",
            "crd",
            "--all",
        ]);
    }

    /// The kubeconfig of a service account, with a token that it was given just now.
    pub fn kubeconfig_of(&self, namespace: &str, account: &str) -> PathBuf {
        let kubectl = self.kubectl();
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token");
        let request = r#"{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":{"expirationSeconds":3600}}"#;
        let answer = kubectl.run_with(&["create", "--raw", &path, "-f", "-"], request);
        let answer: Value = serde_json::from_str(&answer).expect("the answer is JSON");
        let token = answer["status"]["token"].as_str().expect("a token");
        let config = fs::read_to_string(self.kubeconfig()).expect("the kubeconfig");
        let mut config: Value = serde_yaml::from_str(&config).expect("the kubeconfig is YAML");
        config["users"][0]["user"] = serde_json::json!({ "token": token });
        config["contexts"][0]["context"]["namespace"] = namespace.into();
        let file = self
            .directory
            .path()
            .join(format!("{namespace}-{account}.kubeconfig"));
        fs::write(&file, config.to_string()).expect("a kubeconfig is written");
        file
    }
}

fn folder() -> TempDir {
    TempDir::new().expect("a folder for the API server")
}

/// Starts the server that `tests/apiserver` builds.
fn start(directory: &Path, kubeconfig: &Path, address: &str) -> Process {
    // It is written again once the server is ready.
    let _ = fs::remove_file(kubeconfig);
    let data = directory.join("data");
    fs::create_dir_all(&data).expect("a folder for the API server's data");
    let mut command = Command::new(binary());
    command
        .arg("--data-dir")
        .arg(data)
        .arg("--kubeconfig")
        .arg(kubeconfig)
        .args(["--listen", address]);
    let mut process = Process::start("the API server", &mut command);
    wait_for("the API server is ready", || {
        assert!(
            process.is_running(),
            "the API server ended: {:?}",
            process.lines()
        );
        let written = fs::metadata(kubeconfig).is_ok_and(|metadata| metadata.len() > 0);
        holds(written, || "no kubeconfig yet".to_owned())
    });
    process
}

/// The server's binary: what the environment's `WEFT_APISERVER` names, else one that is built now.
///
/// Empty where others are used.
pub fn binary() -> &'static Path {
    static PATH: LazyLock<PathBuf> = LazyLock::new(|| {
        if assets::folder().is_some() {
            return PathBuf::new();
        }
        if let Some(path) = env::var_os("WEFT_APISERVER") {
            return path.into();
        }
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("apiserver/install");
        let output = Command::new(script)
            .stderr(Stdio::inherit())
            .output()
            .expect("the API server's install script starts");
        assert!(output.status.success(), "the API server can't be built");
        String::from_utf8_lossy(&output.stdout).trim().into()
    });
    &PATH
}
