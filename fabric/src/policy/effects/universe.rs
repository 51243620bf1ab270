//! What there is in a fabric that policies can match.

use std::collections::HashMap;
use std::rc::Rc;

use crate::api::{AccessPolicySpec, Operator, WorkloadSetOrSelector};
use crate::attributes::{ExportAttributes, PeerAttributes};
use crate::diagnostic::nearest;
use crate::effort::{self, Effort};
use crate::policy::Request;
use crate::policy::attribute::{Attribute, Side};
use crate::policy::selector::{Entry, Term, Verdict, contradiction};

/// Everything that a policy may be asked about: peers that clients come from, and services.
///
/// Which those are is the caller's to say: a regular policy sees the Imports and Exports of its
/// namespace alone.
#[derive(Clone, Debug)]
pub struct Universe<'a> {
    clients: Rc<Clients<'a>>,
    services: Vec<Service<'a>>,
    services_by_name: HashMap<&'a str, Vec<usize>>,
    services_by_peer: HashMap<&'a str, Vec<usize>>,
}

/// The peers that clients come from, and what may be spent on questions about them: the universes
/// of a fabric share both.
#[derive(Debug)]
pub(crate) struct Clients<'a> {
    peers: Vec<&'a PeerAttributes>,
    by_name: HashMap<&'a str, Vec<usize>>,
    matches: Effort,
    names: Effort,
}

/// Peers and services that policies are matched against, some tens of nanoseconds each: enough for
/// a thousand policies that match none of thousand services, and some tenths of a second at most.
const MATCHES: usize = 4_000_000;

/// A service, and the peer that offers it.
#[derive(Clone, Copy, Debug)]
pub struct Service<'a> {
    /// The service.
    pub export: &'a ExportAttributes,
    /// The peer that offers it.
    pub peer: &'a PeerAttributes,
}

// === impl Universe ===

impl<'a> Universe<'a> {
    /// The universe of these peers, which clients come from, and services.
    #[must_use]
    pub fn new(
        peers: impl IntoIterator<Item = &'a PeerAttributes>,
        services: impl IntoIterator<Item = Service<'a>>,
    ) -> Self {
        Self::sharing(&Rc::new(Clients::new(peers)), services)
    }

    /// The same with peers that other universes share.
    pub(crate) fn sharing(
        clients: &Rc<Clients<'a>>,
        services: impl IntoIterator<Item = Service<'a>>,
    ) -> Self {
        let mut universe = Self {
            clients: Rc::clone(clients),
            services: services.into_iter().collect(),
            services_by_name: HashMap::new(),
            services_by_peer: HashMap::new(),
        };
        for (index, Service { export, peer }) in universe.services.iter().enumerate() {
            let places = universe.services_by_name.entry(export.name.name());
            places.or_default().push(index);
            let places = universe.services_by_peer.entry(peer.name.as_str());
            places.or_default().push(index);
        }
        universe
    }

    /// The side of a policy that nothing matches; none where something does on both.
    pub(super) fn unmatched_side(&self, spec: &AccessPolicySpec) -> Option<Side> {
        let is_matched = |side: Side, entries: &[WorkloadSetOrSelector]| {
            let entries = entries.iter().map(|entry| Entry::compile(side, entry));
            entries.into_iter().any(|entry| self.matches(side, &entry))
        };
        match () {
            () if !is_matched(Side::To, &spec.to) => Some(Side::To),
            () if !is_matched(Side::From, &spec.from) => Some(Side::From),
            () => None,
        }
    }

    fn matches(&self, side: Side, entry: &Entry) -> bool {
        let Entry::Terms(terms) = entry else {
            // What isn't understood is reported elsewhere.
            return true;
        };
        if contradiction(terms, |_| true).is_some() {
            return false;
        }
        // A side looks at its own half of a request; the other half is filled with anything.
        let is_match = |export, client_peer, export_peer| {
            let request = Request {
                namespace: "",
                client: None,
                client_peer,
                export,
                export_peer,
            };
            // Where no more can be looked at, nothing is said to be useless.
            !self.clients.matches.affords(1) || entry.verdict(&request, Verdict::Yes) != Verdict::No
        };
        let Some(any) = self.services.first() else {
            return false;
        };
        match side {
            Side::From => {
                let named = listed(terms, &Attribute::ClientPeerName);
                let mut places = places(named, &self.clients.by_name, self.clients.peers.len());
                places.any(|place| {
                    let peer = self.clients.peers.get(place);
                    peer.is_some_and(|peer| is_match(any.export, peer, any.peer))
                })
            }
            Side::To => {
                let by_peer = || {
                    let named = listed(terms, &Attribute::ExportPeerName);
                    places(named, &self.services_by_peer, self.services.len())
                };
                let mut places = match listed(terms, &Attribute::ExportName) {
                    Some(term) => places(Some(term), &self.services_by_name, 0),
                    None => by_peer(),
                };
                places.any(|place| {
                    let service = self.services.get(place);
                    service.is_some_and(|Service { export, peer }| is_match(export, peer, peer))
                })
            }
        }
    }

    /// A name that is there and near one that the entries want and that isn't.
    pub(super) fn nearest_name(
        &self,
        side: Side,
        entries: &[WorkloadSetOrSelector],
    ) -> Option<String> {
        let entries = entries.iter().map(|entry| Entry::compile(side, entry));
        let (attribute, known) = match side {
            Side::From => (Attribute::ClientPeerName, &self.clients.by_name),
            Side::To => (Attribute::ExportName, &self.services_by_name),
        };
        entries.into_iter().find_map(|entry| {
            let Entry::Terms(terms) = entry else {
                return None;
            };
            let term = listed(&terms, &attribute)?;
            let missing = term
                .values
                .iter()
                .find(|value| !known.contains_key(&***value))?;
            if !self.clients.names.affords(known.len()) {
                return Some(format!("there is no {missing:?}"));
            }
            let mut names: Vec<&str> = known.keys().copied().collect();
            names.sort_unstable();
            Some(match nearest(missing, names) {
                Some(near) => format!("there is no {missing:?}; did you mean {near:?}?"),
                None => format!("there is no {missing:?}"),
            })
        })
    }
}

// === impl Clients ===

impl<'a> Clients<'a> {
    pub(crate) fn new(peers: impl IntoIterator<Item = &'a PeerAttributes>) -> Self {
        let mut clients = Self {
            peers: peers.into_iter().collect(),
            by_name: HashMap::new(),
            matches: Effort::new(MATCHES),
            names: Effort::new(effort::NAMES),
        };
        for (index, peer) in clients.peers.iter().enumerate() {
            let places = clients.by_name.entry(peer.name.as_str());
            places.or_default().push(index);
        }
        clients
    }

    /// What was taken of both efforts.
    pub(crate) fn efforts(&self) -> (Effort, Effort) {
        (self.matches.clone(), self.names.clone())
    }
}

/// The term that wants one of a few values of the attribute.
fn listed<'t>(terms: &'t [Term], attribute: &Attribute) -> Option<&'t Term> {
    terms
        .iter()
        .find(|term| term.operator == Operator::In && term.attribute.as_ref() == Some(attribute))
}

/// The places to look at: those of the listed values, or all of them.
fn places<'t>(
    listed: Option<&'t Term>,
    by_value: &'t HashMap<&str, Vec<usize>>,
    count: usize,
) -> Box<dyn Iterator<Item = usize> + 't> {
    match listed {
        Some(term) => {
            let places = term
                .values
                .iter()
                .filter_map(|value| by_value.get(&**value));
            Box::new(places.flatten().copied())
        }
        None => Box::new(0..count),
    }
}
