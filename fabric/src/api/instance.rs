use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Metadata;
use crate::attributes::Labels;

/// A Weft installation in a cluster, as ClusterLink's Instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Instance {
    /// The instance's name.
    pub metadata: Metadata,
    /// What is installed; all of it is optional.
    #[serde(default)]
    pub spec: InstanceSpec,
}

/// What is installed, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct InstanceSpec {
    /// The gateways.
    pub dataplane: Dataplane,
    /// How the gateways are reached from outside the cluster.
    pub ingress: Ingress,
    /// How much is logged.
    pub log_level: LogLevel,
    /// The prefix of the images' names.
    pub container_registry: String,
    /// The images' tag.
    pub tag: String,
    /// The namespace in which it is installed.
    #[schemars(extend("x-weft-format" = "label"))]
    pub namespace: String,
    /// Labels of the peer; those of the Peer in the repository go before them.
    // More than anybody needs; a server bounds what the rule about each of them may cost.
    #[schemars(extend("maxProperties" = 64, "x-weft-format" = "labels"))]
    pub peer_labels: Labels,
}

/// The gateways of an instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Dataplane {
    /// ClusterLink's choice of data plane; Weft has one of its own for both.
    #[serde(rename = "type")]
    pub kind: DataplaneType,
    /// How many gateways run.
    #[schemars(range(min = 1, max = 10))]
    pub replicas: u32,
}

/// ClusterLink's choice of data plane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "ClusterLink's names, which mean nothing here")]
pub enum DataplaneType {
    #[default]
    Envoy,
    Go,
}

/// How the gateways are reached from outside the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Ingress {
    /// The type of the Service in front of the gateways.
    #[serde(rename = "type")]
    pub kind: IngressType,
    /// The external port; absent, 443 or for a NodePort what Kubernetes allocates.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
    /// Annotations of the Service.
    // More than any cloud knows; a server bounds what the rule about each of them may cost.
    #[schemars(extend("maxProperties" = 64, "x-weft-format" = "annotations"))]
    pub annotations: BTreeMap<String, String>,
}

/// The type of the Service in front of the gateways.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum IngressType {
    /// No Service.
    #[default]
    #[serde(rename = "none")]
    None,
    /// A load balancer of the cloud.
    LoadBalancer,
    /// A port of every node.
    NodePort,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the usual levels")]
pub enum LogLevel {
    Trace,
    Debug,
    #[default]
    Info,
    Warning,
    Error,
    Fatal,
}

impl Default for InstanceSpec {
    fn default() -> Self {
        Self {
            dataplane: Dataplane::default(),
            ingress: Ingress::default(),
            log_level: LogLevel::default(),
            container_registry: String::new(),
            tag: "latest".to_owned(),
            namespace: "clusterlink-system".to_owned(),
            peer_labels: Labels::new(),
        }
    }
}

impl Default for Dataplane {
    fn default() -> Self {
        Self {
            kind: DataplaneType::Envoy,
            replicas: 1,
        }
    }
}
