//! What a policy asks of the client, once all else about a connection is known.

use std::collections::{BTreeMap, BTreeSet};

use super::attribute::{Attribute, Side, Value};
use super::selector::{Entry, Term, Verdict};
use super::set::Policy;
use super::{Request, Rule};
use crate::api::{AccessPolicySpec, Operator};
use crate::reach::ClientAttribute;

/// A policy whose conditions on the client can be looked at.
#[derive(Clone, Debug)]
pub(crate) struct Conditions(Policy);

/// What is left of a policy, once all but the client is known.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Asked {
    /// It matches nobody.
    Nobody,
    /// It matches everybody, known or unknown.
    Everybody,
    /// It matches who satisfies one of these entries of `from`, by their places.
    Entries(Vec<usize>),
}

/// A condition on an attribute of the client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Condition<'a>(&'a Term);

/// All that some policies look at, beside the client: requests that are alike in it are alike to
/// these policies.
#[derive(Clone, Debug, Default)]
pub(crate) struct Aspects(Vec<(Attribute, Box<[Box<str>]>)>);

/// What a request is like, to some policies.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct View(Box<[u32]>);

// === impl Conditions ===

impl Conditions {
    pub(crate) fn compile(rule: Rule, spec: &AccessPolicySpec) -> Self {
        Self(Policy::compile(rule, spec))
    }

    /// What the policy asks of the client of a request, whoever that is.
    pub(crate) fn asked(&self, request: &Request<'_>) -> Asked {
        let request = Request {
            client: None,
            ..*request
        };
        if self.0.side_verdict(Side::To, &request) == Verdict::No {
            return Asked::Nobody;
        }
        let mut open = Vec::new();
        for (index, entry) in self.0.from.iter().enumerate() {
            match entry.verdict(&request, self.0.otherwise()) {
                Verdict::No => {}
                Verdict::Unknown => open.push(index),
                Verdict::Yes => return Asked::Everybody,
            }
        }
        match open.is_empty() {
            true => Asked::Nobody,
            false => Asked::Entries(open),
        }
    }

    /// The conditions on the client in an entry of `from`.
    pub(crate) fn of_entry(
        &self,
        index: usize,
    ) -> impl Iterator<Item = (ClientAttribute, Condition<'_>)> {
        let terms = match self.0.from.get(index) {
            Some(Entry::Terms(terms)) => &**terms,
            _ => &[],
        };
        terms.iter().filter_map(|term| {
            let attribute = match term.attribute.as_ref()? {
                Attribute::ClientNamespace => ClientAttribute::Namespace,
                Attribute::ClientServiceAccount => ClientAttribute::ServiceAccount,
                Attribute::ClientLabel(key) => ClientAttribute::Label(key.clone()),
                _ => return None,
            };
            Some((attribute, Condition(term)))
        })
    }
}

// === impl Condition ===

impl<'a> Condition<'a> {
    pub(crate) const fn operator(self) -> Operator {
        self.0.operator
    }

    pub(crate) fn values(self) -> impl Iterator<Item = &'a str> {
        self.0.values.iter().map(|value| &**value)
    }
}

// === impl Aspects ===

impl Aspects {
    /// All that the policies look at.
    pub(crate) fn of<'a>(policies: impl Iterator<Item = &'a Conditions>) -> Self {
        let mut aspects: BTreeMap<&Attribute, BTreeSet<&Box<str>>> = BTreeMap::new();
        for policy in policies {
            for entry in policy.0.from.iter().chain(&policy.0.to) {
                let terms = match entry {
                    Entry::Terms(terms) => &**terms,
                    Entry::NotUnderstood => &[],
                };
                for term in terms {
                    if let Some(attribute) = term.attribute.as_ref().filter(|a| !a.is_of_client()) {
                        aspects.entry(attribute).or_default().extend(&term.values);
                    }
                }
            }
        }
        let owned = aspects.into_iter();
        let owned = owned.map(|(attribute, values)| {
            let values = values.into_iter().cloned().collect();
            (attribute.clone(), values)
        });
        Self(owned.collect())
    }

    /// What a request is like.
    pub(crate) fn view(&self, request: &Request<'_>) -> View {
        const ABSENT: u32 = 0;
        const OTHER: u32 = 1;
        let aspect = |(attribute, values): &(Attribute, Box<[Box<str>]>)| {
            let Value::Present(value) = attribute.value(request) else {
                return ABSENT;
            };
            let place = values.binary_search_by(|known| (**known).cmp(value)).ok();
            place
                .and_then(|place| u32::try_from(place).ok()?.checked_add(OTHER + 1))
                .unwrap_or(OTHER)
        };
        View(self.0.iter().map(aspect).collect())
    }
}
