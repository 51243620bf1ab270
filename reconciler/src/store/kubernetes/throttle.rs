use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// So many requests at a time at first; a server with two cores answers that many quickest.
const FIRST: f64 = 16.0;
/// Never more: beyond it a server only queues.
const MOST: f64 = 64.0;
/// A server that throttles without saying for how long is left alone for so long.
const PAUSE: Duration = Duration::from_secs(1);
/// No answer to a throttled request is waited out longer than this.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Answers slower than this may mean a server that is overloaded; quicker ones never do.
const SLOW: Duration = Duration::from_millis(250);
/// So many requests in a row without an answer: the server is down, and asking on costs time.
const DOWN: u32 = 8;

/// How many requests are under way at once: grows by one for each round of answers, halves when the
/// server throttles or slows down.
#[derive(Debug)]
pub(super) struct Throttle {
    state: Mutex<State>,
    freed: Notify,
}

#[derive(Debug)]
struct State {
    limit: f64,
    in_flight: u32,
    /// The server asked to be left alone until then.
    resume: Option<Instant>,
    /// The latency, smoothed, and the least that it was.
    latency: Option<Duration>,
    least: Duration,
    halved: Option<Instant>,
    failures: u32,
}

/// The right to send one request.
#[derive(Debug)]
pub(super) struct Permit<'a> {
    throttle: &'a Throttle,
    begun: Instant,
}

// === impl Throttle ===

impl Throttle {
    pub(super) fn new() -> Self {
        Self {
            state: Mutex::new(State {
                limit: FIRST,
                in_flight: 0,
                resume: None,
                latency: None,
                least: Duration::MAX,
                halved: None,
                failures: 0,
            }),
            freed: Notify::new(),
        }
    }

    /// Begins a round: a server that was down may be asked once.
    pub(super) fn begin(&self) {
        let mut state = self.state.lock();
        state.failures = state.failures.min(DOWN - 1);
    }

    /// Whether the server seems to be down.
    pub(super) fn is_down(&self) -> bool {
        self.state.lock().failures >= DOWN
    }

    /// Waits until a request may be sent.
    pub(super) async fn acquire(&self) -> Permit<'_> {
        loop {
            let freed = self.freed.notified();
            let resume = {
                let mut state = self.state.lock();
                let now = Instant::now();
                state.resume = state.resume.filter(|resume| *resume > now);
                if state.resume.is_none() && f64::from(state.in_flight) < state.limit.max(1.0) {
                    state.in_flight += 1;
                    return Permit {
                        throttle: self,
                        begun: now,
                    };
                }
                state.resume
            };
            match resume {
                Some(resume) => sleep_until(resume).await,
                None => freed.await,
            }
        }
    }

    #[cfg(test)]
    fn limit(&self) -> f64 {
        self.state.lock().limit
    }
}

// === impl Permit ===

impl Permit<'_> {
    /// The server answered, whatever it said.
    pub(super) fn answered(self) {
        let now = Instant::now();
        let took = now - self.begun;
        let mut state = self.throttle.state.lock();
        state.failures = 0;
        let smoothed = state.latency.map_or(took, |old| (old * 7 + took) / 8);
        state.latency = Some(smoothed);
        state.least = state.least.min(smoothed);
        if smoothed > SLOW && smoothed > state.least * 4 {
            state.halve(now);
        } else {
            state.limit = (state.limit + 1.0 / state.limit).min(MOST);
        }
    }

    /// The server asked to come back later.
    pub(super) fn throttled(self, after: Option<Duration>) {
        let now = Instant::now();
        let mut state = self.throttle.state.lock();
        state.failures = 0;
        state.halve(now);
        let resume = now + after.unwrap_or(PAUSE).min(LONGEST_PAUSE);
        state.resume = state.resume.max(Some(resume));
    }

    /// No answer came.
    pub(super) fn unanswered(self) {
        let mut state = self.throttle.state.lock();
        state.failures = state.failures.saturating_add(1);
        state.halve(Instant::now());
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let mut state = self.throttle.state.lock();
        state.in_flight -= 1;
        drop(state);
        // Two may go where the limit grew; who wakes in vain waits again.
        self.throttle.freed.notify_one();
        self.throttle.freed.notify_one();
    }
}

// === impl State ===

impl State {
    /// Once for all requests that were under way together.
    fn halve(&mut self, now: Instant) {
        let is_recent = self.halved.is_some_and(|at| now - at < PAUSE);
        if !is_recent {
            self.limit = (self.limit / 2.0).max(1.0);
            self.halved = Some(now);
            // What is slow now is what is usual from now on, if it stays.
            self.least = self.least.saturating_mul(2);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn grows_with_answers_up_to_a_bound_and_halves_when_throttled() {
        let throttle = Throttle::new();
        for _ in 0..10_000 {
            throttle.acquire().await.answered();
        }
        assert!((throttle.limit() - MOST).abs() < f64::EPSILON);

        let permits: Vec<_> = futures::future::join_all((0..4).map(|_| throttle.acquire())).await;
        for permit in permits {
            permit.throttled(Some(Duration::from_secs(7)));
        }
        // Those were one: the bound is half of it, not a sixteenth.
        assert!((throttle.limit() - MOST / 2.0).abs() < f64::EPSILON);
        let before = Instant::now();
        drop(throttle.acquire().await);
        assert_eq!(before.elapsed(), Duration::from_secs(7));
    }

    #[tokio::test(start_paused = true)]
    async fn waits_for_a_place() {
        let throttle = Throttle::new();
        let mut permits: Vec<_> =
            futures::future::join_all((0..16).map(|_| throttle.acquire())).await;
        assert!(throttle.acquire().now_or_never().is_none());
        let waiting = throttle.acquire();
        let free = async { drop(permits.pop()) };
        let (permit, ()) = futures::join!(waiting, free);
        drop(permit);
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_slows_down_is_asked_less() {
        let throttle = Throttle::new();
        throttle.acquire().await.answered();
        let before = throttle.limit();
        for _ in 0..100 {
            let permit = throttle.acquire().await;
            tokio::time::advance(Duration::from_secs(2)).await;
            permit.answered();
        }
        assert!(throttle.limit() < before / 2.0, "{}", throttle.limit());
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_is_down_is_asked_once_a_round() {
        let throttle = Throttle::new();
        for _ in 0..DOWN {
            assert!(!throttle.is_down());
            throttle.acquire().await.unanswered();
        }
        assert!(throttle.is_down());
        throttle.begin();
        assert!(!throttle.is_down());
        throttle.acquire().await.unanswered();
        assert!(throttle.is_down());
        throttle.begin();
        throttle.acquire().await.answered();
        throttle.acquire().await.unanswered();
        assert!(!throttle.is_down());
    }
}
