//! A child process that ends with the test, and what it said.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use parking_lot::Mutex;
pub use rustix::process::Signal;
use rustix::process::{Pid, Resource, getrlimit, kill_process, kill_process_group, prlimit};

use crate::wait::wait_for;

/// A child process in a process group of its own.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    readers: Vec<JoinHandle<()>>,
}

// === impl Process ===

impl Process {
    /// Starts a process; `name` is what its lines are printed under.
    pub fn start(name: &str, command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("{name} doesn't start: {error} ({command:?})"));
        let lines = Arc::new(Mutex::new(Vec::new()));
        let stdout = child.stdout.take().expect("stdout is piped");
        let stderr = child.stderr.take().expect("stderr is piped");
        let readers = vec![collect(stdout, &lines), collect(stderr, &lines)];
        Self {
            name: name.to_owned(),
            child,
            lines,
            readers,
        }
    }

    /// The process's id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The memory that it has in use, in KiB.
    pub fn resident(&self) -> u64 {
        let path = format!("/proc/{}/status", self.id());
        let status = fs::read_to_string(path).unwrap_or_default();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .unwrap_or_default();
        let kib = line.split_whitespace().next();
        kib.and_then(|kib| kib.parse().ok()).unwrap_or(0)
    }

    /// How many descriptors it has open.
    pub fn descriptors(&self) -> u64 {
        fs::read_dir(format!("/proc/{}/fd", self.id()))
            .expect("the process runs")
            .count() as u64
    }

    /// Lets it open no more than so many descriptors, from now on.
    pub fn limit_descriptors(&self, count: u64) {
        let mut limit = getrlimit(Resource::Nofile);
        limit.current = Some(count);
        prlimit(Some(self.pid()), Resource::Nofile, limit).expect("a child of our own");
    }

    /// What it has used so far, for people.
    pub fn usage(&self) -> String {
        let read = |name: &str| {
            fs::read_to_string(format!("/proc/{}/{name}", self.id())).unwrap_or_default()
        };
        let status = read("status");
        let mebibytes = |field: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(field));
            let kib = line.and_then(|line| line.trim_start_matches(':').split_whitespace().next());
            kib.and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) / 1024
        };
        // After the name in parentheses: utime and stime are the 12th and 13th, in hundredths.
        let stat = read("stat");
        let fields = stat.rsplit(')').next().unwrap_or_default();
        let ticks = fields.split_whitespace().skip(11).take(2);
        let ticks: u64 = ticks.filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
        format!(
            "{}.{:02} CPU s, {} MiB resident, at most {} MiB",
            ticks / 100,
            ticks % 100,
            mebibytes("VmRSS"),
            mebibytes("VmHWM"),
        )
    }

    /// What it said so far, line by line.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().clone()
    }

    /// Waits until a line satisfies a condition, and returns it.
    pub fn wait_for_line(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        wait_for(&format!("{} says {what}", self.name), || {
            let lines = self.lines.lock();
            let line = lines.iter().find(|line| wanted(line)).cloned();
            line.ok_or_else(|| format!("{} lines without it", lines.len()))
        })
    }

    /// Sends a signal to the process.
    pub fn signal(&self, signal: Signal) {
        // One that has ended already is no failure.
        let _ = kill_process(self.pid(), signal);
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("own child").is_none()
    }

    /// Waits until it has ended and everything that it said is read; what it started and left
    /// behind is ended.
    pub fn wait(&mut self) -> ExitStatus {
        let status = wait_for(&format!("{} ends", self.name), || {
            let status = self.child.try_wait().map_err(|error| error.to_string())?;
            status.ok_or_else(|| "still running".to_owned())
        });
        // What is left holds the pipes open.
        let _ = kill_process_group(self.pid(), Signal::KILL);
        for reader in self.readers.drain(..) {
            reader.join().expect("a reader doesn't panic");
        }
        status
    }

    /// Ends the process and everything that it started, at once.
    pub fn kill(&mut self) {
        let _ = kill_process_group(self.pid(), Signal::KILL);
        self.wait();
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = kill_process_group(self.pid(), Signal::KILL);
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- {} said:", self.name);
            for line in self.lines.lock().iter() {
                eprintln!("{line}");
            }
            eprintln!("---");
        }
    }
}

/// Reads a pipe to its end, however long that takes, so that the process never waits for us.
fn collect(pipe: impl Read + Send + 'static, lines: &Arc<Mutex<Vec<String>>>) -> JoinHandle<()> {
    let lines = Arc::clone(lines);
    thread::spawn(move || {
        for line in BufReader::new(pipe).split(b'\n') {
            let Ok(line) = line else { break };
            lines
                .lock()
                .push(String::from_utf8_lossy(&line).into_owned());
        }
    })
}
