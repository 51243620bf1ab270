//! The commands of the guide for clusters do what it says, on two real API servers.
//!
//! Pods of the reader's own are played: blocks marked `sh service` start them, blocks marked `sh client`
//! connect from them. All others run as they stand, but for the names of the repository and of a node.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use serde_json::{Value, json};
use weft_tests::binary::{clean, weft};
use weft_tests::cluster::Cluster;
use weft_tests::git_server::GitServer;
use weft_tests::namespace::{OUTSIDE, isolated};
use weft_tests::node::RunningPod;
use weft_tests::process::Process;
use weft_tests::repository::FabricRepository;

/// The repository and the node, as the guide names them.
const REPOSITORY: &str = "https://git.example.com/acme.git";
const NODE: &str = "west.example.com";

/// What runs the blocks.
struct Shell {
    folder: PathBuf,
    kubeconfig: PathBuf,
}

/// A fenced block: what its fence says, and its text.
struct Block {
    fence: String,
    text: String,
}

#[test]
fn the_guide_for_clusters_works() {
    isolated(|| {
        let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/kubernetes.md");
        let guide = fs::read_to_string(guide).unwrap();
        let (west, east) = (Cluster::start(1, "west"), Cluster::start(2, "east"));
        let repository = FabricRepository::new();
        repository.git(&[
            "--git-dir",
            &repository.url(),
            "config",
            "http.receivepack",
            "true",
        ]);
        let server = GitServer::start_at(&repository.bare(), OUTSIDE);
        let mine = |text: &str| {
            text.replace(REPOSITORY, &server.url())
                .replace(NODE, &west.address().to_string())
        };

        let folder = tempfile::tempdir().unwrap();
        let kubeconfig = folder.path().join("kubeconfig");
        fs::write(&kubeconfig, merged(&[&west, &east]).to_string()).unwrap();
        fs::create_dir(folder.path().join("home")).unwrap();
        let shell = Shell {
            folder: folder.path().to_owned(),
            kubeconfig,
        };
        let mut till: Option<Arc<RunningPod>> = None;
        let mut answers = Vec::new();
        let mut told: Vec<String> = Vec::new();
        for block in blocks(&guide) {
            match block.fence.as_str() {
                "sh" => told = shell.run(&mine(&block.text)),
                "output" => {
                    let mut told = told.iter();
                    for wanted in block.text.lines() {
                        let is_told = told.any(|line| line == wanted);
                        assert!(is_told, "the guide promises {wanted:?}");
                    }
                }
                "sh service" => {
                    west.serve_echo("shop");
                    till = Some(east.client("shop", "till", "default"));
                }
                "sh client" => {
                    let till = till.as_ref().unwrap();
                    let is_closed = block.text.contains("closed");
                    match is_closed {
                        true => east.wait_for_cut(till, "hello", 80),
                        false => east.wait_for_answer(till, "hello", 80, "west"),
                    }
                    answers.push(!is_closed);
                }
                _ => {}
            }
        }
        assert_eq!(answers, [true, false, true], "open, closed, open again");
        for cluster in [&west, &east] {
            cluster.wait_for_presence("namespace", "default", "clusterlink-system", false);
            let left = cluster.kubectl(&["get", "customresourcedefinitions", "-o", "name"]);
            assert_eq!(left, "", "definitions are left in {}", cluster.name());
        }
        assert!(east.find("service", "shop", "hello").is_none());
    });
}

// === impl Shell ===

impl Shell {
    /// Runs one block, in the repository as soon as there is one; what it said.
    fn run(&self, script: &str) -> Vec<String> {
        let work = self.folder.join("acme");
        let directory = if work.exists() { &work } else { &self.folder };
        let binaries = weft().parent().unwrap().to_str().unwrap();
        let path = format!("{binaries}:{}", env::var("PATH").unwrap());
        let mut command = Command::new("bash");
        clean(&mut command)
            .args(["-euxo", "pipefail", "-c", script])
            .current_dir(directory)
            .env("PATH", path)
            .env("HOME", self.folder.join("home"))
            .env("KUBECONFIG", &self.kubeconfig)
            .envs([
                ("GIT_AUTHOR_NAME", "Ada"),
                ("GIT_AUTHOR_EMAIL", "ada@example.org"),
                ("GIT_COMMITTER_NAME", "Ada"),
                ("GIT_COMMITTER_EMAIL", "ada@example.org"),
            ]);
        let mut process = Process::start("the guide", &mut command);
        let status = process.wait();
        assert!(status.success(), "{status}: {:#?}", process.lines());
        process.lines()
    }
}

/// One kubeconfig with a context for each cluster, of its name.
fn merged(clusters: &[&Cluster]) -> Value {
    let mut config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [],
        "users": [],
        "contexts": [],
    });
    for cluster in clusters {
        let name = cluster.name();
        let text = fs::read_to_string(cluster.kubeconfig()).unwrap();
        let own: Value = serde_yaml::from_str(&text).unwrap();
        let mut add = |list: &str, entry: Value| {
            config[list].as_array_mut().unwrap().push(entry);
        };
        let (server, user) = (&own["clusters"][0]["cluster"], &own["users"][0]["user"]);
        add("clusters", json!({ "name": name, "cluster": server }));
        add("users", json!({ "name": name, "user": user }));
        let context = json!({ "cluster": name, "user": name });
        add("contexts", json!({ "name": name, "context": context }));
    }
    config
}

/// The fenced blocks of a page, in their order.
fn blocks(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(fence) = line.strip_prefix("```") {
            let block: Vec<_> = lines.by_ref().take_while(|line| *line != "```").collect();
            blocks.push(Block {
                fence: fence.to_owned(),
                text: block.join("\n"),
            });
        }
    }
    blocks
}
