//! In which order an import's sources are tried.

use std::collections::{BTreeSet, HashMap};

use fabric::api::LoadBalancing;
use fabric::name::ObjectName;
use parking_lot::Mutex;
use rand::seq::SliceRandom;

/// Where each import's next connection goes.
///
/// For round-robin alone, and for this gateway alone: several replicas each take turns by themselves.
#[derive(Debug, Default)]
pub(crate) struct Balance {
    turns: Mutex<HashMap<ObjectName, Turns>>,
}

/// Whose turn it is among an import's sources.
#[derive(Debug, Default)]
struct Turns {
    /// The source that is next, or one that isn't there any more.
    next: usize,
    /// The sources whose last connection couldn't be served. At their turn they are tried, and when
    /// they can't serve again it is the next one's turn, not its and another one as well.
    failing: BTreeSet<usize>,
}

/// The sources of an import in the order in which one connection tries them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Order {
    /// The sources, each once.
    pub sources: Vec<usize>,
    /// The one whose turn it is; none where there are no turns.
    turn: Option<usize>,
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
    ) -> Order {
        // Asked once each: the answers may change meanwhile.
        let (mut down, mut up): (Vec<_>, Vec<_>) = (0..count).partition(|source| is_down(*source));
        match scheme {
            LoadBalancing::Static => {}
            LoadBalancing::Random => {
                up.shuffle(&mut rand::rng());
                down.shuffle(&mut rand::rng());
            }
            LoadBalancing::RoundRobin => {
                let mut turns = self.turns.lock();
                return turns.entry(import.clone()).or_default().take(up, down);
            }
        }
        up.append(&mut down);
        Order {
            sources: up,
            turn: None,
        }
    }

    /// Takes down what came of a connection: which sources couldn't serve it, and which one did.
    pub(crate) fn tried(
        &self,
        import: &ObjectName,
        order: &Order,
        failed: &[usize],
        served: Option<usize>,
    ) {
        let Some(turn) = order.turn else { return };
        let mut turns = self.turns.lock();
        let Some(turns) = turns.get_mut(import) else {
            return;
        };
        turns.failing.extend(failed);
        let Some(served) = served else { return };
        turns.failing.remove(&served);
        // It took the turn of another: the next one's is after its own, if nobody has moved on.
        if served != turn && turns.next == turn + 1 {
            turns.next = served + 1;
        }
    }

    /// Forgets imports that aren't there any more.
    pub(crate) fn keep(&self, is_there: impl Fn(&ObjectName) -> bool) {
        self.turns.lock().retain(|import, _| is_there(import));
    }
}

// === impl Turns ===

impl Turns {
    /// Takes the next turn.
    fn take(&mut self, mut up: Vec<usize>, mut down: Vec<usize>) -> Order {
        for part in [&mut up, &mut down] {
            let first = part.iter().position(|source| *source >= self.next);
            part.rotate_left(first.unwrap_or(0));
        }
        let is_fine = |source: &usize| !self.failing.contains(source);
        // Those that fail and whose turn it would be are tried, in front of whose turn it is.
        let turn = up.iter().position(is_fine).unwrap_or(0);
        let order = |up: Vec<usize>, down: Vec<usize>, turn| Order {
            sources: [up, down].concat(),
            turn,
        };
        let Some(chosen) = up.get(turn).or_else(|| down.first()).copied() else {
            return order(up, down, None);
        };
        self.next = chosen + 1;
        // Behind it, those that fail are no use to whom it can't serve, before all others.
        let rest = up.split_off((turn + 1).min(up.len()));
        let (fine, failing): (Vec<_>, Vec<_>) = rest.into_iter().partition(is_fine);
        up.extend(fine);
        up.extend(failing);
        order(up, down, Some(chosen))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_62_round_robin_takes_strict_turns_and_those_that_are_down_come_last() {
        let (balance, import) = (Balance::default(), "shop/till".parse().unwrap());
        let order = |down: &[usize]| {
            let is_down = |source: usize| down.contains(&source);
            let order = balance.order(&import, LoadBalancing::RoundRobin, 3, is_down);
            order.sources
        };
        assert_eq!(order(&[]), [0, 1, 2]);
        assert_eq!(order(&[]), [1, 2, 0]);
        assert_eq!(order(&[2]), [0, 1, 2]);
        assert_eq!(order(&[2]), [1, 0, 2]);
        assert_eq!(order(&[0]), [2, 1, 0]);
        assert_eq!(order(&[0, 1, 2]), [0, 1, 2]);
        assert_eq!(order(&[0, 1, 2]), [1, 2, 0]);
        assert_eq!(order(&[]), [2, 0, 1]);
    }

    /// Who serves each of so many connections, where `works` says of each source whether it can;
    /// `at_once` of them are under way at a time.
    fn serve(
        balance: &Balance,
        connections: usize,
        at_once: usize,
        works: impl Fn(usize) -> bool,
    ) -> Vec<usize> {
        let import = "shop/till".parse().unwrap();
        let mut served = Vec::new();
        while served.len() < connections {
            let orders: Vec<_> = (0..at_once)
                .map(|_| balance.order(&import, LoadBalancing::RoundRobin, 3, |_| false))
                .collect();
            for order in orders {
                let by = order.sources.iter().position(|source| works(*source));
                let failed = &order.sources[..by.unwrap_or(3)];
                let by = by.map(|at| order.sources[at]);
                balance.tried(&import, &order, failed, by);
                served.extend(by);
            }
        }
        served
    }

    #[test]
    fn row_65_retries_do_not_skew_the_turns() {
        for start in 0..3 {
            let balance = Balance::default();
            serve(&balance, start, 1, |_| true);
            // One denies everything: the others take turns, from the first connection on.
            let served = serve(&balance, 30, 1, |source| source != 0);
            assert!(
                served.windows(2).all(|pair| pair[0] != pair[1]),
                "{served:?}"
            );
            // It is asked at each of its turns, and has them again at once.
            let served = serve(&balance, 30, 1, |_| true);
            let strict = |three: &[usize]| three[0] != three[1] && three[0] != three[2];
            assert!(served.windows(3).skip(1).all(strict), "{served:?}");
        }
        // Also where many connect at once.
        let balance = Balance::default();
        serve(&balance, 7, 7, |source| source != 0);
        let served = serve(&balance, 700, 7, |source| source != 0);
        let ones = served.iter().filter(|source| **source == 1).count();
        assert_eq!(ones.abs_diff(350), 0, "{served:?}");
    }

    #[test]
    fn a_source_that_is_down_leaves_its_share_to_all_the_others() {
        let (balance, import) = (Balance::default(), "shop/till".parse().unwrap());
        for scheme in [LoadBalancing::RoundRobin, LoadBalancing::Random] {
            let mut served = [0_usize; 3];
            for _ in 0..600 {
                let order = balance.order(&import, scheme, 3, |source| source == 0);
                served[order.sources[0]] += 1;
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
            assert_eq!(order.sources, [1, 2, 0]);
        }
    }

    #[test]
    fn random_starts_anywhere_and_tries_each_once() {
        let (balance, import) = (Balance::default(), "shop/till".parse().unwrap());
        let order = |count| {
            let order = balance.order(&import, LoadBalancing::Random, count, |_| false);
            order.sources
        };
        let mut seen = [false; 3];
        for _ in 0..200 {
            let mut order = order(3);
            seen[order[0]] = true;
            order.sort_unstable();
            assert_eq!(order, [0, 1, 2]);
        }
        assert_eq!(seen, [true; 3]);
        assert!(order(0).is_empty());
    }
}
