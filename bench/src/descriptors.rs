//! The limit of open files: each tunnel takes two in each process.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What a process needs beside its tunnels.
const RESERVE: u64 = 1_500;

/// Raises this process's limit, which its children inherit, as far as the system lets it.
pub fn raise() -> Result<u64, rustix::io::Errno> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let limit = Rlimit {
        current: maximum,
        maximum,
    };
    setrlimit(Resource::Nofile, limit)?;
    // None is no limit.
    Ok(maximum.unwrap_or(u64::MAX))
}

/// How many tunnels this process, which has both ends of each, and each gateway can hold.
#[must_use]
pub const fn tunnels(limit: u64) -> u64 {
    limit.saturating_sub(RESERVE) / 2
}
