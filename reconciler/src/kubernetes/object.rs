//! An object as it lives in a cluster, decoded as far as it can be.

use std::collections::BTreeMap;
use std::sync::Arc;

use fabric::api::{Annotation, Object};
use fabric::attributes::Labels;
use fabric::crd::CustomKind;
use fabric::digest::Digest;
use fabric::mark;
use fabric::name::{Kind, ObjectKey};
use fabric::origin::Origin;
use fabric::plan::action::Owner;
use kube::api::DynamicObject;
use serde_json::Value;

/// What a server says of any object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// The namespace; none of a cluster-scoped object.
    pub namespace: Option<String>,
    /// The name.
    pub name: String,
    /// What tells it from another one of the same name, before or after.
    pub uid: String,
    /// What tells its states apart.
    pub resource_version: String,
    /// What counts the changes of its spec.
    pub generation: i64,
    /// When it was made, in seconds since 1970.
    pub created: i64,
    /// Whether it is being deleted.
    pub is_terminating: bool,
    /// All its labels.
    pub labels: Labels,
    /// All its annotations.
    pub annotations: BTreeMap<String, String>,
}

/// An object of one of the repository's kinds as it lives in a cluster.
#[derive(Clone, Debug)]
pub struct LiveObject {
    /// Which object it is; a Peer has no namespace in its key.
    pub key: ObjectKey,
    /// What the server says of it.
    pub meta: Meta,
    /// The object without what is ours alone (`weft.dev/` labels and annotations); the reason where
    /// it can't be understood.
    pub object: Result<Arc<Object>, String>,
    /// The digest of what the object decides; none where it can't be understood.
    pub effect: Option<Digest>,
    /// Its status as it stands; null where it has none.
    pub status: Value,
}

// === impl Meta ===

impl Meta {
    /// What a server says of an object.
    #[must_use]
    pub fn of(meta: &kube::core::ObjectMeta) -> Self {
        Self {
            namespace: meta.namespace.clone(),
            name: meta.name.clone().unwrap_or_default(),
            uid: meta.uid.clone().unwrap_or_default(),
            resource_version: meta.resource_version.clone().unwrap_or_default(),
            generation: meta.generation.unwrap_or_default(),
            created: meta
                .creation_timestamp
                .as_ref()
                .map_or(i64::MAX, |time| time.0.as_second()),
            is_terminating: meta.deletion_timestamp.is_some(),
            labels: meta.labels.clone().unwrap_or_default(),
            annotations: meta.annotations.clone().unwrap_or_default(),
        }
    }

    /// Who applies the object, seen from the FabricSync of a label value.
    #[must_use]
    pub fn owner(&self, sync: &str) -> Owner {
        match self.labels.get(mark::SYNC) {
            Some(label) if label == sync => Owner::Us,
            Some(label) => Owner::Other(label.clone()),
            None => Owner::Nobody,
        }
    }
}

// === impl LiveObject ===

impl LiveObject {
    /// Decodes an object of a kind that repositories have too; never fails, but says so inside.
    #[must_use]
    pub fn decode(kind: Kind, mut object: DynamicObject) -> Self {
        let meta = Meta::of(&object.metadata);
        let status = object.data["status"].take();
        let key = ObjectKey {
            kind,
            namespace: match kind {
                Kind::Peer => None,
                _ => meta.namespace.as_deref().map(Arc::from),
            },
            name: meta.name.as_str().into(),
        };
        let object = decode(&key, &meta, &object.data["spec"]);
        let effect = object.as_ref().ok();
        Self {
            effect: effect.map(|object| Digest::of_effect(&key, object)),
            object,
            key,
            meta,
            status,
        }
    }

    /// The custom resource that the object is.
    #[must_use]
    pub fn kind(&self) -> Option<CustomKind> {
        CustomKind::of(self.key.kind)
    }

    /// The digest of what the object decides; none where it can't be understood.
    #[must_use]
    pub const fn effect(&self) -> Option<Digest> {
        self.effect
    }

    /// The digest that the object's annotation tells of what was applied.
    #[must_use]
    pub fn content(&self) -> Option<Digest> {
        self.meta.annotations.get(mark::CONTENT)?.parse().ok()
    }

    /// Where the object's content comes from, as its annotations tell.
    #[must_use]
    pub fn origin(&self) -> Option<Origin> {
        let annotation = |name| self.meta.annotations.get(name);
        mark::origin(annotation(mark::COMMIT)?, annotation(mark::SOURCE)?)
    }
}

fn decode(key: &ObjectKey, meta: &Meta, spec: &Value) -> Result<Arc<Object>, String> {
    let foreign = |map: &BTreeMap<String, String>| -> BTreeMap<String, String> {
        let is_kept = |key: &str| !key.starts_with(mark::PREFIX) || Annotation::is_effect_key(key);
        let fields = map.iter().filter(|(key, _)| is_kept(key));
        fields.map(|(k, v)| (k.clone(), v.clone())).collect()
    };
    let value = serde_json::json!({
        "kind": key.kind.as_str(),
        "metadata": {
            "name": meta.name,
            "namespace": key.namespace,
            "labels": foreign(&meta.labels),
            "annotations": foreign(&meta.annotations),
        },
        "spec": spec,
    });
    serde_json::from_value(value)
        .map(Arc::new)
        .map_err(|error| error.to_string())
}
