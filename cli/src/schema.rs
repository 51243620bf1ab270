//! The schemas of the JSON forms: generated from the types that are written, committed in
//! `schemas/reports/`.
//!
//! They allow fields that they don't know: more of them come while the version stays.

use std::collections::BTreeMap;

use fabric::report::PlanReport;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::command::explain::Verdict;
use crate::command::who_can::Answer;
use crate::render::json::{FORMAT_VERSION, Validation};

/// The files of the schemas, by their names below `schemas/`.
#[must_use]
pub fn generate() -> BTreeMap<String, String> {
    let schemas = [
        schema::<Validation<'_>>("validate"),
        schema::<PlanReport>("plan"),
        schema::<Verdict>("explain"),
        schema::<Answer>("who-can"),
    ];
    schemas.into()
}

/// The schema of what a command writes.
fn schema<T: JsonSchema>(command: &str) -> (String, String) {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    let generated = settings.into_generator().into_root_schema_for::<T>();
    let mut schema = Map::new();
    for key in ["$schema", "title", "description", "type"] {
        schema.extend(
            generated
                .get(key)
                .map(|value| (key.to_owned(), value.clone())),
        );
    }
    schema.insert("title".to_owned(), format!("weft {command} -o json").into());
    let version = json!({
        "description": "The version of the form; as long as it stays, fields are only added.",
        "const": FORMAT_VERSION,
    });
    let mut properties = Map::from_iter([("formatVersion".to_owned(), version)]);
    let mut required = vec![Value::from("formatVersion")];
    if let Some(Value::Object(more)) = generated.get("properties") {
        properties.extend(more.clone());
    }
    if let Some(Value::Array(more)) = generated.get("required") {
        required.extend(more.clone());
    }
    schema.insert("properties".to_owned(), properties.into());
    schema.insert("required".to_owned(), required.into());
    let definitions = generated.get("$defs");
    schema.extend(definitions.map(|value| ("$defs".to_owned(), value.clone())));
    let text = format!("{:#}\n", Value::Object(schema));
    (format!("reports/{command}.json"), text)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn committed_schemas_are_the_generated_ones() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas");
        for (name, text) in generate() {
            let committed = std::fs::read_to_string(directory.join(&name)).unwrap_or_default();
            assert!(
                committed == text,
                "schemas/{name} isn't what the types say; run\n    cargo run -p weft --example report-schemas"
            );
        }
    }
}
