//! Bringing the commit at which a reference stands into the store.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use git2::{AutotagOption, Direction, FetchOptions, Oid, RemoteCallbacks, RemoteHead};

use super::address::Place;
use super::error::FetchError;
use super::operation::Operation;
use super::remote::Reference;
use super::{CommitId, local, transport};

/// What a fetch brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// The commit at which the reference stands.
    pub commit: CommitId,
    /// Whether it is another one than after the last fetch.
    pub is_new: bool,
    /// How many bytes were received for it.
    pub received: u64,
}

/// Where the last fetched commit is kept in the store.
pub(super) const HEAD: &str = "refs/weft/head";

/// Fetches the commit at which the reference stands, without its history.
pub(super) fn fetch(
    store: &git2::Repository,
    operation: &Arc<Operation>,
) -> Result<Fetched, FetchError> {
    let before = store.refname_to_id(HEAD).ok();
    let commit = match &operation.remote.address.0 {
        Place::Local(path) => {
            let source = local::open(path)?;
            let commit = local::resolve(&source, &operation.remote.reference)?;
            if before != Some(commit) {
                local::copy(&source, store, commit, operation)?;
                mark_shallow(store, commit)?;
            }
            commit
        }
        Place::Http(..) => smart(store, operation, transport::HTTP_URL, before, 1)?,
        Place::Ssh(_) => smart(store, operation, transport::SSH_URL, before, 1)?,
    };
    let is_new = before != Some(commit);
    if is_new {
        store
            .reference(HEAD, commit, true, "fetch")
            .map_err(|error| FetchError::git(&error))?;
    }
    Ok(Fetched {
        commit: CommitId(commit),
        is_new,
        received: operation.received(),
    })
}

/// Fetches so many commits of the reference's history; true for a transport that can do so.
pub(super) fn deepen(
    store: &git2::Repository,
    operation: &Arc<Operation>,
    depth: i32,
) -> Result<bool, FetchError> {
    let url = match &operation.remote.address.0 {
        Place::Local(_) => return Ok(false),
        Place::Http(..) => transport::HTTP_URL,
        Place::Ssh(_) => transport::SSH_URL,
    };
    smart(store, operation, url, None, depth)?;
    Ok(true)
}

/// Brings a commit of the reference's history into the store; false where it isn't found.
pub(super) fn recover(
    store: &git2::Repository,
    operation: &Arc<Operation>,
    commit: Oid,
    depths: &[i32],
) -> Result<bool, FetchError> {
    if let Place::Local(path) = &operation.remote.address.0 {
        let source = local::open(path)?;
        if source.find_commit(commit).is_err() {
            return Ok(false);
        }
        local::copy(&source, store, commit, operation)?;
        mark_shallow(store, commit)?;
        return Ok(true);
    }
    for depth in depths {
        deepen(store, operation, *depth)?;
        if store.find_commit(commit).is_ok() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn smart(
    store: &git2::Repository,
    operation: &Arc<Operation>,
    url: &str,
    before: Option<Oid>,
    depth: i32,
) -> Result<Oid, FetchError> {
    let failed = |error: git2::Error| FetchError::git(&error);
    transport::with_operation(operation, || {
        let mut remote = store.remote_anonymous(url).map_err(failed)?;
        let mut connection = remote
            .connect_auth(Direction::Fetch, Some(callbacks(operation)), None)
            .map_err(failed)?;
        let heads = connection.list().map_err(failed)?;
        let (name, advertised, peeled) = choose(heads, &operation.remote.reference)?;
        if before == Some(peeled) {
            return Ok(peeled);
        }
        let mut options = FetchOptions::new();
        options
            .remote_callbacks(callbacks(operation))
            .download_tags(AutotagOption::None)
            .depth(depth);
        // The destination is never written: references are set only when all is there.
        let refspec = format!("+{name}:refs/weft/incoming");
        connection
            .remote()
            .download(&[refspec], Some(&mut options))
            .map_err(failed)?;
        let object = store.find_object(advertised, None).map_err(failed)?;
        let commit = object
            .peel_to_commit()
            .map_err(|_| FetchError::NoCommit)?
            .id();
        Ok(commit)
    })
}

/// The whole name of a reference, what it stands at, and the commit behind a tag.
fn choose(
    heads: &[RemoteHead<'_>],
    reference: &Reference,
) -> Result<(String, Oid, Oid), FetchError> {
    let find = |name: &str| heads.iter().find(|head| head.name() == name);
    for name in reference.candidates() {
        if let Some(head) = find(&name) {
            let peeled = find(&format!("{name}^{{}}")).unwrap_or(head).oid();
            return Ok((name, head.oid(), peeled));
        }
    }
    Err(match heads.is_empty() {
        true => FetchError::Empty,
        false => FetchError::NoReference,
    })
}

fn callbacks(operation: &Arc<Operation>) -> RemoteCallbacks<'static> {
    let mut callbacks = RemoteCallbacks::new();
    let watched = Arc::clone(operation);
    callbacks.transfer_progress(move |progress| {
        let max = watched.limits.objects;
        let result = match progress.total_objects() > max {
            true => Err(FetchError::TooManyObjects(max)),
            // Resolving deltas takes long without a byte received.
            false => watched.check(),
        };
        result.map_err(|failure| watched.fail(failure)).is_ok()
    });
    let watched = Arc::clone(operation);
    callbacks.sideband_progress(move |_| {
        watched
            .check()
            .map_err(|failure| watched.fail(failure))
            .is_ok()
    });
    callbacks
}

/// Notes that the store holds a commit without its parents, so that no server is told otherwise.
fn mark_shallow(store: &git2::Repository, commit: Oid) -> Result<(), FetchError> {
    let path = store.path().join("shallow");
    let known = match fs::read_to_string(&path) {
        Ok(known) => known,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(FetchError::Git(error.to_string())),
    };
    let line = commit.to_string();
    if known.lines().any(|known| known == line) {
        return Ok(());
    }
    write_whole(&path, &format!("{known}{line}\n"))
        .map_err(|error| FetchError::Git(error.to_string()))
}

/// Replaces a file by a whole new one.
pub(super) fn write_whole(path: &Path, text: &str) -> std::io::Result<()> {
    let temporary = path.with_extension("new");
    let mut file = fs::File::create(&temporary)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&temporary, path)
}
