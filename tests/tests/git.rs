//! The ways in which a peer gets the repository.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;

use weft_tests::certificates::Authority;
use weft_tests::fabric::TwoPeers;
use weft_tests::git_server::GitServer;
use weft_tests::services::Service;

#[test]
fn over_smart_http() {
    let service = Service::echo();
    let mut fabric = TwoPeers::new(service.address());
    let server = GitServer::start(&fabric.repository.bare());
    follows(&mut fabric, &server.url(), &[]);
    assert!(server.requests() > 0);
}

/// "reader:secret" in base64.
const AUTHORIZATION: &str = "Basic cmVhZGVyOnNlY3JldA==";

#[test]
fn over_http_with_a_token() {
    let service = Service::echo();
    let mut fabric = TwoPeers::new(service.address());
    let server = GitServer::start_with_authorization(&fabric.repository.bare(), AUTHORIZATION);
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    fs::write(&token, "mistaken\n").unwrap();
    let arguments = [
        "--git-username",
        "reader",
        "--git-token-file",
        token.to_str().unwrap(),
    ];
    fabric.west.set_repository(&server.url());
    fabric.west.add_arguments(&arguments);
    fabric.west.start();
    fabric
        .west
        .process()
        .wait_for_line("that it isn't let in", |line| {
            line.contains("AuthenticationFailed")
        });
    // The file is read anew: no restart is needed.
    fs::write(&token, "secret\n").unwrap();
    fabric.west.reconcile();
    fabric.west.wait_until_ready();
    assert_eq!(fabric.west.revision().unwrap(), fabric.repository.head());
    for line in fabric.west.process().lines() {
        let told = ["secret", "mistaken", "cmVhZGVy"]
            .iter()
            .any(|word| line.contains(word));
        assert!(!told, "the token is told: {line}");
    }
}

#[test]
fn over_https() {
    let service = Service::echo();
    let mut fabric = TwoPeers::new(service.address());
    let authority = Authority::new("a forge's");
    let folder = tempfile::tempdir().unwrap();
    let bundle = folder.path().join("bundle.pem");
    fs::write(&bundle, authority.pem()).unwrap();
    let server = GitServer::start_with_tls(&fabric.repository.bare(), &authority);
    let arguments = ["--git-ca", bundle.to_str().unwrap()];
    follows(&mut fabric, &server.url(), &arguments);
}

#[test]
fn over_https_not_from_a_stranger() {
    let service = Service::echo();
    let mut fabric = TwoPeers::new(service.address());
    let folder = tempfile::tempdir().unwrap();
    let bundle = folder.path().join("bundle.pem");
    fs::write(&bundle, Authority::new("another").pem()).unwrap();
    let server = GitServer::start_with_tls(&fabric.repository.bare(), &Authority::new("a forge's"));
    fabric.west.set_repository(&server.url());
    fabric
        .west
        .add_arguments(&["--git-ca", bundle.to_str().unwrap()]);
    fabric.west.start();
    fabric
        .west
        .process()
        .wait_for_line("that it doesn't know the issuer", |line| {
            line.contains("UnknownIssuer") || line.to_lowercase().contains("unknown issuer")
        });
    assert_eq!(server.requests(), 0);
}

/// Starts west on a URL and brings a second commit into force.
fn follows(fabric: &mut TwoPeers, url: &str, arguments: &[&str]) {
    fabric.west.set_repository(url);
    fabric.west.add_arguments(arguments);
    fabric.west.start();
    fabric.west.wait_until_ready();
    assert_eq!(fabric.west.revision().unwrap(), fabric.repository.head());
    fabric.repository.write("README.md", "A fabric.\n");
    let next = fabric.repository.commit("Say what it is");
    fabric.west.reconcile_to(&next);
}
