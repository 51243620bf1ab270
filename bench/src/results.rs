//! What was measured, in all rounds.

use serde::{Deserialize, Serialize};

use crate::load::{Growth, Outcome, Work};
use crate::machine::Machine;
use crate::pair::Kind;
use crate::statistics::Spread;
use crate::swap::Swap;

/// What was measured, in all rounds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Results {
    /// Where it was measured.
    pub machine: Machine,
    /// How long each load was measured, in seconds.
    pub seconds: f64,
    /// Loads, in the order in which they ran.
    pub cells: Vec<Cell>,
    /// What sealing and opening a GiB took, in CPU seconds, round by round.
    #[serde(default)]
    pub ciphers: Vec<f64>,
    /// Idle tunnels.
    pub memories: Vec<Memory>,
    /// Commits that were brought into force under traffic.
    pub swaps: Vec<Swap>,
    /// What could not be measured, and why.
    pub troubles: Vec<String>,
    /// The programs' own words about their versions.
    pub versions: Vec<(Kind, String)>,
}

/// One load on one pair in one round.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Cell {
    /// The round, from 0.
    pub round: usize,
    /// The pair.
    pub kind: Kind,
    /// The load.
    pub work: Work,
    /// What came of it.
    pub outcome: Outcome,
}

/// The memory of one pair in one round.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Memory {
    /// The round, from 0.
    pub round: usize,
    /// The pair.
    pub kind: Kind,
    /// One per step of tunnels.
    pub steps: Vec<Growth>,
}

// === impl Results ===

impl Results {
    /// The pairs that were measured, in the order of the table.
    #[must_use]
    pub fn kinds(&self) -> Vec<Kind> {
        let cells = self.cells.iter().map(|cell| cell.kind);
        let memories = self.memories.iter().map(|memory| memory.kind);
        let mut kinds: Vec<_> = cells.chain(memories).collect();
        kinds.sort_unstable();
        kinds.dedup();
        kinds
    }

    /// How many rounds there were.
    #[must_use]
    pub fn rounds(&self) -> usize {
        let cells = self.cells.iter().map(|cell| cell.round);
        let memories = self.memories.iter().map(|memory| memory.round);
        cells.chain(memories).max().map_or(0, |last| last + 1)
    }

    /// What came of a load on a pair, round by round.
    pub fn outcomes(&self, kind: Kind, work: Work) -> impl Iterator<Item = (usize, &Outcome)> {
        self.cells
            .iter()
            .filter(move |cell| cell.kind == kind && cell.work == work)
            .map(|cell| (cell.round, &cell.outcome))
    }

    /// The spread of something over the rounds.
    pub fn spread(
        &self,
        kind: Kind,
        work: Work,
        figure: impl Fn(&Outcome) -> Option<f64>,
    ) -> Option<Spread> {
        let outcomes = self.outcomes(kind, work);
        Spread::of(outcomes.filter_map(|(_, outcome)| figure(outcome)))
    }

    /// The spread of a ratio of one pair to another, each within one round.
    pub fn ratio(
        &self,
        kind: Kind,
        to: Kind,
        work: Work,
        figure: impl Fn(&Outcome) -> Option<f64>,
    ) -> Option<Spread> {
        Spread::of(self.outcomes(kind, work).filter_map(|(round, outcome)| {
            let mut others = self.outcomes(to, work);
            let (_, other) = others.find(|(other, _)| *other == round)?;
            Some(figure(outcome)? / figure(other)?)
        }))
    }

    /// The memory that a pair took with so many tunnels, round by round.
    pub fn growth(&self, kind: Kind, step: usize) -> impl Iterator<Item = (usize, &Growth)> {
        self.memories
            .iter()
            .filter(move |memory| memory.kind == kind)
            .filter_map(move |memory| Some((memory.round, memory.steps.get(step)?)))
    }

    /// The spread of the ratio of the memory per tunnel.
    #[must_use]
    pub fn growth_ratio(&self, kind: Kind, to: Kind, step: usize) -> Option<Spread> {
        Spread::of(self.growth(kind, step).filter_map(|(round, growth)| {
            let mut others = self.growth(to, step);
            let (_, other) = others.find(|(other, _)| *other == round)?;
            Some(growth.per_tunnel() / other.per_tunnel())
        }))
    }
}

// === impl Outcome ===

impl Outcome {
    /// CPU seconds of the pair per unit of work; none where nothing was done.
    #[must_use]
    pub fn cpu_per_unit(&self) -> Option<f64> {
        (self.units > 0.0).then(|| self.cpu / self.units)
    }

    /// Units of work per second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.units / self.seconds
    }
}
