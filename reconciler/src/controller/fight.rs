//! Objects that somebody else keeps writing otherwise: another installation, or a tool.

use std::collections::BTreeMap;

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
    brake: Brake,
}

// === impl Fights ===

impl Fights {
    /// Whether an object may be written now; not where the same content was undone too often.
    pub(super) fn may_write(&mut self, object: &str, content: &str, now: Instant) -> bool {
        let content = Digest::of_bytes(content.as_bytes());
        let written = self.0.entry(object.to_owned()).or_insert_with(|| Written {
            content,
            is_done: true,
            brake: Brake::default(),
        });
        if written.content != content {
            *written = Written {
                content,
                is_done: true,
                brake: Brake::default(),
            };
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
        }
    }

    /// Forgets what was written long ago.
    pub(super) fn forget(&mut self, now: Instant) {
        self.0.retain(|_, written| !written.brake.is_idle(now));
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
    fn what_the_server_didnt_take_is_no_fight() {
        let mut fights = Fights::default();
        let now = Instant::now();
        for _ in 0..20 {
            assert!(fights.may_write("Service shop/ledger", "one", now));
        }
    }
}
