//! Pods, Services and EndpointSlices to a [`Cluster`].

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use fabric::attributes::Client;
use fabric::cluster::{Cluster, Service};
use fabric::name::ObjectName;
use k8s_openapi::api::core::v1::{Pod, Service as ServiceObject};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::Api;
use kube::runtime::watcher;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{BURST, notify_on};
use crate::kubernetes::cache::Cache;
use crate::kubernetes::client::Connection;

/// The label of a slice that names its Service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// What of a Pod matters.
#[derive(Debug)]
struct Workload {
    addresses: Vec<IpAddr>,
    client: Arc<Client>,
}

/// What of a Service matters.
#[derive(Debug)]
struct Front {
    name: Option<ObjectName>,
    addresses: Vec<IpAddr>,
    external_name: Option<String>,
    /// Number and name of each port.
    ports: Vec<(u16, String)>,
}

/// What of an EndpointSlice matters.
#[derive(Debug)]
struct Slice {
    service: Option<ObjectName>,
    ready: Vec<IpAddr>,
    /// Name and number of each port.
    ports: Vec<(String, u16)>,
}

/// What of a Pod matters.
struct Place {
    workload: Option<Workload>,
    /// The addresses of its node.
    hosts: Vec<IpAddr>,
}

struct Caches {
    pods: Arc<Cache<Place>>,
    services: Arc<Cache<Front>>,
    slices: Arc<Cache<Slice>>,
}

/// Follows the cluster until `cancelled`.
pub(super) fn follow(
    connection: &Connection,
    watch_seconds: u32,
    tasks: &TaskTracker,
    cancelled: &CancellationToken,
) -> watch::Receiver<Arc<Cluster>> {
    let client = &connection.client;
    let config = || watcher::Config::default().timeout(watch_seconds);
    let caches = Caches {
        pods: Cache::watch(
            "pods",
            Api::<Pod>::all(client.clone()),
            config(),
            |pod| place(&pod),
            tasks,
            cancelled.clone(),
        ),
        services: Cache::watch(
            "services",
            Api::<ServiceObject>::all(client.clone()),
            config(),
            |service| front(&service),
            tasks,
            cancelled.clone(),
        ),
        slices: Cache::watch(
            "endpointslices",
            Api::<EndpointSlice>::all(client.clone()),
            config(),
            |slice| self::slice(&slice),
            tasks,
            cancelled.clone(),
        ),
    };
    let (sender, receiver) = watch::channel(Arc::default());
    let notify = Arc::new(Notify::new());
    notify_on(&[&caches.pods], &notify, tasks, cancelled);
    notify_on(&[&caches.services], &notify, tasks, cancelled);
    notify_on(&[&caches.slices], &notify, tasks, cancelled);
    let token = cancelled.clone();
    tasks.spawn(async move {
        let run = async {
            loop {
                notify.notified().await;
                tokio::time::sleep(BURST).await;
                sender.send_replace(Arc::new(caches.view()));
            }
        };
        token.run_until_cancelled(run).await;
    });
    receiver
}

// === impl Caches ===

impl Caches {
    fn view(&self) -> Cluster {
        let mut clients = HashMap::new();
        let mut hosts = HashSet::new();
        for pod in self.pods.all() {
            hosts.extend(&pod.hosts);
            let Some(workload) = &pod.workload else {
                continue;
            };
            for address in &workload.addresses {
                clients.insert(*address, Arc::clone(&workload.client));
            }
        }
        let mut slices: HashMap<ObjectName, Vec<Arc<Slice>>> = HashMap::new();
        for slice in self.slices.all() {
            if let Some(service) = &slice.service {
                slices.entry(service.clone()).or_default().push(slice);
            }
        }
        let fronts: HashMap<_, _> = self
            .services
            .all()
            .into_iter()
            .filter_map(|front| Some((front.name.clone()?, front)))
            .collect();
        let services = fronts.iter().filter_map(|(name, front)| {
            // An Import's Service leads to another one by its name in the cluster's DNS.
            let (target, front) = match &front.external_name {
                Some(external) => {
                    let target = in_cluster(external)?;
                    let front = fronts.get(&target)?;
                    (target, front)
                }
                None => (name.clone(), front),
            };
            let service = service(front, slices.get(&target));
            Some((name.clone(), Arc::new(service)))
        });
        Cluster {
            services: services.collect(),
            clients,
            hosts,
        }
    }
}

fn service(front: &Front, slices: Option<&Vec<Arc<Slice>>>) -> Service {
    let addresses = |number: u16, name: &str| -> Vec<SocketAddr> {
        let Some(slices) = slices else {
            let addresses = front.addresses.iter();
            return addresses.map(|address| (*address, number).into()).collect();
        };
        let mut ready: Vec<SocketAddr> = slices
            .iter()
            .flat_map(|slice| {
                let ports = slice.ports.iter().filter(|(named, _)| named == name);
                ports.flat_map(|(_, port)| slice.ready.iter().map(|ip| (*ip, *port).into()))
            })
            .collect();
        ready.sort_unstable();
        ready.dedup();
        ready
    };
    let ports = front.ports.iter();
    Service {
        ports: ports
            .map(|(number, name)| (*number, addresses(*number, name)))
            .collect(),
    }
}

/// The Service of the same cluster that a DNS name is of: `name.namespace.svc.cluster.local`.
fn in_cluster(host: &str) -> Option<ObjectName> {
    let mut labels = host.split('.');
    let (name, namespace) = (labels.next()?, labels.next()?);
    (labels.next()? == "svc").then(|| ObjectName::new(namespace, name).ok())?
}

fn place(pod: &Pod) -> Place {
    let status = pod.status.as_ref();
    let listed = status.and_then(|status| status.host_ips.as_ref());
    let listed = listed.into_iter().flatten().map(|host| host.ip.as_str());
    let single = status.and_then(|status| status.host_ip.as_deref());
    Place {
        workload: workload(pod),
        hosts: listed
            .chain(single)
            .filter_map(|ip| ip.parse().ok())
            .collect(),
    }
}

/// A Pod that clients' connections can come from; none of one without an address of its own.
fn workload(pod: &Pod) -> Option<Workload> {
    let (spec, status) = (pod.spec.as_ref()?, pod.status.as_ref()?);
    let has_ended = matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"));
    if spec.host_network == Some(true) || has_ended {
        return None;
    }
    let listed = status.pod_ips.iter().flatten().map(|ip| ip.ip.as_str());
    let mut addresses: Vec<IpAddr> = listed
        .chain(status.pod_ip.as_deref())
        .filter_map(|ip| ip.parse().ok())
        .collect();
    addresses.sort_unstable();
    addresses.dedup();
    let service_account = spec.service_account_name.clone();
    Some(Workload {
        addresses,
        client: Arc::new(Client {
            namespace: pod.metadata.namespace.clone().unwrap_or_default(),
            service_account: service_account.unwrap_or_else(|| "default".to_owned()),
            labels: pod.metadata.labels.clone().unwrap_or_default(),
        }),
    })
}

fn front(service: &ServiceObject) -> Front {
    let spec = service.spec.clone().unwrap_or_default();
    let namespace = service.metadata.namespace.as_deref().unwrap_or_default();
    let name = service.metadata.name.as_deref().unwrap_or_default();
    let single = spec.cluster_ip.iter();
    let mut addresses: Vec<IpAddr> = spec
        .cluster_ips
        .iter()
        .flatten()
        .chain(single)
        // A headless Service has the word `None` there.
        .filter_map(|ip| ip.parse().ok())
        .collect();
    addresses.sort_unstable();
    addresses.dedup();
    let ports = spec.ports.unwrap_or_default().into_iter();
    Front {
        name: ObjectName::new(namespace, name).ok(),
        addresses,
        external_name: spec.external_name.filter(|name| !name.is_empty()),
        ports: ports
            .filter_map(|port| {
                let number = u16::try_from(port.port).ok()?;
                Some((number, port.name.unwrap_or_default()))
            })
            .collect(),
    }
}

fn slice(slice: &EndpointSlice) -> Slice {
    let labels = slice.metadata.labels.as_ref();
    let service = labels.and_then(|labels| labels.get(SERVICE_NAME));
    let namespace = slice.metadata.namespace.as_deref().unwrap_or_default();
    let is_ready = |endpoint: &&k8s_openapi::api::discovery::v1::Endpoint| {
        let conditions = endpoint.conditions.as_ref();
        // Unknown counts as ready, as the API says.
        conditions.and_then(|conditions| conditions.ready) != Some(false)
    };
    let ports = slice.ports.iter().flatten();
    Slice {
        service: service.and_then(|service| ObjectName::new(namespace, service).ok()),
        ready: slice
            .endpoints
            .iter()
            .filter(is_ready)
            .flat_map(|endpoint| &endpoint.addresses)
            .filter_map(|ip| ip.parse().ok())
            .collect(),
        ports: ports
            .filter_map(|port| {
                let number = u16::try_from(port.port?).ok()?;
                Some((port.name.clone().unwrap_or_default(), number))
            })
            .collect(),
    }
}
