//! What Weft aims at beside the others, and whether it is reached.

use super::{Figure, Table};
use crate::load::{Outcome, Work};
use crate::pair::Kind;
use crate::results::Results;
use crate::statistics::{Spread, digits};

const BULK: [Work; 4] = [
    Work::Upload(1),
    Work::Download(1),
    Work::Upload(8),
    Work::Download(8),
];
const SHORT: [Work; 2] = [Work::Short(1), Work::Short(64)];
const PING_PONG: [Work; 1] = [Work::PingPong(64)];

/// KiB of both gateways for a tunnel that says nothing.
const IDLE: f64 = 8.0;

/// An aim: a figure of Weft's is at most so many times that of another.
struct Aim {
    what: &'static str,
    works: &'static [Work],
    figure: Figure,
    beside: Kind,
    at_most: f64,
}

/// Issue 5's aims; where Weft loses is said as plainly as where it wins.
const AIMS: [Aim; 9] = [
    aim("CPU", &BULK, Kind::EnvoyClusterlink, 0.60),
    aim("CPU", &BULK, Kind::Haproxy, 0.46),
    aim("CPU", &SHORT, Kind::EnvoyClusterlink, 0.18),
    aim("CPU", &SHORT, Kind::EnvoyHttp2, 0.64),
    aim("CPU", &SHORT, Kind::Splice, 1.0),
    Aim {
        what: "median time",
        works: &[Work::Short(1)],
        figure: |outcome| outcome.median,
        beside: Kind::EnvoyClusterlink,
        at_most: 0.20,
    },
    aim("CPU", &PING_PONG, Kind::EnvoyClusterlink, 0.53),
    aim("CPU", &PING_PONG, Kind::EnvoyHttp2, 0.95),
    // The floor of a pair with TLS, where one without it takes 0.65 s per GiB.
    aim("CPU", &BULK, Kind::Splice, 1.31),
];

const fn aim(what: &'static str, works: &'static [Work], beside: Kind, at_most: f64) -> Aim {
    Aim {
        what,
        works,
        figure: Outcome::cpu_per_unit,
        beside,
        at_most,
    }
}

/// A row for each aim that was measured.
pub(super) fn render(results: &Results) -> String {
    let columns = ["at most", "measured", "reached"];
    let mut table = Table::new(
        "The aims, as ratios within one round",
        "Weft's figure",
        columns.into_iter().map(str::to_owned),
    );
    let mut row = |what: String, at_most: f64, measured: Option<Spread>, is_whole: bool| {
        let Some(measured) = measured else { return };
        let is_reached = match measured.median <= at_most && is_whole {
            true => "yes",
            false => "**no**",
        };
        let cells = [digits(at_most), measured.to_string(), is_reached.to_owned()];
        table.row(what, cells.into_iter().map(Some));
    };
    for aim in &AIMS {
        for &work in aim.works {
            let measured = results.ratio(Kind::Weft, aim.beside, work, aim.figure);
            let what = format!("{}, {work}, beside {}", aim.what, aim.beside);
            row(what, aim.at_most, measured, true);
        }
    }
    let last = results
        .memories
        .iter()
        .map(|memory| memory.steps.len())
        .max();
    if let Some(step) = last.and_then(|steps| steps.checked_sub(1)) {
        // Where not all could be opened, what the others take says little.
        let is_whole = results
            .growth(Kind::Weft, step)
            .all(|(_, growth)| growth.failures == 0);
        let growth = results.growth(Kind::Weft, step);
        let measured = Spread::of(growth.map(|(_, growth)| growth.per_tunnel()));
        row(
            "KiB for each idle tunnel".to_owned(),
            IDLE,
            measured,
            is_whole,
        );
    }
    table.unless_empty()
}
