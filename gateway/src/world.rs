//! One snapshot with all that is made of it, swapped whole.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fabric::attributes::Client;
use fabric::guard::{ExportHostGuard, Refusal};
use fabric::name::{ObjectName, PeerName};
use fabric::policy::{Clock, Rule};
use fabric::snapshot::{Export, Import, Snapshot};
use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, ServerConfig};
use rustls_pki_types::UnixTime;
use tokio::time::timeout;

use crate::config::{ClusterView, Timeouts};
use crate::tls;
use crate::tls::identity::Identity;
use crate::tls::verify::{Authorities, Refused, Role};
use crate::tunnel::{Connection, ConnectionFacts};

/// A Pod's address stands in the cluster by then: its node writes it within a second of its start.
const NEWBORN: Duration = Duration::from_secs(2);
/// The next snapshot's number.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// One snapshot with all that is made of it; immutable.
#[derive(Debug)]
pub(crate) struct World {
    /// Tells one from another; never 0.
    id: u64,
    /// The snapshot, without the policies that have ended.
    pub snapshot: Arc<Snapshot>,
    /// The snapshot as it came.
    pub source: Arc<Snapshot>,
    /// The policies that have ended.
    pub over: Vec<Rule>,
    /// What exports may aim at.
    pub guard: ExportHostGuard,
    /// The certificate that this gateway shows.
    pub identity: Identity,
    /// TLS towards gateways that connect to this one.
    pub server: Arc<ServerConfig>,
    authorities: Arc<Authorities>,
    provider: Arc<CryptoProvider>,
    /// What is around, which changes by itself: Pods come and go without a commit.
    cluster: Option<ClusterView>,
}

// === impl World ===

impl World {
    /// Makes all that there is to make of a snapshot, as it counts at a moment.
    pub(crate) fn new(
        provider: &Arc<CryptoProvider>,
        source: Arc<Snapshot>,
        clock: &Clock,
        identity: Identity,
        cluster: Option<ClusterView>,
    ) -> Result<Self, rustls::Error> {
        let over = over(&source, clock);
        let snapshot = match over.is_empty() {
            true => Arc::clone(&source),
            false => Arc::new(source.at(clock)),
        };
        let authorities = Arc::new(Authorities::new(&snapshot));
        Ok(Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            guard: ExportHostGuard::new(&snapshot.export_hosts),
            server: tls::server(provider, &identity, &snapshot, &authorities)?,
            identity,
            authorities,
            provider: Arc::clone(provider),
            cluster,
            snapshot,
            source,
            over,
        })
    }

    /// How long things may take.
    pub(crate) fn timeouts(&self, otherwise: Timeouts) -> Timeouts {
        otherwise.of(&self.snapshot.limits)
    }

    /// TLS towards a peer's gateway.
    pub(crate) fn client(&self, peer: &PeerName) -> Result<Arc<ClientConfig>, rustls::Error> {
        tls::client(
            &self.provider,
            &self.identity,
            &self.snapshot,
            &self.authorities,
            peer,
        )
    }

    /// Whether a live connection between gateways is accepted by this snapshot, now.
    pub(crate) fn verify(&self, connection: &Connection) -> Result<(), Refused> {
        self.verify_facts(connection.facts(), connection.accepted_by())
    }

    /// The same for whatever knows the facts, and by which snapshot they were accepted last.
    pub(crate) fn verify_facts(
        &self,
        facts: &ConnectionFacts,
        accepted_by: &AtomicU64,
    ) -> Result<(), Refused> {
        let role = if facts.dialled {
            Role::Server(&facts.peer)
        } else {
            Role::Client
        };
        let at = facts.judged_at();
        let peer = self
            .authorities
            .verify(&self.snapshot, &facts.chain, role, at)?;
        if peer != facts.peer {
            return Err(Refused::WrongName);
        }
        accepted_by.store(self.id, Ordering::Release);
        Ok(())
    }

    /// Whether a live connection between gateways is accepted by this snapshot; looked at once.
    ///
    /// So a tunnel is never opened by one snapshot over a connection that only another accepted.
    pub(crate) fn accepts(&self, connection: &Connection) -> Result<(), Refused> {
        self.accepts_facts(connection.facts(), connection.accepted_by())
    }

    /// The same for whatever knows the facts, and by which snapshot they were accepted last.
    pub(crate) fn accepts_facts(
        &self,
        facts: &ConnectionFacts,
        accepted_by: &AtomicU64,
    ) -> Result<(), Refused> {
        if accepted_by.load(Ordering::Acquire) == self.id {
            Ok(())
        } else {
            self.verify_facts(facts, accepted_by)
        }
    }

    /// The peer that a chain, shown by whoever connected to this gateway, belongs to.
    pub(crate) fn client_peer(
        &self,
        chain: &[rustls_pki_types::CertificateDer<'_>],
    ) -> Result<PeerName, Refused> {
        self.authorities
            .verify(&self.snapshot, chain, Role::Client, UnixTime::now())
    }

    /// The client that connects from an address, where it is known: a Pod of the cluster, or else one
    /// of the host's workloads.
    #[must_use]
    pub(crate) fn client_at(&self, address: IpAddr) -> Option<Arc<Client>> {
        let address = address.to_canonical();
        let pod = self
            .cluster
            .as_ref()
            .and_then(|cluster| cluster.borrow().clients.get(&address).cloned());
        pod.or_else(|| self.snapshot.workloads.client(address).cloned())
    }

    /// The same, and where it isn't known yet, a moment later: a Pod may connect before its address
    /// stands in the cluster, and nobody is to be judged, or cut off again, for that.
    pub(crate) async fn client_soon(&self, address: IpAddr) -> Option<Arc<Client>> {
        let known = self.client_at(address);
        let address = address.to_canonical();
        let Some(mut cluster) = self.cluster.clone().filter(|_| known.is_none()) else {
            return known;
        };
        let is_local = address == Ipv4Addr::LOCALHOST || address == Ipv6Addr::LOCALHOST;
        if is_local || cluster.borrow().hosts.contains(&address) {
            return None;
        }
        let appears = cluster.wait_for(|cluster| cluster.clients.contains_key(&address));
        let found = timeout(NEWBORN, appears).await.ok()?.ok()?;
        found.clients.get(&address).cloned()
    }

    /// The addresses behind a port of a Service of the cluster; the reason where there is none.
    pub(crate) fn service(&self, name: &ObjectName, port: u16) -> Result<Vec<SocketAddr>, String> {
        let Some(cluster) = &self.cluster else {
            let text = "the export names no host, and there is no cluster to look it up in";
            return Err(text.to_owned());
        };
        let cluster = Arc::clone(&cluster.borrow());
        let Some(service) = cluster.services.get(name) else {
            return Err(format!("the service {name} doesn't exist"));
        };
        match service.ports.get(&port) {
            Some(addresses) if !addresses.is_empty() => Ok(addresses.clone()),
            Some(_) => Err(format!("the service {name} has no ready endpoint")),
            None => Err(format!("the service {name} has no port {port}")),
        }
    }

    /// The import that an export hands on; none for a service, also for one that has a Service of the
    /// cluster where the import should have its own.
    #[must_use]
    pub(crate) fn relayed(&self, export: &Export) -> Option<&Arc<Import>> {
        let import = self.snapshot.relayed(export)?;
        let endpoints = self.service(&import.name, export.port).unwrap_or_default();
        let is_ours = |address: &SocketAddr| address.port() == import.listen_port;
        endpoints.iter().all(is_ours).then_some(import)
    }

    /// Checks an exported host and the address that it resolved to against the guard rails.
    pub(crate) fn check_target(&self, host: &str, address: IpAddr) -> Result<(), Refusal> {
        self.guard.check_text(host)?;
        let name = host.parse::<IpAddr>().is_err().then_some(host);
        self.guard.check_address(address, name)
    }
}

/// The policies of a snapshot that have ended.
#[must_use]
pub(crate) fn over(source: &Snapshot, clock: &Clock) -> Vec<Rule> {
    source.policies.over(clock).into_iter().cloned().collect()
}
