//! The rounds: in each, every load runs on every pair, one pair after the other.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::cipher;
use crate::load::{self, Growth, Span, Work};
use crate::machine::Machine;
use crate::pair::{Kind, Pair};
use crate::results::{Cell, Memory, Results};
use crate::service::Service;
use crate::stage::Stage;
use crate::statistics::digits;
use crate::swap;

/// How long the connections of a load that is over may stay open.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is measured.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How often.
    pub rounds: usize,
    /// The pairs.
    pub kinds: Vec<Kind>,
    /// The loads.
    pub works: Vec<Work>,
    /// The tunnels that are held open, in rising order; none for leaving that out.
    pub tunnels: Vec<u16>,
    /// How long each load is measured.
    pub span: Span,
    /// How long a pair has to give back memory before it is measured.
    pub settle: Duration,
    /// How many commits are brought into force under traffic, and on which of Weft's pairs.
    pub commits: (usize, Vec<Kind>),
}

/// A plan that is carried out.
#[derive(Debug)]
pub struct Rounds<'a> {
    plan: &'a Plan,
    stage: &'a Stage,
    service: &'a Service,
    results: Results,
}

// === impl Rounds ===

impl<'a> Rounds<'a> {
    /// Nothing measured yet.
    #[must_use]
    pub fn new(plan: &'a Plan, stage: &'a Stage, service: &'a Service) -> Self {
        Self {
            plan,
            stage,
            service,
            results: Results {
                machine: Machine::of_now(),
                seconds: plan.span.measured.as_secs_f64(),
                ..Results::default()
            },
        }
    }

    /// Measures everything; what can't be had is left out.
    pub async fn run(mut self) -> Result<Results> {
        let mut kinds = self.available();
        for round in 0..self.plan.rounds {
            say(&format!("round {} of {}", round + 1, self.plan.rounds));
            self.results.ciphers.push(cipher::per_gib()?);
            self.measure_loads(round, &kinds).await?;
            self.measure_memory(round, &kinds).await?;
            // Nobody is always the first.
            let step = usize::from(!kinds.is_empty());
            kinds.rotate_left(step);
        }
        self.measure_swaps().await;
        Ok(self.results)
    }

    fn available(&mut self) -> Vec<Kind> {
        let mut kinds = Vec::new();
        for &kind in &self.plan.kinds {
            match kind.version(self.stage) {
                Ok(version) => {
                    self.results.versions.push((kind, version));
                    kinds.push(kind);
                }
                Err(reason) => {
                    self.trouble(format!("{kind} is left out: {reason:#}"));
                }
            }
        }
        kinds
    }

    /// All loads, each on every pair before the next one, while all pairs run.
    async fn measure_loads(&mut self, round: usize, kinds: &[Kind]) -> Result<()> {
        if self.plan.works.is_empty() {
            return Ok(());
        }
        let mut pairs = Vec::new();
        for &kind in kinds {
            match self.start(kind, &format!("round-{round}")).await {
                Ok(pair) => pairs.push(pair),
                Err(error) => self.trouble(format!("round {}: {error:#}", round + 1)),
            }
        }
        for &work in &self.plan.works {
            let mut line = format!("  {work}:");
            for pair in &pairs {
                let (targets, processes) = (pair.targets(), pair.processes());
                let span = self.plan.span;
                let outcome = load::run(work, span, targets, self.service, &processes).await;
                let outcome = match outcome {
                    Ok(outcome) => outcome,
                    Err(error) => {
                        let (kind, round) = (pair.kind(), round + 1);
                        self.trouble(format!("round {round}: {work} of {kind}: {error:#}"));
                        continue;
                    }
                };
                pair.empty_logs()?;
                let cpu = outcome
                    .cpu_per_unit()
                    .map_or_else(|| "-".to_owned(), digits);
                // A string takes everything.
                let _ = write!(line, " {} {cpu}", pair.kind());
                self.results.cells.push(Cell {
                    round,
                    kind: pair.kind(),
                    work,
                    outcome,
                });
            }
            say(&line);
        }
        Ok(())
    }

    /// Idle tunnels, each pair started anew: what is free in a heap that was large before would hide
    /// what a tunnel takes.
    async fn measure_memory(&mut self, round: usize, kinds: &[Kind]) -> Result<()> {
        if self.plan.tunnels.is_empty() {
            return Ok(());
        }
        let mut line = "  idle:".to_owned();
        for &kind in kinds.iter().filter(|&&kind| kind != Kind::Raw) {
            let steps = match self.idle(kind, round).await {
                Ok(steps) => steps,
                Err(error) => {
                    let round = round + 1;
                    self.trouble(format!("round {round}: tunnels of {kind}: {error:#}"));
                    continue;
                }
            };
            let last = steps.last().map_or(f64::NAN, |step| step.per_tunnel());
            let _ = write!(line, " {kind} {}", digits(last));
            self.results.memories.push(Memory { round, kind, steps });
        }
        say(&line);
        Ok(())
    }

    async fn idle(&self, kind: Kind, round: usize) -> Result<Vec<Growth>> {
        let pair = self.start(kind, &format!("idle-{round}")).await?;
        let (targets, processes) = (pair.targets(), pair.processes());
        let held = load::hold(&self.plan.tunnels, self.plan.settle, targets, &processes).await;
        drop(pair);
        self.service.wait_until_idle(PATIENCE).await?;
        held
    }

    async fn measure_swaps(&mut self) {
        let (times, kinds) = &self.plan.commits;
        for &kind in kinds {
            let folder = self.stage.folder().join(format!("swap-{kind}"));
            let (quiet, stage) = (self.plan.span.measured, self.stage);
            match swap::run(kind, *times, quiet, stage, &folder, self.service).await {
                Ok(swaps) => {
                    for swap in &swaps {
                        say(&format!("  {swap:?}"));
                    }
                    self.results.swaps.extend(swaps);
                }
                Err(error) => self.trouble(format!("commits to {kind}: {error:#}")),
            }
        }
    }

    fn trouble(&mut self, what: String) {
        say(&format!("  ! {what}"));
        self.results.troubles.push(what);
    }

    async fn start(&self, kind: Kind, folder: &str) -> Result<Pair> {
        let folder = self.stage.folder().join(folder).join(kind.to_string());
        let pair = kind.start(self.stage, &folder, self.service).await;
        pair.with_context(|| format!("starting {kind}"))
    }
}

/// Says how far it is, apart from the results.
fn say(line: &str) {
    // Where nobody listens the measurement goes on.
    let _ = writeln!(io::stderr(), "{line}");
}
