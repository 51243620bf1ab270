//! The repository governs: what a commit says is what the gateways do.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;
use weft_tests::fabric::{IMPORT_PORT, NAMESPACE, TwoPeers};
use weft_tests::network::{connect, exchange};
use weft_tests::services::Service;
use weft_tests::yaml;

#[test]
fn a_commit_denies_and_its_revert_allows_again() {
    let service = Service::echo();
    let mut fabric = TwoPeers::new(service.address());
    fabric.start();
    assert!(is_allowed(fabric.import()));
    let mut live = Live::open(fabric.import());

    let deny = yaml::policy(NAMESPACE, "deny", "deny");
    fabric.repository.write("peers/west/deny.yaml", deny);
    let denial = fabric.repository.commit("Deny everything");
    fabric.reconcile_to(&denial);
    live.wait_until_cut();
    assert!(!is_allowed(fabric.import()));
    let before = service.accepted();
    assert!(!is_allowed(fabric.import()));
    assert_eq!(
        service.accepted(),
        before,
        "a denied connection reaches nothing"
    );

    let revert = fabric.repository.revert();
    fabric.reconcile_to(&revert);
    assert!(is_allowed(fabric.import()));
}

#[test]
fn the_importers_side_denies_by_itself() {
    let service = Service::echo();
    let mut fabric = TwoPeers::new(service.address());
    let _server = fabric.serve();
    fabric.start();
    let mut live = Live::open(fabric.import());

    fabric.repository.remove("peers/east/allow.yaml");
    let denial = fabric.repository.commit("Take the permission away");
    // West isn't told: the source must refuse without it.
    fabric.east.reconcile_to(&denial);
    live.wait_until_cut();
    assert!(!is_allowed(fabric.import()));
}

#[test]
fn a_mistake_freezes_its_unit_alone() {
    let service = Service::echo();
    let mut fabric = TwoPeers::new(service.address());
    let good = fabric.repository.head();
    fabric.start();
    let mut live = Live::open(fabric.import());

    // West's export loses its port to a typing error, and west denies: neither may count. East's
    // second import, in the same commit, counts.
    let export = yaml::export(NAMESPACE, "service", service.address());
    let mistake = export.replace("  port:", "  prot:");
    fabric.repository.write("peers/west/export.yaml", mistake);
    let deny = yaml::policy(NAMESPACE, "deny", "deny");
    fabric.repository.write("peers/west/deny.yaml", deny);
    let second = yaml::import(NAMESPACE, "service", IMPORT_PORT + 1, "west");
    let second = second.replacen("name: service", "name: second", 1);
    fabric.repository.write("peers/east/second.yaml", second);
    let head = fabric.repository.commit("Make a mistake in west");
    fabric.reconcile_to(&head);

    for peer in [&fabric.east, &fabric.west] {
        let snapshot = peer.snapshot().unwrap();
        assert_eq!(snapshot["units"]["west"], good.as_str(), "{snapshot}");
        assert_eq!(snapshot["units"]["east"], head.as_str(), "{snapshot}");
        // Whoever runs the peer is told what is wrong, and where.
        let status = peer.wait_for_attempt(&head);
        assert!(
            diagnoses(&status, "WEFT0104", "peers/west/export.yaml"),
            "{status}"
        );
        assert_eq!(status["units"]["west"]["isFrozen"], true, "{status}");
    }
    live.check();
    assert!(is_allowed(fabric.import()));
    assert!(is_allowed(fabric.east.import(IMPORT_PORT + 1)));

    // Mended, the unit moves on, and the denial in it counts.
    fabric.repository.write("peers/west/export.yaml", export);
    let mended = fabric.repository.commit("Mend the mistake");
    fabric.reconcile_to(&mended);
    let snapshot = fabric.west.snapshot().unwrap();
    assert_eq!(snapshot["units"]["west"], mended.as_str(), "{snapshot}");
    live.wait_until_cut();
    assert!(!is_allowed(fabric.import()));
}

#[test]
fn a_mistake_in_a_shared_file_freezes_the_fabric() {
    let service = Service::echo();
    let mut fabric = TwoPeers::new(service.address());
    let good = fabric.repository.head();
    fabric.start();

    fabric
        .repository
        .write("fabric.yaml", "kind: Fabric\nkind: Fabric\n");
    let deny = yaml::policy(NAMESPACE, "deny", "deny");
    fabric.repository.write("peers/west/deny.yaml", deny);
    let broken = fabric.repository.commit("Break the Fabric");
    fabric.west.reconcile();
    let status = fabric.west.wait_for_attempt(&broken);
    assert!(diagnoses(&status, "WEFT0008", "fabric.yaml"), "{status}");
    assert_eq!(status["isHeld"], true, "{status}");
    assert!(is_allowed(fabric.import()));
    assert_eq!(fabric.west.revision().unwrap(), good);
}

#[test]
fn a_removed_peer_is_cut_at_once() {
    let service = Service::echo();
    let mut fabric = TwoPeers::new(service.address());
    let _server = fabric.serve();
    fabric.start();
    let mut live = Live::open(fabric.import());

    fabric.repository.remove("peers/east");
    let removal = fabric.repository.commit("Remove east");
    // East isn't told: west must cut it by itself.
    fabric.west.reconcile_to(&removal);
    live.wait_until_cut();
    assert!(!is_allowed(fabric.import()));
}

#[test]
fn a_revoked_certificate_is_cut_at_once() {
    let service = Service::echo();
    let mut fabric = TwoPeers::new(service.address());
    let _server = fabric.serve();
    fabric.start();
    let mut live = Live::open(fabric.import());

    let fingerprint = weft_tests::certificates::fingerprint(&fabric.east.certificate());
    let revocations = yaml::revocation(&fingerprint.to_string());
    fabric.repository.write("revocations.yaml", revocations);
    let revocation = fabric.repository.commit("Revoke east's certificate");
    fabric.west.reconcile_to(&revocation);
    live.wait_until_cut();
    assert!(!is_allowed(fabric.import()));
}

/// A connection that stays open.
struct Live {
    stream: TcpStream,
}

// === impl Live ===

impl Live {
    /// Opens a connection and sends a first word through it.
    fn open(address: SocketAddr) -> Self {
        let mut live = Self {
            stream: connect(address).unwrap(),
        };
        live.check();
        live
    }

    /// Sends a word and waits until it comes back.
    fn check(&mut self) {
        self.echo().unwrap();
    }

    fn echo(&mut self) -> std::io::Result<()> {
        self.stream.write_all(b"word")?;
        self.stream.read_exact(&mut [0; 4])
    }

    /// Waits until the connection is cut; writes nothing, so that it isn't our doing.
    fn wait_until_cut(&mut self) {
        let mut byte = [0];
        match self.stream.read(&mut byte) {
            Ok(0) => {}
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
            other => panic!("the connection isn't cut: {other:?}"),
        }
    }
}

/// Whether a code is told of a file.
fn diagnoses(status: &Value, code: &str, path: &str) -> bool {
    let diagnostics = status["diagnostics"].as_array();
    diagnostics.is_some_and(|diagnostics| {
        diagnostics
            .iter()
            .any(|diagnostic| diagnostic["code"] == code && diagnostic["labels"][0]["path"] == path)
    })
}

/// Whether a word comes back through a new connection.
fn is_allowed(address: SocketAddr) -> bool {
    exchange(address, b"word").is_ok_and(|answer| answer == b"word")
}
