//! Git's smart protocol through the system's `ssh`, as Git itself does it.

use std::io::{ErrorKind, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use git2::transport::{Service, SmartSubtransportStream};
use parking_lot::Mutex;

use super::address::{Place, SshAddress};
use super::error::{FetchError, printable};
use super::operation::Operation;
use super::remote::SshOptions;
use super::transport::{Adapter, Guarded, Stream, Subtransport};

/// What is kept of the words of `ssh`: the last ones say why it gave up.
const MAX_WORDS: usize = 4 << 10;
/// How long `ssh` has, once it has closed its output, to say why: a second in all.
const GRACE_STEPS: u32 = 200;
const GRACE_STEP: Duration = Duration::from_millis(5);

pub(super) struct Ssh {
    operation: Arc<Operation>,
}

/// A running `ssh`.
struct Session {
    host: String,
    child: Arc<Mutex<Child>>,
    input: ChildStdin,
    output: ChildStdout,
    words: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

// === impl Ssh ===

impl Ssh {
    pub(super) fn new(operation: Arc<Operation>) -> Adapter<Self> {
        Adapter(Self { operation })
    }
}

impl Subtransport for Ssh {
    fn operation(&self) -> &Arc<Operation> {
        &self.operation
    }

    fn open(&self, _: Service) -> Result<Box<dyn SmartSubtransportStream>, FetchError> {
        let remote = &self.operation.remote;
        let Place::Ssh(address) = &remote.address.0 else {
            return Err(FetchError::Git("the address isn't ssh".to_owned()));
        };
        let session = Session::start(address, &remote.ssh)?;
        let child = Arc::clone(&session.child);
        self.operation.on_stop(move || {
            // It may have ended by itself meanwhile.
            let _ = child.lock().kill();
        });
        Ok(Guarded::boxed(&self.operation, session))
    }
}

// === impl Session ===

impl Session {
    fn start(address: &SshAddress, options: &SshOptions) -> Result<Self, FetchError> {
        let failed = |source| FetchError::SshStart {
            program: options.program.clone(),
            source,
        };
        let mut child = command(address, options).spawn().map_err(failed)?;
        let (input, output, errors) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(input), Some(output), Some(mut errors)) = (input, output, errors) else {
            return Err(failed(std::io::Error::other("its pipes are missing")));
        };
        let words = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&words);
        let reader = std::thread::spawn(move || {
            let mut buffer = [0; 1024];
            while let Ok(count @ 1..) = errors.read(&mut buffer) {
                let mut kept = kept.lock();
                kept.extend_from_slice(buffer.get(..count).unwrap_or_default());
                let excess = kept.len().saturating_sub(MAX_WORDS);
                kept.drain(..excess);
            }
        });
        Ok(Self {
            host: address.host.clone(),
            child: Arc::new(Mutex::new(child)),
            input,
            output,
            words,
            reader,
        })
    }

    /// Why `ssh` closed its end.
    fn ended(&self) -> FetchError {
        // Its output is closed, so that it is ending. What it started may hold its error pipe open,
        // and whoever interrupts the fetch needs the child: neither is waited for without end.
        let mut status = self.child.lock().try_wait();
        for _ in 0..GRACE_STEPS {
            if !matches!(status, Ok(None)) && self.reader.is_finished() {
                break;
            }
            std::thread::sleep(GRACE_STEP);
            status = self.child.lock().try_wait();
        }
        let words = last_lines(&String::from_utf8_lossy(&self.words.lock()));
        let message = match (words.is_empty(), status) {
            (false, _) => words,
            (true, Ok(Some(status))) => format!("it ended early ({status})"),
            (true, Ok(None)) => "it closed the connection".to_owned(),
            (true, Err(error)) => error.to_string(),
        };
        let host = self.host.clone();
        FetchError::Ssh { host, message }
    }
}

impl Stream for Session {
    fn receive(&mut self, buffer: &mut [u8]) -> Result<usize, FetchError> {
        loop {
            match self.output.read(buffer) {
                // libgit2 only reads on where something must come.
                Ok(0) if !buffer.is_empty() => return Err(self.ended()),
                Ok(count) => return Ok(count),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Err(self.ended()),
            }
        }
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), FetchError> {
        match self
            .input
            .write_all(bytes)
            .and_then(|()| self.input.flush())
        {
            Ok(()) => Ok(()),
            Err(_) => Err(self.ended()),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let mut child = self.child.lock();
        // All that was wanted was received; a server that doesn't end must not hold us up.
        let _ = child.kill();
        let _ = child.wait();
    }
}

fn command(address: &SshAddress, options: &SshOptions) -> Command {
    let mut command = Command::new(&options.program);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // Nobody is there to answer a question, and an unknown host key is never accepted.
        .args(["-o", "BatchMode=yes"])
        .args(["-o", "StrictHostKeyChecking=yes"])
        .args(["-o", "ConnectTimeout=10"])
        // A master in the background would outlive the fetch.
        .args(["-o", "ControlMaster=no"])
        .args(["-o", "ClearAllForwardings=yes"])
        .args(["-a", "-x", "-T"]);
    if let Some(identity) = &options.identity {
        command
            .args(["-o", "IdentitiesOnly=yes"])
            .arg("-o")
            .arg(option("IdentityFile", identity));
    }
    if let Some(known_hosts) = &options.known_hosts {
        command
            .args(["-o", "GlobalKnownHostsFile=none"])
            .arg("-o")
            .arg(option("UserKnownHostsFile", known_hosts));
    }
    if let Some(port) = address.port {
        command.arg("-p").arg(port.to_string());
    }
    let host = match &address.user {
        Some(user) => format!("{user}@{}", address.host),
        None => address.host.clone(),
    };
    // Everything behind `--` is host and command, whatever it begins with.
    command
        .arg("--")
        .arg(host)
        .arg(format!("git-upload-pack {}", quote(&address.path)));
    command
}

/// The end of what was said: warnings and banners come first, the reason last.
fn last_lines(words: &str) -> String {
    let lines: Vec<_> = words
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let first = lines.len().saturating_sub(3);
    printable(&lines.get(first..).unwrap_or_default().join("\n"))
}

/// An option that is a path, as the syntax of `ssh_config` wants it.
fn option(name: &str, path: &Path) -> String {
    let path = path
        .to_string_lossy()
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('%', "%%");
    format!("{name}=\"{path}\"")
}

/// A path as one word of the remote shell.
fn quote(path: &str) -> String {
    // A leading `~user/` must be expanded there.
    let (home, rest) = match path.split_once('/') {
        Some((home, rest)) if home.starts_with('~') && home.chars().skip(1).all(is_user) => {
            (format!("{home}/"), rest)
        }
        _ => (String::new(), path),
    };
    format!("{home}'{}'", rest.replace('\'', "'\\''"))
}

fn is_user(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-_.".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word_of_the_remote_shell() {
        for (path, word) in [
            ("/srv/f.git", "'/srv/f.git'"),
            ("/srv/it's; rm -rf $HOME", "'/srv/it'\\''s; rm -rf $HOME'"),
            ("~git/f.git", "~git/'f.git'"),
            ("~$(id)/f.git", "'~$(id)/f.git'"),
        ] {
            assert_eq!(quote(path), word);
        }
    }
}
