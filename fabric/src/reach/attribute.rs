//! What a client can be told apart by.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use crate::attributes::Client;

/// An attribute of a client: written `namespace`, `service-account` or `labels.KEY`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClientAttribute {
    /// The namespace that it lives in; every known client has one.
    Namespace,
    /// The service account that it runs as; every known client has one.
    ServiceAccount,
    /// The label with this key, its prefix and slash included.
    Label(Box<str>),
}

/// A text that names no attribute of a client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no attribute of a client; those are namespace, service-account and labels.KEY")]
pub struct UnknownAttribute(pub String);

/// What the attributes of clients begin with in a policy.
const POLICY_PREFIX: &str = "client.clusterlink.net/";

// === impl ClientAttribute ===

impl ClientAttribute {
    /// Whether a known client can be without it.
    #[must_use]
    pub const fn can_be_absent(&self) -> bool {
        matches!(self, Self::Label(_))
    }

    /// What a client has for it.
    #[must_use]
    pub fn of<'a>(&self, client: &'a Client) -> Option<&'a str> {
        match self {
            Self::Namespace => Some(&client.namespace),
            Self::ServiceAccount => Some(&client.service_account),
            Self::Label(key) => client.labels.get(&**key).map(String::as_str),
        }
    }
}

impl FromStr for ClientAttribute {
    type Err = UnknownAttribute;

    /// Reads `namespace`, `service-account` or `labels.KEY`, also as policies write them.
    fn from_str(text: &str) -> Result<Self, UnknownAttribute> {
        match text.strip_prefix(POLICY_PREFIX).unwrap_or(text) {
            "namespace" => Ok(Self::Namespace),
            "service-account" => Ok(Self::ServiceAccount),
            rest => match rest.strip_prefix("labels.") {
                Some(key) if !key.is_empty() => Ok(Self::Label(key.into())),
                _ => Err(UnknownAttribute(text.to_owned())),
            },
        }
    }
}

impl fmt::Display for ClientAttribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Namespace => f.write_str("namespace"),
            Self::ServiceAccount => f.write_str("service-account"),
            Self::Label(key) => write!(f, "labels.{key}"),
        }
    }
}

impl Serialize for ClientAttribute {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
