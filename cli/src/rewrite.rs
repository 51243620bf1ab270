//! Replacing the text of the fabric's files: each as a whole, and only what was read before.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use anyhow::{Context as _, bail};
use tempfile::NamedTempFile;

/// Replaces a file below a directory, unless it isn't what was read any more.
///
/// At every moment the file is either the old one or the new one, whole. Symbolic links on the way
/// are refused: what they point at may be anybody's.
pub(crate) fn replace(top: &Path, path: &str, old: &[u8], new: &[u8]) -> anyhow::Result<()> {
    let file = top.join(path);
    let shown = file.display();
    for place in file.ancestors().take_while(|place| *place != top) {
        let kind = fs::symlink_metadata(place)
            .with_context(|| format!("cannot look at {}", place.display()))?
            .file_type();
        if kind.is_symlink() {
            bail!(
                "{} is a symbolic link, and none is followed",
                place.display()
            );
        }
    }
    let failed = || format!("cannot rewrite {shown}");
    let metadata = fs::symlink_metadata(&file).with_context(failed)?;
    if !metadata.is_file() {
        bail!("{shown} isn't a file any more");
    }
    // The file's own folder: a rename over another one wouldn't be one step.
    let folder = file.parent().unwrap_or(top);
    let rewrite = || -> io::Result<bool> {
        let mut fresh = NamedTempFile::with_prefix_in(".weft-", folder)?;
        fresh.write_all(new)?;
        fresh.as_file().set_permissions(metadata.permissions())?;
        fresh.as_file().sync_all()?;
        if fs::read(&file)? != old {
            return Ok(false);
        }
        fresh.persist(&file).map_err(|error| error.error)?;
        Ok(true)
    };
    match rewrite().with_context(failed)? {
        true => Ok(()),
        false => bail!("{shown} has changed since it was read; nothing is written"),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn only_what_was_read_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path();
        let file = top.join("peers/a.yaml");
        fs::create_dir(top.join("peers")).unwrap();
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();

        replace(top, "peers/a.yaml", b"old", b"new").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"new");
        assert_eq!(
            fs::metadata(&file).unwrap().permissions().mode() & 0o777,
            0o640
        );

        let error = replace(top, "peers/a.yaml", b"old", b"newer").unwrap_err();
        assert!(error.to_string().contains("has changed"), "{error}");
        assert_eq!(fs::read(&file).unwrap(), b"new");

        symlink("a.yaml", top.join("peers/link.yaml")).unwrap();
        symlink("peers", top.join("others")).unwrap();
        for link in ["peers/link.yaml", "others/a.yaml"] {
            let error = replace(top, link, b"new", b"newer").unwrap_err();
            assert!(error.to_string().contains("symbolic link"), "{error}");
        }
        assert_eq!(fs::read(&file).unwrap(), b"new");
        assert_eq!(
            fs::read_dir(top.join("peers")).unwrap().count(),
            2,
            "nothing is left"
        );
    }
}
