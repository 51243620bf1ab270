//! The prune budget: how much may be deleted in one peer at once.

use schemars::JsonSchema;
use serde::Serialize;

use crate::api::{self, Object, Prune};
use crate::name::{Kind, ObjectKey};

/// What would go from one peer at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruning {
    /// How many objects of those that the budget counts.
    pub count: u64,
    /// How many objects are in force: what the budget's part is a part of.
    pub total: u64,
    /// Whether nothing at all would be left.
    pub nothing_left: bool,
}

/// What the prune budget says to what would go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum PruneOutcome {
    /// It allows it.
    #[default]
    Within,
    /// It is exceeded, and a commit of the range approves it.
    Approved,
    /// It is exceeded: the objects stay, and stay in force, until it is approved.
    Blocked,
}

// === impl Pruning ===

impl Pruning {
    /// Judges by a budget, which is exceeded above both its numbers and where nothing would be
    /// left, and by how many deletions a commit approves (`Weft-Approve: prune=N`).
    #[must_use]
    pub fn judge(self, budget: &Prune, approved: Option<u32>) -> PruneOutcome {
        let is_above = self.count > u64::from(budget.max_count)
            && self.count * 100 > u64::from(budget.max_percent) * self.total;
        let is_exceeded = self.count > 0 && (is_above || self.nothing_left);
        let is_approved = approved.is_some_and(|approved| u64::from(approved) >= self.count);
        match (is_exceeded, is_approved) {
            (false, _) => PruneOutcome::Within,
            (true, true) => PruneOutcome::Approved,
            (true, false) => PruneOutcome::Blocked,
        }
    }
}

/// Whether the going of an object is counted by the budget: what takes access away by going isn't,
/// and an Instance never goes.
#[must_use]
pub fn is_counted(key: &ObjectKey, object: &Object) -> bool {
    is_prunable(key) && !gives_access(object)
}

/// Whether an object is ever deleted: an installation doesn't remove itself.
pub(super) fn is_prunable(key: &ObjectKey) -> bool {
    key.kind != Kind::Instance
}

/// Whether an object gives access by being there, so that its deletion takes access away.
pub(super) fn gives_access(object: &Object) -> bool {
    let spec = match object {
        Object::Peer(_) => return true,
        Object::AccessPolicy(policy) => &policy.spec,
        Object::PrivilegedAccessPolicy(policy) => &policy.spec,
        _ => return false,
    };
    spec.action == api::Action::Allow
}
