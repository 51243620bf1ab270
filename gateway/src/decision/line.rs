//! One line of the decision log.

use std::fmt::Display;
use std::net::SocketAddr;
use std::time::Duration;

use fabric::name::PeerName;
use jiff::Timestamp;
use opentelemetry::TraceId;
use serde::{Serialize, Serializer};

use super::{End, Outcome, Record};
use crate::trace::Span;

/// One line of the decision log; both sides of a connection have the same `request`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Line<'a> {
    #[serde(serialize_with = "shown")]
    time: Timestamp,
    event: &'static str,
    side: &'static str,
    request: &'a str,
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "shown_trace"
    )]
    trace: Option<TraceId>,
    action: &'static str,
    reason: &'static str,
    #[serde(skip_serializing_if = "Client::is_unknown")]
    client: Client<'a>,
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "maybe_shown"
    )]
    import: Option<&'a dyn Display>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<&'a str>,
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "maybe_shown"
    )]
    export: Option<&'a dyn Display>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    via: &'a [PeerName],
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "maybe_shown"
    )]
    rule: Option<&'a dyn Display>,
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<Place<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    commit: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<&'a str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    detail: &'a str,
    #[serde(flatten)]
    ended: Option<Ended>,
}

/// How a connection ended.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Ended {
    end: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    by_peer: Option<&'static str>,
    bytes_to_peer: u64,
    bytes_from_peer: u64,
    duration_ms: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Client<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_account: Option<&'a str>,
}

/// The file and line of a rule, as `file:line`.
struct Place<'a>(&'a str, u32);

// === impl Line ===

impl<'a> Line<'a> {
    /// The line of a decision, and of its end where it has come to that.
    pub(super) fn of(record: &Record<'a>, ended: Option<Ended>) -> Self {
        let rule = record.rule;
        Self {
            time: Timestamp::now(),
            event: match ended {
                Some(_) => "ended",
                None => "decided",
            },
            side: record.side.as_str(),
            request: record.request,
            trace: record.span.map(Span::trace),
            action: match record.outcome {
                Outcome::Allowed => "allow",
                _ => "deny",
            },
            reason: record.outcome.as_str(),
            client: Client {
                address: record.address,
                namespace: record.client.map(|client| client.namespace.as_str()),
                service_account: record.client.map(|client| client.service_account.as_str()),
            },
            import: record.import.map(|name| name as &dyn Display),
            peer: record.peer.map(PeerName::as_str),
            export: record.export.map(|name| name as &dyn Display),
            via: record.via,
            rule: rule.map(|rule| &rule.key as &dyn Display),
            origin: rule.map(|rule| Place(&rule.origin.path, rule.origin.line)),
            commit: rule.map(|rule| rule.origin.revision.as_str()),
            revision: record.snapshot.map(|snapshot| snapshot.revision.as_str()),
            detail: record.detail,
            ended,
        }
    }
}

// === impl Ended ===

impl Ended {
    pub(super) fn new(end: End, (to_peer, from_peer): (u64, u64), duration: Duration) -> Self {
        Self {
            end: end.as_str(),
            by_peer: match end {
                End::ByPeer(reason) => Some(reason.as_str()),
                _ => None,
            },
            bytes_to_peer: to_peer,
            bytes_from_peer: from_peer,
            duration_ms: duration.as_millis() as u64,
        }
    }
}

// === impl Client ===

impl Client<'_> {
    const fn is_unknown(&self) -> bool {
        self.address.is_none() && self.namespace.is_none()
    }
}

// === impl Place ===

impl Serialize for Place<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(path, line) = self;
        serializer.collect_str(&format_args!("{path}:{line}"))
    }
}

fn shown<S: Serializer>(value: &impl Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

fn shown_trace<S: Serializer>(trace: &Option<TraceId>, serializer: S) -> Result<S::Ok, S::Error> {
    match trace {
        Some(trace) => serializer.collect_str(trace),
        None => serializer.serialize_none(),
    }
}

fn maybe_shown<S: Serializer>(
    value: &Option<&dyn Display>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}
