use std::fs::File;
use std::path::{Path, PathBuf};

use fabric::tree::{Limits, Tree};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::address::Place;
use super::ancestry::{Ancestry, commits, is_ancestor, messages};
use super::error::FetchError;
use super::housekeeping::{self, Busy};
use super::operation::Operation;
use super::{
    BlobCache, Commit, CommitId, Error, FetchLimits, Fetched, Merged, Remote, fetch, local, merge,
    transport, tree,
};

/// A Git repository: the reconciler's bare store, or a user's own that is only read.
///
/// All operations take turns, so that there is one fetch at a time per store.
pub struct Repository {
    path: PathBuf,
    inner: Mutex<git2::Repository>,
    /// Held while a bare store is open.
    _lock: Option<File>,
}

/// How deep the history is fetched when ancestry is asked for, step by step. A rewind beyond the
/// last one counts as unrelated: no review looks further back than a thousand commits.
const DEPTHS: [i32; 3] = [16, 128, 1024];

/// Where the commits are kept that the caller still needs.
const KEPT: &str = "refs/weft/keep/";

// === impl Repository ===

impl Repository {
    /// Opens the bare store in a directory, or makes it.
    pub fn open_or_init(path: &Path) -> Result<Self, Error> {
        transport::initialize();
        let repository = match git2::Repository::open_bare(path) {
            Ok(repository) => repository,
            Err(error) if error.code() == git2::ErrorCode::NotFound => {
                init(path).map_err(|source| Error::Init {
                    path: path.to_owned(),
                    source,
                })?
            }
            Err(source) => {
                let path = path.to_owned();
                return Err(Error::Open { path, source });
            }
        };
        let lock = housekeeping::lock(path)
            .and_then(|lock| housekeeping::clean(path).map(|()| lock))
            .map_err(|busy| match busy {
                Busy::InUse => Error::InUse(path.to_owned()),
                Busy::File(path, source) => Error::File { path, source },
            })?;
        Ok(Self::new(path, repository, Some(lock)))
    }

    /// Opens the repository that a path belongs to, bare or not; it is only read.
    pub fn discover(path: &Path) -> Result<Self, Error> {
        transport::initialize();
        let repository = git2::Repository::discover(path).map_err(|source| Error::Open {
            path: path.to_owned(),
            source,
        })?;
        admit_quarantine(&repository);
        Ok(Self::new(path, repository, None))
    }

    fn new(path: &Path, repository: git2::Repository, lock: Option<File>) -> Self {
        Self {
            path: path.to_owned(),
            inner: Mutex::new(repository),
            _lock: lock,
        }
    }

    /// The directory by which the repository was opened.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The working tree's directory; none for a bare repository.
    #[must_use]
    pub fn workdir(&self) -> Option<PathBuf> {
        self.inner.lock().workdir().map(Path::to_owned)
    }

    /// The commit that a revision names: an id, `HEAD~1`, a branch, a tag.
    pub fn resolve(&self, revision: &str) -> Result<Commit, Error> {
        let failed = |source| Error::Resolve {
            revision: revision.to_owned(),
            path: self.path.clone(),
            source,
        };
        let repository = self.inner.lock();
        let object = repository.revparse_single(revision).map_err(failed)?;
        let commit = object.peel_to_commit().map_err(failed)?;
        Ok(Commit::of(&commit))
    }

    /// The tree that a revision names without a commit, as `git write-tree` makes one of what is
    /// about to be committed; none where it names a commit, or nothing.
    #[must_use]
    pub fn find_tree(&self, revision: &str) -> Option<CommitId> {
        let repository = self.inner.lock();
        let object = repository.revparse_single(revision).ok()?;
        (object.kind() == Some(git2::ObjectType::Tree)).then(|| CommitId(object.id()))
    }

    /// Fetches the commit at which the remote's reference stands, without its history.
    ///
    /// A commit that is in the store already isn't fetched again; wherever the reference has moved
    /// (onwards, back, to an unrelated history), the store follows.
    pub fn fetch(
        &self,
        remote: &Remote,
        limits: FetchLimits,
        cancelled: &CancellationToken,
    ) -> Result<Fetched, Error> {
        let mut repository = self.inner.lock();
        // Here too, since a fetch that fails in the end may leave its pack behind.
        self.compact(&mut repository);
        Operation::run(remote, limits, cancelled, |operation| {
            fetch::fetch(&repository, operation)
        })
        .map_err(|source| fetch_error(remote, source))
    }

    /// Brings an older commit back into a store that lost it; false where the remote's reference
    /// doesn't lead to it within the bound.
    pub fn recover(
        &self,
        remote: &Remote,
        commit: CommitId,
        limits: FetchLimits,
        cancelled: &CancellationToken,
    ) -> Result<bool, Error> {
        let repository = self.inner.lock();
        Operation::run(remote, limits, cancelled, |operation| {
            fetch::recover(&repository, operation, commit.0, &DEPTHS)
        })
        .map_err(|source| fetch_error(remote, source))
    }

    /// The messages of `new` and the commits that are in its history and not in that of `old`, at most
    /// a thousand of them; none where `new` doesn't build upon `old`, or that can't be known.
    pub fn messages(
        &self,
        remote: &Remote,
        (old, new): (CommitId, CommitId),
        limits: FetchLimits,
        cancelled: &CancellationToken,
    ) -> Result<Vec<String>, Error> {
        if self.is_ancestor(remote, (old, new), limits, cancelled)? != Some(true) {
            return Ok(Vec::new());
        }
        let read = |repository: &git2::Repository| {
            messages(repository, old.0, new.0).map_err(|source| Error::Read {
                object: "the history".to_owned(),
                commit: new,
                path: self.path.clone(),
                source,
            })
        };
        match &remote.address.0 {
            // The store next to it is one commit deep.
            Place::Local(path) => {
                read(&local::open(path).map_err(|source| fetch_error(remote, source))?)
            }
            Place::Http(..) | Place::Ssh(_) => read(&self.inner.lock()),
        }
    }

    /// The commits in the history of the new ones that aren't in that of the old one, the newest
    /// first, with their messages: at most a thousand, and only what the repository itself holds.
    pub fn commits(
        &self,
        old: Option<CommitId>,
        new: &[CommitId],
    ) -> Result<Vec<(CommitId, String)>, Error> {
        let ids: Vec<_> = new.iter().map(|commit| commit.0).collect();
        let commits = commits(&self.inner.lock(), old.map(|old| old.0), &ids);
        match (commits, new.first()) {
            (Ok(commits), _) => Ok(commits
                .into_iter()
                .map(|(id, message)| (CommitId(id), message))
                .collect()),
            (Err(_), None) => Ok(Vec::new()),
            (Err(source), Some(new)) => Err(Error::Read {
                object: "the history".to_owned(),
                commit: *new,
                path: self.path.clone(),
                source,
            }),
        }
    }

    /// The newest commit in the history of both.
    pub fn merge_base(&self, first: CommitId, second: CommitId) -> Result<CommitId, Error> {
        let path = self.path.clone();
        match self.inner.lock().merge_base(first.0, second.0) {
            Ok(id) => Ok(CommitId(id)),
            Err(error) if error.code() == git2::ErrorCode::NotFound => Err(Error::Unrelated {
                first,
                second,
                path,
            }),
            Err(source) => Err(Error::Read {
                object: "the history".to_owned(),
                commit: second,
                path,
                source,
            }),
        }
    }

    /// The files of what merging commits onto another comes to, one after the other; nothing is
    /// written to the repository.
    pub fn merge(
        &self,
        onto: CommitId,
        commits: &[CommitId],
        limits: &Limits,
        cache: &mut BlobCache,
    ) -> Result<Merged, Error> {
        let repository = self.inner.lock();
        merge::merge(&repository, &self.path, onto, commits, limits, cache)
    }

    /// Whether `old` is in the history of `new`, which was fetched from the remote.
    ///
    /// The history is fetched as far as it takes, within a bound; none where it can't be known.
    pub fn is_ancestor(
        &self,
        remote: &Remote,
        (old, new): (CommitId, CommitId),
        limits: FetchLimits,
        cancelled: &CancellationToken,
    ) -> Result<Option<bool>, Error> {
        let repository = self.inner.lock();
        let walk = |repository: &git2::Repository| {
            is_ancestor(repository, old.0, new.0).map_err(|source| Error::Read {
                object: "the history".to_owned(),
                commit: new,
                path: self.path.clone(),
                source,
            })
        };
        let mut ancestry = walk(&repository)?;
        if let (Ancestry::Unknown, Place::Local(path)) = (ancestry, &remote.address.0) {
            // The repository next door knows its own history.
            let source = local::open(path).map_err(|source| fetch_error(remote, source))?;
            ancestry = walk(&source)?;
        }
        let mut depths = DEPTHS.into_iter();
        while ancestry == Ancestry::Unknown
            && let Some(depth) = depths.next()
        {
            let is_deeper = Operation::run(remote, limits, cancelled, |operation| {
                fetch::deepen(&repository, operation, depth)
            })
            .map_err(|source| fetch_error(remote, source))?;
            if !is_deeper {
                break;
            }
            ancestry = walk(&repository)?;
        }
        Ok(match ancestry {
            Ancestry::Ancestor => Some(true),
            Ancestry::Unrelated => Some(false),
            Ancestry::Unknown => None,
        })
    }

    /// Keeps these commits in the store, and none that was kept before and isn't among them.
    ///
    /// Of the others the store lets go at some time, when it has become many packs.
    pub fn keep(&self, commits: &[CommitId]) -> Result<(), Error> {
        let mut repository = self.inner.lock();
        let failed = |source| Error::Write {
            what: "the references of kept commits".to_owned(),
            path: self.path.clone(),
            source,
        };
        let name = |commit: &CommitId| format!("{KEPT}{commit}");
        let database = repository.odb().map_err(failed)?;
        for commit in commits {
            // A store that had to be made anew lacks the old ones.
            if !database.exists(commit.0) {
                continue;
            }
            repository
                .reference(&name(commit), commit.0, true, "keep")
                .map_err(failed)?;
        }
        let kept: Vec<_> = commits.iter().map(name).collect();
        let references = repository
            .references_glob(&format!("{KEPT}*"))
            .map_err(failed)?;
        for reference in references {
            let mut reference = reference.map_err(failed)?;
            if !reference
                .name()
                .is_ok_and(|name| kept.iter().any(|kept| kept == name))
            {
                reference.delete().map_err(failed)?;
            }
        }
        drop(database);
        self.compact(&mut repository);
        Ok(())
    }

    fn compact(&self, repository: &mut git2::Repository) {
        let reopened = housekeeping::compact(repository).and_then(|is_new| match is_new {
            true => git2::Repository::open_bare(&self.path).map(Some),
            false => Ok(None),
        });
        match reopened {
            Ok(Some(reopened)) => *repository = reopened,
            Ok(None) => {}
            // It only takes more room for now.
            Err(error) => tracing::warn!(%error, "the Git store can't be packed anew"),
        }
    }

    /// The files of a commit that the model asks for, read from the object database.
    pub fn tree(
        &self,
        commit: CommitId,
        limits: &Limits,
        cache: &mut BlobCache,
    ) -> Result<Tree, Error> {
        tree::read(&self.inner.lock(), &self.path, commit, limits, cache)
    }
}

/// Lets the objects be read of a push that isn't accepted yet: a hook that judges it finds them in
/// a quarantine inside the repository (git-receive-pack(1)).
fn admit_quarantine(repository: &git2::Repository) {
    let Some(quarantine) = std::env::var_os("GIT_QUARANTINE_PATH").map(PathBuf::from) else {
        return;
    };
    // Another repository's hook may have started this process.
    let objects = repository.commondir().join("objects").canonicalize();
    if let (Ok(quarantine), Ok(objects)) = (quarantine.canonicalize(), objects)
        && quarantine.starts_with(objects)
        && let Ok(database) = repository.odb()
        && let Some(path) = quarantine.to_str()
        && let Err(error) = database.add_disk_alternate(path)
    {
        tracing::warn!(%error, "the objects that are pushed can't be read");
    }
}

impl std::fmt::Debug for Repository {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Repository").field(&self.path).finish()
    }
}

fn init(path: &Path) -> Result<git2::Repository, git2::Error> {
    let repository = git2::Repository::init_bare(path)?;
    // What was fetched is there after a power cut too.
    repository
        .config()?
        .set_bool("core.fsyncObjectFiles", true)?;
    Ok(repository)
}

fn fetch_error(remote: &Remote, source: FetchError) -> Error {
    Error::Fetch {
        address: remote.address().to_string(),
        reference: remote.reference().to_string(),
        source,
    }
}
