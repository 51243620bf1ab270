//! The guide's commands do what the guide says.

use std::path::Path;
use std::process::Command;
use std::{env, fs};

use weft_tests::binary::{clean, weft};
use weft_tests::network::Loopback;
use weft_tests::process::Process;
use weft_tests::services::Service;

#[test]
fn the_guide_works() {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/guide.md");
    let guide = fs::read_to_string(guide).unwrap();
    // The guide's addresses, and the test's own in their place.
    let (east, west, service) = (Loopback::take(), Loopback::take(), Service::http());
    let mine = |text: String| {
        text.replace("127.0.0.2", &east.address().to_string())
            .replace("127.0.0.3", &west.address().to_string())
            .replace("127.0.0.4", &service.address().ip().to_string())
    };
    assert_eq!(service.address().port(), 8000, "as in the guide");
    let script = mine(blocks(&guide, "sh").join("\n"));
    let outputs = mine(blocks(&guide, "output").join("\n"));

    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    fs::create_dir(&home).unwrap();
    let binaries = weft().parent().unwrap().to_str().unwrap();
    let path = format!("{binaries}:{}", env::var("PATH").unwrap());
    let mut command = Command::new("bash");
    clean(&mut command)
        .args(["-euxo", "pipefail", "-c", &script])
        .current_dir(folder.path())
        .env("PATH", path)
        .env("HOME", home)
        .envs([
            ("GIT_AUTHOR_NAME", "Ada"),
            ("GIT_AUTHOR_EMAIL", "ada@example.org"),
            ("GIT_COMMITTER_NAME", "Ada"),
            ("GIT_COMMITTER_EMAIL", "ada@example.org"),
        ]);
    let mut process = Process::start("the guide", &mut command);
    let status = process.wait();
    for log in ["east.log", "west.log"] {
        let text = fs::read_to_string(folder.path().join(log)).unwrap_or_default();
        println!("--- {log}\n{text}");
    }
    assert!(status.success(), "{status}");
    let lines = process.lines();
    let mut told = lines.iter();
    for wanted in outputs.lines() {
        assert!(
            told.any(|line| line == wanted),
            "the guide promises {wanted:?}"
        );
    }
    assert!(service.accepted() >= 3, "the requests reached the service");
}

/// The fenced blocks whose fence says exactly `kind`.
fn blocks(text: &str, kind: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some(fence) = line.strip_prefix("```") else {
            continue;
        };
        let block: Vec<_> = lines.by_ref().take_while(|line| *line != "```").collect();
        if fence == kind {
            blocks.push(block.join("\n"));
        }
    }
    blocks
}
