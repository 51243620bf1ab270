//! The selectors of something that isn't a policy, with a policy's attributes.

use super::Request;
use super::attribute::{Attribute, Side};
use super::selector::{Entry, Term, Verdict};
use crate::api::WorkloadSetOrSelector;
use crate::attributes::{ExportAttributes, PeerAttributes};
use crate::reach::{ClientAttribute, ClientTerm};

/// A selection of clients, as `from` describes them.
#[derive(Clone, Debug)]
pub(crate) struct ClientSelection(Vec<ClientEntry>);

/// One entry of `from`, by what its terms are about.
#[derive(Clone, Debug)]
struct ClientEntry {
    peer: Entry,
    client: Vec<ClientTerm>,
}

/// A selection of services, as `to` describes them.
#[derive(Clone, Debug)]
pub(crate) struct ServiceSelection(Vec<Entry>);

/// A term on something that is no attribute of its side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NoAttribute {
    /// The field: `from` or `to`.
    pub(crate) field: &'static str,
    /// Where the term stands in the object, as a JSON pointer.
    pub(crate) pointer: String,
    /// The key.
    pub(crate) key: String,
}

// === impl ClientSelection ===

impl ClientSelection {
    /// Reads the entries of `from`.
    pub(crate) fn compile(entries: &[WorkloadSetOrSelector]) -> Result<Self, NoAttribute> {
        let entries = compile(Side::From, entries)?;
        let split = |entry: Entry| {
            let Entry::Terms(terms) = entry else {
                return ClientEntry {
                    peer: entry,
                    client: Vec::new(),
                };
            };
            let (mut peer, mut client) = (Vec::new(), Vec::new());
            for term in terms {
                match client_term(&term) {
                    Some(term) => client.push(term),
                    None => peer.push(term),
                }
            }
            ClientEntry {
                peer: Entry::Terms(peer.into()),
                client,
            }
        };
        Ok(Self(entries.into_iter().map(split).collect()))
    }

    /// What the clients of a peer must be like: of one entry at least all the terms must hold;
    /// there is none where no client of the peer is selected.
    pub(crate) fn of_peer<'a>(
        &'a self,
        peer: &'a PeerAttributes,
        any: &'a ExportAttributes,
    ) -> impl Iterator<Item = &'a [ClientTerm]> {
        // A side looks at its own half of a request; the other half is filled with anything.
        let matches = move |entry: &&ClientEntry| is_match(&entry.peer, any, peer, peer);
        self.0
            .iter()
            .filter(matches)
            .map(|entry| entry.client.as_slice())
    }
}

// === impl ServiceSelection ===

impl ServiceSelection {
    /// Reads the entries of `to`.
    pub(crate) fn compile(entries: &[WorkloadSetOrSelector]) -> Result<Self, NoAttribute> {
        compile(Side::To, entries).map(Self)
    }

    /// Whether a service at a peer is selected.
    pub(crate) fn matches(&self, export: &ExportAttributes, peer: &PeerAttributes) -> bool {
        let mut entries = self.0.iter();
        entries.any(|entry| is_match(entry, export, peer, peer))
    }
}

fn is_match(
    entry: &Entry,
    export: &ExportAttributes,
    client_peer: &PeerAttributes,
    export_peer: &PeerAttributes,
) -> bool {
    let request = Request {
        namespace: "",
        client: None,
        client_peer,
        export,
        export_peer,
    };
    entry.verdict(&request, Verdict::No) == Verdict::Yes
}

fn compile(side: Side, entries: &[WorkloadSetOrSelector]) -> Result<Vec<Entry>, NoAttribute> {
    let compile = |(index, entry): (usize, &WorkloadSetOrSelector)| {
        let entry = Entry::compile(side, entry);
        if let Entry::Terms(terms) = &entry
            && let Some(term) = terms.iter().find(|term| term.attribute.is_none())
        {
            let field = side.field();
            let key = if term.index.is_some() { "/key" } else { "" };
            let place = term.pointer();
            return Err(NoAttribute {
                field,
                pointer: format!("/spec/{field}/{index}/workloadSelector{place}{key}"),
                key: term.key.to_string(),
            });
        }
        Ok(entry)
    };
    entries.iter().enumerate().map(compile).collect()
}

/// The term as one on a client's attribute, if it is one.
fn client_term(term: &Term) -> Option<ClientTerm> {
    let attribute = match term.attribute.as_ref()? {
        Attribute::ClientNamespace => ClientAttribute::Namespace,
        Attribute::ClientServiceAccount => ClientAttribute::ServiceAccount,
        Attribute::ClientLabel(key) => ClientAttribute::Label(key.clone()),
        _ => return None,
    };
    Some(ClientTerm {
        attribute,
        operator: term.operator,
        values: term.values.iter().map(ToString::to_string).collect(),
    })
}
