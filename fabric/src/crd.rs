//! The custom resources: the kinds that live in a cluster, and their definitions.
//!
//! The definitions are generated from [`api`](crate::api) and committed in `schemas/crds/`.

mod generate;

pub use generate::generate;

use crate::name::Kind;

/// A kind of custom resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "each variant is the kind of its name")]
pub enum CustomKind {
    AccessPolicy,
    Export,
    Import,
    Instance,
    Peer,
    PrivilegedAccessPolicy,
    FabricSync,
    FabricState,
    GatewayReport,
}

// === impl CustomKind ===

impl CustomKind {
    /// Every kind.
    pub const ALL: [Self; 9] = [
        Self::AccessPolicy,
        Self::Export,
        Self::Import,
        Self::Instance,
        Self::Peer,
        Self::PrivilegedAccessPolicy,
        Self::FabricSync,
        Self::FabricState,
        Self::GatewayReport,
    ];

    /// The kind as `kind:` spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AccessPolicy => "AccessPolicy",
            Self::Export => "Export",
            Self::Import => "Import",
            Self::Instance => "Instance",
            Self::Peer => "Peer",
            Self::PrivilegedAccessPolicy => "PrivilegedAccessPolicy",
            Self::FabricSync => "FabricSync",
            Self::FabricState => "FabricState",
            Self::GatewayReport => "GatewayReport",
        }
    }

    /// The kind's name in a server's paths.
    #[must_use]
    pub const fn plural(self) -> &'static str {
        match self {
            Self::AccessPolicy => "accesspolicies",
            Self::Export => "exports",
            Self::Import => "imports",
            Self::Instance => "instances",
            Self::Peer => "peers",
            Self::PrivilegedAccessPolicy => "privilegedaccesspolicies",
            Self::FabricSync => "fabricsyncs",
            Self::FabricState => "fabricstates",
            Self::GatewayReport => "gatewayreports",
        }
    }

    /// The group of the kind's API.
    #[must_use]
    pub const fn group(self) -> &'static str {
        match self {
            Self::FabricSync | Self::FabricState | Self::GatewayReport => "weft.dev",
            _ => "clusterlink.net",
        }
    }

    /// The version of the kind's API.
    #[must_use]
    pub const fn version(self) -> &'static str {
        "v1alpha1"
    }

    /// Whether objects of the kind live in namespaces.
    #[must_use]
    pub const fn is_namespaced(self) -> bool {
        !matches!(self, Self::PrivilegedAccessPolicy)
    }

    /// The kind of the same name in a repository; none for those that live in clusters alone.
    #[must_use]
    pub const fn in_repository(self) -> Option<Kind> {
        match self {
            Self::AccessPolicy => Some(Kind::AccessPolicy),
            Self::Export => Some(Kind::Export),
            Self::Import => Some(Kind::Import),
            Self::Instance => Some(Kind::Instance),
            Self::Peer => Some(Kind::Peer),
            Self::PrivilegedAccessPolicy => Some(Kind::PrivilegedAccessPolicy),
            Self::FabricSync | Self::FabricState | Self::GatewayReport => None,
        }
    }

    /// The custom resource of a repository's kind; none for those that stay in the repository.
    #[must_use]
    pub const fn of(kind: Kind) -> Option<Self> {
        match kind {
            Kind::AccessPolicy => Some(Self::AccessPolicy),
            Kind::Export => Some(Self::Export),
            Kind::Import => Some(Self::Import),
            Kind::Instance => Some(Self::Instance),
            Kind::Peer => Some(Self::Peer),
            Kind::PrivilegedAccessPolicy => Some(Self::PrivilegedAccessPolicy),
            Kind::Fabric | Kind::Revocations | Kind::Workloads | Kind::Invariant => None,
        }
    }

    /// A short name for the command line.
    #[must_use]
    pub const fn short_name(self) -> &'static str {
        match self {
            Self::AccessPolicy => "wap",
            Self::Export => "wex",
            Self::Import => "wim",
            Self::Instance => "win",
            Self::Peer => "wpe",
            Self::PrivilegedAccessPolicy => "wpap",
            Self::FabricSync => "fsync",
            Self::FabricState => "fstate",
            Self::GatewayReport => "gwr",
        }
    }

    /// Whether the status is written apart from the rest.
    ///
    /// A gateway's report is nothing but a status, and is written by one request.
    #[must_use]
    pub const fn has_status_subresource(self) -> bool {
        !matches!(self, Self::FabricState | Self::GatewayReport)
    }

    /// What the kind is, in a sentence.
    #[must_use]
    pub const fn description(self) -> &'static str {
        match self {
            Self::AccessPolicy => "Who may, or may not, reach what: a policy of one namespace.",
            Self::Export => "A service that this cluster offers to other peers.",
            Self::Import => "A service that this cluster uses from other peers.",
            Self::Instance => "An installation of Weft in this cluster.",
            Self::Peer => "Another member of the fabric, and how it is reached.",
            Self::PrivilegedAccessPolicy => {
                "Who may, or may not, reach what: a policy of the whole cluster, before all others."
            }
            Self::FabricSync => "Which repository this cluster keeps to, as which peer.",
            Self::FabricState => {
                "What is in force beyond what the objects say; written by Weft alone."
            }
            Self::GatewayReport => "What one gateway says of itself; written by the gateway alone.",
        }
    }

    /// The name of the definition's file in `schemas/crds/`.
    #[must_use]
    pub fn file_name(self) -> String {
        format!("{}_{}.yaml", self.group(), self.plural())
    }

    /// The text of the committed definition.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::AccessPolicy => {
                include_str!("../../schemas/crds/clusterlink.net_accesspolicies.yaml")
            }
            Self::Export => include_str!("../../schemas/crds/clusterlink.net_exports.yaml"),
            Self::Import => include_str!("../../schemas/crds/clusterlink.net_imports.yaml"),
            Self::Instance => include_str!("../../schemas/crds/clusterlink.net_instances.yaml"),
            Self::Peer => include_str!("../../schemas/crds/clusterlink.net_peers.yaml"),
            Self::PrivilegedAccessPolicy => {
                include_str!("../../schemas/crds/clusterlink.net_privilegedaccesspolicies.yaml")
            }
            Self::FabricSync => include_str!("../../schemas/crds/weft.dev_fabricsyncs.yaml"),
            Self::FabricState => include_str!("../../schemas/crds/weft.dev_fabricstates.yaml"),
            Self::GatewayReport => include_str!("../../schemas/crds/weft.dev_gatewayreports.yaml"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn committed_definitions_are_the_generated_ones() {
        let generated = generate();
        for kind in CustomKind::ALL {
            assert!(
                generated[&kind.file_name()] == kind.text(),
                "schemas/crds/{} isn't what the types say; run\n    cargo run -p fabric --example schemas",
                kind.file_name()
            );
        }
    }
}
