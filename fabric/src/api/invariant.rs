use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Metadata, WorkloadSetOrSelector};

/// What must be true of who reaches what, whatever else changes.
///
/// It is checked by `weft validate` and `weft plan`; peers don't look at it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Invariant {
    /// The invariant's name, unique in the fabric.
    pub metadata: Metadata,
    /// What must be true.
    pub spec: InvariantSpec,
}

/// What must be true of some clients and some services.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InvariantSpec {
    /// What must be true of them.
    pub rule: InvariantRule,
    /// Why, in words; it is shown when the invariant is broken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The clients; those that match one of the entries, with the attributes of a policy's `from`.
    #[schemars(length(min = 1))]
    pub from: Vec<WorkloadSetOrSelector>,
    /// The services; those that match one of the entries, with the attributes of a policy's `to`.
    #[schemars(length(min = 1))]
    pub to: Vec<WorkloadSetOrSelector>,
    /// Which loss is survived, for the rule `survives` alone; absent means any one peer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub losing: Option<Losing>,
}

/// What must be true of clients and services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum InvariantRule {
    /// None of the clients reaches any of the services.
    Never,
    /// Each of the clients reaches each of the services, at some peer that offers it.
    Always,
    /// The same while peers are lost.
    Survives,
    /// Nobody but the clients reaches any of the services.
    Only,
}

/// The loss of peers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Losing {
    /// The peers that may be lost; absent or empty means all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub peers: Vec<String>,
    /// How many of them are lost at a time.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 16))]
    pub count: u32,
}

const fn one() -> u32 {
    1
}

impl Default for Losing {
    fn default() -> Self {
        Self {
            peers: Vec::new(),
            count: one(),
        }
    }
}

impl InvariantRule {
    /// The rule as YAML spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::Always => "always",
            Self::Survives => "survives",
            Self::Only => "only",
        }
    }
}
