//! What a gateway tells of connections, and to whom.

use std::path::PathBuf;

use gateway::{Config, DecisionLog, TraceExport};

/// The options of what a gateway tells of connections.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Decisions and traces")]
pub(crate) struct ObserveArgs {
    /// Where decisions are written, a JSON object per line; `-` is the standard output
    ///
    /// Without it they are part of the log. SIGHUP opens the file anew, after it was moved away.
    #[arg(long, value_name = "FILE")]
    decision_log: Option<PathBuf>,

    /// The receiver of OpenTelemetry traces over HTTP; without it none are made
    ///
    /// A base URL such as `http://collector:4318`, to which `/v1/traces` is added.
    #[arg(
        long,
        value_name = "URL",
        env = "OTEL_EXPORTER_OTLP_ENDPOINT",
        hide_env_values = true
    )]
    otlp_endpoint: Option<String>,

    /// Of how many in a thousand connections a trace begins
    #[arg(
        long,
        value_name = "NUMBER",
        default_value_t = 1000,
        value_parser = clap::value_parser!(u32).range(..=1000)
    )]
    trace_per_mille: u32,
}

// === impl ObserveArgs ===

impl ObserveArgs {
    /// Adds what is said to a gateway's configuration.
    pub(crate) fn apply(&self, config: &mut Config) {
        config.decision_log = match &self.decision_log {
            None => DecisionLog::Events,
            Some(path) if path.as_os_str() == "-" => DecisionLog::Stdout,
            Some(path) => DecisionLog::File(path.clone()),
        };
        let endpoint = self.otlp_endpoint.clone().filter(|url| !url.is_empty());
        config.traces = endpoint.map(|endpoint| TraceExport {
            endpoint,
            per_mille: self.trace_per_mille,
        });
    }
}
