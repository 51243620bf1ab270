//! Fetching through the system's `ssh`, from a real server where there is one.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use reconciler::git::{FetchLimits, Remote, SshOptions};

use crate::origin::{Origin, Store, limits, oid, reason, report};

const FABRIC: (&str, &str) = ("fabric.yaml", "kind: Fabric\n");
const SERVER: &str = "/usr/sbin/sshd";

/// A server for this user alone, with keys of its own.
struct Sshd {
    directory: tempfile::TempDir,
    port: u16,
    process: Child,
}

/// Whether the machine has an ssh client to test with.
fn has_client(test: &str) -> bool {
    let has = Command::new("ssh")
        .arg("-V")
        .stderr(Stdio::null())
        .status()
        .is_ok();
    if !has {
        skip(test, "ssh");
    }
    has
}

/// Past the capture of a test's output: nobody is to think that it was tested.
fn skip(test: &str, missing: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED {test}: there is no {missing}");
}

impl Sshd {
    /// Starts a server; none where the machine has none to start.
    fn start(test: &str) -> Option<Self> {
        if !Path::new(SERVER).exists() {
            skip(test, SERVER);
            return None;
        }
        if !has_client(test) {
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        // The server refuses what others may write to.
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o700)).unwrap();
        for key in ["host", "client", "stranger"] {
            let made = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(path(key))
                .status();
            assert!(made.unwrap().success());
        }
        fs::copy(path("client.pub"), path("authorized_keys")).unwrap();
        let port = free_port();
        let host = fs::read_to_string(path("host.pub")).unwrap();
        fs::write(path("known hosts"), format!("[127.0.0.1]:{port} {host}")).unwrap();
        let other = fs::read_to_string(path("stranger.pub")).unwrap();
        fs::write(path("other"), format!("[127.0.0.1]:{port} {other}")).unwrap();
        fs::write(path("empty"), "").unwrap();
        let config = format!(
            "ListenAddress 127.0.0.1:{port}\nHostKey {}\nAuthorizedKeysFile {}\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nUsePAM no\n\
             StrictModes no\nPidFile none\n",
            path("host").display(),
            path("authorized_keys").display(),
        );
        fs::write(path("config"), config).unwrap();
        // Where the package's own service would make it; only root can, and only root needs it.
        let _ = fs::create_dir_all("/run/sshd");
        let process = Command::new(SERVER)
            .args(["-D", "-e", "-f"])
            .arg(path("config"))
            .stdin(Stdio::null())
            .stderr(Stdio::from(fs::File::create(path("log")).unwrap()))
            .spawn()
            .unwrap();
        let mut sshd = Self {
            directory,
            port,
            process,
        };
        let begun = Instant::now();
        loop {
            if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port))
                && stream.read_exact(&mut [0; 4]).is_ok()
            {
                return Some(sshd);
            }
            let log = || fs::read_to_string(sshd.directory.path().join("log")).unwrap();
            assert_eq!(sshd.process.try_wait().unwrap(), None, "{}", log());
            assert!(begun.elapsed() < Duration::from_secs(30), "{}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn remote(&self, origin: &Origin) -> Remote {
        let user = Command::new("id").arg("-un").output().unwrap().stdout;
        let user = String::from_utf8(user).unwrap();
        let url = format!(
            "ssh://{}@127.0.0.1:{}{}",
            user.trim(),
            self.port,
            origin.path().display()
        );
        Remote::new(url.parse().unwrap()).with_ssh(self.options())
    }

    fn options(&self) -> SshOptions {
        SshOptions {
            identity: Some(self.path("client")),
            known_hosts: Some(self.path("known hosts")),
            ..SshOptions::default()
        }
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A port that nobody has at the moment and that this process gives out once, below those that the
/// system gives out by itself.
fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let ports = std::iter::repeat_with(|| {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        10_000 + (std::process::id().wrapping_mul(997).wrapping_add(step) % 20_000) as u16
    });
    let mut free = ports.filter(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
    free.next().unwrap()
}

#[test]
fn a_commit_comes_over_ssh_and_its_history_when_it_is_asked_for() {
    let Some(sshd) = Sshd::start("a_commit_comes_over_ssh") else {
        return;
    };
    let (origin, store) = (Origin::new(), Store::new());
    let remote = sshd.remote(&origin);
    assert_eq!(reason(store.fetch(&remote)), "EmptyRepository");
    let first = origin.commit(&[FABRIC]);
    let second = origin.commit(&[("policies/a.yaml", "a: 1\n")]);
    assert_eq!(store.fetch(&remote).unwrap().commit, second);
    assert!(!store.holds(first));
    assert!(!store.fetch(&remote).unwrap().is_new);
    let mut tip = second;
    for i in 0..5 {
        tip = origin.commit(&[("policies/a.yaml", &format!("a: {i}\n"))]);
    }
    assert_eq!(store.fetch(&remote).unwrap().commit, tip);
    assert_eq!(store.files(tip).len(), 2);
    assert_eq!(store.is_ancestor(&remote, second, tip), Some(true));
    assert_eq!(store.is_ancestor(&remote, tip, second), Some(false));
    assert_eq!(
        store.raw().refname_to_id("refs/weft/head").unwrap(),
        oid(tip)
    );
}

#[test]
fn ssh_trusts_known_hosts_alone_and_asks_nobody() {
    let Some(sshd) = Sshd::start("ssh_trusts_known_hosts_alone") else {
        return;
    };
    let (origin, store) = (Origin::new(), Store::new());
    origin.commit(&[FABRIC]);
    for (known_hosts, identity, words) in [
        ("empty", "client", "Host key verification failed"),
        ("other", "client", "Host key verification failed"),
        ("known hosts", "stranger", "Permission denied"),
    ] {
        let remote = sshd.remote(&origin).with_ssh(SshOptions {
            known_hosts: Some(sshd.path(known_hosts)),
            identity: Some(sshd.path(identity)),
            ..SshOptions::default()
        });
        let error = store.fetch(&remote).unwrap_err();
        assert!(report(&error).contains(words), "{}", report(&error));
    }
    let absent = sshd.remote(&Origin::new());
    assert!(
        report(&store.fetch(&absent).unwrap_err()).contains("not appear to be a git repository")
    );
    let none = sshd.remote(&origin).with_ssh(SshOptions {
        program: "/nonexistent/ssh".into(),
        ..sshd.options()
    });
    assert_eq!(reason(store.fetch(&none)), "ConfigurationInvalid");
}

#[test]
fn a_silent_ssh_server_is_left_at_the_deadline() {
    if !has_client("a_silent_ssh_server_is_left_at_the_deadline") {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let store = Store::new();
    let remote = Remote::new(format!("ssh://127.0.0.1:{port}/f").parse().unwrap());
    let limits = FetchLimits {
        deadline: Duration::from_millis(300),
        ..limits()
    };
    let result = store.fetch_within(&remote, limits);
    assert_eq!(reason(result), "DeadlineExceeded");
}

#[test]
fn ssh_is_told_what_git_tells_it_and_no_more() {
    let directory = tempfile::tempdir().unwrap();
    let (program, seen) = (directory.path().join("ssh"), directory.path().join("seen"));
    let script = format!(
        "#!/bin/sh\nprintf '%s\\n' \"$@\" > {}\necho 'no \\033[31mroute' >&2\nexit 255\n",
        seen.display()
    );
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let remote = Remote::new("git@git.example:it's/f.git".parse().unwrap()).with_ssh(SshOptions {
        program,
        identity: Some("/a b/100%/key".into()),
        known_hosts: None,
    });
    let error = Store::new().fetch(&remote).unwrap_err();
    assert_eq!(
        report(&error),
        "can't fetch HEAD of ssh://git@git.example/it's/f.git: ssh to git.example failed: \
         no \\u{1b}[31mroute"
    );
    let seen = fs::read_to_string(seen).unwrap();
    assert_eq!(
        seen.lines().collect::<Vec<_>>(),
        [
            "-o",
            "BatchMode=yes",
            "-o",
            "StrictHostKeyChecking=yes",
            "-o",
            "ConnectTimeout=10",
            "-o",
            "ControlMaster=no",
            "-o",
            "ClearAllForwardings=yes",
            "-a",
            "-x",
            "-T",
            "-o",
            "IdentitiesOnly=yes",
            "-o",
            "IdentityFile=\"/a b/100%%/key\"",
            "--",
            "git@git.example",
            "git-upload-pack 'it'\\''s/f.git'",
        ]
    );
}
