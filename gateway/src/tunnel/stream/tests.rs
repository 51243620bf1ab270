//! Tunnels between two connections in one process: what is held, and how credit grows.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use fabric::api::Fingerprint;
use fabric::name::ObjectName;
use tokio::sync::mpsc;

use super::super::connection::{Accept, ConnectionFacts, establish};
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

fn facts(dialled: bool) -> ConnectionFacts {
    ConnectionFacts {
        peer: "east".parse().unwrap(),
        dialled,
        address: SocketAddr::from((Ipv4Addr::LOCALHOST, 1)),
        gateway: None,
        chain: Vec::new(),
        own: Fingerprint::of_der(b"a certificate"),
    }
}

fn open() -> Open {
    Open {
        request: [7; 16],
        export: ObjectName::new("shop", "ledger").unwrap(),
        client: None,
        via: Vec::new(),
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
