//! A plan compiled for a gateway: immutable, swapped whole.

mod relay;

pub(crate) use relay::service_of_export;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use crate::api::{
    self, Compatibility, Fingerprint, Gateway, Heartbeat, Limits, LoadBalancing, Object,
    ServiceLimits,
};
use crate::attributes::{Client, ExportAttributes, Labels, PeerAttributes};
use crate::name::{ObjectName, PeerName};
use crate::origin::{Origin, Revision};
use crate::plan::{Certificate, Plan};
use crate::policy::{Clock, Policies, Rule};

/// Everything that one gateway goes by, of one snapshot of the repository.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The fabric's name.
    pub fabric: String,
    /// The revision in force.
    pub revision: Revision,
    /// The revision at which each unit stands.
    pub units: BTreeMap<PeerName, Revision>,
    /// This peer, as policies see it.
    pub peer: PeerAttributes,
    /// The fabric's CA certificates.
    pub authorities: Vec<Certificate>,
    /// The certificates that are no longer trusted.
    pub revoked: BTreeSet<Fingerprint>,
    /// This peer's committed certificates; empty, any of the CA with its name will do.
    pub certificates: BTreeSet<Fingerprint>,
    /// The other peers.
    pub remotes: BTreeMap<PeerName, Arc<Remote>>,
    /// What this peer exports.
    pub exports: BTreeMap<ObjectName, Arc<Export>>,
    /// What this peer imports.
    pub imports: BTreeMap<ObjectName, Arc<Import>>,
    /// This peer's policies, also those that have ended: [`at`](Snapshot::at) leaves them out.
    pub policies: Policies,
    /// Which addresses stand for which client.
    pub workloads: Workloads,
    /// What exports may aim at beyond what the guard rails allow.
    pub export_hosts: api::ExportHosts,
    /// How the reachability of peers is watched.
    pub heartbeat: Heartbeat,
    /// Limits of the gateway.
    pub limits: Limits,
}

/// Another peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// The peer, as policies see it.
    pub peer: PeerAttributes,
    /// Where its gateways listen; empty for a peer that only dials out.
    pub gateways: Vec<Gateway>,
    /// What other than `weft/1` is spoken with it.
    pub compatibility: Option<Compatibility>,
    /// Its committed certificates; empty, any of the CA with its name will do.
    pub certificates: BTreeSet<Fingerprint>,
}

/// A service that this peer offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    /// The service, as policies see it.
    pub attributes: ExportAttributes,
    /// A DNS name or an IP address; none for a Kubernetes Service.
    pub host: Option<String>,
    /// The service's TCP port.
    pub port: u16,
    /// Limits of its own, beside those of the gateway.
    pub limits: ServiceLimits,
    /// Where the Export stands.
    pub origin: Origin,
}

/// A service that this peer uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// The Import's namespace and name.
    pub name: ObjectName,
    /// The port at which the gateway listens on a host without Kubernetes.
    pub listen_port: u16,
    /// The port of the Service that the import makes; none where it is merged into another's.
    pub service_port: Option<u16>,
    /// Where the service comes from.
    pub sources: Vec<Source>,
    /// How connections are spread over the sources.
    pub load_balancing: LoadBalancing,
    /// Limits of its own, beside those of the gateway.
    pub limits: ServiceLimits,
    /// Where the Import stands.
    pub origin: Origin,
}

/// One source of an import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The peer that exports.
    pub peer: PeerName,
    /// The export there, as policies see it.
    pub export: ExportAttributes,
}

/// Which addresses stand for which client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Workloads {
    /// The ranges, the narrowest first, so that the first one that holds an address counts.
    ranges: Vec<(ipnet::IpNet, Arc<Client>)>,
}

// === impl Snapshot ===

impl Snapshot {
    /// Compiles a plan.
    ///
    /// An object that can't be understood is left out: the checks before the plan said so already.
    #[must_use]
    pub fn compile(plan: &Plan) -> Self {
        let state = &plan.state;
        let certificates =
            |peer: &PeerName| state.certificates.get(peer).cloned().unwrap_or_default();
        let mut snapshot = Self {
            fabric: state.fabric.clone(),
            revision: plan.revision.clone(),
            units: plan.units.clone(),
            peer: PeerAttributes {
                name: plan.peer.clone(),
                labels: state.labels.clone(),
            },
            authorities: state.authorities.clone(),
            revoked: state.revoked.clone(),
            certificates: certificates(&plan.peer),
            remotes: BTreeMap::new(),
            exports: BTreeMap::new(),
            imports: BTreeMap::new(),
            policies: Policies::default(),
            workloads: Workloads::new(&state.workloads),
            export_hosts: state.export_hosts.clone(),
            heartbeat: state.heartbeat.clone(),
            limits: state.limits.clone(),
        };
        for planned in &plan.objects {
            let (key, origin) = (&planned.key, &planned.origin);
            let name = || ObjectName::new(key.namespace.as_deref()?, &key.name).ok();
            match &planned.object {
                Object::Peer(peer) => {
                    let Ok(name) = key.name.parse::<PeerName>() else {
                        continue;
                    };
                    let remote = Remote {
                        certificates: certificates(&name),
                        peer: PeerAttributes {
                            name: name.clone(),
                            labels: peer.metadata.labels.clone(),
                        },
                        gateways: peer.spec.gateways.clone(),
                        compatibility: peer.metadata.compatibility(),
                    };
                    snapshot.remotes.insert(name, Arc::new(remote));
                }
                Object::Export(export) => {
                    let Some(name) = name() else { continue };
                    let labels = export.metadata.labels.clone();
                    let export = Export {
                        attributes: ExportAttributes {
                            name: name.clone(),
                            labels,
                        },
                        host: export.spec.host.clone(),
                        port: export.spec.port.get(),
                        limits: export.metadata.service_limits(),
                        origin: origin.clone(),
                    };
                    snapshot.exports.insert(name, Arc::new(export));
                }
                Object::Import(import) => {
                    let Some(name) = name() else { continue };
                    let import = Import::compile(name.clone(), import, plan, origin);
                    snapshot.imports.insert(name, Arc::new(import));
                }
                Object::AccessPolicy(api::AccessPolicy { metadata, spec })
                | Object::PrivilegedAccessPolicy(api::PrivilegedAccessPolicy { metadata, spec }) => {
                    let (key, origin) = (key.clone(), origin.clone());
                    let rule = Rule::new(key, origin, metadata.expiry(), spec.action);
                    snapshot.policies.add_rule(rule, spec);
                }
                Object::Fabric(_)
                | Object::Invariant(_)
                | Object::Revocations(_)
                | Object::Workloads(_)
                | Object::Instance(_) => {}
            }
        }
        snapshot
    }

    /// The snapshot as it counts at a moment: without the policies that have ended.
    #[must_use]
    pub fn at(&self, clock: &Clock) -> Self {
        Self {
            policies: self.policies.at(clock),
            ..self.clone()
        }
    }
}

// === impl Import ===

impl Import {
    fn compile(name: ObjectName, import: &api::Import, plan: &Plan, origin: &Origin) -> Self {
        let source = |source: &api::ImportSource| {
            let peer = source.peer.parse::<PeerName>().ok()?;
            let export = ObjectName::new(&source.export_namespace, &source.export_name).ok()?;
            let known = plan
                .state
                .export_labels
                .get(&peer)
                .and_then(|peer| peer.get(&export));
            // Where the repository doesn't know the export, the import's labels serve instead.
            let labels: &Labels = known.unwrap_or(&import.metadata.labels);
            let export = ExportAttributes {
                name: export,
                labels: labels.clone(),
            };
            Some(Source { peer, export })
        };
        Self {
            name,
            listen_port: match import.spec.target_port {
                0 => import.spec.port.get(),
                port => port,
            },
            service_port: (!import.is_merged()).then_some(import.spec.port.get()),
            sources: import.spec.sources.iter().filter_map(source).collect(),
            load_balancing: import.spec.lb_scheme,
            limits: import.metadata.service_limits(),
            origin: origin.clone(),
        }
    }
}

// === impl Workloads ===

impl Workloads {
    /// The workloads of a host.
    #[must_use]
    pub fn new(workloads: &[api::Workload]) -> Self {
        let mut ranges: Vec<_> = workloads
            .iter()
            .flat_map(|workload| {
                let client = Arc::new(Client {
                    namespace: workload.namespace.clone(),
                    service_account: workload.service_account.clone(),
                    labels: workload.labels.clone(),
                });
                workload
                    .addresses
                    .iter()
                    .map(move |range| (*range, Arc::clone(&client)))
            })
            .collect();
        ranges.sort_by_key(|(range, _)| std::cmp::Reverse(range.prefix_len()));
        Self { ranges }
    }

    /// The client that connects from an address, where it is known.
    #[must_use]
    pub fn client(&self, address: IpAddr) -> Option<&Arc<Client>> {
        // An IPv4 client of a dual-stack listener shows up as ::ffff:a.b.c.d.
        let address = address.to_canonical();
        self.ranges
            .iter()
            .find(|(range, _)| range.contains(&address))
            .map(|(_, client)| client)
    }
}
