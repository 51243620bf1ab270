//! Runs for the codes that take more than a small mistake in a file: large files, commits, times and
//! certificates of kinds of their own.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use weft_tests::certificates::{Authority, Request};
use weft_tests::repository::git_command;
use weft_tests::yaml;

use super::mistakes;

/// A folder that is checked in a way of its own.
pub(crate) struct Run {
    /// What it is called.
    pub(crate) name: &'static str,
    /// Lays it down.
    pub(crate) write: fn(&Path),
    /// What is said to `weft validate` besides.
    pub(crate) arguments: &'static [&'static str],
    /// Whether the SARIF form is told by a line for each result.
    pub(crate) is_large: bool,
}

/// All of them; together they have every code that there is.
pub(crate) const RUNS: &[Run] = &[
    Run {
        is_large: true,
        ..Run::new("mistakes", mistakes::write)
    },
    Run::new("held", mistakes::write_held),
    Run::new("whole", mistakes::write_whole),
    Run::new("large", large).with(&["--max-documents", "3"]),
    // A million values take two bytes each, at least.
    Run::new("values", values).with(&["--max-file-bytes", "3000000"]),
    Run::new("many", many).with(&["--max-files", "3"]),
    Run::new("nothing", |_| {}),
    Run::new("certificates", certificates),
    Run::new("no_authority", no_authority),
    Run::new("commit", commit).with(&["--rev", "HEAD"]),
    Run::new("disk", names_and_keys),
    Run::new("unknown", unknown),
];

// === impl Run ===

impl Run {
    const fn new(name: &'static str, write: fn(&Path)) -> Self {
        Self {
            name,
            write,
            arguments: &[],
            is_large: false,
        }
    }

    const fn with(self, arguments: &'static [&'static str]) -> Self {
        Self { arguments, ..self }
    }
}

/// Files that are larger than is read, and one of more documents than are.
fn large(folder: &Path) {
    base(folder);
    let comment = format!("# {}\n", "x".repeat(61));
    let comments = comment.repeat((1 << 20) / comment.len() + 1);
    mistakes::write_file(folder, "peers/east/WEFT0010.yaml", comments.as_bytes());
    let documents: String = (0..4)
        .map(|number| {
            let name = format!("export-{number}");
            format!(
                "---\n{}",
                yaml::export("shop", &name, ([127, 0, 0, 1], 9000).into())
            )
        })
        .collect();
    mistakes::write_file(folder, "peers/east/WEFT0012.yaml", documents.as_bytes());
    mistakes::write_file(folder, "notes/WEFT0510.txt", comments.as_bytes());
}

fn values(folder: &Path) {
    base(folder);
    let values = format!("a: [{}0]\n", "0,".repeat(1_000_000));
    mistakes::write_file(folder, "peers/east/WEFT0016.yaml", values.as_bytes());
}

/// More files than are read.
fn many(folder: &Path) {
    base(folder);
    let export = yaml::export("shop", "ledger", ([127, 0, 0, 1], 9000).into());
    mistakes::write_file(folder, "peers/east/ledger.yaml", export.as_bytes());
}

/// One peer that is whole.
fn base(folder: &Path) {
    let authority = Authority::new("fabric");
    write_peers(folder, &[("east", authority.peer("east").certificate)]);
    mistakes::write_file(folder, "ca/fabric.pem", authority.pem().as_bytes());
}

fn write_peers(folder: &Path, peers: &[(&str, String)]) {
    let file = |path: &str, text: &str| mistakes::write_file(folder, path, text.as_bytes());
    file("fabric.yaml", &yaml::fabric());
    for (name, certificate) in peers {
        let peer = yaml::peer(name, ([192, 0, 2, 1], 4443).into());
        file(&format!("peers/{name}/peer.yaml"), &peer);
        file(&format!("peers/{name}/cert.pem"), certificate);
    }
}

/// Certificates that expire soon, may not serve, have a weak key or share theirs.
fn certificates(folder: &Path) {
    let authority = Authority::new("fabric");
    let issue = |request: &Request| authority.issue(request).certificate;
    let shared = authority.peer("w0310-one");
    let other = authority.reissue(&Request::new("w0310-two"), &shared);
    write_peers(
        folder,
        &[
            ("w0305", issue(&Request::new("w0305").until(2026, 6, 9))),
            ("w0308", issue(&Request::new("w0308").for_clients_alone())),
            ("w0310-one", shared.certificate),
            ("w0310-two", other.certificate),
            // An authority of ours doesn't sign such a key.
            (
                "east",
                include_str!("../../../fabric/tests/identity/rsa-1024.pem").to_owned(),
            ),
        ],
    );
    mistakes::write_file(folder, "ca/fabric.pem", authority.pem().as_bytes());
}

fn no_authority(folder: &Path) {
    let authority = Authority::new("fabric");
    write_peers(folder, &[("east", authority.peer("east").certificate)]);
}

/// Names that are no text, and a private key.
fn names_and_keys(folder: &Path) {
    base(folder);
    let unit = folder.join("peers/east");
    fs::write(unit.join(OsStr::from_bytes(b"WEFT0505-\xff.yaml")), "").expect("a file");
    let key = Authority::new("another").peer("east").key;
    mistakes::write_file(folder, "notes/WEFT0501.txt", key.as_bytes());
}

/// The same in a commit, with what only a commit holds.
fn commit(folder: &Path) {
    names_and_keys(folder);
    let git = |arguments: &[&str]| {
        let output = git_command(folder).args(arguments).output().expect("git");
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    };
    git(&["init", "--quiet", "--initial-branch", "main"]);
    git(&["add", "--all"]);
    let submodule = format!("160000,{},peers/east/WEFT0503", "1".repeat(40));
    git(&["update-index", "--add", "--cacheinfo", &submodule]);
    git(&["commit", "--quiet", "--message", "What only commits hold"]);
}

/// An invariant about what stands in a unit that can't be understood.
fn unknown(folder: &Path) {
    base(folder);
    mistakes::write_file(folder, "peers/west/peer.yaml", b"kind: [\n");
    mistakes::write_file(
        folder,
        "invariants/WEFT0602.yaml",
        b"apiVersion: weft.dev/v1alpha1\nkind: Invariant\nmetadata: {name: w0602}\nspec:\n  rule: always\n  from: [{workloadSelector: {}}]\n  to: [{workloadSelector: {matchLabels: {export.clusterlink.net/name: ledger}}}]\n",
    );
}
