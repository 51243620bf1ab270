//! Whether one commit is in the history of another, as far as a shallow store can tell.

use std::collections::{BinaryHeap, HashSet};

use git2::Oid;

/// What a walk through the history found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ancestry {
    /// The commit is in the history.
    Ancestor,
    /// The whole history is there, and the commit isn't in it.
    Unrelated,
    /// A part of the history is missing, or it is too long.
    Unknown,
}

/// How many commits are looked at: about a second's work, and years of a fabric's history.
const MAX_COMMITS: usize = 50_000;

/// Walks from `new` towards the beginning, newest first, until `old` is found.
///
/// The parents are read from the commits themselves: libgit2 hides those beyond a shallow boundary,
/// although their names alone often are the answer.
pub(super) fn is_ancestor(
    repository: &git2::Repository,
    old: Oid,
    new: Oid,
) -> Result<Ancestry, git2::Error> {
    if old == new {
        return Ok(Ancestry::Ancestor);
    }
    let database = repository.odb()?;
    let mut seen = HashSet::from([new]);
    let mut pending = BinaryHeap::from([(i64::MAX, new)]);
    let mut is_whole = true;
    while let Some((_, id)) = pending.pop() {
        let object = match database.read(id) {
            Ok(object) => object,
            Err(error) if error.code() == git2::ErrorCode::NotFound => {
                is_whole = false;
                continue;
            }
            Err(error) => return Err(error),
        };
        let (parents, time) = parse(object.data());
        for parent in parents {
            if parent == old {
                return Ok(Ancestry::Ancestor);
            }
            if seen.insert(parent) {
                // By the child's time: the parent itself isn't read yet.
                pending.push((time, parent));
            }
        }
        if seen.len() > MAX_COMMITS {
            is_whole = false;
            break;
        }
    }
    Ok(match is_whole {
        true => Ancestry::Unrelated,
        false => Ancestry::Unknown,
    })
}

/// So many messages are read: no review looks further back.
const MAX_MESSAGES: usize = 1000;

/// The messages of the commits between two, the newest first; that of the newest one in any case:
/// what it approves holds though it is in force, as after a round that was interrupted.
pub(super) fn messages(
    repository: &git2::Repository,
    old: Oid,
    new: Oid,
) -> Result<Vec<String>, git2::Error> {
    let newest = repository.find_commit(new)?;
    if old == new {
        return Ok(vec![message(&newest)]);
    }
    let commits = commits(repository, Some(old), &[new])?;
    Ok(commits.into_iter().map(|(_, message)| message).collect())
}

/// The commits in the history of the new ones that aren't in that of the old one, the newest
/// first, with their messages; at most a thousand.
pub(super) fn commits(
    repository: &git2::Repository,
    old: Option<Oid>,
    new: &[Oid],
) -> Result<Vec<(Oid, String)>, git2::Error> {
    let mut walk = repository.revwalk()?;
    for new in new {
        walk.push(*new)?;
    }
    // Beyond a shallow boundary there is nothing to hide.
    if let Some(old) = old.filter(|old| repository.find_commit(*old).is_ok()) {
        walk.hide(old)?;
    }
    let mut commits = Vec::new();
    for id in walk.take(MAX_MESSAGES) {
        let commit = repository.find_commit(id?)?;
        commits.push((commit.id(), message(&commit)));
    }
    Ok(commits)
}

fn message(commit: &git2::Commit<'_>) -> String {
    String::from_utf8_lossy(commit.message_bytes()).into_owned()
}

/// The parents of a commit and when it was committed, from its own text.
fn parse(commit: &[u8]) -> (Vec<Oid>, i64) {
    let mut parents = Vec::new();
    let mut time = 0;
    for line in commit.split(|byte| *byte == b'\n') {
        let Ok(line) = std::str::from_utf8(line) else {
            continue;
        };
        if line.is_empty() {
            break;
        }
        if let Some(parent) = line.strip_prefix("parent ") {
            parents.extend(Oid::from_str(parent));
        } else if line.starts_with("committer ") {
            let seconds = line.rsplit(' ').nth(1);
            time = seconds.and_then(|text| text.parse().ok()).unwrap_or(0);
        }
    }
    (parents, time)
}
