//! Who may reach what: ClusterLink's five steps, over compiled policies.
//!
//! Privileged deny, privileged allow, deny, allow, and else the default: deny. The regular policies
//! are those of one namespace: the Import's on the importer's side, the Export's on the exporter's.

mod attribute;
mod condition;
pub mod effects;
mod expiry;
mod possible;
pub(crate) mod selection;
mod selector;
mod set;
mod steps;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

pub use attribute::Side;
pub(crate) use condition::{Asked, Aspects, Conditions, View};
pub use expiry::Clock;
use expiry::Expiring;
use selector::Verdict;
use set::{Policy, PolicySet};
pub use steps::{Considered, Mismatch, Outcome, Scope, Step};

use crate::api::{AccessPolicySpec, Action, Expiry};
use crate::attributes::{Client, ExportAttributes, PeerAttributes};
use crate::name::ObjectKey;
use crate::origin::Origin;

/// The policies of one peer, ready to decide.
#[derive(Clone, Debug, Default)]
pub struct Policies {
    privileged: Tier,
    regular: BTreeMap<Arc<str>, Tier>,
    /// Those that end some day, whether they have or not, in the order of their ends.
    expiring: Vec<Expiring>,
}

/// The policies of one tier.
#[derive(Clone, Debug, Default)]
struct Tier {
    deny: PolicySet,
    allow: PolicySet,
}

/// The policy that decided, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
pub struct Rule {
    /// Which policy it is.
    pub key: ObjectKey,
    /// Where it stands.
    pub origin: Origin,
    /// When it ends; none where it doesn't by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub expires: Option<Timestamp>,
}

/// The question of one connection on one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// The namespace whose regular policies count.
    pub namespace: &'a str,
    /// The workload that opens the connection, where it is known.
    pub client: Option<&'a Client>,
    /// The peer that the connection comes from.
    pub client_peer: &'a PeerAttributes,
    /// The service that it wants to reach.
    pub export: &'a ExportAttributes,
    /// The peer that offers the service.
    pub export_peer: &'a PeerAttributes,
}

/// What is decided of a connection, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision<'a> {
    /// Whether it is let through.
    pub action: Action,
    /// What decided.
    pub reason: Reason<'a>,
}

/// What decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason<'a> {
    /// The policy that matched.
    Rule(&'a Rule),
    /// No policy matched.
    DefaultDeny,
    /// The client is unknown, and this policy could have decided by what it is.
    UnknownClient(&'a Rule),
}

// === impl Policies ===

impl Policies {
    /// Adds a policy that never ends: a regular one of a namespace, a privileged one where the key
    /// has none.
    pub fn add(&mut self, key: ObjectKey, origin: Origin, spec: &AccessPolicySpec) {
        self.add_rule(Rule::new(key, origin, Expiry::Never, spec.action), spec);
    }

    /// Adds a policy.
    pub fn add_rule(&mut self, rule: Rule, spec: &AccessPolicySpec) {
        self.note_expiry(&rule, spec.action);
        let tier = match &rule.key.namespace {
            Some(namespace) => self.regular.entry(Arc::clone(namespace)).or_default(),
            None => &mut self.privileged,
        };
        let policies = match spec.action {
            Action::Allow => &mut tier.allow,
            Action::Deny => &mut tier.deny,
        };
        policies.add(Policy::compile(rule, spec));
    }

    /// Decides about one connection; allocates nothing.
    ///
    /// Of several policies of a step that match, the first one by its key is named.
    #[must_use]
    pub fn decide(&self, request: &Request<'_>) -> Decision<'_> {
        let tiers = [Some(&self.privileged), self.regular.get(request.namespace)];
        for tier in tiers.into_iter().flatten() {
            for (action, policies) in [(Action::Deny, &tier.deny), (Action::Allow, &tier.allow)] {
                if let Some((verdict, rule)) = policies.find(request) {
                    return Decision::by(action, verdict, rule);
                }
            }
        }
        Decision::DEFAULT
    }
}

// === impl Decision ===

impl<'a> Decision<'a> {
    /// What is decided where no policy matches.
    pub const DEFAULT: Self = Self {
        action: Action::Deny,
        reason: Reason::DefaultDeny,
    };

    /// Whether the connection is let through.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        self.action == Action::Allow
    }

    /// What a step decides by a policy that matches, or that may match an unknown client.
    fn by(action: Action, verdict: Verdict, rule: &'a Rule) -> Self {
        if verdict == Verdict::Yes {
            let reason = Reason::Rule(rule);
            Self { action, reason }
        } else {
            let (action, reason) = (Action::Deny, Reason::UnknownClient(rule));
            Self { action, reason }
        }
    }
}
