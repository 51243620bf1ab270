//! Tunnels between two connections in one process: what is held, and how credit grows.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use fabric::api::Fingerprint;
use fabric::name::ObjectName;
use futures::FutureExt as _;
use tokio::sync::mpsc;

use super::super::connection::{Accept, Closed, ConnectionFacts, MAX_EARLY, OpenError, establish};
use super::super::frame::Open;
use super::super::link::Link;
use super::super::outbox::BATCH;
use super::*;

/// Hands every tunnel to whoever waits for it.
struct Offer(mpsc::UnboundedSender<Tunnel>);

impl Accept for Offer {
    fn accept(&self, tunnel: Tunnel, _: Open) {
        tunnel.accept();
        let _ = self.0.send(tunnel);
    }

    fn revision(&self) -> String {
        String::new()
    }
}

/// Has much to say for an answer.
struct Wordy;

impl Accept for Wordy {
    fn accept(&self, _: Tunnel, _: Open) {}

    fn revision(&self) -> String {
        "x".repeat(200)
    }
}

/// Counts what it takes, and is full when it is told to be.
#[derive(Default)]
struct Counting {
    taken: AtomicUsize,
    is_full: AtomicBool,
    finished: AtomicBool,
}

impl Sink for Counting {
    fn write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.is_full.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let length = slices.iter().map(|slice| slice.len()).sum();
        self.taken.fetch_add(length, Ordering::SeqCst);
        Ok(length)
    }

    fn finish(&self) -> io::Result<()> {
        self.finished.store(true, Ordering::SeqCst);
        Ok(())
    }
}

pub(crate) fn facts(dialled: bool) -> ConnectionFacts {
    ConnectionFacts {
        peer: "east".parse().unwrap(),
        dialled,
        address: SocketAddr::from((Ipv4Addr::LOCALHOST, 1)),
        gateway: None,
        chain: Vec::new(),
        own: Fingerprint::of_der(b"a certificate"),
        made: rustls_pki_types::UnixTime::now(),
    }
}

fn open() -> Open {
    Open {
        request: [7; 16],
        export: ObjectName::new("shop", "ledger").unwrap(),
        client: None,
        via: Vec::new(),
        trace: None,
    }
}

/// Two connections over one stream, and the tunnels that the second is offered.
async fn pair() -> (
    Arc<Connection>,
    Arc<Connection>,
    mpsc::UnboundedReceiver<Tunnel>,
) {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let (near, far) = tokio::join!(
        establish(facts(true), Link::plain(near)),
        establish(facts(false), Link::plain(far)),
    );
    let (offer, offered) = mpsc::unbounded_channel();
    let [(near, ours), (far, theirs)] = [near.unwrap(), far.unwrap()];
    tokio::spawn(Arc::clone(&near).run(ours, Arc::new(Offer(offer.clone()))));
    tokio::spawn(Arc::clone(&far).run(theirs, Arc::new(Offer(offer))));
    (near, far, offered)
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let wait = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(60), wait).await;
    assert!(waited.is_ok(), "{what} didn't come to pass");
}

fn held(tunnel: &Tunnel) -> usize {
    let inbound = tunnel.shared.inbound.lock();
    inbound.chunks.iter().map(|chunk| chunk.len()).sum()
}

#[tokio::test]
async fn who_asks_without_reading_the_answers_is_left_once_too_many_wait() {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let (near, far) = tokio::join!(
        establish(facts(true), Link::plain(near)),
        establish(facts(false), Link::plain(far)),
    );
    let [(near, ours), (far, _unread)] = [near.unwrap(), far.unwrap()];
    tokio::spawn(Arc::clone(&near).run(ours, Arc::new(Wordy)));
    let mut asked = 0;
    while !near.is_closed() {
        assert!(asked < 1_000_000, "the answers wait without end");
        assert!(far.ping(String::new()).now_or_never().is_none());
        asked += 1;
        tokio::task::yield_now().await;
    }
    assert!(matches!(near.why_closed(), Some(Closed::Stalled)));
    // Not for a few of them: what waits has to be more than a slow moment leaves.
    assert!(asked * 200 > 2 * 1024 * 1024, "after {asked}");
}

#[tokio::test]
async fn a_stalled_tunnel_holds_its_window_and_stalls_nobody_else() {
    let (near, _far, mut offered) = pair().await;
    let stalled = near.open(open(), b"").unwrap();
    let far_stalled = offered.recv().await.unwrap();
    let mut sent = 0;
    while sent < WINDOW as usize {
        let room = stalled.credit().await.unwrap().min(50_000);
        stalled.send(&vec![1; room]).await.unwrap();
        sent += room;
    }
    until("all of it", || held(&far_stalled) == WINDOW as usize).await;
    assert_eq!(stalled.shared.outbound.lock().credit, 0);

    let other = near.open(open(), b"early").unwrap();
    let far_other = offered.recv().await.unwrap();
    assert_eq!(far_other.receive().await.unwrap().unwrap(), &b"early"[..]);
    far_other.send(b"and back").await.unwrap();
    assert_eq!(other.receive().await.unwrap().unwrap(), &b"and back"[..]);
    assert_eq!(held(&far_stalled), WINDOW as usize);
}

#[tokio::test]
async fn credit_grows_for_whoever_keeps_up_within_bounds_and_is_given_back() {
    let (near, far, mut offered) = pair().await;
    let mut tunnels = Vec::new();
    let block = vec![3; BATCH];
    // As many as could have twice of what all together may have.
    let count = 2 * (super::super::connection::GROWTH / (MAX_WINDOW - WINDOW)) as usize;
    for _ in 0..count {
        let tunnel = near.open(open(), b"").unwrap();
        let far_tunnel = offered.recv().await.unwrap();
        let sink = Arc::new(Counting::default());
        far_tunnel.deliver_to(Arc::clone(&sink) as Arc<dyn Sink>);
        let mut left = 3 * MAX_WINDOW as usize;
        while left > 0 {
            let room = tunnel.credit().await.unwrap().min(block.len()).min(left);
            tunnel.send(&block[..room]).await.unwrap();
            left -= room;
        }
        until("everything", || {
            sink.taken.load(Ordering::SeqCst) == 3 * MAX_WINDOW as usize
        })
        .await;
        tunnels.push((tunnel, far_tunnel, sink));
    }
    let windows: Vec<_> = tunnels
        .iter()
        .map(|(_, far, _)| far.shared.inbound.lock().window)
        .collect();
    assert!(
        windows.iter().all(|window| *window <= MAX_WINDOW),
        "{windows:?}"
    );
    assert_eq!(windows.first(), Some(&MAX_WINDOW), "{windows:?}");
    let grown: u32 = windows.iter().map(|window| window - WINDOW).sum();
    assert_eq!(grown, super::super::connection::GROWTH, "{windows:?}");
    assert_eq!(far.grow(1), 0);
    drop(tunnels);
    assert_eq!(far.grow(u32::MAX), super::super::connection::GROWTH);
}

#[tokio::test]
async fn a_sink_is_told_of_the_end_after_the_last_byte() {
    let (near, _far, mut offered) = pair().await;
    let tunnel = near.open(open(), b"").unwrap();
    let far = offered.recv().await.unwrap();
    let sink = Arc::new(Counting::default());
    sink.is_full.store(true, Ordering::SeqCst);
    far.deliver_to(Arc::clone(&sink) as Arc<dyn Sink>);
    tunnel.send(b"the last bytes").await.unwrap();
    tunnel.end().unwrap();
    far.noticed().await;
    assert_eq!(far.pass_on(), Ok(PassedOn::Full));
    assert!(!sink.finished.load(Ordering::SeqCst));
    sink.is_full.store(false, Ordering::SeqCst);
    until("the end", || far.pass_on() == Ok(PassedOn::End)).await;
    assert_eq!(sink.taken.load(Ordering::SeqCst), 14);
    assert!(sink.finished.load(Ordering::SeqCst));
}

#[tokio::test]
async fn a_sink_is_not_told_of_an_end_when_bytes_before_it_were_given_up() {
    let (near, far_connection, mut offered) = pair().await;
    let tunnel = near.open(open(), b"").unwrap();
    let far = offered.recv().await.unwrap();
    let sink = Arc::new(Counting::default());
    sink.is_full.store(true, Ordering::SeqCst);
    far.deliver_to(Arc::clone(&sink) as Arc<dyn Sink>);
    tunnel.send(b"the last bytes").await.unwrap();
    tunnel.end().unwrap();
    until("the end", || far.shared.inbound.lock().received_end).await;
    far.reset(Reason::NoLongerAllowed);
    sink.is_full.store(false, Ordering::SeqCst);
    {
        let mut inbound = far.shared.inbound.lock();
        (inbound.is_full, inbound.is_touched) = (false, true);
    }
    // As the reader does when it comes back to it just then, and the task.
    far.shared.deliver(&far_connection);
    assert_eq!(far.pass_on(), Err(Broken::Ended(Reason::NoLongerAllowed)));
    assert!(!sink.finished.load(Ordering::SeqCst));
    assert_eq!(sink.taken.load(Ordering::SeqCst), 0);
}

fn inbound() -> Inbound {
    let shared = Shared::new(1, 0);
    shared.inbound.into_inner()
}

#[test]
fn what_waits_holds_no_buffer_that_is_mostly_others() {
    let mut inbound = inbound();
    let buffers: Vec<_> = (0..16).map(|_| Bytes::from(vec![7; BATCH])).collect();
    for buffer in &buffers {
        inbound.push(buffer.slice(..16 * 1024));
        inbound.settle();
    }
    assert!(buffers.iter().all(Bytes::is_unique));
    let length: usize = inbound.chunks.iter().map(|chunk| chunk.len()).sum();
    assert_eq!(length, 256 * 1024);
    assert!(inbound.chunks.len() <= 8, "{}", inbound.chunks.len());

    let large = Bytes::from(vec![7; BATCH]);
    for part in 0..16 {
        inbound.push(large.slice(part * 16 * 1024..(part + 1) * 16 * 1024));
    }
    inbound.settle();
    assert!(!large.is_unique(), "all of it waits: no need to copy it");
}

#[test]
fn frames_of_a_byte_are_put_together() {
    let mut inbound = inbound();
    for byte in 0..10_000_u32 {
        inbound.push(Bytes::copy_from_slice(&[byte as u8]));
    }
    assert!(inbound.chunks.len() <= 2, "{}", inbound.chunks.len());
    inbound.settle();
    let bytes: Vec<u8> = inbound
        .chunks
        .iter()
        .flat_map(|chunk| chunk.to_vec())
        .collect();
    assert_eq!(
        bytes,
        (0..10_000_u32).map(|byte| byte as u8).collect::<Vec<_>>()
    );
}

#[test]
fn what_was_broken_off_is_never_taken_for_its_end() {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let (near, _far, _offered) = runtime.unwrap().block_on(pair());
    for _ in 0..100 {
        let shared = Arc::new(Shared::new(1, 0));
        shared.received(Bytes::from_static(b"the last bytes"), true);
        // Nothing is to be said of it when it goes.
        shared.outbound.lock().sent_end = true;
        let tunnel = Tunnel::new(Arc::clone(&shared), Arc::clone(&near));
        let is_near = AtomicBool::new(false);
        std::thread::scope(|scope| {
            // Whoever receives finds the lock taken by whoever breaks the tunnel off.
            let mut inbound = shared.inbound.lock();
            let receiver = scope.spawn(|| {
                is_near.store(true, Ordering::SeqCst);
                tunnel.receive().now_or_never()
            });
            while !is_near.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
            for _ in 0..20 {
                std::thread::yield_now();
            }
            shared.broken.set(Broken::Lost).unwrap();
            inbound.chunks.clear();
            drop(inbound);
            let received = receiver.join().unwrap();
            assert_eq!(
                received,
                Some(Err(Broken::Lost)),
                "an end without its bytes"
            );
        });
    }
}

#[tokio::test]
async fn clients_that_say_much_at_once_wait_for_a_peer_that_is_slow_just_then() {
    const CLIENTS: usize = 600;
    let (near, far) = tokio::io::duplex(64 * 1024);
    let (near, far) = tokio::join!(
        establish(facts(true), Link::plain(near)),
        establish(facts(false), Link::plain(far)),
    );
    let (offer, mut offered) = mpsc::unbounded_channel();
    let [(near, ours), (far, theirs)] = [near.unwrap(), far.unwrap()];
    let accept = Arc::new(Offer(offer));
    tokio::spawn(Arc::clone(&near).run(ours, Arc::clone(&accept) as Arc<dyn Accept>));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let near = Arc::clone(&near);
            tokio::spawn(async move {
                assert!(near.room().await);
                let tunnel = near.open(open(), &[7; MAX_EARLY]).unwrap();
                tunnel.answered().await.unwrap();
            })
        })
        .collect();
    // Each of them goes as far as it can.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    near.send_control(&Frame::Window(1, 1));
    assert!(!near.is_closed(), "{:?}", near.why_closed());
    tokio::spawn(far.run(theirs, accept));
    for client in clients {
        client.await.unwrap();
    }
    for _ in 0..CLIENTS {
        offered.recv().await.unwrap();
    }
}

#[tokio::test]
async fn no_more_tunnels_are_opened_than_the_peer_takes() {
    let (near, _far, mut offered) = pair().await;
    let mut tunnels = Vec::new();
    while near.is_usable() {
        tunnels.push(near.open(open(), b"").unwrap());
    }
    assert_eq!(near.open(open(), b"").err(), Some(OpenError::Unusable));
    for _ in &tunnels {
        let far = offered.recv().await.unwrap();
        assert_eq!(far.receive().now_or_never(), None);
    }
}
