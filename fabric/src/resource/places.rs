//! The places of an object's parts: known, or looked up in the text when they are asked for.

use std::sync::{Arc, OnceLock};

use crate::document::{self, Limits, Spans};
use crate::tree::Text;

/// Where the parts of a document stand.
#[derive(Clone, Debug)]
pub(super) enum Places {
    /// Read together with the values; shared by the objects of a List.
    Known(Arc<Spans>),
    /// Of an object that was kept: hardly ever asked for, and told by the text then.
    InText(Arc<FilePlaces>, u32),
}

/// The places of the parts of a file's documents.
#[derive(Debug)]
pub(super) struct FilePlaces {
    text: Text,
    limits: Limits,
    /// Of the documents that could be read.
    documents: OnceLock<Vec<Spans>>,
}

// === impl Places ===

impl Places {
    /// Where the parts stand.
    pub(super) fn spans(&self) -> &Spans {
        static NONE: OnceLock<Spans> = OnceLock::new();
        match self {
            Self::Known(spans) => spans,
            Self::InText(file, index) => match file.documents().get(*index as usize) {
                Some(spans) => spans,
                // What was kept doesn't go with the text: everything stands in the file then.
                None => NONE.get_or_init(Spans::default),
            },
        }
    }
}

// === impl FilePlaces ===

impl FilePlaces {
    pub(super) const fn new(text: Text, limits: Limits) -> Self {
        Self {
            text,
            limits,
            documents: OnceLock::new(),
        }
    }

    fn documents(&self) -> &[Spans] {
        self.documents.get_or_init(|| {
            let parsed = document::parse(self.text.bytes(), &self.limits);
            let documents = parsed.documents.into_iter();
            documents.map(|document| document.spans).collect()
        })
    }
}
