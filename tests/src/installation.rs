//! Weft in a cluster as its manifests bring it: without an operator, and without a repository.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::certificates::{Authority, Identity};
use crate::cluster::Cluster;

/// The system namespace.
pub const SYSTEM: &str = "clusterlink-system";
/// The Deployment of `weft reconcile`.
pub const RECONCILER: &str = "cl-controlplane";
/// The Deployment of `weft gateway`.
pub const GATEWAY: &str = "cl-dataplane";
/// The node port by which other clusters reach the gateways.
pub const GATEWAY_PORT: u16 = 30_443;

/// Installs everything, as a peer of the authority's with the cluster's name, and waits until it is
/// ready.
pub fn install(cluster: &Cluster, authority: &Authority) {
    cluster.create_definitions();
    cluster.kubectl(&["create", "namespace", SYSTEM]);
    set_identity(cluster, authority, &authority.peer(cluster.name()));
    let roles = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/base/roles.yaml");
    cluster.apply(&fs::read_to_string(roles).expect("the roles are committed"));
    for account in [RECONCILER, GATEWAY] {
        cluster.apply(&account_of(account));
    }
    cluster.apply(&deployment(
        RECONCILER,
        &["reconcile", "--state", "/var/lib/weft"],
    ));
    let peer_label = format!("cluster={}", cluster.name());
    let gateway = [
        "gateway",
        "--cert=/etc/weft/peer/cert.pem",
        "--key=/etc/weft/peer/key.pem",
        "--ca=/etc/weft/peer/ca.pem",
        "--state=/var/lib/weft",
        "--peer-label",
        &peer_label,
    ];
    cluster.apply(&deployment(GATEWAY, &gateway));
    cluster.apply(&external_service());
    cluster.wait_for_rollout(SYSTEM, RECONCILER);
    cluster.wait_for_rollout(SYSTEM, GATEWAY);
}

/// Puts a certificate and the authority's into the Secret `cl-peer`.
pub fn set_identity(cluster: &Cluster, authority: &Authority, identity: &Identity) {
    let secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "cl-peer", "namespace": SYSTEM},
        "stringData": {
            "cert.pem": identity.certificate,
            "key.pem": identity.key,
            "ca.pem": authority.pem(),
        },
    });
    cluster.apply(&secret.to_string());
}

/// The Service by which other clusters reach the gateways.
pub fn external_service() -> String {
    format!(
        "\
apiVersion: v1
kind: Service
metadata:
  name: clusterlink
  namespace: {SYSTEM}
spec:
  type: NodePort
  selector:
    app: {GATEWAY}
  ports:
  - name: https
    port: 443
    targetPort: 4443
    nodePort: {GATEWAY_PORT}
"
    )
}

/// A service account, and the two roles of its name.
fn account_of(name: &str) -> String {
    format!(
        "\
apiVersion: v1
kind: ServiceAccount
metadata: {{name: {name}, namespace: {SYSTEM}}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {{name: {name}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {name}}}
subjects: [{{kind: ServiceAccount, name: {name}, namespace: {SYSTEM}}}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: {name}, namespace: {SYSTEM}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {name}-system}}
subjects: [{{kind: ServiceAccount, name: {name}, namespace: {SYSTEM}}}]
"
    )
}

fn deployment(name: &str, arguments: &[&str]) -> String {
    let field = |path: &str| json!({"fieldRef": {"fieldPath": path}});
    let object = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": SYSTEM},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {
                    "serviceAccountName": name,
                    "containers": [{
                        "name": "weft",
                        "image": "weft:test",
                        "args": arguments,
                        "env": [
                            {"name": "WEFT_NAMESPACE", "valueFrom": field("metadata.namespace")},
                            {"name": "POD_NAME", "valueFrom": field("metadata.name")},
                        ],
                        "readinessProbe": {"httpGet": {"path": "/readyz", "port": 4480}},
                        "securityContext": {"readOnlyRootFilesystem": true},
                        "volumeMounts": [
                            {"name": "state", "mountPath": "/var/lib/weft"},
                            {"name": "peer", "mountPath": "/etc/weft/peer", "readOnly": true},
                        ],
                    }],
                    "volumes": [
                        {"name": "state", "emptyDir": {}},
                        {"name": "peer", "secret": {"secretName": "cl-peer"}},
                    ],
                },
            },
        },
    });
    object.to_string()
}
