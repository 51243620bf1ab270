//! The arguments as a whole; those of a command stand beside the command.

use clap::{Parser, Subcommand, ValueEnum};

use crate::command;

/// Weft: a fabric of peers that share services, governed by one Git repository.
///
/// A fabric is files in a Git repository: who its peers are, what they export and import, and who
/// may reach what. Weft checks the repository, shows what a change would do, and on each peer puts
/// it in force and carries the traffic through mutually authenticated gateways.
#[derive(Debug, Parser)]
#[command(name = "weft", version, after_long_help = EXAMPLES, disable_help_subcommand = true)]
pub(crate) struct Args {
    /// When to use colours: auto (on a terminal, unless NO_COLOR is set), always or never
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "WHEN",
        hide_possible_values = true,
        default_value = "auto",
        help_heading = "Everywhere"
    )]
    pub(crate) color: Color,

    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "\
Examples:
  A new fabric with its first peer:
    weft init acme && cd acme
    weft create fabric
    weft create peer-cert --name east

  Check what you wrote, and see what it would change:
    weft validate
    weft plan

  Would this connection be allowed, and by which rule?
    weft explain west/shop --label app=till shop/ledger

  Who can reach this service?
    weft who-can shop/ledger

Exit codes:
  0  done, nothing to report
  1  findings: invalid input, or a connection that is denied
  2  wrong usage, or a failure of the world
  3  changes are present (`weft plan --exit-code`)";

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Init(command::init::Init),
    #[command(subcommand)]
    Create(command::create::Create),
    Validate(command::validate::Validate),
    Fmt(command::fmt::Fmt),
    Plan(command::plan::Plan),
    Explain(command::explain::Explain),
    WhoCan(command::who_can::WhoCan),
    Run(Box<command::run::Run>),
    Demo(command::demo::Demo),
    Reconcile(command::reconcile::Reconcile),
    Gateway(command::gateway::Gateway),
    Operator(command::operator::Operator),
    #[command(subcommand)]
    Deploy(command::deploy::Deploy),
    #[command(subcommand)]
    Delete(command::delete::Delete),
    #[command(subcommand)]
    Hook(command::hook::Hook),
    Code(command::code::Code),
    Completions(command::completions::Completions),
}

/// When to use colours.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

impl Color {
    /// Makes the choice count for everything that is printed from now on.
    pub(crate) fn apply(self) {
        let choice = match self {
            Self::Auto => anstream::ColorChoice::Auto,
            Self::Always => anstream::ColorChoice::Always,
            Self::Never => anstream::ColorChoice::Never,
        };
        choice.write_global();
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Args::command().debug_assert();
    }
}
