//! What the reconciler says of itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use fabric::diagnostic::Diagnostic;
use fabric::origin::Revision;
use jiff::Timestamp;
use serde::Serialize;

/// Where the reconciler stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The revision in force; none as long as there is none.
    pub in_force: Option<Revision>,
    /// Since when it is in force, as far as this process knows.
    pub since: Option<Timestamp>,
    /// The newest revision that was fetched, whether it could be brought into force or not.
    pub attempted: Option<Revision>,
    /// When the repository was last asked with success.
    pub checked: Option<Timestamp>,
    /// What went wrong, as long as it does.
    pub failure: Option<Failure>,
    /// The units of the attempted revision.
    pub units: BTreeMap<String, UnitStatus>,
    /// Whether the shared files hold the whole fabric at its last good state.
    pub is_held: bool,
    /// How the attempted revision follows on the one in force before it.
    pub history: Option<History>,
    /// Everything that is wrong with the attempted revision.
    pub diagnostics: Arc<[Diagnostic]>,
}

/// The world's failure to bring something into force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// One of a few words, in CamelCase.
    pub reason: &'static str,
    /// What failed, and why.
    pub message: String,
    /// Since when it fails.
    pub since: Timestamp,
    /// How often in a row.
    pub attempts: u32,
}

/// Where one unit stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UnitStatus {
    /// The revision at which it is in force; none when it never was good.
    pub revision: Option<Revision>,
    /// Whether a mistake in it holds it at that revision.
    pub is_frozen: bool,
}

/// How one revision follows on another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum History {
    /// It was built upon it.
    Forward,
    /// It is an older one: the history was rewound.
    Rewound,
    /// It was built upon something else: the history was rewritten.
    Unrelated,
    /// It can't be known within the bound; treat it as unrelated.
    Unknown,
}

// === impl Status ===

impl Status {
    /// Whether the newest revision is in force, whole and without a failure.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.failure.is_none()
            && !self.is_held
            && self.in_force.is_some()
            && self.in_force == self.attempted
    }
}
