//! Install Weft in a cluster.

/// Install Weft in a cluster
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Deploy {
    /// Install Weft in a cluster
    Peer(Peer),
}

/// Install Weft in a cluster
#[derive(Debug, clap::Args)]
pub(crate) struct Peer {}

impl Deploy {
    /// Does it.
    pub(crate) fn run(self) -> anyhow::Result<u8> {
        anyhow::bail!("not built yet")
    }
}
