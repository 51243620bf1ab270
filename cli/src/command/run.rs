/// Run a peer
#[derive(Debug, clap::Args)]
pub(crate) struct Run {
    #[command(flatten)]
    log: crate::log::LogArgs,
}

impl Run {
    /// Runs the peer.
    pub(crate) fn run(self) -> anyhow::Result<u8> {
        self.log.install()?;
        anyhow::bail!("the reconciler isn't wired yet")
    }
}
