//! SHA-256 over what an object says.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::api::{Annotation, Object};
use crate::attributes::Labels;
use crate::mark;
use crate::name::ObjectKey;

/// A SHA-256; 64 hexadecimal digits as text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; 32]);

// === impl Digest ===

impl Digest {
    /// The digest of bytes.
    #[must_use]
    pub fn of_bytes(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The digest of what decides: key, labels, spec and the annotations that a gateway reads.
    ///
    /// It is the same for the object as the repository has it and as a server gives it back with
    /// defaults filled in: both went through the same type. Labels of ours and other annotations
    /// don't count: no decision looks at them.
    #[must_use]
    pub fn of_effect(key: &ObjectKey, object: &Object) -> Self {
        Self::of_value(&effect(key, object))
    }

    /// The digest of all that the repository says of an object: its effect and its annotations.
    #[must_use]
    pub fn of_content(key: &ObjectKey, object: &Object) -> Self {
        let mut value = effect(key, object);
        value["annotations"] = json!(sorted(&object.metadata().annotations));
        Self::of_value(&value)
    }

    /// The number that the first two bytes are.
    #[must_use]
    pub(crate) const fn first_two(self) -> u16 {
        u16::from_be_bytes([self.0[0], self.0[1]])
    }

    fn of_value(value: &Value) -> Self {
        Self::of_bytes(canonical(value).to_string().as_bytes())
    }
}

impl FromStr for Digest {
    type Err = hex::FromHexError;

    fn from_str(text: &str) -> Result<Self, hex::FromHexError> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes)?;
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for Digest {
    type Error = hex::FromHexError;

    fn try_from(text: String) -> Result<Self, hex::FromHexError> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

fn effect(key: &ObjectKey, object: &Object) -> Value {
    let mut value = serde_json::to_value(object).unwrap_or_default();
    let mut effect = json!({
        "kind": key.kind.as_str(),
        "namespace": key.namespace,
        "name": key.name,
        "labels": sorted(&object.metadata().labels),
        "spec": value["spec"].take(),
    });
    let annotations = object.metadata().annotations.iter();
    let deciding: BTreeMap<_, _> = annotations
        .filter(|(key, _)| Annotation::is_effect_key(key))
        .collect();
    // Only where there are any: mostly there are none.
    if !deciding.is_empty() {
        effect["deciding"] = json!(deciding);
    }
    effect
}

fn sorted(labels: &Labels) -> BTreeMap<&String, &String> {
    let theirs = labels
        .iter()
        .filter(|(key, _)| !key.starts_with(mark::PREFIX));
    theirs.collect()
}

/// The same with the keys of every map in order.
fn canonical(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let sorted: BTreeMap<_, _> = map.iter().collect();
            let fields = sorted.into_iter();
            Value::Object(fields.map(|(k, v)| (k.clone(), canonical(v))).collect())
        }
        Value::Array(items) => items.iter().map(canonical).collect(),
        other => other.clone(),
    }
}
