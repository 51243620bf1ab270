//! How often something may happen: a bucket of tokens for each key.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Instant;

use parking_lot::Mutex;

/// How often something may happen, by key.
#[derive(Debug)]
pub(crate) struct Rates<K> {
    buckets: Mutex<HashMap<K, Bucket>>,
}

/// What was taken of a second's worth, and when.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    taken: f64,
    at: Instant,
}

// === impl Rates ===

impl<K> Default for Rates<K> {
    fn default() -> Self {
        Self {
            buckets: Mutex::default(),
        }
    }
}

impl<K: Eq + Hash + Clone> Rates<K> {
    /// Takes one, unless more than `per_second` were taken over time; 0 is no limit. Up to a
    /// second's worth may be taken at once.
    #[must_use]
    pub(crate) fn take(&self, key: &K, per_second: u32, now: Instant) -> bool {
        if per_second == 0 {
            return true;
        }
        let mut buckets = self.buckets.lock();
        if let Some(bucket) = buckets.get_mut(key) {
            return bucket.take(f64::from(per_second), now);
        }
        let first = Bucket {
            taken: 1.0,
            at: now,
        };
        buckets.insert(key.clone(), first);
        true
    }

    /// Forgets keys that aren't there any more.
    pub(crate) fn keep(&self, is_there: impl Fn(&K) -> bool) {
        self.buckets.lock().retain(|key, _| is_there(key));
    }
}

// === impl Bucket ===

impl Bucket {
    fn take(&mut self, per_second: f64, now: Instant) -> bool {
        let given_back = now.saturating_duration_since(self.at).as_secs_f64() * per_second;
        // A tighter limit than before has less in it.
        self.taken = (self.taken.min(per_second) - given_back).max(0.0);
        self.at = now;
        let may = self.taken + 1.0 <= per_second;
        if may {
            self.taken += 1.0;
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_second_s_worth_at_once_and_then_so_many_a_second() {
        let (rates, start) = (Rates::<&str>::default(), Instant::now());
        let taken = |at: Duration| {
            (0..100)
                .filter(|_| rates.take(&"a", 10, start + at))
                .count()
        };
        assert_eq!(taken(Duration::ZERO), 10);
        assert_eq!(taken(Duration::from_millis(510)), 5);
        assert_eq!(taken(Duration::from_millis(550)), 0);
        assert_eq!(taken(Duration::from_secs(3600)), 10);
        // Another key has its own, and 0 is no limit.
        assert!(rates.take(&"b", 10, start));
        assert!((0..1000).all(|_| rates.take(&"a", 0, start)));
    }

    #[test]
    fn a_steady_stream_below_the_rate_is_never_refused() {
        let (rates, start) = (Rates::<&str>::default(), Instant::now());
        for step in 0..10_000_u64 {
            let now = start + Duration::from_millis(step * 101);
            assert!(rates.take(&"a", 10, now), "step {step}");
        }
        rates.keep(|_| false);
        assert!(rates.buckets.lock().is_empty());
    }

    #[test]
    fn a_limit_of_one_lets_one_through_each_second() {
        let (rates, start) = (Rates::<&str>::default(), Instant::now());
        let at = |millis| start + Duration::from_millis(millis);
        assert!(rates.take(&"a", 1, at(0)));
        assert!(!rates.take(&"a", 1, at(900)));
        assert!(rates.take(&"a", 1, at(1001)));
    }
}
