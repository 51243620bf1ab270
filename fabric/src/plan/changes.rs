//! What changes in every peer, without the plans: in a mesh each of those holds every peer.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::difference::{Change, Difference, FieldChange, diff, field_changes, summary, value};
use super::{Plan, PlannedObject, State};
use crate::api::{Object, Prune};
use crate::attributes::Labels;
use crate::fabric::{Fabric, Item, SharedPolicy, Unit};
use crate::name::{ObjectKey, PeerName};

/// What changes from one fabric to another, peer by peer.
#[derive(Debug)]
pub struct Changes<'a> {
    before: Option<&'a Fabric>,
    after: Option<&'a Fabric>,
    /// The peers whose Peer comes, goes or changes.
    peers: Vec<&'a PeerName>,
    /// The shared policies of both, by their keys.
    shared: BTreeMap<&'a ObjectKey, Sides<&'a SharedPolicy>>,
    /// Those that come, go or change.
    changed_policies: Vec<&'a ObjectKey>,
    /// Whether the labels of an export changed anywhere.
    exports_change: bool,
    /// What changes beside the objects in every peer.
    state: Vec<FieldChange>,
}

/// Something before and after.
#[derive(Clone, Copy, Debug)]
struct Sides<T> {
    before: Option<T>,
    after: Option<T>,
}

/// The objects of one peer that may differ, by their keys.
type Candidates = BTreeMap<ObjectKey, Sides<PlannedObject>>;

// === impl Sides ===

impl<T> Default for Sides<T> {
    fn default() -> Self {
        Self {
            before: None,
            after: None,
        }
    }
}

// === impl Changes ===

impl<'a> Changes<'a> {
    /// What changes from one fabric to another; none stands for nothing in force.
    #[must_use]
    pub fn new(before: Option<&'a Fabric>, after: Option<&'a Fabric>) -> Self {
        let mut shared: BTreeMap<&ObjectKey, Sides<&SharedPolicy>> = BTreeMap::new();
        for policy in before.into_iter().flat_map(|fabric| &fabric.policies) {
            let sides = shared.entry(policy.item.key()).or_default();
            sides.before = Some(policy);
        }
        for policy in after.into_iter().flat_map(|fabric| &fabric.policies) {
            let sides = shared.entry(policy.item.key()).or_default();
            sides.after = Some(policy);
        }
        let is_same = |sides: &Sides<&SharedPolicy>| match (sides.before, sides.after) {
            (Some(before), Some(after)) => before.item.says_the_same(&after.item),
            _ => false,
        };
        let changed_policies = shared
            .iter()
            .filter(|(_, sides)| !is_same(sides))
            .map(|(key, _)| *key)
            .collect();
        let mut changes = Self {
            before,
            after,
            peers: Vec::new(),
            shared,
            changed_policies,
            exports_change: false,
            state: match (before, after) {
                (Some(before), Some(after)) => {
                    let summary = |fabric| summary(&State::of_fabric(fabric));
                    field_changes(&summary(before), &summary(after))
                }
                _ => Vec::new(),
            },
        };
        for name in changes.names() {
            let (before, after) = changes.units(name);
            let (Some(before), Some(after)) = (before, after) else {
                changes.peers.push(name);
                changes.exports_change = true;
                continue;
            };
            if !before.peer.says_the_same(&after.peer) {
                changes.peers.push(name);
            }
            changes.exports_change |= !are_same(before.exports.values(), after.exports.values());
        }
        changes
    }

    /// The peers of both fabrics, in the order of their names.
    #[must_use]
    pub fn names(&self) -> BTreeSet<&'a PeerName> {
        let fabrics = [self.before, self.after].into_iter().flatten();
        fabrics.flat_map(|fabric| fabric.units.keys()).collect()
    }

    /// What changes in one peer: the same as the difference of its plans.
    #[must_use]
    pub fn of(&self, name: &PeerName) -> Difference {
        let (Some(before), Some(after)) = self.units(name) else {
            // All of one plan.
            let plan = |fabric: Option<&Fabric>| fabric.and_then(|fabric| Plan::of(fabric, name));
            return diff(name, plan(self.before).as_ref(), plan(self.after).as_ref());
        };
        let mut candidates = Candidates::new();
        if !before.holds_the_same(after) {
            for planned in own_objects(before) {
                let candidate = candidates.entry(planned.key.clone()).or_default();
                candidate.before = Some(planned);
            }
            for planned in own_objects(after) {
                let candidate = candidates.entry(planned.key.clone()).or_default();
                candidate.after = Some(planned);
            }
        }
        self.add_shared(before, after, &mut candidates);
        self.add_peers(name, before, after, &mut candidates);
        let mut difference = Difference {
            peer: name.clone(),
            added: Vec::new(),
            removed: Vec::new(),
            changed: Vec::new(),
            state: self.state_of(before, after),
        };
        for (key, sides) in candidates {
            match (sides.before, sides.after) {
                (None, None) => {}
                (None, Some(added)) => difference.added.push(added),
                (Some(removed), None) => difference.removed.push(removed),
                (Some(before), Some(after)) if before.object == after.object => {}
                (Some(before), Some(after)) => {
                    let fields = field_changes(&value(&before), &value(&after));
                    difference.changed.push(Change {
                        key,
                        before: before.origin,
                        after: after.origin,
                        fields,
                    });
                }
            }
        }
        difference
    }

    /// How many objects of a peer are in force before and after, but for Instances, which never go.
    #[must_use]
    pub fn lasting(&self, name: &PeerName) -> (u64, u64) {
        let count = |fabric: Option<&Fabric>| {
            let unit = fabric.and_then(|fabric| Some((fabric, fabric.units.get(name)?)));
            let Some((fabric, unit)) = unit else { return 0 };
            let others = fabric.units.len() - usize::from(!imports_itself(unit));
            let own = unit.exports.len() + unit.imports.len() + fabric.policies_of(unit).count();
            (own + others) as u64
        };
        (count(self.before), count(self.after))
    }

    /// Whether a peer is there before and after.
    #[must_use]
    pub fn presence(&self, name: &PeerName) -> (bool, bool) {
        let (before, after) = self.units(name);
        (before.is_some(), after.is_some())
    }

    /// The prune budget by which a peer goes after the change, as far as the repository says.
    #[must_use]
    pub fn budget(&self, name: &PeerName) -> Prune {
        let fabric = self.after.filter(|fabric| fabric.units.contains_key(name));
        fabric
            .map(|fabric| fabric.spec.prune.clone())
            .unwrap_or_default()
    }

    fn units(&self, name: &PeerName) -> (Option<&'a Unit>, Option<&'a Unit>) {
        let unit = |fabric: Option<&'a Fabric>| fabric?.units.get(name);
        (unit(self.before), unit(self.after))
    }

    fn add_shared(&self, before: &Unit, after: &Unit, candidates: &mut Candidates) {
        let (old, new) = (&before.attributes.labels, &after.attributes.labels);
        let keys: Box<dyn Iterator<Item = &ObjectKey>> = match old == new {
            true => Box::new(self.changed_policies.iter().copied()),
            false => Box::new(self.shared.keys().copied()),
        };
        let planned = |policy: Option<&SharedPolicy>, labels: &Labels| {
            let policy = policy.filter(|policy| policy.selects(labels))?;
            Some(PlannedObject::from_item(&policy.item))
        };
        for key in keys {
            let Some(sides) = self.shared.get(key) else {
                continue;
            };
            let both = (planned(sides.before, old), planned(sides.after, new));
            if both.0.is_none() && both.1.is_none() {
                continue;
            }
            let candidate = candidates.entry(key.clone()).or_default();
            candidate.before = both.0.or_else(|| candidate.before.take());
            candidate.after = both.1.or_else(|| candidate.after.take());
        }
    }

    fn add_peers(&self, name: &PeerName, before: &Unit, after: &Unit, candidates: &mut Candidates) {
        let mut add = |other: &PeerName, before: Option<&Unit>, after: Option<&Unit>| {
            let planned = |unit: Option<&Unit>| Some(PlannedObject::of_peer(other, unit?));
            let sides = Sides {
                before: planned(before),
                after: planned(after),
            };
            let planned = sides.before.as_ref().or(sides.after.as_ref());
            if let Some(key) = planned.map(|planned| planned.key.clone()) {
                candidates.insert(key, sides);
            }
        };
        for other in self.peers.iter().filter(|other| **other != name) {
            let (before, after) = self.units(other);
            add(other, before, after);
        }
        if before.peer.says_the_same(&after.peer) && imports_itself(before) == imports_itself(after)
        {
            return;
        }
        // A peer that imports from itself knows itself too.
        let (before, after) = (Some(before), Some(after));
        let itself = |unit: &&Unit| imports_itself(unit);
        add(name, before.filter(itself), after.filter(itself));
    }

    fn state_of(&self, before: &Unit, after: &Unit) -> Vec<FieldChange> {
        let is_known = before.attributes.labels == after.attributes.labels
            && !self.exports_change
            && are_same(before.workloads.iter(), after.workloads.iter())
            && before.imports_the_same(after);
        if is_known {
            return self.state.clone();
        }
        let own = |fabric: Option<&Fabric>, unit: &Unit| -> Value {
            let Some(fabric) = fabric else {
                return json!({});
            };
            let mut state = State::empty();
            state.add_unit(fabric, unit);
            summary(&state)
        };
        let mut changes = field_changes(&own(self.before, before), &own(self.after, after));
        changes.extend(self.state.iter().cloned());
        changes.sort_by(|a, b| a.pointer.split('/').cmp(b.pointer.split('/')));
        changes
    }
}

/// The objects of the unit itself, as they are to be in force.
fn own_objects(unit: &Unit) -> impl Iterator<Item = PlannedObject> {
    let items = unit
        .exports
        .values()
        .chain(&unit.policies)
        .chain(&unit.instance);
    let imports = unit.imports.values().filter_map(|import| {
        let object = Object::Import(import.in_force()?);
        let planned = PlannedObject::from_item(&import.item);
        Some(PlannedObject { object, ..planned })
    });
    items.map(PlannedObject::from_item).chain(imports)
}

/// Whether the peer is among the sources of its own imports.
fn imports_itself(unit: &Unit) -> bool {
    unit.sources.contains(&unit.attributes.name)
}

fn are_same<'a>(
    before: impl ExactSizeIterator<Item = &'a Item>,
    after: impl ExactSizeIterator<Item = &'a Item>,
) -> bool {
    before.len() == after.len()
        && before
            .zip(after)
            .all(|(before, after)| before.says_the_same(after))
}

// === impl Unit ===

impl Unit {
    /// Whether both hold the same objects, whatever stands beside those.
    fn holds_the_same(&self, other: &Self) -> bool {
        self.imports_the_same(other)
            && are_same(self.exports.values(), other.exports.values())
            && are_same(self.policies.iter(), other.policies.iter())
            && are_same(self.instance.iter(), other.instance.iter())
    }

    /// Whether both import the same.
    pub(crate) fn imports_the_same(&self, other: &Self) -> bool {
        let imports = self.imports.values().zip(other.imports.values());
        self.imports.len() == other.imports.len() && { imports }.all(|(own, others)| {
            own.dropped == others.dropped && own.item.says_the_same(&others.item)
        })
    }

    /// Whether both let the same clients reach the same services.
    pub(crate) fn offers_the_same(&self, other: &Self) -> bool {
        self.attributes == other.attributes
            && are_same(self.exports.values(), other.exports.values())
            && are_same(self.policies.iter(), other.policies.iter())
    }
}
