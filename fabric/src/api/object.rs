use serde::{Deserialize, Serialize};

use super::{
    AccessPolicy, Export, Fabric, Import, Instance, Metadata, Peer, PrivilegedAccessPolicy,
    Revocations, Workloads,
};
use crate::name::Kind;

/// Any object of a fabric repository; serialises with its `apiVersion` and `kind`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind")]
#[allow(missing_docs, reason = "each variant is the kind of its name")]
pub enum Object {
    Fabric(Fabric),
    Revocations(Revocations),
    Workloads(Workloads),
    Peer(Peer),
    Export(Export),
    Import(Import),
    AccessPolicy(AccessPolicy),
    PrivilegedAccessPolicy(PrivilegedAccessPolicy),
    Instance(Instance),
}

// === impl Object ===

impl Object {
    /// The object's kind.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Fabric(_) => Kind::Fabric,
            Self::Revocations(_) => Kind::Revocations,
            Self::Workloads(_) => Kind::Workloads,
            Self::Peer(_) => Kind::Peer,
            Self::Export(_) => Kind::Export,
            Self::Import(_) => Kind::Import,
            Self::AccessPolicy(_) => Kind::AccessPolicy,
            Self::PrivilegedAccessPolicy(_) => Kind::PrivilegedAccessPolicy,
            Self::Instance(_) => Kind::Instance,
        }
    }

    /// The object's metadata.
    #[must_use]
    pub const fn metadata(&self) -> &Metadata {
        match self {
            Self::Fabric(object) => &object.metadata,
            Self::Revocations(object) => &object.metadata,
            Self::Workloads(object) => &object.metadata,
            Self::Peer(object) => &object.metadata,
            Self::Export(object) => &object.metadata,
            Self::Import(object) => &object.metadata,
            Self::AccessPolicy(object) => &object.metadata,
            Self::PrivilegedAccessPolicy(object) => &object.metadata,
            Self::Instance(object) => &object.metadata,
        }
    }
}
