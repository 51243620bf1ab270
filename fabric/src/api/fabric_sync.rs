use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Condition, Duration, Prune};
use crate::name::PeerName;

/// Which repository a cluster keeps to, as which peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FabricSyncSpec {
    /// The peer that this cluster is.
    #[schemars(with = "String", extend("x-weft-format" = "subdomain"))]
    pub peer: PeerName,
    /// The repository: `https://`, `http://`, `ssh://`, `user@host:path`, or a path.
    #[schemars(length(min = 1, max = 2048))]
    pub repository: String,
    /// The branch, tag or full reference that is followed; the repository's `HEAD` where absent.
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub reference: Option<String>,
    /// How long after a round the next one begins.
    #[serde(default = "default_interval")]
    #[schemars(extend("x-weft-format" = "interval"))]
    pub interval: Duration,
    /// The Secret with the credentials of the repository, in the same namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretRef>,
    /// The Secret whose key `kubeconfig` leads to another cluster, into which is applied; only heeded
    /// by `weft reconcile --hub`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubeconfig_secret_ref: Option<SecretRef>,
    /// Whether nothing is fetched or applied any more; what is in force stays.
    #[serde(default)]
    pub suspend: bool,
    /// Whether objects that aren't applied from the repository count.
    #[serde(default)]
    pub unmanaged: Unmanaged,
    /// What happens to objects that exist already when they are first to be applied.
    #[serde(default)]
    pub adoption: Adoption,
    /// How much one commit may remove; what the repository's `fabric.yaml` says where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prune: Option<Prune>,
    /// What happens when the history of the repository is rewritten or rewound.
    #[serde(default)]
    pub on_rewrite: OnRewrite,
}

/// A Secret of the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SecretRef {
    /// The Secret's name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// Whether objects count that aren't applied from the repository.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Unmanaged {
    /// They don't: access changes by the repository alone.
    #[default]
    Ignore,
    /// They count beside the repository's.
    Honour,
}

/// What happens to objects that exist already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Adoption {
    /// They become the repository's, and an event says so.
    #[default]
    Adopt,
    /// They stay as they are, and are reported as refused.
    Refuse,
}

/// What happens when a reference's history doesn't go on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnRewrite {
    /// The new commit is applied.
    Accept,
    /// The new commit is applied, and an event says so.
    #[default]
    Warn,
    /// What is in force stays.
    Refuse,
}

/// Where the reconciliation stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct FabricSyncStatus {
    /// The generation of the spec that was last acted upon.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The value of the annotation `weft.dev/reconcile-requested-at` that was last acted upon.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_handled_reconcile_at: Option<String>,
    /// The commit in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// Since when it is in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub since: Option<Timestamp>,
    /// The commit that was last looked into.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempted_revision: Option<String>,
    /// How many objects are in force.
    pub objects: u32,
    /// The units that don't stand at the commit in force; at most 100 of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub frozen_units: Vec<FrozenUnit>,
    /// What is wrong with the commit that was last looked into; at most 50 findings.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50))]
    pub findings: Vec<String>,
    /// The objects that the server refuses; at most 50 of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50))]
    pub refused: Vec<RefusedObject>,
    /// What the prune budget holds back; at most 100 objects, each as `Kind namespace/name`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub prune_blocked: Vec<String>,
    /// `Ready`, `Reconciling`, `Stalled`, `SourceVerified`, `PruneBlocked`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// A unit that a mistake holds at an older commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FrozenUnit {
    /// The peer's name.
    pub name: String,
    /// The commit at which it is in force; none where it never was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
}

/// An object that the server refuses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RefusedObject {
    /// The object, as `Kind namespace/name`.
    pub object: String,
    /// What the server says.
    pub message: String,
}

const fn default_interval() -> Duration {
    Duration::from_secs(60)
}
