//! What stands against changes, and changes itself: gates and invariants.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use crate::fabric::{Fabric, Item};
use crate::origin::Origin;

/// A gate or an invariant that comes, goes or changes.
///
/// Neither is in force in a peer, so no peer changes by it, and yet a reviewer has to see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SafeguardChange {
    /// Which of the two it is.
    pub safeguard: Safeguard,
    /// The gate, or the invariant's name.
    pub name: String,
    /// What happens to it.
    pub change: SafeguardChangeKind,
    /// Where the invariant stands in the newer state; none where it goes, and for a gate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
}

/// What stands against changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Safeguard {
    /// A gate of `fabric.yaml`.
    Gate,
    /// An invariant.
    Invariant,
}

/// What happens to a gate or an invariant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum SafeguardChangeKind {
    /// It comes.
    Added,
    /// It says something else.
    Changed,
    /// It goes.
    Removed,
}

/// The gates, then the invariants that come, go or change; none where no fabric was before.
pub(super) fn changes(before: Option<&Fabric>, after: Option<&Fabric>) -> Vec<SafeguardChange> {
    let (Some(before), Some(after)) = (before, after) else {
        return Vec::new();
    };
    let gates = |fabric: &Fabric| -> BTreeMap<_, Option<Item>> {
        let gates = fabric.spec.gates.iter();
        gates.map(|gate| (gate.as_str().to_owned(), None)).collect()
    };
    let invariants = |fabric: &Fabric| -> BTreeMap<_, Option<Item>> {
        let items = fabric.invariants.iter();
        items
            .map(|item| (item.key().name.to_string(), Some(item.clone())))
            .collect()
    };
    let mut changes = of_kind(Safeguard::Gate, &gates(before), &gates(after));
    changes.extend(of_kind(
        Safeguard::Invariant,
        &invariants(before),
        &invariants(after),
    ));
    changes
}

fn of_kind(
    safeguard: Safeguard,
    before: &BTreeMap<String, Option<Item>>,
    after: &BTreeMap<String, Option<Item>>,
) -> Vec<SafeguardChange> {
    let removed = before
        .keys()
        .filter(|name| !after.contains_key(*name))
        .map(|name| (name, SafeguardChangeKind::Removed, None));
    let others = after.iter().filter_map(|(name, item)| {
        let change = match (before.get(name), item) {
            (None, _) => SafeguardChangeKind::Added,
            (Some(Some(old)), Some(new)) if !old.says_the_same(new) => SafeguardChangeKind::Changed,
            _ => return None,
        };
        Some((name, change, item.as_ref().map(Item::origin)))
    });
    removed
        .chain(others)
        .map(|(name, change, origin)| SafeguardChange {
            safeguard,
            name: name.clone(),
            change,
            origin,
        })
        .collect()
}

// === impl Safeguard ===

impl Safeguard {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gate => "gate",
            Self::Invariant => "invariant",
        }
    }
}
