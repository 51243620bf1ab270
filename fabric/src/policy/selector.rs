//! Compiled selectors: keys are attributes already, values are sorted.

use std::collections::BTreeMap;

use super::attribute::{Attribute, Side, Value};
use super::{Mismatch, Request};
use crate::api::{LabelSelector, Operator, WorkloadSetOrSelector};

/// Whether something matches, from the least to the most.
///
/// The order makes three-valued logic of `min` (and) and `max` (or).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verdict {
    /// It doesn't match, whoever the client is.
    No,
    /// It depends on who the client is, and that is unknown.
    Unknown,
    /// It matches, whoever the client is.
    Yes,
}

/// One entry of `from` or `to`.
#[derive(Clone, Debug)]
pub(super) enum Entry {
    /// All terms must hold.
    Terms(Box<[Term]>),
    /// The entry is none that this version understands.
    NotUnderstood,
}

/// One condition of a selector.
#[derive(Clone, Debug)]
pub(super) struct Term {
    /// What the key stands for; none for a key that is no attribute and so is never there.
    pub(super) attribute: Option<Attribute>,
    pub(super) operator: Operator,
    /// Sorted, so that a long list is searched quickly.
    pub(super) values: Box<[Box<str>]>,
    /// The key as written.
    pub(super) key: Box<str>,
    /// The place in `matchExpressions`; none for an item of `matchLabels`.
    pub(super) index: Option<u32>,
}

// === impl Entry ===

impl Entry {
    pub(super) fn compile(side: Side, entry: &WorkloadSetOrSelector) -> Self {
        match &entry.workload_selector {
            Some(selector) if entry.workload_sets.is_empty() => {
                Self::Terms(terms(side, selector).collect())
            }
            _ => Self::NotUnderstood,
        }
    }

    /// Whether the entry matches; one that isn't understood answers `otherwise`.
    #[inline]
    pub(super) fn verdict(&self, request: &Request<'_>, otherwise: Verdict) -> Verdict {
        let Self::Terms(terms) = self else {
            return otherwise;
        };
        let mut verdict = Verdict::Yes;
        for term in terms {
            match term.verdict(request) {
                Verdict::No => return Verdict::No,
                Verdict::Unknown => verdict = Verdict::Unknown,
                Verdict::Yes => {}
            }
        }
        verdict
    }

    /// The first term that doesn't hold, whoever the client is.
    pub(super) fn mismatch(
        &self,
        side: Side,
        entry: usize,
        request: &Request<'_>,
    ) -> Option<Mismatch> {
        let pointer = format!("/spec/{}/{entry}", side.field());
        let Self::Terms(terms) = self else {
            return Some(Mismatch {
                pointer,
                key: None,
                actual: None,
            });
        };
        let term = terms
            .iter()
            .find(|term| term.verdict(request) == Verdict::No)?;
        Some(Mismatch {
            pointer: format!("{pointer}/workloadSelector{}", term.pointer()),
            key: Some(term.key.to_string()),
            actual: match term.value(request) {
                Value::Present(value) => Some(value.to_owned()),
                Value::Absent | Value::Unknown => None,
            },
        })
    }
}

/// The terms of a selector, those of `matchLabels` first.
pub(super) fn terms(side: Side, selector: &LabelSelector) -> impl Iterator<Item = Term> {
    let labels = selector.match_labels.iter().map(move |(key, value)| {
        Term::new(side, key, Operator::In, std::slice::from_ref(value), None)
    });
    let expressions = (0..).zip(&selector.match_expressions);
    labels.chain(expressions.map(move |(index, expression)| {
        let (key, operator) = (&expression.key, expression.operator);
        Term::new(side, key, operator, &expression.values, Some(index))
    }))
}

/// The first term with which no value of its attribute satisfies all terms so far; `relevant` says
/// which attributes are looked at.
pub(super) fn contradiction(
    terms: &[Term],
    relevant: impl Fn(&Attribute) -> bool,
) -> Option<&Term> {
    let mut groups: BTreeMap<&Attribute, Vec<&Term>> = BTreeMap::new();
    for term in terms {
        if let Some(attribute) = term
            .attribute
            .as_ref()
            .filter(|attribute| relevant(attribute))
        {
            groups.entry(attribute).or_default().push(term);
        }
    }
    groups.into_iter().find_map(|(attribute, group)| {
        if is_satisfiable(attribute, &group) {
            return None;
        }
        // More terms never make more possible, so the place is found by halving.
        let counts: Vec<usize> = (1..=group.len()).collect();
        let before = counts.partition_point(|count| {
            is_satisfiable(attribute, group.get(..*count).unwrap_or_default())
        });
        group.get(before).copied()
    })
}

/// Whether some value of an attribute, or its absence, satisfies all of the terms.
fn is_satisfiable(attribute: &Attribute, terms: &[&Term]) -> bool {
    let holds_for = |value: Option<&str>| terms.iter().all(|term| term.holds(value));
    if !attribute.is_always_there() && holds_for(None) {
        return true;
    }
    let lists = terms.iter().filter(|term| term.operator == Operator::In);
    match lists.min_by_key(|term| term.values.len()) {
        Some(shortest) => shortest.values.iter().any(|value| holds_for(Some(value))),
        // There is always a value that nobody has listed.
        None => terms
            .iter()
            .all(|term| term.operator != Operator::DoesNotExist),
    }
}

// === impl Term ===

impl Term {
    fn new(
        side: Side,
        key: &str,
        operator: Operator,
        values: &[String],
        index: Option<u32>,
    ) -> Self {
        let mut values: Vec<Box<str>> = values.iter().map(|value| value.as_str().into()).collect();
        values.sort_unstable();
        values.dedup();
        Self {
            attribute: Attribute::parse(side, key),
            operator,
            values: values.into(),
            key: key.into(),
            index,
        }
    }

    /// Where the term stands, as a JSON pointer inside its selector.
    pub(super) fn pointer(&self) -> String {
        match self.index {
            Some(index) => format!("/matchExpressions/{index}"),
            None => format!(
                "/matchLabels/{}",
                self.key.replace('~', "~0").replace('/', "~1")
            ),
        }
    }

    fn value<'a>(&self, request: &Request<'a>) -> Value<'a> {
        self.attribute
            .as_ref()
            .map_or(Value::Absent, |attribute| attribute.value(request))
    }

    #[inline]
    fn verdict(&self, request: &Request<'_>) -> Verdict {
        let holds = match self.value(request) {
            Value::Unknown => return Verdict::Unknown,
            Value::Present(value) => self.holds(Some(value)),
            Value::Absent => self.holds(None),
        };
        if holds { Verdict::Yes } else { Verdict::No }
    }

    /// Whether the term holds for a value, or for a key that isn't there.
    pub(super) fn holds(&self, value: Option<&str>) -> bool {
        let listed = |value: &str| match &*self.values {
            [only] => **only == *value,
            values => values
                .binary_search_by(|listed| (**listed).cmp(value))
                .is_ok(),
        };
        match self.operator {
            Operator::In => value.is_some_and(listed),
            Operator::NotIn => !value.is_some_and(listed),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
        }
    }
}
