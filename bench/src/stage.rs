//! What the pairs stand on: a folder, the `weft` binary, a fabric repository, and the certificates
//! that all of them use.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::process::{clean, run};

/// The fabric's name.
const FABRIC: &str = "bench";

/// The peer whose clients use what the other exports.
pub const IMPORTER: &str = "east";

/// The peer that exports.
pub const EXPORTER: &str = "west";

/// A fabric repository with a CA and the certificates of two peers, made by `weft` itself.
#[derive(Clone, Debug)]
pub struct Stage {
    folder: PathBuf,
    weft: PathBuf,
    envoy: Option<PathBuf>,
}

// === impl Stage ===

impl Stage {
    /// Lays down repository and certificates in a folder that is there.
    pub fn new(weft: &Path, folder: &Path) -> Result<Self> {
        let stage = Self {
            folder: folder.to_owned(),
            weft: weft.to_owned(),
            envoy: None,
        };
        fs::create_dir_all(folder.join("keys"))
            .with_context(|| format!("creating {}", folder.display()))?;
        let place = ["--path", "keys", "--fabric-repo", "fabric"];
        stage.weft(&["init", "fabric", "--name", FABRIC])?;
        stage.weft(&[&["create", "fabric", "--name", FABRIC], &place[..]].concat())?;
        for peer in [IMPORTER, EXPORTER] {
            let create = ["create", "peer-cert", "--name", peer, "--fabric", FABRIC];
            stage.weft(&[&create, &place[..]].concat())?;
        }
        Ok(stage)
    }

    /// The folder in which everything lies.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The `weft` binary.
    #[must_use]
    pub fn binary(&self) -> &Path {
        &self.weft
    }

    /// Says where Envoy is.
    #[must_use]
    pub fn with_envoy(self, envoy: Option<PathBuf>) -> Self {
        Self { envoy, ..self }
    }

    /// Envoy's binary.
    pub fn envoy(&self) -> Result<&Path> {
        let envoy = self.envoy.as_deref();
        envoy.context("it isn't installed; bench/install does that")
    }

    /// The working tree of the repository.
    #[must_use]
    pub fn repository(&self) -> PathBuf {
        self.folder.join("fabric")
    }

    /// The certificate of the fabric's CA.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        self.folder.join("keys").join(FABRIC).join("cert.pem")
    }

    /// The certificate of a peer.
    #[must_use]
    pub fn certificate(&self, peer: &str) -> PathBuf {
        self.keys(peer).join("cert.pem")
    }

    /// The key of a peer's certificate.
    #[must_use]
    pub fn key(&self, peer: &str) -> PathBuf {
        self.keys(peer).join("key.pem")
    }

    /// Writes a file of the working tree.
    pub fn write(&self, path: &str, text: &str) -> Result<()> {
        let path = self.repository().join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).with_context(|| format!("creating {}", parent.display()))?;
        }
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
    }

    /// Commits the whole working tree; the commit's name.
    pub fn commit(&self, message: &str) -> Result<String> {
        let commit = self.prepare(message)?;
        self.publish(&commit)?;
        Ok(commit)
    }

    /// Makes a commit of the whole working tree that no branch holds yet; its name.
    pub fn prepare(&self, message: &str) -> Result<String> {
        self.git(&["add", "--all"])?;
        let tree = self.git(&["write-tree"])?;
        let author = [
            "-c",
            "user.name=Weft bench",
            "-c",
            "user.email=bench@weft.invalid",
        ];
        let commit = ["commit-tree", tree.trim(), "-p", "HEAD", "-m", message];
        Ok(self
            .git(&[&author[..], &commit].concat())?
            .trim()
            .to_owned())
    }

    /// Moves the branch to a commit.
    pub fn publish(&self, commit: &str) -> Result<()> {
        self.git(&["update-ref", "refs/heads/main", commit])?;
        Ok(())
    }

    fn keys(&self, peer: &str) -> PathBuf {
        self.folder.join("keys").join(FABRIC).join(peer)
    }

    fn weft(&self, arguments: &[&str]) -> Result<String> {
        run(clean(&self.weft).args(arguments).current_dir(&self.folder))
    }

    fn git(&self, arguments: &[&str]) -> Result<String> {
        run(clean("git").args(arguments).current_dir(self.repository()))
    }
}
