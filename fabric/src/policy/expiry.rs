//! Policies that end by the clock.

use jiff::Timestamp;

use super::{Policies, Rule};
use crate::api::{Action, Expiry};
use crate::name::ObjectKey;
use crate::origin::Origin;

/// What time it is, for policies that end.
///
/// A clock that was set back neither brings back what was let through for a while, nor takes away
/// what was refused for a while: an allow ends by the latest moment that was ever read, a deny by
/// the moment that is read now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    now: Timestamp,
    latest: Timestamp,
}

/// A policy that ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Expiring {
    at: Timestamp,
    action: Action,
    rule: Rule,
}

// === impl Clock ===

impl Clock {
    /// The first time that the clock is read.
    #[must_use]
    pub const fn at(now: Timestamp) -> Self {
        Self { now, latest: now }
    }

    /// Reads the clock again.
    #[must_use]
    pub fn read(self, now: Timestamp) -> Self {
        Self {
            now,
            latest: self.latest.max(now),
        }
    }

    /// Whether a policy with this action has ended.
    #[must_use]
    pub fn is_over(&self, expires: Option<Timestamp>, action: Action) -> bool {
        let now = match action {
            Action::Allow => self.latest,
            Action::Deny => self.now,
        };
        expires.is_some_and(|expires| expires <= now)
    }
}

// === impl Rule ===

impl Rule {
    /// A policy with what is said of its end.
    ///
    /// An end that can't be understood is over for an allow, and never comes for a deny.
    #[must_use]
    pub const fn new(key: ObjectKey, origin: Origin, expiry: Expiry, action: Action) -> Self {
        let expires = match (expiry, action) {
            (Expiry::At(time), _) => Some(time),
            (Expiry::NotUnderstood, Action::Allow) => Some(Timestamp::MIN),
            (Expiry::NotUnderstood, Action::Deny) | (Expiry::Never, _) => None,
        };
        Self {
            key,
            origin,
            expires,
        }
    }
}

// === impl Policies ===

impl Policies {
    pub(super) fn note_expiry(&mut self, rule: &Rule, action: Action) {
        let Some(at) = rule.expires else { return };
        let place = self.expiring.partition_point(|other| other.at <= at);
        let rule = rule.clone();
        self.expiring.insert(place, Expiring { at, action, rule });
    }

    /// The policies that count at a moment: without those that have ended.
    #[must_use]
    pub fn at(&self, clock: &Clock) -> Self {
        let mut policies = self.clone();
        let over = self.over(clock);
        // Most namespaces have none, and stay as they are.
        let is_concerned = |namespace: Option<&str>| {
            over.iter()
                .any(|rule| rule.key.namespace.as_deref() == namespace)
        };
        let regular = policies.regular.iter_mut();
        let regular = regular.map(|(namespace, tier)| (Some(&**namespace), tier));
        for (namespace, tier) in std::iter::once((None, &mut policies.privileged)).chain(regular) {
            if is_concerned(namespace) {
                for (set, action) in [
                    (&mut tier.deny, Action::Deny),
                    (&mut tier.allow, Action::Allow),
                ] {
                    *set = set.filtered(|rule| !clock.is_over(rule.expires, action));
                }
            }
        }
        policies
    }

    /// The policies that have ended.
    #[must_use]
    pub fn over(&self, clock: &Clock) -> Vec<&Rule> {
        let over = |one: &&Expiring| clock.is_over(Some(one.at), one.action);
        self.expiring
            .iter()
            .filter(over)
            .map(|one| &one.rule)
            .collect()
    }

    /// The moments at which policies end, whether they are over or not, in order.
    pub fn ends(&self) -> impl Iterator<Item = Timestamp> {
        self.expiring.iter().map(|one| one.at)
    }
}
