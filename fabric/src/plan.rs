//! What is to be in force in one peer: its objects, and what the objects can't carry.
//!
//! A plan is the contract between the reconciler, which makes and stores it, and the gateway,
//! which compiles it into a [`Snapshot`](crate::snapshot::Snapshot).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::api::{ExportHosts, Fingerprint, Heartbeat, Limits, Object, Workload};
use crate::attributes::Labels;
use crate::name::{ObjectKey, ObjectName, PeerName};
use crate::origin::{Origin, Revision};

/// What is to be in force in one peer, at one snapshot of the repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// The peer that the plan is for.
    pub peer: PeerName,
    /// The revision of the repository that the plan was made from.
    pub revision: Revision,
    /// The revision at which each unit stands; mostly all are `revision`.
    pub units: BTreeMap<PeerName, Revision>,
    /// The peer's objects, in the order of their keys: its own Exports, Imports and policies, the
    /// shared policies that select it, and a Peer for every other peer.
    pub objects: Vec<PlannedObject>,
    /// What the objects can't carry.
    pub state: State,
}

/// An object that is to be in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedObject {
    /// Which object it is.
    pub key: ObjectKey,
    /// Where it comes from.
    pub origin: Origin,
    /// The object.
    pub object: Object,
}

/// What a gateway needs to know beyond the objects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// The fabric's name.
    pub fabric: String,
    /// The labels of the peer itself.
    pub labels: Labels,
    /// The fabric's CA certificates.
    pub authorities: Vec<Certificate>,
    /// The fingerprints of each peer's committed certificates, this one's too; a peer that isn't
    /// here is recognised by any certificate of the CA that carries its name.
    pub certificates: BTreeMap<PeerName, BTreeSet<Fingerprint>>,
    /// The certificates that are no longer trusted.
    pub revoked: BTreeSet<Fingerprint>,
    /// The labels of the remote exports that the peer imports, as far as they are known.
    pub export_labels: BTreeMap<PeerName, BTreeMap<ObjectName, Labels>>,
    /// The workloads of a host without Kubernetes.
    pub workloads: Vec<Workload>,
    /// What exports may aim at beyond what the guard rails allow.
    pub export_hosts: ExportHosts,
    /// How the reachability of peers is watched.
    pub heartbeat: Heartbeat,
    /// Limits of the gateway.
    pub limits: Limits,
}

/// A certificate: DER, which serialises as hexadecimal digits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Certificate(Vec<u8>);

// === impl Certificate ===

impl Certificate {
    /// The certificate of these bytes of DER, unchecked.
    #[must_use]
    pub const fn from_der(der: Vec<u8>) -> Self {
        Self(der)
    }

    /// The bytes of DER.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.0
    }

    /// The SHA-256 of the DER.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of_der(&self.0)
    }
}

impl TryFrom<String> for Certificate {
    type Error = hex::FromHexError;

    fn try_from(text: String) -> Result<Self, hex::FromHexError> {
        hex::decode(text).map(Self)
    }
}

impl From<Certificate> for String {
    fn from(certificate: Certificate) -> Self {
        hex::encode(certificate.0)
    }
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Certificate({})", self.fingerprint())
    }
}
