//! A fabric repository: a working copy and the bare repository that peers fetch from.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::binary::clean;

/// A fabric repository; written with the real `git`, as its users do.
#[derive(Debug)]
pub struct FabricRepository {
    folder: TempDir,
}

// === impl FabricRepository ===

impl FabricRepository {
    /// An empty repository.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let repository = Self { folder };
        fs::create_dir(repository.work()).expect("the folder is ours");
        let bare = repository.bare();
        repository.git(&["init", "--quiet", "--initial-branch", "main"]);
        let bare = bare.to_str().expect("the path is UTF-8");
        repository.git(&["init", "--quiet", "--bare", "--initial-branch=main", bare]);
        repository.git(&["remote", "add", "origin", bare]);
        repository
    }

    /// The working copy.
    pub fn work(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    /// The bare repository that every commit is pushed to.
    pub fn bare(&self) -> PathBuf {
        self.folder.path().join("fabric.git")
    }

    /// The bare repository as peers are told of it.
    pub fn url(&self) -> String {
        self.bare().to_str().expect("the path is UTF-8").to_owned()
    }

    /// Writes a file into the working copy.
    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.work().join(path);
        let parent = path.parent().expect("a file has a folder");
        fs::create_dir_all(parent).expect("the folder is ours");
        fs::write(&path, content).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    /// Removes a file or a folder from the working copy.
    pub fn remove(&self, path: &str) {
        let path = self.work().join(path);
        let removed = match path.is_dir() {
            true => fs::remove_dir_all(&path),
            false => fs::remove_file(&path),
        };
        removed.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    /// Commits everything that changed and pushes it; returns the commit's id.
    pub fn commit(&self, message: &str) -> String {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message", message]);
        self.push()
    }

    /// Commits the opposite of the last commit and pushes it; returns the commit's id.
    pub fn revert(&self) -> String {
        self.git(&["revert", "--no-edit", "HEAD"]);
        self.push()
    }

    /// The id of the last commit.
    pub fn head(&self) -> String {
        self.git(&["rev-parse", "HEAD"]).trim().to_owned()
    }

    /// Runs git in the working copy and returns what it wrote.
    pub fn git(&self, arguments: &[&str]) -> String {
        let output = git_command(&self.work())
            .args(arguments)
            .output()
            .expect("git is installed");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "git {arguments:?}: {said}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn push(&self) -> String {
        self.git(&["push", "--quiet", "origin", "main"]);
        self.head()
    }
}

impl Default for FabricRepository {
    fn default() -> Self {
        Self::new()
    }
}

/// Git without the user's settings.
pub fn git_command(directory: &Path) -> Command {
    let mut command = Command::new("git");
    clean(&mut command)
        .current_dir(directory)
        .env("GIT_AUTHOR_NAME", "Ada")
        .env("GIT_AUTHOR_EMAIL", "ada@example.org")
        .env("GIT_COMMITTER_NAME", "Ada")
        .env("GIT_COMMITTER_EMAIL", "ada@example.org");
    command
}
