//! What the scenarios begin with.

use std::fmt::Write as _;
use std::net::SocketAddr;

use weft_tests::certificates::Authority;
use weft_tests::network::exchange;
use weft_tests::peer::Peer;
use weft_tests::repository::FabricRepository;
use weft_tests::services::Service;
use weft_tests::wait::{holds, wait_for};
use weft_tests::yaml;

/// Where the scenarios' objects are.
pub(crate) const USER: &str = "default";
/// Where clients find what is imported.
pub(crate) const PORT: u16 = 7000;

/// Peers of one fabric; those that export have a service that says the peer's name.
pub(crate) struct Fabric {
    pub(crate) authority: Authority,
    pub(crate) repository: FabricRepository,
    pub(crate) peers: Vec<Peer>,
    services: Vec<Service>,
}

// === impl Fabric ===

impl Fabric {
    /// Peers, each with `http-echo` to export and everything allowed; not started yet.
    ///
    /// The last one only imports, from all the others, and has no port that they could dial: whether
    /// it reaches them is its own doing.
    pub(crate) fn new(names: &[&'static str]) -> Self {
        let authority = Authority::new("fabric");
        let repository = FabricRepository::new();
        // Five failures in a row shall not take five seconds.
        let fabric = "  heartbeat: {interval: 100ms, down: 5, up: 3}\n";
        repository.write("fabric.yaml", yaml::fabric() + fabric);
        repository.write("ca/fabric.pem", authority.pem());
        let peers = names
            .iter()
            .map(|name| Peer::new(name, &repository.url(), &authority.peer(name)))
            .collect();
        let services = names.iter().map(|name| Service::banner(name)).collect();
        let fabric = Self {
            authority,
            repository,
            peers,
            services,
        };
        let (importer, exporters) = fabric.peers.split_last().unwrap();
        for (peer, service) in fabric.peers.iter().zip(&fabric.services) {
            let file = |file: &str| format!("peers/{}/{file}", peer.name());
            let gateways: &[SocketAddr] = match peer.name() == importer.name() {
                true => &[],
                false => &[peer.gateway()],
            };
            fabric.gateways(peer.name(), gateways);
            let workloads = yaml::workloads(peer.name(), USER);
            fabric.repository.write(&file("workloads.yaml"), workloads);
            fabric.write(peer.name(), "allow", &allow_all());
            if peer.name() != importer.name() {
                let export = yaml::export(USER, "http-echo", service.address());
                let export = export.replace("    app: http-echo", "    env: test");
                fabric.write(peer.name(), "export", &export);
            }
        }
        let sources: Vec<_> = exporters.iter().map(Peer::name).collect();
        fabric.write(importer.name(), "import", &import(&sources, "round-robin"));
        fabric.repository.commit("Lay down the fabric");
        fabric
    }

    /// The same with all of them running, each reachable for the importer.
    pub(crate) fn started(names: &[&'static str]) -> Self {
        let mut fabric = Self::new(names);
        for peer in &mut fabric.peers {
            peer.start();
        }
        for peer in &mut fabric.peers {
            peer.wait_until_ready();
        }
        for name in &names[..names.len() - 1] {
            fabric.reaches(name, true);
        }
        fabric
    }

    /// Where clients find what is imported.
    pub(crate) fn import(&self) -> SocketAddr {
        self.peers.last().unwrap().import(PORT)
    }

    /// Who answers a client; none when it is reset.
    pub(crate) fn ask(&self) -> Option<String> {
        ask(self.import())
    }

    /// Who answers so many clients, one after the other.
    pub(crate) fn asks(&self, count: usize) -> Vec<String> {
        (0..count).map(|_| self.ask().unwrap()).collect()
    }

    /// Writes a file of a peer.
    pub(crate) fn write(&self, peer: &str, name: &str, text: &str) {
        self.repository
            .write(&format!("peers/{peer}/{name}.yaml"), text);
    }

    /// Removes a file of a peer.
    pub(crate) fn remove(&self, peer: &str, name: &str) {
        self.repository.remove(&format!("peers/{peer}/{name}.yaml"));
    }

    /// Writes where a peer's gateways are, and its labels.
    pub(crate) fn gateways(&self, name: &str, gateways: &[SocketAddr]) {
        let labels = "  labels: {";
        let address = self.peers.iter().find(|peer| peer.name() == name);
        let address = address.unwrap().gateway().ip();
        let mut text = format!(
            "apiVersion: clusterlink.net/v1alpha1\nkind: Peer\nmetadata:\n  name: {name}\n\
             {labels}cluster: {name}, ip: \"{address}\"}}\nspec:\n"
        );
        match gateways.is_empty() {
            true => text.push_str("  gateways: []\n"),
            false => text.push_str("  gateways:\n"),
        }
        for gateway in gateways {
            let (host, port) = (gateway.ip(), gateway.port());
            let _ = writeln!(text, "  - host: {host}\n    port: {port}");
        }
        self.write(name, "peer", &text);
    }

    /// Commits what was written, and brings it into force in every peer.
    pub(crate) fn commit(&self, message: &str) {
        let commit = self.repository.commit(message);
        for peer in &self.peers {
            peer.reconcile();
        }
        for peer in &self.peers {
            peer.wait_for_revision(&commit);
        }
    }

    /// Waits until a peer counts as reachable, or not, for the importer.
    pub(crate) fn reaches(&self, name: &str, reachable: bool) {
        let importer = self.peers.last().unwrap();
        reaches(importer, name, reachable);
    }
}

/// Waits until a peer counts as reachable, or not, for another.
pub(crate) fn reaches(from: &Peer, name: &str, reachable: bool) {
    let what = format!("{name} is reachable from {}: {reachable}", from.name());
    wait_for(&what, || {
        let snapshot = from.snapshot()?;
        let peers = snapshot["peers"].as_array().ok_or("no peers")?;
        let told = peers.iter().find(|peer| peer["name"] == name);
        let told = told.map(|peer| peer["reachable"].clone());
        holds(told == Some(reachable.into()), || format!("{told:?}"))
    });
}

/// Who answers a client; none when it is reset.
pub(crate) fn ask(import: SocketAddr) -> Option<String> {
    let answer = exchange(import, b"").ok()?;
    Some(String::from_utf8(answer).unwrap())
}

/// An import of `http-echo` from peers.
pub(crate) fn import(peers: &[&str], scheme: &str) -> String {
    let mut text = format!(
        "apiVersion: clusterlink.net/v1alpha1\nkind: Import\nmetadata:\n  name: http-echo\n  \
         namespace: {USER}\nspec:\n  port: 80\n  targetPort: {PORT}\n  lbScheme: {scheme}\n  \
         sources:\n"
    );
    for peer in peers {
        let _ = writeln!(
            text,
            "  - peer: {peer}\n    exportName: http-echo\n    exportNamespace: {USER}"
        );
    }
    text
}

/// A policy of `from` to `to`, each the inside of a selector in YAML's short form.
pub(crate) fn policy(name: &str, action: &str, from: &str, to: &str) -> String {
    format!(
        "apiVersion: clusterlink.net/v1alpha1\nkind: AccessPolicy\nmetadata:\n  name: {name}\n  \
         namespace: {USER}\nspec:\n  action: {action}\n  from:\n  - workloadSelector: {{{from}}}\n  \
         to:\n  - workloadSelector: {{{to}}}\n"
    )
}

/// The same for all namespaces.
pub(crate) fn privileged(name: &str, action: &str, from: &str, to: &str) -> String {
    policy(name, action, from, to)
        .replace("kind: AccessPolicy", "kind: PrivilegedAccessPolicy")
        .replace(&format!("  namespace: {USER}\n"), "")
}

/// A policy that allows everything.
pub(crate) fn allow_all() -> String {
    policy("allow-all", "allow", "", "")
}
