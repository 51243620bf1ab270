//! What keeps two writers from overwriting each other as fast as they can.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// So many corrections of one object within [`WINDOW`] are drift; one more is a fight.
const CORRECTIONS: usize = 5;
/// How long a correction is remembered.
const WINDOW: Duration = Duration::from_secs(60);
/// How long an object is left alone at first when somebody fights over it; it doubles each time.
const FIRST_PAUSE: Duration = Duration::from_secs(15);
/// The longest pause: somebody who looks at the object sees it corrected within that time.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// What keeps two writers from overwriting each other as fast as they can.
#[derive(Debug, Default)]
pub(crate) struct Brake {
    /// When the object was corrected, the oldest first.
    corrected: VecDeque<Instant>,
    /// How often in a row it came to a fight.
    fights: u32,
    until: Option<Instant>,
}

/// What the brake says of a correction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Correct it.
    Go,
    /// Leave it alone until then; `is_new` where the fight begins.
    Hold { until: Instant, is_new: bool },
}

// === impl Brake ===

impl Brake {
    /// Asks for a correction at `now`.
    pub(crate) fn ask(&mut self, now: Instant) -> Verdict {
        if self.is_idle(now) {
            *self = Self::default();
        }
        if let Some(until) = self.until {
            if now < until {
                return Verdict::Hold {
                    until,
                    is_new: false,
                };
            }
            // One correction after each pause shows whether the other one still writes.
            self.until = None;
            self.corrected.clear();
            self.corrected.extend([now; CORRECTIONS]);
            return Verdict::Go;
        }
        let is_past = |at: &Instant| now.duration_since(*at) >= WINDOW;
        while self.corrected.front().is_some_and(is_past) {
            self.corrected.pop_front();
        }
        if self.corrected.len() < CORRECTIONS {
            self.corrected.push_back(now);
            return Verdict::Go;
        }
        let pause = FIRST_PAUSE.saturating_mul(1 << self.fights.min(8));
        let until = now + pause.min(LONGEST_PAUSE);
        let is_new = self.fights == 0;
        self.fights = self.fights.saturating_add(1);
        self.until = Some(until);
        Verdict::Hold { until, is_new }
    }

    /// Whether somebody fights over the object.
    pub(crate) fn is_fighting(&self, now: Instant) -> bool {
        self.fights > 0 && !self.is_idle(now)
    }

    /// Whether nothing is left to remember: it is as long ago as a correction is remembered.
    pub(crate) fn is_idle(&self, now: Instant) -> bool {
        let last = self.corrected.back().copied().max(self.until);
        last.is_none_or(|last| now.saturating_duration_since(last) >= WINDOW)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn few_corrections_are_free_and_a_fight_is_slowed_down_ever_more() {
        let mut brake = Brake::default();
        let start = Instant::now();
        let mut now = start;
        let (mut corrections, mut begun) = (0, 0);
        // Somebody who overwrites at once, for an hour.
        while now < start + Duration::from_secs(3600) {
            match brake.ask(now) {
                Verdict::Go => {
                    corrections += 1;
                    now += Duration::from_millis(10);
                }
                Verdict::Hold { until, is_new } => {
                    assert!(until > now && until <= now + LONGEST_PAUSE);
                    begun += u32::from(is_new);
                    assert!(brake.is_fighting(now));
                    now = until;
                }
            }
        }
        assert_eq!(begun, 1, "a fight begins once");
        assert!((5..25).contains(&corrections), "{corrections}");

        // The other one gives up; an hour later all is as at first.
        now += Duration::from_secs(3600);
        assert_eq!(brake.ask(now), Verdict::Go);
        now += Duration::from_secs(3600);
        assert!(!brake.is_fighting(now));
        assert!(brake.is_idle(now));
        for _ in 0..CORRECTIONS {
            assert_eq!(brake.ask(now), Verdict::Go);
        }
        assert!(matches!(brake.ask(now), Verdict::Hold { is_new: true, .. }));
    }

    #[tokio::test(start_paused = true)]
    async fn corrections_that_are_far_apart_are_no_fight() {
        let mut brake = Brake::default();
        let mut now = Instant::now();
        for _ in 0..100 {
            assert_eq!(brake.ask(now), Verdict::Go);
            now += Duration::from_secs(13);
        }
    }
}
