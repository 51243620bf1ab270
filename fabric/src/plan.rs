//! What is to be in force in one peer: its objects, and what the objects can't carry.
//!
//! A plan is the contract between the reconciler, which makes and stores it, and the gateway,
//! which compiles it into a [`Snapshot`](crate::snapshot::Snapshot).

pub mod action;
mod budget;
mod changes;
mod difference;
mod state;

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::{self, ExportHosts, Fingerprint, Heartbeat, Limits, Object, Prune, Workload};
use crate::attributes::Labels;
use crate::fabric::{Fabric, Item, Unit};
use crate::name::{Kind, ObjectKey, ObjectName, PeerName};
use crate::origin::{Origin, Revision};

pub use budget::{PruneOutcome, Pruning, is_counted};
pub use changes::Changes;
pub use difference::{Change, Difference, FieldChange, diff};
pub use state::Assembly;

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
    /// The peer's objects, in the order of their keys: its own Exports, Imports, policies and
    /// Instance, the shared policies that select it, and a Peer for every other peer.
    pub objects: Vec<PlannedObject>,
    /// What the objects can't carry.
    pub state: State,
}

/// An object that is to be in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
    /// How much may be deleted at once in a cluster.
    #[serde(default)]
    pub prune: Prune,
}

/// A certificate: DER, which serialises as hexadecimal digits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Certificate(Vec<u8>);

// === impl Plan ===

impl Plan {
    /// The plan of one peer; none where the peer isn't in force.
    #[must_use]
    pub fn of(fabric: &Fabric, peer: &PeerName) -> Option<Self> {
        let unit = fabric.units.get(peer)?;
        let mut objects: Vec<PlannedObject> = Vec::new();
        objects.extend(unit.exports.values().map(PlannedObject::from_item));
        objects.extend(fabric.policies_of(unit).map(PlannedObject::from_item));
        objects.extend(unit.instance.iter().map(PlannedObject::from_item));
        let mut imports_itself = false;
        for import in unit.imports.values() {
            let Some(object) = import.in_force() else {
                continue;
            };
            imports_itself |= object.spec.sources.iter().any(|s| s.peer == *peer.as_str());
            let planned = PlannedObject::from_item(&import.item);
            objects.push(PlannedObject {
                object: Object::Import(object),
                ..planned
            });
        }
        // A peer that imports from itself reaches itself as it reaches the others.
        let others = fabric
            .units
            .iter()
            .filter(|(name, _)| *name != peer || imports_itself);
        objects.extend(others.map(|(name, other)| PlannedObject::of_peer(name, other)));
        objects.sort_by(|a, b| a.key.cmp(&b.key));
        Some(Self {
            peer: peer.clone(),
            revision: fabric.revision.clone(),
            units: fabric
                .units
                .iter()
                .map(|(name, unit)| (name.clone(), unit.revision.clone()))
                .collect(),
            objects,
            state: State::of(fabric, unit),
        })
    }
}

// === impl PlannedObject ===

impl PlannedObject {
    fn from_item(item: &Item) -> Self {
        let resource = item.resource();
        Self {
            key: resource.key.clone(),
            origin: item.origin(),
            object: resource.object.clone(),
        }
    }

    /// The Peer by which others know a peer: in the file it may stand in any namespace.
    fn of_peer(name: &PeerName, unit: &Unit) -> Self {
        let key = ObjectKey {
            kind: Kind::Peer,
            namespace: None,
            name: name.as_str().into(),
        };
        Self {
            key,
            ..Self::from_item(&unit.peer)
        }
    }
}

// === impl State ===

impl State {
    fn of(fabric: &Fabric, unit: &Unit) -> Self {
        let mut state = Self::of_fabric(fabric);
        state.add_unit(fabric, unit);
        state
    }

    /// The part that is the same in every peer.
    fn of_fabric(fabric: &Fabric) -> Self {
        let leaves = |(name, unit): (&PeerName, &Unit)| {
            let prints: BTreeSet<_> = unit.certificates.iter().map(|c| c.fingerprint).collect();
            (!prints.is_empty()).then(|| (name.clone(), prints))
        };
        Self {
            fabric: fabric.name.clone(),
            labels: Labels::new(),
            authorities: fabric
                .authorities
                .iter()
                .map(|ca| ca.certificate.clone())
                .collect(),
            certificates: fabric.units.iter().filter_map(leaves).collect(),
            revoked: fabric.revoked.clone(),
            export_labels: BTreeMap::new(),
            workloads: Vec::new(),
            export_hosts: fabric.spec.export_hosts.clone(),
            heartbeat: fabric.spec.heartbeat.clone(),
            limits: fabric.spec.limits.clone(),
            prune: fabric.spec.prune.clone(),
        }
    }

    /// A state that says nothing.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            fabric: String::new(),
            labels: Labels::new(),
            authorities: Vec::new(),
            certificates: BTreeMap::new(),
            revoked: BTreeSet::new(),
            export_labels: BTreeMap::new(),
            workloads: Vec::new(),
            export_hosts: ExportHosts::default(),
            heartbeat: Heartbeat::default(),
            limits: Limits::default(),
            prune: Prune::default(),
        }
    }

    /// Adds the part that is a peer's own.
    fn add_unit(&mut self, fabric: &Fabric, unit: &Unit) {
        self.labels.clone_from(&unit.attributes.labels);
        if let Some(Object::Workloads(workloads)) = unit.workloads.as_ref().map(Item::object) {
            self.workloads.clone_from(&workloads.spec.workloads);
        }
        let imports = unit.imports.values();
        for import in imports.filter_map(super::fabric::LinkedImport::in_force) {
            for source in &import.spec.sources {
                let Some((peer, export)) = known_source(source) else {
                    continue;
                };
                if let Some(labels) = fabric.export_labels(&peer, &export) {
                    self.export_labels
                        .entry(peer)
                        .or_default()
                        .insert(export, labels.clone());
                }
            }
        }
    }
}

fn known_source(source: &api::ImportSource) -> Option<(PeerName, ObjectName)> {
    let peer = source.peer.parse().ok()?;
    let export = ObjectName::new(&source.export_namespace, &source.export_name).ok()?;
    Some((peer, export))
}

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
