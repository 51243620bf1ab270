//! What is to be done in a cluster so that a plan is in force there: decided purely.

use std::collections::{BTreeMap, BTreeSet};

use super::Plan;
use crate::api::{Adoption, Prune};
use crate::digest::Digest;
use crate::name::ObjectKey;

/// An object as it lives in a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Live {
    /// Who applies it.
    pub owner: Owner,
    /// The digest of what it decides; none where it can't be understood.
    pub effect: Option<Digest>,
    /// The digest that its annotation tells of what was applied.
    pub content: Option<Digest>,
    /// Whether it is being deleted.
    pub is_terminating: bool,
}

/// Who applies an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// This FabricSync.
    Us,
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

/// What is to be done, and what stays undone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Actions {
    /// To be applied because they aren't there.
    pub create: BTreeSet<ObjectKey>,
    /// To be applied because their content is another one.
    pub update: BTreeSet<ObjectKey>,
    /// To be applied although somebody else made them.
    pub adopt: BTreeSet<ObjectKey>,
    /// To be deleted.
    pub delete: BTreeSet<ObjectKey>,
    /// Held back by the prune budget: they stay, and stay in force.
    pub blocked: BTreeSet<ObjectKey>,
    /// Left alone, and why.
    pub refused: BTreeMap<ObjectKey, &'static str>,
    /// How many are as they should be.
    pub unchanged: usize,
}

/// Decides what is to be done so that `desired` is in force; none means that nothing is to be.
///
/// What takes access away (Peers, allowing policies) is never held back by the prune budget.
#[must_use]
pub fn actions(desired: Option<&Plan>, live: &BTreeMap<ObjectKey, Live>, rules: &Rules) -> Actions {
    let _ = (desired, live, rules);
    Actions::default()
}
