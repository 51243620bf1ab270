//! Changes of a file's text that mend what a diagnostic reports.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Span;

/// A change that mends what a diagnostic reports, and of which nobody can doubt that it was meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Fix {
    /// The edits, in the order of their places and apart from each other; all of them or none.
    pub edits: Vec<Edit>,
}

/// One replacement in a file's text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Edit {
    /// What is replaced; nothing where it begins and ends at one place.
    pub span: Span,
    /// What comes in its place.
    pub replacement: String,
}

// === impl Fix ===

impl Fix {
    /// A fix of one edit.
    #[must_use]
    pub fn replace(span: Span, replacement: impl Into<String>) -> Self {
        let replacement = replacement.into();
        Self {
            edits: vec![Edit { span, replacement }],
        }
    }

    /// Puts a plain scalar between quotes; nothing where its text would need escapes, or where it
    /// isn't written in one piece.
    #[must_use]
    pub fn quote(span: Span, text: &str) -> Option<Self> {
        let simple = text
            .bytes()
            .all(|byte| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\');
        let whole = (span.end - span.start) as usize == text.len();
        (simple && whole && !text.is_empty()).then(|| Self::replace(span, format!("\"{text}\"")))
    }
}

/// Applies fixes to a file's text: in the order of their places, leaving out each that touches
/// what an earlier one has changed, or that isn't of this text. Also says which were applied, in
/// the order in which they were given.
#[must_use]
pub fn apply(text: &[u8], fixes: &[&Fix]) -> (Vec<u8>, Vec<bool>) {
    let mut order: Vec<_> = fixes.iter().enumerate().collect();
    order.sort_by_key(|(_, fix)| {
        fix.edits
            .first()
            .map(|edit| (edit.span.start, edit.span.end))
    });
    let mut applied = vec![false; fixes.len()];
    // Those that are applied, apart from each other, in the order of their places.
    let mut edits: Vec<&Edit> = Vec::new();
    for (index, fix) in order {
        let fits = fix.edits.iter().all(|edit| {
            let Span { start, end, .. } = edit.span;
            start <= end && end as usize <= text.len() && !touches(&edits, start, end)
        });
        let apart = fix
            .edits
            .windows(2)
            .all(|pair| pair[0].span.end < pair[1].span.start);
        if fits && apart && !fix.edits.is_empty() {
            for edit in &fix.edits {
                let place = edits.partition_point(|other| other.span.start < edit.span.start);
                edits.insert(place, edit);
            }
            if let Some(applied) = applied.get_mut(index) {
                *applied = true;
            }
        }
    }
    let mut fixed = Vec::with_capacity(text.len());
    let mut seen = 0;
    for edit in edits {
        let (start, end) = (edit.span.start as usize, edit.span.end as usize);
        fixed.extend_from_slice(text.get(seen..start).unwrap_or_default());
        fixed.extend_from_slice(edit.replacement.as_bytes());
        seen = end;
    }
    fixed.extend_from_slice(text.get(seen..).unwrap_or_default());
    (fixed, applied)
}

/// Whether a stretch touches one of some edits that stand in the order of their places.
fn touches(edits: &[&Edit], start: u32, end: u32) -> bool {
    let after = edits.partition_point(|edit| edit.span.start <= end);
    let before = edits.get(..after).unwrap_or_default();
    before.last().is_some_and(|edit| edit.span.end >= start)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edit(start: u32, end: u32, replacement: &str) -> Edit {
        let span = Span {
            start,
            end,
            line: 1,
            column: start + 1,
        };
        Edit {
            span,
            replacement: replacement.to_owned(),
        }
    }

    fn fix(edits: &[(u32, u32, &str)]) -> Fix {
        let edits = edits
            .iter()
            .map(|(start, end, text)| edit(*start, *end, text));
        Fix {
            edits: edits.collect(),
        }
    }

    #[test]
    fn what_overlaps_is_left_out() {
        for (fixes, text, applied) in [
            (vec![fix(&[(0, 1, "A")])], "Abcdef", vec![true]),
            (
                vec![fix(&[(4, 5, "E")]), fix(&[(0, 1, "A")])],
                "AbcdEf",
                vec![true, true],
            ),
            // The second touches what the first has changed.
            (
                vec![fix(&[(0, 3, "X")]), fix(&[(2, 4, "Y")])],
                "Xdef",
                vec![true, false],
            ),
            // Insertions at one place would come in no certain order.
            (
                vec![fix(&[(2, 2, "1")]), fix(&[(2, 2, "2")])],
                "ab1cdef",
                vec![true, false],
            ),
            // All edits of a fix, or none.
            (
                vec![fix(&[(2, 3, "C")]), fix(&[(0, 1, ""), (2, 3, "")])],
                "bdef",
                vec![false, true],
            ),
            // Not of this text.
            (vec![fix(&[(5, 7, "")])], "abcdef", vec![false]),
            (vec![fix(&[])], "abcdef", vec![false]),
        ] {
            let given: Vec<_> = fixes.iter().collect();
            let (fixed, which) = apply(b"abcdef", &given);
            assert_eq!(String::from_utf8(fixed).unwrap(), text, "{fixes:?}");
            assert_eq!(which, applied, "{fixes:?}");
        }
    }
}
