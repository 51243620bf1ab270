//! The blocking half of a round: from the remote to what is to be in force.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fabric::diagnostic::Diagnostic;
use fabric::fabric::{Build, Good, LastGood, build};
use fabric::name::PeerName;
use fabric::origin::Revision;
use fabric::plan::Plan;
use fabric::tree::{Limits, Tree};
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::Options;
use crate::git::{BlobCache, CommitId, Error, FetchLimits, Remote, Repository};
use crate::metrics::SyncMetrics;
use crate::status::{History, UnitStatus};
use crate::store::{Approvals, Desired};

/// The Git store, and what was read out of it.
#[derive(Debug)]
pub(super) struct Source {
    peer: PeerName,
    remote: Remote,
    directory: PathBuf,
    limits: Limits,
    fetch: FetchLimits,
    repository: Repository,
    cache: BlobCache,
    metrics: SyncMetrics,
}

/// What a commit comes to.
#[derive(Debug)]
pub(super) struct Built {
    pub(super) commit: CommitId,
    /// When, as its committer says.
    pub(super) committed: Option<Timestamp>,
    pub(super) diagnostics: Arc<[Diagnostic]>,
    pub(super) units: BTreeMap<String, UnitStatus>,
    pub(super) is_held: bool,
    /// What is to be in force; none where it stays as it is.
    pub(super) desired: Option<Desired>,
}

/// Telling the history is worth less than the next round, which it holds up.
const HISTORY_DEADLINE: Duration = Duration::from_secs(20);

// === impl Source ===

impl Source {
    pub(super) fn open(options: &Options) -> Result<Self, Error> {
        let directory = &options.git_directory;
        let repository = match Repository::open_or_init(directory) {
            // What it held can be had again, and what is in force doesn't depend on it.
            Err(error @ Error::Open { .. }) => make_anew(directory, &error),
            opened => opened,
        };
        Ok(Self {
            peer: options.peer.clone(),
            remote: options.remote.clone(),
            directory: directory.clone(),
            limits: options.limits,
            fetch: options.fetch,
            repository: repository?,
            cache: BlobCache::new(),
            metrics: options.metrics.clone(),
        })
    }

    /// Fetches, and builds what was fetched; none where it is the commit that is settled already.
    pub(super) fn build(
        &mut self,
        settled: Option<CommitId>,
        good: &Good,
        now: Timestamp,
        cancelled: &CancellationToken,
    ) -> Result<Option<Built>, Error> {
        if !self.directory.join("HEAD").exists() {
            // Somebody removed it, or there was no room when it was made anew.
            self.repository = Repository::open_or_init(&self.directory)?;
        }
        let began = Instant::now();
        let fetched = self.repository.fetch(&self.remote, self.fetch, cancelled);
        let (result, received) = match &fetched {
            Ok(fetched) => ("ok", fetched.received),
            Err(error) => (error.reason(), 0),
        };
        self.metrics.note_fetch(began.elapsed(), result, received);
        let fetched = fetched?;
        let commit = fetched.commit;
        if settled == Some(commit) {
            return Ok(None);
        }
        tracing::debug!(%commit, received = fetched.received, "fetched");
        let began = Instant::now();
        let built = self.read_and_build(commit, good, now, cancelled);
        self.metrics.note_build(began.elapsed());
        // Also after a failure, or commits that fail would add up.
        self.cache.sweep();
        Ok(Some(self.finish(commit, good, built?)))
    }

    fn read_and_build(
        &mut self,
        commit: CommitId,
        good: &Good,
        now: Timestamp,
        cancelled: &CancellationToken,
    ) -> Result<Build, Error> {
        let head = match self.repository.tree(commit, &self.limits, &mut self.cache) {
            Ok(head) => head,
            Err(error @ Error::Read { .. }) => {
                self.recreate(&error)?;
                return Err(error);
            }
            Err(error) => return Err(error),
        };
        let mut built = build(&head, &LastGood::default(), now);
        // Older commits are read only where something stands still at them.
        if built.is_held || !built.frozen.is_empty() {
            let last_good = self.last_good(good, &built, cancelled)?;
            built = build(&head, &last_good, now);
        }
        Ok(built)
    }

    /// The trees of the scopes that the new commit freezes.
    fn last_good(
        &mut self,
        good: &Good,
        built: &Build,
        cancelled: &CancellationToken,
    ) -> Result<LastGood, Error> {
        let mut trees: HashMap<Revision, Tree> = HashMap::new();
        let mut tree = |revision: &Revision| -> Result<Option<Tree>, Error> {
            if let Some(tree) = trees.get(revision) {
                return Ok(Some(tree.clone()));
            }
            let Ok(commit) = CommitId::try_from(revision) else {
                return Ok(None);
            };
            let mut read = || self.repository.tree(commit, &self.limits, &mut self.cache);
            let tree = match read() {
                // A store that was made anew has the newest commit alone.
                Err(error @ Error::Read { .. }) => {
                    let recovered =
                        self.repository
                            .recover(&self.remote, commit, self.fetch, cancelled)?;
                    if !recovered {
                        return Err(error);
                    }
                    read()?
                }
                read => read?,
            };
            trees.insert(revision.clone(), tree.clone());
            Ok(Some(tree))
        };
        let mut last_good = LastGood::default();
        if let (true, Some(shared)) = (built.is_held, &good.shared) {
            last_good.shared = tree(shared)?;
        }
        for (name, revision) in &good.units {
            let is_wanted = built.is_held || built.frozen.contains(name.as_str());
            if is_wanted && let Some(tree) = tree(revision)? {
                last_good.units.insert(name.clone(), tree);
            }
        }
        Ok(last_good)
    }

    fn finish(&self, commit: CommitId, before: &Good, built: Build) -> Built {
        let Build {
            fabric,
            diagnostics,
            good,
            frozen,
            is_held,
            // Peers don't look at gates.
            gates: _,
        } = built;
        let names: BTreeSet<&str> = good
            .units
            .keys()
            .map(PeerName::as_str)
            .chain(frozen.iter().map(AsRef::as_ref))
            .collect();
        let units = names
            .into_iter()
            .map(|name| {
                let unit = UnitStatus {
                    revision: good.units.get(name).cloned(),
                    is_frozen: is_held || frozen.contains(name),
                };
                (name.to_owned(), unit)
            })
            .collect();
        let desired = fabric.and_then(|fabric| {
            let plan = Plan::of(&fabric, &self.peer);
            // Out of force because it never was good, not because it was removed: then what a
            // reader of older states brought into force stays.
            let is_unknown = fabric.unknown.contains(&self.peer) && plan.is_none();
            let was_member = before.units.contains_key(&self.peer);
            (!is_unknown || !was_member).then(|| Desired {
                revision: commit.revision(),
                plan,
                good,
            })
        });
        let committed = self.repository.resolve(&commit.to_string());
        Built {
            commit,
            committed: committed.ok().map(|commit| commit.time),
            diagnostics: diagnostics.into(),
            units,
            is_held,
            desired,
        }
    }

    /// How `new` follows on `old`.
    pub(super) fn history(
        &self,
        old: CommitId,
        new: CommitId,
        cancelled: &CancellationToken,
    ) -> History {
        let limits = FetchLimits {
            deadline: self.fetch.deadline.min(HISTORY_DEADLINE),
            ..self.fetch
        };
        let ask = |pair| {
            self.repository
                .is_ancestor(&self.remote, pair, limits, cancelled)
                .unwrap_or_else(|error| {
                    tracing::debug!(%error, "the history can't be fetched");
                    None
                })
        };
        match ask((old, new)) {
            Some(true) => History::Forward,
            forward => match (ask((new, old)), forward) {
                (Some(true), _) => History::Rewound,
                (_, Some(false)) => History::Unrelated,
                _ => History::Unknown,
            },
        }
    }

    /// What the commits between two approve.
    pub(super) fn approvals(
        &self,
        old: CommitId,
        new: CommitId,
        cancelled: &CancellationToken,
    ) -> Result<Approvals, Error> {
        let limits = FetchLimits {
            deadline: self.fetch.deadline.min(HISTORY_DEADLINE),
            ..self.fetch
        };
        let messages = self
            .repository
            .messages(&self.remote, (old, new), limits, cancelled)?;
        Ok(Approvals::of(messages.iter().map(String::as_str)))
    }

    pub(super) fn keep(&self, commits: &[CommitId]) -> Result<(), Error> {
        self.repository.keep(commits)
    }

    /// Begins with an empty Git store: this one lacks or damaged what it should hold.
    fn recreate(&mut self, error: &Error) -> Result<(), Error> {
        self.repository = make_anew(&self.directory, error)?;
        Ok(())
    }
}

fn make_anew(directory: &Path, error: &Error) -> Result<Repository, Error> {
    tracing::warn!(
        directory = %directory.display(),
        %error,
        "the Git store is damaged; it is made anew"
    );
    fs::remove_dir_all(directory).map_err(|source| Error::File {
        path: directory.to_owned(),
        source,
    })?;
    Repository::open_or_init(directory)
}

/// The commits at which something was last good.
pub(super) fn commits(good: &Good) -> impl Iterator<Item = CommitId> {
    good.shared
        .iter()
        .chain(good.units.values())
        .filter_map(|revision| CommitId::try_from(revision).ok())
        .collect::<BTreeSet<_>>()
        .into_iter()
}
