use anyhow::{Context as _, Result};
use fabric::api::Action;
use fabric::attributes::Client;
use fabric::diagnostic::nearest;
use fabric::judge::{Connection, Question, Refusal};
use fabric::name::{ObjectKey, ObjectName, PeerName};
use fabric::origin::Origin;
use fabric::policy::{Decision, Reason, Rule};
use fabric::snapshot::{Import, Snapshot};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::Snapshots;
use super::show::StepShown;
use crate::failure::Hint as _;

/// What comes of a connection.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Verdict {
    /// Whether it is let through by way of at least one source.
    pub(super) allowed: bool,
    /// The peer where it begins.
    pub(super) peer: PeerName,
    /// The client, where it is known.
    pub(super) client: Option<Client>,
    /// The import through which it goes.
    pub(super) import: ObjectName,
    /// Where the Import stands.
    pub(super) origin: Origin,
    /// What comes of each source.
    pub(super) sources: Vec<SourceVerdict>,
}

/// What comes of a connection by way of one source.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct SourceVerdict {
    /// Whether both sides let it through.
    pub(super) allowed: bool,
    /// The peer that exports.
    pub(super) peer: PeerName,
    /// The export there.
    pub(super) export: ObjectName,
    /// What is decided where the connection begins.
    pub(super) importer: Side,
    /// What is decided where it ends.
    pub(super) exporter: Side,
}

/// What one side decides.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Side {
    /// Whether it lets the connection through.
    pub(super) allowed: bool,
    /// Why.
    pub(super) reason: Why,
    /// The policy that decided, where one did.
    pub(super) rule: Option<Place>,
    /// What was looked at, where that is wanted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) steps: Vec<StepShown>,
}

/// Why a side decides so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) enum Why {
    /// A policy says so.
    Policy,
    /// No policy matches.
    DefaultDeny,
    /// The client isn't known, and a policy could have decided by what it is.
    UnknownClient,
    /// The peer isn't in force at this state of the repository.
    NoPeer,
    /// The two peers don't know each other.
    NotPeered,
    /// The peer doesn't export it.
    NoExport,
}

/// A policy, and where it stands.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(super) struct Place {
    /// Which policy it is.
    pub(super) key: ObjectKey,
    /// Where it stands.
    pub(super) origin: Origin,
    /// When it ends; none where it doesn't by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub(super) expires: Option<Timestamp>,
}

/// Judges a connection through an import.
pub(super) fn judge(
    snapshots: &mut Snapshots<'_>,
    peer: &PeerName,
    client: Option<&Client>,
    import: &ObjectName,
    with_steps: bool,
) -> Result<Verdict> {
    let here = snapshots.named(peer)?.clone();
    let found = find(&here, import)?;
    let mut verdict = |source| {
        let connection = Connection {
            client,
            import: found,
            source,
            here: &here,
            there: snapshots.of(&source.peer),
        };
        SourceVerdict::of(&connection, with_steps)
    };
    let sources: Vec<_> = found.sources.iter().map(&mut verdict).collect();
    Ok(Verdict {
        allowed: sources.iter().any(|source| source.allowed),
        peer: peer.clone(),
        client: client.cloned(),
        import: import.clone(),
        origin: found.origin.clone(),
        sources,
    })
}

fn find<'a>(here: &'a Snapshot, import: &ObjectName) -> Result<&'a Import> {
    let peer = &here.peer.name;
    let names: Vec<_> = here.imports.keys().map(ToString::to_string).collect();
    let found = here.imports.get(import).map(AsRef::as_ref);
    let found = found.with_context(|| format!("the peer {peer} has no import {import} in force"));
    match nearest(&import.to_string(), names.iter().map(String::as_str)) {
        Some(near) => found.hint(|| format!("did you mean {near}?")),
        None => found,
    }
}

// === impl SourceVerdict ===

impl SourceVerdict {
    fn of(connection: &Connection<'_>, with_steps: bool) -> Self {
        let importer = Side::of(connection.importer(), with_steps);
        let exporter = Side::of(connection.exporter(), with_steps);
        Self {
            allowed: importer.allowed && exporter.allowed,
            peer: connection.source.peer.clone(),
            export: connection.source.export.name.clone(),
            importer,
            exporter,
        }
    }
}

// === impl Place ===

impl Place {
    /// Where a policy stands.
    pub(super) fn of(rule: &Rule) -> Self {
        Self {
            key: rule.key.clone(),
            origin: rule.origin.clone(),
            expires: rule.expires,
        }
    }
}

// === impl Side ===

impl Side {
    fn of(question: Result<Question<'_>, Refusal>, with_steps: bool) -> Self {
        let question = match question {
            Ok(question) => question,
            Err(refusal) => return Self::refuse(refusal),
        };
        let Decision { action, reason } = question.decide();
        let (reason, rule) = match reason {
            Reason::Rule(rule) => (Why::Policy, Some(rule)),
            Reason::UnknownClient(rule) => (Why::UnknownClient, Some(rule)),
            Reason::DefaultDeny => (Why::DefaultDeny, None),
        };
        let steps = match with_steps {
            true => question.steps().iter().map(StepShown::of).collect(),
            false => Vec::new(),
        };
        Self {
            allowed: action == Action::Allow,
            reason,
            rule: rule.map(Place::of),
            steps,
        }
    }

    const fn refuse(refusal: Refusal) -> Self {
        Self {
            allowed: false,
            reason: match refusal {
                Refusal::NoPeer => Why::NoPeer,
                Refusal::NotPeered => Why::NotPeered,
                Refusal::NoExport => Why::NoExport,
            },
            rule: None,
            steps: Vec::new(),
        }
    }
}
