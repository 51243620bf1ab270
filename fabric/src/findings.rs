//! The findings of one file, bounded.

use std::collections::BTreeMap;

use crate::diagnostic::{Code, Finding, Span};

/// Findings of one code that are kept for a file's text, and again for its objects: far more than
/// anybody reads, and few enough that a megabyte of mistakes stays a small answer.
const KEPT: usize = 256;

/// The findings of one file.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    kept: Vec<Finding>,
    counts: BTreeMap<Code, Count>,
}

/// How often a code was found.
#[derive(Debug, Default)]
struct Count {
    found: usize,
    /// The place of the first one that wasn't kept.
    first_left_out: Span,
}

// === impl Findings ===

impl Findings {
    /// Adds a finding, unless there are enough of its code.
    pub(crate) fn push(&mut self, finding: Finding) {
        let span = finding.labels.first().map_or(Span::FILE, |(span, _)| *span);
        if self.admits(finding.code, span) {
            self.kept.push(finding);
        }
    }

    /// The same of a finding that is made only when it is kept.
    pub(crate) fn push_with(&mut self, code: Code, span: Span, finding: impl FnOnce() -> Finding) {
        if self.admits(code, span) {
            self.kept.push(finding());
        }
    }

    /// Counts a finding of the code; false when there are enough and it needn't be made.
    pub(crate) fn admits(&mut self, code: Code, span: Span) -> bool {
        let count = self.counts.entry(code).or_default();
        count.found += 1;
        if count.found == KEPT + 1 {
            count.first_left_out = span;
        }
        count.found <= KEPT
    }

    /// Adds a finding that [`Self::admits`] has let in before.
    pub(crate) fn push_admitted(&mut self, finding: Finding) {
        self.kept.push(finding);
    }

    /// All of them in the order of their places.
    pub(crate) fn finish(self) -> Vec<Finding> {
        let mut all = Vec::new();
        self.finish_into(&mut all);
        all
    }

    /// Adds them to others of the same file, all in the order of their places.
    pub(crate) fn finish_into(mut self, all: &mut Vec<Finding>) {
        for (code, count) in &self.counts {
            if let Some(left_out @ 1..) = count.found.checked_sub(KEPT) {
                let message = format!("{left_out} more of this kind in the file are not listed");
                self.kept
                    .push(Finding::new(*code, count.first_left_out, message));
            }
        }
        if !self.kept.is_empty() {
            all.append(&mut self.kept);
            all.sort_by_key(|finding| finding.labels.first().map(|(span, _)| *span));
        }
    }
}
