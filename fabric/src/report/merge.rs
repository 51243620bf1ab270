//! What only two changes together do.

use std::collections::HashSet;

use super::build::identity;
use super::common::Opened;
use super::{MergeReport, PlanReport, Question, State, Verdict};
use crate::diagnostic::Effect;
use crate::fabric::Fabric;
use crate::origin::Revision;
use crate::reach::{self, Flip, Reach, Search, Selection, Wanted};

// === impl MergeReport ===

impl MergeReport {
    /// The report of two commits, of which nothing is known yet.
    #[must_use]
    pub fn new(first: Revision, second: Revision) -> Self {
        Self {
            gates_from: first.clone(),
            first,
            second,
            conflicting: None,
            conflicts: Vec::new(),
            opened_together: Vec::new(),
            undecided_together: Vec::new(),
            errors_together: Vec::new(),
        }
    }
}

// === impl PlanReport ===

impl PlanReport {
    /// The report of two commits that can't be merged.
    #[must_use]
    pub fn conflicting(base: Revision, merge: MergeReport) -> Self {
        Self {
            fabric: None,
            base: Some(base),
            head: Revision::merge_result(),
            merge: Some(merge),
            verdict: Verdict::Invalid,
            diagnostics: Vec::new(),
            mended: 0,
            frozen_peers: Default::default(),
            fabric_frozen: false,
            peers: Vec::new(),
            reach: reach::Difference::default(),
            gates: Vec::new(),
            ignored_approvals: Vec::new(),
            safeguards: Vec::new(),
            invariants: Vec::new(),
        }
    }

    /// The same report of a merge, with what the gates say of what the second commit adds to the
    /// first: what is there already was judged when it came.
    #[must_use]
    pub fn judged_from(mut self, first: State<'_>, question: Question<'_>) -> Self {
        let added = Self::new(Question {
            before: Some(first),
            ..question
        });
        self.gates = added.gates;
        self.ignored_approvals = added.ignored_approvals;
        self.verdict = match (self.verdict, added.verdict) {
            (Verdict::Invalid, _) => Verdict::Invalid,
            (_, Verdict::Refused) => Verdict::Refused,
            (Verdict::Refused, _) => Verdict::Changes,
            (verdict, _) => verdict,
        };
        self
    }

    /// The same report, with what only both commits together do; `alone` are the states that each
    /// of them leads to by itself.
    #[must_use]
    pub fn merged(
        mut self,
        mut merge: MergeReport,
        question: Question<'_>,
        alone: &[State<'_>],
    ) -> Self {
        let both = question.after.build.fabric.as_ref();
        let mut opened = Opened::of(&self.reach);
        for state in alone {
            opened = opened.also_in(&reach::difference(state.build.fabric.as_ref(), both));
        }
        if let Some(both) = both {
            let base = question
                .before
                .and_then(|state| state.build.fabric.as_ref());
            retell(&mut opened.flips, base, both);
        }
        merge.opened_together = opened.flips;
        merge.undecided_together = opened.undecided.into_iter().collect();
        merge.errors_together = self.errors_of_none(alone);
        self.merge = Some(merge);
        self
    }

    /// The new errors that none of these states has, by their place.
    fn errors_of_none(&self, alone: &[State<'_>]) -> Vec<usize> {
        let known: HashSet<_> = alone
            .iter()
            .flat_map(|state| &state.build.diagnostics)
            .map(identity)
            .collect();
        let errors = self.diagnostics.iter().enumerate();
        errors
            .filter(|(_, reported)| {
                reported.is_new
                    && reported.diagnostic.effect >= Effect::Fail
                    && !known.contains(&identity(&reported.diagnostic))
            })
            .map(|(index, _)| index)
            .collect()
    }
}

/// Tells anew what was and is decided: these clients may be fewer than those of whom it was told.
fn retell(flips: &mut Vec<Flip>, base: Option<&Fabric>, both: &Fabric) {
    let mut then = base.map(Reach::new);
    let mut now = Reach::new(both);
    flips.retain_mut(|flip| {
        let among = Selection {
            any_of: std::slice::from_ref(&flip.clients),
            except: &[],
        };
        match now.search(std::slice::from_ref(&flip.route), among, Wanted::Allowed) {
            Search::Found(witness) => {
                let mut verdicts = witness.verdicts.into_iter();
                if let Some((_, verdict)) = verdicts.next() {
                    flip.after = verdict;
                }
                let before = then
                    .as_mut()
                    .and_then(|then| then.verdict(&flip.route, witness.client.as_ref()));
                flip.before = before.unwrap_or_else(|| flip.before.clone());
                flip.example = witness.client;
                true
            }
            Search::Nobody => false,
            Search::Undecided => true,
        }
    });
}
