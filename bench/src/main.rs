//! Runs the benchmark; see `README.md` beside it.

use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use clap::ValueEnum as _;
use tokio::signal::unix::{SignalKind, signal};
use weft_bench::load::{Span, Work};
use weft_bench::pair::Kind;
use weft_bench::results::Results;
use weft_bench::rounds::{Plan, Rounds};
use weft_bench::service::Service;
use weft_bench::stage::Stage;
use weft_bench::{chapter, descriptors, table};

/// So many tunnels are held open, as far as the limit of open files allows.
const TUNNELS: [u16; 2] = [1_000, 9_000];

/// Without a gateway there are more connections a second than one port has clients' ports for.
const SERVICE_PORTS: usize = 4;

/// In the order in which they run.
const LOADS: [Work; 8] = [
    Work::Upload(1),
    Work::Download(1),
    Work::Upload(8),
    Work::Download(8),
    Work::Short(1),
    Work::Short(64),
    Work::PingPong(1),
    Work::PingPong(64),
];

/// What a larger snapshot could make dearer.
const SCALED: [Work; 4] = [
    Work::Upload(1),
    Work::Short(1),
    Work::Short(64),
    Work::PingPong(64),
];

/// What Weft's gateway costs beside others, on loopback with mutual TLS.
///
/// In each round every load runs on every pair of gateways, one after the other.
#[derive(Debug, Parser)]
struct Arguments {
    /// How often everything is measured
    #[arg(long, default_value_t = 3)]
    rounds: usize,

    /// How long each load is measured
    #[arg(long, default_value_t = 1.5)]
    seconds: f64,

    /// Loads: bulk, up1, up8, down1, down8, short, short1, short64, pingpong, pingpong1, pingpong64, idle
    #[arg(long, value_delimiter = ',', value_name = "WORKLOAD")]
    only: Vec<String>,

    /// Pairs
    #[arg(long, value_delimiter = ',', value_enum, value_name = "PAIR")]
    peers: Vec<Kind>,

    /// Measure instead what 2,000 imports and 10,000 policies cost, and what traffic notices of a
    /// commit to them
    #[arg(long, conflicts_with = "peers")]
    scale: bool,

    /// Also write the tables into this document, where it marks the place for them
    #[arg(long, value_name = "DOCUMENT")]
    write: Option<PathBuf>,

    /// The `weft` binary
    #[arg(long, value_name = "FILE", required_unless_present = "from")]
    weft: Option<PathBuf>,

    /// Measure nothing, and print what was measured before, which --results wrote
    #[arg(long, value_name = "FILE", conflicts_with = "results")]
    from: Option<PathBuf>,

    /// Envoy's binary
    #[arg(long, value_name = "FILE")]
    envoy: Option<PathBuf>,

    /// Keep the folder with configurations and logs
    #[arg(long)]
    keep: bool,

    /// Also write what was measured, as JSON
    #[arg(long, value_name = "FILE")]
    results: Option<PathBuf>,
}

fn main() -> ExitCode {
    match start(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Where nobody reads it the exit code says it.
            let _ = writeln!(io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(arguments: Arguments) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut terminated = signal(SignalKind::terminate())?;
        // The pairs end with this function, however it ends.
        tokio::select! {
            result = run(arguments) => result,
            interrupted = tokio::signal::ctrl_c() => {
                interrupted?;
                bail!("interrupted")
            }
            _ = terminated.recv() => bail!("terminated"),
        }
    })
}

async fn run(arguments: Arguments) -> Result<()> {
    let results = match &arguments.from {
        Some(file) => {
            let text = fs::read_to_string(file);
            let text = text.with_context(|| format!("reading {}", file.display()))?;
            serde_json::from_str(&text).with_context(|| format!("{}", file.display()))?
        }
        None => measure(&arguments).await?,
    };
    if let Some(file) = &arguments.results {
        let text = serde_json::to_string_pretty(&results)?;
        fs::write(file, text).with_context(|| format!("writing {}", file.display()))?;
    }
    let text = table::render(&results);
    if let Some(document) = &arguments.write {
        let place = match arguments.scale {
            true => "--scale --write",
            false => "--write",
        };
        chapter::write(document, place, &text)?;
    }
    write!(io::stdout(), "{text}")?;
    Ok(())
}

async fn measure(arguments: &Arguments) -> Result<Results> {
    let limit = descriptors::raise().context("the limit of open files can't be raised")?;
    let measured = Duration::try_from_secs_f64(arguments.seconds).context("--seconds")?;
    let mut plan = Plan {
        rounds: arguments.rounds,
        kinds: Vec::new(),
        works: Vec::new(),
        tunnels: Vec::new(),
        span: Span {
            warm_up: measured / 4,
            measured,
        },
        settle: Duration::from_secs(3),
        commits: (0, Vec::new()),
    };
    if arguments.scale {
        plan.kinds = vec![Kind::Weft, Kind::WeftLarge, Kind::WeftCrowded];
        plan.commits = (arguments.rounds, vec![Kind::Weft, Kind::WeftLarge]);
    } else {
        plan.kinds = match arguments.peers.as_slice() {
            [] => Kind::value_variants().to_vec(),
            chosen => chosen.to_vec(),
        };
    }
    (plan.works, plan.tunnels) = match (arguments.scale, arguments.only.as_slice()) {
        (true, []) => (SCALED.to_vec(), Vec::new()),
        (false, []) => (LOADS.to_vec(), TUNNELS.to_vec()),
        (_, only) => chosen(only)?,
    };
    plan.tunnels
        .retain(|&tunnels| u64::from(tunnels) <= descriptors::tunnels(limit));
    let weft = arguments.weft.as_deref().context("--weft is missing")?;
    let weft = weft.canonicalize();
    let weft = weft.with_context(|| format!("--weft {:?}", arguments.weft))?;
    let mut folder = tempfile::Builder::new().prefix("weft-bench-").tempdir()?;
    folder.disable_cleanup(arguments.keep);
    let stage = Stage::new(&weft, folder.path())?.with_envoy(arguments.envoy.clone());
    let service = Service::start(SERVICE_PORTS)?;
    Rounds::new(&plan, &stage, &service).run().await
}

/// The loads that `--only` names, and the numbers of idle tunnels.
fn chosen(only: &[String]) -> Result<(Vec<Work>, Vec<u16>)> {
    let (mut works, mut tunnels) = (Vec::new(), Vec::new());
    for name in only {
        if name == "idle" {
            tunnels = TUNNELS.to_vec();
            continue;
        }
        let before = works.len();
        works.extend(LOADS.iter().filter(|work| work.is_called(name)));
        if works.len() == before {
            bail!("--only {name}: there is no such load");
        }
    }
    Ok((works, tunnels))
}
