//! The rules about names, namespaces, labels and annotations.

use super::certain;
use super::draft::{Draft, is_within};
use super::structure::quote;
use crate::api::{
    Annotation, Compatibility, check_label_key, check_label_value, parse_limit, parse_selector,
    parse_time,
};
use crate::diagnostic::{Code, Finding, nearest};
use crate::name::{Kind, check_label, check_object_name, check_subdomain};
use crate::schema::SERVER_METADATA;

/// What labels and annotations of Weft's own begin with.
const RESERVED: &str = "weft.dev/";

/// Whether a pointer inside an object names something that only a server writes.
pub(super) fn is_servers(pointer: &str) -> bool {
    is_within(pointer, "/status")
        || pointer
            .strip_prefix("/metadata/")
            .is_some_and(|rest| SERVER_METADATA.iter().any(|field| is_within(rest, field)))
}

pub(super) fn check(draft: &mut Draft<'_>) {
    check_name(draft);
    check_namespace(draft);
    check_labels(draft, "/metadata/labels");
    check_annotations(draft);
    note_server_fields(draft);
}

/// Checks the labels at a pointer: the keys' form, the values' form, and that none is Weft's own.
pub(super) fn check_labels(draft: &mut Draft<'_>, pointer: &str) {
    for (pointer, key, value) in draft.entries(pointer) {
        if key.starts_with(RESERVED) {
            let message = format!("the label {} is reserved", quote(key));
            let finding = Finding::new(Code::ReservedLabel, draft.key_span(&pointer), message);
            draft.push(finding.with_help("labels under `weft.dev/` are written by Weft alone"));
        } else if let Err(error) = check_label_key(key) {
            let message = format!("{} is no label key: {error}", quote(key));
            draft.push(Finding::new(
                Code::BadLabel,
                draft.key_span(&pointer),
                message,
            ));
        }
        if let Some(Err(error)) = value.as_str().map(check_label_value) {
            let written = quote(value.as_str().unwrap_or_default());
            let message = format!("{written} is no label value: {error}");
            draft.report(Code::BadLabel, &pointer, message);
        }
    }
}

/// Checks that the string at a pointer is a namespace.
pub(super) fn check_namespace_at(draft: &mut Draft<'_>, pointer: &str) {
    if let Some(text) = draft.text(pointer)
        && let Err(error) = check_label(text)
    {
        let message = format!("{} is no namespace: {error}", quote(text));
        draft.report(Code::BadName, pointer, message);
    }
}

/// Checks that the string at a pointer is the name of an object.
pub(super) fn check_name_at(draft: &mut Draft<'_>, pointer: &str, what: &str) {
    if let Some(text) = draft.text(pointer)
        && let Err(error) = check_object_name(text)
    {
        let message = format!("{} is no {what}: {error}", quote(text));
        draft.report(Code::BadName, pointer, message);
    }
}

/// Checks that the string at a pointer is the name of a peer, which a certificate proves.
pub(super) fn check_peer_name_at(draft: &mut Draft<'_>, pointer: &str) {
    if let Some(text) = draft.text(pointer)
        && let Err(error) = check_subdomain(text)
    {
        let message = format!("{} is no peer name: {error}", quote(text));
        draft.report(Code::BadName, pointer, message);
    }
}

fn check_name(draft: &mut Draft<'_>) {
    let pointer = "/metadata/name";
    match draft.kind {
        Kind::Import => check_import_name(draft, pointer),
        Kind::Peer => check_peer_name_at(draft, pointer),
        _ => check_name_at(draft, pointer, "name"),
    }
    let why_no_service = |name: &str| match name {
        _ if name.contains('.') => Some("it has dots"),
        _ if name.len() > 63 => Some("it is longer than 63 characters"),
        _ => None,
    };
    if draft.kind == Kind::Export
        && let Some(why) = draft.text(pointer).and_then(why_no_service)
        && draft.at("/spec/host").is_none()
    {
        let message = format!("no Kubernetes Service can have this name: {why}");
        let finding = Finding::new(Code::UnlikelyName, draft.value_span(pointer), message);
        draft.push(finding.with_help("name the service's host in `spec.host`"));
    }
}

/// An import's name becomes the name of a Service.
fn check_import_name(draft: &mut Draft<'_>, pointer: &str) {
    let Some(name) = draft.text(pointer) else {
        return;
    };
    if let Err(error) = check_label(name) {
        let message = format!("{} is no import name: {error}", quote(name));
        draft.report(Code::BadName, pointer, message);
    } else if name.starts_with(|c: char| c.is_ascii_digit()) {
        let message = "the name begins with a digit, which Kubernetes may refuse in a Service";
        draft.report(Code::UnlikelyName, pointer, message);
    }
}

fn check_namespace(draft: &mut Draft<'_>) {
    let pointer = "/metadata/namespace";
    let metadata = draft
        .at("/metadata")
        .is_some_and(|metadata| metadata.is_object());
    match (draft.kind, draft.at(pointer)) {
        // A Peer's namespace says nothing, but it must be one.
        (Kind::Peer, _) => check_namespace_at(draft, pointer),
        (kind, Some(_)) if kind.is_namespaced() => check_namespace_at(draft, pointer),
        (kind, None) if kind.is_namespaced() && metadata => {
            let span = match draft.at("/metadata/name") {
                Some(_) => draft.value_span("/metadata/name"),
                None => draft.key_span("/metadata"),
            };
            let finding = Finding::new(Code::NoNamespace, span, "no namespace is named");
            let fix = certain::namespace(draft, span);
            draft.push(
                finding
                    .with_help("`default` is taken; write `namespace: default`")
                    .with_fix(fix),
            );
        }
        (kind, Some(_)) if !draft.is_refused(pointer) => {
            let message = format!("a {kind} has no namespace; this one is ignored");
            let finding = Finding::new(Code::NamespaceIgnored, draft.key_span(pointer), message);
            let fix = certain::without(draft, &[pointer]);
            draft.push(finding.with_help("remove it").with_fix(fix));
        }
        _ => {}
    }
}

fn check_annotations(draft: &mut Draft<'_>) {
    for (pointer, key, value) in draft.entries("/metadata/annotations") {
        if let Some(annotation) = Annotation::of_key(key) {
            check_annotation(draft, &pointer, annotation, value.as_str());
        } else if key.starts_with(RESERVED) {
            // A slip here would put a policy in force for every peer.
            let message = format!("the annotation {} is reserved", quote(key));
            let finding = Finding::new(Code::ReservedLabel, draft.key_span(&pointer), message);
            draft.push(match nearest(key, Annotation::ALL.map(Annotation::key)) {
                Some(meant) => finding.with_help(format!("did you mean `{meant}`?")),
                None => {
                    finding.with_help("annotations under `weft.dev/` are written by Weft alone")
                }
            });
        } else {
            check_annotation_key(draft, &pointer, key);
        }
    }
}

/// Checks an annotation of ours: where it stands, and what it says.
fn check_annotation(
    draft: &mut Draft<'_>,
    pointer: &str,
    annotation: Annotation,
    text: Option<&str>,
) {
    // The one of the peers was never refused where it says nothing.
    if annotation.is_effect() && !annotation.kinds().contains(&draft.kind) {
        let message = format!(
            "the annotation {annotation} says nothing in the kind {}",
            draft.kind
        );
        let kinds: Vec<_> = annotation.kinds().iter().map(ToString::to_string).collect();
        let finding = Finding::new(Code::ReservedLabel, draft.key_span(pointer), message);
        draft.push(finding.with_help(format!("it is for {}", kinds.join(" and "))));
        return;
    }
    let Some(text) = text else { return };
    match annotation {
        Annotation::Peers => {
            if let Err(error) = parse_selector(text) {
                let message =
                    format!("the selector of `{annotation}` can't be understood: {error}");
                draft.report(Code::BadSelector, pointer, message);
            }
        }
        Annotation::Expires => {
            if let Err(error) = parse_time(text) {
                draft.report(
                    Code::BadTime,
                    pointer,
                    format!("{} is {error}", quote(text)),
                );
            }
        }
        Annotation::Compatibility => {
            if let Err(error) = text.parse::<Compatibility>() {
                let message = format!("{} is {error}", quote(text));
                draft.report(Code::BadCompatibility, pointer, message);
            }
        }
        Annotation::MaxConnections | Annotation::ConnectionsPerSecond => {
            if parse_limit(text).is_none() {
                let message = format!("{} is no whole number up to {}", quote(text), u32::MAX);
                draft.report(Code::BadLimit, pointer, message);
            }
        }
    }
}

/// Checks a key as that of an annotation: as a label's, but for capitals in the prefix.
fn check_annotation_key(draft: &mut Draft<'_>, pointer: &str, key: &str) {
    if let Err(error) = check_label_key(&key.to_lowercase()) {
        let message = format!("{} is no annotation key: {error}", quote(key));
        let finding = Finding::new(Code::BadLabel, draft.key_span(pointer), message);
        draft.push(finding);
    }
}

/// Checks the keys of the annotations at a pointer that are for another object.
pub(super) fn check_annotation_keys(draft: &mut Draft<'_>, pointer: &str) {
    for (pointer, key, _) in draft.entries(pointer) {
        check_annotation_key(draft, &pointer, key);
    }
}

/// Says once for the object what of it is ignored.
fn note_server_fields(draft: &mut Draft<'_>) {
    let mut ignored: Vec<String> = draft
        .entries("/metadata")
        .filter(|(_, key, _)| SERVER_METADATA.contains(key))
        .map(|(pointer, ..)| pointer)
        .collect();
    if draft.at("/status").is_some() {
        ignored.push("/status".to_owned());
    }
    let Some((first, rest)) = ignored.split_first() else {
        return;
    };
    let names: Vec<&str> = ignored
        .iter()
        .filter_map(|pointer| pointer.rsplit('/').next())
        .collect();
    let message = format!("only a server writes `{}`; ignored", names.join("`, `"));
    let mut finding = Finding::new(Code::ServerField, draft.key_span(first), message);
    for pointer in rest {
        finding = finding.with_related(draft.key_span(pointer), "");
    }
    let pointers: Vec<_> = ignored.iter().map(String::as_str).collect();
    let fix = certain::without(draft, &pointers);
    draft.push(finding.with_fix(fix));
}
