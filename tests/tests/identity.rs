//! Who isn't a peer of the fabric is refused, on either side of a connection, and why is told.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use weft_tests::certificates::{Authority, Identity, Request};
use weft_tests::fabric::TwoPeers;
use weft_tests::impostor;
use weft_tests::network::exchange;
use weft_tests::services::Service;

#[test]
fn a_client_of_another_fabric() {
    refuses_client(
        |_| Some(Authority::new("fabric").peer("east")),
        &["UnknownIssuer"],
    );
}

#[test]
fn a_client_that_is_no_peer() {
    refuses_client(|fabric| Some(fabric.peer("stranger")), &["stranger"]);
}

#[test]
fn a_client_with_an_expired_certificate() {
    let expired = |fabric: &Authority| Some(fabric.issue(&Request::new("east").expired()));
    refuses_client(expired, &["xpired"]);
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
    tells(&fabric.west, &["committed"]);
}

#[test]
fn a_client_without_a_certificate() {
    refuses_client(|_| None, &["ertificate"]);
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
        &["UnknownIssuer"],
    );
}

#[test]
fn a_server_with_the_name_of_another_peer() {
    // It is a peer, but not the one that was dialled.
    refuses_server(|fabric| fabric.peer("east"), &["west"]);
}

#[test]
fn a_server_with_an_expired_certificate() {
    let expired = |fabric: &Authority| fabric.issue(&Request::new("west").expired());
    refuses_server(expired, &["xpired"]);
}

/// Dials west with an identity, and checks that it is refused and that west tells why.
fn refuses_client(identity: impl Fn(&Authority) -> Option<Identity>, told: &[&str]) {
    let service = Service::echo();
    let mut fabric = TwoPeers::without_certificates(service.address());
    fabric.west.start();
    fabric.west.wait_until_ready();
    let identity = identity(&fabric.authority);
    let refusal = impostor::dial(fabric.west.gateway(), "west", identity.as_ref());
    refusal.unwrap_err();
    tells(&fabric.west, told);
}

/// Stands in west's place with an identity, and checks that east refuses it and tells why.
fn refuses_server(identity: impl Fn(&Authority) -> Identity, told: &[&str]) {
    let service = Service::echo();
    let mut fabric = TwoPeers::without_certificates(service.address());
    let identity = identity(&fabric.authority);
    impostor::serve(fabric.west.gateway(), &identity);
    fabric.east.start();
    fabric.east.wait_until_ready();
    let answer = exchange(fabric.import(), b"word");
    assert!(!answer.is_ok_and(|answer| answer == b"word"));
    tells(&fabric.east, told);
    assert_eq!(service.accepted(), 0);
}

fn tells(peer: &weft_tests::peer::Peer, told: &[&str]) {
    peer.process().wait_for_line(&format!("{told:?}"), |line| {
        told.iter().all(|part| line.contains(part))
    });
}
