use anyhow::{Context as _, Result};
use fabric::api::Action;
use fabric::attributes::{Client, PeerAttributes};
use fabric::diagnostic::nearest;
use fabric::name::{ObjectKey, ObjectName, PeerName};
use fabric::origin::Origin;
use fabric::policy::{Decision, Policies, Reason, Request};
use fabric::snapshot::{Import, Snapshot, Source};
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
    let connection = Connection {
        client,
        import: found,
        here: &here,
        with_steps,
    };
    let sources: Vec<_> = found
        .sources
        .iter()
        .map(|source| connection.judge(source, snapshots.of(&source.peer)))
        .collect();
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

/// The connection that is judged.
struct Connection<'a> {
    client: Option<&'a Client>,
    import: &'a Import,
    here: &'a Snapshot,
    with_steps: bool,
}

// === impl Connection ===

impl Connection<'_> {
    fn judge(&self, source: &Source, there: Option<&Snapshot>) -> SourceVerdict {
        let importer = self.judge_importer(source);
        let exporter = match there {
            Some(there) => self.judge_exporter(source, there),
            None => Side::refuse(Why::NoPeer),
        };
        SourceVerdict {
            allowed: importer.allowed && exporter.allowed,
            peer: source.peer.clone(),
            export: source.export.name.clone(),
            importer,
            exporter,
        }
    }

    fn judge_importer(&self, source: &Source) -> Side {
        let Some(remote) = self.here.remotes.get(&source.peer) else {
            return Side::refuse(Why::NotPeered);
        };
        let request = Request {
            namespace: self.import.name.namespace(),
            client: self.client,
            client_peer: &self.here.peer,
            export: &source.export,
            export_peer: &remote.peer,
        };
        Side::of(&self.here.policies, &request, self.with_steps)
    }

    fn judge_exporter(&self, source: &Source, there: &Snapshot) -> Side {
        let Some(known) = known_peer(there, &self.here.peer.name) else {
            return Side::refuse(Why::NotPeered);
        };
        let Some(export) = there.exports.get(&source.export.name) else {
            return Side::refuse(Why::NoExport);
        };
        let request = Request {
            namespace: export.attributes.name.namespace(),
            client: self.client,
            client_peer: known,
            export: &export.attributes,
            export_peer: &there.peer,
        };
        Side::of(&there.policies, &request, self.with_steps)
    }
}

fn known_peer<'a>(there: &'a Snapshot, name: &PeerName) -> Option<&'a PeerAttributes> {
    there.remotes.get(name).map(|remote| &remote.peer)
}

// === impl Side ===

impl Side {
    fn of(policies: &Policies, request: &Request<'_>, with_steps: bool) -> Self {
        let Decision { action, reason } = policies.decide(request);
        let (reason, rule) = match reason {
            Reason::Rule(rule) => (Why::Policy, Some(rule)),
            Reason::UnknownClient(rule) => (Why::UnknownClient, Some(rule)),
            Reason::DefaultDeny => (Why::DefaultDeny, None),
        };
        let steps = match with_steps {
            true => policies.steps(request).iter().map(StepShown::of).collect(),
            false => Vec::new(),
        };
        Self {
            allowed: action == Action::Allow,
            reason,
            rule: rule.map(|rule| Place {
                key: rule.key.clone(),
                origin: rule.origin.clone(),
            }),
            steps,
        }
    }

    const fn refuse(reason: Why) -> Self {
        Self {
            allowed: false,
            reason,
            rule: None,
            steps: Vec::new(),
        }
    }
}
