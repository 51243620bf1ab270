//! Ports of loopback that nobody has.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::ops::Range;
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::{Context as _, Result};

/// Below those that systems give out by themselves, so that no connection takes one before its
/// owner does.
const PORTS: Range<u16> = 12_000..32_000;

/// Where the search goes on; each process begins elsewhere, so that two benchmarks rarely meet.
static NEXT: AtomicU16 = AtomicU16::new(0);

/// A block of ports one after the other, free at the moment; given out again only after thousands of
/// others.
pub fn free_block(length: u16) -> Result<u16> {
    let count = PORTS.end - PORTS.start;
    let offset = (std::process::id() % u32::from(count)) as u16;
    let mut failure = None;
    for _ in 0..count {
        let step = NEXT.fetch_add(length, Ordering::Relaxed) % count;
        let first = PORTS.start + (offset + step) % count;
        if PORTS.end - first < length {
            continue;
        }
        let held: Result<Vec<_>, _> = (first..first + length)
            .map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)))
            .collect();
        match held {
            Ok(_) => return Ok(first),
            Err(error) => failure = Some(error),
        }
    }
    let failure = failure.unwrap_or_else(|| std::io::ErrorKind::AddrInUse.into());
    Err(failure).with_context(|| format!("no {length} free ports in a row"))
}

/// Addresses of loopback whose ports nobody has at the moment.
pub fn free_addresses<const N: usize>() -> Result<[SocketAddr; N]> {
    let first = free_block(N as u16)?;
    let mut port = first;
    Ok([(); N].map(|()| {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        port += 1;
        address
    }))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// A pair's import once had the port that its own administration was given afterwards.
    #[test]
    fn no_port_is_given_out_twice() {
        let mut given = BTreeSet::new();
        for length in (1..=5).cycle().take(500) {
            let first = free_block(length).unwrap();
            for port in first..first + length {
                assert!(PORTS.contains(&port) && given.insert(port), "{port}");
            }
        }
    }
}
