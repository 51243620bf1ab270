//! Would a connection be let through, and by which rule?

mod judge;
mod show;

pub(crate) use self::judge::Verdict;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context as _, bail};
use fabric::attributes::{Client, Labels};
use fabric::diagnostic::nearest;
use fabric::fabric::Fabric;
use fabric::name::{ObjectName, PeerName, check_label, check_subdomain};
use fabric::plan::Plan;
use fabric::policy::Clock;
use fabric::snapshot::Snapshot;

use crate::exit;
use crate::failure::Hint as _;
use crate::output::{Format, OutputArgs};
use crate::render::json;
use crate::source::ReadArgs;

/// Would a connection be let through, and by which rule of which file?
///
/// Judges a connection through an import as the gateways do, with the same function: at the peer
/// where it begins, and again at each peer that the import may lead to. Both have to allow it. In
/// each, what decides is the first of these that matches: a privileged deny, a privileged allow, a
/// deny and then an allow of the namespace (the import's, and the export's). Else it is denied.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  May a till of the shop in the peer west reach the ledger?
    weft explain west/shop --label app=till shop/ledger

  And with another service account, at an older commit, with every policy that was looked at?
    weft explain west/shop/auditor shop/ledger --rev HEAD~1 --steps

  What happens to a client that no workloads.yaml knows?
    weft explain west shop/ledger

Exit codes:
  0  allowed, by way of at least one source of the import
  1  denied
  2  wrong usage, or the repository can't be read")]
pub(crate) struct Explain {
    /// Who connects: the peer, and there the namespace and the service account
    ///
    /// The service account is `default` where none is given. The peer alone stands for a client
    /// that isn't known there.
    #[arg(value_name = "PEER/NAMESPACE[/SERVICEACCOUNT]")]
    client: ClientArg,

    /// The import through which it connects
    #[arg(value_name = "NAMESPACE/IMPORT", value_parser = import_name)]
    import: ObjectName,

    /// A place in the repository
    #[arg(value_name = "PATH", default_value = ".")]
    path: PathBuf,

    /// A label of the client; may be given several times
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,

    /// The commit to go by [default: the files on disk]
    #[arg(long, value_name = "REV")]
    rev: Option<String>,

    /// Show each policy that was looked at, and why it didn't match
    #[arg(long)]
    steps: bool,

    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    read: ReadArgs,
}

/// Who connects.
#[derive(Clone, Debug)]
struct ClientArg {
    peer: PeerName,
    /// Namespace and service account; none for a client that isn't known.
    workload: Option<(String, String)>,
}

/// The snapshots of the peers, compiled once each.
struct Snapshots<'a> {
    fabric: &'a Fabric,
    compiled: BTreeMap<PeerName, Option<Snapshot>>,
}

// === impl Explain ===

impl Explain {
    /// Judges the connection.
    pub(crate) fn run(self) -> anyhow::Result<u8> {
        let client = self.client()?;
        let mut source = self.read.source(&self.path);
        let tree = source.tree(self.rev.as_deref())?;
        let fabric = &source.fabric(&tree)?;
        let mut snapshots = Snapshots {
            fabric,
            compiled: BTreeMap::new(),
        };
        let verdict = judge::judge(
            &mut snapshots,
            &self.client.peer,
            client.as_ref(),
            &self.import,
            self.steps,
        )?;
        self.output.write(|format, out| match format {
            Format::Text => show::write_text(&verdict, out),
            Format::Json => json::write_versioned(&verdict, out),
        })?;
        Ok(match verdict.allowed {
            true => exit::DONE,
            false => exit::FINDINGS,
        })
    }

    fn client(&self) -> anyhow::Result<Option<Client>> {
        let labels: Labels = self.labels.iter().cloned().collect();
        let Some((namespace, service_account)) = &self.client.workload else {
            if !labels.is_empty() {
                bail!("a client that isn't known has no labels; name its namespace too");
            }
            return Ok(None);
        };
        Ok(Some(Client {
            namespace: namespace.clone(),
            service_account: service_account.clone(),
            labels,
        }))
    }
}

// === impl Snapshots ===

impl Snapshots<'_> {
    /// The snapshot of a peer; none where the peer isn't in force.
    fn of(&mut self, peer: &PeerName) -> Option<&Snapshot> {
        let fabric = self.fabric;
        let now = Clock::at(fabric.now);
        self.compiled
            .entry(peer.clone())
            .or_insert_with(|| Plan::of(fabric, peer).map(|plan| Snapshot::compile(&plan).at(&now)))
            .as_ref()
    }

    /// The snapshot of a peer that the user named.
    fn named(&mut self, peer: &PeerName) -> anyhow::Result<&Snapshot> {
        let names = self.fabric.units.keys().map(PeerName::as_str);
        let near = nearest(peer.as_str(), names).map(str::to_owned);
        let found = self.of(peer);
        let failed = found.with_context(|| format!("the fabric has no peer {peer} in force"));
        match near {
            Some(near) => failed.hint(|| format!("did you mean {near}?")),
            None => failed,
        }
    }
}

// === impl ClientArg ===

impl FromStr for ClientArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.splitn(3, '/');
        let peer = parts.next().unwrap_or_default();
        let peer = peer
            .parse()
            .map_err(|error| format!("{peer:?} can't be a peer's name: {error}"))?;
        let Some(namespace) = parts.next() else {
            let workload = None;
            return Ok(Self { peer, workload });
        };
        check_label(namespace)
            .map_err(|error| format!("{namespace:?} can't be a namespace: {error}"))?;
        let account = parts.next().unwrap_or("default");
        check_subdomain(account)
            .map_err(|error| format!("{account:?} can't be a service account: {error}"))?;
        let workload = Some((namespace.to_owned(), account.to_owned()));
        Ok(Self { peer, workload })
    }
}

fn import_name(text: &str) -> Result<ObjectName, String> {
    text.parse()
        .map_err(|error| format!("it can't be an import's name: {error}"))
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("it isn't of the form KEY=VALUE".to_owned()),
    }
}
