//! How much of the log others can fill with what is refused. Metrics count all of it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use fabric::name::{ObjectName, PeerName};
use parking_lot::Mutex;

/// Refusals that are written one after the other: a restart of a large site, whole.
const BURST: u32 = 1000;

/// Refusals that are written each second after that: at 500 bytes each 4 GB a day, which a log that
/// is rotated bears.
const PER_SECOND: u32 = 100;

/// One that is left out in between is as good as many: how often that is said.
const TELL: Duration = Duration::from_secs(1);

/// What is left of what strangers, and each peer, may make us write.
#[derive(Debug, Default)]
pub(crate) struct Budgets {
    strangers: Mutex<Budget>,
    /// As many as the fabric ever had imports.
    imports: Mutex<BTreeMap<ObjectName, Budget>>,
    /// Authenticated, and so as many as the fabric ever had peers.
    peers: Mutex<BTreeMap<PeerName, Budget>>,
}

/// What is left to write.
#[derive(Debug, Default)]
struct Budget {
    spent: f64,
    at: Option<Instant>,
    left_out: u64,
    told: Option<Instant>,
}

// === impl Budgets ===

impl Budgets {
    /// Whether a failed handshake is written.
    #[must_use]
    pub(crate) fn stranger(&self) -> bool {
        let (write, left_out) = self.strangers.lock().take(Instant::now());
        if let Some(count) = left_out {
            tracing::warn!(target: "weft::handshake", count, "failed handshakes aren't written to the log");
        }
        write
    }

    /// Whether a refusal of a client is written.
    #[must_use]
    pub(crate) fn import(&self, import: &ObjectName) -> bool {
        let mut imports = self.imports.lock();
        let budget = match imports.get_mut(import) {
            Some(budget) => budget,
            None => imports.entry(import.clone()).or_default(),
        };
        let (write, left_out) = budget.take(Instant::now());
        drop(imports);
        if let Some(count) = left_out {
            tracing::warn!(target: "weft::decision", %import, count, "refusals aren't written to the log");
        }
        write
    }

    /// Whether a refusal of what a peer asked for, or that it came or went, is written.
    #[must_use]
    pub(crate) fn peer(&self, peer: &PeerName) -> bool {
        let (write, left_out) = self
            .peers
            .lock()
            .entry(peer.clone())
            .or_default()
            .take(Instant::now());
        if let Some(count) = left_out {
            tracing::warn!(target: "weft::decision", %peer, count, "refusals and connections aren't written to the log");
        }
        write
    }
}

// === impl Budget ===

impl Budget {
    /// Whether one is written, and how many weren't, where that is to be said now.
    fn take(&mut self, now: Instant) -> (bool, Option<u64>) {
        let since = self.at.map_or(Duration::ZERO, |at| now.duration_since(at));
        self.at = Some(now);
        self.spent = (self.spent - since.as_secs_f64() * f64::from(PER_SECOND)).max(0.0);
        let write = self.spent + 1.0 <= f64::from(BURST);
        if write {
            self.spent += 1.0;
        } else {
            self.left_out += 1;
        }
        let is_due = self
            .told
            .is_none_or(|told| now.duration_since(told) >= TELL);
        if self.left_out == 0 || !is_due {
            return (write, None);
        }
        self.told = Some(now);
        (write, Some(std::mem::take(&mut self.left_out)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_written_up_to_a_rate_and_the_rest_is_told() {
        let (mut budget, start) = (Budget::default(), Instant::now());
        let mut written = 0;
        let mut left_out = 0;
        // 100,000 in ten seconds.
        for step in 0..100_000_u64 {
            let (write, told) = budget.take(start + Duration::from_micros(step * 100));
            written += u32::from(write);
            left_out += told.unwrap_or(0);
        }
        let most = BURST + 10 * PER_SECOND;
        assert!(written <= most && written >= most - PER_SECOND, "{written}");
        let (write, told) = budget.take(start + Duration::from_secs(3600));
        assert!(write, "a calm hour later");
        assert_eq!(u64::from(written) + left_out + told.unwrap(), 100_000);
    }
}
