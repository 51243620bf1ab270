//! One peer in one process: the reconciler and the gateway.

mod git;

use std::net::{IpAddr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;

use anyhow::Context as _;
use fabric::api::Duration;
use fabric::name::PeerName;
use futures::FutureExt as _;
use gateway::{Config, Gateway, StatusProvider};
use reconciler::reconcile::{Options, Reconciler};
use reconciler::store::Local;
use tokio_util::sync::CancellationToken;

use self::git::GitArgs;
use crate::cluster::run_role;
use crate::failure::Hint as _;
use crate::identity::IdentityArgs;
use crate::log::LogArgs;
use crate::observe::ObserveArgs;
use crate::signals::{Signal, Signals};
use crate::source::LimitArgs;

/// Run a peer: keep to the repository, and carry the traffic
///
/// Fetches the repository, brings this peer's part of it into force, and runs the gateway: it
/// listens for other gateways, and for local clients of this peer's imports, and connects to what
/// the peer exports. What was in force last is in force again after a restart, also while the
/// repository can't be reached.
///
/// Signals: SIGHUP looks into the repository at once, reads the certificates again and opens the
/// decision log anew; SIGTERM and SIGINT take nothing new, let what runs come to its end, and end; a
/// second one ends at once.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  weft run --peer east --repo https://git.example.com/acme.git \\
      --cert /etc/weft/cert.pem --key /etc/weft/key.pem --state /var/lib/weft

  Two peers on one machine, from a repository on its disk:
    weft run --peer east --repo ~/acme --cert east/cert.pem --key east/key.pem
    weft run --peer west --repo ~/acme --cert west/cert.pem --key west/key.pem \\
        --listen 127.0.0.1:5443 --admin 127.0.0.1:5480

  While a certificate is being replaced; the one that is committed is shown:
    weft run --peer east --repo ~/acme --cert old/cert.pem --key old/key.pem \\
        --cert new/cert.pem --key new/key.pem")]
pub(crate) struct Run {
    /// The peer's name: its directory in the repository's peers/
    #[arg(long, value_name = "NAME", value_parser = peer_name)]
    peer: PeerName,

    #[command(flatten)]
    identity: IdentityArgs,

    /// Where other gateways connect to
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "[::]:4443")]
    listen: SocketAddr,

    /// The address at which imports listen, each at its own port
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    import_address: IpAddr,

    /// Where health, readiness, metrics and what is in force are served
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:4480")]
    admin: SocketAddr,

    /// The folder for what is in force
    ///
    /// One peer, one folder. Where it isn't given it is `$XDG_STATE_HOME/weft/NAME`, or else
    /// `~/.local/state/weft/NAME`.
    #[arg(long, value_name = "FOLDER")]
    state: Option<PathBuf>,

    /// How long to wait for open connections when the peer ends; then they are cut
    // Kubernetes and systemd kill what hasn't ended after 30 or 90 seconds.
    #[arg(long, value_name = "DURATION", default_value = "20s")]
    drain: Duration,

    #[command(flatten)]
    git: GitArgs,

    #[command(flatten)]
    limits: LimitArgs,

    #[command(flatten)]
    observe: ObserveArgs,

    #[command(flatten)]
    log: LogArgs,
}

impl Run {
    /// Runs the peer until it is told to end.
    pub(crate) fn run(self) -> anyhow::Result<u8> {
        self.log.install()?;
        run_role(self.serve())
    }

    async fn serve(self) -> anyhow::Result<()> {
        // Before all else: a signal that comes while things start counts too.
        let mut signals = Signals::install().context("cannot listen for signals")?;
        let config = self.config()?;
        let state = self.state_folder()?;
        let store = Local::open(&state, &self.peer)
            .with_context(|| format!("cannot open the state in {}", state.display()))?;
        let mut options = Options::new(self.peer.clone(), self.git.remote(), store.git_directory());
        options.interval = self.git.interval();
        options.limits = self.limits.limits();
        let reconciler = Reconciler::new(options, store.clone())?;

        let trigger = reconciler.trigger();
        let status = reconciler.status();
        let provider: StatusProvider =
            Arc::new(move || serde_json::to_value(&*status.borrow()).unwrap_or_default());
        let gateway = Gateway::start(config, store.snapshots(), Some(provider))
            .await
            .context("cannot start the gateway")?;
        tracing::info!(
            peer = %self.peer,
            listen = %gateway.listen_addr(),
            admin = %gateway.admin_addr(),
            repository = %self.git.repository(),
            "the peer runs"
        );

        let cancelled = CancellationToken::new();
        // On this thread, which carries no traffic: putting thousands of objects together takes a while.
        let reconciling = AssertUnwindSafe(reconciler.run(cancelled.clone())).catch_unwind();
        let mut reconciling = pin!(reconciling);
        let ended = loop {
            tokio::select! {
                signal = signals.next() => match signal {
                    Signal::Reload => {
                        tracing::info!("reading the certificates and the repository again");
                        gateway.reload();
                        trigger.fire();
                    }
                    Signal::End => break Ok(()),
                },
                ended = &mut reconciling => {
                    break Err(match ended {
                        Ok(()) => anyhow::anyhow!("the reconciler ended by itself"),
                        // Why was told where it happened.
                        Err(_) => anyhow::anyhow!("the reconciler panicked"),
                    });
                }
            }
        };
        tracing::info!("the peer ends; what runs may come to its end");
        cancelled.cancel();
        let was_asked = ended.is_ok();
        let reconciled = async {
            if was_asked {
                // It has nothing to tell.
                let _ = reconciling.await;
            }
        };
        let finish = async { tokio::join!(gateway.drain(self.drain.get()), reconciled) };
        tokio::select! {
            _ = finish => {}
            () = signals.end() => tracing::warn!("told to end again: ending at once"),
        }
        ended
    }

    fn config(&self) -> anyhow::Result<Config> {
        let mut config = Config::new(self.identity.files()?);
        config.listen = self.listen;
        config.import_address = self.import_address;
        config.admin = self.admin;
        self.observe.apply(&mut config)?;
        Ok(config)
    }

    fn state_folder(&self) -> anyhow::Result<PathBuf> {
        if let Some(state) = &self.state {
            return Ok(state.clone());
        }
        let variable = |name| {
            let path = std::env::var_os(name).map(PathBuf::from);
            path.filter(|path| path.is_absolute())
        };
        let base = variable("XDG_STATE_HOME")
            .or_else(|| variable("HOME").map(|home| home.join(".local/state")))
            .context("there is no folder for the state: neither XDG_STATE_HOME nor HOME is set")
            .hint(|| "name one with --state".to_owned())?;
        Ok(base.join("weft").join(self.peer.as_str()))
    }
}

fn peer_name(text: &str) -> Result<PeerName, String> {
    text.parse()
        .map_err(|error| format!("it can't be a peer's name: {error}"))
}
