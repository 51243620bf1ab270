//! Pull requests to a fabric repository, checked by the scripts of the template's workflows as a
//! runner of GitHub's would run them, and the comment that comes out.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "pull_request/gitlab.rs"]
mod gitlab;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;
use weft_tests::binary;
use weft_tests::certificates::Authority;
use weft_tests::forge::{Forge, REPOSITORY, RUN};
use weft_tests::picture;
use weft_tests::repository::git_command;
use weft_tests::workflow::{Job, Outcome};
use weft_tests::yaml;

/// A fabric repository as `weft init` lays it down: west exports the ledger, which the tills of
/// east's shop may reach.
struct Repository {
    folder: TempDir,
}

const TILLS: &str = "\
apiVersion: clusterlink.net/v1alpha1
kind: AccessPolicy
metadata:
  name: tills
  namespace: shop
spec:
  action: allow
  from:
  - workloadSelector:
      matchLabels:
        client.clusterlink.net/labels.app: till
  to:
  - workloadSelector: {}
";

impl Repository {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let laid_down = binary::run(folder.path(), &["init", "fabric", "--name", "acme"]);
        assert!(laid_down.status.success(), "{laid_down:?}");
        let repository = Self { folder };
        let authority = Authority::new("acme");
        repository.write("ca/acme.pem", authority.pem());
        for (name, host) in [("east", "192.0.2.1:4443"), ("west", "192.0.2.2:4443")] {
            let peer = yaml::peer(name, host.parse().unwrap());
            repository.write(&format!("peers/{name}/peer.yaml"), &peer);
            let certificate = authority.peer(name).certificate;
            repository.write(&format!("peers/{name}/cert.pem"), &certificate);
            repository.write(&format!("peers/{name}/tills.yaml"), TILLS);
        }
        let export = yaml::export("shop", "ledger", "10.0.0.1:8080".parse().unwrap());
        repository.write("peers/west/ledger.yaml", &export);
        let import = yaml::import("shop", "ledger", 7000, "west");
        repository.write("peers/east/ledger.yaml", &import);
        repository.commit("Describe two peers");
        repository
    }

    fn work(&self) -> PathBuf {
        self.folder.path().join("fabric")
    }

    fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        let path = self.work().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn edit(&self, path: &str, old: &str, new: &str) {
        let text = fs::read_to_string(self.work().join(path)).unwrap();
        assert!(text.contains(old), "{text}");
        self.write(path, text.replace(old, new));
    }

    fn git(&self, arguments: &[&str]) -> String {
        let output = git_command(&self.work()).args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn commit(&self, message: &str) {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message", message]);
    }

    /// Makes a branch from main, with what `change` does as its one commit; its head.
    fn branch(&self, name: &str, message: &str, change: impl FnOnce(&Self)) -> String {
        self.git(&["checkout", "--quiet", "-b", name, "main"]);
        change(self);
        self.commit(message);
        let head = self.git(&["rev-parse", "HEAD"]);
        self.git(&["checkout", "--quiet", "main"]);
        head
    }

    /// What GitHub checks out for a pull request: its merge into main.
    fn merge(&self, head: &str) -> String {
        self.git(&["checkout", "--quiet", "--detach", "main"]);
        self.git(&["merge", "--quiet", "--no-ff", "--message", "Merge", head]);
        self.git(&["rev-parse", "HEAD"])
    }

    fn workflow(&self, name: &str) -> PathBuf {
        self.work().join(".github/workflows").join(name)
    }

    /// Runs the check of a pull request; where its reports are, and what it came to.
    fn check(&self, head: &str) -> (PathBuf, Outcome) {
        let merge = self.merge(head);
        let machine = self.folder.path().join(format!("machine-{head}"));
        let mut job = Job::read(&self.workflow("check.yml"), "check", &self.work(), &machine);
        let event = json!({
            "number": 7,
            "pull_request": {"head": {"sha": head, "ref": "$(touch /tmp/x)`id`"}},
        });
        job.event("pull_request", &merge, &event);
        let outcome = job.run(&["Check", "Show the report"]);
        self.git(&["checkout", "--quiet", "main"]);
        (job.temporary("weft-report"), outcome)
    }

    /// Runs the job that comments, for a check of a commit in some repository.
    fn comment(&self, forge: &Forge, head: &str, from: &str) -> Outcome {
        let machine = tempfile::tempdir().unwrap();
        // Where this job runs, no repository is checked out.
        let nowhere = machine.path().join("nowhere");
        fs::create_dir(&nowhere).unwrap();
        let mut job = Job::read(
            &self.workflow("comment.yml"),
            "comment",
            &nowhere,
            machine.path(),
        );
        let event = json!({
            "repository": {"full_name": REPOSITORY},
            "workflow_run": {
                "id": RUN,
                "head_sha": head,
                "html_url": format!("https://github.com/{REPOSITORY}/actions/runs/{RUN}"),
                "head_repository": {"full_name": from},
            },
        });
        job.event("workflow_run", head, &event);
        job.set("GITHUB_API_URL", &forge.url());
        job.set("GITHUB_REPOSITORY", REPOSITORY);
        job.run(&[
            "Fetch the report",
            "Find the pull request",
            "Write the comment",
        ])
    }

    /// Checks a pull request and comments it; the exit code of the check, and the comment.
    fn pull_request(&self, head: &str) -> (i32, String) {
        let (report, checked) = self.check(head);
        let forge = Forge::start();
        forge.open(7, head, REPOSITORY);
        forge.upload(zip(&report));
        let outcome = self.comment(&forge, head, REPOSITORY);
        assert!(outcome.codes.values().all(|code| *code == 0), "{outcome:?}");
        assert_eq!(outcome.codes.len(), 3, "{outcome:?}");
        let comments = forge.comments(7);
        let [(author, body)] = comments.as_slice() else {
            panic!("{comments:?}\n{outcome:?}");
        };
        assert_eq!(author, "github-actions[bot]");
        (checked.codes["Check"], body.clone())
    }
}

/// A folder's files as the archive that an artifact is.
fn zip(folder: &Path) -> Vec<u8> {
    let archive = folder.with_extension("zip");
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    files.sort();
    let status = Command::new("python3")
        .args(["-m", "zipfile", "-c"])
        .arg(&archive)
        .args(files)
        .status()
        .unwrap();
    assert!(status.success());
    fs::read(archive).unwrap()
}

/// An artifact that somebody made without Weft.
fn forged(files: &[(&str, &[u8])]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("report");
    fs::create_dir(&report).unwrap();
    for (name, content) in files {
        fs::write(report.join(name), content).unwrap();
    }
    zip(&report)
}

/// Without the mark, and without what no two runs share.
fn stable(text: &str) -> String {
    let (mark, text) = text.split_once('\n').unwrap();
    assert!(mark.starts_with("<!-- weft-plan:"), "{mark}");
    let mut stable = String::new();
    let mut word = String::new();
    let finish = |word: &mut String, stable: &mut String| {
        let is_id = word.len() == 12 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
        stable.push_str(if is_id { "COMMIT" } else { word });
        word.clear();
    };
    for c in text.chars() {
        if c.is_ascii_alphanumeric() {
            word.push(c);
        } else {
            finish(&mut word, &mut stable);
            stable.push(c);
        }
    }
    finish(&mut word, &mut stable);
    stable
}

#[test]
fn a_good_pull_request() {
    let repository = Repository::new();
    let head = repository.branch("good", "Move the ledger", |repository| {
        repository.edit("peers/west/ledger.yaml", "10.0.0.1", "10.0.0.2");
    });
    let (code, comment) = repository.pull_request(&head);
    assert_eq!(code, 0);
    insta::assert_snapshot!("good", stable(&comment));
}

#[test]
fn a_pull_request_that_widens_access() {
    let repository = Repository::new();
    let head = repository.branch("widening", "Let the shop in", |repository| {
        for peer in ["east", "west"] {
            let old = "labels.app: till";
            repository.edit(&format!("peers/{peer}/tills.yaml"), old, "namespace: shop");
        }
    });
    let (code, comment) = repository.pull_request(&head);
    assert_eq!(code, 0);
    insta::assert_snapshot!("widening", stable(&comment));

    // With a gate it wants an approval, which a commit of the pull request may carry.
    repository.edit("fabric.yaml", "spec: {}", "spec: {gates: [widens-access]}");
    repository.commit("Ask before access widens");
    let (report, outcome) = repository.check(&head);
    assert_eq!(outcome.codes["Check"], 4, "{}", outcome.log);
    assert!(
        outcome.summary.contains("wants an approval"),
        "{}",
        outcome.summary
    );
    assert!(
        fs::read_to_string(report.join("plan.md"))
            .unwrap()
            .contains("Weft-Approve")
    );
    let approved = repository.branch(
        "approved",
        "Let the shop in\n\nWeft-Approve: widens-access",
        |repository| {
            repository.git(&["merge", "--quiet", "--no-commit", "--no-ff", &head]);
        },
    );
    let (_, outcome) = repository.check(&approved);
    assert_eq!(outcome.codes["Check"], 0, "{}", outcome.log);
}

#[test]
fn a_broken_pull_request() {
    let repository = Repository::new();
    let head = repository.branch("broken", "Slip", |repository| {
        repository.edit("peers/west/ledger.yaml", "port:", "prot:");
    });
    let (code, comment) = repository.pull_request(&head);
    assert_eq!(code, 1);
    insta::assert_snapshot!("broken", stable(&comment));
    let (_, outcome) = repository.check(&head);
    // At the line of the change.
    let annotation = "::error file=peers/west/ledger.yaml,line=10,";
    assert!(outcome.log.contains(annotation), "{}", outcome.log);
    assert!(outcome.summary.contains("WEFT0104"), "{}", outcome.summary);
}

#[test]
fn two_harmless_pull_requests_that_open_something_together() {
    let repository = Repository::new();
    // Since the branch began, main has opened the exporter's side; the branch opens the importer's.
    let open = |repository: &Repository, peer: &str| {
        let old = "labels.app: till";
        repository.edit(&format!("peers/{peer}/tills.yaml"), old, "namespace: shop");
    };
    let head = repository.branch("east", "Open the importer's side", |r| open(r, "east"));
    let (_, alone) = repository.check(&head);
    assert!(
        alone.log.contains("together nothing opens"),
        "{}",
        alone.log
    );
    open(&repository, "west");
    repository.commit("Open the exporter's side");
    let (report, outcome) = repository.check(&head);
    let merge = fs::read_to_string(report.join("merge.md")).unwrap();
    assert!(merge.contains("together"), "{merge}");
    assert!(outcome.log.contains("together"), "{}", outcome.log);
    assert!(outcome.summary.contains(&merge), "{}", outcome.summary);
}

/// What people have tried before: commands of the log, mentions, links, pictures, HTML, fences.
const NASTY: &str = "x\n::error file=a::b%0A::stop-commands::t ``` </details><img src=x onerror=alert(1)> \
    @everyone [a](https://example.org) ![b](https://example.org/p.png) ${{ github.token }} <!-- weft-plan: -->";

#[test]
fn a_hostile_pull_request() {
    let repository = Repository::new();
    let head = repository.branch("hostile", NASTY, |repository| {
        for (number, name) in [
            "a\n::error::forged\n.yaml",
            "b%0A::error::forged%0D.yaml",
            "``` <img src=x>@everyone [a](b).yaml",
            "</details>.yaml",
            "--fix.yaml",
            "$(touch owned).yaml",
        ]
        .into_iter()
        .enumerate()
        {
            let name = format!("peers/west/{name}");
            let quoted = serde_json::to_string(NASTY).unwrap();
            let object = format!(
                "apiVersion: clusterlink.net/v1alpha1\nkind: Export\nmetadata:\n  name: n{number}\n  \
                 namespace: shop\n  labels: {{{quoted}: {quoted}}}\nspec:\n  {quoted}: 1\n  port: 80\n"
            );
            repository.write(&name, object);
        }
        // Five megabytes about nothing.
        for number in 0..6 {
            let line = NASTY.replace('\n', " ").repeat(3_000);
            let quoted = serde_json::to_string(&line).unwrap();
            let text = format!("kind: {quoted}\n---\napiVersion: {quoted}\n");
            repository.write(&format!("peers/west/huge{number}.yaml"), text);
        }
    });
    let (report, outcome) = repository.check(&head);
    assert_eq!(outcome.codes["Check"], 1);
    assert!(!repository.work().join("owned").exists());
    for line in outcome.log.lines() {
        let own = line.starts_with("::error file=peers/") || line.starts_with("::warning file=");
        let own = own || line.starts_with("::notice") || line.starts_with("::error title=");
        assert!(!line.trim_start().starts_with("::") || own, "{line}");
        assert!(
            !line.contains("::error::forged")
                || line.contains("%253A%253A")
                || !line.starts_with("::error::"),
            "{line}"
        );
    }
    assert!(outcome.log.len() < 300_000, "{}", outcome.log.len());
    assert!(outcome.summary.len() < 1 << 20);
    assert!(fs::metadata(report.join("plan.md")).unwrap().len() < 65_536);

    let (_, comment) = repository.pull_request(&head);
    assert_harmless(&comment);
    assert!(
        comment.starts_with("<!-- weft-plan:") && comment.contains(" -->\n### Invalid"),
        "{comment}"
    );
    assert!(comment.contains("WEFT0104"), "{comment}");
}

/// Whether nothing in a comment does anything: no mention, link, picture, HTML but what folds.
fn assert_harmless(comment: &str) {
    assert!(comment.chars().count() < 65_536, "{}", comment.len());
    let (text, last) = comment.trim_end().rsplit_once('\n').unwrap();
    assert!(
        last.starts_with("<sub>From the [check](https://github.com/"),
        "{last}"
    );
    let (_, text) = text.split_once('\n').unwrap();
    for forbidden in ["](", "<img", "<!--", "<a ", "<script", "://", "<b>"] {
        assert!(!text.contains(forbidden), "{forbidden}: {comment}");
    }
    let mut mentions = text.match_indices('@').map(|(at, _)| &text[at + 1..]);
    assert!(
        mentions.all(|after| after.starts_with('\u{200b}')),
        "{comment}"
    );
    // What stands between fences is text.
    let mut fence: Option<&str> = None;
    let mut folds = 0_i32;
    for line in text.lines() {
        let ticks = &line[..line.len() - line.trim_start_matches('`').len()];
        match fence {
            Some(open) if ticks.len() >= open.len() && ticks.len() == line.len() => fence = None,
            Some(_) => {}
            None if ticks.len() >= 3 => fence = Some(ticks),
            None => {
                folds += i32::try_from(line.matches("<details>").count()).unwrap();
                folds -= i32::try_from(line.matches("</details>").count()).unwrap();
            }
        }
    }
    assert_eq!((fence, folds), (None, 0), "{comment}");
}

#[test]
fn an_artifact_is_believed_nothing() {
    let repository = Repository::new();
    let head = repository.git(&["rev-parse", "HEAD"]);
    let fork = "mallory/fabric";
    let commented = |files: &[(&str, &[u8])]| {
        let forge = Forge::start();
        forge.open(7, &head, fork);
        forge.open(8, "0123456789012345678901234567890123456789", REPOSITORY);
        forge.upload(forged(files));
        let outcome = repository.comment(&forge, &head, fork);
        (forge, outcome)
    };
    let body = |forge: &Forge| {
        let comments = forge.comments(7);
        assert_eq!(comments.len(), 1, "{comments:?}");
        comments[0].1.clone()
    };
    let marker = "<!-- weft-plan:1 -->\n";

    // Text that does things.
    let nasty =
        format!("{marker}### Ok\n\n{NASTY}\n<script>x</script>\u{1b}[31m\u{0}\n[x]: https://a.b\n");
    let (forge, _) = commented(&[("number", b"7\n"), ("plan.md", nasty.as_bytes())]);
    let comment = body(&forge);
    assert!(!comment.contains(['\u{1b}', '\0']), "{comment}");
    for forbidden in [
        "](https://example",
        "<img",
        "<script",
        "<!-- weft-plan: -->",
    ] {
        assert!(!comment.contains(forbidden), "{forbidden}: {comment}");
    }
    assert!(comment.contains("@\u{200b}everyone"), "{comment}");
    // Nothing that the fork writes can fold that away.
    let notice = "<sub>From a fork, which can write here what it likes.</sub>\n\n";
    assert!(
        comment.starts_with(&format!("{marker}{notice}")),
        "{comment}"
    );

    // No report of Weft's: too long, not text, without its mark, or nothing at all.
    let long = format!("{marker}{}", "x".repeat(100_000));
    let open = format!("{marker}{}", "<".repeat(60_000));
    for (files, said) in [
        (
            vec![("number", &b"7"[..]), ("plan.md", long.as_bytes())],
            "is too long",
        ),
        (
            vec![
                ("number", b"7"),
                ("plan.md", b"<!-- weft-plan:a -->\n\xff\xfe"),
            ],
            "isn't text",
        ),
        (
            vec![("number", b"7"), ("plan.md", b"hello @everyone")],
            "isn't Weft's",
        ),
        (vec![("number", b"7")], "isn't Weft's"),
        (
            vec![("number", b"7"), ("plan.md", open.as_bytes())],
            "too long for a comment",
        ),
    ] {
        let (forge, outcome) = commented(&files);
        assert!(outcome.codes.values().all(|code| *code == 0), "{outcome:?}");
        let comment = body(&forge);
        assert!(comment.contains(said), "{said}: {comment}");
        assert!(comment.chars().count() < 2_000, "{comment}");
        assert!(!comment.contains("@everyone"), "{comment}");
    }

    // Somebody else's pull request, none, or no number.
    let plan = format!("{marker}### Ok\n");
    for number in ["8", "9", "", "7; echo x", "../8", "07", "$(id)", "7\n8\n"] {
        let (forge, outcome) =
            commented(&[("number", number.as_bytes()), ("plan.md", plan.as_bytes())]);
        assert_eq!(
            forge.written(),
            Vec::<String>::new(),
            "{number}: {outcome:?}"
        );
        assert!(
            !outcome.codes.contains_key("Write the comment"),
            "{outcome:?}"
        );
    }

    // Larger than any report; none at all.
    let forge = Forge::start();
    forge.open(7, &head, fork);
    forge.upload(vec![0; 5 << 20]);
    let outcome = repository.comment(&forge, &head, fork);
    assert!(outcome.log.contains("no report"), "{outcome:?}");
    let forge = Forge::start();
    let outcome = repository.comment(&forge, &head, fork);
    assert!(outcome.log.contains("no report"), "{outcome:?}");

    // An archive that unpacks to far more than it is.
    let bomb = vec![b'x'; 64 << 20];
    let archive = {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("plan.md"), &bomb).unwrap();
        fs::write(folder.path().join("number"), "7").unwrap();
        let script = "import sys,zipfile\nz=zipfile.ZipFile(sys.argv[1],'w',zipfile.ZIP_DEFLATED)\nz.write('plan.md')\nz.write('number')\nz.close()";
        let status = Command::new("python3")
            .args(["-c", script, "a.zip"])
            .current_dir(folder.path())
            .status();
        assert!(status.unwrap().success());
        fs::read(folder.path().join("a.zip")).unwrap()
    };
    let forge = Forge::start();
    forge.open(7, &head, fork);
    forge.upload(archive);
    repository.comment(&forge, &head, fork);
    assert!(body(&forge).contains("is too long"));
}

#[test]
fn the_one_comment_is_edited() {
    let repository = Repository::new();
    let head = repository.git(&["rev-parse", "HEAD"]);
    let forge = Forge::start();
    forge.open(7, &head, REPOSITORY);
    // People's comments, one of them with the mark, fill more than a page.
    forge.comment(7, "mallory", "<!-- weft-plan:1 -->\nI am the check");
    for number in 0..120 {
        forge.comment(7, "ada", &format!("comment {number}"));
    }
    forge.comment(
        7,
        "github-actions[bot]",
        "<!-- other -->\nof another workflow",
    );
    for text in ["### First", "### Second"] {
        let plan = format!("<!-- weft-plan:1 -->\n{text}\n");
        forge.upload(forged(&[("number", b"7"), ("plan.md", plan.as_bytes())]));
        let outcome = repository.comment(&forge, &head, REPOSITORY);
        assert!(outcome.codes.values().all(|code| *code == 0), "{outcome:?}");
    }
    assert_eq!(
        forge.written(),
        ["POST issues/7/comments", "PATCH issues/comments/222"]
    );
    let comments = forge.comments(7);
    assert_eq!(comments[0].1, "<!-- weft-plan:1 -->\nI am the check");
    assert!(comments.last().unwrap().1.contains("### Second"));
    assert_eq!(comments.len(), 123);

    // Another fabric of the repository has one of its own; a report that can't be shown has none.
    for (plan, comments) in [
        ("<!-- weft-plan:2 -->\n### Other\n", 124),
        ("no report", 124),
        ("<!-- weft-plan:2 -->\n### Again\n", 124),
    ] {
        forge.upload(forged(&[("number", b"7"), ("plan.md", plan.as_bytes())]));
        let outcome = repository.comment(&forge, &head, REPOSITORY);
        assert!(outcome.codes.values().all(|code| *code == 0), "{outcome:?}");
        assert_eq!(forge.comments(7).len(), comments);
    }
    let last = forge.comments(7).pop().unwrap().1;
    assert!(
        last.starts_with("<!-- weft-plan:2 -->") && last.contains("### Again"),
        "{last}"
    );
}

#[test]
fn a_push_to_main_is_checked_too() {
    let repository = Repository::new();
    let before = repository.git(&["rev-parse", "HEAD~1"]);
    let head = repository.git(&["rev-parse", "HEAD"]);
    for (before, plan) in [(before, true), ("0".repeat(40), false)] {
        let machine = tempfile::tempdir().unwrap();
        let mut job = Job::read(
            &repository.workflow("check.yml"),
            "check",
            &repository.work(),
            machine.path(),
        );
        let event: Value = json!({"before": before});
        job.event("push", &head, &event);
        let outcome = job.run(&["Check", "Show the report"]);
        assert_eq!(outcome.codes["Check"], 0, "{}", outcome.log);
        assert_eq!(outcome.codes["Show the report"], 0, "{}", outcome.log);
        assert_eq!(job.temporary("weft-report/plan.md").exists(), plan);
        assert!(!job.temporary("weft-report/number").exists());
        assert!(outcome.summary.contains("### Valid"), "{}", outcome.summary);
    }
}

#[test]
fn old_commits_approve_nothing_of_what_comes_after_a_tree() {
    let repository = Repository::new();
    repository.edit("fabric.yaml", "spec: {}", "spec: {gates: [widens-access]}");
    repository.commit("Ask before access widens\n\nWeft-Approve: widens-access");
    let head = repository.branch("widening", "Let the shop in", |repository| {
        for peer in ["east", "west"] {
            let old = "labels.app: till";
            repository.edit(&format!("peers/{peer}/tills.yaml"), old, "namespace: shop");
        }
    });
    for base in ["main", "main^{tree}"] {
        let base = repository.git(&["rev-parse", base]);
        let mut command = Command::new(binary::weft());
        binary::clean(&mut command)
            .args(["plan", "--base", &base, "--head", &head])
            .current_dir(repository.work());
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(4), "{base}: {output:?}");
    }
}

#[test]
fn a_clone_without_the_commit_before_passes_no_gate() {
    let repository = Repository::new();
    let head = repository.git(&["rev-parse", "HEAD"]);
    for before in ["c0ffee".repeat(6) + "c0ff", "null".to_owned()] {
        let machine = tempfile::tempdir().unwrap();
        let workflow = repository.workflow("check.yml");
        let mut job = Job::read(&workflow, "check", &repository.work(), machine.path());
        job.event("push", &head, &json!({"before": before}));
        let outcome = job.run(&["Check", "Show the report"]);
        assert_eq!(outcome.codes["Check"], 2, "{}", outcome.log);
        assert!(
            outcome.log.contains("is not in this clone"),
            "{}",
            outcome.log
        );
        assert!(outcome.summary.contains("### Valid"), "{}", outcome.summary);
    }
}

#[test]
fn the_action_checks_as_the_workflow_does() {
    let repository = Repository::new();
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let machine = tempfile::tempdir().unwrap();
    let action = top.join("deploy/action");
    let file = action.join("action.yml");
    let mut job = Job::read(&file, "", &repository.work(), machine.path());
    job.set(
        "GITHUB_ACTION_PATH",
        action.canonicalize().unwrap().to_str().unwrap(),
    );
    job.set("GITHUB_PATH", machine.path().join("path").to_str().unwrap());
    let names = ["Look at the source", "Put Weft on the path", "Check"];
    let outcome = job.run(&names);
    assert_eq!(
        outcome.codes.len(),
        2,
        "without a base nothing is checked: {outcome:?}"
    );
    assert!(
        fs::read_to_string(machine.path().join("path"))
            .unwrap()
            .ends_with("/bin\n")
    );

    let base = repository.git(&["rev-parse", "HEAD~1"]);
    job.input("base", &base);
    job.input("head", "HEAD");
    let outcome = job.run(&names);
    assert!(outcome.codes.values().all(|code| *code == 0), "{outcome:?}");
    assert!(job.temporary("weft-report/plan.md").exists(), "{outcome:?}");
    assert!(outcome.codes.contains_key("Check"));
}

#[test]
fn the_picture_is_of_the_comment() {
    let drawn = fs::read_to_string(picture::path()).unwrap_or_default();
    assert!(
        drawn == picture::widening(),
        "run `cargo run -p weft-tests --example picture`"
    );
}

#[test]
fn the_page_works() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/pull-requests.md");
    let page = fs::read_to_string(page).unwrap();
    let blocks = page.split("```sh\n").skip(1);
    let blocks: Vec<_> = blocks
        .map(|rest| rest.split("```").next().unwrap())
        .collect();
    assert_eq!(blocks.len(), 2);
    let folder = tempfile::tempdir().unwrap();
    let binaries = binary::weft().parent().unwrap().display().to_string();
    let mut command = Command::new("bash");
    let output = binary::clean(&mut command)
        .args(["-euxo", "pipefail", "-c", &blocks.concat()])
        .current_dir(folder.path())
        .env(
            "PATH",
            format!("{binaries}:{}", std::env::var("PATH").unwrap()),
        )
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("installed the hook"), "{said}");
}
