//! What is to be done in a cluster so that a plan is in force there: decided purely.
//!
//! ```text
//!  Plan ──▶ Wanted ─┐
//!                   ├──▶ step (one object), actions (all of them, within the prune budget)
//!  cluster ──▶ Live ┘
//!  Plan + Live ──▶ in_force: what really is, once the actions were tried
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use super::{Plan, PlannedObject};
use crate::api::{self, Adoption, Object, Prune};
use crate::digest::Digest;
use crate::name::{Kind, ObjectKey};
use crate::origin::Origin;

/// An object as it is to be in a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The object, and where it comes from.
    pub planned: PlannedObject,
    /// The digest of what it decides.
    pub effect: Digest,
    /// The digest of all that the repository says of it.
    pub content: Digest,
}

/// An object as it lives in a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Live {
    /// Who applies it.
    pub owner: Owner,
    /// The object; none where it can't be understood.
    pub object: Option<Arc<Object>>,
    /// The digest of what it decides; none where it can't be understood.
    pub effect: Option<Digest>,
    /// The digest that its annotation tells of what was applied.
    pub content: Option<Digest>,
    /// Where its content comes from, as its annotations tell.
    pub origin: Option<Origin>,
    /// Whether it is being deleted.
    pub is_terminating: bool,
    /// The digest by which the cluster's state counts it as in force; none where it doesn't.
    pub listed: Option<Digest>,
}

/// Who applies an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// This FabricSync.
    Us,
    /// This FabricSync, by what the cluster's state counts as in force; somebody took the label away.
    Unmarked,
    /// Another FabricSync, by the value of its label.
    Other(String),
    /// Somebody by hand.
    Nobody,
}

/// What bounds the actions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// How much may be deleted at once.
    pub prune: Prune,
    /// How many deletions a commit of the range approves, where one does (`Weft-Approve: prune=N`).
    pub approved: Option<u32>,
    /// What happens to objects that exist already.
    pub adoption: Adoption,
}

/// What is to be done with one object that is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// It isn't there.
    Create,
    /// It is ours, and isn't as it should be.
    Update,
    /// Somebody else made it, and it becomes ours.
    Adopt,
    /// It is as it should be.
    Keep,
    /// It is being deleted: it is made anew once it is gone.
    Wait,
    /// It is left alone.
    Refuse(Refusal),
}

/// Why an object is left alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Another FabricSync applies it; the value of its label.
    Owned(String),
    /// It was there before, and the FabricSync adopts nothing.
    Exists,
}

/// What is to be done, and what stays undone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Actions {
    /// To be applied because they aren't there.
    pub create: BTreeSet<ObjectKey>,
    /// To be applied because they aren't as they should be.
    pub update: BTreeSet<ObjectKey>,
    /// To be applied although somebody else made them.
    pub adopt: BTreeSet<ObjectKey>,
    /// To be deleted.
    pub delete: BTreeSet<ObjectKey>,
    /// Held back by the prune budget: they stay, and stay in force.
    pub blocked: BTreeSet<ObjectKey>,
    /// Being deleted although they are wanted: to be applied once they are gone.
    pub waiting: BTreeSet<ObjectKey>,
    /// Left alone, and why.
    pub refused: BTreeMap<ObjectKey, Refusal>,
    /// How many are as they should be.
    pub unchanged: usize,
}

/// Decides what is to be done so that what is wanted is in force; none means that nothing is to be.
///
/// Deleted is what is ours and not wanted, all or nothing of what the budget counts: what is in
/// force and doesn't give access. What takes access away (Peers, allowing policies) is never held
/// back, nor is what the cluster's state doesn't count as in force (any more): that was decided
/// before, by a process that didn't come to its end. An Instance is never deleted: an installation
/// doesn't remove itself.
#[must_use]
pub fn actions(
    wanted: Option<&BTreeMap<ObjectKey, Wanted>>,
    live: &BTreeMap<ObjectKey, Live>,
    rules: &Rules,
) -> Actions {
    let mut actions = Actions::default();
    for (key, wanted) in wanted.into_iter().flatten() {
        let key = key.clone();
        match step(wanted, live.get(&key), rules.adoption) {
            Step::Create => drop(actions.create.insert(key)),
            Step::Update => drop(actions.update.insert(key)),
            Step::Adopt => drop(actions.adopt.insert(key)),
            Step::Wait => drop(actions.waiting.insert(key)),
            Step::Refuse(refusal) => drop(actions.refused.insert(key, refusal)),
            Step::Keep => actions.unchanged += 1,
        }
    }

    let is_wanted = |key: &ObjectKey| wanted.is_some_and(|wanted| wanted.contains_key(key));
    let mut counted = BTreeSet::new();
    // All of ours that are in force: what the budget's part is a part of.
    let mut total = 0;
    for (key, live) in live {
        if !is_prunable(key, live) {
            continue;
        }
        total += u64::from(live.listed.is_some());
        if is_wanted(key) {
            continue;
        }
        let grants = live
            .object
            .as_deref()
            .map_or(key.kind == Kind::Peer, gives_access);
        if grants || live.listed.is_none() {
            actions.delete.insert(key.clone());
        } else {
            counted.insert(key.clone());
        }
    }
    let nothing_left = wanted.is_none_or(|wanted| {
        let mut kinds = wanted.keys().map(|key| key.kind);
        kinds.all(|kind| kind == Kind::Instance)
    });
    let count = counted.len() as u64;
    let is_above = count > u64::from(rules.prune.max_count)
        && count * 100 > u64::from(rules.prune.max_percent) * total;
    let is_approved = rules
        .approved
        .is_some_and(|approved| u64::from(approved) >= count);
    if (is_above || nothing_left) && !is_approved {
        actions.blocked = counted;
    } else {
        actions.delete.append(&mut counted);
    }
    actions
}

/// Decides what is to be done with one object that is wanted.
#[must_use]
pub fn step(wanted: &Wanted, live: Option<&Live>, adoption: Adoption) -> Step {
    let Some(live) = live else {
        return Step::Create;
    };
    match (&live.owner, adoption) {
        (Owner::Other(label), _) => Step::Refuse(Refusal::Owned(label.clone())),
        (Owner::Nobody, Adoption::Refuse) => Step::Refuse(Refusal::Exists),
        // What is being deleted can still be written to, in vain.
        _ if live.is_terminating => Step::Wait,
        (Owner::Nobody, Adoption::Adopt) => Step::Adopt,
        (Owner::Us, _) if wanted.is_met_by(live) => Step::Keep,
        (Owner::Us | Owner::Unmarked, _) => Step::Update,
    }
}

/// The plan as it is in force: each object as it is wanted where it lives so, as it was in force
/// before where it still lives so, and otherwise not at all; and what is held back.
///
/// So whatever the plan lists can be found in the cluster.
#[must_use]
pub fn in_force(
    desired: &Plan,
    wanted: &BTreeMap<ObjectKey, Wanted>,
    live: &BTreeMap<ObjectKey, Live>,
    blocked: &BTreeSet<ObjectKey>,
) -> Plan {
    let as_before = |key: &ObjectKey| {
        let live = live.get(key).filter(|live| live.is_ours())?;
        let is_same = live.listed.is_some() && live.listed == live.effect;
        let (object, origin) = (live.object.as_deref()?, live.origin.clone()?);
        is_same.then(|| PlannedObject {
            key: key.clone(),
            origin,
            object: object.clone(),
        })
    };
    let mut objects: BTreeMap<ObjectKey, PlannedObject> = wanted
        .iter()
        .filter_map(|(key, wanted)| {
            let is_there = live
                .get(key)
                .is_some_and(|live| live.is_ours() && live.effect == Some(wanted.effect));
            let object = if is_there {
                Some(wanted.planned.clone())
            } else {
                as_before(key)
            };
            Some((key.clone(), object?))
        })
        .collect();
    for key in blocked {
        if let Some(object) = as_before(key) {
            objects.insert(key.clone(), object);
        }
    }
    Plan {
        objects: objects.into_values().collect(),
        ..desired.clone()
    }
}

/// Whether an object gives access by being there, so that its deletion takes access away.
#[must_use]
pub fn gives_access(object: &Object) -> bool {
    let spec = match object {
        Object::Peer(_) => return true,
        Object::AccessPolicy(policy) => &policy.spec,
        Object::PrivilegedAccessPolicy(policy) => &policy.spec,
        _ => return false,
    };
    spec.action == api::Action::Allow
}

/// Whether an object takes access away by being there, so that its deletion gives access.
#[must_use]
pub fn takes_access(object: &Object) -> bool {
    let spec = match object {
        Object::AccessPolicy(policy) => &policy.spec,
        Object::PrivilegedAccessPolicy(policy) => &policy.spec,
        _ => return false,
    };
    spec.action == api::Action::Deny
}

fn is_prunable(key: &ObjectKey, live: &Live) -> bool {
    live.owner == Owner::Us && !live.is_terminating && key.kind != Kind::Instance
}

// === impl Wanted ===

impl Wanted {
    /// An object as a plan wants it.
    #[must_use]
    pub fn new(planned: PlannedObject) -> Self {
        Self {
            effect: Digest::of_effect(&planned.key, &planned.object),
            content: Digest::of_content(&planned.key, &planned.object),
            planned,
        }
    }

    /// The objects of a plan by their keys, each with the origin of what lives where its content is
    /// the same: an object that only moved to another file or line isn't another one.
    #[must_use]
    pub fn of(plan: &Plan, live: &BTreeMap<ObjectKey, Live>) -> BTreeMap<ObjectKey, Self> {
        let wanted = plan.objects.iter().cloned().map(|planned| {
            let mut wanted = Self::new(planned);
            let live = live.get(&wanted.planned.key);
            let same = live.filter(|live| live.is_ours() && live.content == Some(wanted.content));
            if let Some(origin) = same.and_then(|live| live.origin.clone()) {
                wanted.planned.origin = origin;
            }
            (wanted.planned.key.clone(), wanted)
        });
        wanted.collect()
    }

    /// Whether an object lives as this one is to.
    #[must_use]
    pub fn is_met_by(&self, live: &Live) -> bool {
        let annotations = &self.planned.object.metadata().annotations;
        let has_annotations = live.object.as_deref().is_some_and(|live| {
            let there = &live.metadata().annotations;
            let mut all = annotations.iter();
            all.all(|(name, value)| there.get(name) == Some(value))
        });
        live.owner == Owner::Us
            && live.effect == Some(self.effect)
            && live.content == Some(self.content)
            && live.origin.as_ref() == Some(&self.planned.origin)
            && has_annotations
    }
}

// === impl Live ===

impl Live {
    const fn is_ours(&self) -> bool {
        matches!(self.owner, Owner::Us | Owner::Unmarked)
    }
}

// === impl Refusal ===

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Owned(label) => write!(f, "another FabricSync applies it: {label}"),
            Self::Exists => {
                f.write_str("it was there before, and the FabricSync's adoption is Refuse")
            }
        }
    }
}

#[cfg(test)]
mod tests;
