use std::num::NonZeroU16;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Metadata;

/// A service that a peer uses from others, as ClusterLink's Import.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Import {
    /// The import's name.
    pub metadata: Metadata,
    /// What is imported, from where.
    pub spec: ImportSpec,
}

impl Import {
    /// The label of an Import that adds its endpoints to a Service that is there.
    pub const MERGE: &str = "import.clusterlink.net/merge";

    /// Whether it adds its endpoints to a Service that is there, instead of making one.
    #[must_use]
    pub fn is_merged(&self) -> bool {
        let merge = self.metadata.labels.get(Self::MERGE);
        merge.is_some_and(|merge| merge == "true")
    }
}

/// What is imported, from where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ImportSpec {
    /// The port at which clients find the service.
    pub port: NonZeroU16,
    /// The port at which the gateway listens; 0 or absent means "choose one".
    #[serde(default, skip_serializing_if = "is_zero")]
    pub target_port: u16,
    /// Where the service comes from; connections are spread over the sources.
    pub sources: Vec<ImportSource>,
    /// How connections are spread over the sources.
    #[serde(default)]
    pub lb_scheme: LoadBalancing,
}

/// One exported service that an import may use.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ImportSource {
    /// The peer that exports.
    #[schemars(
        length(min = 1),
        extend("x-weft-code" = "WEFT0109", "x-weft-format" = "subdomain")
    )]
    pub peer: String,
    /// The export's name.
    #[schemars(
        length(min = 1),
        extend("x-weft-code" = "WEFT0109", "x-weft-format" = "name")
    )]
    pub export_name: String,
    /// The export's namespace.
    #[schemars(
        length(min = 1),
        extend("x-weft-code" = "WEFT0109", "x-weft-format" = "label")
    )]
    pub export_namespace: String,
}

/// How an import's connections are spread over its sources.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LoadBalancing {
    /// Each source in turn.
    #[default]
    RoundRobin,
    /// Any source.
    Random,
    /// The first source that works, in the order of the list.
    Static,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_zero(port: &u16) -> bool {
    *port == 0
}
