//! What isn't shown of the objects that a change touches.
//!
//! None of the kinds has a field for a secret, but text of other tools' may stand in their
//! annotations, and a report may be read by more people than the repository. Hidden are
//!
//! - the value of every annotation that Weft doesn't read itself;
//! - the value of a field, and of an annotation of an Instance's Service, whose name speaks of a
//!   secret: `password`, `token`, ...; labels and selectors are always shown: they decide who
//!   reaches what;
//! - text with a private key, or a URL with a password, wherever it stands.
//!
//! That a hidden value changes is told. Of an object that isn't one any more with its values hidden,
//! nothing is shown but what it is called.

use serde_json::{Value, json};

use crate::api::{Annotation, Metadata, Object};
use crate::name::Kind;
use crate::plan::{Difference, PlannedObject};
use crate::secret::find_private_keys;

/// What stands in the place of a hidden value.
pub const HIDDEN: &str = "(hidden)";

/// The annotation of an object of which nothing else is shown.
const WHOLLY: &str = "weft.dev/hidden";

/// The annotation beside those of Weft's own that decides something, so that a reviewer has to see it.
const MERGE: &str = "import.clusterlink.net/merge";

/// The words in a name that speak of a secret.
const WORDS: [&str; 7] = [
    "password",
    "passwd",
    "secret",
    "token",
    "credential",
    "apikey",
    "api-key",
];

/// What is known of a value by its place.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Context {
    /// The metadata of the object.
    Metadata,
    /// The annotations there.
    Annotations,
    /// Labels and selectors, and what is below them.
    Shown,
    /// Anything else.
    Fields,
}

/// Hides what may be a secret.
pub(super) fn mask(difference: &mut Difference) {
    difference.added.retain_mut(mask_object);
    difference.removed.retain_mut(mask_object);
    let fields = difference.changed.iter_mut().flat_map(|c| &mut c.fields);
    for field in fields.chain(&mut difference.state) {
        let mut context = Context::Fields;
        let mut is_hidden = false;
        for key in field.pointer.split('/').skip(1) {
            let key = key.replace("~1", "/").replace("~0", "~");
            is_hidden |= hides(context, &key);
            context = context.below(&key);
        }
        for value in [&mut field.before, &mut field.after].into_iter().flatten() {
            mask_value(value, context, is_hidden);
        }
    }
}

/// An object that holds nothing to hide stays as it is; false where it can't be shown at all.
fn mask_object(planned: &mut PlannedObject) -> bool {
    let whole = serde_json::to_value(&planned.object).unwrap_or_default();
    let mut value = whole.clone();
    mask_value(&mut value, Context::Fields, false);
    if value == whole && !value.is_null() {
        return true;
    }
    match shown(&planned.object, value) {
        Some(object) => {
            planned.object = object;
            true
        }
        None => false,
    }
}

/// The object that a masked value is; what isn't one any more is hidden wholly.
fn shown(object: &Object, masked: Value) -> Option<Object> {
    serde_json::from_value(masked)
        .ok()
        .or_else(|| wholly_hidden(object.kind(), object.metadata()))
}

/// The least that an object of the kind is.
fn wholly_hidden(kind: Kind, metadata: &Metadata) -> Option<Object> {
    let metadata = Metadata {
        name: metadata.name.clone(),
        namespace: metadata.namespace.clone(),
        annotations: [(WHOLLY.to_owned(), "true".to_owned())].into(),
        ..Metadata::default()
    };
    let spec = match kind {
        Kind::Fabric | Kind::Instance => json!({}),
        Kind::Revocations => json!({"certificates": []}),
        Kind::Workloads => json!({"workloads": []}),
        Kind::Peer => json!({"gateways": []}),
        Kind::Export => json!({"port": 1}),
        Kind::Import => json!({"port": 1, "sources": []}),
        Kind::AccessPolicy | Kind::PrivilegedAccessPolicy => {
            json!({"action": "deny", "from": [], "to": []})
        }
        Kind::Invariant => json!({"rule": "never", "from": [], "to": []}),
    };
    let object = json!({"kind": kind.as_str(), "metadata": metadata, "spec": spec});
    serde_json::from_value(object).ok()
}

fn mask_value(value: &mut Value, context: Context, is_hidden: bool) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let is_hidden = is_hidden || hides(context, key);
                mask_value(value, context.below(key), is_hidden);
            }
        }
        Value::Array(items) => {
            for item in items {
                mask_value(item, context, is_hidden);
            }
        }
        Value::String(text) if is_hidden || is_secret(text) => HIDDEN.clone_into(text),
        _ => {}
    }
}

fn hides(context: Context, key: &str) -> bool {
    match context {
        Context::Annotations => key != MERGE && Annotation::of_key(key).is_none(),
        Context::Shown => false,
        Context::Metadata | Context::Fields => {
            let key = key.to_ascii_lowercase();
            WORDS.iter().any(|word| key.contains(word))
        }
    }
}

fn is_secret(text: &str) -> bool {
    // `scheme://user:password@host`.
    let has_password = text.split("://").skip(1).any(|rest| {
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        authority
            .rsplit_once('@')
            .is_some_and(|(user, _)| user.contains(':'))
    });
    has_password || !find_private_keys(text.as_bytes()).is_empty()
}

// === impl Context ===

impl Context {
    fn below(self, key: &str) -> Self {
        match (self, key) {
            (Self::Fields, "metadata") => Self::Metadata,
            (
                Self::Fields,
                "labels" | "peerLabels" | "matchLabels" | "matchExpressions" | "exportLabels",
            ) => Self::Shown,
            (Self::Metadata, "labels") => Self::Shown,
            (Self::Metadata, "annotations") => Self::Annotations,
            (context, _) => context,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_object_any_more_is_hidden_wholly() {
        for kind in Kind::ALL {
            let metadata = json!({"name": "a", "namespace": "b", "labels": {"note": "c"}});
            let metadata: Metadata = serde_json::from_value(metadata).unwrap();
            let object = wholly_hidden(kind, &metadata).unwrap();
            assert_eq!(object.kind(), kind);
            // Every text hidden: an action, a rule or a port is none then.
            for masked in [
                json!(HIDDEN),
                json!({"kind": kind.as_str(), "metadata": HIDDEN}),
            ] {
                let shown = serde_json::to_value(shown(&object, masked).unwrap()).unwrap();
                assert_eq!(
                    shown["metadata"],
                    json!({"name": "a", "namespace": "b", "annotations": {WHOLLY: "true"}})
                );
            }
        }
    }
}
