use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{LabelSelector, Metadata};

/// A policy of one namespace, as ClusterLink's AccessPolicy.
///
/// It decides connections of the Imports of its namespace on the importer's side, and of the
/// Exports of its namespace on the exporter's side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AccessPolicy {
    /// The policy's name and namespace.
    pub metadata: Metadata,
    /// Who may, or may not, reach what.
    pub spec: AccessPolicySpec,
}

/// A policy of the whole peer, which goes before every AccessPolicy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PrivilegedAccessPolicy {
    /// The policy's name; the annotation `weft.dev/peers` selects the peers of a shared policy.
    pub metadata: Metadata,
    /// Who may, or may not, reach what.
    pub spec: AccessPolicySpec,
}

/// Who may, or may not, reach what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AccessPolicySpec {
    /// What happens to a connection that the policy matches.
    pub action: Action,
    /// The clients; one of the entries must match.
    #[schemars(length(min = 1))]
    pub from: Vec<WorkloadSetOrSelector>,
    /// The services; one of the entries must match.
    #[schemars(length(min = 1))]
    pub to: Vec<WorkloadSetOrSelector>,
}

/// What a policy does with a connection that it matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// The connection is let through.
    Allow,
    /// The connection is refused.
    Deny,
}

/// A set of clients or services.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadSetOrSelector {
    /// Named sets; part of ClusterLink's API but not supported, so it must be empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 0), extend("x-weft-code" = "WEFT0114"))]
    pub workload_sets: Vec<String>,
    /// A selector over the attributes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload_selector: Option<LabelSelector>,
}
