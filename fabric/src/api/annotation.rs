use std::fmt;

use jiff::Timestamp;

use super::{Compatibility, Metadata};
use crate::name::Kind;

/// An annotation of ours that somebody writes into the repository, and that decides something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Annotation {
    /// The peers that a shared policy is for.
    Peers,
    /// When a policy ends.
    Expires,
    /// Connections at a time through an Import, or to an Export.
    MaxConnections,
    /// New connections in a second through an Import, or to an Export.
    ConnectionsPerSecond,
    /// What other than `weft/1` is spoken with a Peer.
    Compatibility,
}

/// A text that is no moment in time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a moment in time such as 2026-12-24T18:00:00Z")]
pub struct TimeError;

/// When a policy ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Expiry {
    /// Nobody said.
    #[default]
    Never,
    /// At this moment.
    At(Timestamp),
    /// Somebody said, but it can't be understood; no check of a repository lets that pass.
    NotUnderstood,
}

/// Limits of one Import or Export; 0 means no limit beyond those of the gateway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServiceLimits {
    /// Connections at a time.
    pub connections: u32,
    /// New connections in a second, over time; as many at once.
    pub connections_per_second: u32,
}

// === impl Annotation ===

impl Annotation {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Peers,
        Self::Expires,
        Self::MaxConnections,
        Self::ConnectionsPerSecond,
        Self::Compatibility,
    ];

    /// The key.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Peers => "weft.dev/peers",
            Self::Expires => "weft.dev/expires",
            Self::MaxConnections => "weft.dev/max-connections",
            Self::ConnectionsPerSecond => "weft.dev/connections-per-second",
            Self::Compatibility => "weft.dev/compatibility",
        }
    }

    /// The annotation with a key.
    #[must_use]
    pub fn of_key(key: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|annotation| annotation.key() == key)
    }

    /// Whether an object's own gateway decides by it, so that it belongs to what the object says as
    /// its spec does. That of the peers is looked at before there is such an object.
    #[must_use]
    pub const fn is_effect(self) -> bool {
        !matches!(self, Self::Peers)
    }

    /// Whether the key is that of an annotation which belongs to what an object says.
    #[must_use]
    pub fn is_effect_key(key: &str) -> bool {
        Self::of_key(key).is_some_and(Self::is_effect)
    }

    /// The kinds that it stands at.
    #[must_use]
    pub const fn kinds(self) -> &'static [Kind] {
        match self {
            Self::Peers => &[Kind::PrivilegedAccessPolicy],
            Self::Expires => &[Kind::AccessPolicy, Kind::PrivilegedAccessPolicy],
            Self::MaxConnections | Self::ConnectionsPerSecond => &[Kind::Import, Kind::Export],
            Self::Compatibility => &[Kind::Peer],
        }
    }

    fn of(self, metadata: &Metadata) -> Option<&str> {
        metadata.annotations.get(self.key()).map(String::as_str)
    }
}

impl fmt::Display for Annotation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.key())
    }
}

// === impl Metadata ===

impl Metadata {
    /// When the policy of this metadata ends.
    #[must_use]
    pub fn expiry(&self) -> Expiry {
        match Annotation::Expires.of(self).map(parse_time) {
            None => Expiry::Never,
            Some(Ok(time)) => Expiry::At(time),
            Some(Err(_)) => Expiry::NotUnderstood,
        }
    }

    /// What other than `weft/1` is spoken with the Peer of this metadata.
    ///
    /// What can't be understood, which no check of a repository lets pass, opens nothing.
    #[must_use]
    pub fn compatibility(&self) -> Option<Compatibility> {
        Annotation::Compatibility.of(self)?.parse().ok()
    }

    /// The limits of the Import or Export of this metadata.
    ///
    /// One that can't be understood, which no check of a repository lets pass, is as tight as can be.
    #[must_use]
    pub fn service_limits(&self) -> ServiceLimits {
        let number = |annotation: Annotation| match annotation.of(self) {
            None => 0,
            Some(text) => parse_limit(text).unwrap_or(1),
        };
        ServiceLimits {
            connections: number(Annotation::MaxConnections),
            connections_per_second: number(Annotation::ConnectionsPerSecond),
        }
    }
}

/// The moment of a text as RFC 3339 has it.
pub fn parse_time(text: &str) -> Result<Timestamp, TimeError> {
    // What else the library reads is none: a space in the middle, names of time zones, weeks.
    let is_plain = |c: u8| c.is_ascii_digit() || b"-+:.TZ".contains(&c);
    let is_written_so = text.bytes().all(is_plain) && text.as_bytes().get(10) == Some(&b'T');
    match text.parse() {
        Ok(time) if is_written_so => Ok(time),
        _ => Err(TimeError),
    }
}

/// The limit of a text; none where it isn't a whole number.
#[must_use]
pub fn parse_limit(text: &str) -> Option<u32> {
    let is_number = !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        for (text, seconds) in [
            ("1970-01-01T00:00:01Z", Some(1)),
            ("1970-01-01T01:00:01+01:00", Some(1)),
            ("1970-01-01T00:00:01.0Z", Some(1)),
            ("1970-01-01T00:00:01", None),
            ("1970-01-01 00:00:01Z", None),
            ("1970-01-01", None),
            ("1970-13-01T00:00:00Z", None),
            ("1970-01-01T00:00:01+01:00[Europe/Paris]", None),
            ("tomorrow", None),
            ("", None),
        ] {
            let parsed = parse_time(text).ok().map(Timestamp::as_second);
            assert_eq!(parsed, seconds, "{text:?}");
        }
    }

    #[test]
    fn limits() {
        let numbers = ["0", "7", "4294967295", "4294967296", "-1", "+1", "1.5", ""];
        let parsed = numbers.map(parse_limit);
        let max = Some(u32::MAX);
        assert_eq!(
            parsed,
            [Some(0), Some(7), max, None, None, None, None, None]
        );
    }

    #[test]
    fn keys_are_found_again() {
        for annotation in Annotation::ALL {
            assert_eq!(Annotation::of_key(annotation.key()), Some(annotation));
        }
    }
}
