//! The benchmark itself, on Weft's pair alone and for fractions of a second: it must not rot.
//!
//! Nothing here is about time; that work was done and counted is all that is asked.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking; clippy knows only functions marked as tests"
)]

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use weft_bench::load::{Span, Work};
use weft_bench::pair::Kind;
use weft_bench::rounds::{Plan, Rounds};
use weft_bench::service::Service;
use weft_bench::stage::Stage;
use weft_bench::table;

#[test]
fn every_load_does_work_over_wefts_pair_and_counts_it() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::new(&weft(), folder.path()).unwrap();
    let service = Service::start(1).unwrap();
    let works = [
        Work::Upload(1),
        Work::Download(2),
        Work::Short(1),
        Work::Short(8),
        Work::PingPong(1),
        Work::PingPong(8),
    ];
    let plan = Plan {
        rounds: 1,
        kinds: vec![Kind::Raw, Kind::Weft],
        works: works.to_vec(),
        tunnels: vec![10, 50],
        span: Span {
            warm_up: Duration::from_millis(50),
            measured: Duration::from_millis(250),
        },
        settle: Duration::ZERO,
        commits: (0, Vec::new()),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let run = Rounds::new(&plan, &stage, &service).run();
    let results = runtime.block_on(run).unwrap();

    assert!(results.troubles.is_empty(), "{:?}", results.troubles);
    assert_eq!(results.rounds(), 1);
    for work in works {
        for kind in [Kind::Raw, Kind::Weft] {
            let (_, outcome) = results.outcomes(kind, work).next().unwrap();
            assert!(outcome.units > 0.0, "{kind} {work}: {outcome:?}");
            assert_eq!(outcome.failures, 0, "{kind} {work}: {outcome:?}");
            // A pair that carried something had CPU time; without a pair there is nobody to have any.
            assert_eq!(outcome.cpu > 0.0, kind == Kind::Weft, "{kind} {work}");
            let is_timed = matches!(work, Work::Short(_) | Work::PingPong(_));
            assert_eq!(outcome.median.is_some(), is_timed, "{kind} {work}");
        }
    }
    let tunnels: Vec<_> = results
        .memories
        .iter()
        .flat_map(|memory| &memory.steps)
        .map(|step| (step.tunnels, step.failures))
        .collect();
    assert_eq!(tunnels, [(10, 0), (50, 0)]);
    assert!(
        results
            .memories
            .iter()
            .all(|memory| memory.kind == Kind::Weft)
    );

    let text = table::render(&results);
    for work in works {
        assert!(text.contains(&format!("| {work} | ")), "{text}");
    }
}

/// The binary: what the environment's `WEFT_BIN` names, else one that is built now.
fn weft() -> PathBuf {
    if let Some(path) = env::var_os("WEFT_BIN") {
        return fs::canonicalize(path).unwrap();
    }
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["build", "--package", "weft", "--bin", "weft", "--locked"])
        .args(["--message-format", "json"])
        .current_dir(workspace)
        .output()
        .unwrap();
    assert!(output.status.success(), "the weft binary doesn't build");
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == "weft")
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .unwrap()
}
