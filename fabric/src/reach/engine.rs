//! What each side of a route decides, for every possible client at once.

use std::collections::HashMap;

use super::cover::Cube;
use super::diagram::{Diagram, Diagrams, Entangled, Operation};
use super::network::{End, Way};
use super::policies::{Decided, NumberedPolicies, PolicyNumber, Sides, State, TierNumber};
use crate::api::Action;
use crate::attributes::Client;
use crate::policy::{Asked, Request, View};

/// What one side decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Decision {
    /// Of the known clients, whom it lets through.
    pub(super) allowed: Diagram,
    /// Of the one that nobody knows.
    pub(super) unknown: Decided,
}

/// What decides, and all that was computed for it.
#[derive(Debug, Default)]
pub(super) struct Engine<'a> {
    pub(super) diagrams: Diagrams,
    pub(super) policies: NumberedPolicies<'a>,
    /// What a tier does with requests that are alike to it.
    effects: HashMap<(TierNumber, View), TierEffect>,
    /// Which policy of a tier decides, of clients in a set.
    deciding: HashMap<(TierNumber, View, Diagram), Diagram>,
    /// Whom a policy matches, by what is left of it.
    matches: HashMap<(PolicyNumber, Asked), Diagram>,
}

/// What a tier does with the clients of a request.
#[derive(Clone, Copy, Debug)]
struct TierEffect {
    /// The known clients whom it denies.
    denied: Diagram,
    /// The known clients whom it allows, unless it denies them.
    allowed: Diagram,
    /// What it decides of an unknown one.
    unknown: Option<Decided>,
}

/// How much is kept before all of it is thrown away: some 200 MB.
const MAX_SIZE: usize = 2_000_000;

// === impl Decision ===

impl Decision {
    pub(super) const NO_ROUTE: Self = Self {
        allowed: Diagram::NOTHING,
        unknown: Decided::NoRoute,
    };
}

// === impl Sides ===

impl Sides<Decision> {
    const NO_ROUTE: Self = Self {
        importer: Decision::NO_ROUTE,
        exporter: Decision::NO_ROUTE,
    };

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
    /// Begins a new question, that may take so many steps: where much is kept of those before, it
    /// is thrown away (true) and computed again when it is needed.
    pub(super) fn begin(&mut self, steps: usize) -> bool {
        let is_much = self.diagrams.size() > MAX_SIZE;
        if is_much {
            self.diagrams = Diagrams::default();
            self.effects.clear();
            self.deciding.clear();
            self.matches.clear();
        }
        self.diagrams.allow(steps);
        is_much
    }

    /// The clients that both sides let through, of those that are known.
    pub(super) fn allowed(&mut self, sides: Sides<Decision>) -> Result<Diagram, Entangled> {
        let (importer, exporter) = (sides.importer.allowed, sides.exporter.allowed);
        self.diagrams.apply(Operation::And, importer, exporter)
    }

    /// What both sides decide of a route; none stands for one that isn't there.
    pub(super) fn decide(
        &mut self,
        way: Option<&Way<'a>>,
        state: State,
    ) -> Result<Sides<Decision>, Entangled> {
        let Some(way) = way else {
            return Ok(Sides::NO_ROUTE);
        };
        Ok(Sides {
            importer: self.decide_end(way, End::Importer, state)?,
            exporter: self.decide_end(way, End::Exporter, state)?,
        })
    }

    fn decide_end(&mut self, way: &Way<'a>, end: End, state: State) -> Result<Decision, Entangled> {
        let Some((request, tiers)) = self.asked(way, end, state) else {
            return Ok(Decision::NO_ROUTE);
        };
        let mut allowed = Diagram::NOTHING;
        let mut unknown = None;
        // From the last tier up, each going before what is below it.
        for tier in tiers.into_iter().flatten().rev() {
            let effect = self.effect(tier, &request)?;
            let diagrams = &mut self.diagrams;
            allowed = diagrams.apply(Operation::Or, effect.allowed, allowed)?;
            allowed = diagrams.apply(Operation::Without, allowed, effect.denied)?;
            unknown = effect.unknown.or(unknown);
        }
        Ok(Decision {
            allowed,
            unknown: unknown.unwrap_or(Decided::Default),
        })
    }

    /// What decides on both sides of a route, of the clients in a set; for others nothing is said.
    pub(super) fn deciding(
        &mut self,
        way: Option<&Way<'a>>,
        state: State,
        set: Diagram,
    ) -> Result<Diagram, Entangled> {
        let importer = self.deciding_end(way, End::Importer, state, set)?;
        let exporter = self.deciding_end(way, End::Exporter, state, set)?;
        self.diagrams.apply(Operation::Pair, importer, exporter)
    }

    /// What decides on one side of a route, of the clients in a set.
    pub(super) fn deciding_end(
        &mut self,
        way: Option<&Way<'a>>,
        end: End,
        state: State,
        set: Diagram,
    ) -> Result<Diagram, Entangled> {
        let Some((request, tiers)) = way.and_then(|way| self.asked(way, end, state)) else {
            let no_route = Diagram::result(Decided::NoRoute.number());
            return self.diagrams.apply(Operation::Within, set, no_route);
        };
        let mut deciding = Diagram::NOTHING;
        for tier in tiers.into_iter().flatten() {
            let next = self.deciding_in(tier, &request, set)?;
            deciding = self.diagrams.apply(Operation::First, deciding, next)?;
        }
        Ok(deciding)
    }

    fn deciding_in(
        &mut self,
        number: TierNumber,
        request: &Request<'_>,
        set: Diagram,
    ) -> Result<Diagram, Entangled> {
        let Some(tier) = self.policies.tier_of(number).cloned() else {
            return Ok(Diagram::NOTHING);
        };
        let key = (number, tier.aspects.view(request), set);
        if let Some(known) = self.deciding.get(&key) {
            return Ok(*known);
        }
        let mut list = Vec::new();
        let mut rest = set;
        for number in &tier.policies {
            let Some(policy) = self.policies.policy(*number) else {
                continue;
            };
            let asked = policy.conditions.asked(request);
            if asked == Asked::Nobody {
                continue;
            }
            let matching = self.matches(*number, asked)?;
            let here = self.diagrams.apply(Operation::And, matching, rest)?;
            if here == Diagram::NOTHING {
                continue;
            }
            let by = Diagram::result(Decided::By(*number).number());
            list.push(self.diagrams.apply(Operation::Within, here, by)?);
            rest = self.diagrams.apply(Operation::Without, rest, here)?;
            if rest == Diagram::NOTHING {
                break;
            }
        }
        let deciding = self.joined(Operation::First, list)?;
        self.deciding.insert(key, deciding);
        Ok(deciding)
    }

    /// What decides of one client on an end of a route, or of an unknown one.
    pub(super) fn decided(
        &mut self,
        way: Option<&Way<'a>>,
        end: End,
        state: State,
        client: Option<&Client>,
    ) -> Result<Decided, Entangled> {
        let Some((request, tiers)) = way.and_then(|way| self.asked(way, end, state)) else {
            return Ok(Decided::NoRoute);
        };
        for number in tiers.into_iter().flatten() {
            let Some(client) = client else {
                match self.effect(number, &request)?.unknown {
                    Some(decided) => return Ok(decided),
                    None => continue,
                }
            };
            let Some(tier) = self.policies.tier_of(number).cloned() else {
                continue;
            };
            for number in &tier.policies {
                let Some(policy) = self.policies.policy(*number) else {
                    continue;
                };
                let asked = policy.conditions.asked(&request);
                let matching = self.matches(*number, asked)?;
                if self.diagrams.evaluate(matching, client) == Diagram::YES {
                    return Ok(Decided::By(*number));
                }
            }
        }
        Ok(Decided::Default)
    }

    /// What is asked at an end of a route, and the tiers that answer.
    pub(super) fn asked<'b>(
        &self,
        way: &'b Way<'a>,
        end: End,
        state: State,
    ) -> Option<(Request<'b>, [Option<TierNumber>; 2])> {
        let request = way.request(end)?;
        let peer = &way.unit(end).attributes.name;
        let tiers = self.policies.tiers(peer, request.namespace, state)?;
        Some((request, tiers))
    }

    fn effect(
        &mut self,
        number: TierNumber,
        request: &Request<'_>,
    ) -> Result<TierEffect, Entangled> {
        let mut effect = TierEffect {
            denied: Diagram::NOTHING,
            allowed: Diagram::NOTHING,
            unknown: None,
        };
        let Some(tier) = self.policies.tier_of(number).cloned() else {
            return Ok(effect);
        };
        let key = (number, tier.aspects.view(request));
        if let Some(known) = self.effects.get(&key) {
            return Ok(*known);
        }
        self.diagrams.spend(tier.policies.len())?;
        let (mut denied, mut allowed) = (Vec::new(), Vec::new());
        let mut unknown_action = None;
        for number in &tier.policies {
            let Some(policy) = self.policies.policy(*number) else {
                continue;
            };
            let action = policy.action();
            let asked = policy.conditions.asked(request);
            match &asked {
                Asked::Nobody => {}
                // In one step the first that matches goes before those that might.
                Asked::Everybody if unknown_action.is_none_or(|first| first == action) => {
                    effect.unknown = Some(Decided::By(*number));
                }
                Asked::Everybody => {}
                Asked::Entries(_) if effect.unknown.is_none() => {
                    effect.unknown = Some(Decided::UnknownTo(*number));
                    unknown_action = Some(action);
                }
                Asked::Entries(_) => {}
            }
            let is_last = asked == Asked::Everybody;
            let matching = self.matches(*number, asked)?;
            // Every policy has its place in the list, also one that doesn't count here: so that
            // the same halves meet again for other requests.
            match action {
                Action::Deny => denied.push(matching),
                Action::Allow => allowed.push(matching),
            }
            if is_last {
                // Nothing after it is ever asked.
                break;
            }
        }
        effect.denied = self.joined(Operation::Or, denied)?;
        effect.allowed = self.joined(Operation::Or, allowed)?;
        self.effects.insert(key, effect);
        Ok(effect)
    }

    /// Whom a policy matches.
    fn matches(&mut self, number: PolicyNumber, asked: Asked) -> Result<Diagram, Entangled> {
        let entries = match &asked {
            Asked::Nobody => return Ok(Diagram::NOTHING),
            Asked::Everybody => return Ok(Diagram::EVERYTHING),
            Asked::Entries(entries) => entries,
        };
        let key = (number, asked.clone());
        if let Some(known) = self.matches.get(&key) {
            return Ok(*known);
        }
        let Some(policy) = self.policies.policy(number) else {
            return Ok(Diagram::NOTHING);
        };
        let mut cubes = Vec::with_capacity(entries.len());
        for entry in entries {
            let conditions: Vec<_> = policy.conditions.of_entry(*entry).collect();
            let conditions = conditions.iter().map(|(attribute, condition)| {
                (attribute, condition.operator(), condition.values())
            });
            let cube = Cube::of(&mut self.diagrams, conditions)?;
            cubes.push(self.diagrams.cube(cube.0.iter(), Diagram::EVERYTHING)?);
        }
        let diagram = self.joined(Operation::Or, cubes)?;
        self.matches.insert(key, diagram);
        Ok(diagram)
    }

    /// Several functions put together: by halves, so that each is gone through a few times and not
    /// once for every other.
    fn joined(
        &mut self,
        operation: Operation,
        mut list: Vec<Diagram>,
    ) -> Result<Diagram, Entangled> {
        while list.len() > 1 {
            let mut halved = Vec::with_capacity(list.len().div_ceil(2));
            for pair in list.chunks(2) {
                halved.push(match pair {
                    [first, second] => self.diagrams.apply(operation, *first, *second)?,
                    _ => pair.first().copied().unwrap_or(Diagram::NOTHING),
                });
            }
            list = halved;
        }
        Ok(list.first().copied().unwrap_or(Diagram::NOTHING))
    }
}
