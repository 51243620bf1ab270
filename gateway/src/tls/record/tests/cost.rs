//! What sealing and opening takes, in memory: by rustls's buffers, by its unbuffered API, and by ours.
//!
//!     cargo test --release -p gateway --lib cost -- --ignored --nocapture

use std::hint::black_box;
use std::io::{Read, Write};

use rustix::time::{ClockId, clock_gettime};
use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, UnbufferedStatus};
use rustls::{ClientConnection, ServerConnection};

use super::super::super::handshake::shake;
use super::*;

/// What is read from a socket at once.
const BATCH: usize = 256 * 1024;

/// A GiB.
const BATCHES: usize = 4096;

const ROUNDS: usize = 3;

#[tokio::test]
#[ignore = "a measurement, which says nothing in a debug build"]
async fn what_each_way_to_seal_and_open_costs() {
    let plain = pattern(BATCH);
    for _ in 0..ROUNDS {
        let buffered = buffered(&plain);
        let unbuffered = unbuffered(&plain).await;
        let ours = with_our_records(&plain).await;
        println!(
            "CPU s/GiB, sealed and opened: buffered {buffered:.3}, unbuffered {unbuffered:.3}, ours {ours:.3}"
        );
    }
}

/// As tokio-rustls does it.
fn buffered(plain: &[u8]) -> f64 {
    let (server, client) = configs();
    let mut client = ClientConnection::new(client, name()).unwrap();
    let mut server = ServerConnection::new(server).unwrap();
    let mut wire = Vec::new();
    while client.is_handshaking() || server.is_handshaking() {
        client.write_tls(&mut wire).unwrap();
        while !wire.is_empty() {
            let read = server.read_tls(&mut &wire[..]).unwrap();
            wire.drain(..read);
            server.process_new_packets().unwrap();
        }
        server.write_tls(&mut wire).unwrap();
        while !wire.is_empty() {
            let read = client.read_tls(&mut &wire[..]).unwrap();
            wire.drain(..read);
            client.process_new_packets().unwrap();
        }
    }
    client.set_buffer_limit(Some(2 * BATCH));
    let mut out = vec![0; BATCH];
    measured(|| {
        client.writer().write_all(plain).unwrap();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        let (mut left, mut opened) = (&wire[..], 0);
        while !left.is_empty() {
            server.read_tls(&mut left).unwrap();
            let state = server.process_new_packets().unwrap();
            let ready = state.plaintext_bytes_to_read();
            let room = &mut out[opened..opened + ready];
            server.reader().read_exact(room).unwrap();
            opened += ready;
        }
        assert_eq!(opened, BATCH);
        black_box(&mut out);
        wire.clear();
        0.0
    })
}

/// Opened in place; what is opened isn't copied out, though a connection's reader would have to.
async fn unbuffered(plain: &[u8]) -> f64 {
    let (server, client) = configs();
    let (mut near, mut far) = sockets().await;
    let mut client = UnbufferedClientConnection::new(client, name()).unwrap();
    let mut server = UnbufferedServerConnection::new(server).unwrap();
    let mut buffers = [BytesMut::new(), BytesMut::new()];
    let [first, second] = &mut buffers;
    let shaken = tokio::join!(
        shake(&mut client, &mut near, first),
        shake(&mut server, &mut far, second)
    );
    shaken.0.unwrap();
    shaken.1.unwrap();
    // Room for the records' headers and tags.
    let mut wire = vec![0; BATCH + 1024];
    measured(|| {
        let UnbufferedStatus { state, .. } = client.process_tls_records(&mut []);
        let Ok(ConnectionState::WriteTraffic(mut traffic)) = state else {
            panic!("nothing can be written");
        };
        let length = traffic.encrypt(plain, &mut wire).unwrap();
        let (mut at, mut opened) = (0, 0);
        while opened < BATCH {
            let UnbufferedStatus { mut discard, state } =
                server.process_tls_records(&mut wire[at..length]);
            let Ok(ConnectionState::ReadTraffic(mut traffic)) = state else {
                panic!("nothing can be read");
            };
            while let Some(record) = traffic.next_record() {
                let record = record.unwrap();
                discard += record.discard;
                opened += black_box(record.payload).len();
            }
            at += discard;
        }
        0.0
    })
}

async fn with_our_records(plain: &[u8]) -> f64 {
    let (mut client, mut server) = ours().await;
    let mut out = VecDeque::new();
    let mut received = BytesMut::new();
    measured(|| {
        client.sealer.seal(&[plain], &mut out).unwrap();
        // Which the kernel does otherwise, and the other ways don't need here.
        let begun = cpu();
        received.reserve(BATCH + 1024);
        for record in out.drain(..) {
            received.extend_from_slice(&record);
        }
        let elsewhere = cpu() - begun;
        let mut opened = 0;
        while let Some(Opened::Data(bytes)) = server.opener.unseal(&mut received).unwrap() {
            opened += black_box(bytes).len();
        }
        assert_eq!(opened, BATCH);
        elsewhere
    })
}

/// CPU seconds for a GiB, after a warm-up and without those that a batch says were spent elsewhere.
fn measured(mut batch: impl FnMut() -> f64) -> f64 {
    for _ in 0..BATCHES / 16 {
        batch();
    }
    let begun = cpu();
    let elsewhere: f64 = (0..BATCHES).map(|_| batch()).sum();
    cpu() - begun - elsewhere
}

fn cpu() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
