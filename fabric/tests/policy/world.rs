//! Short ways to write policies and requests down.

use std::collections::BTreeMap;

use fabric::api::{AccessPolicySpec, LabelSelector, WorkloadSetOrSelector};
use fabric::attributes::{Client, ExportAttributes, Labels, PeerAttributes};
use fabric::name::{Kind, ObjectKey, ObjectName};
use fabric::origin::{Origin, Revision};
use fabric::policy::{Decision, Policies, Reason, Request};
use serde_json::json;

/// The parts of a request, owned.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) namespace: String,
    pub(crate) client: Option<Client>,
    pub(crate) client_peer: PeerAttributes,
    pub(crate) export: ExportAttributes,
    pub(crate) export_peer: PeerAttributes,
}

impl World {
    /// A client in `shop` of `east` that wants `bank/ledger` of `west`; no labels anywhere.
    pub(crate) fn new() -> Self {
        let peer = |name: &str| PeerAttributes {
            name: name.parse().unwrap(),
            labels: Labels::new(),
        };
        Self {
            namespace: "bank".to_owned(),
            client: Some(Client {
                namespace: "shop".to_owned(),
                service_account: "till".to_owned(),
                labels: Labels::new(),
            }),
            client_peer: peer("east"),
            export: ExportAttributes {
                name: ObjectName::new("bank", "ledger").unwrap(),
                labels: Labels::new(),
            },
            export_peer: peer("west"),
        }
    }

    pub(crate) fn with_client_labels(mut self, items: &[(&str, &str)]) -> Self {
        self.client.as_mut().unwrap().labels = labels(items);
        self
    }

    pub(crate) fn with_export_labels(mut self, items: &[(&str, &str)]) -> Self {
        self.export.labels = labels(items);
        self
    }

    pub(crate) fn without_client(mut self) -> Self {
        self.client = None;
        self
    }

    pub(crate) fn request(&self) -> Request<'_> {
        Request {
            namespace: &self.namespace,
            client: self.client.as_ref(),
            client_peer: &self.client_peer,
            export: &self.export,
            export_peer: &self.export_peer,
        }
    }
}

pub(crate) fn labels(items: &[(&str, &str)]) -> Labels {
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    items.iter().map(owned).collect()
}

/// The key of a regular policy `namespace/name`, or of a privileged one `name`.
pub(crate) fn key(name: &str) -> ObjectKey {
    match name.split_once('/') {
        Some((namespace, name)) => ObjectKey {
            kind: Kind::AccessPolicy,
            namespace: Some(namespace.into()),
            name: name.into(),
        },
        None => ObjectKey {
            kind: Kind::PrivilegedAccessPolicy,
            namespace: None,
            name: name.into(),
        },
    }
}

pub(crate) fn origin() -> Origin {
    Origin {
        revision: Revision::working_tree(),
        path: "policies/test.yaml".into(),
        line: 1,
    }
}

/// A spec of selectors in JSON.
pub(crate) fn spec(
    action: &str,
    from: &[serde_json::Value],
    to: &[serde_json::Value],
) -> AccessPolicySpec {
    let entries = |selectors: &[serde_json::Value]| -> Vec<_> {
        let entry = |selector: &serde_json::Value| json!({ "workloadSelector": selector });
        selectors.iter().map(entry).collect()
    };
    serde_json::from_value(json!({ "action": action, "from": entries(from), "to": entries(to) }))
        .unwrap()
}

/// A spec of one entry on each side.
pub(crate) fn one(
    action: &str,
    from: serde_json::Value,
    to: serde_json::Value,
) -> AccessPolicySpec {
    spec(action, &[from], &[to])
}

/// An entry of a selector.
pub(crate) fn entry(selector: LabelSelector) -> WorkloadSetOrSelector {
    WorkloadSetOrSelector {
        workload_sets: Vec::new(),
        workload_selector: Some(selector),
    }
}

pub(crate) fn policies<'a>(
    specs: impl IntoIterator<Item = (&'a str, &'a AccessPolicySpec)>,
) -> Policies {
    let mut policies = Policies::default();
    for (name, spec) in specs {
        policies.add(key(name), origin(), spec);
    }
    policies
}

/// A decision in one line: the verdict, and by what.
pub(crate) fn told(decision: Decision<'_>) -> String {
    let verdict = if decision.is_allowed() {
        "allow"
    } else {
        "deny"
    };
    let name = |key: &ObjectKey| match &key.namespace {
        Some(namespace) => format!("{namespace}/{}", key.name),
        None => format!("/{}", key.name),
    };
    match decision.reason {
        Reason::Rule(rule) => format!("{verdict} by {}", name(&rule.key)),
        Reason::UnknownClient(rule) => format!("{verdict}, unknown to {}", name(&rule.key)),
        Reason::DefaultDeny => format!("{verdict} by default"),
    }
}

/// Named specs whose order can be changed.
pub(crate) type Named = BTreeMap<String, AccessPolicySpec>;
