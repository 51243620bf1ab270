//! What a FabricSync's status says: computed whole, written where it is another one.

use fabric::api::{Condition, ConditionStatus, FabricSyncStatus, FrozenUnit, RefusedObject};
use fabric::diagnostic::Effect;
use jiff::Timestamp;

use crate::status::Status;
use crate::store::kubernetes::StoreStatus;

/// So many of each are listed; their number stands in a condition.
const REFUSED: usize = 50;
const BLOCKED: usize = 100;
const FROZEN: usize = 100;
const FINDINGS: usize = 50;

/// What a status is made of.
#[derive(Debug)]
pub(super) struct Facts<'a> {
    pub(super) generation: i64,
    pub(super) handled: Option<String>,
    pub(super) status: &'a Status,
    pub(super) store: &'a StoreStatus,
    /// Whether a round came to its end since the FabricSync was last changed.
    pub(super) is_observed: bool,
}

/// The status of a FabricSync that acts.
pub(super) fn of(facts: &Facts<'_>, before: &FabricSyncStatus, now: Timestamp) -> FabricSyncStatus {
    let (status, store) = (facts.status, facts.store);
    let findings: Vec<_> = status
        .diagnostics
        .iter()
        .filter(|diagnostic| diagnostic.effect >= Effect::Fail)
        .collect();
    let frozen: Vec<_> = status
        .units
        .iter()
        .filter(|(_, unit)| unit.is_frozen)
        .collect();
    let condition = |kind: &str, holds: ConditionStatus, reason: &str, message: String| {
        let generation = Some(facts.generation);
        let condition = Condition::new(kind, holds, reason, message, generation, now);
        let old = before.conditions.iter().find(|old| old.kind == kind);
        condition.after(old)
    };
    let (ready, reason, message) = readiness(facts, frozen.len());
    let mut conditions = vec![condition("Ready", ready, reason, message)];
    if ready != ConditionStatus::True {
        let is_stalled = status
            .failure
            .as_ref()
            .is_some_and(|failure| failure.reason == "HistoryRewritten");
        let kind = if is_stalled { "Stalled" } else { "Reconciling" };
        let message = conditions[0].message.clone();
        conditions.push(condition(kind, ConditionStatus::True, reason, message));
    }
    conditions.push(condition(
        "SourceVerified",
        ConditionStatus::Unknown,
        "NotConfigured",
        "commits are taken as the repository gives them".to_owned(),
    ));
    if !store.blocked.is_empty() {
        let count = store.blocked.len();
        let message = format!(
            "{count} objects aren't in the repository any more, more than the prune budget allows \
             to delete at once; a commit with the trailer `Weft-Approve: prune={count}` approves it"
        );
        let holds = ConditionStatus::True;
        conditions.push(condition("PruneBlocked", holds, "BudgetExceeded", message));
    }
    conditions.sort_by(|a, b| a.kind.cmp(&b.kind));

    let revision = status.in_force.as_ref().or(store.revision.as_ref());
    let revision = revision.map(ToString::to_string);
    FabricSyncStatus {
        observed_generation: match facts.is_observed {
            true => Some(facts.generation),
            false => before.observed_generation,
        },
        last_handled_reconcile_at: facts.handled.clone(),
        since: match &revision {
            Some(revision) if before.revision.as_ref() == Some(revision) => before.since,
            Some(_) => status.since,
            None => None,
        },
        revision,
        attempted_revision: status.attempted.as_ref().map(ToString::to_string),
        objects: u32::try_from(store.objects).unwrap_or(u32::MAX),
        frozen_units: frozen
            .iter()
            .take(FROZEN)
            .map(|(name, unit)| FrozenUnit {
                name: (*name).clone(),
                revision: unit.revision.as_ref().map(ToString::to_string),
            })
            .collect(),
        findings: findings
            .iter()
            .take(FINDINGS)
            .map(|diagnostic| {
                let place = diagnostic.labels.first();
                let place = place.map_or_else(String::new, |label| {
                    format!("{}:{}: ", label.path, label.span.line)
                });
                format!("{place}{} {}", diagnostic.code, diagnostic.message)
            })
            .collect(),
        refused: store
            .refused
            .iter()
            .take(REFUSED)
            .map(|(key, message)| RefusedObject {
                object: key.to_string(),
                message: message.clone(),
            })
            .collect(),
        prune_blocked: store
            .blocked
            .iter()
            .take(BLOCKED)
            .map(ToString::to_string)
            .collect(),
        conditions,
    }
}

fn readiness(facts: &Facts<'_>, frozen: usize) -> (ConditionStatus, &'static str, String) {
    let (status, store) = (facts.status, facts.store);
    let no = ConditionStatus::False;
    if let Some(failure) = &status.failure {
        return (no, failure.reason, failure.message.clone());
    }
    if status.is_held {
        let text = "mistakes in the shared files hold the whole fabric at its last good commit";
        return (no, "FabricHeld", text.to_owned());
    }
    if !facts.is_observed || status.in_force.is_none() {
        let text = "nothing was brought into force yet";
        return (ConditionStatus::Unknown, "Progressing", text.to_owned());
    }
    if !store.refused.is_empty() {
        let count = store.refused.len();
        let text = format!("{count} objects can't be dealt with; they are tried again");
        return (no, "ObjectsRefused", text);
    }
    if !store.blocked.is_empty() {
        let text = "objects aren't deleted: the prune budget holds them back";
        return (no, "PruneBlocked", text.to_owned());
    }
    if frozen > 0 {
        let text = match frozen {
            1 => "in force; 1 unit stays at its last good commit".to_owned(),
            _ => format!("in force; {frozen} units stay at their last good commit"),
        };
        return (ConditionStatus::True, "UnitsFrozen", text);
    }
    let text = "the newest commit is in force";
    (ConditionStatus::True, "Succeeded", text.to_owned())
}

/// The status of a FabricSync that doesn't act.
pub(super) fn idle(
    generation: i64,
    reason: &str,
    message: &str,
    before: &FabricSyncStatus,
    now: Timestamp,
) -> FabricSyncStatus {
    let condition = |kind: &str, holds| {
        let generation = Some(generation);
        let condition = Condition::new(kind, holds, reason, message, generation, now);
        let old = before.conditions.iter().find(|old| old.kind == kind);
        condition.after(old)
    };
    let mut conditions = vec![condition("Ready", ConditionStatus::False)];
    // To be suspended is what its author wanted.
    if reason != "Suspended" {
        conditions.push(condition("Stalled", ConditionStatus::True));
    }
    FabricSyncStatus {
        observed_generation: Some(generation),
        conditions,
        ..before.clone()
    }
}
