//! What the policies come to, over the whole fabric: warnings that freeze and drop nothing.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use super::checked::{self, Known};
use super::link::Findings;
use super::{Fabric, Item, LinkedImport, Unit};
use crate::api::{AccessPolicySpec, Action, Annotation, Object, Operator, WorkloadSetOrSelector};
use crate::attributes::{ExportAttributes, PeerAttributes};
use crate::diagnostic::{Code, Diagnostic, Effect, nearest};
use crate::effort::{self, Effort};
use crate::name::{ObjectName, PeerName};
use crate::policy::effects::{Clients, Service, Universe, inspect, matches_nothing};
use crate::policy::{Clock, Policies};

/// What is told beside what is found of units.
pub(super) struct Told {
    /// Of the shared policies.
    pub(super) shared: Vec<Diagnostic>,
    /// What that took.
    pub(super) efforts: [Effort; 4],
}

/// Checks what the policies come to, in units that aren't known already.
pub(super) fn check(fabric: &Fabric, known: Option<&Known<'_>>, findings: &mut Findings) -> Told {
    let shared = known.filter(|known| !known.services_change);
    let shared = shared.map(|known| checked::told(&known.checked.shared));
    let sights: BTreeMap<&PeerName, Sight<'_>> = fabric
        .units
        .iter()
        .filter(|(name, _)| shared.is_none() || findings.covers(name))
        .map(|(name, unit)| (name, Sight::of(fabric, unit)))
        .collect();
    let clients = Rc::new(Clients::new(peers(fabric)));
    let effort = Effort::new(effort::NAMES);
    let shared = shared.unwrap_or_else(|| {
        let mut diagnostics = Vec::new();
        check_shared(fabric, &sights, &clients, &effort, &mut diagnostics);
        diagnostics
    });
    for (name, sight) in &sights {
        let Some(diagnostics) = findings.of(name) else {
            continue;
        };
        let mut universes = BTreeMap::new();
        for item in &sight.unit.policies {
            let Some(spec) = spec(item) else { continue };
            if let Some(over) = expired(fabric, item, spec) {
                diagnostics.push(over);
                continue;
            }
            let is_understood = check_policy(fabric, item, spec, &effort, diagnostics);
            if is_understood && !sight.is_partial {
                let namespace = item.key().namespace.as_deref();
                let universe = universes
                    .entry(namespace)
                    .or_insert_with(|| sight.universe(&clients, namespace));
                diagnostics.extend(useless(item, spec, universe));
            }
        }
    }
    let judgements = Effort::new(JUDGEMENTS);
    check_imports(fabric, &sights, &judgements, findings);
    let (matches, names) = clients.efforts();
    Told {
        shared,
        efforts: [effort, judgements, matches, names],
    }
}

/// What one peer's policies are asked about.
struct Sight<'a> {
    unit: &'a Unit,
    /// The sources of its imports, with the peers that offer them.
    imported: Vec<Imported<'a>>,
    exported: Vec<ExportAttributes>,
    /// Whether something is imported of which nothing is known: then no policy is useless.
    is_partial: bool,
}

/// One source of an import.
struct Imported<'a> {
    name: &'a ObjectName,
    import: &'a LinkedImport,
    index: usize,
    export: ExportAttributes,
    peer: &'a PeerAttributes,
}

// === impl Sight ===

impl<'a> Sight<'a> {
    fn of(fabric: &'a Fabric, unit: &'a Unit) -> Self {
        let mut sight = Self {
            unit,
            imported: Vec::new(),
            exported: Vec::new(),
            is_partial: !fabric.unknown.is_empty(),
        };
        for (name, item) in &unit.exports {
            let labels = item.object().metadata().labels.clone();
            sight.exported.push(ExportAttributes {
                name: name.clone(),
                labels,
            });
        }
        for (name, import) in &unit.imports {
            let Object::Import(object) = import.item.object() else {
                continue;
            };
            for (index, source) in object.spec.sources.iter().enumerate() {
                let export = ObjectName::new(&source.export_namespace, &source.export_name);
                let (Ok(export), Ok(peer)) = (export, source.peer.parse::<PeerName>()) else {
                    continue;
                };
                let Some(labels) = fabric.export_labels(&peer, &export) else {
                    continue;
                };
                let Some(offers) = fabric.units.get(&peer) else {
                    continue;
                };
                sight.imported.push(Imported {
                    name,
                    import,
                    index,
                    export: ExportAttributes {
                        name: export,
                        labels: labels.clone(),
                    },
                    peer: &offers.attributes,
                });
            }
        }
        sight
    }

    /// How many services policies are asked about.
    const fn size(&self) -> usize {
        self.imported.len() + self.exported.len()
    }

    /// The services that policies of a namespace, or of all of them, are asked about.
    fn services<'b>(&'b self, namespace: Option<&'b str>) -> impl Iterator<Item = Service<'b>> {
        let imported = within(&self.imported, namespace, |one| one.name.namespace());
        let exported = within(&self.exported, namespace, |one| one.name.namespace());
        imported
            .iter()
            .map(|one| Service {
                export: &one.export,
                peer: one.peer,
            })
            .chain(exported.iter().map(|export| Service {
                export,
                peer: &self.unit.attributes,
            }))
    }

    fn universe<'b>(
        &'b self,
        clients: &Rc<Clients<'b>>,
        namespace: Option<&'b str>,
    ) -> Universe<'b> {
        // Every peer may come for what is exported; what is imported is for the peer's own clients.
        Universe::sharing(clients, self.services(namespace))
    }
}

/// The part of a list that is of a namespace; lists are in the order of their names.
fn within<'a, T>(all: &'a [T], namespace: Option<&str>, of: fn(&T) -> &str) -> &'a [T] {
    let Some(namespace) = namespace else {
        return all;
    };
    let start = all.partition_point(|one| of(one) < namespace);
    let end = all.partition_point(|one| of(one) <= namespace);
    all.get(start..end).unwrap_or_default()
}

fn peers(fabric: &Fabric) -> impl Iterator<Item = &PeerAttributes> {
    fabric.units.values().map(|unit| &unit.attributes)
}

/// Services that the shared policies with a selector are asked about, each policy about those of
/// its peers: a hundred such policies over ten thousand services, and some tenths of a second.
const SELECTED_SERVICES: usize = 1_000_000;

fn check_shared<'a>(
    fabric: &'a Fabric,
    sights: &'a BTreeMap<&'a PeerName, Sight<'a>>,
    clients: &Rc<Clients<'a>>,
    effort: &Effort,
    diagnostics: &mut Vec<Diagnostic>,
) {
    if fabric.units.is_empty() {
        return;
    }
    let selected_services = Effort::new(SELECTED_SERVICES);
    let everything = OnceCell::new();
    for policy in &fabric.policies {
        let item = &policy.item;
        let selected: Vec<&Sight<'_>> = sights
            .values()
            .filter(|sight| policy.selects(&sight.unit.attributes.labels))
            .collect();
        if selected.is_empty() && fabric.unknown.is_empty() {
            let message = "the annotation weft.dev/peers selects no peer of the fabric";
            let span = item
                .resource()
                .value_span("/metadata/annotations/weft.dev~1peers");
            diagnostics.push(Diagnostic::new(
                Code::SelectsNobody,
                item.path(),
                span,
                message,
            ));
            continue;
        }
        let Some(spec) = spec(item) else { continue };
        if let Some(over) = expired(fabric, item, spec) {
            diagnostics.push(over);
            continue;
        }
        let is_understood = check_policy(fabric, item, spec, effort, diagnostics);
        if !is_understood || selected.iter().any(|sight| sight.is_partial) {
            continue;
        }
        let universe = || {
            let services = selected.iter().flat_map(|sight| sight.services(None));
            Universe::sharing(clients, services)
        };
        let useless = if policy.peers.is_none() {
            useless(item, spec, everything.get_or_init(universe))
        } else if selected_services.affords(selected.iter().map(|sight| sight.size()).sum()) {
            useless(item, spec, &universe())
        } else {
            None
        };
        diagnostics.extend(useless.map(|diagnostic| {
            // A shared deny often stands guard against what isn't there yet; a name that is nearly
            // right is told all the same.
            match (spec.action, &diagnostic.help) {
                (Action::Deny, None) => diagnostic.with_effect(Effect::Note),
                _ => diagnostic,
            }
        }));
    }
}

/// What is to be said of a policy that has ended: nothing else of it matters.
fn expired(fabric: &Fabric, item: &Item, spec: &AccessPolicySpec) -> Option<Diagnostic> {
    let expires = item.expires()?;
    if !Clock::at(fabric.now).is_over(Some(expires), spec.action) {
        return None;
    }
    let pointer = format!(
        "/metadata/annotations/{}",
        Annotation::Expires.key().replace('/', "~1")
    );
    let span = item.resource().value_span(&pointer);
    let what = match spec.action {
        Action::Allow => "allows",
        Action::Deny => "denies",
    };
    let message = format!("the policy has expired and {what} nothing any more");
    let diagnostic = Diagnostic::new(Code::PolicyExpired, item.path(), span, message);
    Some(diagnostic.with_help("remove the policy, or name a later moment"))
}

/// Checks a policy by itself and against the names of the peers; false where it is odd enough that
/// to say what it matches would say the same thing twice.
fn check_policy(
    fabric: &Fabric,
    item: &Item,
    spec: &AccessPolicySpec,
    effort: &Effort,
    diagnostics: &mut Vec<Diagnostic>,
) -> bool {
    let before = diagnostics.len();
    let oddities = inspect(spec);
    diagnostics.extend(
        oddities
            .iter()
            .map(|odd| odd.finding(item.resource()).at(item.path())),
    );
    check_peer_names(fabric, item, ("from", &spec.from), effort, diagnostics);
    check_peer_names(fabric, item, ("to", &spec.to), effort, diagnostics);
    diagnostics.len() == before
}

fn useless(item: &Item, spec: &AccessPolicySpec, universe: &Universe<'_>) -> Option<Diagnostic> {
    matches_nothing(spec, universe).map(|odd| odd.finding(item.resource()).at(item.path()))
}

/// The attribute that names a peer, on either side.
const PEER_NAME: &str = "peer.clusterlink.net/name";

fn check_peer_names(
    fabric: &Fabric,
    item: &Item,
    (field, entries): (&str, &[WorkloadSetOrSelector]),
    effort: &Effort,
    diagnostics: &mut Vec<Diagnostic>,
) {
    let mut check = |pointer: String, name: &str| {
        if fabric.units.contains_key(name) || fabric.unknown.contains(name) {
            return;
        }
        let span = item.resource().value_span(&pointer);
        let message = format!("the fabric has no peer {name:?}");
        let diagnostic = Diagnostic::new(Code::UnknownPeerInPolicy, item.path(), span, message);
        let peers = effort.affords(fabric.units.len()).then_some(&fabric.units);
        let peers = peers.into_iter().flat_map(BTreeMap::keys);
        diagnostics.push(match nearest(name, peers.map(PeerName::as_str)) {
            Some(peer) => diagnostic.with_help(format!("did you mean {peer:?}?")),
            None => diagnostic,
        });
    };
    for (i, entry) in entries.iter().enumerate() {
        let Some(selector) = &entry.workload_selector else {
            continue;
        };
        let base = format!("/spec/{field}/{i}/workloadSelector");
        if let Some(name) = selector.match_labels.get(PEER_NAME) {
            check(
                format!("{base}/matchLabels/peer.clusterlink.net~1name"),
                name,
            );
        }
        for (j, term) in selector.match_expressions.iter().enumerate() {
            let lists_names = matches!(term.operator, Operator::In | Operator::NotIn);
            if term.key != PEER_NAME || !lists_names {
                continue;
            }
            for (k, name) in term.values.iter().enumerate() {
                check(format!("{base}/matchExpressions/{j}/values/{k}"), name);
            }
        }
    }
}

/// Policies asked about a client of one import: some tens of nanoseconds each, and a second or two
/// at most. Nearly every import is clear after a few.
const JUDGEMENTS: usize = 20_000_000;

/// Reports the sources of imports that no client can ever be allowed to reach.
fn check_imports(
    fabric: &Fabric,
    sights: &BTreeMap<&PeerName, Sight<'_>>,
    effort: &Effort,
    findings: &mut Findings,
) {
    let imported: Vec<(&PeerAttributes, &Imported<'_>)> = sights
        .iter()
        .filter(|(name, _)| findings.covers(name))
        .flat_map(|(_, sight)| {
            let own = &sight.unit.attributes;
            sight.imported.iter().map(move |one| (own, one))
        })
        .collect();
    // Peer by peer, so that the policies of one alone are compiled at a time.
    let mut asked: BTreeMap<&PeerName, Vec<(usize, End)>> = BTreeMap::new();
    for (index, (own, one)) in imported.iter().enumerate() {
        asked
            .entry(&own.name)
            .or_default()
            .push((index, End::Importer));
        let exporter = asked.entry(&one.peer.name).or_default();
        exporter.push((index, End::Exporter));
    }
    let mut compiled = Compiled::default();
    let mut closed = BTreeSet::new();
    for (name, questions) in asked {
        let Some(unit) = fabric.units.get(name) else {
            continue;
        };
        let policies = compiled.policies(fabric, unit);
        for (index, end) in questions {
            let Some((own, one)) = imported.get(index) else {
                continue;
            };
            let namespace = match end {
                End::Importer => one.name.namespace(),
                End::Exporter => one.export.name.namespace(),
            };
            let target = (&one.export, one.peer);
            if !policies.could_allow_within(namespace, own, target, effort) {
                closed.insert((index, end));
            }
        }
    }
    for (index, (own, one)) in imported.iter().enumerate() {
        let is_closed = |end| closed.contains(&(index, end));
        let (importer, exporter) = (&own.name, &one.peer.name);
        let place = |end| side(end, one.name, &one.export.name);
        let (message, place) = match (is_closed(End::Importer), is_closed(End::Exporter)) {
            (false, false) => continue,
            (true, true) => (
                format!("no policy of {importer}, nor of {exporter}, can ever allow this import"),
                format!("{}, and {}", place(End::Importer), place(End::Exporter)),
            ),
            (true, false) => (
                format!("no policy of {importer} can ever allow this import"),
                place(End::Importer),
            ),
            (false, true) => (
                format!("no policy of {exporter} can ever allow this import"),
                place(End::Exporter),
            ),
        };
        let Some(diagnostics) = findings.of(importer) else {
            continue;
        };
        let item = &one.import.item;
        let span = item
            .resource()
            .value_span(&format!("/spec/sources/{}", one.index));
        diagnostics.push(
            Diagnostic::new(Code::ImportNeverAllowed, item.path(), span, message)
                .with_help(format!("what no policy allows is denied: it takes {place}")),
        );
    }
}

/// An end of an import.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    Importer,
    Exporter,
}

/// The shared policies by the set of them that counts in a peer, compiled once for each set.
#[derive(Default)]
struct Compiled(HashMap<Vec<usize>, Policies>);

/// Sets of shared policies that are kept compiled; selectors of regions and stages make fewer.
const MAX_COMPILED: usize = 32;

// === impl Compiled ===

impl Compiled {
    /// The policies that count in a peer.
    fn policies(&mut self, fabric: &Fabric, unit: &Unit) -> Policies {
        let labels = &unit.attributes.labels;
        let shared = fabric.policies.iter().enumerate();
        let counts: Vec<usize> = shared
            .filter(|(_, policy)| policy.selects(labels))
            .map(|(index, _)| index)
            .collect();
        let mut policies = match self.0.get(&counts) {
            Some(policies) => policies.clone(),
            None => {
                let mut policies = Policies::default();
                for policy in counts
                    .iter()
                    .filter_map(|index| fabric.policies.get(*index))
                {
                    policy.item.add_policy(&mut policies, fabric.now);
                }
                if self.0.len() < MAX_COMPILED {
                    self.0.insert(counts, policies.clone());
                }
                policies
            }
        };
        for item in &unit.policies {
            item.add_policy(&mut policies, fabric.now);
        }
        policies
    }
}

fn side(end: End, import: &ObjectName, export: &ObjectName) -> String {
    match end {
        End::Importer => format!(
            "an allow of the importer's for its namespace {:?}",
            import.namespace()
        ),
        End::Exporter => format!(
            "an allow of the exporter's for its namespace {:?}",
            export.namespace()
        ),
    }
}

fn spec(item: &Item) -> Option<&AccessPolicySpec> {
    match item.object() {
        Object::AccessPolicy(policy) => Some(&policy.spec),
        Object::PrivilegedAccessPolicy(policy) => Some(&policy.spec),
        _ => None,
    }
}
