//! A way between two gateways that breaks, lies or falls silent.

use std::time::Duration;

use fabric::api;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::common::peer::{Peer, free_port, loopback};
use crate::common::plan::Planner;
use crate::common::service::{Service, breaks, echoes, echoing, talk};
use crate::common::{soon, until};
use crate::proxy::{Fault, Proxy, Way};
use crate::siege::Siege;

/// `west` reaches east over a wire that can break; north's is its own.
struct Wired {
    siege: Siege,
    wire: Proxy,
    west: Peer,
    import: std::net::SocketAddr,
    turns: u32,
}

impl Wired {
    async fn new() -> Self {
        let siege = Siege::begin().await;
        let wire = Proxy::start(siege.east.address()).await;
        let leaf = siege.authority.leaf(siege.folder.path(), &["mallory"]);
        Self {
            west: Peer::start(vec![leaf.files]).await,
            import: loopback(free_port()),
            siege,
            wire,
            turns: 0,
        }
    }

    /// No connection between west and east, and then whatever is to be tried.
    async fn anew(&mut self, fault: Fault) {
        self.west.take_away().await;
        until("no connection", || async {
            let live = "weft_gateway_connections{role=\"dial\"}";
            let live = self.west.metric(live).await.unwrap_or(0.0);
            (live == 0.0).then_some(())
        })
        .await;
        self.wire.set(fault);
        self.turns += 1;
        let plan = Planner::new("mallory", self.siege.authority.certificate())
            .revision(&format!("turn {}", self.turns))
            .peer("east", &[self.wire.address])
            .import("ledger", self.import.port(), &[("east", "ledger")])
            .allow_all()
            // The test's own connections are the only ones that dial, after the first heartbeat.
            .state(|state| state.heartbeat.interval = api::Duration::from_secs(3600));
        self.west.apply(&plan).await;
    }

    /// A client's whole talk: what was said comes back, or the client learns that it didn't.
    async fn talk(&self) -> bool {
        match talk(self.import, "a word in your ear").await {
            Ok(answer) => {
                assert_eq!(
                    answer, "a word in your ear",
                    "a part was taken for the whole"
                );
                true
            }
            Err(_) => false,
        }
    }
}

/// How many bytes go each way until a client has had its answer.
async fn whole_way(wired: &mut Wired) -> (usize, usize) {
    wired.anew(Fault::None).await;
    assert!(wired.talk().await);
    (wired.wire.carried(Way::Up), wired.wire.carried(Way::Down))
}

/// Where to break: around each record of TLS, and evenly over all of it.
fn places(whole: usize) -> Vec<usize> {
    let mut places: Vec<_> = (0..12).map(|part| part * whole / 12).collect();
    // The first record's header, and the last bytes: the OPEN, its answer, the ends.
    places.extend([1, 4, 5, 6]);
    places.extend((1..12).map(|back| whole.saturating_sub(back * 23)));
    places.sort_unstable();
    places.dedup();
    places
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_at_any_step_of_opening_is_an_error_and_is_over_with_it() {
    let mut wired = Wired::new().await;
    let bystander = wired.siege.bystander().await;
    let (up, down) = whole_way(&mut wired).await;
    let (mut failed, mut tried) = (0, 0);
    for (way, whole) in [(Way::Up, up), (Way::Down, down)] {
        for at in places(whole) {
            wired.anew(Fault::Reset(way, at)).await;
            failed += u32::from(!wired.talk().await);
            tried += 1;
        }
    }
    assert!(
        wired.wire.struck() >= tried / 2,
        "{} of {tried}",
        wired.wire.struck()
    );
    eprintln!("{failed} of {tried} clients met a reset on the way of {up} and {down} bytes");
    wired.anew(Fault::None).await;
    assert!(wired.talk().await, "healed");
    bystander.content("resets at every step").await;
    wired.siege.east_carries(0.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_bit_is_never_taken_for_data() {
    let mut wired = Wired::new().await;
    let bystander = wired.siege.bystander().await;
    let (up, down) = whole_way(&mut wired).await;
    for (way, whole) in [(Way::Up, up), (Way::Down, down)] {
        for at in places(whole) {
            wired.anew(Fault::Flip(way, at)).await;
            wired.talk().await;
        }
    }
    assert!(wired.wire.struck() > 20, "{}", wired.wire.struck());
    wired.anew(Fault::None).await;
    assert!(wired.talk().await, "healed");
    bystander.content("flipped bits").await;
    wired.siege.east_carries(0.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bit_flipped_within_a_long_transfer_breaks_it() {
    let mut wired = Wired::new().await;
    let bystander = wired.siege.bystander().await;
    for way in [Way::Up, Way::Down] {
        wired.anew(Fault::Flip(way, 3_000_000)).await;
        let sent: Vec<u8> = (0..8_000_000_u32).map(|at| (at % 251) as u8).collect();
        let mut socket = TcpStream::connect(wired.import).await.unwrap();
        let (mut reader, mut writer) = socket.split();
        let send = async {
            writer.write_all(&sent).await?;
            writer.shutdown().await
        };
        let mut received = Vec::new();
        let (read, sent_all) = soon("the end", async {
            tokio::join!(reader.read_to_end(&mut received), send)
        })
        .await;
        // A reset is told once: to whichever of the two asks first.
        assert!(
            read.is_err() || sent_all.is_err(),
            "{way:?}: ended in order after {}",
            received.len()
        );
        assert!(
            sent.starts_with(&received),
            "{way:?}: wrong bytes came through"
        );
        let failed = "weft_gateway_connections_ended_total{reason=\"failed\"}";
        wired.siege.east.counts(failed, 0.0).await;
    }
    bystander.content("a bit flipped in a long transfer").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_way_that_falls_silent_is_given_up_and_another_is_taken() {
    let mut wired = Wired::new().await;
    let bystander = wired.siege.bystander().await;
    // Everything of a handshake, and nothing of what is asked over it later.
    let (_, down) = whole_way(&mut wired).await;
    for at in [0, 700, down - 60] {
        wired.anew(Fault::Swallow(Way::Down, at)).await;
        // Nobody waits for this client; it shall hold nobody up.
        let waiting = TcpStream::connect(wired.import).await.unwrap();
        wired.siege.east.admin("/metrics").await;
        drop(waiting);
    }
    wired.anew(Fault::None).await;
    assert!(wired.talk().await, "healed");
    bystander.content("a silent way").await;
}

/// What a service says that speaks first.
async fn greeting(import: std::net::SocketAddr) -> std::io::Result<String> {
    let mut socket = TcpStream::connect(import).await?;
    let mut greeting = String::new();
    soon("the greeting", socket.read_to_string(&mut greeting)).await?;
    Ok(greeting)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_61_a_gateway_that_falls_silent_is_left_for_another_one_at_once() {
    let greeter = Service::named("hello").await;
    let siege = Siege::with(|plan| plan.export("greeter", greeter.address)).await;
    let bystander = siege.bystander().await;
    let wires = [
        Proxy::start(siege.east.address()).await,
        Proxy::start(siege.east.address()).await,
    ];
    let leaf = siege.authority.leaf(siege.folder.path(), &["mallory"]);
    let west = Peer::start(vec![leaf.files]).await;
    let (import, greeted) = (loopback(free_port()), loopback(free_port()));
    let plan = Planner::new("mallory", siege.authority.certificate())
        .peer("east", &[wires[0].address, wires[1].address])
        .import("ledger", import.port(), &[("east", "ledger")])
        .import("greeter", greeted.port(), &[("east", "greeter")])
        .allow_all()
        // Given up after 9 seconds; left for another one after the first of them.
        .state(|state| {
            state.heartbeat.timeout = api::Duration::from_secs(3);
            state.heartbeat.down = 3;
        });
    west.apply(&plan).await;
    west.sees("east", true).await;
    let mut old = echoing(import).await;
    let since = west.told("east").await["since"].clone();
    // Which of the two was dialled is a matter of chance, and on a slow machine both were.
    let carried = || [0, 1].map(|wire: usize| wires[wire].carried(Way::Up));
    let before = carried();
    assert!(echoes(&mut old).await);
    let after = carried();
    let is_second = after[1] - before[1] > after[0] - before[0];
    let silent = &wires[usize::from(is_second)];
    let other = &wires[usize::from(!is_second)];
    silent.fall_silent();
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..10 {
        clients.spawn(greeting(greeted));
    }
    let started = std::time::Instant::now();
    for answer in clients.join_all().await {
        assert_eq!(answer.unwrap(), "hello");
    }
    eprintln!(
        "clients waited {:?} for the other gateway",
        started.elapsed()
    );
    assert!(other.accepted() > 0);
    // What says something at once is never left in the dark again.
    for _ in 0..10 {
        assert_eq!(talk(import, "a word").await.unwrap(), "a word");
    }
    // Nobody else has to be told what came of the connection that was left.
    breaks(&mut old).await;
    let ended = "weft_gateway_connections_ended_total{reason=\"silent\"}";
    west.counts(ended, 1.0).await;
    let told = west.told("east").await;
    assert_eq!((&told["reachable"], &told["since"]), (&true.into(), &since));
    bystander.content("a gateway that falls silent").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_whose_peer_is_cut_off_in_the_middle_are_told() {
    let mut wired = Wired::new().await;
    let bystander = wired.siege.bystander().await;
    wired.anew(Fault::Reset(Way::Up, 60_000)).await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(echoing(wired.import).await);
    }
    // Together they go beyond the byte at which the way breaks.
    for client in &mut clients {
        let _ = client.write_all(&[9; 16 * 1024]).await;
    }
    let mut broken = 0;
    for client in &mut clients {
        let mut rest = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(5), client.read_to_end(&mut rest));
        broken += u32::from(matches!(read.await, Ok(Err(_))));
    }
    assert!(broken > 0, "nobody was told");
    eprintln!("{broken} of 20 clients were told by a reset");
    wired.wire.set(Fault::None);
    assert!(wired.talk().await, "healed");
    bystander.content("a cut in the middle").await;
}
