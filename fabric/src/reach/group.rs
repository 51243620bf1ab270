//! Flips put together for readers: a thousand peers that gain the same are told once.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Serialize;

use super::{Clients, Difference, Flip, Route, Why};
use crate::name::{ObjectKey, ObjectName, PeerName};

/// The same clients, for whom access to some services opens or closes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Group {
    /// The clients, with what decides of them.
    pub clients: Vec<Decided>,
    /// The services, and from where each is reached.
    pub services: Vec<Service>,
}

/// Some clients of a group, and what decides of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Decided {
    /// The clients.
    pub clients: Clients,
    /// From when on it is otherwise; none where it is at once.
    pub from: Option<Timestamp>,
    /// What decides: mostly the same over all routes, told once over the first of them; where
    /// policies of other names decide over others, those too.
    pub flips: Vec<Flip>,
}

/// A service, and from where it is reached.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Service {
    /// The peer that exports it.
    pub export_peer: PeerName,
    /// Its export there.
    pub export: ObjectName,
    /// The imports through which it is reached.
    pub imports: Vec<ImportingPeer>,
}

/// A peer's import.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ImportingPeer {
    /// The peer where connections begin.
    pub client_peer: PeerName,
    /// The import there.
    pub import: ObjectName,
}

/// What decides on one side: the policy by its name, wherever it stands, and its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Cause<'a> {
    Allowed(&'a ObjectKey, Option<Timestamp>),
    Denied(&'a ObjectKey, Option<Timestamp>),
    UnknownClient(&'a ObjectKey, Option<Timestamp>),
    DefaultDeny,
    NoRoute,
}

// === impl Difference ===

impl Difference {
    /// The access that opens, by services and then by clients.
    #[must_use]
    pub fn opened_groups(&self) -> Vec<Group> {
        groups(&self.opened)
    }

    /// The access that closes, by services and then by clients.
    #[must_use]
    pub fn closed_groups(&self) -> Vec<Group> {
        groups(&self.closed)
    }
}

/// Groups flips: first those of one service that are of the same clients, then services with the
/// same clients.
#[must_use]
pub fn groups<'a>(flips: impl IntoIterator<Item = &'a Flip>) -> Vec<Group> {
    let mut by_route: BTreeMap<&Route, Vec<&Flip>> = BTreeMap::new();
    for flip in flips {
        by_route.entry(&flip.route).or_default().push(flip);
    }
    type Who<'a> = Vec<(Option<Timestamp>, &'a Clients)>;
    type Of<'a> = (&'a PeerName, &'a ObjectName, Who<'a>);
    let mut by_service: BTreeMap<Of<'_>, Vec<Vec<&Flip>>> = BTreeMap::new();
    for (route, mut flips) in by_route {
        flips.sort_by(|a, b| (a.from, &a.clients).cmp(&(b.from, &b.clients)));
        let clients = flips
            .iter()
            .map(|flip| (flip.from, &flip.clients))
            .collect();
        let of = (&route.export_peer, &route.export, clients);
        by_service.entry(of).or_default().push(flips);
    }
    // In the order in which each was met first.
    let mut places: BTreeMap<Who<'_>, usize> = BTreeMap::new();
    let mut groups: Vec<Group> = Vec::new();
    let mut told: BTreeSet<(usize, usize, [Cause<'_>; 2])> = BTreeSet::new();
    for ((export_peer, export, clients), routes) in by_service {
        let place = match places.get(&clients) {
            Some(place) => *place,
            None => {
                groups.push(Group {
                    clients: clients.iter().map(Decided::of).collect(),
                    services: Vec::new(),
                });
                places.insert(clients, groups.len() - 1);
                groups.len() - 1
            }
        };
        let Some(group) = groups.get_mut(place) else {
            continue;
        };
        group.services.push(Service {
            export_peer: export_peer.clone(),
            export: export.clone(),
            imports: routes.iter().filter_map(|flips| importing(flips)).collect(),
        });
        for flips in routes {
            for (index, (flip, decided)) in flips.into_iter().zip(&mut group.clients).enumerate() {
                if told.insert((place, index, causes(flip))) {
                    decided.flips.push(flip.clone());
                }
            }
        }
    }
    groups
}

/// Groups the flips of each service by themselves, in the order of the services: each group has one.
#[must_use]
pub fn groups_by_service(flips: &[Flip]) -> Vec<Group> {
    let mut services: BTreeMap<_, Vec<&Flip>> = BTreeMap::new();
    for flip in flips {
        let service = (&flip.route.export_peer, &flip.route.export);
        services.entry(service).or_default().push(flip);
    }
    services.into_values().flat_map(groups).collect()
}

fn importing(flips: &[&Flip]) -> Option<ImportingPeer> {
    let route = &flips.first()?.route;
    Some(ImportingPeer {
        client_peer: route.client_peer.clone(),
        import: route.import.clone(),
    })
}

/// What decides now, and what let through where nothing stands in its place.
fn causes(flip: &Flip) -> [Cause<'_>; 2] {
    let (before, after) = (&flip.before, &flip.after);
    [
        (&before.importer, &after.importer),
        (&before.exporter, &after.exporter),
    ]
    .map(|(before, after)| match after {
        Why::DefaultDeny | Why::NoRoute => Cause::of(before),
        _ => Cause::of(after),
    })
}

// === impl Group ===

impl Group {
    /// How many routes it is about.
    #[must_use]
    pub fn routes(&self) -> usize {
        self.services
            .iter()
            .map(|service| service.imports.len())
            .sum()
    }
}

// === impl Decided ===

impl Decided {
    fn of((from, clients): &(Option<Timestamp>, &Clients)) -> Self {
        Self {
            from: *from,
            clients: (*clients).clone(),
            flips: Vec::new(),
        }
    }
}

// === impl Cause ===

impl<'a> Cause<'a> {
    const fn of(why: &'a Why) -> Self {
        match why {
            Why::Allowed(rule) => Self::Allowed(&rule.key, rule.expires),
            Why::Denied(rule) => Self::Denied(&rule.key, rule.expires),
            Why::UnknownClient(rule) => Self::UnknownClient(&rule.key, rule.expires),
            Why::DefaultDeny => Self::DefaultDeny,
            Why::NoRoute => Self::NoRoute,
        }
    }
}
