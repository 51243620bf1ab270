//! What happens to processes: killed, without descriptors, and with a clock that jumps.
//!
//! Beside each there is a third peer, whose traffic must go on.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, and measures for people; clippy knows only functions marked as tests"
)]

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use std::{fs, iter};

use parking_lot::Mutex;
use weft_tests::fabric::{NAMESPACE, TwoPeers};
use weft_tests::impostor;
use weft_tests::network::{connect, exchange};
use weft_tests::peer::Peer;
use weft_tests::process::Signal;
use weft_tests::services::Service;
use weft_tests::wait::{holds, wait_for};
use weft_tests::yaml;

/// The port of the import of south's service in east.
const SOUTH: u16 = 7001;

/// East imports from west, and from south, to whom nothing happens.
struct ThreePeers {
    fabric: TwoPeers,
    south: Peer,
    _service: Service,
}

/// A client that talks without an end, over ever new connections.
struct Talker {
    stop: Arc<AtomicBool>,
    talks: Arc<Talks>,
    thread: JoinHandle<()>,
}

#[derive(Default)]
struct Talks {
    good: AtomicUsize,
    bad: AtomicUsize,
    /// The end of the last good one.
    last: Mutex<Option<Instant>>,
}

// === impl ThreePeers ===

impl ThreePeers {
    fn new(service: SocketAddr) -> Self {
        let fabric = TwoPeers::new(service);
        let echo = Service::echo();
        let url = fabric.repository.url();
        let south = Peer::new("south", &url, &fabric.authority.peer("south"));
        let write = |path: &str, text: String| fabric.repository.write(path, text);
        write(
            "peers/south/peer.yaml",
            yaml::peer("south", south.gateway()),
        );
        write("peers/south/cert.pem", south.certificate());
        write(
            "peers/south/allow.yaml",
            yaml::policy(NAMESPACE, "allow", "allow"),
        );
        write(
            "peers/south/export.yaml",
            yaml::export(NAMESPACE, "other", echo.address()),
        );
        write(
            "peers/east/other.yaml",
            yaml::import(NAMESPACE, "other", SOUTH, "south"),
        );
        fabric.repository.commit("Add a third peer");
        Self {
            fabric,
            south,
            _service: echo,
        }
    }

    fn start(&mut self) {
        self.south.start();
        self.south.wait_until_ready();
        self.fabric.start();
    }

    /// Somebody whose traffic must go on.
    fn bystander(&self) -> Talker {
        Talker::start(self.fabric.east.import(SOUTH))
    }
}

// === impl Talker ===

impl Talker {
    fn start(address: SocketAddr) -> Self {
        let (stop, talks) = (Arc::new(AtomicBool::new(false)), Arc::<Talks>::default());
        let (over, counts) = (Arc::clone(&stop), Arc::clone(&talks));
        let thread = thread::spawn(move || {
            while !over.load(Ordering::SeqCst) {
                if is_echoed(address) {
                    *counts.last.lock() = Some(Instant::now());
                    counts.good.fetch_add(1, Ordering::SeqCst);
                } else {
                    counts.bad.fetch_add(1, Ordering::SeqCst);
                    // A client that is refused tries again a little later.
                    thread::sleep(Duration::from_millis(5));
                }
            }
        });
        Self {
            stop,
            talks,
            thread,
        }
    }

    fn good(&self) -> usize {
        self.talks.good.load(Ordering::SeqCst)
    }

    /// Waits until it was served so often again.
    fn goes_on(&self, times: usize) {
        let wanted = self.good() + times;
        wait_for("somebody's traffic goes on", || {
            holds(self.good() >= wanted, || {
                format!("{} of {wanted}", self.good())
            })
        });
    }

    /// The end; how often it was served, and how often not.
    fn end(self) -> (usize, usize) {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().unwrap();
        let bad = self.talks.bad.load(Ordering::SeqCst);
        (self.talks.good.load(Ordering::SeqCst), bad)
    }

    /// The end of one whose every talk must have been served.
    fn content(self) {
        self.goes_on(5);
        let (good, bad) = self.end();
        assert_eq!(
            bad,
            0,
            "{bad} of {} talks of the bystander failed",
            good + bad
        );
    }
}

fn is_echoed(address: SocketAddr) -> bool {
    exchange(address, b"word").is_ok_and(|answer| answer == b"word")
}

/// Whether a connection that is there echoes.
fn echoes(stream: &mut TcpStream) -> bool {
    let mut answer = [0; 4];
    stream.write_all(b"ping").is_ok()
        && stream.read_exact(&mut answer).is_ok()
        && answer == *b"ping"
}

#[test]
fn a_gateway_that_is_killed_under_load_is_found_again_as_soon_as_it_is_back() {
    let service = Service::echo();
    let mut peers = ThreePeers::new(service.address());
    peers.start();
    let bystander = peers.bystander();
    let clients: Vec<_> = iter::repeat_with(|| Talker::start(peers.fabric.import()))
        .take(8)
        .collect();
    for round in 0..3 {
        for client in &clients {
            client.goes_on(3);
        }
        let killed = Instant::now();
        peers.fabric.west.kill();
        // Everybody is refused at once, and nobody hangs.
        wait_for("the clients are refused", || {
            let refused = clients
                .iter()
                .all(|client| client.talks.bad.load(Ordering::SeqCst) > 0);
            holds(refused, || "some aren't".to_owned())
        });
        bystander.goes_on(3);
        peers.fabric.west.start();
        peers.fabric.west.wait_until_ready();
        let back = Instant::now();
        let served: Vec<_> = clients.iter().map(Talker::good).collect();
        for (client, before) in clients.iter().zip(&served) {
            wait_for("a client is served again", || {
                holds(client.good() > *before, || "not yet".to_owned())
            });
        }
        eprintln!(
            "round {round}: ready again {:?} after the kill, all clients served {:?} after that",
            back.duration_since(killed),
            back.elapsed(),
        );
    }
    for client in clients {
        client.end();
    }
    bystander.content();
}

#[test]
fn a_gateway_without_descriptors_pauses_and_goes_on() {
    let service = Service::echo();
    let mut peers = ThreePeers::new(service.address());
    peers.start();
    let (east, import) = (&peers.fabric.east, peers.fabric.import());
    let mut old = connect(import).unwrap();
    assert!(echoes(&mut old));
    let mut other = connect(east.import(SOUTH)).unwrap();
    assert!(echoes(&mut other));

    let process = east.process();
    process.limit_descriptors(process.descriptors() + 16);
    let exhausted = Instant::now();
    // More clients than it has descriptors for: the kernel takes them, it can't.
    let mut clients: Vec<_> = (0..64).map(|_| connect(import).unwrap()).collect();
    wait_for("it has none left", || {
        let line = |line: &String| line.contains("a connection can't be accepted");
        holds(process.lines().iter().any(line), || {
            "no word of it".to_owned()
        })
    });
    // What it has, it carries on with; both to the one peer and to the other.
    for _ in 0..20 {
        assert!(echoes(&mut old), "a live connection");
        assert!(echoes(&mut other), "a live connection of another import");
    }
    let mut served = 0;
    for client in &mut clients {
        client
            .set_read_timeout(Some(Duration::from_millis(20)))
            .unwrap();
        served += usize::from(echoes(client));
    }
    eprintln!(
        "{served} of 64 clients were served by 16 descriptors; {} after {:?}",
        process.usage(),
        exhausted.elapsed(),
    );
    assert!(served < 64);
    // Those who were served leave, and the next ones have their turn, without a restart.
    drop(clients);
    wait_for("new clients are served", || {
        holds(is_echoed(import), || "refused".to_owned())
    });
    assert!(echoes(&mut old) && echoes(&mut other));
    let failures = east.metric("weft_accept_errors_total", &[]);
    let seconds = exhausted.elapsed().as_secs_f64();
    eprintln!("{failures} accepts failed within {seconds:.1} s");
    // Three listeners and the admin port, ten times a second each: it waits, and doesn't spin.
    assert!((1.0..=40.0 * (seconds + 1.0)).contains(&failures));
    east.process().limit_descriptors(4096);
    let bystander = peers.bystander();
    bystander.goes_on(20);
    bystander.content();
}

#[test]
fn a_peer_that_uses_up_what_it_may_leaves_descriptors_to_others() {
    let service = Service::echo();
    let mut peers = ThreePeers::new(service.address());
    peers.fabric.east.set_descriptors(256);
    peers.start();
    // All that one import may have, and more.
    let import = peers.fabric.import();
    let mut greedy: Vec<_> = (0..400).map(|_| connect(import).unwrap()).collect();
    let mut served = 0;
    for client in &mut greedy {
        served += usize::from(echoes(client));
    }
    eprintln!("{served} of 400 clients of one import were served by 256 descriptors");
    assert!((100..=128).contains(&served), "{served}");
    let bystander = peers.bystander();
    bystander.goes_on(20);
    bystander.content();
}

/// Where Debian and its like put the library that lies about the time.
fn faketime() -> Option<&'static str> {
    [
        "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
        "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
        "/usr/lib64/faketime/libfaketimeMT.so.1",
    ]
    .into_iter()
    .find(|path| Path::new(path).exists())
}

#[test]
fn a_clock_that_jumps_cuts_only_what_is_past_its_time_and_comes_back_by_itself() {
    let Some(library) = faketime() else {
        weft_tests::namespace::skip(
            "a_clock_that_jumps_cuts_only_what_is_past_its_time_and_comes_back_by_itself",
            "the library faketime isn't installed",
        );
        return;
    };
    let service = Service::echo();
    let mut peers = ThreePeers::new(service.address());
    let folder = tempfile::tempdir().unwrap();
    let clock = folder.path().join("clock");
    let set = |offset: &str| {
        let next = folder.path().join("next");
        fs::write(&next, offset).unwrap();
        fs::rename(&next, &clock).unwrap();
    };
    set("+0");
    let west = &mut peers.fabric.west;
    west.set_variable("LD_PRELOAD", library);
    west.set_variable("FAKETIME_TIMESTAMP_FILE", clock.to_str().unwrap());
    west.set_variable("FAKETIME_NO_CACHE", "1");
    // The clock that is set is the one on the wall; the other one only ever goes on.
    west.set_variable("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    west.set_variable("DONT_FAKE_MONOTONIC", "1");
    peers.start();
    let bystander = peers.bystander();
    let (east, west, import) = (
        &peers.fabric.east,
        &peers.fabric.west,
        peers.fabric.import(),
    );
    let mut old = connect(import).unwrap();
    assert!(echoes(&mut old));
    let identity = peers.fabric.authority.peer("east");
    // Whether west accepts a certificate that is valid by the right clock; uncommitted, so that it
    // is refused in any case, but for which reason is west's word.
    let refusal = |reason: &str| {
        wait_for(&format!("west refuses by {reason}"), || {
            let _ = impostor::dial(west.gateway(), "west", Some(&identity));
            let labels = ["role=\"accept\"".to_owned(), format!("result=\"{reason}\"")];
            let labels: Vec<_> = labels.iter().map(String::as_str).collect();
            let count = west.metric("weft_handshakes_total", &labels);
            holds(count > 0.0, || format!("{count}"))
        });
    };
    let judged = |offset: &str| {
        set(offset);
        // Looks at everything again, as it does once a minute by itself.
        west.process().signal(Signal::HUP);
        for _ in 0..3 {
            west.admin("/metrics");
        }
    };

    // Steps as a time server makes them, and a year: within the certificates' validity.
    for offset in ["+1h", "-1h", "+365d", "-365d", "+0"] {
        judged(offset);
        assert!(echoes(&mut old), "{offset}: a live connection");
        assert!(is_echoed(import), "{offset}: a new connection");
    }

    // Back to before the certificates: no stranger comes in, what is there stays.
    judged("-20y");
    refusal("not_valid_yet");
    assert!(echoes(&mut old), "a live connection, years ago");
    assert!(is_echoed(import), "a new connection over what is there");
    judged("+0");
    refusal("uncommitted");
    assert!(echoes(&mut old) && is_echoed(import));

    // Past the end of the certificates: nothing of theirs goes on.
    let before = usage(west);
    judged("+100y");
    wait_for("the connection is cut", || {
        holds(!echoes(&mut old), || "it echoes".to_owned())
    });
    refusal("expired");
    wait_for("nothing new is let through", || {
        holds(!is_echoed(import), || "it is".to_owned())
    });
    let spun = usage(west);
    eprintln!("west beyond the end of its certificates: {before}, then {spun}");
    // And back: it goes on by itself.
    judged("+0");
    wait_for("the traffic goes on", || {
        holds(is_echoed(import), || "refused".to_owned())
    });
    let cut = east.metric("weft_gateway_connections_ended_total", &[]);
    eprintln!("{cut} connections between gateways ended at east");
    let panics = |peer: &Peer| {
        let lines = peer.process().lines();
        lines
            .iter()
            .filter(|line| line.contains("panicked"))
            .count()
    };
    assert_eq!((panics(east), panics(west)), (0, 0));
    bystander.content();
}

fn usage(peer: &Peer) -> String {
    peer.process().usage()
}

#[test]
fn a_gateway_that_stands_still_for_a_while_goes_on_where_it_was() {
    let service = Service::echo();
    let mut peers = ThreePeers::new(service.address());
    peers.start();
    let bystander = peers.bystander();
    let mut old = connect(peers.fabric.import()).unwrap();
    assert!(echoes(&mut old));
    let west = peers.fabric.west.process();
    for _ in 0..3 {
        west.signal(Signal::STOP);
        // Longer than a heartbeat's interval, shorter than five of them unanswered.
        bystander.goes_on(30);
        thread::sleep(Duration::from_secs(2));
        west.signal(Signal::CONT);
        assert!(echoes(&mut old), "a connection outlives a pause");
    }
    old.shutdown(Shutdown::Write).unwrap();
    let mut rest = Vec::new();
    let ended: io::Result<usize> = old.read_to_end(&mut rest);
    assert_eq!(ended.unwrap(), 0);
    bystander.content();
}
