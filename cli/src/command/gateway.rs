//! The gateway of a cluster.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration as StdDuration, SystemTime};

use anyhow::{Context as _, bail};
use fabric::api::{Duration, check_label_key, check_label_value};
use fabric::attributes::Labels;
use fabric::name::PeerName;
use gateway::Config;
use reconciler::cluster::{Options, Reporter, follow};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cluster::{RoleArgs, host_name, run_role};
use crate::identity::IdentityArgs;
use crate::log::LogArgs;
use crate::observe::ObserveArgs;
use crate::signals::{Signal, Signals};

/// How often the files of the certificate are looked at: a Secret that was replaced shows there.
const LOOK: StdDuration = StdDuration::from_secs(1);
/// The largest certificate file: a chain of a dozen RSA certificates fits.
const MAX_CERTIFICATE: u64 = 256 * 1024;

/// Run the gateway of a cluster
///
/// Follows what is in force in the cluster, listens for other gateways and for clients of the
/// cluster's imports, and connects to what the cluster exports. It writes nothing but a report of its
/// own. While the API server is away it goes on with what it knows, also over a restart.
///
/// Signals: SIGHUP reads the certificate again, and opens the decision log anew; SIGTERM and SIGINT
/// take nothing new, let what runs come to its end, and end; a second one ends at once.
#[derive(Debug, clap::Args)]
pub(crate) struct Gateway {
    #[command(flatten)]
    identity: IdentityArgs,

    /// The fabric's CA certificates, for a cluster without a FabricSync
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,

    /// A label of this peer, for a cluster without a FabricSync; may be given several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = label)]
    peer_label: Vec<(String, String)>,

    /// Where other gateways connect to
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "[::]:4443")]
    listen: SocketAddr,

    /// The address at which imports listen, each at its own port
    #[arg(long, value_name = "ADDRESS", default_value = "::")]
    import_address: IpAddr,

    /// Where health, readiness, metrics and what is in force are served
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "[::]:4480")]
    admin: SocketAddr,

    /// The folder for what is in force; without it a restart waits for the API server
    #[arg(long, value_name = "FOLDER")]
    state: Option<PathBuf>,

    /// The name of the gateway's report: the Pod's
    #[arg(long, value_name = "NAME", env = "POD_NAME", hide_env_values = true)]
    name: Option<String>,

    /// The uid of the Pod, with which the report goes away
    #[arg(long, value_name = "UID", env = "POD_UID", hide = true)]
    pod_uid: Option<String>,

    /// How long to wait for open connections when the gateway ends; then they are cut
    #[arg(long, value_name = "DURATION", default_value = "20s")]
    drain: Duration,

    #[command(flatten)]
    role: RoleArgs,

    #[command(flatten)]
    observe: ObserveArgs,

    #[command(flatten)]
    log: LogArgs,
}

impl Gateway {
    /// Runs the gateway until it is told to end.
    pub(crate) fn run(self) -> anyhow::Result<u8> {
        self.log.install()?;
        run_role(self.serve())
    }

    async fn serve(self) -> anyhow::Result<()> {
        let mut signals = Signals::install().context("cannot listen for signals")?;
        let mut config = self.config()?;
        let peer = self.peer()?;
        let connection = self.role.connect("gateway").await?;
        let options = Options {
            namespace: connection.namespace.clone(),
            peer: peer.clone(),
            state: self.state.clone(),
            authorities: self.ca.clone(),
            labels: self.peer_label.iter().cloned().collect::<Labels>(),
            watch_seconds: self.role.watch_timeout,
        };
        let (tasks, cancelled) = (TaskTracker::new(), CancellationToken::new());
        let following = follow(&connection, options, &tasks, &cancelled)
            .context("cannot open the state of the gateway")?;
        config.cluster = Some(following.cluster.clone());
        let gateway = gateway::Gateway::start(config, following.snapshots.clone(), None)
            .await
            .context("cannot start the gateway")?;
        let gateway = Arc::new(gateway);
        let name = self.name.clone().unwrap_or_else(host_name);
        tracing::info!(
            %peer,
            listen = %gateway.listen_addr(),
            admin = %gateway.admin_addr(),
            server = connection.server,
            namespace = connection.namespace,
            name,
            "the gateway runs"
        );
        let pod = self.pod_uid.clone().filter(|uid| !uid.is_empty());
        let reporter = Reporter::new(&connection, &connection.namespace, &name, pod);
        let reporting = CancellationToken::new();
        let reports = tokio::spawn({
            let (gateway, ignored) = (Arc::clone(&gateway), following.ignored.clone());
            let report = move || {
                let mut report = gateway.report();
                report.ignored.clone_from(&ignored.borrow());
                report
            };
            reporter.run(report, reporting.clone())
        });

        let mut files = Files::new(&self);
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                signal = signals.next() => match signal {
                    Signal::Reload => gateway.reload(),
                    Signal::End => break,
                },
                _ = look.tick() => {
                    if files.have_changed() {
                        tracing::info!("the certificate's files changed");
                        gateway.reload();
                    }
                }
            }
        }
        tracing::info!("the gateway ends; what runs may come to its end");
        reporting.cancel();
        let finish = async {
            // The report goes first, so that nobody counts on what goes away.
            let _ = reports.await;
            if let Some(gateway) = Arc::into_inner(gateway) {
                gateway.drain(self.drain.get()).await;
            }
            cancelled.cancel();
            tasks.close();
            tasks.wait().await;
        };
        tokio::select! {
            () = finish => {}
            () = signals.end() => tracing::warn!("told to end again: ending at once"),
        }
        Ok(())
    }

    fn config(&self) -> anyhow::Result<Config> {
        let mut config = Config::new(self.identity.files()?);
        config.listen = self.listen;
        config.import_address = self.import_address;
        config.admin = self.admin;
        self.observe.apply(&mut config)?;
        Ok(config)
    }

    /// The peer that the first certificate names.
    fn peer(&self) -> anyhow::Result<PeerName> {
        let Some(path) = self.identity.cert.first() else {
            bail!("no certificate is given");
        };
        let read = || -> anyhow::Result<PeerName> {
            let bytes = read_bounded(path)?;
            let file = fabric::identity::read(&bytes);
            let leaf = file.certificates.iter().find(|facts| !facts.is_authority);
            let leaf = leaf.context("there is no certificate of a peer in it")?;
            let name = leaf.dns_names.first();
            let name = name.context("the certificate carries no DNS name")?;
            let name = name.to_ascii_lowercase();
            name.parse()
                .map_err(|error| anyhow::anyhow!("{name:?} can't be a peer's name: {error}"))
        };
        read().with_context(|| format!("cannot tell the peer from {}", path.display()))
    }
}

/// The files whose change means another certificate.
struct Files {
    paths: Vec<PathBuf>,
    seen: Vec<Option<SystemTime>>,
}

// === impl Files ===

impl Files {
    fn new(gateway: &Gateway) -> Self {
        let mut files = Self {
            paths: [gateway.identity.cert.clone(), gateway.identity.key.clone()].concat(),
            seen: Vec::new(),
        };
        files.seen = files.look();
        files
    }

    fn have_changed(&mut self) -> bool {
        let now = self.look();
        std::mem::replace(&mut self.seen, now.clone()) != now
    }

    /// A Secret's volume changes by a link that leads elsewhere: the file behind it has another time.
    fn look(&self) -> Vec<Option<SystemTime>> {
        let modified = |path: &PathBuf| path.metadata().ok()?.modified().ok();
        self.paths.iter().map(modified).collect()
    }
}

fn read_bounded(path: &Path) -> anyhow::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path)?;
    file.take(MAX_CERTIFICATE).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("a label is written KEY=VALUE")?;
    check_label_key(key).map_err(|error| format!("{key:?} is no label key: {error}"))?;
    check_label_value(value).map_err(|error| format!("{value:?} is no label value: {error}"))?;
    Ok((key.to_owned(), value.to_owned()))
}
