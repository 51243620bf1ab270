//! What is decided of a connection by a snapshot: where it begins, and where it ends.

use fabric::attributes::Client;
use fabric::name::{ObjectName, PeerName};
use fabric::policy::{Request, Rule};
use fabric::snapshot::{Import, Snapshot, Source};

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
    Outcome::of_policy(&snapshot.policies.decide(&Request {
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
    Outcome::of_policy(&snapshot.policies.decide(&Request {
        namespace: export.attributes.name.namespace(),
        client,
        client_peer: &remote.peer,
        export: &export.attributes,
        export_peer: &snapshot.peer,
    }))
}
