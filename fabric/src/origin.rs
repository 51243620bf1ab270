//! Where something stands: which revision, which file, which line.

use std::fmt;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A state of the repository: a commit's id in hex, or the working tree.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
pub struct Revision(Arc<str>);

/// The place that a planned object, and so a policy rule, comes from.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub struct Origin {
    /// The revision in which the object's content was read.
    pub revision: Revision,
    /// The file's path inside the repository.
    pub path: Arc<str>,
    /// The first line of the object, counted from 1.
    pub line: u32,
}

/// What stands for the revision of objects without a repository.
const CLUSTER: &str = "cluster";

// === impl Revision ===

impl Revision {
    /// The revision that a commit's hexadecimal id names.
    #[must_use]
    pub fn commit(id: &str) -> Self {
        Self(id.into())
    }

    /// Files on disk that no commit holds (yet).
    #[must_use]
    pub fn working_tree() -> Self {
        Self("working-tree".into())
    }

    /// What merging two commits comes to, which no commit holds yet.
    #[must_use]
    pub fn merge_result() -> Self {
        Self("merge-result".into())
    }

    /// What objects that were applied by hand are at, who have no repository.
    #[must_use]
    pub fn cluster() -> Self {
        Self(CLUSTER.into())
    }

    /// The whole id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id as people read it: twelve characters.
    #[must_use]
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// === impl Origin ===

impl Origin {
    /// The origin of an object that lives in a cluster without a repository behind it; `object` is
    /// `Kind/namespace/name`.
    #[must_use]
    pub fn cluster(object: &str, generation: i64) -> Self {
        Self {
            revision: Revision(CLUSTER.into()),
            path: object.into(),
            line: u32::try_from(generation).unwrap_or(0),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if &*self.revision.0 == CLUSTER {
            return write!(f, "{CLUSTER}:{}@{}", self.path.escape_default(), self.line);
        }
        write!(
            f,
            "{}:{} ({})",
            self.path.escape_default(),
            self.line,
            self.revision.short()
        )
    }
}
