//! What is decided of connections, and the log of it.
//!
//! One line per connection and side when it is decided, and one when it ends: in a file of its own
//! where one is named, and else as events at target `weft::decision`.

mod line;
pub(crate) mod log;

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use fabric::api::Action;
use fabric::attributes::Client;
use fabric::name::{ObjectName, PeerName};
use fabric::policy::{self, Rule};
use fabric::snapshot::Snapshot;

use crate::limits::Limit;
use crate::metrics::{Metrics, Side};
use crate::state::State;
use crate::trace::Span;
use crate::tunnel::{Broken, Reason};

use line::{Ended, Line};

/// What is decided of a connection; the order is the order in which one failure among several
/// sources tells more than another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// A policy lets it through, and the service is reached.
    Allowed,
    /// There is no snapshot in force.
    NoSnapshot,
    /// The import isn't there any more.
    MissingImport,
    /// The import has no source.
    NoSource,
    /// The source's peer isn't part of the fabric.
    UnknownPeer,
    /// No policy allows it.
    DefaultDeny,
    /// The client is unknown, and a policy would have looked at what it is.
    UnknownClient,
    /// A policy denies it.
    Denied,
    /// There is no such export here.
    MissingExport,
    /// The guard rails refuse what the export aims at.
    GuardRefused,
    /// The exported service can't be reached.
    ExportUnreachable,
    /// The way leads in a circle.
    Loop,
    /// A limit is reached.
    Limit,
    /// The gateway is going down.
    Draining,
    /// The snapshot changed while the connection was opened.
    NoLongerAllowed,
    /// The peer has no such export.
    PeerMissingExport,
    /// The peer denies it.
    PeerDenied,
    /// The peer refuses it for another reason.
    PeerRefused,
    /// The peer's service can't be reached.
    PeerExportUnreachable,
    /// The peer can't be reached.
    PeerUnreachable,
}

/// One decision, for the log.
#[derive(Debug)]
pub struct Record<'a> {
    /// On which side.
    pub side: Side,
    /// Names the connection in the logs of both sides.
    pub request: &'a str,
    /// What is decided.
    pub outcome: Outcome,
    /// The policy that decided, where one did.
    pub rule: Option<&'a Rule>,
    /// The snapshot by which it was decided.
    pub snapshot: Option<&'a Snapshot>,
    /// Where the client connects from, on the import's side.
    pub address: Option<SocketAddr>,
    /// The client, where it is known.
    pub client: Option<&'a Client>,
    /// The import, on its side.
    pub import: Option<&'a ObjectName>,
    /// The other peer.
    pub peer: Option<&'a PeerName>,
    /// The export.
    pub export: Option<&'a ObjectName>,
    /// The peers that relayed it; for the log, since it decides nothing.
    pub via: &'a [PeerName],
    /// What else there is to say, for people.
    pub detail: &'a str,
    /// The connection's part of a trace, where there is one.
    pub(crate) span: Option<&'a Span<'a>>,
}

/// How a connection that was let through ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Both directions came to their end.
    Complete,
    /// The client or the service on this side broke it off.
    Aborted,
    /// The other gateway broke it off.
    ByPeer(Reason),
    /// The connection to the other gateway is gone.
    Lost,
    /// A changed snapshot doesn't allow it any more.
    NoLongerAllowed,
    /// Nothing was carried for too long.
    Idle,
    /// The gateway went down.
    Draining,
}

/// Where a rule stands, as `file:line`, for a line of text.
pub(crate) fn place(rule: &Rule) -> String {
    format!("{}:{}", rule.origin.path.escape_default(), rule.origin.line)
}

// === impl Outcome ===

impl Outcome {
    /// The stable name in logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::NoSnapshot => "no_snapshot",
            Self::MissingImport => "missing_import",
            Self::NoSource => "no_source",
            Self::UnknownPeer => "unknown_peer",
            Self::DefaultDeny => "default_deny",
            Self::UnknownClient => "unknown_client",
            Self::Denied => "denied",
            Self::MissingExport => "missing_export",
            Self::GuardRefused => "guard_refused",
            Self::ExportUnreachable => "export_unreachable",
            Self::Loop => "loop",
            Self::Limit => "limit",
            Self::Draining => "draining",
            Self::NoLongerAllowed => "no_longer_allowed",
            Self::PeerMissingExport => "peer_missing_export",
            Self::PeerDenied => "peer_denied",
            Self::PeerRefused => "peer_refused",
            Self::PeerExportUnreachable => "peer_export_unreachable",
            Self::PeerUnreachable => "peer_unreachable",
        }
    }

    /// What the other gateway is told.
    #[must_use]
    pub const fn reason(self) -> Reason {
        match self {
            Self::UnknownClient => Reason::UnknownClient,
            Self::MissingExport
            | Self::MissingImport
            | Self::NoSource
            | Self::PeerMissingExport => Reason::MissingExport,
            Self::GuardRefused => Reason::GuardRefused,
            Self::ExportUnreachable | Self::PeerExportUnreachable | Self::PeerUnreachable => {
                Reason::ExportUnreachable
            }
            Self::Loop => Reason::Loop,
            Self::Limit => Reason::Limit,
            Self::Draining => Reason::Draining,
            Self::NoSnapshot => Reason::NotReady,
            Self::NoLongerAllowed => Reason::NoLongerAllowed,
            _ => Reason::Denied,
        }
    }

    /// What it comes to that the other gateway didn't open a tunnel.
    #[must_use]
    pub const fn of_broken(broken: &Broken) -> Self {
        match broken {
            Broken::Refused(reason, _) | Broken::Reset(reason, _) => match reason {
                Reason::Denied | Reason::UnknownClient | Reason::NoLongerAllowed => {
                    Self::PeerDenied
                }
                Reason::MissingExport => Self::PeerMissingExport,
                Reason::Loop => Self::Loop,
                Reason::ExportUnreachable => Self::PeerExportUnreachable,
                _ => Self::PeerRefused,
            },
            Broken::Ended(_) | Broken::Lost => Self::PeerUnreachable,
        }
    }

    /// What a policy's decision comes to.
    #[must_use]
    pub const fn of_policy<'a>(decision: &policy::Decision<'a>) -> (Self, Option<&'a Rule>) {
        match (decision.action, decision.reason) {
            (Action::Allow, policy::Reason::Rule(rule)) => (Self::Allowed, Some(rule)),
            (Action::Deny, policy::Reason::Rule(rule)) => (Self::Denied, Some(rule)),
            (_, policy::Reason::UnknownClient(rule)) => (Self::UnknownClient, Some(rule)),
            (_, policy::Reason::DefaultDeny) => (Self::DefaultDeny, None),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

// === impl Record ===

impl Record<'_> {
    /// A limit stands in the way: counted by its name, and told by its words.
    pub(crate) fn hit(&mut self, limit: Limit, metrics: &Metrics) {
        metrics.limit(limit);
        self.outcome = Outcome::Limit;
        self.detail = limit.words();
    }

    /// Counts the decision.
    pub fn count(&self, metrics: &Metrics) {
        metrics
            .decisions
            .get_or_create(&self.side.reason(self.outcome.as_str()))
            .inc();
    }

    /// Writes the decision to the log and counts it.
    pub(crate) fn write(&self, state: &State) {
        self.count(&state.metrics);
        if let Some(span) = self.span {
            span.decided(self);
        }
        if let Some(log) = &state.decisions {
            return log.add(&Line::of(self, None), &state.metrics);
        }
        if !tracing::enabled!(target: "weft::decision", tracing::Level::INFO) {
            return;
        }
        let action = match self.outcome {
            Outcome::Allowed => "allow",
            _ => "deny",
        };
        let rule = self.rule.map(|rule| rule.key.to_string());
        let origin = self.rule.map(place);
        let via: Vec<_> = self.via.iter().map(PeerName::as_str).collect();
        let via = (!via.is_empty()).then(|| via.join(","));
        tracing::info!(
            target: "weft::decision",
            action,
            side = self.side.as_str(),
            reason = self.outcome.as_str(),
            request = self.request,
            client.address = self.address.map(tracing::field::display),
            client.namespace = self.client.map(|client| client.namespace.as_str()),
            client.service_account = self.client.map(|client| client.service_account.as_str()),
            import = self.import.map(tracing::field::display),
            peer = self.peer.map(tracing::field::display),
            export = self.export.map(tracing::field::display),
            via = via.as_deref(),
            rule = rule.as_deref(),
            origin = origin.as_deref(),
            commit = self.rule.map(|rule| rule.origin.revision.as_str()),
            revision = self.snapshot.map(|snapshot| snapshot.revision.as_str()),
            detail = self.detail,
            trace = self.span.map(|span| tracing::field::display(span.trace())),
            "connection decided",
        );
    }

    /// Writes the end of a connection to the log and counts it.
    pub(crate) fn write_end(&self, state: &State, end: End, bytes: (u64, u64), duration: Duration) {
        let label = self.side.reason(end.as_str());
        state.metrics.connections_ended.get_or_create(&label).inc();
        if let Some(span) = self.span {
            span.ended(end, bytes);
        }
        if let Some(log) = &state.decisions {
            let ended = Ended::new(end, bytes, duration);
            return log.add(&Line::of(self, Some(ended)), &state.metrics);
        }
        let by_peer = match end {
            End::ByPeer(reason) => Some(reason.as_str()),
            _ => None,
        };
        tracing::info!(
            target: "weft::decision",
            side = self.side.as_str(),
            request = self.request,
            end = end.as_str(),
            by_peer,
            bytes.to_peer = bytes.0,
            bytes.from_peer = bytes.1,
            duration_ms = duration.as_millis() as u64,
            "connection ended",
        );
    }
}

// === impl End ===

impl End {
    /// The stable name in logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Aborted => "aborted",
            Self::ByPeer(Reason::NoLongerAllowed) => "peer_no_longer_allowed",
            Self::ByPeer(Reason::Draining) => "peer_draining",
            Self::ByPeer(_) => "peer_aborted",
            Self::Lost => "connection_lost",
            Self::NoLongerAllowed => "no_longer_allowed",
            Self::Idle => "idle",
            Self::Draining => "draining",
        }
    }

    /// What the other gateway is told.
    #[must_use]
    pub const fn reason(self) -> Reason {
        match self {
            Self::NoLongerAllowed => Reason::NoLongerAllowed,
            Self::Idle => Reason::Idle,
            Self::Draining => Reason::Draining,
            _ => Reason::Aborted,
        }
    }
}

impl From<Broken> for End {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Refused(reason, _) | Broken::Reset(reason, _) => Self::ByPeer(reason),
            Broken::Lost => Self::Lost,
            Broken::Ended(_) => Self::Aborted,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_and_every_end_is_documented() {
        let outcomes = [
            Outcome::Allowed,
            Outcome::NoSnapshot,
            Outcome::MissingImport,
            Outcome::NoSource,
            Outcome::UnknownPeer,
            Outcome::DefaultDeny,
            Outcome::UnknownClient,
            Outcome::Denied,
            Outcome::MissingExport,
            Outcome::GuardRefused,
            Outcome::ExportUnreachable,
            Outcome::Loop,
            Outcome::Limit,
            Outcome::Draining,
            Outcome::NoLongerAllowed,
            Outcome::PeerMissingExport,
            Outcome::PeerDenied,
            Outcome::PeerRefused,
            Outcome::PeerExportUnreachable,
            Outcome::PeerUnreachable,
        ];
        // All of them, as long as the last one is the last.
        assert_eq!(outcomes.len(), Outcome::PeerUnreachable as usize + 1);
        let ends = [
            End::Complete,
            End::Aborted,
            End::ByPeer(Reason::NoLongerAllowed),
            End::ByPeer(Reason::Draining),
            End::ByPeer(Reason::Aborted),
            End::Lost,
            End::NoLongerAllowed,
            End::Idle,
            End::Draining,
        ];
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration.md");
        let page = std::fs::read_to_string(path).unwrap();
        let told: Vec<&str> = page
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split(" |").next())
            .flat_map(|cell| cell.split('`'))
            .collect();
        let reasons = outcomes.map(Outcome::as_str);
        for name in reasons.into_iter().chain(ends.map(End::as_str)) {
            assert!(told.contains(&name), "docs/configuration.md lacks {name}");
        }
    }
}
