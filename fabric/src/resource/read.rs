//! From a file's bytes to its objects: kind, schema, notes, rules, decode.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::draft::Draft;
use super::places::Places;
use super::structure::{escape, name, quote};
use super::{File, Resource, certain, metadata, spec, structure};
use crate::api::Object;
use crate::diagnostic::{Code, Effect, Finding, Span, nearest_or_same};
use crate::document::{self, Document, Limits, Note, Spans};
use crate::findings::Findings;
use crate::name::Kind;

/// What an object is, for those who wrote something else.
const WHOLE: &str = "an object is a mapping with `apiVersion`, `kind`, `metadata` and `spec`";

/// Reads the objects of a file.
///
/// As of the text, at most 256 findings of each code are kept, and one that counts the rest.
#[must_use]
pub fn read(bytes: &[u8], limits: &Limits) -> File {
    let parsed = document::parse(bytes, limits);
    let mut file = File {
        resources: Vec::with_capacity(parsed.documents.len()),
        findings: parsed.findings,
    };
    let mut findings = Findings::default();
    for (index, document) in (0..).zip(parsed.documents) {
        read_document(bytes, document, index, &mut file.resources, &mut findings);
    }
    findings.finish_into(&mut file.findings);
    file
}

fn read_document(
    text: &[u8],
    document: Document,
    index: u32,
    resources: &mut Vec<Resource>,
    findings: &mut Findings,
) {
    let Document {
        value,
        spans,
        mut notes,
    } = document;
    let spans = Arc::new(spans);
    let place = |base| ObjectPlace {
        spans: &spans,
        document: index,
        base,
    };
    match list_items(value) {
        Ok(items) => {
            // What else a List says, nobody reads; of what is left the indices only rise.
            notes.retain(|note| item_index(&note.pointer).is_some());
            let mut notes = notes.as_slice();
            for (item_index, item) in items.into_iter().enumerate() {
                let base = format!("/items/{item_index}");
                let own = notes_within(&base, &mut notes);
                resources.extend(read_object(text, item, place(base.into()), own, findings));
            }
        }
        Err(value) => {
            resources.extend(read_object(text, value, place("".into()), &notes, findings));
        }
    }
}

/// The items of a `List` or of a kind's own list; what is no list comes back.
fn list_items(mut value: Value) -> Result<Vec<Value>, Value> {
    let is_list = value["kind"].as_str().is_some_and(|kind| {
        let item = kind.strip_suffix("List");
        item.is_some_and(|item| item.is_empty() || item.parse::<Kind>().is_ok())
    });
    match value.get_mut("items") {
        Some(Value::Array(items)) if is_list => Ok(std::mem::take(items)),
        _ => Err(value),
    }
}

/// Takes the notes within a pointer off the front; they stand in the order of the text.
fn notes_within<'a>(pointer: &str, notes: &mut &'a [Note]) -> &'a [Note] {
    let index = |note: &Note| item_index(&note.pointer);
    let wanted = item_index(pointer);
    let first = notes.partition_point(|note| index(note) < wanted);
    let own = notes.get(first..).unwrap_or_default();
    let end = own.partition_point(|note| index(note) == wanted);
    let (own, rest) = own.split_at(end);
    *notes = rest;
    own
}

/// The index of a List's item that a pointer leads into; what stands before the items has none.
fn item_index(pointer: &str) -> Option<usize> {
    let rest = pointer.strip_prefix("/items/")?;
    rest.split('/').next()?.parse().ok()
}

/// Where an object stands.
struct ObjectPlace<'a> {
    spans: &'a Arc<Spans>,
    document: u32,
    base: Box<str>,
}

fn read_object(
    text: &[u8],
    value: Value,
    place: ObjectPlace<'_>,
    notes: &[Note],
    findings: &mut Findings,
) -> Option<Resource> {
    let ObjectPlace {
        spans,
        document,
        base,
    } = place;
    let kind = match find_kind(text, &value, &base, spans) {
        Ok(kind) => kind,
        Err(finding) => {
            findings.push(*finding);
            return None;
        }
    };
    let mut draft = Draft::new(kind, text, &value, &base, spans, notes, findings);
    structure::check(&mut draft);
    draft.keep_notes();
    metadata::check(&mut draft);
    spec::check(&mut draft);
    if draft.worst() == Effect::Freeze {
        return None;
    }
    let key = draft.key();
    match decode(kind, value) {
        Ok(object) => Some(Resource {
            key,
            object,
            places: Places::Known(Arc::clone(spans)),
            document,
            line: spans.value(&base).line,
            base,
        }),
        // The schema and the rules accept nothing that doesn't decode; were it otherwise, the
        // object must not vanish without a word.
        Err(error) => {
            let message = format!("the {kind} can't be read: {error}");
            findings.push(Finding::new(Code::NotAnObject, spans.value(&base), message));
            None
        }
    }
}

fn find_kind(text: &[u8], value: &Value, base: &str, spans: &Spans) -> Result<Kind, Box<Finding>> {
    let value_at = |field: &str| spans.value(&format!("{base}/{field}"));
    let refuse = |code, span, message: String| Box::new(Finding::new(code, span, message));
    let Value::Object(object) = value else {
        let message = format!("{} stands where an object is wanted", name(value));
        let finding = Finding::new(Code::NotAnObject, spans.value(base), message);
        return Err(Box::new(finding.with_help(WHOLE)));
    };
    let written = match object.get("kind") {
        Some(Value::String(written)) => written,
        Some(other) => {
            let message = format!("`kind` is {}, and a string is wanted", name(other));
            return Err(refuse(Code::NotAnObject, value_at("kind"), message));
        }
        None => {
            let place = first_key(object, base, spans);
            let finding = Finding::new(Code::NotAnObject, place, "the object has no `kind`");
            return Err(Box::new(finding.with_help(WHOLE)));
        }
    };
    let Ok(kind) = written.parse::<Kind>() else {
        let message = format!("{} is no kind of this API", quote(written));
        let finding = Finding::new(Code::UnknownKind, value_at("kind"), message);
        return Err(Box::new(
            match nearest_or_same(written, Kind::ALL.map(Kind::as_str)) {
                Some(kind) => finding
                    .with_help(format!("did you mean `{kind}`?"))
                    .with_fix(certain::other_case(text, value_at("kind"), written, kind)),
                None => {
                    let all = Kind::ALL.map(Kind::as_str).join(", ");
                    finding.with_help(format!("the kinds are {all}"))
                }
            },
        ));
    };
    match object.get("apiVersion") {
        // Of another API, or of a version that isn't known here: nothing else can be said of it.
        Some(Value::String(written)) if written != kind.api_version() => {
            let message = format!("{} has no kind `{kind}`", quote(written));
            let finding = Finding::new(Code::UnknownKind, value_at("apiVersion"), message);
            let usual = kind.api_version();
            Err(Box::new(finding.with_help(format!("write `{usual}`"))))
        }
        _ => Ok(kind),
    }
}

/// Where the first key of an object stands: the object's place in one line.
fn first_key(object: &Map<String, Value>, base: &str, spans: &Spans) -> Span {
    object
        .keys()
        .next()
        .and_then(|key| spans.key(&format!("{base}/{}", escape(key))))
        .unwrap_or_else(|| spans.value(base))
}

/// Decodes leniently: the schema has said all that is to be said of the structure.
pub(super) fn decode(kind: Kind, value: Value) -> Result<Object, serde_json::Error> {
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
        Kind::Invariant => Object::Invariant(Deserialize::deserialize(value)?),
    })
}
