//! What each role has no business with.

use serde_json::{Value, json};

use super::stage::SHOP;
use weft_tests::role::{OPERATOR, SYSTEM};

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) body: Value,
}

/// The core group and those of others.
const CORE: &str = "/api/v1";
const APPS: &str = "/apis/apps/v1";
const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const LEASES: &str = "/apis/coordination.k8s.io/v1";
const SLICES: &str = "/apis/discovery.k8s.io/v1";
const CRDS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const LINK: &str = "/apis/clusterlink.net/v1alpha1";
const WEFT: &str = "/apis/weft.dev/v1alpha1";

// === impl Request ===

impl Request {
    /// What the administrator asks instead, where that shows as much: a list of what would be watched,
    /// and a look at a namespace, which might not come through a trial of its deletion.
    pub(crate) fn in_trial(&self) -> Self {
        let (path, _) = self.path.split_once('?').unwrap_or((&self.path, ""));
        let rest = path.strip_prefix("/api/v1/namespaces/");
        let is_end = self.method == "DELETE" && rest.is_some_and(|rest| !rest.contains('/'));
        if is_end || self.path.contains("watch=true") {
            return read(path);
        }
        self.clone()
    }
}

/// What each of the roles may do, of others.
pub(crate) fn allowed(account: &str) -> Request {
    match account {
        "cl-operator-controller-manager" => read(&format!("{LINK}/instances")),
        _ => exports(),
    }
}

/// A look at all Exports.
pub(crate) fn exports() -> Request {
    read(&format!("{LINK}/exports"))
}

/// What none of the roles may do.
pub(crate) fn to_all() -> Vec<Request> {
    let mut requests = Vec::new();
    // Secrets, however they are asked for: of users, of other parts of the cluster, and the peer's key,
    // which comes to the gateway as a file.
    let secrets = format!("{CORE}/secrets");
    requests.extend([read(&secrets), watch(&secrets)]);
    for namespace in [SHOP, SYSTEM, OPERATOR, "kube-system"] {
        let secrets = format!("{CORE}/namespaces/{namespace}/secrets");
        requests.extend([
            read(&secrets),
            watch(&secrets),
            read(&format!("{secrets}/cl-peer")),
            read(&format!("{secrets}/cl-ca")),
            read(&format!("{secrets}?fieldSelector=metadata.name%3Dcl-peer")),
            create(&secrets, secret()),
            patch(&format!("{secrets}/cl-peer"), secret()),
            delete(&format!("{secrets}/cl-peer")),
            delete(&secrets),
        ]);
    }
    requests.extend([
        read(&format!("{CORE}/namespaces/{SHOP}/secrets/weft-git")),
        patch(
            &format!("{CORE}/namespaces/{SYSTEM}/secrets/weft-git"),
            secret(),
        ),
        delete(&format!("{CORE}/namespaces/{SYSTEM}/secrets/weft-git")),
    ]);
    // Programs and accounts of one's own making.
    for namespace in [SHOP, SYSTEM] {
        let core = format!("{CORE}/namespaces/{namespace}");
        requests.extend([
            create(&format!("{core}/pods"), pod()),
            delete(&format!("{core}/pods/client")),
            delete(&format!("{core}/pods")),
            patch(&format!("{core}/pods/client"), json!({})),
            read(&format!("{core}/configmaps")),
            create(
                &format!("{core}/configmaps"),
                named("ConfigMap", "v1", "mine"),
            ),
            create(
                &format!("{core}/serviceaccounts/default/token"),
                token_request(),
            ),
            create(
                &format!("{APPS}/namespaces/{namespace}/daemonsets"),
                daemon_set(),
            ),
            create(
                &format!("/apis/batch/v1/namespaces/{namespace}/jobs"),
                job(),
            ),
            // More rights.
            create(
                &format!("{RBAC}/namespaces/{namespace}/roles"),
                role("Role"),
            ),
            create(
                &format!("{RBAC}/namespaces/{namespace}/rolebindings"),
                binding("RoleBinding", "cluster-admin"),
            ),
            // What an escape would be hidden by.
            delete(&format!("{CORE}/namespaces/{namespace}/events")),
        ]);
    }
    requests.extend([
        create(&format!("{RBAC}/clusterroles"), role("ClusterRole")),
        create(
            &format!("{RBAC}/clusterrolebindings"),
            binding("ClusterRoleBinding", "cluster-admin"),
        ),
        read(&format!("{RBAC}/clusterroles")),
    ]);
    for role in [
        "cl-operator",
        "cl-operator-system",
        "cl-controlplane",
        "cl-dataplane-system",
    ] {
        requests.extend([
            patch(&format!("{RBAC}/clusterroles/{role}"), everything()),
            delete(&format!("{RBAC}/clusterroles/{role}")),
        ]);
    }
    // The cluster itself.
    requests.extend([
        read(&format!("{CORE}/namespaces")),
        read(&format!("{CORE}/nodes")),
        create(
            &format!("{CORE}/namespaces"),
            named("Namespace", "v1", "mine"),
        ),
        patch(
            &format!("{CORE}/namespaces/{SHOP}"),
            json!({"metadata": {"labels": {"x": "y"}}}),
        ),
        delete(&format!("{CORE}/namespaces/{SHOP}")),
        delete(&format!("{CORE}/namespaces/{SYSTEM}")),
        read(CRDS),
        patch(
            &format!("{CRDS}/exports.clusterlink.net"),
            json!({"metadata": {"labels": {"x": "y"}}}),
        ),
        delete(&format!("{CRDS}/exports.clusterlink.net")),
        read("/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"),
        delete("/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"),
    ]);
    // All of a kind at once, and writes that no precondition guards.
    for kind in ["exports", "imports", "accesspolicies"] {
        requests.push(delete(&format!("{LINK}/namespaces/{SHOP}/{kind}")));
        requests.push(put(
            &format!("{LINK}/namespaces/{SHOP}/{kind}/x"),
            link(kind),
        ));
    }
    // What a cluster's people say of it.
    for kind in ["fabricsyncs", "fabricsyncs/weft"] {
        requests.push(delete(&format!("{WEFT}/namespaces/{SYSTEM}/{kind}")));
    }
    requests.extend([
        create(&format!("{WEFT}/namespaces/{SYSTEM}/fabricsyncs"), sync()),
        patch(
            &format!("{WEFT}/namespaces/{SYSTEM}/fabricsyncs/weft"),
            json!({"spec": {"peer": "west"}}),
        ),
        delete(&format!(
            "{LINK}/namespaces/{OPERATOR}/instances/cl-instance"
        )),
        delete(&format!("{LINK}/namespaces/{OPERATOR}/instances")),
        // Who leads elsewhere.
        read(&format!("{LEASES}/leases")),
        create(&format!("{LEASES}/namespaces/{SHOP}/leases"), lease("mine")),
        put(
            &format!("{LEASES}/namespaces/kube-system/leases/kube-scheduler"),
            lease("kube-scheduler"),
        ),
        delete(&format!(
            "{LEASES}/namespaces/{SYSTEM}/leases/weft-reconciler"
        )),
    ]);
    requests
}

/// What the reconciler may not do.
pub(crate) fn to_controlplane() -> Vec<Request> {
    let mut requests = vec![
        // Workloads are the operator's.
        read(&format!("{APPS}/deployments")),
        create(
            &format!("{APPS}/namespaces/{SYSTEM}/deployments"),
            deployment(),
        ),
        patch(
            &format!("{APPS}/namespaces/{OPERATOR}/deployments/cl-operator-controller-manager"),
            json!({"spec": {"replicas": 0}}),
        ),
        create(
            &format!("{CORE}/namespaces/{SYSTEM}/serviceaccounts"),
            named("ServiceAccount", "v1", "mine"),
        ),
        create(
            &format!("{RBAC}/namespaces/{SYSTEM}/rolebindings"),
            binding("RoleBinding", "cl-controlplane"),
        ),
        read(&format!("{RBAC}/rolebindings")),
        // Its own namespace alone.
        read(&format!("{CORE}/pods")),
        read(&format!("{LINK}/peers")),
        create(&format!("{LINK}/namespaces/{SHOP}/peers"), link("peers")),
        read(&format!("{WEFT}/fabricstates")),
        create(
            &format!("{WEFT}/namespaces/{SHOP}/fabricstates"),
            weft("FabricState"),
        ),
        create(
            &format!("{LEASES}/namespaces/{OPERATOR}/leases"),
            lease("mine"),
        ),
        put(
            &format!("{LEASES}/namespaces/{OPERATOR}/leases/weft-operator"),
            lease("weft-operator"),
        ),
        put(
            &format!("{LEASES}/namespaces/{SYSTEM}/leases/another"),
            lease("another"),
        ),
        // What others say.
        patch(
            &format!("{LINK}/namespaces/{OPERATOR}/instances/cl-instance/status"),
            json!({"status": {}}),
        ),
        create(
            &format!("{WEFT}/namespaces/{SYSTEM}/gatewayreports"),
            weft("GatewayReport"),
        ),
        patch(
            &format!("{WEFT}/namespaces/{SYSTEM}/gatewayreports/gateway"),
            json!({"status": {}}),
        ),
    ];
    requests.extend(
        ["services", "endpoints"].map(|kind| delete(&format!("{CORE}/namespaces/{SHOP}/{kind}"))),
    );
    requests
}

/// What a gateway may not do: to write, but for reports.
pub(crate) fn to_dataplane() -> Vec<Request> {
    let mut requests = Vec::new();
    for kind in ["exports", "imports", "accesspolicies"] {
        let all = format!("{LINK}/namespaces/{SHOP}/{kind}");
        requests.extend(writes(&all, "x", &link(kind)));
        requests.push(patch(&format!("{all}/x/status"), json!({"status": {}})));
    }
    requests.extend(writes(
        &format!("{LINK}/privilegedaccesspolicies"),
        "x",
        &link("privilegedaccesspolicies"),
    ));
    requests.push(patch(
        &format!("{LINK}/privilegedaccesspolicies/x/status"),
        json!({"status": {}}),
    ));
    let peers = format!("{LINK}/namespaces/{SYSTEM}/peers");
    requests.extend(writes(&peers, "west", &link("peers")));
    requests.push(patch(
        &format!("{peers}/west/status"),
        json!({"status": {}}),
    ));
    let states = format!("{WEFT}/namespaces/{SYSTEM}/fabricstates");
    requests.extend(writes(&states, "weft", &weft("FabricState")));
    requests.push(patch(
        &format!("{WEFT}/namespaces/{SYSTEM}/fabricsyncs/weft/status"),
        json!({"status": {}}),
    ));
    let instances = format!("{LINK}/namespaces/{OPERATOR}/instances");
    requests.extend(writes(&instances, "cl-instance", &link("instances")));
    requests.push(read(&instances));
    for namespace in [SHOP, SYSTEM] {
        let services = format!("{CORE}/namespaces/{namespace}/services");
        requests.extend(writes(&services, "hall", &service()));
        let slices = format!("{SLICES}/namespaces/{namespace}/endpointslices");
        requests.extend(writes(&slices, "hall", &slice()));
        requests.push(create(
            &format!("{LEASES}/namespaces/{namespace}/leases"),
            lease("mine"),
        ));
        requests.push(create(
            &format!("{APPS}/namespaces/{namespace}/deployments"),
            deployment(),
        ));
        requests.push(create(
            &format!("/apis/events.k8s.io/v1/namespaces/{namespace}/events"),
            json!({"apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "x"}}),
        ));
    }
    requests.extend([
        // The reports of others it can neither list nor read, and of another installation not write.
        read(&format!("{WEFT}/namespaces/{SYSTEM}/gatewayreports")),
        read(&format!(
            "{WEFT}/namespaces/{SYSTEM}/gatewayreports/another"
        )),
        read(&format!("{WEFT}/gatewayreports")),
        create(
            &format!("{WEFT}/namespaces/{SHOP}/gatewayreports"),
            weft("GatewayReport"),
        ),
        patch(
            &format!("{WEFT}/namespaces/{SHOP}/gatewayreports/another"),
            json!({"status": {}}),
        ),
        delete(&format!("{WEFT}/namespaces/{SYSTEM}/gatewayreports")),
        // Its own namespace alone.
        read(&format!("{LINK}/peers")),
        read(&format!("{WEFT}/fabricstates")),
        read(&format!("{CORE}/namespaces/{SHOP}/serviceaccounts")),
        create(
            &format!("{RBAC}/namespaces/{SYSTEM}/rolebindings"),
            binding("RoleBinding", "cl-dataplane"),
        ),
    ]);
    requests
}

/// What the operator may not do: anything about a fabric's objects, and to bind other roles than those
/// of the two it starts.
pub(crate) fn to_operator() -> Vec<Request> {
    let mut requests = Vec::new();
    for kind in ["exports", "imports", "accesspolicies", "peers"] {
        requests.push(read(&format!("{LINK}/{kind}")));
        let all = format!("{LINK}/namespaces/{SHOP}/{kind}");
        requests.extend(writes(&all, "x", &link(kind)));
        requests.push(patch(&format!("{all}/x/status"), json!({"status": {}})));
    }
    requests.extend(writes(
        &format!("{LINK}/privilegedaccesspolicies"),
        "x",
        &link("privilegedaccesspolicies"),
    ));
    for kind in ["fabricsyncs", "fabricstates", "gatewayreports"] {
        requests.push(read(&format!("{WEFT}/{kind}")));
    }
    requests.extend(writes(
        &format!("{WEFT}/namespaces/{SYSTEM}/fabricstates"),
        "weft",
        &weft("FabricState"),
    ));
    let slices = format!("{SLICES}/namespaces/{SHOP}/endpointslices");
    requests.extend([
        create(
            &format!("{LINK}/namespaces/{OPERATOR}/instances"),
            link("instances"),
        ),
        create(&slices, slice()),
        patch(&format!("{slices}/hall"), slice()),
        read(&format!("{CORE}/pods")),
        create(
            &format!("{LEASES}/namespaces/{SYSTEM}/leases"),
            lease("mine"),
        ),
        put(
            &format!("{LEASES}/namespaces/{SYSTEM}/leases/weft-reconciler"),
            lease("weft-reconciler"),
        ),
        put(
            &format!("{LEASES}/namespaces/{SHOP}/leases/weft-operator"),
            lease("weft-operator"),
        ),
        create(
            &format!("{RBAC}/namespaces/{SYSTEM}/rolebindings"),
            binding("RoleBinding", "cl-operator-system"),
        ),
        create(
            &format!("{RBAC}/clusterrolebindings"),
            binding("ClusterRoleBinding", "another"),
        ),
        delete(&format!("{RBAC}/clusterrolebindings")),
    ]);
    requests
}

/// Every write of one object.
fn writes(all: &str, name: &str, body: &Value) -> [Request; 5] {
    let one = format!("{all}/{name}");
    [
        create(all, body.clone()),
        put(&one, with_name(body, name)),
        patch(&one, json!({"metadata": {"labels": {"x": "y"}}})),
        delete(&one),
        delete(all),
    ]
}

fn with_name(body: &Value, name: &str) -> Value {
    let mut body = body.clone();
    body["metadata"]["name"] = json!(name);
    body
}

fn read(path: &str) -> Request {
    request("GET", path, Value::Null)
}

fn watch(path: &str) -> Request {
    // It ends by itself where it is allowed.
    request(
        "GET",
        &format!("{path}?watch=true&timeoutSeconds=1"),
        Value::Null,
    )
}

fn create(path: &str, body: Value) -> Request {
    request("POST", path, body)
}

fn put(path: &str, body: Value) -> Request {
    request("PUT", path, body)
}

fn patch(path: &str, body: Value) -> Request {
    request("PATCH", path, body)
}

fn delete(path: &str) -> Request {
    request("DELETE", path, Value::Null)
}

fn request(method: &'static str, path: &str, body: Value) -> Request {
    let mut path = path.to_owned();
    if method != "GET" {
        path.push_str("?dryRun=All");
    }
    Request { method, path, body }
}

fn named(kind: &str, version: &str, name: &str) -> Value {
    json!({"apiVersion": version, "kind": kind, "metadata": {"name": name}})
}

fn link(plural: &str) -> Value {
    let kind = match plural {
        "exports" => "Export",
        "imports" => "Import",
        "accesspolicies" => "AccessPolicy",
        "privilegedaccesspolicies" => "PrivilegedAccessPolicy",
        "peers" => "Peer",
        _ => "Instance",
    };
    named(kind, "clusterlink.net/v1alpha1", "x")
}

fn weft(kind: &str) -> Value {
    named(kind, "weft.dev/v1alpha1", "x")
}

fn sync() -> Value {
    let mut sync = weft("FabricSync");
    sync["spec"] = json!({"peer": "west", "repository": "https://example.org/evil.git"});
    sync
}

fn secret() -> Value {
    named("Secret", "v1", "mine")
}

fn lease(name: &str) -> Value {
    let mut lease = named("Lease", "coordination.k8s.io/v1", name);
    lease["spec"] = json!({"holderIdentity": "me"});
    lease
}

fn service() -> Value {
    let mut service = named("Service", "v1", "x");
    service["spec"] = json!({"ports": [{"port": 80}]});
    service
}

fn slice() -> Value {
    let mut slice = named("EndpointSlice", "discovery.k8s.io/v1", "x");
    slice["addressType"] = json!("IPv4");
    slice["endpoints"] = json!([]);
    slice
}

fn template() -> Value {
    let containers = json!([{"name": "c", "image": "i"}]);
    json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": containers}})
}

fn pod() -> Value {
    let mut pod = named("Pod", "v1", "mine");
    pod["spec"] = template()["spec"].take();
    pod
}

fn deployment() -> Value {
    workload("Deployment", "apps/v1")
}

fn daemon_set() -> Value {
    workload("DaemonSet", "apps/v1")
}

fn workload(kind: &str, version: &str) -> Value {
    let mut workload = named(kind, version, "mine");
    workload["spec"] = json!({"selector": {"matchLabels": {"a": "b"}}, "template": template()});
    workload
}

fn job() -> Value {
    let mut job = named("Job", "batch/v1", "mine");
    let mut template = template();
    template["spec"]["restartPolicy"] = json!("Never");
    job["spec"] = json!({"template": template});
    job
}

fn token_request() -> Value {
    json!({
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"expirationSeconds": 3600},
    })
}

fn everything() -> Value {
    json!({"rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]})
}

fn role(kind: &str) -> Value {
    let mut role = named(kind, "rbac.authorization.k8s.io/v1", "mine");
    role["rules"] = everything()["rules"].take();
    role
}

fn binding(kind: &str, role: &str) -> Value {
    let mut binding = named(kind, "rbac.authorization.k8s.io/v1", "mine");
    binding["roleRef"] = json!({
        "apiGroup": "rbac.authorization.k8s.io",
        "kind": "ClusterRole",
        "name": role,
    });
    binding["subjects"] =
        json!([{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "me"}]);
    binding
}
