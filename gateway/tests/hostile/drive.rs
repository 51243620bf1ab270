//! A connection in memory whose other side does whatever some bytes say.
//!
//! The fuzz targets compile this file, too.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use gateway::tunnel::connection::{MAX_EARLY, establish};
use gateway::tunnel::frame::{self, Beat, Frame, Hello, Open};
use gateway::tunnel::{Accept, Connection, ConnectionFacts, Link, Reason, Tunnel};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// What the attacker gives each tunnel towards itself.
const WINDOW: u32 = 32 * 1024;

/// Far more than anything here takes by the clock of the simulation.
const LONG: Duration = Duration::from_secs(3600);

/// Serves tunnels in ways that the first byte of the request chooses.
#[derive(Default)]
struct Whims {
    tasks: Mutex<JoinSet<()>>,
}

/// What the attacker is sent, and whether it may be.
#[derive(Default)]
struct Ledger {
    /// Credit that is left, by tunnel.
    credit: HashMap<u32, u64>,
    answered: HashMap<u32, bool>,
    pings: u64,
    pongs: u64,
}

/// Bytes that say what to do next.
struct Script<'a>(&'a [u8]);

/// Drives one connection; panics where it does what it must not.
pub(crate) fn connection(data: &[u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        timeout(LONG, drive(data))
            .await
            .expect("a connection hangs");
    });
}

async fn drive(data: &[u8]) {
    let (mut attacker, ours) = tokio::io::duplex(64 * 1024);
    let hello = Hello {
        minor: 0,
        capabilities: u64::MAX,
        window: WINDOW,
        tunnels: 64,
    };
    let bytes = Frame::Hello(hello).encode().unwrap();
    attacker.write_all(&bytes).await.unwrap();
    let whims = Arc::new(Whims::default());
    let (connection, run) = begin(ours, Arc::clone(&whims) as Arc<dyn Accept>).await;
    let mut running = JoinSet::new();
    running.spawn(run);
    // Two of this side's own, which the attacker may answer.
    for _ in 0..2 {
        let opened = connection.open(wanted(4), &[5; 100]);
        if let Ok(tunnel) = opened {
            whims.tasks.lock().spawn(async move {
                if tunnel.answered().await.is_ok() {
                    echo(&tunnel).await;
                }
            });
        }
    }
    attack(attacker, Script(data)).await;
    running.join_next().await.unwrap().unwrap();
    assert!(connection.is_closed() && connection.why_closed().is_some());
    let mut tasks = std::mem::take(&mut *whims.tasks.lock());
    while let Some(task) = tasks.join_next().await {
        task.unwrap();
    }
    assert_eq!(connection.load(), 0, "tunnels are left behind");
    assert!(!connection.is_usable());
}

/// Exchanges the hello and has the connection run.
async fn begin(
    stream: DuplexStream,
    accept: Arc<dyn Accept>,
) -> (Arc<Connection>, impl Future<Output = ()> + Send + 'static) {
    let (connection, incoming) = establish(facts(), Link::plain(stream)).await.unwrap();
    let run = Arc::clone(&connection).run(incoming, accept);
    (connection, run)
}

fn facts() -> ConnectionFacts {
    ConnectionFacts {
        peer: "mallory".parse().unwrap(),
        dialled: false,
        address: ([127, 0, 0, 1], 1).into(),
        gateway: None,
        chain: Vec::new(),
        own: fabric::api::Fingerprint::of_der(&[]),
        made: rustls_pki_types::UnixTime::now(),
    }
}

fn wanted(whim: u8) -> Open {
    Open {
        request: [whim; 16],
        export: "shop/ledger".parse().unwrap(),
        client: None,
        via: Vec::new(),
        trace: None,
    }
}

async fn echo(tunnel: &Tunnel) {
    while let Ok(Some(bytes)) = tunnel.receive().await {
        tunnel.passed_on(bytes.len());
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let Ok(room) = tunnel.credit().await else {
                return;
            };
            let (now, later) = rest.split_at(room.min(rest.len()).min(frame::MAX_DATA));
            if tunnel.send(now).await.is_err() {
                return;
            }
            rest = later;
        }
    }
    let _ = tunnel.end();
}

impl Accept for Whims {
    fn accept(&self, tunnel: Tunnel, open: Open) {
        let [whim, ..] = open.request;
        self.tasks.lock().spawn(async move {
            match whim % 5 {
                0 => {
                    tunnel.accept();
                    echo(&tunnel).await;
                }
                1 => tunnel.refuse(Reason::Denied, "no"),
                // Drops it without an answer.
                2 => {}
                // Accepts, and reads nothing until the end.
                3 => {
                    tunnel.accept();
                    tunnel.broken().await;
                }
                _ => {
                    tunnel.accept();
                    let _ = tunnel.receive().await;
                    tunnel.reset(Reason::Aborted);
                }
            }
        });
    }

    fn revision(&self) -> String {
        "abc".to_owned()
    }
}

/// Plays the script, reads what comes meanwhile, and leaves.
async fn attack(attacker: DuplexStream, mut script: Script<'_>) {
    let (mut reader, mut writer) = tokio::io::split(attacker);
    let ledger = Mutex::new(Ledger::default());
    let read = async {
        let mut buffer = BytesMut::new();
        loop {
            while let Some(frame) = Frame::decode(&mut buffer).expect("what we send is sound") {
                ledger.lock().received(frame);
            }
            if reader.read_buf(&mut buffer).await.unwrap_or(0) == 0 {
                return;
            }
        }
    };
    let write = async {
        while let Some(bytes) = script.next(&ledger) {
            if writer.write_all(&bytes).await.is_err() {
                break;
            }
            // What is sent at once and what comes later are told apart at times.
            if bytes.len() % 3 == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        let _ = writer.shutdown().await;
    };
    tokio::join!(read, write);
}

// === impl Script ===

impl Script<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn number(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes([self.byte()?, self.byte()?]))
    }

    /// What is sent next.
    fn next(&mut self, ledger: &Mutex<Ledger>) -> Option<Vec<u8>> {
        let kind = self.byte()?;
        // Few ids, so that they meet.
        let id = u32::from(self.byte()? % 16);
        let frame = match kind % 12 {
            0 | 1 => Frame::Open(id, Box::new(wanted(self.byte()?))),
            2 => Frame::Accept(id),
            3 => Frame::Refuse(id, Reason::from_code(self.number()?), "so".to_owned()),
            4 | 5 => Frame::Data {
                tunnel: id,
                payload: Bytes::from(vec![id as u8; usize::from(self.number()? % 40_000)]),
                end: self.byte()? % 8 == 0,
            },
            6 => {
                let credit = u32::from(self.number()?) << (self.byte()? % 17);
                *ledger
                    .lock()
                    .credit
                    .entry(id)
                    .or_insert_with(|| u64::from(WINDOW)) += u64::from(credit);
                Frame::Window(id, credit)
            }
            7 => Frame::Reset(id, Reason::from_code(self.number()?), "so".to_owned()),
            8 => {
                ledger.lock().pings += 1;
                let token = u64::from(self.number()?);
                Frame::Ping(Beat {
                    token,
                    revision: "def".to_owned(),
                })
            }
            9 => Frame::Pong(Beat {
                token: u64::from(id),
                revision: String::new(),
            }),
            10 => Frame::Goaway(Reason::Draining, String::new()),
            // Anything at all.
            _ => {
                let length = usize::from(self.byte()?).min(self.0.len());
                let (now, later) = self.0.split_at(length);
                self.0 = later;
                return Some(now.to_vec());
            }
        };
        Some(frame.encode().unwrap().to_vec())
    }
}

// === impl Ledger ===

impl Ledger {
    fn received(&mut self, frame: Frame) {
        match frame {
            Frame::Accept(id) | Frame::Refuse(id, ..) => {
                assert!(
                    id % 2 == 1,
                    "an answer to {id}, which the attacker can't have opened"
                );
                assert_eq!(
                    self.answered.insert(id, true),
                    None,
                    "{id} is answered twice"
                );
            }
            Frame::Data {
                tunnel, payload, ..
            } => {
                let credit = self
                    .credit
                    .entry(tunnel)
                    .or_insert_with(|| u64::from(WINDOW));
                let left = credit.checked_sub(payload.len() as u64);
                *credit = left.expect("more was sent than the credit");
            }
            Frame::Open(id, _) => assert!(id % 2 == 0, "an id of the attacker's"),
            Frame::Pong(_) => {
                self.pongs += 1;
                assert!(self.pongs <= self.pings, "an answer that wasn't asked for");
            }
            Frame::Window(_, credit) => assert!(credit > 0),
            _ => {}
        }
    }
}

/// Plays bytes as an HTTP request; it comes to an end, and to an answer or none.
pub(crate) fn http(data: &[u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let (client, server) = tokio::io::duplex(4 * 1024);
        let (mut reader, mut writer) = tokio::io::split(client);
        let send = async {
            // In two pieces, so that a request doesn't come as a whole.
            let (one, two) = data.split_at(data.len() / 2);
            let _ = writer.write_all(one).await;
            tokio::time::sleep(Duration::from_millis(10)).await;
            let _ = writer.write_all(two).await;
            if data.len().is_multiple_of(2) {
                let _ = writer.shutdown().await;
            }
            let mut answer = Vec::new();
            let _ = reader.read_to_end(&mut answer).await;
            answer
        };
        let requests = AtomicUsize::new(0);
        let serve = gateway::health::serve(server, 16 * 1024, || {
            requests.fetch_add(1, Ordering::Relaxed);
        });
        let (answer, fits) = timeout(Duration::from_secs(30), async { tokio::join!(send, serve) })
            .await
            .expect("a request hangs");
        let most = usize::from(fits);
        assert!(requests.into_inner() <= most, "more requests than {most}");
        assert!(
            answer.is_empty() || answer.starts_with(b"HTTP/1."),
            "{answer:?}"
        );
    });
}

/// The longest data that goes out with OPEN must fit the least credit.
const _: () = assert!(MAX_EARLY <= WINDOW as usize);
