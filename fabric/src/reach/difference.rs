//! What two states let through differently.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;

use super::diagram::{Diagram, Entangled, Operation};
use super::engine::Engine;
use super::network::{Differing, End, Network, Way};
use super::policies::{Decided, Sides, State};
use super::region::{self, Region};
use super::{Clients, Difference, Flip, Route};
use crate::attributes::Client;
use crate::fabric::Fabric;
use crate::name::PeerName;

/// Steps for one route: a second at most, and hundreds of times what policies of people need.
const ROUTE_STEPS: usize = 2_000_000;

/// Steps for all routes together: some ten seconds. Ten thousand routes that all change take a
/// tenth of it.
const ALL_STEPS: usize = 100_000_000;

/// Flips that are told one by one, of some 2 KB each; routes beyond them count as undecided.
const MAX_FLIPS: usize = 100_000;

/// The results of both sides, before and after.
type Case = Sides<(Decided, Decided)>;

/// The comparison of two states.
struct Comparison<'a> {
    before: Option<Network<'a>>,
    after: Option<Network<'a>>,
    engine: Engine<'a>,
    /// What was described already: by the function, whether access opens, and the peer where that
    /// declares clients.
    described: HashMap<(Diagram, bool, Option<PeerName>), Vec<Region>>,
    /// Steps that may still be taken.
    left: usize,
    /// The moment of the comparison; none for now.
    from: Option<Timestamp>,
    difference: Difference,
}

/// Moments at which policies end that are looked at; a fabric with more of them to come has
/// something else in mind, and what may differ then counts as undecided.
const MAX_ENDS: usize = 256;

/// Compares two states, now and after each end of a policy.
pub(super) fn difference(before: Option<&Fabric>, after: Option<&Fabric>) -> Difference {
    let states = [before, after].into_iter().flatten();
    let Some(now) = states.clone().map(|fabric| fabric.now).max() else {
        return Difference::default();
    };
    let ends: BTreeSet<Timestamp> = states
        .flat_map(Fabric::ends)
        .filter(|end| *end > now)
        .collect();
    let differing = before.zip(after);
    let differing = differing.and_then(|(before, after)| Differing::between(before, after));
    let comparison = |now, left| Comparison::new((before, after), differing.as_ref(), now, left);
    let mut first = comparison(now, ALL_STEPS);
    let mut routes = first.routes();
    first.compare_all(&routes, None);
    let (mut whole, mut left) = (first.difference, first.left);
    if ends.is_empty() {
        return whole;
    }
    // What is alike with all policies, each with its end, is alike for ever.
    routes = comparison(Timestamp::MIN, left).routes();
    if ends.len() > MAX_ENDS {
        whole.undecided = routes.iter().cloned().collect();
    }
    let mut previous = whole.clone();
    for end in ends.into_iter().take(MAX_ENDS) {
        if routes.is_empty() {
            break;
        }
        let mut then = comparison(end, left);
        then.compare_all(&routes, Some(end));
        left = then.left;
        let then = then.difference;
        let news = |flips: &[Flip], known: &[Flip]| -> Vec<Flip> {
            let known: BTreeSet<_> = known
                .iter()
                .map(|flip| (&flip.route, &flip.clients))
                .collect();
            let is_new = |flip: &&Flip| !known.contains(&(&flip.route, &flip.clients));
            flips.iter().filter(is_new).cloned().collect()
        };
        let more = news(&then.opened, &previous.opened);
        whole.opened.extend(more);
        let more = news(&then.closed, &previous.closed);
        whole.closed.extend(more);
        whole.undecided.extend(then.undecided.iter().cloned());
        previous = then;
    }
    whole.undecided.sort();
    whole.undecided.dedup();
    whole
}

// === impl Comparison ===

impl<'a> Comparison<'a> {
    fn new(
        (before, after): (Option<&'a Fabric>, Option<&'a Fabric>),
        differing: Option<&Differing<'_>>,
        now: Timestamp,
        left: usize,
    ) -> Self {
        let network = |fabric| Network::of(fabric, differing);
        let (before, after) = (before.map(network), after.map(network));
        let networks = || [&before, &after].into_iter().flatten();
        let peers: BTreeSet<&PeerName> = networks().flat_map(Network::peers).collect();
        let mut engine = Engine::default();
        for (network, state) in [(&before, State::Before), (&after, State::After)] {
            if let Some(network) = network {
                let units = network.fabric.units.iter();
                let units = units.filter(|(name, _)| peers.contains(name));
                engine.policies.add(network.fabric, units, (state, now));
            }
        }
        Self {
            before,
            after,
            engine,
            described: HashMap::new(),
            left,
            from: None,
            difference: Difference::default(),
        }
    }

    fn compare_all(&mut self, routes: &BTreeSet<Route>, from: Option<Timestamp>) {
        self.from = from;
        for route in routes {
            self.compare(route.clone());
        }
    }

    /// The routes that may be decided otherwise: there, or not, in one state alone, or not alike in
    /// all that is looked at.
    fn routes(&self) -> BTreeSet<Route> {
        let networks = [&self.before, &self.after].into_iter().flatten();
        let routes = networks.flat_map(|network| network.routes.keys());
        routes
            .filter(|route| match (self.before(route), self.after(route)) {
                (Some(before), Some(after)) => !self.is_same(before, after),
                _ => true,
            })
            .cloned()
            .collect()
    }

    fn before(&self, route: &Route) -> Option<&Way<'a>> {
        self.before.as_ref()?.routes.get(route)
    }

    fn after(&self, route: &Route) -> Option<&Way<'a>> {
        self.after.as_ref()?.routes.get(route)
    }

    fn is_same(&self, before: &Way<'a>, after: &Way<'a>) -> bool {
        [End::Importer, End::Exporter].into_iter().all(|end| {
            let before = self.engine.asked(before, end, State::Before);
            match (before, self.engine.asked(after, end, State::After)) {
                (None, None) => true,
                (Some((before, old)), Some((after, new))) => old == new && before == after,
                _ => false,
            }
        })
    }

    fn compare(&mut self, route: Route) {
        let steps = self.left.min(ROUTE_STEPS);
        if self.engine.begin(steps) {
            self.described.clear();
        }
        let flips = self.flips(&route);
        self.left -= steps - self.engine.diagrams.patience();
        let difference = &mut self.difference;
        let count = difference.opened.len() + difference.closed.len();
        match flips {
            Ok(flips) if count + flips.len() <= MAX_FLIPS => {
                for (is_opened, flip) in flips {
                    match is_opened {
                        true => difference.opened.push(flip),
                        false => difference.closed.push(flip),
                    }
                }
            }
            _ => difference.undecided.push(route),
        }
    }

    /// The clients of a route for whom access opens (true) or closes.
    fn flips(&mut self, route: &Route) -> Result<Vec<(bool, Flip)>, Entangled> {
        let before = self.before(route).cloned();
        let before = self.engine.decide(before.as_ref(), State::Before)?;
        let after = self.after(route).cloned();
        let after = self.engine.decide(after.as_ref(), State::After)?;
        let mut flips = Vec::new();
        let (old, new) = (self.engine.allowed(before)?, self.engine.allowed(after)?);
        for (is_opened, gains, loses) in [(true, new, old), (false, old, new)] {
            let diagrams = &mut self.engine.diagrams;
            let set = diagrams.apply(Operation::Without, gains, loses)?;
            if set != Diagram::NOTHING {
                self.known_flips(route, set, is_opened, &mut flips)?;
            }
        }
        let (old, new) = (before.unknown(), after.unknown());
        let unknown = Sides {
            importer: (old.importer, new.importer),
            exporter: (old.exporter, new.exporter),
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
            from: self.from,
            clients,
            example,
            before: self.engine.policies.verdict(old, State::Before),
            after: self.engine.policies.verdict(new, State::After),
        }
    }

    /// Whether access opens (true) or closes; none where neither.
    fn is_opened(&self, case: &Case) -> Option<bool> {
        let (old, new) = case.states();
        let (before, after) = (
            self.engine.policies.lets_through(old),
            self.engine.policies.lets_through(new),
        );
        (before != after).then_some(after)
    }

    /// The flips of the known clients in a set, by their causes.
    fn known_flips(
        &mut self,
        route: &Route,
        set: Diagram,
        is_opened: bool,
        flips: &mut Vec<(bool, Flip)>,
    ) -> Result<(), Entangled> {
        let (before, after) = (self.before(route).cloned(), self.after(route).cloned());
        let old = self.engine.deciding(before.as_ref(), State::Before, set)?;
        let new = self.engine.deciding(after.as_ref(), State::After, set)?;
        let both = self.engine.diagrams.apply(Operation::Pair, old, new)?;
        let declared = self.declared(&route.client_peer);
        let peer = (!declared.is_empty()).then(|| route.client_peer.clone());
        let key = (both, is_opened, peer);
        // Of a thousand routes that change alike, one is described.
        if !self.described.contains_key(&key) {
            let regions = self.describe(both, is_opened, &declared)?;
            self.described.insert(key.clone(), regions);
        }
        for region in self.described.get(&key).into_iter().flatten() {
            let case = self.case(region.result);
            let (clients, example) = (region.clients.clone(), region.example.clone());
            flips.push((is_opened, self.flip(route, clients, Some(example), &case)));
        }
        Ok(())
    }

    /// Describes those who flip, by their causes.
    fn describe(
        &mut self,
        both: Diagram,
        is_opened: bool,
        declared: &[Client],
    ) -> Result<Vec<Region>, Entangled> {
        let mut causes: BTreeMap<Cause, BTreeSet<u32>> = BTreeMap::new();
        for result in region::results(&self.engine.diagrams, both) {
            let case = self.case(result);
            if self.is_opened(&case) == Some(is_opened) {
                let cause = self.cause(&case, is_opened);
                causes.entry(cause).or_default().insert(result);
            }
        }
        region::regions(&mut self.engine.diagrams, both, &causes, declared)
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

    /// What makes the sides change their mind that stood, or stand, in the way: a policy that
    /// decides and came or went, and else what decides now.
    fn cause(&self, case: &Case, is_opened: bool) -> Cause {
        let policies = &self.engine.policies;
        let of = |(before, after): (Decided, Decided)| {
            let in_the_way = if is_opened { before } else { after };
            if policies.allows(in_the_way) {
                return None;
            }
            let gone = (!policies.is_in(before, State::After)).then_some(before);
            let new = (!policies.is_in(after, State::Before)).then_some(after);
            match (gone, new) {
                (None, None) => Some((None, Some(after))),
                changed => Some(changed),
            }
        };
        Sides {
            importer: of(case.importer),
            exporter: of(case.exporter),
        }
    }
}

/// Of the sides that changed their mind, what decided before and what decides now, as far as these
/// are the cause.
type Cause = Sides<Option<(Option<Decided>, Option<Decided>)>>;

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
