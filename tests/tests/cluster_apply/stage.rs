//! A cluster, a repository, and a reconciler between them, with a proxy before the API server.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, thread};

use parking_lot::Mutex;
use serde_json::Value;
use tempfile::TempDir;
use weft_tests::binary::{clean, weft};
use weft_tests::certificates::Authority;
use weft_tests::process::Process;
use weft_tests::repository::FabricRepository;
use weft_tests::wait::{holds, wait_for};
use weft_tests::yaml;

/// What happens to a request instead of being answered.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// The proxy answers: a code, and after how many seconds to come back.
    Status(u16, Option<u32>),
    /// The connection is cut; the server hears nothing.
    Cut,
    /// The server hears it; its answer is lost.
    Lose,
}

type Rule = Box<dyn FnMut(&str, &str) -> Option<Fault> + Send>;

#[derive(Default)]
struct Wire {
    requests: Mutex<Vec<String>>,
    rule: Mutex<Option<Rule>>,
}

/// Everything that a test needs; the namespaces are its own.
pub(crate) struct Stage {
    kubeconfig: String,
    pub(crate) repository: FabricRepository,
    /// The system namespace.
    pub(crate) system: String,
    /// The namespace of the objects.
    pub(crate) shop: String,
    folder: TempDir,
    wire: Arc<Wire>,
    _proxy: Process,
    reconciler: Option<Process>,
}

// === impl Stage ===

impl Stage {
    /// None where there is no cluster: `WEFT_TEST_KUBECONFIG` names one.
    pub(crate) fn new() -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let Some(kubeconfig) = env::var_os("WEFT_TEST_KUBECONFIG") else {
            eprintln!("skipped: WEFT_TEST_KUBECONFIG names no cluster");
            return None;
        };
        let kubeconfig = kubeconfig.into_string().unwrap();
        let id = format!(
            "{}-{}",
            std::process::id(),
            NUMBER.fetch_add(1, Ordering::Relaxed)
        );
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("kubectl");
        clean(&mut command).env("KUBECONFIG", &kubeconfig);
        command.args(["proxy", "--port=0"]);
        let proxy = Process::start("kubectl proxy", &mut command);
        let line =
            proxy.wait_for_line("where it serves", |line| line.contains("Starting to serve"));
        let server: SocketAddr = line.rsplit(' ').next().unwrap().parse().unwrap();
        let wire = Arc::new(Wire::default());
        let address = serve(server, Arc::clone(&wire));
        let config = format!(
            "{{apiVersion: v1, kind: Config, current-context: c, \
             clusters: [{{name: c, cluster: {{server: 'http://{address}'}}}}], \
             users: [{{name: u, user: {{}}}}], contexts: [{{name: c, context: {{cluster: c, user: u}}}}]}}"
        );
        std::fs::write(folder.path().join("kubeconfig"), config).unwrap();
        let stage = Self {
            kubeconfig,
            repository: FabricRepository::new(),
            system: format!("system-{id}"),
            shop: format!("shop-{id}"),
            folder,
            wire,
            _proxy: proxy,
            reconciler: None,
        };
        let crds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas/crds");
        stage.kubectl(&[
            "apply",
            "--server-side",
            "--force-conflicts",
            "-f",
            crds.to_str().unwrap(),
        ]);
        for namespace in [&stage.system, &stage.shop] {
            stage.kubectl(&["create", "namespace", namespace]);
        }
        let repository = &stage.repository;
        let fabric = yaml::fabric() + "  prune: {maxCount: 3, maxPercent: 20}\n";
        repository.write("fabric.yaml", fabric);
        repository.write("ca/fabric.pem", Authority::new("fabric").pem());
        for peer in ["east", "west"] {
            let gateway = "10.0.0.1:4443".parse().unwrap();
            repository.write(
                &format!("peers/{peer}/peer.yaml"),
                yaml::peer(peer, gateway),
            );
        }
        Some(stage)
    }

    /// Writes an export of `east` into the working copy.
    pub(crate) fn export(&self, name: &str, port: u16) {
        let text = yaml::export(&self.shop, name, SocketAddr::from(([127, 0, 0, 1], port)));
        self.repository
            .write(&format!("peers/east/{name}.yaml"), text);
    }

    /// Applies the FabricSync, with more fields of its spec, and starts the reconciler.
    pub(crate) fn start(&mut self, spec: &str) {
        let sync = format!(
            "apiVersion: weft.dev/v1alpha1\nkind: FabricSync\n\
             metadata: {{name: weft, namespace: {}}}\n\
             spec: {{peer: east, repository: {}, interval: 1h{spec}}}\n",
            self.system,
            self.repository.url()
        );
        self.apply(&sync);
        self.start_reconciler();
    }

    pub(crate) fn start_reconciler(&mut self) {
        let folder = self.folder.path();
        let mut command = Command::new(weft());
        clean(&mut command).args([
            "reconcile",
            "--admin",
            "127.0.0.1:0",
            "--lease-duration",
            "2s",
        ]);
        command.args(["--namespace", &self.system]);
        command.arg("--kubeconfig").arg(folder.join("kubeconfig"));
        command.arg("--state").arg(folder.join("state"));
        self.reconciler = Some(Process::start("weft reconcile", &mut command));
    }

    /// Ends the reconciler without a warning.
    pub(crate) fn kill(&mut self) {
        self.reconciler.take().unwrap().kill();
    }

    /// Waits until the last commit is in force and all is well.
    pub(crate) fn wait_until_ready(&self) {
        let head = self.repository.head();
        wait_for("the last commit is in force, whole", || {
            let sync = self.sync();
            let is_there = sync["status"]["revision"] == *head;
            holds(is_there && condition(&sync, "Ready") == "True", || {
                sync["status"].to_string()
            })
        });
    }

    /// Waits until the last commit is in force, as far as it can be.
    pub(crate) fn wait_until_applied(&self) -> Value {
        let head = self.repository.head();
        wait_for("the last commit is in force", || {
            let sync = self.sync();
            let is_there = sync["status"]["revision"] == *head;
            holds(is_there, || sync["status"].to_string()).map(|()| sync)
        })
    }

    pub(crate) fn sync(&self) -> Value {
        self.get("fabricsync", &self.system, "weft")
            .unwrap_or_default()
    }

    /// The digest by which the FabricState counts an export; null where it doesn't.
    pub(crate) fn listed(&self, export: &str) -> Value {
        let state = self
            .get("fabricstate", &self.system, "weft")
            .unwrap_or_default();
        state["spec"]["objects"]["Export"][format!("{}/{export}", self.shop)].clone()
    }

    /// The ports of the exports, by their names.
    pub(crate) fn ports(&self) -> std::collections::BTreeMap<String, u64> {
        let list = self.kubectl(&["get", "exports", "-n", &self.shop, "-o", "json"]);
        let list: Value = serde_json::from_str(&list).unwrap();
        let items = list["items"].as_array().unwrap().iter();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        items
            .map(|item| {
                (
                    text(&item["metadata"]["name"]),
                    item["spec"]["port"].as_u64().unwrap(),
                )
            })
            .collect()
    }

    pub(crate) fn get(&self, kind: &str, namespace: &str, name: &str) -> Option<Value> {
        let output = self.try_kubectl(
            &[
                "get",
                kind,
                name,
                "-n",
                namespace,
                "-o",
                "json",
                "--show-managed-fields",
            ],
            "",
        );
        output
            .status
            .success()
            .then(|| serde_json::from_slice(&output.stdout).unwrap())
    }

    /// Waits for an event, and gives what it says.
    pub(crate) fn event(&self, namespace: &str, object: &str, reason: &str) -> String {
        wait_for(&format!("an event {reason} of {object}"), || {
            let events = self.kubectl(&[
                "get",
                "events.v1.events.k8s.io",
                "-n",
                namespace,
                "-o",
                "json",
            ]);
            let events: Value = serde_json::from_str(&events).unwrap();
            let mut items = events["items"].as_array().unwrap().iter();
            let found = items
                .find(|event| event["reason"] == reason && event["regarding"]["name"] == object);
            found
                .map(|event| event["note"].as_str().unwrap().to_owned())
                .ok_or_else(|| events.to_string())
        })
    }

    pub(crate) fn apply(&self, yaml: &str) {
        let output = self.try_kubectl(&["apply", "-f", "-"], yaml);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "kubectl apply: {said}");
    }

    pub(crate) fn patch(&self, export: &str, patch: &str) {
        let arguments = [
            "patch",
            "export",
            export,
            "-n",
            &self.shop,
            "--type=merge",
            "-p",
            patch,
        ];
        self.kubectl(&arguments);
    }

    pub(crate) fn kubectl(&self, arguments: &[&str]) -> String {
        let output = self.try_kubectl(arguments, "");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "kubectl {arguments:?}: {said}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn try_kubectl(&self, arguments: &[&str], input: &str) -> Output {
        let mut command = Command::new("kubectl");
        let mut child = clean(&mut command)
            .env("KUBECONFIG", &self.kubeconfig)
            // Its cache of what the server has.
            .env("HOME", self.folder.path())
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(input.as_bytes())
            .unwrap();
        child.wait_with_output().unwrap()
    }

    /// From now on requests have the faults that a rule gives them by their method and path.
    pub(crate) fn faults(&self, rule: impl FnMut(&str, &str) -> Option<Fault> + Send + 'static) {
        *self.wire.rule.lock() = Some(Box::new(rule));
    }

    pub(crate) fn no_faults(&self) {
        *self.wire.rule.lock() = None;
    }

    /// How many requests there were since they were last asked for.
    pub(crate) fn wire_len(&self) -> usize {
        let requests = self.wire.requests.lock();
        let writes = requests
            .iter()
            .filter(|request| !request.starts_with("GET"));
        writes.count()
    }

    /// The requests that apply, since they were last asked for: as `METHOD path`. What is counted
    /// apart isn't among them: watches, leases, events, and the conditions of objects.
    pub(crate) fn requests(&self) -> Vec<String> {
        std::mem::take(&mut *self.wire.requests.lock())
    }
}

/// The status of a condition.
pub(crate) fn condition(object: &Value, kind: &str) -> String {
    let conditions = object["status"]["conditions"].as_array();
    let mut conditions = conditions.into_iter().flatten();
    let found = conditions.find(|condition| condition["type"] == kind);
    let status = found.map(|condition| condition["status"].as_str().unwrap().to_owned());
    status.unwrap_or_default()
}

/// A proxy before a server that speaks plain HTTP.
fn serve(server: SocketAddr, wire: Arc<Wire>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let wire = Arc::clone(&wire);
            // Whoever hangs up ends it; that is no failure of the test.
            thread::spawn(move || drop(relay(client, server, &wire)));
        }
    });
    address
}

/// Relays one request; the connection carries no second one.
fn relay(client: TcpStream, server: SocketAddr, wire: &Wire) -> std::io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            return Ok(());
        }
    }
    let (first, fields) = head.split_once("\r\n").unwrap_or_default();
    let mut words = first.split(' ');
    let (method, path) = (
        words.next().unwrap_or_default().to_owned(),
        words.next().unwrap_or_default().to_owned(),
    );
    let length = fields.lines().find_map(|field| {
        let (name, value) = field.split_once(':')?;
        let is_length = name.eq_ignore_ascii_case("content-length");
        is_length.then(|| value.trim().parse::<usize>().ok())?
    });
    let mut body = vec![0; length.unwrap_or_default()];
    reader.read_exact(&mut body)?;

    let is_list = method == "GET" && (path.contains("watch=true") || path.contains("limit="));
    let is_status = path.contains("/status") && path.contains("clusterlink.net");
    let apart = [
        "/leases",
        "/events",
        "/secrets",
        "/services",
        "/endpointslices",
    ];
    let mut fault = None;
    if !is_list && !is_status && !apart.iter().any(|part| path.contains(part)) {
        let plain = path.split('?').next().unwrap_or_default();
        wire.requests.lock().push(format!("{method} {plain}"));
        fault = wire
            .rule
            .lock()
            .as_mut()
            .and_then(|rule| rule(&method, &path));
    }
    let mut client = client;
    match fault {
        Some(Fault::Cut) => return Ok(()),
        Some(Fault::Status(code, after)) => {
            let after = after.map(|after| format!("Retry-After: {after}\r\n"));
            let after = after.unwrap_or_default();
            let text = "injected";
            let answer = format!(
                "HTTP/1.1 {code} Injected\r\n{after}Content-Length: {}\r\nConnection: close\r\n\r\n{text}",
                text.len()
            );
            return client.write_all(answer.as_bytes());
        }
        Some(Fault::Lose) | None => {}
    }
    let mut upstream = TcpStream::connect(server)?;
    let kept = fields.lines().filter(|field| {
        let name = field.split(':').next().unwrap_or_default();
        !name.is_empty()
            && !name.eq_ignore_ascii_case("connection")
            && !name.eq_ignore_ascii_case("host")
    });
    let fields: String = kept.map(|field| format!("{field}\r\n")).collect();
    let request = format!("{first}\r\nHost: localhost\r\n{fields}Connection: close\r\n\r\n");
    upstream.write_all(request.as_bytes())?;
    upstream.write_all(&body)?;
    if fault.is_some() {
        std::io::copy(&mut upstream, &mut std::io::sink())?;
        return Ok(());
    }
    // Where the client goes, the server is told.
    let (watched, ended) = (client.try_clone()?, upstream.try_clone()?);
    thread::spawn(move || {
        let mut watched = watched;
        let _ = watched.read(&mut [0]);
        let _ = ended.shutdown(std::net::Shutdown::Both);
    });
    std::io::copy(&mut upstream, &mut client)?;
    client.shutdown(std::net::Shutdown::Both)
}
