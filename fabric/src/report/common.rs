//! The clients that flip in several differences.

use std::collections::BTreeSet;

use crate::api::Operator;
use crate::attributes::Client;
use crate::reach::{ClientAttribute, ClientTerm, Clients, Flip};

/// The part of some flips whose clients flip in others too, each with what was and is decided of
/// it in the first ones.
pub(super) fn common(flips: &[Flip], others: &[Flip]) -> Vec<Flip> {
    let mut common = Vec::new();
    for flip in flips {
        for other in others.iter().filter(|other| other.route == flip.route) {
            let Some(clients) = both(&flip.clients, &other.clients) else {
                continue;
            };
            let example = match &clients {
                Clients::Unknown => None,
                Clients::Known(terms) => {
                    let known = [&flip.example, &other.example].into_iter().flatten();
                    let mut fitting =
                        known.filter(|client| terms.iter().all(|term| matches(term, client)));
                    fitting.next().cloned()
                }
            };
            common.push(Flip {
                clients,
                example,
                ..flip.clone()
            });
        }
    }
    common
}

/// The clients that are in both; none where nobody is.
fn both(one: &Clients, other: &Clients) -> Option<Clients> {
    let (first, second) = match (one, other) {
        (Clients::Unknown, Clients::Unknown) => return Some(Clients::Unknown),
        (Clients::Known(first), Clients::Known(second)) => (first, second),
        _ => return None,
    };
    let attributes: BTreeSet<&ClientAttribute> = first
        .iter()
        .chain(second)
        .map(|term| &term.attribute)
        .collect();
    let mut terms = Vec::new();
    for attribute in attributes {
        let on = first
            .iter()
            .chain(second)
            .filter(|term| term.attribute == *attribute);
        terms.extend(intersection(attribute, on)?);
    }
    Some(Clients::Known(terms))
}

/// The smallest terms on one attribute that say what all of these do; none where no value, nor the
/// lack of one, satisfies them.
fn intersection<'a>(
    attribute: &ClientAttribute,
    terms: impl Iterator<Item = &'a ClientTerm>,
) -> Option<Vec<ClientTerm>> {
    let is_label = attribute.can_be_absent();
    let (mut is_there, mut is_absent) = (false, false);
    let mut among: Option<BTreeSet<&String>> = None;
    let mut excluded: BTreeSet<&String> = BTreeSet::new();
    for term in terms {
        match term.operator {
            Operator::In => {
                is_there = true;
                let values: BTreeSet<_> = term.values.iter().collect();
                among = Some(match among {
                    Some(among) => among.intersection(&values).copied().collect(),
                    None => values,
                });
            }
            Operator::NotIn => excluded.extend(&term.values),
            Operator::Exists => is_there = true,
            Operator::DoesNotExist => is_absent = true,
        }
    }
    let term = |operator, values: BTreeSet<&String>| ClientTerm {
        attribute: attribute.clone(),
        operator,
        values: values.into_iter().cloned().collect(),
    };
    if is_absent {
        let is_possible = is_label && !is_there;
        return is_possible.then(|| vec![term(Operator::DoesNotExist, BTreeSet::new())]);
    }
    if let Some(mut among) = among {
        among.retain(|value| !excluded.contains(value));
        return (!among.is_empty()).then(|| vec![term(Operator::In, among)]);
    }
    let mut result = Vec::new();
    if is_there && is_label {
        result.push(term(Operator::Exists, BTreeSet::new()));
    }
    if !excluded.is_empty() {
        result.push(term(Operator::NotIn, excluded));
    }
    Some(result)
}

/// Whether a condition holds for a client.
fn matches(term: &ClientTerm, client: &Client) -> bool {
    let value = term.attribute.of(client);
    let is_listed = value.is_some_and(|value| term.values.iter().any(|v| v == value));
    match term.operator {
        Operator::In => is_listed,
        Operator::NotIn => !is_listed,
        Operator::Exists => value.is_some(),
        Operator::DoesNotExist => value.is_none(),
    }
}
