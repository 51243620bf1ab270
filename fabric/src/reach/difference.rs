//! What two states let through differently.

use std::collections::{BTreeMap, BTreeSet};

use super::diagram::{Entangled, Operation};
use super::engine::{Decided, Decision, Engine, Sides, State};
use super::network::Network;
use super::region;
use super::{Clients, Difference, Flip, Route};
use crate::attributes::Client;
use crate::fabric::Fabric;
use crate::name::PeerName;

/// Steps for one route: a second at most, and thousands of times what policies of people need.
const ROUTE_STEPS: usize = 4_000_000;

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
        self.engine.begin(ROUTE_STEPS);
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
        let (old, new) = case.states();
        Flip {
            route: route.clone(),
            clients,
            example,
            before: self.engine.verdict(old, State::Before),
            after: self.engine.verdict(new, State::After),
        }
    }

    /// Whether access opens (true) or closes; none where neither.
    fn is_opened(&self, case: &Case) -> Option<bool> {
        let (old, new) = case.states();
        let (before, after) = (self.engine.lets_through(old), self.engine.lets_through(new));
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
        let mut causes: [BTreeMap<Cause, BTreeSet<u32>>; 2] = Default::default();
        for result in region::results(&self.engine.diagrams, both) {
            let case = self.case(result);
            if let Some(is_opened) = self.is_opened(&case) {
                let cause = self.cause(&case, is_opened);
                let [closed, opened] = &mut causes;
                let causes = if is_opened { opened } else { closed };
                causes.entry(cause).or_default().insert(result);
            }
        }
        let declared = self.declared(&route.client_peer);
        for (is_opened, causes) in [false, true].into_iter().zip(causes) {
            let regions = region::regions(&mut self.engine.diagrams, both, &causes, &declared)?;
            for region in regions {
                let case = self.case(region.result);
                let flip = self.flip(route, region.clients, Some(region.example), &case);
                flips.push((is_opened, flip));
            }
        }
        Ok(())
    }

    /// The clients that a peer declares, those of now first.
    fn declared(&self, peer: &PeerName) -> Vec<Client> {
        let networks = [&self.after, &self.before].into_iter().flatten();
        networks
            .flat_map(|network| network.declared(peer))
            .collect()
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

// === impl Case ===

impl Case {
    /// What decided before, and what decides after.
    const fn states(&self) -> (Sides<Decided>, Sides<Decided>) {
        let old = Sides {
            importer: self.importer.0,
            exporter: self.exporter.0,
        };
        let new = Sides {
            importer: self.importer.1,
            exporter: self.exporter.1,
        };
        (old, new)
    }
}
