//! What is asked of an invariant, and the answer.

use std::collections::{BTreeMap, BTreeSet};

use super::{CounterExample, InvariantOutcome, InvariantVerdict, words};
use crate::api::{InvariantRule, InvariantSpec, Losing, Object};
use crate::attributes::{ExportAttributes, PeerAttributes};
use crate::fabric::{Fabric, Item, Unit};
use crate::name::{ObjectName, PeerName};
use crate::policy::selection::{ClientSelection, NoAttribute, ServiceSelection};
use crate::reach::{Clients, Reach, Route, Search, Selection, Wanted, Witness};

/// Counter-examples of one invariant: what is wrong is seen from a few.
const EXAMPLES: usize = 5;

/// Sets of lost peers that are tried for the clients of one peer and one service: all pairs among
/// 40 peers that offer it.
const LOSSES: usize = 1000;

/// What a fabric offers, for questions about it.
pub(super) struct Question<'a> {
    fabric: &'a Fabric,
    services: Vec<Service<'a>>,
    /// How many routes there are.
    routes: usize,
}

/// A service at a peer.
struct Service<'a> {
    attributes: ExportAttributes,
    peer: &'a PeerAttributes,
}

/// The services that an invariant is about, and the peers that offer each.
type Offered<'a> = BTreeMap<&'a ObjectName, BTreeSet<&'a PeerName>>;

/// What an invariant comes to.
#[derive(Debug)]
pub(super) enum Answer {
    /// It can't be checked.
    NotUnderstood(Vec<Mistake>),
    /// It is about nothing: of this field; and whether something has to be there.
    Nothing(&'static str, bool),
    /// It was checked.
    Checked {
        examples: Vec<CounterExample>,
        undecided: Option<Undecided>,
    },
}

/// Why it can't be told whether an invariant holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Undecided {
    /// Too many policies act together.
    Entangled,
    /// What it is about isn't known: units that can't be understood.
    Unknown,
    /// The steps of a check are spent.
    Spent,
}

/// Why an invariant can't be checked.
#[derive(Debug)]
pub(super) enum Mistake {
    /// A key that is no attribute.
    NoAttribute(NoAttribute),
    /// A peer that isn't there, by its place in `losing.peers`.
    NoPeer(usize, String),
}

/// One invariant, ready to be asked about.
struct Check<'q, 'a> {
    question: &'q Question<'a>,
    from: ClientSelection,
    /// The services that it is about.
    services: Vec<&'q Service<'a>>,
    steps: &'q mut usize,
    examples: Vec<CounterExample>,
    undecided: Option<Undecided>,
}

// === impl Question ===

impl<'a> Question<'a> {
    pub(super) fn new(fabric: &'a Fabric, routes: usize) -> Self {
        let service = |unit: &'a Unit| {
            unit.exports.iter().map(|(name, item)| Service {
                attributes: ExportAttributes {
                    name: name.clone(),
                    labels: item.object().metadata().labels.clone(),
                },
                peer: &unit.attributes,
            })
        };
        Self {
            fabric,
            services: fabric.units.values().flat_map(service).collect(),
            routes,
        }
    }

    /// Asks about one invariant; what it takes is taken off the steps that are left.
    pub(super) fn ask(&self, item: &Item, reach: &mut Reach<'_>, steps: &mut usize) -> Answer {
        let Object::Invariant(invariant) = item.object() else {
            return Answer::NotUnderstood(Vec::new());
        };
        let spec = &invariant.spec;
        // Each entry is compared with each peer, or each service.
        let peers = self.fabric.units.len().saturating_mul(1 + spec.from.len());
        let services = self.services.len().saturating_mul(1 + spec.to.len());
        let Some(left) = steps.checked_sub(1 + self.routes + peers.saturating_add(services)) else {
            return Answer::undecided(Undecided::Spent);
        };
        *steps = left;
        let (from, to) = match self.understand(spec) {
            Ok(both) => both,
            Err(mistakes) => return Answer::NotUnderstood(mistakes),
        };
        let services: Vec<_> = self
            .services
            .iter()
            .filter(|service| to.matches(&service.attributes, service.peer))
            .collect();
        // What is unknown isn't absent.
        let is_whole = self.fabric.unknown.is_empty();
        let must_be_there = matches!(spec.rule, InvariantRule::Always | InvariantRule::Survives);
        let Some(any) = services.first().map(|service| service.attributes.clone()) else {
            return match is_whole {
                true => Answer::Nothing("to", must_be_there),
                false if must_be_there => Answer::undecided(Undecided::Unknown),
                false => Answer::Checked {
                    examples: Vec::new(),
                    undecided: None,
                },
            };
        };
        let is_selected = |unit: &Unit| from.of_peer(&unit.attributes, &any).next().is_some();
        // That nobody may reach a service is what an `only` of nobody says.
        let selects_peers = self.fabric.units.values().any(is_selected);
        if !selects_peers && is_whole && spec.rule != InvariantRule::Only {
            return Answer::Nothing("from", must_be_there);
        }
        let check = Check {
            question: self,
            from,
            services,
            steps,
            examples: Vec::new(),
            undecided: None,
        };
        check.run(spec, &any, reach)
    }

    fn understand(
        &self,
        spec: &InvariantSpec,
    ) -> Result<(ClientSelection, ServiceSelection), Vec<Mistake>> {
        let mut mistakes = Vec::new();
        let from = ClientSelection::compile(&spec.from);
        let to = ServiceSelection::compile(&spec.to);
        mistakes.extend(from.as_ref().err().cloned().map(Mistake::NoAttribute));
        mistakes.extend(to.as_ref().err().cloned().map(Mistake::NoAttribute));
        let peers = spec.losing.iter().flat_map(|losing| &losing.peers);
        for (index, name) in peers.enumerate() {
            let is_there = self.fabric.units.contains_key(name.as_str())
                || self.fabric.unknown.contains(name.as_str());
            if !is_there {
                mistakes.push(Mistake::NoPeer(index, name.clone()));
            }
        }
        match (from, to) {
            (Ok(from), Ok(to)) if mistakes.is_empty() => Ok((from, to)),
            _ => Err(mistakes),
        }
    }
}

// === impl Check ===

impl Check<'_, '_> {
    fn run(
        mut self,
        spec: &InvariantSpec,
        any: &ExportAttributes,
        reach: &mut Reach<'_>,
    ) -> Answer {
        let mut offered = Offered::new();
        for service in self.services.iter().copied() {
            let peers = offered.entry(&service.attributes.name).or_default();
            peers.insert(&service.peer.name);
        }
        let mut routes: BTreeMap<PeerName, Vec<Route>> = BTreeMap::new();
        for route in reach.routes() {
            let peers = offered.get(&route.export);
            if peers.is_some_and(|peers| peers.contains(&route.export_peer)) {
                let of_peer = routes.entry(route.client_peer.clone()).or_default();
                of_peer.push(route.clone());
            }
        }
        let from = self.from.clone();
        for (name, unit) in &self.question.fabric.units {
            if self.is_enough() {
                break;
            }
            let entries: Vec<_> = from.of_peer(&unit.attributes, any).collect();
            let routes = routes.remove(name).unwrap_or_default();
            let described: Vec<Clients> = entries
                .iter()
                .map(|terms| Clients::Known(terms.to_vec()))
                .collect();
            // Of an unknown client it can be said only where nothing is to be known of it.
            let mut certain = described.clone();
            if entries.iter().any(|terms| terms.is_empty()) {
                certain.push(Clients::Unknown);
            }
            match spec.rule {
                InvariantRule::Never if !entries.is_empty() => {
                    let mut any_of = described;
                    // It may be one of them.
                    any_of.push(Clients::Unknown);
                    self.nobody(name, &routes, &any_of, &[], reach);
                }
                InvariantRule::Only => {
                    let all = [Clients::Known(Vec::new()), Clients::Unknown];
                    self.nobody(name, &routes, &all, &certain, reach);
                }
                InvariantRule::Always if !entries.is_empty() => {
                    self.everybody(name, &routes, &offered, &certain, None, reach);
                }
                InvariantRule::Survives if !entries.is_empty() => {
                    let losing = spec.losing.clone().unwrap_or_default();
                    self.everybody(name, &routes, &offered, &certain, Some(&losing), reach);
                }
                _ => {}
            }
        }
        Answer::Checked {
            examples: self.examples,
            undecided: self.undecided,
        }
    }

    /// Whether no more of it needs to be looked at, or can be.
    fn is_enough(&self) -> bool {
        self.examples.len() >= EXAMPLES || self.undecided == Some(Undecided::Spent)
    }

    /// None of these clients of a peer may be let through.
    fn nobody(
        &mut self,
        peer: &PeerName,
        routes: &[Route],
        any_of: &[Clients],
        except: &[Clients],
        reach: &mut Reach<'_>,
    ) {
        if routes.is_empty() {
            return;
        }
        let among = Selection { any_of, except };
        match self.search(reach, routes, among, Wanted::Allowed) {
            Search::Found(witness) => self.examples.push(words::reaches(peer, *witness)),
            Search::Nobody | Search::Undecided => {}
        }
    }

    /// Each of these clients of a peer must be let through to each of the services, also while
    /// peers are lost.
    fn everybody(
        &mut self,
        peer: &PeerName,
        routes: &[Route],
        offered: &Offered<'_>,
        any_of: &[Clients],
        losing: Option<&Losing>,
        reach: &mut Reach<'_>,
    ) {
        // A peer may import thousands of services, so its routes are gone through once.
        let mut by_service: BTreeMap<&ObjectName, Vec<Route>> = BTreeMap::new();
        for route in routes {
            let of_service = by_service.entry(&route.export).or_default();
            of_service.push(route.clone());
        }
        for (name, peers) in offered {
            if self.is_enough() || !self.spend(1) {
                return;
            }
            let Some(routes) = by_service.remove(*name) else {
                // Where a peer offers a service itself, its clients go there without a fabric.
                if !peers.contains(peer) {
                    self.examples.push(words::no_import(peer, name));
                }
                continue;
            };
            let among = Selection {
                any_of,
                except: &[],
            };
            let found = match losing {
                None => self.unreached(reach, &routes, among),
                Some(losing) => self.unreached_after(peer, reach, &routes, among, losing),
            };
            match found {
                Some((witness, lost)) => {
                    self.examples
                        .push(words::unreached(peer, name, witness, lost));
                }
                None => continue,
            }
        }
    }

    /// A client that none of the routes lets through.
    fn unreached(
        &mut self,
        reach: &mut Reach<'_>,
        routes: &[Route],
        among: Selection<'_>,
    ) -> Option<(Witness, Vec<PeerName>)> {
        match self.search(reach, routes, among, Wanted::AllowedByFewerThan(1)) {
            Search::Found(witness) => Some((*witness, Vec::new())),
            Search::Nobody | Search::Undecided => None,
        }
    }

    /// A client that none of the routes lets through that are left after a loss.
    fn unreached_after(
        &mut self,
        peer: &PeerName,
        reach: &mut Reach<'_>,
        routes: &[Route],
        among: Selection<'_>,
        losing: &Losing,
    ) -> Option<(Witness, Vec<PeerName>)> {
        // Who is lost has no clients that could miss anything, and who offers nothing isn't missed.
        let can_be_lost = |name: &PeerName| {
            name != peer
                && (losing.peers.is_empty() || losing.peers.iter().any(|p| p == name.as_str()))
        };
        let offering: BTreeSet<&PeerName> = routes.iter().map(|r| &r.export_peer).collect();
        let at_risk: Vec<&PeerName> = offering
            .iter()
            .copied()
            .filter(|name| can_be_lost(name))
            .collect();
        let count = usize::try_from(losing.count)
            .unwrap_or(usize::MAX)
            .min(at_risk.len());
        if at_risk.len() == offering.len() {
            // Whoever is let through to no more peers than are lost is cut off, by their loss.
            let wanted = Wanted::AllowedByFewerThan(count + 1);
            return match self.search(reach, routes, among, wanted) {
                Search::Found(witness) => {
                    let allowed = witness.verdicts.iter().filter(|(_, v)| v.allowed);
                    let lost: BTreeSet<_> = allowed
                        .map(|(route, _)| route.export_peer.clone())
                        .collect();
                    Some((*witness, lost.into_iter().collect()))
                }
                Search::Nobody | Search::Undecided => None,
            };
        }
        let mut chosen: Vec<usize> = (0..count).collect();
        for _ in 0..LOSSES {
            if self.undecided == Some(Undecided::Spent) {
                return None;
            }
            let lost: BTreeSet<&PeerName> = chosen
                .iter()
                .filter_map(|index| at_risk.get(*index).copied())
                .collect();
            let left: Vec<Route> = routes
                .iter()
                .filter(|route| !lost.contains(&route.export_peer))
                .cloned()
                .collect();
            if let Some((witness, _)) = self.unreached(reach, &left, among) {
                return Some((witness, lost.into_iter().cloned().collect()));
            }
            if !next_choice(&mut chosen, at_risk.len()) {
                return None;
            }
        }
        self.undecided = Some(Undecided::Entangled);
        None
    }

    /// Takes steps off those that are left; false where there aren't as many.
    const fn spend(&mut self, steps: usize) -> bool {
        match self.steps.checked_sub(steps) {
            Some(left) => {
                *self.steps = left;
                true
            }
            None => {
                self.undecided = Some(Undecided::Spent);
                false
            }
        }
    }

    /// Looks for a client, and keeps in mind that it couldn't be told whether there is one.
    fn search(
        &mut self,
        reach: &mut Reach<'_>,
        routes: &[Route],
        among: Selection<'_>,
        wanted: Wanted,
    ) -> Search {
        // To look at the routes takes time too.
        if !self.spend(10 * (1 + routes.len())) {
            return Search::Undecided;
        }
        let search = reach.search(routes, among, wanted);
        *self.steps = self.steps.saturating_sub(reach.spent());
        if search == Search::Undecided {
            self.undecided = self.undecided.or(Some(Undecided::Entangled));
        }
        search
    }
}

/// The next choice of so many of `count` things, in the order of their places; false after the last.
fn next_choice(chosen: &mut [usize], count: usize) -> bool {
    let length = chosen.len();
    // The last place that can still go on.
    let movable = (0..length).rev().find(|place| {
        let most = count + place - length;
        chosen.get(*place).is_some_and(|index| *index < most)
    });
    let Some(place) = movable else { return false };
    let start = chosen.get(place).map_or(0, |index| index + 1);
    for (offset, index) in chosen.iter_mut().skip(place).enumerate() {
        *index = start + offset;
    }
    true
}

// === impl Answer ===

impl Answer {
    /// It can't be told.
    const fn undecided(why: Undecided) -> Self {
        Self::Checked {
            examples: Vec::new(),
            undecided: Some(why),
        }
    }

    /// The verdict on an invariant; none where it couldn't be checked.
    pub(super) fn verdict(self, item: &Item) -> Option<InvariantVerdict> {
        let (outcome, counter_examples) = match self {
            Self::NotUnderstood(_) => return None,
            Self::Nothing(_, true) => (InvariantOutcome::Broken, Vec::new()),
            Self::Nothing(_, false) => (InvariantOutcome::Holds, Vec::new()),
            Self::Checked {
                examples,
                undecided,
            } => match (examples.is_empty(), undecided.is_some()) {
                (false, _) => (InvariantOutcome::Broken, examples),
                (true, true) => (InvariantOutcome::Undecided, examples),
                (true, false) => (InvariantOutcome::Holds, examples),
            },
        };
        Some(InvariantVerdict {
            name: item.object().metadata().name.clone(),
            origin: item.origin(),
            outcome,
            before: None,
            counter_examples,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_choice_once() {
        for (of, count, choices) in [(4, 2, 6), (5, 3, 10), (3, 3, 1), (4, 1, 4), (3, 0, 1)] {
            let mut chosen: Vec<usize> = (0..count).collect();
            let mut all = BTreeSet::from([chosen.clone()]);
            while next_choice(&mut chosen, of) {
                assert!(chosen.iter().all(|index| *index < of), "{chosen:?}");
                assert!(all.insert(chosen.clone()), "{chosen:?} twice");
            }
            assert_eq!(all.len(), choices, "{count} of {of}");
        }
    }
}
