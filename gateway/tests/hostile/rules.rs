//! A peer that breaks the rules of the protocol, beside one that keeps them.

use std::time::Duration;

use bytes::BytesMut;
use gateway::tunnel::frame::{Beat, Frame};
use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::common::soon;
use crate::intruder::{Intruder, data, open};
use crate::siege::Siege;

const PROTOCOL: &str = "weft_gateway_connections_ended_total{reason=\"protocol\"}";

/// What no peer may send, and why.
fn offences() -> Vec<(&'static str, Vec<u8>)> {
    let frame = |frame: &Frame| frame.encode().unwrap().to_vec();
    let opened = |then: &[u8]| [&frame(&open(1, "shop/ledger")), then].concat();
    vec![
        (
            "a frame of a type that isn't",
            vec![0x40, 0, 0, 0, 0, 0, 0, 0],
        ),
        (
            "a frame longer than any",
            vec![2, 0, 0xff, 0xff, 0, 0, 0, 1],
        ),
        ("data longer than any", vec![5, 0, 0xff, 0xff, 0, 0, 0, 1]),
        (
            "data for a tunnel that never was",
            frame(&data(77, b"x".as_slice())),
        ),
        (
            "credit for a tunnel that never was",
            frame(&Frame::Window(77, 1)),
        ),
        ("an answer to what wasn't asked", frame(&Frame::Accept(2))),
        ("an id of the other side's", frame(&open(4, "shop/ledger"))),
        (
            "an id for the second time",
            opened(&frame(&open(1, "shop/ledger"))),
        ),
        (
            "credit beyond all bounds",
            opened(&frame(&Frame::Window(1, u32::MAX)).repeat(2)),
        ),
        (
            "an OPEN that names nothing",
            vec![2, 0, 0, 1, 0, 0, 0, 1, 0],
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_breaks_the_rules_is_hung_up_on_and_its_neighbour_is_not() {
    let siege = Siege::begin().await;
    let bystander = siege.bystander().await;
    for (count, (what, bytes)) in offences().into_iter().enumerate() {
        let mut mallory = Intruder::greeted(siege.east.address(), &siege.mallory).await;
        mallory.bytes(&bytes).await;
        soon(what, mallory.hung_up_on()).await;
        siege.east.counts(PROTOCOL, count as f64 + 1.0).await;
    }
    bystander.content("broken rules").await;
    siege.east_carries(0.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_ends_its_own_connection_alone() {
    let siege = Siege::begin().await;
    let bystander = siege.bystander().await;
    let seed = rand::random();
    let mut dice = StdRng::seed_from_u64(seed);
    eprintln!("seed {seed}");
    for round in 0..60 {
        let mut garbage = vec![0; dice.random_range(1..4096)];
        dice.fill_bytes(&mut garbage);
        if round % 3 == 0 {
            // Where TLS should be.
            let mut socket = TcpStream::connect(siege.east.address()).await.unwrap();
            let _ = socket.write_all(&garbage).await;
            let _ = socket.shutdown().await;
            let _ = soon("the end", socket.read_to_end(&mut Vec::new())).await;
        } else if round % 3 == 1 {
            // Where the hello should be.
            let mallory = Intruder::connect(siege.east.address(), &siege.mallory, b"weft/1").await;
            let mut mallory = mallory.unwrap();
            mallory.bytes(&garbage).await;
            let _ = mallory.stream.shutdown().await;
            let _ = soon("the end", mallory.stream.read_to_end(&mut Vec::new())).await;
        } else {
            // Behind a tunnel that is alive.
            let mut mallory = Intruder::greeted(siege.east.address(), &siege.mallory).await;
            mallory.opened(1, "shop/ledger").await;
            mallory.bytes(&garbage).await;
            let _ = mallory.stream.shutdown().await;
            soon("the end", mallory.hung_up_on()).await;
        }
    }
    bystander.content("garbage").await;
    siege.east_carries(0.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_ends_within_a_frame_takes_its_tunnels_along() {
    let siege = Siege::begin().await;
    let bystander = siege.bystander().await;
    let beat = Beat {
        token: 1,
        revision: "abc".to_owned(),
    };
    let (mut in_order, mut cut_off) = (0.0, 0.0);
    let frames = [
        open(3, "shop/ledger"),
        data(1, b"the middle of".as_slice()),
        Frame::Ping(beat),
    ];
    for frame in frames {
        let bytes = frame.encode().unwrap();
        for end in [1, 7, 8, 9, bytes.len() - 1] {
            let mut mallory = Intruder::greeted(siege.east.address(), &siege.mallory).await;
            mallory.opened(1, "shop/ledger").await;
            mallory.bytes(&bytes[..end]).await;
            // In order by TLS on even ones, by a plain end of TCP on the others.
            if end % 2 == 0 {
                let _ = mallory.stream.shutdown().await;
                // Nothing unread is left, which would make a reset of the end.
                soon("the end", mallory.hung_up_on()).await;
                in_order += 1.0;
            } else {
                cut_off += 1.0;
            }
            drop(mallory);
        }
    }
    for (reason, count) in [("closed_by_peer", in_order), ("failed", cut_off)] {
        let ended = format!("weft_gateway_connections_ended_total{{reason=\"{reason}\"}}");
        siege.east.counts(&ended, count).await;
    }
    siege.east_carries(1.0).await;
    bystander.content("ends within frames").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_tunnels_that_are_opened_and_dropped_at_once_leave_nothing_behind() {
    let siege = Siege::begin().await;
    let bystander = siege.bystander().await;
    let mut mallory = Intruder::greeted(siege.east.address(), &siege.mallory).await;
    let mut bytes = BytesMut::new();
    for tunnel in 0..1000_u32 {
        let id = tunnel * 2 + 1;
        bytes.extend_from_slice(&open(id, "shop/ledger").encode().unwrap());
        let aborted = gateway::tunnel::Reason::Aborted;
        let reset = Frame::Reset(id, aborted, String::new());
        bytes.extend_from_slice(&reset.encode().unwrap());
    }
    mallory.bytes(&bytes).await;
    bystander.goes_on().await;
    // The connection is as good as ever.
    mallory.send(&open(5001, "shop/ledger")).await;
    while mallory.receive().await != Some(Frame::Accept(5001)) {}
    siege.east_carries(2.0).await;
    tokio::time::timeout(
        Duration::from_secs(60),
        bystander.content("tunnels opened and dropped"),
    )
    .await
    .unwrap();
}
