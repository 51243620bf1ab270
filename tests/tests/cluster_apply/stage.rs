//! A cluster, a repository, and a reconciler between them, with a proxy before the API server.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;
use weft_tests::api_proxy::{ApiProxy, Fault, Seen};
use weft_tests::api_server::{ApiServer, Kubectl, has_condition};
use weft_tests::binary::{clean, weft};
use weft_tests::certificates::Authority;
use weft_tests::process::Process;
use weft_tests::repository::FabricRepository;
use weft_tests::wait::{holds, wait_for};
use weft_tests::yaml;

/// The namespace of the reconciler.
pub(crate) const SYSTEM: &str = "clusterlink-system";
/// The namespace of the objects.
pub(crate) const SHOP: &str = "shop";

/// Everything that a test needs.
pub(crate) struct Stage {
    reconcilers: Vec<Process>,
    proxy: ApiProxy,
    pub(crate) kubectl: Kubectl,
    _server: ApiServer,
    pub(crate) repository: FabricRepository,
    folder: TempDir,
}

// === impl Stage ===

impl Stage {
    /// A cluster in which nothing runs yet, and a repository of which nothing is committed: the
    /// peers `east`, which the cluster is, and `west`.
    pub(crate) fn new() -> Self {
        let server = ApiServer::start();
        let kubectl = server.kubectl();
        kubectl.run(&["create", "namespace", SHOP]);
        let repository = FabricRepository::new();
        let fabric = yaml::fabric() + "  prune: {maxCount: 3, maxPercent: 20}\n";
        repository.write("fabric.yaml", fabric);
        repository.write("ca/fabric.pem", Authority::new("fabric").pem());
        for peer in ["east", "west"] {
            let gateway = SocketAddr::from(([10, 0, 0, 1], 4443));
            let path = format!("peers/{peer}/peer.yaml");
            repository.write(&path, yaml::peer(peer, gateway));
        }
        Self {
            reconcilers: Vec::new(),
            proxy: ApiProxy::start(&server),
            kubectl,
            _server: server,
            repository,
            folder: TempDir::new().unwrap(),
        }
    }

    /// The same with so many exports `e0`, `e1`, ... at port 8000, in force.
    pub(crate) fn started(exports: usize) -> Self {
        let mut stage = Self::new();
        for number in 0..exports {
            stage.export(&format!("e{number}"), 8000);
        }
        stage.repository.commit("Lay down the fabric");
        stage.start("");
        stage.wait_until_ready();
        stage
    }

    /// Writes an export of `east` into the working copy.
    pub(crate) fn export(&self, name: &str, port: u16) {
        let text = yaml::export(SHOP, name, SocketAddr::from(([127, 0, 0, 1], port)));
        let path = format!("peers/east/{name}.yaml");
        self.repository.write(&path, text);
    }

    /// Applies the FabricSync, with more fields of its spec, and starts the reconciler.
    pub(crate) fn start(&mut self, spec: &str) {
        self.kubectl.apply(&format!(
            "apiVersion: weft.dev/v1alpha1\nkind: FabricSync\n\
             metadata: {{name: weft, namespace: {SYSTEM}}}\n\
             spec: {{peer: east, repository: {}, interval: 1h{spec}}}\n",
            self.repository.url()
        ));
        self.start_reconciler();
    }

    /// Starts a reconciler, beside those that run.
    pub(crate) fn start_reconciler(&mut self) -> &Process {
        let number = self.reconcilers.len();
        let state = self.folder.path().join(format!("state-{number}"));
        let mut command = Command::new(weft());
        clean(&mut command)
            .args(["reconcile", "--namespace", SYSTEM])
            .args(["--admin", "127.0.0.1:0", "--lease-duration", "2s"])
            .arg("--kubeconfig")
            .arg(self.proxy.kubeconfig())
            .arg("--state")
            .arg(state);
        let name = format!("reconciler {number}");
        self.reconcilers.push(Process::start(&name, &mut command));
        self.reconcilers.last().unwrap()
    }

    /// The first reconciler.
    pub(crate) fn reconciler(&self) -> &Process {
        self.reconcilers.first().unwrap()
    }

    /// Ends the reconcilers without a warning.
    pub(crate) fn kill(&mut self) {
        for mut reconciler in self.reconcilers.drain(..) {
            reconciler.kill();
        }
    }

    /// Waits until the last commit is in force and all is well.
    pub(crate) fn wait_until_ready(&self) {
        let head = self.repository.head();
        self.wait_for_sync("the last commit is in force, whole", |sync| {
            sync["status"]["revision"] == *head && has_condition(sync, "Ready", "True")
        });
    }

    /// Waits until the last commit is in force as far as it can be, and the FabricSync says so.
    pub(crate) fn wait_until_applied(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let head = self.repository.head();
        self.wait_for_sync("the last commit is in force", |sync| {
            sync["status"]["revision"] == *head && wanted(sync)
        })
    }

    /// Waits until the FabricSync is as wanted.
    pub(crate) fn wait_for_sync(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        wait_for(what, || {
            let sync = self.sync();
            holds(wanted(&sync), || sync["status"].to_string()).map(|()| sync)
        })
    }

    pub(crate) fn sync(&self) -> Value {
        let sync = self.kubectl.find(&["fabricsync", "weft", "-n", SYSTEM]);
        sync.unwrap_or_default()
    }

    /// An export as it lives.
    pub(crate) fn live(&self, export: &str) -> Option<Value> {
        self.kubectl.find(&["export", export, "-n", SHOP])
    }

    /// The digest by which the FabricState counts an export; null where it doesn't.
    pub(crate) fn listed(&self, export: &str) -> Value {
        let state = self.kubectl.find(&["fabricstate", "weft", "-n", SYSTEM]);
        let digests = &state.unwrap_or_default()["spec"]["objects"]["Export"];
        digests[format!("{SHOP}/{export}")].clone()
    }

    /// The ports of the exports, by their names.
    pub(crate) fn ports(&self) -> BTreeMap<String, u64> {
        let list = self
            .kubectl
            .run(&["get", "exports", "-n", SHOP, "-o", "json"]);
        let list: Value = serde_json::from_str(&list).unwrap();
        let items = list["items"].as_array().unwrap().iter();
        let port = |item: &Value| {
            let name = item["metadata"]["name"].as_str().unwrap().to_owned();
            (name, item["spec"]["port"].as_u64().unwrap())
        };
        items.map(port).collect()
    }

    /// Whether the exports are these.
    pub(crate) fn has_ports(&self, wanted: &[(&str, u64)]) -> Result<(), String> {
        let ports = self.ports();
        let wanted = wanted
            .iter()
            .map(|(name, port)| ((*name).to_owned(), *port));
        holds(ports == wanted.collect(), || format!("{ports:?}"))
    }

    /// Waits for an event, and gives what it says.
    pub(crate) fn event(&self, namespace: &str, object: &str, reason: &str) -> String {
        wait_for(&format!("an event {reason} of {object}"), || {
            let list = [
                "get",
                "events.v1.events.k8s.io",
                "-n",
                namespace,
                "-o",
                "json",
            ];
            let events: Value = serde_json::from_str(&self.kubectl.run(&list)).unwrap();
            let mut items = events["items"].as_array().unwrap().iter();
            let found = items
                .find(|event| event["reason"] == reason && event["regarding"]["name"] == object);
            let note = found.map(|event| event["note"].as_str().unwrap().to_owned());
            note.ok_or_else(|| events.to_string())
        })
    }

    /// Changes an export by hand.
    pub(crate) fn patch(&self, export: &str, patch: &str) {
        let patch = [
            "patch",
            "export",
            export,
            "-n",
            SHOP,
            "--type=merge",
            "-p",
            patch,
        ];
        self.kubectl.run(&patch);
    }

    /// From now on what applies has the faults that a rule gives; what is asked for before counts
    /// isn't spoiled: see [`requests`](Self::requests).
    pub(crate) fn faults(&self, mut rule: impl FnMut(&Seen) -> Option<Fault> + Send + 'static) {
        self.proxy
            .set_rule(move |seen| counts(seen).then(|| rule(seen)).flatten());
    }

    pub(crate) fn no_faults(&self) {
        self.proxy.clear_rule();
    }

    /// The requests that apply, since they were last forgotten, as `METHOD path`. What is counted
    /// apart isn't among them: watches and their lists, leases, events, and what the controllers
    /// write.
    pub(crate) fn requests(&self) -> Vec<String> {
        let requests = self.proxy.requests();
        let requests = requests.iter().filter(|seen| counts(seen));
        requests
            .map(|seen| format!("{} {}", seen.method, seen.path))
            .collect()
    }

    pub(crate) fn forget_requests(&self) {
        self.proxy.reset();
    }
}

fn counts(seen: &Seen) -> bool {
    let is_list = seen.is_watch || (seen.method == "GET" && seen.query.contains("limit="));
    let is_applied = seen.path.contains("/clusterlink.net/") || seen.path.contains("/weft.dev/");
    let is_condition = seen.path.contains("/clusterlink.net/") && seen.path.ends_with("/status");
    is_applied && !is_list && !is_condition
}
