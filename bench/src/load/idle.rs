//! Tunnels that are open and say nothing, and the memory that they cost.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::client::exchange;
use crate::usage::resident;

/// How many are opened at once.
const AT_ONCE: usize = 64;

/// What the pair's memory does while tunnels are opened, in KiB.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Growth {
    /// The pair's resident memory before the first tunnel.
    pub base: u64,
    /// The tunnels that are open.
    pub tunnels: u64,
    /// The pair's resident memory with them.
    pub resident: u64,
    /// The tunnels that could not be opened.
    pub failures: u64,
    /// How long opening them took.
    pub seconds: f64,
}

// === impl Growth ===

impl Growth {
    /// How much the pair grew per tunnel, in KiB.
    #[must_use]
    pub fn per_tunnel(&self) -> f64 {
        let grown = self.resident as f64 - self.base as f64;
        grown / self.tunnels as f64
    }
}

/// Opens tunnels until as many are open as each of `steps` says, and measures the pair's memory at each step,
/// after it had time to give back what it doesn't need.
///
/// Each tunnel has carried a message and its answer before it falls silent.
pub async fn hold(
    steps: &[u16],
    settle: Duration,
    targets: &[SocketAddr],
    processes: &[u32],
) -> Result<Vec<Growth>> {
    let target = *targets.first().context("there is nothing to connect to")?;
    // One goes first, so that what a pair allocates once for all isn't counted to the tunnels.
    let first = exchange(target).await.context("the first tunnel")?;
    sleep(settle).await;
    let base = resident(processes);
    let mut open: Vec<TcpStream> = vec![first];
    let mut measured = Vec::new();
    for &step in steps {
        let started = Instant::now();
        let wanted = usize::from(step).saturating_sub(open.len() - 1);
        let mut opening = JoinSet::new();
        let (mut asked, mut failures) = (0, 0);
        while asked < wanted || !opening.is_empty() {
            if asked < wanted && opening.len() < AT_ONCE {
                opening.spawn(exchange(target));
                asked += 1;
                continue;
            }
            match opening.join_next().await {
                Some(Ok(Ok(socket))) => open.push(socket),
                Some(_) => failures += 1,
                None => {}
            }
        }
        let seconds = started.elapsed().as_secs_f64();
        sleep(settle).await;
        measured.push(Growth {
            base,
            tunnels: (open.len() - 1) as u64,
            resident: resident(processes),
            failures,
            seconds,
        });
    }
    Ok(measured)
}
