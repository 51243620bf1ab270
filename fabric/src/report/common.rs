//! The clients for whom access opens in several differences.

use std::collections::{BTreeMap, BTreeSet};

use crate::api::Operator;
use crate::attributes::Client;
use crate::reach::{ClientAttribute, ClientTerm, Clients, Difference, Flip, Route};

/// Pairs of flips of one route that are looked at, and flips in all, of some 2 KB each: as many as
/// one difference tells. Routes beyond them count as undecided.
const MAX_FLIPS: usize = 100_000;

/// What opens, or may open.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Opened {
    /// What opens.
    pub(super) flips: Vec<Flip>,
    /// Of these routes it can't be told.
    pub(super) undecided: BTreeSet<Route>,
}

// === impl Opened ===

impl Opened {
    /// What opens in a difference.
    pub(super) fn of(difference: &Difference) -> Self {
        Self {
            flips: difference.opened.clone(),
            undecided: difference.undecided.iter().cloned().collect(),
        }
    }

    /// What opens in another difference too, with what was and is decided of it in the first one.
    ///
    /// A route that is undecided in one of them and opens, or is undecided, in the other stays
    /// undecided: that nothing opens on it can't be told.
    pub(super) fn also_in(self, other: &Difference) -> Self {
        let mut others: BTreeMap<&Route, Vec<&Flip>> = BTreeMap::new();
        for flip in &other.opened {
            others.entry(&flip.route).or_default().push(flip);
        }
        let undecided: BTreeSet<&Route> = other.undecided.iter().collect();
        let mut both = Self::default();
        for route in self.undecided {
            if others.contains_key(&route) || undecided.contains(&route) {
                both.undecided.insert(route);
            }
        }
        let mut routes: BTreeMap<Route, Vec<Flip>> = BTreeMap::new();
        for flip in self.flips {
            routes.entry(flip.route.clone()).or_default().push(flip);
        }
        for (route, flips) in routes {
            if undecided.contains(&route) {
                both.undecided.insert(route);
                continue;
            }
            let Some(others) = others.get(&route) else {
                continue;
            };
            let common = match flips.len().saturating_mul(others.len()) {
                0..=MAX_FLIPS => common(&flips, others),
                _ => {
                    both.undecided.insert(route);
                    continue;
                }
            };
            match both.flips.len() + common.len() {
                0..=MAX_FLIPS => both.flips.extend(common),
                _ => drop(both.undecided.insert(route)),
            }
        }
        both
    }
}

/// The part of some flips whose clients flip in others too, all of one route.
fn common(flips: &[Flip], others: &[&Flip]) -> Vec<Flip> {
    let mut common = Vec::new();
    for flip in flips {
        for other in others {
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
                from: flip.from.max(other.from),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reach::{Verdict, Why};

    fn route(import: &str) -> Route {
        Route {
            export_peer: "west".parse().unwrap(),
            export: "pay/ledger".parse().unwrap(),
            client_peer: "east".parse().unwrap(),
            import: format!("shop/{import}").parse().unwrap(),
        }
    }

    fn flip(import: &str, clients: Clients) -> Flip {
        let verdict = |allowed| Verdict {
            allowed,
            importer: Why::DefaultDeny,
            exporter: Why::DefaultDeny,
        };
        Flip {
            route: route(import),
            from: None,
            clients,
            example: None,
            before: verdict(false),
            after: verdict(true),
        }
    }

    fn opening(imports: &[&str], undecided: &[&str]) -> Difference {
        let everybody = || Clients::Known(Vec::new());
        Difference {
            opened: imports.iter().map(|name| flip(name, everybody())).collect(),
            closed: Vec::new(),
            undecided: undecided.iter().map(|name| route(name)).collect(),
        }
    }

    #[test]
    fn what_is_undecided_in_one_and_opens_in_another_is_undecided() {
        for (first, second, opened, undecided) in [
            (
                opening(&["a"], &[]),
                opening(&["a"], &[]),
                &["a"][..],
                &[][..],
            ),
            (opening(&["a"], &[]), opening(&["b"], &[]), &[], &[]),
            (opening(&["a"], &[]), opening(&[], &["a"]), &[], &["a"]),
            (opening(&[], &["a"]), opening(&["a"], &[]), &[], &["a"]),
            (opening(&[], &["a"]), opening(&[], &["a"]), &[], &["a"]),
            (opening(&[], &["a"]), opening(&["b"], &["b"]), &[], &[]),
        ] {
            let both = Opened::of(&first).also_in(&second);
            let wanted = opening(opened, undecided);
            assert_eq!(both, Opened::of(&wanted), "{first:?} {second:?}");
        }
    }

    #[test]
    fn more_than_anybody_reads_is_undecided() {
        let named = |name: usize| {
            Clients::Known(vec![ClientTerm {
                attribute: ClientAttribute::Namespace,
                operator: Operator::NotIn,
                values: vec![name.to_string()],
            }])
        };
        let flips = (0..400).map(|name| flip("a", named(name))).collect();
        let many = Difference {
            opened: flips,
            ..Difference::default()
        };
        let both = Opened::of(&many).also_in(&many);
        assert_eq!(both, Opened::of(&opening(&[], &["a"])));
    }
}
