use std::num::NonZeroU16;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Metadata;

/// A member of the fabric: a cluster, a VM or a host, as ClusterLink's Peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Peer {
    /// The peer's name and labels.
    pub metadata: Metadata,
    /// How the peer is reached.
    pub spec: PeerSpec,
}

/// How a peer is reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PeerSpec {
    /// The addresses at which the peer's gateways listen; empty for a peer that only dials out.
    // More than anybody runs; a server bounds what the rule about each of them may cost.
    #[schemars(length(max = 64))]
    pub gateways: Vec<Gateway>,
}

/// One address of a peer's gateway.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Gateway {
    /// A DNS name or an IP address.
    #[schemars(
        length(min = 1),
        extend("x-weft-code" = "WEFT0116", "x-weft-format" = "host")
    )]
    pub host: String,
    /// A TCP port.
    pub port: NonZeroU16,
}
