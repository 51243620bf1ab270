//! What the commands have in common that talk to a cluster: where it is, and how their processes run.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use reconciler::kubernetes::cache::WATCH_SECONDS;
use reconciler::kubernetes::client::{Access, ConnectError, Connection, connect, reach};
use rustix::process::{Resource, getrlimit, setrlimit};

use crate::failure::Hint as _;

/// Where the cluster is.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Cluster")]
pub(crate) struct ClusterArgs {
    /// The kubeconfig; without it `KUBECONFIG`, the usual file, or the cluster that this runs in
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,

    /// The context in the kubeconfig; without it the current one
    #[arg(long, value_name = "NAME")]
    pub(crate) context: Option<String>,
}

/// Where the cluster is, for a role that runs in it.
#[derive(Debug, clap::Args)]
pub(crate) struct RoleArgs {
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,

    /// The system namespace; without it that of the Pod or of the context
    #[arg(
        long,
        value_name = "NAMESPACE",
        env = "WEFT_NAMESPACE",
        hide_env_values = true,
        help_heading = "Cluster"
    )]
    pub(crate) namespace: Option<String>,

    /// How long one watch lasts, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = WATCH_SECONDS, hide = true)]
    pub(crate) watch_timeout: u32,
}

// === impl ClusterArgs ===

impl ClusterArgs {
    /// Sets up the connection; nothing is sent yet.
    pub(crate) async fn connect(&self, role: &str) -> anyhow::Result<Connection> {
        let access = Access {
            kubeconfig: self.kubeconfig.clone(),
            context: self.context.clone(),
            // The roles' loops send again what calls for it, each in its own time.
            retries: matches!(role, "deploy" | "delete"),
        };
        told(connect(&access, role).await)
    }

    /// Sets up the connection, and sees that the server is there.
    pub(crate) async fn reach(&self, role: &str) -> anyhow::Result<Connection> {
        let connection = self.connect(role).await?;
        told(reach(&connection).await)?;
        Ok(connection)
    }
}

fn told<T>(result: Result<T, ConnectError>) -> anyhow::Result<T> {
    result
        .context("cannot connect to the cluster")
        .hint(|| "name one with --kubeconfig and --context".to_owned())
}

// === impl RoleArgs ===

impl RoleArgs {
    /// Sets up the connection, in the system namespace.
    pub(crate) async fn connect(&self, role: &str) -> anyhow::Result<Connection> {
        let mut connection = self.cluster.connect(role).await?;
        if let Some(namespace) = &self.namespace {
            connection.namespace.clone_from(namespace);
        }
        Ok(connection)
    }
}

/// Chooses the cryptography of the process, once.
pub(crate) fn install_cryptography() -> anyhow::Result<()> {
    if rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .is_err()
    {
        bail!("another provider of cryptography is installed already");
    }
    Ok(())
}

/// Runs a role on a runtime of its own, until it ends.
pub(crate) fn run_role(role: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<u8> {
    install_cryptography()?;
    open_more();
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("weft")
        .build()
        .context("cannot start the runtime")?
        .block_on(role)?;
    Ok(crate::exit::DONE)
}

/// Lets the process open as many descriptors as it may: the limit at the start is there for
/// programs that wait by `select`, and each connection costs one.
fn open_more() {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        // Where that is forbidden, it goes on with what there is.
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::debug!(%error, "the limit of descriptors can't be raised");
        }
    }
}

/// The name of the machine, which in a Pod is the Pod's.
pub(crate) fn host_name() -> String {
    let name = rustix::system::uname();
    name.nodename().to_string_lossy().into_owned()
}
