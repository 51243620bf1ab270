//! What is to be said beside a line of a file, in the terms that tools for reviews share.

use std::cmp::Reverse;
use std::sync::Arc;

use fabric::diagnostic::{Code, Diagnostic, Edit, Effect, Label, Span};
use fabric::tree::{Scope, Tree, locate};

use super::escape;

/// How grave it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Level {
    /// Worth knowing.
    Note,
    /// Probably not what was meant.
    Warning,
    /// The check fails.
    Error,
}

/// What kind of thing is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rule {
    /// Its name, which never changes its meaning.
    pub(crate) id: &'static str,
    /// What it is about, in a few words.
    pub(crate) title: &'static str,
    /// Why it is said, and what to do.
    pub(crate) explanation: &'static str,
    /// How grave it is, unless the place says otherwise.
    pub(crate) level: Level,
}

/// A stretch of a file, in lines and characters that count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Region {
    /// The line of the first character.
    pub(crate) line: u32,
    /// The column of the first character.
    pub(crate) column: u32,
    /// The line of the last character.
    pub(crate) end_line: u32,
    /// The column after the last character.
    pub(crate) end_column: u32,
}

/// A place in the repository.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// The file's path inside the repository, as it is.
    pub(crate) path: Arc<str>,
    /// Where in the file; none for the whole of it.
    pub(crate) region: Option<Region>,
}

/// One thing that is said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Remark {
    /// Which kind of thing.
    pub(crate) rule: Rule,
    /// How grave it is.
    pub(crate) level: Level,
    /// One sentence, of text that may be anybody's.
    pub(crate) message: String,
    /// What else there is to say of it, a sentence each.
    pub(crate) notes: Vec<String>,
    /// Where.
    pub(crate) place: Place,
    /// What it has to do with, and what is there.
    pub(crate) related: Vec<(Place, String)>,
    /// What tells it from others of its rule, as stably as can be: the text of the line.
    pub(crate) line: Option<String>,
    /// What mends it for certain, in the file where it is: all of these or none.
    pub(crate) fix: Vec<Replacement>,
    /// Graver ones come first among those of a level.
    weight: u8,
}

/// Text of a file that another takes the place of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Replacement {
    /// What goes; nothing where it begins and ends at one place.
    pub(crate) region: Region,
    /// What comes.
    pub(crate) text: String,
}

// === impl Level ===

impl Level {
    /// From the gravest to the least.
    pub(crate) const DESCENDING: [Self; 3] = [Self::Error, Self::Warning, Self::Note];

    /// The level of what has an effect.
    pub(crate) const fn of(effect: Effect) -> Self {
        match effect {
            Effect::Note => Self::Note,
            Effect::Warn => Self::Warning,
            Effect::Fail | Effect::Freeze => Self::Error,
        }
    }

    /// The level in a word.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

// === impl Rule ===

impl Rule {
    /// The rule of a diagnostic code.
    pub(crate) const fn of(code: Code) -> Self {
        Self {
            id: code.as_str(),
            title: code.title(),
            explanation: code.explanation(),
            level: Level::of(code.effect()),
        }
    }
}

// === impl Region ===

impl Region {
    /// Whether no character is in it: it stands for its line.
    pub(crate) const fn is_empty(self) -> bool {
        self.line == self.end_line && self.column >= self.end_column
    }

    /// The region of a span in a file's text; none where the span is of the whole file.
    fn of(span: Span, text: Option<&[u8]>) -> Option<Self> {
        if span.line == 0 {
            return None;
        }
        let begin = (span.line, span.column.max(1));
        let (end_line, end_column) = text
            .and_then(|text| text.get(span.start as usize..span.end as usize))
            // Nobody marks more than that; the rest of a longer one isn't worth to be counted.
            .filter(|text| text.len() <= super::window::REACH)
            .map_or((begin.0, begin.1 + 1), |text| end_of(text, begin));
        Some(Self {
            line: begin.0,
            column: begin.1,
            end_line,
            end_column,
        })
    }
}

/// Where a text ends that begins at a line and column, as far as it is marked: a span up to the end of
/// its line marks no line more.
fn end_of(text: &[u8], begin: (u32, u32)) -> (u32, u32) {
    let text = String::from_utf8_lossy(text);
    after(text.trim_end_matches(['\n', '\r']), begin)
}

/// The place after a text that begins at a line and column.
fn after(text: &str, (mut line, mut column): (u32, u32)) -> (u32, u32) {
    for c in text.chars() {
        match c {
            '\n' => (line, column) = (line.saturating_add(1), 1),
            _ => column = column.saturating_add(1),
        }
    }
    (line, column)
}

// === impl Replacement ===

impl Replacement {
    /// The replacement that an edit of a file's text is; none where it isn't of this text.
    fn of(edit: &Edit, text: &[u8]) -> Option<Self> {
        let Span {
            start,
            end,
            line,
            column,
        } = edit.span;
        let gone = text.get(start as usize..end as usize)?;
        let (end_line, end_column) = after(std::str::from_utf8(gone).ok()?, (line, column));
        (line > 0).then(|| Self {
            region: Region {
                line,
                column,
                end_line,
                end_column,
            },
            text: edit.replacement.clone(),
        })
    }
}

// === impl Place ===

impl Place {
    /// The place of a label.
    pub(crate) fn of(label: &Label, tree: &Tree) -> Self {
        let text = tree.file(&label.path).map(|blob| blob.bytes());
        Self {
            path: Arc::clone(&label.path),
            region: Region::of(label.span, text),
        }
    }

    /// A whole line of a file: nothing of it is marked.
    pub(crate) fn line(path: &Arc<str>, line: u32) -> Self {
        Self {
            path: Arc::clone(path),
            region: Some(Region {
                line: line.max(1),
                column: 1,
                end_line: line.max(1),
                end_column: 1,
            }),
        }
    }

    /// The line; a whole file stands at its first one.
    pub(crate) fn first_line(&self) -> u32 {
        self.region.map_or(1, |region| region.line)
    }

    /// The place as it is shown: `path:line:column`, escaped.
    pub(crate) fn shown(&self) -> String {
        let path = escape::path(&self.path);
        match self.region {
            None => path,
            Some(region) if region.is_empty() => format!("{path}:{}", region.line),
            Some(Region { line, column, .. }) => format!("{path}:{line}:{column}"),
        }
    }
}

// === impl Remark ===

impl Remark {
    /// What a diagnostic says, with the text of its places in the tree.
    pub(crate) fn of(diagnostic: &Diagnostic, tree: &Tree) -> Self {
        let mut places = diagnostic.labels.iter();
        let first = places.next();
        let text = first.map_or("", |label| label.text.as_str());
        let notes = [
            (!text.is_empty()).then(|| text.to_owned()),
            diagnostic.help.as_ref().map(|help| format!("help: {help}")),
            freezes(diagnostic).map(|words| format!("note: {words}")),
        ];
        let place = first.map_or_else(
            || Place {
                path: "".into(),
                region: None,
            },
            |label| Place::of(label, tree),
        );
        let line = first
            .filter(|_| diagnostic.shows_source)
            .and_then(|label| line_of(label, tree));
        let text = first.and_then(|label| tree.file(&label.path));
        let fix = diagnostic.fix.iter().flat_map(|fix| &fix.edits);
        let fix = fix.map(|edit| Replacement::of(edit, text?.bytes()));
        Self {
            fix: fix.collect::<Option<_>>().unwrap_or_default(),
            rule: Rule::of(diagnostic.code),
            level: Level::of(diagnostic.effect),
            message: diagnostic.message.clone(),
            notes: notes.into_iter().flatten().collect(),
            place,
            related: places
                .map(|label| (Place::of(label, tree), label.text.clone()))
                .collect(),
            line,
            weight: diagnostic.effect as u8,
        }
    }

    /// Something that isn't of a diagnostic.
    pub(crate) const fn new(rule: Rule, level: Level, message: String, place: Place) -> Self {
        Self {
            rule,
            level,
            message,
            notes: Vec::new(),
            place,
            related: Vec::new(),
            line: None,
            fix: Vec::new(),
            weight: u8::MAX,
        }
    }

    /// The order of importance: gravest first, then by place.
    pub(crate) fn importance(&self) -> impl Ord + '_ {
        (
            Reverse(self.level),
            Reverse(self.weight),
            &self.place,
            self.rule,
            self.message.as_str(),
        )
    }

    /// Everything that is said but the place: a line each, escaped.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines = vec![escape::text(&self.message).into_owned()];
        lines.extend(
            self.notes
                .iter()
                .map(|note| escape::text(note).into_owned()),
        );
        lines.extend(
            self.related
                .iter()
                .map(|(place, text)| match text.is_empty() {
                    true => format!("see {}", place.shown()),
                    false => format!("{}: {}", place.shown(), escape::text(text)),
                }),
        );
        lines
    }
}

/// What a Freeze does, in words.
pub(crate) fn freezes(diagnostic: &Diagnostic) -> Option<String> {
    if diagnostic.effect != Effect::Freeze {
        return None;
    }
    Some(match locate(diagnostic.path()).0 {
        Scope::Unit(unit) => format!(
            "peers/{} stays at its last good commit until this is mended",
            escape::path(&unit)
        ),
        Scope::Shared | Scope::Elsewhere => {
            "the whole fabric stays at its last good commit until this is mended".to_owned()
        }
    })
}

/// The text of a label's line, without the space around it.
fn line_of(label: &Label, tree: &Tree) -> Option<String> {
    let bytes = tree.file(&label.path)?.bytes();
    let at = (label.span.start as usize).min(bytes.len());
    let from = at.saturating_sub(super::window::REACH);
    let to = (at + super::window::REACH).min(bytes.len());
    let before = bytes.get(from..at)?.rsplit(|byte| *byte == b'\n').next()?;
    let after = bytes.get(at..to)?.split(|byte| *byte == b'\n').next()?;
    let line = [before, after].concat();
    Some(String::from_utf8_lossy(&line).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_end_after_their_last_character() {
        let text = "spec:\n  größe: x\n  more: y\n";
        let of = |part: &str| {
            let start = text.find(part).unwrap();
            let before = &text[..start];
            let line_start = before.rfind('\n').map_or(0, |at| at + 1);
            let span = Span {
                start: u32::try_from(start).unwrap(),
                end: u32::try_from(start + part.len()).unwrap(),
                line: u32::try_from(before.matches('\n').count()).unwrap() + 1,
                column: u32::try_from(before[line_start..].chars().count()).unwrap() + 1,
            };
            let region = Region::of(span, Some(text.as_bytes())).unwrap();
            (
                region.line,
                region.column,
                region.end_line,
                region.end_column,
            )
        };
        assert_eq!(of("spec"), (1, 1, 1, 5));
        assert_eq!(of("größe"), (2, 3, 2, 8));
        assert_eq!(of("x\n  more: y\n"), (2, 10, 3, 10));
        assert_eq!(of(""), (1, 1, 1, 1));
        assert_eq!(Region::of(Span::FILE, Some(b"")), None);
        // A file that isn't there any more, and a span beyond its end.
        let span = Span {
            start: 8,
            end: 9,
            line: 3,
            column: 2,
        };
        for text in [None, Some(&b"abc"[..])] {
            let region = Region::of(span, text).unwrap();
            assert_eq!((region.end_line, region.end_column), (3, 3));
        }
    }
}
