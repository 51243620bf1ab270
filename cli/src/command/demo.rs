use std::path::PathBuf;

use anyhow::Context as _;

use crate::{demo, exit};

/// Show on this machine what Weft does: two peers, one repository, real traffic
///
/// Lays down a fabric repository with two peers and real certificates, starts both peers as
/// processes of their own, and a small HTTP service on one side. Then commits change who may talk:
/// a request is allowed, a commit denies it, `git revert` brings it back, and a commit with a
/// mistake is refused while traffic goes on. Everything is on loopback, and is removed at the end.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  weft demo
  weft demo --keep             # stays up, for commits of your own
  weft demo --path ./look      # leaves the repository, the keys and the logs there")]
pub(crate) struct Demo {
    /// Stay up at the end, until Ctrl-C
    #[arg(long)]
    keep: bool,

    /// The folder for the repository, the keys, the state and the logs
    ///
    /// It is created, and it stays. Without it they are in a temporary folder that goes at the end.
    #[arg(long, value_name = "FOLDER")]
    path: Option<PathBuf>,
}

impl Demo {
    /// Runs the demo.
    pub(crate) fn run(self) -> anyhow::Result<u8> {
        let options = demo::Options {
            keep: self.keep,
            directory: self.path,
        };
        tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .context("cannot start the runtime")?
            .block_on(demo::run(options))?;
        Ok(exit::DONE)
    }
}
