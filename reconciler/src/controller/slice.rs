//! EndpointSlices as they live and as merged Imports want them.

use std::collections::BTreeMap;

use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use serde_json::{Value, json};

use crate::kubernetes::cache::Name;
use crate::kubernetes::object::Meta;

/// The label that names a slice's Service.
pub(super) const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// The label that says who looks after a slice.
const SLICE_MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
/// The label by which ours name the slice that they follow.
const FOLLOWS: &str = "clusterlink.net/dataplane-endpointslice-name";

/// What of an EndpointSlice matters.
#[derive(Debug)]
pub(super) struct LiveSlice {
    pub(super) meta: Meta,
    pub(super) address_type: String,
    /// Addresses and whether they are ready.
    pub(super) endpoints: Vec<(Vec<String>, bool)>,
    /// Name and number.
    pub(super) ports: Vec<(String, u16)>,
}

/// A slice that a merged Import wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WantedSlice {
    pub(super) namespace: String,
    /// The Import's name, which is the Service's.
    pub(super) import: String,
    /// The slice of the gateways that it follows.
    pub(super) follows: String,
    pub(super) address_type: String,
    pub(super) endpoints: Vec<(Vec<String>, bool)>,
    pub(super) port: (String, u16),
}

// === impl LiveSlice ===

impl LiveSlice {
    pub(super) fn of(slice: &EndpointSlice) -> Self {
        let is_ready = |endpoint: &Endpoint| {
            let conditions = endpoint.conditions.as_ref();
            conditions.and_then(|conditions| conditions.ready) != Some(false)
        };
        let endpoints = slice.endpoints.iter();
        let ports = slice.ports.iter().flatten();
        Self {
            meta: Meta::of(&slice.metadata),
            address_type: slice.address_type.clone(),
            endpoints: endpoints
                .map(|endpoint| (endpoint.addresses.clone(), is_ready(endpoint)))
                .collect(),
            ports: ports
                .filter_map(|port| {
                    let number = u16::try_from(port.port?).ok()?;
                    Some((port.name.clone().unwrap_or_default(), number))
                })
                .collect(),
        }
    }

    pub(super) fn name(&self) -> Name {
        (self.meta.namespace.clone(), self.meta.name.clone())
    }

    /// The Service that it belongs to.
    pub(super) fn service(&self) -> Option<&str> {
        self.meta.labels.get(SERVICE_NAME).map(String::as_str)
    }

    pub(super) fn is_ours(&self) -> bool {
        let labels = &self.meta.labels;
        labels.get(SLICE_MANAGED_BY).map(String::as_str) == Some(super::service::US)
            && labels.contains_key(FOLLOWS)
    }
}

// === impl WantedSlice ===

impl WantedSlice {
    fn name(&self) -> String {
        // ClusterLink's name; the length keeps `a-b` of `c` from being `a` of `b-c`.
        let (import, follows) = (&self.import, &self.follows);
        format!("clusterlink-{}-{import}-{follows}", import.len())
    }

    pub(super) fn key(&self) -> Name {
        (Some(self.namespace.clone()), self.name())
    }

    fn labels(&self) -> BTreeMap<&'static str, &str> {
        BTreeMap::from([
            (SERVICE_NAME, self.import.as_str()),
            (SLICE_MANAGED_BY, super::service::US),
            (FOLLOWS, self.follows.as_str()),
        ])
    }

    pub(super) fn is_met_by(&self, live: &LiveSlice) -> bool {
        let labels = &live.meta.labels;
        let has = |(key, value): (&str, &str)| labels.get(key).is_some_and(|live| live == value);
        self.labels().into_iter().all(has)
            && live.endpoints == self.endpoints
            && live.ports == [self.port.clone()]
    }

    pub(super) fn body(&self) -> Value {
        let endpoints = self.endpoints.iter();
        let endpoints: Vec<_> = endpoints
            .map(|(addresses, ready)| {
                json!({ "addresses": addresses, "conditions": { "ready": ready } })
            })
            .collect();
        json!({
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": self.name(),
                "namespace": self.namespace,
                "labels": self.labels(),
            },
            "addressType": self.address_type,
            "endpoints": endpoints,
            "ports": [{ "name": self.port.0, "port": self.port.1, "protocol": "TCP" }],
        })
    }
}
