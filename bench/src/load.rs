//! The client's side of the load: what is done through a pair of gateways, and what is counted.

mod client;
mod idle;

use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{Instant, sleep, timeout};

use self::client::Tally;
pub use self::client::exchange;
pub use self::idle::{Growth, hold};
use crate::service::Service;
use crate::usage::CpuTime;

/// How long what is under way at the end of a measurement may take; a gateway that stalls fails here.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the clients do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Work {
    /// So many streams towards the service, as fast as they go.
    Upload(u16),
    /// So many streams from the service, as fast as they go.
    Download(u16),
    /// So many clients, each of which connects, says 100 bytes, hears 100 bytes and closes, again
    /// and again.
    Short(u16),
    /// So many connections, on each of which 1 KiB goes forth and back, again and again.
    PingPong(u16),
}

/// How long something is measured.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// Before anything is counted.
    pub warm_up: Duration,
    /// While it is counted.
    pub measured: Duration,
}

/// What came of a load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Units of work: GiB, or thousands of connections or round trips by ten.
    pub units: f64,
    /// How long they took.
    pub seconds: f64,
    /// The CPU seconds of the pair in that time.
    pub cpu: f64,
    /// Microseconds that half of the operations needed at most; none for bulk.
    pub median: Option<f64>,
    /// Microseconds that 99 of 100 operations needed at most.
    pub p99: Option<f64>,
    /// Microseconds of the longest operation.
    pub longest: Option<f64>,
    /// Operations that failed.
    pub failures: u64,
}

// === impl Work ===

impl Work {
    /// Whether a name means this load: its own, or that of its kind.
    #[must_use]
    pub fn is_called(self, name: &str) -> bool {
        let kind = match self {
            Self::Upload(_) | Self::Download(_) => "bulk",
            Self::Short(_) => "short",
            Self::PingPong(_) => "pingpong",
        };
        name == kind || name == self.to_string()
    }

    /// Whether it is many bytes in one direction.
    #[must_use]
    pub const fn is_bulk(&self) -> bool {
        matches!(self, Self::Upload(_) | Self::Download(_))
    }

    /// How many operations one unit of the tables is; bulk has none.
    #[must_use]
    pub const fn operations(self) -> f64 {
        match self {
            Self::Upload(_) | Self::Download(_) => 1.0,
            Self::Short(_) | Self::PingPong(_) => self.unit_size(),
        }
    }

    /// How many bytes or operations one unit of the tables is.
    const fn unit_size(self) -> f64 {
        match self {
            Self::Upload(_) | Self::Download(_) => 1024.0 * 1024.0 * 1024.0,
            Self::Short(_) | Self::PingPong(_) => 10_000.0,
        }
    }

    const fn is_upload(self) -> bool {
        matches!(self, Self::Upload(_))
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Upload(streams) => write!(f, "up{streams}"),
            Self::Download(streams) => write!(f, "down{streams}"),
            Self::Short(at_once) => write!(f, "short{at_once}"),
            Self::PingPong(at_once) => write!(f, "pingpong{at_once}"),
        }
    }
}

/// Puts a load on a pair of gateways, and counts what came through in a span of time and what CPU
/// the pair had meanwhile.
///
/// The clients take turns among `targets`, which all lead to the service.
pub async fn run(
    work: Work,
    span: Span,
    targets: &[SocketAddr],
    service: &Service,
    processes: &[u32],
) -> Result<Outcome> {
    ensure!(!targets.is_empty(), "there is nothing to connect to");
    let local = LocalSet::new();
    let measured = local.run_until(measure(work, span, targets.into(), service, processes));
    let outcome = measured.await;
    // What was under way ends here, by a reset if need be.
    drop(local);
    service.wait_until_idle(PATIENCE).await?;
    outcome
}

async fn measure(
    work: Work,
    span: Span,
    targets: Rc<[SocketAddr]>,
    service: &Service,
    processes: &[u32],
) -> Result<Outcome> {
    let tally = Rc::new(Tally::default());
    let mut clients = JoinSet::new();
    client::start(work, &targets, &tally, &mut clients);
    // What arrives counts, not what is sent.
    let amount = |tally: &Tally| match work.is_upload() {
        true => service.received(),
        false => tally.amount.get(),
    };
    let waiting = Instant::now();
    while tally.ready.get() < clients.len() {
        ensure!(
            waiting.elapsed() < PATIENCE,
            "{} of {} clients get nothing through",
            clients.len() - tally.ready.get(),
            clients.len()
        );
        sleep(Duration::from_millis(5)).await;
    }
    sleep(span.warm_up).await;
    let before = CpuTime::of(processes);
    tally.is_measuring.set(true);
    let (first, failed_before) = (amount(&tally), tally.failures.get());
    let started = Instant::now();
    sleep(span.measured).await;
    // On a machine that does much else at the time, a short span may hold nothing at all.
    while amount(&tally) == first && started.elapsed() < span.measured + PATIENCE {
        sleep(Duration::from_millis(5)).await;
    }
    let seconds = started.elapsed().as_secs_f64();
    let last = amount(&tally);
    let cpu = CpuTime::of(processes).seconds_since(&before);
    tally.is_measuring.set(false);
    tally.is_over.set(true);
    let mut failures = tally.failures.get() - failed_before;
    if matches!(work, Work::Upload(_) | Work::Download(_)) {
        clients.shutdown().await;
    } else if timeout(PATIENCE, async {
        while clients.join_next().await.is_some() {}
    })
    .await
    .is_err()
    {
        // An operation that doesn't end has failed.
        failures += clients.len() as u64;
        clients.shutdown().await;
    }
    let mut latencies = tally.latencies.take();
    latencies.sort_unstable();
    let percentile = |share: f64| {
        let index = (latencies.len() as f64 * share) as usize;
        let nanoseconds = latencies.get(index).or_else(|| latencies.last())?;
        Some(*nanoseconds as f64 / 1e3)
    };
    Ok(Outcome {
        units: (last - first) as f64 / work.unit_size(),
        seconds,
        cpu,
        median: percentile(0.5),
        p99: percentile(0.99),
        longest: percentile(1.0),
        failures,
    })
}
