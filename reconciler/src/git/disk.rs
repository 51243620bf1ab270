//! What was read out of blobs, kept on disk from one run to the next.
//!
//! One file, a *pack*, for each repository, build of the model and limits: its name says which. It
//! begins with that name, and then come segments: length, SHA-256, entries. A run appends one
//! segment with what it had to read anew; a torn one, and what follows it, is as if it weren't
//! there. Who could write the directory could make a check lie, so nothing is read or written
//! unless the directory is the user's own and nobody else can write there.

use std::collections::HashMap;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fabric::document::Limits;
use fabric::tree::{Blob, KEPT_BY, Limits as TreeLimits, Text, Tree};
use git2::Oid;
use rustix::fs::{AtFlags, Mode, OFlags};
use sha2::{Digest, Sha256};

use super::tree::Wanted;

/// Beyond this a pack is written anew with what the run at hand needs, or not at all: the bytes of
/// the largest repository that is read, twice, since objects take as much room as their text.
const MAX_PACK: usize = 512 << 20;
/// Packs of one directory in all, before the oldest go: a few large repositories, or hundreds of
/// usual ones.
const MAX_DIRECTORY: u64 = 1 << 30;
/// And so many packs: those of repositories that are long gone, such as a CI's checkouts, go too.
const MAX_PACKS: usize = 100;
/// A pack may hold this much that the run at hand didn't need, and as much again as it needed.
const SLACK: usize = 4 << 20;
const SUFFIX: &str = ".pack";
const SEGMENT_HEAD: usize = 8 + 32;
const ENTRY_HEAD: usize = 20 + 1 + 8 + 3 * 4;

/// The cache can't be used: everything is read anew, and comes out the same.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The directory isn't the user's alone.
    #[error("{} {reason}", path.display())]
    Unsafe {
        /// The directory, or a file in it.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The directory or a file in it can't be read or written.
    #[error("can't {operation} {}", path.display())]
    File {
        /// What was to be done.
        operation: &'static str,
        /// With which file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A directory of packs.
#[derive(Debug)]
pub(super) struct Disk {
    path: PathBuf,
    /// Every file is opened relative to it, so that nobody can put another one in its place.
    directory: File,
    pack: Option<Pack>,
}

/// The pack of one repository.
#[derive(Debug)]
struct Pack {
    name: String,
    limits: Limits,
    whole: Arc<Vec<u8>>,
    /// Where the last whole segment ends.
    end: usize,
    entries: HashMap<(Oid, Kept), Entry>,
}

/// What was kept: a blob that was wanted for something, or the check of a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kept {
    Blob(Wanted),
    Check,
}

#[derive(Clone, Debug)]
struct Entry {
    /// All of it.
    whole: Range<usize>,
    size: u64,
    keys: Range<usize>,
    bytes: Range<usize>,
    objects: Range<usize>,
}

// === impl Disk ===

impl Disk {
    /// Opens a directory, or makes it.
    pub(super) fn open(path: &Path) -> Result<Self, CacheError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.map_err(failed("make", path))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = rustix::fs::open(path, flags, Mode::empty())
            .map_err(|error| failed("open", path)(error.into()))?;
        let directory = File::from(directory);
        check_owner(&directory, path)?;
        Ok(Self {
            path: path.to_owned(),
            directory,
            pack: None,
        })
    }

    /// Reads the pack of a repository, unless it is the one that is open.
    pub(super) fn begin(&mut self, repository: &Path, limits: &Limits) -> Result<(), CacheError> {
        let name = pack_name(repository, limits);
        if self.pack.as_ref().is_some_and(|pack| pack.name == name) {
            return Ok(());
        }
        self.pack = None;
        let bytes = match self.open_file(&name, OFlags::RDONLY)? {
            None => Vec::new(),
            Some(file) => {
                let path = self.path.join(&name);
                let length = file.metadata().map_err(failed("look at", &path))?.len();
                let mut bytes = Vec::with_capacity(length.min(MAX_PACK as u64) as usize);
                let mut file = file.take(MAX_PACK as u64);
                file.read_to_end(&mut bytes)
                    .map_err(failed("read", &path))?;
                bytes
            }
        };
        self.pack = Some(Pack::new(name, *limits, bytes));
        Ok(())
    }

    /// The size of a blob that was kept, for whatever it was wanted.
    pub(super) fn size(&self, id: Oid) -> Option<u64> {
        let entries = &self.pack.as_ref()?.entries;
        let kept = |wanted| entries.get(&(id, Kept::Blob(wanted)));
        Some(kept(Wanted::Read).or_else(|| kept(Wanted::Search))?.size)
    }

    /// A blob that was kept.
    pub(super) fn find(&self, id: Oid, wanted: Wanted) -> Option<(Blob, u64)> {
        let pack = self.pack.as_ref()?;
        let entry = pack.entries.get(&(id, Kept::Blob(wanted)))?;
        let text = Text::part(&pack.whole, entry.bytes.clone())?;
        let objects = match entry.objects.is_empty() {
            true => None,
            false => Some(Text::part(&pack.whole, entry.objects.clone())?),
        };
        let keys = pack.whole.get(entry.keys.clone())?;
        Some((
            Blob::from_kept(text, pack.limits, keys, objects)?,
            entry.size,
        ))
    }

    /// What was kept of the check of a tree that was read under these limits.
    pub(super) fn check(&self, id: Oid, limits: &TreeLimits) -> Option<&[u8]> {
        let pack = self.pack.as_ref()?;
        let entry = pack.entries.get(&(id, Kept::Check))?;
        let is_same = pack.whole.get(entry.keys.clone())? == tree_limits(limits).as_bytes();
        pack.whole.get(entry.bytes.clone()).filter(|_| is_same)
    }

    /// Keeps what this run has used and that isn't there yet.
    pub(super) fn save<'a>(
        &self,
        blobs: impl Iterator<Item = (Oid, Wanted, u64, &'a Blob)>,
        (trees, limits): (impl Iterator<Item = (Oid, &'a Tree)>, &TreeLimits),
    ) -> Result<(), CacheError> {
        let Some(pack) = &self.pack else {
            return Ok(());
        };
        let (mut old, mut new) = (Vec::new(), Vec::new());
        for (id, wanted, size, blob) in blobs {
            match pack.entries.get(&(id, Kept::Blob(wanted))) {
                Some(entry) => old.push(entry.whole.clone()),
                None => write_blob(&mut new, id, wanted, size, blob),
            }
        }
        for (id, tree) in trees {
            match pack.entries.get(&(id, Kept::Check)) {
                Some(entry) => old.push(entry.whole.clone()),
                None => write_check(&mut new, id, tree, limits),
            }
        }
        if new.is_empty() {
            return Ok(());
        }
        let in_use: usize = old.iter().map(Range::len).sum();
        let is_lean = pack.end <= 2 * in_use + SLACK;
        let appended = is_lean && pack.end + new.len() <= MAX_PACK && self.append(pack, &new)?;
        if !appended && in_use + new.len() <= MAX_PACK {
            let mut payload = Vec::with_capacity(in_use + new.len());
            for range in old {
                payload.extend_from_slice(pack.whole.get(range).unwrap_or_default());
            }
            payload.append(&mut new);
            self.replace(pack, &payload)?;
        }
        self.prune(&pack.name)
    }

    /// Appends a segment; false where there is nothing to append to, or another run was first.
    fn append(&self, pack: &Pack, payload: &[u8]) -> Result<bool, CacheError> {
        let path = self.path.join(&pack.name);
        let Some(mut file) = self.open_file(&pack.name, OFlags::WRONLY | OFlags::APPEND)? else {
            return Ok(false);
        };
        if file.try_lock().is_err() {
            return Ok(false);
        }
        // Behind a torn segment nobody would find this one.
        let length = file.metadata().map_err(failed("look at", &path))?.len();
        if pack.end == 0 || length != pack.end as u64 {
            return Ok(false);
        }
        let written = file.write_all(&segment(payload));
        written.map_err(failed("write", &path))?;
        Ok(true)
    }

    /// Puts a pack with one segment in the place of the old one.
    fn replace(&self, pack: &Pack, payload: &[u8]) -> Result<(), CacheError> {
        let temporary = format!("{}.{}.new", pack.name, std::process::id());
        let path = self.path.join(&temporary);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC;
        let Some(mut file) = self.open_file(&temporary, flags)? else {
            return Ok(());
        };
        let mut write = || {
            file.write_all(&head(&pack.name))?;
            file.write_all(&segment(payload))?;
            // No sync: after a power cut the checksum tells what isn't there.
            rustix::fs::renameat(&self.directory, &temporary, &self.directory, &pack.name)?;
            Ok(())
        };
        write().map_err(|error: io::Error| {
            let _ = rustix::fs::unlinkat(&self.directory, &temporary, AtFlags::empty());
            failed("write", &path)(error)
        })
    }

    /// Opens a file of the directory; none where there is none.
    fn open_file(&self, name: &str, flags: OFlags) -> Result<Option<File>, CacheError> {
        let path = self.path.join(name);
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let mode = Mode::RUSR | Mode::WUSR;
        let file = match rustix::fs::openat(&self.directory, name, flags, mode) {
            Ok(file) => File::from(file),
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(error) => return Err(failed("open", &path)(error.into())),
        };
        check_owner(&file, &path)?;
        let metadata = file.metadata().map_err(failed("look at", &path))?;
        if !metadata.is_file() {
            let reason = "is no regular file";
            return Err(CacheError::Unsafe { path, reason });
        }
        Ok(Some(file))
    }

    /// Removes the oldest packs of other repositories while there are too many bytes in all, and
    /// what other runs left half-written.
    fn prune(&self, own: &str) -> Result<(), CacheError> {
        let mut others = Vec::new();
        let mut total = 0;
        for entry in fs::read_dir(&self.path).map_err(failed("list", &self.path))? {
            let entry = entry.map_err(failed("list", &self.path))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_ours = name.ends_with(SUFFIX) || name.ends_with(".new");
            // What goes meanwhile needn't be removed any more.
            let Ok(metadata) = entry.metadata() else {
                continue;
            };
            if !is_ours || !metadata.is_file() {
                continue;
            }
            total += metadata.len();
            if name != own {
                others.push((metadata.mtime(), metadata.len(), name));
            }
        }
        others.sort();
        let mut left = others.len();
        for (_, length, name) in others {
            if total <= MAX_DIRECTORY && left < MAX_PACKS {
                break;
            }
            total -= length;
            left -= 1;
            match rustix::fs::unlinkat(&self.directory, &name, AtFlags::empty()) {
                Ok(()) | Err(rustix::io::Errno::NOENT) => {}
                Err(error) => {
                    return Err(failed("remove", &self.path.join(name))(error.into()));
                }
            }
        }
        Ok(())
    }
}

// === impl Pack ===

impl Pack {
    /// The entries of all whole segments.
    fn new(name: String, limits: Limits, bytes: Vec<u8>) -> Self {
        let mut pack = Self {
            end: 0,
            entries: HashMap::new(),
            whole: Arc::new(Vec::new()),
            limits,
            name,
        };
        let head = head(&pack.name);
        if bytes.starts_with(&head) {
            pack.end = head.len();
            while let Some(payload) = next_segment(&bytes, pack.end) {
                pack.end = payload.end;
                pack.read_entries(&bytes, payload);
            }
        }
        pack.whole = Arc::new(bytes);
        pack
    }

    fn read_entries(&mut self, bytes: &[u8], mut payload: Range<usize>) {
        let shortest = payload.len() / (2 * ENTRY_HEAD);
        self.entries.reserve(shortest.min(100_000));
        while let Some((key, entry)) = read_entry(bytes, payload.clone()) {
            payload.start = entry.whole.end;
            self.entries.insert(key, entry);
        }
    }
}

/// The payload of the segment at a place, where it is whole.
fn next_segment(bytes: &[u8], at: usize) -> Option<Range<usize>> {
    let rest = bytes.get(at..)?;
    let (length, rest) = rest.split_first_chunk::<8>()?;
    let (checksum, rest) = rest.split_first_chunk::<32>()?;
    let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
    let payload = rest.get(..length)?;
    let is_whole = Sha256::digest(payload).as_slice() == checksum;
    let start = at + SEGMENT_HEAD;
    is_whole.then_some(start..start + length)
}

fn read_entry(bytes: &[u8], payload: Range<usize>) -> Option<((Oid, Kept), Entry)> {
    let head = bytes.get(payload.clone())?;
    let (id, rest) = head.split_first_chunk::<20>()?;
    let (kept, rest) = rest.split_first()?;
    let (size, rest) = rest.split_first_chunk::<8>()?;
    let (lengths, _) = rest.split_first_chunk::<12>()?;
    let mut at = payload.start + ENTRY_HEAD;
    let mut parts = lengths.chunks_exact(4).map(|length| {
        let length = <[u8; 4]>::try_from(length).map_or(0, u32::from_le_bytes);
        let part = at..at.saturating_add(length as usize);
        at = part.end;
        part
    });
    let (keys, text, objects) = (parts.next()?, parts.next()?, parts.next()?);
    let entry = Entry {
        whole: payload.start..objects.end,
        size: u64::from_le_bytes(*size),
        keys,
        bytes: text,
        objects,
    };
    let kept = match kept {
        0 => Kept::Blob(Wanted::Search),
        1 => Kept::Blob(Wanted::Read),
        2 => Kept::Check,
        _ => return None,
    };
    let is_within = entry.whole.end <= payload.end;
    is_within.then_some(((Oid::from_bytes(id).ok()?, kept), entry))
}

/// Writes an entry, unless the blob can't be kept.
fn write_blob(out: &mut Vec<u8>, id: Oid, wanted: Wanted, size: u64, blob: &Blob) {
    if let Some(kept) = blob.to_kept() {
        let parts = [kept.keys.as_slice(), blob.bytes(), kept.objects.as_slice()];
        write_entry(out, (id, Kept::Blob(wanted)), size, parts);
    }
}

/// Writes what the check of a tree has found, unless that can't be kept.
fn write_check(out: &mut Vec<u8>, id: Oid, tree: &Tree, limits: &TreeLimits) {
    if let Some(kept) = tree.to_kept() {
        let limits = tree_limits(limits);
        write_entry(out, (id, Kept::Check), 0, [limits.as_bytes(), &kept, &[]]);
    }
}

fn write_entry(out: &mut Vec<u8>, (id, kept): (Oid, Kept), size: u64, parts: [&[u8]; 3]) {
    // An object's id is as long as the repository's hash; packs are of SHA-1 alone.
    let Ok(id) = <[u8; 20]>::try_from(id.as_bytes()) else {
        return;
    };
    let lengths = parts.map(|part| u32::try_from(part.len()));
    let [Ok(keys), Ok(text), Ok(objects)] = lengths else {
        return;
    };
    out.extend_from_slice(&id);
    out.push(match kept {
        Kept::Blob(Wanted::Search) => 0,
        Kept::Blob(Wanted::Read) => 1,
        Kept::Check => 2,
    });
    out.extend_from_slice(&size.to_le_bytes());
    for length in [keys, text, objects] {
        out.extend_from_slice(&length.to_le_bytes());
    }
    for part in parts {
        out.extend_from_slice(part);
    }
}

fn segment(payload: &[u8]) -> Vec<u8> {
    let mut segment = Vec::with_capacity(SEGMENT_HEAD + payload.len());
    segment.extend_from_slice(&(payload.len() as u64).to_le_bytes());
    segment.extend_from_slice(&Sha256::digest(payload));
    segment.extend_from_slice(payload);
    segment
}

fn head(name: &str) -> Vec<u8> {
    format!("weft-pack 1 {name}\n").into_bytes()
}

/// What the files of a tree depend on beside its id and the name of the pack.
fn tree_limits(limits: &TreeLimits) -> String {
    let TreeLimits {
        document: _,
        files,
        bytes,
        directories,
    } = limits;
    format!("{files} {bytes} {directories}")
}

/// The name says all that what was read depends on beside the blobs themselves.
fn pack_name(repository: &Path, limits: &Limits) -> String {
    let Limits {
        file_bytes,
        documents,
        depth,
        nodes,
    } = limits;
    let build = env!("CARGO_PKG_VERSION");
    let what = format!("{build} {KEPT_BY} {file_bytes} {documents} {depth} {nodes}");
    let short = |bytes: &[u8]| -> String {
        hex::encode(Sha256::digest(bytes))
            .chars()
            .take(16)
            .collect()
    };
    let repository = fs::canonicalize(repository).unwrap_or_else(|_| repository.to_owned());
    let repository = repository.as_os_str().as_encoded_bytes();
    format!("{}-{}{SUFFIX}", short(repository), short(what.as_bytes()))
}

/// A directory or file counts only where nobody but the user can write it.
fn check_owner(file: &File, path: &Path) -> Result<(), CacheError> {
    let metadata = file.metadata().map_err(failed("look at", path))?;
    let refuse = |reason| {
        let path = path.to_owned();
        Err(CacheError::Unsafe { path, reason })
    };
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return refuse("belongs to another user");
    }
    if metadata.mode() & 0o022 != 0 {
        return refuse("can be written by others");
    }
    Ok(())
}

fn failed(operation: &'static str, path: &Path) -> impl Fn(io::Error) -> CacheError + use<> {
    let path = path.to_owned();
    move |source| CacheError::File {
        operation,
        path: path.clone(),
        source,
    }
}
