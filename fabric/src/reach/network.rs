//! The routes of one state of a fabric, and what each side of one is asked.

use std::collections::{BTreeMap, BTreeSet};

use super::Route;
use crate::api::{ImportSource, Object};
use crate::attributes::{Client, ExportAttributes, Labels};
use crate::fabric::{Fabric, LinkedImport, Unit};
use crate::name::{ObjectName, PeerName};
use crate::policy::Request;

/// The routes of one state of a fabric.
#[derive(Debug)]
pub(super) struct Network<'a> {
    pub(super) fabric: &'a Fabric,
    pub(super) routes: BTreeMap<Route, Way<'a>>,
}

/// The peers by which two states differ: a route between others is decided alike in both, so that it
/// needn't be looked at.
#[derive(Debug)]
pub(super) struct Differing<'a> {
    /// Those whose imports, or what they offer, is another.
    any: BTreeSet<&'a PeerName>,
    /// Those that offer something else, or to somebody else.
    offers: BTreeSet<PeerName>,
}

/// A route as it is in force.
#[derive(Clone, Debug)]
pub(super) struct Way<'a> {
    /// The peer where connections begin.
    pub(super) importer: &'a Unit,
    /// The peer where they end.
    pub(super) exporter: &'a Unit,
    /// The Import's namespace.
    pub(super) namespace: &'a str,
    /// The service as the importer knows it.
    pub(super) export: ExportAttributes,
    /// Whether the exporter offers it.
    pub(super) is_offered: bool,
}

/// A side of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Where connections begin.
    Importer,
    /// Where they end.
    Exporter,
}

// === impl Network ===

impl<'a> Network<'a> {
    pub(super) fn new(fabric: &'a Fabric) -> Self {
        Self::of(fabric, None)
    }

    /// The routes that two states may decide otherwise; none stands for all.
    pub(super) fn of(fabric: &'a Fabric, differing: Option<&Differing<'_>>) -> Self {
        let mut routes = BTreeMap::new();
        for (peer, unit) in &fabric.units {
            if differing.is_some_and(|differing| !differing.concern(unit)) {
                continue;
            }
            for (name, import) in &unit.imports {
                for (route, way) in ways(fabric, unit, peer, name, import) {
                    // A source that stands twice leads to the same place twice.
                    routes.entry(route).or_insert(way);
                }
            }
        }
        Self { fabric, routes }
    }

    /// The peers at the ends of the routes.
    pub(super) fn peers(&self) -> impl Iterator<Item = &'a PeerName> {
        let ways = self.routes.values();
        ways.flat_map(|way| [&way.importer.attributes.name, &way.exporter.attributes.name])
    }

    /// The clients that a peer declares.
    pub(super) fn declared(&self, peer: &PeerName) -> BTreeSet<Client> {
        let workloads = self
            .fabric
            .units
            .get(peer)
            .and_then(|unit| unit.workloads.as_ref());
        let workloads = match workloads.map(crate::fabric::Item::object) {
            Some(Object::Workloads(workloads)) => workloads.spec.workloads.as_slice(),
            _ => &[],
        };
        let client = |workload: &crate::api::Workload| Client {
            namespace: workload.namespace.clone(),
            service_account: workload.service_account.clone(),
            labels: workload.labels.clone(),
        };
        workloads.iter().map(client).collect()
    }
}

// === impl Differing ===

impl<'a> Differing<'a> {
    /// The peers by which two states differ; none where all do, since a policy that they share does.
    pub(super) fn between(before: &'a Fabric, after: &'a Fabric) -> Option<Self> {
        let mut shared = before.policies.iter().zip(&after.policies);
        if before.policies.len() != after.policies.len()
            || !shared.all(|(before, after)| before.item.says_the_same(&after.item))
        {
            return None;
        }
        let mut differing = Self {
            any: BTreeSet::new(),
            offers: BTreeSet::new(),
        };
        for name in before.units.keys().chain(after.units.keys()) {
            let units = before.units.get(name).zip(after.units.get(name));
            if !units.is_some_and(|(before, after)| before.offers_the_same(after)) {
                differing.offers.insert(name.clone());
            } else if units.is_some_and(|(before, after)| before.imports_the_same(after)) {
                continue;
            }
            differing.any.insert(name);
        }
        Some(differing)
    }

    /// Whether a route that begins at a unit may be decided otherwise.
    fn concern(&self, unit: &Unit) -> bool {
        self.any.contains(&unit.attributes.name) || !unit.sources.is_disjoint(&self.offers)
    }
}

/// The ways through one import, as a gateway sees them: without the sources that lead nowhere.
fn ways<'a>(
    fabric: &'a Fabric,
    unit: &'a Unit,
    peer: &PeerName,
    name: &'a ObjectName,
    import: &'a LinkedImport,
) -> impl Iterator<Item = (Route, Way<'a>)> {
    let sources = match import.item.object() {
        Object::Import(object) => object.spec.sources.as_slice(),
        _ => &[],
    };
    let own_labels = &import.item.object().metadata().labels;
    let sources = sources.iter().enumerate();
    let sources = sources.filter(|(index, _)| !import.dropped.contains(index));
    sources.filter_map(move |(_, source)| {
        let (export_peer, exporter, export) = target(fabric, source)?;
        let known = exporter.exports.get(&export);
        let labels: &Labels = match known {
            Some(item) => &item.object().metadata().labels,
            // Where the repository doesn't know the export, the import's labels serve instead.
            None => own_labels,
        };
        let way = Way {
            importer: unit,
            exporter,
            namespace: name.namespace(),
            export: ExportAttributes {
                name: export.clone(),
                labels: labels.clone(),
            },
            is_offered: known.is_some(),
        };
        let route = Route {
            export_peer,
            export,
            client_peer: peer.clone(),
            import: name.clone(),
        };
        Some((route, way))
    })
}

/// Where a source leads; none where its peer isn't in force.
fn target<'a>(
    fabric: &'a Fabric,
    source: &ImportSource,
) -> Option<(PeerName, &'a Unit, ObjectName)> {
    let (peer, exporter) = fabric.units.get_key_value(source.peer.as_str())?;
    let export = ObjectName::new(&source.export_namespace, &source.export_name).ok()?;
    Some((peer.clone(), exporter, export))
}

// === impl Way ===

impl Way<'_> {
    /// The unit that decides at an end.
    pub(super) const fn unit(&self, end: End) -> &Unit {
        match end {
            End::Importer => self.importer,
            End::Exporter => self.exporter,
        }
    }

    /// What is asked at an end of a client that isn't known; none where that is refused unasked.
    pub(super) fn request(&self, end: End) -> Option<Request<'_>> {
        let namespace = match end {
            End::Importer => self.namespace,
            End::Exporter if self.is_offered => self.export.name.namespace(),
            End::Exporter => return None,
        };
        Some(Request {
            namespace,
            client: None,
            client_peer: &self.importer.attributes,
            export: &self.export,
            export_peer: &self.exporter.attributes,
        })
    }
}
