//! What traffic notices of a commit: a client measures each round trip while a snapshot is swapped.

use std::cell::Cell;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::pair::{Fabric, Kind, Pair};
use crate::service::{Mode, PING, Service};
use crate::stage::Stage;

/// How long traffic is watched before a commit, and after it is in force.
const AROUND: Duration = Duration::from_millis(250);

/// How often a peer is asked whether the commit is in force.
const POLL: Duration = Duration::from_millis(10);

/// How long a commit may take; far more than it does.
const PATIENCE: Duration = Duration::from_secs(60);

/// What was seen of one commit.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Swap {
    /// Which pair.
    pub kind: Kind,
    /// The longest round trip while nothing was committed, in milliseconds.
    pub quiet: f64,
    /// The longest while the commit was brought into force.
    pub longest: f64,
    /// The time from the signal until both peers had the commit in force, in milliseconds.
    pub in_force: f64,
    /// The time that the gateways needed to swap the snapshot, in milliseconds, as they log it.
    pub swaps: Vec<f64>,
}

/// Changes one policy of each peer, so many times, while a client measures its round trips; before each
/// it measures them without a change for a while.
pub async fn run(
    kind: Kind,
    times: usize,
    quiet: Duration,
    stage: &Stage,
    folder: &Path,
    service: &Service,
) -> Result<Vec<Swap>> {
    fs::create_dir_all(folder)?;
    let own = Stage::new(stage.binary(), folder)?;
    let fabric = Fabric::lay_down(&own, service.address()?, kind.size())?;
    let pair = Pair::of_fabric(kind, &fabric, &own, folder).await?;
    // One commit goes before, for peers that have just started look into the repository once more by themselves.
    let first = fabric.change(&own, 0)?;
    pair.signal(Signal::HUP)?;
    wait_until_in_force(&pair, &first).await?;
    let mut swaps = Vec::new();
    for number in 1..=times {
        let target = *pair.targets().first().context("nothing to connect to")?;
        let (quiet, ()) = longest_until(target, sleep(quiet)).await?;
        // Git's own work comes before what is measured.
        let commit = fabric.change(&own, number)?;
        pair.empty_logs()?;
        let (longest, in_force) = longest_until(target, bring_into_force(&pair, &commit)).await?;
        let in_force = in_force?;
        swaps.push(Swap {
            kind,
            quiet: quiet.as_secs_f64() * 1e3,
            longest: longest.as_secs_f64() * 1e3,
            in_force: in_force.as_secs_f64() * 1e3,
            swaps: logged(&pair, &commit)?,
        });
    }
    Ok(swaps)
}

/// The longest round trip until something has happened, on one connection on which each message waits for
/// the answer before it: so long did traffic stand still.
async fn longest_until<T>(
    target: SocketAddr,
    happens: impl Future<Output = T>,
) -> Result<(Duration, T)> {
    let mut socket = TcpStream::connect(target).await?;
    socket.set_nodelay(true)?;
    let mut message = vec![Mode::Answer(PING).byte(); PING];
    // The first one opens the tunnel.
    socket.write_all(&message).await?;
    socket.read_exact(&mut message).await?;
    let is_over = Cell::new(false);
    let round_trips = async {
        let mut longest = Duration::ZERO;
        while !is_over.get() {
            let began = Instant::now();
            socket.write_all(&message).await?;
            socket.read_exact(&mut message).await?;
            longest = longest.max(began.elapsed());
        }
        io::Result::Ok(longest)
    };
    let happens = async {
        sleep(AROUND).await;
        let happened = happens.await;
        sleep(AROUND).await;
        is_over.set(true);
        happened
    };
    let (longest, happened) = tokio::join!(round_trips, happens);
    Ok((longest.context("the connection broke")?, happened))
}

/// Tells the peers of a commit, and waits until it is in force.
async fn bring_into_force(pair: &Pair, commit: &str) -> Result<Duration> {
    for &admin in pair.admins() {
        let is_early = is_in_force(admin, commit).await?;
        ensure!(!is_early, "{commit} is in force before anybody was told");
    }
    let started = Instant::now();
    pair.signal(Signal::HUP)?;
    wait_until_in_force(pair, commit).await?;
    Ok(started.elapsed())
}

async fn wait_until_in_force(pair: &Pair, commit: &str) -> Result<()> {
    let started = Instant::now();
    for &admin in pair.admins() {
        while !is_in_force(admin, commit).await? {
            ensure!(
                started.elapsed() < PATIENCE,
                "{commit} isn't in force after {PATIENCE:?}"
            );
            sleep(POLL).await;
        }
    }
    Ok(())
}

async fn is_in_force(admin: SocketAddr, commit: &str) -> Result<bool> {
    let metrics = timeout(PATIENCE, fetch(admin, "/metrics")).await??;
    let mut lines = metrics.lines();
    Ok(lines.any(|line| line.starts_with("weft_snapshot") && line.contains(commit)))
}

/// The milliseconds of each swap to a commit that the peers have logged.
fn logged(pair: &Pair, commit: &str) -> Result<Vec<f64>> {
    let logs = pair.logs()?;
    let lines = logs.iter().flat_map(|log| log.lines());
    let swaps = lines.filter_map(|line| {
        let event: Value = serde_json::from_str(line).ok()?;
        let fields = event.get("fields")?;
        let is_swap = fields.get("revision")?.as_str()? == commit;
        let microseconds = fields.get("took_us")?.as_f64()?;
        is_swap.then_some(microseconds / 1e3)
    });
    Ok(swaps.collect())
}

/// What a peer's admin port answers.
async fn fetch(admin: SocketAddr, path: &str) -> Result<String> {
    let mut socket = TcpStream::connect(admin).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await?;
    Ok(answer)
}
