//! The workflows of this project, and those that `weft init` lays down: nothing in them is moved by
//! others, may do more than it must, or runs what somebody else has written.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;
use weft_tests::binary;
use weft_tests::namespace::skip;

/// A commit of nobody's.
const ACTION: &str = "example/weft@0123456789abcdef0123456789abcdef01234567";

/// What may be written, and where; everything else only reads.
const WRITES: [(&str, &str, &str); 2] = [
    ("check.yml", "code-scanning", "security-events"),
    ("comment.yml", "comment", "pull-requests"),
];

/// All workflows and actions: of the project, of the template as it is laid down, with the action
/// and without.
struct Files {
    paths: Vec<PathBuf>,
    _folder: TempDir,
}

impl Files {
    fn find() -> Self {
        let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let folder = tempfile::tempdir().unwrap();
        let mut folders = vec![top.join(".github/workflows")];
        for (name, options) in [("plain", &[][..]), ("action", &["--action", ACTION])] {
            let arguments = [&["init", name], options].concat();
            let laid_down = binary::run(folder.path(), &arguments);
            assert!(laid_down.status.success(), "{laid_down:?}");
            folders.push(folder.path().join(name).join(".github/workflows"));
        }
        let mut paths = vec![top.join("deploy/action/action.yml")];
        for folder in folders {
            let entries = fs::read_dir(folder).unwrap();
            paths.extend(entries.map(|entry| entry.unwrap().path()));
        }
        paths.sort();
        assert_eq!(paths.len(), 6, "{paths:?}");
        Self {
            paths,
            _folder: folder,
        }
    }
}

fn read(path: &Path) -> (String, Value) {
    let text = fs::read_to_string(path).unwrap();
    let value = serde_yaml::from_str(&text).unwrap();
    (text, value)
}

/// The steps of all jobs, or of an action.
fn steps(file: &Value) -> Vec<&Value> {
    let jobs = file["jobs"].as_object().into_iter().flatten();
    let jobs = jobs.filter_map(|(_, job)| job["steps"].as_array());
    let all: Vec<_> = jobs
        .chain(file["runs"]["steps"].as_array())
        .flatten()
        .collect();
    assert!(!all.is_empty());
    all
}

#[test]
fn actions_are_pinned_to_a_commit() {
    for path in Files::find().paths {
        let (text, file) = read(&path);
        for step in steps(&file) {
            let Some(action) = step["uses"].as_str() else {
                continue;
            };
            let (_, commit) = action.split_once('@').unwrap();
            let whole = commit.len() == 40 && commit.bytes().all(|b| b.is_ascii_hexdigit());
            assert!(whole, "{}: {action}", path.display());
            // People read a version.
            let line = text.lines().find(|line| line.contains(action)).unwrap();
            assert!(
                line.contains(" # v") || action.contains("example/"),
                "{line}"
            );
            if action.starts_with("actions/checkout@") {
                assert_eq!(
                    step["with"]["persist-credentials"],
                    false,
                    "{}",
                    path.display()
                );
            }
        }
    }
}

#[test]
fn no_job_may_do_more_than_it_must() {
    for path in Files::find().paths {
        let name = path.file_name().unwrap().to_str().unwrap();
        let (text, file) = read(&path);
        if name == "action.yml" {
            continue;
        }
        assert!(!text.contains("secrets."), "{}", path.display());
        // Nothing unless a job says so.
        assert_eq!(
            file["permissions"],
            serde_json::json!({}),
            "{}",
            path.display()
        );
        for (job, value) in file["jobs"].as_object().unwrap() {
            assert!(
                value["timeout-minutes"].is_u64(),
                "{}: {job}",
                path.display()
            );
            let permissions = value["permissions"].as_object();
            let permissions = permissions.unwrap_or_else(|| panic_of(&path, job));
            for (what, access) in permissions {
                let may_write = WRITES.contains(&(name, job.as_str(), what.as_str()));
                let wanted = if may_write { "write" } else { "read" };
                assert_eq!(access, wanted, "{}: {job}: {what}", path.display());
            }
        }
    }
}

#[expect(clippy::panic, reason = "a test fails by panicking")]
fn panic_of(path: &Path, job: &str) -> ! {
    panic!("{}: {job} has no permissions of its own", path.display())
}

#[test]
fn nobody_elses_text_is_run() {
    for path in Files::find().paths {
        let (text, file) = read(&path);
        // YAML 1.1 reads the key `on` as true.
        let triggers = [&file["on"], &file["true"]];
        let has = |name: &str| triggers.iter().any(|triggers| !triggers[name].is_null());
        assert!(!has("pull_request_target"), "{}", path.display());
        let privileged = has("workflow_run");
        for step in steps(&file) {
            let script = step["run"].as_str().unwrap_or_default();
            assert!(!script.contains("${{"), "{}: {script}", path.display());
            let action = step["uses"].as_str().unwrap_or_default();
            let checks_out = action.contains("checkout") || script.contains("git ");
            assert!(!(privileged && checks_out), "{}", path.display());
        }
        assert!(
            privileged == path.ends_with("comment.yml"),
            "{}",
            path.display()
        );
        assert!(!text.contains("curl -k") && !text.contains("--insecure"));
    }
}

#[test]
fn an_action_takes_the_place_of_the_build() {
    let files = Files::find();
    for path in &files.paths {
        let (text, _) = read(path);
        assert!(!text.contains("# weft: "), "{}", path.display());
        if !path.ends_with("check.yml") {
            continue;
        }
        let with_action = path.to_string_lossy().contains("/action/");
        let action =
            "- uses: example/weft/deploy/action@0123456789abcdef0123456789abcdef01234567\n";
        assert_eq!(text.contains(action), with_action, "{text}");
        assert_eq!(text.contains("cargo install"), !with_action, "{text}");
        assert_eq!(text.contains("WEFT_SOURCE"), !with_action, "{text}");
        assert!(text.contains("sh .weft/check.sh github"), "{text}");
    }
}

#[test]
fn a_linter_of_others_finds_nothing() {
    let Some(validators) = env::var_os("WEFT_VALIDATORS") else {
        let reason = "the linter isn't installed (tests/validators/install)";
        skip("a_linter_of_others_finds_nothing", reason);
        return;
    };
    let linter = Path::new(&validators).join("venv/bin/zizmor");
    let files = Files::find();
    let judge = |paths: &[PathBuf]| {
        Command::new(&linter)
            .args(["--offline", "--no-progress", "--color=never", "--"])
            .args(paths)
            .output()
            .unwrap()
    };
    let output = judge(&files.paths);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    // It does look.
    let folder = tempfile::tempdir().unwrap();
    let bad = folder.path().join(".github/workflows");
    fs::create_dir_all(&bad).unwrap();
    let bad = bad.join("bad.yml");
    let text = "on: pull_request_target\npermissions: write-all\njobs: {a: {runs-on: x, steps: [{uses: a/b@main}]}}\n";
    fs::write(&bad, text).unwrap();
    assert!(!judge(&[bad]).status.success());
}
