//! The limits of a snapshot: each is met, refused beyond, told by its name, and given back.

use std::time::Duration;

use fabric::api::{self, Limits};
use gateway::Timeouts;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::common::authority::Leaf;
use crate::common::peer::{Peer, free_port, loopback};
use crate::common::plan::Planner;
use crate::common::service::{Full, Service, breaks, echoes, echoing, talk};
use crate::common::{soon, until};
use crate::world::Pair;

fn hit(limit: &str) -> String {
    format!("weft_limits_hit_total{{limit=\"{limit}\"}}")
}

fn limited(planner: Planner, change: impl FnOnce(&mut Limits)) -> Planner {
    planner.allow_all().state(|state| change(&mut state.limits))
}

/// A pair of which the importer has limits.
async fn limited_west(change: impl FnOnce(&mut Limits)) -> Pair {
    let pair = Pair::started(Service::echo().await).await;
    pair.east.apply(&pair.east_plan().allow_all()).await;
    pair.west.apply(&limited(pair.west_plan(), change)).await;
    pair
}

/// A pair of which the exporter has limits.
async fn limited_east(change: impl FnOnce(&mut Limits)) -> Pair {
    let pair = Pair::started(Service::echo().await).await;
    pair.east.apply(&limited(pair.east_plan(), change)).await;
    pair.west.apply(&pair.west_plan().allow_all()).await;
    pair
}

/// Two connections fit, a third one doesn't, and a place that is left is given to the next.
async fn takes_two(pair: &Pair, peer: &Peer, limit: &str) {
    let (mut one, two) = (echoing(pair.import).await, echoing(pair.import).await);
    assert!(talk(pair.import, "hello").await.is_err());
    peer.counts(&hit(limit), 1.0).await;
    drop(two);
    until("a free place", || async {
        talk(pair.import, "hello").await.ok()
    })
    .await;
    assert!(echoes(&mut one).await, "who is in isn't put out");
}

/// Of many at once so many get through; a second later there is room again.
async fn takes_at_a_rate(pair: &Pair, peer: &Peer, limit: &str, most: usize) {
    let mut answered = 0;
    let started = std::time::Instant::now();
    for _ in 0..(most * 4) {
        answered += usize::from(talk(pair.import, "hello").await.is_ok());
    }
    let over = started.elapsed().as_secs_f64() * most as f64;
    assert!(answered >= most, "{answered}");
    assert!(
        answered as f64 <= most as f64 + over + 1.0,
        "{answered}, and {over} over time"
    );
    if answered < most * 4 {
        peer.counts(&hit(limit), 1.0).await;
    }
    until("a new second", || async {
        talk(pair.import, "hello").await.ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_84_connections_of_an_import() {
    let pair = limited_west(|limits| limits.connections_per_import = 2).await;
    takes_two(&pair, &pair.west, "connections_per_import").await;
    pair.west.decides("import", "limit", 1.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_84_connections_of_a_client() {
    let pair = limited_west(|limits| limits.connections_per_client = 2).await;
    takes_two(&pair, &pair.west, "connections_per_client").await;
    // Another client has its own.
    let held = || {
        until("a place", || async {
            let mut socket = TcpStream::connect(pair.import).await.ok()?;
            echoes(&mut socket).await.then_some(socket)
        })
    };
    let (_one, _two) = (held().await, held().await);
    let other = tokio::net::TcpSocket::new_v4().unwrap();
    other.bind("127.0.0.7:0".parse().unwrap()).unwrap();
    let mut other = soon("a connection", other.connect(pair.import))
        .await
        .unwrap();
    assert!(echoes(&mut other).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_84_connections_of_an_export() {
    let pair = limited_east(|limits| limits.connections_per_export = 2).await;
    takes_two(&pair, &pair.east, "connections_per_export").await;
    pair.east.decides("export", "limit", 1.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_84_tunnels_of_a_peer() {
    let pair = limited_east(|limits| limits.tunnels_per_peer = 2).await;
    takes_two(&pair, &pair.east, "tunnels_per_peer").await;
    let pair = limited_west(|limits| limits.tunnels_per_peer = 2).await;
    takes_two(&pair, &pair.west, "tunnels_per_peer").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_84_new_connections_of_an_import() {
    let pair = limited_west(|limits| limits.new_connections_per_import = 5).await;
    takes_at_a_rate(&pair, &pair.west, "new_connections_per_import", 5).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_84_new_connections_of_an_export() {
    let pair = limited_east(|limits| limits.new_connections_per_export = 5).await;
    takes_at_a_rate(&pair, &pair.east, "new_connections_per_export", 5).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_84_annotations_limit_one_import_and_one_export_alone() {
    let pair = Pair::started(Service::echo().await).await;
    let (free, free_service) = (loopback(free_port()), Service::echo().await);
    let east = pair.east_plan().annotated("weft.dev/max-connections", "2");
    pair.east
        .apply(&east.export("stock", free_service.address).allow_all())
        .await;
    let stock = |plan: Planner| plan.import("stock", free.port(), &[("east", "stock")]);
    pair.west.apply(&stock(pair.west_plan()).allow_all()).await;
    takes_two(&pair, &pair.east, "connections_per_export").await;

    let ledger = || pair.west_plan().annotated("weft.dev/max-connections", "1");
    pair.west
        .apply(&stock(ledger()).revision("second").allow_all())
        .await;
    let _one = echoing(pair.import).await;
    assert!(talk(pair.import, "hello").await.is_err());
    pair.west.counts(&hit("connections_per_import"), 1.0).await;
    let (_two, _three) = (echoing(free).await, echoing(free).await);

    let rate = pair
        .west_plan()
        .annotated("weft.dev/connections-per-second", "1");
    pair.west
        .apply(&stock(rate).revision("third").allow_all())
        .await;
    until("a second one within a second", || async {
        assert!(talk(free, "hello").await.is_ok());
        talk(pair.import, "hello").await.err()
    })
    .await;
    pair.west
        .counts(&hit("new_connections_per_import"), 1.0)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_is_too_long_is_refused() {
    let pair = limited_east(|limits| limits.message_bytes = 200).await;
    assert_eq!(talk(pair.import, "hello").await.unwrap(), "hello");
    let long = |plan: Planner| {
        plan.state(|state| {
            let labels = &mut state.workloads[0].labels;
            labels.insert("long".to_owned(), "x".repeat(200));
        })
    };
    pair.west
        .apply(&long(pair.west_plan()).revision("second").allow_all())
        .await;
    assert!(talk(pair.import, "hello").await.is_err());
    pair.east.counts(&hit("message_bytes"), 1.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handshakes_in_progress_are_bounded() {
    for (limit, change) in [
        (
            "handshakes",
            (|limits| limits.handshakes = 3) as fn(&mut Limits),
        ),
        ("handshakes_per_address", |limits| {
            limits.handshakes_per_address = 3;
        }),
    ] {
        let pair = Pair::started(Service::echo().await).await;
        pair.east.apply(&limited(pair.east_plan(), change)).await;
        let mut hanging = Vec::new();
        for _ in 0..6 {
            hanging.push(TcpStream::connect(pair.east.address()).await.unwrap());
        }
        pair.east.counts(&hit(limit), 1.0).await;
        pair.east.handshakes("accept", "limit").await;
        drop(hanging);
        pair.west.apply(&pair.west_plan().allow_all()).await;
        pair.west.sees("east", true).await;
        assert_eq!(talk(pair.import, "hello").await.unwrap(), "hello");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handshakes_that_hang_give_way_where_few_are_allowed() {
    let pair = limited_east(|limits| limits.handshakes = 3).await;
    pair.west.sees("east", true).await;
    // Without a place for west, they would have them all for half a minute.
    let mut hanging = Vec::new();
    for _ in 0..3 {
        hanging.push(TcpStream::connect(pair.east.address()).await.unwrap());
    }
    let north = pair.authority.leaf(pair.folder.path(), &["north"]);
    let north = Peer::start(vec![north.files]).await;
    let plan = Planner::new("north", pair.authority.certificate());
    let east = pair.east_plan().peer("north", &[]).revision("second");
    let east = limited(east, |limits| limits.handshakes = 3);
    pair.east.apply(&east).await;
    north
        .apply(&plan.peer("east", &[pair.east.address()]).allow_all())
        .await;
    north.sees("east", true).await;
    pair.east.handshakes("accept", "crowded").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handshake_that_hangs_is_ended_in_time() {
    let change = |limits: &mut Limits| {
        limits.handshake_timeout = api::Duration::from_millis(300);
    };
    let pair = limited_east(change).await;
    let mut hanging = TcpStream::connect(pair.east.address()).await.unwrap();
    let mut rest = Vec::new();
    // Half a minute is what the gateway itself would give it here.
    let _ = soon("the end", hanging.read_to_end(&mut rest)).await;
    pair.east.handshakes("accept", "timeout").await;
}

/// A gateway that by itself would wait for an hour.
async fn patient(leaf: &Leaf) -> Peer {
    let hour = Duration::from_secs(3600);
    let timeouts = Timeouts {
        handshake: hour,
        dial: hour,
        open: hour,
        connect: hour,
    };
    Peer::start_with(vec![leaf.files.clone()], 0, timeouts).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_69_what_a_connection_waits_for_is_given_up_in_the_time_that_the_fabric_says() {
    let soon = api::Duration::from_millis(300);
    let full = Full::start().await;
    let mut pair = Pair::started(Service::echo().await).await;
    pair.east = patient(&pair.east_leaf).await;
    pair.west = patient(&pair.west_leaf).await;
    let east = |revision: &str| {
        Planner::new("east", pair.authority.certificate())
            .revision(revision)
            .peer("west", &[])
            .export("ledger", full.address)
    };
    // An exported service that can't be connected to.
    let plan = limited(east("first"), |limits| limits.connect_timeout = soon);
    pair.east.apply(&plan).await;
    pair.west.apply(&pair.west_plan().allow_all()).await;
    assert!(talk(pair.import, "hello").await.is_err());
    pair.east.decides("export", "export_unreachable", 1.0).await;

    // A peer that doesn't say whether it takes the connection.
    pair.east.apply(&limited(east("second"), |_| {})).await;
    let plan = limited(pair.west_plan(), |limits| limits.open_timeout = soon);
    pair.west.apply(&plan.revision("second")).await;
    assert!(talk(pair.import, "hello").await.is_err());
    pair.west.decides("import", "peer_unreachable", 1.0).await;
    let answered = "weft_tunnel_opens_total{result=\"timeout\"}";
    pair.west.counts(answered, 1.0).await;

    // A gateway that can't be connected to.
    let plan = Planner::new("west", pair.authority.certificate())
        .revision("third")
        .peer("east", &[full.address])
        .import("ledger", pair.import.port(), &[("east", "ledger")]);
    let plan = limited(plan, |limits| limits.dial_timeout = soon);
    // Anew, since the one that is there would still do.
    pair.west.take_away().await;
    pair.west.apply(&plan).await;
    assert!(talk(pair.import, "hello").await.is_err());
    pair.west.handshakes("dial", "connect_timeout").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_90_what_is_half_closed_and_silent_is_ended_in_time() {
    let pair = Pair::started(Service::silent().await).await;
    pair.east.apply(&pair.east_plan().allow_all()).await;
    let change = |limits: &mut Limits| {
        limits.half_closed_timeout = api::Duration::from_millis(600);
    };
    pair.west.apply(&limited(pair.west_plan(), change)).await;
    let mut open = TcpStream::connect(pair.import).await.unwrap();
    open.write_all(b"hello").await.unwrap();
    let mut half = TcpStream::connect(pair.import).await.unwrap();
    half.write_all(b"hello").await.unwrap();
    half.shutdown().await.unwrap();
    breaks(&mut half).await;
    let series = "weft_connections_ended_total{side=\"import\",reason=\"idle\"}";
    pair.west.counts(series, 1.0).await;
    // The one with both directions open stays.
    let read = tokio::time::timeout(Duration::from_millis(50), open.read(&mut [0; 8])).await;
    assert!(read.is_err(), "{read:?}");
}
