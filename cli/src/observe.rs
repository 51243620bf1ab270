//! What a gateway tells of connections, and to whom.

use std::path::PathBuf;

use anyhow::Context as _;
use gateway::{Config, DecisionLog, OtlpEndpoint, TraceExport};

/// The options of what a gateway tells of connections.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Decisions and traces")]
pub(crate) struct ObserveArgs {
    /// Where decisions are written, a JSON object per line; `-` is the standard output
    ///
    /// Without it they are part of the log. SIGHUP opens the file anew, after it was moved away.
    #[arg(
        long,
        value_name = "FILE",
        env = "WEFT_DECISION_LOG",
        hide_env_values = true
    )]
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
        env = "WEFT_TRACE_PER_MILLE",
        hide_env_values = true,
        default_value_t = 1000,
        value_parser = clap::value_parser!(u32).range(..=1000)
    )]
    trace_per_mille: u32,
}

// === impl ObserveArgs ===

impl ObserveArgs {
    /// Adds what is said to a gateway's configuration.
    pub(crate) fn apply(&self, config: &mut Config) -> anyhow::Result<()> {
        // An empty variable is as good as none.
        let log = self.decision_log.as_ref();
        config.decision_log = match log.filter(|path| !path.as_os_str().is_empty()) {
            None => DecisionLog::Events,
            Some(path) if path.as_os_str() == "-" => DecisionLog::Stdout,
            Some(path) => DecisionLog::File(path.clone()),
        };
        let endpoint = self.otlp_endpoint.as_deref().filter(|url| !url.is_empty());
        let endpoint = endpoint.map(str::parse::<OtlpEndpoint>).transpose();
        let endpoint = endpoint.context("--otlp-endpoint (or OTEL_EXPORTER_OTLP_ENDPOINT)")?;
        config.traces = endpoint.map(|endpoint| TraceExport {
            endpoint,
            per_mille: self.trace_per_mille,
        });
        Ok(())
    }
}
