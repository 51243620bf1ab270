//! Definitions out of types: structural, with defaults, bounds, rules, columns and short names.

mod format;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::CustomKind;
use crate::api;
use crate::schema::generate::{bound, join_constants, refuse_null};

/// The definition files, by name.
#[must_use]
pub fn generate() -> BTreeMap<String, String> {
    CustomKind::ALL
        .into_iter()
        .map(|kind| (kind.file_name(), print(&definition(kind))))
        .collect()
}

fn print(definition: &Value) -> String {
    // A value of JSON always has a form in YAML.
    let text = serde_yaml::to_string(definition).unwrap_or_default();
    format!("# Generated from fabric/src/api by `cargo run -p fabric --example schemas`.\n{text}")
}

/// A column of `kubectl get`.
struct Column(&'static str, &'static str, &'static str, u8);

fn definition(kind: CustomKind) -> Value {
    let (plural, group) = (kind.plural(), kind.group());
    let columns: Vec<Value> = columns(kind)
        .iter()
        .map(|Column(name, kind, path, priority)| {
            let mut column = json!({ "name": name, "type": kind, "jsonPath": path });
            if *priority > 0 {
                column["priority"] = (*priority).into();
            }
            column
        })
        .collect();
    let mut version = json!({
        "name": kind.version(),
        "served": true,
        "storage": true,
        "schema": { "openAPIV3Schema": schema(kind) },
        "additionalPrinterColumns": columns,
    });
    if kind.has_status_subresource() {
        version["subresources"] = json!({ "status": {} });
    }
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": format!("{plural}.{group}"),
            "labels": { "app.kubernetes.io/part-of": "weft" },
        },
        "spec": {
            "group": group,
            "scope": if kind.is_namespaced() { "Namespaced" } else { "Cluster" },
            "names": {
                "kind": kind.as_str(),
                "listKind": format!("{}List", kind.as_str()),
                "plural": plural,
                "singular": kind.as_str().to_ascii_lowercase(),
                "shortNames": [kind.short_name()],
                "categories": ["weft"],
            },
            "versions": [version],
        },
    })
}

fn columns(kind: CustomKind) -> Vec<Column> {
    let condition = |kind: &str, field: &str| -> &'static str {
        // One of a few texts, each made once for each generation.
        format!(".status.conditions[?(@.type=='{kind}')].{field}").leak()
    };
    let age = Column("Age", "date", ".metadata.creationTimestamp", 0);
    let mut columns = match kind {
        CustomKind::Export => vec![
            Column("Host", "string", ".spec.host", 0),
            Column("Port", "integer", ".spec.port", 0),
            Column("Valid", "string", condition("ExportValid", "status"), 0),
            Column("Message", "string", condition("ExportValid", "message"), 1),
        ],
        CustomKind::Import => vec![
            Column("Port", "integer", ".spec.port", 0),
            Column("Target port", "integer", ".status.targetPort", 0),
            Column(
                "Service",
                "string",
                condition("ImportServiceValid", "status"),
                0,
            ),
            Column("Balancing", "string", ".spec.lbScheme", 1),
            // A column shows the first value alone of those that its path finds.
            Column("First source", "string", ".spec.sources[0].peer", 1),
        ],
        CustomKind::Peer => vec![
            Column(
                "Reachable",
                "string",
                condition("PeerReachable", "status"),
                0,
            ),
            Column("Gateway", "string", ".spec.gateways[0].host", 0),
            Column("Last seen", "date", ".status.lastSeen", 0),
        ],
        CustomKind::AccessPolicy | CustomKind::PrivilegedAccessPolicy => vec![
            Column("Action", "string", ".spec.action", 0),
            Column("Accepted", "string", condition("Accepted", "status"), 0),
            Column("Message", "string", condition("Accepted", "message"), 1),
        ],
        CustomKind::Instance => vec![
            // Beside its own namespace, which `-A` shows.
            Column("System", "string", ".spec.namespace", 0),
            Column("Gateways", "integer", ".spec.dataplane.replicas", 0),
            Column(
                "Ready",
                "string",
                ".status.dataplane.conditions.DeploymentReady.status",
                0,
            ),
            Column("Ingress", "string", ".spec.ingress.type", 0),
            Column("Address", "string", ".status.ingress.ip", 1),
        ],
        CustomKind::FabricSync => vec![
            Column("Ready", "string", condition("Ready", "status"), 0),
            Column("Reason", "string", condition("Ready", "reason"), 0),
            Column("Peer", "string", ".spec.peer", 0),
            Column("Revision", "string", ".status.revision", 0),
            Column("Suspended", "boolean", ".spec.suspend", 1),
            Column("Message", "string", condition("Ready", "message"), 1),
        ],
        CustomKind::FabricState => vec![
            Column("Peer", "string", ".spec.peer", 0),
            Column("Revision", "string", ".spec.revision", 0),
        ],
        CustomKind::GatewayReport => vec![
            Column("Revision", "string", ".status.revision", 0),
            Column("Not ready", "string", ".status.notReady[0]", 0),
        ],
    };
    columns.push(age);
    columns
}

fn schema(kind: CustomKind) -> Value {
    let (spec, status) = match kind {
        CustomKind::AccessPolicy | CustomKind::PrivilegedAccessPolicy => {
            (of::<api::AccessPolicySpec>(), of::<api::PolicyStatus>())
        }
        CustomKind::Export => (of::<api::ExportSpec>(), of::<api::ExportStatus>()),
        CustomKind::Import => (of::<api::ImportSpec>(), of::<api::ImportStatus>()),
        CustomKind::Instance => (of::<api::InstanceSpec>(), of::<api::InstanceStatus>()),
        CustomKind::Peer => (of::<api::PeerSpec>(), of::<api::PeerStatus>()),
        CustomKind::FabricSync => (of::<api::FabricSyncSpec>(), of::<api::FabricSyncStatus>()),
        CustomKind::FabricState => (of::<api::FabricStateSpec>(), Value::Null),
        CustomKind::GatewayReport => (Value::Null, of::<api::GatewayReportStatus>()),
    };
    let mut schema = json!({
        "description": kind.description(),
        "type": "object",
        "properties": {
            "apiVersion": { "type": "string" },
            "kind": { "type": "string" },
            "metadata": { "type": "object" },
        },
    });
    if !spec.is_null() {
        schema["properties"]["spec"] = spec;
        if kind != CustomKind::Instance {
            schema["required"] = json!(["spec"]);
        }
    }
    if !status.is_null() {
        schema["properties"]["status"] = status;
        if kind == CustomKind::FabricSync {
            // Until its reconciler looks at it, it is in progress to whoever waits for it.
            schema["properties"]["status"]["default"] = json!({ "observedGeneration": -1 });
        }
    }
    let rules = rules(kind);
    if !rules.is_empty() {
        schema["x-kubernetes-validations"] = rules.into();
    }
    schema
}

/// The rules about an object as a whole.
fn rules(kind: CustomKind) -> Vec<Value> {
    let rule = |rule: &str, message: &str| json!({ "rule": rule, "message": message });
    match kind {
        CustomKind::Import => vec![
            rule(
                "size(self.metadata.name) <= 63",
                "import name cannot exceed 63 chars",
            ),
            rule(
                "!self.metadata.name.contains('.')",
                "import name cannot contain dots: it names a Service",
            ),
        ],
        CustomKind::Peer => vec![rule(
            "!self.metadata.name.matches('[^.]{64}')",
            "the parts of a peer name cannot exceed 63 chars",
        )],
        _ => Vec::new(),
    }
}

fn of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = settings
        .into_generator()
        .into_root_schema_for::<T>()
        .to_value();
    structural(&mut schema);
    schema
}

/// Makes a schema structural, and puts the lists' and selectors' meaning into it.
fn structural(schema: &mut Value) {
    let Value::Object(map) = schema else {
        // `true`: anything goes.
        *schema = json!({ "x-kubernetes-preserve-unknown-fields": true });
        return;
    };
    format::apply(map);
    map.retain(|key, _| {
        !matches!(key.as_str(), "title" | "$schema" | "patternErrorMessage")
            && !key.starts_with("x-weft-")
    });
    refuse_null(map);
    join_constants(map);
    map.shift_remove("enumDescriptions");
    bound(map);
    if map.contains_key("x-kubernetes-preserve-unknown-fields") {
        map.insert("type".to_owned(), "object".into());
    }
    if map.get("additionalProperties") == Some(&Value::Bool(false)) {
        map.shift_remove("additionalProperties");
    }
    if let Some(Value::Object(properties)) = map.get_mut("properties") {
        for (name, property) in properties.iter_mut() {
            structural(property);
            annotate(name, property);
        }
    }
    for key in ["items", "additionalProperties"] {
        if let Some(part) = map.get_mut(key) {
            structural(part);
        }
    }
    let named = |name: &str| has_property(map, name);
    if named("workloadSelector") {
        let rule = "has(self.workloadSelector) != \
            (has(self.workloadSets) && size(self.workloadSets) > 0)";
        let message = "exactly one of workloadSets or workloadSelector must be set";
        map.insert("x-kubernetes-validations".to_owned(), one(rule, message));
    } else if named("operator") && named("values") {
        let rule = "self.operator in ['In', 'NotIn'] ? \
            has(self.values) && size(self.values) > 0 : \
            !has(self.values) || size(self.values) == 0";
        let message = "values are for In and NotIn, and are needed there";
        map.insert("x-kubernetes-validations".to_owned(), one(rule, message));
    }
}

fn one(rule: &str, message: &str) -> Value {
    json!([{ "rule": rule, "message": message }])
}

fn has_property(schema: &Map<String, Value>, name: &str) -> bool {
    schema
        .get("properties")
        .is_some_and(|properties| properties.get(name).is_some())
}

/// What lists and maps mean to whoever merges two writers' states.
fn annotate(name: &str, property: &mut Value) {
    if name == "conditions" && property["type"] == "array" {
        property["x-kubernetes-list-type"] = "map".into();
        property["x-kubernetes-list-map-keys"] = json!(["type"]);
    } else if name == "workloadSelector" || (name == "objects" && property["type"] == "object") {
        // The digests of thousands of objects: as one value, or their names stood there twice.
        property["x-kubernetes-map-type"] = "atomic".into();
    } else if property["type"] == "array" {
        property["x-kubernetes-list-type"] = "atomic".into();
    }
}
