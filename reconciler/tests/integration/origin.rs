//! A repository to fetch from, and what fetching from it needs.

use std::path::{Path, PathBuf};
use std::time::Duration;

use git2::{ObjectType, Oid, Signature};
use reconciler::git::{Address, CommitId, Error, FetchLimits, Fetched, Remote, Repository};
use tokio_util::sync::CancellationToken;

/// A bare repository whose branch is `main`.
pub(crate) struct Origin {
    directory: tempfile::TempDir,
    pub(crate) repository: git2::Repository,
}

impl Origin {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut options = git2::RepositoryInitOptions::new();
        options.bare(true).initial_head("main");
        let path = directory.path().join("fabric.git");
        let repository = git2::Repository::init_opts(path, &options).unwrap();
        Self {
            directory,
            repository,
        }
    }

    /// The directory that holds `fabric.git`.
    pub(crate) fn root(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("fabric.git")
    }

    pub(crate) fn remote(&self) -> Remote {
        Remote::new(Address::from(self.path()))
    }

    /// Commits files on top of `main`.
    pub(crate) fn commit(&self, files: &[(&str, &str)]) -> CommitId {
        let parent = self.repository.refname_to_id("refs/heads/main").ok();
        self.commit_on(parent, files)
    }

    /// Commits files on top of another commit, and moves `main` there.
    pub(crate) fn commit_on(&self, parent: Option<Oid>, files: &[(&str, &str)]) -> CommitId {
        let parent = parent.map(|id| self.repository.find_commit(id).unwrap());
        let base = match &parent {
            Some(parent) => parent.tree().unwrap(),
            None => self.tree(&[]),
        };
        let mut update = git2::build::TreeUpdateBuilder::new();
        for (path, content) in files {
            let blob = self.repository.blob(content.as_bytes()).unwrap();
            update.upsert(*path, blob, git2::FileMode::Blob);
        }
        let tree = update.create_updated(&self.repository, &base).unwrap();
        self.commit_tree(tree, parent.as_ref())
    }

    pub(crate) fn commit_tree(&self, tree: Oid, parent: Option<&git2::Commit<'_>>) -> CommitId {
        let tree = self.repository.find_tree(tree).unwrap();
        let time = git2::Time::new(1_700_000_000, 0);
        let author = Signature::new("Ada", "ada@weft.example", &time).unwrap();
        let parents: Vec<_> = parent.into_iter().collect();
        let id = self
            .repository
            .commit(None, &author, &author, "change\n\nwhy", &tree, &parents)
            .unwrap();
        self.repository
            .reference("refs/heads/main", id, true, "test")
            .unwrap();
        id.to_string().parse().unwrap()
    }

    fn tree(&self, entries: &[(&str, Oid, i32)]) -> git2::Tree<'_> {
        let id = self.raw_tree(entries);
        self.repository.find_tree(id).unwrap()
    }

    /// A tree as its bytes, also one that Git would refuse to make.
    pub(crate) fn raw_tree(&self, entries: &[(&str, Oid, i32)]) -> Oid {
        let mut bytes = Vec::new();
        for (name, id, mode) in entries {
            bytes.extend_from_slice(format!("{mode:o} {name}\0").as_bytes());
            bytes.extend_from_slice(id.as_bytes());
        }
        let odb = self.repository.odb().unwrap();
        odb.write(ObjectType::Tree, &bytes).unwrap()
    }
}

/// A bare store of its own.
pub(crate) struct Store {
    directory: tempfile::TempDir,
    pub(crate) repository: Repository,
}

impl Store {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let repository = Repository::open_or_init(&directory.path().join("git")).unwrap();
        Self {
            directory,
            repository,
        }
    }

    /// The same store through libgit2 itself.
    pub(crate) fn raw(&self) -> git2::Repository {
        git2::Repository::open_bare(self.directory.path().join("git")).unwrap()
    }

    pub(crate) fn holds(&self, commit: CommitId) -> bool {
        self.raw().odb().unwrap().exists(oid(commit))
    }

    pub(crate) fn fetch(&self, remote: &Remote) -> Result<Fetched, Error> {
        self.fetch_within(remote, limits())
    }

    pub(crate) fn fetch_within(
        &self,
        remote: &Remote,
        limits: FetchLimits,
    ) -> Result<Fetched, Error> {
        self.repository
            .fetch(remote, limits, &CancellationToken::new())
    }

    pub(crate) fn is_ancestor(
        &self,
        remote: &Remote,
        old: CommitId,
        new: CommitId,
    ) -> Option<bool> {
        self.repository
            .is_ancestor(remote, (old, new), limits(), &CancellationToken::new())
            .unwrap()
    }

    /// The paths of a commit's files.
    pub(crate) fn files(&self, commit: CommitId) -> Vec<String> {
        let limits = fabric::tree::Limits::default();
        let mut cache = reconciler::git::BlobCache::new();
        let tree = self.repository.tree(commit, &limits, &mut cache).unwrap();
        tree.files().map(|(path, _)| path.to_string()).collect()
    }
}

pub(crate) fn oid(commit: CommitId) -> Oid {
    Oid::from_str(&commit.to_string()).unwrap()
}

/// Generous: a busy machine must not fail a test.
pub(crate) fn limits() -> FetchLimits {
    FetchLimits {
        deadline: Duration::from_secs(60),
        ..FetchLimits::default()
    }
}

pub(crate) fn reason(result: Result<Fetched, Error>) -> &'static str {
    match result {
        Ok(_) => "none",
        Err(error) => error.reason(),
    }
}

/// An error with all that it comes from, as it would be printed.
pub(crate) fn report(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
