//! Services as they live and as Imports want them.

use std::collections::BTreeMap;

use fabric::digest::Digest;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::{Value, json};

use crate::kubernetes::cache::Name;
use crate::kubernetes::object::Meta;

/// The label that says who looks after a Service, and its value for us: ClusterLink's.
pub(super) const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
pub(super) const US: &str = "clusterlink.net";
/// The labels that say for which Import a Service is.
pub(super) const IMPORT_NAME: &str = "clusterlink.net/import-name";
pub(super) const IMPORT_NAMESPACE: &str = "clusterlink.net/import-namespace";

/// What of a Service matters.
#[derive(Debug)]
pub(super) struct LiveService {
    pub(super) meta: Meta,
    pub(super) spec: ServiceSpec,
    /// The names of its ports, by their numbers.
    pub(super) ports: BTreeMap<u16, String>,
}

/// What an Import wants of a Service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ServiceSpec {
    pub(super) external_name: Option<String>,
    pub(super) selector: BTreeMap<String, String>,
    /// Port and target port.
    pub(super) ports: Vec<(u16, u16)>,
}

/// A Service that an Import wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WantedService {
    pub(super) namespace: String,
    pub(super) name: String,
    /// The Import's namespace and name.
    pub(super) import: (String, String),
    pub(super) spec: ServiceSpec,
}

/// The name of the Service in the system namespace of an Import elsewhere: as readable as 63
/// characters allow, and told apart by a hash.
pub(super) fn system_name(namespace: &str, name: &str) -> String {
    let hash = Digest::of_bytes(format!("{namespace}/{name}").as_bytes()).to_string();
    let cut = |text: &str| text.chars().take(10).collect::<String>();
    let hash: String = hash.chars().take(32).collect();
    format!("import-{}-{}-{hash}", cut(name), cut(namespace))
}

// === impl LiveService ===

impl LiveService {
    pub(super) fn of(service: &Service) -> Self {
        let spec = service.spec.clone().unwrap_or_default();
        let number = |port: i32| u16::try_from(port).unwrap_or(0);
        let ports = spec.ports.unwrap_or_default();
        Self {
            meta: Meta::of(&service.metadata),
            ports: ports
                .iter()
                .map(|port| (number(port.port), port.name.clone().unwrap_or_default()))
                .collect(),
            spec: ServiceSpec {
                external_name: match spec.type_.as_deref() {
                    Some("ExternalName") => Some(spec.external_name.unwrap_or_default()),
                    _ => None,
                },
                selector: spec.selector.unwrap_or_default(),
                ports: ports
                    .iter()
                    .map(|port| match &port.target_port {
                        Some(IntOrString::Int(target)) => (number(port.port), number(*target)),
                        Some(IntOrString::String(_)) => (number(port.port), 0),
                        None => (number(port.port), number(port.port)),
                    })
                    .collect(),
            },
        }
    }

    pub(super) fn name(&self) -> Name {
        (self.meta.namespace.clone(), self.meta.name.clone())
    }

    /// Who looks after it; none where nobody says so.
    pub(super) fn manager(&self) -> Option<&str> {
        self.meta.labels.get(MANAGED_BY).map(String::as_str)
    }

    pub(super) fn is_ours(&self) -> bool {
        self.manager() == Some(US) && self.meta.labels.contains_key(IMPORT_NAME)
    }
}

// === impl WantedService ===

impl WantedService {
    pub(super) fn key(&self) -> Name {
        (Some(self.namespace.clone()), self.name.clone())
    }

    fn labels(&self) -> BTreeMap<&'static str, &str> {
        BTreeMap::from([
            (MANAGED_BY, US),
            (IMPORT_NAME, self.import.1.as_str()),
            (IMPORT_NAMESPACE, self.import.0.as_str()),
        ])
    }

    /// Whether a Service is as it is wanted.
    pub(super) fn is_met_by(&self, live: &LiveService) -> bool {
        let labels = &live.meta.labels;
        let has = |(key, value): (&str, &str)| labels.get(key).is_some_and(|live| live == value);
        self.labels().into_iter().all(has) && live.spec == self.spec
    }

    /// The object to be made.
    pub(super) fn body(&self) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {
                "name": self.name,
                "namespace": self.namespace,
                "labels": self.labels(),
            },
            "spec": self.spec.body(),
        })
    }

    /// What makes a Service that lives the one that is wanted; exactly that state of it.
    pub(super) fn patch(&self, live: &LiveService) -> Value {
        let mut spec = self.spec.body();
        for key in live.spec.selector.keys() {
            if !self.spec.selector.contains_key(key) {
                spec["selector"][key] = Value::Null;
            }
        }
        if self.spec.external_name.is_none() {
            spec["externalName"] = Value::Null;
        } else {
            // An ExternalName has neither of these.
            spec["ports"] = Value::Null;
            spec["clusterIP"] = Value::Null;
            spec["clusterIPs"] = Value::Null;
        }
        json!({
            "metadata": {
                "labels": self.labels(),
                "resourceVersion": live.meta.resource_version,
            },
            "spec": spec,
        })
    }
}

// === impl ServiceSpec ===

impl ServiceSpec {
    fn body(&self) -> Value {
        if let Some(name) = &self.external_name {
            return json!({ "type": "ExternalName", "externalName": name });
        }
        let ports = self.ports.iter();
        let ports: Vec<_> = ports
            .map(|(port, target)| json!({ "port": port, "targetPort": target, "protocol": "TCP" }))
            .collect();
        json!({ "type": "ClusterIP", "selector": self.selector, "ports": ports })
    }
}
