//! The JSON schemas of the objects: generated from [`api`](crate::api), committed in `schemas/`,
//! embedded here, and asked for every structural verdict.

pub(crate) mod generate;
mod written;

use std::sync::LazyLock;

use jsonschema::{PatternOptions, ValidationError, Validator};
use serde_json::Value;

pub use generate::{SERVER_METADATA, generate};

use crate::name::Kind;

/// The schema of one kind, compiled.
pub(crate) struct Schema {
    document: Value,
    validator: Validator,
}

/// The text of the committed schema of a kind.
#[must_use]
pub const fn text(kind: Kind) -> &'static str {
    match kind {
        Kind::Fabric => include_str!("../../schemas/fabric.json"),
        Kind::Revocations => include_str!("../../schemas/revocations.json"),
        Kind::Workloads => include_str!("../../schemas/workloads.json"),
        Kind::Peer => include_str!("../../schemas/peer.json"),
        Kind::Export => include_str!("../../schemas/export.json"),
        Kind::Import => include_str!("../../schemas/import.json"),
        Kind::AccessPolicy => include_str!("../../schemas/accesspolicy.json"),
        Kind::PrivilegedAccessPolicy => include_str!("../../schemas/privilegedaccesspolicy.json"),
        Kind::Instance => include_str!("../../schemas/instance.json"),
        Kind::Invariant => include_str!("../../schemas/invariant.json"),
    }
}

/// The schema of a kind, compiled at its first use.
pub(crate) fn of(kind: Kind) -> &'static Schema {
    macro_rules! compiled {
        ($( $kind:ident ),+) => {
            match kind {
                $( Kind::$kind => {
                    static SCHEMA: LazyLock<Schema> =
                        LazyLock::new(|| Schema::compile(text(Kind::$kind)));
                    &SCHEMA
                } )+
            }
        };
    }
    compiled!(
        Fabric,
        Revocations,
        Workloads,
        Peer,
        Export,
        Import,
        AccessPolicy,
        PrivilegedAccessPolicy,
        Instance,
        Invariant
    )
}

// === impl Schema ===

impl Schema {
    #[expect(
        clippy::expect_used,
        reason = "the text is embedded, and a test compiles the schema of every kind"
    )]
    fn compile(text: &str) -> Self {
        let document: Value = serde_json::from_str(text).expect("an embedded schema is JSON");
        let validator = jsonschema::draft202012::options()
            .offline()
            // Matching is linear in the text, whatever a pattern and a hostile file say.
            .with_pattern_options(PatternOptions::regex())
            .build(&document)
            .expect("an embedded schema compiles");
        Self {
            document,
            validator,
        }
    }

    /// Everything that is structurally wrong with an object.
    pub(crate) fn errors<'i>(&'i self, object: &'i Value) -> Vec<ValidationError<'i>> {
        // Asking first is several times cheaper than collecting, and nearly every object is right.
        if self.validator.is_valid(object) {
            return Vec::new();
        }
        self.validator.iter_errors(object).collect()
    }

    /// The schema itself.
    pub(crate) const fn document(&self) -> &Value {
        &self.document
    }

    /// The part of the schema that an error comes from: the parent of its keyword.
    pub(crate) fn rule(&self, error: &ValidationError<'_>) -> &Value {
        let path = error.schema_path().as_str();
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        self.document.pointer(parent).unwrap_or(&Value::Null)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn committed_schemas_compile() {
        for kind in Kind::ALL {
            let schema = of(kind);
            assert_eq!(
                schema.document["properties"]["kind"]["const"],
                kind.as_str()
            );
        }
    }

    #[test]
    fn committed_schemas_are_the_generated_ones() {
        let committed = Kind::ALL
            .map(|kind| (generate::file_name(kind), text(kind)))
            .into_iter()
            .chain([(
                "weft.json".to_owned(),
                include_str!("../../schemas/weft.json"),
            )]);
        let generated = generate();
        assert_eq!(generated.len(), Kind::ALL.len() + 1);
        for (name, text) in committed {
            assert!(
                generated[&name] == text,
                "schemas/{name} isn't what the types say; run\n    cargo run -p fabric --example schemas"
            );
        }
    }
}
