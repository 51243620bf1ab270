//! Remove Weft from a cluster.

/// Remove Weft from a cluster
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Delete {
    /// Remove Weft from a cluster
    Peer(Peer),
}

/// Remove Weft from a cluster
#[derive(Debug, clap::Args)]
pub(crate) struct Peer {}

impl Delete {
    /// Does it.
    pub(crate) fn run(self) -> anyhow::Result<u8> {
        anyhow::bail!("not built yet")
    }
}
