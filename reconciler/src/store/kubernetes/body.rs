//! What is sent to a server, as JSON.

use std::collections::BTreeSet;

use fabric::api::{Annotation, Object};
use fabric::mark;
use fabric::plan::action::Wanted;
use serde_json::{Map, Value, json};

/// The object as it is applied: what the repository says, and our marks.
///
/// With a resource version, the object must be in that state.
pub(super) fn applied(
    wanted: &Wanted,
    label: &str,
    namespace: Option<&str>,
    resource_version: Option<&str>,
) -> Value {
    let planned = &wanted.planned;
    let mut body = serde_json::to_value(&planned.object).unwrap_or_default();
    let metadata = &mut body["metadata"];
    // A Peer's namespace in a file says nothing.
    *metadata = json!({
        "name": &*planned.key.name,
        "labels": metadata["labels"],
        "annotations": metadata["annotations"],
    });
    if let Some(namespace) = namespace {
        metadata["namespace"] = json!(namespace);
    }
    if let Some(version) = resource_version {
        metadata["resourceVersion"] = json!(version);
    }
    for field in ["labels", "annotations"] {
        if metadata[field].is_null() {
            metadata[field] = json!({});
        }
    }
    metadata["labels"][mark::SYNC] = json!(label);
    let annotations = &mut metadata["annotations"];
    annotations[mark::CONTENT] = json!(wanted.content.to_string());
    annotations[mark::COMMIT] = json!(planned.origin.revision.as_str());
    annotations[mark::SOURCE] = json!(mark::source(&planned.origin));
    body
}

/// What must be merged into a live object so that it decides what is wanted and nothing else:
/// server-side apply leaves what others added. None where nothing differs.
pub(super) fn surplus(wanted: &Object, live: &Object) -> Option<Value> {
    let patch = merge_patch(&effect(live), &effect(wanted))?;
    Some(patch)
}

/// Whether a merge patch only takes fields away.
pub(super) fn only_removes(patch: &Value) -> bool {
    match patch {
        Value::Null => true,
        Value::Object(fields) => fields.values().all(only_removes),
        _ => false,
    }
}

/// The fields in which a live object differs from what is wanted, as JSON pointers in order.
pub(super) fn differences(wanted: &Object, live: &Object) -> BTreeSet<String> {
    let mut pointers = BTreeSet::new();
    collect("", &effect(wanted), &effect(live), &mut pointers);
    pointers
}

/// Labels, spec and some annotations: what decides.
fn effect(object: &Object) -> Value {
    let mut value = serde_json::to_value(object).unwrap_or_default();
    let labels: Map<String, Value> = object
        .metadata()
        .labels
        .iter()
        .filter(|(key, _)| !key.starts_with(mark::PREFIX))
        .map(|(key, value)| (key.clone(), json!(value)))
        .collect();
    let annotations = object.metadata().annotations.iter();
    let deciding: Map<String, Value> = annotations
        .filter(|(key, _)| Annotation::is_effect_key(key))
        .map(|(key, value)| (key.clone(), json!(value)))
        .collect();
    json!({
        "metadata": {"labels": labels, "annotations": deciding},
        "spec": value["spec"].take(),
    })
}

/// The JSON merge patch (RFC 7396) from one value to another; none where they are the same.
fn merge_patch(from: &Value, to: &Value) -> Option<Value> {
    if from == to {
        return None;
    }
    let (Value::Object(old), Value::Object(new)) = (from, to) else {
        return Some(to.clone());
    };
    let mut patch = Map::new();
    for (key, value) in new {
        let change = match old.get(key) {
            Some(before) => merge_patch(before, value),
            None => Some(value.clone()),
        };
        if let Some(change) = change {
            patch.insert(key.clone(), change);
        }
    }
    for key in old.keys().filter(|key| !new.contains_key(*key)) {
        patch.insert(key.clone(), Value::Null);
    }
    Some(Value::Object(patch))
}

fn collect(pointer: &str, one: &Value, other: &Value, pointers: &mut BTreeSet<String>) {
    if one == other {
        return;
    }
    let (Value::Object(one), Value::Object(other)) = (one, other) else {
        pointers.insert(pointer.to_owned());
        return;
    };
    let keys: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    for key in keys {
        // RFC 6901.
        let escaped = key.replace('~', "~0").replace('/', "~1");
        let field = |map: &Map<String, Value>| map.get(key).cloned().unwrap_or_default();
        let pointer = format!("{pointer}/{escaped}");
        collect(&pointer, &field(one), &field(other), pointers);
    }
}

/// Who wrote one of these fields last, as `metadata.managedFields` tell; ourselves aside.
pub(super) fn writer(managed: &Value, pointers: &BTreeSet<String>) -> Option<String> {
    let entries = managed.as_array()?.iter();
    let others = entries.filter(|entry| entry["manager"] != mark::APPLIER);
    let spec = others.filter(|entry| entry["subresource"].is_null());
    let newest = spec.max_by_key(|entry| {
        let owns = pointers.iter().any(|pointer| owns(entry, pointer));
        // RFC 3339 in UTC, as servers write it, sorts by time. What was taken away has no owner.
        let time = entry["time"].as_str().unwrap_or_default().to_owned();
        (owns, time)
    })?;
    newest["manager"].as_str().map(str::to_owned)
}

fn owns(entry: &Value, pointer: &str) -> bool {
    let mut fields = &entry["fieldsV1"];
    for (depth, token) in pointer.split('/').skip(1).enumerate() {
        let key = format!("f:{}", token.replace("~1", "/").replace("~0", "~"));
        match fields.get(&key) {
            Some(inner) => fields = inner,
            // Whoever owns a whole list or map owns what is in it.
            None => return depth > 1 && fields.as_object().is_some_and(Map::is_empty),
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use fabric::name::{Kind, ObjectKey};
    use fabric::origin::{Origin, Revision};
    use fabric::plan::PlannedObject;

    use super::*;

    fn export(labels: &Value, spec: &Value) -> Object {
        let value = json!({
            "kind": "Export",
            "metadata": {"name": "a", "namespace": "shop", "labels": labels},
            "spec": spec,
        });
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn an_applied_object_carries_our_marks_and_no_namespace_of_a_file() {
        let peer = json!({
            "kind": "Peer",
            "metadata": {"name": "west", "namespace": "nonsense", "annotations": {"a": "b"}},
            "spec": {"gateways": [{"host": "west.example", "port": 4443}]},
        });
        let wanted = Wanted::new(PlannedObject {
            key: ObjectKey {
                kind: Kind::Peer,
                namespace: None,
                name: "west".into(),
            },
            origin: Origin {
                revision: Revision::commit("c0ffee"),
                path: "peers/west/peer.yaml".into(),
                line: 1,
            },
            object: serde_json::from_value(peer).unwrap(),
        });
        let body = applied(&wanted, "system.weft", Some("system"), Some("7"));
        assert_eq!(
            body,
            json!({
                "apiVersion": "clusterlink.net/v1alpha1",
                "kind": "Peer",
                "metadata": {
                    "name": "west",
                    "namespace": "system",
                    "resourceVersion": "7",
                    "labels": {"weft.dev/sync": "system.weft"},
                    "annotations": {
                        "a": "b",
                        "weft.dev/content-sha256": wanted.content.to_string(),
                        "weft.dev/commit": "c0ffee",
                        "weft.dev/source": "peers/west/peer.yaml:1",
                    },
                },
                "spec": {"gateways": [{"host": "west.example", "port": 4443}]},
            })
        );
    }

    #[test]
    fn what_others_added_is_taken_away() {
        let wanted = export(&json!({"tier": "gold"}), &json!({"port": 80}));
        let live = export(
            &json!({"tier": "gold", "x/y": "evil"}),
            &json!({"port": 80, "host": "evil.example"}),
        );
        let patch = surplus(&wanted, &live).unwrap();
        assert_eq!(
            patch,
            json!({"metadata": {"labels": {"x/y": null}}, "spec": {"host": null}})
        );
        assert!(only_removes(&patch));
        assert_eq!(surplus(&wanted, &wanted), None);

        let other = export(&json!({"tier": "gold"}), &json!({"port": 81}));
        let patch = surplus(&wanted, &other).unwrap();
        assert_eq!(patch, json!({"spec": {"port": 80}}));
        assert!(!only_removes(&patch));
        assert_eq!(
            differences(&wanted, &live).into_iter().collect::<Vec<_>>(),
            ["/metadata/labels/x~1y", "/spec/host"]
        );
    }

    #[test]
    fn the_writer_of_a_field_is_found_and_else_the_newest_one() {
        let managed = json!([
            {"manager": "weft-reconciler", "time": "2026-01-04T00:00:00Z",
             "fieldsV1": {"f:spec": {"f:port": {}}}},
            {"manager": "kubectl-edit", "time": "2026-01-01T00:00:00Z",
             "fieldsV1": {"f:spec": {"f:port": {}, "f:sources": {}}}},
            {"manager": "helm", "time": "2026-01-02T00:00:00Z",
             "fieldsV1": {"f:metadata": {"f:labels": {"f:x/y": {}}}}},
            {"manager": "weft-status", "subresource": "status", "time": "2026-01-03T00:00:00Z"},
        ]);
        let who = |pointer: &str| writer(&managed, &[pointer.to_owned()].into());
        assert_eq!(who("/spec/port").as_deref(), Some("kubectl-edit"));
        assert_eq!(who("/spec/sources/0/peer").as_deref(), Some("kubectl-edit"));
        assert_eq!(who("/metadata/labels/x~1y").as_deref(), Some("helm"));
        assert_eq!(who("/spec/host").as_deref(), Some("helm"));
        assert_eq!(writer(&json!(null), &BTreeSet::new()), None);
    }
}
