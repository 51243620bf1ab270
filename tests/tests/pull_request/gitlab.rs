//! The same check on GitLab.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};
use weft_tests::binary;
use weft_tests::forge::{Forge, GITLAB_USER};
use weft_tests::workflow::TOKEN;

use super::Repository;

#[test]
fn gitlab_runs_the_same_check() {
    let repository = Repository::new();
    let text = fs::read_to_string(repository.work().join(".gitlab-ci.yml")).unwrap();
    let file: Value = serde_yaml::from_str(&text).unwrap();
    let script = file["check"]["script"][0].as_str().unwrap();
    let head = repository.branch("broken", "Slip", |repository| {
        repository.edit("peers/west/ledger.yaml", "port:", "prot:");
    });
    let run = |head: &str| {
        let mut command = Command::new("sh");
        binary::clean(&mut command)
            .args(["-ec", script])
            .current_dir(repository.work())
            .env(
                "CI_MERGE_REQUEST_DIFF_BASE_SHA",
                repository.git(&["rev-parse", "main"]),
            )
            .env("CI_COMMIT_SHA", head);
        let binaries = binary::weft().parent().unwrap().display().to_string();
        command.env(
            "PATH",
            format!("{binaries}:{}", std::env::var("PATH").unwrap()),
        );
        command.output().unwrap()
    };
    let output = run(&head);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let junit = repository.work().join("weft-report/validate.xml");
    assert!(fs::read_to_string(junit).unwrap().contains("WEFT0104"));
    assert!(repository.work().join("weft-report/plan.md").exists());
    // What the check leaves is never committed.
    assert_eq!(repository.git(&["status", "--porcelain"]), "");
    let output = run("main");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

/// A merge request's own file must not be what runs, nor must it be what the cache keeps.
#[test]
fn gitlab_runs_no_program_of_the_merge_request() {
    let repository = Repository::new();
    let text = fs::read_to_string(repository.work().join(".gitlab-ci.yml")).unwrap();
    let file: Value = serde_yaml::from_str(&text).unwrap();
    let script = file["check"]["before_script"].as_array().unwrap().iter();
    let script: Vec<_> = script.map(|line| line.as_str().unwrap()).collect();
    let script = format!("{}\nweft --version", script.join("\n"));
    let folder = file["check"]["variables"]["WEFT_CACHE_FOLDER"]
        .as_str()
        .unwrap();
    assert_eq!(file["check"]["cache"]["paths"], json!([folder]));
    let home = tempfile::tempdir().unwrap();
    let run = || {
        let mut command = Command::new("sh");
        binary::clean(&mut command)
            .args(["-ec", &script])
            .current_dir(repository.work())
            .env("WEFT_SOURCE", "https://weft.invalid")
            .env("WEFT_REVISION", "1")
            .env("WEFT_CACHE_FOLDER", folder)
            .env("WEFT_HOME", home.path());
        command.output().unwrap()
    };
    // What an earlier pipeline left in the cache is used, from outside of the work tree.
    fs::create_dir(repository.work().join(folder)).unwrap();
    fs::copy(binary::weft(), repository.work().join(folder).join("weft")).unwrap();
    assert_eq!(repository.git(&["status", "--porcelain"]), "");
    let output = run();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(home.path().join("bin/weft").exists());
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("weft "));

    fs::remove_dir_all(repository.work().join(folder)).unwrap();
    let owned = "#!/bin/sh\ntouch owned\n";
    repository.write(&format!("{folder}/weft"), owned);
    repository.git(&["add", "--force", folder]);
    repository.git(&["commit", "--quiet", "--message", "A program of ours"]);
    let output = run();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(!repository.work().join("owned").exists());
}

#[test]
fn gitlab_shows_the_plan_in_one_comment() {
    let repository = Repository::new();
    let text = fs::read_to_string(repository.work().join(".gitlab-ci.yml")).unwrap();
    let file: Value = serde_yaml::from_str(&text).unwrap();
    let script = file["comment"]["script"][0].as_str().unwrap();
    assert_eq!(file["comment"]["variables"]["GIT_STRATEGY"], "none");
    let forge = Forge::start();
    let machine = tempfile::tempdir().unwrap();
    fs::create_dir(machine.path().join("weft-report")).unwrap();
    let comment = |plan: &str| {
        fs::write(machine.path().join("weft-report/plan.md"), plan).unwrap();
        let mut command = Command::new("sh");
        let output = binary::clean(&mut command)
            .args(["-ec", script])
            .current_dir(machine.path())
            .env("CI_API_V4_URL", format!("{}/api/v4", forge.url()))
            .env("CI_PROJECT_ID", "3")
            .env("CI_MERGE_REQUEST_IID", "7")
            .env("WEFT_TOKEN", TOKEN)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(!said.contains(TOKEN));
        (output.status.code(), said)
    };
    // Somebody else's, and one of the same user's about something else.
    let copied = "<!-- weft-plan:acme -->\nI am the check";
    forge.note(1, copied);
    forge.note(GITLAB_USER, "Hello");
    for round in ["first", "second"] {
        let plan = format!("<!-- weft-plan:acme -->\n### Ok\n\n/close {round}\n  /merge\n");
        assert_eq!(comment(&plan).0, Some(0));
    }
    let notes = forge.notes();
    assert_eq!(notes.len(), 3, "{notes:?}");
    assert_eq!(notes[0].1, copied);
    let (author, body) = &notes[2];
    assert_eq!(*author, GITLAB_USER);
    assert!(body.contains("second") && !body.contains("first"), "{body}");
    let commands = body
        .lines()
        .filter(|line| line.trim_start().starts_with('/'));
    assert_eq!(commands.count(), 0, "{body}");
    // Another fabric has a comment of its own.
    assert_eq!(comment("<!-- weft-plan:other -->\n### Ok\n").0, Some(0));
    assert_eq!(forge.notes().len(), 4);
    assert_eq!(comment("### Forged\n").0, Some(1));
    // What somebody wrote before is found on a later page too.
    let forge_notes = forge.notes().len();
    for _ in 0..120 {
        forge.note(1, "+1");
    }
    assert_eq!(comment("<!-- weft-plan:other -->\n### Again\n").0, Some(0));
    assert_eq!(forge.notes().len(), forge_notes + 120);
}
