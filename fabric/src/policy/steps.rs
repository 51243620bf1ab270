//! The way of a decision, step by step, for people.

use super::attribute::Side;
use super::selector::Verdict;
use super::set::{Policy, PolicySet};
use super::{Decision, Policies, Request, Rule, Tier};
use crate::api::Action;

/// One of the five steps of a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step<'a> {
    /// Whose policies the step looks at.
    pub scope: Scope,
    /// What its policies do.
    pub action: Action,
    /// The policies that it looked at, in order; none in a step that wasn't reached.
    pub policies: Vec<Considered<'a>>,
    /// What it decided; none where it left the decision to the next step or wasn't reached.
    pub decision: Option<Decision<'a>>,
}

/// Whose policies a step looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The privileged ones, of the whole peer.
    Privileged,
    /// The regular ones, of the request's namespace.
    Regular,
    /// None: what isn't decided by then is denied.
    Default,
}

/// A policy that a step looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Considered<'a> {
    /// Which policy it is.
    pub rule: &'a Rule,
    /// Whether it matched.
    pub outcome: Outcome,
}

/// Whether a policy matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It matched.
    Matched,
    /// It depends on the client, which is unknown.
    UnknownClient,
    /// It didn't match, because no entry of the side did.
    Missed {
        /// The side.
        side: Side,
        /// For each entry of the side, in order, the first term that failed.
        mismatches: Vec<Mismatch>,
    },
}

/// Why an entry of a policy doesn't match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// Where the term that failed stands, as a JSON pointer inside the policy.
    pub pointer: String,
    /// The key of the term; none for an entry that isn't understood.
    pub key: Option<String>,
    /// What the connection has for it; none where it has no such attribute.
    pub actual: Option<String>,
}

// === impl Policies ===

impl Policies {
    /// The five steps of a decision, and what each looked at; the one step that has a decision
    /// decides as [`decide`](Self::decide) does.
    #[must_use]
    pub fn steps<'a>(&'a self, request: &Request<'_>) -> Vec<Step<'a>> {
        let privileged = Some(&self.privileged);
        let regular = self.regular.get(request.namespace);
        let deny = |tier: &'a Tier| &tier.deny;
        let allow = |tier: &'a Tier| &tier.allow;
        let steps = [
            (Scope::Privileged, Action::Deny, privileged.map(deny)),
            (Scope::Privileged, Action::Allow, privileged.map(allow)),
            (Scope::Regular, Action::Deny, regular.map(deny)),
            (Scope::Regular, Action::Allow, regular.map(allow)),
            (Scope::Default, Action::Deny, None),
        ];
        let mut is_decided = false;
        let walk = |(scope, action, policies): (Scope, Action, Option<&'a PolicySet>)| {
            let mut step = Step {
                scope,
                action,
                policies: Vec::new(),
                decision: None,
            };
            if !is_decided {
                step.walk(policies, request);
                is_decided = step.decision.is_some();
            }
            step
        };
        steps.into_iter().map(walk).collect()
    }
}

// === impl Step ===

impl<'a> Step<'a> {
    fn walk(&mut self, policies: Option<&'a PolicySet>, request: &Request<'_>) {
        let mut best: Option<(Verdict, &Rule)> = None;
        // Every policy is looked at, also beyond the one that decides and those that the files
        // of the set would leave out: a person wants to see them.
        for policy in policies.into_iter().flat_map(PolicySet::iter) {
            let verdict = policy.verdict(request);
            if verdict > best.map_or(Verdict::No, |(known, _)| known) {
                best = Some((verdict, &policy.rule));
            }
            self.policies.push(Considered {
                rule: &policy.rule,
                outcome: policy.outcome(verdict, request),
            });
        }
        self.decision = match (self.scope, best) {
            (Scope::Default, _) => Some(Decision::DEFAULT),
            (_, best) => best.map(|(verdict, rule)| Decision::by(self.action, verdict, rule)),
        };
    }
}

// === impl Policy ===

impl Policy {
    fn outcome(&self, verdict: Verdict, request: &Request<'_>) -> Outcome {
        match verdict {
            Verdict::Yes => return Outcome::Matched,
            Verdict::Unknown => return Outcome::UnknownClient,
            Verdict::No => {}
        }
        let side = match self.side_verdict(Side::To, request) {
            Verdict::No => Side::To,
            _ => Side::From,
        };
        let entries = self.side(side).iter().enumerate();
        let mismatches = entries.filter_map(|(index, entry)| entry.mismatch(side, index, request));
        Outcome::Missed {
            side,
            mismatches: mismatches.collect(),
        }
    }
}
