//! Who isn't a peer of the fabric is refused, on either side of a connection, and why is told.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use weft_tests::certificates::{Authority, Identity, Request};
use weft_tests::fabric::TwoPeers;
use weft_tests::impostor;
use weft_tests::network::exchange;
use weft_tests::peer::Peer;
use weft_tests::services::Service;
use weft_tests::wait::{holds, wait_for};

#[test]
fn a_client_of_another_fabric() {
    refuses_client(
        |_| Some(Authority::new("fabric").peer("east")),
        "unknown_authority",
    );
}

#[test]
fn a_client_that_is_no_peer() {
    refuses_client(|fabric| Some(fabric.peer("stranger")), "unknown_peer");
}

#[test]
fn a_client_with_an_expired_certificate() {
    let expired = |fabric: &Authority| Some(fabric.issue(&Request::new("east").expired()));
    refuses_client(expired, "expired");
}

#[test]
fn a_client_with_a_certificate_that_isnt_committed() {
    let service = Service::echo();
    let mut fabric = TwoPeers::new(service.address());
    fabric.west.start();
    fabric.west.wait_until_ready();
    let uncommitted = fabric.authority.peer("east");
    let refusal = impostor::dial(fabric.west.gateway(), "west", Some(&uncommitted));
    refusal.unwrap_err();
    tells(&fabric.west, "accept", "uncommitted");
}

#[test]
fn a_client_without_a_certificate() {
    refuses_client(|_| None, "no_certificate");
}

#[test]
fn the_right_client_is_taken() {
    let service = Service::echo();
    let mut fabric = TwoPeers::without_certificates(service.address());
    fabric.west.start();
    fabric.west.wait_until_ready();
    let right = fabric.authority.peer("east");
    impostor::dial(fabric.west.gateway(), "west", Some(&right)).unwrap();
}

#[test]
fn a_server_of_another_fabric() {
    refuses_server(
        |_| Authority::new("fabric").peer("west"),
        "unknown_authority",
    );
}

#[test]
fn a_server_with_the_name_of_another_peer() {
    // It is a peer, but not the one that was dialled.
    refuses_server(|fabric| fabric.peer("east"), "wrong_name");
}

#[test]
fn a_server_with_an_expired_certificate() {
    let expired = |fabric: &Authority| fabric.issue(&Request::new("west").expired());
    refuses_server(expired, "expired");
}

/// Dials west with an identity, and checks that it is refused and that west tells why.
fn refuses_client(identity: impl Fn(&Authority) -> Option<Identity>, reason: &str) {
    let service = Service::echo();
    let mut fabric = TwoPeers::without_certificates(service.address());
    fabric.west.start();
    fabric.west.wait_until_ready();
    let identity = identity(&fabric.authority);
    let refusal = impostor::dial(fabric.west.gateway(), "west", identity.as_ref());
    refusal.unwrap_err();
    tells(&fabric.west, "accept", reason);
}

/// Stands in west's place with an identity, and checks that east refuses it and tells why.
fn refuses_server(identity: impl Fn(&Authority) -> Identity, reason: &str) {
    let service = Service::echo();
    let mut fabric = TwoPeers::without_certificates(service.address());
    let identity = identity(&fabric.authority);
    impostor::serve(fabric.west.gateway(), &identity);
    fabric.east.start();
    fabric.east.wait_until_ready();
    let answer = exchange(fabric.import(), b"word");
    assert!(!answer.is_ok_and(|answer| answer == b"word"));
    tells(&fabric.east, "dial", reason);
    assert_eq!(service.accepted(), 0);
}

/// Waits until a peer has counted a handshake with this result.
fn tells(peer: &Peer, role: &str, reason: &str) {
    let (role, result) = (format!("role=\"{role}\""), format!("result=\"{reason}\""));
    wait_for(&format!("{} counts {reason}", peer.name()), || {
        let count = peer.metric("weft_handshakes_total", &[&role, &result]);
        holds(count >= 1.0, || peer.admin("/metrics").body)
    });
}
