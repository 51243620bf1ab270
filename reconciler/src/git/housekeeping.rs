//! Keeping the bare store usable for years: one process at a time, nothing left of a killed one,
//! and not a pack for each commit that ever was.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::fetch::write_whole;

/// As many packs as Git itself lets come together: each is a file to search for every object.
const MAX_PACKS: usize = 50;

/// Twice what one fetch may receive: the least that lets a new pack stand beside the one before.
const MAX_PACK_BYTES: u64 = 1 << 30;

/// Why a store can't be had.
#[derive(Debug)]
pub(super) enum Busy {
    InUse,
    File(PathBuf, io::Error),
}

/// Takes a store for this process, until the file is dropped.
pub(super) fn lock(store: &Path) -> Result<File, Busy> {
    let path = store.join("weft.lock");
    match crate::lock::lock(&path) {
        Ok(Some(file)) => Ok(file),
        Ok(None) => Err(Busy::InUse),
        Err(error) => Err(Busy::File(path, error)),
    }
}

/// Removes what a killed process left: lock files that would refuse every later write, and packs
/// that were never finished. Only for who holds the [`lock`].
pub(super) fn clean(store: &Path) -> Result<(), Busy> {
    let mut pending = vec![store.to_owned()];
    while let Some(directory) = pending.pop() {
        let failed = |error| Busy::File(directory.clone(), error);
        for entry in fs::read_dir(&directory).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let (path, name) = (entry.path(), entry.file_name());
            let name = name.to_string_lossy();
            if entry.file_type().map_err(failed)?.is_dir() {
                pending.push(path);
            } else if is_residue(&name) {
                tracing::debug!(path = %path.display(), "removed what a killed process left");
                fs::remove_file(&path).map_err(failed)?;
            }
        }
    }
    Ok(())
}

fn is_residue(name: &str) -> bool {
    let is_lock = name != "weft.lock" && name.ends_with(".lock");
    // libgit2's names of files that are to be renamed when they are finished.
    is_lock || name.starts_with("tmp_") || name.contains("_git2_") || name == "shallow.new"
}

/// Packs a store with many packs, or large ones, anew, down to the commits that its references name and without
/// their history; true when it did, and the store is to be opened again.
pub(super) fn compact(store: &git2::Repository) -> Result<bool, git2::Error> {
    let directory = store.path().join("objects/pack");
    let before = packs(&directory).map_err(io_error)?;
    let is_large = before.len() > 1 && size(&directory).map_err(io_error)? > MAX_PACK_BYTES;
    if before.len() <= MAX_PACKS && !is_large {
        return Ok(false);
    }
    let mut commits = BTreeSet::new();
    for reference in store.references_glob("refs/weft/*")? {
        commits.insert(reference?.peel_to_commit()?.id());
    }
    if commits.is_empty() {
        // Fetches that all failed in the end left packs with nothing in them that is wanted.
        remove(&directory, &before).map_err(io_error)?;
        return Ok(true);
    }
    let mut pack = store.packbuilder()?;
    for commit in &commits {
        pack.insert_commit(*commit)?;
    }
    let database = store.odb()?;
    let mut writer = database.packwriter()?;
    let mut failure = None;
    let written = pack.foreach(|bytes| {
        failure = writer.write_all(bytes).err();
        failure.is_none()
    });
    if let Some(error) = failure {
        return Err(io_error(error));
    }
    written?;
    writer.commit()?;
    drop(writer);

    let after = packs(&directory).map_err(io_error)?;
    // A pack's name tells its content: no new one says that an old one is the same, and is needed.
    if after.is_subset(&before) {
        return Ok(false);
    }
    // Before the history goes, it is said that it isn't there.
    let text: String = commits.iter().map(|commit| format!("{commit}\n")).collect();
    write_whole(&store.path().join("shallow"), &text).map_err(io_error)?;
    remove(&directory, &before).map_err(io_error)?;
    tracing::debug!(
        packs = before.len(),
        commits = commits.len(),
        "packed the Git store anew"
    );
    Ok(true)
}

fn remove(directory: &Path, packs: &BTreeSet<String>) -> io::Result<()> {
    for name in packs {
        // The index first: without it the pack isn't looked for.
        for extension in ["idx", "pack"] {
            fs::remove_file(directory.join(format!("{name}.{extension}")))?;
        }
    }
    Ok(())
}

/// The bytes of everything in the directory of packs.
fn size(directory: &Path) -> io::Result<u64> {
    let mut size = 0;
    for entry in fs::read_dir(directory)? {
        size += entry?.metadata()?.len();
    }
    Ok(size)
}

/// The names of the finished packs, without extension.
fn packs(directory: &Path) -> io::Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        if let Some(name) = name.to_string_lossy().strip_suffix(".idx") {
            names.insert(name.to_owned());
        }
    }
    Ok(names)
}

fn io_error(error: io::Error) -> git2::Error {
    let text = error.to_string().replace('\0', "");
    git2::Error::new(git2::ErrorCode::GenericError, git2::ErrorClass::Os, text)
}

#[cfg(test)]
mod tests {
    use super::is_residue;

    #[test]
    fn only_what_is_unfinished_is_residue() {
        for name in [
            "HEAD.lock",
            "shallow.lock",
            "tmp_pack_x1",
            "pack_git2_ab12",
            "shallow.new",
        ] {
            assert!(is_residue(name), "{name}");
        }
        for name in [
            "weft.lock",
            "HEAD",
            "shallow",
            "config",
            "pack-12ab.pack",
            "pack-12ab.idx",
        ] {
            assert!(!is_residue(name), "{name}");
        }
    }
}
