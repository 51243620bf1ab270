//! Installs Weft in a cluster.

mod objects;
mod options;

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::slice;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde_json::Value;

use self::objects::Installation;
use self::options::{DryRun, Options, Start};
use crate::cluster::ClusterArgs;
use crate::failure::Hint as _;
use crate::install;
use crate::output::{print, tell};

/// The namespace that is made where nobody names another one.
pub(crate) const SYSTEM: &str = "clusterlink-system";
/// Workloads that aren't ready by then have another reason than slowness.
const READY: Duration = Duration::from_secs(180);

/// Install Weft in a cluster
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Deploy {
    Peer(Peer),
}

/// Install Weft in a cluster, as one peer of the fabric
///
/// Installs the definitions of the kinds, the operator, the peer's certificate, and the Instance by
/// which the operator makes the rest. What is there already is brought to this version and these
/// flags: an option of the Instance that isn't given goes back to its default.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  The cluster of the current context becomes the peer east, which keeps to a repository:
    weft deploy peer --name east --repo https://git.example.com/acme.git

  Without a cloud's load balancer:
    weft deploy peer --name east --ingress NodePort --ingress-port 30443

  What would be installed:
    weft deploy peer --name east --dry-run")]
pub(crate) struct Peer {
    #[command(flatten)]
    options: Options,

    #[command(flatten)]
    cluster: ClusterArgs,
}

impl Deploy {
    /// Installs.
    pub(crate) fn run(self) -> anyhow::Result<u8> {
        let Self::Peer(peer) = self;
        peer.run()
    }
}

impl Peer {
    fn run(self) -> anyhow::Result<u8> {
        let installation = Installation::new(&self.options)?;
        if self.options.dry_run == Some(DryRun::Client) {
            print!("{}", install::yaml(&installation.masked()?)?);
            return Ok(crate::exit::DONE);
        }
        if self.options.start == Start::None {
            let path = installation.folder.join("k8s.yaml");
            write(&path, &install::yaml(&installation.without_operator()?)?)?;
            tell!("wrote {}", path.display());
            tell!("next: kubectl apply --server-side -f {}", path.display());
            if installation.sync.is_some() {
                tell!(
                    "once more after a moment: kubectl applies the FabricSync when its kind is served"
                );
            }
            return Ok(crate::exit::DONE);
        }
        crate::cluster::run_role(self.install(installation))
    }

    async fn install(self, installation: Installation) -> anyhow::Result<()> {
        let connection = self.cluster.reach("deploy").await?;
        let client = &connection.client;
        let is_trial = self.options.dry_run == Some(DryRun::Server);
        let namespace = &self.options.namespace;
        if namespace != SYSTEM {
            let namespaces = install::api(client, &install::resource("Namespace")?, None);
            let found = namespaces.get_opt(namespace).await;
            let found = found.with_context(|| {
                format!(
                    "cannot look for the namespace {namespace} at {}",
                    connection.server
                )
            })?;
            if found.is_none() {
                let missing: anyhow::Result<()> =
                    Err(anyhow::anyhow!("the namespace {namespace} doesn't exist"));
                return missing.hint(|| format!("kubectl create namespace {namespace}"));
            }
        }
        if self.options.start == Start::All {
            self.check_instances(client, &installation.instance).await?;
        }
        if is_trial {
            return try_all(client, &installation).await;
        }
        let apply = async |objects: Vec<Value>| -> anyhow::Result<()> {
            for object in objects {
                install::apply(client, &object, false).await?;
                tell!("applied {}", install::Place::of(&object)?);
            }
            Ok(())
        };
        apply(install::definitions()?).await?;
        install::wait_until_established(client).await?;
        apply(installation.base.clone()).await?;
        apply(installation.secrets.clone()).await?;
        if let Some(sync) = &installation.sync {
            apply(vec![sync.clone()]).await?;
        }
        match self.options.start {
            Start::All => apply(vec![installation.instance.clone()]).await?,
            Start::Operator | Start::None => {
                let path = installation.folder.join("cl-instance.yaml");
                write(
                    &path,
                    &install::yaml(slice::from_ref(&installation.instance))?,
                )?;
                tell!("wrote {}", path.display());
                tell!("next: kubectl apply -f {}", path.display());
                return Ok(());
            }
        }
        if self.options.wait {
            wait_until_ready(client, &installation.instance).await?;
        }
        self.tell_what_is_next(&installation);
        Ok(())
    }

    /// Refuses to begin what would come to nothing: ours acts for one namespace, and of the Instances
    /// of a namespace the oldest one acts.
    async fn check_instances(&self, client: &kube::Client, own: &Value) -> anyhow::Result<()> {
        let namespace = &self.options.namespace;
        let own = install::Place::of(own)?;
        let mut live = install::list(client, "Instance", "").await?;
        live.retain(|live| live.metadata.deletion_timestamp.is_none());
        live.sort_by_key(|live| live.metadata.creation_timestamp.clone());
        for live in live {
            let place = install::Place::of_live(&own.resource, &live);
            let theirs = live.data["spec"]["namespace"].as_str().unwrap_or(SYSTEM);
            let (failed, hint): (anyhow::Result<()>, _) = match (place == own, theirs == namespace)
            {
                (true, true) => return Ok(()),
                (true, false) => (
                    Err(anyhow::anyhow!(
                        "Weft is installed in this cluster already, in the namespace {theirs}"
                    )),
                    format!("`weft delete peer --namespace {theirs} ...` removes it"),
                ),
                (false, true) => (
                    Err(anyhow::anyhow!(
                        "the namespace {namespace} belongs to the {place} already"
                    )),
                    "name another one with --namespace, or delete that Instance".to_owned(),
                ),
                (false, false) => continue,
            };
            return failed.hint(|| hint);
        }
        Ok(())
    }

    fn tell_what_is_next(&self, installation: &Installation) {
        let namespace = &self.options.namespace;
        if !self.options.wait {
            tell!(
                "next: kubectl rollout status -n {namespace} deployment cl-controlplane cl-dataplane"
            );
        }
        match &installation.sync {
            Some(_) => {
                tell!("then: kubectl wait -n {namespace} --for=condition=Ready fabricsync/weft");
            }
            None => tell!(
                "then: `weft deploy peer --repo URL ...` makes it keep to a fabric repository; without one, \
                 apply Peers, Exports, Imports and policies by hand"
            ),
        }
    }
}

/// Asks the server whether it would accept everything, as far as it can tell.
async fn try_all(client: &kube::Client, installation: &Installation) -> anyhow::Result<()> {
    for object in installation.all()? {
        let place = install::Place::of(&object)?;
        let tried = install::apply(client, &object, true).await;
        let missing = tried.as_ref().err().and_then(|error| error.downcast_ref());
        match missing {
            // Its namespace or its kind isn't there before it is made.
            Some(kube::Error::Api(status)) if status.code == 404 => {
                tell!(
                    "would apply {place}, which can't be tried yet: {}",
                    status.message
                );
            }
            _ => {
                tried?;
                tell!("would apply {place}");
            }
        }
    }
    tell!("nothing was changed");
    Ok(())
}

/// Writes a file that only its owner can read: it may hold a key.
fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let write = || -> std::io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)?;
        file.write_all(text.as_bytes())
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

async fn wait_until_ready(client: &kube::Client, instance: &Value) -> anyhow::Result<()> {
    let place = install::Place::of(instance)?;
    let api = install::api(client, &place.resource, place.namespace.as_deref());
    let begun = Instant::now();
    tell!("waiting until the gateways and the reconciler are ready");
    loop {
        let found = api.get(&place.name).await;
        let found = found.with_context(|| format!("cannot look at the {place}"))?;
        let message = |part: &str| {
            let condition = &found.data["status"][part]["conditions"]["DeploymentReady"];
            let is_ready = condition["status"] == "True";
            let text = condition["message"]
                .as_str()
                .unwrap_or("nothing is known yet");
            (!is_ready).then(|| text.to_owned())
        };
        let waits = [message("controlplane"), message("dataplane")];
        let waits: Vec<_> = waits.into_iter().flatten().collect();
        if waits.is_empty() {
            return Ok(());
        }
        if begun.elapsed() > READY {
            bail!(
                "not ready after {} s: {}",
                READY.as_secs(),
                waits.join("; ")
            );
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}
