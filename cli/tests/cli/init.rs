use std::fs;
use std::path::Path;

use crate::sandbox::Sandbox;

fn head(directory: &Path) -> (String, String, usize) {
    let repository = git2::Repository::open(directory).unwrap();
    let head = repository.head().unwrap();
    let commit = head.peel_to_commit().unwrap();
    let author = commit.author().to_string();
    let mut options = git2::StatusOptions::new();
    options.include_untracked(true);
    let changes = repository.statuses(Some(&mut options)).unwrap().len();
    (head.shorthand().unwrap().to_owned(), author, changes)
}

#[test]
fn a_fabric_is_laid_down_committed_and_valid() {
    let sandbox = Sandbox::new();
    let outcome = sandbox.ok("", &["init", "acme"]);
    assert_eq!(outcome.stdout, "");
    assert!(outcome.stderr.contains("weft create fabric"), "{outcome:?}");
    let (branch, author, changes) = head(&sandbox.path("acme"));
    assert_eq!(branch, "main");
    assert_eq!(author, "weft <weft@localhost>");
    assert_eq!(changes, 0, "everything is committed");

    for file in sandbox.files("acme") {
        let text = fs::read_to_string(&file).unwrap();
        assert!(!text.contains("example-fabric"), "{}", file.display());
    }
    assert!(sandbox.read("acme/fabric.yaml").contains("name: acme"));
    assert!(sandbox.read("acme/.gitignore").contains("*key*.pem"));

    let files = sandbox.ok("acme", &["validate"]).stdout;
    assert_eq!(files, "ok: fabric acme: 0 peers, 2 files\n");
    let commit = sandbox.ok("acme", &["validate", "--rev", "main"]).stdout;
    assert!(commit.starts_with("ok: fabric acme at commit "), "{commit}");
    assert!(commit.ends_with(": 0 peers, 2 files\n"), "{commit}");
}

#[test]
fn the_author_is_the_users_own() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "home/.gitconfig",
        "[user]\n\tname = Ada\n\temail = ada@example.com\n[init]\n\tdefaultBranch = trunk\n",
    );
    sandbox.ok("", &["init", "acme"]);
    let (branch, author, _) = head(&sandbox.path("acme"));
    assert_eq!((&*branch, &*author), ("main", "Ada <ada@example.com>"));
}

#[test]
fn a_name_that_no_fabric_can_have_is_made_legal_or_refused() {
    let sandbox = Sandbox::new();
    sandbox.ok("", &["init", "Acme Fabric"]);
    let text = sandbox.read("Acme Fabric/fabric.yaml");
    assert!(text.contains("name: acme-fabric"), "{text}");

    sandbox.ok("", &["init", "other", "--name", "acme.example"]);
    assert!(
        sandbox
            .read("other/fabric.yaml")
            .contains("name: acme.example")
    );

    let refused = sandbox.weft("", &["init", "third", "--name", "Acme"]);
    assert_eq!(refused.code, 2);
    assert!(!sandbox.path("third").exists());
}

#[test]
fn nothing_is_overwritten() {
    let sandbox = Sandbox::new();
    sandbox.write("acme/notes.txt", "mine");
    let outcome = sandbox.weft("", &["init", "acme"]);
    assert_eq!(outcome.code, 2);
    assert_eq!(
        outcome.stderr,
        "error: acme isn't empty, and nothing is overwritten\n"
    );
    assert_eq!(sandbox.files("acme"), [sandbox.path("acme/notes.txt")]);
}

#[test]
fn an_empty_directory_may_be_the_current_one() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("here")).unwrap();
    let outcome = sandbox.ok("here", &["init", "."]);
    assert!(!outcome.stderr.contains("cd "), "{outcome:?}");
    assert!(sandbox.read("here/fabric.yaml").contains("name: here"));
}
