//! The command line of Weft: arguments in, exit code out.
//!
//! Each subcommand is a file of `command`. Results go to the standard output, everything else to
//! the standard error; exit codes are those of `exit`.

mod args;
mod certificate;
mod cluster;
mod command;
mod demo;
mod failure;
mod identity;
mod install;
mod log;
mod observe;
mod output;
mod render;
mod repository;
mod rewrite;
pub mod schema;
mod signals;
mod source;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

use crate::args::Args;

/// What the exit codes mean.
pub mod exit {
    /// Done, and nothing is to be reported.
    pub const DONE: u8 = 0;
    /// Findings: invalid input, or a connection that is denied.
    pub const FINDINGS: u8 = 1;
    /// Wrong usage, or a failure of the world.
    pub const FAILURE: u8 = 2;
    /// Changes are present, where that was asked for.
    pub const CHANGES: u8 = 3;
    /// A gate wants an approval that no commit gives.
    pub const GATE: u8 = 4;
}

/// Runs the command that the arguments name.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args = match Args::try_parse_from(arguments) {
        Ok(args) => args,
        Err(error) => {
            // Help and the version come this way too; a closed pipe is no failure of theirs.
            let _ = error.print();
            return match error.use_stderr() {
                true => ExitCode::from(exit::FAILURE),
                false => ExitCode::from(exit::DONE),
            };
        }
    };
    args.color.apply();
    match command::run(args.command) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            failure::print(&error);
            ExitCode::from(exit::FAILURE)
        }
    }
}
