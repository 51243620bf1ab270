//! The keys that selectors may look at, and what each stands for in a request.

use super::Request;

const CLIENT: &str = "client.clusterlink.net/";
const PEER: &str = "peer.clusterlink.net/";
const EXPORT: &str = "export.clusterlink.net/";
const LABELS: &str = "labels.";

/// The two sides of a connection that a policy selects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// Who opens the connection: `spec.from`.
    From,
    /// What it wants to reach: `spec.to`.
    To,
}

/// What a selector's key stands for; the same key means another peer on each side.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Attribute {
    ClientNamespace,
    ClientServiceAccount,
    ClientLabel(Box<str>),
    ClientPeerName,
    ClientPeerLabel(Box<str>),
    ExportName,
    ExportNamespace,
    ExportLabel(Box<str>),
    ExportPeerName,
    ExportPeerLabel(Box<str>),
}

/// What a request has for an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    /// The attribute is there.
    Present(&'a str),
    /// It isn't there.
    Absent,
    /// Nobody knows, because the client is unknown.
    Unknown,
}

// === impl Side ===

impl Side {
    /// The field of a policy's spec that selects the side.
    #[must_use]
    pub const fn field(self) -> &'static str {
        match self {
            Self::From => "from",
            Self::To => "to",
        }
    }

    /// The attributes that are no labels, with their whole key.
    pub(super) const fn plain_keys(self) -> [&'static str; 3] {
        match self {
            Self::From => [
                "client.clusterlink.net/namespace",
                "client.clusterlink.net/service-account",
                "peer.clusterlink.net/name",
            ],
            Self::To => [
                "export.clusterlink.net/name",
                "export.clusterlink.net/namespace",
                "peer.clusterlink.net/name",
            ],
        }
    }

    /// What the keys of label attributes begin with; the label's own key follows.
    pub(super) const fn label_prefixes(self) -> [&'static str; 2] {
        match self {
            Self::From => [
                "client.clusterlink.net/labels.",
                "peer.clusterlink.net/labels.",
            ],
            Self::To => [
                "export.clusterlink.net/labels.",
                "peer.clusterlink.net/labels.",
            ],
        }
    }
}

// === impl Attribute ===

impl Attribute {
    /// The attribute that a key names on a side; none for a key that never stands there.
    pub(super) fn parse(side: Side, key: &str) -> Option<Self> {
        // Everything after `labels.` is the label's own key, its prefix and slash included.
        let label = |rest: &str| {
            let key = rest.strip_prefix(LABELS)?;
            (!key.is_empty()).then(|| Box::from(key))
        };
        match side {
            Side::From => match (key.strip_prefix(CLIENT), key.strip_prefix(PEER)) {
                (Some("namespace"), _) => Some(Self::ClientNamespace),
                (Some("service-account"), _) => Some(Self::ClientServiceAccount),
                (Some(rest), _) => label(rest).map(Self::ClientLabel),
                (_, Some("name")) => Some(Self::ClientPeerName),
                (_, Some(rest)) => label(rest).map(Self::ClientPeerLabel),
                (None, None) => None,
            },
            Side::To => match (key.strip_prefix(EXPORT), key.strip_prefix(PEER)) {
                (Some("name"), _) => Some(Self::ExportName),
                (Some("namespace"), _) => Some(Self::ExportNamespace),
                (Some(rest), _) => label(rest).map(Self::ExportLabel),
                (_, Some("name")) => Some(Self::ExportPeerName),
                (_, Some(rest)) => label(rest).map(Self::ExportPeerLabel),
                (None, None) => None,
            },
        }
    }

    /// Whether the attribute is one of the client, which may be unknown.
    pub(super) const fn is_of_client(&self) -> bool {
        matches!(
            self,
            Self::ClientNamespace | Self::ClientServiceAccount | Self::ClientLabel(_)
        )
    }

    /// Whether every connection has the attribute, whatever it is.
    ///
    /// Not the client's: one that is unknown has none.
    pub(super) const fn is_always_there(&self) -> bool {
        matches!(
            self,
            Self::ClientPeerName | Self::ExportName | Self::ExportNamespace | Self::ExportPeerName
        )
    }

    /// What the request has for the attribute.
    pub(super) fn value<'a>(&self, request: &Request<'a>) -> Value<'a> {
        let known = match self {
            Self::ClientNamespace | Self::ClientServiceAccount | Self::ClientLabel(_) => {
                let Some(client) = request.client else {
                    return Value::Unknown;
                };
                match self {
                    Self::ClientLabel(key) => client.labels.get(&**key),
                    Self::ClientNamespace => Some(&client.namespace),
                    _ => Some(&client.service_account),
                }
                .map(String::as_str)
            }
            Self::ClientPeerName => Some(request.client_peer.name.as_str()),
            Self::ClientPeerLabel(key) => {
                request.client_peer.labels.get(&**key).map(String::as_str)
            }
            Self::ExportName => Some(request.export.name.name()),
            Self::ExportNamespace => Some(request.export.name.namespace()),
            Self::ExportLabel(key) => request.export.labels.get(&**key).map(String::as_str),
            Self::ExportPeerName => Some(request.export_peer.name.as_str()),
            Self::ExportPeerLabel(key) => {
                request.export_peer.labels.get(&**key).map(String::as_str)
            }
        };
        known.map_or(Value::Absent, Value::Present)
    }
}
