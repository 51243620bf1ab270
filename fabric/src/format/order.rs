//! The order of keys: as the API has it, what it doesn't know behind.
//!
//! Entries of block mappings move as whole lines, with the comments above them and those that are
//! indented below them. A mapping whose lines aren't its entries' alone stays as it is.

use std::ops::Range;

use serde_json::Value;

use crate::document::{self, Limits, Spans};
use crate::name::Kind;
use crate::schema;

/// One block mapping whose entries have to move.
#[derive(Debug)]
struct Mapping {
    /// Columns before its keys.
    indentation: usize,
    /// The entries in the order of the text, without a gap between them.
    entries: Vec<Entry>,
    /// Whether the first entry begins at its key and not at its line.
    bare: bool,
}

/// An entry's lines.
#[derive(Debug)]
struct Entry {
    range: Range<usize>,
    rank: usize,
    /// What has to move inside of it, in the order of the text.
    inner: Vec<Mapping>,
}

/// What comes first, in every object.
const TOP: [&str; 4] = ["apiVersion", "kind", "metadata", "spec"];

/// Orders the keys of all documents of a text.
pub(super) fn order(text: &str, limits: &Limits) -> String {
    let mut mappings = Vec::new();
    for document in document::parse(text.as_bytes(), limits).documents {
        let walk = Walk {
            text,
            spans: &document.spans,
        };
        mappings.append(&mut walk.object("", &document.value));
    }
    let mut ordered = String::with_capacity(text.len() + 1);
    write(text, 0..text.len(), &mappings, &mut ordered);
    ordered
}

/// The mappings of one document.
struct Walk<'a> {
    text: &'a str,
    spans: &'a Spans,
}

// === impl Walk ===

impl Walk<'_> {
    fn object(&self, pointer: &str, value: &Value) -> Vec<Mapping> {
        let kind = value["kind"].as_str();
        if let (Some(kind), Some(items)) = (kind, value["items"].as_array())
            && kind.ends_with("List")
        {
            let mut inner = Vec::new();
            for (index, item) in items.iter().enumerate() {
                inner.append(&mut self.object(&format!("{pointer}/items/{index}"), item));
            }
            let rank = |key: &str| rank(&["apiVersion", "kind", "metadata", "items"], key);
            return self.mapping(pointer, value, &rank, inner);
        }
        match kind.and_then(|kind| kind.parse::<Kind>().ok()) {
            Some(kind) => {
                let document = schema::of(kind).document();
                self.value(pointer, value, document, document)
            }
            None if value["apiVersion"].is_string() => {
                self.mapping(pointer, value, &|key| rank(&TOP, key), Vec::new())
            }
            None => Vec::new(),
        }
    }

    /// What has to move inside a value that a part of a schema describes.
    fn value(&self, pointer: &str, value: &Value, document: &Value, part: &Value) -> Vec<Mapping> {
        let part = match part["$ref"].as_str().and_then(|r| r.strip_prefix('#')) {
            Some(reference) => document.pointer(reference).unwrap_or(part),
            None => part,
        };
        match value {
            Value::Object(fields) => {
                let mut inner = Vec::new();
                for (key, value) in fields {
                    let described = match part["properties"].get(key) {
                        Some(described) => described,
                        None => &part["additionalProperties"],
                    };
                    let pointer =
                        format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"));
                    inner.append(&mut self.value(&pointer, value, document, described));
                }
                let Some(known) = part["properties"].as_object() else {
                    return sorted(inner);
                };
                // What only a server writes comes last, as it came.
                let ours = |name: &&str| !schema::SERVER_METADATA.contains(name);
                let known: Vec<&str> = known.keys().map(String::as_str).filter(ours).collect();
                self.mapping(pointer, value, &|key| rank(&known, key), inner)
            }
            Value::Array(items) => {
                let mut inner = Vec::new();
                for (index, item) in items.iter().enumerate() {
                    let pointer = format!("{pointer}/{index}");
                    inner.append(&mut self.value(&pointer, item, document, &part["items"]));
                }
                sorted(inner)
            }
            _ => Vec::new(),
        }
    }

    /// A mapping that has to be ordered, with what is inside; only what is inside where it hasn't.
    fn mapping(
        &self,
        pointer: &str,
        value: &Value,
        rank: &dyn Fn(&str) -> usize,
        inner: Vec<Mapping>,
    ) -> Vec<Mapping> {
        let mut inner = sorted(inner);
        let Some(mut mapping) = self.entries(pointer, value, rank) else {
            return inner;
        };
        if mapping.entries.is_sorted_by_key(|entry| entry.rank) {
            return inner;
        }
        for entry in &mut mapping.entries {
            let (within, rest) = inner
                .into_iter()
                .partition(|mapping| entry.range.contains(&mapping.start()));
            entry.inner = within;
            inner = rest;
        }
        vec![mapping]
    }

    /// The entries of a block mapping, where each has lines of its own.
    fn entries(
        &self,
        pointer: &str,
        value: &Value,
        rank: &dyn Fn(&str) -> usize,
    ) -> Option<Mapping> {
        if value.as_object()?.len() < 2 {
            return None;
        }
        let mut keys: Vec<_> = self.spans.keys(pointer).collect();
        keys.sort_by_key(|(_, span)| span.start);
        let first = keys.first()?.1.start as usize;
        let whole = self.spans.value(pointer).start as usize;
        // In braces, or after a question mark.
        if whole != first {
            return None;
        }
        let before_first = self.text.get(self.line_start(first)..first)?;
        let indentation = before_first.len();
        if !before_first.bytes().all(|byte| matches!(byte, b' ' | b'-')) {
            return None;
        }
        let after_dash = before_first.contains('-');
        let mut start = match after_dash || pointer.is_empty() {
            // What stands above the first key of a document or an item is about the whole of it.
            true => first,
            false => self.comments_above(first),
        };
        let mut entries = Vec::with_capacity(keys.len());
        for (index, (key, span)) in keys.iter().enumerate() {
            let pointer = format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"));
            let content = self.spans.value(&pointer).end.max(span.end) as usize;
            let end = self.line_end(content);
            let next = keys.get(index + 1).map(|(_, span)| span.start as usize);
            let limit = match next {
                Some(next) => {
                    let line = self.line_start(next);
                    let before = self.text.get(line..next)?;
                    if line < end
                        || before.len() != indentation
                        || !before.bytes().all(|byte| byte == b' ')
                    {
                        return None;
                    }
                    line
                }
                None => self.text.len(),
            };
            let end = self.with_comments_below(end, limit, indentation)?;
            entries.push(Entry {
                range: start..end,
                rank: rank(key),
                inner: Vec::new(),
            });
            start = end;
        }
        Some(Mapping {
            indentation,
            entries,
            bare: after_dash || pointer.is_empty(),
        })
    }

    /// Where the comments begin that stand right above the line of a key, as deep as it.
    fn comments_above(&self, key: usize) -> usize {
        let mut start = self.line_start(key);
        let indentation = key - start;
        while let Some(above) = start.checked_sub(1).map(|end| self.line_start(end)) {
            let line = self.text.get(above..start).unwrap_or_default();
            let blank = line.len() - line.trim_start_matches(' ').len();
            if blank != indentation || !line.trim_start().starts_with('#') {
                break;
            }
            start = above;
        }
        start
    }

    /// The end of the comments between two places that are indented deeper than the keys.
    fn with_comments_below(&self, from: usize, to: usize, indentation: usize) -> Option<usize> {
        let mut end = from;
        let mut place = from;
        for line in self.text.get(from..to)?.split_inclusive('\n') {
            place += line.len();
            let content = line.trim_start_matches(' ');
            if content.starts_with('#') {
                if line.len() - content.len() > indentation {
                    end = place;
                }
            } else if !content.trim().is_empty() {
                break;
            }
        }
        Some(end)
    }

    fn line_start(&self, place: usize) -> usize {
        let before = self.text.get(..place).unwrap_or_default();
        before.rfind('\n').map_or(0, |newline| newline + 1)
    }

    /// The start of the next line.
    fn line_end(&self, place: usize) -> usize {
        let after = self.text.get(place..).unwrap_or_default();
        after
            .find('\n')
            .map_or(self.text.len(), |newline| place + newline + 1)
    }
}

// === impl Mapping ===

impl Mapping {
    fn start(&self) -> usize {
        self.entries.first().map_or(0, |entry| entry.range.start)
    }

    fn end(&self) -> usize {
        self.entries.last().map_or(0, |entry| entry.range.end)
    }

    fn write(&self, text: &str, out: &mut String) {
        let mut order: Vec<_> = self.entries.iter().enumerate().collect();
        order.sort_by_key(|(_, entry)| entry.rank);
        for (place, (index, entry)) in order.into_iter().enumerate() {
            let mut lines = String::new();
            write(text, entry.range.clone(), &entry.inner, &mut lines);
            let lines = match (self.bare && place == 0, self.bare && index == 0) {
                // Its line begins with something else already.
                (true, false) => lines.trim_start_matches(['\n', ' ']),
                (false, true) => {
                    out.push_str(&" ".repeat(self.indentation));
                    &lines
                }
                _ => &lines,
            };
            out.push_str(lines);
            // The last line of a file may lack its end.
            if !out.ends_with('\n') {
                out.push('\n');
            }
        }
    }
}

/// Writes a stretch of the text with its mappings in order.
fn write(text: &str, range: Range<usize>, mappings: &[Mapping], out: &mut String) {
    let mut seen = range.start;
    for mapping in mappings {
        out.push_str(text.get(seen..mapping.start()).unwrap_or_default());
        mapping.write(text, out);
        seen = mapping.end();
    }
    out.push_str(text.get(seen..range.end).unwrap_or_default());
}

fn sorted(mut mappings: Vec<Mapping>) -> Vec<Mapping> {
    mappings.sort_by_key(Mapping::start);
    mappings
}

fn rank(known: &[&str], key: &str) -> usize {
    let place = known.iter().position(|name| *name == key);
    place.unwrap_or(known.len())
}
