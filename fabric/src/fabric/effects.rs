//! What the policies come to, over the whole fabric: warnings that freeze and drop nothing.

use std::collections::BTreeMap;

use super::{Fabric, Item, LinkedImport, Unit};
use crate::api::{AccessPolicySpec, Action, Object, Operator, WorkloadSetOrSelector};
use crate::attributes::{ExportAttributes, PeerAttributes};
use crate::diagnostic::{Code, Diagnostic, Effect, nearest};
use crate::name::{ObjectName, PeerName};
use crate::policy::Policies;
use crate::policy::effects::{Service, Universe, inspect, matches_nothing};

/// Checks what the policies come to.
pub(super) fn check(fabric: &Fabric, diagnostics: &mut Vec<Diagnostic>) {
    let sights: BTreeMap<&PeerName, Sight<'_>> = fabric
        .units
        .iter()
        .map(|(name, unit)| (name, Sight::of(fabric, unit)))
        .collect();
    check_shared(fabric, &sights, diagnostics);
    for sight in sights.values() {
        let mut universes = BTreeMap::new();
        for item in &sight.unit.policies {
            let Some(spec) = spec(item) else { continue };
            let is_understood = check_policy(fabric, item, spec, diagnostics);
            if is_understood && !sight.is_partial {
                let namespace = item.resource().key.namespace.as_deref();
                let universe = universes
                    .entry(namespace)
                    .or_insert_with(|| sight.universe(fabric, namespace));
                diagnostics.extend(useless(item, spec, universe));
            }
        }
    }
    check_imports(fabric, &sights, diagnostics);
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

    /// The services that policies of a namespace, or of all of them, are asked about.
    fn services<'b>(&'b self, namespace: Option<&'b str>) -> impl Iterator<Item = Service<'b>> {
        let counts = move |own: &str| namespace.is_none_or(|namespace| namespace == own);
        let imported = self
            .imported
            .iter()
            .filter(move |one| counts(one.name.namespace()));
        let exported = self
            .exported
            .iter()
            .filter(move |one| counts(one.name.namespace()));
        imported
            .map(|one| Service {
                export: &one.export,
                peer: one.peer,
            })
            .chain(exported.map(|export| Service {
                export,
                peer: &self.unit.attributes,
            }))
    }

    fn universe<'b>(&'b self, fabric: &'b Fabric, namespace: Option<&'b str>) -> Universe<'b> {
        // Every peer may come for what is exported; what is imported is for the peer's own clients.
        let peers = fabric.units.values().map(|unit| &unit.attributes);
        Universe::new(peers, self.services(namespace))
    }
}

fn check_shared(
    fabric: &Fabric,
    sights: &BTreeMap<&PeerName, Sight<'_>>,
    diagnostics: &mut Vec<Diagnostic>,
) {
    if fabric.units.is_empty() {
        return;
    }
    for policy in &fabric.policies {
        let item = &policy.item;
        let selected = || {
            sights
                .values()
                .filter(|sight| policy.selects(&sight.unit.attributes.labels))
        };
        if selected().next().is_none() && fabric.unknown.is_empty() {
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
        let is_understood = check_policy(fabric, item, spec, diagnostics);
        if !is_understood || selected().any(|sight| sight.is_partial) {
            continue;
        }
        let peers = fabric.units.values().map(|unit| &unit.attributes);
        let services = selected().flat_map(|sight| sight.services(None));
        let useless = useless(item, spec, &Universe::new(peers, services));
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

/// Checks a policy by itself and against the names of the peers; false where it is odd enough that
/// to say what it matches would say the same thing twice.
fn check_policy(
    fabric: &Fabric,
    item: &Item,
    spec: &AccessPolicySpec,
    diagnostics: &mut Vec<Diagnostic>,
) -> bool {
    let before = diagnostics.len();
    let oddities = inspect(spec);
    diagnostics.extend(
        oddities
            .iter()
            .map(|odd| odd.finding(item.resource()).at(item.path())),
    );
    check_peer_names(fabric, item, "from", &spec.from, diagnostics);
    check_peer_names(fabric, item, "to", &spec.to, diagnostics);
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
    field: &str,
    entries: &[WorkloadSetOrSelector],
    diagnostics: &mut Vec<Diagnostic>,
) {
    let mut check = |pointer: String, name: &str| {
        let is_known = fabric.units.contains_key(name)
            || fabric.unknown.iter().any(|peer| peer.as_str() == name);
        if is_known {
            return;
        }
        let span = item.resource().value_span(&pointer);
        let message = format!("the fabric has no peer {name:?}");
        let diagnostic = Diagnostic::new(Code::UnknownPeerInPolicy, item.path(), span, message);
        diagnostics.push(
            match nearest(name, fabric.units.keys().map(PeerName::as_str)) {
                Some(peer) => diagnostic.with_help(format!("did you mean {peer:?}?")),
                None => diagnostic,
            },
        );
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

/// Reports the sources of imports that no client can ever be allowed to reach.
fn check_imports(
    fabric: &Fabric,
    sights: &BTreeMap<&PeerName, Sight<'_>>,
    diagnostics: &mut Vec<Diagnostic>,
) {
    let policies: BTreeMap<&PeerName, Policies> = fabric
        .units
        .iter()
        .map(|(name, unit)| (name, fabric.compile_policies(unit)))
        .collect();
    for (name, sight) in sights {
        let own = &sight.unit.attributes;
        for one in &sight.imported {
            let could = |peer: &PeerName, namespace: &str| {
                policies.get(peer).is_some_and(|policies| {
                    policies.could_allow(namespace, own, &one.export, one.peer)
                })
            };
            let offers = &one.peer.name;
            let closed: Vec<&PeerName> = [
                (!could(name, one.name.namespace())).then_some(*name),
                (!could(offers, one.export.name.namespace())).then_some(offers),
            ]
            .into_iter()
            .flatten()
            .collect();
            let (message, place) = match &*closed {
                [] => continue,
                [peer] => (
                    format!("no policy of {peer} can ever allow this import"),
                    side(peer == name, one.name, &one.export.name),
                ),
                _ => (
                    format!("no policy of {name}, nor of {offers}, can ever allow this import"),
                    format!(
                        "{}, and {}",
                        side(true, one.name, &one.export.name),
                        side(false, one.name, &one.export.name)
                    ),
                ),
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
}

fn side(is_importer: bool, import: &ObjectName, export: &ObjectName) -> String {
    match is_importer {
        true => format!(
            "an allow of the importer's for its namespace {:?}",
            import.namespace()
        ),
        false => format!(
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
