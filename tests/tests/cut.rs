//! From a change to the cut of what it no longer allows: that and nothing else, measured over real
//! processes that follow a Git repository.
//!
//! What docs/benchmarks.md says of it is printed by
//! `WEFT_CONNECTIONS=1000 cargo test -p weft-tests --test cut -- --nocapture --test-threads 1`.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking, and measures for people; clippy knows only functions marked as tests"
)]

use std::fmt::{self, Display, Formatter};
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp, Unit};
use weft_tests::fabric::{IMPORT_PORT, NAMESPACE, TwoPeers};
use weft_tests::network::{Loopback, connect, connect_from};
use weft_tests::peer::Peer;
use weft_tests::services::Service;
use weft_tests::yaml;

/// Live connections where nothing else is said: half of them are to be cut.
const USUAL: usize = 100;
/// How often the same change is made and taken back.
const ROUNDS: usize = 3;
/// How long access that ends by the clock lasts: enough to bring the commit that says so into force.
const LASTS: SignedDuration = SignedDuration::from_secs(4);

/// Connections through the gateways, of which a change must cut some and leave others alone.
struct Connections {
    cut: Vec<TcpStream>,
    kept: Vec<TcpStream>,
}

/// What happened to connections, from the change on.
#[derive(Default)]
struct Outcome {
    /// When each was cut, from the beginning of the change, and from when it was there as a whole.
    cuts: Vec<Duration>,
    cuts_from_end: Vec<Duration>,
    /// How often a word came back over those that are kept meanwhile, and how long the slowest took.
    words: usize,
    slowest: Duration,
}

/// Says that all is over, once it is gone.
struct Stop<'a>(&'a AtomicBool);

/// Two clients of one peer on addresses of their own, told apart by a label.
struct Clients {
    fabric: TwoPeers,
    till: Loopback,
    _service: Service,
}

/// Two peers, each with a client of west's service; only west learns of what changes.
struct Importers {
    fabric: TwoPeers,
    north: Peer,
    _service: Service,
}

/// Half of the connections that the environment asks for.
fn half() -> usize {
    let text = std::env::var("WEFT_CONNECTIONS").ok();
    text.map_or(USUAL, |text| text.parse().unwrap()) / 2
}

fn echo(stream: &mut TcpStream) -> io::Result<()> {
    let mut answer = [0; 4];
    stream.write_all(b"word")?;
    stream.read_exact(&mut answer)?;
    assert_eq!(&answer, b"word");
    Ok(())
}

fn opened(count: usize, open: impl Fn() -> io::Result<TcpStream>) -> Vec<TcpStream> {
    let echoing = || {
        let mut stream = open()?;
        echo(&mut stream)?;
        Ok::<_, io::Error>(stream)
    };
    (0..count).map(|_| echoing().unwrap()).collect()
}

/// Waits for the end of a connection; sends nothing, so that it isn't our doing.
fn ended(mut stream: &TcpStream) -> Instant {
    match stream.read(&mut [0]) {
        Ok(0) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        other => panic!("the connection isn't cut: {other:?}"),
    }
    Instant::now()
}

/// Commits what was written, pushes it and has peers look; returns when the push began and how long
/// it took.
fn change(fabric: &TwoPeers, message: &str, told: &[&Peer]) -> (Instant, Duration) {
    let repository = &fabric.repository;
    repository.git(&["add", "--all"]);
    repository.git(&["commit", "--quiet", "--message", message]);
    let start = Instant::now();
    repository.git(&["push", "--quiet", "origin", "main"]);
    let push = start.elapsed();
    for peer in told {
        peer.reconcile();
    }
    (start, push)
}

// === impl Connections ===

impl Connections {
    /// Watches all of them during a change, which says when it began.
    fn during(mut self, change: impl FnOnce() -> (Instant, Duration)) -> Outcome {
        let over = AtomicBool::new(false);
        let mut outcome = Outcome::default();
        thread::scope(|scope| {
            let watched: Vec<_> = self
                .cut
                .iter()
                .map(|stream| scope.spawn(move || ended(stream)))
                .collect();
            let (over, kept) = (&over, &mut self.kept);
            let talk = scope.spawn(move || {
                let (mut words, mut slowest) = (0, Duration::ZERO);
                // Once more over each when all is over.
                let mut last = false;
                while !last {
                    last = over.load(Ordering::SeqCst);
                    for stream in &mut *kept {
                        let start = Instant::now();
                        echo(stream).expect("a connection that is still allowed");
                        words += 1;
                        slowest = slowest.max(start.elapsed());
                    }
                }
                (words, slowest)
            });
            // Also where this panics, so that the test fails and doesn't hang.
            let stop = Stop(over);
            let (start, push) = change();
            for watched in watched {
                let end = watched.join().unwrap();
                let took = end.checked_duration_since(start);
                let took = took.expect("cut before the change");
                outcome.cuts.push(took);
                outcome.cuts_from_end.push(took.saturating_sub(push));
            }
            drop(stop);
            (outcome.words, outcome.slowest) = talk.join().unwrap();
        });
        outcome
    }
}

// === impl Stop ===

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

// === impl Outcome ===

impl Outcome {
    fn tell(mut self, what: &str) {
        self.cuts.sort_unstable();
        self.cuts_from_end.sort_unstable();
        eprintln!("{what}: {self}");
    }

    fn and(mut self, other: Self) -> Self {
        self.cuts.extend(other.cuts);
        self.cuts_from_end.extend(other.cuts_from_end);
        self.words += other.words;
        self.slowest = self.slowest.max(other.slowest);
        self
    }
}

impl Display for Outcome {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let millis = |time: Duration| time.as_secs_f64() * 1000.0;
        let three = |times: &[Duration]| {
            let (least, most) = (times[0], times[times.len() - 1]);
            let median = millis(times[times.len() / 2]);
            let (least, most) = (millis(least), millis(most));
            format!("{least:.1} / {median:.1} / {most:.1} ms")
        };
        write!(
            f,
            "{} cut {} (least, median, most) after `git push` began, {} after it ended; \
             {} words over the others meanwhile, the slowest {:.1} ms",
            self.cuts.len(),
            three(&self.cuts),
            three(&self.cuts_from_end),
            self.words,
            millis(self.slowest),
        )
    }
}

// === impl Clients ===

impl Clients {
    /// The client with the label.
    const TILL: &str = "client.clusterlink.net/labels.app: till";

    fn started() -> Self {
        let service = Service::echo();
        let mut fabric = TwoPeers::new(service.address());
        let till = Loopback::take();
        let workloads = yaml::workloads("east", NAMESPACE)
            + &format!(
                "  - addresses: [{}/32]
    namespace: {NAMESPACE}
    serviceAccount: default
    labels:
      app: till
",
                till.address()
            );
        let repository = &fabric.repository;
        repository.write("peers/east/workloads.yaml", workloads);
        repository.commit("Tell the till from the others");
        fabric.start();
        Self {
            fabric,
            till,
            _service: service,
        }
    }

    /// A policy of west about clients with a label.
    fn policy(name: &str, action: &str, label: &str) -> String {
        let labels = format!("workloadSelector:\n      matchLabels:\n        {label}");
        yaml::policy(NAMESPACE, name, action).replacen("workloadSelector: {}", &labels, 1)
    }

    fn open(&self) -> Connections {
        let import = self.fabric.import();
        Connections {
            cut: opened(half(), || connect_from(self.till.address(), import)),
            kept: opened(half(), || connect(import)),
        }
    }

    fn change(&self, message: &str) -> (Instant, Duration) {
        change(
            &self.fabric,
            message,
            &[&self.fabric.east, &self.fabric.west],
        )
    }

    /// That the till isn't served any more, and the others are.
    fn assert_till_is_out(&self) {
        let import = self.fabric.import();
        let till = || connect_from(self.till.address(), import).and_then(|mut s| echo(&mut s));
        assert!(till().is_err(), "a new connection of the till is served");
        opened(1, || connect(import));
    }
}

// === impl Importers ===

impl Importers {
    fn started() -> Self {
        let service = Service::echo();
        let mut fabric = TwoPeers::new(service.address());
        let repository = &fabric.repository;
        // A copy that nothing is pushed to.
        let stale = repository.bare().with_file_name("stale.git");
        let stale = stale.to_str().unwrap();
        let mut north = Peer::new("north", stale, &fabric.authority.peer("north"));
        for (file, text) in [
            ("peer.yaml", yaml::peer("north", north.gateway())),
            ("cert.pem", north.certificate()),
            ("workloads.yaml", yaml::workloads("north", NAMESPACE)),
            ("allow.yaml", yaml::policy(NAMESPACE, "allow", "allow")),
            (
                "import.yaml",
                yaml::import(NAMESPACE, "service", IMPORT_PORT, "west"),
            ),
        ] {
            repository.write(&format!("peers/north/{file}"), text);
        }
        repository.commit("Add a third peer");
        repository.git(&["clone", "--quiet", "--bare", &repository.url(), stale]);
        fabric.east.set_repository(stale);
        fabric.start();
        north.start();
        north.wait_until_ready();
        Self {
            fabric,
            north,
            _service: service,
        }
    }

    fn open(&self) -> Connections {
        let (east, north) = (self.fabric.import(), self.north.import(IMPORT_PORT));
        Connections {
            cut: opened(half(), || connect(east)),
            kept: opened(half(), || connect(north)),
        }
    }

    /// Makes a change that shuts east out, and takes it back, again and again.
    fn shut_out(&self, what: &str, forbid: impl Fn()) {
        let mut all = Outcome::default();
        for _ in 0..ROUNDS {
            let connections = self.open();
            forbid();
            let west = &self.fabric.west;
            let outcome = connections.during(|| change(&self.fabric, what, &[west]));
            all = all.and(outcome);
            let east = connect(self.fabric.import()).and_then(|mut stream| echo(&mut stream));
            assert!(east.is_err(), "east is served");
            west.reconcile_to(&self.fabric.repository.revert());
            // East finds its way back by itself.
            let _: TcpStream = weft_tests::wait::wait_for("east is served again", || {
                let mut stream = connect(self.fabric.import()).map_err(|e| e.to_string())?;
                echo(&mut stream).map_err(|e| e.to_string())?;
                Ok(stream)
            });
        }
        all.tell(what);
    }
}

#[test]
fn a_policy_cuts_the_clients_that_it_denies_and_no_other() {
    let clients = Clients::started();
    let mut all = Outcome::default();
    for _ in 0..ROUNDS {
        let connections = clients.open();
        let deny = Clients::policy("deny", "deny", Clients::TILL);
        clients
            .fabric
            .repository
            .write("peers/west/deny.yaml", deny);
        let outcome = connections.during(|| clients.change("Deny the till"));
        all = all.and(outcome);
        clients.assert_till_is_out();
        let revert = clients.fabric.repository.revert();
        clients.fabric.reconcile_to(&revert);
    }
    all.tell("a policy that denies");
}

#[test]
fn access_that_ends_by_the_clock_cuts_what_it_let_in_and_nothing_else() {
    let clients = Clients::started();
    let connections = clients.open();
    let repository = &clients.fabric.repository;
    let others = Clients::policy(
        "others",
        "allow",
        "client.clusterlink.net/labels.app: client",
    );
    repository.write("peers/west/allow.yaml", others);
    let end = (Timestamp::now() + LASTS).round(Unit::Second).unwrap();
    let till = Clients::policy("till", "allow", Clients::TILL);
    let name = "  name: till\n";
    let annotated = format!("{name}  annotations:\n    weft.dev/expires: \"{end}\"\n");
    let till = till.replacen(name, &annotated, 1);
    repository.write("peers/west/till.yaml", till);
    let outcome = connections.during(|| {
        let (start, push) = clients.change("Let the till in for a while");
        // In this order, so that it is never later than it is by the wall's clock.
        let now = Instant::now();
        let left = end.duration_since(Timestamp::now());
        // Where the machine was too slow, it ended before the commit was there.
        let left = Duration::try_from(left).unwrap_or_default();
        match left.is_zero() {
            true => (start, push),
            false => (now + left, Duration::ZERO),
        }
    });
    outcome.tell("access that ends by the clock, from there");
    clients.assert_till_is_out();
}

#[test]
fn a_removed_peer_is_cut_and_no_other() {
    let importers = Importers::started();
    let repository = &importers.fabric.repository;
    importers.shut_out("a removed peer", || repository.remove("peers/east"));
}

#[test]
fn a_revoked_peer_is_cut_and_no_other() {
    let importers = Importers::started();
    let fingerprint = weft_tests::certificates::fingerprint(&importers.fabric.east.certificate());
    let revocations = yaml::revocation(&fingerprint.to_string());
    let repository = &importers.fabric.repository;
    importers.shut_out("a revoked peer", || {
        repository.write("revocations.yaml", &revocations);
    });
}
