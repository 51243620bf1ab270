//! What a gateway sees of the cluster around it: who connects from which address, and which
//! addresses stand behind a Service.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::attributes::Client;
use crate::name::ObjectName;

/// A cluster at one moment; immutable, swapped whole.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    /// The clients, by the addresses of their Pods.
    ///
    /// Pods in the host's network have none of their own, so they and whoever connects from outside
    /// are unknown clients.
    pub clients: HashMap<IpAddr, Arc<Client>>,
    /// The addresses of the nodes that Pods are on: whoever comes from one is no Pod.
    pub hosts: HashSet<IpAddr>,
    /// The Services.
    pub services: HashMap<ObjectName, Arc<Service>>,
}

/// A Service, as far as connections to it go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Service {
    /// The addresses to connect to, by the Service's port: those of ready endpoints, and where there
    /// are no EndpointSlices the cluster's address of the Service.
    pub ports: HashMap<u16, Vec<SocketAddr>>,
}
