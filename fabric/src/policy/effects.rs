//! What a policy does that its author hardly meant, told from its text and from the fabric.
//!
//! All of it warns and changes nothing.

mod universe;
mod unknown;

use super::attribute::Side;
use super::selector::{Entry, Term, contradiction};
use crate::api::{AccessPolicySpec, Action, Operator, WorkloadSetOrSelector};
use crate::diagnostic::{Code, Finding};
use crate::resource::Resource;

pub(crate) use universe::Clients;
pub use universe::{Service, Universe};

/// One odd thing about a policy, and where in the object it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Oddity {
    /// Which kind of thing.
    pub code: Code,
    /// The place, as a JSON pointer inside the object.
    pub pointer: String,
    /// Whether the key at the pointer is meant, and not its value.
    pub at_key: bool,
    /// One sentence.
    pub message: String,
    /// How to mend it.
    pub help: Option<String>,
}

/// What is odd about a policy by itself: keys that are no attributes, selectors that contradict
/// themselves, and an allow that lets everything in.
#[must_use]
pub fn inspect(spec: &AccessPolicySpec) -> Vec<Oddity> {
    let mut oddities = Vec::new();
    for (side, entries) in [(Side::From, &spec.from), (Side::To, &spec.to)] {
        for (index, entry) in entries.iter().enumerate() {
            inspect_entry(spec.action, side, index, entry, &mut oddities);
        }
    }
    oddities.extend(lets_everything_in(spec));
    oddities
}

/// The oddity of a policy that no connection of the fabric can match; clients may be anything.
#[must_use]
pub fn matches_nothing(spec: &AccessPolicySpec, universe: &Universe<'_>) -> Option<Oddity> {
    let side = universe.unmatched_side(spec)?;
    let (entries, nobody) = match side {
        Side::From => (&spec.from, "no peer of the fabric matches"),
        Side::To => (&spec.to, "no service of the fabric matches"),
    };
    let pointer = match entries.as_slice() {
        [_] => format!("/spec/{}/0", side.field()),
        _ => format!("/spec/{}", side.field()),
    };
    let consequence = match spec.action {
        Action::Allow => "the policy allows nothing",
        Action::Deny => "the policy denies nothing",
    };
    Some(Oddity {
        code: Code::PolicyMatchesNothing,
        pointer,
        at_key: false,
        message: format!("{nobody} `{}`, so {consequence}", side.field()),
        help: universe.nearest_name(side, entries),
    })
}

fn inspect_entry(
    action: Action,
    side: Side,
    index: usize,
    entry: &WorkloadSetOrSelector,
    oddities: &mut Vec<Oddity>,
) {
    let Entry::Terms(terms) = Entry::compile(side, entry) else {
        return;
    };
    let selector = format!("/spec/{}/{index}/workloadSelector", side.field());
    for term in &terms {
        if term.attribute.is_none() {
            oddities.push(unknown_attribute(action, side, &selector, term));
        }
    }
    if let Some(term) = contradiction(&terms, |_| true) {
        let alone = match term.operator {
            Operator::DoesNotExist if terms.len() == 1 => "every connection has this attribute",
            _ => "no value satisfies this together with the other terms on the same key",
        };
        let consequence = match action {
            Action::Allow => "allows nobody",
            Action::Deny => "denies nobody",
        };
        oddities.push(Oddity {
            code: Code::Contradiction,
            pointer: format!("{selector}{}", term.pointer()),
            at_key: false,
            message: format!("{alone}: {}; the entry {consequence}", term.key),
            help: Some(
                "alternatives are entries of their own; the terms of one entry must all hold"
                    .to_owned(),
            ),
        });
    }
}

/// The key of a term is no attribute of the side.
fn unknown_attribute(action: Action, side: Side, selector: &str, term: &Term) -> Oddity {
    let effect = match (action, term.operator) {
        (Action::Deny, Operator::In | Operator::Exists) => {
            "the term never holds: THE ENTRY DENIES NOTHING"
        }
        (Action::Deny, Operator::NotIn | Operator::DoesNotExist) => {
            "the term always holds: THE DENY IS WIDER THAN IT LOOKS"
        }
        (Action::Allow, Operator::In | Operator::Exists) => {
            "the term never holds: the entry allows nothing"
        }
        (Action::Allow, Operator::NotIn | Operator::DoesNotExist) => {
            "the term always holds: the allow is wider than it looks"
        }
    };
    let is_label = term.index.is_none();
    let key = if is_label { "" } else { "/key" };
    Oddity {
        code: Code::UnknownAttribute,
        pointer: format!("{selector}{}{key}", term.pointer()),
        at_key: is_label,
        message: format!(
            "{:?} is no attribute in `{}`, so {effect}",
            term.key,
            side.field()
        ),
        help: unknown::help(side, &term.key),
    }
}

fn lets_everything_in(spec: &AccessPolicySpec) -> Option<Oddity> {
    let is_all = |entry: &WorkloadSetOrSelector| {
        entry.workload_sets.is_empty()
            && entry.workload_selector.as_ref().is_some_and(|selector| {
                selector.match_labels.is_empty() && selector.match_expressions.is_empty()
            })
    };
    let from = spec.from.iter().position(is_all)?;
    let is_open = spec.action == Action::Allow && spec.to.iter().any(is_all);
    is_open.then(|| Oddity {
        code: Code::AllowsEverything,
        pointer: format!("/spec/from/{from}"),
        at_key: false,
        message: "the policy allows every client of every peer to reach every service in its scope"
            .to_owned(),
        help: Some("select the clients in `from`, or the services in `to`".to_owned()),
    })
}

// === impl Oddity ===

impl Oddity {
    /// The finding at the place where the oddity stands in a resource.
    #[must_use]
    pub fn finding(&self, resource: &Resource) -> Finding {
        let span = match self.at_key {
            true => resource.key_span(&self.pointer),
            false => resource.value_span(&self.pointer),
        };
        let mut finding = Finding::new(self.code, span, self.message.clone());
        finding.help.clone_from(&self.help);
        finding
    }
}
