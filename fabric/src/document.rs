//! YAML text to located values: JSON-shaped YAML 1.2 and nothing else.
//!
//! The event parser under it is seen by `reader` and `syntax` alone. One pass over its events makes
//! the JSON value, the places of its parts, and everything that is wrong with the text; there is no
//! recursion, so nesting can't exhaust the stack.
//!
//! Plain scalars become values by this table; quoted and block scalars are always strings.
//!
//! | plain scalar | value | said of it |
//! |---|---|---|
//! | `null`, `Null`, `NULL`, `~`, nothing | null | |
//! | `true`, `True`, `TRUE`, `false`, `False`, `FALSE` | boolean: every tool agrees on these | |
//! | `0`, `80`, `-1`: whole numbers as JSON writes them, within 64 bits | number | |
//! | `80.0`, `1e3`: other numbers as JSON writes them | number | WEFT0014 |
//! | any other spelling that some tool reads as a boolean, number, date or time | string | WEFT0013 |
//! | everything else | string | |

mod draft;
mod reader;
mod scalar;
mod spans;
mod syntax;

use serde_json::Value;

use crate::diagnostic::{Code, Finding, Span};
use crate::findings::Findings;
use reader::Reader;

pub use spans::Spans;

/// How much text is read; what goes beyond is a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one file; never more than 4 GiB.
    pub file_bytes: u64,
    /// Documents of one file, empty ones not counted.
    pub documents: usize,
    /// Levels of nesting in a document: mappings and sequences around each other. Never more than
    /// [`Limits::MAX_DEPTH`].
    pub depth: usize,
    /// Values (scalars, mappings, sequences) of one file.
    pub nodes: usize,
}

/// What a file's text says.
#[derive(Clone, Debug, Default)]
pub struct Parsed {
    /// The documents that could be read; comments alone and empty documents are none. A document
    /// whose value can't be told (a syntax error, an alias, a merge key, a key that is a
    /// collection) isn't among them, and the findings say why.
    pub documents: Vec<Document>,
    /// What is wrong with the text, in its order.
    pub findings: Vec<Finding>,
}

/// One document: a value, and where each part of it stands.
#[derive(Clone, Debug)]
pub struct Document {
    /// The value.
    pub value: Value,
    /// Where its parts stand.
    pub spans: Spans,
    /// Plain scalars that need the schema to be judged (design §9's table), in the text's order.
    pub notes: Vec<Note>,
}

/// A plain scalar that is more or less than the string or number it looks like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The JSON pointer of the scalar.
    pub pointer: String,
    /// Where it stands.
    pub span: Span,
    /// What is to be said of it, unless the schema refuses the value at the same place anyway.
    pub finding: Finding,
}

/// Reads a file's text.
///
/// Of each code at most 256 findings are kept for a file, and one that counts the rest, so that a
/// hostile file can't make the answer many times larger than itself.
#[must_use]
pub fn parse(bytes: &[u8], limits: &Limits) -> Parsed {
    let mut findings = Findings::default();
    // Places are counted in 32 bits.
    let limit = limits.file_bytes.min(u64::from(u32::MAX));
    if bytes.len() as u64 > limit {
        let message = format!(
            "the file has {} bytes, and at most {limit} are read",
            bytes.len()
        );
        findings.push_with(Code::FileTooLarge, Span::FILE, || {
            Finding::new(Code::FileTooLarge, Span::FILE, message)
                .with_help("split the file into several")
        });
        return Parsed {
            documents: Vec::new(),
            findings: findings.finish(),
        };
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => Reader::new(text, limits, findings).read(),
        Err(error) => {
            let finding = syntax::not_utf8(bytes, error);
            Parsed {
                documents: Vec::new(),
                findings: vec![finding],
            }
        }
    }
}

// === impl Limits ===

impl Limits {
    /// The most levels that can be allowed: whoever walks or drops a value recurses, and this many
    /// levels fit into the smallest stack of a thread with much to spare.
    pub const MAX_DEPTH: usize = 256;
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            file_bytes: 1 << 20,
            documents: 10_000,
            depth: 64,
            nodes: 1_000_000,
        }
    }
}

/// Whether a plain scalar of this text is a string to every tool.
pub(crate) fn is_plain_text(text: &str) -> bool {
    scalar::read(text) == scalar::Plain::Text
}

#[cfg(test)]
mod tests;
