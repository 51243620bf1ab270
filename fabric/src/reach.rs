//! Who can reach what: exact for every possible client, also for one that nobody has declared.
//!
//! A *route* is one way to a service: from a peer, through an import, to one of its sources. Over a
//! route, clients are told apart by attributes alone (namespace, service account, labels), so the
//! set of those that are let through is described by selectors, and two states of the repository
//! are compared without a list of clients.

mod access;
mod attribute;
mod cover;
mod diagram;
mod difference;
mod engine;
mod group;
mod network;
mod policies;
mod region;
mod search;
mod values;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use crate::api::Operator;
use crate::attributes::Client;
use crate::fabric::Fabric;
use crate::name::{ObjectName, PeerName};
use crate::policy::Rule;

pub use access::{Access, Grant, Outcome, Refusal};
pub use attribute::{ClientAttribute, UnknownAttribute};
pub use group::{Decided, Group, ImportingPeer, Service, groups, groups_by_service};
pub use search::{Reach, Search, Selection, Wanted, Witness};

/// One way to a service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Route {
    /// The peer that exports the service.
    pub export_peer: PeerName,
    /// The service there.
    pub export: ObjectName,
    /// The peer where connections begin.
    pub client_peer: PeerName,
    /// The import there.
    pub import: ObjectName,
}

/// Some clients of a route, all of those that are described.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Clients {
    /// Those that the importing peer knows and for which every term holds; all where there is none.
    Known(Vec<ClientTerm>),
    /// Those of which the importing peer knows nothing.
    Unknown,
}

/// A condition on one attribute of a client.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClientTerm {
    /// The attribute: `namespace`, `service-account` or `labels.KEY`.
    pub attribute: ClientAttribute,
    /// How it is compared.
    pub operator: Operator,
    /// With what; empty for Exists and DoesNotExist.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

/// What is decided on the two sides of a route.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "RouteVerdict")]
pub struct Verdict {
    /// Whether both sides let the connection through.
    pub allowed: bool,
    /// What decides where the connection begins.
    pub importer: Why,
    /// What decides where it ends.
    pub exporter: Why,
}

/// What decides on one side.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Why {
    /// This policy allows it.
    Allowed(Rule),
    /// This policy denies it.
    Denied(Rule),
    /// The client is unknown, and this policy could have decided by what it is.
    UnknownClient(Rule),
    /// No policy matches.
    DefaultDeny,
    /// There is no such route in this state: the peer, the import or the export isn't there.
    NoRoute,
}

/// Clients of a route for whom access opens or closes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Flip {
    /// The way.
    pub route: Route,
    /// From when on, where it isn't so at once: then a policy ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub from: Option<Timestamp>,
    /// The clients.
    pub clients: Clients,
    /// A client of them; none for unknown ones. One that is declared where there is one.
    pub example: Option<Client>,
    /// What was decided of the example.
    pub before: Verdict,
    /// What is decided of it now.
    pub after: Verdict,
}

/// What two states of a repository let through differently.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ReachDifference")]
pub struct Difference {
    /// Access that opens.
    pub opened: Vec<Flip>,
    /// Access that closes.
    pub closed: Vec<Flip>,
    /// Routes whose policies are too entangled to be told apart exactly: counts as opened.
    pub undecided: Vec<Route>,
}

/// What the second state lets through that the first doesn't, and the other way round, now or once
/// policies have ended; none stands for a state in which nothing is in force.
#[must_use]
pub fn difference(before: Option<&Fabric>, after: Option<&Fabric>) -> Difference {
    difference::difference(before, after)
}
