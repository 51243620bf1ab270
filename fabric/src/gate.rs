//! Changes that need an approval, and the approvals.
//!
//! | gate | what it wants an approval for |
//! |---|---|
//! | `widens-access` | a client reaches a service that it couldn't reach before, or that can't be told |
//! | `prune` | more goes from a peer than its prune budget allows, of the older state or the newer one |
//! | `certificate` | something becomes trusted that wasn't: a CA or a peer's certificate comes, a peer's last one goes (then any of the CA does), or a revocation is taken back |
//! | `privileged-policy` | a privileged policy comes, goes or changes, or a shared one begins or ceases to count in a peer |
//! | `safeguards` | a gate or an invariant goes, an invariant changes, the prune budget rises, or exports may aim at more |
//!
//! With any of the others, `safeguards` is asked too: what guards a fabric isn't taken away unnoticed.
//!
//! What takes access away never needs an approval, but for privileged policies, in which every
//! change does. An approval is a trailer of a commit of the range that is looked at.

mod approval;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;

use crate::api::{Gate, Prune};
use crate::fabric::{Fabric, Item, SharedPolicy};
use crate::name::{Kind, PeerName};
use crate::origin::Revision;
use crate::plan::{PruneOutcome, Pruning};
use crate::reach;
use crate::report::{PeerChange, SafeguardChange, SafeguardChangeKind};

pub use approval::{Approvals, ApprovingCommit, IgnoredApproval};

/// What a gate says to a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GateVerdict {
    /// The gate.
    pub gate: Gate,
    /// What it says.
    pub outcome: GateOutcome,
    /// What there is to approve, in a few words each; at most a few of them.
    pub reasons: Vec<String>,
    /// How many reasons there are in all.
    pub reason_count: usize,
    /// The trailer that approves it, such as `Weft-Approve: widens-access`; none where there is
    /// nothing to approve.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trailer: Option<String>,
    /// The commits that approve it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub approved_by: Vec<Revision>,
}

/// What a gate says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum GateOutcome {
    /// There is nothing to approve.
    Passed,
    /// There is something to approve, and a commit of the range approves it.
    Approved,
    /// There is something to approve, and nobody does.
    Refused,
}

/// What gates look at.
#[derive(Clone, Copy, Debug)]
pub struct Changes<'a> {
    /// The older state; none where nothing is in force.
    pub before: Option<&'a Fabric>,
    /// The newer state.
    pub after: Option<&'a Fabric>,
    /// What changes in every peer.
    pub peers: &'a [PeerChange],
    /// Who reaches what otherwise.
    pub reach: &'a reach::Difference,
    /// The gates and invariants that come, go or change.
    pub safeguards: &'a [SafeguardChange],
    /// The gates that either state sets.
    pub gates: &'a BTreeSet<Gate>,
}

/// Reasons that are told of one gate: enough to see what it is about.
const REASONS: usize = 5;

/// Asks every gate that stands in the older or in the newer state, so that no change switches its
/// own gate off; `commits` are those of the range.
#[must_use]
pub fn judge(changes: Changes<'_>, commits: &[ApprovingCommit]) -> Vec<GateVerdict> {
    let verdict = |gate| {
        let mut reasons = changes.reasons(gate);
        let pruned = changes.pruned();
        let reason_count = reasons.len();
        reasons.truncate(REASONS);
        let approved_by: Vec<Revision> = commits
            .iter()
            .filter(|commit| Approvals::of([commit.message.as_str()]).approve(gate, pruned))
            .map(|commit| commit.revision.clone())
            .collect();
        let outcome = match (reason_count, approved_by.is_empty()) {
            (0, _) => GateOutcome::Passed,
            (_, false) => GateOutcome::Approved,
            (_, true) => GateOutcome::Refused,
        };
        let is_asked = outcome != GateOutcome::Passed;
        GateVerdict {
            gate,
            outcome,
            reasons,
            reason_count,
            trailer: is_asked.then(|| approval::trailer(gate, pruned)),
            approved_by: if is_asked { approved_by } else { Vec::new() },
        }
    };
    let mut gates = changes.gates.clone();
    if !gates.is_empty() {
        gates.insert(Gate::Safeguards);
    }
    gates.into_iter().map(verdict).collect()
}

/// The lines of commits that look like approvals and approve nothing, a few of them: a slip there
/// is never silent.
#[must_use]
pub fn ignored(changes: Changes<'_>, commits: &[ApprovingCommit]) -> Vec<IgnoredApproval> {
    approval::ignored(commits, changes.pruned())
}

// === impl Changes ===

impl Changes<'_> {
    fn reasons(&self, gate: Gate) -> Vec<String> {
        match gate {
            Gate::WidensAccess => self.widened(),
            Gate::Prune => self.over_budget(),
            Gate::Certificate => self.trusted(),
            Gate::PrivilegedPolicy => self.privileged(),
            Gate::Safeguards => self.loosened(),
        }
    }

    fn loosened(&self) -> Vec<String> {
        let changed = self.safeguards.iter().filter_map(|change| {
            let change_in_words = match change.change {
                SafeguardChangeKind::Added => return None,
                SafeguardChangeKind::Changed => "changes",
                SafeguardChangeKind::Removed => "goes",
            };
            let what = change.safeguard.as_str();
            Some(format!("the {what} {} {change_in_words}", change.name))
        });
        let mut reasons: Vec<_> = changed.collect();
        let (Some(before), Some(after)) = (self.before, self.after) else {
            return reasons;
        };
        let (old, new) = (&before.spec.prune, &after.spec.prune);
        // Only what exceeds both numbers is held back.
        if new.max_count > old.max_count || new.max_percent > old.max_percent {
            let in_words = |prune: &Prune| format!("{} or {}%", prune.max_count, prune.max_percent);
            reasons.push(format!(
                "the prune budget rises from {} to {}",
                in_words(old),
                in_words(new)
            ));
        }
        let allowed: BTreeSet<_> = before.spec.export_hosts.allow.iter().collect();
        let more = after.spec.export_hosts.allow.iter();
        reasons.extend(
            more.filter(|host| !allowed.contains(host))
                .map(|host| format!("exports may aim at {host}")),
        );
        reasons
    }

    fn widened(&self) -> Vec<String> {
        let opened = self.reach.opened.iter().map(|flip| (&flip.route, "opens"));
        let undecided = self.reach.undecided.iter().map(|route| (route, "may open"));
        let mut seen = BTreeSet::new();
        opened
            .chain(undecided)
            .filter(|(route, _)| {
                seen.insert((&route.export_peer, &route.export, &route.client_peer))
            })
            .map(|(route, opens)| {
                let (export, at, from) = (&route.export, &route.export_peer, &route.client_peer);
                format!("{export} of {at} {opens} to clients of {from}")
            })
            .collect()
    }

    /// Whether more goes from a peer than its budget allows: also where the older state's does, so
    /// that no change makes room for itself.
    fn is_exceeded(&self, peer: &PeerChange) -> bool {
        let prune = &peer.prune;
        let pruning = Pruning {
            count: prune.counted.len() as u64,
            total: prune.total,
            // Then the newer budget is exceeded too.
            nothing_left: false,
        };
        let older = self.before.map(|fabric| &fabric.spec.prune);
        prune.outcome != PruneOutcome::Within
            || older.is_some_and(|budget| pruning.judge(budget, None) != PruneOutcome::Within)
    }

    /// The greatest number of objects that a peer holds back, or would without an approval.
    fn pruned(&self) -> u64 {
        let exceeded = self.peers.iter().filter(|peer| self.is_exceeded(peer));
        exceeded
            .map(|peer| peer.prune.counted.len() as u64)
            .max()
            .unwrap_or_default()
    }

    fn over_budget(&self) -> Vec<String> {
        let exceeded = self.peers.iter().filter(|peer| self.is_exceeded(peer));
        exceeded
            .map(|peer| {
                let (name, prune) = (&peer.difference.peer, &peer.prune);
                format!(
                    "{} of {} objects go from {name}",
                    prune.counted.len(),
                    prune.total
                )
            })
            .collect()
    }

    fn trusted(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        let authorities = |fabric: Option<&Fabric>| -> BTreeSet<_> {
            let all = fabric.into_iter().flat_map(|fabric| &fabric.authorities);
            all.map(|facts| facts.fingerprint).collect()
        };
        for authority in authorities(self.after).difference(&authorities(self.before)) {
            reasons.push(format!("the CA certificate {authority} becomes trusted"));
        }
        let leaves = |fabric: Option<&Fabric>, peer: &PeerName| -> Option<BTreeSet<_>> {
            let unit = fabric?.units.get(peer)?;
            Some(
                unit.certificates
                    .iter()
                    .map(|facts| facts.fingerprint)
                    .collect(),
            )
        };
        for name in self
            .after
            .into_iter()
            .flat_map(|fabric| fabric.units.keys())
        {
            let before = leaves(self.before, name);
            let after = leaves(self.after, name).unwrap_or_default();
            let had_some = before.as_ref().is_none_or(|before| !before.is_empty());
            if after.is_empty() && had_some {
                // Without a committed one any certificate of the CA that carries its name does.
                reasons.push(format!("any certificate of the CA becomes good for {name}"));
            }
            for leaf in after.difference(&before.unwrap_or_default()) {
                reasons.push(format!("the certificate {leaf} becomes good for {name}"));
            }
        }
        let revoked = |fabric: Option<&Fabric>| {
            fabric
                .map(|fabric| fabric.revoked.clone())
                .unwrap_or_default()
        };
        if self.after.is_some() {
            for print in revoked(self.before).difference(&revoked(self.after)) {
                reasons.push(format!("the certificate {print} is no longer revoked"));
            }
        }
        reasons
    }

    fn privileged(&self) -> Vec<String> {
        let (before, after) = (privileged(self.before), privileged(self.after));
        let names: BTreeSet<_> = before.keys().chain(after.keys()).collect();
        let is_same = |a: &Item, b: &Item| a.says_the_same(b);
        let relabelled = self.before.zip(self.after);
        let relabelled = relabelled.map_or_else(Vec::new, |(before, after)| {
            selected_otherwise(before, after)
        });
        names
            .into_iter()
            .filter_map(|place @ (unit, name)| {
                let change = match (before.get(place), after.get(place)) {
                    (Some(before), Some(after)) if is_same(before, after) => return None,
                    (Some(_), Some(_)) => "changes",
                    (None, _) => "comes",
                    (_, None) => "goes",
                };
                Some(match unit {
                    Some(unit) => format!("the privileged policy {name} of {unit} {change}"),
                    None => format!("the shared privileged policy {name} {change}"),
                })
            })
            .chain(relabelled)
            .collect()
    }
}

/// The peers in which shared policies begin or cease to count though neither comes or goes: the
/// peer's labels are others.
fn selected_otherwise(before: &Fabric, after: &Fabric) -> Vec<String> {
    let count = |fabric: &Fabric, policy: &SharedPolicy, peer: &PeerName| {
        let unit = fabric.units.get(peer)?;
        Some(policy.selects(&unit.attributes.labels))
    };
    let relabelled = after.units.iter().filter(|(name, unit)| {
        let old = before.units.get(*name);
        old.is_some_and(|old| old.attributes.labels != unit.attributes.labels)
    });
    let mut reasons = Vec::new();
    for (name, _) in relabelled {
        for policy in &after.policies {
            if policy.item.key().kind != Kind::PrivilegedAccessPolicy {
                continue;
            }
            // A policy that itself changes is told as such.
            let change = match (count(before, policy, name), count(after, policy, name)) {
                (Some(false), Some(true)) => "begins",
                (Some(true), Some(false)) => "ceases",
                _ => continue,
            };
            let policy = &policy.item.key().name;
            reasons.push(format!(
                "the shared privileged policy {policy} {change} to count in {name}"
            ));
        }
    }
    reasons
}

/// The privileged policies, by the unit that they stand in, none for shared ones, and their name.
fn privileged(fabric: Option<&Fabric>) -> BTreeMap<(Option<&PeerName>, &str), &Item> {
    let mut policies = BTreeMap::new();
    if let Some(fabric) = fabric {
        let shared = fabric.policies.iter().map(|policy| (None, &policy.item));
        let own = fabric.units.iter().flat_map(|(name, unit)| {
            let items = unit.policies.iter();
            items.map(move |item| (Some(name), item))
        });
        for (unit, item) in shared.chain(own) {
            if item.key().kind == Kind::PrivilegedAccessPolicy {
                policies.insert((unit, &*item.key().name), item);
            }
        }
    }
    policies
}

// === impl Gate ===

impl Gate {
    /// Every gate, in the order in which they are asked.
    pub const ALL: [Self; 5] = [
        Self::WidensAccess,
        Self::Prune,
        Self::Certificate,
        Self::PrivilegedPolicy,
        Self::Safeguards,
    ];

    /// The gate as `spec.gates` spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WidensAccess => "widens-access",
            Self::Prune => "prune",
            Self::Certificate => "certificate",
            Self::PrivilegedPolicy => "privileged-policy",
            Self::Safeguards => "safeguards",
        }
    }
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
