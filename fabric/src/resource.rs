//! Documents to typed objects, each checked by itself.

mod certain;
mod draft;
mod kept;
mod metadata;
mod places;
mod read;
mod spec;
mod structure;

use crate::api::Object;
use crate::diagnostic::{Finding, Span};
use crate::name::ObjectKey;
use places::Places;

pub use read::read;

/// The objects of one file, and what is wrong with each of them by itself.
#[derive(Clone, Debug, Default)]
pub struct File {
    /// The objects that could be understood.
    pub resources: Vec<Resource>,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

/// One object and where it stands.
#[derive(Clone, Debug)]
pub struct Resource {
    /// Which object it is; an absent namespace is `default` already.
    pub key: ObjectKey,
    /// The object.
    pub object: Object,
    /// Where its parts stand.
    places: Places,
    /// Its document, of those of the file that could be read.
    document: u32,
    /// The JSON pointer of the object in its document: not empty inside a List.
    base: Box<str>,
    /// Its first line.
    line: u32,
}

// === impl Resource ===

impl Resource {
    /// Where the value that a JSON pointer names inside the object stands, such as `/spec/port`;
    /// the nearest parent's place where it names nothing.
    #[must_use]
    pub fn value_span(&self, pointer: &str) -> Span {
        self.places
            .spans()
            .value(&format!("{}{pointer}", self.base))
    }

    /// Where the key of the value stands, or the value itself where it has none.
    #[must_use]
    pub fn key_span(&self, pointer: &str) -> Span {
        let pointer = format!("{}{pointer}", self.base);
        let spans = self.places.spans();
        spans.key(&pointer).unwrap_or_else(|| spans.value(&pointer))
    }

    /// The first line of the object, counted from 1.
    #[must_use]
    pub const fn line(&self) -> u32 {
        self.line
    }
}

#[cfg(test)]
mod tests;
