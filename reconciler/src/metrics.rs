//! What a reconciler of a cluster counts. Labels are of few values: kinds, fixed reasons, and the
//! names of FabricSyncs; never those of objects.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use fabric::name::Kind;
use jiff::Timestamp;
use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::kubernetes::count::Requests;

/// A round is a fetch (a minute at most, and as much again for a history), reading, and requests of
/// which each ends: one that takes longer than this never ends.
const STUCK: Duration = Duration::from_secs(900);

/// What a reconciler counts; clones count together.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Counted>);

/// What the work for one FabricSync counts.
#[derive(Clone, Debug)]
pub struct SyncMetrics {
    name: Arc<str>,
    server: Arc<str>,
    metrics: Metrics,
}

/// What became of an object that was to be dealt with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Applied {
    /// It wasn't there.
    Created,
    /// It was another one.
    Updated,
    /// It was there, and nobody's.
    Adopted,
    /// It isn't wanted.
    Deleted,
    /// It can't be dealt with.
    Failed,
}

/// The states by which objects are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectState {
    /// Gateways go by it.
    InForce,
    /// It can't be applied or deleted.
    Refused,
    /// The prune budget holds it back.
    Blocked,
    /// A finalizer holds it.
    Terminating,
}

#[derive(Debug)]
struct Counted {
    leader: Gauge,
    kube_requests: Requests,
    git_requests: Family<GitLabels, Counter>,
    git_seconds: Histogram,
    git_bytes: Counter,
    build_seconds: Histogram,
    round_seconds: Histogram,
    commit: Family<CommitLabels, Gauge>,
    age: Family<SyncLabel, Gauge>,
    stuck: Family<SyncLabel, Gauge<f64, AtomicU64>>,
    reachable: Family<SyncLabel, Gauge>,
    objects: Family<ObjectLabels, Gauge>,
    applied: Family<ApplyLabels, Counter>,
    apply_seconds: Histogram,
    drift: Family<DriftLabels, Counter>,
    fights: Family<SyncLabel, Gauge>,
    pruned: Family<KindLabels, Counter>,
    prune_blocked: Family<SyncLabel, Gauge>,
    commit_to_applied: Histogram,
    commit_to_enforced: Histogram,
    progress: Mutex<BTreeMap<Arc<str>, Progress>>,
}

/// Where the work for one FabricSync stands.
#[derive(Debug, Default)]
struct Progress {
    round_since: Option<Instant>,
    in_force: Option<InForce>,
}

/// A commit in force.
#[derive(Debug)]
struct InForce {
    server: Arc<str>,
    revision: String,
    committed: Option<Timestamp>,
    /// Whether it is to be seen how long the gateways take.
    is_awaited: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SyncLabel {
    sync: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct GitLabels {
    op: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CommitLabels {
    sync: String,
    commit: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ObjectLabels {
    sync: String,
    kind: &'static str,
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ApplyLabels {
    sync: String,
    kind: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DriftLabels {
    sync: String,
    kind: &'static str,
    action: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    sync: String,
    kind: &'static str,
}

// === impl Metrics ===

impl Metrics {
    /// All at zero; `requests` are counted elsewhere, and shown here.
    #[must_use]
    pub fn new(requests: Requests) -> Self {
        // From a millisecond to half a minute, and from a tenth of a second to an hour and more:
        // commits carry whole seconds.
        let quick = || Histogram::new(exponential_buckets(0.001, 2.0, 16));
        let slow = || Histogram::new(exponential_buckets(0.125, 2.0, 16));
        Self(Arc::new(Counted {
            leader: Gauge::default(),
            kube_requests: requests,
            git_requests: Family::default(),
            git_seconds: quick(),
            git_bytes: Counter::default(),
            build_seconds: quick(),
            round_seconds: quick(),
            commit: Family::default(),
            age: Family::default(),
            stuck: Family::default(),
            reachable: Family::default(),
            objects: Family::default(),
            applied: Family::default(),
            apply_seconds: quick(),
            drift: Family::default(),
            fights: Family::default(),
            pruned: Family::default(),
            prune_blocked: Family::default(),
            commit_to_applied: slow(),
            commit_to_enforced: slow(),
            progress: Mutex::default(),
        }))
    }

    /// For the work of one FabricSync, in the cluster of this API server.
    #[must_use]
    pub fn of_sync(&self, name: &str, server: &str) -> SyncMetrics {
        SyncMetrics {
            name: name.into(),
            server: server.into(),
            metrics: self.clone(),
        }
    }

    /// Notes whether this process leads.
    pub fn set_leads(&self, leads: bool) {
        self.0.leader.set(leads.into());
    }

    /// Notes that all gateways of a cluster are at this revision.
    pub fn note_enforced(&self, server: &str, revision: &str) {
        let now = Timestamp::now();
        for progress in self.0.progress.lock().values_mut() {
            let Some(in_force) = &mut progress.in_force else {
                continue;
            };
            let is_it = *in_force.server == *server && in_force.revision == revision;
            if is_it && in_force.is_awaited {
                in_force.is_awaited = false;
                let seconds = in_force.committed.map(|time| seconds_between(time, now));
                if let Some(seconds) = seconds {
                    self.0.commit_to_enforced.observe(seconds);
                }
            }
        }
    }

    /// Since when a round runs that should have ended long ago, and of which FabricSync.
    #[must_use]
    pub fn stuck(&self) -> Option<(String, Duration)> {
        let progress = self.0.progress.lock();
        let running = progress
            .iter()
            .filter_map(|(name, progress)| Some((name, progress.round_since?.elapsed())));
        let longest = running.max_by_key(|(_, time)| *time)?;
        (longest.1 > STUCK).then(|| (longest.0.to_string(), longest.1))
    }

    /// All of it in Prometheus's text format.
    #[must_use]
    pub fn encode(&self) -> String {
        let now = Timestamp::now();
        for (name, progress) in &*self.0.progress.lock() {
            let label = SyncLabel {
                sync: name.to_string(),
            };
            let running = progress.round_since.map(|since| since.elapsed());
            let stuck = self.0.stuck.get_or_create(&label);
            stuck.set(running.unwrap_or_default().as_secs_f64());
            let committed = progress.in_force.as_ref().and_then(|it| it.committed);
            if let Some(committed) = committed {
                let age = now.duration_since(committed).as_secs();
                self.0.age.get_or_create(&label).set(age.max(0));
            }
        }
        let mut text = String::new();
        match encode(&mut text, &self.registry()) {
            Ok(()) => text,
            // To write into a String can't fail; an encoder that does shows nothing.
            Err(_) => String::new(),
        }
    }

    fn registry(&self) -> Registry {
        let counted = &*self.0;
        let mut registry = Registry::with_prefix("weft");
        let r = &mut registry;
        r.register(
            "leader",
            "Whether this process leads",
            counted.leader.clone(),
        );
        r.register(
            "kube_requests",
            "Requests to API servers, watches included",
            counted.kube_requests.clone(),
        );
        r.register(
            "git_requests",
            "Fetches, by their result",
            counted.git_requests.clone(),
        );
        r.register_with_unit(
            "git_request_duration",
            "How long fetches take",
            Unit::Seconds,
            counted.git_seconds.clone(),
        );
        r.register(
            "git_fetch_bytes",
            "What fetches received",
            counted.git_bytes.clone(),
        );
        r.register_with_unit(
            "validate_duration",
            "How long it takes to read, check and plan a commit",
            Unit::Seconds,
            counted.build_seconds.clone(),
        );
        r.register_with_unit(
            "reconcile_duration",
            "How long rounds take that deal with a commit",
            Unit::Seconds,
            counted.round_seconds.clone(),
        );
        r.register(
            "source_commit_info",
            "The commit in force",
            counted.commit.clone(),
        );
        r.register_with_unit(
            "source_age",
            "How old the commit in force is",
            Unit::Seconds,
            counted.age.clone(),
        );
        r.register_with_unit(
            "reconcile_stuck",
            "For how long the round runs that runs now",
            Unit::Seconds,
            counted.stuck.clone(),
        );
        r.register(
            "cluster_reachable",
            "Whether the API server answers",
            counted.reachable.clone(),
        );
        r.register(
            "objects",
            "Objects, by their state",
            counted.objects.clone(),
        );
        r.register(
            "apply",
            "Objects dealt with, by what came of it",
            counted.applied.clone(),
        );
        r.register_with_unit(
            "apply_duration",
            "How long it takes to deal with one object",
            Unit::Seconds,
            counted.apply_seconds.clone(),
        );
        r.register(
            "drift",
            "Objects that somebody else changed, by what was done about it",
            counted.drift.clone(),
        );
        r.register(
            "fights",
            "Objects that another writer keeps changing",
            counted.fights.clone(),
        );
        r.register(
            "prune",
            "Objects deleted since the repository has them no more",
            counted.pruned.clone(),
        );
        r.register(
            "prune_blocked",
            "Objects that the prune budget holds back",
            counted.prune_blocked.clone(),
        );
        r.register_with_unit(
            "commit_to_applied",
            "From a commit's time to all its objects in force",
            Unit::Seconds,
            counted.commit_to_applied.clone(),
        );
        r.register_with_unit(
            "commit_to_enforced",
            "From a commit's time until all gateways of the cluster go by it",
            Unit::Seconds,
            counted.commit_to_enforced.clone(),
        );
        registry
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new(Requests::default())
    }
}

// === impl SyncMetrics ===

impl SyncMetrics {
    /// Notes that a round begins.
    pub fn begin_round(&self) {
        self.progress(|progress| progress.round_since = Some(Instant::now()));
    }

    /// Notes that the round has ended; whether it dealt with a commit.
    pub fn end_round(&self, is_news: bool) {
        let mut since = None;
        self.progress(|progress| since = progress.round_since.take());
        if let Some(since) = since.filter(|_| is_news) {
            let seconds = since.elapsed().as_secs_f64();
            self.counted().round_seconds.observe(seconds);
        }
    }

    /// Notes a fetch: how long it took, and what came of it, `ok` or a reason.
    pub fn note_fetch(&self, took: Duration, result: &'static str, received: u64) {
        let counted = self.counted();
        let label = GitLabels {
            op: "fetch",
            result,
        };
        counted.git_requests.get_or_create(&label).inc();
        counted.git_seconds.observe(took.as_secs_f64());
        counted.git_bytes.inc_by(received);
    }

    /// Notes how long it took to make a plan of a commit.
    pub fn note_build(&self, took: Duration) {
        self.counted().build_seconds.observe(took.as_secs_f64());
    }

    /// Notes which commit is in force from now on; `is_news` where another one was before.
    pub fn set_in_force(&self, revision: &str, committed: Option<Timestamp>, is_news: bool) {
        let commit = &self.counted().commit;
        let label = |revision: &str| CommitLabels {
            sync: self.name.to_string(),
            commit: revision.to_owned(),
        };
        let in_force = InForce {
            server: Arc::clone(&self.server),
            revision: revision.to_owned(),
            committed,
            is_awaited: is_news,
        };
        let mut before = None;
        self.progress(|progress| before = progress.in_force.replace(in_force));
        if let Some(before) = before.filter(|before| before.revision != revision) {
            commit.remove(&label(&before.revision));
        }
        commit.get_or_create(&label(revision)).set(1);
        if let (true, Some(committed)) = (is_news, committed) {
            let seconds = seconds_between(committed, Timestamp::now());
            self.counted().commit_to_applied.observe(seconds);
        }
    }

    /// Notes whether the API server answers.
    pub fn set_reachable(&self, is_reachable: bool) {
        let gauge = self.counted().reachable.get_or_create_owned(&self.label());
        gauge.set(is_reachable.into());
    }

    /// Notes what became of an object.
    pub fn note_applied(&self, kind: Kind, result: Applied) {
        let counted = self.counted();
        let labels = ApplyLabels {
            sync: self.name.to_string(),
            kind: kind.as_str(),
            result: result.as_str(),
        };
        counted.applied.get_or_create(&labels).inc();
        if result == Applied::Deleted {
            let labels = KindLabels {
                sync: self.name.to_string(),
                kind: kind.as_str(),
            };
            counted.pruned.get_or_create(&labels).inc();
        }
    }

    /// Notes how long it took to deal with one object.
    pub fn note_apply(&self, took: Duration) {
        self.counted().apply_seconds.observe(took.as_secs_f64());
    }

    /// Notes that somebody else changed an object, and whether that was put right or left for now.
    pub fn note_drift(&self, kind: Kind, is_corrected: bool) {
        let labels = DriftLabels {
            sync: self.name.to_string(),
            kind: kind.as_str(),
            action: if is_corrected { "corrected" } else { "held" },
        };
        self.counted().drift.get_or_create(&labels).inc();
    }

    /// Notes over how many objects somebody fights with us.
    pub fn set_fights(&self, count: usize) {
        let gauge = self.counted().fights.get_or_create_owned(&self.label());
        gauge.set(signed(count));
    }

    /// Notes how many objects are in one of these states, by kind.
    pub fn set_objects(&self, state: ObjectState, kinds: impl Iterator<Item = Kind>) {
        let mut counts: BTreeMap<Kind, usize> = KINDS.map(|kind| (kind, 0)).into();
        for kind in kinds {
            *counts.entry(kind).or_default() += 1;
        }
        let total: usize = counts.values().sum();
        for (kind, count) in counts {
            let labels = ObjectLabels {
                sync: self.name.to_string(),
                kind: kind.as_str(),
                state: state.as_str(),
            };
            let gauge = self.counted().objects.get_or_create_owned(&labels);
            gauge.set(signed(count));
        }
        if state == ObjectState::Blocked {
            let gauge = self
                .counted()
                .prune_blocked
                .get_or_create_owned(&self.label());
            gauge.set(signed(total));
        }
    }

    /// Forgets what stands for now: nobody works for the FabricSync any more.
    pub fn clear(&self) {
        let counted = self.counted();
        let progress = counted.progress.lock().remove(&self.name);
        let label = self.label();
        if let Some(in_force) = progress.and_then(|progress| progress.in_force) {
            counted.commit.remove(&CommitLabels {
                sync: self.name.to_string(),
                commit: in_force.revision,
            });
        }
        counted.age.remove(&label);
        counted.stuck.remove(&label);
        counted.reachable.remove(&label);
        counted.fights.remove(&label);
        counted.prune_blocked.remove(&label);
        for kind in KINDS {
            for state in ObjectState::ALL {
                counted.objects.remove(&ObjectLabels {
                    sync: self.name.to_string(),
                    kind: kind.as_str(),
                    state: state.as_str(),
                });
            }
        }
    }

    fn counted(&self) -> &Counted {
        &self.metrics.0
    }

    fn label(&self) -> SyncLabel {
        SyncLabel {
            sync: self.name.to_string(),
        }
    }

    fn progress(&self, change: impl FnOnce(&mut Progress)) {
        let mut all = self.counted().progress.lock();
        change(all.entry(Arc::clone(&self.name)).or_default());
    }
}

impl Default for SyncMetrics {
    /// For work that nobody looks at.
    fn default() -> Self {
        Metrics::default().of_sync("weft", "")
    }
}

// === impl Applied ===

impl Applied {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Adopted => "adopted",
            Self::Deleted => "deleted",
            Self::Failed => "failed",
        }
    }
}

// === impl ObjectState ===

impl ObjectState {
    const ALL: [Self; 4] = [
        Self::InForce,
        Self::Refused,
        Self::Blocked,
        Self::Terminating,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::InForce => "in_force",
            Self::Refused => "refused",
            Self::Blocked => "blocked",
            Self::Terminating => "terminating",
        }
    }
}

/// The kinds that are applied to clusters.
const KINDS: [Kind; 6] = [
    Kind::Peer,
    Kind::Export,
    Kind::Import,
    Kind::AccessPolicy,
    Kind::PrivilegedAccessPolicy,
    Kind::Instance,
];

fn signed(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Not below zero, whatever clock the committer had.
fn seconds_between(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64().max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_for_a_sync_goes_with_it() {
        let metrics = Metrics::default();
        let sync = metrics.of_sync("weft", "here");
        let committed = Timestamp::now() - Duration::from_secs(90);
        sync.begin_round();
        sync.set_in_force("1111", Some(committed), false);
        sync.set_in_force("2222", Some(committed), true);
        sync.end_round(true);
        sync.set_objects(
            ObjectState::Blocked,
            [Kind::Export, Kind::Export].into_iter(),
        );
        sync.note_applied(Kind::Export, Applied::Deleted);
        let text = metrics.encode();
        for line in [
            "weft_source_commit_info{sync=\"weft\",commit=\"2222\"} 1",
            "weft_objects{sync=\"weft\",kind=\"Export\",state=\"blocked\"} 2",
            "weft_prune_blocked{sync=\"weft\"} 2",
            "weft_prune_total{sync=\"weft\",kind=\"Export\"} 1",
            "weft_reconcile_stuck_seconds{sync=\"weft\"} 0.0",
            "weft_commit_to_applied_seconds_count 1",
            "weft_commit_to_enforced_seconds_count 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        assert!(!text.contains("1111"), "{text}");
        // Another revision, another cluster, and then once for the right one.
        for (server, revision) in [
            ("here", "1111"),
            ("there", "2222"),
            ("here", "2222"),
            ("here", "2222"),
        ] {
            metrics.note_enforced(server, revision);
        }
        sync.clear();
        let text = metrics.encode();
        assert!(
            text.contains("weft_commit_to_enforced_seconds_count 1\n"),
            "{text}"
        );
        assert!(text.contains("weft_prune_total{"), "{text}");
        assert!(!text.contains("weft_prune_blocked{"), "{text}");
        assert!(!text.contains("2222"), "{text}");
    }

    #[test]
    fn a_round_that_runs_is_no_stuck_one() {
        let metrics = Metrics::default();
        metrics.of_sync("weft", "here").begin_round();
        assert_eq!(metrics.stuck(), None);
    }
}
