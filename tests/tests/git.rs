//! The ways in which a peer gets the repository.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

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

#[test]
fn over_http_with_a_password() {
    let service = Service::echo();
    let mut fabric = TwoPeers::new(service.address());
    // The text is "reader:secret" in base64.
    let header = "Basic cmVhZGVyOnNlY3JldA==";
    let server = GitServer::start_with_authorization(&fabric.repository.bare(), header);
    follows(&mut fabric, &server.url_with("reader:secret@"), &[]);
    for line in fabric.west.process().lines() {
        assert!(!line.contains("secret"), "the password is told: {line}");
    }
}

#[test]
fn with_the_wrong_password_it_says_so() {
    let service = Service::echo();
    let mut fabric = TwoPeers::new(service.address());
    let header = "Basic cmVhZGVyOnNlY3JldA==";
    let server = GitServer::start_with_authorization(&fabric.repository.bare(), header);
    fabric
        .west
        .set_repository(&server.url_with("reader:wrong@"));
    fabric.west.start();
    let line = fabric
        .west
        .process()
        .wait_for_line("why it is refused", |line| {
            line.contains("401") || line.contains("credentials") || line.contains("uthenticat")
        });
    assert!(!line.contains("wrong@"), "the password is told: {line}");
}

#[test]
fn over_https() {
    let service = Service::echo();
    let mut fabric = TwoPeers::new(service.address());
    let authority = Authority::new("a forge's");
    let folder = tempfile::tempdir().unwrap();
    let bundle = folder.path().join("bundle.pem");
    std::fs::write(&bundle, authority.pem()).unwrap();
    let server = GitServer::start_with_tls(&fabric.repository.bare(), &authority);
    let variables = [("SSL_CERT_FILE", bundle.to_str().unwrap())];
    follows(&mut fabric, &server.url(), &variables);
}

#[test]
fn over_https_not_from_a_stranger() {
    let service = Service::echo();
    let mut fabric = TwoPeers::new(service.address());
    let folder = tempfile::tempdir().unwrap();
    let bundle = folder.path().join("bundle.pem");
    std::fs::write(&bundle, Authority::new("another").pem()).unwrap();
    let server = GitServer::start_with_tls(&fabric.repository.bare(), &Authority::new("a forge's"));
    fabric.west.set_repository(&server.url());
    fabric
        .west
        .set_environment("SSL_CERT_FILE", bundle.to_str().unwrap());
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
fn follows(fabric: &mut TwoPeers, url: &str, environment: &[(&str, &str)]) {
    fabric.west.set_repository(url);
    for (name, value) in environment {
        fabric.west.set_environment(name, value);
    }
    fabric.west.start();
    fabric.west.wait_until_ready();
    assert_eq!(fabric.west.revision().unwrap(), fabric.repository.head());
    fabric.repository.write("README.md", "A fabric.\n");
    let next = fabric.repository.commit("Say what it is");
    fabric.west.reconcile_to(&next);
}
