//! An oracle that is written straight from the words of the specification: plain maps of strings, no
//! index, no compilation; and random policies and requests to ask it about.

use std::collections::BTreeMap;

use fabric::api::{
    AccessPolicySpec, Action, LabelSelector, Operator, Requirement, WorkloadSetOrSelector,
};
use fabric::attributes::{Client, ExportAttributes, Labels, PeerAttributes};
use fabric::name::ObjectName;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::world::{Named, World, entry};

type Attributes = BTreeMap<String, String>;

const FROM_KEYS: &[&str] = &[
    "client.clusterlink.net/namespace",
    "client.clusterlink.net/service-account",
    "client.clusterlink.net/labels.x",
    "client.clusterlink.net/labels.e.com/x",
    "peer.clusterlink.net/name",
    "peer.clusterlink.net/labels.x",
    "export.clusterlink.net/name",
    "no-attribute",
];
const TO_KEYS: &[&str] = &[
    "export.clusterlink.net/name",
    "export.clusterlink.net/namespace",
    "export.clusterlink.net/labels.x",
    "export.clusterlink.net/labels.e.com/x",
    "peer.clusterlink.net/name",
    "peer.clusterlink.net/labels.x",
    "client.clusterlink.net/namespace",
    "no-attribute",
];
const VALUES: &[&str] = &["a", "b", "c"];

// --- the oracle ---

#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Answer {
    Matches,
    Could,
    Misses,
}

/// What stands on the client's side, and what on the service's.
fn attributes(world: &World) -> (Attributes, Attributes) {
    let mut from = Attributes::new();
    let mut to = Attributes::new();
    if let Some(client) = &world.client {
        from.insert(
            "client.clusterlink.net/namespace".into(),
            client.namespace.clone(),
        );
        let account = client.service_account.clone();
        from.insert("client.clusterlink.net/service-account".into(), account);
        for (key, value) in &client.labels {
            from.insert(
                format!("client.clusterlink.net/labels.{key}"),
                value.clone(),
            );
        }
    }
    let name = &world.export.name;
    to.insert("export.clusterlink.net/name".into(), name.name().into());
    to.insert(
        "export.clusterlink.net/namespace".into(),
        name.namespace().into(),
    );
    for (key, value) in &world.export.labels {
        to.insert(
            format!("export.clusterlink.net/labels.{key}"),
            value.clone(),
        );
    }
    for (side, peer) in [
        (&mut from, &world.client_peer),
        (&mut to, &world.export_peer),
    ] {
        side.insert("peer.clusterlink.net/name".into(), peer.name.to_string());
        for (key, value) in &peer.labels {
            side.insert(format!("peer.clusterlink.net/labels.{key}"), value.clone());
        }
    }
    (from, to)
}

fn requirements(selector: &LabelSelector) -> Vec<Requirement> {
    let mut all = selector.match_expressions.clone();
    for (key, value) in &selector.match_labels {
        all.push(Requirement {
            key: key.clone(),
            operator: Operator::In,
            values: vec![value.clone()],
        });
    }
    all
}

fn holds(requirement: &Requirement, attributes: &Attributes) -> bool {
    let is_listed = match attributes.get(&requirement.key) {
        Some(value) => requirement.values.contains(value),
        None => false,
    };
    match requirement.operator {
        Operator::In => is_listed,
        Operator::NotIn => !is_listed,
        Operator::Exists => attributes.contains_key(&requirement.key),
        Operator::DoesNotExist => !attributes.contains_key(&requirement.key),
    }
}

fn looks_at_client(requirement: &Requirement) -> bool {
    requirement.key.starts_with("client.clusterlink.net/")
}

pub(crate) fn answer(spec: &AccessPolicySpec, world: &World) -> Answer {
    let (from, to) = attributes(world);
    let selectors = |entries: &[WorkloadSetOrSelector]| -> Vec<Vec<Requirement>> {
        let selector =
            |entry: &WorkloadSetOrSelector| requirements(entry.workload_selector.as_ref().unwrap());
        entries.iter().map(selector).collect()
    };
    if !selectors(&spec.to)
        .iter()
        .any(|terms| terms.iter().all(|term| holds(term, &to)))
    {
        return Answer::Misses;
    }
    let from_selectors = selectors(&spec.from);
    if world.client.is_some() {
        return match from_selectors
            .iter()
            .any(|terms| terms.iter().all(|term| holds(term, &from)))
        {
            true => Answer::Matches,
            false => Answer::Misses,
        };
    }
    let mut answer = Answer::Misses;
    for terms in &from_selectors {
        let (of_client, others): (Vec<_>, Vec<_>) =
            terms.iter().partition(|term| looks_at_client(term));
        if others.iter().all(|term| holds(term, &from)) {
            if of_client.is_empty() {
                return Answer::Matches;
            }
            answer = Answer::Could;
        }
    }
    answer
}

/// ClusterLink's five steps; names without a slash are privileged.
pub(crate) fn oracle(specs: &Named, world: &World) -> String {
    let namespace = format!("{}/", world.namespace);
    for is_privileged in [true, false] {
        for action in [Action::Deny, Action::Allow] {
            let step: Vec<_> = specs
                .iter()
                .filter(|(name, spec)| {
                    spec.action == action
                        && match is_privileged {
                            true => !name.contains('/'),
                            false => name.starts_with(&namespace),
                        }
                })
                .map(|(name, spec)| {
                    let shown = if is_privileged {
                        format!("/{name}")
                    } else {
                        name.clone()
                    };
                    (shown, answer(spec, world))
                })
                .collect();
            if let Some((name, _)) = step.iter().find(|(_, answer)| *answer == Answer::Matches) {
                return match action {
                    Action::Allow => format!("allow by {name}"),
                    Action::Deny => format!("deny by {name}"),
                };
            }
            if let Some((name, _)) = step.iter().find(|(_, answer)| *answer == Answer::Could) {
                return format!("deny, unknown to {name}");
            }
        }
    }
    "deny by default".to_owned()
}

// --- what is drawn ---

pub(crate) fn value() -> impl Strategy<Value = String> {
    select(VALUES).prop_map(str::to_owned)
}

pub(crate) fn some_labels() -> impl Strategy<Value = Labels> {
    let keys = subsequence(vec!["x", "e.com/x"], 0..=2);
    keys.prop_flat_map(|keys| {
        let values = proptest::collection::vec(value(), keys.len());
        values.prop_map(move |values| {
            let keys = keys.iter().map(|key| (*key).to_owned());
            keys.zip(values).collect()
        })
    })
}

fn requirement(keys: &'static [&'static str]) -> impl Strategy<Value = Requirement> {
    let values = subsequence(VALUES.to_vec(), 1..=2);
    (select(keys), 0..4_u8, values).prop_map(|(key, operator, values)| {
        let listed = || values.iter().map(|value| (*value).to_owned()).collect();
        let (operator, values) = match operator {
            0 => (Operator::In, listed()),
            1 => (Operator::NotIn, listed()),
            2 => (Operator::Exists, Vec::new()),
            _ => (Operator::DoesNotExist, Vec::new()),
        };
        Requirement {
            key: key.to_owned(),
            operator,
            values,
        }
    })
}

fn entries(keys: &'static [&'static str]) -> impl Strategy<Value = Vec<WorkloadSetOrSelector>> {
    let labels =
        proptest::collection::btree_map(select(keys).prop_map(str::to_owned), value(), 0..2);
    let expressions = proptest::collection::vec(requirement(keys), 0..3);
    let selector = (labels, expressions).prop_map(|(match_labels, match_expressions)| {
        entry(LabelSelector {
            match_labels,
            match_expressions,
        })
    });
    proptest::collection::vec(selector, 1..3)
}

pub(crate) fn named_specs() -> impl Strategy<Value = Named> {
    let name = select(vec![
        "p1", "p2", "p3", "a/r1", "a/r2", "a/r3", "b/r1", "b/r2",
    ]);
    let action = select(vec![Action::Allow, Action::Deny]);
    let spec = (action, entries(FROM_KEYS), entries(TO_KEYS))
        .prop_map(|(action, from, to)| AccessPolicySpec { action, from, to });
    proptest::collection::btree_map(name.prop_map(str::to_owned), spec, 0..9)
}

pub(crate) fn world() -> impl Strategy<Value = World> {
    let peer = || {
        (value(), some_labels()).prop_map(|(name, labels)| PeerAttributes {
            name: name.parse().unwrap(),
            labels,
        })
    };
    let client = (value(), value(), some_labels());
    let client = client.prop_map(|(namespace, service_account, labels)| Client {
        namespace,
        service_account,
        labels,
    });
    let export = (value(), value(), some_labels());
    let export = export.prop_map(|(namespace, name, labels)| ExportAttributes {
        name: ObjectName::new(&namespace, &name).unwrap(),
        labels,
    });
    let client = proptest::option::weighted(0.7, client);
    (select(vec!["a", "b"]), client, peer(), export, peer()).prop_map(
        |(namespace, client, client_peer, export, export_peer)| World {
            namespace: namespace.to_owned(),
            client,
            client_peer,
            export,
            export_peer,
        },
    )
}
