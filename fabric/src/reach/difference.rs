//! What two states let through differently.

use std::collections::{BTreeMap, BTreeSet};

use super::cover::{self, Cube};
use super::diagram::{Diagram, Entangled, Operation};
use super::engine::{Decided, Decision, Engine, Sides, State};
use super::network::Network;
use super::{Clients, Difference, Flip, Route, Verdict};
use crate::attributes::Client;
use crate::fabric::Fabric;

/// Steps for one route: a second at most, and thousands of times what policies of people need.
const ROUTE_STEPS: usize = 4_000_000;

/// What is kept before it is thrown away and begun anew: some 200 MB.
const MAX_SIZE: usize = 2_000_000;

/// The results of both sides, before and after.
type Case = Sides<(Decided, Decided)>;

/// The comparison of two states.
struct Comparison<'a> {
    before: Option<Network<'a>>,
    after: Option<Network<'a>>,
    engine: Engine<'a>,
    difference: Difference,
}

/// Compares two states.
pub(super) fn difference(before: Option<&Fabric>, after: Option<&Fabric>) -> Difference {
    let mut engine = Engine::default();
    for (fabric, state) in [(before, State::Before), (after, State::After)] {
        if let Some(fabric) = fabric {
            engine.add(fabric, state);
        }
    }
    let mut comparison = Comparison {
        before: before.map(Network::new),
        after: after.map(Network::new),
        engine,
        difference: Difference::default(),
    };
    for route in comparison.routes() {
        comparison.compare(route);
    }
    comparison.difference
}

// === impl Comparison ===

impl<'a> Comparison<'a> {
    fn routes(&self) -> BTreeSet<Route> {
        let networks = [&self.before, &self.after].into_iter().flatten();
        networks
            .flat_map(|network| network.routes.keys().cloned())
            .collect()
    }

    fn compare(&mut self, route: Route) {
        if self.engine.diagrams.size() > MAX_SIZE {
            self.engine.forget();
        }
        self.engine.diagrams.allow(ROUTE_STEPS);
        match self.flips(&route) {
            Ok(flips) => {
                for (is_opened, flip) in flips {
                    match is_opened {
                        true => self.difference.opened.push(flip),
                        false => self.difference.closed.push(flip),
                    }
                }
            }
            Err(Entangled) => self.difference.undecided.push(route),
        }
    }

    /// The clients of a route for whom access opens (true) or closes.
    fn flips(&mut self, route: &Route) -> Result<Vec<(bool, Flip)>, Entangled> {
        let way = |network: &Option<Network<'a>>| network.as_ref()?.routes.get(route).cloned();
        let (before, after) = (way(&self.before), way(&self.after));
        let before = self.engine.decide(before.as_ref(), State::Before)?;
        let after = self.engine.decide(after.as_ref(), State::After)?;
        let mut flips = Vec::new();
        self.known_flips(route, before, after, &mut flips)?;
        let unknown = Sides {
            importer: (before.importer.unknown, after.importer.unknown),
            exporter: (before.exporter.unknown, after.exporter.unknown),
        };
        if let Some(is_opened) = self.is_opened(&unknown) {
            flips.push((
                is_opened,
                self.flip(route, Clients::Unknown, None, &unknown),
            ));
        }
        Ok(flips)
    }

    fn flip(&self, route: &Route, clients: Clients, example: Option<Client>, case: &Case) -> Flip {
        let verdict = |state, importer, exporter| Verdict {
            allowed: self.engine.allows(importer) && self.engine.allows(exporter),
            importer: self.engine.why(importer, state),
            exporter: self.engine.why(exporter, state),
        };
        Flip {
            route: route.clone(),
            clients,
            example,
            before: verdict(State::Before, case.importer.0, case.exporter.0),
            after: verdict(State::After, case.importer.1, case.exporter.1),
        }
    }

    /// Whether access opens (true) or closes; none where neither.
    fn is_opened(&self, case: &Case) -> Option<bool> {
        let allows = |decided| self.engine.allows(decided);
        let before = allows(case.importer.0) && allows(case.exporter.0);
        let after = allows(case.importer.1) && allows(case.exporter.1);
        (before != after).then_some(after)
    }

    fn known_flips(
        &mut self,
        route: &Route,
        before: Sides<Decision>,
        after: Sides<Decision>,
        flips: &mut Vec<(bool, Flip)>,
    ) -> Result<(), Entangled> {
        if before.importer.known == after.importer.known
            && before.exporter.known == after.exporter.known
        {
            return Ok(());
        }
        let diagrams = &mut self.engine.diagrams;
        let old = diagrams.apply(
            Operation::Pair,
            before.importer.known,
            before.exporter.known,
        )?;
        let new = diagrams.apply(Operation::Pair, after.importer.known, after.exporter.known)?;
        let both = diagrams.apply(Operation::Pair, old, new)?;
        // What flips for the same cause is described together.
        let mut causes: BTreeMap<(bool, Cause), BTreeSet<u32>> = BTreeMap::new();
        for diagram in self.engine.diagrams.reachable(both) {
            let Some(result) = diagram.as_result() else {
                continue;
            };
            let case = self.case(result);
            if let Some(is_opened) = self.is_opened(&case) {
                let cause = self.cause(&case, is_opened);
                causes.entry((is_opened, cause)).or_default().insert(result);
            }
        }
        let mut told = [Diagram::NOTHING; 2];
        for ((is_opened, _), results) in causes {
            let is_of_cause = |result: u32| u32::from(results.contains(&result));
            let diagrams = &mut self.engine.diagrams;
            let set = diagrams.map(both, &|_, result| is_of_cause(result))?;
            // What was told already may be told again, where that makes it simpler.
            let told = &mut told[usize::from(is_opened)];
            let bound = diagrams.apply(Operation::Or, set, *told)?;
            *told = bound;
            for cube in cover::cover(diagrams, set, bound)? {
                flips.push((is_opened, self.known_flip(route, both, set, &cube)?));
            }
        }
        Ok(())
    }

    fn known_flip(
        &mut self,
        route: &Route,
        both: Diagram,
        set: Diagram,
        cube: &Cube,
    ) -> Result<Flip, Entangled> {
        let networks = [&self.after, &self.before].into_iter().flatten();
        let declared = networks.flat_map(|network| network.declared(&route.client_peer));
        let diagrams = &mut self.engine.diagrams;
        let mut declared: Vec<Client> = declared.collect();
        declared.retain(|client| cube.has(diagrams, client) && diagrams.evaluate(set, client) == 1);
        let example = match declared.into_iter().next() {
            Some(client) => client,
            None => {
                let inside = diagrams.cube(cube.0.iter(), Diagram::EVERYTHING)?;
                let inside = diagrams.apply(Operation::And, inside, set)?;
                let example = cover::shortest(diagrams, inside)?;
                example.ok_or(Entangled)?.plainest(diagrams)
            }
        };
        let case = self.case(self.engine.diagrams.evaluate(both, &example));
        let clients = cube.clients(&self.engine.diagrams);
        Ok(self.flip(route, clients, Some(example), &case))
    }

    fn case(&self, result: u32) -> Case {
        let diagrams = &self.engine.diagrams;
        let (old, new) = diagrams.pair(result);
        let (old, new) = (diagrams.pair(old), diagrams.pair(new));
        Sides {
            importer: (Decided::of(old.0), Decided::of(new.0)),
            exporter: (Decided::of(old.1), Decided::of(new.1)),
        }
    }

    /// What decides on the sides that stood, or stand, in the way.
    fn cause(&self, case: &Case, is_opened: bool) -> Cause {
        let of = |(before, after): (Decided, Decided)| {
            let denied = if is_opened { before } else { after };
            (!self.engine.allows(denied)).then_some((before, after))
        };
        Sides {
            importer: of(case.importer),
            exporter: of(case.exporter),
        }
    }
}

/// What decides before and after, of the sides that changed their mind.
type Cause = Sides<Option<(Decided, Decided)>>;
