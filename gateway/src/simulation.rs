//! Pool, heartbeats and fail-over under faults, in simulated time.
//!
//! Everything of a gateway that dials is real, and so is the protocol at both ends; the clock is
//! tokio's, paused, and what stands for sockets and TLS is [`network`]. `turmoil` was weighed: it
//! simulates its own socket types, and ours need more of a socket than those can do (readiness,
//! `SO_LINGER`, a first read past the runtime), so all of the data path would exist twice.
//!
//! A seed decides which faults come when, and how long everything takes. The gateway's own dice, as
//! whose turn it is at first, aren't loaded. `WEFT_SEEDS=1000 cargo test -p gateway --release
//! simulation` is the long form, and `WEFT_SEED=17` plays one seed.

pub(crate) mod network;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use fabric::api;
use fabric::name::PeerName;
use fabric::plan::Certificate;
use fabric::snapshot::Snapshot;
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls_pki_types::CertificateDer;
use tokio::time::{Instant, sleep, timeout};

use self::network::{Condition, Network};
use self::plan::Planner;
use crate::config::{Config, IdentityFiles};
use crate::heartbeat::Heartbeats;
use crate::import::source::{Wanted, Way, find};
use crate::limits::{DIALLED_PER_PEER, DOUBTED_PER_PEER};
use crate::state::State;
use crate::tls::{self, identity::Identity};
use crate::world::World;

#[path = "../tests/common/plan.rs"]
#[allow(dead_code, reason = "the tests of the whole gateway use more of it")]
mod plan;

/// Each peer's gateways.
const PEERS: [(&str, &[&str]); 3] = [
    ("east", &["192.0.2.1:4443", "192.0.2.2:4443"]),
    ("north", &["192.0.2.3:4443"]),
    ("south", &["192.0.2.4:4443"]),
];

/// How long faults come and go.
const FAULTS: Duration = Duration::from_secs(240);

/// And how long there are none after that.
const CALM: Duration = Duration::from_secs(90);

/// A peer is reachable that has had one and the same gateway for so long, whatever its others do: a
/// dial that began before and times out (5 s), a heartbeat's rest (1 s), and three heartbeats of
/// which the first dials anew, at 400 ms each way.
const FOUND: Duration = Duration::from_secs(12);

/// After so long without a way a peer isn't: five heartbeats that time out (3 s each, and a rest of
/// 50 ms), and before them one that is over 2 s after the last thing was heard.
const LOST: Duration = Duration::from_secs(18);

/// A peer that has had a gateway for so long isn't given up: one of its dials may have begun before
/// (5 s), and failed only then because of another gateway.
const HASTY: Duration = Duration::from_secs(6);

/// How often everything is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// A fabric's certificates, made once: they say nothing of what is simulated.
struct Papers {
    authority: Certificate,
    peers: BTreeMap<&'static str, CertificateDer<'static>>,
    folder: tempfile::TempDir,
}

static PAPERS: LazyLock<Papers> = LazyLock::new(|| {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let authority = Certificate::from_der(params.self_signed(&key).unwrap().der().to_vec());
    let issuer = Issuer::new(params, key);
    let folder = tempfile::tempdir().unwrap();
    let leaf = |name: &str| {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        (params.signed_by(&key, &issuer).unwrap(), key)
    };
    let (west, key) = leaf("west");
    std::fs::write(folder.path().join("cert.pem"), west.pem()).unwrap();
    std::fs::write(folder.path().join("key.pem"), key.serialize_pem()).unwrap();
    let peers = PEERS.map(|(name, _)| (name, leaf(name).0.der().clone()));
    Papers {
        authority,
        peers: peers.into(),
        folder,
    }
});

/// One gateway, `west`, in a simulated network, and what happened in it.
struct Simulation {
    seed: u64,
    state: Arc<State>,
    world: Arc<World>,
    network: Arc<Network>,
    /// For each host: how it is, and since when.
    hosts: Mutex<BTreeMap<&'static str, (Condition, Instant)>>,
    started: Instant,
}

/// One client's connection.
#[derive(Clone, Copy, Debug)]
struct Request {
    id: [u8; 16],
    has_data: bool,
}

impl Simulation {
    async fn start(seed: u64) -> Arc<Self> {
        let papers = &*PAPERS;
        let mut network = Network::new(seed);
        let mut planner = Planner::new("west", papers.authority.clone()).allow_all();
        for (name, gateways) in PEERS {
            let peer: PeerName = name.parse().unwrap();
            let addresses: Vec<SocketAddr> =
                gateways.iter().map(|at| at.parse().unwrap()).collect();
            for address in &addresses {
                network.add(&address.to_string(), &peer, papers.peers[name].clone());
            }
            planner = planner.peer(name, &addresses);
        }
        let sources = PEERS.map(|(name, _)| (name, "ledger"));
        let planner = planner
            .import("ledger", 1, &sources)
            .import("east-alone", 2, &[("east", "ledger")])
            .state(|state| state.heartbeat = api::Heartbeat::default());
        let snapshot = Arc::new(Snapshot::compile(&planner.plan));
        let network = Arc::new(network);
        let files = IdentityFiles {
            certificate: papers.folder.path().join("cert.pem"),
            key: papers.folder.path().join("key.pem"),
        };
        let provider = tls::provider();
        let identity = Identity::read(&provider, &files).await.unwrap();
        let nowhere: SocketAddr = ([127, 0, 0, 1], 1).into();
        let mut state = State::new(Config::new(vec![files]), provider, nowhere, nowhere).unwrap();
        state.network = Some(Arc::clone(&network));
        let state = Arc::new(state);
        let clock = fabric::policy::Clock::at(jiff::Timestamp::now());
        let source = Arc::clone(&snapshot);
        let world = World::new(&state.provider, source, &clock, identity, None).unwrap();
        let world = Arc::new(world);
        state.swap(Some(Arc::clone(&world)));
        Heartbeats::default().follow(&state, Some(&snapshot)).await;
        let started = Instant::now();
        let hosts = PEERS.iter().flat_map(|(_, gateways)| *gateways);
        Arc::new(Self {
            seed,
            hosts: Mutex::new(
                hosts
                    .map(|host| (*host, (Condition::Up, started)))
                    .collect(),
            ),
            state,
            world,
            network,
            started,
        })
    }

    fn set(&self, host: &'static str, condition: Condition) {
        let mut hosts = self.hosts.lock();
        if hosts[host].0 != condition {
            hosts.insert(host, (condition, Instant::now()));
            self.network.set(host, condition);
        }
    }

    /// For how long a peer has had a gateway that answers; none where it has none now.
    fn has_had(&self, peer: &str) -> Option<Duration> {
        let hosts = self.hosts.lock();
        let of_peer = gateways(peer).iter().map(|host| hosts[host]);
        of_peer
            .filter(|(condition, _)| *condition == Condition::Up)
            .map(|(_, since)| since.elapsed())
            .max()
    }

    /// For how long a peer has had none.
    fn has_lacked(&self, peer: &str) -> Option<Duration> {
        let hosts = self.hosts.lock();
        let of_peer = gateways(peer).iter().map(|host| hosts[host]);
        of_peer
            .map(|(condition, since)| (condition != Condition::Up).then(|| since.elapsed()))
            .min()
            .flatten()
    }

    /// A client of an import: who took it, and how long that was.
    async fn connect(&self, import: &str, request: Request) -> Result<PeerName, String> {
        let import = format!("shop/{import}").parse().unwrap();
        let wanted = Wanted {
            request: request.id,
            import: &import,
            client: None,
            via: &[],
            early: if request.has_data { b"early data" } else { b"" },
            span: None,
        };
        match find(&self.state, &self.world, &wanted).await {
            Ok(found) => {
                let peer = found.source.peer.clone();
                let Way::Weft(tunnel) = found.tunnel else {
                    return Err("it doesn't speak weft/1".to_owned());
                };
                let _ = tunnel.end();
                while let Ok(Some(_)) = tunnel.receive().await {}
                Ok(peer)
            }
            Err(failures) => Err(failures
                .iter()
                .map(|failure| format!("{:?} {}; ", failure.outcome, failure.text))
                .collect()),
        }
    }

    /// What must hold at every moment.
    fn look(&self, was: &mut BTreeMap<&'static str, bool>) {
        let seed = self.seed;
        for (name, _) in PEERS {
            let peer: PeerName = name.parse().unwrap();
            let live = self.state.pool.of(&peer);
            let dialled = live
                .iter()
                .filter(|connection| !connection.is_closed())
                .count();
            assert!(
                dialled <= DIALLED_PER_PEER + DOUBTED_PER_PEER,
                "seed {seed}: {dialled} connections to {name}"
            );
            let Some(reach) = self.state.reach.of(&peer) else {
                continue;
            };
            let (has_had, has_lacked) = (self.has_had(name), self.has_lacked(name));
            let at = self.started.elapsed();
            if reach.reachable {
                let is_lost = has_lacked.is_some_and(|lacked| lacked > LOST);
                assert!(
                    !is_lost,
                    "seed {seed}, {at:?}: {name} counts as reachable, {has_lacked:?} gone"
                );
            } else {
                let is_found = has_had.is_some_and(|had| had > FOUND);
                assert!(
                    !is_found,
                    "seed {seed}, {at:?}: {name} counts as gone, {has_had:?} there"
                );
            }
            // The first result counts at once; after that five failures and three successes do.
            if let Some(before) = was.insert(name, reach.reachable)
                && before != reach.reachable
            {
                let is_hasty = if reach.reachable {
                    has_lacked.is_some_and(|lacked| lacked > LOOK)
                } else {
                    has_had.is_some_and(|had| had > HASTY)
                };
                assert!(
                    !is_hasty,
                    "seed {seed}, {at:?}: {name} turned to {}",
                    reach.reachable
                );
            }
        }
    }
}

fn gateways(peer: &str) -> &'static [&'static str] {
    let of_peer = PEERS.iter().find(|(name, _)| *name == peer);
    of_peer.map(|(_, gateways)| *gateways).unwrap()
}

/// Faults by the dice, until their time is over; then none.
async fn break_things(simulation: Arc<Simulation>, mut dice: StdRng) {
    let hosts: Vec<_> = PEERS.iter().flat_map(|(_, gateways)| *gateways).collect();
    while simulation.started.elapsed() < FAULTS {
        let pause = Duration::from_millis(dice.random_range(200..20_000));
        // The last one too ends in time: what comes after is to be calm.
        sleep(pause.min(FAULTS.saturating_sub(simulation.started.elapsed()))).await;
        let host = hosts[dice.random_range(0..hosts.len())];
        match dice.random_range(0..10) {
            0..=1 => simulation.set(host, Condition::Down),
            2..=4 => simulation.set(host, Condition::CutOff),
            5 => simulation
                .network
                .slow(host, Duration::from_millis(dice.random_range(1..400))),
            _ => simulation.set(host, Condition::Up),
        }
    }
    for host in hosts {
        simulation.network.slow(host, Duration::from_millis(20));
        simulation.set(host, Condition::Up);
    }
}

/// Plays one seed.
async fn play(seed: u64) -> (usize, usize) {
    let simulation = Simulation::start(seed).await;
    let mut dice = StdRng::seed_from_u64(seed);
    let faults = StdRng::seed_from_u64(dice.random());
    let faults = tokio::spawn(break_things(Arc::clone(&simulation), faults));
    let clients = Arc::new(Mutex::new((0, 0, Vec::new())));
    let mut tasks = tokio::task::JoinSet::new();
    let mut was = BTreeMap::new();
    let mut next_client = Duration::ZERO;
    while simulation.started.elapsed() < FAULTS + CALM {
        sleep(LOOK).await;
        simulation.look(&mut was);
        if simulation.started.elapsed() < next_client {
            continue;
        }
        next_client =
            simulation.started.elapsed() + Duration::from_millis(dice.random_range(100..3000));
        let request = Request {
            id: dice.random(),
            has_data: dice.random(),
        };
        let (simulation, clients) = (Arc::clone(&simulation), Arc::clone(&clients));
        tasks.spawn(async move {
            let begun = Instant::now();
            let result = simulation.connect("ledger", request).await;
            let took = begun.elapsed();
            // A peer that was there all the time, and known to be.
            let known = took + FOUND;
            let was_there = PEERS.iter().any(|(name, gateways)| {
                gateways.len() == 1 && simulation.has_had(name).is_some_and(|had| had > known)
            });
            let mut clients = clients.lock();
            match result {
                Ok(_) => clients.0 += 1,
                Err(text) => {
                    clients.1 += 1;
                    // Data that may have reached one service goes to no other.
                    assert!(
                        !was_there || request.has_data,
                        "seed {seed}: a source that was there wasn't found within {took:?}: {text}"
                    );
                    assert!(
                        begun.duration_since(simulation.started) < FAULTS + FOUND,
                        "seed {seed}: not healed: {text}"
                    );
                }
            }
            if request.has_data {
                clients.2.push(request.id);
            }
        });
    }
    faults.await.unwrap();
    while let Some(task) = tasks.join_next().await {
        task.unwrap();
    }
    // All is well: everybody is reachable, and each of east's clients finds it.
    for (name, _) in PEERS {
        let peer = name.parse().unwrap();
        let reach = simulation.state.reach.of(&peer).unwrap();
        assert!(reach.reachable, "seed {seed}: {name} {:?}", reach.failure);
    }
    let request = Request {
        id: [0; 16],
        has_data: true,
    };
    let healed = simulation.connect("east-alone", request).await;
    assert_eq!(healed.unwrap().as_str(), "east", "seed {seed}");
    let (served, failed, with_data) = std::mem::take(&mut *clients.lock());
    let accepted = simulation.network.accepted();
    for id in with_data {
        let times = accepted
            .iter()
            .filter(|(_, request)| *request == id)
            .count();
        assert!(
            times <= 1,
            "seed {seed}: {times} services had the data of one client"
        );
    }
    // Nothing runs on.
    simulation.state.stop.cancel();
    simulation.state.draining.cancel();
    simulation.state.tasks.close();
    timeout(Duration::from_secs(60), simulation.state.tasks.wait())
        .await
        .expect("tasks run on after the stop");
    (served, failed)
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().expect("a number"))
}

#[test]
fn what_can_be_reached_is_found_and_what_was_broken_heals() {
    let seeds = match number("WEFT_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("WEFT_SEEDS").unwrap_or(8),
    };
    let (mut served, mut failed) = (0, 0);
    for seed in seeds.clone() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        let (some, others) = runtime.block_on(play(seed));
        served += some;
        failed += others;
    }
    println!(
        "{} seeds: {served} clients were served, {failed} weren't",
        seeds.count()
    );
    assert!(served > failed);
}
