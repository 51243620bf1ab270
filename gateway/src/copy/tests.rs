//! Many streams over one connection at once, of which some end badly: the others come to their end
//! with every byte, and nobody takes a part for the whole.
//!
//! `WEFT_STRESS=600 cargo test -p gateway --lib -- copy::` goes on for so many seconds.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use bytes::BytesMut;
use fabric::name::ObjectName;
use tokio_util::task::TaskTracker;

use super::*;
use crate::live::{Live, Subject};
use crate::tls::handshake;
use crate::tls::record_tests::{self, configs, name};
use crate::tunnel::connection::establish;
use crate::tunnel::frame::Open;
use crate::tunnel::stream::tests::facts;
use crate::tunnel::{Accept, Connection, Link};

/// How long anything may take, on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(120);

/// Random numbers that come again with their seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    /// Mostly little, sometimes more than all credit.
    fn length(&mut self) -> usize {
        let most = [1, 200, 20_000, 300_000, 1_500_000][self.below(5) as usize];
        self.below(most) as usize
    }
}

/// What ends a stream before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spoil {
    ClientResets,
    ServiceResets,
    /// Cut by a changed snapshot.
    NearCut,
    FarCut,
    /// The task is given up.
    NearGone,
    FarGone,
}

#[derive(Clone, Copy, Debug)]
struct Plan {
    seed: u64,
    up: usize,
    down: usize,
    early: usize,
    /// The service answers only when it has everything.
    in_turn: bool,
    client_dawdles: bool,
    service_dawdles: bool,
    spoil: Option<Spoil>,
}

impl Plan {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        dice.below(1);
        let up = dice.length();
        let spoil = [
            Spoil::ClientResets,
            Spoil::ServiceResets,
            Spoil::NearCut,
            Spoil::FarCut,
            Spoil::NearGone,
            Spoil::FarGone,
        ];
        Self {
            seed,
            up,
            down: dice.length(),
            early: up.min(dice.below(3) as usize * 8 * 1024),
            in_turn: dice.below(2) == 0,
            client_dawdles: dice.below(4) == 0,
            service_dawdles: dice.below(4) == 0,
            spoil: spoil.get(dice.below(12) as usize).copied(),
        }
    }

    /// When it is spoilt, if it is.
    async fn moment(&self) {
        let millis = self.seed % 40;
        tokio::time::sleep(Duration::from_millis(millis)).await;
    }
}

fn byte(seed: u64, at: usize) -> u8 {
    (at.wrapping_mul(31) as u64 ^ (at as u64 >> 8) ^ seed) as u8
}

/// How talking ended.
#[derive(Debug, PartialEq, Eq)]
enum Talked {
    Whole,
    /// An error, which is how everything but the whole has to end.
    Broken,
    /// An orderly end too early, or other bytes.
    Wrong(String),
}

/// One end of a stream: says its bytes and hears the other's.
async fn talk(socket: TcpStream, plan: Plan, is_client: bool) -> Talked {
    let (says, hears, dawdles) = match is_client {
        true => (plan.up, plan.down, plan.client_dawdles),
        false => (plan.down, plan.up, plan.service_dawdles),
    };
    let spoils = match is_client {
        true => plan.spoil == Some(Spoil::ClientResets),
        false => plan.spoil == Some(Spoil::ServiceResets),
    };
    let from = if is_client { plan.early } else { 0 };
    let (mine, others) = (plan.seed, plan.seed.wrapping_add(1));
    let (mine, others) = if is_client {
        (mine, others)
    } else {
        (others, mine)
    };
    let socket = Arc::new(socket);
    let heard = tokio_util::sync::CancellationToken::new();
    let say = async {
        if !is_client && plan.in_turn {
            heard.cancelled().await;
        }
        let mut dice = Dice(mine * 2 + 1);
        let mut at = from;
        while at < says {
            let length = (1 + dice.below(60_000) as usize).min(says - at);
            let bytes: Vec<u8> = (at..at + length).map(|at| byte(mine, at)).collect();
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                socket.writable().await.map_err(|_| Talked::Broken)?;
                match socket.try_write(rest) {
                    Ok(written) => rest = &rest[written..],
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(_) => return Err(Talked::Broken),
                }
            }
            at += length;
            if dawdles && dice.below(4) == 0 {
                tokio::time::sleep(Duration::from_millis(dice.below(5))).await;
            }
        }
        let ended = SockRef::from(&*socket).shutdown(Shutdown::Write);
        ended.map_err(|_| Talked::Broken)
    };
    let hear = async {
        let mut dice = Dice(others * 2 + 1);
        let mut buffer = vec![0; 40_000];
        let mut at = 0;
        loop {
            let room = 1 + dice.below(buffer.len() as u64) as usize;
            socket.readable().await.map_err(|_| Talked::Broken)?;
            let length = match socket.try_read(&mut buffer[..room]) {
                Ok(0) => break,
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(_) => return Err(Talked::Broken),
            };
            let is_right = (at..)
                .zip(&buffer[..length])
                .all(|(at, got)| *got == byte(others, at));
            if !is_right {
                return Err(Talked::Wrong(format!("other bytes at {at}")));
            }
            at += length;
            if dawdles && dice.below(4) == 0 {
                tokio::time::sleep(Duration::from_millis(dice.below(5))).await;
            }
        }
        heard.cancel();
        match at == hears {
            true => Ok(()),
            false => Err(Talked::Wrong(format!("{at} of {hears} bytes"))),
        }
    };
    let both = async { tokio::try_join!(say, hear) };
    if spoils {
        tokio::select! {
            _ = both => {}
            () = plan.moment() => {}
        }
        let _ = socket.set_zero_linger();
        return Talked::Broken;
    }
    match both.await {
        Ok(_) => Talked::Whole,
        Err(end) => end,
    }
}

async fn sockets(buffer: u32) -> (TcpStream, TcpStream) {
    let (client, server) = record_tests::sockets().await;
    for socket in [&client, &server] {
        crate::listen::prepare(&SockRef::from(socket));
        if buffer > 0 {
            // Of what is received, a small one would have the kernel wait for more at each turn.
            let socket = SockRef::from(socket);
            socket.set_send_buffer_size(buffer as usize).unwrap();
        }
    }
    (client, server)
}

/// What all streams of a round share.
struct Round {
    buffer: u32,
    plans: Vec<Plan>,
    live: Live,
    counters: Counters,
    tasks: TaskTracker,
    accepted: AtomicUsize,
    failures: parking_lot::Mutex<Vec<String>>,
}

impl Round {
    fn entry(&self) -> Arc<Entry> {
        self.live.add(Subject::Export {
            peer: "east".parse().unwrap(),
            client: None,
            export: ObjectName::new("shop", "ledger").unwrap(),
            host: None,
            target: SocketAddr::from((Ipv4Addr::LOCALHOST, 1)),
        })
    }

    /// Carries, unless the plan is another.
    async fn carry(
        &self,
        socket: TcpStream,
        tunnel: Tunnel,
        plan: Plan,
        is_near: bool,
        early: usize,
    ) {
        let quiet = Quiet {
            open: Duration::ZERO,
            half_closed: Duration::ZERO,
        };
        let entry = self.entry();
        let (cut, gone) = match is_near {
            true => (Spoil::NearCut, Spoil::NearGone),
            false => (Spoil::FarCut, Spoil::FarGone),
        };
        let carried = carry(socket, tunnel, &entry, &self.counters, quiet);
        let spoilt = async {
            if plan.spoil == Some(gone) {
                return plan.moment().await;
            }
            if plan.spoil == Some(cut) {
                plan.moment().await;
                entry.cut(End::NoLongerAllowed);
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            end = carried => {
                let (up, down) = entry.bytes();
                let (up, down) = if is_near { (up, down) } else { (down, up) };
                let whole = (plan.up - early, plan.down);
                if plan.spoil.is_none() && (end != End::Complete || (up as usize, down as usize) != whole) {
                    self.failed(plan, is_near, &format!("{end:?} {up} {down} of {whole:?}"));
                }
            }
            () = spoilt => {}
        }
        self.live.remove(&entry);
    }

    fn failed(&self, plan: Plan, is_near: bool, text: &str) {
        let text = format!("{plan:?}, near: {is_near}: {text}");
        self.failures.lock().push(text);
    }

    fn talked(&self, plan: Plan, is_client: bool, talked: &Talked) {
        let is_good = match talked {
            Talked::Whole => true,
            Talked::Broken => plan.spoil.is_some(),
            Talked::Wrong(_) => false,
        };
        if !is_good {
            self.failed(plan, is_client, &format!("{talked:?}"));
        }
    }
}

/// The far gateway.
struct Far(Arc<Round>);

impl Accept for Far {
    fn accept(&self, tunnel: Tunnel, open: Open) {
        let round = Arc::clone(&self.0);
        let at = u128::from_be_bytes(open.request) as usize;
        self.0.tasks.spawn(async move {
            let plan = round.plans[at];
            let (socket, service) = sockets(round.buffer).await;
            tunnel.accept();
            round.accepted.fetch_add(1, Ordering::SeqCst);
            let carried = round.carry(socket, tunnel, plan, false, 0);
            let ((), talked) = tokio::join!(carried, talk(service, plan, false));
            round.talked(plan, false, &talked);
        });
    }

    fn revision(&self) -> String {
        String::new()
    }
}

/// A client, and the near gateway.
async fn near(round: Arc<Round>, connection: Arc<Connection>, at: usize) {
    let plan = round.plans[at];
    let (client, socket) = sockets(round.buffer).await;
    let open = Open {
        request: (at as u128).to_be_bytes(),
        export: ObjectName::new("shop", "ledger").unwrap(),
        client: None,
        via: Vec::new(),
        trace: None,
    };
    let early: Vec<u8> = (0..plan.early).map(|at| byte(plan.seed, at)).collect();
    assert!(connection.room().await);
    let tunnel = connection.open(open, &early).unwrap();
    let carried = async {
        tunnel.answered().await.unwrap();
        round.carry(socket, tunnel, plan, true, early.len()).await;
    };
    let ((), talked) = tokio::join!(carried, talk(client, plan, true));
    round.talked(plan, true, &talked);
}

/// Two ends of a connection, by TLS or in the clear.
async fn links(seed: u64, buffer: u32) -> (Link, Link) {
    if seed.is_multiple_of(3) {
        let (near, far) = tokio::io::duplex(1 + (seed % 7) as usize * 3_000);
        return (Link::plain(near), Link::plain(far));
    }
    let (server, client) = configs();
    let (near, far) = sockets(buffer).await;
    let (near, far) = tokio::join!(
        handshake::connect(client, name(), near),
        handshake::accept(server, far, BytesMut::new()),
    );
    (near.unwrap().link, far.unwrap().link)
}

/// Streams over one connection, which is left while they run.
async fn round(seed: u64) {
    let mut dice = Dice(seed.wrapping_mul(0xd134_2543_de82_ef95) | 1);
    dice.below(1);
    let buffer = [0, 4_096, 32_768][dice.below(3) as usize];
    let count = [1, 2, 3, 8, 40][dice.below(5) as usize];
    let links = links(seed, buffer).await;
    let (near_side, far_side) = tokio::join!(
        establish(facts(true), links.0),
        establish(facts(false), links.1),
    );
    let [(connection, ours), (far, theirs)] = [near_side.unwrap(), far_side.unwrap()];
    let round = Arc::new(Round {
        buffer,
        plans: (0..count).map(|at| Plan::new(seed * 1000 + at)).collect(),
        live: Live::default(),
        counters: Counters::new(&Metrics::default(), Side::Export),
        tasks: TaskTracker::new(),
        accepted: AtomicUsize::new(0),
        failures: parking_lot::Mutex::default(),
    });
    let accept = Arc::new(Far(Arc::clone(&round)));
    let tasks = &round.tasks;
    tasks.spawn(Arc::clone(&connection).run(ours, Arc::clone(&accept) as Arc<dyn Accept>));
    tasks.spawn(Arc::clone(&far).run(theirs, accept));
    for at in 0..round.plans.len() {
        tasks.spawn(near(Arc::clone(&round), Arc::clone(&connection), at));
    }
    let all = async {
        while round.accepted.load(Ordering::SeqCst) < round.plans.len() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // The last one to end takes the connection with it.
        let left = if seed.is_multiple_of(2) {
            &connection
        } else {
            &far
        };
        left.retire("it is replaced");
        tasks.close();
        tasks.wait().await;
    };
    let ended = tokio::time::timeout(PATIENCE, all).await;
    let failures = std::mem::take(&mut *round.failures.lock());
    assert!(failures.is_empty(), "seed {seed}: {failures:#?}");
    if ended.is_err() {
        panic!(
            "seed {seed}: {} tasks hang: {connection:#?} {far:#?}",
            tasks.len()
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whoever_stalls_breaks_off_or_is_cut_takes_nothing_from_the_others() {
    let seconds = std::env::var("WEFT_STRESS").ok();
    let seconds = seconds.and_then(|seconds| seconds.parse().ok());
    let until = Instant::now() + Duration::from_secs(seconds.unwrap_or(0));
    let first = if seconds.is_some() {
        rand::random::<u32>().into()
    } else {
        1
    };
    let mut seed: u64 = first;
    while seed < first + 12 || Instant::now() < until {
        let rounds = (0..2).map(|at| tokio::spawn(round(seed + at)));
        for round in futures::future::join_all(rounds).await {
            round.unwrap();
        }
        seed += 2;
    }
    println!("{} rounds", seed - first);
}
