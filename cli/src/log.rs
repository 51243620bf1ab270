//! Logs of the long-running commands: structured events on the standard error.

use std::io::IsTerminal as _;

use anyhow::Context as _;
use clap::ValueEnum;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

/// The options of logging.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Logs")]
pub(crate) struct LogArgs {
    /// The form of the log: text (a line per event) or json (an object per event)
    #[arg(
        long,
        value_enum,
        value_name = "FORM",
        default_value = "text",
        hide_possible_values = true,
        env = "WEFT_LOG_FORMAT",
        hide_env_values = true
    )]
    log_format: LogFormat,

    /// What is logged: a level, or a list of `target=level`
    ///
    /// Levels are error, warn, info, debug and trace. For example `info,gateway=debug`.
    #[arg(
        long,
        value_name = "FILTER",
        default_value = "info",
        env = "WEFT_LOG",
        hide_env_values = true
    )]
    log: String,
}

/// The form of the log.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormat {
    /// A line of text per event
    Text,
    /// A JSON object per event
    Json,
}

// === impl LogArgs ===

impl LogArgs {
    /// Sends the events of the whole process to the standard error from now on.
    pub(crate) fn install(&self) -> anyhow::Result<()> {
        let filter = EnvFilter::try_new(&self.log)
            .with_context(|| format!("--log {:?} can't be understood", self.log))?;
        let color = match anstream::AutoStream::choice(&std::io::stderr()) {
            anstream::ColorChoice::Never => false,
            anstream::ColorChoice::Always | anstream::ColorChoice::AlwaysAnsi => true,
            anstream::ColorChoice::Auto => std::io::stderr().is_terminal(),
        };
        let builder = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_span_events(FmtSpan::NONE)
            .with_writer(std::io::stderr);
        let installed = match self.log_format {
            LogFormat::Text => builder.with_ansi(color).try_init(),
            LogFormat::Json => builder.json().try_init(),
        };
        installed.map_err(|error| anyhow::anyhow!("cannot install the log: {error}"))
    }
}
