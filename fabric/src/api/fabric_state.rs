use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Unmanaged;
use crate::fabric::Good;
use crate::name::PeerName;
use crate::origin::Revision;
use crate::plan::State;

/// What is in force in a cluster beyond what the objects say; written last, by the reconciler alone.
///
/// Where it would grow too large for one object, the digests stand in further ones; those carry
/// `objects`, and as their `revision` the digest of these, so that they change with them alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FabricStateSpec {
    /// The peer that this cluster is.
    #[schemars(with = "String", extend("x-weft-format" = "subdomain"))]
    pub peer: PeerName,
    /// The commit in force.
    #[schemars(with = "String")]
    pub revision: Revision,
    /// The commit at which each unit stands, where it isn't `revision`.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, String>")]
    pub units: BTreeMap<PeerName, Revision>,
    /// The commit at which each part of the repository was last good.
    #[serde(default)]
    #[schemars(with = "serde_json::Value", extend("x-kubernetes-preserve-unknown-fields" = true))]
    pub good: Good,
    /// Whether objects count that aren't listed in `objects`.
    #[serde(default)]
    pub unmanaged: Unmanaged,
    /// The SHA-256 of every object in force, by kind, then by `namespace/name` or name.
    #[serde(default)]
    pub objects: BTreeMap<String, BTreeMap<String, String>>,
    /// How many further objects of the name `NAME-1`, `NAME-2`, ... carry digests.
    #[serde(default)]
    pub shards: u32,
    /// The digests of `objects` of those further ones, by which they are known to belong to this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shard_digests: Vec<String>,
    /// Trust, labels, limits and guard rails; only in the first object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "serde_json::Value", extend("x-kubernetes-preserve-unknown-fields" = true))]
    pub state: Option<State>,
}
