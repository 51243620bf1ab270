//! Questions about one state of a fabric: is there a client for which this holds?

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::cover::{self, Cube};
use super::diagram::{Diagram, Entangled, Operation};
use super::engine::{Decision, Engine};
use super::network::{End, Network};
use super::policies::{Sides, State};
use super::{Clients, Route, Verdict, region};
use crate::attributes::Client;
use crate::fabric::Fabric;
use crate::name::PeerName;

/// A fabric, ready for questions about who reaches what.
#[derive(Debug)]
pub struct Reach<'a> {
    pub(super) network: Network<'a>,
    pub(super) engine: Engine<'a>,
}

/// Steps for one question: seconds at most, and thousands of times what policies of people need.
const SEARCH_STEPS: usize = 8_000_000;

/// Some of all possible clients of a peer.
#[derive(Clone, Copy, Debug)]
pub struct Selection<'a> {
    /// Those that any of these describes. `[Clients::Known(vec![]), Clients::Unknown]` are all.
    pub any_of: &'a [Clients],
    /// Without those that any of these describes.
    pub except: &'a [Clients],
}

/// What is looked for among clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// One that some of the routes let through.
    Allowed,
    /// One that the routes let through to fewer than so many peers: with 1, one that reaches none.
    AllowedByFewerThan(usize),
}

/// What a search comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Search {
    /// There is such a client.
    Found(Box<Witness>),
    /// There is none, whoever may come.
    Nobody,
    /// The policies are too entangled to be told apart exactly: take the worse for true.
    Undecided,
}

/// A client that was looked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Witness {
    /// The client; none for an unknown one. One that is declared where there is one.
    pub client: Option<Client>,
    /// Some clients around it of which the same is true.
    pub clients: Clients,
    /// What is decided of the client over each of the routes, in their order.
    pub verdicts: Vec<(Route, Verdict)>,
}

// === impl Reach ===

impl<'a> Reach<'a> {
    /// The reach of a fabric; all is computed when it is asked for, and kept.
    #[must_use]
    pub fn new(fabric: &'a Fabric) -> Self {
        let mut engine = Engine::default();
        engine
            .policies
            .add(fabric, &fabric.units, (State::After, fabric.now));
        Self {
            network: Network::new(fabric),
            engine,
        }
    }

    /// The fabric.
    #[must_use]
    pub const fn fabric(&self) -> &'a Fabric {
        self.network.fabric
    }

    /// All routes in force, in order: of each peer's imports, each source that leads to a peer in
    /// force.
    pub fn routes(&self) -> impl Iterator<Item = &Route> {
        self.network.routes.keys()
    }

    /// What is decided of one client over a route, or of an unknown one; none where the policies
    /// are too entangled.
    pub fn verdict(&mut self, route: &Route, client: Option<&Client>) -> Option<Verdict> {
        self.begin();
        self.verdict_of(route, client).ok()
    }

    /// Looks for a client among some, over routes that begin at one peer as a client does.
    ///
    /// A route that isn't in force lets nobody through.
    pub fn search(&mut self, routes: &[Route], among: Selection<'_>, wanted: Wanted) -> Search {
        self.begin();
        match self.try_search(routes, among, wanted) {
            Ok(Some(witness)) => Search::Found(Box::new(witness)),
            Ok(None) => Search::Nobody,
            Err(Entangled) => Search::Undecided,
        }
    }

    fn try_search(
        &mut self,
        routes: &[Route],
        among: Selection<'_>,
        wanted: Wanted,
    ) -> Result<Option<Witness>, Entangled> {
        let mut decisions = Vec::with_capacity(routes.len());
        for route in routes {
            decisions.push(self.decide(route)?);
        }
        let set = self.wanted(routes, &decisions, wanted)?;
        let among_known = self.among(among)?;
        let diagrams = &mut self.engine.diagrams;
        let set = diagrams.apply(Operation::And, set, among_known)?;
        let (client, clients) = if set != Diagram::NOTHING {
            let declared = routes.first().map(|route| &route.client_peer);
            let declared = declared.map(|peer| self.network.declared(peer));
            let declared: Vec<_> = declared.into_iter().flatten().collect();
            let client = region::example(diagrams, set, &Cube::default(), &declared)?;
            let clients = cover::around(diagrams, set, &client)?.clients(diagrams);
            (Some(client), clients)
        } else if among.has_unknown() && self.is_wanted_of_unknown(routes, &decisions, wanted) {
            (None, Clients::Unknown)
        } else {
            return Ok(None);
        };
        let mut verdicts = Vec::with_capacity(routes.len());
        for route in routes {
            verdicts.push((route.clone(), self.verdict_of(route, client.as_ref())?));
        }
        Ok(Some(Witness {
            verdicts,
            client,
            clients,
        }))
    }

    /// The known clients for whom what is wanted is true.
    fn wanted(
        &mut self,
        routes: &[Route],
        decisions: &[Sides<Decision>],
        wanted: Wanted,
    ) -> Result<Diagram, Entangled> {
        let mut by_peer: BTreeMap<&PeerName, Diagram> = BTreeMap::new();
        for (route, decision) in routes.iter().zip(decisions) {
            let allowed = self.engine.allowed(*decision)?;
            let peer = by_peer
                .entry(&route.export_peer)
                .or_insert(Diagram::NOTHING);
            *peer = self.engine.diagrams.apply(Operation::Or, *peer, allowed)?;
        }
        let diagrams = &mut self.engine.diagrams;
        let enough = match wanted {
            Wanted::Allowed => 1,
            Wanted::AllowedByFewerThan(enough) => u32::try_from(enough).unwrap_or(u32::MAX),
        };
        // How many peers each client reaches, counted as far as it matters.
        let mut counted = Diagram::result(0);
        for allowed in by_peer.into_values() {
            let pairs = diagrams.apply(Operation::Pair, counted, allowed)?;
            counted = diagrams.map(pairs, &|diagrams, pair| {
                let (count, one) = diagrams.pair(pair);
                count.saturating_add(one).min(enough)
            })?;
        }
        diagrams.map(counted, &|_, count| {
            u32::from((count >= enough) == (wanted == Wanted::Allowed))
        })
    }

    fn is_wanted_of_unknown(
        &self,
        routes: &[Route],
        decisions: &[Sides<Decision>],
        wanted: Wanted,
    ) -> bool {
        let allowed = routes.iter().zip(decisions).filter(|(_, decision)| {
            let unknown = decision.unknown();
            self.engine.policies.lets_through(unknown)
        });
        let peers: BTreeSet<_> = allowed.map(|(route, _)| &route.export_peer).collect();
        match wanted {
            Wanted::Allowed => !peers.is_empty(),
            Wanted::AllowedByFewerThan(enough) => peers.len() < enough,
        }
    }

    /// The known clients of a selection.
    fn among(&mut self, among: Selection<'_>) -> Result<Diagram, Entangled> {
        let any_of = self.union(among.any_of)?;
        let except = self.union(among.except)?;
        self.engine
            .diagrams
            .apply(Operation::Without, any_of, except)
    }

    fn union(&mut self, all: &[Clients]) -> Result<Diagram, Entangled> {
        let diagrams = &mut self.engine.diagrams;
        let mut union = Diagram::NOTHING;
        for clients in all {
            let Clients::Known(terms) = clients else {
                continue;
            };
            let conditions = terms.iter().map(|term| {
                let values = term.values.iter().map(String::as_str);
                (&term.attribute, term.operator, values)
            });
            let cube = Cube::of(diagrams, conditions)?;
            let some = diagrams.cube(cube.0.iter(), Diagram::EVERYTHING)?;
            union = diagrams.apply(Operation::Or, union, some)?;
        }
        Ok(union)
    }

    /// How many steps the last question took, of a hundred nanoseconds or so each: for a bound on
    /// many questions together.
    #[must_use]
    pub const fn spent(&self) -> usize {
        SEARCH_STEPS - self.engine.diagrams.patience()
    }

    pub(super) fn begin(&mut self) {
        self.engine.begin(SEARCH_STEPS);
    }

    pub(super) fn decide(&mut self, route: &Route) -> Result<Sides<Decision>, Entangled> {
        let way = self.network.routes.get(route);
        self.engine.decide(way, State::After)
    }

    pub(super) fn verdict_of(
        &mut self,
        route: &Route,
        client: Option<&Client>,
    ) -> Result<Verdict, Entangled> {
        let way = self.network.routes.get(route);
        let mut decided = |end| self.engine.decided(way, end, State::After, client);
        let sides = Sides {
            importer: decided(End::Importer)?,
            exporter: decided(End::Exporter)?,
        };
        Ok(self.engine.policies.verdict(sides, State::After))
    }
}

// === impl Selection ===

impl Selection<'_> {
    /// All clients there can be, known and unknown.
    pub const ALL: Self = Self {
        any_of: &[Clients::Known(Vec::new()), Clients::Unknown],
        except: &[],
    };

    fn has_unknown(&self) -> bool {
        self.any_of.contains(&Clients::Unknown) && !self.except.contains(&Clients::Unknown)
    }
}
