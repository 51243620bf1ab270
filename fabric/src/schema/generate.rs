//! Schemas out of types: strict, without `null`, with `apiVersion` and `kind`.

use std::collections::BTreeMap;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use crate::api;
use crate::name::Kind;

/// The metadata that only a server writes: accepted, so that objects can be brought in from a
/// cluster, and ignored.
pub const SERVER_METADATA: [&str; 10] = [
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
    "ownerReferences",
    "finalizers",
    "selfLink",
];

const DRAFT: &str = "https://json-schema.org/draft/2020-12/schema";

/// The schema files, by name: one per kind, and `weft.json` for editors, which selects by kind.
#[must_use]
pub fn generate() -> BTreeMap<String, String> {
    let mut files: BTreeMap<_, _> = Kind::ALL
        .into_iter()
        .map(|kind| (file_name(kind), print(&kind_schema(kind))))
        .collect();
    files.insert("weft.json".to_owned(), print(&editor_schema()));
    files
}

/// The name of a kind's file in `schemas/`.
pub(super) fn file_name(kind: Kind) -> String {
    format!("{}.json", kind.as_str().to_ascii_lowercase())
}

/// The schema of one kind, whole in itself.
fn kind_schema(kind: Kind) -> Value {
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    let object = object_schema(kind, &mut generator);
    let mut schema = json!({ "$schema": DRAFT });
    append(&mut schema, object);
    append(&mut schema, definitions(&mut generator));
    schema
}

/// The schema of any object, for an editor that looks at one file after the other.
fn editor_schema() -> Value {
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    let objects = Kind::ALL.map(|kind| (kind, object_schema(kind, &mut generator)));
    let mut definitions = definitions(&mut generator);
    let mut kinds = Vec::new();
    let mut choices = Vec::new();
    for (kind, object) in objects {
        kinds.push(kind.as_str());
        choices.push(json!({
            "if": { "properties": { "kind": { "const": kind.as_str() } }, "required": ["kind"] },
            "then": { "$ref": format!("#/$defs/{kind}") },
        }));
        definitions["$defs"][kind.as_str()] = object;
    }
    let mut schema = json!({
        "$schema": DRAFT,
        "title": "Weft",
        "description": "An object of a fabric repository.",
        "type": "object",
        "properties": {
            "apiVersion": { "type": "string", "description": "The API that the kind belongs to." },
            "kind": { "description": "What the object is.", "enum": kinds },
        },
        "required": ["apiVersion", "kind"],
        "allOf": choices,
    });
    append(&mut schema, definitions);
    schema
}

/// The schema of an object of a kind; what it refers to is left in the generator.
fn object_schema(kind: Kind, generator: &mut SchemaGenerator) -> Value {
    match kind {
        Kind::Fabric => typed::<api::Fabric>(kind, generator),
        Kind::Revocations => typed::<api::Revocations>(kind, generator),
        Kind::Workloads => typed::<api::Workloads>(kind, generator),
        Kind::Peer => typed::<api::Peer>(kind, generator),
        Kind::Export => typed::<api::Export>(kind, generator),
        Kind::Import => typed::<api::Import>(kind, generator),
        Kind::AccessPolicy => typed::<api::AccessPolicy>(kind, generator),
        Kind::PrivilegedAccessPolicy => typed::<api::PrivilegedAccessPolicy>(kind, generator),
        Kind::Instance => typed::<api::Instance>(kind, generator),
        Kind::Invariant => typed::<api::Invariant>(kind, generator),
    }
}

fn typed<T: JsonSchema>(kind: Kind, generator: &mut SchemaGenerator) -> Value {
    let mut object = T::json_schema(generator).to_value();
    let properties = object["properties"].take();
    object["properties"] = json!({
        "apiVersion": {
            "description": "The API that the kind belongs to.",
            "const": kind.api_version(),
        },
        "kind": { "description": "What the object is.", "const": kind.as_str() },
    });
    append(&mut object["properties"], properties);
    object["properties"]["status"] = json!({
        "description": "What a server says of the object; ignored in a repository.",
    });
    let required = object["required"].take();
    let all = ["apiVersion".into(), "kind".into()].into_iter();
    object["required"] = all.chain(items(required)).collect();
    tighten(&mut object);

    let mut schema = json!({ "title": kind.as_str() });
    append(&mut schema, object);
    schema
}

/// What the schemas that were generated so far refer to.
fn definitions(generator: &mut SchemaGenerator) -> Value {
    let mut definitions: BTreeMap<_, _> = generator.take_definitions(true).into_iter().collect();
    definitions.values_mut().for_each(tighten);
    if let Some(properties) = definitions
        .get_mut("Metadata")
        .and_then(|metadata| metadata["properties"].as_object_mut())
    {
        for field in SERVER_METADATA {
            let description = "Written by a server alone; ignored in a repository.";
            properties.insert(field.to_owned(), json!({ "description": description }));
        }
    }
    json!({ "$defs": definitions })
}

/// Makes a schema as strict as the files are read: no unknown fields, no `null`, all bounds.
fn tighten(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            refuse_null(map);
            join_constants(map);
            bound(map);
            if map.contains_key("properties") && !map.contains_key("additionalProperties") {
                map.insert("additionalProperties".to_owned(), false.into());
            }
            for (key, part) in map.iter_mut() {
                // Their values are data, not schemas.
                if !matches!(key.as_str(), "default" | "const" | "enum") {
                    tighten(part);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(tighten),
        _ => {}
    }
}

/// An optional field may be left out; a `null` is nothing that anybody writes on purpose.
pub(crate) fn refuse_null(schema: &mut Map<String, Value>) {
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            schema.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(choices)) = schema.get_mut("anyOf") {
        choices.retain(|choice| choice["type"] != "null");
        if let [Value::Object(only)] = choices.as_slice() {
            let only = only.clone();
            schema.shift_remove("anyOf");
            schema.extend(only);
        }
    }
    if schema.get("default").is_some_and(Value::is_null) {
        schema.shift_remove("default");
    }
}

/// `oneOf` constants, each with its description, is an `enum` that tools can say more about.
pub(crate) fn join_constants(schema: &mut Map<String, Value>) {
    let Some(Value::Array(choices)) = schema.get("oneOf") else {
        return;
    };
    let constants: Vec<_> = choices.iter().filter_map(|c| c.get("const")).collect();
    if constants.len() != choices.len() {
        return;
    }
    let constants = json!(constants);
    let descriptions = choices.iter().map(|choice| choice["description"].clone());
    let descriptions: Value = descriptions.collect();
    schema.shift_remove("oneOf");
    schema.insert("type".to_owned(), "string".into());
    schema.insert("enum".to_owned(), constants);
    schema.insert("enumDescriptions".to_owned(), descriptions);
}

/// Bounds in place of the names of Rust's integers, which no other tool knows.
pub(crate) fn bound(schema: &mut Map<String, Value>) {
    let Some(Value::String(format)) = schema.get("format") else {
        return;
    };
    let maximum = match format.as_str() {
        "uint16" => u64::from(u16::MAX),
        "uint32" => u64::from(u32::MAX),
        "uint8" => u64::from(u8::MAX),
        _ => return,
    };
    schema.shift_remove("format");
    schema.entry("maximum").or_insert_with(|| maximum.into());
}

fn append(schema: &mut Value, more: Value) {
    if let (Value::Object(schema), Value::Object(more)) = (schema, more) {
        schema.extend(more);
    }
}

fn items(value: Value) -> Vec<Value> {
    match value {
        Value::Array(items) => items,
        _ => Vec::new(),
    }
}

fn print(schema: &Value) -> String {
    format!("{schema:#}\n")
}
