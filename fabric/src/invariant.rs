//! What must be true of who reaches what, whatever else changes.
//!
//! The invariants are read and linked as everything else is, by the same [`build`](crate::fabric::build)
//! in every peer. [`check`] then asks about every possible client, which costs far more and changes
//! nothing that is in force: so `weft validate` and `weft plan` call it, and a reconciler doesn't.

mod question;
mod words;

use schemars::JsonSchema;
use serde::Serialize;

use crate::attributes::Client;
use crate::fabric::Build;
use crate::name::PeerName;
use crate::origin::Origin;
use crate::reach::{Reach, Route, Verdict};

use question::Question;

/// Whether an invariant holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CounterExample {
    /// What happens, in a sentence.
    pub message: String,
    /// The way that is taken, or that isn't open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<Route>,
    /// The peer where the client is.
    pub peer: PeerName,
    /// The client; none for one of which the peer knows nothing, or where no client could.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<Client>,
    /// What is decided of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// The peers whose loss it takes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lost: Vec<PeerName>,
}

/// Steps of all invariants together, searches for clients and looks at peers, services and routes:
/// some ten seconds at most, and more than a thousand invariants of a fabric of usual policies
/// need. What isn't checked then is told as undecided, each by its name.
pub const STEPS: usize = 100_000_000;

/// Checks the invariants of what was built, and adds what is wrong with them to what the build
/// reports.
///
/// What they are checked against is what is to be in force, frozen parts at their last good state.
pub fn check(build: &mut Build) -> Vec<InvariantVerdict> {
    check_within(build, STEPS)
}

/// The same within so many steps.
pub fn check_within(build: &mut Build, mut steps: usize) -> Vec<InvariantVerdict> {
    let Some(fabric) = build.fabric.as_ref().filter(|f| !f.invariants.is_empty()) else {
        return Vec::new();
    };
    let mut reach = Reach::new(fabric);
    let question = Question::new(fabric, reach.routes().count());
    let mut verdicts = Vec::new();
    for item in &fabric.invariants {
        let answer = question.ask(item, &mut reach, &mut steps);
        build
            .diagnostics
            .extend(words::diagnostics(fabric, item, &answer));
        verdicts.extend(answer.verdict(item));
    }
    build
        .diagnostics
        .sort_by(|a, b| a.sort_key().cmp(&b.sort_key()));
    verdicts
}
