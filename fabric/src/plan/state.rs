//! A plan as a cluster keeps it: objects, each by itself, and one FabricState with the rest.

use std::collections::{BTreeMap, BTreeSet};

use super::action::takes_access;
use super::{Plan, PlannedObject, State};
use crate::api::{FabricStateSpec, Unmanaged};
use crate::digest::Digest;
use crate::fabric::Good;
use crate::name::{Kind, ObjectKey};
use crate::origin::Revision;

/// So many bytes of names and digests stand in one object: a server takes 1.5 MiB, and the state
/// beside them may have a few hundred KiB.
const MOST: usize = 512 * 1024;
/// What a digest takes beside the object's name: 64 digits, quotes, colon and comma.
const DIGEST: usize = 70;

/// The digests of objects, by kind, then by `namespace/name` or name.
type Digests = BTreeMap<String, BTreeMap<String, String>>;

/// What came of putting a plan together again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assembly {
    /// The plan: complete, or the one before less what is no longer in force.
    pub plan: Option<Plan>,
    /// Whether the plan is what the FabricState says.
    pub is_complete: bool,
    /// The objects that the FabricState lists and that aren't there (yet) with that content.
    pub missing: Vec<ObjectKey>,
    /// The objects that are there and don't count, under [`Unmanaged::Ignore`].
    pub ignored: Vec<ObjectKey>,
}

// === impl FabricStateSpec ===

impl FabricStateSpec {
    /// What is written of a plan in force: the first FabricState, and further ones where the digests
    /// would make it too large.
    #[must_use]
    pub fn of(plan: &Plan, good: &Good, unmanaged: Unmanaged) -> Vec<Self> {
        let entries = plan.objects.iter().map(|planned| {
            let digest = Digest::of_effect(&planned.key, &planned.object);
            (&planned.key, digest.to_string())
        });
        Self::with_digests(plan, good, unmanaged, entries.collect(), MOST)
    }

    fn with_digests(
        plan: &Plan,
        good: &Good,
        unmanaged: Unmanaged,
        entries: Vec<(&ObjectKey, String)>,
        most: usize,
    ) -> Vec<Self> {
        let size: usize = entries
            .iter()
            .map(|(key, _)| name(key).len() + DIGEST)
            .sum();
        // A power of two, so that a few objects more or less leave each where it stands.
        let count = match size <= most {
            true => 0,
            false => size.div_ceil(most / 2).next_power_of_two(),
        };
        let mut shards = vec![Digests::new(); count.max(1)];
        let len = shards.len();
        for (key, digest) in entries {
            if let Some(digests) = shards.get_mut(place(key, len)) {
                let kind = digests.entry(key.kind.as_str().to_owned()).or_default();
                kind.insert(name(key), digest);
            }
        }
        let further = match count {
            0 => Vec::new(),
            _ => std::mem::take(&mut shards),
        };
        let shard_digests: Vec<_> = further.iter().map(|d| digest(d).to_string()).collect();
        let first = Self {
            peer: plan.peer.clone(),
            revision: plan.revision.clone(),
            units: plan
                .units
                .iter()
                .map(|(name, revision)| (name.clone(), revision.clone()))
                .collect(),
            good: good.clone(),
            unmanaged,
            objects: shards.pop().unwrap_or_default(),
            shards: u32::try_from(further.len()).unwrap_or(u32::MAX),
            shard_digests: shard_digests.clone(),
            state: Some(plan.state.clone()),
        };
        let further = further.into_iter().zip(shard_digests);
        let further = further.map(|(objects, digest)| Self {
            peer: plan.peer.clone(),
            revision: Revision::commit(&digest),
            units: BTreeMap::new(),
            good: Good::default(),
            unmanaged: Unmanaged::default(),
            objects,
            shards: 0,
            shard_digests: Vec::new(),
            state: None,
        });
        std::iter::once(first.clone()).chain(further).collect()
    }

    /// The digests of all objects in force; none as long as the FabricStates, the first one and those
    /// that go on from it, aren't of one and the same state.
    #[must_use]
    pub fn listed(states: &[Self]) -> Option<BTreeMap<ObjectKey, Digest>> {
        let (first, further) = states.split_first()?;
        let is_whole = further.len() == first.shard_digests.len()
            && further
                .iter()
                .zip(&first.shard_digests)
                .all(|(shard, expected)| digest(&shard.objects).to_string() == *expected);
        if !is_whole {
            return None;
        }
        let mut listed = BTreeMap::new();
        for (kind, objects) in states.iter().flat_map(|state| &state.objects) {
            // A kind that this binary doesn't know can't count in its decisions.
            let Ok(kind) = kind.parse::<Kind>() else {
                continue;
            };
            for (name, digest) in objects {
                listed.insert(key(kind, name), digest.parse().ok()?);
            }
        }
        Some(listed)
    }

    /// Puts the plan together again from the objects that live in the cluster.
    ///
    /// An object counts where its digest is the listed one, as it lives now or as `before` had it.
    /// As long as one is missing, `before` stays, less what the FabricState no longer lists, and
    /// trusting no more than either of the two does.
    #[must_use]
    pub fn assemble(
        states: &[Self],
        live: &BTreeMap<ObjectKey, PlannedObject>,
        before: Option<&Plan>,
    ) -> Assembly {
        let stays = || Assembly {
            plan: before.cloned(),
            ..Assembly::default()
        };
        let (Some(first), Some(listed)) = (states.first(), Self::listed(states)) else {
            return stays();
        };
        let Some(state) = &first.state else {
            // Nothing is in force: the fabric has no such peer.
            return Assembly {
                is_complete: true,
                ..Assembly::default()
            };
        };
        let before = before.filter(|before| before.peer == first.peer);
        let mut old: BTreeMap<&ObjectKey, &PlannedObject> = before
            .into_iter()
            .flat_map(|before| &before.objects)
            .map(|planned| (&planned.key, planned))
            .collect();
        // What denies goes no sooner than what comes instead is there.
        old.retain(|key, planned| listed.contains_key(*key) || takes_access(&planned.object));

        let has = |planned: &PlannedObject, digest: Digest| {
            Digest::of_effect(&planned.key, &planned.object) == digest
        };
        let mut assembly = Assembly::default();
        let mut objects = Vec::with_capacity(listed.len());
        for (key, digest) in &listed {
            let candidates = [live.get(key), old.get(key).copied()].into_iter().flatten();
            match candidates.into_iter().find(|planned| has(planned, *digest)) {
                Some(planned) => objects.push(planned.clone()),
                None => assembly.missing.push(key.clone()),
            }
        }
        let unmanaged = live.iter().filter(|(key, _)| !listed.contains_key(*key));
        match first.unmanaged {
            Unmanaged::Ignore => {
                assembly.ignored = unmanaged.map(|(key, _)| key.clone()).collect();
            }
            Unmanaged::Honour => objects.extend(unmanaged.map(|(_, planned)| planned.clone())),
        }
        objects.sort_by(|a, b| a.key.cmp(&b.key));
        if assembly.missing.is_empty() {
            assembly.is_complete = true;
            assembly.plan = Some(Plan {
                peer: first.peer.clone(),
                revision: first.revision.clone(),
                units: first.units.clone(),
                objects,
                state: state.clone(),
            });
        } else if let Some(before) = before {
            let is_unmanaged = |planned: &PlannedObject| {
                first.unmanaged == Unmanaged::Honour && live.get(&planned.key) == Some(planned)
            };
            let mut plan = before.clone();
            plan.objects
                .retain(|planned| old.contains_key(&planned.key) || is_unmanaged(planned));
            plan.state.trust_no_more_than(state);
            assembly.plan = Some(plan);
        }
        assembly
    }
}

// === impl State ===

impl State {
    /// Takes away what another state doesn't trust.
    fn trust_no_more_than(&mut self, other: &Self) {
        self.revoked.extend(&other.revoked);
        narrow(&mut self.authorities, &other.authorities);
        let mut certificates = other.certificates.clone();
        for (peer, before) in &self.certificates {
            // Where the new state commits none, any of the CA would do: then the old ones count.
            let after = certificates
                .entry(peer.clone())
                .or_insert_with(|| before.clone());
            let both: BTreeSet<_> = before.intersection(after).copied().collect();
            if !both.is_empty() {
                *after = both;
            }
        }
        self.certificates = certificates;
    }
}

/// Leaves what both have; where that is nothing, what counts from now on.
fn narrow<T: Clone + PartialEq>(before: &mut Vec<T>, after: &[T]) {
    before.retain(|item| after.contains(item));
    if before.is_empty() {
        *before = after.to_vec();
    }
}

fn name(key: &ObjectKey) -> String {
    match &key.namespace {
        Some(namespace) => format!("{namespace}/{}", key.name),
        None => key.name.to_string(),
    }
}

fn key(kind: Kind, name: &str) -> ObjectKey {
    let (namespace, name) = match name.split_once('/') {
        Some((namespace, name)) => (Some(namespace.into()), name),
        None => (None, name),
    };
    ObjectKey {
        kind,
        namespace,
        name: name.into(),
    }
}

/// In which of so many shards an object's digest stands.
fn place(key: &ObjectKey, count: usize) -> usize {
    let hash = Digest::of_bytes(key.to_string().as_bytes());
    usize::from(hash.first_two()) % count
}

fn digest(objects: &Digests) -> Digest {
    Digest::of_bytes(
        serde_json::to_string(objects)
            .unwrap_or_default()
            .as_bytes(),
    )
}

#[cfg(test)]
mod tests;
