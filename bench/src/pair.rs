//! Pairs of gateways between the clients and the service.

mod anchor;
mod fabric;
mod weft;

use std::fmt;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep, timeout};

use self::anchor::Anchor;
pub use self::fabric::{Fabric, Size};
use crate::load::exchange;
use crate::process::{Process, clean, run};
use crate::service::Service;
use crate::stage::Stage;

/// How long a pair may take until it carries something.
const PATIENCE: Duration = Duration::from_secs(120);

/// Which pair.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// No gateway: clients connect to the service
    Raw,
    /// Two HAProxy without TLS, which leave the bytes in the kernel
    Splice,
    /// Two HAProxy without TLS, which copy the bytes in and out in blocks of 256 KiB
    Copy,
    /// Two `weft run`
    Weft,
    /// Two HAProxy
    Haproxy,
    /// Two nginx
    Nginx,
    /// Two Envoy as ClusterLink configures them
    EnvoyClusterlink,
    /// Two Envoy that pool their connections by HTTP/2
    EnvoyHttp2,
    /// Two `weft run` with 2,000 imports and 10,000 policies in 100 namespaces
    #[value(skip)]
    WeftLarge,
    /// The same with all of them in one namespace
    #[value(skip)]
    WeftCrowded,
}

/// A running pair.
#[derive(Debug)]
pub struct Pair {
    kind: Kind,
    targets: Vec<SocketAddr>,
    admins: Vec<SocketAddr>,
    processes: Vec<Process>,
}

// === impl Kind ===

impl Kind {
    /// What the program says of its version; an error where it isn't there.
    pub fn version(self, stage: &Stage) -> Result<String> {
        match self {
            Self::Raw => Ok(String::new()),
            Self::Weft | Self::WeftLarge | Self::WeftCrowded => {
                run(clean(stage.binary()).arg("--version"))
            }
            Self::Splice | Self::Copy | Self::Haproxy => run(&mut anchor::haproxy_version()),
            Self::Nginx => run(&mut anchor::nginx_version()),
            Self::EnvoyClusterlink | Self::EnvoyHttp2 => run(&mut anchor::envoy_version(stage)?),
        }
        .map(|text| {
            let line = text.trim().lines().next().unwrap_or_default();
            // Envoy says its own path, and then commit, version and how it was built.
            let version = line.split_once("  version: ");
            let version = version.and_then(|(_, version)| version.split('/').nth(1));
            version.map_or_else(|| line.to_owned(), |version| format!("Envoy {version}"))
        })
    }

    /// Starts such a pair in front of a service, and waits until it carries something.
    ///
    /// `folder` is for its configuration and its logs.
    pub async fn start(self, stage: &Stage, folder: &Path, service: &Service) -> Result<Pair> {
        fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
        let anchor = || Anchor::new(stage, folder, service.address()?);
        let mut pair = match self {
            Self::Raw => Pair {
                kind: self,
                targets: service.addresses().to_vec(),
                admins: Vec::new(),
                processes: Vec::new(),
            },
            Self::Weft | Self::WeftLarge | Self::WeftCrowded => {
                let own = Stage::new(stage.binary(), folder)?;
                let fabric = Fabric::lay_down(&own, service.address()?, self.size())?;
                weft::start(self, &fabric, &own, folder)?
            }
            Self::Splice => anchor()?.splice()?,
            Self::Copy => anchor()?.copy()?,
            Self::Haproxy => anchor()?.haproxy_pair()?,
            Self::Nginx => anchor()?.nginx_pair()?,
            Self::EnvoyClusterlink => anchor()?.envoy_clusterlink()?,
            Self::EnvoyHttp2 => anchor()?.envoy_http2()?,
        };
        pair.wait_until_it_carries().await?;
        Ok(pair)
    }

    /// How much the repository of Weft's peers holds.
    #[must_use]
    pub const fn size(self) -> Size {
        match self {
            Self::WeftLarge => Size::LARGE,
            Self::WeftCrowded => Size::CROWDED,
            _ => Size::ONE,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Raw => "raw",
            Self::Splice => "splice",
            Self::Copy => "copy",
            Self::Weft => "weft",
            Self::Haproxy => "haproxy",
            Self::Nginx => "nginx",
            Self::EnvoyClusterlink => "envoy-clusterlink",
            Self::EnvoyHttp2 => "envoy-http2",
            Self::WeftLarge => "weft-large",
            Self::WeftCrowded => "weft-crowded",
        })
    }
}

// === impl Pair ===

impl Pair {
    /// Starts Weft's peers of a fabric, and waits until they carry something.
    pub async fn of_fabric(
        kind: Kind,
        fabric: &Fabric,
        stage: &Stage,
        folder: &Path,
    ) -> Result<Self> {
        let mut pair = weft::start(kind, fabric, stage, folder)?;
        pair.wait_until_it_carries().await?;
        Ok(pair)
    }

    /// Which pair it is.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// Where clients connect to.
    #[must_use]
    pub fn targets(&self) -> &[SocketAddr] {
        &self.targets
    }

    /// The numbers of its processes, without those that they started.
    #[must_use]
    pub fn processes(&self) -> Vec<u32> {
        self.processes.iter().map(Process::id).collect()
    }

    /// Where its processes answer about themselves, where they do.
    #[must_use]
    pub fn admins(&self) -> &[SocketAddr] {
        &self.admins
    }

    /// Sends a signal to its processes.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.processes
            .iter()
            .try_for_each(|process| process.signal(signal))
    }

    /// What its processes have said since their logs were emptied.
    pub fn logs(&self) -> Result<Vec<String>> {
        let logs = self.processes.iter().map(Process::read_log);
        logs.collect()
    }

    /// Throws away what the processes have said so far, so that the disk doesn't fill.
    pub fn empty_logs(&self) -> Result<()> {
        self.processes.iter().try_for_each(Process::empty_log)
    }

    async fn wait_until_it_carries(&mut self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.processes.iter_mut().try_for_each(Process::check)?;
            let target = *self.targets.first().context("nothing to connect to")?;
            let attempt = timeout(Duration::from_secs(5), exchange(target)).await;
            let failure = match attempt {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(error)) => anyhow::Error::from(error),
                Err(elapsed) => elapsed.into(),
            };
            if Instant::now() >= deadline {
                let words = self.processes.iter().map(Process::last_words);
                let words = words.collect::<Vec<_>>().join("\n");
                return Err(failure.context(format!("{} carries nothing: {words}", self.kind)));
            }
            sleep(Duration::from_millis(20)).await;
        }
    }
}
