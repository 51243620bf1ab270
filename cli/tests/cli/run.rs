use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, ChildStderr, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::sandbox::Sandbox;

/// A peer that runs; it ends with the value.
struct Peer {
    process: Child,
    log: BufReader<ChildStderr>,
    admin: String,
}

impl Peer {
    /// Starts the peer east, and waits until it says that it runs.
    fn start(sandbox: &Sandbox) -> Self {
        let mut process = sandbox
            .command("", &arguments(&["--log-format", "json"]))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = BufReader::new(process.stderr.take().unwrap());
        let admin = String::new();
        let mut peer = Self {
            process,
            log,
            admin,
        };
        let event = peer.wait_for("the peer runs");
        peer.admin = event["fields"]["admin"].as_str().unwrap().to_owned();
        peer
    }

    /// Reads the log up to an event; the log ends with the process.
    fn wait_for(&mut self, message: &str) -> Value {
        let mut line = String::new();
        loop {
            line.clear();
            assert_ne!(self.log.read_line(&mut line).unwrap(), 0, "no {message:?}");
            let event: Value = serde_json::from_str(&line).unwrap();
            if event["fields"]["message"] == message {
                return event;
            }
        }
    }

    fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.process.id()).unwrap();
        kill_process(Pid::from_raw(id).unwrap(), signal).unwrap();
    }

    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.admin).unwrap();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n",
            self.admin
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn arguments<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec![
        "run",
        "--peer",
        "east",
        "--repo",
        "acme",
        "--cert",
        "home/.config/weft/acme/east/cert.pem",
        "--key",
        "home/.config/weft/acme/east/key.pem",
        "--listen",
        "127.0.0.1:0",
        "--admin",
        "127.0.0.1:0",
        "--state",
        "state",
        "--interval",
        "1h",
    ];
    arguments.extend(more);
    arguments
}

#[test]
fn a_peer_follows_the_repository_until_it_is_told_to_end() {
    let sandbox = Sandbox::new();
    sandbox.fabric();
    let mut peer = Peer::start(&sandbox);
    peer.wait_for("the revision is in force");

    // What is committed is in force after a SIGHUP, and the admin port says so.
    sandbox.edit("acme/peers/east/exports.yaml", "port: 8080", "port: 8081");
    let commit = sandbox.commit("acme", "Move the ledger");
    peer.signal(Signal::HUP);
    loop {
        let event = peer.wait_for("the revision is in force");
        if event["fields"]["revision"] == commit {
            break;
        }
    }
    // The gateway takes it over from the store in a moment of its own.
    let deadline = Instant::now() + Duration::from_secs(30);
    while !peer.get("/snapshot").contains(&commit) {
        assert!(Instant::now() < deadline, "the snapshot is an old one");
        std::thread::yield_now();
    }

    // The state is one peer's alone.
    let second = sandbox.weft("", &arguments(&[]));
    assert_eq!(second.code, 2);
    assert!(second.stderr.contains("in use"), "{second:?}");

    peer.signal(Signal::TERM);
    assert_eq!(peer.process.wait().unwrap().code(), Some(0));
}

#[test]
fn what_cannot_work_is_told_at_the_start() {
    let sandbox = Sandbox::new();
    sandbox.fabric();
    for (more, words) in [
        (&["--cert", "x.pem"][..], "2 certificates and 1 keys"),
        (
            &["--cert", "x.pem", "--key", "y.pem", "--log", "=="],
            "--log",
        ),
        (&["--git-username", "ada"], "--git-token-file"),
    ] {
        let outcome = sandbox.weft("", &arguments(more));
        assert_eq!(outcome.code, 2, "{outcome:?}");
        assert!(outcome.stderr.contains(words), "{outcome:?}");
    }
    let mut unreadable = arguments(&[]);
    unreadable[6] = "nowhere.pem";
    let outcome = sandbox.weft("", &unreadable);
    assert_eq!(outcome.code, 2);
    assert!(outcome.stderr.contains("nowhere.pem"), "{outcome:?}");
}
