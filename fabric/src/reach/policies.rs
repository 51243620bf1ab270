//! The policies of two states, numbered: one that both have alike is one policy.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jiff::Timestamp;

use super::{Verdict, Why};
use crate::api::{AccessPolicySpec, Action};
use crate::attributes::Labels;
use crate::fabric::{Fabric, Item, Unit};
use crate::name::{ObjectKey, PeerName};
use crate::policy::{Aspects, Clock, Conditions, Rule};

/// Which of two states is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// What was there.
    Before,
    /// What is there now.
    After,
}

/// A policy, by its place in the list of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct PolicyNumber(u32);

/// What decides on a side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Decided {
    Default,
    NoRoute,
    By(PolicyNumber),
    UnknownTo(PolicyNumber),
}

/// Something on both sides of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Sides<T> {
    pub(super) importer: T,
    pub(super) exporter: T,
}

/// A policy.
#[derive(Debug)]
pub(super) struct Policy<'a> {
    pub(super) conditions: Conditions,
    action: Action,
    spec: &'a AccessPolicySpec,
    expires: Option<Timestamp>,
    /// Where it stands in each state.
    rules: [Option<Rule>; 2],
}

/// The policies of one tier of one peer: first the denies, then the allows, each in the order in
/// which they are named. Peers that have the same ones have the same tier.
#[derive(Debug)]
pub(super) struct Tier {
    pub(super) policies: Box<[PolicyNumber]>,
    pub(super) aspects: Aspects,
}

/// A tier, by its place in the list of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct TierNumber(u32);

/// The tiers that count in a peer.
#[derive(Clone, Debug, Default)]
struct Counting<'a> {
    privileged: Option<TierNumber>,
    regular: BTreeMap<&'a str, TierNumber>,
}

/// The policies of two states.
#[derive(Debug, Default)]
pub(super) struct NumberedPolicies<'a> {
    all: Vec<Policy<'a>>,
    numbers: HashMap<(Option<&'a PeerName>, &'a ObjectKey), Vec<PolicyNumber>>,
    tiers: Vec<Arc<Tier>>,
    tier_numbers: HashMap<Box<[PolicyNumber]>, TierNumber>,
    counting: [BTreeMap<&'a PeerName, Counting<'a>>; 2],
}

// === impl State ===

impl State {
    const fn place(self) -> usize {
        match self {
            Self::Before => 0,
            Self::After => 1,
        }
    }
}

// === impl Decided ===

impl Decided {
    /// The result in a diagram.
    pub(super) const fn number(self) -> u32 {
        match self {
            Self::Default => 0,
            Self::NoRoute => 1,
            Self::By(policy) => 2 + 2 * policy.0,
            Self::UnknownTo(policy) => 3 + 2 * policy.0,
        }
    }

    /// What a result in a diagram stands for.
    pub(super) const fn of(number: u32) -> Self {
        match (number, number % 2) {
            (0, _) => Self::Default,
            (1, _) => Self::NoRoute,
            (_, 0) => Self::By(PolicyNumber((number - 2) / 2)),
            (_, _) => Self::UnknownTo(PolicyNumber((number - 3) / 2)),
        }
    }
}

// === impl NumberedPolicies ===

impl<'a> NumberedPolicies<'a> {
    /// Adds the policies of a state that count in some units and haven't ended by a moment.
    pub(super) fn add(
        &mut self,
        fabric: &'a Fabric,
        units: impl IntoIterator<Item = (&'a PeerName, &'a Unit)>,
        (state, now): (State, Timestamp),
    ) {
        let shared = fabric.policies.iter();
        let shared: Vec<_> = shared
            .filter_map(|policy| Some((policy, self.number(None, &policy.item, (state, now))?)))
            .collect();
        // Peers with the same labels have the same ones of them.
        let mut selected: HashMap<&Labels, Vec<PolicyNumber>> = HashMap::new();
        let mut all = BTreeMap::new();
        for (name, unit) in units {
            let mut tiers: BTreeMap<Option<&'a str>, Vec<PolicyNumber>> = BTreeMap::new();
            let labels = &unit.attributes.labels;
            let of_labels = selected.entry(labels).or_insert_with(|| {
                let selected = shared.iter().filter(|(policy, _)| policy.selects(labels));
                let mut numbers: Vec<_> = selected.map(|(_, number)| *number).collect();
                self.sort(&mut numbers, state);
                numbers
            });
            let mut privileged = of_labels.clone();
            let count = privileged.len();
            for item in &unit.policies {
                let Some(number) = self.number(Some(name), item, (state, now)) else {
                    continue;
                };
                match item.key().namespace.as_deref() {
                    None => privileged.push(number),
                    namespace => tiers.entry(namespace).or_default().push(number),
                }
            }
            if privileged.len() > count {
                self.sort(&mut privileged, state);
            }
            let mut counting = Counting {
                privileged: self.tier(privileged),
                ..Counting::default()
            };
            for (namespace, mut numbers) in tiers {
                self.sort(&mut numbers, state);
                let tier = namespace.zip(self.tier(numbers));
                counting.regular.extend(tier);
            }
            all.insert(name, counting);
        }
        let [before, after] = &mut self.counting;
        match state {
            State::Before => *before = all,
            State::After => *after = all,
        }
    }

    /// Sorts policies of a state by when they are asked.
    fn sort(&self, numbers: &mut [PolicyNumber], state: State) {
        let key = |number: &PolicyNumber| {
            let policy = self.policy(*number);
            let is_allow = policy.map(|policy| policy.action == Action::Allow);
            (is_allow, self.rule(*number, state))
        };
        numbers.sort_by(|a, b| key(a).cmp(&key(b)));
    }

    fn tier(&mut self, numbers: Vec<PolicyNumber>) -> Option<TierNumber> {
        if numbers.is_empty() {
            return None;
        }
        if let Some(known) = self.tier_numbers.get(&*numbers) {
            return Some(*known);
        }
        let policies: Box<[PolicyNumber]> = numbers.into();
        let conditions = policies.iter().filter_map(|number| self.policy(*number));
        let aspects = Aspects::of(conditions.map(|policy| &policy.conditions));
        let number = TierNumber(u32::try_from(self.tiers.len()).ok()?);
        self.tier_numbers.insert(policies.clone(), number);
        self.tiers.push(Arc::new(Tier { policies, aspects }));
        Some(number)
    }

    fn number(
        &mut self,
        peer: Option<&'a PeerName>,
        item: &'a Item,
        (state, now): (State, Timestamp),
    ) -> Option<PolicyNumber> {
        let (rule, spec) = item.policy()?;
        if Clock::at(now).is_over(rule.expires, spec.action) {
            return None;
        }
        let key = item.key();
        let same_key = self.numbers.entry((peer, key)).or_default();
        for number in same_key.iter() {
            if let Some(known) = self.all.get_mut(number.0 as usize)
                && let Some(place @ None) = known.rules.get_mut(state.place())
                && (std::ptr::eq(known.spec, spec) || known.spec == spec)
                && known.expires == rule.expires
            {
                *place = Some(rule);
                return Some(*number);
            }
        }
        let number = PolicyNumber(u32::try_from(self.all.len()).ok()?);
        same_key.push(number);
        let conditions = Conditions::compile(rule.clone(), spec);
        self.all.push(Policy {
            conditions,
            action: spec.action,
            spec,
            expires: rule.expires,
            rules: match state {
                State::Before => [Some(rule), None],
                State::After => [None, Some(rule)],
            },
        });
        Some(number)
    }

    pub(super) fn policy(&self, number: PolicyNumber) -> Option<&Policy<'a>> {
        self.all.get(number.0 as usize)
    }

    fn rule(&self, number: PolicyNumber, state: State) -> Option<&Rule> {
        self.policy(number)?.rules.get(state.place())?.as_ref()
    }

    pub(super) fn tier_of(&self, number: TierNumber) -> Option<&Arc<Tier>> {
        self.tiers.get(number.0 as usize)
    }

    /// The tiers that count in a peer for a namespace, in the order in which they are asked; none
    /// where the peer isn't in force.
    pub(super) fn tiers(
        &self,
        peer: &PeerName,
        namespace: &str,
        state: State,
    ) -> Option<[Option<TierNumber>; 2]> {
        let counting = self.counting.get(state.place())?.get(peer)?;
        let regular = counting.regular.get(namespace).copied();
        Some([counting.privileged, regular])
    }

    /// Whether what decides could decide in a state.
    pub(super) fn is_in(&self, decided: Decided, state: State) -> bool {
        match decided {
            Decided::Default | Decided::NoRoute => true,
            Decided::By(number) | Decided::UnknownTo(number) => self.rule(number, state).is_some(),
        }
    }

    /// Whether what decides lets through.
    pub(super) fn allows(&self, decided: Decided) -> bool {
        match decided {
            Decided::By(number) => self
                .policy(number)
                .is_some_and(|policy| policy.action == Action::Allow),
            _ => false,
        }
    }

    /// Whether both sides let through.
    pub(super) fn lets_through(&self, sides: Sides<Decided>) -> bool {
        self.allows(sides.importer) && self.allows(sides.exporter)
    }

    /// What both sides decide, for people.
    pub(super) fn verdict(&self, sides: Sides<Decided>, state: State) -> Verdict {
        Verdict {
            allowed: self.lets_through(sides),
            importer: self.why(sides.importer, state),
            exporter: self.why(sides.exporter, state),
        }
    }

    /// What decides, for people.
    pub(super) fn why(&self, decided: Decided, state: State) -> Why {
        let rule = |number| self.rule(number, state).cloned();
        let why = match decided {
            Decided::Default => Some(Why::DefaultDeny),
            Decided::NoRoute => Some(Why::NoRoute),
            Decided::By(number) if self.allows(decided) => rule(number).map(Why::Allowed),
            Decided::By(number) => rule(number).map(Why::Denied),
            Decided::UnknownTo(number) => rule(number).map(Why::UnknownClient),
        };
        // What decides in a state is one of its policies.
        why.unwrap_or(Why::NoRoute)
    }
}

// === impl Policy ===

impl Policy<'_> {
    pub(super) const fn action(&self) -> Action {
        self.action
    }
}
