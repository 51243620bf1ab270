//! The loop: fetch, build, plan, apply, report.

mod schedule;
mod source;
mod watch;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fabric::name::PeerName;
use fabric::origin::Revision;
use fabric::tree::Limits;
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch as channel};
use tokio_util::sync::CancellationToken;

use self::schedule::Schedule;
use self::source::{Built, Source};
use self::watch::ReferenceWatch;
use crate::git::{self, CommitId, FetchLimits, Remote};
use crate::metrics::SyncMetrics;
use crate::status::{Failure, History, Status};
use crate::store::{Approvals, Desired, Store, StoreError};

/// What is reconciled, and how often.
#[derive(Clone, Debug)]
pub struct Options {
    /// The peer for which plans are made.
    pub peer: PeerName,
    /// The repository and the reference that is followed.
    pub remote: Remote,
    /// The directory of the bare Git store.
    pub git_directory: PathBuf,
    /// How long after a round the next one begins, give or take a tenth.
    pub interval: Duration,
    /// How often the reference of a repository on this machine is looked at between rounds.
    pub watch: Option<Duration>,
    /// What is read of a revision.
    pub limits: Limits,
    /// What one fetch may take.
    pub fetch: FetchLimits,
    /// Whether a commit that doesn't build upon the one in force is refused.
    pub refuses_rewrites: bool,
    /// Where is counted.
    pub metrics: SyncMetrics,
}

/// Brings the newest good state of a repository into force, again and again.
#[derive(Debug)]
pub struct Reconciler<S> {
    options: Options,
    source: Arc<Mutex<Source>>,
    store: S,
    status: channel::Sender<Status>,
    trigger: Trigger,
    /// The commit that was last dealt with to the end: as long as it stays, nothing is done.
    settled: Option<CommitId>,
    /// What was in force then: another process may bring something else into force.
    stood_at: Option<Revision>,
    /// From where on approvals are looked for, where the last round couldn't.
    undecided: Option<CommitId>,
    rounds: channel::Sender<u64>,
}

/// Begins a round at once; several calls before it begins are one.
#[derive(Clone, Debug, Default)]
pub struct Trigger(Arc<Notify>);

/// Why a round brought nothing into force.
#[derive(Debug, thiserror::Error)]
enum RoundError {
    #[error(transparent)]
    Git(#[from] git::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the revision's reader ended early")]
    Lost(#[from] tokio::task::JoinError),
    #[error("the commit {new} doesn't build upon {old}, which is in force: {history:?}")]
    Rewritten {
        old: CommitId,
        new: CommitId,
        history: History,
    },
}

// === impl Options ===

impl Options {
    /// The usual settings.
    #[must_use]
    pub fn new(peer: PeerName, remote: Remote, git_directory: PathBuf) -> Self {
        Self {
            peer,
            remote,
            git_directory,
            interval: Duration::from_secs(60),
            // Three looks at a file's metadata: unnoticeable, and quick enough to follow by eye.
            watch: Some(Duration::from_millis(100)),
            limits: Limits::default(),
            fetch: FetchLimits::default(),
            refuses_rewrites: false,
            metrics: SyncMetrics::default(),
        }
    }
}

// === impl Trigger ===

impl Trigger {
    /// Whether it is the trigger of the same reconciler.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Begins a round at once, or another one after the round that is under way.
    pub fn fire(&self) {
        self.0.notify_one();
    }
}

// === impl Reconciler ===

impl<S: Store> Reconciler<S> {
    /// Opens the Git store. Nothing is fetched yet; what the state store holds is in force already.
    pub fn new(options: Options, store: S) -> Result<Self, git::Error> {
        let source = Source::open(&options)?;
        let in_force = store.in_force();
        let plan = in_force.as_ref().and_then(|desired| desired.plan.as_ref());
        let status = Status {
            in_force: plan.map(|plan| plan.revision.clone()),
            since: plan.map(|_| Timestamp::now()),
            ..Status::default()
        };
        Ok(Self {
            options,
            source: Arc::new(Mutex::new(source)),
            store,
            status: channel::Sender::new(status),
            trigger: Trigger::default(),
            settled: None,
            stood_at: None,
            undecided: None,
            rounds: channel::Sender::new(0),
        })
    }

    /// Where the reconciler stands, from now on.
    #[must_use]
    pub fn status(&self) -> channel::Receiver<Status> {
        self.status.subscribe()
    }

    /// How many rounds came to their end, whether anything was new or not.
    #[must_use]
    pub fn rounds(&self) -> channel::Receiver<u64> {
        self.rounds.subscribe()
    }

    /// What begins a round at once; for signals and hooks.
    #[must_use]
    pub fn trigger(&self) -> Trigger {
        self.trigger.clone()
    }

    /// Reconciles until it is cancelled; a fetch that is under way then is given up.
    pub async fn run(mut self, cancelled: CancellationToken) {
        let mut schedule = Schedule::new(self.options.interval);
        let mut watch = ReferenceWatch::new(&self.options);
        while !cancelled.is_cancelled() {
            // Before the fetch: what changes while it runs is seen afterwards.
            watch.look();
            self.options.metrics.begin_round();
            let settled = self.settled;
            let result = self.round(&cancelled).await;
            self.options.metrics.end_round(settled != self.settled);
            if cancelled.is_cancelled() {
                break;
            }
            let wait = match &result {
                Ok(()) => schedule.succeeded(),
                Err(_) => schedule.failed(),
            };
            self.report_failure(result.err(), schedule.failures());
            self.rounds.send_modify(|rounds| *rounds += 1);
            tokio::select! {
                () = cancelled.cancelled() => {}
                () = tokio::time::sleep(wait) => {}
                () = self.trigger.0.notified() => tracing::debug!("a round was asked for"),
                () = watch.changed() => tracing::debug!("the repository's reference moved"),
            }
        }
        tracing::debug!("the reconciler has ended");
    }

    async fn round(&mut self, cancelled: &CancellationToken) -> Result<(), RoundError> {
        let before = self.store.in_force();
        let good = before
            .as_ref()
            .map(|desired| desired.good.clone())
            .unwrap_or_default();
        let stands_at = before.as_ref().map(|desired| &desired.revision);
        let settled = self.settled.filter(|_| stands_at == self.stood_at.as_ref());
        let token = cancelled.clone();
        let built = self
            .blocking(move |source| source.build(settled, &good, Timestamp::now(), &token))
            .await??;
        let checked = Timestamp::now();
        let Some(built) = built else {
            // Only the time is new, and nobody is woken for that.
            self.status.send_if_modified(|status| {
                status.checked = Some(checked);
                false
            });
            return Ok(());
        };
        let commit = built.commit;
        if let (true, Some(before)) = (self.options.refuses_rewrites, &before) {
            let refused = self.refuse_rewrite(before, commit, cancelled).await;
            if refused.is_err() {
                let attempted = Some(commit.revision());
                self.status.send_modify(|status| {
                    status.checked = Some(checked);
                    status.attempted = attempted;
                });
            }
            refused?;
        }
        let applied = self.apply(&built, before.as_deref(), cancelled).await;
        let in_force = self.store.in_force();
        let plan = in_force.as_ref().and_then(|desired| desired.plan.as_ref());
        let revision = plan.map(|plan| plan.revision.clone());
        if let Some(revision) = &revision
            && *revision == commit.revision()
        {
            let is_news = before
                .as_ref()
                .is_some_and(|before| before.revision != *revision);
            let metrics = &self.options.metrics;
            metrics.set_in_force(revision.as_str(), built.committed, is_news);
        }
        // At once, so that nobody sees an attempt beside what was in force before it.
        self.status.send_modify(|status| {
            if status.in_force != revision {
                status.since = plan.map(|_| Timestamp::now());
                status.in_force = revision;
            }
            status.checked = Some(checked);
            status.attempted = Some(commit.revision());
            status.is_held = built.is_held;
            status.units = built.units;
            status.diagnostics = built.diagnostics;
            status.history = None;
        });
        applied?;
        self.settled = Some(commit);
        self.stood_at = in_force.as_ref().map(|desired| desired.revision.clone());
        if let Some(before) = before {
            self.report_history(&before, commit, cancelled).await;
        }
        Ok(())
    }

    async fn apply(
        &mut self,
        built: &Built,
        before: Option<&Desired>,
        cancelled: &CancellationToken,
    ) -> Result<(), RoundError> {
        let frozen = built.units.values().filter(|unit| unit.is_frozen).count();
        let Some(desired) = built.desired.clone() else {
            tracing::warn!(
                revision = %built.commit,
                diagnostics = built.diagnostics.len(),
                is_held = built.is_held,
                "nothing of this revision can be brought into force"
            );
            return Ok(());
        };
        let good = desired.good.clone();
        // The new commits are kept before the state names them, the old ones until it no longer
        // does: a crash in between loses neither.
        let kept: Vec<_> = source::commits(&good).collect();
        let old = before
            .into_iter()
            .flat_map(|before| source::commits(&before.good));
        let both: Vec<_> = kept.iter().copied().chain(old).collect();
        self.blocking(move |source| source.keep(&both)).await??;
        let mut report = self
            .store
            .apply(desired.clone(), Approvals::default())
            .await?;
        // Only now: to look into the history of a shallow store costs a fetch.
        if report.blocked > 0
            && let Some(before) = before
            && let Ok(old) = CommitId::try_from(&before.revision)
        {
            let (new, token) = (built.commit, cancelled.clone());
            // The new commit is in force by now: a round after this one begins there.
            let old = *self.undecided.get_or_insert(old);
            let approvals = self
                .blocking(move |source| source.approvals(old, new, &token))
                .await??;
            if approvals.prune.is_some() {
                tracing::info!(?approvals, "commits approve what was held back");
                let approved = self.store.apply(desired, approvals).await?;
                report.removed.extend(approved.removed);
                report.blocked = approved.blocked;
            }
        }
        self.undecided = None;
        self.blocking(move |source| source.keep(&kept)).await??;

        tracing::info!(
            revision = %built.commit,
            added = report.added.len(),
            changed = report.changed.len(),
            removed = report.removed.len(),
            unchanged = report.unchanged,
            diagnostics = built.diagnostics.len(),
            frozen,
            is_held = built.is_held,
            "the revision is in force"
        );
        if built
            .desired
            .as_ref()
            .is_some_and(|desired| desired.plan.is_none())
        {
            tracing::warn!(peer = %self.options.peer, "the fabric has no such peer");
        }
        Ok(())
    }

    /// Errs for a commit that doesn't build upon the one in force.
    async fn refuse_rewrite(
        &self,
        before: &Desired,
        new: CommitId,
        cancelled: &CancellationToken,
    ) -> Result<(), RoundError> {
        let Ok(old) = CommitId::try_from(&before.revision) else {
            return Ok(());
        };
        if old == new {
            return Ok(());
        }
        let token = cancelled.clone();
        let history = self
            .blocking(move |source| source.history(old, new, &token))
            .await?;
        match history {
            History::Forward => Ok(()),
            _ => Err(RoundError::Rewritten { old, new, history }),
        }
    }

    /// Says how a commit follows on the one before. It changes nothing that is in force: whether a
    /// rewind is refused is a matter of verified commits.
    async fn report_history(
        &self,
        before: &Desired,
        commit: CommitId,
        cancelled: &CancellationToken,
    ) {
        let Ok(old) = CommitId::try_from(&before.revision) else {
            return;
        };
        if old == commit {
            return;
        }
        let token = cancelled.clone();
        let history = self
            .blocking(move |source| source.history(old, commit, &token))
            .await;
        let history = match history {
            Ok(history) => history,
            Err(error) => {
                tracing::warn!(%error, "the history can't be compared");
                return;
            }
        };
        if history != History::Forward {
            tracing::warn!(from = %old, to = %commit, ?history, "the history doesn't go on");
        }
        self.status
            .send_modify(|status| status.history = Some(history));
    }

    fn report_failure(&self, error: Option<RoundError>, attempts: u32) {
        let member = self.status.borrow().in_force.is_some() || self.settled.is_none();
        let (reason, message) = match &error {
            Some(error) => {
                let (reason, message) = (error.reason(), chain(error));
                tracing::warn!(reason, error = message, attempts, "a round failed");
                (reason, message)
            }
            None if !member && !self.status.borrow().is_held => {
                let peer = &self.options.peer;
                let message = format!("nothing is in force for the peer {peer}");
                ("NothingInForce", message)
            }
            None => {
                self.status
                    .send_if_modified(|status| status.failure.take().is_some());
                return;
            }
        };
        self.status.send_modify(|status| {
            let since = match &status.failure {
                Some(before) => before.since,
                None => Timestamp::now(),
            };
            status.failure = Some(Failure {
                reason,
                message,
                since,
                attempts: attempts.max(1),
            });
        });
    }

    async fn blocking<T: Send + 'static>(
        &self,
        f: impl FnOnce(&mut Source) -> T + Send + 'static,
    ) -> Result<T, tokio::task::JoinError> {
        let source = Arc::clone(&self.source);
        tokio::task::spawn_blocking(move || f(&mut source.lock())).await
    }
}

// === impl RoundError ===

impl RoundError {
    const fn reason(&self) -> &'static str {
        match self {
            Self::Git(error) => error.reason(),
            Self::Store(StoreError::Cluster(_)) => "ApplyFailed",
            Self::Store(_) => "StorageOperationFailed",
            Self::Rewritten { .. } => "HistoryRewritten",
            Self::Lost(_) => "InternalError",
        }
    }
}

/// An error and what it comes from, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let inner = error.to_string();
        // A transparent error says what its source says.
        if !text.ends_with(&inner) {
            text.push_str(": ");
            text.push_str(&inner);
        }
        source = error.source();
    }
    text
}
