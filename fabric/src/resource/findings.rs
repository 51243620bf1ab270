//! The findings of one file's objects, bounded.

use std::collections::BTreeMap;

use crate::diagnostic::{Code, Finding, Span};

/// Findings of one code that are kept for a file: as many as are kept of its text, far more than
/// anybody reads, and few enough that a megabyte of mistakes stays a small answer.
const KEPT: usize = 256;

/// The findings of one file's objects.
#[derive(Debug, Default)]
pub(super) struct Findings {
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

impl Findings {
    /// Adds a finding, unless there are enough of its code.
    pub(super) fn push(&mut self, finding: Finding) {
        let count = self.counts.entry(finding.code).or_default();
        count.found += 1;
        if count.found <= KEPT {
            self.kept.push(finding);
        } else if count.found == KEPT + 1 {
            count.first_left_out = finding.labels.first().map_or(Span::FILE, |(span, _)| *span);
        }
    }

    /// Adds them to those of the text, all in the order of their places.
    pub(super) fn finish(mut self, all: &mut Vec<Finding>) {
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
