//! Keep a cluster to its repository.

/// Keep a cluster to its repository
#[derive(Debug, clap::Args)]
pub(crate) struct Reconcile {}

impl Reconcile {
    /// Runs until it is told to end.
    pub(crate) fn run(self) -> anyhow::Result<u8> {
        anyhow::bail!("not built yet")
    }
}
