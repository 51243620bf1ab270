//! Runs a command and says what it took: `measure COMMAND [ARGUMENT]...`.
//!
//! Prints the seconds of CPU (of all threads, to a hundredth), the seconds that passed, and the
//! peak of resident memory in MiB (sampled each millisecond from the kernel's own high-water mark).

use std::env;
use std::fs;
use std::io::{self, Write};
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Linux counts CPU time for `/proc` in hundredths of a second.
const TICKS: f64 = 100.0;

fn main() -> io::Result<ExitCode> {
    let mut arguments = env::args_os().skip(1);
    let Some(program) = arguments.next() else {
        return Ok(ExitCode::from(2));
    };
    let start = Instant::now();
    let mut child = Command::new(program)
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let mut peak = 0;
    let status = loop {
        peak = peak.max(high_water_mark(child.id()).unwrap_or(0));
        if let Some(status) = child.try_wait()? {
            break status;
        }
        thread::sleep(Duration::from_millis(1));
    };
    let passed = start.elapsed().as_secs_f64();
    let spent = children_ticks().unwrap_or(f64::NAN) / TICKS;
    writeln!(
        io::stdout(),
        "exit {} cpu {spent:.2} s wall {passed:.3} s peak {:.1} MiB",
        status.code().unwrap_or(-1),
        peak as f64 / 1024.0,
    )?;
    Ok(ExitCode::SUCCESS)
}

/// The most memory that a process has had resident, in KiB.
fn high_water_mark(id: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// What the children that have ended spent of CPU, in ticks.
fn children_ticks() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The name may hold spaces; what follows its parenthesis doesn't.
    let (_, fields) = stat.rsplit_once(") ")?;
    let fields: Vec<f64> = fields.split(' ').filter_map(|f| f.parse().ok()).collect();
    // Without the name, the id and the state's letter: cutime and cstime are fields 16 and 17.
    Some(fields.get(12)? + fields.get(13)?)
}
