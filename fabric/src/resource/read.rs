//! From a file's bytes to its objects: kind, schema, notes, decode, rules.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use super::{File, Resource, metadata, spec, structure};
use crate::api::Object;
use crate::diagnostic::{Code, Effect, Finding, Span, nearest};
use crate::document::{self, Document, Limits, Note, Spans};
use crate::name::{Kind, ObjectKey};

/// Reads the objects of a file.
#[must_use]
pub fn read(bytes: &[u8], limits: &Limits) -> File {
    let parsed = document::parse(bytes, limits);
    let mut file = File {
        resources: Vec::with_capacity(parsed.documents.len()),
        findings: parsed.findings,
    };
    for document in parsed.documents {
        read_document(document, &mut file);
    }
    file
}

/// An object while it is checked.
pub(super) struct Draft<'a> {
    pub(super) kind: Kind,
    pub(super) value: &'a Value,
    /// The JSON pointer of the object in its document.
    base: &'a str,
    spans: &'a Spans,
    notes: &'a [Note],
    findings: Vec<Finding>,
    /// The pointers inside the object that the schema refuses: nothing more is said of them.
    refused: Vec<String>,
}

fn read_document(document: Document, file: &mut File) {
    let Document {
        value,
        spans,
        notes,
    } = document;
    let spans = Arc::new(spans);
    match list_items(value) {
        Ok(items) => {
            for (index, item) in items.into_iter().enumerate() {
                let base = format!("/items/{index}");
                read_object(item, base.into(), &spans, &notes, file);
            }
        }
        Err(value) => read_object(value, "".into(), &spans, &notes, file),
    }
}

/// The items of a `List` or of a kind's own list; what is no list comes back.
fn list_items(mut value: Value) -> Result<Vec<Value>, Value> {
    let is_list = value["kind"].as_str().is_some_and(|kind| {
        kind == "List"
            || kind
                .strip_suffix("List")
                .is_some_and(|item| item.parse::<Kind>().is_ok())
    });
    match value.get_mut("items") {
        Some(Value::Array(items)) if is_list => Ok(std::mem::take(items)),
        _ => Err(value),
    }
}

fn read_object(value: Value, base: Box<str>, spans: &Arc<Spans>, notes: &[Note], file: &mut File) {
    let kind = match find_kind(&value, &base, spans) {
        Ok(kind) => kind,
        Err(finding) => {
            file.findings.push(*finding);
            return;
        }
    };
    let mut draft = Draft {
        kind,
        value: &value,
        base: &base,
        spans,
        notes,
        findings: Vec::new(),
        refused: Vec::new(),
    };
    structure::check(&mut draft);
    draft.keep_notes();
    metadata::check(&mut draft);
    spec::check(&mut draft);
    let key = draft.key();
    let mut findings = draft.findings;
    if findings
        .iter()
        .all(|finding| finding.effect < Effect::Freeze)
    {
        match decode(kind, value) {
            Ok(object) => file.resources.push(Resource {
                key,
                object,
                spans: Arc::clone(spans),
                base,
            }),
            // The schema and the rules accept nothing that doesn't decode; were it otherwise, the
            // object must not vanish without a word.
            Err(error) => findings.push(Finding::new(
                Code::NotAnObject,
                spans.value(&base),
                format!("the {kind} can't be read: {error}"),
            )),
        }
    }
    file.findings.append(&mut findings);
}

fn find_kind(value: &Value, base: &str, spans: &Spans) -> Result<Kind, Box<Finding>> {
    let Value::Object(object) = value else {
        return Err(Box::new(
            Finding::new(
                Code::NotAnObject,
                spans.value(base),
                format!(
                    "{} stands where an object is wanted",
                    structure::name(value)
                ),
            )
            .with_help("an object is a mapping with apiVersion, kind, metadata and spec"),
        ));
    };
    let place = format!("{base}/kind");
    let text = match object.get("kind") {
        Some(Value::String(text)) => text,
        Some(other) => {
            let message = format!("kind is {}, and a string is wanted", structure::name(other));
            let finding = Finding::new(Code::NotAnObject, spans.value(&place), message);
            return Err(Box::new(finding));
        }
        None => {
            let finding = Finding::new(
                Code::NotAnObject,
                first_key(object, base, spans),
                "kind is missing",
            )
            .with_help("an object is a mapping with apiVersion, kind, metadata and spec");
            return Err(Box::new(finding));
        }
    };
    let api_version = object.get("apiVersion").and_then(Value::as_str);
    let kind = text.parse::<Kind>().map_err(|()| {
        let message = format!("{} is no kind of this API", structure::quote(text));
        let finding = Finding::new(Code::UnknownKind, spans.value(&place), message);
        match nearest(text, Kind::ALL.map(Kind::as_str)) {
            Some(kind) => finding.with_help(format!("did you mean {kind}?")),
            None => finding.with_help(format!(
                "the kinds are {}",
                Kind::ALL.map(Kind::as_str).join(", ")
            )),
        }
    })?;
    match api_version {
        Some(written) if written != kind.api_version() => Err(Box::new(
            Finding::new(
                Code::UnknownKind,
                spans.value(&format!("{base}/apiVersion")),
                format!("{} has no kind {kind}", structure::quote(written)),
            )
            .with_help(format!("write {}", kind.api_version())),
        )),
        _ => Ok(kind),
    }
}

/// Where the first key of an object stands: the object's place in one line.
fn first_key(object: &serde_json::Map<String, Value>, base: &str, spans: &Spans) -> Span {
    object
        .keys()
        .next()
        .and_then(|key| spans.key(&format!("{base}/{}", structure::escape(key))))
        .unwrap_or_else(|| spans.value(base))
}

/// Decodes leniently: the schema has said all that is to be said of the structure.
fn decode(kind: Kind, value: Value) -> Result<Object, serde_json::Error> {
    Ok(match kind {
        Kind::Fabric => Object::Fabric(Deserialize::deserialize(value)?),
        Kind::Revocations => Object::Revocations(Deserialize::deserialize(value)?),
        Kind::Workloads => Object::Workloads(Deserialize::deserialize(value)?),
        Kind::Peer => Object::Peer(Deserialize::deserialize(value)?),
        Kind::Export => Object::Export(Deserialize::deserialize(value)?),
        Kind::Import => Object::Import(Deserialize::deserialize(value)?),
        Kind::AccessPolicy => Object::AccessPolicy(Deserialize::deserialize(value)?),
        Kind::PrivilegedAccessPolicy => {
            Object::PrivilegedAccessPolicy(Deserialize::deserialize(value)?)
        }
        Kind::Instance => Object::Instance(Deserialize::deserialize(value)?),
    })
}

// === impl Draft ===

impl<'a> Draft<'a> {
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
            .map(move |(key, value)| {
                let pointer = format!("{prefix}/{}", structure::escape(key));
                (pointer, key.as_str(), value)
            })
    }

    /// Where the value at a pointer inside the object stands.
    pub(super) fn value_span(&self, pointer: &str) -> Span {
        match self.base {
            "" => self.spans.value(pointer),
            base => self.spans.value(&format!("{base}{pointer}")),
        }
    }

    /// Where its key stands, or the nearest key above it; never more than a line.
    pub(super) fn key_span(&self, pointer: &str) -> Span {
        let mut pointer = format!("{}{pointer}", self.base);
        loop {
            if let Some(span) = self.spans.key(&pointer) {
                return span;
            }
            match pointer.rfind('/') {
                Some(slash) if slash >= self.base.len() => pointer.truncate(slash),
                _ => break,
            }
        }
        let kind = format!("{}/kind", self.base);
        self.spans
            .key(&kind)
            .unwrap_or_else(|| self.spans.value(self.base))
    }

    /// Reports something about the value at a pointer.
    pub(super) fn report(&mut self, code: Code, pointer: &str, message: impl Into<String>) {
        self.push(Finding::new(code, self.value_span(pointer), message));
    }

    /// Reports a finding that is made already.
    pub(super) fn push(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    /// Remembers that the schema refuses what stands at a pointer.
    pub(super) fn refuse(&mut self, pointer: String) {
        self.refused.push(pointer);
    }

    /// Whether the schema refuses what stands at a pointer, or something that it is a part of.
    pub(super) fn is_refused(&self, pointer: &str) -> bool {
        self.refused
            .iter()
            .any(|refused| is_within(pointer, refused))
    }

    /// What the text says of the scalar at a pointer: how it looks without the schema.
    pub(super) fn note(&self, pointer: &str) -> Option<&'a Note> {
        self.notes.iter().find(|note| {
            note.pointer
                .strip_prefix(self.base)
                .is_some_and(|rest| rest == pointer)
        })
    }

    /// Reports what the text says of scalars, where the schema didn't speak and somebody reads.
    fn keep_notes(&mut self) {
        for note in self.notes {
            let Some(pointer) = note.pointer.strip_prefix(self.base) else {
                continue;
            };
            let inside = pointer.is_empty() || pointer.starts_with('/');
            if inside && !self.is_refused(pointer) && !metadata::is_servers(pointer) {
                self.findings.push(note.finding.clone());
            }
        }
    }

    /// Which object it is.
    fn key(&self) -> ObjectKey {
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
