//! An object while it is checked: its value, its places, and what was found so far.

use std::cell::OnceCell;
use std::collections::{BTreeSet, HashMap};

use serde_json::Value;

use super::structure::escape;
use super::{certain, metadata};
use crate::diagnostic::{Code, Effect, Finding, Span};
use crate::document::{Note, Spans};
use crate::findings::Findings;
use crate::name::{Kind, ObjectKey};

/// An object while it is checked.
///
/// The rules look at the value and not at the typed object, so that they have their say also where
/// the schema refuses another part of the object: all findings come at once.
pub(super) struct Draft<'a> {
    pub(super) kind: Kind,
    /// The bytes of the whole file.
    pub(super) text: &'a [u8],
    pub(super) value: &'a Value,
    /// The JSON pointer of the object in its document.
    base: &'a str,
    spans: &'a Spans,
    /// What the text says of the object's scalars.
    notes: &'a [Note],
    /// The same by pointer, made when it is first asked for.
    notes_by_pointer: OnceCell<HashMap<&'a str, &'a Note>>,
    findings: &'a mut Findings,
    /// The gravest of what was found in this object.
    worst: Effect,
    /// The pointers inside the object that the schema refuses: nothing more is said of them.
    refused: BTreeSet<String>,
}

// === impl Draft ===

impl<'a> Draft<'a> {
    pub(super) fn new(
        kind: Kind,
        text: &'a [u8],
        value: &'a Value,
        base: &'a str,
        spans: &'a Spans,
        notes: &'a [Note],
        findings: &'a mut Findings,
    ) -> Self {
        Self {
            kind,
            text,
            value,
            base,
            spans,
            notes,
            notes_by_pointer: OnceCell::new(),
            findings,
            worst: Effect::Note,
            refused: BTreeSet::new(),
        }
    }

    /// The value at a pointer inside the object.
    pub(super) fn at(&self, pointer: &str) -> Option<&'a Value> {
        self.value.pointer(pointer)
    }

    /// The string at a pointer inside the object, where there is one and the schema let it pass.
    pub(super) fn text(&self, pointer: &str) -> Option<&'a str> {
        self.at(pointer)
            .and_then(Value::as_str)
            .filter(|_| !self.is_refused(pointer))
    }

    /// The items of the sequence at a pointer, each with its own pointer.
    pub(super) fn items(
        &self,
        pointer: &str,
    ) -> impl Iterator<Item = (String, &'a Value)> + use<'a> {
        let prefix = pointer.to_owned();
        self.at(pointer)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .enumerate()
            .map(move |(index, item)| (format!("{prefix}/{index}"), item))
    }

    /// The entries of the mapping at a pointer: the pointer of each, its key and its value.
    pub(super) fn entries(
        &self,
        pointer: &str,
    ) -> impl Iterator<Item = (String, &'a str, &'a Value)> + use<'a> {
        let prefix = pointer.to_owned();
        self.at(pointer)
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
            .map(move |(key, value)| (format!("{prefix}/{}", escape(key)), key.as_str(), value))
    }

    /// Where the value at a pointer inside the object stands.
    pub(super) fn value_span(&self, pointer: &str) -> Span {
        match self.base {
            "" => self.spans.value(pointer),
            base => self.spans.value(&format!("{base}{pointer}")),
        }
    }

    /// Where its key stands, or the first key of an item, or the nearest key above it; never more
    /// than a line.
    pub(super) fn key_span(&self, pointer: &str) -> Span {
        if let Some(first) = self.first_key(pointer) {
            return first;
        }
        let mut pointer = format!("{}{pointer}", self.base);
        loop {
            if let Some(span) = self.spans.key(&pointer) {
                return span;
            }
            match pointer.rfind('/') {
                Some(slash) if slash > self.base.len() => pointer.truncate(slash),
                _ => break,
            }
        }
        let kind = format!("{}/kind", self.base);
        self.spans
            .key(&kind)
            .unwrap_or_else(|| self.spans.value(self.base))
    }

    /// Where the first key of an item of a sequence stands: of many items it tells which one is
    /// meant.
    fn first_key(&self, pointer: &str) -> Option<Span> {
        let (list, _) = pointer.rsplit_once('/')?;
        self.at(list)?.as_array()?;
        let item = self.at(pointer)?.as_object()?;
        match item.keys().next() {
            Some(key) => {
                let base = self.base;
                self.spans.key(&format!("{base}{pointer}/{}", escape(key)))
            }
            None => Some(self.value_span(pointer)),
        }
    }

    /// Reports something about the value at a pointer.
    pub(super) fn report(&mut self, code: Code, pointer: &str, message: impl Into<String>) {
        self.push(Finding::new(code, self.value_span(pointer), message));
    }

    /// Reports a finding that is made already.
    pub(super) fn push(&mut self, finding: Finding) {
        self.worst = self.worst.max(finding.effect);
        self.findings.push(finding);
    }

    /// The gravest of what was found in this object.
    pub(super) const fn worst(&self) -> Effect {
        self.worst
    }

    /// Remembers that the schema refuses what stands at a pointer.
    pub(super) fn refuse(&mut self, pointer: String) {
        self.refused.insert(pointer);
    }

    /// Whether the schema refuses what stands at a pointer, or something that it is a part of.
    pub(super) fn is_refused(&self, pointer: &str) -> bool {
        if self.refused.is_empty() {
            return false;
        }
        let slashes = pointer.match_indices('/').map(|(slash, _)| slash);
        slashes
            .chain([pointer.len()])
            .filter_map(|end| pointer.get(..end))
            .any(|outer| self.refused.contains(outer))
    }

    /// What the text says of the scalar at a pointer: how it looks without the schema.
    pub(super) fn note(&self, pointer: &str) -> Option<&'a Note> {
        let index = || {
            let pointer = |note: &'a Note| note.pointer.strip_prefix(self.base);
            self.notes
                .iter()
                .filter_map(|note| Some((pointer(note)?, note)))
                .collect()
        };
        self.notes_by_pointer
            .get_or_init(index)
            .get(pointer)
            .copied()
    }

    /// Reports what the text says of scalars, where the schema didn't speak and somebody reads.
    pub(super) fn keep_notes(&mut self) {
        for note in self.notes {
            let pointer = note.pointer.strip_prefix(self.base).unwrap_or_default();
            if !self.is_refused(pointer) && !metadata::is_servers(pointer) {
                let finding = note.finding.clone();
                self.push(match finding.code {
                    Code::AmbiguousScalar => {
                        finding.with_fix(certain::quoted(self.text, note.span))
                    }
                    _ => finding,
                });
            }
        }
    }

    /// Which object it is.
    pub(super) fn key(&self) -> ObjectKey {
        let namespace = self.kind.is_namespaced().then(|| {
            self.at("/metadata/namespace")
                .and_then(Value::as_str)
                .unwrap_or("default")
                .into()
        });
        let name = self.at("/metadata/name").and_then(Value::as_str);
        ObjectKey {
            kind: self.kind,
            namespace,
            name: name.unwrap_or_default().into(),
        }
    }
}

/// Whether a pointer names something inside what another names, or the same.
pub(super) fn is_within(pointer: &str, outer: &str) -> bool {
    pointer
        .strip_prefix(outer)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
