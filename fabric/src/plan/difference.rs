use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use super::{Plan, PlannedObject, State};
use crate::name::{ObjectKey, PeerName};
use crate::origin::Origin;

/// What changes in one peer from one plan to another.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Difference {
    /// The peer.
    pub peer: PeerName,
    /// Objects that come, in the order of their keys.
    pub added: Vec<PlannedObject>,
    /// Objects that go.
    pub removed: Vec<PlannedObject>,
    /// Objects whose content changes.
    pub changed: Vec<Change>,
    /// What changes beside the objects: trust, labels, limits, guard rails.
    pub state: Vec<FieldChange>,
}

/// An object whose content changes.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Change {
    /// Which object it is.
    pub key: ObjectKey,
    /// Where it stood before.
    pub before: Origin,
    /// Where it stands now.
    pub after: Origin,
    /// The fields that differ, in the order of their pointers.
    pub fields: Vec<FieldChange>,
}

/// A field that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct FieldChange {
    /// The field, as a JSON pointer.
    pub pointer: String,
    /// What it held; none where it wasn't there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// What it holds; none where it isn't there any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
}

/// What changes from one plan of a peer to another; none stands for nothing in force.
///
/// An object that only moved to another file or line doesn't change.
#[must_use]
pub fn diff(peer: &PeerName, before: Option<&Plan>, after: Option<&Plan>) -> Difference {
    fn by_key(plan: Option<&Plan>) -> BTreeMap<&ObjectKey, &PlannedObject> {
        let objects = plan.into_iter().flat_map(|plan| &plan.objects);
        objects.map(|object| (&object.key, object)).collect()
    }
    let mut old = by_key(before);
    let mut difference = Difference {
        peer: peer.clone(),
        added: Vec::new(),
        removed: Vec::new(),
        changed: Vec::new(),
        state: Vec::new(),
    };
    for (key, new) in by_key(after) {
        match old.remove(key) {
            None => difference.added.push(new.clone()),
            Some(old) if old.object == new.object => {}
            Some(old) => {
                let fields = field_changes(&value(old), &value(new));
                let change = Change {
                    key: key.clone(),
                    before: old.origin.clone(),
                    after: new.origin.clone(),
                    fields,
                };
                difference.changed.push(change);
            }
        }
    }
    difference.removed = old.into_values().cloned().collect();
    // What is the same needn't be written down to be compared.
    if before.map(|plan| &plan.state) == after.map(|plan| &plan.state) {
        return difference;
    }
    let state = |plan: Option<&Plan>| plan.map_or_else(|| json!({}), |plan| summary(&plan.state));
    difference.state = field_changes(&state(before), &state(after));
    difference
}

// === impl Difference ===

impl Difference {
    /// Whether nothing changes.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.added.is_empty()
            && self.removed.is_empty()
            && self.changed.is_empty()
            && self.state.is_empty()
    }
}

pub(super) fn value(planned: &PlannedObject) -> Value {
    serde_json::to_value(&planned.object).unwrap_or_default()
}

/// The state as people compare it: certificates by their fingerprints.
pub(super) fn summary(state: &State) -> Value {
    let mut value = serde_json::to_value(state).unwrap_or_default();
    if let Value::Object(fields) = &mut value {
        let prints: Vec<_> = state
            .authorities
            .iter()
            .map(|ca| ca.fingerprint().to_string())
            .collect();
        fields.insert("authorities".to_owned(), json!(prints));
    }
    value
}

pub(super) fn field_changes(before: &Value, after: &Value) -> Vec<FieldChange> {
    let mut changes = Vec::new();
    collect("", Some(before), Some(after), &mut changes);
    changes
}

fn collect(
    pointer: &str,
    before: Option<&Value>,
    after: Option<&Value>,
    changes: &mut Vec<FieldChange>,
) {
    if before == after {
        return;
    }
    // Of lists of the same length the items that differ; of others it can't be told which went.
    if let (Some(Value::Array(old)), Some(Value::Array(new))) = (before, after)
        && old.len() == new.len()
    {
        for (index, (old, new)) in old.iter().zip(new).enumerate() {
            collect(&format!("{pointer}/{index}"), Some(old), Some(new), changes);
        }
        return;
    }
    let (old, new): (BTreeMap<String, &Value>, BTreeMap<String, &Value>) = match (before, after) {
        (Some(Value::Object(old)), Some(Value::Object(new))) => (
            old.iter()
                .map(|(key, value)| (escape(key), value))
                .collect(),
            new.iter()
                .map(|(key, value)| (escape(key), value))
                .collect(),
        ),
        _ => {
            let (before, after) = (before.cloned(), after.cloned());
            changes.push(FieldChange {
                pointer: pointer.to_owned(),
                before,
                after,
            });
            return;
        }
    };
    let mut keys: Vec<_> = old.keys().chain(new.keys()).collect();
    keys.sort();
    keys.dedup();
    for key in keys {
        let pointer = format!("{pointer}/{key}");
        collect(
            &pointer,
            old.get(key).copied(),
            new.get(key).copied(),
            changes,
        );
    }
}

/// RFC 6901: `~` and `/` inside a key are written `~0` and `~1`.
fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}
