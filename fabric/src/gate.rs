//! Changes that need an approval, and the approvals.

use serde::Serialize;

use crate::api::Gate;
use crate::origin::Revision;

/// What a gate says to a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GateVerdict {
    /// The gate.
    pub gate: Gate,
    /// What it says.
    pub outcome: GateOutcome,
    /// What there is to approve, in a few words each; at most a few of them.
    pub reasons: Vec<String>,
    /// The trailer that approves it, such as `Weft-Approve: widens-access`; none where there is
    /// nothing to approve.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trailer: Option<String>,
    /// The commits that approve it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub approved_by: Vec<Revision>,
}

/// What a gate says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum GateOutcome {
    /// There is nothing to approve.
    Passed,
    /// There is something to approve, and a commit of the range approves it.
    Approved,
    /// There is something to approve, and nobody does.
    Refused,
}
