//! Policies, and what holds of every object: whether it counts.

use std::sync::Arc;

use fabric::api::ConditionStatus;
use fabric::diagnostic::Effect;
use fabric::document::Limits;
use serde_json::json;

use super::view::View;
use crate::kubernetes::object::LiveObject;

/// What a condition is to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) kind: &'static str,
    pub(super) status: ConditionStatus,
    pub(super) reason: &'static str,
    pub(super) message: String,
}

// === impl Said ===

impl Said {
    pub(super) fn new(
        kind: &'static str,
        status: ConditionStatus,
        reason: &'static str,
        message: &str,
    ) -> Self {
        Self {
            kind,
            status,
            reason,
            message: message.to_owned(),
        }
    }
}

/// What a policy's conditions say.
pub(super) fn conditions(view: &View, policy: &Arc<LiveObject>) -> Vec<Said> {
    let said = accepted(view, policy);
    if !said.is_empty() || view.counts(policy).is_none() {
        return said;
    }
    vec![Said::new("Accepted", ConditionStatus::True, "Accepted", "")]
}

/// Why an object doesn't count; nothing where it does.
pub(super) fn accepted(view: &View, object: &Arc<LiveObject>) -> Vec<Said> {
    let refused = |reason, message: &str| {
        vec![Said::new(
            "Accepted",
            ConditionStatus::False,
            reason,
            message,
        )]
    };
    match (&object.object, view.counts(object)) {
        (Err(error), _) => refused("Invalid", error),
        (Ok(_), Some(false)) => {
            let text = "it isn't in the repository that this cluster keeps to, so it doesn't count";
            refused("NotInRepository", text)
        }
        // What the repository has was checked there.
        (Ok(_), Some(true)) if object.meta.labels.contains_key(fabric::mark::SYNC) => Vec::new(),
        (Ok(_), Some(true)) => match findings(object) {
            Some(text) => refused("Invalid", &text),
            None => Vec::new(),
        },
        (Ok(_), None) => Vec::new(),
    }
}

/// What the check of a repository would say of an object that was applied by hand.
fn findings(object: &LiveObject) -> Option<String> {
    let decoded = object.object.as_ref().ok()?;
    let mut value = serde_json::to_value(&**decoded).ok()?;
    if let Some(namespace) = &object.meta.namespace {
        value["metadata"]["namespace"] = json!(namespace);
    }
    let text = value.to_string();
    let file = fabric::resource::read(text.as_bytes(), &Limits::default());
    let messages: Vec<_> = file
        .findings
        .iter()
        .filter(|finding| finding.effect >= Effect::Fail)
        .map(|finding| finding.message.clone())
        .collect();
    (!messages.is_empty()).then(|| messages.join("; "))
}
