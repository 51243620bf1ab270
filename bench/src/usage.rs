//! What processes have used: CPU time and resident memory, their children included.

use std::collections::BTreeMap;
use std::fs;

/// The CPU time that each thread of some processes has had, in nanoseconds.
///
/// The kernel's count per thread is exact to the nanosecond, where that per process is in hundredths of
/// a second; the price is that the last moments of a thread that ends aren't seen.
#[derive(Clone, Debug, Default)]
pub struct CpuTime(BTreeMap<(u32, u32), u64>);

// === impl CpuTime ===

impl CpuTime {
    /// The time that processes and all their children have had so far.
    #[must_use]
    pub fn of(processes: &[u32]) -> Self {
        let threads = tree(processes).into_iter().flat_map(|process| {
            let threads = numbers_in(&format!("/proc/{process}/task"));
            threads.into_iter().map(move |thread| (process, thread))
        });
        Self(
            threads
                .filter_map(|(process, thread)| {
                    let path = format!("/proc/{process}/task/{thread}/schedstat");
                    let text = fs::read_to_string(path).ok()?;
                    let time = text.split(' ').next()?.parse().ok()?;
                    Some(((process, thread), time))
                })
                .collect(),
        )
    }

    /// The seconds between an earlier moment and this one.
    #[must_use]
    pub fn seconds_since(&self, earlier: &Self) -> f64 {
        let nanoseconds: u64 = self
            .0
            .iter()
            .map(|(thread, time)| time.saturating_sub(*earlier.0.get(thread).unwrap_or(&0)))
            .sum();
        nanoseconds as f64 / 1e9
    }
}

/// The resident memory of processes and all their children, in KiB.
#[must_use]
pub fn resident(processes: &[u32]) -> u64 {
    tree(processes)
        .into_iter()
        .filter_map(|process| {
            let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
            let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
            line.split_whitespace().nth(1)?.parse::<u64>().ok()
        })
        .sum()
}

/// Processes and all that they started.
fn tree(processes: &[u32]) -> Vec<u32> {
    let mut found = processes.to_vec();
    let mut next = 0;
    while let Some(&process) = found.get(next) {
        for thread in numbers_in(&format!("/proc/{process}/task")) {
            let path = format!("/proc/{process}/task/{thread}/children");
            let children = fs::read_to_string(path).unwrap_or_default();
            let children = children
                .split_whitespace()
                .filter_map(|id| id.parse::<u32>().ok());
            found.extend(children);
        }
        next += 1;
    }
    found
}

fn numbers_in(folder: &str) -> Vec<u32> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect()
}
