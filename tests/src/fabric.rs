//! A fabric of two peers: `east` imports what `west` exports.

use std::net::SocketAddr;

use crate::certificates::Authority;
use crate::git_server::GitServer;
use crate::peer::Peer;
use crate::repository::FabricRepository;
use crate::yaml;

/// The port of the import in `east`.
pub const IMPORT_PORT: u16 = 7000;

/// The namespace of everything in the fabric.
pub const NAMESPACE: &str = "shop";

/// Two peers, not started yet, and the repository that governs them.
///
/// Everything is allowed: by `peers/east/allow.yaml` at the source, `peers/west/allow.yaml` at the
/// destination.
#[derive(Debug)]
pub struct TwoPeers {
    /// The fabric's authority.
    pub authority: Authority,
    /// The fabric's repository.
    pub repository: FabricRepository,
    /// The importer.
    pub east: Peer,
    /// The exporter.
    pub west: Peer,
}

// === impl TwoPeers ===

impl TwoPeers {
    /// The fabric, with `service` exported by west and imported by east.
    pub fn new(service: SocketAddr) -> Self {
        let fabric = Self::without_certificates(service);
        for peer in [&fabric.east, &fabric.west] {
            let path = format!("peers/{}/cert.pem", peer.name());
            fabric.repository.write(&path, peer.certificate());
        }
        fabric.repository.commit("Commit the certificates");
        fabric
    }

    /// The same without committed certificates: any of the authority's counts.
    pub fn without_certificates(service: SocketAddr) -> Self {
        let authority = Authority::new("fabric");
        let repository = FabricRepository::new();
        let url = repository.url();
        let east = Peer::new("east", &url, &authority.peer("east"));
        let west = Peer::new("west", &url, &authority.peer("west"));
        repository.write("fabric.yaml", yaml::fabric());
        repository.write("ca/fabric.pem", authority.pem());
        for peer in [&east, &west] {
            let name = peer.name();
            let write = |file: &str, text: String| {
                repository.write(&format!("peers/{name}/{file}"), text);
            };
            write("peer.yaml", yaml::peer(name, peer.gateway()));
            write("workloads.yaml", yaml::workloads(name, NAMESPACE));
            write("allow.yaml", yaml::policy(NAMESPACE, "allow", "allow"));
        }
        repository.write(
            "peers/east/import.yaml",
            yaml::import(NAMESPACE, "service", IMPORT_PORT, "west"),
        );
        repository.write(
            "peers/west/export.yaml",
            yaml::export(NAMESPACE, "service", service),
        );
        repository.commit("Lay down the fabric");
        Self {
            authority,
            repository,
            east,
            west,
        }
    }

    /// Lets both peers fetch over http, so that they learn of a commit only when they are told:
    /// a repository on their own machine they watch.
    pub fn serve(&mut self) -> GitServer {
        let server = GitServer::start(&self.repository.bare());
        self.east.set_repository(&server.url());
        self.west.set_repository(&server.url());
        server
    }

    /// Starts both peers and waits until they are ready: west first, so that east's first dial,
    /// whose failure would make it pause before the next one, finds it there.
    pub fn start(&mut self) {
        self.west.start();
        self.west.wait_until_ready();
        self.east.start();
        self.east.wait_until_ready();
    }

    /// Where east's clients find the service.
    pub fn import(&self) -> SocketAddr {
        self.east.import(IMPORT_PORT)
    }

    /// Brings a commit into force on both peers.
    pub fn reconcile_to(&self, commit: &str) {
        self.east.reconcile();
        self.west.reconcile();
        self.east.wait_for_revision(commit);
        self.west.wait_for_revision(commit);
    }
}
