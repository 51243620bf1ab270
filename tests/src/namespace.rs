//! Tests with a network of their own: user, mount, process and network namespaces.
//!
//! A test whose peers need addresses runs its body by [`isolated`]: the test's binary starts itself
//! once more inside fresh namespaces, where it is root of a network that nobody else sees. So such a
//! test needs no privileges, meets no other test's addresses, and leaves neither processes nor
//! interfaces behind, however it ends.

use std::any::type_name;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};
use std::{env, process, thread};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::api_server;
use crate::binary::weft;

/// Set inside the namespaces: the file by which the body proves that it ran.
const PROOF: &str = "WEFT_TEST_ISOLATED";
/// A file that `tests/run` names: a line is added to it for each test that is skipped.
const SKIPPED: &str = "WEFT_TEST_SKIPPED";
/// More than the longest test needs on a loaded machine.
const LONGEST: Duration = Duration::from_secs(420);

/// The address of the test itself in the network between the clusters.
pub const OUTSIDE: Ipv4Addr = Ipv4Addr::new(172, 18, 0, 254);

/// A network namespace: a machine or a Pod, as far as its addresses go.
///
/// All of them lie inside those of the test, and end with them.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    path: PathBuf,
}

/// Runs the body of a test in namespaces of its own, where it is root.
///
/// Where the system forbids them, the test is skipped: it says so on stderr, past the capture of the
/// test runner, and adds a line to the file that the environment's `WEFT_TEST_SKIPPED` names.
pub fn isolated<F: FnOnce()>(body: F) {
    if let Some(proof) = env::var_os(PROOF) {
        lay_network();
        body();
        fs::write(proof, "done").expect("the proof can be written");
        return;
    }
    let name = test_of::<F>();
    if let Err(reason) = &*AVAILABLE {
        let words = "user and network namespaces can't be had here";
        skip(name, &format!("{words}: {reason}"));
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (proof, said) = (folder.path().join("proof"), folder.path().join("said"));
    let output = File::create(&said).expect("the folder is ours");
    let mut child = unshare()
        .arg(env::current_exe().expect("a process knows its binary"))
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .arg("--include-ignored")
        .env(PROOF, &proof)
        // Built out here, where everything is in its place.
        .env("WEFT_BIN", weft())
        .env("WEFT_APISERVER", api_server::binary())
        .stdin(Stdio::null())
        .stdout(output.try_clone().expect("a file can be shared"))
        .stderr(output)
        .spawn()
        .expect("unshare is installed");
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().expect("own child") {
            break Some(status);
        }
        if start.elapsed() > LONGEST {
            // What runs inside goes with it.
            let _ = child.kill();
            let _ = child.wait();
            break None;
        }
        thread::sleep(Duration::from_millis(20));
    };
    let said = fs::read(&said).unwrap_or_default();
    let said = String::from_utf8_lossy(&said);
    eprintln!("{said}");
    for line in said.lines().filter(|line| line.starts_with(MEASURED)) {
        tell(line);
    }
    let status = status.unwrap_or_else(|| panic!("{name} isn't done after {LONGEST:?}"));
    assert!(status.success(), "{name} failed in its namespaces");
    assert!(proof.exists(), "{name} isn't a test that can be run again");
}

/// Tells a measurement to whoever reads the log, also of a test that passes.
pub fn measured(text: &str) {
    tell(&format!("{MEASURED}{text}"));
}

/// What a line with a measurement begins with.
const MEASURED: &str = "measured: ";

// === impl Namespace ===

impl Namespace {
    /// A new namespace, with its loopback interface up.
    pub fn new(name: &str) -> Self {
        ip(&format!("netns add {name}\n-n {name} link set lo up\n"));
        Self {
            name: name.to_owned(),
            path: Path::new("/run/netns").join(name),
        }
    }

    /// Its name, as `ip netns` has it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file that stands for it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Does something there: what is opened in `work` belongs to this namespace for ever.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                let file = File::open(&self.path).expect("the namespace is there");
                move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
                    .expect("it is ours");
                work()
            });
            match inside.join() {
                Ok(value) => value,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// Listens there.
    pub fn listen(&self, address: SocketAddr) -> io::Result<TcpListener> {
        self.enter(|| TcpListener::bind(address))
    }

    /// Lets packets pass through it.
    pub fn forward_packets(&self) {
        self.enter(forward_packets);
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Its processes and sockets keep it until they end; the name is free.
        try_ip(&format!("netns delete {}\n", self.name)).ok();
    }
}

/// Runs lines of `ip -batch`, each in the network namespace that it names: `-n NAME ...`.
pub fn ip(lines: &str) {
    try_ip(lines).unwrap_or_else(|said| panic!("ip: {said}\n{lines}"));
}

fn try_ip(lines: &str) -> Result<(), String> {
    let mut batches: Vec<(&str, String)> = Vec::new();
    for line in lines.lines() {
        let inside = line
            .strip_prefix("-n ")
            .and_then(|rest| rest.split_once(' '));
        let (namespace, line) = inside.unwrap_or(("", line));
        match batches.last_mut() {
            Some((last, batch)) if *last == namespace => {
                batch.push_str(line);
                batch.push('\n');
            }
            _ => batches.push((namespace, format!("{line}\n"))),
        }
    }
    batches
        .iter()
        .try_for_each(|(namespace, batch)| run_batch(namespace, batch))
}

fn run_batch(namespace: &str, lines: &str) -> Result<(), String> {
    let mut command = Command::new("ip");
    if !namespace.is_empty() {
        command.args(["-n", namespace]);
    }
    let mut child = command
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("iproute2 is installed");
    let mut stdin = child.stdin.take().expect("stdin is piped");
    // One that fails at once says why.
    let _ = stdin.write_all(lines.as_bytes());
    drop(stdin);
    let output = child
        .wait_with_output()
        .map_err(|error| error.to_string())?;
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

/// The network between the clusters: a bridge, and a router that lets their nodes talk to each other
/// but none of their Pods to another cluster's.
fn lay_network() {
    assert_eq!(process::id(), 1, "this runs outside of the namespaces");
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "tmpfs", "/run"])
        .status();
    assert!(mounted.expect("mount is installed").success());
    ip(&format!(
        "link set lo up
link add fabric type bridge
addr add {OUTSIDE}/16 dev fabric
link set fabric up
rule add from 10.0.0.0/8 to 10.0.0.0/8 prohibit
"
    ));
    forward_packets();
}

fn forward_packets() {
    fs::write("/proc/sys/net/ipv4/ip_forward", "1").expect("the network is ours");
}

/// A process tree that ends when its first process does.
fn unshare() -> Command {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--net", "--mount", "--pid"]);
    command.args(["--fork", "--kill-child"]);
    command
}

/// Whether the system allows what [`isolated`] needs; tried once, by doing it.
static AVAILABLE: LazyLock<Result<(), String>> = LazyLock::new(|| {
    let script =
        "mount -t tmpfs tmpfs /run && ip link add bridge0 type bridge && ip netns add pod0";
    let output = unshare().args(["sh", "-ec", script]).output();
    match output {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Err(format!("unshare: {error}")),
    }
});

/// Says that a test can't run here, on stderr and in the file that `WEFT_TEST_SKIPPED` names.
pub fn skip(name: &str, reason: &str) {
    let line = format!("SKIPPED {name}: {}", reason.replace('\n', "; "));
    tell(&line);
    if let Some(path) = env::var_os(SKIPPED) {
        let file = OpenOptions::new().create(true).append(true).open(path);
        let written = file.and_then(|mut file| writeln!(file, "{line}"));
        written.expect("the list of skipped tests can be written");
    }
}

/// Writes a line where the test runner doesn't capture it.
fn tell(line: &str) {
    // Nobody to tell is no failure.
    let _ = io::stderr().write_all(format!("{line}\n").as_bytes());
}

/// The name of the test that a closure is the body of.
fn test_of<F>() -> &'static str {
    let name = type_name::<F>();
    let name = name.strip_suffix("::{{closure}}").unwrap_or(name);
    name.split_once("::").map_or(name, |(_, path)| path)
}
