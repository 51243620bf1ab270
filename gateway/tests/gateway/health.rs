//! Whether peers answer, what heartbeats carry, and how far a peer may be away.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fabric::api::{Action, Heartbeat};
use gateway::Timeouts;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::common::peer::{Peer, free_port, loopback};
use crate::common::plan::Planner;
use crate::common::service::{Service, breaks, echoing, talk};
use crate::common::{soon, until};
use crate::world::Pair;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_57_the_first_heartbeat_decides_and_carries_the_commit_in_force() {
    let defaults = Heartbeat::default();
    assert_eq!(defaults.interval.get(), Duration::from_secs(1));
    assert_eq!((defaults.down, defaults.up), (5, 3));

    let pair = Pair::started(Service::echo().await).await;
    pair.east
        .apply(&pair.east_plan().revision("of-east").allow_all())
        .await;
    // No second heartbeat within the test: the first result counts by itself.
    let seldom = |planner: Planner| {
        planner.state(|state| {
            state.heartbeat = Heartbeat {
                interval: fabric::api::Duration::from_millis(3_600_000),
                ..Heartbeat::default()
            };
        })
    };
    let plan = seldom(pair.west_plan().revision("of-west")).peer("gone", &[loopback(free_port())]);
    pair.west.apply(&plan.allow_all()).await;
    pair.west.sees("east", true).await;
    pair.west.sees("gone", false).await;
    let east = pair.west.told("east").await;
    assert_eq!(east["revision"], "of-east");
    assert!(east["roundTripMicroseconds"].as_u64().unwrap() > 0);
    assert!(east["since"].is_string());
    let in_step = "weft_peer_in_step{peer=\"east\"}";
    assert_eq!(pair.west.metric(in_step).await, Some(0.0));
    let unknown = "weft_peer_in_step{peer=\"gone\"}";
    assert_eq!(pair.west.metric(unknown).await, None);
    // And east was told west's, also without asking.
    assert_eq!(pair.east.told("west").await["revision"], "of-west");
    let gone = pair.west.told("gone").await;
    let failure = gone["failure"].as_str().unwrap();
    assert!(
        failure.starts_with("connect: connect to 127.0.0.1:"),
        "{failure}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_59_labels_of_a_peer_that_stays_reachable_count_as_soon_as_they_are_committed() {
    let pair = Pair::started(Service::echo().await).await;
    pair.east.apply(&pair.east_plan().allow_all()).await;
    let gold = [("peer.clusterlink.net/labels.tier", "gold")];
    let plan = |revision: &str, tier: &str| {
        Planner::new("west", pair.authority.certificate())
            .revision(revision)
            .peer("east", &[pair.east.address()])
            .labelled(&[("tier", tier)])
            .import("ledger", pair.import.port(), &[("east", "ledger")])
            .policy("gold", Action::Allow, &[], &gold)
    };
    pair.west.apply(&plan("a", "gold")).await;
    pair.west.sees("east", true).await;
    let told = pair.west.told("east").await;
    assert_eq!(told["labels"]["tier"], "gold");
    let mut live = echoing(pair.import).await;
    pair.west.apply(&plan("b", "tin")).await;
    breaks(&mut live).await;
    assert!(talk(pair.import, "x").await.is_err());
    pair.west.apply(&plan("c", "gold")).await;
    assert_eq!(talk(pair.import, "x").await.unwrap(), "x");
    // Reachable all the time.
    assert_eq!(pair.west.told("east").await["since"], told["since"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_60_two_good_gateways_never_lock_each_other_and_one_of_them_is_enough() {
    let pair = Pair::started(Service::echo().await).await;
    let second = Peer::start(vec![pair.east_leaf.files.clone()]).await;
    for east in [&pair.east, &second] {
        east.apply(&pair.east_plan().allow_all()).await;
    }
    let plan = Planner::new("west", pair.authority.certificate())
        .state(|state| state.heartbeat.interval = fabric::api::Duration::from_millis(50))
        .peer("east", &[pair.east.address(), second.address()])
        .import("ledger", pair.import.port(), &[("east", "ledger")]);
    pair.west.apply(&plan.allow_all()).await;
    pair.west.sees("east", true).await;
    // Enough at a time that there is a connection to each of them.
    let load = async |count: usize| {
        let mut clients = JoinSet::new();
        for _ in 0..count {
            let import = pair.import;
            clients.spawn(async move { talk(import, "hello").await });
        }
        let answers = clients.join_all().await;
        answers.into_iter().filter(Result::is_ok).count()
    };
    let mut opened = Vec::new();
    let both = "weft_gateway_connections{role=\"dial\"}";
    while opened.len() < 24 || pair.west.metric(both).await < Some(2.0) {
        opened.push(echoing(pair.import).await);
        assert!(opened.len() < 1000, "all of them through one connection");
    }
    for _ in 0..5 {
        assert_eq!(load(100).await, 100);
    }
    drop(opened);
    // One goes down in order: nothing is lost.
    second.running.drain(Duration::from_secs(30)).await;
    assert_eq!(load(100).await, 100);
    pair.west.sees("east", true).await;
    // The watch goes on: with the other one gone, too, it says so.
    let Pair { west, east, .. } = pair;
    drop(east);
    west.sees("east", false).await;
}

/// A gateway that accepts and says nothing; how often it was dialled.
async fn dumb() -> (SocketAddr, Arc<AtomicUsize>, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let dialled = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&dialled);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        while listener.accept().await.is_ok() {
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    (address, dialled, tasks)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_60_a_peer_that_is_deleted_is_watched_no_more() {
    let pair = Pair::started(Service::echo().await).await;
    let (gone, gone_dialled, _gone) = dumb().await;
    let (kept, kept_dialled, _kept) = dumb().await;
    let plan = |revision: &str| {
        Planner::new("west", pair.authority.certificate())
            .revision(revision)
            .state(|state| state.heartbeat.interval = fabric::api::Duration::from_millis(50))
            .peer("kept", &[kept])
    };
    pair.west.apply(&plan("a").peer("gone", &[gone])).await;
    let dials = |dialled: Arc<AtomicUsize>, wanted: usize| async move {
        until("dials", || async {
            (dialled.load(Ordering::SeqCst) >= wanted).then_some(())
        })
        .await;
    };
    dials(Arc::clone(&gone_dialled), 2).await;
    pair.west.sees("gone", false).await;
    pair.west.apply(&plan("b")).await;
    let gauge = "weft_peer_reachable{peer=\"gone\"}";
    assert_eq!(pair.west.metric(gauge).await, None);
    let so_far = gone_dialled.load(Ordering::SeqCst);
    dials(
        Arc::clone(&kept_dialled),
        kept_dialled.load(Ordering::SeqCst) + 10,
    )
    .await;
    // At most the dial that was under way.
    let more = gone_dialled.load(Ordering::SeqCst) - so_far;
    assert!(more <= 1, "{more} dials of a peer that is deleted");
    assert_eq!(pair.west.metric(gauge).await, None);
    // It comes back as if it had never been known.
    pair.west.apply(&plan("c").peer("gone", &[gone])).await;
    pair.west.sees("gone", false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_61_without_a_gateway_that_answers_a_peer_is_unreachable_and_an_edit_heals() {
    let pair = Pair::started(Service::echo().await).await;
    let bad = loopback(free_port());
    pair.east
        .apply(&pair.east_plan().peer("x", &[]).allow_all())
        .await;
    let east = Planner::new("east", pair.authority.certificate())
        .revision("outbound")
        .peer("west", &[])
        .export("ledger", pair.service.address);
    pair.east.apply(&east.allow_all()).await;
    let plan = |revision: &str, gateways: &[SocketAddr]| {
        Planner::new("west", pair.authority.certificate())
            .revision(revision)
            .peer("east", gateways)
            .import("ledger", pair.import.port(), &[("east", "ledger")])
            .allow_all()
    };
    let good = pair.east.address();
    pair.west.apply(&plan("a", &[bad, good])).await;
    pair.west.sees("east", true).await;
    let mut live = echoing(pair.import).await;
    pair.west.apply(&plan("b", &[bad])).await;
    pair.west.sees("east", false).await;
    assert!(talk(pair.import, "x").await.is_err());
    // What runs isn't disturbed by the edit.
    assert!(crate::common::service::echoes(&mut live).await);
    pair.west.apply(&plan("c", &[good, bad])).await;
    pair.west.sees("east", true).await;
    for _ in 0..11 {
        assert_eq!(talk(pair.import, "x").await.unwrap(), "x");
    }
}

/// In front of a gateway: what goes to it, and what comes from it, is there when it is due.
///
/// `up` and `down` say when a piece of so many bytes is; what isn't yet waits in line.
async fn in_front<Due>(gateway: SocketAddr, up: Due, down: Due) -> (SocketAddr, JoinSet<()>)
where
    Due: FnMut(usize) -> tokio::time::Instant + Clone + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut running = JoinSet::new();
        while let Ok((near, _)) = listener.accept().await {
            let Ok(far) = TcpStream::connect(gateway).await else {
                continue;
            };
            let (near_read, near_write) = near.into_split();
            let (far_read, far_write) = far.into_split();
            running.spawn(late(near_read, far_write, up.clone()));
            running.spawn(late(far_read, near_write, down.clone()));
        }
    });
    (address, tasks)
}

async fn late(
    mut reader: impl AsyncReadExt + Unpin,
    mut writer: impl AsyncWriteExt + Unpin + Send + 'static,
    mut due: impl FnMut(usize) -> tokio::time::Instant,
) {
    let (sender, mut under_way) = mpsc::unbounded_channel::<(tokio::time::Instant, Vec<u8>)>();
    let writing = tokio::spawn(async move {
        while let Some((at, bytes)) = under_way.recv().await {
            tokio::time::sleep_until(at).await;
            if writer.write_all(&bytes).await.is_err() {
                return;
            }
        }
        let _ = writer.shutdown().await;
    });
    let mut buffer = vec![0; 4 * 1024];
    while let Ok(length @ 1..) = reader.read(&mut buffer).await {
        if sender
            .send((due(length), buffer[..length].to_vec()))
            .is_err()
        {
            break;
        }
    }
    drop(sender);
    let _ = writing.await;
}

/// A way on which a piece takes so long, whatever its length.
fn far(delay: Duration) -> impl FnMut(usize) -> tokio::time::Instant + Clone {
    move |_| tokio::time::Instant::now() + delay
}

/// A way that carries so many bytes a second.
fn narrow(rate: u32) -> impl FnMut(usize) -> tokio::time::Instant + Clone {
    let mut free = tokio::time::Instant::now();
    move |length| {
        let takes = Duration::from_secs(length as u64) / rate;
        free = free.max(tokio::time::Instant::now()) + takes;
        free
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_69_a_peer_half_a_second_away_is_reached_with_the_usual_timeouts() {
    let pair = Pair::started(Service::echo().await).await;
    pair.east
        .apply(&pair.east_plan().peer("x", &[]).allow_all())
        .await;
    let west = Peer::start_configured(vec![pair.west_leaf.files.clone()], |config| {
        config.timeouts = Timeouts::default();
    })
    .await;
    let round_trip = Duration::from_millis(500);
    let way = far(round_trip / 2);
    let (far, _far) = in_front(pair.east.address(), way.clone(), way).await;
    let plan = Planner::new("west", pair.authority.certificate())
        .peer("east", &[far])
        .import("ledger", pair.import.port(), &[("east", "ledger")]);
    west.apply(&plan.allow_all()).await;
    west.sees("east", true).await;
    let measured = west.told("east").await["roundTripMicroseconds"].as_u64();
    assert!(measured.unwrap() >= 500_000, "{measured:?}");
    let started = Instant::now();
    let mut clients = JoinSet::new();
    for _ in 0..20 {
        let import = pair.import;
        clients.spawn(async move { talk(import, "hello").await });
    }
    for answer in clients.join_all().await {
        assert_eq!(answer.unwrap(), "hello");
    }
    // Over the connection that is there: one round trip for the opening, the answer with it, and
    // the end of the client's direction on its way.
    println!(
        "20 connections at once over 500 ms: {:?}",
        started.elapsed()
    );
    assert!(
        soon("still reachable", async {
            west.told("east").await["reachable"] == true
        })
        .await
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_narrow_way_that_is_full_counts_as_one_that_is_whole() {
    // More than fits in what a tunnel may send ahead, so that heartbeats wait in line for long.
    const LENGTH: usize = 512 * 1024;

    let service = Service::start(|mut socket| async move {
        let _ = socket.write_all(&vec![7; LENGTH]).await;
        let _ = socket.shutdown().await;
        let _ = socket.read(&mut [0; 64]).await;
    });
    let pair = Pair::started(service.await).await;
    // East dials nobody: there is no other way.
    let east = Planner::new("east", pair.authority.certificate())
        .peer("west", &[])
        .export("ledger", pair.service.address);
    pair.east.apply(&east.allow_all()).await;
    let (wide, way) = (narrow(u32::MAX), narrow(64 * 1024));
    let (narrow, _narrow) = in_front(pair.east.address(), wide, way).await;
    let plan = Planner::new("west", pair.authority.certificate())
        .peer("east", &[narrow])
        .import("ledger", pair.import.port(), &[("east", "ledger")])
        .state(|state| {
            state.heartbeat = Heartbeat {
                timeout: fabric::api::Duration::from_millis(750),
                down: 2,
                ..state.heartbeat
            };
        });
    pair.west.apply(&plan.allow_all()).await;
    pair.west.sees("east", true).await;
    let started = Instant::now();
    let mut received = Vec::new();
    let mut client = TcpStream::connect(pair.import).await.unwrap();
    soon("all of it", client.read_to_end(&mut received))
        .await
        .unwrap();
    println!("{} KiB took {:?}", LENGTH / 1024, started.elapsed());
    assert_eq!(received.len(), LENGTH);
    assert_eq!(pair.west.told("east").await["reachable"], true);
    let silent = "weft_gateway_connections_ended_total{reason=\"silent\"}";
    assert_eq!(pair.west.metric(silent).await, None);
}
