//! Least privilege: at a server that enforces RBAC each role does its work with its own account's
//! token, has no right that it doesn't use, and is refused what it has no business with.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking; clippy knows only functions marked as tests"
)]

#[path = "cluster_roles"]
mod roles {
    mod hub;
    pub(crate) mod refused;
    pub(crate) mod right;
    pub(crate) mod stage;
}

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::{Value, json};
use weft_tests::api_proxy::Fault;
use weft_tests::api_server::has_condition;
use weft_tests::certificates::Authority;
use weft_tests::process::Signal;
use weft_tests::repository::FabricRepository;
use weft_tests::role::{ClusterGateway, OPERATOR, Reconciler, SYSTEM};
use weft_tests::wait::{holds, wait_for};
use weft_tests::yaml;

use self::roles::refused::{self, Request};
use self::roles::right::{Given, Used};
use self::roles::stage::{Role, SHOP, Stage, instance};

/// Rights that no request shows, and why the roles have them all the same.
const UNSEEN: [(&str, &str); 4] = [
    (
        "cl-operator: bind clusterroles.rbac.authorization.k8s.io cl-controlplane",
        BOUND,
    ),
    (
        "cl-operator: bind clusterroles.rbac.authorization.k8s.io cl-controlplane-system",
        BOUND,
    ),
    (
        "cl-operator: bind clusterroles.rbac.authorization.k8s.io cl-dataplane",
        BOUND,
    ),
    (
        "cl-operator: bind clusterroles.rbac.authorization.k8s.io cl-dataplane-system",
        BOUND,
    ),
];
const BOUND: &str =
    "the server asks for it where a binding is written to a role with rights that the writer lacks";

#[test]
fn each_role_works_with_its_own_token_and_uses_every_right_that_it_has() {
    let mut stage = Stage::new();
    let authority = Authority::new("test");
    let repository = repository(&authority);
    stage.kubectl.apply(&objects_by_hand(&repository.url()));

    let mut reconciler = Reconciler::start(
        "reconciler",
        &stage.controlplane.kubeconfig(&stage.server),
        &["--lease-duration", "2s"],
    );
    let config = stage.dataplane.kubeconfig(&stage.server);
    let mut gateway = ClusterGateway::new("gateway", &config, &authority.peer("east"));
    gateway.start();
    in_force(&stage, &gateway, &repository.head());
    of_imports(&stage, &[("hall", 2)]);
    stage
        .kubectl
        .wait_until(&["deployment", "cl-dataplane", "-n", "edge"], |_| true);

    change(&stage, &gateway, &repository);
    drift(&stage);
    drift_of_installation(&stage);
    remove(&stage, &gateway, &repository);

    // What is left when nobody looks after it goes with the last Instance.
    reconciler.process().signal(Signal::TERM);
    reconciler.process().wait();
    gateway.process().signal(Signal::TERM);
    gateway.process().wait();
    let kubectl = &stage.kubectl;
    for namespace in [OPERATOR, SHOP] {
        kubectl.run(&["delete", "instance", "cl-instance", "-n", namespace]);
    }
    let label = "clusterlink.net/dataplane-endpointslice-name";
    let left = kubectl.run(&["get", "endpointslices", "-A", "-l", label, "-o", "name"]);
    assert_eq!(left, "", "the Instance waits for it");
    stage.stop_operator();

    let mut unneeded = Given::all();
    for role in stage.roles() {
        let refused: Vec<_> = role.proxy.requests();
        let refused: Vec<_> = refused
            .iter()
            .filter(|seen| [401, 403].contains(&seen.status))
            .collect();
        assert!(refused.is_empty(), "{}: {refused:#?}", role.account);
        let used = used(role);
        let system = format!("{}-system", name_of_role(role));
        unneeded.retain(|given| {
            let is_its = given.role == name_of_role(role) || given.role == system;
            !is_its
                || !used
                    .iter()
                    .any(|used| given.is_needed_for(used, role.namespace))
        });
    }
    let unneeded: BTreeSet<_> = unneeded.iter().map(ToString::to_string).collect();
    let unseen: BTreeSet<_> = UNSEEN
        .iter()
        .map(|(given, _)| (*given).to_owned())
        .collect();
    let unused: Vec<_> = unneeded.difference(&unseen).collect();
    assert!(unused.is_empty(), "nobody used: {unused:#?}");
    let seen: Vec<_> = unseen.difference(&unneeded).collect();
    assert!(seen.is_empty(), "used after all, or not given: {seen:#?}");
}

#[test]
fn what_a_role_has_no_business_with_is_refused() {
    let stage = Stage::new();
    // With one right that the operator doesn't have either.
    stage.kubectl.run(&[
        "create",
        "clusterrole",
        "another",
        "--verb=get",
        "--resource=secrets",
    ]);
    let mut wrong = Vec::new();
    for (role, requests) in [
        (&stage.operator, refused::to_operator()),
        (&stage.controlplane, refused::to_controlplane()),
        (&stage.dataplane, refused::to_dataplane()),
    ] {
        let own = stage.server.kubeconfig_of(role.namespace, role.account);
        let own: Value = serde_json::from_str(&fs::read_to_string(own).unwrap()).unwrap();
        let token = own["users"][0]["user"]["token"].as_str().unwrap();
        for request in refused::to_all().iter().chain(&requests) {
            let (status, answer) = ask(role, Some(token), request, &[]);
            if status != 403 {
                wrong.push(format!("{}: {request:?}: {status} {answer}", role.account));
            }
            // One that nobody could make would show nothing.
            let (status, answer) = ask(role, None, &request.in_trial(), &[]);
            let is_understood =
                !answer.contains("the server could not find the requested resource");
            if matches!(status, 400 | 401 | 403 | 405) || !is_understood {
                wrong.push(format!("administrator: {request:?}: {status} {answer}"));
            }
        }
        // Nobody becomes anybody else.
        let somebody = [
            "Impersonate-User: root",
            "Impersonate-Group: system:masters",
        ];
        let request = refused::exports();
        assert_eq!(ask(role, Some(token), &request, &somebody).0, 403);
        assert_eq!(ask(role, None, &request, &somebody).0, 200);
        // And the token is one.
        let request = refused::allowed(role.account);
        assert_eq!(ask(role, Some(token), &request, &[]).0, 200);
        assert_eq!(ask(role, Some("nonsense"), &request, &[]).0, 401);
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Sends a request, as the administrator where there is no token; the answer's status and body.
fn ask(role: &Role, token: Option<&str>, request: &Request, headers: &[&str]) -> (u16, String) {
    let Request { method, path, body } = request;
    let kind = match *method {
        "PATCH" => "application/merge-patch+json",
        _ => "application/json",
    };
    let body = match body {
        Value::Null => String::new(),
        body => body.to_string(),
    };
    let mut lines = vec![
        format!("{method} {path} HTTP/1.1"),
        "Host: proxy".to_owned(),
        "Connection: close".to_owned(),
        format!("Content-Type: {kind}"),
        format!("Content-Length: {}", body.len()),
    ];
    lines.extend(token.map(|token| format!("Authorization: Bearer {token}")));
    lines.extend(headers.iter().map(|header| (*header).to_owned()));
    let mut stream = TcpStream::connect(role.proxy.address()).unwrap();
    let text = format!("{}\r\n\r\n{body}", lines.join("\r\n"));
    stream.write_all(text.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer)
}

/// The ClusterRole of a role's account.
fn name_of_role(role: &Role) -> &str {
    role.account.trim_end_matches("-controller-manager")
}

fn used(role: &Role) -> BTreeSet<Used> {
    role.proxy.requests().iter().flat_map(Used::of).collect()
}

/// A repository with one object of each kind and more for `east`, of which the last commit is not yet
/// anywhere.
fn repository(authority: &Authority) -> FabricRepository {
    let repository = FabricRepository::new();
    let fabric = yaml::fabric() + "  prune: {maxCount: 100, maxPercent: 100}\n";
    repository.write("fabric.yaml", fabric);
    repository.write("ca/test.pem", authority.pem());
    for peer in ["east", "west", "north"] {
        let gateway = "192.0.2.1:4443".parse().unwrap();
        repository.write(
            &format!("peers/{peer}/peer.yaml"),
            yaml::peer(peer, gateway),
        );
    }
    for (path, text) in of_repository(8000) {
        repository.write(&format!("peers/east/{path}.yaml"), text);
    }
    repository.write(
        "peers/east/hall.yaml",
        yaml::import(SHOP, "hall", 80, "west"),
    );
    repository.write("peers/east/merged.yaml", merged("kept"));
    repository.write("peers/east/instance.yaml", instance(SHOP, "edge", ""));
    let export = yaml::export(SHOP, "hall", "127.0.0.1:1".parse().unwrap());
    repository.write("peers/west/hall.yaml", export);
    repository.commit("Begin");
    repository
}

/// What comes, changes and goes.
fn of_repository(port: u16) -> [(&'static str, String); 5] {
    let policy = |kind: &str, place: &str, name: &str| {
        format!(
            "\
apiVersion: clusterlink.net/v1alpha1
kind: {kind}
metadata: {{name: {name}{place}}}
spec:
  action: allow
  from: [{{workloadSelector: {{matchLabels: {{port: \"{port}\"}}}}}}]
  to: [{{workloadSelector: {{}}}}]
"
        )
    };
    let place = format!(", namespace: {SHOP}");
    let export = yaml::export(SHOP, "ledger", ([127, 0, 0, 1], port).into());
    [
        ("export", export),
        (
            "import",
            yaml::import(SHOP, "passing", port, "west")
                .replace("exportName: passing", "exportName: hall"),
        ),
        ("policy", policy("AccessPolicy", &place, "some")),
        ("privileged", policy("PrivilegedAccessPolicy", "", "some")),
        ("merged-passing", merged("passing-merged")),
    ]
}

/// An Import that adds to the Service of its name.
fn merged(name: &str) -> String {
    let import = yaml::import(SHOP, name, 80, "west");
    let import = import.replace(&format!("exportName: {name}"), "exportName: hall");
    let labels = "  labels: {import.clusterlink.net/merge: \"true\"}\nspec:";
    import
        .replace("spec:", labels)
        .replace("  targetPort: 80\n", "")
}

/// What a cluster's people and its other controllers make.
fn objects_by_hand(url: &str) -> String {
    let services: String = ["kept", "passing-merged"]
        .iter()
        .map(|name| format!("---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: {SHOP}}}\nspec: {{ports: [{{port: 80}}]}}\n"))
        .collect();
    format!(
        "\
apiVersion: v1
kind: Secret
metadata: {{name: weft-git, namespace: {SYSTEM}}}
stringData: {{username: weft, password: sesame}}
---
apiVersion: weft.dev/v1alpha1
kind: FabricSync
metadata: {{name: weft, namespace: {SYSTEM}}}
spec: {{peer: east, repository: \"{url}\", interval: 1s, secretRef: {{name: weft-git}}}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: clusterlink-x
  namespace: {SYSTEM}
  labels: {{kubernetes.io/service-name: clusterlink}}
addressType: IPv4
endpoints: [{{addresses: [10.0.0.1], conditions: {{ready: true}}}}]
ports: [{{name: https, port: 4443, protocol: TCP}}]
{services}"
    )
}

/// Waits until a commit is in force, in the reconciler's and in the gateway's eyes.
fn in_force(stage: &Stage, gateway: &ClusterGateway, commit: &str) {
    let sync = ["fabricsync", "weft", "-n", SYSTEM];
    stage.kubectl.wait_until(&sync, |sync| {
        sync["status"]["revision"] == commit && has_condition(sync, "Ready", "True")
    });
    wait_for("the gateway goes by the commit", || {
        let snapshot = gateway.snapshot()?;
        holds(snapshot["revision"] == commit, || snapshot.to_string())
    });
}

/// Waits until Imports have so many Services.
fn of_imports(stage: &Stage, wanted: &[(&str, usize)]) {
    for (import, count) in wanted {
        let label = format!("clusterlink.net/import-name={import}");
        wait_for(&format!("{import} has {count} Services"), || {
            let list = stage
                .kubectl
                .run(&["get", "services", "-A", "-l", &label, "-o", "name"]);
            holds(list.lines().count() == *count, || list)
        });
    }
}

/// A commit that changes an object of every kind, while the server says once that somebody was quicker.
fn change(stage: &Stage, gateway: &ClusterGateway, repository: &FabricRepository) {
    for (path, text) in of_repository(8001) {
        repository.write(&format!("peers/east/{path}.yaml"), text);
    }
    let gateway_of_west = "192.0.2.2:4443".parse().unwrap();
    repository.write("peers/west/peer.yaml", yaml::peer("west", gateway_of_west));
    repository.write(
        "peers/east/instance.yaml",
        instance(SHOP, "edge", "  logLevel: debug\n"),
    );
    let mut is_first = true;
    stage.controlplane.proxy.set_rule(move |seen| {
        let is_state = seen.method == "PATCH" && seen.path.contains("/fabricstates/");
        let is_it = is_state && is_first;
        is_first &= !is_it;
        is_it.then_some(Fault::Answer(409, None))
    });
    let commit = repository.commit("Change something of everything");
    in_force(stage, gateway, &commit);
    stage.controlplane.proxy.clear_rule();
    // The gateways' endpoints changed.
    let patch = r#"{"endpoints":[{"addresses":["10.0.0.2"],"conditions":{"ready":true}}]}"#;
    stage.kubectl.run(&[
        "patch",
        "endpointslice",
        "clusterlink-x",
        "-n",
        SYSTEM,
        "--type=merge",
        "-p",
        patch,
    ]);
    let slice = "clusterlink-4-kept-clusterlink-x";
    stage
        .kubectl
        .wait_until(&["endpointslice", slice, "-n", SHOP], |slice| {
            slice["endpoints"][0]["addresses"][0] == "10.0.0.2"
        });
}

/// Somebody changes what is applied, and what Imports made; one thing twice.
fn drift(stage: &Stage) {
    let kubectl = &stage.kubectl;
    let label = json!({"metadata": {"labels": {"x": "y"}}});
    let objects = [
        ("export", "ledger", Some(SHOP)),
        ("export", "ledger", Some(SHOP)),
        ("import", "hall", Some(SHOP)),
        ("accesspolicy", "some", Some(SHOP)),
        ("privilegedaccesspolicy", "some", None),
        ("instance", "cl-instance", Some(SHOP)),
        ("peer", "west", Some(SYSTEM)),
    ];
    for (kind, name, namespace) in objects {
        let place: Vec<&str> = namespace
            .iter()
            .flat_map(|namespace| ["-n", namespace])
            .collect();
        let patch = [
            "patch",
            kind,
            name,
            "--type=merge",
            "-p",
            &label.to_string(),
        ];
        kubectl.run(&[&patch[..], &place].concat());
        kubectl.wait_until(&[&[kind, name], &place[..]].concat(), |object| {
            object["metadata"]["labels"]["x"].is_null()
        });
    }
    let service = json!({"spec": {"externalName": "elsewhere.example"}});
    kubectl.run(&[
        "patch",
        "service",
        "hall",
        "-n",
        SHOP,
        "--type=merge",
        "-p",
        &service.to_string(),
    ]);
    kubectl.wait_until(&["service", "hall", "-n", SHOP], |service| {
        service["spec"]["externalName"] != "elsewhere.example"
    });
    // What nothing goes on in any more, and the report of a Pod that is gone.
    let mark = format!("{SYSTEM}.weft");
    kubectl.apply(
        &json!({
            "apiVersion": "weft.dev/v1alpha1",
            "kind": "GatewayReport",
            "metadata": {
                "name": "gone",
                "namespace": SYSTEM,
                "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "gone", "uid": "gone"}],
            },
        })
        .to_string(),
    );
    kubectl.wait_until_gone(&["gatewayreport", "gone", "-n", SYSTEM]);
    let state = kubectl
        .find(&["fabricstate", "weft", "-n", SYSTEM])
        .unwrap();
    let surplus = json!({
        "apiVersion": "weft.dev/v1alpha1",
        "kind": "FabricState",
        "metadata": {"name": "weft-1", "namespace": SYSTEM, "labels": {"weft.dev/sync": mark}},
        "spec": state["spec"],
    });
    kubectl.apply(&surplus.to_string());
    kubectl.wait_until_gone(&["fabricstate", "weft-1", "-n", SYSTEM]);
}

/// Somebody changes what the operator made.
fn drift_of_installation(stage: &Stage) {
    let kubectl = &stage.kubectl;
    let changes: [(&str, &str, bool, Value); 5] = [
        (
            "deployment",
            "cl-dataplane",
            true,
            json!({"spec": {"replicas": 7}}),
        ),
        (
            "service",
            "clusterlink",
            true,
            json!({"spec": {"selector": {"app": "another"}}}),
        ),
        (
            "serviceaccount",
            "cl-dataplane",
            true,
            json!({"metadata": {"labels": {"weft.dev/instance": "x"}}}),
        ),
        ("rolebinding", "cl-dataplane", true, json!({"subjects": []})),
        (
            "clusterrolebinding",
            "clusterlink-system:cl-dataplane",
            false,
            json!({"subjects": []}),
        ),
    ];
    for (kind, name, is_namespaced, patch) in changes {
        let place: &[&str] = match is_namespaced {
            true => &["-n", SYSTEM],
            false => &[],
        };
        let object = [&[kind, name], place].concat();
        let before = kubectl.find(&object).unwrap();
        let command = [
            "patch",
            kind,
            name,
            "--type=merge",
            "-p",
            &patch.to_string(),
        ];
        kubectl.run(&[&command[..], place].concat());
        kubectl.wait_until(&object, |after| {
            ["spec", "subjects"]
                .iter()
                .all(|field| before[field] == after[field])
                && before["metadata"]["labels"] == after["metadata"]["labels"]
        });
    }
}

/// A commit that takes one of each kind away.
fn remove(stage: &Stage, gateway: &ClusterGateway, repository: &FabricRepository) {
    for (path, _) in of_repository(8001) {
        repository.remove(&format!("peers/east/{path}.yaml"));
    }
    repository.remove("peers/north");
    let commit = repository.commit("Take some away");
    in_force(stage, gateway, &commit);
    stage
        .kubectl
        .wait_until_gone(&["peer", "north", "-n", SYSTEM]);
    of_imports(stage, &[("hall", 2), ("passing", 0)]);
    let slice = "clusterlink-14-passing-merged-clusterlink-x";
    stage
        .kubectl
        .wait_until_gone(&["endpointslice", slice, "-n", SHOP]);
}
