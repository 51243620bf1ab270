//! Very many connections, and the end of very many at once.

use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::common::service::{breaks, echoes, echoing};
use crate::common::until;
use crate::siege::Siege;

/// How many connections at a time: each costs this process four descriptors.
fn connections(usual: usize) -> usize {
    match std::env::var("WEFT_CONNECTIONS") {
        Ok(count) => count.parse().expect("WEFT_CONNECTIONS is a number"),
        Err(_) => usual,
    }
}

async fn all_echoing(siege: &Siege, count: usize) -> Vec<TcpStream> {
    let mut opening = JoinSet::new();
    let mut sockets = Vec::with_capacity(count);
    for at in 0..count {
        let import = siege.import;
        opening.spawn(async move { echoing(import).await });
        // A handful at a time: what is tested is how many there are, not how they come.
        if at % 64 == 63 {
            while let Some(socket) = opening.join_next().await {
                sockets.push(socket.unwrap());
            }
        }
    }
    while let Some(socket) = opening.join_next().await {
        sockets.push(socket.unwrap());
    }
    sockets
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_connections_that_are_killed_at_once_leave_nothing_behind() {
    let siege = Siege::begin().await;
    let bystander = siege.bystander().await;
    let count = connections(1000);
    let sockets = all_echoing(&siege, count).await;
    siege.east_carries(count as f64 + 1.0).await;
    let killed = Instant::now();
    for socket in &sockets {
        socket.set_zero_linger().unwrap();
    }
    drop(sockets);
    until("the bystander alone", || async {
        let live = siege.east.metric("weft_connections{side=\"export\"}").await;
        // Its long connection, and at times the short one of the moment.
        (live <= Some(2.0)).then_some(())
    })
    .await;
    eprintln!(
        "{count} killed connections were gone after {:?}",
        killed.elapsed()
    );
    bystander.content("a thousand killed connections").await;
    siege.east_carries(0.0).await;
    let live = siege
        .north
        .metric("weft_connections{side=\"import\"}")
        .await;
    assert_eq!(live, Some(0.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_connections_to_a_peer_that_is_gone_at_once_are_all_told() {
    let siege = Siege::begin().await;
    let count = connections(1000);
    let mut sockets = all_echoing(&siege, count).await;
    let gone = Instant::now();
    siege.east.take_away().await;
    for socket in &mut sockets {
        breaks(socket).await;
    }
    eprintln!("{count} clients knew after {:?}", gone.elapsed());
    // And they all come back.
    siege.east.apply(&siege.east_plan()).await;
    until("an echo", || async {
        let mut socket = TcpStream::connect(siege.import).await.ok()?;
        let echoes = echoes(&mut socket).await;
        echoes.then_some(())
    })
    .await;
    drop(sockets);
    let sockets = all_echoing(&siege, count).await;
    siege.east_carries(count as f64).await;
    drop(sockets);
    siege.east_carries(0.0).await;
}

/// The long form: `WEFT_CONNECTIONS=4000 cargo test -p gateway --release --test hostile row_95`, with
/// `ulimit -n` four times that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_95_thousands_of_connections_at_once_all_carry_data() {
    let siege = Siege::begin().await;
    let count = connections(1500);
    let opened = Instant::now();
    let mut sockets = all_echoing(&siege, count).await;
    siege.east_carries(count as f64).await;
    let opened = opened.elapsed();
    let turn = Instant::now();
    for socket in &mut sockets {
        socket.write_all(b"again").await.unwrap();
    }
    for socket in &mut sockets {
        let mut answer = [0; 5];
        socket.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"again");
    }
    eprintln!(
        "{count} connections: opened in {opened:?}, one turn of all in {:?}",
        turn.elapsed()
    );
    // They share a few connections between the gateways.
    let between = siege
        .north
        .metric("weft_gateway_connections{role=\"dial\"}")
        .await;
    assert!(between <= Some(4.0), "{between:?}");
    drop(sockets);
    siege.east_carries(0.0).await;
}
