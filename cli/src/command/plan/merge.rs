//! `weft plan --merge A B`: two changes, each safe, may be unsafe together.

use fabric::report::{MergeReport, MergeStep, PlanReport, Question};
use reconciler::git::{CommitId, Merged};

use super::{Plan, State};
use crate::source::Source;

impl Plan {
    /// Shows what merging two commits does.
    pub(super) fn merge(
        &self,
        source: &mut Source,
        first: &str,
        second: &str,
    ) -> anyhow::Result<u8> {
        let (base, [first, second]) = self.commits(source, first, second)?;
        let mut trees = Vec::new();
        for (step, commits) in [
            (MergeStep::First, &[first][..]),
            (MergeStep::Second, &[second]),
            (MergeStep::Both, &[first, second]),
        ] {
            match source.merge(base, commits)? {
                Merged::Tree(tree) => trees.push(tree),
                Merged::Conflicts(conflicts) => {
                    let merge = MergeReport {
                        conflicting: Some(step),
                        conflicts,
                        ..MergeReport::new(first.revision(), second.revision())
                    };
                    return self.show(&PlanReport::conflicting(base.revision(), merge), None);
                }
            }
        }
        let base = State::base(&source.tree(Some(&base.to_string()))?, source);
        let states: Vec<State> = trees
            .into_iter()
            .map(|tree| State::after(Some(&base), tree, source))
            .collect();
        let Some((both, alone)) = states.split_last() else {
            return Ok(crate::exit::DONE);
        };
        let names = [first.to_string(), second.to_string()];
        let approvals = source.commits(
            Some(base.tree.revision()),
            &names.each_ref().map(String::as_str),
        )?;
        let shown = self.shown_peer(&[Some(&base), Some(both)])?;
        let question = Question {
            before: Some(base.view()),
            after: both.view(),
            commits: &approvals,
            peer: shown.as_ref(),
        };
        let alone: Vec<_> = alone.iter().map(State::view).collect();
        let mut merge = MergeReport::new(first.revision(), second.revision());
        if self.base.is_some() {
            merge.gates_from = base.tree.revision().clone();
        }
        let report = PlanReport::new(question).merged(merge, question, &alone);
        let report = match (&self.base, alone.first()) {
            // What is on the first commit was judged when it came there.
            (None, Some(added_to)) => {
                let commits = source.commits(Some(&first.revision()), &[&names[1]])?;
                let question = Question {
                    commits: &commits,
                    ..question
                };
                report.judged_from(*added_to, question)
            }
            _ => report,
        };
        self.show(&report, Some(both))
    }

    /// The commit that is merged onto, and the two that are.
    fn commits(
        &self,
        source: &Source,
        first: &str,
        second: &str,
    ) -> anyhow::Result<(CommitId, [CommitId; 2])> {
        let repository = source.repository()?;
        let first = repository.resolve(first)?.id;
        let second = repository.resolve(second)?.id;
        let base = match &self.base {
            Some(base) => repository.resolve(base)?.id,
            None => repository.merge_base(first, second)?,
        };
        Ok((base, [first, second]))
    }
}
