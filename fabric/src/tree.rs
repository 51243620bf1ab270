//! The files of one revision of the repository: the one input of the model.
//!
//! Whoever reads a repository walks it, asks [`TreeBuilder::visit`] for every entry whether its
//! bytes are wanted, and hands over a [`Blob`] for those that are. Blobs with equal bytes may be
//! shared between trees: what is read out of a blob is worked out once and kept in it.

mod blob;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::{Arc, OnceLock};

use unicode_normalization::UnicodeNormalization;

use crate::diagnostic::{Code, Diagnostic, Effect, Span};
use crate::document;
use crate::fabric::Checked;
use crate::name::PeerName;
use crate::origin::Revision;

pub use blob::{Blob, KEPT_BY, Kept, Text};

/// How much of a repository is read; what goes beyond is a diagnostic.
///
/// The numbers are the design's; they are set on the command line and never by the repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// What one file may hold.
    pub document: document::Limits,
    /// Files in all.
    pub files: usize,
    /// Bytes in all.
    pub bytes: u64,
    /// Directories above a file.
    pub directories: usize,
}

/// The files of one revision; a clone shares them, since each unit of a fabric may hold one.
#[derive(Clone, Debug)]
pub struct Tree(Arc<Entries>);

#[derive(Clone, Debug)]
struct Entries {
    revision: Revision,
    files: BTreeMap<Arc<str>, Arc<Blob>>,
    diagnostics: Vec<Diagnostic>,
    frozen: BTreeSet<Scope>,
    /// What a check has found here.
    checked: OnceLock<Arc<Checked>>,
}

/// Collects a [`Tree`] entry by entry.
#[derive(Debug)]
pub struct TreeBuilder {
    tree: Entries,
    limits: Limits,
    read: Seen,
    searched: Seen,
}

/// How much went by already.
#[derive(Debug, Default)]
struct Seen {
    files: usize,
    bytes: u64,
    is_over: bool,
}

/// A file as another tree has taken it, to be taken again without being looked at: nothing was
/// reported of it.
#[derive(Clone, Debug)]
pub struct Taken {
    path: Arc<str>,
    blob: Arc<Blob>,
    size: u64,
    is_read: bool,
}

/// What an entry of the repository is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file of so many bytes.
    File {
        /// Its size in bytes.
        size: u64,
    },
    /// A symbolic link.
    Symlink,
    /// Another repository.
    Submodule,
}

/// What to do with an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visit {
    /// Hand over its bytes with [`Blob::new`].
    Read,
    /// Hand over its bytes with [`Blob::searched`]: they are only searched for private keys.
    Search,
    /// Leave it.
    Skip,
}

/// The part of a fabric that freezes as a whole.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Everything outside `peers/`.
    Shared,
    /// The directory of one peer.
    Unit(Arc<str>),
    /// Not read by Weft.
    Elsewhere,
}

/// What is read at a place of the repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// `fabric.yaml`.
    Fabric,
    /// `revocations.yaml`.
    Revocations,
    /// `ca/*.pem`.
    Authority,
    /// YAML below `policies/`.
    Policy,
    /// YAML below `invariants/`.
    Invariant,
    /// YAML below `peers/<peer>/`.
    Unit,
    /// `peers/<peer>/cert.pem`.
    PeerCertificate,
    /// A place that looks as if it should be read but isn't: JSON, or YAML beside the places.
    Suspect,
    /// Everything else.
    Elsewhere,
}

// === impl Tree ===

impl Tree {
    /// Begins a tree.
    #[must_use]
    pub fn builder(revision: Revision, limits: Limits) -> TreeBuilder {
        let tree = Entries {
            revision,
            files: BTreeMap::new(),
            diagnostics: Vec::new(),
            frozen: BTreeSet::new(),
            checked: OnceLock::new(),
        };
        TreeBuilder {
            tree,
            limits,
            read: Seen::default(),
            searched: Seen::default(),
        }
    }

    /// The revision that the files are of.
    #[must_use]
    pub fn revision(&self) -> &Revision {
        &self.0.revision
    }

    /// The same files as those of another revision.
    #[must_use]
    pub fn at(self, revision: Revision) -> Self {
        let entries = Arc::unwrap_or_clone(self.0);
        Self(Arc::new(Entries {
            revision,
            ..entries
        }))
    }

    /// The files that were read, in the order of their paths.
    pub fn files(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<Blob>)> {
        self.0.files.iter()
    }

    /// The files below a directory that were read, in the order of their paths; the directory ends
    /// in `/`. What stands elsewhere isn't looked at.
    pub fn files_below<'a>(
        &'a self,
        directory: &'a str,
    ) -> impl Iterator<Item = (&'a Arc<str>, &'a Arc<Blob>)> {
        self.0
            .files
            .range::<str, _>((Bound::Included(directory), Bound::Unbounded))
            .take_while(move |(path, _)| path.starts_with(directory))
    }

    /// The file at a path, where it was read.
    #[must_use]
    pub fn file(&self, path: &str) -> Option<&Arc<Blob>> {
        self.0.files.get(path)
    }

    /// The scopes that a diagnostic of the tree itself freezes.
    #[must_use]
    pub fn frozen(&self) -> &BTreeSet<Scope> {
        &self.0.frozen
    }

    /// The same tree with what was kept of its check by [`to_kept`](Self::to_kept): of the very same
    /// files under the same limits, by the same build ([`KEPT_BY`]).
    #[must_use]
    pub fn with_kept(self, kept: &[u8]) -> Self {
        if let Some(checked) = Checked::from_kept(kept) {
            self.set_checked(Arc::new(checked));
        }
        self
    }

    /// What is to be kept of the tree's check; none where it wasn't checked, or where what was found
    /// can't serve another check.
    #[must_use]
    pub fn to_kept(&self) -> Option<Vec<u8>> {
        self.checked()?.to_kept()
    }

    /// What a check has found in the tree.
    pub(crate) fn checked(&self) -> Option<&Arc<Checked>> {
        self.0.checked.get()
    }

    /// Notes what a check has found; the first one counts.
    pub(crate) fn set_checked(&self, checked: Arc<Checked>) {
        let _ = self.0.checked.set(checked);
    }

    /// What is wrong with the tree's entries themselves.
    #[must_use]
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.0.diagnostics
    }
}

// === impl TreeBuilder ===

impl TreeBuilder {
    /// Says whether the bytes of an entry are wanted, and notes what is wrong with it.
    ///
    /// `path` is relative to the repository's root, with `/` between its parts.
    pub fn visit(&mut self, path: &[u8], kind: EntryKind) -> Visit {
        let lossy = String::from_utf8_lossy(path);
        let (scope, place) = match kind {
            EntryKind::File { .. } => locate(&lossy),
            EntryKind::Symlink | EntryKind::Submodule => locate_link(&lossy),
        };
        let path: Arc<str> = lossy.as_ref().into();
        let matters = scope != Scope::Elsewhere;
        if matters && matches!(lossy, Cow::Owned(_)) {
            self.report(
                Code::PathNotUtf8,
                &scope,
                &path,
                "the file's name isn't UTF-8",
            );
            return Visit::Skip;
        }
        let size = match kind {
            EntryKind::File { size } => size,
            EntryKind::Symlink if matters => {
                self.report(
                    Code::Symlink,
                    &scope,
                    &path,
                    "a symbolic link is never followed",
                );
                return Visit::Skip;
            }
            EntryKind::Submodule if matters => {
                self.report(Code::Submodule, &scope, &path, "a submodule is not read");
                return Visit::Skip;
            }
            EntryKind::Symlink | EntryKind::Submodule => return Visit::Skip,
        };
        if path.matches('/').count() > self.limits.directories {
            if matters {
                let message = format!("more than {} directories deep", self.limits.directories);
                self.report(Code::PathTooDeep, &scope, &path, message);
            }
            return Visit::Skip;
        }
        if size > self.limits.document.file_bytes {
            let limit = self.limits.document.file_bytes;
            let message = format!("the file has {size} bytes, and {limit} are read");
            let code = if place.is_read() {
                Code::FileTooLarge
            } else {
                Code::NotSearched
            };
            self.report(code, &scope, &path, message);
            return Visit::Skip;
        }
        if place == Place::Suspect {
            let message = "the file is not read at this place or under this name";
            self.report(Code::NotRead, &scope, &path, message);
        }
        let is_read = place.is_read();
        let seen = if is_read {
            &mut self.read
        } else {
            &mut self.searched
        };
        seen.files += 1;
        seen.bytes += size;
        if seen.files > self.limits.files || seen.bytes > self.limits.bytes {
            if !std::mem::replace(&mut seen.is_over, true) {
                self.refuse_more(is_read, &path);
            }
            return Visit::Skip;
        }
        if is_read { Visit::Read } else { Visit::Search }
    }

    /// Adds a file that [`visit`](Self::visit) asked for.
    pub fn add(&mut self, path: &[u8], blob: Arc<Blob>) {
        let path: Arc<str> = String::from_utf8_lossy(path).as_ref().into();
        let (scope, place) = locate(&path);
        for finding in blob.private_keys() {
            let diagnostic = finding.at(&path);
            // Outside the places of the fabric a key fails the check, and nothing can freeze.
            let diagnostic = match scope {
                Scope::Elsewhere => diagnostic.with_effect(Effect::Fail),
                Scope::Shared | Scope::Unit(_) => diagnostic,
            };
            self.push(&scope, diagnostic);
        }
        if !place.is_read() {
            return;
        }
        if blob.bytes().starts_with(LFS_POINTER) {
            self.report(
                Code::LfsPointer,
                &scope,
                &path,
                "the file holds a pointer of Git LFS",
            );
            return;
        }
        self.tree.files.insert(path, blob);
    }

    /// How much is reported so far.
    #[must_use]
    pub const fn reported(&self) -> usize {
        self.tree.diagnostics.len()
    }

    /// A file that was added just now, for another tree under the same limits; `is_read` as
    /// [`visit`](Self::visit) has said.
    #[must_use]
    pub fn taken(&self, path: &[u8], size: u64, is_read: bool, blob: &Arc<Blob>) -> Taken {
        let path = String::from_utf8_lossy(path);
        let known = self.tree.files.get_key_value(&*path);
        Taken {
            path: known.map_or_else(|| path.as_ref().into(), |(path, _)| Arc::clone(path)),
            blob: Arc::clone(blob),
            size,
            is_read,
        }
    }

    /// Takes files again, all of them; false and none of them where that goes beyond a limit.
    pub fn take_again(&mut self, files: &[Taken]) -> bool {
        for (is_read, seen) in [(true, &self.read), (false, &self.searched)] {
            let files = || files.iter().filter(move |file| file.is_read == is_read);
            let bytes: u64 = files().map(|file| file.size).sum();
            if seen.files + files().count() > self.limits.files
                || seen.bytes + bytes > self.limits.bytes
            {
                return false;
            }
        }
        for file in files {
            let seen = match file.is_read {
                true => &mut self.read,
                false => &mut self.searched,
            };
            seen.files += 1;
            seen.bytes += file.size;
            if file.is_read {
                let (path, blob) = (Arc::clone(&file.path), Arc::clone(&file.blob));
                self.tree.files.insert(path, blob);
            }
        }
        true
    }

    /// The finished tree.
    #[must_use]
    pub fn finish(mut self) -> Tree {
        self.find_twins();
        Tree(Arc::new(self.tree))
    }

    fn report(&mut self, code: Code, scope: &Scope, path: &Arc<str>, message: impl Into<String>) {
        self.push(scope, Diagnostic::new(code, path, Span::FILE, message));
    }

    fn push(&mut self, scope: &Scope, mut diagnostic: Diagnostic) {
        // Nothing in force depends on an invariant, so none freezes anything.
        if is_invariant(diagnostic.path()) && diagnostic.code != Code::TooManyFiles {
            diagnostic.effect = diagnostic.effect.min(Effect::Fail);
        }
        if diagnostic.effect == Effect::Freeze {
            self.tree.frozen.insert(scope.clone());
        }
        self.tree.diagnostics.push(diagnostic);
    }

    /// Says that there are too many files: to be read, which holds the whole fabric, since
    /// what is missing can't be told, or to be searched.
    fn refuse_more(&mut self, is_read: bool, path: &Arc<str>) {
        let code = if is_read {
            Code::TooManyFiles
        } else {
            Code::NotSearched
        };
        let Limits { files, bytes, .. } = self.limits;
        let message = match is_read {
            true => format!("the fabric has more than {files} files or {bytes} bytes"),
            false => format!(
                "more than {files} files or {bytes} bytes stand outside the fabric: this one and \
                 those after it are not searched for private keys"
            ),
        };
        self.report(code, &Scope::Shared, path, message);
    }

    fn find_twins(&mut self) {
        // Lower case is its own fold, and then the map can't hold another one.
        let is_plain = |byte: u8| byte.is_ascii() && !byte.is_ascii_uppercase();
        if self
            .tree
            .files
            .keys()
            .all(|path| path.bytes().all(is_plain))
        {
            return;
        }
        let mut folded: BTreeMap<String, &Arc<str>> = BTreeMap::new();
        let mut twins = Vec::new();
        for path in self.tree.files.keys() {
            let fold = match path.is_ascii() {
                true => path.to_ascii_lowercase(),
                false => path.to_lowercase().nfc().collect(),
            };
            if let Some(first) = folded.insert(fold, path) {
                let message = "some systems can't tell this file's name from another's";
                let twin = Diagnostic::new(Code::PathTwins, path, Span::FILE, message);
                twins.push(twin.with_related(first, Span::FILE, "the other one"));
            }
        }
        self.tree.diagnostics.append(&mut twins);
    }
}

// === impl Place ===

impl Place {
    /// Whether the bytes of a file here are read and kept.
    #[must_use]
    pub const fn is_read(self) -> bool {
        !matches!(self, Self::Suspect | Self::Elsewhere)
    }
}

// === impl Limits ===

impl Default for Limits {
    fn default() -> Self {
        Self {
            document: document::Limits::default(),
            files: 100_000,
            bytes: 256 << 20,
            directories: 32,
        }
    }
}

/// Tells the same of a link, which may stand where a directory would: one at `peers/east` is in
/// the way of the whole unit, one at `policies` of the shared files.
fn locate_link(path: &str) -> (Scope, Place) {
    match locate(path) {
        (scope @ Scope::Unit(_), place) => (scope, place),
        (scope, place) if place.is_read() => (scope, place),
        _ => locate(&format!("{path}/x.yaml")),
    }
}

/// The directory of the invariants.
const INVARIANTS: &str = "invariants";

/// Whether a path is of the invariants, or the directory itself.
fn is_invariant(path: &str) -> bool {
    let rest = path.strip_prefix(INVARIANTS);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// How a pointer of Git LFS begins (its specification, version 1).
const LFS_POINTER: &[u8] = b"version https://git-lfs.github.com/spec/";

/// Tells what part of the fabric a path belongs to, and what is read there.
#[must_use]
pub fn locate(path: &str) -> (Scope, Place) {
    let extension = path
        .rsplit('/')
        .next()
        .and_then(|name| name.rsplit_once('.'))
        .map(|(_, e)| e);
    let yaml = matches!(extension, Some("yaml" | "yml"));
    let suspect = yaml || extension == Some("json");
    let or_suspect = |place: Option<Place>| {
        place.unwrap_or(if suspect {
            Place::Suspect
        } else {
            Place::Elsewhere
        })
    };
    match path.split_once('/') {
        None => match path {
            "fabric.yaml" => (Scope::Shared, Place::Fabric),
            "revocations.yaml" => (Scope::Shared, Place::Revocations),
            // Other tools keep their settings in hidden files at the top.
            _ if path.starts_with('.') => (Scope::Elsewhere, Place::Elsewhere),
            // JSON here is nearly always another tool's too.
            _ if !yaml => (Scope::Elsewhere, Place::Elsewhere),
            _ => (Scope::Elsewhere, Place::Suspect),
        },
        Some(("ca", rest)) => {
            let pem = !rest.contains('/') && extension == Some("pem");
            (Scope::Shared, or_suspect(pem.then_some(Place::Authority)))
        }
        Some(("policies", _)) => (Scope::Shared, or_suspect(yaml.then_some(Place::Policy))),
        Some((INVARIANTS, _)) => (Scope::Shared, or_suspect(yaml.then_some(Place::Invariant))),
        Some(("peers", rest)) => match rest.split_once('/') {
            None => (Scope::Shared, or_suspect(None)),
            Some((unit, "cert.pem")) => (Scope::Unit(unit.into()), Place::PeerCertificate),
            Some((unit, _)) => (
                Scope::Unit(unit.into()),
                or_suspect(yaml.then_some(Place::Unit)),
            ),
        },
        Some(_) => (Scope::Elsewhere, Place::Elsewhere),
    }
}

/// The peer whose unit a scope is, where its directory's name can be a peer's.
#[must_use]
pub fn unit_name(scope: &Scope) -> Option<PeerName> {
    match scope {
        Scope::Unit(directory) => directory.parse().ok(),
        Scope::Shared | Scope::Elsewhere => None,
    }
}
