//! What is carried arrives, in every shape that TCP has.

use std::sync::Arc;

use fabric::api::Action;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::common::service::{Service, echoes, echoing, talk};
use crate::common::soon;
use crate::world::Pair;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_allowed_connection_reaches_the_service() {
    let pair = Pair::open(Service::echo().await).await;
    assert_eq!(talk(pair.import, "hello").await.unwrap(), "hello");
    pair.west.decides("import", "allowed", 1.0).await;
    pair.east.decides("export", "allowed", 1.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_72_both_sides_must_allow() {
    let pair = Pair::started(Service::echo().await).await;
    pair.east.apply(&pair.east_plan().allow_all()).await;
    pair.west.apply(&pair.west_plan()).await;
    assert!(talk(pair.import, "hello").await.is_err());
    pair.west.decides("import", "default_deny", 1.0).await;

    let to = [("export.clusterlink.net/name", "ledger")];
    let denied = pair.east_plan().revision("second").allow_all();
    let denied = denied.policy("no-ledger", Action::Deny, &[], &to);
    pair.east.apply(&denied).await;
    pair.west
        .apply(&pair.west_plan().revision("second").allow_all())
        .await;
    assert!(talk(pair.import, "hello").await.is_err());
    pair.east.decides("export", "denied", 1.0).await;
    pair.west.decides("import", "peer_denied", 1.0).await;
    assert_eq!(pair.service.served(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_85_an_http_request_is_answered() {
    let service = Service::start(|mut socket| async move {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(socket.read_u8().await.unwrap());
        }
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
        socket.write_all(answer).await.unwrap();
    })
    .await;
    let pair = Pair::open(service).await;
    let mut socket = TcpStream::connect(pair.import).await.unwrap();
    socket
        .write_all(b"GET / HTTP/1.1\r\nhost: ledger\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    soon("the answer", socket.read_to_string(&mut answer))
        .await
        .unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("hello"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_88_a_server_may_speak_first() {
    let pair = Pair::open(Service::named("220 ready\r\n").await).await;
    let mut socket = TcpStream::connect(pair.import).await.unwrap();
    let mut banner = String::new();
    soon("the banner", socket.read_to_string(&mut banner))
        .await
        .unwrap();
    assert_eq!(banner, "220 ready\r\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_89_either_side_may_end_its_direction_first() {
    // The client ends first: what the service says afterwards arrives.
    let counts = Service::start(|mut socket| async move {
        let mut all = Vec::new();
        socket.read_to_end(&mut all).await.unwrap();
        let text = format!("{} bytes", all.len());
        socket.write_all(text.as_bytes()).await.unwrap();
    })
    .await;
    let pair = Pair::open(counts).await;
    assert_eq!(talk(pair.import, "twelve bytes").await.unwrap(), "12 bytes");

    // The service ends first: what the client says afterwards arrives.
    let told = Arc::new(Notify::new());
    let told_service = Arc::clone(&told);
    let deaf = Service::start(move |mut socket| {
        let told = Arc::clone(&told_service);
        async move {
            socket.write_all(b"bye").await.unwrap();
            socket.shutdown().await.unwrap();
            let mut all = String::new();
            socket.read_to_string(&mut all).await.unwrap();
            assert_eq!(all, "still here");
            told.notify_one();
        }
    })
    .await;
    let pair = Pair::open(deaf).await;
    let mut socket = TcpStream::connect(pair.import).await.unwrap();
    let mut text = String::new();
    soon("the service's end", socket.read_to_string(&mut text))
        .await
        .unwrap();
    assert_eq!(text, "bye");
    socket.write_all(b"still here").await.unwrap();
    socket.shutdown().await.unwrap();
    soon("what the client said", told.notified()).await;
}

/// Bytes that repeat nowhere near a buffer's length.
fn fill(buffer: &mut [u8], state: &mut u64) {
    for byte in buffer {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        *byte = *state as u8;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_94_a_hundred_mebibytes_arrive_intact_both_ways() {
    const CHUNK: usize = 100_003;
    const CHUNKS: usize = 100 * 1024 * 1024 / CHUNK + 1;
    let pair = Pair::open(Service::echo().await).await;
    let socket = TcpStream::connect(pair.import).await.unwrap();
    let (mut reader, mut writer) = socket.into_split();
    let sending = tokio::spawn(async move {
        let (mut hash, mut buffer, mut state) = (Sha256::new(), vec![0; CHUNK], 88_172_645_463);
        for _ in 0..CHUNKS {
            fill(&mut buffer, &mut state);
            hash.update(&buffer);
            writer.write_all(&buffer).await.unwrap();
        }
        writer.shutdown().await.unwrap();
        hash.finalize()
    });
    let receiving = tokio::spawn(async move {
        let (mut hash, mut buffer, mut total) = (Sha256::new(), vec![0; 256 * 1024], 0);
        loop {
            let length = reader.read(&mut buffer).await.unwrap();
            if length == 0 {
                return (hash.finalize(), total);
            }
            hash.update(&buffer[..length]);
            total += length;
        }
    });
    let sent = soon("everything sent", sending).await.unwrap();
    let (received, total) = soon("everything received", receiving).await.unwrap();
    assert_eq!(total, CHUNK * CHUNKS);
    assert_eq!(received, sent);
    let bytes = (CHUNK * CHUNKS) as f64;
    let series =
        |direction: &str| format!("weft_bytes_total{{side=\"import\",direction=\"{direction}\"}}");
    pair.west.counts(&series("to_peer"), bytes).await;
    pair.west.counts(&series("from_peer"), bytes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_tunnel_does_not_stall_another() {
    let pair = Pair::open(Service::echo().await).await;
    // This one sends and never reads, until nothing moves any more.
    let mut stalled = echoing(pair.import).await;
    let mut sent = 0;
    let block = vec![7; 64 * 1024];
    while let Ok(Ok(length)) =
        tokio::time::timeout(std::time::Duration::from_millis(500), stalled.write(&block)).await
    {
        sent += length;
        assert!(sent < 1 << 30, "nothing holds the sender back");
    }
    let mut other = echoing(pair.import).await;
    assert!(echoes(&mut other).await);
    assert_eq!(talk(pair.import, "hello").await.unwrap(), "hello");
    // And nothing of the stalled one is lost.
    let (mut reader, mut writer) = stalled.into_split();
    let draining = tokio::spawn(async move {
        let mut all = Vec::new();
        reader.read_to_end(&mut all).await.map(|_| all.len())
    });
    writer.shutdown().await.unwrap();
    assert_eq!(soon("the rest", draining).await.unwrap().unwrap(), sent);
}
