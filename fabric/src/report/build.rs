//! How a report is made.

use std::collections::HashMap;

use super::{
    PeerChange, PlanReport, Presence, PruneReport, ReportedDiagnostic, Verdict, mask, safeguards,
};
use crate::diagnostic::{Diagnostic, Effect};
use crate::fabric::Build;
use crate::gate::{self, ApprovingCommit, Changes, GateOutcome};
use crate::invariant::InvariantVerdict;
use crate::name::PeerName;
use crate::origin::Revision;
use crate::plan::{self, Difference, Pruning, is_counted};
use crate::reach::{self, Route};

/// One state of a repository, checked.
#[derive(Clone, Copy, Debug)]
pub struct State<'a> {
    /// Which one.
    pub revision: &'a Revision,
    /// What it comes to, with what its invariants report.
    pub build: &'a Build,
    /// Its invariants.
    pub invariants: &'a [InvariantVerdict],
}

/// What a report is asked about.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The older state; none before the first commit.
    pub before: Option<State<'a>>,
    /// The newer state, built after the older one.
    pub after: State<'a>,
    /// The commits between them, whose approvals count.
    pub commits: &'a [ApprovingCommit],
    /// The one peer to show; gates look at all of them.
    pub peer: Option<&'a PeerName>,
}

// === impl PlanReport ===

impl PlanReport {
    /// The report of what changes from one state to another.
    #[must_use]
    pub fn new(question: Question<'_>) -> Self {
        let Question {
            before,
            after,
            commits,
            peer,
        } = question;
        let old = before.and_then(|state| state.build.fabric.as_ref());
        let new = after.build.fabric.as_ref();
        let reach = reach::difference(old, new);
        let approved = approved_prune(commits);
        let plans = plan::Changes::new(old, new);
        let mut peers: Vec<_> = plans
            .names()
            .into_iter()
            .map(|name| peer_change(name, &plans, approved))
            .collect();
        let mut gates = after.build.gates.clone();
        gates.extend(before.iter().flat_map(|state| &state.build.gates));
        let safeguards = safeguards::changes(old, new);
        let changes = Changes {
            before: old,
            after: new,
            peers: &peers,
            reach: &reach,
            safeguards: &safeguards,
            gates: &gates,
        };
        let ignored_approvals = gate::ignored(changes, commits);
        let gates = gate::judge(changes, commits);
        let is_changed = !safeguards.is_empty() || peers.iter().any(PeerChange::is_some);
        let verdict = if after.build.has(Effect::Fail) {
            Verdict::Invalid
        } else if gates
            .iter()
            .any(|gate| gate.outcome == GateOutcome::Refused)
        {
            Verdict::Refused
        } else if is_changed || reach != reach::Difference::default() {
            Verdict::Changes
        } else {
            Verdict::Unchanged
        };
        let (diagnostics, mended) = compare(
            before.map(|state| state.build.diagnostics.as_slice()),
            &after.build.diagnostics,
        );
        let reach = match peer {
            None => reach,
            Some(peer) => of_peer(reach, peer),
        };
        peers.retain(|change| peer.is_none_or(|peer| change.difference.peer == *peer));
        Self {
            fabric: [old, new]
                .into_iter()
                .flatten()
                .map(|fabric| fabric.name.clone())
                .find(|name| !name.is_empty()),
            base: before.map(|state| state.revision.clone()),
            head: after.revision.clone(),
            merge: None,
            verdict,
            diagnostics,
            mended,
            frozen_peers: after.build.frozen.clone(),
            fabric_frozen: after.build.is_held,
            peers,
            reach,
            gates,
            ignored_approvals,
            safeguards,
            invariants: since(before, after.invariants),
        }
    }
}

/// The part of a difference that begins or ends in a peer.
fn of_peer(mut reach: reach::Difference, peer: &PeerName) -> reach::Difference {
    let touches = |route: &Route| route.client_peer == *peer || route.export_peer == *peer;
    reach.opened.retain(|flip| touches(&flip.route));
    reach.closed.retain(|flip| touches(&flip.route));
    reach.undecided.retain(touches);
    reach
}

fn approved_prune(commits: &[ApprovingCommit]) -> Option<u32> {
    let messages = commits.iter().map(|commit| commit.message.as_str());
    gate::Approvals::of(messages).prune
}

fn peer_change(name: &PeerName, changes: &plan::Changes<'_>, approved: Option<u32>) -> PeerChange {
    let mut difference = changes.of(name);
    mask::mask(&mut difference);
    PeerChange {
        presence: match changes.presence(name) {
            (false, true) => Some(Presence::Added),
            (true, false) => Some(Presence::Removed),
            _ => None,
        },
        prune: prune(&difference, changes, approved),
        difference,
    }
}

/// Asks the prune budget as the peer's reconciler will: of what is in force before, by the budget
/// of the newer state.
fn prune(
    difference: &Difference,
    changes: &plan::Changes<'_>,
    approved: Option<u32>,
) -> PruneReport {
    let budget = changes.budget(&difference.peer);
    let counted: Vec<_> = difference
        .removed
        .iter()
        .filter(|removed| is_counted(&removed.key, &removed.object))
        .map(|removed| removed.key.clone())
        .collect();
    let (total, left) = changes.lasting(&difference.peer);
    let pruning = Pruning {
        count: counted.len() as u64,
        total,
        nothing_left: left == 0,
    };
    PruneReport {
        outcome: pruning.judge(&budget, approved),
        counted,
        total,
        max_count: budget.max_count,
        max_percent: budget.max_percent,
    }
}

/// The diagnostics of the newer state, and how many of the older one's are gone.
fn compare(
    before: Option<&[Diagnostic]>,
    after: &[Diagnostic],
) -> (Vec<ReportedDiagnostic>, usize) {
    let mut known: HashMap<_, usize> = HashMap::new();
    for diagnostic in before.into_iter().flatten() {
        *known.entry(identity(diagnostic)).or_default() += 1;
    }
    let reported = after
        .iter()
        .map(|diagnostic| {
            let count = known.get_mut(&identity(diagnostic));
            let is_known = count.is_some_and(|count| {
                let is_left = *count > 0;
                *count -= usize::from(is_left);
                is_left
            });
            ReportedDiagnostic {
                diagnostic: diagnostic.clone(),
                is_new: !is_known,
            }
        })
        .collect();
    (reported, known.values().sum())
}

/// What stays the same of a diagnostic when the lines of its file move.
pub(super) fn identity(diagnostic: &Diagnostic) -> impl Eq + std::hash::Hash + '_ {
    (
        diagnostic.code,
        diagnostic.effect,
        diagnostic.path(),
        diagnostic.message.as_str(),
    )
}

/// The invariants with what they came to before.
fn since(before: Option<State<'_>>, after: &[InvariantVerdict]) -> Vec<InvariantVerdict> {
    let older = before.map(|state| state.invariants).unwrap_or_default();
    let older: HashMap<_, _> = older
        .iter()
        .map(|verdict| (verdict.name.as_str(), verdict.outcome))
        .collect();
    let verdict = |verdict: &InvariantVerdict| InvariantVerdict {
        before: older.get(verdict.name.as_str()).copied(),
        ..verdict.clone()
    };
    after.iter().map(verdict).collect()
}
