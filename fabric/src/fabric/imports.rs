//! Imports against the exports of the others, and against each other's ports.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::link::Findings;
use super::{Fabric, Item, LinkedImport, Unit};
use crate::api::Object;
use crate::diagnostic::{Code, Diagnostic, Effect, nearest};
use crate::effort::{self, Effort};
use crate::name::{ObjectName, PeerName};

/// The port on which a gateway listens for the other gateways unless told otherwise: no import can
/// have it.
pub const GATEWAY_PORT: u16 = 4443;

/// The port of a gateway's admin address unless told otherwise, on the loopback address where the
/// imports are too: no import can have it either.
pub const ADMIN_PORT: u16 = 4480;

/// Drops the sources that lead nowhere and the imports whose port is taken, and reports them; says
/// what effort that took.
pub(super) fn link(fabric: &mut Fabric, findings: &mut Findings) -> Effort {
    let effort = Effort::new(effort::NAMES);
    let mut dropped: BTreeMap<PeerName, Vec<(ObjectName, usize)>> = BTreeMap::new();
    for (peer, unit) in &fabric.units {
        let Some(diagnostics) = findings.of(peer) else {
            continue;
        };
        for (name, import) in &unit.imports {
            let Object::Import(object) = import.item.object() else {
                continue;
            };
            if object.spec.sources.is_empty() {
                let span = import.item.resource().key_span("/spec/sources");
                let message = "the import has no sources: connections to it are refused";
                diagnostics.push(Diagnostic::new(
                    Code::NoSources,
                    import.item.path(),
                    span,
                    message,
                ));
            }
            for index in 0..object.spec.sources.len() {
                if let Some(diagnostic) = check_source(fabric, peer, import, index, &effort) {
                    diagnostics.push(diagnostic);
                    dropped
                        .entry(peer.clone())
                        .or_default()
                        .push((name.clone(), index));
                }
            }
        }
    }
    for (peer, sources) in dropped {
        let Some(unit) = fabric.units.get_mut(&peer) else {
            continue;
        };
        for (name, index) in sources {
            if let Some(import) = unit.imports.get_mut(&name) {
                import.dropped.insert(index);
            }
        }
    }
    for (peer, unit) in &mut fabric.units {
        if let Some(diagnostics) = findings.of(peer) {
            check_ports(unit, diagnostics);
            unit.sources = Arc::new(sources(unit));
            let ends = unit.policies.iter().filter_map(Item::expires);
            unit.ends = Arc::new(ends.collect());
        }
    }
    effort
}

/// The peers that a unit's imports lead to.
fn sources(unit: &Unit) -> BTreeSet<PeerName> {
    let sources = unit.imports.values().flat_map(|import| {
        let sources = match import.item.object() {
            Object::Import(object) => object.spec.sources.as_slice(),
            _ => &[],
        };
        let sources = sources.iter().enumerate();
        sources.filter(|(index, _)| !import.dropped.contains(index))
    });
    sources
        .filter_map(|(_, source)| source.peer.parse().ok())
        .collect()
}

fn check_source(
    fabric: &Fabric,
    importer: &PeerName,
    import: &LinkedImport,
    index: usize,
    effort: &Effort,
) -> Option<Diagnostic> {
    let item = &import.item;
    let Object::Import(object) = item.object() else {
        return None;
    };
    let source = object.spec.sources.get(index)?;
    let span = |field: &str| {
        item.resource()
            .value_span(&format!("/spec/sources/{index}/{field}"))
    };
    let known = source.peer.parse::<PeerName>().ok();
    if known
        .as_ref()
        .is_some_and(|peer| peer != importer && fabric.unknown.contains(peer))
    {
        // A broken unit's exports are unknown, not absent; but what it imports from itself goes by
        // the state at which it stands, so that a freeze changes nothing in it.
        return None;
    }
    let Some(unit) = known.and_then(|peer| fabric.units.get(&peer)) else {
        let message = format!("the fabric has no peer {:?}", source.peer);
        let peers = effort.affords(fabric.units.len()).then_some(&fabric.units);
        let peers = peers.into_iter().flat_map(BTreeMap::keys);
        let peers = peers.map(PeerName::as_str);
        let diagnostic = Diagnostic::new(Code::UnknownPeer, item.path(), span("peer"), message);
        return Some(match nearest(&source.peer, peers) {
            Some(peer) => diagnostic.with_help(format!("did you mean {peer:?}?")),
            None => diagnostic,
        });
    };
    let export = ObjectName::new(&source.export_namespace, &source.export_name);
    if export
        .as_ref()
        .is_ok_and(|export| unit.exports.contains_key(export))
    {
        return None;
    }
    let (namespace, name) = (&source.export_namespace, &source.export_name);
    let message = format!("the peer {:?} exports no {namespace}/{name}", source.peer);
    // The same name in another namespace is the likeliest slip, then a letter.
    let exports = effort.affords(unit.exports.len()).then_some(&unit.exports);
    let exports = || exports.into_iter().flat_map(BTreeMap::keys);
    let moved = exports().find(|export| export.name() == *name);
    let close = || {
        let same = exports().filter(|export| export.namespace() == *namespace);
        nearest(name, same.map(ObjectName::name)).map(|name| format!("{namespace}/{name}"))
    };
    let field = if moved.is_some() {
        "exportNamespace"
    } else {
        "exportName"
    };
    let diagnostic = Diagnostic::new(Code::UnknownExport, item.path(), span(field), message)
        .with_related(
            unit.peer.path(),
            unit.peer.resource().value_span("/metadata/name"),
            "this peer",
        );
    Some(match moved.map(ToString::to_string).or_else(close) {
        Some(export) => diagnostic.with_help(format!("did you mean {export:?}?")),
        None => diagnostic,
    })
}

/// Finds imports that would listen on one port; the later one by name is dropped.
///
/// A target port that is written counts everywhere. A port that stands in for an absent target port
/// counts on a host without Kubernetes; in a cluster a free one is leased.
fn check_ports(unit: &mut Unit, diagnostics: &mut Vec<Diagnostic>) {
    let is_host = unit.workloads.is_some();
    let mut taken: BTreeMap<u16, (bool, ObjectName)> = BTreeMap::new();
    let mut dropped = Vec::new();
    for (name, import) in &unit.imports {
        let Object::Import(object) = import.item.object() else {
            continue;
        };
        let (port, is_written) = match object.spec.target_port {
            0 => (object.spec.port.get(), false),
            port => (port, true),
        };
        let resource = import.item.resource();
        // The place is told for a finding alone: it may have to be looked up in the text.
        let report = |message: String| {
            let span = resource.value_span(field(is_written));
            Diagnostic::new(Code::PortClash, import.item.path(), span, message)
        };
        if matches!(port, GATEWAY_PORT | ADMIN_PORT) && (is_written || is_host) {
            let message = format!("port {port} is the gateway's own");
            diagnostics
                .push(report(message).with_help("choose another targetPort, or leave it out"));
            dropped.push(name.clone());
            continue;
        }
        let Some((other_written, other)) = taken.get(&port).cloned() else {
            taken.insert(port, (is_written, name.clone()));
            continue;
        };
        let is_certain = is_host || (is_written && other_written);
        let message = match is_certain {
            true => format!("port {port} is taken by the import {other}"),
            false => format!("without Kubernetes port {port} is taken by the import {other}"),
        };
        let first = unit.imports.get(&other).map(|other| &other.item);
        let mut diagnostic = report(message).with_help("give one of them another targetPort");
        if let Some(first) = first {
            let span = first.resource().value_span(field(other_written));
            diagnostic = diagnostic.with_related(first.path(), span, "the other one");
        }
        if is_certain {
            dropped.push(name.clone());
        } else {
            diagnostic = diagnostic.with_effect(Effect::Warn);
            if is_written {
                // The others clash with this one for certain.
                taken.insert(port, (is_written, name.clone()));
            }
        }
        diagnostics.push(diagnostic);
    }
    for name in dropped {
        unit.imports.remove(&name);
    }
}

/// Where the port stands that an import listens on.
const fn field(is_written: bool) -> &'static str {
    match is_written {
        true => "/spec/targetPort",
        false => "/spec/port",
    }
}
