//! The harness itself: what the other tests lean on does what they think.

use std::io::Read;
use std::net::Shutdown;
use std::process::Command;

use weft_tests::git_server::GitServer;
use weft_tests::network::{connect, exchange, http_get};
use weft_tests::process::{Process, Signal};
use weft_tests::repository::{FabricRepository, git_command};
use weft_tests::services::{Service, exchange_patterns};

#[test]
fn git_itself_can_clone_from_the_server() {
    let repository = FabricRepository::new();
    repository.write("fabric.yaml", "a: b\n");
    let commit = repository.commit("First");
    let mut server = GitServer::start_with_authorization(
        &repository.bare(),
        // "reader:secret" in base64.
        "Basic cmVhZGVyOnNlY3JldA==",
    );
    let clone = |url: &str| {
        let folder = tempfile::tempdir().unwrap();
        let cloned = git_command(folder.path())
            .args(["clone", "--quiet", "--depth", "1", url, "clone"])
            .status()
            .unwrap();
        let head = git_command(folder.path())
            .args(["-C", "clone", "rev-parse", "HEAD"])
            .output()
            .unwrap();
        let head = String::from_utf8(head.stdout).unwrap();
        cloned.success().then(|| head.trim().to_owned())
    };
    let url = server.url_with("reader:secret@");
    assert_eq!(clone(&url).as_deref(), Some(commit.as_str()));
    assert_eq!(clone(&server.url()), None);
    server.stop();
    assert_eq!(clone(&url), None);
    server.restart();
    assert_eq!(clone(&url).as_deref(), Some(commit.as_str()));
}

#[test]
fn services_serve() {
    let echo = Service::echo();
    assert_eq!(exchange(echo.address(), b"word").unwrap(), b"word");
    assert_eq!(echo.accepted(), 1);

    let late = Service::echo_after_end();
    assert_eq!(exchange(late.address(), b"word").unwrap(), b"word");

    let banner = Service::banner("hello\n");
    assert_eq!(exchange(banner.address(), b"x").unwrap(), b"hello\nx");

    let http = Service::http();
    let answer = http_get(http.address(), "/a").unwrap();
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (200, "GET /a HTTP/1.0\n")
    );
}

#[test]
fn a_pattern_that_isnt_the_one_is_found_out() {
    let bytes = 1 << 20;
    let verdict = |seed| {
        let service = Service::exchange(1, bytes);
        let mut stream = connect(service.address()).unwrap();
        exchange_patterns(&stream, seed, 1, bytes).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut verdict = String::new();
        stream.read_to_string(&mut verdict).unwrap();
        verdict
    };
    assert_eq!(verdict(2), "intact");
    assert_eq!(verdict(3), "block 0 isn't what was sent");
}

#[test]
fn processes_end_with_their_children() {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "echo begins; sleep 1000 & sleep 1000"]);
    let mut process = Process::start("sleeper", &mut command);
    process.wait_for_line("that it began", |line| line == "begins");
    assert!(process.is_running());
    // Its grandchild holds the pipe open: only when that ends too does the wait return.
    process.kill();

    let mut command = Command::new("/bin/sh");
    command.args([
        "-c",
        "trap 'echo ends; exit 7' TERM; echo begins; while :; do sleep 0.01; done",
    ]);
    let mut process = Process::start("trap", &mut command);
    process.wait_for_line("that it began", |line| line == "begins");
    process.signal(Signal::TERM);
    assert_eq!(process.wait().code(), Some(7));
    assert_eq!(process.lines(), ["begins", "ends"]);
}
