//! Strangers at the gateway's port, who begin and don't go on; and peers who do the same by HTTP.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use gateway::Timeouts;
use rustls::ClientConnection;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::common::authority::Leaf;
use crate::common::{soon, until};
use crate::intruder::{Intruder, connect_from, tls};
use crate::siege::Siege;

/// The half-done handshakes of the issue.
const HALF_DONE: usize = 5_000;

/// A first flight as a peer sends it.
fn client_hello(leaf: &Leaf) -> Vec<u8> {
    let config = Arc::clone(tls(leaf, b"weft/1").config());
    let name = ServerName::try_from("east").unwrap();
    let mut client = ClientConnection::new(config, name).unwrap();
    let mut bytes = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut bytes).unwrap();
    }
    bytes
}

/// Sends bytes one by one until the other side hangs up; how many it took.
async fn dribble(stream: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin), bytes: &[u8]) -> usize {
    for (sent, byte) in bytes.iter().enumerate() {
        if stream.write_all(&[*byte]).await.is_err() || stream.flush().await.is_err() {
            return sent;
        }
        let mut answer = [0; 512];
        let answered = timeout(Duration::from_millis(50), stream.read(&mut answer)).await;
        if let Ok(Ok(0) | Err(_)) = answered {
            return sent;
        }
    }
    bytes.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handshake_that_dribbles_is_ended_in_time() {
    let timeouts = Timeouts {
        handshake: Duration::from_secs(2),
        ..Timeouts::default()
    };
    let siege = Siege::with_timeouts(timeouts, |plan| plan).await;
    let bystander = siege.bystander().await;
    let hello = client_hello(&siege.mallory);
    let mut slow = JoinSet::new();
    for _ in 0..40 {
        let (address, hello) = (siege.east.address(), hello.clone());
        slow.spawn(async move {
            let mut socket = TcpStream::connect(address).await.unwrap();
            (dribble(&mut socket, &hello).await, hello.len())
        });
    }
    bystander.goes_on().await;
    while let Some(sent) = slow.join_next().await {
        let (sent, whole) = sent.unwrap();
        assert!(
            sent < whole,
            "all {whole} bytes of a ClientHello could be dribbled"
        );
    }
    let timed_out = "weft_handshakes_total{role=\"accept\",result=\"timeout\"}";
    siege.east.counts(timed_out, 40.0).await;
    bystander.content("handshakes that dribble").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_dribbles_is_ended_in_time_and_others_are_answered() {
    let siege = Siege::begin().await;
    let bystander = siege.bystander().await;
    // More than the gateway serves at a time, all of one peer.
    let mut slow = JoinSet::new();
    for _ in 0..150 {
        let mut mallory = Intruder::connect(siege.east.address(), &siege.mallory, b"")
            .await
            .unwrap();
        slow.spawn(async move {
            let request = [b"GET /healthz HTTP/1.1\r\nx: ".as_slice(), &[b'x'; 10_000]].concat();
            (dribble(&mut mallory.stream, &request).await, request.len())
        });
    }
    let (started, mut answered) = (Instant::now(), 0);
    while started.elapsed() < Duration::from_secs(2) {
        let leaf = siege.authority.leaf(siege.folder.path(), &["north"]);
        let mut north = Intruder::connect(siege.east.address(), &leaf, b"")
            .await
            .unwrap();
        north
            .bytes(b"GET /healthz HTTP/1.1\r\nhost: east\r\n\r\n")
            .await;
        let mut answer = String::new();
        let _ = soon("the answer", north.stream.read_to_string(&mut answer)).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer:?}");
        answered += 1;
    }
    let still = slow.len();
    while let Some(sent) = slow.join_next().await {
        let (sent, whole) = sent.unwrap();
        assert!(sent < whole, "a request could be dribbled to its end");
    }
    eprintln!("{answered} health checks were answered beside {still} requests that dribble");
    bystander.content("requests that dribble").await;
}

/// Begins a handshake, says half of the first flight, and waits until it is hung up on.
async fn hang(from: Ipv4Addr, to: SocketAddr, half: &[u8], open: &AtomicUsize) {
    let Ok(mut socket) = connect_from(from, to).await else {
        return;
    };
    open.fetch_add(1, Ordering::SeqCst);
    let _ = socket.write_all(half).await;
    let _ = socket.read(&mut [0; 64]).await;
    open.fetch_sub(1, Ordering::SeqCst);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_thousand_half_done_handshakes_do_not_lock_out_a_peer() {
    let siege = Siege::begin().await;
    let bystander = siege.bystander().await;
    let hello = client_hello(&siege.mallory);
    let half: Arc<[u8]> = hello[..hello.len() / 2].into();
    let (open, address) = (Arc::new(AtomicUsize::new(0)), siege.east.address());
    let mut hanging = JoinSet::new();
    // From a hundred hosts, so that no bound of one host's is met.
    for at in 0..HALF_DONE {
        let from = Ipv4Addr::new(127, 0, 1, (at % 100) as u8 + 1);
        let (half, open) = (Arc::clone(&half), Arc::clone(&open));
        hanging.spawn(async move { hang(from, address, &half, &open).await });
    }
    until("many of them hang", || async {
        (open.load(Ordering::SeqCst) >= 500).then_some(())
    })
    .await;
    // An honest peer dials anew, again and again, while they hang.
    let leaf = siege.authority.leaf(siege.folder.path(), &["north"]);
    let (mut times, mut beside) = (Vec::new(), 0);
    while open.load(Ordering::SeqCst) > 100 {
        beside = open.load(Ordering::SeqCst).max(beside);
        let started = Instant::now();
        let dialled = soon("a handshake", Intruder::connect(address, &leaf, b"weft/1")).await;
        dialled.unwrap().hello().await;
        times.push(started.elapsed());
        sleep(Duration::from_millis(20)).await;
    }
    times.sort_unstable();
    assert!(!times.is_empty());
    eprintln!(
        "{} handshakes beside up to {beside} half-done ones: median {:?}, slowest {:?}",
        times.len(),
        times[times.len() / 2],
        times.last().unwrap(),
    );
    bystander.content("half-done handshakes").await;
    soon("the end of those that hang", async {
        while hanging.join_next().await.is_some() {}
    })
    .await;
}
