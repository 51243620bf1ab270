//! Reading commits and directories that somebody prepared with care, or with malice.

use std::fs;
use std::process::Command;
use std::sync::Arc;

use fabric::diagnostic::Code;
use fabric::tree::{Limits, Tree};
use reconciler::git::{BlobCache, Error, Repository, working_tree};

use crate::origin::{Origin, oid};

const BLOB: i32 = 0o100_644;
const DIRECTORY: i32 = 0o040_000;

fn codes(tree: &Tree) -> Vec<(Code, String)> {
    let mut codes: Vec<_> = tree
        .diagnostics()
        .iter()
        .map(|diagnostic| (diagnostic.code, diagnostic.path().to_owned()))
        .collect();
    codes.sort_by(|a, b| a.1.cmp(&b.1));
    codes
}

fn paths(tree: &Tree) -> Vec<String> {
    tree.files().map(|(path, _)| path.to_string()).collect()
}

/// Reads the tree of a commit made of these entries at the top.
#[expect(
    clippy::unwrap_in_result,
    reason = "only the reading itself is what may fail"
)]
fn read(origin: &Origin, root: git2::Oid) -> Result<Tree, Error> {
    let commit = origin.commit_tree(root, None);
    let repository = Repository::discover(&origin.path()).unwrap();
    repository.tree(commit, &Limits::default(), &mut BlobCache::new())
}

#[test]
fn a_commit_says_who_when_and_what() {
    let origin = Origin::new();
    let first = origin.commit(&[("fabric.yaml", "a: 1\n")]);
    let second = origin.commit(&[("fabric.yaml", "a: 2\n")]);
    let repository = Repository::discover(&origin.path()).unwrap();
    let commit = repository.resolve("main~1").unwrap();
    assert_eq!(commit.id, first);
    assert_eq!(commit.author, "Ada <ada@weft.example>");
    assert_eq!(commit.subject, "change");
    assert_eq!(commit.time.to_string(), "2023-11-14T22:13:20Z");
    assert_eq!(repository.resolve(&second.to_string()).unwrap().id, second);
    for absent in ["absent", "--output=x", "", "main:fabric.yaml", "HEAD~7"] {
        assert!(repository.resolve(absent).is_err(), "{absent}");
    }
}

#[test]
fn equal_blobs_are_read_once_over_all_commits() {
    let origin = Origin::new();
    let first = origin.commit(&[("fabric.yaml", "a: 1\n"), ("policies/a.yaml", "a: 1\n")]);
    let second = origin.commit(&[("policies/b.yaml", "b: 1\n"), ("README", "c\n")]);
    let repository = Repository::discover(&origin.path()).unwrap();
    let (limits, mut cache) = (Limits::default(), BlobCache::new());
    let one = repository.tree(first, &limits, &mut cache).unwrap();
    let two = repository.tree(second, &limits, &mut cache).unwrap();
    let file = |tree: &Tree, path: &str| Arc::clone(tree.file(path).unwrap());
    assert!(Arc::ptr_eq(
        &file(&one, "fabric.yaml"),
        &file(&two, "policies/a.yaml")
    ));
    assert_eq!(cache.len(), 3);
    // All were used by a tree since the last sweep.
    cache.sweep();
    assert_eq!(cache.len(), 3);
    repository.tree(first, &limits, &mut cache).unwrap();
    cache.sweep();
    assert_eq!(cache.len(), 1);
}

#[test]
fn entries_that_are_no_files_are_told_and_never_followed() {
    let origin = Origin::new();
    let blob = origin.repository.blob(b"/etc/passwd").unwrap();
    let inner = origin.raw_tree(&[
        ("a.yaml", blob, 0o120_000),
        ("b.yaml", blob, 0o160_000),
        ("c.yaml", blob, 0o100_664),
        ("d\n\u{1b}[31m.yaml", blob, 0o100_755),
    ]);
    let policies = origin.raw_tree(&[("x", inner, DIRECTORY)]);
    let root = origin.raw_tree(&[
        ("elsewhere", blob, 0o120_000),
        ("policies", policies, DIRECTORY),
    ]);
    let tree = read(&origin, root).unwrap();
    assert_eq!(
        codes(&tree),
        [
            (Code::Symlink, "policies/x/a.yaml".to_owned()),
            (Code::Submodule, "policies/x/b.yaml".to_owned()),
        ]
    );
    assert_eq!(
        paths(&tree),
        ["policies/x/c.yaml", "policies/x/d\n\u{1b}[31m.yaml"]
    );
}

#[test]
fn names_that_git_would_never_write_refuse_the_commit() {
    let origin = Origin::new();
    let blob = origin.repository.blob(b"a: 1\n").unwrap();
    for name in ["..", ".", ".git", ".GIT", "peers/x/peer.yaml"] {
        let root = origin.raw_tree(&[(name, blob, BLOB)]);
        let result = read(&origin, root);
        assert!(
            matches!(result, Err(Error::Malformed { .. })),
            "{name}: {result:?}"
        );
    }
    // A directory that is a file, and a file that is a directory.
    let root = origin.raw_tree(&[("policies", blob, DIRECTORY)]);
    assert!(matches!(read(&origin, root), Err(Error::Read { .. })));
    let empty = origin.raw_tree(&[]);
    let root = origin.raw_tree(&[("fabric.yaml", empty, BLOB)]);
    assert!(matches!(read(&origin, root), Err(Error::Malformed { .. })));
    let absent = git2::Oid::from_str("1234567890123456789012345678901234567890").unwrap();
    let root = origin.raw_tree(&[("fabric.yaml", absent, BLOB)]);
    assert!(matches!(read(&origin, root), Err(Error::Read { .. })));
}

#[test]
fn a_deep_tree_and_a_huge_file_are_diagnostics() {
    let origin = Origin::new();
    let blob = origin.repository.blob(b"a: 1\n").unwrap();
    let mut tree = origin.raw_tree(&[("a.yaml", blob, BLOB)]);
    for _ in 0..300 {
        tree = origin.raw_tree(&[("d", tree, DIRECTORY)]);
    }
    let huge = origin.repository.blob(&vec![b'#'; 3 << 20]).unwrap();
    let policies = origin.raw_tree(&[("d", tree, DIRECTORY), ("huge.yaml", huge, BLOB)]);
    let root = origin.raw_tree(&[("policies", policies, DIRECTORY)]);
    let tree = read(&origin, root).unwrap();
    let deep = format!("policies{}", "/d".repeat(33));
    assert_eq!(
        codes(&tree),
        [
            (Code::PathTooDeep, deep),
            (Code::FileTooLarge, "policies/huge.yaml".to_owned()),
        ]
    );
    assert!(paths(&tree).is_empty());
}

#[test]
fn a_small_tree_of_countless_entries_is_refused_quickly() {
    let origin = Origin::new();
    let mut tree = origin.raw_tree(&[]);
    for _ in 0..20 {
        let entries: Vec<_> = (0..20)
            .map(|i| (format!("d{i:02}"), tree, DIRECTORY))
            .collect();
        let entries: Vec<_> = entries
            .iter()
            .map(|(n, t, m)| (n.as_str(), *t, *m))
            .collect();
        tree = origin.raw_tree(&entries);
    }
    assert!(matches!(
        read(&origin, tree),
        Err(Error::TooManyEntries { .. })
    ));
}

#[test]
fn a_commit_and_its_working_tree_read_alike() {
    let origin = Origin::new();
    let commit = origin.commit(&[
        ("fabric.yaml", "a: 1\n"),
        ("peers/x/peer.yaml", "b: 1\n"),
        ("policies/deep/er/p.yaml", "c: 1\n"),
    ]);
    let directory = tempfile::tempdir().unwrap();
    let path = origin.path();
    let clone = git2::Repository::clone(path.to_str().unwrap(), directory.path()).unwrap();
    assert_eq!(clone.head().unwrap().target().unwrap(), oid(commit));
    let repository = Repository::discover(directory.path()).unwrap();
    let limits = Limits::default();
    let at = repository
        .tree(commit, &limits, &mut BlobCache::new())
        .unwrap();
    let on_disk = working_tree(directory.path(), &limits).unwrap();
    assert_eq!(paths(&at), paths(&on_disk));
    for (path, blob) in at.files() {
        assert_eq!(blob.bytes(), on_disk.file(path).unwrap().bytes());
    }
}

#[test]
fn a_working_tree_is_what_git_would_commit() {
    let directory = tempfile::tempdir().unwrap();
    let repository = git2::Repository::init(directory.path()).unwrap();
    let write = |path: &str, content: &str| {
        let path = directory.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    };
    write(".gitignore", "ignored*\n/build/\n");
    write("fabric.yaml", "a: 1\n");
    write("policies/untracked.yaml", "a: 1\n");
    write("policies/ignored.yaml", "a: 1\n");
    write("policies/ignored-but-tracked.yaml", "a: 1\n");
    write("build/policies/a.yaml", "a: 1\n");
    write("policies/build/a.yaml", "a: 1\n");
    write("peers/x/.git/HEAD", "another repository\n");
    write("peers/x/peer.yaml", "a: 1\n");
    let mut index = repository.index().unwrap();
    let path = std::path::Path::new("policies/ignored-but-tracked.yaml");
    index.add_path(path).unwrap();
    index.write().unwrap();
    let tree = working_tree(directory.path(), &Limits::default()).unwrap();
    assert_eq!(
        paths(&tree),
        [
            "fabric.yaml",
            "policies/build/a.yaml",
            "policies/ignored-but-tracked.yaml",
            "policies/untracked.yaml",
        ]
    );
    assert_eq!(codes(&tree), [(Code::Submodule, "peers/x".to_owned())]);
    assert_eq!(tree.revision().as_str(), "working-tree");

    // A fabric in a directory of a larger repository.
    let inner = working_tree(&directory.path().join("policies"), &Limits::default()).unwrap();
    assert_eq!(paths(&inner), Vec::<String>::new());
    write("sub/fabric.yaml", "a: 1\n");
    write("sub/policies/ignored.yaml", "a: 1\n");
    let inner = working_tree(&directory.path().join("sub"), &Limits::default()).unwrap();
    assert_eq!(paths(&inner), ["fabric.yaml"]);
}

#[test]
fn a_directory_without_git_is_read_whole_and_nothing_odd_in_it_hangs() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    fs::create_dir_all(path("policies/a.yaml.d")).unwrap();
    fs::create_dir_all(path(".git")).unwrap();
    fs::write(path(".git/config"), "[core]").unwrap();
    fs::write(path("fabric.yaml"), "a: 1\n").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", path("policies/link.yaml")).unwrap();
    std::os::unix::fs::symlink("/", path("policies/loop")).unwrap();
    let made = Command::new("mkfifo")
        .arg(path("policies/pipe.yaml"))
        .status();
    assert!(made.unwrap().success());
    let huge = fs::File::create(path("policies/huge.yaml")).unwrap();
    huge.set_len(100 << 30).unwrap();
    let tree = working_tree(directory.path(), &Limits::default()).unwrap();
    assert_eq!(paths(&tree), ["fabric.yaml"]);
    assert_eq!(
        codes(&tree),
        [
            (Code::FileTooLarge, "policies/huge.yaml".to_owned()),
            (Code::Symlink, "policies/link.yaml".to_owned()),
            (Code::Symlink, "policies/loop".to_owned()),
        ]
    );
    let absent = working_tree(&path("absent"), &Limits::default()).unwrap_err();
    assert!(matches!(absent, Error::File { .. }));
}
