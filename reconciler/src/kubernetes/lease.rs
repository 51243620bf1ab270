//! Who leads of several processes of one role: a Lease, and writes that a stale leader can't win.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{Api, ObjectMeta, PostParams};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::client::Connection;

/// Whether this process leads, right now.
///
/// It is asked before every write. A process that was paused and wakes up finds the time past to
/// which it was leader, and writes nothing; what is on its way already fails by the preconditions
/// that each write carries.
#[derive(Clone)]
pub struct Leadership {
    /// To when this process leads, in milliseconds of [`uptime`].
    until: Arc<AtomicU64>,
    /// How often it began to.
    terms: Arc<AtomicU64>,
}

/// A candidate for the leadership of a role.
pub struct Candidate {
    leases: Api<Lease>,
    name: String,
    identity: String,
    duration: Duration,
    /// What was last seen of another holder's lease, and when: its own clock isn't asked.
    seen: Option<(String, u64)>,
    /// Our own lease as it was last written.
    held: Option<Lease>,
}

// === impl Candidate ===

impl Candidate {
    /// A candidate `identity` for the Lease `name`, which a leader that falls silent loses after
    /// `duration`.
    #[must_use]
    pub fn new(connection: &Connection, name: &str, identity: String, duration: Duration) -> Self {
        Self {
            leases: Api::namespaced(connection.client.clone(), &connection.namespace),
            name: name.to_owned(),
            identity,
            duration,
            seen: None,
            held: None,
        }
    }

    /// Takes the leadership whenever nobody else has it, and keeps it, until `cancelled`; then it is
    /// given up, so that another one needn't wait.
    pub async fn run(
        mut self,
        leadership: Leadership,
        leads: watch::Sender<bool>,
        cancelled: CancellationToken,
    ) {
        // A lease that is renewed three times while it lasts survives two failures; one that isn't
        // ours is looked at twice as often as it can change hands.
        let pause = self.duration / 5;
        loop {
            let begun = uptime();
            // An answer that comes later is worth nothing: the time counts from the question.
            let attempt = timeout(pause * 2, self.attempt());
            let attempt = tokio::select! {
                attempt = attempt => attempt,
                () = cancelled.cancelled() => break,
            };
            match attempt {
                Ok(Ok(true)) => {
                    // A fifth early: clocks don't run at the same speed.
                    let lasts = u64::try_from((pause * 4).as_millis()).unwrap_or(u64::MAX);
                    leadership.prolong(begun + lasts);
                }
                Ok(Ok(false)) => leadership.until.store(0, Ordering::Release),
                Ok(Err(error)) => {
                    tracing::warn!(lease = self.name, %error, "the lease can't be had or renewed");
                    // What was written is unknown: it is read again.
                    self.held = None;
                }
                Err(_) => {
                    tracing::warn!(lease = self.name, "no answer about the lease in time");
                    self.held = None;
                }
            }
            let holds = leadership.holds();
            leads.send_if_modified(|leads| {
                let is_other = *leads != holds;
                if is_other {
                    tracing::info!(lease = self.name, leads = holds, "the leadership changed");
                }
                *leads = holds;
                is_other
            });
            let wait = async {
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    // To the moment: whoever leads no longer must know.
                    () = leadership.ended(), if holds => { leads.send_replace(false); }
                }
            };
            if cancelled.run_until_cancelled(wait).await.is_none() {
                break;
            }
        }
        leadership.until.store(0, Ordering::Release);
        leads.send_replace(false);
        if let Err(error) = self.give_up().await {
            tracing::debug!(lease = self.name, %error, "the lease isn't given up; it runs out");
        }
    }

    /// One look at the lease, and what it calls for; whether we have it now.
    async fn attempt(&mut self) -> kube::Result<bool> {
        let found = match self.held.clone() {
            Some(lease) => Some(lease),
            None => self.leases.get_opt(&self.name).await?,
        };
        let Some(found) = found else {
            let metadata = ObjectMeta {
                name: Some(self.name.clone()),
                ..ObjectMeta::default()
            };
            let lease = Lease {
                metadata,
                spec: Some(self.spec(None)),
            };
            let created = self.leases.create(&PostParams::default(), &lease).await;
            return self.took(created);
        };
        let spec = found.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.clone().unwrap_or_default();
        if !holder.is_empty() && holder != self.identity {
            let version = found.metadata.resource_version.clone().unwrap_or_default();
            let since = match &self.seen {
                Some((seen, since)) if *seen == version => *since,
                _ => {
                    self.seen = Some((version, uptime()));
                    uptime()
                }
            };
            let lasts = spec.lease_duration_seconds.unwrap_or_default();
            let lasts = u64::try_from(lasts).unwrap_or(0) * 1000;
            if uptime().saturating_sub(since) < lasts {
                return Ok(false);
            }
            tracing::info!(lease = self.name, holder, "the holder fell silent");
        }
        let lease = Lease {
            spec: Some(self.spec(Some((&holder, &spec)))),
            ..found
        };
        // With the version that was seen: of two candidates one is refused.
        let parameters = PostParams::default();
        let replaced = self.leases.replace(&self.name, &parameters, &lease).await;
        self.took(replaced)
    }

    fn took(&mut self, result: kube::Result<Lease>) -> kube::Result<bool> {
        match result {
            Ok(lease) => {
                self.held = Some(lease);
                self.seen = None;
                Ok(true)
            }
            Err(kube::Error::Api(status)) if status.code == 409 => {
                self.held = None;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    fn spec(&self, before: Option<(&str, &LeaseSpec)>) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        let ours = before.filter(|(holder, _)| *holder == self.identity);
        let transitions = before.and_then(|(_, spec)| spec.lease_transitions);
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: Some(
                i32::try_from(self.duration.as_secs()).unwrap_or(15).max(1),
            ),
            acquire_time: match ours {
                Some((_, spec)) => spec.acquire_time.clone(),
                None => Some(now.clone()),
            },
            renew_time: Some(now),
            lease_transitions: Some(match (ours, transitions) {
                (Some(_), Some(count)) => count,
                (None, Some(count)) => count.saturating_add(1),
                (_, None) => 0,
            }),
            ..LeaseSpec::default()
        }
    }

    async fn give_up(&mut self) -> kube::Result<()> {
        let Some(mut lease) = self.held.take() else {
            return Ok(());
        };
        if let Some(spec) = &mut lease.spec {
            spec.holder_identity = Some(String::new());
            spec.lease_duration_seconds = Some(1);
        }
        let parameters = PostParams::default();
        let give = self.leases.replace(&self.name, &parameters, &lease);
        let given = timeout(Duration::from_secs(2), give).await;
        given.map_or(Ok(()), |given| given.map(|_| ()))
    }
}

// === impl Leadership ===

impl Leadership {
    /// Of a process that nobody else competes with.
    #[must_use]
    pub fn always() -> Self {
        Self {
            until: Arc::new(AtomicU64::new(u64::MAX)),
            terms: Arc::default(),
        }
    }

    /// Of a process that doesn't lead (yet).
    #[must_use]
    pub fn none() -> Self {
        Self {
            until: Arc::new(AtomicU64::new(0)),
            terms: Arc::default(),
        }
    }

    /// Waits until this process leads no longer.
    async fn ended(&self) {
        loop {
            let left = self.until.load(Ordering::Acquire).saturating_sub(uptime());
            if left == 0 {
                return;
            }
            // Renewed meanwhile, perhaps.
            tokio::time::sleep(Duration::from_millis(left.min(1000))).await;
        }
    }

    /// Whether this process leads.
    #[must_use]
    pub fn holds(&self) -> bool {
        uptime() < self.until.load(Ordering::Acquire)
    }

    /// What tells one time of leading from the next: as long as it stays, no other process led.
    #[must_use]
    pub fn term(&self) -> u64 {
        self.terms.load(Ordering::Acquire)
    }

    fn prolong(&self, until: u64) {
        if !self.holds() {
            self.terms.fetch_add(1, Ordering::AcqRel);
        }
        self.until.store(until, Ordering::Release);
    }
}

impl fmt::Debug for Leadership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Leadership({})", self.holds())
    }
}

/// Milliseconds since the machine started, those that it slept included.
fn uptime() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let (seconds, nanos) = (time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs());
    seconds * 1000 + nanos / 1_000_000
}
