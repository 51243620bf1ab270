use std::fmt;
use std::str::FromStr;

use fabric::origin::Revision;
use jiff::Timestamp;

/// The id of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommitId(pub(super) git2::Oid);

/// What is said of a commit to people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Its id.
    pub id: CommitId,
    /// When it was committed, as its committer says.
    pub time: Timestamp,
    /// Its author, as `Name <address>`; bytes that aren't UTF-8 are replaced.
    pub author: String,
    /// The first line of its message; bytes that aren't UTF-8 are replaced.
    pub subject: String,
}

/// The text is no commit id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} isn't the whole id of a commit")]
pub struct NoCommitId(String);

// === impl CommitId ===

impl CommitId {
    /// The id as the model's revision.
    #[must_use]
    pub fn revision(self) -> Revision {
        Revision::commit(&self.to_string())
    }
}

impl FromStr for CommitId {
    type Err = NoCommitId;

    fn from_str(text: &str) -> Result<Self, NoCommitId> {
        // libgit2 fills a short id up with zeros; a whole one has exactly forty digits.
        let whole = text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        whole
            .then(|| git2::Oid::from_str(text).ok())
            .flatten()
            .map(Self)
            .ok_or_else(|| NoCommitId(text.to_owned()))
    }
}

impl TryFrom<&Revision> for CommitId {
    type Error = NoCommitId;

    fn try_from(revision: &Revision) -> Result<Self, NoCommitId> {
        revision.as_str().parse()
    }
}

impl fmt::Display for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

// === impl Commit ===

impl Commit {
    pub(super) fn of(commit: &git2::Commit<'_>) -> Self {
        let author = commit.author();
        let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            id: CommitId(commit.id()),
            time: Timestamp::from_second(commit.time().seconds()).unwrap_or(Timestamp::UNIX_EPOCH),
            author: format!(
                "{} <{}>",
                lossy(author.name_bytes()),
                lossy(author.email_bytes())
            ),
            subject: lossy(commit.summary_bytes().unwrap_or_default()),
        }
    }
}
