//! What the commands have in common that talk to a cluster: where it is, and how their processes run.

use std::num::NonZero;
use std::path::PathBuf;
use std::{env, io, thread};

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
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    // Without the variable the runtime takes a thread for each processor.
    if env::var_os("TOKIO_WORKER_THREADS").is_none() {
        runtime.worker_threads(workers(thread::available_parallelism()));
    }
    runtime
        .enable_all()
        .thread_name("weft")
        .build()
        .context("cannot start the runtime")?
        .block_on(role)?;
    Ok(crate::exit::DONE)
}

/// How many threads carry traffic: one for every two processors.
///
/// Half of the work is the kernel's, which it does as well beside them; and a thread that is woken
/// for what another one is about to do costs more than it carries (`docs/benchmarks.md`).
fn workers(processors: io::Result<NonZero<usize>>) -> usize {
    processors.map_or(1, NonZero::get).div_ceil(2)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_two_processors_have_a_thread_for_traffic() {
        let workers = |processors| workers(Ok(NonZero::new(processors).unwrap()));
        assert_eq!([1, 2, 3, 4, 16].map(workers), [1, 1, 2, 2, 8]);
        assert_eq!(super::workers(Err(io::ErrorKind::Unsupported.into())), 1);
    }
}
