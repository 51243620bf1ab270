//! What the figures were measured on.

use std::fs;

use serde::{Deserialize, Serialize};

use crate::process::{clean, run};

/// What the figures were measured on.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Machine {
    /// Month and year.
    pub date: String,
    /// The name that the processor gives itself.
    pub processor: String,
    /// How many of it.
    pub processors: usize,
    /// Gigabytes.
    pub memory: u64,
    /// The kernel's version.
    pub kernel: String,
    /// How many processes wanted to run in the minute before the measurement.
    pub load: f64,
}

// === impl Machine ===

impl Machine {
    /// What this machine says of itself; empty where it says nothing.
    #[must_use]
    pub fn of_now() -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let values = |key: &'static str| {
            let lines = cpuinfo.lines().filter(move |line| line.starts_with(key));
            lines.filter_map(|line| Some(line.split_once(':')?.1.trim().to_owned()))
        };
        let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let memory = memory.lines().next().unwrap_or_default();
        let kilobytes = memory.split_whitespace().nth(1);
        let kilobytes = kilobytes.and_then(|text| text.parse::<u64>().ok());
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let load = load.split(' ').next().and_then(|text| text.parse().ok());
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let date = run(clean("date").arg("+%B %Y")).unwrap_or_default();
        Self {
            date: date.trim().to_owned(),
            processor: values("model name").next().unwrap_or_default(),
            processors: values("processor").count(),
            memory: kilobytes.unwrap_or_default() / 1_000_000,
            kernel: kernel.trim().to_owned(),
            load: load.unwrap_or_default(),
        }
    }
}
