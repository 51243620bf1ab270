//! What is decided of a connection by a snapshot: where it begins, and where it ends.

use fabric::attributes::Client;
use fabric::name::{ObjectName, PeerName};
use fabric::policy::{self, Request, Rule};
use fabric::snapshot::{Import, Snapshot, Source};
use jiff::Timestamp;

use crate::decision::Outcome;

/// Decides about a client's connection through an import to one of its sources.
#[must_use]
pub fn outbound<'a>(
    snapshot: &'a Snapshot,
    client: Option<&Client>,
    import: &Import,
    source: &Source,
) -> (Outcome, Option<&'a Rule>) {
    let Some(remote) = snapshot.remotes.get(&source.peer) else {
        return (Outcome::UnknownPeer, None);
    };
    decided(&snapshot.policies.decide(&Request {
        namespace: import.name.namespace(),
        client,
        client_peer: &snapshot.peer,
        export: &source.export,
        export_peer: &remote.peer,
    }))
}

/// Decides about a peer's connection to an export; the client is what the peer says of it.
#[must_use]
pub fn inbound<'a>(
    snapshot: &'a Snapshot,
    client: Option<&Client>,
    peer: &PeerName,
    export: &ObjectName,
) -> (Outcome, Option<&'a Rule>) {
    let Some(remote) = snapshot.remotes.get(peer) else {
        return (Outcome::UnknownPeer, None);
    };
    let Some(export) = snapshot.exports.get(export) else {
        return (Outcome::MissingExport, None);
    };
    decided(&snapshot.policies.decide(&Request {
        namespace: export.attributes.name.namespace(),
        client,
        client_peer: &remote.peer,
        export: &export.attributes,
        export_peer: &snapshot.peer,
    }))
}

/// What a policy's decision comes to now: one that ends by the clock may have ended since the
/// snapshot was looked through, a moment ago.
fn decided<'a>(decision: &policy::Decision<'a>) -> (Outcome, Option<&'a Rule>) {
    let (outcome, rule) = Outcome::of_policy(decision);
    let expires = rule.and_then(|rule| rule.expires);
    match expires {
        Some(expires) if outcome == Outcome::Allowed && expires <= Timestamp::now() => {
            (Outcome::NoLongerAllowed, rule)
        }
        _ => (outcome, rule),
    }
}
