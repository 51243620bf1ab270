//! Carry a cluster's traffic.

/// Carry a cluster's traffic
#[derive(Debug, clap::Args)]
pub(crate) struct Gateway {}

impl Gateway {
    /// Runs until it is told to end.
    pub(crate) fn run(self) -> anyhow::Result<u8> {
        anyhow::bail!("not built yet")
    }
}
