//! Names: of peers, of objects, of kinds.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The name of a peer: a lower-case DNS name, as its certificate carries it.
///
/// RFC 1123: labels of letters, digits and hyphens, at most 63 characters each and 253 in all.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PeerName(Arc<str>);

/// The namespace and name of a namespaced object, written `namespace/name`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ObjectName {
    namespace: Arc<str>,
    name: Arc<str>,
}

/// The kinds of object that a fabric repository holds.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[allow(missing_docs, reason = "each variant is the kind of its name")]
pub enum Kind {
    Fabric,
    Revocations,
    Workloads,
    Peer,
    Export,
    Import,
    AccessPolicy,
    PrivilegedAccessPolicy,
    Instance,
    Invariant,
}

/// What identifies an object within one peer: kind, namespace (none when cluster-scoped) and name.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub struct ObjectKey {
    /// The object's kind.
    pub kind: Kind,
    /// The object's namespace; none for a cluster-scoped kind and for a Peer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Arc<str>>,
    /// The object's name.
    pub name: Arc<str>,
}

/// Why a text is no name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing was written.
    #[error("it is empty")]
    Empty,
    /// More characters than the rule allows.
    #[error("it has {length} characters, and {limit} are allowed")]
    TooLong {
        /// How many there are.
        length: usize,
        /// How many there may be.
        limit: usize,
    },
    /// A character that the rule doesn't allow.
    #[error("it holds {0:?}; lower-case letters, digits and '-' are allowed{1}")]
    Character(char, &'static str),
    /// A label that doesn't begin or end with a letter or digit.
    #[error("each part begins and ends with a letter or a digit")]
    Edge,
    /// Not of the form `namespace/name`.
    #[error("it isn't of the form namespace/name")]
    NoSlash,
}

// === impl PeerName ===

impl PeerName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PeerName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        check_subdomain(text)?;
        Ok(Self(text.into()))
    }
}

impl TryFrom<String> for PeerName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<PeerName> for String {
    fn from(name: PeerName) -> Self {
        name.0.as_ref().to_owned()
    }
}

impl Borrow<str> for PeerName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PeerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// === impl ObjectName ===

impl ObjectName {
    /// The name of `name` in `namespace`, where these may be a namespace and an object's name.
    pub fn new(namespace: &str, name: &str) -> Result<Self, NameError> {
        check_label(namespace)?;
        check_object_name(name)?;
        Ok(Self {
            namespace: namespace.into(),
            name: name.into(),
        })
    }

    /// The same of texts that are shared with whoever has them.
    pub(crate) fn sharing(namespace: &Arc<str>, name: &Arc<str>) -> Result<Self, NameError> {
        check_label(namespace)?;
        check_object_name(name)?;
        Ok(Self {
            namespace: Arc::clone(namespace),
            name: Arc::clone(name),
        })
    }

    /// The namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The name inside the namespace.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl FromStr for ObjectName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let (namespace, name) = text.split_once('/').ok_or(NameError::NoSlash)?;
        Self::new(namespace, name)
    }
}

impl TryFrom<String> for ObjectName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<ObjectName> for String {
    fn from(name: ObjectName) -> Self {
        name.to_string()
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

// === impl Kind ===

impl Kind {
    /// Every kind, in the order in which they are listed to people.
    pub const ALL: [Self; 10] = [
        Self::Fabric,
        Self::Revocations,
        Self::Workloads,
        Self::Peer,
        Self::Export,
        Self::Import,
        Self::AccessPolicy,
        Self::PrivilegedAccessPolicy,
        Self::Instance,
        Self::Invariant,
    ];

    /// The kind as YAML's `kind:` spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fabric => "Fabric",
            Self::Revocations => "Revocations",
            Self::Workloads => "Workloads",
            Self::Peer => "Peer",
            Self::Export => "Export",
            Self::Import => "Import",
            Self::AccessPolicy => "AccessPolicy",
            Self::PrivilegedAccessPolicy => "PrivilegedAccessPolicy",
            Self::Instance => "Instance",
            Self::Invariant => "Invariant",
        }
    }

    /// The `apiVersion:` that goes with the kind.
    #[must_use]
    pub const fn api_version(self) -> &'static str {
        match self {
            Self::Fabric | Self::Revocations | Self::Workloads | Self::Invariant => {
                "weft.dev/v1alpha1"
            }
            _ => "clusterlink.net/v1alpha1",
        }
    }

    /// Whether objects of the kind live in a namespace that says something.
    ///
    /// A ClusterLink Peer is namespaced too, but always in the system namespace.
    #[must_use]
    pub const fn is_namespaced(self) -> bool {
        matches!(
            self,
            Self::Export | Self::Import | Self::AccessPolicy | Self::Instance
        )
    }
}

impl FromStr for Kind {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or(())
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

// === impl ObjectKey ===

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} {namespace}/{}", self.kind, self.name),
            None => write!(f, "{} {}", self.kind, self.name),
        }
    }
}

/// Checks an RFC 1123 label: at most 63 letters, digits and hyphens, none at the edges a hyphen.
pub fn check_label(text: &str) -> Result<(), NameError> {
    check_length(text, 63)?;
    check_characters(text, "")
}

/// Checks the name of an object as Kubernetes does: as a subdomain, but with parts of any length.
pub fn check_object_name(text: &str) -> Result<(), NameError> {
    check_length(text, 253)?;
    text.split('.').try_for_each(check_part)
}

/// Checks an RFC 1123 subdomain: labels joined by dots, at most 253 characters in all.
pub fn check_subdomain(text: &str) -> Result<(), NameError> {
    check_length(text, 253)?;
    text.split('.').try_for_each(|label| {
        check_part(label)?;
        check_length(label, 63)
    })
}

fn check_part(part: &str) -> Result<(), NameError> {
    if part.is_empty() {
        return Err(NameError::Edge);
    }
    check_characters(part, ", and '.' between parts")
}

fn check_length(text: &str, limit: usize) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if text.len() > limit {
        return Err(NameError::TooLong {
            length: text.chars().count(),
            limit,
        });
    }
    Ok(())
}

fn check_characters(label: &str, besides: &'static str) -> Result<(), NameError> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if let Some(other) = label.chars().find(|&c| !allowed(c)) {
        return Err(NameError::Character(other, besides));
    }
    if label.starts_with('-') || label.ends_with('-') {
        return Err(NameError::Edge);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peer_names() {
        let long_label = "a".repeat(64);
        for (text, good) in [
            ("east", true),
            ("cluster17.us-east", true),
            ("1st", true),
            ("", false),
            ("East", false),
            ("a_b", false),
            ("-a", false),
            ("a-", false),
            ("a..b", false),
            (".a", false),
            ("a.", false),
            (long_label.as_str(), false),
        ] {
            assert_eq!(text.parse::<PeerName>().is_ok(), good, "{text:?}");
        }
    }

    #[test]
    fn object_names() {
        assert_eq!(
            ObjectName::new("shop", "ledger").unwrap().to_string(),
            "shop/ledger"
        );
        assert_eq!("shop".parse::<ObjectName>(), Err(NameError::NoSlash));
        assert!("shop.x/ledger".parse::<ObjectName>().is_err());
        let long = |count| "a".repeat(count).parse::<PeerName>().is_ok();
        assert_eq!((long(63), long(64)), (true, false));
        for (count, good) in [(63, true), (64, true), (253, true), (254, false)] {
            assert_eq!(
                check_object_name(&"a".repeat(count)).is_ok(),
                good,
                "{count}"
            );
        }
        assert!(check_object_name("a..b").is_err());
    }
}
