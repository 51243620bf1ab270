//! From a repository on this machine: the objects of one commit are copied from database to
//! database, without a protocol.
//!
//! libgit2's own transport for paths can't be shallow: it would copy the whole history first.

use std::collections::HashSet;
use std::io::Write;
use std::path::{Path, PathBuf};

use git2::{ObjectType, OdbLookupFlags, Oid};

use super::error::FetchError;
use super::operation::Operation;
use super::remote::Reference;

/// Opens the repository at a path, bare or not.
pub(super) fn open(path: &Path) -> Result<git2::Repository, FetchError> {
    git2::Repository::open_ext(
        path,
        git2::RepositoryOpenFlags::NO_SEARCH,
        std::iter::empty::<&std::ffi::OsStr>(),
    )
    .map_err(FetchError::Local)
}

/// The commit at which a reference stands.
pub(super) fn resolve(source: &git2::Repository, reference: &Reference) -> Result<Oid, FetchError> {
    for name in reference.candidates() {
        match source.find_reference(&name) {
            Ok(found) => {
                return match found.peel_to_commit() {
                    Ok(commit) => Ok(commit.id()),
                    // A symbolic reference to a branch without a commit.
                    Err(error) if error.code() == git2::ErrorCode::NotFound => Err(missing(source)),
                    Err(_) => Err(FetchError::NoCommit),
                };
            }
            Err(error) if error.code() == git2::ErrorCode::NotFound => {}
            Err(error) => return Err(FetchError::git(&error)),
        }
    }
    Err(missing(source))
}

/// The files that change when a reference of the repository at a path moves.
pub(crate) fn reference_files(path: &Path, reference: &Reference) -> Vec<PathBuf> {
    super::transport::initialize();
    let Ok(source) = open(path) else {
        // It may come yet: the usual places then.
        return [path.join("HEAD"), path.join(".git/HEAD")].into();
    };
    let (own, common) = (source.path(), source.commondir());
    let mut files = vec![own.join("HEAD"), common.join("packed-refs")];
    for name in reference.candidates() {
        if let Ok(found) = source.find_reference(&name)
            && let Ok(Some(target)) = found.symbolic_target()
        {
            files.push(common.join(target));
        }
        files.push(common.join(name));
    }
    files
}

fn missing(source: &git2::Repository) -> FetchError {
    // Not `is_empty`, which wants the branch of a fresh repository to have one certain name.
    let mut references = source.references().into_iter().flatten();
    match references.next() {
        None => FetchError::Empty,
        Some(_) => FetchError::NoReference,
    }
}

/// Copies a commit and its tree, as far as the store doesn't hold them yet.
pub(super) fn copy(
    source: &git2::Repository,
    store: &git2::Repository,
    commit: Oid,
    operation: &Operation,
) -> Result<(), FetchError> {
    let failed = |error: git2::Error| FetchError::git(&error);
    let database = store.odb().map_err(failed)?;
    database.refresh().map_err(failed)?;
    // What is missing is missing: no look at the disk again for every single object.
    let holds = |id| database.exists_ext(id, OdbLookupFlags::NO_REFRESH);
    let mut pack = source.packbuilder().map_err(failed)?;
    let mut count = 0;
    let mut insert = |id| {
        operation.check()?;
        count += 1;
        if count > operation.limits.objects {
            return Err(FetchError::TooManyObjects(operation.limits.objects));
        }
        pack.insert_object(id, None).map_err(failed)
    };
    let root = source.find_commit(commit).map_err(failed)?.tree_id();
    insert(commit)?;
    let mut seen = HashSet::from([root]);
    let mut pending = vec![root];
    while let Some(id) = pending.pop() {
        // A pack comes into the store as a whole, so that a tree there has all that is below it.
        if holds(id) {
            continue;
        }
        insert(id)?;
        for entry in source.find_tree(id).map_err(failed)?.iter() {
            let id = entry.id();
            match entry.kind() {
                Some(ObjectType::Tree) if seen.insert(id) => pending.push(id),
                Some(ObjectType::Blob) if seen.insert(id) && !holds(id) => insert(id)?,
                _ => {}
            }
        }
    }
    let mut writer = database.packwriter().map_err(failed)?;
    let mut refused = None;
    let written = pack.foreach(|bytes| {
        let result = operation.receive(bytes.len()).and_then(|()| {
            writer
                .write_all(bytes)
                .map_err(|error| FetchError::Git(error.to_string()))
        });
        refused = result.err();
        refused.is_none()
    });
    if let Some(failure) = refused {
        return Err(failure);
    }
    written.map_err(failed)?;
    writer.commit().map_err(failed)?;
    Ok(())
}
