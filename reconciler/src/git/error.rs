use std::io;
use std::path::PathBuf;
use std::time::Duration;

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
    /// Another process has the bare store.
    #[error("the Git store {} is in use by another process", .0.display())]
    InUse(PathBuf),
    /// A fetch failed.
    #[error("can't fetch {reference} of {address}")]
    Fetch {
        /// Where the repository is, without what is secret.
        address: String,
        /// What was to be fetched.
        reference: String,
        /// Why.
        source: FetchError,
    },
    /// What belongs into the store can't be written.
    #[error("can't write {what} in the Git store {}", path.display())]
    Write {
        /// What was to be written.
        what: String,
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
    /// A commit can't be merged, not even with conflicts.
    #[error("can't merge commit {commit} in {}", path.display())]
    Merge {
        /// The commit.
        commit: CommitId,
        /// The repository's directory.
        path: PathBuf,
        /// Why.
        source: git2::Error,
    },
    /// Two commits have no common history, as far as the repository holds it.
    #[error("commits {first} and {second} have no common history in {}", path.display())]
    Unrelated {
        /// One of them.
        first: CommitId,
        /// The other one.
        second: CommitId,
        /// The repository's directory.
        path: PathBuf,
    },
    /// A tree that Git itself would never write.
    #[error(
        "commit {commit} holds a malformed entry {:?}",
        String::from_utf8_lossy(entry)
    )]
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

/// Why a fetch failed; what a server says stands escaped and shortened in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The deadline passed.
    #[error("it wasn't done within {0:?}")]
    Deadline(Duration),
    /// Whoever asked for it doesn't want it any more.
    #[error("it was cancelled")]
    Cancelled,
    /// More bytes than may be received.
    #[error("more than {0} bytes would be received")]
    TooLarge(u64),
    /// More objects than may be received.
    #[error("more than {0} objects would be received")]
    TooManyObjects(usize),
    /// The server isn't reached, or the connection to it broke.
    #[error("{origin} can't be reached")]
    Unreachable {
        /// The server.
        origin: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The server isn't who it should be, or doesn't speak TLS.
    #[error("no trustworthy TLS connection to {origin}")]
    Tls {
        /// The server.
        origin: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The server wants other credentials, or some at all.
    #[error("{origin} refuses the credentials (status {status})")]
    Unauthorized {
        /// The server.
        origin: String,
        /// 401 or 403.
        status: u16,
    },
    /// There is no such repository, or it isn't shown without credentials.
    #[error(
        "{0} has no such repository, or doesn't show it without other credentials (status 404)"
    )]
    NotFound(String),
    /// Another status than 200.
    #[error("{origin} answers with status {status}")]
    Status {
        /// The server.
        origin: String,
        /// The status.
        status: u16,
    },
    /// An answer that isn't Git's.
    #[error("{0} answers, but not as a Git server over smart HTTP")]
    NotGit(String),
    /// A redirect that isn't followed.
    #[error("{origin} redirects to where it isn't followed: {reason}")]
    Redirect {
        /// The server.
        origin: String,
        /// Why it isn't followed.
        reason: &'static str,
    },
    /// Credentials would go over the network unencrypted.
    #[error("credentials are never sent to {0} over unencrypted http; use https")]
    PlainCredentials(String),
    /// The file of a secret can't be read.
    #[error("can't read the credentials{}", of_file(file.as_ref()))]
    Credentials {
        /// The file.
        file: Option<PathBuf>,
        /// Why.
        source: io::Error,
    },
    /// The CA certificates can't be read.
    #[error("can't read the CA certificates{}", of_file(file.as_ref()))]
    Authorities {
        /// The file; none for the system's.
        file: Option<PathBuf>,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// `ssh` can't be started.
    #[error("can't run {}", program.display())]
    SshStart {
        /// The program.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// `ssh` gave up.
    #[error("ssh to {host} failed: {message}")]
    Ssh {
        /// The host.
        host: String,
        /// The last of what it said.
        message: String,
    },
    /// The repository has no commit yet.
    #[error("the repository is empty")]
    Empty,
    /// The repository has no such branch or tag.
    #[error("the repository has no such reference")]
    NoReference,
    /// The reference leads to something else than a commit.
    #[error("the reference doesn't lead to a commit")]
    NoCommit,
    /// The repository on this machine can't be opened.
    #[error("there is no readable Git repository at that path")]
    Local(#[source] git2::Error),
    /// Git's own protocol or data went wrong.
    #[error("{0}")]
    Git(String),
}

// === impl FetchError ===

impl FetchError {
    /// The failure as one of a few words, for conditions, metrics and logs.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Deadline(_) => "DeadlineExceeded",
            Self::Cancelled => "Cancelled",
            Self::TooLarge(_) | Self::TooManyObjects(_) => "RepositoryTooLarge",
            Self::Unreachable { .. } => "Unreachable",
            Self::Tls { .. } => "CertificateNotTrusted",
            Self::Unauthorized { .. } | Self::PlainCredentials(_) | Self::Credentials { .. } => {
                "AuthenticationFailed"
            }
            Self::NotFound(_) | Self::Local(_) => "RepositoryNotFound",
            Self::Empty => "EmptyRepository",
            Self::NoReference | Self::NoCommit => "ReferenceNotFound",
            Self::Authorities { .. } | Self::SshStart { .. } => "ConfigurationInvalid",
            Self::Ssh { .. }
            | Self::Status { .. }
            | Self::NotGit(_)
            | Self::Redirect { .. }
            | Self::Git(_) => "GitOperationFailed",
        }
    }

    /// What libgit2 says, which may be a server's words.
    pub(super) fn git(error: &git2::Error) -> Self {
        Self::Git(printable(error.message()))
    }
}

// === impl Error ===

impl Error {
    /// The failure as one of a few words, for conditions, metrics and logs.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Fetch { source, .. } => source.reason(),
            Self::Resolve { .. } => "ReferenceNotFound",
            Self::Open { .. } | Self::Init { .. } | Self::InUse(_) | Self::Write { .. } => {
                "StorageOperationFailed"
            }
            Self::Read { .. } | Self::File { .. } => "ReadFailed",
            Self::Malformed { .. } => "TreeMalformed",
            Self::TooManyEntries { .. } => "RepositoryTooLarge",
            Self::Merge { .. } => "MergeFailed",
            Self::Unrelated { .. } => "UnrelatedHistories",
        }
    }
}

/// What another party wrote, on one line without control characters, and not too much of it.
pub(super) fn printable(text: &str) -> String {
    // A screen's width or two; servers greet with whole pages.
    const MAX_CHARS: usize = 300;
    let mut printable = String::new();
    for c in text.trim().chars().take(MAX_CHARS) {
        match c {
            '\n' => printable.push_str("; "),
            '\r' => {}
            c if c.is_control() => printable.extend(c.escape_default()),
            c => printable.push(c),
        }
    }
    printable
}

fn of_file(file: Option<&PathBuf>) -> String {
    file.map(|file| format!(" in {}", file.display()))
        .unwrap_or_default()
}
