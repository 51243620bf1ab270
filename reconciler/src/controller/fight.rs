//! Objects that somebody else keeps writing otherwise: another installation, or a tool.

use std::collections::BTreeMap;
use std::time::Duration;

use fabric::digest::Digest;
use tokio::time::Instant;

use crate::kubernetes::brake::{Brake, Verdict};

/// What was written lately, so that the same isn't written again and again.
#[derive(Debug, Default)]
pub(super) struct Fights(BTreeMap<String, Written>);

#[derive(Debug)]
struct Written {
    content: Digest,
    /// Whether the server took it: a request that failed is no round of a fight.
    is_done: bool,
    /// How often in a row the server refused it, and to when it isn't tried again.
    refused: (u32, Option<Instant>),
    brake: Brake,
}

/// The first wait after the server refused what was written; it doubles.
const FIRST_WAIT: Duration = Duration::from_secs(2);
/// The longest one: a quota or a right that comes is noticed within that time.
const LONGEST_WAIT: Duration = Duration::from_secs(120);

// === impl Fights ===

impl Fights {
    /// Whether an object may be written now; not where the same content was undone too often.
    pub(super) fn may_write(&mut self, object: &str, content: &str, now: Instant) -> bool {
        let content = Digest::of_bytes(content.as_bytes());
        let new = || Written {
            content,
            is_done: true,
            refused: (0, None),
            brake: Brake::default(),
        };
        let written = self.0.entry(object.to_owned()).or_insert_with(new);
        if written.content != content {
            *written = new();
        }
        if written.refused.1.is_some_and(|until| now < until) {
            return false;
        }
        if !written.is_done {
            return true;
        }
        match written.brake.ask(now) {
            Verdict::Go => {
                written.is_done = false;
                true
            }
            Verdict::Hold { is_new, .. } => {
                if is_new {
                    tracing::warn!(
                        object,
                        "another writer keeps changing it: it is corrected less often from now on"
                    );
                }
                false
            }
        }
    }

    /// Notes that the server took what was written.
    pub(super) fn note_done(&mut self, object: &str) {
        if let Some(written) = self.0.get_mut(object) {
            written.is_done = true;
            written.refused = (0, None);
        }
    }

    /// Notes that the server won't have what was written.
    pub(super) fn note_refused(&mut self, object: &str, now: Instant) {
        if let Some(Written { refused, .. }) = self.0.get_mut(object) {
            let wait = FIRST_WAIT.saturating_mul(1 << refused.0.min(8));
            *refused = (
                refused.0.saturating_add(1),
                Some(now + wait.min(LONGEST_WAIT)),
            );
        }
    }

    /// Forgets what was written long ago.
    pub(super) fn forget(&mut self, now: Instant) {
        let is_idle = |written: &Written| {
            let until = written.refused.1;
            written.brake.is_idle(now)
                && until.is_none_or(|until| now.saturating_duration_since(until) > LONGEST_WAIT)
        };
        self.0.retain(|_, written| !is_idle(written));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_undone_again_and_again_is_left_for_a_while() {
        let mut fights = Fights::default();
        let now = Instant::now();
        let write = |fights: &mut Fights, content: &str, now: Instant| {
            let may = fights.may_write("Service shop/ledger", content, now);
            if may {
                fights.note_done("Service shop/ledger");
            }
            may
        };
        let writes = (0..20).filter(|_| write(&mut fights, "one", now)).count();
        assert_eq!(writes, 5);
        // Something else is wanted by now: that is no fight.
        assert!(write(&mut fights, "two", now));
        let later = now + Duration::from_secs(3600);
        fights.forget(later);
        assert!(fights.0.is_empty());
        assert!(write(&mut fights, "two", later));
    }

    #[test]
    fn what_the_server_refuses_is_tried_ever_less_often() {
        let mut fights = Fights::default();
        let start = Instant::now();
        let mut tries = 0;
        for second in 0..3600 {
            let now = start + Duration::from_secs(second);
            fights.forget(now);
            if fights.may_write("Service shop/ledger", "one", now) {
                tries += 1;
                fights.note_refused("Service shop/ledger", now);
            }
        }
        assert!((20..50).contains(&tries), "{tries}");
        // Something else is wanted by now.
        assert!(fights.may_write("Service shop/ledger", "two", start));
    }

    #[test]
    fn what_the_server_didnt_take_is_no_fight() {
        let mut fights = Fights::default();
        let now = Instant::now();
        for _ in 0..20 {
            assert!(fights.may_write("Service shop/ledger", "one", now));
        }
    }
}
