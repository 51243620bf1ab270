//! A bound on work whose only product is words.

use std::cell::Cell;

/// How much may still be looked at for the sake of hints and warnings; beyond it they are left out.
///
/// To compare everything that is wrong with everything that is there takes their product, which a
/// repository of another party's can make as large as it likes.
#[derive(Clone, Debug)]
pub(crate) struct Effort {
    steps: usize,
    left: Cell<usize>,
    is_short: Cell<bool>,
}

// === impl Effort ===

impl Effort {
    /// So many steps.
    pub(crate) const fn new(steps: usize) -> Self {
        Self {
            steps,
            left: Cell::new(steps),
            is_short: Cell::new(false),
        }
    }

    /// Takes the steps off what is left; false where there aren't as many.
    pub(crate) fn affords(&self, steps: usize) -> bool {
        match self.left.get().checked_sub(steps) {
            Some(left) => {
                self.left.set(left);
                true
            }
            None => {
                self.is_short.set(true);
                false
            }
        }
    }

    /// How many steps were taken, these before among them; none where there were too few, here or
    /// together.
    pub(crate) fn taken(&self, before: usize) -> Option<usize> {
        let taken = (self.steps - self.left.get()).checked_add(before)?;
        (!self.is_short.get() && taken <= self.steps).then_some(taken)
    }
}

/// Names compared by their letters, a microsecond or two each: a hint for each of 2,000 mistakes
/// in a fabric of 100 peers, and half a second at most.
pub(crate) const NAMES: usize = 200_000;
