//! What runs Instances.

use std::net::SocketAddr;

use anyhow::Context as _;
use fabric::api::Duration;
use reconciler::operator::{self, Options};
use reconciler::sync::{self, Handle};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::cluster::{RoleArgs, host_name, run_role};
use crate::log::LogArgs;
use crate::signals::Signals;

/// Run what Instances ask for
///
/// Makes the Deployments of the reconciler and the gateways, the Service in front of these, and their
/// access to the API, for each Instance; repairs what was changed, and takes all of it away with the
/// Instance. Of several such processes one works, and the others wait for its lease.
#[derive(Debug, clap::Args)]
pub(crate) struct Operator {
    /// Where health, readiness and metrics are served
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "[::]:4480")]
    admin: SocketAddr,

    /// How long a process that falls silent still counts as the one that works
    #[arg(long, value_name = "DURATION", default_value = "15s")]
    lease_duration: Duration,

    /// What tells this process from others: the Pod's name
    #[arg(long, value_name = "NAME", env = "POD_NAME", hide = true)]
    name: Option<String>,

    #[command(flatten)]
    role: RoleArgs,

    #[command(flatten)]
    log: LogArgs,
}

impl Operator {
    /// Runs until it is told to end.
    pub(crate) fn run(self) -> anyhow::Result<u8> {
        self.log.install()?;
        run_role(self.serve())
    }

    async fn serve(self) -> anyhow::Result<()> {
        let mut signals = Signals::install().context("cannot listen for signals")?;
        let connection = self.role.connect("operator").await?;
        let name = self.name.clone().unwrap_or_else(host_name);
        let options = Options {
            identity: format!("{name}_{:08x}", rand::random::<u32>()),
            lease: self.lease_duration.get(),
            watch_seconds: self.role.watch_timeout,
        };
        let handle = Handle::new(&connection);
        let listener = TcpListener::bind(self.admin)
            .await
            .with_context(|| format!("cannot listen at {} for the admin port", self.admin))?;
        let cancelled = CancellationToken::new();
        let admin = sync::admin::serve(handle.clone(), listener, cancelled.clone());
        let admin = tokio::spawn(admin);
        tracing::info!(
            server = connection.server,
            identity = options.identity,
            "the operator runs"
        );
        let working = CancellationToken::new();
        let mut work = tokio::spawn(operator::run(connection, options, handle, working.clone()));
        let ended = tokio::select! {
            () = signals.end() => Ok(()),
            ended = &mut work => Err(match ended {
                Ok(()) => anyhow::anyhow!("the operator ended by itself"),
                Err(error) => anyhow::Error::new(error).context("the operator failed"),
            }),
        };
        tracing::info!("the operator ends");
        working.cancel();
        if ended.is_ok() {
            let _ = work.await;
        }
        cancelled.cancel();
        let _ = admin.await;
        ended
    }
}
