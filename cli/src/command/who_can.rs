//! Who can reach a service, and through what?

mod show;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::bail;
use fabric::diagnostic::nearest;
use fabric::fabric::Fabric;
use fabric::name::{ObjectName, PeerName};
use fabric::origin::{Origin, Revision};
use fabric::reach::{Access, Outcome, Reach, Route};
use schemars::JsonSchema;
use serde::Serialize;

use crate::exit;
use crate::failure::Hint as _;
use crate::output::{Format, OutputArgs};
use crate::render::json;
use crate::source::ReadArgs;

/// Who can reach a service, from which peers, and by which rules of which files?
///
/// Tells for each peer that imports the service which clients are let through there and by the
/// peer that exports it, for every client that there could be, also for those that nobody has
/// declared. Where nobody is, it tells which side refuses, and by what.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  Who can reach the ledger of the shop?
    weft who-can shop/ledger

  Only that of the peer east, and at an older commit?
    weft who-can shop/ledger --peer east --rev HEAD~1

Exit codes:
  0  somebody can
  1  nobody can
  2  wrong usage, or the repository can't be read")]
pub(crate) struct WhoCan {
    /// The service: the namespace and name of its Export
    #[arg(value_name = "NAMESPACE/EXPORT", value_parser = export_name)]
    export: ObjectName,

    /// A place in the repository
    #[arg(value_name = "PATH", default_value = ".")]
    path: PathBuf,

    /// The peer that exports the service [default: all that do]
    #[arg(long, value_name = "NAME", value_parser = peer_name)]
    peer: Option<PeerName>,

    /// The commit to go by [default: the files on disk]
    #[arg(long, value_name = "REV")]
    rev: Option<String>,

    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    read: ReadArgs,
}

/// Who can reach a service.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Answer {
    /// The state of the repository that was looked at.
    revision: Revision,
    /// Whether anybody can.
    reachable: bool,
    /// The service, once for each peer that exports it.
    services: Vec<Service>,
}

/// The service of one peer.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Service {
    /// The peer that exports it.
    export_peer: PeerName,
    /// The service there.
    export: ObjectName,
    /// Where the Export stands.
    origin: Origin,
    /// Who can reach it, by each import of each peer.
    access: Vec<Access>,
    /// The peers that don't import it.
    without_import: BTreeSet<PeerName>,
    /// The Exports by which peers hand it on: who reaches those, reaches it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(default)]
    relays: Vec<Relay>,
}

/// An Export by which a peer hands a service on.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Relay {
    /// The peer.
    peer: PeerName,
    /// What the service is called there.
    export: ObjectName,
    /// Where the Export stands.
    origin: Origin,
}

// === impl WhoCan ===

impl WhoCan {
    /// Tells who can.
    pub(crate) fn run(self) -> anyhow::Result<u8> {
        let mut source = self.read.source(&self.path);
        let tree = source.tree(self.rev.as_deref())?;
        let fabric = &source.fabric(&tree)?;
        let services = self.services(fabric)?;
        let can_be = |access: &Access| !matches!(access.outcome, Outcome::Refused(_));
        let answer = Answer {
            revision: fabric.revision.clone(),
            reachable: services.iter().flat_map(|s| &s.access).any(can_be),
            services,
        };
        self.output.write(|format, out| match format {
            Format::Text => show::write_text(&answer, out),
            Format::Json => json::write_versioned(&answer, out),
        })?;
        Ok(match answer.reachable {
            true => exit::DONE,
            false => exit::FINDINGS,
        })
    }

    fn services(&self, fabric: &Fabric) -> anyhow::Result<Vec<Service>> {
        if let Some(peer) = &self.peer
            && !fabric.units.contains_key(peer)
        {
            let failed = (|| bail!("the fabric has no peer {peer} in force"))();
            let names = fabric.units.keys().map(PeerName::as_str);
            return match nearest(peer.as_str(), names) {
                Some(near) => failed.hint(|| format!("did you mean {near}?")),
                None => failed,
            };
        }
        let is_meant = |name: &PeerName| self.peer.as_ref().is_none_or(|peer| peer == name);
        let meant = fabric.units.iter().filter(|(name, _)| is_meant(name));
        let mut services: BTreeMap<&PeerName, Service> = BTreeMap::new();
        for (name, unit) in meant.clone() {
            if let Some(item) = unit.exports.get(&self.export) {
                let relays = fabric.relays(name, &self.export);
                let relays = relays.filter_map(|(peer, item)| {
                    Some(Relay {
                        peer: peer.clone(),
                        export: item.name()?,
                        origin: item.origin(),
                    })
                });
                let service = Service {
                    export_peer: name.clone(),
                    export: self.export.clone(),
                    origin: item.origin(),
                    access: Vec::new(),
                    without_import: fabric.units.keys().cloned().collect(),
                    relays: relays.collect(),
                };
                services.insert(name, service);
            }
        }
        if services.is_empty() {
            let export = &self.export;
            let failed = (|| match &self.peer {
                Some(peer) => bail!("the peer {peer} exports no {export}"),
                None => bail!("no peer of the fabric exports {export}"),
            })();
            let exports = meant.flat_map(|(_, unit)| unit.exports.keys());
            let exports: BTreeSet<_> = exports.map(ToString::to_string).collect();
            let exports = exports.iter().map(String::as_str);
            return match nearest(&export.to_string(), exports) {
                Some(near) => failed.hint(|| format!("did you mean {near}?")),
                None => failed,
            };
        }
        let mut reach = Reach::new(fabric);
        let routes = reach.routes().filter(|route| route.export == self.export);
        let routes: Vec<Route> = routes.cloned().collect();
        for route in routes {
            if let Some(service) = services.get_mut(&route.export_peer) {
                service.without_import.remove(&route.client_peer);
                service.access.push(reach.access(&route));
            }
        }
        Ok(services.into_values().collect())
    }
}

fn export_name(text: &str) -> Result<ObjectName, String> {
    text.parse()
        .map_err(|error| format!("it can't be an export's name: {error}"))
}

fn peer_name(text: &str) -> Result<PeerName, String> {
    text.parse()
        .map_err(|error| format!("it can't be a peer's name: {error}"))
}
