//! What a change does, whole: what `weft plan` shows, in whatever form.

mod build;
mod common;
mod mask;
mod merge;
mod safeguards;

use std::collections::BTreeSet;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;

use crate::diagnostic::Diagnostic;
use crate::gate::{GateVerdict, IgnoredApproval};
use crate::invariant::InvariantVerdict;
use crate::name::ObjectKey;
use crate::origin::Revision;
use crate::plan::{Difference, PruneOutcome};
use crate::reach::{self, Flip};

pub use build::{Question, State};
pub use mask::HIDDEN;
pub use safeguards::{Safeguard, SafeguardChange, SafeguardChangeKind};

/// What a change does: all that a reviewer is shown of it.
///
/// It holds no text of files; frames around diagnostics are made from the head's tree. Text in it
/// is as it stands in the repository: escape it before you print it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanReport {
    /// The fabric's name, before the change where there was one: a change can't take another's place
    /// by it. None where there never was one.
    pub fabric: Option<String>,
    /// The older state; none before the first commit.
    pub base: Option<Revision>,
    /// The newer state.
    pub head: Revision,
    /// The two commits whose merge the newer state is, where it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub merge: Option<MergeReport>,
    /// What it comes to.
    pub verdict: Verdict,
    /// What the check of the newer state reports, in the order of the places.
    pub diagnostics: Vec<ReportedDiagnostic>,
    /// How many of what the check of the older state reported are gone.
    pub mended: usize,
    /// The directories of peers that stay at the older state.
    pub frozen_peers: BTreeSet<Arc<str>>,
    /// Whether the whole fabric stays at the older state.
    pub fabric_frozen: bool,
    /// What changes in each peer that was asked for, also where nothing does, by name.
    pub peers: Vec<PeerChange>,
    /// Who can reach what they couldn't before, and the other way round.
    pub reach: reach::Difference,
    /// The gates of the older and the newer state, in the order in which the guide has them.
    pub gates: Vec<GateVerdict>,
    /// Lines in the messages of the commits that look like approvals and approve nothing, the first
    /// ones.
    pub ignored_approvals: Vec<IgnoredApproval>,
    /// The gates and invariants that come, go or change.
    pub safeguards: Vec<SafeguardChange>,
    /// The invariants of the newer state, in the order of their names.
    pub invariants: Vec<InvariantVerdict>,
}

/// What a change comes to, the gravest thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// Nothing changes.
    Unchanged,
    /// Something changes, and nothing stands against it.
    Changes,
    /// A gate wants an approval.
    Refused,
    /// The newer state has errors, or can't be made because of conflicts.
    Invalid,
}

/// Something that the check of the newer state reports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReportedDiagnostic {
    /// What it reports.
    #[serde(flatten)]
    pub diagnostic: Diagnostic,
    /// Whether the older state wasn't reported to have it; a place that only moved isn't new.
    pub is_new: bool,
}

/// What changes in one peer.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PeerChange {
    /// Its objects and its trust; what may be a secret is masked.
    #[serde(flatten)]
    pub difference: Difference,
    /// Whether the peer itself comes or goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub presence: Option<Presence>,
    /// What the prune budget says to the objects that go.
    pub prune: PruneReport,
}

/// Whether a peer comes or goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Presence {
    /// It wasn't there.
    Added,
    /// It isn't there any more.
    Removed,
}

/// What the prune budget says to the objects of a peer that go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PruneReport {
    /// The objects that the budget counts: they go, and their going takes no access away.
    pub counted: Vec<ObjectKey>,
    /// How many objects are in force before.
    pub total: u64,
    /// How many may go at once.
    pub max_count: u32,
    /// How many of a hundred may go at once.
    pub max_percent: u32,
    /// What it comes to.
    pub outcome: PruneOutcome,
}

/// Two commits that were merged, and what only both together do.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MergeReport {
    /// The commit that was merged first.
    pub first: Revision,
    /// The commit that was merged second.
    pub second: Revision,
    /// From where the gates look at the merge: the first commit, so that they judge what the second
    /// one adds to it, or the base where one was asked for.
    pub gates_from: Revision,
    /// The step that has conflicts, where one has; there is no newer state then, and nothing else
    /// is told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conflicting: Option<MergeStep>,
    /// The files that can't be merged in that step, in the order of their paths.
    pub conflicts: Vec<Conflict>,
    /// Access that opens in the merge, and that neither commit alone opens.
    pub opened_together: Vec<Flip>,
    /// Routes that are undecided in the merge alone.
    pub undecided_together: Vec<reach::Route>,
    /// Errors of the merge that neither commit alone has, by their place in `diagnostics`.
    pub errors_together: Vec<usize>,
}

/// A step of a merge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum MergeStep {
    /// The first commit onto the base.
    First,
    /// The second commit onto the base.
    Second,
    /// The second commit onto the base with the first one.
    Both,
}

/// A file that can't be merged.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Conflict {
    /// The file's path inside the repository, as it is.
    pub path: String,
    /// What the two sides did to it.
    pub kind: ConflictKind,
}

/// What two sides did to a file that can't be merged: the first side is what is merged onto.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ConflictKind {
    /// Both changed it.
    BothChanged,
    /// Both added it.
    BothAdded,
    /// The first removed it, the second changed it.
    RemovedByFirst,
    /// The second removed it, the first changed it.
    RemovedBySecond,
}

// === impl PeerChange ===

impl PeerChange {
    /// Whether anything changes in the peer.
    #[must_use]
    pub fn is_some(&self) -> bool {
        self.presence.is_some() || !self.difference.is_empty()
    }
}
