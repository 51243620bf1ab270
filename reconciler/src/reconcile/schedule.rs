use std::time::Duration;

use rand::Rng;

/// When the next round begins.
#[derive(Debug)]
pub(super) struct Schedule {
    interval: Duration,
    failures: u32,
}

/// The wait after the first failure; it doubles with each further one.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// The longest wait between retries, unless the interval is longer: a server that is back is
/// noticed within a minute, and a thousand peers ask it seventeen times a second at most.
const LONGEST_RETRY: Duration = Duration::from_secs(60);

// === impl Schedule ===

impl Schedule {
    pub(super) const fn new(interval: Duration) -> Self {
        Self {
            interval,
            failures: 0,
        }
    }

    /// How long to wait after a round that went well: the interval, give or take a tenth, so that
    /// the peers of a fabric don't ask in step.
    pub(super) fn succeeded(&mut self) -> Duration {
        self.failures = 0;
        self.interval.mul_f64(rand::rng().random_range(0.9..=1.1))
    }

    /// How long to wait after a round that failed: longer each time, by half as much or all of it.
    pub(super) fn failed(&mut self) -> Duration {
        let doubled = FIRST_RETRY.saturating_mul(1 << self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        let wait = doubled.min(LONGEST_RETRY.max(self.interval));
        wait.mul_f64(rand::rng().random_range(0.5..=1.0))
    }

    pub(super) const fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_grow_up_to_a_bound_and_begin_anew_after_a_success() {
        let mut schedule = Schedule::new(Duration::from_secs(10));
        for failures in 0..100 {
            let wait = schedule.failed();
            let full = FIRST_RETRY
                .saturating_mul(1 << failures.min(6))
                .min(LONGEST_RETRY);
            assert!(wait >= full / 2 && wait <= full, "{failures}: {wait:?}");
        }
        assert_eq!(schedule.failures(), 100);
        let wait = schedule.succeeded();
        assert!(wait >= Duration::from_secs(9) && wait <= Duration::from_secs(11));
        assert!(schedule.failed() <= FIRST_RETRY);
    }
}
