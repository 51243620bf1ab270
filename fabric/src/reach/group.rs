//! Flips put together for readers: a thousand peers that gain the same are told once.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use super::{Clients, Difference, Flip, Route, Why};
use crate::name::{ObjectKey, ObjectName, PeerName};

/// The same clients, for whom access to some services opens or closes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Group {
    /// The clients, and what decides of them, over the first route of the first service. Over the
    /// others policies of the same names decide the same, each on its own side.
    pub flips: Vec<Flip>,
    /// The services, and from where each is reached.
    pub services: Vec<Service>,
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

/// What decides, as far as it makes one group of several services: on both sides.
type Causes<'a> = Vec<[Cause<'a>; 2]>;

/// What decides on one side: the policy by its name, wherever it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Cause<'a> {
    Allowed(&'a ObjectKey),
    Denied(&'a ObjectKey),
    UnknownClient(&'a ObjectKey),
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

/// Groups flips: first those of one service that are of the same clients, then services for which
/// policies of the same names decide.
fn groups(flips: &[Flip]) -> Vec<Group> {
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
    let mut places: BTreeMap<(Who<'_>, Causes<'_>), usize> = BTreeMap::new();
    let mut groups: Vec<Group> = Vec::new();
    for ((export_peer, export, clients), routes) in by_service {
        let Some(first) = routes.first() else {
            continue;
        };
        let service = Service {
            export_peer: export_peer.clone(),
            export: export.clone(),
            imports: routes.iter().filter_map(|flips| importing(flips)).collect(),
        };
        let causes = first.iter().map(|flip| causes(flip)).collect();
        let place = *places.entry((clients, causes)).or_insert(groups.len());
        match groups.get_mut(place) {
            Some(group) => group.services.push(service),
            None => groups.push(Group {
                flips: first.iter().map(|flip| (*flip).clone()).collect(),
                services: vec![service],
            }),
        }
    }
    groups
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

// === impl Cause ===

impl<'a> Cause<'a> {
    const fn of(why: &'a Why) -> Self {
        match why {
            Why::Allowed(rule) => Self::Allowed(&rule.key),
            Why::Denied(rule) => Self::Denied(&rule.key),
            Why::UnknownClient(rule) => Self::UnknownClient(&rule.key),
            Why::DefaultDeny => Self::DefaultDeny,
            Why::NoRoute => Self::NoRoute,
        }
    }
}
