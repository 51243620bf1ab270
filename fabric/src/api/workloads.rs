use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Metadata;
use crate::attributes::Labels;
use crate::host::parse_network;

/// The workloads of a host without Kubernetes: which addresses stand for which client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Workloads {
    /// The peer's name.
    pub metadata: Metadata,
    /// The workloads.
    pub spec: WorkloadsSpec,
}

/// The workloads of a host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WorkloadsSpec {
    /// Each with its addresses; where ranges overlap, the narrowest counts.
    pub workloads: Vec<Workload>,
}

/// One workload and the addresses that it connects from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Workload {
    /// IP addresses or ranges in CIDR notation.
    #[serde(deserialize_with = "networks")]
    #[schemars(with = "Vec<String>", length(min = 1))]
    pub addresses: Vec<IpNet>,
    /// The workload's namespace.
    #[schemars(length(min = 1), extend("x-weft-code" = "WEFT0109"))]
    pub namespace: String,
    /// The workload's service account.
    #[serde(default = "default_service_account")]
    pub service_account: String,
    /// The workload's labels.
    #[serde(default)]
    pub labels: Labels,
}

fn default_service_account() -> String {
    "default".to_owned()
}

/// Reads addresses, a single one as the range that holds it alone.
fn networks<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    texts
        .iter()
        .map(|text| parse_network(text).map_err(serde::de::Error::custom))
        .collect()
}
