//! The scopes in force, put together; what fails between them is left out and reported.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::scope::{Shared, UnitScope, duplicate};
use super::{Fabric, Item, LinkedImport, Unit, certificates, effects, imports};
use crate::api::Object;
use crate::attributes::PeerAttributes;
use crate::diagnostic::{Code, Diagnostic, Effect};
use crate::guard::ExportHostGuard;
use crate::name::{Kind, PeerName};
use crate::tree::Tree;

/// Links the scopes.
pub(super) fn link(
    head: &Tree,
    shared: &Shared,
    units: BTreeMap<PeerName, UnitScope>,
    unknown: BTreeSet<PeerName>,
    now: Timestamp,
) -> (Fabric, Vec<Diagnostic>) {
    let mut diagnostics = Vec::new();
    let mut fabric = Fabric::new(head.revision().clone(), shared, now);
    fabric.unknown = unknown;
    let peers: BTreeSet<PeerName> = units.keys().chain(&fabric.unknown).cloned().collect();
    let trust =
        certificates::Trust::read(shared, !units.is_empty(), &fabric, now, &mut diagnostics);
    let guard = ExportHostGuard::new(&fabric.spec.export_hosts);
    for (name, scope) in units {
        trust.check_unit(&scope, &name, &peers, &mut diagnostics);
        if let Some(unit) = Unit::link(scope, name.clone(), &guard, &mut diagnostics) {
            fabric.units.insert(name, unit);
        }
    }
    fabric.authorities = trust.authorities;
    certificates::check_shared_keys(&fabric, &mut diagnostics);
    check_policy_names(&mut fabric, &mut diagnostics);
    imports::link(&mut fabric, &mut diagnostics);
    effects::check(&fabric, &mut diagnostics);
    (fabric, diagnostics)
}

impl Unit {
    fn link(
        scope: UnitScope,
        name: PeerName,
        guard: &ExportHostGuard,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Option<Self> {
        let peer = scope.peer?;
        let labels = peer.object().metadata().labels.clone();
        let mut unit = Self {
            revision: peer.revision.clone(),
            attributes: PeerAttributes { name, labels },
            peer,
            exports: BTreeMap::new(),
            imports: BTreeMap::new(),
            policies: Vec::new(),
            workloads: scope.workloads,
            instance: scope.instance,
            certificates: scope.leaves,
        };
        for item in scope.items {
            match item.resource().key.kind {
                Kind::Export => unit.add_export(item, guard, diagnostics),
                Kind::Import => {
                    if let Some(name) = item.name() {
                        let import = LinkedImport {
                            item,
                            dropped: BTreeSet::new(),
                        };
                        unit.imports.insert(name, import);
                    }
                }
                _ => unit.policies.push(item),
            }
        }
        unit.check_instance(diagnostics);
        Some(unit)
    }

    fn add_export(
        &mut self,
        item: Item,
        guard: &ExportHostGuard,
        diagnostics: &mut Vec<Diagnostic>,
    ) {
        let (Object::Export(export), Some(name)) = (item.object(), item.name()) else {
            return;
        };
        if let Some(host) = &export.spec.host
            && let Err(refusal) = guard.check_text(host)
        {
            let message = format!("the export aims at {host}: {refusal}");
            let span = item.resource().value_span("/spec/host");
            let diagnostic = Diagnostic::new(Code::ExportHostRefused, item.path(), span, message);
            diagnostics.push(diagnostic.with_help(
                "where this is meant, name the host in `spec.exportHosts.allow` of fabric.yaml",
            ));
            return;
        }
        self.exports.insert(name, item);
    }

    fn check_instance(&self, diagnostics: &mut Vec<Diagnostic>) {
        let Some(item) = &self.instance else { return };
        let Object::Instance(instance) = item.object() else {
            return;
        };
        let labels = &instance.spec.peer_labels;
        if labels.is_empty() || *labels == self.attributes.labels {
            return;
        }
        let message = "the Instance's peerLabels differ from the Peer's labels, which count";
        let span = item.resource().key_span("/spec/peerLabels");
        let peer = self.peer.resource().key_span("/metadata/labels");
        diagnostics.push(
            Diagnostic::new(Code::PeerLabelsDiffer, item.path(), span, message).with_related(
                self.peer.path(),
                peer,
                "the Peer's labels",
            ),
        );
    }
}

/// A unit's privileged policy can't have the name of a shared one that counts there: the shared
/// one stays.
fn check_policy_names(fabric: &mut Fabric, diagnostics: &mut Vec<Diagnostic>) {
    let shared: BTreeMap<_, _> = fabric
        .policies
        .iter()
        .map(|policy| (policy.item.resource().key.clone(), policy))
        .collect();
    for unit in fabric.units.values_mut() {
        let labels = &unit.attributes.labels;
        unit.policies.retain(|item| {
            let Some(first) = shared.get(&item.resource().key) else {
                return true;
            };
            if !first.selects(labels) {
                return true;
            }
            let why = "a shared policy has the name already, and stays";
            diagnostics.push(duplicate(&first.item, item, why).with_effect(Effect::Fail));
            false
        });
    }
}
