//! The binary `weft`: every role and every tool of a fabric is a subcommand of it.

use std::process::ExitCode;

fn main() -> ExitCode {
    weft::main(std::env::args_os())
}
