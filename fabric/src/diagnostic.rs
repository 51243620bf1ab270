//! What is wrong, where, what it does, and how to mend it.

mod code;
mod example;
mod fix;
mod short;

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use code::Code;
pub use example::Example;
pub use fix::{Edit, Fix, apply};
pub use short::short;

/// What a diagnostic does, from the least to the most.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// Worth knowing; changes nothing.
    Note,
    /// Probably not what was meant; changes nothing.
    Warn,
    /// `weft validate` fails; only the part that it concerns is dropped, nothing freezes.
    Fail,
    /// Can't be understood: its unit, or for a shared file the fabric, stays at the last good commit.
    Freeze,
}

/// A stretch of a file's text.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
pub struct Span {
    /// The first byte.
    pub start: u32,
    /// The byte after the last one.
    pub end: u32,
    /// The line of the first byte, counted from 1; 0 when the diagnostic is of the whole file.
    pub line: u32,
    /// The column of the first byte in characters, counted from 1; 0 as above.
    pub column: u32,
}

/// A place in a file, and what is to say about it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
pub struct Label {
    /// The file's path inside the repository, as it is (escape it before you print it).
    pub path: Arc<str>,
    /// Where in the file.
    pub span: Span,
    /// What is there; may be empty.
    pub text: String,
}

/// One thing that is to be reported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Diagnostic {
    /// Which kind of thing, stably.
    pub code: Code,
    /// What it does.
    pub effect: Effect,
    /// One sentence, lower case at the start and without a full stop.
    pub message: String,
    /// Where; the first one is the offending place, the others are related. Never empty.
    pub labels: Vec<Label>,
    /// How to mend it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// What mends it for certain; in the file of the offending place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<Fix>,
    /// Whether the place may be shown: false where the text is a secret.
    #[serde(skip)]
    pub shows_source: bool,
}

/// A diagnostic about a file whose path isn't known yet: equal bytes are parsed once, whatever
/// paths they stand at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Which kind of thing, stably.
    pub code: Code,
    /// What it does.
    pub effect: Effect,
    /// One sentence, lower case at the start and without a full stop.
    pub message: String,
    /// Where; the first one is the offending place. Never empty.
    pub labels: Vec<(Span, String)>,
    /// How to mend it.
    pub help: Option<String>,
    /// What mends it for certain.
    pub fix: Option<Fix>,
    /// Whether the place may be shown: false where the text is a secret.
    pub shows_source: bool,
}

// === impl Span ===

impl Span {
    /// The span that stands for a whole file.
    pub const FILE: Self = Self {
        start: 0,
        end: 0,
        line: 0,
        column: 0,
    };
}

// === impl Diagnostic ===

impl Diagnostic {
    /// A diagnostic with the code's usual effect and one place.
    #[must_use]
    pub fn new(code: Code, path: &Arc<str>, span: Span, message: impl Into<String>) -> Self {
        Finding::new(code, span, message).at(path)
    }

    /// The same with another effect than the code's usual one.
    #[must_use]
    pub fn with_effect(mut self, effect: Effect) -> Self {
        self.effect = effect;
        self
    }

    /// The same with words beside the offending place.
    #[must_use]
    pub fn with_text(mut self, text: impl Into<String>) -> Self {
        if let Some(label) = self.labels.first_mut() {
            label.text = short(text.into());
        }
        self
    }

    /// The same with a related place.
    #[must_use]
    pub fn with_related(mut self, path: &Arc<str>, span: Span, text: impl Into<String>) -> Self {
        self.labels.push(Label {
            path: Arc::clone(path),
            span,
            text: short(text.into()),
        });
        self
    }

    /// The same with a way to mend it.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(short(help.into()));
        self
    }

    /// The path of the offending place.
    #[must_use]
    pub fn path(&self) -> &str {
        self.labels.first().map_or("", |label| &label.path)
    }

    /// The offending place.
    #[must_use]
    pub fn span(&self) -> Span {
        self.labels.first().map_or(Span::FILE, |label| label.span)
    }

    /// The order in which diagnostics are listed: by place, then gravest first, then by code.
    #[must_use]
    pub fn sort_key(&self) -> impl Ord + '_ {
        (
            self.path(),
            self.span(),
            std::cmp::Reverse(self.effect),
            self.code,
            self.message.as_str(),
        )
    }
}

// === impl Finding ===

impl Finding {
    /// A finding with the code's usual effect and one place.
    #[must_use]
    pub fn new(code: Code, span: Span, message: impl Into<String>) -> Self {
        Self {
            code,
            effect: code.effect(),
            message: short(message.into()),
            labels: vec![(span, String::new())],
            help: None,
            fix: None,
            shows_source: true,
        }
    }

    /// The same with another effect than the code's usual one.
    #[must_use]
    pub fn with_effect(mut self, effect: Effect) -> Self {
        self.effect = effect;
        self
    }

    /// The same with words beside the offending place.
    #[must_use]
    pub fn with_text(mut self, text: impl Into<String>) -> Self {
        if let Some((_, words)) = self.labels.first_mut() {
            *words = short(text.into());
        }
        self
    }

    /// The same with a related place in the same file.
    #[must_use]
    pub fn with_related(mut self, span: Span, text: impl Into<String>) -> Self {
        self.labels.push((span, short(text.into())));
        self
    }

    /// The same with a way to mend it.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(short(help.into()));
        self
    }

    /// The same with what mends it for certain.
    #[must_use]
    pub fn with_fix(mut self, fix: impl Into<Option<Fix>>) -> Self {
        self.fix = fix.into();
        self
    }

    /// The same without showing the text of the place.
    #[must_use]
    pub fn without_source(mut self) -> Self {
        self.shows_source = false;
        self
    }

    /// The diagnostic that the finding is in the file at `path`.
    #[must_use]
    pub fn at(&self, path: &Arc<str>) -> Diagnostic {
        let label = |(span, text): &(Span, String)| Label {
            path: Arc::clone(path),
            span: *span,
            text: text.clone(),
        };
        Diagnostic {
            code: self.code,
            effect: self.effect,
            message: self.message.clone(),
            labels: self.labels.iter().map(label).collect(),
            help: self.help.clone(),
            fix: self.fix.clone(),
            shows_source: self.shows_source,
        }
    }
}

/// The candidate that `written` was most likely meant to be, for a "did you mean".
#[must_use]
pub fn nearest<'a>(
    written: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let length = written.chars().count();
    candidates
        .into_iter()
        // So many letters are wrong at least, and to count letters is cheap.
        .filter(|candidate| {
            let other = candidate.chars().count();
            length.abs_diff(other) * 3 <= other.max(3)
        })
        .map(|candidate| (strsim::damerau_levenshtein(written, candidate), candidate))
        // A third of the letters wrong is still a slip; more is another word.
        .filter(|(distance, candidate)| *distance * 3 <= candidate.chars().count().max(3))
        .min()
        .map(|(_, candidate)| candidate)
}

/// The candidate that differs in nothing but capitals, else the [`nearest`] one.
#[must_use]
pub fn nearest_or_same<'a>(
    written: &str,
    candidates: impl IntoIterator<Item = &'a str> + Clone,
) -> Option<&'a str> {
    let same = |candidate: &&str| candidate.eq_ignore_ascii_case(written);
    candidates
        .clone()
        .into_iter()
        .find(same)
        .or_else(|| nearest(written, candidates))
}
