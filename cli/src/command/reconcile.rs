//! The reconciler of a cluster.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use fabric::api::Duration;
use reconciler::sync::{self, Handle, Options, Webhook};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cluster::{RoleArgs, run_role};
use crate::log::LogArgs;
use crate::signals::{Signal, Signals};
use crate::source::LimitArgs;

/// Keep a cluster to its repository
///
/// Follows the FabricSync of the system namespace: fetches the repository that it names, applies what
/// it holds for this peer, keeps it so, and says in the FabricSync's status how that goes. It also
/// writes the conditions of all objects and makes the Services of Imports. Of several such processes
/// one works, and the others wait for its lease.
///
/// Signals: SIGHUP looks into the repository at once; SIGTERM and SIGINT put down the work.
#[derive(Debug, clap::Args)]
pub(crate) struct Reconcile {
    /// The folder for the Git store; what is in it can be had again
    #[arg(long, value_name = "FOLDER", default_value = "/var/lib/weft")]
    state: PathBuf,

    /// Where health, readiness and metrics are served
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "[::]:4480")]
    admin: SocketAddr,

    /// Where webhooks of the Git host are received; without it none are
    #[arg(long, value_name = "ADDRESS:PORT", requires = "webhook_secret")]
    webhook: Option<SocketAddr>,

    /// The file with the secret that webhooks are signed with
    #[arg(long, value_name = "FILE")]
    webhook_secret: Option<PathBuf>,

    /// Heed FabricSyncs that lead into other clusters by a kubeconfig in a Secret
    #[arg(long)]
    hub: bool,

    /// How long a process that falls silent still counts as the one that works
    #[arg(long, value_name = "DURATION", default_value = "15s")]
    lease_duration: Duration,

    /// What tells this process from others: the Pod's name
    #[arg(long, value_name = "NAME", env = "POD_NAME", hide = true)]
    name: Option<String>,

    #[command(flatten)]
    role: RoleArgs,

    #[command(flatten)]
    limits: LimitArgs,

    #[command(flatten)]
    log: LogArgs,
}

impl Reconcile {
    /// Reconciles until it is told to end.
    pub(crate) fn run(self) -> anyhow::Result<u8> {
        self.log.install()?;
        run_role(self.serve())
    }

    async fn serve(self) -> anyhow::Result<()> {
        let mut signals = Signals::install().context("cannot listen for signals")?;
        let connection = self.role.connect("reconciler").await?;
        std::fs::create_dir_all(&self.state)
            .with_context(|| format!("cannot make the folder {}", self.state.display()))?;
        let name = self.name.clone().unwrap_or_else(crate::cluster::host_name);
        let options = Options {
            directory: self.state.clone(),
            // A Pod's container may start again under the same name while the old one still runs.
            identity: format!("{name}_{:08x}", rand::random::<u32>()),
            lease: self.lease_duration.get(),
            watch_seconds: self.role.watch_timeout,
            limits: self.limits.limits(),
            hub: self.hub,
        };
        let (handle, tasks) = (Handle::new(&connection), TaskTracker::new());
        let cancelled = CancellationToken::new();
        let admin = listen(self.admin, "the admin port").await?;
        let served = sync::admin::serve(handle.clone(), admin, cancelled.clone());
        tasks.spawn(served);
        if let (Some(address), Some(secret)) = (self.webhook, self.webhook_secret.clone()) {
            let listener = listen(address, "webhooks").await?;
            let webhook = Webhook {
                secret,
                handle: handle.clone(),
            };
            tasks.spawn(webhook.serve(listener, cancelled.clone()));
        }
        tracing::info!(
            server = connection.server,
            namespace = connection.namespace,
            identity = options.identity,
            "the reconciler runs"
        );
        let working = CancellationToken::new();
        let work = sync::run(connection, options, handle.clone(), working.clone());
        let mut work = tokio::spawn(work);
        let ended = loop {
            tokio::select! {
                signal = signals.next() => match signal {
                    Signal::Reload => handle.trigger(),
                    Signal::End => break Ok(()),
                },
                ended = &mut work => {
                    break Err(match ended {
                        Ok(()) => anyhow::anyhow!("the reconciler ended by itself"),
                        Err(error) => anyhow::Error::new(error).context("the reconciler failed"),
                    });
                }
            }
        };
        tracing::info!("the reconciler ends");
        working.cancel();
        let finish = async {
            if ended.is_ok() {
                let _ = (&mut work).await;
            }
            cancelled.cancel();
            tasks.close();
            tasks.wait().await;
        };
        tokio::select! {
            () = finish => {}
            () = signals.end() => tracing::warn!("told to end again: ending at once"),
        }
        ended
    }
}

async fn listen(address: SocketAddr, what: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen at {address} for {what}"))
}
