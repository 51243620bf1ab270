//! What merges of commits come to, worked out in memory: nothing is written to the repository.

use std::path::Path;

use fabric::origin::Revision;
use fabric::report::{Conflict, ConflictKind};
use fabric::tree::{Limits, Tree};
use git2::{IndexConflict, Oid};

use super::{BlobCache, CommitId, Error, tree};

/// What a merge comes to.
#[derive(Debug)]
pub enum Merged {
    /// The files.
    Tree(Tree),
    /// The files that can't be merged, in the order of their paths.
    Conflicts(Vec<Conflict>),
}

/// Above every backend that a repository has of itself, so that what is written goes to memory.
const PRIORITY: i32 = 1000;

/// Merges commits onto another, one after the other.
pub(super) fn merge(
    repository: &git2::Repository,
    path: &Path,
    onto: CommitId,
    commits: &[CommitId],
    limits: &Limits,
    cache: &mut BlobCache,
) -> Result<Merged, Error> {
    // What is too large to be read isn't merged either.
    for commit in [onto].iter().chain(commits) {
        tree::read(repository, path, *commit, limits, cache)?;
    }
    let failed = |commit: CommitId| {
        move |source| Error::Merge {
            commit,
            path: path.to_owned(),
            source,
        }
    };
    // A handle of its own, since the memory stays in front of a handle's objects.
    let repository = git2::Repository::open(repository.path()).map_err(failed(onto))?;
    let database = repository.odb().map_err(failed(onto))?;
    let _memory = database
        .add_new_mempack_backend(PRIORITY)
        .map_err(failed(onto))?;
    let mut result = onto.0;
    for commit in commits {
        match merge_one(&repository, result, commit.0).map_err(failed(*commit))? {
            Ok(merged) => result = merged,
            Err(conflicts) => return Ok(Merged::Conflicts(conflicts)),
        }
    }
    let tree = tree::read(&repository, path, CommitId(result), limits, cache)?;
    Ok(Merged::Tree(tree.at(Revision::merge_result())))
}

/// Merges one commit onto another; the result is a commit in memory, or the conflicts.
fn merge_one(
    repository: &git2::Repository,
    ours: Oid,
    theirs: Oid,
) -> Result<Result<Oid, Vec<Conflict>>, git2::Error> {
    let ours = repository.find_commit(ours)?;
    let theirs = repository.find_commit(theirs)?;
    let mut index = repository.merge_commits(&ours, &theirs, None)?;
    if index.has_conflicts() {
        let conflicts = index.conflicts()?;
        let mut conflicts = conflicts
            .map(|conflict| conflict.map(|conflict| describe(&conflict)))
            .collect::<Result<Vec<_>, _>>()?;
        conflicts.sort();
        conflicts.dedup();
        return Ok(Err(conflicts));
    }
    let tree = repository.find_tree(index.write_tree_to(repository)?)?;
    let nobody = git2::Signature::new("weft", "weft@localhost", &git2::Time::new(0, 0))?;
    let parents = [&ours, &theirs];
    let merged = repository.commit(None, &nobody, &nobody, "merge", &tree, &parents)?;
    Ok(Ok(merged))
}

fn describe(conflict: &IndexConflict) -> Conflict {
    let sides = [&conflict.our, &conflict.their, &conflict.ancestor];
    let entry = sides.into_iter().flatten().next();
    let path = entry.map_or(&b""[..], |entry| &entry.path);
    Conflict {
        path: String::from_utf8_lossy(path).into_owned(),
        kind: match (&conflict.our, &conflict.their, &conflict.ancestor) {
            (None, _, _) => ConflictKind::RemovedByFirst,
            (_, None, _) => ConflictKind::RemovedBySecond,
            (_, _, None) => ConflictKind::BothAdded,
            _ => ConflictKind::BothChanged,
        },
    }
}
