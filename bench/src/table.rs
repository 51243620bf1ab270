//! The results as Markdown.

mod aims;

use std::fmt::Write as _;

use crate::load::{Outcome, Work};
use crate::pair::Kind;
use crate::results::Results;
use crate::statistics::{Spread, digits};
use crate::swap::Swap;

type Figure = fn(&Outcome) -> Option<f64>;

/// All tables of the results.
#[must_use]
pub fn render(results: &Results) -> String {
    [
        place(results),
        aims::render(results),
        floor(results),
        cpu(results),
        ratios(results),
        rates(results),
        latencies(results),
        memory(results),
        swaps(results),
        troubles(results),
    ]
    .concat()
}

/// Where and how it was measured.
fn place(results: &Results) -> String {
    let machine = &results.machine;
    let mut text = format!(
        "\nOn {} x {}, {} GB, Linux {}, with a load average of {:.1} before it began ({}); {} rounds, {} s for \
         each load. Medians over the rounds, in parentheses the least and the greatest.\n",
        machine.processors,
        machine.processor,
        machine.memory,
        machine.kernel,
        machine.load,
        machine.date,
        results.rounds(),
        digits(results.seconds),
    );
    let versions = results.versions.iter();
    let mut versions: Vec<_> = versions
        .filter(|(_, version)| !version.is_empty())
        .map(|(kind, version)| format!("- {kind}: {version}\n"))
        .collect();
    versions.sort();
    if !versions.is_empty() {
        text.push('\n');
    }
    text + &versions.concat()
}

/// What a pair with TLS can't go below: each gateway copies the bytes in and out, and one seals them
/// and the other opens them.
fn floor(results: &Results) -> String {
    let works = works(results).into_iter().filter(Work::is_bulk);
    let columns = [
        "copied",
        "sealed and opened",
        "both",
        "weft",
        "weft beside both",
    ];
    let mut table = Table::new(
        "What carrying a GiB takes at least, in CPU seconds: a pair that only copies, and the cipher",
        "load",
        columns.into_iter().map(str::to_owned),
    );
    for work in works {
        let spread = |kind| results.spread(kind, work, Outcome::cpu_per_unit);
        let cipher = Spread::of(results.ciphers.iter().copied());
        if let (Some(copied), Some(cipher), Some(weft)) =
            (spread(Kind::Copy), cipher, spread(Kind::Weft))
        {
            let both = copied.median + cipher.median;
            let cells = [
                copied.to_string(),
                cipher.to_string(),
                digits(both),
                weft.to_string(),
                digits(weft.median / both),
            ];
            table.row(work.to_string(), cells.into_iter().map(Some));
        }
    }
    table.unless_empty()
}

fn cpu(results: &Results) -> String {
    loads(
        results,
        "CPU seconds of the pair per GiB, per 10,000 connections, per 10,000 round trips",
        &|kind| kind != Kind::Raw,
        &|_, outcome| outcome.cpu_per_unit(),
    )
}

fn rates(results: &Results) -> String {
    loads(
        results,
        "GiB, connections or round trips per second",
        &|_| true,
        &|work, outcome| Some(outcome.rate() * work.operations()),
    )
}

/// A table with a row per load and a column per pair.
fn loads(
    results: &Results,
    title: &str,
    shown: &dyn Fn(Kind) -> bool,
    figure: &dyn Fn(Work, &Outcome) -> Option<f64>,
) -> String {
    let kinds: Vec<_> = results
        .kinds()
        .into_iter()
        .filter(|&kind| shown(kind))
        .collect();
    let works = works(results);
    if works.is_empty() || kinds.is_empty() {
        return String::new();
    }
    let mut table = Table::new(title, "load", kinds.iter().map(ToString::to_string));
    for work in works {
        table.row(
            work.to_string(),
            kinds
                .iter()
                .map(|&kind| results.spread(kind, work, |outcome| figure(work, outcome)))
                .map(|spread| spread.map(|spread| spread.to_string())),
        );
    }
    table.text
}

fn latencies(results: &Results) -> String {
    let works: Vec<_> = works(results)
        .into_iter()
        .filter(|work| matches!(work, Work::Short(_) | Work::PingPong(_)))
        .collect();
    if works.is_empty() {
        return String::new();
    }
    let kinds = results.kinds();
    let mut table = Table::new(
        "Microseconds, half of all / 99 of 100",
        "load",
        kinds.iter().map(ToString::to_string),
    );
    for work in works {
        table.row(
            work.to_string(),
            kinds.iter().map(|&kind| {
                let half = results.spread(kind, work, |outcome| outcome.median)?;
                let most = results.spread(kind, work, |outcome| outcome.p99)?;
                Some(format!("{} / {}", digits(half.median), digits(most.median)))
            }),
        );
    }
    table.text
}

fn memory(results: &Results) -> String {
    let kinds: Vec<_> = results
        .kinds()
        .into_iter()
        .filter(|&kind| results.growth(kind, 0).next().is_some())
        .collect();
    let Some(steps) = results
        .memories
        .iter()
        .map(|memory| memory.steps.len())
        .max()
    else {
        return String::new();
    };
    let mut table = Table::new(
        "KiB of the pair's resident memory",
        "tunnels",
        kinds.iter().map(ToString::to_string),
    );
    table.row(
        "none",
        kinds.iter().map(|&kind| {
            let base = results
                .growth(kind, 0)
                .map(|(_, growth)| growth.base as f64);
            Spread::of(base).map(|spread| spread.to_string())
        }),
    );
    for step in 0..steps {
        let tunnels = wanted(results, step);
        table.row(
            format!("{tunnels}, per tunnel"),
            kinds.iter().map(|&kind| {
                let growth = results.growth(kind, step);
                Spread::of(growth.map(|(_, growth)| growth.per_tunnel()))
                    .map(|spread| spread.to_string())
            }),
        );
    }
    table.text
}

/// Weft beside each other pair, or its larger repositories beside the small one, in the same round.
fn ratios(results: &Results) -> String {
    let others: Vec<_> = results
        .kinds()
        .into_iter()
        .filter(|kind| !matches!(kind, Kind::Raw | Kind::Weft))
        .collect();
    let is_scale = |kind: &Kind| matches!(kind, Kind::WeftLarge | Kind::WeftCrowded);
    let pair = |other: Kind| match is_scale(&other) {
        true => (other, Kind::Weft),
        false => (Kind::Weft, other),
    };
    if others.is_empty() || !results.kinds().contains(&Kind::Weft) {
        return String::new();
    }
    let columns = others.iter().map(|&kind| {
        let (kind, to) = pair(kind);
        format!("{kind} / {to}")
    });
    let mut table = Table::new("Ratios within one round", "what", columns);
    let ratio = |work, figure: Figure| {
        others
            .iter()
            .map(|&other| {
                let (kind, to) = pair(other);
                results.ratio(kind, to, work, figure)
            })
            .map(|spread| spread.map(|spread| spread.to_string()))
            .collect::<Vec<_>>()
    };
    for work in works(results) {
        table.row(format!("CPU, {work}"), ratio(work, Outcome::cpu_per_unit));
    }
    for work in works(results) {
        let median: Figure = |outcome| outcome.median;
        let row = ratio(work, median);
        if row.iter().any(Option::is_some) {
            table.row(format!("median time, {work}"), row);
        }
    }
    for work in works(results) {
        let rate: Figure = |outcome| Some(outcome.rate());
        table.row(format!("rate, {work}"), ratio(work, rate));
    }
    let steps = results
        .memories
        .iter()
        .map(|memory| memory.steps.len())
        .max();
    for step in 0..steps.unwrap_or(0) {
        let ratios = others.iter().map(|&other| {
            let spread = results.growth_ratio(Kind::Weft, other, step)?;
            Some(spread.to_string())
        });
        let tunnels = wanted(results, step);
        table.row(format!("memory per tunnel, {tunnels}"), ratios);
    }
    table.text
}

/// What traffic noticed of commits.
fn swaps(results: &Results) -> String {
    let mut kinds: Vec<_> = results.swaps.iter().map(|swap| swap.kind).collect();
    kinds.dedup();
    if kinds.is_empty() {
        return String::new();
    }
    let mut table = Table::new(
        "Milliseconds, about a commit that changes one policy of each peer under traffic",
        "what",
        kinds.iter().map(ToString::to_string),
    );
    let mut row = |name: &str, figure: &dyn Fn(&Swap) -> Vec<f64>| {
        let values = kinds.iter().map(|&kind| {
            let swaps = results.swaps.iter().filter(|swap| swap.kind == kind);
            Spread::of(swaps.flat_map(figure)).map(|spread| spread.to_string())
        });
        table.row(name, values.collect::<Vec<_>>());
    };
    row("swap of the snapshot in a gateway", &|swap| {
        swap.swaps.clone()
    });
    row("longest round trip meanwhile", &|swap| vec![swap.longest]);
    row("longest round trip without a commit", &|swap| {
        vec![swap.quiet]
    });
    row(
        "from the commit until both peers have it in force",
        &|swap| vec![swap.in_force],
    );
    table.text
}

/// What failed; silence where nothing did.
fn troubles(results: &Results) -> String {
    let mut text = String::new();
    for cell in results
        .cells
        .iter()
        .filter(|cell| cell.outcome.failures > 0)
    {
        let _ = writeln!(
            text,
            "- {} of {}, round {}: {} operations failed",
            cell.work,
            cell.kind,
            cell.round + 1,
            cell.outcome.failures
        );
    }
    for memory in &results.memories {
        for step in memory.steps.iter().filter(|step| step.failures > 0) {
            let _ = writeln!(
                text,
                "- idle tunnels of {}, round {}: {} opened, {} failed",
                memory.kind,
                memory.round + 1,
                step.tunnels,
                step.failures
            );
        }
    }
    for trouble in &results.troubles {
        let trouble = trouble.lines().next().unwrap_or_default();
        let _ = writeln!(text, "- {trouble}");
    }
    match text.is_empty() {
        true => text,
        false => format!("\nWhat went wrong:\n\n{text}"),
    }
}

/// How many tunnels were to be open at a step.
fn wanted(results: &Results, step: usize) -> String {
    let steps = results
        .memories
        .iter()
        .filter_map(|memory| memory.steps.get(step));
    let wanted = steps.map(|growth| growth.tunnels + growth.failures).max();
    digits(wanted.unwrap_or_default() as f64)
}

/// The loads, in the order in which they ran.
fn works(results: &Results) -> Vec<Work> {
    let mut works = Vec::new();
    for cell in &results.cells {
        if !works.contains(&cell.work) {
            works.push(cell.work);
        }
    }
    works
}

pub(super) struct Table {
    text: String,
    is_empty: bool,
}

// === impl Table ===

impl Table {
    fn new(title: &str, first: &str, columns: impl Iterator<Item = String>) -> Self {
        let columns: Vec<_> = columns.collect();
        let head = columns.join(" | ");
        let rule = "---|".repeat(columns.len() + 1);
        Self {
            text: format!("\n{title}:\n\n| {first} | {head} |\n|{rule}\n"),
            is_empty: true,
        }
    }

    fn row(&mut self, name: impl Into<String>, values: impl IntoIterator<Item = Option<String>>) {
        let name = name.into();
        let _ = write!(self.text, "| {name} |");
        for value in values {
            let value = value.unwrap_or_else(|| "-".to_owned());
            let _ = write!(self.text, " {value} |");
        }
        self.text.push('\n');
        self.is_empty = false;
    }

    /// The table; nothing where it has no row.
    fn unless_empty(self) -> String {
        match self.is_empty {
            true => String::new(),
            false => self.text,
        }
    }
}
