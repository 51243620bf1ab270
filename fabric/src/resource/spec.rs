//! The rules about single objects' specs that a schema can't say.

use std::fmt::Display;

use serde_json::Value;

use super::draft::Draft;
use super::metadata::{
    check_annotation_keys, check_labels, check_name_at, check_namespace_at, check_peer_name_at,
};
use super::structure::quote;
use crate::api::Duration;
use crate::diagnostic::{Code, Finding};
use crate::host::{Host, HostError, NetworkError, parse_network};
use crate::name::Kind;

pub(super) fn check(draft: &mut Draft<'_>) {
    match draft.kind {
        Kind::Fabric => check_fabric(draft),
        Kind::Revocations => check_revocations(draft),
        Kind::Workloads => check_workloads(draft),
        Kind::Peer => {
            for (gateway, _) in draft.items("/spec/gateways") {
                check_host(draft, &format!("{gateway}/host"));
            }
        }
        Kind::Export => check_host(draft, "/spec/host"),
        Kind::Import => check_import(draft),
        Kind::AccessPolicy | Kind::PrivilegedAccessPolicy => check_policy(draft),
        Kind::Instance => {
            check_namespace_at(draft, "/spec/namespace");
            check_labels(draft, "/spec/peerLabels");
            check_annotation_keys(draft, "/spec/ingress/annotations");
        }
        Kind::Invariant => check_invariant(draft),
    }
}

fn check_fabric(draft: &mut Draft<'_>) {
    for (pointer, _) in draft.items("/spec/exportHosts/allow") {
        match draft.text(&pointer) {
            Some(text) if text.contains('/') => check_network(draft, &pointer),
            Some(_) => check_host(draft, &pointer),
            None => {}
        }
    }
    for pointer in [
        "/spec/certificates/validity",
        "/spec/heartbeat/interval",
        "/spec/heartbeat/timeout",
        "/spec/limits/handshakeTimeout",
        "/spec/limits/dialTimeout",
        "/spec/limits/openTimeout",
        "/spec/limits/connectTimeout",
        "/spec/limits/idleTimeout",
        "/spec/limits/halfClosedTimeout",
    ] {
        let Some(text) = draft.text(pointer) else {
            continue;
        };
        match text.parse::<Duration>() {
            Ok(duration) if duration.is_zero() && !pointer.starts_with("/spec/limits/") => {
                let message = format!("{} is no time at all", quote(text));
                draft.report(Code::OutOfRange, pointer, message);
            }
            Ok(_) => {}
            Err(error) => {
                let message = format!("{} is {error}", quote(text));
                draft.report(Code::BadDuration, pointer, message);
            }
        }
    }
}

fn check_revocations(draft: &mut Draft<'_>) {
    for (entry, _) in draft.items("/spec/certificates") {
        let pointer = format!("{entry}/date");
        if let Some(text) = draft.text(&pointer)
            && text.parse::<jiff::civil::Date>().is_err()
        {
            let message = format!("{} is no day of the calendar", quote(text));
            draft.report(Code::OutOfRange, &pointer, message);
        }
    }
}

fn check_workloads(draft: &mut Draft<'_>) {
    for (entry, _) in draft.items("/spec/workloads") {
        for (pointer, _) in draft.items(&format!("{entry}/addresses")) {
            check_network(draft, &pointer);
        }
        check_namespace_at(draft, &format!("{entry}/namespace"));
        check_name_at(draft, &format!("{entry}/serviceAccount"), "service account");
        check_labels(draft, &format!("{entry}/labels"));
    }
}

fn check_import(draft: &mut Draft<'_>) {
    for (source, _) in draft.items("/spec/sources") {
        check_peer_name_at(draft, &format!("{source}/peer"));
        check_name_at(draft, &format!("{source}/exportName"), "export name");
        check_namespace_at(draft, &format!("{source}/exportNamespace"));
    }
}

fn check_policy(draft: &mut Draft<'_>) {
    for side in ["/spec/from", "/spec/to"] {
        for (entry, value) in draft.items(side) {
            let Value::Object(fields) = value else {
                continue;
            };
            let sets = fields.get("workloadSets").and_then(Value::as_array);
            if !fields.contains_key("workloadSelector") && sets.is_none_or(Vec::is_empty) {
                let message = "the entry selects nothing: it has no `workloadSelector`";
                let finding = Finding::new(Code::MissingField, draft.key_span(&entry), message);
                draft.push(
                    finding.with_help("an empty one selects everything: `workloadSelector: {}`"),
                );
            }
            for (pointer, _) in draft.items(&format!("{entry}/workloadSelector/matchExpressions")) {
                check_requirement(draft, &pointer);
            }
        }
    }
}

fn check_invariant(draft: &mut Draft<'_>) {
    check_policy(draft);
    for (pointer, _) in draft.items("/spec/losing/peers") {
        check_peer_name_at(draft, &pointer);
    }
    let survives = draft
        .text("/spec/rule")
        .is_none_or(|rule| rule == "survives");
    if !survives && draft.at("/spec/losing").is_some() {
        let message = "only the rule `survives` looks at a loss";
        let finding = Finding::new(Code::BadInvariant, draft.key_span("/spec/losing"), message);
        draft.push(finding.with_help("remove `losing`, or write `rule: survives`"));
    }
}

fn check_requirement(draft: &mut Draft<'_>, pointer: &str) {
    let values_at = format!("{pointer}/values");
    let values = draft.at(&values_at).and_then(Value::as_array);
    let count = values.map_or(0, Vec::len);
    match draft.text(&format!("{pointer}/operator")) {
        Some(operator @ ("In" | "NotIn")) if count == 0 && !draft.is_refused(&values_at) => {
            let span = draft.value_span(&format!("{pointer}/operator"));
            let message = format!("`{operator}` needs values");
            draft.push(Finding::new(Code::BadSelector, span, message));
        }
        Some(operator @ ("Exists" | "DoesNotExist")) if count > 0 => {
            let message = format!("`{operator}` takes no values");
            let finding = Finding::new(Code::BadSelector, draft.key_span(&values_at), message);
            draft.push(finding.with_help("remove the values, or write `In` or `NotIn`"));
        }
        _ => {}
    }
}

/// Checks that the string at a pointer is a host.
fn check_host(draft: &mut Draft<'_>, pointer: &str) {
    let Some(text) = draft.text(pointer) else {
        return;
    };
    let Err(error) = text.parse::<Host>() else {
        return;
    };
    let finding = refused(draft, Code::BadHost, pointer, text, "host", &error);
    draft.push(match error {
        HostError::Spelling(address) => finding.with_help(format!("write `{address}`")),
        _ => finding,
    });
}

/// Checks that the string at a pointer is an address range.
fn check_network(draft: &mut Draft<'_>, pointer: &str) {
    let Some(text) = draft.text(pointer) else {
        return;
    };
    let Err(error) = parse_network(text) else {
        return;
    };
    let finding = refused(
        draft,
        Code::BadAddress,
        pointer,
        text,
        "address range",
        &error,
    );
    draft.push(match error {
        NetworkError::HostBits(network) => finding.with_help(format!("write `{network}`")),
        NetworkError::Spelling(usual) => finding.with_help(format!("write `{usual}`")),
        NetworkError::Prefix(_) | NetworkError::Syntax => finding,
    });
}

fn refused(
    draft: &Draft<'_>,
    code: Code,
    pointer: &str,
    text: &str,
    what: &str,
    error: &dyn Display,
) -> Finding {
    let message = format!("{} is no {what}: {error}", quote(text));
    Finding::new(code, draft.value_span(pointer), message)
}
