//! What the tests begin with: a cluster that keeps to a repository.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use serde_json::Value;
use weft_tests::api_proxy::{ApiProxy, Seen};
use weft_tests::api_server::{ApiServer, Kubectl, has_condition};
use weft_tests::repository::FabricRepository;
use weft_tests::role::{Reconciler, SYSTEM};
use weft_tests::yaml;

pub(crate) const NAMESPACE: &str = "shop";

/// A cluster with a repository that it keeps to.
pub(crate) struct Cluster {
    pub(crate) server: ApiServer,
    pub(crate) proxy: ApiProxy,
    pub(crate) repository: FabricRepository,
}

impl Cluster {
    /// A cluster whose FabricSync says what `more` adds to its spec.
    pub(crate) fn new(more: &str) -> Self {
        Self::of(ApiServer::start(), more)
    }

    /// The same, of a server.
    pub(crate) fn of(server: ApiServer, more: &str) -> Self {
        let repository = FabricRepository::new();
        repository.write("fabric.yaml", yaml::fabric());
        repository.write("ca/test.pem", authority());
        let gateway = "192.0.2.1:4443".parse().unwrap();
        for peer in ["east", "west"] {
            let path = format!("peers/{peer}/peer.yaml");
            repository.write(&path, yaml::peer(peer, gateway));
        }
        repository.write("peers/east/export.yaml", export("ledger", 8080));
        repository.write(
            "peers/east/allow.yaml",
            yaml::policy(NAMESPACE, "allow", "allow"),
        );
        repository.commit("Begin");
        let kubectl = server.kubectl();
        kubectl.run(&["create", "namespace", NAMESPACE]);
        let url = repository.url();
        kubectl.apply(&format!(
            "apiVersion: weft.dev/v1alpha1
kind: FabricSync
metadata: {{name: weft, namespace: {SYSTEM}}}
spec: {{peer: east, repository: \"{url}\", ref: main, interval: 1s{more}}}
"
        ));
        let proxy = ApiProxy::start(&server);
        Self {
            server,
            proxy,
            repository,
        }
    }

    pub(crate) fn reconciler(&self, name: &str) -> Reconciler {
        Reconciler::start(name, &self.proxy.kubeconfig(), &["--lease-duration", "5s"])
    }

    pub(crate) fn kubectl(&self) -> Kubectl {
        self.server.kubectl()
    }

    pub(crate) fn sync(&self) -> Value {
        let found = self.kubectl().find(&["fabricsync", "-n", SYSTEM, "weft"]);
        found.expect("the FabricSync is there")
    }

    pub(crate) fn wait_for_sync(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let sync = ["fabricsync", "-n", SYSTEM, "weft"];
        self.kubectl().wait_until(&sync, wanted)
    }

    /// Waits until a commit is in force, and all that it asks for is done.
    pub(crate) fn wait_until_in_force(&self, commit: &str) {
        self.wait_for_sync(|sync| {
            sync["status"]["revision"] == commit
                && sync["status"]["attemptedRevision"] == commit
                && has_condition(sync, "Ready", "True")
        });
    }

    pub(crate) fn export(&self, name: &str) -> Option<Value> {
        self.kubectl().find(&["export", "-n", NAMESPACE, name])
    }

    /// The Exports of the namespace.
    pub(crate) fn exports(&self) -> BTreeSet<String> {
        let text = self
            .kubectl()
            .run(&["get", "exports", "-n", NAMESPACE, "-o", "name"]);
        let names = text.lines().filter_map(|line| line.split_once('/'));
        names.map(|(_, name)| name.to_owned()).collect()
    }

    pub(crate) fn events(&self, reason: &str) -> Vec<Value> {
        let found = self.kubectl().find(&["events", "-A"]);
        let items = found.map(|list| list["items"].clone()).unwrap_or_default();
        let items = items.as_array().cloned().unwrap_or_default();
        items
            .into_iter()
            .filter(|event| event["reason"] == reason)
            .collect()
    }
}

pub(crate) fn authority() -> String {
    weft_tests::certificates::Authority::new("test")
        .pem()
        .to_owned()
}

pub(crate) fn export(name: &str, port: u16) -> String {
    yaml::export(NAMESPACE, name, SocketAddr::from(([10, 1, 2, 3], port)))
}

pub(crate) fn exports(count: usize, port: u16) -> String {
    let all: Vec<_> = (0..count)
        .map(|n| export(&format!("many-{n:04}"), port))
        .collect();
    all.join("---\n")
}

/// What was asked of the server but for statuses of objects and events.
pub(crate) fn applied(proxy: &ApiProxy) -> Vec<Seen> {
    let mut work = proxy.work();
    work.retain(|seen| {
        let is_status = seen.path.ends_with("/status") && !seen.path.contains("fabricsyncs");
        !is_status && !seen.path.contains("/events")
    });
    work
}
