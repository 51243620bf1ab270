//! An oracle that is written straight from the words of the specification: plain maps of strings,
//! no index, no compilation. It takes nothing from `policy` but the question's parts.
//!
//! The tests of the whole way (`tests/tests/simulation.rs`) go by it too.

use std::collections::BTreeMap;

use fabric::api::{
    AccessPolicySpec, Action, LabelSelector, Operator, Requirement, WorkloadSetOrSelector,
};
use fabric::policy::Request;

type Attributes = BTreeMap<String, String>;

#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Answer {
    Matches,
    Could,
    Misses,
}

/// What stands on the client's side, and what on the service's.
fn attributes(request: &Request<'_>) -> (Attributes, Attributes) {
    let mut from = Attributes::new();
    let mut to = Attributes::new();
    if let Some(client) = request.client {
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
    let name = &request.export.name;
    to.insert("export.clusterlink.net/name".into(), name.name().into());
    to.insert(
        "export.clusterlink.net/namespace".into(),
        name.namespace().into(),
    );
    for (key, value) in &request.export.labels {
        to.insert(
            format!("export.clusterlink.net/labels.{key}"),
            value.clone(),
        );
    }
    for (side, peer) in [
        (&mut from, request.client_peer),
        (&mut to, request.export_peer),
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

pub(crate) fn answer(spec: &AccessPolicySpec, request: &Request<'_>) -> Answer {
    let (from, to) = attributes(request);
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
    if request.client.is_some() {
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
pub(crate) fn oracle(specs: &BTreeMap<String, AccessPolicySpec>, request: &Request<'_>) -> String {
    let namespace = format!("{}/", request.namespace);
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
                    (shown, answer(spec, request))
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
