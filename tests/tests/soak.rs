//! Mixed load for as long as one likes, and a curve of memory that must be flat.
//!
//! `WEFT_SOAK=30m cargo test --release -p weft-tests --test soak -- --nocapture` is the long form;
//! without the variable it takes two minutes.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking, and measures for people; clippy knows only functions marked as tests"
)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use weft_tests::fabric::{NAMESPACE, TwoPeers};
use weft_tests::network::{connect, exchange};
use weft_tests::peer::Peer;
use weft_tests::services::Service;
use weft_tests::wait::{holds, wait_for};
use weft_tests::yaml;

/// How long where nothing else is said.
const USUAL: Duration = Duration::from_secs(120);
/// Between two looks at the memory.
const SAMPLE: Duration = Duration::from_millis(500);
/// Between two commits.
const COMMIT: Duration = Duration::from_secs(4);
/// Connections that do nothing most of the time.
const IDLE: usize = 64;
/// What the memory may grow by in the second half, in MiB, however long that is: ten times what it
/// does where nothing is lost. A kilobyte lost with each connection is as much in two minutes.
const MAY_GROW: f64 = 8.0;

/// What was done so far.
#[derive(Debug, Default)]
struct Work {
    bulk: AtomicU64,
    short: AtomicU64,
    idle: AtomicU64,
    killed: AtomicU64,
    commits: AtomicU64,
}

/// One process's memory in MiB, by the time in seconds.
#[derive(Default)]
struct Curve(Vec<(f64, f64)>);

/// The length that the environment asks for: `90s`, `30m`, `8h`.
fn length() -> Duration {
    let Ok(text) = std::env::var("WEFT_SOAK") else {
        return USUAL;
    };
    let (number, unit) = text.split_at(text.len() - 1);
    let number: u64 = number
        .parse()
        .unwrap_or_else(|_| panic!("WEFT_SOAK={text}: like 30m"));
    Duration::from_secs(match unit {
        "s" => number,
        "m" => number * 60,
        "h" => number * 3600,
        _ => panic!("WEFT_SOAK={text}: like 30m"),
    })
}

/// Does something again and again until the end.
fn repeat(
    end: Instant,
    work: &Arc<Work>,
    mut act: impl FnMut(&Work) + Send + 'static,
) -> JoinHandle<()> {
    let work = Arc::clone(work);
    thread::spawn(move || {
        while Instant::now() < end {
            act(&work);
        }
    })
}

fn idle(import: SocketAddr) -> TcpStream {
    let mut stream = connect(import).unwrap();
    echo(&mut stream);
    stream
}

fn echo(stream: &mut TcpStream) {
    let mut answer = [0; 4];
    stream.write_all(b"ping").unwrap();
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"ping");
}

// === impl Curve ===

impl Curve {
    fn sample(&mut self, since: Instant, peer: &Peer) {
        let resident = peer.process().resident() as f64 / 1024.0;
        self.0.push((since.elapsed().as_secs_f64(), resident));
    }

    /// By how much the memory grew in the second half: by the line of least squares, so that one
    /// moment doesn't decide.
    fn growth(&self) -> f64 {
        let half = &self.0[self.0.len() / 2..];
        let count = half.len() as f64;
        let mean = |of: fn(&(f64, f64)) -> f64| half.iter().map(of).sum::<f64>() / count;
        let (time, memory) = (mean(|(time, _)| *time), mean(|(_, memory)| *memory));
        let covariance: f64 = half.iter().map(|(t, m)| (t - time) * (m - memory)).sum();
        let variance: f64 = half.iter().map(|(t, _)| (t - time).powi(2)).sum();
        let seconds = half.last().unwrap().0 - half[0].0;
        covariance / variance * seconds
    }

    fn tell(&self, name: &str) {
        let step = (self.0.len() / 12).max(1);
        let points: Vec<_> = self
            .0
            .iter()
            .step_by(step)
            .map(|(_, memory)| format!("{memory:.0}"))
            .collect();
        eprintln!(
            "{name}: {} MiB; the second half by {:+.2} MiB",
            points.join(" "),
            self.growth()
        );
    }
}

#[test]
fn memory_is_flat_under_a_mixed_load() {
    let service = Service::echo();
    let mut fabric = TwoPeers::new(service.address());
    fabric.start();
    let import = fabric.import();
    let work = Arc::<Work>::default();
    let start = Instant::now();
    let end = start + length();

    let mut threads = Vec::new();
    for _ in 0..2 {
        threads.push(repeat(end, &work, move |work| {
            let sent = vec![7; 4 << 20];
            let mut stream = connect(import).unwrap();
            let mut reader = stream.try_clone().unwrap();
            thread::scope(|scope| {
                scope.spawn(|| stream.write_all(&sent).unwrap());
                let mut answer = vec![0; sent.len()];
                reader.read_exact(&mut answer).unwrap();
                assert!(answer == sent, "bulk came back altered");
            });
            work.bulk.fetch_add(1, Ordering::Relaxed);
        }));
    }
    for _ in 0..2 {
        threads.push(repeat(end, &work, move |work| {
            assert_eq!(exchange(import, &[3; 100]).unwrap(), [3; 100]);
            work.short.fetch_add(1, Ordering::Relaxed);
        }));
    }
    // Killed: half of a bulk, and then a reset.
    threads.push(repeat(end, &work, move |work| {
        let mut stream = connect(import).unwrap();
        stream.write_all(&[9; 200_000]).unwrap();
        // Unread data in the socket makes its close a reset.
        let _ = stream.read(&mut [0; 1000]);
        drop(stream);
        work.killed.fetch_add(1, Ordering::Relaxed);
        thread::sleep(Duration::from_millis(20));
    }));
    // Idle, with a sign of life in turn; each is replaced in time.
    let mut sleepers: Vec<_> = (0..IDLE).map(|_| idle(import)).collect();
    let mut turn = 0;
    threads.push(repeat(end, &work, move |work| {
        let at = turn % IDLE;
        echo(&mut sleepers[at]);
        if turn % 3 == 0 {
            sleepers[at] = idle(import);
        }
        turn += 1;
        work.idle.fetch_add(1, Ordering::Relaxed);
        thread::sleep(Duration::from_millis(100));
    }));

    let (mut east, mut west) = (Curve::default(), Curve::default());
    let mut next_commit = start + COMMIT;
    while Instant::now() < end {
        thread::sleep(SAMPLE);
        east.sample(start, &fabric.east);
        west.sample(start, &fabric.west);
        if Instant::now() >= next_commit {
            commit(&fabric, work.commits.fetch_add(1, Ordering::Relaxed));
            next_commit = Instant::now() + COMMIT;
        }
    }
    // What was measured is told also where one of them failed.
    let ended: Vec<_> = threads.into_iter().map(JoinHandle::join).collect();
    eprintln!("{:?}: {work:?}", start.elapsed());
    for (name, curve, peer) in [("east", &east, &fabric.east), ("west", &west, &fabric.west)] {
        curve.tell(name);
        eprintln!("{name}: {}", peer.process().usage());
    }
    for end in ended {
        end.unwrap();
    }
    for (name, curve) in [("east", &east), ("west", &west)] {
        let growth = curve.growth();
        assert!(
            growth < MAY_GROW,
            "{name} grew by {growth:.1} MiB in the second half"
        );
    }
    // And nothing is left of all the connections.
    for peer in [&fabric.east, &fabric.west] {
        wait_for("no connection is left", || {
            let live = peer.metric("weft_connections", &[]);
            holds(live == 0.0, || format!("{live} at {}", peer.name()))
        });
    }
}

/// A change of policies that allows what it allowed before, by other rules.
fn commit(fabric: &TwoPeers, number: u64) {
    for name in ["east", "west"] {
        let path = format!("peers/{name}/deny-{}.yaml", number % 3);
        if number % 6 < 3 {
            // Of a namespace that nobody is in.
            let policy = yaml::policy("elsewhere", &format!("deny-{}", number % 3), "deny");
            fabric.repository.write(&path, policy);
        } else {
            fabric.repository.remove(&path);
        }
    }
    let policy = yaml::policy(NAMESPACE, &format!("allow-{}", number % 2), "allow");
    fabric.repository.write("peers/west/also.yaml", policy);
    let commit = fabric.repository.commit("Change policies");
    fabric.reconcile_to(&commit);
}
