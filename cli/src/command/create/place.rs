//! Where certificates and keys go.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use crate::failure::Hint as _;
use crate::repository::{FabricDirectory, FabricFile, resolve};

/// ClusterLink's name for a fabric that nobody named.
const DEFAULT_FABRIC: &str = "default_fabric";

/// The options that say where.
#[derive(Debug, clap::Args)]
pub(super) struct PlaceArgs {
    /// The folder that holds the fabric's folder
    ///
    /// Where it lies in a fabric repository (one with a fabric.yaml), public certificates go to
    /// their place in that repository, and the folder with the keys is `$XDG_CONFIG_HOME/weft`
    /// instead (`~/.config/weft` where that isn't set): private keys never go into a repository.
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    path: PathBuf,

    /// The folder that gets cert.pem and key.pem, instead of the one below --path
    #[arg(long, value_name = "FOLDER")]
    output: Option<PathBuf>,

    /// The fabric repository whose place gets the public certificate
    ///
    /// Needed only where --path doesn't lie in it.
    #[arg(long, value_name = "FOLDER")]
    fabric_repo: Option<PathBuf>,
}

/// Where certificates and keys go.
#[derive(Debug)]
pub(super) struct Place {
    /// The fabric's name.
    pub(super) fabric: String,
    /// The folder of the CA's certificate and key.
    pub(super) authority: PathBuf,
    /// The repository that gets the public certificates.
    pub(super) repository: Option<FabricDirectory>,
    /// What the repository's fabric.yaml says.
    pub(super) file: FabricFile,
    output: Option<PathBuf>,
}

// === impl PlaceArgs ===

impl PlaceArgs {
    /// What `--path` alone says.
    pub(super) const fn at(path: PathBuf) -> Self {
        Self {
            path,
            output: None,
            fabric_repo: None,
        }
    }

    /// Decides where things go; `name` is the fabric's name where it was given.
    pub(super) fn decide(&self, name: Option<&str>) -> anyhow::Result<Place> {
        let around = FabricDirectory::around(&self.path)?;
        let repository = match &self.fabric_repo {
            Some(path) => Some(FabricDirectory::at(path)?),
            None => around.clone(),
        };
        let file = match &repository {
            Some(repository) => repository.read()?,
            None => FabricFile::default(),
        };
        let fabric = match (name, &file.name) {
            (Some(name), _) => name.to_owned(),
            (None, Some(name)) => super::fabric_name(name)
                .map_err(anyhow::Error::msg)
                .with_context(|| format!("the fabric's name {name:?} can't name a file"))?,
            (None, None) => DEFAULT_FABRIC.to_owned(),
        };
        let base = match around {
            Some(_) => configuration()?.join("weft"),
            None => self.path.clone(),
        };
        Ok(Place {
            authority: base.join(&fabric),
            fabric,
            repository,
            file,
            output: self.output.clone(),
        })
    }
}

// === impl Place ===

impl Place {
    /// The folder for a certificate and its key: `--output`, or else the usual one.
    pub(super) fn folder(&self, usual: &Path) -> anyhow::Result<PathBuf> {
        let folder = self.output.as_deref().unwrap_or(usual);
        if let Some(repository) = FabricDirectory::around(folder)? {
            let failed: anyhow::Result<()> = Err(anyhow::anyhow!(
                "{} lies in the fabric repository {}, and private keys never go into one",
                folder.display(),
                repository.path().display()
            ));
            let top = repository.path().display().to_string();
            failed.hint(|| {
                format!(
                    "with `--path {top}` the public certificate goes into the repository, and the \
                     key elsewhere"
                )
            })?;
        }
        resolve(folder).with_context(|| format!("cannot look at {}", folder.display()))
    }
}

/// The folder for a user's own configuration.
fn configuration() -> anyhow::Result<PathBuf> {
    let variable = |name| std::env::var_os(name).map(PathBuf::from);
    // The specification of these folders wants a relative one ignored.
    if let Some(path) = variable("XDG_CONFIG_HOME").filter(|path| path.is_absolute()) {
        return Ok(path);
    }
    match variable("HOME").filter(|path| path.is_absolute()) {
        Some(home) => Ok(home.join(".config")),
        None => {
            let failed: anyhow::Result<PathBuf> = (|| {
                bail!(
                    "there is no place for the private key: neither XDG_CONFIG_HOME nor HOME is set"
                )
            })();
            failed.hint(|| {
                "give one outside of the repository with --path, and the repository with \
                 --fabric-repo"
                    .to_owned()
            })
        }
    }
}
