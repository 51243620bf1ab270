//! What a decision looks at: the attributes of the client, of the service and of the two peers.
//!
//! The names are ClusterLink's (`client.clusterlink.net/namespace`, `peer.clusterlink.net/labels.x`,
//! `export.clusterlink.net/name`, ...).

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::name::{ObjectName, PeerName};

/// Labels: key, with its prefix and slash, to value.
pub type Labels = BTreeMap<String, String>;

/// What is known of the workload that opens a connection.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub struct Client {
    /// The namespace that the workload lives in.
    pub namespace: String,
    /// The service account that it runs as.
    pub service_account: String,
    /// Its labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: Labels,
}

/// What policies see of a peer; never what the peer says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerAttributes {
    /// The peer's name, as its certificate proves it.
    pub name: PeerName,
    /// The labels of the Peer in the repository.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: Labels,
}

/// What policies see of the service that is being reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportAttributes {
    /// The export's namespace and name.
    pub name: ObjectName,
    /// The export's labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: Labels,
}
