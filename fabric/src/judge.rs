//! What is asked of the policies about a connection through an import, on each of its two sides.
//!
//! This is what `weft explain` and the simulation of a change go by; a test holds it against what
//! gateways decide.

use crate::attributes::Client;
use crate::name::{ObjectName, PeerName};
use crate::policy::{Decision, Policies, Request, Step};
use crate::snapshot::{Import, Snapshot, Source};

/// A connection that is judged.
#[derive(Clone, Copy, Debug)]
pub struct Connection<'a> {
    /// The workload that opens it, where it is known.
    pub client: Option<&'a Client>,
    /// The import through which it goes.
    pub import: &'a Import,
    /// The source of the import to which it goes.
    pub source: &'a Source,
    /// What is in force where it begins.
    pub here: &'a Snapshot,
    /// What is in force where it ends; none where that peer isn't in force.
    pub there: Option<&'a Snapshot>,
}

/// What is asked of the policies of one side.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The policies.
    policies: &'a Policies,
    /// What they are asked.
    request: Request<'a>,
}

/// Why a side lets nothing through, whatever its policies say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The peer isn't in force.
    NoPeer,
    /// The two peers don't know each other.
    NotPeered,
    /// The peer doesn't export it.
    NoExport,
}

// === impl Connection ===

impl<'a> Connection<'a> {
    /// Whether both sides let it through.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        let allows = |question: Question<'_>| question.decide().is_allowed();
        self.importer().is_ok_and(allows) && self.exporter().is_ok_and(allows)
    }

    /// What is asked where it begins.
    pub fn importer(&self) -> Result<Question<'a>, Refusal> {
        let remote = self.here.remotes.get(&self.source.peer);
        let remote = remote.ok_or(Refusal::NotPeered)?;
        Ok(Question {
            policies: &self.here.policies,
            request: Request {
                namespace: self.import.name.namespace(),
                client: self.client,
                client_peer: &self.here.peer,
                export: &self.source.export,
                export_peer: &remote.peer,
            },
        })
    }

    /// What is asked where it ends.
    pub fn exporter(&self) -> Result<Question<'a>, Refusal> {
        let there = self.there.ok_or(Refusal::NoPeer)?;
        let (peer, export): (&PeerName, &ObjectName) =
            (&self.here.peer.name, &self.source.export.name);
        let remote = there.remotes.get(peer).ok_or(Refusal::NotPeered)?;
        let export = there.exports.get(export).ok_or(Refusal::NoExport)?;
        Ok(Question {
            policies: &there.policies,
            request: Request {
                namespace: export.attributes.name.namespace(),
                client: self.client,
                client_peer: &remote.peer,
                export: &export.attributes,
                export_peer: &there.peer,
            },
        })
    }
}

// === impl Question ===

impl<'a> Question<'a> {
    /// What the policies decide.
    #[must_use]
    pub fn decide(&self) -> Decision<'a> {
        self.policies.decide(&self.request)
    }

    /// The way of the decision, step by step.
    #[must_use]
    pub fn steps(&self) -> Vec<Step<'a>> {
        self.policies.steps(&self.request)
    }
}
