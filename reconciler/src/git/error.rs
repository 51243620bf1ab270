use std::io;
use std::path::PathBuf;

use super::CommitId;

/// A Git operation failed: the world's fault or the repository's, never a matter of its YAML.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no repository, or it can't be opened.
    #[error("can't open the repository {}", path.display())]
    Open {
        /// The repository's directory.
        path: PathBuf,
        /// Why.
        source: git2::Error,
    },
    /// The bare store can't be made.
    #[error("can't make the Git store {}", path.display())]
    Init {
        /// The store's directory.
        path: PathBuf,
        /// Why.
        source: git2::Error,
    },
    /// A revision names no commit.
    #[error("{revision:?} is no commit of the repository {}", path.display())]
    Resolve {
        /// The revision as it was written.
        revision: String,
        /// The repository's directory.
        path: PathBuf,
        /// Why.
        source: git2::Error,
    },
    /// An object that a commit needs can't be read.
    #[error("can't read {object} of commit {commit} in {}", path.display())]
    Read {
        /// What was to be read.
        object: String,
        /// The commit.
        commit: CommitId,
        /// The repository's directory.
        path: PathBuf,
        /// Why.
        source: git2::Error,
    },
    /// A tree that Git itself would never write.
    #[error("commit {commit} holds a malformed entry {:?}", String::from_utf8_lossy(entry))]
    Malformed {
        /// The commit.
        commit: CommitId,
        /// The entry's path.
        entry: Vec<u8>,
    },
    /// More directory entries than any fabric has.
    #[error("{place} holds more than {limit} entries; nothing of it is read")]
    TooManyEntries {
        /// A commit or a directory.
        place: String,
        /// How many are read at most.
        limit: usize,
    },
    /// A file or directory of a working tree can't be read.
    #[error("can't read {}", path.display())]
    File {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}
