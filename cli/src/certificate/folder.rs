//! Puts a certificate and its key on the disk so that there are both or none, and nobody else can
//! read the key at any moment.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::KeyPairPem;

/// The certificate's file name.
pub(crate) const CERTIFICATE: &str = "cert.pem";
/// The private key's file name.
pub(crate) const KEY: &str = "key.pem";

/// Why a file or folder could not be written.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    /// Nothing is ever overwritten.
    #[error("{path} exists already, and nothing is overwritten")]
    Exists { path: PathBuf },
    /// The operating system refused.
    #[error("cannot {operation} {path}")]
    Io {
        operation: &'static str,
        path: PathBuf,
        source: io::Error,
    },
}

/// Writes `cert.pem` and `key.pem` into a folder, which is made where it isn't there.
///
/// A new folder appears with both files in it, in one step. In a folder that is there already the
/// key comes first: a certificate is never there without its key.
pub(crate) fn write(folder: &Path, pair: &KeyPairPem, chain: &str) -> Result<(), Failure> {
    check(folder)?;
    let is_new = !folder.is_dir();
    let base = match folder.parent() {
        Some(parent) if is_new => parent,
        _ => folder,
    };
    make_folder(base)?;
    let staging = Staging::new(base)?;
    create(&staging.path.join(KEY), 0o600, &pair.key)?;
    create(&staging.path.join(CERTIFICATE), 0o600, chain)?;
    sync(&staging.path)?;
    if is_new {
        fs::rename(&staging.path, folder).map_err(failed("make", folder))?;
        staging.keep();
        return sync(base);
    }
    for name in [KEY, CERTIFICATE] {
        link(&staging.path.join(name), &folder.join(name))?;
        sync(folder)?;
    }
    Ok(())
}

/// Says whether a pair could be written into the folder: nothing of that name is there.
pub(crate) fn check(folder: &Path) -> Result<(), Failure> {
    check_file(&folder.join(KEY))?;
    check_file(&folder.join(CERTIFICATE))
}

/// Says whether a file could be written: nothing of that name is there, not even a dangling link.
pub(crate) fn check_file(path: &Path) -> Result<(), Failure> {
    match fs::symlink_metadata(path) {
        Ok(_) => Err(Failure::Exists {
            path: path.to_owned(),
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(failed("look at", path)(source)),
    }
}

/// Writes a public file whole or not at all, where none of its name is.
pub(crate) fn publish(path: &Path, text: &str) -> Result<(), Failure> {
    let parent = path.parent().unwrap_or_else(|| Path::new("/"));
    fs::create_dir_all(parent).map_err(failed("make", parent))?;
    let staging = Staging::new(parent)?;
    let whole = staging.path.join(CERTIFICATE);
    create(&whole, 0o644, text)?;
    link(&whole, path)?;
    sync(parent)
}

/// A folder beside the target, for files that aren't finished; it goes away with the value.
struct Staging {
    path: PathBuf,
}

// === impl Staging ===

impl Staging {
    fn new(parent: &Path) -> Result<Self, Failure> {
        let path = parent.join(format!(".weft-{:016x}", rand::random::<u64>()));
        DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .map_err(failed("make", &path))?;
        Ok(Self { path })
    }

    /// Leaves the folder, which has another name by now.
    fn keep(mut self) {
        self.path = PathBuf::new();
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if !self.path.as_os_str().is_empty() {
            // What stays behind is a hidden folder that only its owner can read.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// Makes a folder and those above it, for the owner alone where they are new.
fn make_folder(path: &Path) -> Result<(), Failure> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(failed("make", path))
}

/// Writes a new file that has its mode from the start.
fn create(path: &Path, mode: u32, text: &str) -> Result<(), Failure> {
    let failed = failed("write", path);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .map_err(&failed)?;
    file.write_all(text.as_bytes()).map_err(&failed)?;
    file.sync_all().map_err(&failed)
}

fn sync(folder: &Path) -> Result<(), Failure> {
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(failed("write", folder))
}

/// Gives a finished file its name; unlike a rename this never replaces what came in between.
fn link(whole: &Path, path: &Path) -> Result<(), Failure> {
    fs::hard_link(whole, path).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => Failure::Exists {
            path: path.to_owned(),
        },
        _ => failed("write", path)(source),
    })
}

fn failed(operation: &'static str, path: &Path) -> impl Fn(io::Error) -> Failure {
    let path = path.to_owned();
    move |source| Failure::Io {
        operation,
        path: path.clone(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn pair() -> KeyPairPem {
        KeyPairPem {
            certificate: "certificate".to_owned(),
            key: "key".to_owned(),
            not_after: jiff::Timestamp::MAX,
        }
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_new_folder_holds_both_and_is_its_owners_alone() {
        let base = tempfile::tempdir().unwrap();
        let folder = base.path().join("a/b");
        write(&folder, &pair(), "chain").unwrap();
        assert_eq!(names(&folder), ["cert.pem", "key.pem"]);
        assert_eq!(names(folder.parent().unwrap()), ["b"]);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&base.path().join("a")), 0o700);
        assert_eq!(mode(&folder), 0o700);
        assert_eq!(mode(&folder.join("key.pem")), 0o600);
        assert_eq!(mode(&folder.join("cert.pem")), 0o600);
        assert_eq!(
            fs::read_to_string(folder.join("cert.pem")).unwrap(),
            "chain"
        );
    }

    #[test]
    fn other_files_of_the_folder_stay() {
        let base = tempfile::tempdir().unwrap();
        fs::write(base.path().join("other"), "").unwrap();
        write(base.path(), &pair(), "chain").unwrap();
        assert_eq!(names(base.path()), ["cert.pem", "key.pem", "other"]);
    }

    #[test]
    fn nothing_is_overwritten_and_nothing_left_behind() {
        for occupied in ["cert.pem", "key.pem"] {
            let base = tempfile::tempdir().unwrap();
            let folder = base.path().join("east");
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join(occupied), "old").unwrap();
            let error = write(&folder, &pair(), "chain").unwrap_err();
            assert!(matches!(error, Failure::Exists { .. }), "{error}");
            assert_eq!(names(&folder), [occupied]);
            assert_eq!(names(base.path()), ["east"]);
            assert_eq!(fs::read_to_string(folder.join(occupied)).unwrap(), "old");
        }
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("acme.pem");
        publish(&path, "one").unwrap();
        publish(&path, "two").unwrap_err();
        assert_eq!(fs::read_to_string(&path).unwrap(), "one");
        assert_eq!(names(base.path()), ["acme.pem"]);
    }
}
