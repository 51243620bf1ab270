//! Git's hooks, by real Git: what is bad is neither committed, nor pushed, nor received.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use tempfile::TempDir;
use weft_tests::binary;
use weft_tests::repository::git_command;

/// A fabric that `weft init` has laid down, and the bare repository that it pushes to.
struct Fabric {
    folder: TempDir,
}

impl Fabric {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let fabric = Self { folder };
        let laid_down = binary::run(fabric.folder.path(), &["init", "acme"]);
        assert!(laid_down.status.success(), "{laid_down:?}");
        let bare = fabric.bare();
        let bare = bare.to_str().unwrap();
        fabric.git(&["init", "--quiet", "--bare", "--initial-branch=main", bare]);
        fabric.git(&["remote", "add", "origin", bare]);
        fabric.git(&["push", "--quiet", "origin", "main"]);
        fabric
    }

    fn work(&self) -> PathBuf {
        self.folder.path().canonicalize().unwrap().join("acme")
    }

    fn bare(&self) -> PathBuf {
        self.folder.path().canonicalize().unwrap().join("acme.git")
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.work().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn try_git(&self, arguments: &[&str]) -> Output {
        git_command(&self.work()).args(arguments).output().unwrap()
    }

    fn git(&self, arguments: &[&str]) -> String {
        let output = self.try_git(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Installs a hook in a folder, which has to go well.
    fn install(&self, folder: &Path, options: &[&str]) {
        let output = self.try_install(folder, options);
        assert!(output.status.success(), "{output:?}");
    }

    fn try_install(&self, folder: &Path, options: &[&str]) -> Output {
        let arguments = [&["hook", "install"], options].concat();
        binary::run(folder, &arguments)
    }
}

const GOOD: &str = "\
apiVersion: clusterlink.net/v1alpha1
kind: PrivilegedAccessPolicy
metadata:
  name: close
spec:
  action: deny
  from:
  - workloadSelector: {}
  to:
  - workloadSelector: {}
";

fn bad() -> String {
    GOOD.replace("action", "akshun")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_commit_is_judged_by_what_is_staged() {
    let fabric = Fabric::new();
    fabric.install(&fabric.work(), &[]);
    let before = fabric.git(&["rev-parse", "HEAD"]);

    // Bad in the index, good on disk.
    fabric.write("policies/close.yaml", &bad());
    fabric.git(&["add", "policies"]);
    fabric.write("policies/close.yaml", GOOD);
    let refused = fabric.try_git(&["commit", "--message", "Close"]);
    assert!(!refused.status.success());
    assert!(said(&refused).contains("WEFT0104"), "{refused:?}");
    assert!(said(&refused).contains("at tree "), "{refused:?}");
    assert!(
        said(&refused).contains("nothing is committed"),
        "{refused:?}"
    );
    assert_eq!(fabric.git(&["rev-parse", "HEAD"]), before);

    // Good in the index, bad on disk.
    fabric.git(&["add", "policies"]);
    fabric.write("policies/close.yaml", &bad());
    fabric.git(&["commit", "--quiet", "--message", "Close"]);
    assert_ne!(fabric.git(&["rev-parse", "HEAD"]), before);

    // An index of the commit's own: what is named counts, not what is staged.
    let refused = fabric.try_git(&["commit", "--all", "--message", "Break"]);
    assert!(!refused.status.success());
    assert!(said(&refused).contains("WEFT0104"), "{refused:?}");
}

#[test]
fn a_push_is_judged_by_its_commits() {
    let fabric = Fabric::new();
    fabric.install(&fabric.work(), &["--pre-push"]);
    fabric.write("policies/close.yaml", &bad());
    fabric.git(&["add", "policies"]);
    fabric.git(&["commit", "--quiet", "--message", "Break"]);
    fabric.git(&["tag", "broken"]);
    // The files on disk say nothing.
    fabric.write("policies/close.yaml", GOOD);
    let refused = fabric.try_git(&["push", "origin", "main", "main:refs/heads/other"]);
    assert!(!refused.status.success());
    assert!(
        said(&refused).contains("refs/heads/main is not pushed"),
        "{refused:?}"
    );
    assert!(
        said(&refused).contains("refs/heads/other is not pushed"),
        "{refused:?}"
    );
    // A tag, and a branch's removal, are none of its business.
    fabric.git(&["push", "--quiet", "origin", "broken"]);
    fabric.git(&["push", "--quiet", "origin", "broken~1:refs/heads/other"]);
    fabric.git(&["push", "--quiet", "origin", "--delete", "other"]);

    fabric.git(&["commit", "--quiet", "--all", "--message", "Mend"]);
    fabric.git(&["push", "--quiet", "origin", "main"]);
}

#[test]
fn a_bare_repository_refuses_a_bad_push_whole() {
    let fabric = Fabric::new();
    fabric.install(&fabric.bare(), &[]);
    assert!(fabric.bare().join("hooks/pre-receive").exists());
    let before = fabric.git(&["rev-parse", "HEAD"]);
    fabric.write("policies/close.yaml", &bad());
    fabric.git(&["add", "policies"]);
    fabric.git(&["commit", "--quiet", "--message", "Break"]);
    let refused = fabric.try_git(&["push", "origin", "main", "main~1:refs/heads/good"]);
    assert!(!refused.status.success());
    // The objects are in quarantine while they are judged.
    assert!(
        said(&refused).contains("remote: error[WEFT0104]"),
        "{refused:?}"
    );
    assert!(
        said(&refused).contains("refs/heads/main is refused"),
        "{refused:?}"
    );
    assert!(!said(&refused).contains('\u{1b}'), "{refused:?}");
    let there = || fabric.git(&["ls-remote", "origin", "refs/heads/*"]);
    assert_eq!(there(), format!("{before}\trefs/heads/main"));

    // Only the branch that peers follow, where that is said.
    let mut configure = git_command(&fabric.bare());
    let configured = configure
        .args(["config", "weft.refs", "refs/heads/main"])
        .status();
    assert!(configured.unwrap().success());
    fabric.git(&["push", "--quiet", "origin", "main:refs/heads/draft"]);
    assert!(!fabric.try_git(&["push", "origin", "main"]).status.success());

    fabric.write("policies/close.yaml", GOOD);
    fabric.git(&["commit", "--quiet", "--all", "--message", "Mend"]);
    fabric.git(&["push", "--quiet", "origin", "main"]);
}

/// A gate that wants an approval refuses a push of the branch that peers follow, and of no other.
#[test]
fn the_gates_are_asked_of_what_is_pushed() {
    for (is_server, refusal) in [(true, "is refused"), (false, "is not pushed")] {
        let fabric = Fabric::new();
        let spec = fs::read_to_string(fabric.work().join("fabric.yaml")).unwrap();
        let gated = spec.replace("spec: {}", "spec: {gates: [privileged-policy]}");
        assert_ne!(spec, gated, "{spec}");
        fabric.write("fabric.yaml", &gated);
        fabric.git(&["commit", "--quiet", "--all", "--message", "Ask first"]);
        fabric.git(&["push", "--quiet", "origin", "main"]);
        match is_server {
            true => fabric.install(&fabric.bare(), &[]),
            false => {
                fabric.git(&["remote", "set-head", "origin", "main"]);
                fabric.install(&fabric.work(), &["--pre-push"]);
            }
        }
        fabric.write("policies/close.yaml", GOOD);
        fabric.git(&["add", "policies"]);
        fabric.git(&["commit", "--quiet", "--message", "Close"]);
        let refused = fabric.try_git(&["push", "origin", "main"]);
        assert!(!refused.status.success());
        let words = said(&refused);
        assert!(
            words.contains(&format!("refs/heads/main {refusal}")),
            "{words}"
        );
        assert!(
            words.contains("`Weft-Approve: privileged-policy`"),
            "{words}"
        );
        // A draft is judged when it comes to main, and a tag isn't followed by anybody.
        fabric.git(&["push", "--quiet", "origin", "main:refs/heads/draft"]);
        fabric.git(&["tag", "close"]);
        fabric.git(&["push", "--quiet", "origin", "close"]);
        let approval = "Approve\n\nWeft-Approve: privileged-policy";
        fabric.git(&["commit", "--quiet", "--allow-empty", "--message", approval]);
        fabric.git(&["push", "--quiet", "origin", "main"]);

        // Other branches where it is said that peers follow them.
        let place = if is_server {
            fabric.bare()
        } else {
            fabric.work()
        };
        let mut configure = git_command(&place);
        let configured = configure.args(["config", "weft.gateRefs", "refs/heads/d*"]);
        assert!(configured.status().unwrap().success());
        fabric.git(&["rm", "--quiet", "policies/close.yaml"]);
        fabric.git(&["commit", "--quiet", "--message", "Open"]);
        fabric.git(&["push", "--quiet", "origin", "main"]);
        // The approval of another change is in the range, and holds for it.
        fabric.git(&["push", "--quiet", "origin", "main~1:refs/heads/draft"]);
        let refused = fabric.try_git(&["push", "origin", "main:refs/heads/draft"]);
        assert!(!refused.status.success(), "{refused:?}");
        assert!(said(&refused).contains(&format!("refs/heads/draft {refusal}")));
    }
}

#[test]
fn another_hook_is_never_overwritten_silently() {
    let fabric = Fabric::new();
    let hook = fabric.work().join(".git/hooks/pre-commit");
    fs::create_dir_all(hook.parent().unwrap()).unwrap();
    fs::write(&hook, "#!/bin/sh\nexit 0\n").unwrap();
    let refused = fabric.try_install(&fabric.work(), &[]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(said(&refused).contains("git write-tree"), "{refused:?}");
    assert_eq!(fs::read_to_string(&hook).unwrap(), "#!/bin/sh\nexit 0\n");

    fabric.install(&fabric.work(), &["--force"]);
    let kept = hook.with_file_name("pre-commit.before-weft");
    assert_eq!(fs::read_to_string(&kept).unwrap(), "#!/bin/sh\nexit 0\n");
    // Its own it replaces.
    fabric.install(&fabric.work(), &[]);
    assert!(
        fs::read_to_string(&hook)
            .unwrap()
            .contains("weft hook install")
    );

    // A link may lead anywhere.
    fs::remove_file(&hook).unwrap();
    std::os::unix::fs::symlink("/nonexistent/hook", &hook).unwrap();
    assert_eq!(
        fabric.try_install(&fabric.work(), &[]).status.code(),
        Some(2)
    );
}

#[test]
fn hooks_go_where_git_looks_for_them() {
    let fabric = Fabric::new();
    fabric.git(&["config", "core.hooksPath", ".hooks"]);
    fabric.install(&fabric.work(), &[]);
    assert!(fabric.work().join(".hooks/pre-commit").exists());
    fabric.write("policies/close.yaml", &bad());
    fabric.git(&["add", "policies"]);
    let refused = fabric.try_git(&["commit", "--message", "Break"]);
    assert!(said(&refused).contains("WEFT0104"), "{refused:?}");

    // From a worktree of its own.
    let other = fabric.folder.path().join("other worktree");
    fabric.git(&["config", "--unset", "core.hooksPath"]);
    fabric.git(&[
        "worktree",
        "add",
        "--quiet",
        "-b",
        "other",
        other.to_str().unwrap(),
    ]);
    fabric.install(&other, &[]);
    assert!(fabric.work().join(".git/hooks/pre-commit").exists());
    fs::write(other.join("policies/close.yaml"), bad()).unwrap();
    let added = git_command(&other).args(["add", "policies"]).status();
    assert!(added.unwrap().success());
    let mut commit = git_command(&other);
    let refused = commit
        .args(["commit", "--message", "Break"])
        .output()
        .unwrap();
    assert!(said(&refused).contains("WEFT0104"), "{refused:?}");

    // A folder of hooks for all repositories.
    let shared = fabric.folder.path().join("shared");
    fabric.git(&["config", "core.hooksPath", shared.to_str().unwrap()]);
    let refused = fabric.try_install(&fabric.work(), &[]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(said(&refused).contains("other repositories"), "{refused:?}");
}
