//! `weft demo` tells its story to the end, and cleans up.

use std::fs;
use std::process::Command;

use weft_tests::binary::{clean, weft};
use weft_tests::process::Process;

#[test]
fn the_demo_runs_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(weft());
    clean(&mut command)
        .arg("demo")
        .current_dir(folder.path())
        .env("TMPDIR", folder.path());
    let mut process = Process::start("weft demo", &mut command);
    let status = process.wait();
    let lines = process.lines();
    let told = lines.join("\n");
    assert!(status.success(), "{status}:\n{told}");
    let mut chapters = ["is allowed", "A commit denies it", "git revert", "mistake"].into_iter();
    let mut wanted = chapters.next();
    for line in &lines {
        if wanted.is_some_and(|wanted| line.contains(wanted)) {
            wanted = chapters.next();
        }
    }
    assert_eq!(wanted, None, "not told, or not in this order:\n{told}");
    assert!(told.contains("in force on both peers"), "{told}");
    assert!(told.contains("WEFT0"), "the diagnostic is missing:\n{told}");
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
    assert!(left.is_empty(), "left behind: {left:?}");
}
