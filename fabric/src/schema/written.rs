//! Schemas of types that are written by hand, or as one text.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::api::Object;
use crate::diagnostic::Code;
use crate::name::{ObjectName, PeerName};
use crate::reach::ClientAttribute;

macro_rules! schemas {
    ($( $type:ident $schema:tt )+) => {
        $(
            impl JsonSchema for $type {
                fn schema_name() -> Cow<'static, str> {
                    stringify!($type).into()
                }

                fn json_schema(_: &mut SchemaGenerator) -> Schema {
                    json_schema!($schema)
                }
            }
        )+
    };
}

schemas! {
    PeerName {
        "description": "The name of a peer: a lower-case DNS name.",
        "type": "string",
    }
    ObjectName {
        "description": "The namespace and name of a namespaced object, written `namespace/name`.",
        "type": "string",
        "pattern": "^[^/]+/[^/]+$",
    }
    ClientAttribute {
        "description": "An attribute of a client.",
        "type": "string",
        // A key of a label is anybody's text.
        "pattern": "^(namespace|service-account|labels\\.[\\s\\S]+)$",
    }
    // Not the codes that there are: new ones come.
    Code {
        "description": "Which kind of thing a diagnostic reports; docs/diagnostics.md lists them.",
        "type": "string",
        "pattern": "^WEFT[0-9]{4}$",
    }
    Object {
        "description": "An object as it is in force; its kind has a schema of its own.",
        "type": "object",
        "properties": {
            "apiVersion": { "description": "The API that the kind belongs to.", "type": "string" },
            "kind": { "description": "What the object is.", "type": "string" },
            "metadata": { "description": "Its name, labels and annotations.", "type": "object" },
            "spec": { "description": "What it says.", "type": "object" },
        },
        "required": ["apiVersion", "kind", "metadata", "spec"],
    }
}
