//! Rights: what the roles give, and what requests use.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::Path;

use serde::Deserialize as _;
use serde_json::Value;
use weft_tests::api_proxy::Seen;

/// A verb on a resource, as RBAC has it; subresources are written `resource/sub`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Right {
    pub(crate) verb: String,
    pub(crate) group: String,
    pub(crate) resource: String,
}

/// A right that a role gives.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Given {
    /// The role.
    pub(crate) role: String,
    pub(crate) right: Right,
    /// The one object that it is about, where it isn't about all.
    pub(crate) name: Option<String>,
}

/// A right that a request used, and where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Used {
    pub(crate) right: Right,
    /// The namespace; none of requests about the whole cluster.
    pub(crate) namespace: Option<String>,
    pub(crate) name: Option<String>,
}

// === impl Given ===

impl Given {
    /// All that the ClusterRoles of the base give.
    pub(crate) fn all() -> BTreeSet<Self> {
        let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/base");
        let mut given = BTreeSet::new();
        for file in ["roles.yaml", "operator.yaml"] {
            let text = fs::read_to_string(base.join(file)).unwrap();
            for document in serde_yaml::Deserializer::from_str(&text) {
                let object = Value::deserialize(document).unwrap();
                let kind = object["kind"].as_str().unwrap();
                assert_ne!(kind, "Role", "it isn't looked at");
                if kind == "ClusterRole" {
                    let role = object["metadata"]["name"].as_str().unwrap();
                    let rules = object["rules"].as_array().unwrap();
                    given.extend(rules.iter().flat_map(|rule| Self::of_rule(role, rule)));
                }
            }
        }
        given
    }

    fn of_rule(role: &str, rule: &Value) -> Vec<Self> {
        let texts = |field: &str| -> Vec<String> {
            let texts = rule[field].as_array().into_iter().flatten();
            texts
                .map(|text| text.as_str().unwrap().to_owned())
                .collect()
        };
        assert!(rule["nonResourceURLs"].is_null(), "they aren't looked at");
        let names: Vec<Option<String>> = match texts("resourceNames") {
            names if names.is_empty() => vec![None],
            names => names.into_iter().map(Some).collect(),
        };
        let mut given = Vec::new();
        for verb in texts("verbs") {
            for group in texts("apiGroups") {
                for resource in texts("resources") {
                    for name in &names {
                        let words = [&verb, &group, &resource];
                        assert!(words.iter().all(|word| !word.contains('*')), "{rule}");
                        given.push(Self {
                            role: role.to_owned(),
                            right: Right {
                                verb: verb.clone(),
                                group: group.clone(),
                                resource: resource.clone(),
                            },
                            name: name.clone(),
                        });
                    }
                }
            }
        }
        given
    }

    /// Whether a request needed this right, of a role that is bound in the namespace `home` alone where
    /// it ends in `-system`. What is given everywhere must be needed elsewhere too.
    pub(crate) fn is_needed_for(&self, used: &Used, home: &str) -> bool {
        let is_home = used.namespace.as_deref() == Some(home);
        used.right == self.right
            && is_home == self.role.ends_with("-system")
            && (self.name.is_none() || used.name == self.name)
    }
}

// === impl Used ===

impl Used {
    /// What a request used; nothing where it isn't about resources.
    pub(crate) fn of(seen: &Seen) -> Vec<Self> {
        let mut parts = seen.path.trim_matches('/').split('/');
        let group = match parts.next() {
            Some("api") => String::new(),
            Some("apis") => parts.next().unwrap().to_owned(),
            _ => return Vec::new(),
        };
        let mut rest: Vec<&str> = parts.skip(1).collect();
        let mut namespace = None;
        if let ["namespaces", name, _, ..] = rest.as_slice() {
            namespace = Some((*name).to_owned());
            rest.drain(..2);
        }
        let (resource, name) = match rest.as_slice() {
            [resource] => ((*resource).to_owned(), None),
            [resource, name] => ((*resource).to_owned(), Some((*name).to_owned())),
            [resource, name, sub] => (format!("{resource}/{sub}"), Some((*name).to_owned())),
            // Discovery.
            _ => return Vec::new(),
        };
        // As the server has it: a list of the one object of a name is about that one.
        let selected = seen.query.split('&').find_map(|part| {
            let selector = part.strip_prefix("fieldSelector=")?;
            Some(selector.strip_prefix("metadata.name%3D")?.to_owned())
        });
        let verb = match (seen.method.as_str(), &name) {
            _ if seen.is_watch => "watch",
            ("GET", None) => "list",
            ("GET", Some(_)) => "get",
            ("POST", _) => "create",
            ("PUT", _) => "update",
            ("PATCH", _) => "patch",
            ("DELETE", None) => "deletecollection",
            ("DELETE", Some(_)) => "delete",
            (other, _) => panic!("{other}"),
        };
        let used = |verb: &str| Self {
            right: Right {
                verb: verb.to_owned(),
                group: group.clone(),
                resource: resource.clone(),
            },
            namespace: namespace.clone(),
            name: name.clone().or_else(|| selected.clone()),
        };
        match (verb, seen.status) {
            // What is applied and isn't there is created, and that is asked of the roles as well.
            ("patch", 201) => vec![used("patch"), used("create")],
            _ => vec![used(verb)],
        }
    }
}

impl fmt::Display for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Right {
            verb,
            group,
            resource,
        } = &self.right;
        let name = self.name.as_deref().unwrap_or("*");
        write!(f, "{}: {verb} {resource}.{group} {name}", self.role)
    }
}
