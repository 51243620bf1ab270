//! A tree of files to a linked, checked model, and *all* diagnostics.
//!
//! ```text
//! Tree ──▶ scope (shared, one per unit; each by itself) ──▶ in force? ──▶ link ──▶ Fabric
//!            │ a Freeze: the scope stays at last good         │
//!            ▼                                                ▼
//!        diagnostics                                       check: between scopes; Fail and Warn
//! ```

mod certificates;
mod checked;
mod effects;
mod imports;
mod link;
mod relays;
mod scope;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::api::{
    self, AccessPolicySpec, Expiry, FabricSpec, Fingerprint, Gate, LabelSelector, Object,
};
use crate::attributes::{Labels, PeerAttributes};
use crate::diagnostic::{Diagnostic, Effect, Label};
use crate::identity::CertificateFacts;
use crate::name::{ObjectKey, ObjectName, PeerName};
use crate::origin::{Origin, Revision};
use crate::policy::{Clock, Policies, Rule};
use crate::resource::Resource;
use crate::tree::{self, Blob, Scope, Tree};

use self::checked::Known;
use self::scope::{Files, Shared};

pub(crate) use self::checked::Checked;
pub use self::imports::{ADMIN_PORT, GATEWAY_PORT};

/// A fabric as it is to be in force: linked and checked, with all that failed a check left out.
#[derive(Clone, Debug)]
pub struct Fabric {
    /// The fabric's name.
    pub name: String,
    /// The revision of the repository that this is a snapshot of.
    pub revision: Revision,
    /// The moment that it is seen at: what has ended by then doesn't count.
    pub now: Timestamp,
    /// Defaults and guard rails.
    pub spec: FabricSpec,
    /// The CA certificates.
    pub authorities: Vec<CertificateFacts>,
    /// The certificates that are no longer trusted.
    pub revoked: BTreeSet<Fingerprint>,
    /// The privileged policies for every peer, or for those that their selector names.
    pub policies: Vec<SharedPolicy>,
    /// What must be true of the fabric, for [`crate::invariant::check`] alone; in the order of
    /// their names.
    pub invariants: Vec<Item>,
    /// The units in force.
    pub units: BTreeMap<PeerName, Unit>,
    /// The peers whose unit is broken at the revision: what they export beside what is in force, if
    /// anything is, is unknown and not absent.
    pub unknown: BTreeSet<PeerName>,
}

/// A privileged policy for several peers.
#[derive(Clone, Debug)]
pub struct SharedPolicy {
    /// The policy.
    pub item: Item,
    /// The peers for which it is; none for all of them.
    pub peers: Option<LabelSelector>,
}

/// The directory of one peer, as it is in force.
#[derive(Clone, Debug)]
pub struct Unit {
    /// The revision at which the unit stands.
    pub revision: Revision,
    /// The peer, as policies see it.
    pub attributes: PeerAttributes,
    /// The Peer.
    pub peer: Item,
    /// What it exports, without what the guard rails refuse.
    pub exports: BTreeMap<ObjectName, Item>,
    /// What it imports.
    pub imports: BTreeMap<ObjectName, LinkedImport>,
    /// Its policies of both kinds, in the order of their keys.
    pub policies: Vec<Item>,
    /// The workloads of a host without Kubernetes.
    pub workloads: Option<Item>,
    /// Its installation in a cluster.
    pub instance: Option<Item>,
    /// The leaves of its committed certificates.
    pub certificates: Vec<CertificateFacts>,
    /// The peers that its imports lead to, itself where it is one of them.
    pub(crate) sources: Arc<BTreeSet<PeerName>>,
    /// The moments at which its policies end, whether they are over or not.
    pub(crate) ends: Arc<BTreeSet<Timestamp>>,
}

/// An Import whose sources were looked up.
#[derive(Clone, Debug)]
pub struct LinkedImport {
    /// The Import.
    pub item: Item,
    /// The sources, by their place in the list, that lead nowhere and are dropped.
    pub dropped: BTreeSet<usize>,
}

/// One object of the model, and where it stands.
///
/// It borrows from the file's blob, which keeps what was read out of it.
#[derive(Clone, Debug)]
pub struct Item {
    revision: Revision,
    path: Arc<str>,
    blob: Arc<Blob>,
    index: usize,
}

/// The trees at which scopes were last good, for those that a new revision freezes.
#[derive(Clone, Debug, Default)]
pub struct LastGood {
    /// Where everything outside `peers/` was last good.
    pub shared: Option<Tree>,
    /// Where each unit was last good.
    pub units: BTreeMap<PeerName, Tree>,
}

/// The revision at which each scope is good now: what [`LastGood`] is to be made from next time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Good {
    /// Of everything outside `peers/`; none where it never was good.
    pub shared: Option<Revision>,
    /// Of each unit in force.
    pub units: BTreeMap<PeerName, Revision>,
}

/// What a revision of the repository comes to.
#[derive(Clone, Debug)]
pub struct Build {
    /// What is to be in force; none where the shared files never were good.
    pub fabric: Option<Fabric>,
    /// All that is to be reported, in the order of the places.
    pub diagnostics: Vec<Diagnostic>,
    /// Where each scope stands now.
    pub good: Good,
    /// The units that a Freeze holds at an older revision, or out of force altogether.
    pub frozen: BTreeSet<Arc<str>>,
    /// Whether a Freeze in the shared files holds the whole fabric.
    pub is_held: bool,
    /// The gates that the revision itself sets, also where it is held; all that there are where its
    /// `fabric.yaml` can't be understood: it may have set any.
    pub gates: BTreeSet<Gate>,
}

/// Builds the model of one revision.
///
/// A scope with a Freeze stands at its last good tree; without one it is left out. Every error of
/// the revision is reported, also of what is frozen.
///
/// What is found is kept in the tree. Of a tree that was checked already, or whose last good one
/// was, only those units are checked that may come out otherwise; what is reported is the same.
#[must_use]
pub fn build(head: &Tree, last_good: &LastGood, now: Timestamp) -> Build {
    let files = Files::of(head);
    let known = Known::find(head, last_good, &files, now);
    build_by(known.as_ref(), head, files, last_good, now)
}

fn build_by(
    known: Option<&Known<'_>>,
    head: &Tree,
    files: Files,
    last_good: &LastGood,
    now: Timestamp,
) -> Build {
    let anew = || build_by(None, head, Files::of(head), last_good, now);
    let (shared, units) = files.finish(head, known);
    let mut diagnostics = head.diagnostics().to_vec();
    diagnostics.extend(shared.diagnostics.iter().cloned());
    diagnostics.extend(
        units
            .iter()
            .flat_map(|unit| unit.diagnostics.iter().cloned()),
    );

    let frozen: BTreeSet<Arc<str>> = units
        .iter()
        .filter(|unit| unit.is_frozen)
        .map(|unit| Arc::clone(&unit.directory))
        .collect();
    let is_held = shared.is_frozen;
    let is_whole = frozen.is_empty() && !is_held;
    if known.is_some() && !is_whole {
        return anew();
    }

    // What is checked: this revision, with the units that it freezes at their last good state.
    let mut unknown = BTreeSet::new();
    let mut in_force = BTreeMap::new();
    for unit in units {
        let Ok(name) = unit.directory.parse::<PeerName>() else {
            continue;
        };
        if !unit.is_frozen {
            in_force.insert(name, unit);
            continue;
        }
        if let Some(good) = last_good
            .units
            .get(&name)
            .and_then(|tree| scope::read_good_unit(tree, &name))
        {
            in_force.insert(name.clone(), good);
        }
        unknown.insert(name);
    }
    let Some(linked) = link::link(head, &shared, in_force, unknown, (known, now)) else {
        return anew();
    };
    if let Some(checked) = linked.checked.filter(|_| is_whole) {
        head.set_checked(Arc::new(checked));
    }
    let (fabric, mut findings) = (linked.fabric, linked.diagnostics);
    // What an older state of a frozen unit is told was told when it was new, unless it comes of
    // something that may be new.
    findings.retain(|finding| {
        let is_old = |label: &Label| match tree::locate(&label.path).0 {
            Scope::Unit(directory) => frozen.contains(&directory),
            Scope::Shared | Scope::Elsewhere => false,
        };
        !finding.labels.iter().all(is_old)
    });
    diagnostics.append(&mut findings);
    diagnostics.sort_by(|a, b| a.sort_key().cmp(&b.sort_key()));
    diagnostics.dedup();

    let is_unclear = |d: &Diagnostic| d.effect == Effect::Freeze && d.path() == "fabric.yaml";
    let gates = match diagnostics.iter().any(is_unclear) {
        true => Gate::ALL.into(),
        false => fabric.spec.gates.iter().copied().collect(),
    };
    let fabric = if is_held {
        held(last_good, now)
    } else {
        Some(fabric)
    };
    let good = Good {
        shared: match (is_held, &last_good.shared) {
            (false, _) => Some(head.revision().clone()),
            (true, held) => held.as_ref().map(|tree| tree.revision().clone()),
        },
        units: fabric
            .iter()
            .flat_map(|fabric| &fabric.units)
            .map(|(name, unit)| (name.clone(), unit.revision.clone()))
            .collect(),
    };
    Build {
        fabric,
        diagnostics,
        good,
        frozen,
        is_held,
        gates,
    }
}

/// The fabric at its last good state, all of it: its snapshot is of the revision that was good.
fn held(last_good: &LastGood, now: Timestamp) -> Option<Fabric> {
    let tree = last_good.shared.as_ref()?;
    let (shared, units) = Files::of(tree).finish(tree, None);
    if shared.is_frozen {
        return None;
    }
    // What was unknown when the fabric was good is no less so now.
    let unknown = units
        .iter()
        .filter(|unit| unit.is_frozen)
        .filter_map(|unit| unit.directory.parse().ok())
        .collect();
    let units = last_good
        .units
        .iter()
        .filter_map(|(name, tree)| Some((name.clone(), scope::read_good_unit(tree, name)?)))
        .collect();
    link::link(tree, &shared, units, unknown, (None, now)).map(|linked| linked.fabric)
}

// === impl Build ===

impl Build {
    /// Whether anything of at least this effect is reported.
    #[must_use]
    pub fn has(&self, effect: Effect) -> bool {
        self.diagnostics
            .iter()
            .any(|diagnostic| diagnostic.effect >= effect)
    }
}

// === impl Fabric ===

impl Fabric {
    fn new(revision: Revision, shared: &Shared, now: Timestamp) -> Self {
        let (name, spec) = match shared.fabric.as_ref().map(Item::object) {
            Some(Object::Fabric(fabric)) => (fabric.metadata.name.clone(), fabric.spec.clone()),
            _ => (String::new(), FabricSpec::default()),
        };
        let revoked = shared
            .revocations
            .as_ref()
            .and_then(|item| match item.object() {
                Object::Revocations(revocations) => Some(&revocations.spec.certificates),
                _ => None,
            });
        Self {
            name,
            revision,
            now,
            spec,
            authorities: Vec::new(),
            revoked: revoked
                .into_iter()
                .flatten()
                .map(|entry| entry.fingerprint)
                .collect(),
            policies: shared.policies.clone(),
            invariants: shared.invariants.clone(),
            units: BTreeMap::new(),
            unknown: BTreeSet::new(),
        }
    }

    /// The policies that count in one peer: the shared ones that select it, and its own; also those
    /// that have ended.
    pub fn policies_of<'a>(&'a self, unit: &'a Unit) -> impl Iterator<Item = &'a Item> {
        self.policies
            .iter()
            .filter(|policy| policy.selects(&unit.attributes.labels))
            .map(|policy| &policy.item)
            .chain(&unit.policies)
    }

    /// The policies that count in one peer at the moment, ready to decide.
    #[must_use]
    pub fn compile_policies(&self, unit: &Unit) -> Policies {
        let mut policies = Policies::default();
        for item in self.policies_of(unit) {
            item.add_policy(&mut policies, self.now);
        }
        policies
    }

    /// The moments at which policies end, whether they are over or not.
    pub fn ends(&self) -> impl Iterator<Item = Timestamp> {
        let shared = self.policies.iter().map(|policy| &policy.item);
        let own = self
            .units
            .values()
            .flat_map(|unit| unit.ends.iter().copied());
        shared.filter_map(Item::expires).chain(own)
    }

    /// The labels of an export, where the fabric knows it.
    #[must_use]
    pub fn export_labels(&self, peer: &PeerName, export: &ObjectName) -> Option<&Labels> {
        let item = self.units.get(peer)?.exports.get(export)?;
        Some(&item.object().metadata().labels)
    }
}

// === impl SharedPolicy ===

impl SharedPolicy {
    /// Whether the policy is for a peer with these labels.
    #[must_use]
    pub fn selects(&self, labels: &Labels) -> bool {
        self.peers
            .as_ref()
            .is_none_or(|peers| peers.matches(labels))
    }
}

// === impl LinkedImport ===

impl LinkedImport {
    /// The Import as it is in force: without the sources that lead nowhere.
    #[must_use]
    pub fn in_force(&self) -> Option<api::Import> {
        let Object::Import(import) = self.item.object() else {
            return None;
        };
        let mut import = import.clone();
        let mut index = 0;
        import.spec.sources.retain(|_| {
            index += 1;
            !self.dropped.contains(&(index - 1))
        });
        Some(import)
    }
}

// === impl Item ===

impl Item {
    /// Adds the policy that the item is, if it is one and hasn't ended.
    fn add_policy(&self, policies: &mut Policies, now: Timestamp) {
        if let Some((rule, spec)) = self.policy()
            && !Clock::at(now).is_over(rule.expires, spec.action)
        {
            policies.add_rule(rule, spec);
        }
    }

    /// The policy that the item is, if it is one, also where it has ended.
    pub(crate) fn policy(&self) -> Option<(Rule, &AccessPolicySpec)> {
        let (metadata, spec) = match self.object() {
            Object::AccessPolicy(policy) => (&policy.metadata, &policy.spec),
            Object::PrivilegedAccessPolicy(policy) => (&policy.metadata, &policy.spec),
            _ => return None,
        };
        let (key, origin) = (self.key().clone(), self.origin());
        Some((Rule::new(key, origin, metadata.expiry(), spec.action), spec))
    }

    /// When the policy that the item is ends; none where it doesn't, or is none.
    #[must_use]
    pub fn expires(&self) -> Option<Timestamp> {
        match self.object().metadata().expiry() {
            Expiry::At(time) => Some(time),
            Expiry::Never | Expiry::NotUnderstood => None,
        }
    }

    /// The object with its key and the places of its parts.
    #[must_use]
    #[expect(
        clippy::indexing_slicing,
        reason = "an item is made from the resource at its index"
    )]
    pub fn resource(&self) -> &Resource {
        &self.blob.resources().resources[self.index]
    }

    /// Which object it is.
    #[must_use]
    pub fn key(&self) -> &ObjectKey {
        self.blob.key(self.index)
    }

    /// The object.
    #[must_use]
    pub fn object(&self) -> &Object {
        &self.resource().object
    }

    /// The file that the object stands in.
    #[must_use]
    pub const fn path(&self) -> &Arc<str> {
        &self.path
    }

    /// Whether both are the same object with the same content, wherever they stand.
    #[must_use]
    pub fn says_the_same(&self, other: &Self) -> bool {
        let is_shared = Arc::ptr_eq(&self.blob, &other.blob) && self.index == other.index;
        is_shared || (self.key() == other.key() && self.object() == other.object())
    }

    /// Where the object stands.
    #[must_use]
    pub fn origin(&self) -> Origin {
        Origin {
            revision: self.revision.clone(),
            path: Arc::clone(&self.path),
            line: self.resource().line(),
        }
    }

    /// The namespace and name of a namespaced object.
    #[must_use]
    pub fn name(&self) -> Option<ObjectName> {
        let key = self.key();
        ObjectName::sharing(key.namespace.as_ref()?, &key.name).ok()
    }
}
