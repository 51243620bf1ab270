use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Duration, Metadata};

/// The fabric itself: its name, its defaults and its guard rails.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Fabric {
    /// The fabric's name.
    pub metadata: Metadata,
    /// Defaults and guard rails; all of it is optional.
    #[serde(default)]
    pub spec: FabricSpec,
}

/// Defaults and guard rails of a fabric; what is absent has its default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct FabricSpec {
    /// Who knows whom.
    pub peering: Peering,
    /// What exports may aim at beyond what the guard rails allow.
    pub export_hosts: ExportHosts,
    /// How much one commit may remove without an approval.
    pub prune: Prune,
    /// Which kinds of change need an approval.
    pub gates: Vec<Gate>,
    /// How long certificates are valid, and when they are renewed.
    pub certificates: Certificates,
    /// How the reachability of peers is watched.
    pub heartbeat: Heartbeat,
    /// Limits of every gateway.
    pub limits: Limits,
}

/// Who knows whom.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Peering {
    /// Every peer knows every other.
    #[default]
    Mesh,
    /// Peers know each other where `peerings/` says so.
    Explicit,
}

/// What exports may aim at although the guard rails would refuse it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ExportHosts {
    /// Address ranges in CIDR notation, addresses or names.
    pub allow: Vec<String>,
}

/// How much one commit may remove: blocked above both numbers, and when nothing would be left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Prune {
    /// So many objects.
    pub max_count: u32,
    /// So many percent of the objects.
    #[schemars(range(max = 100))]
    pub max_percent: u32,
}

/// A kind of change that needs an approval.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Gate {
    /// Somebody can reach more than before.
    WidensAccess,
    /// More is removed from a peer than its prune budget allows.
    Prune,
    /// A certificate becomes trusted that wasn't.
    Certificate,
    /// A privileged policy comes, goes or changes.
    PrivilegedPolicy,
    /// A gate or an invariant goes, an invariant changes, or a guard rail is loosened; with any other
    /// gate this one is there too.
    Safeguards,
}

/// How long certificates are valid, and when they are renewed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Certificates {
    /// How long a new certificate is valid.
    pub validity: Duration,
    /// After which part of its validity a certificate is renewed, such as `66%`.
    #[schemars(
        regex(pattern = "^[1-9][0-9]?%$"),
        extend("patternErrorMessage" = "a part is a whole percentage from 1% to 99%, such as 66%")
    )]
    pub renew_at: String,
}

/// How the reachability of peers is watched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Heartbeat {
    /// The time between two heartbeats.
    pub interval: Duration,
    /// How long an answer may take; a connection is doubted after a third of it.
    pub timeout: Duration,
    /// After so many failures in a row a peer counts as unreachable.
    #[schemars(range(min = 1))]
    pub down: u32,
    /// After so many successes in a row it counts as reachable again.
    #[schemars(range(min = 1))]
    pub up: u32,
}

/// Limits of every gateway; 0 means no limit beyond the built-in bounds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Limits {
    /// Connections at a time through one import.
    pub connections_per_import: u32,
    /// Connections at a time to one export.
    pub connections_per_export: u32,
    /// Connections at a time of one client, by its address, through all imports.
    pub connections_per_client: u32,
    /// New connections in a second through one import, over time; as many at once.
    pub new_connections_per_import: u32,
    /// New connections in a second to one export, over time; as many at once.
    pub new_connections_per_export: u32,
    /// Tunnels at a time with one peer.
    pub tunnels_per_peer: u32,
    /// TLS handshakes in progress at the gateway port.
    pub handshakes: u32,
    /// TLS handshakes in progress with one address, or one IPv6 network of 64 bits.
    pub handshakes_per_address: u32,
    /// The header of an HTTP request at the gateway port, in bytes.
    pub header_bytes: u32,
    /// What a peer says of a connection that it opens, in bytes: the client's labels, mostly.
    pub message_bytes: u32,
    /// How long a TLS handshake may take.
    pub handshake_timeout: Duration,
    /// How long connecting to an address of a peer's gateway may take; 0 is 5 seconds.
    pub dial_timeout: Duration,
    /// How long a peer may take to answer whether it takes a connection; 0 is 10 seconds.
    pub open_timeout: Duration,
    /// How long connecting to an exported service may take; 0 is 5 seconds.
    pub connect_timeout: Duration,
    /// How long a connection may carry nothing.
    pub idle_timeout: Duration,
    /// How long a connection may carry nothing once one of its directions has ended.
    pub half_closed_timeout: Duration,
}

impl Default for Prune {
    fn default() -> Self {
        Self {
            max_count: 25,
            max_percent: 20,
        }
    }
}

impl Default for Certificates {
    fn default() -> Self {
        Self {
            validity: Duration::from_secs(2160 * 3600),
            renew_at: "66%".to_owned(),
        }
    }
}

impl Default for Heartbeat {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(3),
            down: 5,
            up: 3,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        let none = Duration::from_secs(0);
        Self {
            connections_per_import: 0,
            connections_per_export: 0,
            connections_per_client: 0,
            new_connections_per_import: 0,
            new_connections_per_export: 0,
            tunnels_per_peer: 0,
            handshakes: 0,
            handshakes_per_address: 0,
            header_bytes: 0,
            message_bytes: 0,
            handshake_timeout: none,
            dial_timeout: none,
            open_timeout: none,
            connect_timeout: none,
            idle_timeout: none,
            half_closed_timeout: none,
        }
    }
}
