use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::args::Args;
use crate::exit;
use crate::output::write_stdout;

/// Print what a shell needs to complete weft's commands
///
/// The script goes to the standard output; put it where your shell looks for completions.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  weft completions bash > ~/.local/share/bash-completion/completions/weft
  weft completions zsh > ~/.zfunc/_weft
  weft completions fish > ~/.config/fish/completions/weft.fish")]
pub(crate) struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    /// Prints the script.
    pub(crate) fn run(&self) -> anyhow::Result<u8> {
        // The generator can't report that it couldn't write, so it writes to memory.
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Args::command(), "weft", &mut script);
        write_stdout(|out| out.write_all(&script))?;
        Ok(exit::DONE)
    }
}
