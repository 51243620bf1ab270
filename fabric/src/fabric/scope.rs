//! One scope of the repository by itself: the shared files, or one unit.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::checked::{CheckedUnit, Known};
use super::{Item, SharedPolicy};
use crate::api::{Annotation, LabelSelector, Object, parse_selector};
use crate::diagnostic::{Code, Diagnostic, Effect, Finding, Span};
use crate::identity::{self, CertificateFacts};
use crate::name::{Kind, ObjectKey, PeerName};
use crate::tree::{Blob, Place, Scope, Tree, locate};

/// Everything outside `peers/`.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) fabric: Option<Item>,
    pub(super) revocations: Option<Item>,
    pub(super) authorities: Vec<(Arc<str>, Arc<Blob>)>,
    pub(super) policies: Vec<SharedPolicy>,
    /// In the order of their names.
    pub(super) invariants: Vec<Item>,
    pub(super) diagnostics: Vec<Diagnostic>,
    pub(super) is_frozen: bool,
}

/// One directory below `peers/`.
#[derive(Debug)]
pub(super) struct UnitScope {
    pub(super) directory: Arc<str>,
    pub(super) peer: Option<Item>,
    /// Exports, Imports and policies, in the order of their keys.
    pub(super) items: Vec<Item>,
    pub(super) workloads: Option<Item>,
    pub(super) instance: Option<Item>,
    pub(super) certificate: Option<(Arc<str>, Arc<Blob>)>,
    /// The leaves of the certificate file.
    pub(super) leaves: Vec<CertificateFacts>,
    pub(super) diagnostics: Vec<Diagnostic>,
    pub(super) is_frozen: bool,
}

/// The scopes of a tree, not checked yet: each object in its place.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) shared: Shared,
    pub(super) units: BTreeMap<Arc<str>, UnitScope>,
}

// === impl Files ===

impl Files {
    /// Reads the scopes of a tree.
    pub(super) fn of(tree: &Tree) -> Self {
        let mut shared = Shared::default();
        let mut units: BTreeMap<Arc<str>, UnitScope> = BTreeMap::new();
        for (path, blob) in tree.files() {
            match locate(path) {
                (Scope::Shared, Place::Authority) => {
                    shared
                        .authorities
                        .push((Arc::clone(path), Arc::clone(blob)));
                    shared
                        .diagnostics
                        .extend(file_findings(path, &blob.certificates().findings));
                }
                (Scope::Shared, place) => shared.read(tree, path, blob, place),
                (Scope::Unit(directory), place) => {
                    let unit = units
                        .entry(Arc::clone(&directory))
                        .or_insert_with(|| UnitScope::new(directory));
                    unit.read(tree, path, blob, place);
                }
                (Scope::Elsewhere, _) => {}
            }
        }
        for unit in units.values_mut() {
            unit.sort();
        }
        Self { shared, units }
    }

    /// Checks each scope by itself, unless what that finds is known.
    pub(super) fn finish(self, tree: &Tree, known: Option<&Known<'_>>) -> (Shared, Vec<UnitScope>) {
        let Self {
            mut shared,
            mut units,
        } = self;
        read_frozen(tree, &mut shared, &mut units);
        shared.finish(tree);
        let mut units: Vec<_> = units.into_values().collect();
        let peers = units
            .iter()
            .filter_map(|unit| unit.directory.parse().ok())
            .collect();
        for unit in &mut units {
            match known.and_then(|known| known.unit(&unit.directory)) {
                Some(checked) => unit.settle(&peers, checked),
                None => unit.finish(&peers),
            }
        }
        (shared, units)
    }
}

fn read_frozen(tree: &Tree, shared: &mut Shared, units: &mut BTreeMap<Arc<str>, UnitScope>) {
    // A Freeze on an entry that couldn't even be read counts for its scope too, also where nothing
    // else of the unit is left.
    for scope in tree.frozen() {
        match scope {
            Scope::Shared => shared.is_frozen = true,
            Scope::Unit(directory) => {
                let unit = units
                    .entry(Arc::clone(directory))
                    .or_insert_with(|| UnitScope::new(Arc::clone(directory)));
                unit.is_frozen = true;
            }
            Scope::Elsewhere => {}
        }
    }
}

/// Reads one unit of a tree and nothing else of it; none where it isn't good there.
pub(super) fn read_good_unit(tree: &Tree, name: &PeerName) -> Option<UnitScope> {
    if tree.frozen().contains(&Scope::Unit(name.as_str().into())) {
        return None;
    }
    let mut unit = read_unit(tree, name)?;
    // The names of the other peers only choose the words, and nothing is said of an older state.
    unit.finish(&BTreeSet::new());
    (!unit.is_frozen).then_some(unit)
}

/// Reads one unit of a tree, not checked yet; none where nothing of it is there.
pub(super) fn read_unit(tree: &Tree, name: &PeerName) -> Option<UnitScope> {
    let below = format!("peers/{name}/");
    let mut files = tree.files_below(&below).peekable();
    files.peek()?;
    let mut unit = UnitScope::new(name.as_str().into());
    for (path, blob) in files {
        unit.read(tree, path, blob, locate(path).1);
    }
    unit.sort();
    Some(unit)
}

// === impl Shared ===

impl Shared {
    fn read(&mut self, tree: &Tree, path: &Arc<str>, blob: &Arc<Blob>, place: Place) {
        let expected = match place {
            Place::Fabric => Kind::Fabric,
            Place::Revocations => Kind::Revocations,
            Place::Invariant => Kind::Invariant,
            _ => Kind::PrivilegedAccessPolicy,
        };
        // Nothing in force depends on an invariant: one that can't be understood fails the check.
        let most = match place {
            Place::Invariant => Effect::Fail,
            _ => Effect::Freeze,
        };
        let capped = |diagnostic: Diagnostic| {
            let effect = diagnostic.effect.min(most);
            diagnostic.with_effect(effect)
        };
        self.diagnostics
            .extend(file_findings(path, blob.findings()).map(capped));
        for item in items(tree, path, blob) {
            let kind = item.key().kind;
            if kind != expected {
                let diagnostic = misplaced(&item, &format!("only {expected} is read here"));
                self.diagnostics.push(capped(diagnostic));
                continue;
            }
            match kind {
                Kind::Fabric => single(&mut self.fabric, item, &mut self.diagnostics),
                Kind::Revocations => single(&mut self.revocations, item, &mut self.diagnostics),
                Kind::Invariant => self.invariants.push(item),
                _ => {
                    let peers = selected_peers(&item);
                    self.policies.push(SharedPolicy { item, peers });
                }
            }
        }
    }

    fn finish(&mut self, tree: &Tree) {
        // Where something stands there but can't be understood, that is said already; a warning
        // says nothing of the kind.
        let is_told = self
            .diagnostics
            .iter()
            .chain(tree.diagnostics())
            .any(|told| told.path() == "fabric.yaml" && told.effect == Effect::Freeze);
        if self.fabric.is_none() && !is_told {
            let message = "the repository has no fabric.yaml that holds a Fabric";
            let diagnostic =
                Diagnostic::new(Code::NoFabric, &"fabric.yaml".into(), Span::FILE, message);
            self.diagnostics.push(diagnostic.with_help(
                "`weft init` lays one down; the least is `kind: Fabric` with a name and `spec: {}`",
            ));
        }
        self.policies.sort_by(|a, b| a.item.key().cmp(b.item.key()));
        find_duplicates(
            self.policies.iter().map(|policy| &policy.item),
            &mut self.diagnostics,
        );
        self.sort_invariants();
        self.is_frozen |= has_freeze(&self.diagnostics);
    }

    fn sort_invariants(&mut self) {
        self.invariants.sort_by(|a, b| a.key().cmp(b.key()));
        let mut twice = Vec::new();
        find_duplicates(self.invariants.iter(), &mut twice);
        let twice = twice.into_iter().map(|d| d.with_effect(Effect::Fail));
        self.diagnostics.extend(twice);
    }
}

// === impl UnitScope ===

impl UnitScope {
    const fn new(directory: Arc<str>) -> Self {
        Self {
            directory,
            peer: None,
            items: Vec::new(),
            workloads: None,
            instance: None,
            certificate: None,
            leaves: Vec::new(),
            diagnostics: Vec::new(),
            is_frozen: false,
        }
    }

    fn read(&mut self, tree: &Tree, path: &Arc<str>, blob: &Arc<Blob>, place: Place) {
        if place == Place::PeerCertificate {
            self.diagnostics
                .extend(file_findings(path, &blob.certificates().findings));
            self.certificate = Some((Arc::clone(path), Arc::clone(blob)));
            return;
        }
        self.diagnostics
            .extend(file_findings(path, blob.findings()));
        for item in items(tree, path, blob) {
            match item.key().kind {
                Kind::Peer => single(&mut self.peer, item, &mut self.diagnostics),
                Kind::Workloads => single(&mut self.workloads, item, &mut self.diagnostics),
                Kind::Instance => single(&mut self.instance, item, &mut self.diagnostics),
                Kind::Export | Kind::Import | Kind::AccessPolicy | Kind::PrivilegedAccessPolicy => {
                    self.items.push(item);
                }
                Kind::Invariant => self.diagnostics.push(misplaced(
                    &item,
                    "invariants stand below `invariants/`, since they are about the whole fabric",
                )),
                Kind::Fabric | Kind::Revocations => self.diagnostics.push(misplaced(
                    &item,
                    "it stands at the top of the repository, not in a unit",
                )),
            }
        }
    }

    /// The moments at which its policies end.
    pub(super) fn ends(&self) -> impl Iterator<Item = Timestamp> {
        let is_policy = |item: &&Item| {
            matches!(
                item.key().kind,
                Kind::AccessPolicy | Kind::PrivilegedAccessPolicy
            )
        };
        self.items
            .iter()
            .filter(is_policy)
            .filter_map(Item::expires)
    }

    fn sort(&mut self) {
        self.items.sort_by(|a, b| a.key().cmp(b.key()));
    }

    /// Takes what an earlier check has found.
    fn settle(&mut self, peers: &BTreeSet<PeerName>, checked: &CheckedUnit) {
        self.find_leaves(peers);
        self.diagnostics = checked.by_itself();
    }

    fn finish(&mut self, peers: &BTreeSet<PeerName>) {
        find_duplicates(self.items.iter(), &mut self.diagnostics);
        self.check_peer();
        self.check_workloads();
        self.find_leaves(peers);
        self.is_frozen |= has_freeze(&self.diagnostics);
    }

    fn find_leaves(&mut self, peers: &BTreeSet<PeerName>) {
        let (Some((path, blob)), Ok(name)) = (&self.certificate, self.directory.parse()) else {
            return;
        };
        let (leaves, findings) = identity::find_leaves(&name, blob.certificates(), peers);
        self.leaves = leaves;
        self.diagnostics.extend(file_findings(path, &findings));
    }

    fn check_peer(&mut self) {
        let directory = &self.directory;
        let path: Arc<str> = format!("peers/{directory}/peer.yaml").into();
        if let Err(error) = directory.parse::<PeerName>() {
            let message = format!("the directory's name is no peer's name: {error}");
            self.diagnostics
                .push(Diagnostic::new(Code::BadName, &path, Span::FILE, message));
            return;
        }
        let Some(peer) = &self.peer else {
            // Where a Peer stands but can't be understood, that is said already.
            if !self.is_frozen && !has_freeze(&self.diagnostics) {
                let message = format!("the unit peers/{directory}/ holds no Peer");
                let diagnostic = Diagnostic::new(Code::NoPeer, &path, Span::FILE, message);
                self.diagnostics
                    .push(diagnostic.with_help("describe the peer in peer.yaml, `kind: Peer`"));
            }
            return;
        };
        let name = &peer.resource().key.name;
        if name != directory {
            let message = format!("the Peer is named {name:?}, its directory {directory:?}");
            let span = peer.resource().value_span("/metadata/name");
            let diagnostic = Diagnostic::new(Code::PeerMisnamed, peer.path(), span, message);
            self.diagnostics
                .push(diagnostic.with_help(format!("name it {directory:?}")));
        }
        for other in [&self.workloads].into_iter().flatten() {
            let name = &other.resource().key.name;
            if name != directory {
                let kind = other.resource().key.kind;
                let message = format!("the {kind} is named {name:?}, its peer {directory:?}");
                let span = other.resource().value_span("/metadata/name");
                let diagnostic = Diagnostic::new(Code::PeerMisnamed, other.path(), span, message);
                self.diagnostics.push(diagnostic.with_effect(Effect::Warn));
            }
        }
    }
}

impl UnitScope {
    /// Two workloads with the same addresses: which one a client is can't be told.
    fn check_workloads(&mut self) {
        let Some(item) = &self.workloads else { return };
        let Object::Workloads(workloads) = item.object() else {
            return;
        };
        let mut seen = BTreeMap::new();
        for (i, workload) in workloads.spec.workloads.iter().enumerate() {
            for (j, range) in workload.addresses.iter().enumerate() {
                let place = |(i, j)| {
                    let pointer = format!("/spec/workloads/{i}/addresses/{j}");
                    item.resource().value_span(&pointer)
                };
                let first = *seen.entry(*range).or_insert((i, j));
                // The same client twice says nothing wrong.
                if first.0 != i {
                    let message = format!("the addresses {range} stand for two workloads");
                    let span = place((i, j));
                    self.diagnostics.push(
                        Diagnostic::new(Code::OverlappingWorkloads, item.path(), span, message)
                            .with_related(item.path(), place(first), "the first one"),
                    );
                }
            }
        }
    }
}

fn items<'a>(
    tree: &'a Tree,
    path: &'a Arc<str>,
    blob: &'a Arc<Blob>,
) -> impl Iterator<Item = Item> + 'a {
    (0..blob.count()).map(move |index| Item {
        revision: tree.revision().clone(),
        path: Arc::clone(path),
        blob: Arc::clone(blob),
        index,
    })
}

fn file_findings<'a>(
    path: &'a Arc<str>,
    findings: &'a [Finding],
) -> impl Iterator<Item = Diagnostic> + 'a {
    findings.iter().map(move |finding| finding.at(path))
}

fn has_freeze(diagnostics: &[Diagnostic]) -> bool {
    diagnostics
        .iter()
        .any(|diagnostic| diagnostic.effect == Effect::Freeze)
}

fn misplaced(item: &Item, why: &str) -> Diagnostic {
    let resource = item.resource();
    let message = format!("a {} doesn't belong here: {why}", resource.key.kind);
    Diagnostic::new(
        Code::MisplacedKind,
        item.path(),
        resource.value_span("/kind"),
        message,
    )
}

/// Takes an object of which there is one only.
fn single(slot: &mut Option<Item>, item: Item, diagnostics: &mut Vec<Diagnostic>) {
    match slot {
        Some(first) => diagnostics.push(duplicate(first, &item, "there is one only")),
        None => *slot = Some(item),
    }
}

/// Reports objects with the same key; `items` are in the order of their keys.
fn find_duplicates<'a>(items: impl Iterator<Item = &'a Item>, diagnostics: &mut Vec<Diagnostic>) {
    let mut first: Option<&Item> = None;
    for item in items {
        let key: &ObjectKey = item.key();
        match first {
            Some(first) if first.key() == key => {
                diagnostics.push(duplicate(first, item, "it stands twice"));
            }
            _ => first = Some(item),
        }
    }
}

pub(super) fn duplicate(first: &Item, second: &Item, why: &str) -> Diagnostic {
    let key = &second.resource().key;
    let span = |item: &Item| item.resource().value_span("/metadata/name");
    Diagnostic::new(
        Code::DuplicateObject,
        second.path(),
        span(second),
        format!("{key} is described again: {why}"),
    )
    .with_related(first.path(), span(first), "the first one")
}

fn selected_peers(item: &Item) -> Option<LabelSelector> {
    let Object::PrivilegedAccessPolicy(policy) = item.object() else {
        return None;
    };
    let text = policy.metadata.annotations.get(Annotation::Peers.key())?;
    // One that can't be understood froze the shared files, so it is never in force for everybody.
    parse_selector(text).ok()
}
