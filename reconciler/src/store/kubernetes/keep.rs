//! Between rounds: what somebody changed is put back, and what failed is tried again.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use fabric::name::{Kind, ObjectKey};
use fabric::plan::action::Owner;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{Goal, Kubernetes};
use crate::kubernetes::cache::Name;

/// How often a process that doesn't lead looks whether it does.
const STANDBY: Duration = Duration::from_millis(500);
/// Without a reason to, everything is compared this often: it costs no request, and finds what a
/// mistake of ours would have left.
const AUDIT: Duration = Duration::from_secs(600);
/// After a pass that failed as a whole; it doubles.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// The longest wait after such a pass: a server that is back is noticed within that time.
const LONGEST_RETRY: Duration = Duration::from_secs(15);

// === impl Kubernetes ===

impl Kubernetes {
    /// Keeps the cluster as the last round wanted it until it is cancelled.
    pub async fn keep(self: Arc<Self>, cancelled: CancellationToken) {
        let keep = Box::pin(self.keep_on());
        cancelled.run_until_cancelled(keep).await;
    }

    async fn keep_on(&self) {
        let caches = &self.objects;
        let mut exports = caches.exports.changes();
        let mut imports = caches.imports.changes();
        let mut peers = caches.peers.changes();
        let mut policies = caches.policies.changes();
        let mut privileged = caches.privileged.changes();
        let mut instances = caches.instances.changes();
        let mut states = caches.states.changes();
        let mut audit = Instant::now() + AUDIT;
        let mut retry: Option<Instant> = None;
        let mut failures = 0_u32;
        loop {
            let due = [self.next_due(), retry, Some(audit)];
            let due = due.into_iter().flatten().min().unwrap_or(audit);
            let (kind, names) = tokio::select! {
                names = exports.next() => (Some(Kind::Export), names),
                names = imports.next() => (Some(Kind::Import), names),
                names = peers.next() => (Some(Kind::Peer), names),
                names = policies.next() => (Some(Kind::AccessPolicy), names),
                names = privileged.next() => (Some(Kind::PrivilegedAccessPolicy), names),
                names = instances.next() => (Some(Kind::Instance), names),
                // FabricStates are few: all of it is compared.
                _ = states.next() => (None, BTreeSet::new()),
                () = self.wake.notified() => (None, BTreeSet::new()),
                () = sleep_until(due) => (None, BTreeSet::new()),
            };
            if !self.leadership.holds() {
                // Whoever leads goes on from here; what this process wanted is of the past.
                let _turn = self.turn.lock().await;
                self.remember();
            }
            while !self.leadership.holds() {
                sleep(STANDBY).await;
            }
            // A round that is under way wrote what changed.
            let turn = self.turn.lock().await;
            self.look_for_another_leader();
            let Some(goal) = self.memory.lock().goal.clone() else {
                continue;
            };
            if let Some(kind) = kind
                && names.iter().all(|name| self.is_settled(&goal, kind, name))
            {
                continue;
            }
            audit = Instant::now() + AUDIT;
            retry = match self.pass(&goal, false).await {
                Ok(_) => {
                    failures = 0;
                    None
                }
                Err(error) => {
                    tracing::warn!(%error, reason = error.reason(), "the cluster can't be kept");
                    let wait = FIRST_RETRY.saturating_mul(1 << failures.min(8));
                    failures = failures.saturating_add(1);
                    Some(Instant::now() + wait.min(LONGEST_RETRY))
                }
            };
            drop(turn);
        }
    }

    /// When the next object is to be tried again.
    fn next_due(&self) -> Option<Instant> {
        let memory = self.memory.lock();
        memory.troubles.values().map(|trouble| trouble.due).min()
    }

    /// Whether there is nothing to be done with an object now.
    fn is_settled(&self, goal: &Goal, kind: Kind, (namespace, name): &Name) -> bool {
        let key = ObjectKey {
            kind,
            namespace: match kind {
                Kind::Peer => None,
                _ => namespace.as_deref().map(Arc::from),
            },
            name: name.as_str().into(),
        };
        let memory = self.memory.lock();
        if let Some(trouble) = memory.troubles.get(&key) {
            return trouble.due > Instant::now();
        }
        // What the watch showed late wasn't there yet when the FabricState was written.
        let listed = memory.compared.as_ref();
        let listed = listed.map(|compared| compared.digests.get(&key).copied());
        let is_listed = |effect| listed.is_none_or(|listed| listed == effect);
        drop(memory);
        let wanted = goal.wanted.as_ref().and_then(|wanted| wanted.get(&key));
        let status = self.status.borrow();
        match (wanted, self.objects.find(&key)) {
            (Some(wanted), Some(live)) => {
                !live.meta.is_terminating
                    && wanted.is_met_by(&self.live_of(&live, None))
                    && is_listed(Some(wanted.effect))
            }
            (Some(_), None) => false,
            (None, Some(live)) => {
                let is_known = live.meta.is_terminating == status.terminating.contains(&key);
                let is_ours = live.meta.owner(&self.label) == Owner::Us;
                let is_left = kind == Kind::Instance || live.meta.is_terminating;
                let is_held =
                    status.blocked.contains(&key) && (is_listed(live.effect) || is_listed(None));
                !is_ours || (is_known && (is_left || is_held))
            }
            (None, None) => !status.blocked.contains(&key) && !status.terminating.contains(&key),
        }
    }
}
