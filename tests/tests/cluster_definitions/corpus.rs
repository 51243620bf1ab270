//! The corpus: for each kind a good object, and changes that make others of it.

use std::fs;
use std::path::Path;

use serde_json::{Map, Value};

/// The value that stands for "not there".
pub(crate) const ABSENT: &str = "<absent>";

/// A good object, and what becomes of it.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Family {
    /// An object with every field of the kind.
    pub(crate) good: Value,
    /// Changes after which it is good still.
    pub(crate) accepted: Vec<Change>,
    /// Changes after which it is refused.
    pub(crate) refused: Vec<Change>,
    /// Changes after which a server takes what a repository doesn't; the design says each of them.
    #[serde(default)]
    pub(crate) refused_in_a_repository: Vec<Change>,
    /// Changes after which a repository takes what a server doesn't; the design says each of them.
    #[serde(default)]
    pub(crate) refused_by_a_server: Vec<Change>,
}

/// Values by the JSON pointers where they are put.
pub(crate) type Change = Map<String, Value>;

/// The families of the corpus, each with the name of its file.
pub(crate) fn families() -> Vec<(String, Family)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster_definitions/corpus");
    let files = folder.read_dir().unwrap();
    let mut families: Vec<_> = files
        .map(|file| file.unwrap().path())
        .map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let text = fs::read_to_string(&path).unwrap();
            let family = serde_yaml::from_str(&text);
            let family = family.unwrap_or_else(|error| panic!("{name}: {error}"));
            (name, family)
        })
        .collect();
    families.sort_by(|(one, _), (other, _)| one.cmp(other));
    families
}

/// An object after a change.
pub(crate) fn changed(good: &Value, change: &Change) -> Value {
    let mut object = good.clone();
    for (pointer, value) in change {
        put(&mut object, pointer, value);
    }
    object
}

fn put(object: &mut Value, pointer: &str, value: &Value) {
    let (parent, key) = pointer
        .rsplit_once('/')
        .expect("a pointer begins with a slash");
    let parent = object.pointer_mut(parent);
    let parent = parent.unwrap_or_else(|| panic!("nothing is above {pointer}"));
    let key = key.replace("~1", "/").replace("~0", "~");
    match parent {
        Value::Object(fields) if value == ABSENT => {
            let before = fields.remove(&key);
            assert!(before.is_some(), "{pointer} isn't there");
        }
        Value::Object(fields) => {
            fields.insert(key, value.clone());
        }
        Value::Array(items) => items[key.parse::<usize>().unwrap()] = value.clone(),
        other => panic!("{pointer}: {other} has no parts"),
    }
}

/// Objects that differ from a good one at one place each: every field left out, an unknown one in
/// every mapping, and a value of every wrong type.
pub(crate) fn mutations(good: &Value) -> Vec<Change> {
    let mut changes = Vec::new();
    let mut pointers = Vec::new();
    collect(good, "", &mut pointers);
    for pointer in pointers {
        let one = |value: Value| Change::from_iter([(pointer.clone(), value)]);
        let value = good.pointer(&pointer).unwrap();
        if !is_item(good, &pointer) {
            changes.push(one(ABSENT.into()));
        }
        let others = serde_json::json!([true, -1, 65_536, 1.5, "", "text", [], {}, ["text"], [{}]]);
        changes.extend(others.as_array().unwrap().iter().cloned().map(one));
        if value.is_object() {
            let unknown = format!("{pointer}/unknown");
            changes.push(Change::from_iter([(unknown, "text".into())]));
        }
    }
    changes
}

/// The pointers of all fields of an object, but for those of its address.
pub(crate) fn fields(good: &Value) -> Vec<String> {
    let mut pointers = Vec::new();
    collect(good, "", &mut pointers);
    let address = ["/apiVersion", "/kind", "/metadata/namespace"];
    pointers.retain(|pointer| !is_item(good, pointer) && !address.contains(&pointer.as_str()));
    pointers
}

fn is_item(good: &Value, pointer: &str) -> bool {
    let parent = pointer
        .rsplit_once('/')
        .and_then(|(parent, _)| good.pointer(parent));
    parent.is_some_and(Value::is_array)
}

fn collect(value: &Value, at: &str, pointers: &mut Vec<String>) {
    let mut visit = |key: &str, value: &Value| {
        let key = key.replace('~', "~0").replace('/', "~1");
        let pointer = format!("{at}/{key}");
        collect(value, &pointer, pointers);
        pointers.push(pointer);
    };
    match value {
        Value::Object(fields) => fields.iter().for_each(|(key, value)| visit(key, value)),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                visit(&index.to_string(), item);
            }
        }
        _ => {}
    }
}
