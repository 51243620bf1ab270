//! The custom resources: the kinds that live in a cluster, and their definitions.
//!
//! The definitions are generated from [`api`](crate::api) and committed in `schemas/crds/`.

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
            Kind::Fabric | Kind::Revocations | Kind::Workloads => None,
        }
    }
}
