//! A home of its own for the binary, and what a fabric needs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// A temporary directory that is the binary's whole world.
pub(crate) struct Sandbox {
    directory: TempDir,
}

/// What a run of the binary came to.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Sandbox {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("home")).unwrap();
        Self { directory }
    }

    /// A place in the sandbox.
    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        // The temporary directory may be reached by a link.
        self.directory.path().canonicalize().unwrap().join(relative)
    }

    /// The command, to be run in a directory of the sandbox.
    pub(crate) fn command(&self, directory: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_weft"));
        command
            .args(arguments)
            .current_dir(self.path(directory))
            .env_clear()
            .env("HOME", self.path("home"))
            .env("COLUMNS", "100")
            .stdin(Stdio::null());
        command
    }

    /// Runs the binary to its end.
    pub(crate) fn weft(&self, directory: &str, arguments: &[&str]) -> Outcome {
        let output = self.command(directory, arguments).output().unwrap();
        let text = |bytes| {
            let text = String::from_utf8(bytes).unwrap();
            text.replace(self.path("").to_str().unwrap(), "/sandbox/")
        };
        Outcome {
            code: output.status.code().unwrap(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }

    /// Runs the binary, which has to succeed.
    pub(crate) fn ok(&self, directory: &str, arguments: &[&str]) -> Outcome {
        let outcome = self.weft(directory, arguments);
        assert_eq!(outcome.code, 0, "{arguments:?}: {outcome:#?}");
        outcome
    }

    /// Writes a file, and the directories above it.
    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Reads a file.
    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap()
    }

    /// Every file below a directory, except Git's.
    pub(crate) fn files(&self, directory: &str) -> Vec<PathBuf> {
        let mut files = Vec::new();
        collect(&self.path(directory), &mut files);
        files.sort();
        files
    }

    /// Commits everything in a repository, at a time of its own; the commit's id.
    pub(crate) fn commit(&self, directory: &str, message: &str) -> String {
        let repository = git2::Repository::open(self.path(directory)).unwrap();
        let mut index = repository.index().unwrap();
        index
            .add_all(["*"], git2::IndexAddOption::DEFAULT, None)
            .unwrap();
        index.update_all(["*"], None).unwrap();
        index.write().unwrap();
        let tree = repository.find_tree(index.write_tree().unwrap()).unwrap();
        let time = git2::Time::new(1_767_225_600, 0);
        let author = git2::Signature::new("Ada", "ada@example.com", &time).unwrap();
        let parent = repository.head().unwrap().peel_to_commit().unwrap();
        let id = repository
            .commit(Some("HEAD"), &author, &author, message, &tree, &[&parent])
            .unwrap();
        id.to_string()
    }

    /// Lays down the fabric `acme` with the peers east and west: east exports shop/ledger, west
    /// imports it, and the tills of west's shop may reach it.
    pub(crate) fn fabric(&self) {
        self.ok("", &["init", "acme"]);
        self.ok("acme", &["create", "fabric"]);
        for peer in ["east", "west"] {
            self.ok("acme", &["create", "peer-cert", "--name", peer]);
            self.write(
                &format!("acme/peers/{peer}/peer.yaml"),
                &PEER.replace("NAME", peer),
            );
        }
        self.write("acme/peers/east/exports.yaml", EXPORT);
        self.write("acme/peers/east/access.yaml", EAST_POLICY);
        self.write("acme/peers/west/imports.yaml", IMPORT);
        self.write("acme/peers/west/access.yaml", WEST_POLICY);
        self.commit("acme", "Add two peers");
    }

    /// Replaces text in a file, which has to be there.
    pub(crate) fn edit(&self, path: &str, old: &str, new: &str) {
        let text = self.read(path);
        assert!(text.contains(old), "{old:?} isn't in {path}");
        self.write(path, &text.replace(old, new));
    }
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name() == ".git" {
            continue;
        }
        match entry.file_type().unwrap().is_dir() {
            true => collect(&entry.path(), files),
            false => files.push(entry.path()),
        }
    }
}

const PEER: &str = "\
apiVersion: clusterlink.net/v1alpha1
kind: Peer
metadata:
  name: NAME
  labels:
    region: eu
spec:
  gateways:
  - host: NAME.example.com
    port: 4443
";

const EXPORT: &str = "\
apiVersion: clusterlink.net/v1alpha1
kind: Export
metadata:
  name: ledger
  namespace: shop
spec:
  host: ledger.shop.internal
  port: 8080
";

const EAST_POLICY: &str = "\
apiVersion: clusterlink.net/v1alpha1
kind: AccessPolicy
metadata:
  name: west-reaches-ledger
  namespace: shop
spec:
  action: allow
  from:
  - workloadSelector:
      matchLabels:
        peer.clusterlink.net/name: west
  to:
  - workloadSelector: {}
";

const IMPORT: &str = "\
apiVersion: clusterlink.net/v1alpha1
kind: Import
metadata:
  name: ledger
  namespace: shop
spec:
  port: 8080
  sources:
  - peer: east
    exportName: ledger
    exportNamespace: shop
";

const WEST_POLICY: &str = "\
apiVersion: clusterlink.net/v1alpha1
kind: AccessPolicy
metadata:
  name: tills-reach-ledger
  namespace: shop
spec:
  action: allow
  from:
  - workloadSelector:
      matchLabels:
        client.clusterlink.net/namespace: shop
        client.clusterlink.net/labels.app: till
  to:
  - workloadSelector:
      matchLabels:
        export.clusterlink.net/name: ledger
";
