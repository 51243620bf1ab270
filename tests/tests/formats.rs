//! The forms in which reports are written, judged by what others wrote.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking; clippy knows only functions marked as tests"
)]

#[path = "formats/mistakes.rs"]
mod mistakes;
#[path = "formats/runs.rs"]
mod runs;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use fabric::diagnostic::Code;
use serde_json::Value;
use tempfile::TempDir;
use weft_tests::binary;
use weft_tests::namespace::skip;
use weft_tests::repository::git_command;

/// A repository of its own.
fn repository(write: fn(&Path)) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    folder
}

/// The forms in which everything is shown.
const FORMS: [&str; 6] = ["text", "json", "sarif", "github", "junit", "markdown"];

/// What `weft validate` writes in each of the forms.
fn validated(folder: &Path, arguments: &[&str]) -> [String; FORMS.len()] {
    let out = tempfile::tempdir().unwrap();
    let file = |form: &str| out.path().join(form);
    let outputs = FORMS.map(|form| format!("{form}={}", file(form).display()));
    let mut all = vec!["validate", "--now", "2026-06-01T00:00:00Z", "--notes"];
    all.extend(outputs.iter().flat_map(|output| ["-o", output]));
    all.extend(arguments);
    let output = binary::run(folder, &all);
    assert!(output.status.code() < Some(2), "{output:?}");
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    FORMS.map(|form| fs::read_to_string(file(form)).unwrap())
}

/// The codes of a report in JSON.
fn codes(report: &str) -> BTreeSet<String> {
    let report: Value = serde_json::from_str(report).unwrap();
    let diagnostics = report["diagnostics"].as_array().unwrap().iter();
    let codes = diagnostics.map(|diagnostic| diagnostic["code"].as_str().unwrap().to_owned());
    codes.collect()
}

/// A line for each diagnostic of a report in JSON.
fn lines(report: &str) -> String {
    let report: Value = serde_json::from_str(report).unwrap();
    let diagnostics = report["diagnostics"].as_array().unwrap().iter();
    diagnostics
        .map(|diagnostic| format!("{diagnostic}\n"))
        .collect()
}

/// A line for each result of a SARIF log.
fn results(log: &str) -> String {
    let log: Value = serde_json::from_str(log).unwrap();
    let results = log["runs"][0]["results"].as_array().unwrap().iter();
    let line = |result: &Value| {
        let location = &result["locations"][0]["physicalLocation"];
        let region = &location["region"];
        let related = result["relatedLocations"].as_array().map_or(0, Vec::len);
        format!(
            "{} {} {} {}:{}-{}:{} +{related} {}\n",
            result["ruleId"],
            result["level"],
            location["artifactLocation"]["uri"],
            region["startLine"],
            region["startColumn"],
            region["endLine"],
            region["endColumn"],
            result["message"]["text"],
        )
    };
    results.map(line).collect()
}

#[test]
fn every_code_in_every_form() {
    let mut settings = insta::Settings::clone_current();
    // Certificates, and commits with them, are new each time.
    settings.add_filter(r"[0-9a-f]{64}", "[fingerprint]");
    settings.add_filter(r#"(weftPlace/v1": ")[0-9a-f]{32}"#, "$1[place]");
    // Signatures aren't all of one length.
    let offsets = r#"(cert\.pem","span":\{)"start":[0-9]+,"end":[0-9]+"#;
    settings.add_filter(offsets, "$1[offsets]");
    settings.add_filter(r"\b[0-9a-f]{40}\b", "[commit]");
    settings.add_filter(r"\b(commit `?)[0-9a-f]{12}\b", "$1[commit]");
    let mut found = BTreeSet::new();
    settings.bind(|| {
        for run in runs::RUNS {
            let folder = repository(run.write);
            for (form, written) in FORMS
                .into_iter()
                .zip(validated(folder.path(), run.arguments))
            {
                if form == "json" {
                    found.extend(codes(&written));
                }
                let written = match (form, run.is_large) {
                    // The smaller ones show all that a result has.
                    ("sarif", true) => results(&written),
                    ("json", true) => lines(&written),
                    _ => written,
                };
                insta::assert_snapshot!(format!("{}_{form}", run.name), written);
            }
        }
    });
    let wanted = Code::ALL.iter().map(|code| code.as_str().to_owned());
    assert_eq!(found, wanted.collect());
}

/// What is told of a report by a schema that others wrote, or that is committed here.
fn check(arguments: &[&str]) {
    let Some(validators) = validators() else {
        return;
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("validators/check.py");
    let output = Command::new(validators.join("venv/bin/python"))
        .arg(script)
        .args(arguments)
        .output()
        .expect("the validators are installed");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{arguments:?}: {said}{output:?}");
}

/// Where the validators are, which `tests/validators/install` tells.
fn validators() -> Option<PathBuf> {
    env::var_os("WEFT_VALIDATORS").map(PathBuf::from)
}

#[test]
fn judges_of_others_accept_the_forms() {
    let Some(judges) = validators() else {
        skip(
            "judges_of_others_accept_the_forms",
            "WEFT_VALIDATORS isn't set",
        );
        return;
    };
    let judges = judges.to_str().unwrap();
    let schemas = Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas/reports");
    let folder = repository(mistakes::write);
    let git = |arguments: &[&str]| {
        let output = git_command(folder.path()).args(arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    git(&["init", "--quiet", "--initial-branch", "main"]);
    git(&["add", "--all"]);
    git(&["commit", "--quiet", "--message", "Many mistakes"]);
    // Names that mean something to each of the forms.
    let names = [
        "a b%0A::error::x.yaml",
        "<b>&\u{1b}\u{fffe}\n]]>.yaml",
        "`@team` [x](y).yaml",
        "ü?#:,.yaml",
    ];
    for name in names {
        let path = folder.path().join("peers/east").join(name);
        fs::write(path, format!("kind: [\"{name}\", \u{1b}]\n")).unwrap();
    }
    let access = folder.path().join("peers/west/access.yaml");
    fs::remove_file(access).unwrap();
    let out = tempfile::tempdir().unwrap();
    let file = |name: &str| out.path().join(name).to_str().unwrap().to_owned();
    for command in ["validate", "plan"] {
        let (sarif, junit, json) = (file("sarif"), file("junit"), file("json"));
        let outputs = [("sarif", &sarif), ("junit", &junit), ("json", &json)];
        let outputs: Vec<_> = outputs.map(|(form, file)| format!("{form}={file}")).into();
        let mut arguments = vec![command];
        arguments.extend(outputs.iter().flat_map(|output| ["-o", output]));
        let output = binary::run(folder.path(), &arguments);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        check(&["sarif", judges, &sarif]);
        check(&["junit", judges, &junit]);
        let schema = schemas.join(format!("{command}.json"));
        check(&["json", schema.to_str().unwrap(), &json]);
    }
    // A judge that accepts everything would be none.
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("validators/check.py");
    fs::write(file("bad"), r#"{"version": "2.1.0", "runs": [{}]}"#).unwrap();
    fs::write(file("bad.xml"), "<testsuites><testcase/></testsuites>").unwrap();
    for (form, bad) in [("sarif", file("bad")), ("junit", file("bad.xml"))] {
        let python = Path::new(judges).join("venv/bin/python");
        let output = Command::new(python)
            .arg(&script)
            .args([form, judges, &bad])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{form}: {output:?}");
    }
}
