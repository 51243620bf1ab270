//! A cluster's machine: what makes processes of the Pods in an API server, and connections of its
//! Services.
//!
//! It plays the parts of Kubernetes that aren't the API server, each as simply as it can be done
//! honestly; what it says in the API server is what there really is:
//!
//! - **kubelet**: a Pod is a network namespace with an address of the cluster's range.
//!   Its container is the real binary as a process there, in a root file system of its own that is
//!   read-only where the container asks for it, with the arguments, environment, Secrets, empty
//!   folders and service account token of its specification; it is probed, restarted when it ends,
//!   and ended with grace. Containers run as the namespaces' root, whoever their specification names.
//! - **Deployment controller**: replicas, rolling updates, `kubectl rollout status`.
//!   Pods belong to their Deployment directly; there are no ReplicaSets.
//! - **EndpointSlice controller** and **kube-proxy**: slices of ready Pods; ClusterIPs,
//!   node ports and load balancers are user-space forwards, as kube-proxy's oldest mode had them, so
//!   what is reached by them sees the node's address. A test's own client Pods resolve names and pick
//!   endpoints by themselves instead, and so keep theirs ([`crate::cluster::Cluster::dial`]).
//! - **Cluster DNS**: `/etc/hosts` of each Pod names the Services that have a ClusterIP.
//! - **Namespace and service account controllers**.

mod deployment;
mod kubelet;
mod service;
mod tenancy;

use std::collections::{BTreeMap, HashMap};
use std::fmt::{self, Debug};
use std::hash::Hash;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Namespace as NamespaceObject, Pod, Secret, Service};
use k8s_openapi::api::core::v1::{Node as NodeObject, ServiceAccount};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::runtime::reflector::{self, Store};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, Resource};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use tokio::sync::Notify;
use tokio::task::JoinSet;

pub use kubelet::RunningPod;

use crate::namespace::{Namespace, OUTSIDE, ip};

/// How often it looks at what no watch tells: processes, probes.
const TICK: Duration = Duration::from_millis(100);

/// The machine of one cluster.
pub struct Node {
    name: String,
    number: u8,
    network: Namespace,
    client: Client,
    /// The API server's authority, for the Pods.
    authority: Vec<u8>,
    folder: PathBuf,
    pods: Mutex<BTreeMap<(String, String), Arc<RunningPod>>>,
    addresses: Mutex<Addresses>,
    forwards: Mutex<HashMap<SocketAddr, service::Forward>>,
    seen: Seen,
    changed: Arc<Notify>,
}

/// What the API server holds, as watches show it.
struct Seen {
    deployments: Store<Deployment>,
    pods: Store<Pod>,
    services: Store<Service>,
    slices: Store<EndpointSlice>,
    secrets: Store<Secret>,
    namespaces: Store<NamespaceObject>,
    accounts: Store<ServiceAccount>,
}

/// The addresses that are given out; none is given twice, as a cluster doesn't either for long.
#[derive(Debug, Default)]
struct Addresses {
    pods: u16,
    balancers: HashMap<(String, String), Ipv4Addr>,
}

// === impl Node ===

impl Node {
    /// Starts the machine of cluster `number` (from 1 on) beside the API server at `server`; the
    /// tasks end with `tasks`.
    pub async fn start(
        number: u8,
        client: Client,
        server: SocketAddr,
        authority: Vec<u8>,
        folder: PathBuf,
        tasks: &mut JoinSet<()>,
    ) -> Arc<Self> {
        let name = format!("node{number}");
        let network = lay(number, &name);
        let changed = Arc::new(Notify::new());
        let seen = Seen {
            deployments: follow(&client, &changed, tasks),
            pods: follow(&client, &changed, tasks),
            services: follow(&client, &changed, tasks),
            slices: follow(&client, &changed, tasks),
            secrets: follow(&client, &changed, tasks),
            namespaces: follow(&client, &changed, tasks),
            accounts: follow(&client, &changed, tasks),
        };
        let node = Arc::new(Self {
            name,
            number,
            network,
            client,
            authority,
            folder,
            pods: Mutex::default(),
            addresses: Mutex::default(),
            forwards: Mutex::default(),
            seen,
            changed,
        });
        // The Service `kubernetes` of every cluster.
        let api = service::Forward::to(&node.network, service::API_SERVER, server);
        node.forwards.lock().insert(service::API_SERVER, api);
        node.register().await;
        let running = Arc::clone(&node);
        tasks.spawn(async move { running.run().await });
        node
    }

    /// Its name in the API server.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The address by which other clusters reach the machine: its node ports are there.
    pub fn address(&self) -> Ipv4Addr {
        Ipv4Addr::new(172, 18, 0, self.number)
    }

    /// A Pod that runs here.
    pub fn pod(&self, namespace: &str, name: &str) -> Option<Arc<RunningPod>> {
        let key = (namespace.to_owned(), name.to_owned());
        self.pods.lock().get(&key).cloned()
    }

    /// All Pods that run here.
    pub fn pods(&self) -> Vec<Arc<RunningPod>> {
        self.pods.lock().values().cloned().collect()
    }

    /// The ready endpoints of a Service's port.
    pub fn endpoints(&self, namespace: &str, name: &str, port: u16) -> Vec<SocketAddr> {
        service::endpoints(&self.seen, namespace, name, port)
    }

    /// Ends every process at once.
    pub fn stop(&self) {
        self.forwards.lock().clear();
        for pod in std::mem::take(&mut *self.pods.lock()).into_values() {
            pod.kill();
        }
    }

    async fn run(self: Arc<Self>) {
        loop {
            // Each part fails for itself and is tried again: the API server may be away or refuse.
            let parts: [Result<(), kube::Error>; 5] = [
                self.sync_namespaces().await,
                self.sync_deployments().await,
                self.sync_pods().await,
                self.sync_services().await,
                self.sync_deployment_statuses().await,
            ];
            for error in parts.into_iter().filter_map(Result::err) {
                // What a stale view leads to shows as a conflict, and is over with the next view.
                if !matches!(&error, kube::Error::Api(status) if [404, 409].contains(&status.code))
                {
                    eprintln!("{}: {error}", self.name);
                }
            }
            // Either is a reason to look again.
            let _ = tokio::time::timeout(TICK, self.changed.notified()).await;
        }
    }

    /// Tells the API server that there is such a machine.
    async fn register(&self) {
        let object = serde_json::json!({
            "metadata": {"name": self.name},
        });
        let object: NodeObject = serde_json::from_value(object).expect("a Node");
        // A server without Nodes does as well.
        let _ = Api::<NodeObject>::all(self.client.clone())
            .create(&kube::api::PostParams::default(), &object)
            .await;
    }

    /// The next free address of the cluster's range.
    fn take_pod_address(&self) -> Ipv4Addr {
        let mut addresses = self.addresses.lock();
        addresses.pods += 1;
        let [high, low] = (addresses.pods + 255).to_be_bytes();
        Ipv4Addr::new(10, self.number, high, low)
    }

    /// The address of a Service's load balancer.
    fn balancer_address(&self, namespace: &str, name: &str) -> Ipv4Addr {
        let mut addresses = self.addresses.lock();
        let count = addresses.balancers.len();
        let key = (namespace.to_owned(), name.to_owned());
        *addresses.balancers.entry(key).or_insert_with(|| {
            let low = u8::try_from(count + 1).expect("few load balancers");
            let address = Ipv4Addr::new(172, 18, 100 + self.number, low);
            ip(&format!(
                "-n {} addr add {address}/16 dev uplink\n",
                self.name
            ));
            address
        })
    }
}

impl Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// The cluster's network: a bridge for its Pods, and one leg in the network between the clusters.
fn lay(number: u8, name: &str) -> Namespace {
    let network = Namespace::new(name);
    ip(&format!(
        "link add up{number} type veth peer name uplink netns {name}
link set up{number} master fabric up
-n {name} addr add 172.18.0.{number}/16 dev uplink
-n {name} link set uplink up
-n {name} route add default via {OUTSIDE}
-n {name} link add pods type bridge
-n {name} addr add 10.{number}.0.1/16 dev pods
-n {name} link set pods up
-n {name} route add local 10.96.0.0/16 dev lo
route add 10.{number}.0.0/16 via 172.18.0.{number}
"
    ));
    network.forward_packets();
    network
}

/// Watches all objects of a kind.
fn follow<K>(client: &Client, changed: &Arc<Notify>, tasks: &mut JoinSet<()>) -> Store<K>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    K::DynamicType: Default + Eq + Hash + Clone,
{
    let (reader, writer) = reflector::store();
    let events = watcher(Api::all(client.clone()), watcher::Config::default());
    let mut events = Box::pin(reflector::reflector(writer, events).default_backoff());
    let changed = Arc::clone(changed);
    tasks.spawn(async move {
        while events.next().await.is_some() {
            changed.notify_one();
        }
    });
    reader
}
