//! What a pair of gateways costs: CPU seconds per GiB, per 10,000 connections and per 10,000
//! requests, and memory per idle connection.
//!
//! `cargo bench -p gateway --bench throughput [-- MIB] [WORK]`; MIB is how much a bulk transfer
//! carries, 2048 when absent; WORK is what alone is measured (`bulk`, `short`, `ping`, `idle`).
//! Everything is one process on loopback, but each gateway has threads of its own, and only theirs
//! are counted. Policies, metrics and the decision log (as JSON, to a file) are on. Rank by CPU:
//! rates depend on what else the machine does.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a bench prints, and fails by panicking"
)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::io::Write as _;
use std::net::SocketAddr;
use std::time::Instant;

use common::authority::Authority;
use common::peer::{Peer, free_port, loopback};
use common::plan::Planner;
use common::service::Service;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

const GATEWAYS: [&str; 2] = ["west", "east"];
const GIB: f64 = (1_u64 << 30) as f64;

fn main() {
    // `cargo test --all-targets` runs this, too, and shall not wait for it.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let mib = std::env::args()
        .find_map(|argument| argument.parse::<usize>().ok())
        .unwrap_or(2048);
    let log = tempfile::tempfile().unwrap();
    tracing_subscriber::fmt()
        .json()
        .with_writer(std::sync::Arc::new(log))
        .init();
    let threads = std::env::var("THREADS").map_or(2, |threads| threads.parse().unwrap());
    let runtime = |name: &str| {
        Builder::new_multi_thread()
            .worker_threads(if name == "load" { 2 } else { threads })
            .thread_name(name)
            .enable_all()
            .build()
            .unwrap()
    };
    let [west_runtime, east_runtime] = GATEWAYS.map(runtime);
    let load = runtime("load");
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("acme");
    let start = |runtime: &Runtime, name: &str| {
        let leaf = authority.leaf(folder.path(), &[name]);
        runtime.block_on(Peer::start(vec![leaf.files]))
    };
    let west = start(&west_runtime, "west");
    let east = start(&east_runtime, "east");
    let sink = load.block_on(Service::start(|mut socket| async move {
        let mut buffer = vec![0; 256 * 1024];
        while socket
            .read(&mut buffer)
            .await
            .is_ok_and(|length| length > 0)
        {}
        let _ = socket.write_all(b"done").await;
    }));
    let source = load.block_on(Service::start(|mut socket| async move {
        let length = socket.read_u64().await.unwrap() as usize;
        send(&mut socket, length).await;
    }));
    let echo = load.block_on(Service::start(|mut socket| async move {
        let _ = socket.set_nodelay(true);
        let mut buffer = vec![0; 4096];
        while let Ok(length) = socket.read(&mut buffer).await {
            if length == 0 || socket.write_all(&buffer[..length]).await.is_err() {
                break;
            }
        }
    }));
    // Held by a thread without a runtime, so that what is measured is the gateways' memory.
    let idle = std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).unwrap();
    let idle_address = idle.local_addr().unwrap();
    std::thread::spawn(move || {
        let held: Vec<_> = idle.incoming().collect();
        drop(held);
    });
    let [sink_import, source_import, echo_import, idle_import] =
        [free_port(), free_port(), free_port(), free_port()].map(loopback);
    let plan = Planner::new("east", authority.certificate())
        .peer("west", &[west.address()])
        .export("sink", sink.address)
        .export("source", source.address)
        .export("echo", echo.address)
        .export("idle", idle_address);
    load.block_on(east.apply(&plan.allow_all()));
    let plan = Planner::new("west", authority.certificate())
        .peer("east", &[east.address()])
        .import("sink", sink_import.port(), &[("east", "sink")])
        .import("source", source_import.port(), &[("east", "source")])
        .import("echo", echo_import.port(), &[("east", "echo")])
        .import("idle", idle_import.port(), &[("east", "idle")]);
    load.block_on(west.apply(&plan.allow_all()));

    let is_wanted = |name: &str| {
        let wanted = |name: &str| std::env::args().any(|argument| argument == name);
        wanted(name) || !["bulk", "short", "ping", "idle"].into_iter().any(wanted)
    };
    if is_wanted("idle") {
        let mut held = Vec::new();
        for count in [1000, 4000] {
            let before = (resident(), held.len());
            held.extend((held.len()..count).map(|_| held_connection(idle_import)));
            std::thread::sleep(std::time::Duration::from_secs(1));
            println!(
                "{count} idle connections: {:.1} KiB each",
                (resident() - before.0) / 1024.0 / (held.len() - before.1) as f64
            );
        }
        drop(held);
        std::thread::sleep(std::time::Duration::from_secs(1));
    }
    for round in 0..3 {
        let gib = mib as f64 / 1024.0;
        for streams in [1, 8].into_iter().filter(|_| is_wanted("bulk")) {
            let length = mib * (1 << 20) / streams;
            measure(
                &format!("round {round}: up, {streams} streams"),
                "GiB",
                gib,
                || {
                    load.block_on(upload(sink_import, streams, length));
                },
            );
            measure(
                &format!("round {round}: down, {streams} streams"),
                "GiB",
                gib,
                || {
                    load.block_on(download(source_import, streams, length));
                },
            );
        }
        for (at_once, each) in [(1, 3000), (64, 300)]
            .into_iter()
            .filter(|_| is_wanted("short"))
        {
            let count = f64::from(at_once * each) / 10_000.0;
            measure(
                &format!("round {round}: short connections, {at_once} at once"),
                "10k connections",
                count,
                || load.block_on(connections(echo_import, at_once, each)),
            );
        }
        for (at_once, each) in [(1, 10_000), (64, 1500)]
            .into_iter()
            .filter(|_| is_wanted("ping"))
        {
            let count = f64::from(at_once * each) / 10_000.0;
            measure(
                &format!("round {round}: ping-pong of 1 KiB, {at_once} at once"),
                "10k requests",
                count,
                || load.block_on(ping_pong(echo_import, at_once, each)),
            );
        }
    }
    println!("{:.1} MiB resident", resident() / GIB * 1024.0);
}

fn measure(what: &str, unit: &str, amount: f64, work: impl FnOnce()) {
    let (cpu, started) = (cpu_seconds(), Instant::now());
    work();
    let (cpu, wall) = (cpu_seconds() - cpu, started.elapsed().as_secs_f64());
    println!(
        "{what}: {:.2} CPU s/{unit}, {:.2} {unit}/s",
        cpu / amount,
        amount / wall
    );
}

async fn send(socket: &mut TcpStream, length: usize) {
    let block = vec![7; 256 * 1024];
    let mut left = length;
    while left > 0 {
        let part = &block[..left.min(block.len())];
        socket.write_all(part).await.unwrap();
        left -= part.len();
    }
}

async fn upload(address: SocketAddr, streams: usize, length: usize) {
    let mut tasks = JoinSet::new();
    for _ in 0..streams {
        tasks.spawn(async move {
            let mut socket = TcpStream::connect(address).await.unwrap();
            send(&mut socket, length).await;
            socket.shutdown().await.unwrap();
            let mut answer = String::new();
            socket.read_to_string(&mut answer).await.unwrap();
            assert_eq!(answer, "done");
        });
    }
    tasks.join_all().await;
}

async fn download(address: SocketAddr, streams: usize, length: usize) {
    let mut tasks = JoinSet::new();
    for _ in 0..streams {
        tasks.spawn(async move {
            let mut socket = TcpStream::connect(address).await.unwrap();
            socket.write_u64(length as u64).await.unwrap();
            let (mut buffer, mut left) = (vec![0; 256 * 1024], length);
            while left > 0 {
                let read = socket.read(&mut buffer).await.unwrap();
                assert!(read > 0, "{left} bytes lack");
                left -= read;
            }
        });
    }
    tasks.join_all().await;
}

async fn connections(address: SocketAddr, at_once: i32, each: i32) {
    let mut tasks = JoinSet::new();
    for _ in 0..at_once {
        tasks.spawn(async move {
            for _ in 0..each {
                let mut socket = TcpStream::connect(address).await.unwrap();
                socket.write_all(&[7; 100]).await.unwrap();
                socket.read_exact(&mut [0; 100]).await.unwrap();
            }
        });
    }
    tasks.join_all().await;
}

async fn ping_pong(address: SocketAddr, at_once: i32, each: i32) {
    let mut tasks = JoinSet::new();
    for _ in 0..at_once {
        tasks.spawn(async move {
            let mut socket = TcpStream::connect(address).await.unwrap();
            socket.set_nodelay(true).unwrap();
            for _ in 0..each {
                socket.write_all(&[7; 1024]).await.unwrap();
                socket.read_exact(&mut [0; 1024]).await.unwrap();
            }
        });
    }
    tasks.join_all().await;
}

/// A connection that has said something once, so that it surely is open on both sides.
fn held_connection(address: SocketAddr) -> std::net::TcpStream {
    let mut socket = std::net::TcpStream::connect(address).unwrap();
    socket.write_all(b"x").unwrap();
    socket
}

/// The CPU seconds of the gateways' threads so far.
fn cpu_seconds() -> f64 {
    // Of a hundred ticks, as every Linux that runs this has them.
    let mut ticks = 0_u64;
    for task in std::fs::read_dir("/proc/self/task").unwrap() {
        let stat = std::fs::read_to_string(task.unwrap().path().join("stat")).unwrap();
        let (_, rest) = stat.split_once('(').unwrap();
        let (name, rest) = rest.rsplit_once(") ").unwrap();
        if GATEWAYS.contains(&name) {
            let fields: Vec<_> = rest.split(' ').collect();
            ticks += fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        }
    }
    ticks as f64 / 100.0
}

/// The process's resident bytes.
fn resident() -> f64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: f64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096.0
}
