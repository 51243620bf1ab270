//! The files of a directory on disk, for `weft validate PATH`.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fabric::origin::Revision;
use fabric::tree::{Blob, EntryKind, Limits, Tree, TreeBuilder, Visit};

use super::Error;
use super::tree::max_entries;

/// Reads a directory as a tree.
///
/// Inside a Git repository these are the tracked files and the untracked ones that aren't ignored,
/// elsewhere all of them. `.git` is never read, symbolic links are never followed, and what is
/// neither a file, a directory nor a link (a pipe, a device) is left out as Git does.
pub fn working_tree(directory: &Path, limits: &Limits) -> Result<Tree, Error> {
    let tracked = Tracked::discover(directory)?;
    let mut builder = Tree::builder(Revision::working_tree(), *limits);
    let limit = max_entries(limits);
    let mut entries = 0;
    let mut pending = vec![(directory.to_owned(), Vec::new())];
    while let Some((on_disk, relative)) = pending.pop() {
        for entry in fs::read_dir(&on_disk).map_err(failed(&on_disk))? {
            let entry = entry.map_err(failed(&on_disk))?;
            let name = entry.file_name();
            if name.as_bytes() == b".git" {
                continue;
            }
            entries += 1;
            if entries > limit {
                let place = directory.display().to_string();
                return Err(Error::TooManyEntries { place, limit });
            }
            let mut path = relative.clone();
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(name.as_bytes());
            let on_disk = entry.path();
            let kind = entry.file_type().map_err(failed(&on_disk))?;
            if kind.is_dir() {
                match &tracked {
                    Some(tracked) if tracked.is_other_repository(&on_disk, &path) => {
                        builder.visit(&path, EntryKind::Submodule);
                    }
                    Some(tracked) if tracked.ignores_directory(&path) => {}
                    _ if path.iter().filter(|b| **b == b'/').count() > limits.directories => {
                        // Says so, as of a file: everything below would be refused one by one.
                        builder.visit(&path, EntryKind::File { size: 0 });
                    }
                    _ => pending.push((on_disk, path)),
                }
            } else if tracked
                .as_ref()
                .is_some_and(|tracked| tracked.ignores_file(&path))
            {
                // Left out as Git leaves it out.
            } else if kind.is_symlink() {
                builder.visit(&path, EntryKind::Symlink);
            } else if kind.is_file() {
                add(&mut builder, &on_disk, &path, limits)?;
            }
        }
    }
    Ok(builder.finish())
}

fn add(
    builder: &mut TreeBuilder,
    on_disk: &Path,
    path: &[u8],
    limits: &Limits,
) -> Result<(), Error> {
    let failed = failed(on_disk);
    let size = fs::symlink_metadata(on_disk).map_err(&failed)?.len();
    let visit = builder.visit(path, EntryKind::File { size });
    if visit == Visit::Skip {
        return Ok(());
    }
    let file = File::open(on_disk).map_err(&failed)?;
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
    // One byte more than was announced tells a file that grows meanwhile.
    file.take(size + 1)
        .read_to_end(&mut bytes)
        .map_err(&failed)?;
    if bytes.len() as u64 > size {
        return Err(failed(io::Error::other("it changed while it was read")));
    }
    let blob = match visit {
        Visit::Search => Blob::searched(&bytes),
        Visit::Read | Visit::Skip => Blob::new(bytes, limits.document),
    };
    builder.add(path, Arc::new(blob));
    Ok(())
}

fn failed(path: &Path) -> impl Fn(io::Error) -> Error + use<> {
    let path = path.to_owned();
    move |source| Error::File {
        path: path.clone(),
        source,
    }
}

/// What Git knows of a working tree.
struct Tracked {
    repository: git2::Repository,
    /// The read directory inside the repository's working tree, ending in `/` unless it is empty.
    prefix: Vec<u8>,
    /// Tracked files, and each directory above one.
    files: HashSet<Vec<u8>>,
    directories: HashSet<Vec<u8>>,
    submodules: HashSet<Vec<u8>>,
}

// === impl Tracked ===

impl Tracked {
    /// What Git knows of a directory; none where it isn't in a repository's working tree.
    fn discover(directory: &Path) -> Result<Option<Self>, Error> {
        let opening = |source| Error::Open {
            path: directory.to_owned(),
            source,
        };
        let directory = fs::canonicalize(directory).map_err(failed(directory))?;
        let repository = match git2::Repository::discover(&directory) {
            Ok(repository) => repository,
            Err(error) if error.code() == git2::ErrorCode::NotFound => return Ok(None),
            Err(error) => return Err(opening(error)),
        };
        let Some(workdir) = repository.workdir().map(Path::to_owned) else {
            return Ok(None);
        };
        let workdir = fs::canonicalize(&workdir).map_err(failed(&workdir))?;
        let Ok(prefix) = directory.strip_prefix(&workdir) else {
            return Ok(None);
        };
        let mut prefix = prefix.as_os_str().as_bytes().to_vec();
        if !prefix.is_empty() {
            prefix.push(b'/');
        }
        // A directory that the repository around it ignores is none of that repository's.
        if !prefix.is_empty()
            && repository
                .is_path_ignored(bytes_path(&prefix))
                .map_err(opening)?
        {
            return Ok(None);
        }
        let mut tracked = Self {
            prefix,
            files: HashSet::new(),
            directories: HashSet::new(),
            submodules: HashSet::new(),
            repository,
        };
        let index = tracked.repository.index().map_err(opening)?;
        for entry in index.iter() {
            let Some(path) = entry.path.strip_prefix(tracked.prefix.as_slice()) else {
                continue;
            };
            if entry.mode & 0o170_000 == 0o160_000 {
                tracked.submodules.insert(path.to_vec());
            } else {
                tracked.files.insert(path.to_vec());
            }
            let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
            for (slash, _) in slashes {
                let directory = path.get(..slash).unwrap_or_default();
                if !tracked.directories.contains(directory) {
                    tracked.directories.insert(directory.to_vec());
                }
            }
        }
        Ok(Some(tracked))
    }

    fn ignores_file(&self, path: &[u8]) -> bool {
        !self.files.contains(path) && self.ignores(path, false)
    }

    fn ignores_directory(&self, path: &[u8]) -> bool {
        !self.directories.contains(path) && self.ignores(path, true)
    }

    /// A submodule, or an untracked repository inside the working tree, which Git doesn't enter.
    fn is_other_repository(&self, on_disk: &Path, path: &[u8]) -> bool {
        self.submodules.contains(path)
            || (!self.directories.contains(path)
                && fs::symlink_metadata(on_disk.join(".git")).is_ok())
    }

    fn ignores(&self, path: &[u8], is_directory: bool) -> bool {
        let mut whole = self.prefix.clone();
        whole.extend_from_slice(path);
        if is_directory {
            whole.push(b'/');
        }
        // What can't be told is read: a check must rather see too much.
        self.repository
            .is_path_ignored(bytes_path(&whole))
            .unwrap_or(false)
    }
}

fn bytes_path(bytes: &[u8]) -> PathBuf {
    PathBuf::from(std::ffi::OsStr::from_bytes(bytes))
}
