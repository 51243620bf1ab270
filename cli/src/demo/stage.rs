//! What the story plays on: a fabric repository, certificates, two peers and a service.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use super::http::Client;
use super::peer::{Peer, Place};
use super::say;
use super::service::Service;

/// Far longer than starting or reconciling takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// The demo's surroundings; everything goes when it is dropped.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) repository: Repository,
    pub(super) peers: Vec<Peer>,
    /// Where east's clients find the ledger.
    pub(super) import: SocketAddr,
    gateways: [SocketAddr; 2],
    folder: PathBuf,
    certificates: PathBuf,
    _service: Service,
    _temporary: Option<TempDir>,
}

/// The fabric repository of the demo.
#[derive(Debug)]
pub(super) struct Repository {
    git: GitRepository,
    path: PathBuf,
}

/// A `git2::Repository` with a `Debug` that the stage can derive from.
struct GitRepository(git2::Repository);

const NAMES: [&str; 2] = ["east", "west"];

// === impl Stage ===

impl Stage {
    /// Lays down the repository, makes the certificates and starts the service.
    pub(super) async fn lay_down(directory: Option<PathBuf>) -> Result<Self> {
        let (temporary, folder) = match directory {
            Some(folder) => {
                std::fs::create_dir_all(&folder)
                    .with_context(|| format!("creating {}", folder.display()))?;
                let folder = folder.canonicalize()?;
                (None, folder)
            }
            None => {
                let temporary =
                    TempDir::with_prefix("weft-demo-").context("creating a temporary directory")?;
                let folder = temporary.path().to_owned();
                (Some(temporary), folder)
            }
        };
        let path = folder.join("fabric");
        let certificates = folder.join("keys");
        let service = Service::start().await?;
        let [east, west, import] = free_addresses()?;
        std::fs::create_dir_all(&certificates)
            .with_context(|| format!("creating {}", certificates.display()))?;
        weft(&folder, &["init", "fabric", "--name", "demo"]).await?;
        // The keys stay outside the repository, which gets the certificates alone.
        let place = ["--path", "keys", "--fabric-repo", "fabric"];
        weft(
            &folder,
            &[&["create", "fabric", "--name", "demo"], &place[..]].concat(),
        )
        .await?;
        for name in NAMES {
            let peer = ["create", "peer-cert", "--name", name, "--fabric", "demo"];
            weft(&folder, &[&peer, &place[..]].concat()).await?;
        }
        let git = git2::Repository::open(&path)
            .with_context(|| format!("opening the repository {}", path.display()))?;
        let repository = Repository {
            git: GitRepository(git),
            path,
        };
        let certificates = certificates.join("demo");
        for (path, text) in files(east, west, import, service.address) {
            repository.write(path, &text)?;
        }
        Ok(Self {
            repository,
            peers: Vec::new(),
            import,
            gateways: [east, west],
            folder,
            certificates,
            _service: service,
            _temporary: temporary,
        })
    }

    /// Starts both peers, each a process of its own.
    pub(super) async fn start_peers(&mut self) -> Result<()> {
        for (name, gateway) in NAMES.into_iter().zip(self.gateways) {
            let [admin] = free_addresses()?;
            let place = Place {
                gateway,
                admin,
                repository: self.repository.path(),
                certificates: &self.certificates.join(name),
                folder: &self.folder,
            };
            self.peers.push(Peer::start(name, &place)?);
        }
        Ok(())
    }

    /// A client of the import, not connected yet.
    pub(super) fn client(&self) -> Client {
        Client::new(self.import)
    }

    /// Commits what was written, tells the peers, and waits until both have it in force.
    pub(super) async fn enforce(&mut self, message: &str) -> Result<Duration> {
        let commit = self.repository.commit(message)?;
        let start = Instant::now();
        say(&format!("commit {} {message:?}", &commit[..8]));
        self.spread(&commit, start).await
    }

    /// Reverts the last commit, and waits as [`enforce`](Self::enforce) does.
    pub(super) async fn revert(&mut self) -> Result<Duration> {
        let commit = self.repository.revert()?;
        let start = Instant::now();
        say(&format!("commit {} reverts it", &commit[..8]));
        self.spread(&commit, start).await
    }

    async fn spread(&mut self, commit: &str, start: Instant) -> Result<Duration> {
        for peer in &self.peers {
            peer.reconcile()?;
        }
        self.wait_for(commit).await?;
        Ok(start.elapsed())
    }

    /// Waits until both peers have a commit in force.
    pub(super) async fn wait_for(&mut self, commit: &str) -> Result<()> {
        self.wait_until("to have the commit in force", |snapshot| {
            let revision = snapshot["revision"].as_str().unwrap_or_default();
            ensure!(revision == commit, "{revision:?} is in force");
            Ok(())
        })
        .await
    }

    /// Waits until both peers reach each other.
    pub(super) async fn wait_for_each_other(&mut self) -> Result<()> {
        self.wait_until("to reach the other peer", |snapshot| {
            let others = snapshot["peers"]
                .as_array()
                .map(Vec::as_slice)
                .unwrap_or_default();
            let unreachable = others.iter().find(|other| other["reachable"] != true);
            ensure!(unreachable.is_none(), "{unreachable:?}");
            Ok(())
        })
        .await
    }

    async fn wait_until(&mut self, what: &str, holds: impl Fn(&Value) -> Result<()>) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        for peer in &mut self.peers {
            loop {
                let result = peer.snapshot().await.and_then(|snapshot| holds(&snapshot));
                match result {
                    Ok(()) => break,
                    Err(error) if Instant::now() >= deadline => {
                        let waiting = format!("waiting for {} {what}", peer.name);
                        return Err(error.context(waiting));
                    }
                    // Short, because the demo reports times of some milliseconds.
                    Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
                }
            }
        }
        Ok(())
    }

    /// The commit at which a unit stands, as east sees it.
    pub(super) async fn unit_revision(&mut self, unit: &str) -> Result<String> {
        let east = self
            .peers
            .first_mut()
            .ok_or_else(|| anyhow!("no peer runs"))?;
        let snapshot = east.snapshot().await?;
        let revision = snapshot["units"][unit].as_str();
        Ok(revision
            .ok_or_else(|| anyhow!("{unit} isn't in force"))?
            .to_owned())
    }

    /// The last decision of a kind that one of the peers logged.
    pub(super) fn last_decision(&self, action: &str) -> String {
        let decision = self
            .peers
            .iter()
            .rev()
            .find_map(|peer| peer.last_decision(action));
        decision.unwrap_or_else(|| format!("no {action:?} decision is in the logs"))
    }

    /// Runs a command of this program in the repository.
    pub(super) async fn weft(&self, args: &[&str]) -> Result<(ExitStatus, String)> {
        let output = command(self.repository.path(), args)?.output().await?;
        Ok((
            output.status,
            String::from_utf8_lossy(&output.stdout).into_owned(),
        ))
    }

    /// Stops both peers.
    pub(super) async fn stop(mut self) -> Result<()> {
        for peer in std::mem::take(&mut self.peers) {
            peer.stop().await?;
        }
        Ok(())
    }
}

// === impl Repository ===

impl Repository {
    /// The working tree.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file of the working tree.
    pub(super) fn write(&self, path: &str, text: &str) -> Result<()> {
        let path = self.path.join(path);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)
                .with_context(|| format!("creating {}", parent.display()))?;
        }
        std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
    }

    /// Replaces text in a file of the working tree.
    pub(super) fn replace(&self, path: &str, from: &str, to: &str) -> Result<()> {
        let file = self.path.join(path);
        let text = std::fs::read_to_string(&file)
            .with_context(|| format!("reading {}", file.display()))?;
        self.write(path, &text.replace(from, to))
    }

    /// Commits the whole working tree.
    pub(super) fn commit(&self, message: &str) -> Result<String> {
        let git = &self.git.0;
        let mut index = git.index()?;
        index.add_all(["*"], git2::IndexAddOption::DEFAULT, None)?;
        index.update_all(["*"], None)?;
        index.write()?;
        let tree = git.find_tree(index.write_tree()?)?;
        let parent = git.head()?.peel_to_commit()?;
        let author = git2::Signature::now("Weft demo", "demo@weft.invalid")?;
        let id = git
            .commit(Some("HEAD"), &author, &author, message, &tree, &[&parent])
            .context("committing")?;
        Ok(id.to_string())
    }

    /// Commits the opposite of the last commit, as `git revert HEAD` does.
    pub(super) fn revert(&self) -> Result<String> {
        let git = &self.git.0;
        let head = git.head()?.peel_to_commit()?;
        let mut index = git
            .revert_commit(&head, &head, 0, None)
            .context("reverting")?;
        let tree = git.find_tree(index.write_tree_to(git)?)?;
        git.checkout_tree(
            tree.as_object(),
            Some(git2::build::CheckoutBuilder::new().force()),
        )?;
        let author = git2::Signature::now("Weft demo", "demo@weft.invalid")?;
        let message = format!(
            "Revert {:?}",
            head.summary().ok().flatten().unwrap_or_default()
        );
        let id = git.commit(Some("HEAD"), &author, &author, &message, &tree, &[&head])?;
        Ok(id.to_string())
    }
}

impl std::fmt::Debug for GitRepository {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("GitRepository")
            .field(&self.0.path())
            .finish()
    }
}

/// The policy that closes the ledger.
pub(super) fn deny() -> String {
    policy(
        "pay",
        "close-the-ledger",
        "deny",
        "client.clusterlink.net/labels.app: till",
    )
}

fn files(
    east: SocketAddr,
    west: SocketAddr,
    import: SocketAddr,
    service: SocketAddr,
) -> [(&'static str, String); 8] {
    let peer = |name: &str, gateway: SocketAddr| {
        format!(
            "apiVersion: clusterlink.net/v1alpha1
kind: Peer
metadata:
  name: {name}
spec:
  gateways:
  - host: {}
    port: {}
",
            gateway.ip(),
            gateway.port()
        )
    };
    [
        (
            "fabric.yaml",
            "apiVersion: weft.dev/v1alpha1
kind: Fabric
metadata:
  name: demo
spec:
  exportHosts:
    allow: [127.0.0.0/8] # the demo's service runs on this machine
"
            .to_owned(),
        ),
        ("peers/east/peer.yaml", peer("east", east)),
        ("peers/west/peer.yaml", peer("west", west)),
        (
            "peers/west/ledger.yaml",
            format!(
                "apiVersion: clusterlink.net/v1alpha1
kind: Export
metadata:
  name: ledger
  namespace: pay
spec:
  host: {}
  port: {}
",
                service.ip(),
                service.port()
            ),
        ),
        (
            "peers/east/ledger.yaml",
            format!(
                "apiVersion: clusterlink.net/v1alpha1
kind: Import
metadata:
  name: ledger
  namespace: shop
spec:
  port: 80
  targetPort: {}
  sources:
  - peer: west
    exportName: ledger
    exportNamespace: pay
",
                import.port()
            ),
        ),
        (
            "peers/east/workloads.yaml",
            "apiVersion: weft.dev/v1alpha1
kind: Workloads
metadata:
  name: east
spec:
  workloads:
  - addresses: [127.0.0.1]
    namespace: shop
    serviceAccount: till
    labels: {app: till}
"
            .to_owned(),
        ),
        (
            "peers/east/policy.yaml",
            policy(
                "shop",
                "use-the-ledger",
                "allow",
                "client.clusterlink.net/namespace: shop",
            ),
        ),
        (
            "peers/west/policy.yaml",
            policy(
                "pay",
                "serve-tills",
                "allow",
                "client.clusterlink.net/labels.app: till",
            ),
        ),
    ]
}

fn policy(namespace: &str, name: &str, action: &str, from: &str) -> String {
    format!(
        "apiVersion: clusterlink.net/v1alpha1
kind: AccessPolicy
metadata:
  name: {name}
  namespace: {namespace}
spec:
  action: {action}
  from:
  - workloadSelector:
      matchLabels: {{{from}}}
  to:
  - workloadSelector:
      matchLabels: {{export.clusterlink.net/name: ledger}}
"
    )
}

/// Runs a command of this program and shows it.
async fn weft(directory: &Path, args: &[&str]) -> Result<()> {
    say(&format!("$ weft {}", args.join(" ")));
    let output = command(directory, args)?.output().await?;
    let words = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "weft {} failed: {words}",
        args.join(" ")
    );
    Ok(())
}

fn command(directory: &Path, args: &[&str]) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe().context("finding this program's file")?);
    command.args(args).current_dir(directory).kill_on_drop(true);
    Ok(command)
}

/// The ports that are tried: below those that systems give out by themselves, so that no connection
/// takes one before the peer does.
const PORTS: std::ops::Range<u16> = 20_000..32_000;
/// Where so many in a row are taken something else is wrong.
const TRIES: usize = 100;

/// Addresses of this machine whose ports nobody has at the moment.
fn free_addresses<const N: usize>() -> Result<[SocketAddr; N]> {
    // All of them are held until all are known, so that no two are the same.
    let listeners: Vec<_> = (0..N).map(|_| free_listener()).collect::<Result<_>>()?;
    let mut addresses = [SocketAddr::from(([127, 0, 0, 1], 0)); N];
    for (address, listener) in addresses.iter_mut().zip(&listeners) {
        *address = listener.local_addr()?;
    }
    Ok(addresses)
}

fn free_listener() -> Result<TcpListener> {
    let bind = || TcpListener::bind(("127.0.0.1", rand::random_range(PORTS)));
    let mut bound = bind();
    for _ in 0..TRIES {
        if bound.is_ok() {
            break;
        }
        bound = bind();
    }
    bound.context("looking for free ports")
}
