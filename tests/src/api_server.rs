//! A real Kubernetes API server of a test's own, and `kubectl` to talk to it.

use std::env;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;

use serde_json::Value;
use tempfile::TempDir;

use crate::binary::clean;
use crate::network::Loopback;
use crate::process::Process;
use crate::wait::{holds, wait_for};

/// A Kubernetes API server with its own etcd; it ends with the test.
#[derive(Debug)]
pub struct ApiServer {
    process: Option<Process>,
    directory: TempDir,
    address: String,
    /// Held so that a restart has the same address.
    _loopback: Loopback,
}

/// `kubectl` with a kubeconfig of its own.
#[derive(Clone, Debug)]
pub struct Kubectl {
    kubeconfig: PathBuf,
    home: PathBuf,
}

// === impl ApiServer ===

impl ApiServer {
    /// A server with the definitions of our kinds, and the system namespace.
    pub fn start() -> Self {
        let server = Self::bare();
        server.create_definitions();
        server
            .kubectl()
            .run(&["create", "namespace", "clusterlink-system"]);
        server
    }

    /// A server with nothing in it.
    pub fn bare() -> Self {
        let loopback = Loopback::take();
        let address = loopback.at(6443).to_string();
        let mut server = Self {
            process: None,
            directory: TempDir::new().expect("a folder for the API server"),
            address,
            _loopback: loopback,
        };
        server.resume();
        server
    }

    /// Ends the server at once, as a crash does; what it stored stays.
    pub fn kill(&mut self) {
        let mut process = self.process.take().expect("the API server runs");
        process.kill();
    }

    /// Starts the server again where it was ended, with what it stored.
    pub fn resume(&mut self) {
        let kubeconfig = self.kubeconfig();
        // It is written again once the server is ready.
        let _ = fs::remove_file(&kubeconfig);
        let data = self.directory.path().join("data");
        fs::create_dir_all(&data).expect("a folder for the API server's data");
        let mut command = Command::new(binary());
        command
            .arg("--data-dir")
            .arg(data)
            .arg("--kubeconfig")
            .arg(&kubeconfig)
            .args(["--listen", &self.address]);
        let mut process = Process::start("the API server", &mut command);
        wait_for("the API server is ready", || {
            assert!(
                process.is_running(),
                "the API server ended: {:?}",
                process.lines()
            );
            let written = fs::metadata(&kubeconfig).is_ok_and(|metadata| metadata.len() > 0);
            holds(written, || "no kubeconfig yet".to_owned())
        });
        self.process = Some(process);
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

// === impl Kubectl ===

impl Kubectl {
    /// Runs `kubectl`, and returns what it says; panics where it fails.
    pub fn run(&self, arguments: &[&str]) -> String {
        self.run_with(arguments, "")
    }

    /// Runs `kubectl` with an input.
    pub fn run_with(&self, arguments: &[&str], input: &str) -> String {
        self.try_run(arguments, input)
            .unwrap_or_else(|error| panic!("kubectl {arguments:?}: {error}"))
    }

    /// Runs `kubectl`; what it says on failing is the error.
    pub fn try_run(&self, arguments: &[&str], input: &str) -> Result<String, String> {
        let output = self.output(arguments, input);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match output.status.success() {
            true => Ok(text(&output.stdout)),
            false => Err(text(&output.stderr)),
        }
    }

    /// Applies objects, as YAML.
    pub fn apply(&self, yaml: &str) {
        self.run_with(&["apply", "-f", "-"], yaml);
    }

    /// An object, as `kind name` and what else selects it; none where it isn't there.
    pub fn find(&self, arguments: &[&str]) -> Option<Value> {
        let arguments = [&["get", "-o", "json", "--ignore-not-found"], arguments].concat();
        let text = self.run(&arguments);
        if text.trim().is_empty() {
            return None;
        }
        Some(serde_json::from_str(&text).expect("kubectl prints JSON"))
    }

    /// Waits until an object satisfies a condition.
    pub fn wait_until(&self, arguments: &[&str], wanted: impl Fn(&Value) -> bool) -> Value {
        wait_for(&format!("{arguments:?} is as wanted"), || {
            let found = self.find(arguments).ok_or("it isn't there")?;
            if wanted(&found) {
                Ok(found)
            } else {
                Err(format!("{found:#}"))
            }
        })
    }

    /// Waits until there is no such object.
    pub fn wait_until_gone(&self, arguments: &[&str]) {
        wait_for(&format!("{arguments:?} is gone"), || {
            match self.find(arguments) {
                None => Ok(()),
                Some(found) => Err(format!("{found:#}")),
            }
        });
    }

    fn output(&self, arguments: &[&str], input: &str) -> Output {
        let mut child = clean(&mut Command::new("kubectl"))
            .env("HOME", &self.home)
            .env("KUBECONFIG", &self.kubeconfig)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("kubectl starts");
        let mut stdin = child.stdin.take().expect("stdin is piped");
        // Who reads nothing closes it.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        child.wait_with_output().expect("kubectl ends")
    }
}

/// The condition of an object, as its status, reason and message.
pub fn condition(object: &Value, kind: &str) -> Option<(String, String, String)> {
    let conditions = object["status"]["conditions"].as_array()?;
    let condition = conditions
        .iter()
        .find(|condition| condition["type"] == kind)?;
    let text = |name: &str| condition[name].as_str().unwrap_or_default().to_owned();
    Some((text("status"), text("reason"), text("message")))
}

/// Whether a condition of an object has a status.
pub fn has_condition(object: &Value, kind: &str, status: &str) -> bool {
    condition(object, kind).is_some_and(|(is, _, _)| is == status)
}

/// The server's binary: what the environment's `WEFT_APISERVER` names, else one that is built now.
pub fn binary() -> &'static Path {
    static PATH: LazyLock<PathBuf> = LazyLock::new(|| {
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
