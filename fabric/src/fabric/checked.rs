//! What a check has found in a tree, so that the next check needn't look again at what is the same.
//!
//! What is told of a unit comes of its own files, of the shared ones, of the names and labels of all
//! peers, of what its sources offer and allow, and of time. A unit of which all that is the same is
//! told the same, so that it isn't even decoded; whatever can't be known to be the same is checked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::LastGood;
use super::scope::{Files, UnitScope, read_unit};
use crate::api::Object;
use crate::diagnostic::{Code, Diagnostic, Effect, Fix, Label, Span};
use crate::name::{Kind, PeerName};
use crate::tree::{Scope, Tree, locate};

/// What a check has found in a tree of which nothing was frozen.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Checked {
    /// When.
    pub(super) now: Timestamp,
    /// The units of which everything is in force.
    pub(super) units: BTreeMap<PeerName, CheckedUnit>,
    /// What is told of the shared policies.
    pub(super) shared: Vec<KeptDiagnostic>,
    /// What was taken of each of the efforts.
    pub(super) efforts: Vec<usize>,
}

/// What a check has found in a unit.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct CheckedUnit {
    /// Until when time says the same.
    pub(super) until: Timestamp,
    /// What is told of the unit by itself.
    pub(super) by_itself: Arc<[KeptDiagnostic]>,
    /// What is told of it among the others.
    pub(super) linked: Arc<[KeptDiagnostic]>,
    /// The peers that its imports lead to.
    pub(super) sources: Arc<BTreeSet<PeerName>>,
    /// The moments at which its policies end.
    pub(super) ends: Arc<BTreeSet<Timestamp>>,
}

/// A diagnostic as it is kept: whole.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct KeptDiagnostic {
    code: Code,
    effect: Effect,
    message: String,
    labels: Vec<(Arc<str>, Span, String)>,
    help: Option<String>,
    fix: Option<Fix>,
    shows_source: bool,
}

/// What is known of a tree before it is checked.
#[derive(Debug)]
pub(super) struct Known<'a> {
    pub(super) checked: &'a Checked,
    /// The units that may come out otherwise.
    affected: BTreeSet<PeerName>,
    /// Whether the services may be others, of which policies are asked.
    pub(super) services_change: bool,
}

/// What changes from a tree to another in which the shared files and the peers' names and labels are
/// the same.
#[derive(Debug, Default)]
struct Changes {
    /// Units of which any file changes.
    units: BTreeSet<PeerName>,
    /// Those of them that offer something else, or to somebody else.
    offers: BTreeSet<PeerName>,
    services_change: bool,
}

// === impl Checked ===

impl Checked {
    /// What [`to_kept`](Self::to_kept) has written; none where that can't be understood.
    pub(crate) fn from_kept(kept: &[u8]) -> Option<Self> {
        serde_json::from_slice(kept).ok()
    }

    /// Writes it down.
    pub(crate) fn to_kept(&self) -> Option<Vec<u8>> {
        serde_json::to_vec(self).ok()
    }
}

// === impl CheckedUnit ===

impl CheckedUnit {
    /// What is told of the unit by itself.
    pub(super) fn by_itself(&self) -> Vec<Diagnostic> {
        told(&self.by_itself)
    }

    /// What is told of it among the others.
    pub(super) fn linked(&self) -> Vec<Diagnostic> {
        told(&self.linked)
    }
}

/// The diagnostics that were kept.
pub(super) fn told(kept: &[KeptDiagnostic]) -> Vec<Diagnostic> {
    kept.iter().map(Diagnostic::from).collect()
}

// === impl KeptDiagnostic ===

impl From<&Diagnostic> for KeptDiagnostic {
    fn from(diagnostic: &Diagnostic) -> Self {
        let Diagnostic {
            code,
            effect,
            message,
            labels,
            help,
            fix,
            shows_source,
        } = diagnostic.clone();
        let label = |Label { path, span, text }| (path, span, text);
        Self {
            code,
            effect,
            message,
            labels: labels.into_iter().map(label).collect(),
            help,
            fix,
            shows_source,
        }
    }
}

impl From<&KeptDiagnostic> for Diagnostic {
    fn from(kept: &KeptDiagnostic) -> Self {
        let KeptDiagnostic {
            code,
            effect,
            message,
            labels,
            help,
            fix,
            shows_source,
        } = kept.clone();
        let label = |(path, span, text)| Label { path, span, text };
        Self {
            code,
            effect,
            message,
            labels: labels.into_iter().map(label).collect(),
            help,
            fix,
            shows_source,
        }
    }
}

// === impl Known ===

impl<'a> Known<'a> {
    /// What is known of a tree, by an earlier check of it or else of the last good one.
    pub(super) fn find(
        head: &'a Tree,
        last_good: &'a LastGood,
        files: &Files,
        now: Timestamp,
    ) -> Option<Self> {
        if !head.frozen().is_empty() {
            return None;
        }
        let (checked, changes) = match head.checked() {
            Some(checked) => (checked, Changes::default()),
            None => {
                let older = last_good.shared.as_ref()?;
                let checked = older.checked()?;
                (checked, Changes::between(older, head, files)?)
            }
        };
        let is_old = |name: &PeerName| !checked.units.contains_key(name);
        // Then what was found is of another time, or the changed units had errors.
        if now < checked.now || changes.units.iter().any(is_old) {
            return None;
        }
        // What has ended since then counted then, and doesn't now.
        let has_ended = |end: Timestamp| checked.now < end && end <= now;
        let mut shared = files.shared.policies.iter();
        if shared.any(|policy| policy.item.expires().is_some_and(has_ended)) {
            return None;
        }
        let names = files.units.iter();
        let names: Vec<(PeerName, &UnitScope)> = names
            .filter_map(|(directory, unit)| Some((directory.parse().ok()?, unit)))
            .collect();
        let mut offers = changes.offers;
        offers.extend(names.iter().filter_map(|(name, unit)| {
            let is_other = match checked.units.get(name) {
                Some(unit) => unit.ends.iter().copied().any(has_ended),
                None => unit.ends().any(has_ended),
            };
            is_other.then(|| name.clone())
        }));
        let is_affected = |name: &PeerName| {
            checked.units.get(name).is_none_or(|unit| {
                unit.until <= now
                    || changes.units.contains(name)
                    || offers.contains(name)
                    || !unit.sources.is_disjoint(&offers)
            })
        };
        let names = names.into_iter().map(|(name, _)| name);
        Some(Self {
            checked,
            affected: names.filter(is_affected).collect(),
            services_change: changes.services_change,
        })
    }

    /// What is found of the unit in a directory; none where that isn't known.
    pub(super) fn unit(&self, directory: &str) -> Option<&'a CheckedUnit> {
        match self.affected.contains(directory) {
            true => None,
            false => self.checked.units.get(directory),
        }
    }
}

// === impl Changes ===

impl Changes {
    /// The changes from one tree to another; none where they aren't of units alone, or concern
    /// everybody.
    fn between(before: &Tree, after: &Tree, files: &Files) -> Option<Self> {
        let mut changes = Self::default();
        for path in differing(before, after) {
            match locate(path).0 {
                Scope::Unit(directory) => changes.units.insert(directory.parse().ok()?),
                Scope::Shared | Scope::Elsewhere => return None,
            };
        }
        for name in &changes.units {
            let (before, after) = (read_unit(before, name)?, files.units.get(name.as_str())?);
            if labels(&before)? != labels(after)? {
                return None;
            }
            let is_same_service = says_the_same(&before, after, Kind::Export, |before, after| {
                before.metadata().labels == after.metadata().labels
            });
            let is_same_policy = |kind| says_the_same(&before, after, kind, |a, b| a == b);
            if !is_same_service
                || !is_same_policy(Kind::AccessPolicy)
                || !is_same_policy(Kind::PrivilegedAccessPolicy)
            {
                changes.offers.insert(name.clone());
            }
            let is_same_import = |before: &Object, after: &Object| match (before, after) {
                (Object::Import(before), Object::Import(after)) => {
                    before.spec.sources == after.spec.sources
                }
                _ => false,
            };
            changes.services_change |=
                !is_same_service || !says_the_same(&before, after, Kind::Import, is_same_import);
        }
        Some(changes)
    }
}

/// The paths of one tree, or both, that aren't the same in both.
fn differing<'a>(before: &'a Tree, after: &'a Tree) -> Vec<&'a str> {
    let mut differing = Vec::new();
    let (mut old, mut new) = (before.files().peekable(), after.files().peekable());
    loop {
        match (old.peek(), new.peek()) {
            (Some((before, old_blob)), Some((after, new_blob))) if before == after => {
                if !old_blob.is_same(new_blob) {
                    differing.push(&***before);
                }
                old.next();
                new.next();
            }
            (Some((before, _)), after) if after.is_none_or(|(after, _)| before < after) => {
                differing.push(&***before);
                old.next();
            }
            (_, Some((after, _))) => {
                differing.push(&***after);
                new.next();
            }
            (_, None) => return differing,
        }
    }
}

fn labels(unit: &UnitScope) -> Option<&crate::attributes::Labels> {
    Some(&unit.peer.as_ref()?.object().metadata().labels)
}

/// Whether two states of a unit have objects of a kind with the same names, and these are alike.
fn says_the_same(
    before: &UnitScope,
    after: &UnitScope,
    kind: Kind,
    is_alike: impl Fn(&Object, &Object) -> bool,
) -> bool {
    let of_kind = |unit: &'_ UnitScope| {
        let items = unit.items.iter();
        items
            .filter(|item| item.key().kind == kind)
            .cloned()
            .collect::<Vec<_>>()
    };
    let (before, after) = (of_kind(before), of_kind(after));
    before.len() == after.len()
        && before.iter().zip(&after).all(|(before, after)| {
            before.says_the_same(after)
                || (before.key() == after.key() && is_alike(before.object(), after.object()))
        })
}
