//! Conditions that `kubectl wait` and other tools go by, as a reconciler writes them.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use serde_json::Value;
use weft_tests::api_server::{ApiServer, Kubectl, condition};
use weft_tests::certificates::Authority;
use weft_tests::repository::FabricRepository;
use weft_tests::role::{Reconciler, SYSTEM};
use weft_tests::yaml;

const NAMESPACE: &str = "shop";
const SYNC: [&str; 4] = ["fabricsync", "weft", "-n", SYSTEM];

/// A cluster that keeps to a repository, but for its reconciler.
struct Cluster {
    server: ApiServer,
    kubectl: Kubectl,
    repository: FabricRepository,
}

impl Cluster {
    fn new() -> Self {
        let server = ApiServer::start();
        let kubectl = server.kubectl();
        kubectl.run(&["create", "namespace", NAMESPACE]);
        let repository = FabricRepository::new();
        repository.write("fabric.yaml", yaml::fabric());
        repository.write("ca/test.pem", Authority::new("test").pem());
        let gateway = "192.0.2.1:4443".parse().unwrap();
        for peer in ["east", "west"] {
            let path = format!("peers/{peer}/peer.yaml");
            repository.write(&path, yaml::peer(peer, gateway));
        }
        let service = SocketAddr::from(([10, 1, 2, 3], 8080));
        let path = |name: &str| format!("peers/east/{name}.yaml");
        let ledger = yaml::export(NAMESPACE, "ledger", service);
        repository.write(&path("export"), &ledger);
        repository.write("peers/west/export.yaml", &ledger);
        let import = yaml::import(NAMESPACE, "books", 80, "west");
        let import = import.replace("exportName: books", "exportName: ledger");
        repository.write(&path("import"), import);
        let policy = yaml::policy(NAMESPACE, "allow", "allow");
        repository.write(&path("allow"), policy);
        repository.commit("Begin");
        Self {
            server,
            kubectl,
            repository,
        }
    }

    fn reconciler(&self) -> Reconciler {
        Reconciler::start(
            "the reconciler",
            &self.server.kubeconfig(),
            &["--lease-duration", "2s"],
        )
    }

    fn apply_sync(&self, more: &str) {
        let url = self.repository.url();
        self.kubectl.apply(&format!(
            "apiVersion: weft.dev/v1alpha1
kind: FabricSync
metadata: {{name: weft, namespace: {SYSTEM}}}
spec: {{peer: east, repository: \"{url}\", interval: 1s{more}}}
"
        ));
    }

    /// Runs `kubectl wait` to its end.
    fn wait(&self, what: &[&str], condition: &str) -> String {
        let condition = format!("--for={condition}");
        let wait = ["wait", "--timeout=60s", condition.as_str()];
        self.kubectl.run(&[&wait[..], what].concat())
    }
}

/// The state of an object as `kstatus` computes it for any custom resource, which is what Flux, Argo
/// CD, Helm and `kubectl`-like tools wait by.
#[derive(Debug, PartialEq, Eq)]
enum State {
    Current,
    InProgress,
    Failed,
    Terminating,
}

fn kstatus(object: &Value) -> State {
    let holds = |kind: &str| condition(object, kind).map(|(status, _, _)| status);
    if !object["metadata"]["deletionTimestamp"].is_null() {
        return State::Terminating;
    }
    let observed = &object["status"]["observedGeneration"];
    if !observed.is_null() && *observed != object["metadata"]["generation"] {
        return State::InProgress;
    }
    if holds("Stalled").as_deref() == Some("True") {
        return State::Failed;
    }
    if holds("Reconciling").as_deref() == Some("True") {
        return State::InProgress;
    }
    match holds("Ready").as_deref() {
        Some("True") | None => State::Current,
        Some(_) => State::InProgress,
    }
}

/// What must hold of a FabricSync at any moment that it has a status at all.
fn check_conventions(sync: &Value) {
    let generation = sync["metadata"]["generation"].as_i64().unwrap();
    let Some(conditions) = sync["status"]["conditions"].as_array() else {
        return;
    };
    let observed = &sync["status"]["observedGeneration"];
    assert!(
        observed.as_i64().is_none_or(|one| one <= generation),
        "{sync:#}"
    );
    let types: Vec<_> = conditions
        .iter()
        .map(|one| one["type"].to_string())
        .collect();
    let distinct: BTreeSet<_> = types.iter().collect();
    assert_eq!(distinct.len(), types.len(), "{sync:#}");
    for one in conditions {
        let of = one["observedGeneration"].as_i64().unwrap();
        assert!(of <= generation, "{sync:#}");
        let reason = one["reason"].as_str().unwrap();
        let is_word = |c: char| c.is_ascii_alphanumeric();
        assert!(
            !reason.is_empty() && reason.chars().all(is_word),
            "{sync:#}"
        );
        assert!(!one["lastTransitionTime"].is_null(), "{sync:#}");
    }
    let holds = |kind: &str| condition(sync, kind).is_some_and(|(status, _, _)| status == "True");
    assert!(condition(sync, "Ready").is_some(), "{sync:#}");
    let abnormal = u8::from(holds("Reconciling")) + u8::from(holds("Stalled"));
    assert!(abnormal <= 1, "{sync:#}");
    assert!(!(holds("Ready") && abnormal > 0), "{sync:#}");
}

#[test]
fn kubectl_waits_describes_and_deletes() {
    let cluster = Cluster::new();
    cluster.apply_sync("");
    let _reconciler = cluster.reconciler();
    let said = cluster.wait(&SYNC, "condition=Ready");
    assert_eq!(said, "fabricsync.weft.dev/weft condition met\n");
    for (object, kind) in [
        ("export/ledger", "ExportValid"),
        ("import/books", "ImportTargetPortValid"),
        ("import/books", "ImportServiceValid"),
        ("accesspolicy/allow", "Accepted"),
    ] {
        let condition = format!("condition={kind}");
        let said = cluster.wait(&[object, "-n", NAMESPACE], &condition);
        assert!(said.ends_with(" condition met\n"), "{said}");
    }
    let port = "jsonpath={.status.targetPort}=80";
    cluster.wait(&["import/books", "-n", NAMESPACE], port);

    // Nobody waits for what doesn't hold.
    let never = ["wait", "--timeout=1s", "--for=condition=Stalled"];
    let failed = cluster.kubectl.try_run(&[&never[..], &SYNC].concat(), "");
    assert!(failed.unwrap_err().contains("timed out"));

    let said = cluster
        .kubectl
        .run(&["describe", "export", "ledger", "-n", NAMESPACE]);
    for line in [
        "Kind:         Export",
        "Annotations:  weft.dev/commit: ",
        "weft.dev/source: peers/east/export.yaml:1",
        "    Type:                  ExportValid",
        "  Host:  10.1.2.3",
    ] {
        assert!(said.contains(line), "{line} isn't in {said}");
    }
    let said = cluster.kubectl.run(&[&["describe"], &SYNC[..]].concat());
    let head = cluster.repository.head();
    assert!(said.contains(&head), "{head} isn't in {said}");

    // What the repository has would come back, were it not suspended.
    cluster.apply_sync(", suspend: true");
    let reason = "jsonpath={.status.conditions[?(@.type==\"Ready\")].reason}=Suspended";
    cluster.wait(&SYNC, reason);
    let said = cluster
        .kubectl
        .run(&["delete", "export", "ledger", "-n", NAMESPACE]);
    assert!(said.contains("\"ledger\" deleted"), "{said}");
    let export = ["export", "ledger", "-n", NAMESPACE];
    assert_eq!(cluster.kubectl.find(&export), None);
    cluster.kubectl.run(&[&["delete"], &SYNC[..]].concat());
    assert_eq!(cluster.kubectl.find(&SYNC), None);
}

#[test]
fn a_sync_tells_its_state_by_the_conventions() {
    let cluster = Cluster::new();
    let wait_for = |wanted: State, more: &dyn Fn(&Value) -> bool| {
        cluster.kubectl.wait_until(&SYNC, |sync| {
            check_conventions(sync);
            kstatus(sync) == wanted && more(sync)
        })
    };
    let generation = |sync: &Value| sync["metadata"]["generation"].as_i64().unwrap();
    let is_observed = |sync: &Value| sync["status"]["observedGeneration"] == generation(sync);

    // Nobody has looked at it yet.
    cluster.apply_sync("");
    let sync = cluster.kubectl.find(&SYNC).unwrap();
    assert_eq!(kstatus(&sync), State::InProgress);

    let _reconciler = cluster.reconciler();
    let sync = wait_for(State::Current, &is_observed);
    assert_eq!(generation(&sync), 1);

    // A spec that isn't acted upon yet is in progress, until it is observed.
    cluster.apply_sync(", ref: nowhere");
    let sync = wait_for(State::InProgress, &is_observed);
    assert_eq!(generation(&sync), 2);
    let (ready, reason, message) = condition(&sync, "Ready").unwrap();
    assert_eq!(ready, "False", "{reason}: {message}");
    assert!(message.contains("nowhere"), "{message}");

    cluster.apply_sync(", onRewrite: Refuse");
    let sync = wait_for(State::Current, &is_observed);
    assert_eq!(generation(&sync), 3);

    // What only a person can mend has failed.
    let first = cluster.repository.head();
    cluster.repository.write("notes", "1");
    let second = cluster.repository.commit("More");
    wait_for(State::Current, &|sync| sync["status"]["revision"] == second);
    let git = |arguments: &[&str]| cluster.repository.git(arguments);
    git(&["reset", "--quiet", "--hard", &first]);
    git(&["push", "--quiet", "--force", "origin", "main"]);
    let sync = wait_for(State::Failed, &is_observed);
    let (_, reason, _) = condition(&sync, "Stalled").unwrap();
    assert_eq!(reason, "HistoryRewritten");

    cluster.apply_sync(", onRewrite: Accept");
    wait_for(State::Current, &|sync| {
        is_observed(sync) && sync["status"]["revision"] == first
    });
    cluster.wait(&SYNC, "condition=Ready");
}
