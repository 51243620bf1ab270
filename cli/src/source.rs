//! Which files a command looks at, and what they come to.

use std::cell::OnceCell;
use std::ffi::OsString;
use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use anyhow::{Context as _, bail};
use fabric::diagnostic::Effect;
use fabric::fabric::{Build, Fabric, LastGood, build};
use fabric::gate::ApprovingCommit;
use fabric::origin::Revision;
use fabric::tree::{Limits, Tree};
use jiff::Timestamp;
use reconciler::git::{self, BlobCache, Merged, Repository};

use crate::failure::Hint as _;
use crate::output::tell;
use crate::render::count;
use crate::repository::FabricDirectory;

/// The options that bound what is read, and say when it is.
#[derive(Debug, clap::Args)]
pub(crate) struct ReadArgs {
    #[command(flatten)]
    limits: LimitArgs,

    #[command(flatten)]
    cache: CacheArgs,

    /// The moment at which certificates, and policies that expire, are judged [default: now]
    #[arg(long, value_name = "TIME")]
    now: Option<Timestamp>,
}

/// The options that bound what is read.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Limits")]
pub(crate) struct LimitArgs {
    /// The largest file that is read, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = Limits::default().document.file_bytes)]
    max_file_bytes: u64,

    /// How many documents of one file are read
    #[arg(long, value_name = "NUMBER", default_value_t = Limits::default().document.documents)]
    max_documents: usize,

    /// How deep a document may be nested
    #[arg(long, value_name = "LEVELS", default_value_t = Limits::default().document.depth)]
    max_depth: usize,

    /// How many files are read in all
    #[arg(long, value_name = "NUMBER", default_value_t = Limits::default().files)]
    max_files: usize,

    /// How much is read in all, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = Limits::default().bytes)]
    max_bytes: u64,

    /// How many directories deep files are read
    #[arg(long, value_name = "LEVELS", default_value_t = Limits::default().directories)]
    max_directories: usize,
}

/// The options that say where what was read of commits is kept.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Cache")]
pub(crate) struct CacheArgs {
    /// Where to keep what was read of commits, so that the next run needn't read it again
    ///
    /// A directory of your own that nobody else can write to. Empty, nothing is kept. [default: weft
    /// in $XDG_CACHE_HOME or ~/.cache]
    #[arg(
        long = "cache",
        value_name = "DIR",
        env = "WEFT_CACHE",
        hide_env_values = true
    )]
    directory: Option<OsString>,

    /// Read everything anew, and keep nothing
    #[arg(long)]
    no_cache: bool,
}

/// A fabric repository that is read: a directory, and the Git repository around it where one is
/// asked for.
#[derive(Debug)]
pub(crate) struct Source {
    path: PathBuf,
    limits: Limits,
    now: Timestamp,
    repository: OnceCell<Rc<Repository>>,
    /// Never dropped: the process ends with it, and to free a hundred thousand pieces one by one takes
    /// longer than much of what a command does.
    cache: ManuallyDrop<BlobCache>,
}

/// How much was looked at, and found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Files of the fabric.
    pub(crate) files: usize,
    /// Peers in force.
    pub(crate) peers: usize,
    /// Diagnostics that fail the check.
    pub(crate) errors: usize,
    /// Warnings.
    pub(crate) warnings: usize,
    /// Notes.
    pub(crate) notes: usize,
}

// === impl LimitArgs ===

impl LimitArgs {
    /// How much is read.
    pub(crate) const fn limits(&self) -> Limits {
        Limits {
            document: fabric::document::Limits {
                file_bytes: self.max_file_bytes,
                documents: self.max_documents,
                depth: self.max_depth,
                // Bounded by the file's size already; what a value costs isn't for users to know.
                nodes: DEFAULT_NODES,
            },
            files: self.max_files,
            bytes: self.max_bytes,
            directories: self.max_directories,
        }
    }
}

// === impl ReadArgs ===

impl ReadArgs {
    /// The repository that a path lies in.
    pub(crate) fn source(&self, path: &Path) -> Source {
        Source {
            path: path.to_owned(),
            limits: self.limits.limits(),
            now: self.now.unwrap_or_else(Timestamp::now),
            repository: OnceCell::new(),
            cache: ManuallyDrop::new(self.cache.open()),
        }
    }
}

// === impl CacheArgs ===

impl CacheArgs {
    fn open(&self) -> BlobCache {
        let directory = match &self.directory {
            _ if self.no_cache => None,
            Some(given) if given.is_empty() => None,
            Some(given) => Some(PathBuf::from(given)),
            None => default_cache(),
        };
        let Some(directory) = directory else {
            return BlobCache::new();
        };
        match BlobCache::on_disk(&directory) {
            Ok(cache) => cache,
            Err(error) => {
                // Where nobody asked for it, a home that can't be written to is nobody's concern.
                if self.directory.is_some() {
                    tell!(
                        "nothing is kept of what is read: {:#}",
                        anyhow::Error::new(error)
                    );
                }
                BlobCache::new()
            }
        }
    }
}

/// As the XDG base directory specification has it: what isn't absolute is ignored. A home that isn't
/// there isn't made.
fn default_cache() -> Option<PathBuf> {
    let absolute = |name: &str| {
        let path = PathBuf::from(std::env::var_os(name)?);
        (path.is_absolute() && path.is_dir()).then_some(path)
    };
    let caches = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")));
    Some(caches?.join("weft"))
}

/// As the model has it.
const DEFAULT_NODES: usize = 1_000_000;

// === impl Source ===

impl Source {
    /// The files of a commit, or without one those on disk.
    pub(crate) fn tree(&mut self, revision: Option<&str>) -> anyhow::Result<Tree> {
        match revision {
            Some(revision) => self.commit(revision),
            None => self.working_tree(),
        }
    }

    fn working_tree(&self) -> anyhow::Result<Tree> {
        let tree = git::working_tree(&self.top()?, &self.limits)?;
        git::read_ahead(&tree);
        Ok(tree)
    }

    /// The directory whose files on disk are read.
    pub(crate) fn top(&self) -> anyhow::Result<PathBuf> {
        std::fs::metadata(&self.path)
            .with_context(|| format!("cannot read {}", self.path.display()))?;
        // Without a fabric.yaml its absence is to be told of the directory that was named.
        let top = FabricDirectory::around(&self.path)?;
        Ok(top.map_or_else(|| self.path.clone(), |top| top.path().to_owned()))
    }

    fn commit(&mut self, revision: &str) -> anyhow::Result<Tree> {
        let repository = self.repository()?;
        let id = match repository.find_tree(revision) {
            Some(tree) => tree,
            None => repository.resolve(revision)?.id,
        };
        let tree = repository.tree(id, &self.limits, &mut self.cache)?;
        git::read_ahead(&tree);
        Ok(tree)
    }

    /// Whether a revision names a tree without a commit.
    pub(crate) fn is_tree(&self, revision: &str) -> anyhow::Result<bool> {
        Ok(self.repository()?.find_tree(revision).is_some())
    }

    /// The Git repository.
    pub(crate) fn repository(&self) -> anyhow::Result<Rc<Repository>> {
        if let Some(open) = self.repository.get() {
            return Ok(Rc::clone(open));
        }
        let open = Rc::new(Repository::discover(&self.path)?);
        Ok(Rc::clone(self.repository.get_or_init(|| open)))
    }

    /// Whether the repository has no commit yet.
    pub(crate) fn is_unborn(&self) -> anyhow::Result<bool> {
        let failed = || format!("cannot open the Git repository of {}", self.path.display());
        let repository = git2::Repository::discover(&self.path).with_context(failed)?;
        match repository.head() {
            Err(error) if error.code() == git2::ErrorCode::UnbornBranch => Ok(true),
            head => head.map(|_| false).with_context(failed),
        }
    }

    /// The first parent of a commit; none where it is the first commit.
    pub(crate) fn parent(&self, revision: &str) -> anyhow::Result<Option<String>> {
        // Says well what is wrong with the revision, where something is.
        let commit = self.repository()?.resolve(revision)?;
        let failed = || format!("cannot find the parent of {revision}");
        let repository = git2::Repository::discover(&self.path).with_context(failed)?;
        let id = git2::Oid::from_str(&commit.id.to_string()).with_context(failed)?;
        let commit = repository.find_commit(id).with_context(failed)?;
        match commit.parent_count() {
            // Where the history is cut off nothing tells whether there was more of it, and without its
            // parent a commit would seem to bring everything.
            0 if repository.is_shallow() => {
                let cut: anyhow::Result<_> =
                    (|| bail!("the parent of {revision} isn't in this shallow clone"))();
                cut.hint(|| {
                    "get it with `git fetch --deepen=1`, or name the older state with --base"
                        .to_owned()
                })
            }
            0 => Ok(None),
            _ => Ok(Some(commit.parent_id(0).with_context(failed)?.to_string())),
        }
    }

    /// The commits in the history of some that aren't in that of an older one, the newest first.
    pub(crate) fn commits(
        &self,
        old: Option<&Revision>,
        new: &[&str],
    ) -> anyhow::Result<Vec<ApprovingCommit>> {
        if self.is_unborn()? {
            return Ok(Vec::new());
        }
        let repository = self.repository()?;
        let old = match old.map(|old| repository.resolve(old.as_str())) {
            None => None,
            Some(Ok(old)) => Some(old.id),
            // After a tree that is no commit's no commits come, rather than all that there are.
            Some(Err(_)) => return Ok(Vec::new()),
        };
        let new = new
            .iter()
            .map(|revision| Ok(repository.resolve(revision)?.id))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let commits = repository.commits(old, &new)?.into_iter();
        Ok(commits
            .map(|(id, message)| ApprovingCommit {
                revision: id.revision(),
                message,
            })
            .collect())
    }

    /// What merging commits onto another comes to, one after the other.
    pub(crate) fn merge(
        &mut self,
        onto: git::CommitId,
        commits: &[git::CommitId],
    ) -> anyhow::Result<Merged> {
        let repository = self.repository()?;
        Ok(repository.merge(onto, commits, &self.limits, &mut self.cache)?)
    }

    /// What a tree comes to by itself: nothing is known of an earlier good state.
    pub(crate) fn build(&self, tree: &Tree) -> Build {
        self.build_after(tree, &LastGood::default())
    }

    /// What is in force of a tree by itself, for whoever only asks; tells that there are errors.
    pub(crate) fn fabric(&self, tree: &Tree) -> anyhow::Result<Fabric> {
        let build = self.build(tree);
        let errors = build.diagnostics.iter();
        let errors = errors.filter(|d| d.effect >= Effect::Fail).count();
        let errors_in_words = count(errors, "error");
        if errors > 0 && build.fabric.is_some() {
            tell!(
                "this goes by what can be understood; `weft validate` tells what can't ({errors_in_words})"
            );
        }
        let understood = || format!("the fabric can't be understood ({errors_in_words})");
        let fabric = build.fabric.with_context(understood);
        fabric.hint(|| "`weft validate` tells what is wrong".to_owned())
    }

    /// What a tree comes to after an earlier good state.
    pub(crate) fn build_after(&self, tree: &Tree, last_good: &LastGood) -> Build {
        build(tree, last_good, self.now)
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        if let Err(error) = self.cache.save() {
            tell!("what was read isn't kept: {:#}", anyhow::Error::new(error));
        }
    }
}

// === impl Counts ===

impl Counts {
    /// Counts what a tree came to.
    pub(crate) fn of(tree: &Tree, build: &Build) -> Self {
        let count = |effects: &[Effect]| {
            let all = build.diagnostics.iter();
            all.filter(|diagnostic| effects.contains(&diagnostic.effect))
                .count()
        };
        Self {
            files: tree.files().count(),
            peers: build.fabric.as_ref().map_or(0, |f| f.units.len()),
            errors: count(&[Effect::Fail, Effect::Freeze]),
            warnings: count(&[Effect::Warn]),
            notes: count(&[Effect::Note]),
        }
    }
}
