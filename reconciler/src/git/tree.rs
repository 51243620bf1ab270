//! A commit's files, read from the object database without a checkout.

use std::collections::HashMap;
use std::num::NonZero;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use fabric::tree::{Blob, EntryKind, Limits, Place, Taken, Tree, TreeBuilder, Visit};
use git2::Oid;

use super::disk::{CacheError, Disk};
use super::{CommitId, Error};

/// Blobs by their id, so that what was read out of a file survives from commit to commit, and where
/// there is a directory for it, from run to run.
#[derive(Debug, Default)]
pub struct BlobCache {
    disk: Option<Disk>,
    /// Files that had to be read out of the object database.
    read: usize,
    blobs: HashMap<(Oid, Wanted), Cached>,
    /// The directories of peers that were walked since the last sweep, by their ids and paths.
    units: HashMap<(Oid, Vec<u8>), Listing>,
    /// The trees that were read, whose checks are kept on disk.
    trees: HashMap<Oid, Tree>,
    limits: Option<Limits>,
    /// Entries last used in an older generation are dropped by [`sweep`](Self::sweep).
    generation: u64,
}

#[derive(Debug)]
struct Cached {
    blob: Arc<Blob>,
    size: u64,
    generation: u64,
}

/// What a blob is wanted for; a blob that was only searched doesn't hold its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Wanted {
    Read,
    Search,
}

/// What a directory holds, all the way down; nothing was reported of it.
#[derive(Debug)]
struct Listing {
    entries: usize,
    files: Vec<Taken>,
}

struct Walk<'a> {
    repository: &'a git2::Repository,
    odb: git2::Odb<'a>,
    commit: CommitId,
    path: &'a Path,
    limits: &'a Limits,
    builder: TreeBuilder,
    /// Entries that were looked at.
    entries: usize,
    /// The files of the directory at hand.
    files: Vec<Taken>,
}

// === impl BlobCache ===

impl BlobCache {
    /// An empty cache.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty cache over a directory in which a run finds what others have read.
    pub fn on_disk(directory: &Path) -> Result<Self, CacheError> {
        Ok(Self {
            disk: Some(Disk::open(directory)?),
            ..Self::default()
        })
    }

    /// Keeps on disk, where there is a directory for it, what this run has read.
    pub fn save(&self) -> Result<(), CacheError> {
        let Some(disk) = &self.disk else {
            return Ok(());
        };
        let Some(limits) = &self.limits else {
            return Ok(());
        };
        let blobs = self.blobs.iter();
        let blobs = blobs.map(|((id, wanted), cached)| (*id, *wanted, cached.size, &*cached.blob));
        let trees = self.trees.iter().map(|(id, tree)| (*id, tree));
        disk.save(blobs, (trees, limits))
    }

    /// How many files had to be read out of an object database.
    #[must_use]
    pub const fn read(&self) -> usize {
        self.read
    }

    /// How many blobs are held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.blobs.len()
    }

    /// Whether none is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.blobs.is_empty()
    }

    /// Drops the blobs that no tree has used since the last sweep.
    pub fn sweep(&mut self) {
        let generation = self.generation;
        self.blobs
            .retain(|_, cached| cached.generation == generation);
        self.units.clear();
        self.generation += 1;
    }

    fn begin(&mut self, repository: &Path, limits: &Limits) {
        // What was read under other limits may have come out otherwise.
        if self.limits.replace(*limits) != Some(*limits) {
            self.blobs.clear();
            self.units.clear();
            self.trees.clear();
        }
        let Some(disk) = &mut self.disk else { return };
        if let Err(error) = disk.begin(repository, &limits.document) {
            let reason = match std::error::Error::source(&error) {
                Some(source) => format!("{error}: {source}"),
                None => error.to_string(),
            };
            tracing::warn!(reason, "what other runs have read isn't used");
            self.disk = None;
        }
    }

    /// A tree with what was kept of its check.
    fn with_check(&mut self, id: Oid, tree: Tree, limits: &Limits) -> Tree {
        let Some(disk) = &self.disk else {
            return tree;
        };
        let tree = match disk.check(id, limits) {
            Some(kept) => tree.with_kept(kept),
            None => tree,
        };
        self.trees.insert(id, tree.clone());
        tree
    }

    /// The size of a blob that is held, for whatever it was wanted.
    fn size(&self, id: Oid) -> Option<u64> {
        let held = |wanted| self.blobs.get(&(id, wanted));
        match held(Wanted::Read).or_else(|| held(Wanted::Search)) {
            Some(cached) => Some(cached.size),
            None => self.disk.as_ref()?.size(id),
        }
    }

    fn find(&mut self, id: Oid, wanted: Wanted) -> Option<Arc<Blob>> {
        if let Some(cached) = self.blobs.get_mut(&(id, wanted)) {
            cached.generation = self.generation;
            return Some(Arc::clone(&cached.blob));
        }
        let (blob, size) = self.disk.as_ref()?.find(id, wanted)?;
        let blob = Arc::new(blob);
        self.keep(id, wanted, size, &blob);
        Some(blob)
    }

    fn keep(&mut self, id: Oid, wanted: Wanted, size: u64, blob: &Arc<Blob>) {
        let cached = Cached {
            blob: Arc::clone(blob),
            size,
            generation: self.generation,
        };
        self.blobs.insert((id, wanted), cached);
    }
}

/// Reads the files of a commit, or of a tree by itself, that the model asks for.
pub(super) fn read(
    repository: &git2::Repository,
    path: &Path,
    commit: CommitId,
    limits: &Limits,
    cache: &mut BlobCache,
) -> Result<Tree, Error> {
    let failed = |object: &str| {
        let object = object.to_owned();
        move |source| Error::Read {
            object,
            commit,
            path: path.to_owned(),
            source,
        }
    };
    let object = repository
        .find_object(commit.0, None)
        .map_err(failed("the commit"))?;
    let root = object.peel_to_tree().map_err(failed("the commit"))?.id();
    let odb = repository.odb().map_err(failed("the object database"))?;
    cache.begin(path, limits);
    let walk = Walk {
        repository,
        odb,
        commit,
        path,
        limits,
        builder: Tree::builder(commit.revision(), *limits),
        entries: 0,
        files: Vec::new(),
    };
    let tree = walk.run(root, cache)?;
    Ok(cache.with_check(root, tree, limits))
}

/// How many entries, directories too, are looked at: a tree may name the same subtree many times at
/// each level, so that a small pack describes more entries than anybody can walk.
pub(super) const fn max_entries(limits: &Limits) -> usize {
    // A fabric has few files in each directory; twice the files leaves room for a directory each.
    limits.files.saturating_mul(2).saturating_add(1_000)
}

// === impl Walk ===

impl Walk<'_> {
    fn run(mut self, root: Oid, cache: &mut BlobCache) -> Result<Tree, Error> {
        self.walk(root, Vec::new(), cache)?;
        Ok(self.builder.finish())
    }

    /// Walks the directory of a peer, unless the very same was walked at the same place before.
    fn unit(&mut self, id: Oid, directory: Vec<u8>, cache: &mut BlobCache) -> Result<(), Error> {
        let key = (id, directory);
        let known = cache.units.get(&key);
        if let Some(known) = known
            && self.entries + known.entries <= max_entries(self.limits)
            && self.builder.take_again(&known.files)
        {
            self.entries += known.entries;
            return Ok(());
        }
        let (entries, reported) = (self.entries, self.builder.reported());
        self.files.clear();
        self.walk(id, key.1.clone(), cache)?;
        if self.builder.reported() == reported {
            let listing = Listing {
                entries: self.entries - entries,
                files: std::mem::take(&mut self.files),
            };
            cache.units.insert(key, listing);
        }
        Ok(())
    }

    fn walk(&mut self, top: Oid, path: Vec<u8>, cache: &mut BlobCache) -> Result<(), Error> {
        let limit = max_entries(self.limits);
        let is_unit = |directory: &[u8]| {
            let name = directory.strip_prefix(b"peers/");
            path.is_empty() && name.is_some_and(|name| !name.contains(&b'/'))
        };
        let mut pending = vec![(top, path.clone())];
        while let Some((id, directory)) = pending.pop() {
            if is_unit(&directory) {
                self.unit(id, directory, cache)?;
                continue;
            }
            let tree = self
                .repository
                .find_tree(id)
                .map_err(|source| self.unreadable(&directory, source))?;
            for entry in tree.iter() {
                self.entries += 1;
                if self.entries > limit {
                    let place = format!("commit {}", self.commit);
                    return Err(Error::TooManyEntries { place, limit });
                }
                let name = entry.name_bytes();
                let mut path = directory.clone();
                if !path.is_empty() {
                    path.push(b'/');
                }
                path.extend_from_slice(name);
                if is_malformed(name) {
                    let commit = self.commit;
                    return Err(Error::Malformed {
                        commit,
                        entry: path,
                    });
                }
                // The type's bits alone: the permissions of old repositories are odd at times.
                match entry.filemode_raw() & 0o170_000 {
                    0o040_000 if self.is_too_deep(&path) => {
                        // Says so, as of a file: everything below would be refused one by one.
                        self.builder.visit(&path, EntryKind::File { size: 0 });
                    }
                    0o040_000 => pending.push((entry.id(), path)),
                    0o100_000 => self.file(&path, entry.id(), cache)?,
                    0o120_000 => {
                        self.builder.visit(&path, EntryKind::Symlink);
                    }
                    // Another repository, or a mode that Git doesn't know and so doesn't read.
                    _ => {
                        self.builder.visit(&path, EntryKind::Submodule);
                    }
                }
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &[u8], id: Oid, cache: &mut BlobCache) -> Result<(), Error> {
        let size = match cache.size(id) {
            Some(size) => size,
            None => self.size(path, id)?,
        };
        let kind = EntryKind::File { size };
        let wanted = match self.builder.visit(path, kind) {
            Visit::Skip => return Ok(()),
            Visit::Read => Wanted::Read,
            Visit::Search => Wanted::Search,
        };
        let blob = match cache.find(id, wanted) {
            Some(blob) => blob,
            None => {
                let object = self
                    .odb
                    .read(id)
                    .map_err(|source| self.unreadable(path, source))?;
                let blob = Arc::new(match wanted {
                    Wanted::Read => Blob::new(object.data().to_vec(), self.limits.document),
                    Wanted::Search => Blob::searched(object.data()),
                });
                cache.keep(id, wanted, size, &blob);
                cache.read += 1;
                blob
            }
        };
        let is_read = wanted == Wanted::Read;
        self.builder.add(path, Arc::clone(&blob));
        self.files
            .push(self.builder.taken(path, size, is_read, &blob));
        Ok(())
    }

    /// The size of a blob from its header: a huge one is refused without being read.
    fn size(&self, path: &[u8], id: Oid) -> Result<u64, Error> {
        let (size, kind) = self
            .odb
            .read_header(id)
            .map_err(|source| self.unreadable(path, source))?;
        if kind != git2::ObjectType::Blob {
            let commit = self.commit;
            return Err(Error::Malformed {
                commit,
                entry: path.to_vec(),
            });
        }
        Ok(size as u64)
    }

    fn is_too_deep(&self, directory: &[u8]) -> bool {
        directory.iter().filter(|byte| **byte == b'/').count() > self.limits.directories
    }

    fn unreadable(&self, path: &[u8], source: git2::Error) -> Error {
        Error::Read {
            object: format!("{:?}", String::from_utf8_lossy(path)),
            commit: self.commit,
            path: self.path.to_owned(),
            source,
        }
    }
}

/// Whether Git would refuse to make a tree with this name, so that two readers might read it as two
/// different paths.
fn is_malformed(name: &[u8]) -> bool {
    matches!(name, b"" | b"." | b"..") || name.eq_ignore_ascii_case(b".git") || name.contains(&b'/')
}

/// Reads what a tree's files say, on all processors: whoever builds the fabric of it finds it done.
///
/// What was kept of a file is left for whoever asks: of most files nobody does.
pub fn read_ahead(tree: &Tree) {
    /// So many files are taken at once: few enough to spread, enough to spare the counter.
    const BATCH: usize = 32;
    let files: Vec<_> = tree.files().collect();
    let next = AtomicUsize::new(0);
    let work = || {
        loop {
            let first = next.fetch_add(BATCH, Ordering::Relaxed);
            let Some(rest) = files.get(first..).filter(|rest| !rest.is_empty()) else {
                break;
            };
            for (path, blob) in rest.iter().take(BATCH) {
                match fabric::tree::locate(path).1 {
                    Place::Authority | Place::PeerCertificate => {
                        blob.certificates();
                    }
                    _ if blob.is_kept() => {}
                    _ => {
                        blob.resources();
                    }
                }
            }
        }
    };
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    // No more threads than there is work for; this one works too.
    let others = (threads - 1).min(files.len() / (4 * BATCH));
    thread::scope(|scope| {
        for _ in 0..others {
            scope.spawn(work);
        }
        work();
    });
}
