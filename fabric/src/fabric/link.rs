//! The scopes in force, put together; what fails between them is left out and reported.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::checked::{Checked, CheckedUnit, KeptDiagnostic, Known};
use super::scope::{Shared, UnitScope, duplicate};
use super::{Fabric, Item, LinkedImport, Unit, certificates, effects, imports};
use crate::api::Object;
use crate::attributes::PeerAttributes;
use crate::diagnostic::{Code, Diagnostic, Effect};
use crate::effort::Effort;
use crate::guard::ExportHostGuard;
use crate::name::{Kind, PeerName};
use crate::tree::Tree;

/// The scopes, linked.
pub(super) struct Linked {
    pub(super) fabric: Fabric,
    pub(super) diagnostics: Vec<Diagnostic>,
    /// What was found; none where that can't serve another check.
    pub(super) checked: Option<Checked>,
}

/// What is found of the units that are checked.
#[derive(Default)]
pub(super) struct Findings(BTreeMap<PeerName, UnitFindings>);

/// What is found of a unit.
#[derive(Default)]
struct UnitFindings {
    by_itself: Vec<Diagnostic>,
    linked: Vec<Diagnostic>,
    /// Until when time says the same.
    until: Timestamp,
    /// How many objects there are to be linked.
    count: usize,
}

/// Links the scopes; none where what is known doesn't suffice for that.
pub(super) fn link(
    head: &Tree,
    shared: &Shared,
    units: BTreeMap<PeerName, UnitScope>,
    unknown: BTreeSet<PeerName>,
    (known, now): (Option<&Known<'_>>, Timestamp),
) -> Option<Linked> {
    let mut diagnostics = Vec::new();
    let mut findings = Findings::default();
    let mut fabric = Fabric::new(head.revision().clone(), shared, now);
    fabric.unknown = unknown;
    let peers: BTreeSet<PeerName> = units.keys().chain(&fabric.unknown).cloned().collect();
    let trust =
        certificates::Trust::read(shared, !units.is_empty(), &fabric, now, &mut diagnostics);
    // What isn't known can't be held against an export: what fabric.yaml would allow isn't, where
    // it can't be read, and then nothing of this comes into force.
    let is_known = shared.fabric.is_some();
    let guard = is_known.then(|| ExportHostGuard::new(&fabric.spec.export_hosts));
    for (name, scope) in units {
        let unit = match known.and_then(|known| known.unit(name.as_str())) {
            Some(checked) => Unit::of(scope, name.clone(), |unit, item| {
                if let Some(name) = item.name() {
                    unit.exports.insert(name, item);
                }
            })
            .map(|mut unit| {
                unit.sources = Arc::clone(&checked.sources);
                unit.ends = Arc::clone(&checked.ends);
                unit
            }),
            None => {
                let found = findings.begin(&name, &scope, trust.until(&scope));
                trust.check_unit(&scope, &name, &peers, found);
                Unit::link(scope, name.clone(), guard.as_ref(), found)
            }
        };
        if let Some(unit) = unit {
            fabric.units.insert(name, unit);
        }
    }
    fabric.authorities = trust.authorities;
    certificates::check_shared_keys(&fabric, &mut diagnostics);
    check_policy_names(&mut fabric, &mut findings);
    let sources = imports::link(&mut fabric, &mut findings);
    let effects = effects::check(&fabric, known, &mut findings);
    diagnostics.extend(effects.shared.iter().cloned());
    for name in fabric.units.keys() {
        match known.and_then(|known| known.unit(name.as_str())) {
            Some(checked) => diagnostics.extend(checked.linked()),
            None => {
                let found = findings.of(name).into_iter().flatten();
                diagnostics.extend(found.map(|found: &mut Diagnostic| found.clone()));
            }
        }
    }
    let checked = findings.checked(&fabric, (known, now), sources, effects);
    // Where nothing is known that can't be told is left out, and here it has to be told.
    if checked.is_none() && known.is_some() {
        return None;
    }
    Some(Linked {
        fabric,
        diagnostics,
        checked,
    })
}

// === impl Findings ===

impl Findings {
    /// Begins with a unit.
    fn begin(
        &mut self,
        name: &PeerName,
        scope: &UnitScope,
        until: Timestamp,
    ) -> &mut Vec<Diagnostic> {
        let unit = self.0.entry(name.clone()).or_default();
        unit.by_itself.clone_from(&scope.diagnostics);
        unit.until = until;
        unit.count = scope.items.len();
        &mut unit.linked
    }

    /// Where to put what is found of a unit; none where the unit isn't checked.
    pub(super) fn of(&mut self, name: &PeerName) -> Option<&mut Vec<Diagnostic>> {
        Some(&mut self.0.get_mut(name)?.linked)
    }

    /// Whether a unit is checked.
    pub(super) fn covers(&self, name: &PeerName) -> bool {
        self.0.contains_key(name)
    }

    /// What can serve another check; none where that has to begin anew.
    fn checked(
        &self,
        fabric: &Fabric,
        (known, now): (Option<&Known<'_>>, Timestamp),
        sources: Effort,
        effects: effects::Told,
    ) -> Option<Checked> {
        let before = known.map(|known| &known.checked.efforts);
        let before = |index| before.and_then(|efforts| efforts.get(index)).copied();
        let efforts = std::iter::once(&sources).chain(&effects.efforts);
        let efforts = efforts.enumerate();
        let efforts = efforts.map(|(index, effort)| effort.taken(before(index).unwrap_or(0)));
        let mut checked = Checked {
            now,
            units: BTreeMap::new(),
            shared: effects.shared.iter().map(KeptDiagnostic::from).collect(),
            efforts: efforts.collect::<Option<_>>()?,
        };
        for (name, unit) in &fabric.units {
            let old = known.and_then(|known| known.checked.units.get(name));
            let Some(found) = self.0.get(name) else {
                checked
                    .units
                    .extend(old.map(|old| (name.clone(), old.clone())));
                continue;
            };
            if found.is_whole(unit) {
                let kept = |all: &[Diagnostic]| all.iter().map(KeptDiagnostic::from).collect();
                let unit = CheckedUnit {
                    until: found.until,
                    by_itself: kept(&found.by_itself),
                    linked: kept(&found.linked),
                    sources: Arc::clone(&unit.sources),
                    ends: Arc::clone(&unit.ends),
                };
                checked.units.insert(name.clone(), unit);
            } else if old.is_some() {
                // What it loses others may have wanted.
                return None;
            }
        }
        Some(checked)
    }
}

// === impl UnitFindings ===

impl UnitFindings {
    /// Whether all objects of the unit are in force.
    fn is_whole(&self, unit: &Unit) -> bool {
        let count = unit.exports.len() + unit.imports.len() + unit.policies.len();
        let mut imports = unit.imports.values();
        count == self.count && imports.all(|import| import.dropped.is_empty())
    }
}

// === impl Unit ===

impl Unit {
    fn link(
        scope: UnitScope,
        name: PeerName,
        guard: Option<&ExportHostGuard>,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Option<Self> {
        let unit = Self::of(scope, name, |unit, item| {
            unit.add_export(item, guard, diagnostics);
        })?;
        unit.check_instance(diagnostics);
        Some(unit)
    }

    /// The unit of a scope; each Export is added by the caller.
    fn of(
        scope: UnitScope,
        name: PeerName,
        mut add_export: impl FnMut(&mut Self, Item),
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
            sources: Arc::default(),
            ends: Arc::default(),
        };
        for item in scope.items {
            match item.key().kind {
                Kind::Export => add_export(&mut unit, item),
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
        Some(unit)
    }

    fn add_export(
        &mut self,
        item: Item,
        guard: Option<&ExportHostGuard>,
        diagnostics: &mut Vec<Diagnostic>,
    ) {
        let (Object::Export(export), Some(name)) = (item.object(), item.name()) else {
            return;
        };
        if let (Some(host), Some(guard)) = (&export.spec.host, guard)
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
fn check_policy_names(fabric: &mut Fabric, findings: &mut Findings) {
    let shared: BTreeMap<_, _> = fabric
        .policies
        .iter()
        .map(|policy| (policy.item.key().clone(), policy))
        .collect();
    for (name, unit) in &mut fabric.units {
        let Some(diagnostics) = findings.of(name) else {
            continue;
        };
        let labels = &unit.attributes.labels;
        unit.policies.retain(|item| {
            let Some(first) = shared.get(item.key()) else {
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
