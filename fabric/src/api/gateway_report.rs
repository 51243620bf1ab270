use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What one gateway of a cluster says of itself; named as its Pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct GatewayReportStatus {
    /// The commit of the snapshot in force; none as long as there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// The fingerprint of the certificate that the gateway shows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// Why the gateway isn't ready; empty when it is.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_ready: Vec<String>,
    /// The other peers, in the order of their names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub peers: Vec<PeerReport>,
    /// The imports whose port the gateway can't listen at, in the order of their names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failed_imports: Vec<FailedImport>,
    /// The objects that the gateway leaves out, and why; at most 50 of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50))]
    pub ignored: Vec<IgnoredObject>,
}

/// Whether a gateway reaches another peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PeerReport {
    /// The peer's name.
    pub name: String,
    /// Whether it counts as reachable.
    pub reachable: bool,
    /// Since when.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub since: Timestamp,
}

/// An import whose port a gateway can't listen at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FailedImport {
    /// The Import, as `namespace/name`.
    pub name: String,
    /// The system's reason.
    pub message: String,
}

/// An object that a gateway leaves out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IgnoredObject {
    /// The object, as `Kind namespace/name`.
    pub object: String,
    /// Why.
    pub message: String,
}
