//! Run what Instances ask for.

/// Run what Instances ask for
#[derive(Debug, clap::Args)]
pub(crate) struct Operator {}

impl Operator {
    /// Runs until it is told to end.
    pub(crate) fn run(self) -> anyhow::Result<u8> {
        anyhow::bail!("not built yet")
    }
}
