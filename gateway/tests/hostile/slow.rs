//! A peer that opens tunnels and doesn't read: its own stall, and nobody else's.

use fabric::api;
use gateway::tunnel::frame::{Beat, Frame};
use tokio::io::AsyncWriteExt;

use crate::common::plan::Planner;
use crate::common::service::Service;
use crate::common::{soon, until};
use crate::intruder::{Intruder, WINDOW, data, open};
use crate::siege::Siege;

const TUNNELS: u32 = 200;

/// A service that never stops sending.
async fn torrent() -> Service {
    Service::start(
        |mut socket| async move { while socket.write_all(&[7; 16 * 1024]).await.is_ok() {} },
    )
    .await
}

/// A service that never reads.
async fn deaf() -> Service {
    Service::start(|socket| async move {
        let _socket = socket;
        std::future::pending::<()>().await;
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_gives_no_credit_is_sent_what_it_has_room_for_and_no_more() {
    let torrent = torrent().await;
    let siege = Siege::with(|plan| plan.export("torrent", torrent.address)).await;
    let bystander = siege.bystander().await;
    let mut mallory = Intruder::greeted(siege.east.address(), &siege.mallory).await;
    for tunnel in 0..TUNNELS {
        mallory.send(&open(tunnel * 2 + 1, "shop/torrent")).await;
    }
    // It reads, since it answers heartbeats, but never says that anything was passed on.
    let mut received = 0;
    while received < (TUNNELS * WINDOW) as usize {
        match mallory.receive().await {
            Some(Frame::Data { payload, .. }) => received += payload.len(),
            Some(Frame::Accept(_)) => {}
            other => panic!("{other:?}"),
        }
    }
    bystander.goes_on().await;
    // A heartbeat's answer comes behind whatever else was sent.
    let beat = Beat {
        token: 1,
        revision: String::new(),
    };
    mallory.send(&Frame::Ping(beat)).await;
    assert!(matches!(mallory.receive().await, Some(Frame::Pong(_))));
    assert_eq!(received, (TUNNELS * WINDOW) as usize);
    siege.east_carries(f64::from(TUNNELS) + 1.0).await;
    bystander.content("tunnels without credit").await;
    drop(mallory);
    siege.east_carries(0.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_reads_nothing_at_all_is_given_up() {
    let torrent = torrent().await;
    // Short, since it is waited for.
    let impatient = |plan: Planner| {
        let plan = plan.export("torrent", torrent.address);
        plan.state(|state| state.heartbeat.timeout = api::Duration::from_secs(2))
    };
    let siege = Siege::with(impatient).await;
    let bystander = siege.bystander().await;
    let mut mallory = Intruder::greeted(siege.east.address(), &siege.mallory).await;
    for tunnel in 0..TUNNELS {
        let id = tunnel * 2 + 1;
        mallory.send(&open(id, "shop/torrent")).await;
        mallory.send(&Frame::Window(id, 1 << 24)).await;
    }
    bystander.goes_on().await;
    let silent = "weft_gateway_connections_ended_total{reason=\"silent\"}";
    siege.east.counts(silent, 1.0).await;
    bystander.content("a peer that reads nothing").await;
    siege.east_carries(0.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_asks_and_does_not_read_the_answers_is_hung_up_on() {
    // The longest answers to the shortest questions.
    let siege = Siege::with(|plan| plan.revision(&"a".repeat(128))).await;
    let bystander = siege.bystander().await;
    let mut mallory = Intruder::greeted(siege.east.address(), &siege.mallory).await;
    let beat = Beat {
        token: 1,
        revision: String::new(),
    };
    let asks = Frame::Ping(beat).encode().unwrap().repeat(1000);
    soon("the end of a peer's patience", async {
        while mallory.stream.write_all(&asks).await.is_ok() {}
    })
    .await;
    // For what waits to be written; for heartbeats that it doesn't answer it would be much later.
    let stalled = "weft_gateway_connections_ended_total{reason=\"stalled\"}";
    siege.east.counts(stalled, 1.0).await;
    bystander.content("questions without end").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_reads_nothing_stalls_its_own_tunnels() {
    let deaf = deaf().await;
    let siege = Siege::with(|plan| plan.export("deaf", deaf.address)).await;
    let bystander = siege.bystander().await;
    let mut mallory = Intruder::greeted(siege.east.address(), &siege.mallory).await;
    for tunnel in 0..TUNNELS {
        let id = tunnel * 2 + 1;
        mallory.opened(id, "shop/deaf").await;
        // Within the credit; the gateway holds on to what the service's socket doesn't take.
        for _ in 0..3 {
            mallory.send(&data(id, vec![1; 64_000])).await;
        }
    }
    bystander.goes_on().await;
    // On the same connection another tunnel is as quick as ever.
    mallory.send(&open(9_999, "shop/ledger")).await;
    mallory.send(&data(9_999, b"hello".as_slice())).await;
    loop {
        match mallory.receive().await.unwrap() {
            Frame::Data {
                tunnel, payload, ..
            } => {
                assert_eq!((tunnel, &payload[..]), (9_999, b"hello".as_slice()));
                break;
            }
            Frame::Window(..) | Frame::Accept(9_999) => {}
            other => panic!("{other:?}"),
        }
    }
    bystander.content("a service that reads nothing").await;
    drop(mallory);
    siege.east_carries(0.0).await;
    until("the service is let go of", || async {
        (deaf.served() == TUNNELS as usize).then_some(())
    })
    .await;
}
