//! A cluster in which each role runs with its own token, behind a proxy of its own.

use std::path::PathBuf;

use serde_json::Value;
use weft_tests::api_proxy::ApiProxy;
use weft_tests::api_server::{ApiServer, Kubectl};
use weft_tests::process::Signal;
use weft_tests::role::{OPERATOR, Operator, SYSTEM};

/// A namespace of users.
pub(crate) const SHOP: &str = "shop";

/// A role: its account, where it lives, and the proxy that it talks to.
pub(crate) struct Role {
    pub(crate) account: &'static str,
    pub(crate) namespace: &'static str,
    pub(crate) proxy: ApiProxy,
}

/// A cluster with the base installed, and the operator at work.
pub(crate) struct Stage {
    pub(crate) operator: Role,
    pub(crate) controlplane: Role,
    pub(crate) dataplane: Role,
    process: Operator,
    pub(crate) kubectl: Kubectl,
    pub(crate) server: ApiServer,
}

// === impl Stage ===

impl Stage {
    /// The base, an Instance, and what the operator made of it.
    pub(crate) fn new() -> Self {
        let server = ApiServer::start_own();
        let kubectl = server.kubectl();
        let base = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/base");
        kubectl.run(&["apply", "--server-side", "-k", base]);
        for namespace in [SHOP, "edge"] {
            kubectl.run(&["create", "namespace", namespace]);
        }
        let role = |account, namespace| Role {
            account,
            namespace,
            proxy: ApiProxy::start(&server),
        };
        let operator = role("cl-operator-controller-manager", OPERATOR);
        let process = Operator::start(&operator.kubeconfig(&server));
        kubectl.apply(&instance(OPERATOR, SYSTEM, ""));
        for account in ["cl-controlplane", "cl-dataplane"] {
            // The last of what gives an account its rights.
            let bound = |object: &Value| object["roleRef"]["name"].is_string();
            kubectl.wait_until(&["rolebinding", account, "-n", SYSTEM], bound);
            let everywhere = format!("{SYSTEM}:{account}");
            kubectl.wait_until(&["clusterrolebinding", &everywhere], bound);
            kubectl.wait_until(&["serviceaccount", account, "-n", SYSTEM], |_| true);
        }
        Self {
            controlplane: role("cl-controlplane", SYSTEM),
            dataplane: role("cl-dataplane", SYSTEM),
            operator,
            process,
            kubectl,
            server,
        }
    }

    pub(crate) const fn roles(&self) -> [&Role; 3] {
        [&self.operator, &self.controlplane, &self.dataplane]
    }

    /// Ends the operator as a rollout does.
    pub(crate) fn stop_operator(&mut self) {
        self.process.process().signal(Signal::TERM);
        self.process.process().wait();
    }
}

// === impl Role ===

impl Role {
    /// A kubeconfig with the account's token, through the proxy.
    pub(crate) fn kubeconfig(&self, server: &ApiServer) -> PathBuf {
        let own = server.kubeconfig_of(self.namespace, self.account);
        self.proxy.kubeconfig_as(&own)
    }
}

/// An Instance for a namespace, with more fields of its spec.
pub(crate) fn instance(own: &str, system: &str, more: &str) -> String {
    format!(
        "\
apiVersion: clusterlink.net/v1alpha1
kind: Instance
metadata: {{name: cl-instance, namespace: {own}}}
spec:
  namespace: {system}
  ingress: {{type: NodePort}}
{more}"
    )
}
