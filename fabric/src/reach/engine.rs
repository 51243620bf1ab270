//! What each side of a route decides, for every possible client at once.

use std::collections::{BTreeMap, HashMap};

use super::cover::Cube;
use super::diagram::{Diagram, Diagrams, Entangled, Operation};
use super::network::{End, Way};
use super::{Verdict, Why};
use crate::api::{AccessPolicySpec, Action, Object};
use crate::fabric::{Fabric, Item};
use crate::name::{ObjectKey, PeerName};
use crate::policy::{Asked, Conditions, Rule};

/// Which of two states is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// What was there.
    Before,
    /// What is there now.
    After,
}

/// What decides on a side, in terms of numbered policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Decided {
    Default,
    NoRoute,
    By(PolicyNumber),
    UnknownTo(PolicyNumber),
}

/// A policy, by its place in the list of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct PolicyNumber(u32);

/// What both sides decide, before or after.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Sides<T> {
    pub(super) importer: T,
    pub(super) exporter: T,
}

/// What one side decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Decision {
    /// Of each known client, as the number of what decides.
    pub(super) known: Diagram,
    /// Of the one that nobody knows.
    pub(super) unknown: Decided,
}

/// A policy of either state; one that both have alike is one policy.
#[derive(Debug)]
struct Policy<'a> {
    conditions: Conditions,
    action: Action,
    spec: &'a AccessPolicySpec,
    rules: [Option<Rule>; 2],
}

/// The policies that count in a peer, each tier in the order in which they are named.
#[derive(Clone, Debug, Default)]
struct Counting<'a> {
    privileged: Vec<PolicyNumber>,
    regular: BTreeMap<&'a str, Vec<PolicyNumber>>,
}

/// What decides, and all that was computed for it.
#[derive(Debug, Default)]
pub(super) struct Engine<'a> {
    pub(super) diagrams: Diagrams,
    policies: Vec<Policy<'a>>,
    numbers: HashMap<(Option<&'a PeerName>, &'a ObjectKey), Vec<PolicyNumber>>,
    counting: [BTreeMap<&'a PeerName, Counting<'a>>; 2],
    /// Whom a policy matches, by what is left of it.
    matches: HashMap<(PolicyNumber, Asked), Diagram>,
    /// The first of several policies that matches.
    lists: HashMap<Box<[Diagram]>, Diagram>,
}

/// How much is kept before all of it is thrown away: some 200 MB.
const MAX_SIZE: usize = 2_000_000;

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
    pub(super) const fn number(self) -> u32 {
        match self {
            Self::Default => 0,
            Self::NoRoute => 1,
            Self::By(policy) => 2 + 2 * policy.0,
            Self::UnknownTo(policy) => 3 + 2 * policy.0,
        }
    }

    pub(super) const fn of(number: u32) -> Self {
        match (number, number % 2) {
            (0, _) => Self::Default,
            (1, _) => Self::NoRoute,
            (_, 0) => Self::By(PolicyNumber((number - 2) / 2)),
            (_, _) => Self::UnknownTo(PolicyNumber((number - 3) / 2)),
        }
    }
}

// === impl Decision ===

impl Decision {
    pub(super) const NO_ROUTE: Self = Self {
        known: Diagram::result(Decided::NoRoute.number()),
        unknown: Decided::NoRoute,
    };
}

// === impl Sides ===

impl Sides<Decision> {
    /// What is decided of an unknown client.
    pub(super) const fn unknown(&self) -> Sides<Decided> {
        Sides {
            importer: self.importer.unknown,
            exporter: self.exporter.unknown,
        }
    }
}

// === impl Engine ===

impl<'a> Engine<'a> {
    /// Adds the policies of a state.
    pub(super) fn add(&mut self, fabric: &'a Fabric, state: State) {
        let shared = fabric.policies.iter();
        let shared: Vec<_> = shared
            .map(|policy| (policy, self.number(None, &policy.item, state)))
            .collect();
        let mut all = BTreeMap::new();
        for (name, unit) in &fabric.units {
            let labels = &unit.attributes.labels;
            let selected = shared.iter().filter(|(policy, _)| policy.selects(labels));
            let mut numbers: Vec<(PolicyNumber, Option<&'a str>)> = selected
                .filter_map(|(_, number)| Some(((*number)?, None)))
                .collect();
            for item in &unit.policies {
                let namespace = item.resource().key.namespace.as_deref();
                let number = self.number(Some(name), item, state);
                numbers.extend(number.map(|number| (number, namespace)));
            }
            numbers.sort_by(|(a, _), (b, _)| self.rule(*a, state).cmp(&self.rule(*b, state)));
            let mut counting = Counting::default();
            for (number, namespace) in numbers {
                match namespace {
                    None => counting.privileged.push(number),
                    Some(namespace) => counting.regular.entry(namespace).or_default().push(number),
                }
            }
            all.insert(name, counting);
        }
        self.counting[state.place()] = all;
    }

    fn number(
        &mut self,
        peer: Option<&'a PeerName>,
        item: &'a Item,
        state: State,
    ) -> Option<PolicyNumber> {
        let spec = match item.object() {
            Object::AccessPolicy(policy) => &policy.spec,
            Object::PrivilegedAccessPolicy(policy) => &policy.spec,
            _ => return None,
        };
        let key = &item.resource().key;
        let rule = Rule {
            key: key.clone(),
            origin: item.origin(),
        };
        let same_key = self.numbers.entry((peer, key)).or_default();
        for number in same_key.iter() {
            if let Some(known) = self.policies.get_mut(number.0 as usize)
                && known.rules[state.place()].is_none()
                && known.spec == spec
            {
                known.rules[state.place()] = Some(rule);
                return Some(*number);
            }
        }
        let number = PolicyNumber(u32::try_from(self.policies.len()).ok()?);
        same_key.push(number);
        let mut rules = [None, None];
        rules[state.place()] = Some(rule.clone());
        self.policies.push(Policy {
            conditions: Conditions::compile(rule, spec),
            action: spec.action,
            spec,
            rules,
        });
        Some(number)
    }

    /// Begins a new question, that may take so many steps: where much is kept of those before, it
    /// is thrown away and computed again when it is needed.
    pub(super) fn begin(&mut self, steps: usize) {
        if self.diagrams.size() > MAX_SIZE {
            self.diagrams = Diagrams::default();
            self.matches.clear();
            self.lists.clear();
        }
        self.diagrams.allow(steps);
    }

    fn policy(&self, number: PolicyNumber) -> Option<&Policy<'a>> {
        self.policies.get(number.0 as usize)
    }

    fn rule(&self, number: PolicyNumber, state: State) -> Option<&Rule> {
        self.policy(number)?.rules[state.place()].as_ref()
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
        why.unwrap_or(Why::NoRoute)
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

    /// The clients that both sides let through, of those that are known.
    pub(super) fn allowed(&mut self, sides: Sides<Decision>) -> Result<Diagram, Entangled> {
        let importer = self.allowed_by(sides.importer.known)?;
        let exporter = self.allowed_by(sides.exporter.known)?;
        self.diagrams.apply(Operation::And, importer, exporter)
    }

    fn allowed_by(&mut self, known: Diagram) -> Result<Diagram, Entangled> {
        let policies = &self.policies;
        let allows = |_: &Diagrams, result| match Decided::of(result) {
            Decided::By(number) => {
                let policy = policies.get(number.0 as usize);
                u32::from(policy.is_some_and(|policy| policy.action == Action::Allow))
            }
            _ => 0,
        };
        self.diagrams.map(known, &allows)
    }

    /// What both sides decide of a route; none stands for one that isn't there.
    pub(super) fn decide(
        &mut self,
        way: Option<&Way<'a>>,
        state: State,
    ) -> Result<Sides<Decision>, Entangled> {
        let Some(way) = way else {
            return Ok(Sides {
                importer: Decision::NO_ROUTE,
                exporter: Decision::NO_ROUTE,
            });
        };
        Ok(Sides {
            importer: self.decide_end(way, End::Importer, state)?,
            exporter: self.decide_end(way, End::Exporter, state)?,
        })
    }

    fn decide_end(&mut self, way: &Way<'a>, end: End, state: State) -> Result<Decision, Entangled> {
        let Some(request) = way.request(end) else {
            return Ok(Decision::NO_ROUTE);
        };
        let counting = self.counting[state.place()].get(&way.unit(end).attributes.name);
        let Some(counting) = counting else {
            return Ok(Decision::NO_ROUTE);
        };
        let regular = counting.regular.get(request.namespace);
        let tiers = [Some(&counting.privileged), regular];
        let mut matching = Vec::new();
        let mut unknown = None;
        'tiers: for tier in tiers.into_iter().flatten() {
            for action in [Action::Deny, Action::Allow] {
                let mut unknown_here = None;
                let numbers = tier.iter().copied();
                for number in numbers {
                    let Some(policy) = self.policy(number) else {
                        continue;
                    };
                    if policy.action != action {
                        continue;
                    }
                    match policy.conditions.asked(&request) {
                        Asked::Nobody => {}
                        Asked::Everybody => {
                            matching.push((number, Asked::Everybody));
                            unknown = unknown.or(Some(Decided::By(number)));
                            // Nothing after it is ever asked.
                            break 'tiers;
                        }
                        asked => {
                            matching.push((number, asked));
                            unknown_here = unknown_here.or(Some(Decided::UnknownTo(number)));
                        }
                    }
                }
                unknown = unknown.or(unknown_here);
            }
        }
        let mut list = Vec::with_capacity(matching.len());
        for (number, asked) in matching {
            list.push(self.matches(number, asked)?);
        }
        Ok(Decision {
            known: self.first(&list)?,
            unknown: unknown.unwrap_or(Decided::Default),
        })
    }

    /// Whom a policy matches.
    fn matches(&mut self, number: PolicyNumber, asked: Asked) -> Result<Diagram, Entangled> {
        let result = Diagram::result(Decided::By(number).number());
        let entries = match &asked {
            Asked::Nobody => return Ok(Diagram::NOTHING),
            Asked::Everybody => return Ok(result),
            Asked::Entries(entries) => entries,
        };
        if let Some(known) = self.matches.get(&(number, asked.clone())) {
            return Ok(*known);
        }
        let Some(policy) = self.policies.get(number.0 as usize) else {
            return Ok(Diagram::NOTHING);
        };
        let mut cubes = Vec::with_capacity(entries.len());
        for entry in entries {
            let conditions: Vec<_> = policy.conditions.of_entry(*entry).collect();
            let conditions = conditions.iter().map(|(attribute, condition)| {
                (attribute, condition.operator(), condition.values())
            });
            let cube = Cube::of(&mut self.diagrams, conditions)?;
            cubes.push(self.diagrams.cube(cube.0.iter(), result)?);
        }
        let diagram = self.first(&cubes)?;
        self.matches.insert((number, asked), diagram);
        Ok(diagram)
    }

    /// The first that says something, by halves: so that each diagram is gone through a few times
    /// and not once for every other.
    fn first(&mut self, list: &[Diagram]) -> Result<Diagram, Entangled> {
        match list {
            [] => Ok(Diagram::NOTHING),
            [only] => Ok(*only),
            _ => {
                if let Some(known) = self.lists.get(list) {
                    return Ok(*known);
                }
                let (left, right) = list.split_at(list.len() / 2);
                let (left, right) = (self.first(left)?, self.first(right)?);
                let first = self.diagrams.apply(Operation::First, left, right)?;
                self.lists.insert(list.into(), first);
                Ok(first)
            }
        }
    }
}
