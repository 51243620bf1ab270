//! In which order an import's sources are tried.

use std::collections::HashMap;

use fabric::api::LoadBalancing;
use fabric::name::ObjectName;
use parking_lot::Mutex;
use rand::seq::SliceRandom;

/// Where each import's next connection goes.
#[derive(Debug, Default)]
pub(crate) struct Balance {
    /// For round-robin: how many connections there were. Retries don't count.
    turns: Mutex<HashMap<ObjectName, usize>>,
}

// === impl Balance ===

impl Balance {
    /// The sources in the order in which they are tried; those that are down come last.
    pub(crate) fn order(
        &self,
        import: &ObjectName,
        scheme: LoadBalancing,
        count: usize,
        is_down: impl Fn(usize) -> bool,
    ) -> Vec<usize> {
        // Asked once each: the answers may change meanwhile.
        let (mut down, mut up): (Vec<_>, Vec<_>) = (0..count).partition(|source| is_down(*source));
        if scheme == LoadBalancing::Random {
            up.shuffle(&mut rand::rng());
            down.shuffle(&mut rand::rng());
        }
        if scheme == LoadBalancing::RoundRobin && count > 0 {
            let mut turns = self.turns.lock();
            let turn = turns.entry(import.clone()).or_insert(0);
            // Among those that answer, or the one behind a dead one would serve for both.
            for part in [&mut up, &mut down] {
                let step = turn.checked_rem(part.len()).unwrap_or(0);
                part.rotate_left(step);
            }
            *turn = turn.wrapping_add(1);
        }
        up.append(&mut down);
        up
    }

    /// Forgets imports that aren't there any more.
    pub(crate) fn keep(&self, is_there: impl Fn(&ObjectName) -> bool) {
        self.turns.lock().retain(|import, _| is_there(import));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_robin_takes_strict_turns_and_those_that_are_down_come_last() {
        let (balance, import) = (Balance::default(), "shop/till".parse().unwrap());
        let order = |down: &[usize]| {
            balance.order(&import, LoadBalancing::RoundRobin, 3, |source| {
                down.contains(&source)
            })
        };
        assert_eq!(order(&[]), [0, 1, 2]);
        assert_eq!(order(&[]), [1, 2, 0]);
        assert_eq!(order(&[2]), [0, 1, 2]);
        assert_eq!(order(&[2]), [1, 0, 2]);
        assert_eq!(order(&[0]), [1, 2, 0]);
        assert_eq!(order(&[0, 1, 2]), [2, 0, 1]);
    }

    #[test]
    fn a_source_that_is_down_leaves_its_share_to_all_the_others() {
        let (balance, import) = (Balance::default(), "shop/till".parse().unwrap());
        for scheme in [LoadBalancing::RoundRobin, LoadBalancing::Random] {
            let mut served = [0_usize; 3];
            for _ in 0..600 {
                served[balance.order(&import, scheme, 3, |source| source == 0)[0]] += 1;
            }
            assert_eq!(served[0], 0);
            // Half each; without it the second would serve two thirds.
            assert!(
                served[1].abs_diff(served[2]) < 150,
                "{scheme:?}: {served:?}"
            );
        }
    }

    #[test]
    fn static_keeps_the_order_of_the_list() {
        let (balance, import) = (Balance::default(), "shop/till".parse().unwrap());
        for _ in 0..3 {
            let order = balance.order(&import, LoadBalancing::Static, 3, |source| source == 0);
            assert_eq!(order, [1, 2, 0]);
        }
    }

    #[test]
    fn random_starts_anywhere_and_tries_each_once() {
        let (balance, import) = (Balance::default(), "shop/till".parse().unwrap());
        let mut seen = [false; 3];
        for _ in 0..200 {
            let mut order = balance.order(&import, LoadBalancing::Random, 3, |_| false);
            seen[order[0]] = true;
            order.sort_unstable();
            assert_eq!(order, [0, 1, 2]);
        }
        assert_eq!(seen, [true; 3]);
        assert!(
            balance
                .order(&import, LoadBalancing::Random, 0, |_| false)
                .is_empty()
        );
    }
}
