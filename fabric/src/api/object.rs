use serde::ser::SerializeStruct;
use serde::{Deserialize, Serialize, Serializer};

use super::{
    AccessPolicy, Export, Fabric, Import, Instance, Invariant, Metadata, Peer,
    PrivilegedAccessPolicy, Revocations, Workloads,
};
use crate::name::Kind;

/// Any object of a fabric repository; serialises as `apiVersion`, `kind`, `metadata`, `spec`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
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
    Invariant(Invariant),
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
            Self::Invariant(_) => Kind::Invariant,
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
            Self::Invariant(object) => &object.metadata,
        }
    }
}

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let kind = self.kind();
        let mut object = serializer.serialize_struct("Object", 4)?;
        object.serialize_field("apiVersion", kind.api_version())?;
        object.serialize_field("kind", kind.as_str())?;
        object.serialize_field("metadata", self.metadata())?;
        match self {
            Self::Fabric(fabric) => object.serialize_field("spec", &fabric.spec),
            Self::Revocations(revocations) => object.serialize_field("spec", &revocations.spec),
            Self::Workloads(workloads) => object.serialize_field("spec", &workloads.spec),
            Self::Peer(peer) => object.serialize_field("spec", &peer.spec),
            Self::Export(export) => object.serialize_field("spec", &export.spec),
            Self::Import(import) => object.serialize_field("spec", &import.spec),
            Self::AccessPolicy(policy) => object.serialize_field("spec", &policy.spec),
            Self::PrivilegedAccessPolicy(policy) => object.serialize_field("spec", &policy.spec),
            Self::Instance(instance) => object.serialize_field("spec", &instance.spec),
            Self::Invariant(invariant) => object.serialize_field("spec", &invariant.spec),
        }?;
        object.end()
    }
}
