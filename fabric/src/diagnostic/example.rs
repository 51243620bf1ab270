//! An example of each mistake that one file can hold, and of its mend.

mod fabric;
mod object;

use serde::Serialize;

use super::Code;

/// A mistake in one file, and the file mended.
///
/// They are files of a fabric with the peers `east` and `west`, of which west exports `pay/ledger`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Example {
    /// The file's path inside the repository.
    pub path: &'static str,
    /// The file with the mistake.
    pub wrong: &'static str,
    /// The file without it.
    pub right: &'static str,
}

// === impl Code ===

impl Code {
    /// An example of what the code reports; none where no single text can show it.
    #[must_use]
    pub fn example(self) -> Option<Example> {
        let mut all = object::EXAMPLES.iter().chain(fabric::EXAMPLES);
        let found = all.find(|(code, _)| *code == self);
        found.map(|(_, example)| *example)
    }
}
