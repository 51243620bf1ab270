//! What is said of an invariant.

use super::CounterExample;
use super::question::{Answer, Mistake, Undecided};
use crate::api::{InvariantSpec, Object};
use crate::attributes::Client;
use crate::diagnostic::{Code, Diagnostic, Effect, Span};
use crate::fabric::{Fabric, Item};
use crate::name::{ObjectName, PeerName};
use crate::policy::Rule;
use crate::reach::{Route, Verdict, Why, Witness};

/// Labels of a client that are told: one that is declared may have more than a line holds.
const LABELS: usize = 8;

/// A client that reaches what it must not.
pub(super) fn reaches(peer: &PeerName, witness: Witness) -> CounterExample {
    let allowed = witness.verdicts.into_iter().find(|(_, v)| v.allowed);
    let who = describe(witness.client.as_ref(), peer);
    let message = match &allowed {
        Some((route, _)) => format!("{who} reaches {}", describe_route(route)),
        None => format!("{who} reaches one of the services"),
    };
    let (route, verdict) = allowed.unzip();
    CounterExample {
        message,
        route,
        peer: peer.clone(),
        client: witness.client,
        verdict,
        lost: Vec::new(),
    }
}

/// A peer from which a service can't be reached at all.
pub(super) fn no_import(peer: &PeerName, export: &ObjectName) -> CounterExample {
    CounterExample {
        message: format!("no client of {peer} reaches {export}: no import in force leads there"),
        route: None,
        peer: peer.clone(),
        client: None,
        verdict: None,
        lost: Vec::new(),
    }
}

/// A client that doesn't reach what it must.
pub(super) fn unreached(
    peer: &PeerName,
    export: &ObjectName,
    witness: Witness,
    lost: Vec<PeerName>,
) -> CounterExample {
    let who = describe(witness.client.as_ref(), peer);
    let denied = witness.verdicts.into_iter().find(|(_, v)| !v.allowed);
    let mut message = format!("{who} doesn't reach {export}");
    if !lost.is_empty() {
        let names: Vec<_> = lost.iter().map(PeerName::as_str).collect();
        message.push_str(" without ");
        message.push_str(&names.join(" and "));
    }
    if let Some((route, verdict)) = &denied {
        message.push_str(": ");
        message.push_str(&refusal(route, verdict));
    }
    let (route, verdict) = denied.unzip();
    CounterExample {
        message,
        route,
        peer: peer.clone(),
        client: witness.client,
        verdict,
        lost,
    }
}

fn describe(client: Option<&Client>, peer: &PeerName) -> String {
    let Some(client) = client else {
        return format!("a client of {peer} of which the peer knows nothing");
    };
    let Client {
        namespace,
        service_account,
        labels,
    } = client;
    let mut words = format!("the client {namespace}/{service_account}");
    let told: Vec<_> = labels
        .iter()
        .take(LABELS)
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    if !told.is_empty() {
        words.push_str(&format!(" with {}", told.join(", ")));
    }
    format!("{words} of {peer}")
}

fn describe_route(route: &Route) -> String {
    let Route {
        export_peer,
        export,
        import,
        ..
    } = route;
    format!("{export} of {export_peer} through its import {import}")
}

/// Why nobody is let through: the side that says no.
fn refusal(route: &Route, verdict: &Verdict) -> String {
    let sides = [
        (&verdict.importer, &route.client_peer),
        (&verdict.exporter, &route.export_peer),
    ];
    let mut refusing = sides
        .into_iter()
        .filter(|(why, _)| !matches!(why, Why::Allowed(_)));
    let Some((why, peer)) = refusing.next() else {
        return "it is refused".to_owned();
    };
    match why {
        Why::Denied(rule) => format!("{} denies it at {peer}", rule.key),
        Why::UnknownClient(rule) => format!("{} of {peer} depends on the client", rule.key),
        Why::DefaultDeny => format!("no policy of {peer} allows it"),
        Why::NoRoute | Why::Allowed(_) => "there is no route".to_owned(),
    }
}

/// What is to be reported of an invariant.
pub(super) fn diagnostics(fabric: &Fabric, item: &Item, answer: &Answer) -> Vec<Diagnostic> {
    let Object::Invariant(invariant) = item.object() else {
        return Vec::new();
    };
    let spec = &invariant.spec;
    let name = &invariant.metadata.name;
    match answer {
        Answer::NotUnderstood(mistakes) => mistakes.iter().map(|m| mistaken(item, m)).collect(),
        Answer::Nothing(field, must_be_there) => {
            let what = match *field {
                "to" => "no export of the fabric matches `to`",
                _ => "no peer of the fabric matches `from`",
            };
            let (effect, so) = match must_be_there {
                true => (Effect::Fail, "nothing is there that must be reached"),
                false => (Effect::Warn, "the invariant says nothing"),
            };
            let span = item.resource().key_span(&format!("/spec/{field}"));
            let message = format!("{what}, so {so}");
            vec![
                Diagnostic::new(Code::InvariantSelectsNothing, item.path(), span, message)
                    .with_effect(effect),
            ]
        }
        Answer::Checked {
            examples,
            undecided,
        } => {
            let mut diagnostics: Vec<_> = examples
                .iter()
                .map(|example| broken(fabric, item, spec, example))
                .collect();
            if let (Some(why), true) = (undecided, examples.is_empty()) {
                diagnostics.push(untold(fabric, item, name, *why));
            }
            diagnostics
        }
    }
}

/// That it can't be told whether an invariant holds.
fn untold(fabric: &Fabric, item: &Item, name: &str, why: Undecided) -> Diagnostic {
    let (message, help) = match why {
        Undecided::Entangled => (
            format!("it can't be told for every client whether {name:?} holds"),
            "make the invariant narrower, or the policies simpler",
        ),
        Undecided::Unknown => {
            // More than these nobody mends at once; each has an error of its own.
            let peers: Vec<_> = fabric
                .unknown
                .iter()
                .take(3)
                .map(PeerName::as_str)
                .collect();
            let more = match fabric.unknown.len().checked_sub(peers.len()) {
                None | Some(0) => String::new(),
                Some(more) => format!(" and {more} more"),
            };
            let peers = peers.join(", ");
            (
                format!(
                    "it can't be told whether {name:?} holds while {peers}{more} can't be understood"
                ),
                "mend those first",
            )
        }
        Undecided::Spent => (
            format!(
                "{name:?} isn't checked: together the invariants take more work than a check may"
            ),
            "make the invariants fewer, or their `from` and `to` narrower",
        ),
    };
    let span = item.resource().value_span("/spec/rule");
    Diagnostic::new(Code::InvariantUndecided, item.path(), span, message).with_help(help)
}

fn mistaken(item: &Item, mistake: &Mistake) -> Diagnostic {
    let resource = item.resource();
    let (span, message) = match mistake {
        Mistake::NoAttribute(no) => (
            resource.value_span(&no.pointer),
            format!("{:?} is no attribute in `{}`", no.key, no.field),
        ),
        Mistake::NoPeer(index, name) => (
            resource.value_span(&format!("/spec/losing/peers/{index}")),
            format!("the fabric has no peer {name:?}"),
        ),
    };
    Diagnostic::new(Code::BadInvariant, item.path(), span, message)
}

/// A counter-example, with the places that it leads through.
fn broken(
    fabric: &Fabric,
    item: &Item,
    spec: &InvariantSpec,
    example: &CounterExample,
) -> Diagnostic {
    let rule = spec.rule.as_str();
    let span = item.resource().value_span("/spec/rule");
    let message = format!("broken: {}", example.message);
    let mut diagnostic = Diagnostic::new(Code::InvariantBroken, item.path(), span, message)
        .with_text(format!("{:?} says `{rule}`", item.object().metadata().name));
    if let Some(reason) = &spec.reason {
        diagnostic = diagnostic.with_help(format!("the invariant stands there because: {reason}"));
    }
    let Some(route) = &example.route else {
        return diagnostic;
    };
    let mut related = Vec::new();
    if let Some(unit) = fabric.units.get(&route.client_peer) {
        let import = unit.imports.get(&route.import).map(|import| &import.item);
        related.extend(import.map(|import| (import, "the import")));
    }
    if let Some(unit) = fabric.units.get(&route.export_peer) {
        let export = unit.exports.get(&route.export);
        related.extend(export.map(|export| (export, "the export")));
    }
    if let Some(verdict) = &example.verdict {
        for (why, peer, side) in [
            (&verdict.importer, &route.client_peer, true),
            (&verdict.exporter, &route.export_peer, false),
        ] {
            related.extend(deciding(fabric, why, peer, side));
        }
    }
    for (item, text) in related {
        let resource = item.resource();
        diagnostic = diagnostic.with_related(item.path(), name_span(resource), text);
    }
    diagnostic
}

fn name_span(resource: &crate::resource::Resource) -> Span {
    resource.value_span("/metadata/name")
}

/// The policy that decides on a side.
fn deciding<'a>(
    fabric: &'a Fabric,
    why: &Why,
    peer: &PeerName,
    is_importer: bool,
) -> Option<(&'a Item, &'static str)> {
    let (rule, text) = match (why, is_importer) {
        (Why::Allowed(rule), true) => (rule, "allows it on the importer's side"),
        (Why::Allowed(rule), false) => (rule, "allows it on the exporter's side"),
        (Why::Denied(rule), true) => (rule, "denies it on the importer's side"),
        (Why::Denied(rule), false) => (rule, "denies it on the exporter's side"),
        (Why::UnknownClient(rule), _) => (rule, "depends on the client, which isn't known"),
        (Why::DefaultDeny | Why::NoRoute, _) => return None,
    };
    let is_it = |item: &&Item| is_at(item, rule);
    let unit = fabric.units.get(peer)?;
    fabric
        .policies_of(unit)
        .find(is_it)
        .map(|item| (item, text))
}

fn is_at(item: &Item, rule: &Rule) -> bool {
    item.resource().key == rule.key && **item.path() == *rule.origin.path
}
