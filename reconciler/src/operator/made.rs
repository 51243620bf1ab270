//! What an Instance is made of: computed purely.

use std::fmt;

use fabric::api::{IngressType, InstanceSpec, LogLevel};
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject};
use kube::core::GroupVersionKind;
use serde_json::{Value, json};

use crate::kubernetes::object::Meta;

/// The label of everything that is made of an Instance, and its value.
pub(super) const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "weft-operator");
/// The label that names the Instance.
pub(super) const INSTANCE: &str = "weft.dev/instance";
/// The gateways' Deployment, the value of their Pods' label `app`, and their account.
pub(super) const DATAPLANE: &str = "cl-dataplane";
/// The reconciler's Deployment and account.
pub(super) const CONTROLPLANE: &str = "cl-controlplane";
/// The Service in front of the gateways.
pub(super) const FRONT: &str = "clusterlink";
/// The external port of a load balancer where the Instance names none.
const EXTERNAL_PORT: u16 = 443;
/// Where the peer's certificate is mounted.
const PEER: &str = "/etc/weft/peer";

/// The kinds that are made, in the order in which they are taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum MadeKind {
    ClusterRoleBinding,
    RoleBinding,
    Deployment,
    Service,
    ServiceAccount,
    EndpointSlice,
}

/// An object by its kind, namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) kind: MadeKind,
    pub(super) namespace: Option<String>,
    pub(super) name: String,
}

/// An object that is wanted.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Wanted {
    pub(super) key: Key,
    pub(super) body: Value,
}

/// The value of the label of an Instance.
pub(super) fn label(instance: &Meta) -> String {
    let namespace = instance.namespace.as_deref().unwrap_or_default();
    fabric::mark::sync_label(namespace, &instance.name)
}

/// All that an Instance is made of.
pub(super) fn wanted(instance: &Meta, spec: &InstanceSpec) -> Vec<Wanted> {
    let label = label(instance);
    bodies(spec)
        .into_iter()
        .map(|mut body| {
            body["metadata"]["labels"][MANAGED_BY.0] = json!(MANAGED_BY.1);
            body["metadata"]["labels"][INSTANCE] = json!(label);
            Wanted::of(body)
        })
        .collect()
}

/// The same where no Instance is.
pub(super) fn bodies(spec: &InstanceSpec) -> Vec<Value> {
    let mut objects = Vec::new();
    for account in [CONTROLPLANE, DATAPLANE] {
        objects.push(json!({
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": { "name": account, "namespace": spec.namespace },
        }));
        let subjects = json!([{
            "kind": "ServiceAccount",
            "name": account,
            "namespace": spec.namespace,
        }]);
        let binding = |kind: &str, name: String, role: String| {
            json!({
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": kind,
                "metadata": { "name": name },
                "roleRef": {
                    "apiGroup": "rbac.authorization.k8s.io",
                    "kind": "ClusterRole",
                    "name": role,
                },
                "subjects": subjects,
            })
        };
        // Several installations in a cluster have a binding each.
        let name = format!("{}:{account}", spec.namespace);
        objects.push(binding("ClusterRoleBinding", name, account.to_owned()));
        let mut own = binding(
            "RoleBinding",
            account.to_owned(),
            format!("{account}-system"),
        );
        own["metadata"]["namespace"] = json!(spec.namespace);
        objects.push(own);
    }
    objects.push(controlplane(spec));
    objects.push(dataplane(spec));
    objects.push(front(spec));
    objects
}

fn controlplane(spec: &InstanceSpec) -> Value {
    let args = json!([
        "reconcile",
        "--state",
        "/var/lib/weft",
        "--webhook",
        "[::]:4490",
        "--webhook-secret",
        "/etc/weft/webhook/secret",
        "--log",
        level(spec.log_level),
    ]);
    let volumes = json!([
        { "name": "state", "emptyDir": {} },
        { "name": "tmp", "emptyDir": {} },
        { "name": "webhook", "secret": {
            "secretName": "weft-webhook", "optional": true, "defaultMode": 0o440,
        } },
    ]);
    let mounts = json!([
        { "name": "state", "mountPath": "/var/lib/weft" },
        { "name": "tmp", "mountPath": "/tmp" },
        { "name": "webhook", "mountPath": "/etc/weft/webhook", "readOnly": true },
    ]);
    let ports = json!([
        { "name": "admin", "containerPort": 4480, "protocol": "TCP" },
        { "name": "webhook", "containerPort": 4490, "protocol": "TCP" },
    ]);
    deployment(spec, CONTROLPLANE, 1, &args, &volumes, &mounts, &ports)
}

fn dataplane(spec: &InstanceSpec) -> Value {
    let mut args = vec![
        "gateway".to_owned(),
        "--cert".to_owned(),
        format!("{PEER}/cert.pem"),
        "--key".to_owned(),
        format!("{PEER}/key.pem"),
        "--ca".to_owned(),
        format!("{PEER}/ca.pem"),
        "--state".to_owned(),
        "/var/lib/weft".to_owned(),
        "--log".to_owned(),
        level(spec.log_level).to_owned(),
    ];
    for (key, value) in &spec.peer_labels {
        args.extend(["--peer-label".to_owned(), format!("{key}={value}")]);
    }
    let volumes = json!([
        { "name": "state", "emptyDir": {} },
        { "name": "peer", "secret": { "secretName": "cl-peer", "defaultMode": 0o440 } },
    ]);
    let mounts = json!([
        { "name": "state", "mountPath": "/var/lib/weft" },
        { "name": "peer", "mountPath": PEER, "readOnly": true },
    ]);
    let ports = json!([
        { "name": "gateway", "containerPort": 4443, "protocol": "TCP" },
        { "name": "admin", "containerPort": 4480, "protocol": "TCP" },
    ]);
    let replicas = spec.dataplane.replicas;
    deployment(
        spec,
        DATAPLANE,
        replicas,
        &json!(args),
        &volumes,
        &mounts,
        &ports,
    )
}

fn deployment(
    spec: &InstanceSpec,
    name: &str,
    replicas: u32,
    args: &Value,
    volumes: &Value,
    mounts: &Value,
    ports: &Value,
) -> Value {
    let field = |name: &str, path: &str| json!({ "name": name, "valueFrom": { "fieldRef": { "fieldPath": path } } });
    let probe = |path: &str| json!({ "httpGet": { "path": path, "port": 4480 } });
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": name, "namespace": spec.namespace },
        "spec": {
            "replicas": replicas,
            "selector": { "matchLabels": { "app": name } },
            "template": {
                "metadata": { "labels": { "app": name } },
                "spec": {
                    "serviceAccountName": name,
                    // What runs may come to its end: `weft` drains for 20 seconds.
                    "terminationGracePeriodSeconds": 30,
                    "securityContext": {
                        "runAsNonRoot": true,
                        "runAsUser": 65532,
                        "runAsGroup": 65532,
                        "fsGroup": 65532,
                        "seccompProfile": { "type": "RuntimeDefault" },
                    },
                    "containers": [{
                        "name": "weft",
                        "image": image(spec),
                        "args": args,
                        "env": [
                            field("WEFT_NAMESPACE", "metadata.namespace"),
                            field("POD_NAME", "metadata.name"),
                            field("POD_UID", "metadata.uid"),
                        ],
                        "ports": ports,
                        "livenessProbe": probe("/healthz"),
                        "readinessProbe": probe("/readyz"),
                        "resources": { "requests": { "cpu": "10m", "memory": "64Mi" } },
                        "securityContext": {
                            "allowPrivilegeEscalation": false,
                            "readOnlyRootFilesystem": true,
                            "capabilities": { "drop": ["ALL"] },
                        },
                        "volumeMounts": mounts,
                    }],
                    "volumes": volumes,
                },
            },
        },
    })
}

/// The Service in front of the gateways; inside the cluster alone where there is no ingress, since
/// merged Imports follow its endpoints.
fn front(spec: &InstanceSpec) -> Value {
    let kind = match spec.ingress.kind {
        IngressType::None => "ClusterIP",
        IngressType::LoadBalancer => "LoadBalancer",
        IngressType::NodePort => "NodePort",
    };
    let mut port = json!({
        "name": "https",
        "port": EXTERNAL_PORT,
        "targetPort": 4443,
        "protocol": "TCP",
    });
    match (spec.ingress.kind, spec.ingress.port) {
        (IngressType::NodePort, Some(number)) => port["nodePort"] = json!(number),
        (IngressType::LoadBalancer, Some(number)) => port["port"] = json!(number),
        _ => {}
    }
    let mut metadata = json!({ "name": FRONT, "namespace": spec.namespace });
    if !spec.ingress.annotations.is_empty() {
        metadata["annotations"] = json!(spec.ingress.annotations);
    }
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": { "type": kind, "selector": { "app": DATAPLANE }, "ports": [port] },
    })
}

fn image(spec: &InstanceSpec) -> String {
    let registry = spec.container_registry.trim_end_matches('/');
    match registry.is_empty() {
        true => format!("weft:{}", spec.tag),
        false => format!("{registry}/weft:{}", spec.tag),
    }
}

const fn level(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Trace => "trace",
        LogLevel::Debug => "debug",
        LogLevel::Info => "info",
        LogLevel::Warning => "warn",
        LogLevel::Error | LogLevel::Fatal => "error",
    }
}

// === impl MadeKind ===

impl MadeKind {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::ClusterRoleBinding => "ClusterRoleBinding",
            Self::RoleBinding => "RoleBinding",
            Self::Deployment => "Deployment",
            Self::Service => "Service",
            Self::ServiceAccount => "ServiceAccount",
            Self::EndpointSlice => "EndpointSlice",
        }
    }

    fn of(kind: &str) -> Option<Self> {
        [
            Self::ClusterRoleBinding,
            Self::RoleBinding,
            Self::Deployment,
            Self::Service,
            Self::ServiceAccount,
            Self::EndpointSlice,
        ]
        .into_iter()
        .find(|known| known.as_str() == kind)
    }

    /// Of objects that go, which first.
    pub(super) const fn order(self) -> u8 {
        self as u8
    }

    pub(super) fn resource(self) -> ApiResource {
        let (group, plural) = match self {
            Self::ClusterRoleBinding => ("rbac.authorization.k8s.io", "clusterrolebindings"),
            Self::RoleBinding => ("rbac.authorization.k8s.io", "rolebindings"),
            Self::Deployment => ("apps", "deployments"),
            Self::Service => ("", "services"),
            Self::ServiceAccount => ("", "serviceaccounts"),
            Self::EndpointSlice => ("discovery.k8s.io", "endpointslices"),
        };
        let gvk = GroupVersionKind::gvk(group, "v1", self.as_str());
        ApiResource::from_gvk_with_plural(&gvk, plural)
    }

    pub(super) fn api(self, client: &Client, namespace: Option<&str>) -> Api<DynamicObject> {
        match namespace {
            Some(namespace) => Api::namespaced_with(client.clone(), namespace, &self.resource()),
            None => Api::all_with(client.clone(), &self.resource()),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} {namespace}/{}", self.kind.as_str(), self.name),
            None => write!(f, "{} {}", self.kind.as_str(), self.name),
        }
    }
}

// === impl Wanted ===

impl Wanted {
    fn of(body: Value) -> Self {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let kind = text(&body["kind"]).unwrap_or_default();
        Self {
            key: Key {
                // All that is made above is of a known kind.
                kind: MadeKind::of(&kind).unwrap_or(MadeKind::Service),
                namespace: text(&body["metadata"]["namespace"]),
                name: text(&body["metadata"]["name"]).unwrap_or_default(),
            },
            body,
        }
    }

    /// Whether an object that lives says all that is wanted; what a server adds doesn't matter.
    pub(super) fn is_met_by(&self, live: &Value) -> bool {
        says(live, &self.body)
    }
}

/// Whether a value says all that another one does.
fn says(live: &Value, wanted: &Value) -> bool {
    match (live, wanted) {
        (Value::Object(live), Value::Object(wanted)) => wanted
            .iter()
            .all(|(key, wanted)| live.get(key).is_some_and(|live| says(live, wanted))),
        (Value::Array(live), Value::Array(wanted)) => {
            live.len() == wanted.len() && live.iter().zip(wanted).all(|(l, w)| says(l, w))
        }
        // What is empty may be left out.
        _ => live == wanted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_is_no_drift_and_less_is() {
        for (live, wanted, expected) in [
            (json!({"a": 1, "b": 2}), json!({"a": 1}), true),
            (json!({"a": 1}), json!({"a": 1, "b": 2}), false),
            (json!([{"a": 1, "b": 2}]), json!([{"a": 1}]), true),
            (json!([{"a": 1}, {"a": 2}]), json!([{"a": 1}]), false),
            (json!("x"), json!("y"), false),
        ] {
            assert_eq!(says(&live, &wanted), expected, "{live} of {wanted}");
        }
    }

    #[test]
    fn images_and_levels() {
        let mut spec = InstanceSpec::default();
        assert_eq!(image(&spec), "weft:latest");
        "ghcr.io/acme/".clone_into(&mut spec.container_registry);
        "v1".clone_into(&mut spec.tag);
        assert_eq!(image(&spec), "ghcr.io/acme/weft:v1");
        assert_eq!(level(LogLevel::Warning), "warn");
    }
}
