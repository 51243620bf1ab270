//! The subcommands, one file each.

pub(crate) mod code;
pub(crate) mod completions;
pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod demo;
pub(crate) mod deploy;
pub(crate) mod explain;
pub(crate) mod fmt;
pub(crate) mod gateway;
pub(crate) mod hook;
pub(crate) mod init;
pub(crate) mod operator;
pub(crate) mod plan;
pub(crate) mod reconcile;
pub(crate) mod run;
pub(crate) mod validate;
pub(crate) mod who_can;

use crate::args::Command;

/// Runs a command; the number is the process's exit code.
pub(crate) fn run(command: Command) -> anyhow::Result<u8> {
    match command {
        Command::Init(command) => command.run(),
        Command::Create(command) => command.run(),
        Command::Validate(command) => command.run(),
        Command::Fmt(command) => command.run(),
        Command::Plan(command) => command.run(),
        Command::Explain(command) => command.run(),
        Command::WhoCan(command) => command.run(),
        Command::Run(command) => command.run(),
        Command::Demo(command) => command.run(),
        Command::Reconcile(command) => command.run(),
        Command::Gateway(command) => command.run(),
        Command::Operator(command) => command.run(),
        Command::Deploy(command) => command.run(),
        Command::Delete(command) => command.run(),
        Command::Hook(command) => command.run(),
        Command::Code(command) => command.run(),
        Command::Completions(command) => command.run(),
    }
}
