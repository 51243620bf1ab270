//! The fabric repository that a command works on.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use anyhow::Context as _;
use fabric::api::{FabricSpec, Object};
use fabric::document;
use fabric::tree::Blob;

/// The top directory of a fabric repository: where `fabric.yaml` stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FabricDirectory {
    path: PathBuf,
}

/// What `fabric.yaml` says, as far as it can be read.
#[derive(Clone, Debug, Default)]
pub(crate) struct FabricFile {
    /// The fabric's name.
    pub(crate) name: Option<String>,
    /// Its defaults.
    pub(crate) spec: FabricSpec,
}

// === impl FabricDirectory ===

impl FabricDirectory {
    /// The fabric repository that a path lies in, whether the path exists already or not.
    ///
    /// Links are resolved first: what counts is where the bytes go.
    pub(crate) fn around(path: &Path) -> anyhow::Result<Option<Self>> {
        let path = resolve(path).with_context(|| format!("cannot look at {}", path.display()))?;
        let holds_fabric = |directory: &&Path| directory.join("fabric.yaml").is_file();
        let tops = || path.ancestors().filter(holds_fabric);
        // Deeper ones may be somebody's copies; without Git's word the nearest one will do.
        let top = tops()
            .find(|directory| directory.join(".git").exists())
            .or_else(|| tops().next());
        Ok(top.map(|top| Self {
            path: top.to_owned(),
        }))
    }

    /// The fabric repository whose top a path is.
    pub(crate) fn at(path: &Path) -> anyhow::Result<Self> {
        let found = Self::around(path)?;
        found.with_context(|| {
            format!(
                "{} isn't a fabric repository: no fabric.yaml stands there",
                path.display()
            )
        })
    }

    /// The top directory.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads `fabric.yaml`; what can't be understood there is for `weft validate` to tell.
    pub(crate) fn read(&self) -> anyhow::Result<FabricFile> {
        let path = self.path.join("fabric.yaml");
        let limits = document::Limits::default();
        let failed = || format!("cannot read {}", path.display());
        let size = fs::metadata(&path).with_context(failed)?.len();
        if size > limits.file_bytes {
            return Ok(FabricFile::default());
        }
        let blob = Blob::new(fs::read(&path).with_context(failed)?, limits);
        let fabrics = blob.resources().resources.iter();
        let mut fabric = fabrics.filter_map(|resource| match &resource.object {
            Object::Fabric(fabric) => Some(FabricFile {
                name: Some(fabric.metadata.name.clone()),
                spec: fabric.spec.clone(),
            }),
            _ => None,
        });
        Ok(fabric.next().unwrap_or_default())
    }
}

/// The path without links and without `.` and `..`, though its last parts needn't exist yet.
pub(crate) fn resolve(path: &Path) -> io::Result<PathBuf> {
    let mut resolved = match path.is_absolute() {
        true => PathBuf::new(),
        false => std::env::current_dir()?,
    };
    for part in path.components() {
        match part {
            Component::ParentDir => {
                resolved.pop();
            }
            Component::CurDir => {}
            part => resolved.push(part),
        }
        match resolved.canonicalize() {
            Ok(canonical) => resolved = canonical,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(resolved)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_into_a_repository_are_seen_through() {
        let outside = tempfile::tempdir().unwrap();
        let top = outside.path().join("fabric");
        fs::create_dir_all(top.join("peers")).unwrap();
        fs::write(top.join("fabric.yaml"), "").unwrap();
        std::os::unix::fs::symlink(top.join("peers"), outside.path().join("link")).unwrap();

        let around = |path: &str| {
            let found = FabricDirectory::around(&outside.path().join(path)).unwrap();
            found.map(|found| found.path)
        };
        let top = Some(top.canonicalize().unwrap());
        assert_eq!(around("fabric"), top);
        assert_eq!(around("fabric/keys/east"), top);
        assert_eq!(around("link/new/east"), top);
        assert_eq!(around("other/../link/.."), top);
        assert_eq!(around("keys"), None);
        assert_eq!(around("fabric/../keys"), None);
    }
}
