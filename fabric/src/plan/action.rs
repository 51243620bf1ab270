//! What is to be done in a cluster so that a plan is in force there: decided purely.
//!
//! ```text
//!  Plan ──▶ Wanted ──┐
//!                    ├──▶ step (one object), actions (all of them, within the prune budget)
//!  cluster ──▶ Live ─┘
//!  Wanted + Live ──▶ in_force: what really is, once the actions were tried
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use super::PlannedObject;
use super::budget::{self, PruneOutcome, Pruning, gives_access};
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
    /// This FabricSync, by what the cluster's state counts as in force; somebody took the label away
    /// or wrote another one.
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

/// When an object has its turn: at no moment more is allowed than before or after, so what takes
/// access away comes first, and what gives it last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Denying policies.
    Deny,
    /// Peers and allowing policies that go.
    Withdraw,
    /// What changes; it may become narrower.
    Change,
    /// What is new, and policies that no longer deny.
    Give,
    /// What else goes; a denying policy may be among it.
    Remove,
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
    // Of ours that are in force, what stays or is counted: what the budget's part is a part of. What
    // goes in any case is left out, or the part would grow when an interrupted round goes on.
    let mut total = 0;
    for (key, live) in live {
        if !is_prunable(key, live) {
            continue;
        }
        if is_wanted(key) {
            total += u64::from(live.listed.is_some());
        } else if live.gives_access(key) || live.listed.is_none() {
            actions.delete.insert(key.clone());
        } else {
            total += 1;
            counted.insert(key.clone());
        }
    }
    let nothing_left = wanted.is_none_or(|wanted| {
        let mut kinds = wanted.keys().map(|key| key.kind);
        kinds.all(|kind| kind == Kind::Instance)
    });
    let pruning = Pruning {
        count: counted.len() as u64,
        total,
        nothing_left,
    };
    match pruning.judge(&rules.prune, rules.approved) {
        PruneOutcome::Blocked => actions.blocked = counted,
        PruneOutcome::Within | PruneOutcome::Approved => actions.delete.append(&mut counted),
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

/// What [`in_force`] is to know of a cluster.
#[derive(Clone, Copy, Debug)]
pub struct Standing<'a> {
    /// The objects as they live, once the actions were tried.
    pub live: &'a BTreeMap<ObjectKey, Live>,
    /// What the cluster's state counts as in force.
    pub listed: &'a BTreeMap<ObjectKey, Digest>,
    /// What the prune budget holds back.
    pub blocked: &'a BTreeSet<ObjectKey>,
    /// What can't be put back where somebody changed or deleted it: the server won't have it, or it
    /// isn't ours any more.
    pub lost: &'a BTreeSet<ObjectKey>,
}

/// Which version of an object is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// The one that is wanted.
    Wanted,
    /// The one that was in force before, which lives.
    Before,
}

/// Which objects are in force, and in which version: each as it is wanted where it lives so, as it
/// was in force before where it still lives so, and otherwise not at all; and what is held back.
///
/// So whatever is in force can be found in the cluster, by a gateway that has just begun too, with
/// two exceptions. What was changed or deleted stays in force until it is put back: nobody takes an
/// object out of force by that. And a denying policy that was in force and can't be found
/// stays: gateways that have it go on with it, and new ones wait, rather than to do without it.
#[must_use]
pub fn in_force(
    wanted: &BTreeMap<ObjectKey, Wanted>,
    standing: Standing<'_>,
) -> BTreeMap<ObjectKey, Version> {
    let Standing {
        live,
        listed,
        blocked,
        lost,
    } = standing;
    let ours = |key: &ObjectKey| live.get(key).filter(|live| live.is_ours());
    let is_as_before = |key: &ObjectKey| {
        let is_same =
            |live: &Live| live.effect.is_some() && listed.get(key) == live.effect.as_ref();
        ours(key).is_some_and(|live| is_same(live) && live.origin.is_some())
    };
    let stays = |key: &ObjectKey, wanted: &Wanted| {
        // A namespace that is gone took what there was to protect with it.
        let denies = takes_access(&wanted.planned.object)
            && (live.contains_key(key) || key.namespace.is_none());
        match listed.get(key) {
            Some(digest) if *digest == wanted.effect => denies || !lost.contains(key),
            Some(_) => denies,
            None => false,
        }
    };
    let mut versions: BTreeMap<ObjectKey, Version> = wanted
        .iter()
        .filter_map(|(key, wanted)| {
            let is_there = ours(key).is_some_and(|live| live.effect == Some(wanted.effect));
            let version = if is_there {
                Version::Wanted
            } else if is_as_before(key) {
                Version::Before
            } else if stays(key, wanted) {
                Version::Wanted
            } else {
                return None;
            };
            Some((key.clone(), version))
        })
        .collect();
    let held = blocked.iter().filter(|key| is_as_before(key));
    versions.extend(held.map(|key| (key.clone(), Version::Before)));
    versions
}

/// Whether an object takes access away by being there, so that its deletion gives access.
pub(super) fn takes_access(object: &Object) -> bool {
    let spec = match object {
        Object::AccessPolicy(policy) => &policy.spec,
        Object::PrivilegedAccessPolicy(policy) => &policy.spec,
        _ => return false,
    };
    spec.action == api::Action::Deny
}

fn is_prunable(key: &ObjectKey, live: &Live) -> bool {
    live.owner == Owner::Us && !live.is_terminating && budget::is_prunable(key)
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
    ///
    /// What was wanted before spares the digests of what stays.
    #[must_use]
    pub fn of(
        objects: Vec<PlannedObject>,
        live: &BTreeMap<ObjectKey, Live>,
        before: Option<&BTreeMap<ObjectKey, Self>>,
    ) -> BTreeMap<ObjectKey, Self> {
        let wanted = objects.into_iter().map(|planned| {
            let before = before.and_then(|before| before.get(&planned.key));
            let mut wanted = match before.filter(|old| old.planned.object == planned.object) {
                Some(before) => Self {
                    planned,
                    effect: before.effect,
                    content: before.content,
                },
                None => Self::new(planned),
            };
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

// === impl Phase ===

impl Phase {
    /// When an object has its turn that is wanted so, or no longer, and lives so.
    #[must_use]
    pub fn of(key: &ObjectKey, wanted: Option<&Object>, live: Option<&Live>) -> Self {
        let Some(wanted) = wanted else {
            return match live.is_some_and(|live| live.gives_access(key)) {
                true => Self::Withdraw,
                false => Self::Remove,
            };
        };
        let there = live.and_then(|live| live.object.as_deref());
        if takes_access(wanted) {
            Self::Deny
        } else if live.is_some() && !there.is_some_and(takes_access) {
            Self::Change
        } else {
            Self::Give
        }
    }
}

// === impl Live ===

impl Live {
    /// Whether it gives access by being there, so that its deletion takes access away.
    fn gives_access(&self, key: &ObjectKey) -> bool {
        let object = self.object.as_deref();
        object.map_or(key.kind == Kind::Peer, gives_access)
    }

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
