//! `weft validate` over what people, and those who mean harm, put into a repository.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says what it measured"
)]

use std::fmt::Write;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::process::Output;
use std::time::Instant;

use tempfile::TempDir;
use weft_tests::binary;
use weft_tests::certificates::Authority;
use weft_tests::generator::generate;
use weft_tests::repository::FabricRepository;
use weft_tests::yaml;

/// As ClusterLink's guide prints it.
const CLUSTERLINK_PEER: &str = "\
apiVersion: clusterlink.net/v1alpha1
kind: Peer
metadata:
  name: cluster17.us-east
  namespace: clusterlink-system
spec:
  gateways:
    - host: \"192.168.0.12\"
      port: 443
    - host: \"192.168.0.17\"
      port: 443
";

#[test]
fn clusterlinks_peer_passes_unchanged() {
    let fabric = Fabric::new();
    fabric.write("peers/cluster17.us-east/peer.yaml", CLUSTERLINK_PEER);
    let certificate = fabric.authority.peer("cluster17.us-east").certificate;
    fabric.write("peers/cluster17.us-east/cert.pem", &certificate);
    let output = fabric.validate();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(!text(&output).contains("WEFT"), "{output:?}");
}

#[test]
fn every_mistake_of_a_repository_is_told_at_once() {
    let fabric = Fabric::new();
    fabric.write(
        "peers/east/peer.yaml",
        &peer("east").replace("port", "prot"),
    );
    fabric.write(
        "peers/west/peer.yaml",
        &peer("west").replace("4443", "70000"),
    );
    let import = yaml::import("shop", "ledger", 7000, "nobody");
    fabric.write("peers/north/peer.yaml", &peer("north"));
    fabric.write("peers/north/import.yaml", &import);
    let output = fabric.validate();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let told = text(&output);
    for (code, place) in [
        ("WEFT0104", "peers/east/peer.yaml:11:5"),
        ("WEFT0107", "peers/west/peer.yaml:11:11"),
        ("WEFT0204", "peers/north/import.yaml:10:11"),
    ] {
        assert!(told.contains(code), "no {code} in:\n{told}");
        assert!(told.contains(place), "no {place} in:\n{told}");
    }
}

#[test]
fn a_yaml_bomb() {
    let fabric = Fabric::new();
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..30 {
        let alias = format!("*a{}, ", level - 1).repeat(10);
        writeln!(bomb, "a{level}: &a{level} [{alias}]").unwrap();
    }
    fabric.write("peers/east/peer.yaml", &bomb);
    fabric.refuses("WEFT0005", "peers/east/peer.yaml");
}

#[test]
fn a_file_of_a_hundred_megabytes() {
    let fabric = Fabric::new();
    fabric.write("peers/east/peer.yaml", &peer("east"));
    let path = fabric.folder.path().join("peers/east/large.yaml");
    // Sparse: the length counts, not the disk.
    File::create(path).unwrap().set_len(100_000_000).unwrap();
    fabric.refuses("WEFT0010", "peers/east/large.yaml");
}

#[test]
fn a_symlink_out_of_the_repository() {
    let fabric = Fabric::new();
    fabric.write("peers/east/peer.yaml", &peer("east"));
    let link = fabric.folder.path().join("peers/east/passwd.yaml");
    symlink("/etc/passwd", link).unwrap();
    let told = fabric.refuses("WEFT0502", "peers/east/passwd.yaml");
    assert!(!told.contains("root:"), "it was followed:\n{told}");
}

#[test]
fn ten_thousand_levels_of_nesting() {
    let fabric = Fabric::new();
    let (open, close) = ("[".repeat(10_000), "]".repeat(10_000));
    fabric.write("peers/east/flow.yaml", &format!("a: {open}{close}\n"));
    fabric.refuses("WEFT0011", "peers/east/flow.yaml");

    let fabric = Fabric::new();
    let mut block = String::new();
    for level in 0..1_000 {
        writeln!(block, "{}a:", " ".repeat(level)).unwrap();
    }
    fabric.write("peers/east/block.yaml", &block);
    fabric.refuses("WEFT0011", "peers/east/block.yaml");

    let fabric = Fabric::new();
    let items = "- ".repeat(10_000);
    fabric.write("peers/east/items.yaml", &format!("{items}a\n"));
    fabric.refuses("WEFT0011", "peers/east/items.yaml");
}

#[test]
fn a_private_key_anywhere() {
    let fabric = Fabric::new();
    fabric.write("notes/old/key.txt", &fabric.authority.peer("east").key);
    let told = fabric.refuses("WEFT0501", "notes/old/key.txt");
    assert!(!told.contains("BEGIN"), "the key is shown:\n{told}");
}

#[test]
fn a_commit_is_judged_as_its_working_tree() {
    let repository = FabricRepository::new();
    generate(&repository.work(), 100).unwrap();
    repository.write("peers/peer-00000/broken.yaml", "a: [\n");
    repository.commit("A fabric with a mistake");
    let of_tree = binary::run(&repository.work(), &["validate", "-o", "json"]);
    // What stands in no commit doesn't count for one.
    repository.remove("peers/peer-00000/broken.yaml");
    let arguments = ["validate", "--rev", "HEAD", "-o", "json"];
    let of_commit = binary::run(&repository.work(), &arguments);
    assert_eq!(of_tree.status.code(), Some(1), "{of_tree:?}");
    assert_eq!(of_commit.status.code(), Some(1), "{of_commit:?}");
    let diagnostics = |output: &Output| -> serde_json::Value {
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(!report["diagnostics"].as_array().unwrap().is_empty());
        report["diagnostics"].clone()
    };
    assert_eq!(diagnostics(&of_tree), diagnostics(&of_commit));
}

#[test]
fn a_generated_fabric_is_good() {
    let folder = tempfile::tempdir().unwrap();
    generate(folder.path(), 500).unwrap();
    let output = binary::run(folder.path(), &["validate"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

/// A fabric without a peer.
struct Fabric {
    folder: TempDir,
    authority: Authority,
}

// === impl Fabric ===

impl Fabric {
    fn new() -> Self {
        let fabric = Self {
            folder: tempfile::tempdir().unwrap(),
            authority: Authority::new("fabric"),
        };
        fabric.write("fabric.yaml", &yaml::fabric());
        fabric.write("ca/fabric.pem", fabric.authority.pem());
        fabric
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn validate(&self) -> Output {
        binary::run(self.folder.path(), &["validate"])
    }

    /// Checks that the fabric is refused for a reason at a place; returns what was told.
    fn refuses(&self, code: &str, path: &str) -> String {
        let start = Instant::now();
        let output = self.validate();
        eprintln!("{code} {path}: {:?}", start.elapsed());
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let told = text(&output);
        assert!(told.contains(code), "no {code} in:\n{told}");
        assert!(told.contains(path), "no {path} in:\n{told}");
        told
    }
}

fn peer(name: &str) -> String {
    yaml::peer(name, ([192, 0, 2, 1], 4443).into())
}

fn text(output: &Output) -> String {
    let both = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    String::from_utf8(both).unwrap()
}
