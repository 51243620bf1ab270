use std::path::{Path, PathBuf};

use fabric::tree::{Limits, Tree};
use parking_lot::Mutex;

use super::{BlobCache, Commit, CommitId, Error, tree};

/// A Git repository: the reconciler's bare store, or a user's own that is only read.
///
/// All operations take turns, so that there is one fetch at a time per store.
pub struct Repository {
    path: PathBuf,
    inner: Mutex<git2::Repository>,
}

// === impl Repository ===

impl Repository {
    /// Opens the bare store in a directory, or makes it.
    pub fn open_or_init(path: &Path) -> Result<Self, Error> {
        let repository = match git2::Repository::open_bare(path) {
            Ok(repository) => repository,
            Err(error) if error.code() == git2::ErrorCode::NotFound => {
                git2::Repository::init_bare(path).map_err(|source| Error::Init {
                    path: path.to_owned(),
                    source,
                })?
            }
            Err(source) => {
                let path = path.to_owned();
                return Err(Error::Open { path, source });
            }
        };
        Ok(Self::new(path, repository))
    }

    /// Opens the repository that a path belongs to, bare or not; it is only read.
    pub fn discover(path: &Path) -> Result<Self, Error> {
        let repository = git2::Repository::discover(path).map_err(|source| Error::Open {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self::new(path, repository))
    }

    fn new(path: &Path, repository: git2::Repository) -> Self {
        Self {
            path: path.to_owned(),
            inner: Mutex::new(repository),
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

impl std::fmt::Debug for Repository {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Repository").field(&self.path).finish()
    }
}
