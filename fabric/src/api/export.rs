use std::num::NonZeroU16;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Metadata;

/// A service that a peer offers to the others, as ClusterLink's Export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Export {
    /// The export's name; its labels are attributes of the service in policies.
    pub metadata: Metadata,
    /// Where the service is.
    pub spec: ExportSpec,
}

/// Where an exported service is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExportSpec {
    /// The service's DNS name or IP address; absent, the Kubernetes Service of the export's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1),
        extend("x-weft-code" = "WEFT0116", "x-weft-format" = "host")
    )]
    pub host: Option<String>,
    /// The service's TCP port.
    pub port: NonZeroU16,
}
