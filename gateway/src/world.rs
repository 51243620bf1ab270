//! One snapshot with all that is made of it, swapped whole.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fabric::guard::{ExportHostGuard, Refusal};
use fabric::name::PeerName;
use fabric::snapshot::Snapshot;
use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, ServerConfig};
use rustls_pki_types::UnixTime;

use crate::tls;
use crate::tls::identity::Identity;
use crate::tls::verify::{Authorities, Refused, Role};
use crate::tunnel::Connection;

/// The next snapshot's number.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// One snapshot with all that is made of it; immutable.
#[derive(Debug)]
pub(crate) struct World {
    /// Tells one from another; never 0.
    id: u64,
    /// The snapshot.
    pub snapshot: Arc<Snapshot>,
    /// What exports may aim at.
    pub guard: ExportHostGuard,
    /// The certificate that this gateway shows.
    pub identity: Identity,
    /// TLS towards gateways that connect to this one.
    pub server: Arc<ServerConfig>,
    authorities: Arc<Authorities>,
    provider: Arc<CryptoProvider>,
}

// === impl World ===

impl World {
    /// Makes all that there is to make of a snapshot.
    pub(crate) fn new(
        provider: &Arc<CryptoProvider>,
        snapshot: Arc<Snapshot>,
        identity: Identity,
    ) -> Result<Self, rustls::Error> {
        let authorities = Arc::new(Authorities::new(&snapshot));
        Ok(Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            guard: ExportHostGuard::new(&snapshot.export_hosts),
            server: tls::server(provider, &identity, &snapshot, &authorities)?,
            identity,
            authorities,
            provider: Arc::clone(provider),
            snapshot,
        })
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
        let facts = connection.facts();
        let role = if facts.dialled {
            Role::Server(&facts.peer)
        } else {
            Role::Client
        };
        let peer = self
            .authorities
            .verify(&self.snapshot, &facts.chain, role, UnixTime::now())?;
        if peer != facts.peer {
            return Err(Refused::WrongName);
        }
        connection.accepted_by().store(self.id, Ordering::Release);
        Ok(())
    }

    /// Whether a live connection between gateways is accepted by this snapshot; looked at once.
    ///
    /// So a tunnel is never opened by one snapshot over a connection that only another accepted.
    pub(crate) fn accepts(&self, connection: &Connection) -> Result<(), Refused> {
        if connection.accepted_by().load(Ordering::Acquire) == self.id {
            Ok(())
        } else {
            self.verify(connection)
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

    /// Checks an exported host and the address that it resolved to against the guard rails.
    pub(crate) fn check_target(&self, host: &str, address: IpAddr) -> Result<(), Refusal> {
        self.guard.check_text(host)?;
        let name = host.parse::<IpAddr>().is_err().then_some(host);
        self.guard.check_address(address, name)
    }
}
