//! The EndpointSlice controller and kube-proxy.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Pod, Service, ServicePort};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::deployment::{is_part_of, is_ready, selects};
use super::{Node, Seen};
use crate::namespace::Namespace;

/// The Service `kubernetes`, by which Pods know their API server.
pub(super) const API_SERVER: SocketAddr =
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 96, 0, 1)), 443);
/// The label that names the Service of a slice.
const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// The label that tells the controller's slices from others'.
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
/// Its value for the controller's own.
const CONTROLLER: &str = "endpointslice-controller.k8s.io";

/// An address whose connections are passed on; until it is dropped.
#[derive(Debug)]
pub(super) struct Forward(JoinHandle<()>);

// === impl Node ===

impl Node {
    /// Keeps the slices of each Service with a selector, and listens at its addresses.
    pub(super) async fn sync_services(self: &Arc<Self>) -> Result<(), kube::Error> {
        let services = self.seen.services.state();
        let mut wanted = HashSet::from([API_SERVER]);
        for service in &services {
            let spec = service.spec.clone().unwrap_or_default();
            if spec
                .selector
                .as_ref()
                .is_some_and(|selector| !selector.is_empty())
            {
                self.sync_slice(service).await?;
            }
            let (namespace, name) = (service.namespace().unwrap_or_default(), service.name_any());
            let mut addresses = Vec::new();
            let cluster = spec
                .cluster_ip
                .as_deref()
                .and_then(|text| text.parse().ok());
            let type_ = spec.type_.as_deref().unwrap_or_default();
            if type_ == "LoadBalancer" {
                self.balance(service).await?;
            }
            for port in spec.ports.iter().flatten() {
                let number = u16::try_from(port.port).unwrap_or(0);
                let mut add = |address: IpAddr, at: u16| {
                    addresses.push((SocketAddr::new(address, at), number));
                };
                if let Some(cluster) = cluster {
                    add(cluster, number);
                }
                if let Some(at) = port.node_port.and_then(|port| u16::try_from(port).ok())
                    && at > 0
                {
                    add(self.address().into(), at);
                }
                if type_ == "LoadBalancer" {
                    add(self.balancer_address(&namespace, &name).into(), number);
                }
            }
            for (address, port) in addresses {
                if address == API_SERVER {
                    continue;
                }
                wanted.insert(address);
                let mut forwards = self.forwards.lock();
                forwards.entry(address).or_insert_with(|| {
                    Forward::to_service(self, address, (namespace.clone(), name.clone(), port))
                });
            }
        }
        self.forwards
            .lock()
            .retain(|address, _| wanted.contains(address));
        self.drop_slices(&services).await
    }

    async fn sync_slice(&self, service: &Service) -> Result<(), kube::Error> {
        let spec = service.spec.clone().unwrap_or_default();
        let selector = spec.selector.unwrap_or_default();
        let namespace = service.namespace().unwrap_or_default();
        let pods = self.seen.pods.state();
        let mut chosen: Vec<_> = pods
            .iter()
            .filter(|pod| pod.namespace().as_ref() == Some(&namespace) && selects(&selector, pod))
            .filter_map(|pod| Some((pod.status.as_ref()?.pod_ip.clone()?, pod)))
            .collect();
        chosen.sort_by_key(|(_, pod)| pod.name_any());
        let endpoints: Vec<_> = chosen
            .iter()
            .map(|(address, pod)| {
                let is_terminating = pod.metadata.deletion_timestamp.is_some();
                json!({
                    "addresses": [address],
                    "conditions": {
                        "ready": is_ready(pod) && !is_terminating,
                        "serving": is_ready(pod),
                        "terminating": is_terminating,
                    },
                    "nodeName": self.name,
                    "targetRef": {
                        "kind": "Pod", "name": pod.name_any(),
                        "namespace": namespace, "uid": pod.uid(),
                    },
                })
            })
            .collect();
        let ports: Vec<_> = spec
            .ports
            .iter()
            .flatten()
            .filter_map(|port| {
                let target = target(port, chosen.first().map(|(_, pod)| &***pod))?;
                Some(json!({
                    "name": port.name.clone().unwrap_or_default(),
                    "port": target,
                    "protocol": "TCP",
                }))
            })
            .collect();
        let name = format!("{}-slice", service.name_any());
        let slice = json!({
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": name,
                "namespace": namespace,
                "labels": {SERVICE_NAME: service.name_any(), MANAGED_BY: CONTROLLER},
            },
            "addressType": "IPv4",
            "endpoints": endpoints,
            "ports": ports,
        });
        let there = self.seen.slices.find(|slice| {
            slice.name_any() == name && slice.namespace().as_ref() == Some(&namespace)
        });
        let there = there.map(|slice| serde_json::to_value(&*slice).unwrap_or_default());
        let is_same = there.is_some_and(|there| {
            ["endpoints", "ports"].iter().all(|key| {
                // Nothing is written as nothing.
                let none = json!([]);
                let there = there
                    .get(key)
                    .filter(|there| !there.is_null())
                    .unwrap_or(&none);
                is_part_of(&slice[key], there)
            })
        });
        if !is_same {
            let api: Api<EndpointSlice> = self.namespaced(service);
            let parameters = PatchParams::apply("endpointslice-controller").force();
            api.patch(&name, &parameters, &Patch::Apply(&slice)).await?;
        }
        Ok(())
    }

    /// Deletes the controller's slices of Services that are no more.
    async fn drop_slices(&self, services: &[Arc<Service>]) -> Result<(), kube::Error> {
        for slice in self.seen.slices.state() {
            if slice.labels().get(MANAGED_BY).map(String::as_str) != Some(CONTROLLER) {
                continue;
            }
            let name = slice.labels().get(SERVICE_NAME);
            let has_service = services.iter().any(|service| {
                service.namespace() == slice.namespace() && Some(&service.name_any()) == name
            });
            if !has_service {
                let api: Api<EndpointSlice> = self.namespaced(&*slice);
                drop(
                    api.delete(&slice.name_any(), &DeleteParams::default())
                        .await?,
                );
            }
        }
        Ok(())
    }

    /// Says where a load balancer is.
    async fn balance(&self, service: &Service) -> Result<(), kube::Error> {
        let name = service.name_any();
        let address = self.balancer_address(&service.namespace().unwrap_or_default(), &name);
        let status = json!({"loadBalancer": {"ingress": [{"ip": address.to_string()}]}});
        let there = serde_json::to_value(&service.status).unwrap_or_default();
        if !is_part_of(&status, &there) {
            let api: Api<Service> = self.namespaced(service);
            let patch = Patch::Merge(json!({ "status": status }));
            api.patch_status(&name, &PatchParams::default(), &patch)
                .await?;
        }
        Ok(())
    }
}

// === impl Forward ===

impl Forward {
    /// Passes connections on to one address, which is reached from the test's own network.
    pub(super) fn to(network: &Namespace, at: SocketAddr, target: SocketAddr) -> Self {
        Self::new(network, at, move || Some(target))
    }

    /// Passes connections on to a Service's endpoints; refused where there is none.
    fn to_service(node: &Arc<Node>, at: SocketAddr, service: (String, String, u16)) -> Self {
        let weak = Arc::downgrade(node);
        Self::new(&node.network, at, move || {
            let node = weak.upgrade()?;
            let (namespace, name, port) = &service;
            let endpoints = node.endpoints(namespace, name, *port);
            let index = rand::random_range(0..endpoints.len().max(1));
            endpoints.get(index).copied()
        })
    }

    fn new(
        network: &Namespace,
        at: SocketAddr,
        target: impl Fn() -> Option<SocketAddr> + Send + 'static,
    ) -> Self {
        let listener = network.listen(at).and_then(|listener| {
            listener.set_nonblocking(true)?;
            TcpListener::from_std(listener)
        });
        let listener = listener.unwrap_or_else(|error| panic!("can't listen at {at}: {error}"));
        Self(tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                match target() {
                    // Connections outlive their Service, as they do in a cluster.
                    Some(target) => drop(tokio::spawn(pass(client, target))),
                    None => drop(client.set_zero_linger()),
                }
            }
        }))
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn pass(mut client: TcpStream, target: SocketAddr) -> io::Result<()> {
    let mut server = TcpStream::connect(target).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    tokio::io::copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}

/// The ready endpoints of a Service's port, of all its slices whoever manages them.
pub(super) fn endpoints(seen: &Seen, namespace: &str, name: &str, port: u16) -> Vec<SocketAddr> {
    let service = seen.services.find(|service| {
        service.name_any() == name && service.namespace().as_deref() == Some(namespace)
    });
    let ports = service.and_then(|service| service.spec.clone()?.ports);
    let port = ports
        .into_iter()
        .flatten()
        .find(|known| known.port == i32::from(port));
    let Some(port) = port else { return Vec::new() };
    let label: BTreeMap<_, _> = [(SERVICE_NAME.to_owned(), name.to_owned())].into();
    let mut found = Vec::new();
    for slice in seen.slices.state() {
        let is_its = label
            .iter()
            .all(|(key, value)| slice.labels().get(key) == Some(value));
        if !is_its || slice.namespace().as_deref() != Some(namespace) {
            continue;
        }
        let number = slice.ports.iter().flatten().find(|known| {
            known.name.as_deref().unwrap_or_default() == port.name.as_deref().unwrap_or_default()
        });
        let Some(number) = number.and_then(|known| u16::try_from(known.port?).ok()) else {
            continue;
        };
        for endpoint in &slice.endpoints {
            let is_ready = endpoint
                .conditions
                .as_ref()
                .is_none_or(|it| it.ready != Some(false));
            let addresses = endpoint.addresses.iter().filter(|_| is_ready);
            let addresses = addresses.filter_map(|address| address.parse().ok());
            found.extend(addresses.map(|address: IpAddr| SocketAddr::new(address, number)));
        }
    }
    found
}

/// The port of the Pods that a Service's port stands for.
fn target(port: &ServicePort, pod: Option<&Pod>) -> Option<i32> {
    match &port.target_port {
        None => Some(port.port),
        Some(IntOrString::Int(0)) => Some(port.port),
        Some(IntOrString::Int(number)) => Some(*number),
        Some(IntOrString::String(name)) => {
            let containers = &pod?.spec.as_ref()?.containers;
            let ports = containers
                .iter()
                .flat_map(|container| container.ports.iter().flatten());
            ports
                .filter(|known| known.name.as_ref() == Some(name))
                .map(|known| known.container_port)
                .next()
        }
    }
}
