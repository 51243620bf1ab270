//! Peers end and come back, with and without Git.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};

use weft_tests::certificates::fingerprint;
use weft_tests::fabric::{NAMESPACE, TwoPeers};
use weft_tests::git_server::GitServer;
use weft_tests::impostor;
use weft_tests::network::{connect, exchange};
use weft_tests::process::Signal;
use weft_tests::services::Service;
use weft_tests::wait::{holds, wait_for};
use weft_tests::yaml;

#[test]
fn a_peer_starts_from_its_state_with_git_gone() {
    let service = Service::echo();
    let mut fabric = TwoPeers::new(service.address());
    let mut server = fabric.serve();
    fabric.start();
    let good = fabric.repository.head();
    assert!(is_allowed(fabric.import()));

    server.stop();
    assert!(fabric.east.terminate().success());
    assert!(fabric.west.terminate().success());
    fabric.start();
    assert_eq!(fabric.east.revision().unwrap(), good);
    assert_eq!(fabric.west.revision().unwrap(), good);
    assert!(is_allowed(fabric.import()));

    // Git comes back with news, and no restart is needed for them.
    let deny = yaml::policy(NAMESPACE, "deny", "deny");
    fabric.repository.write("peers/west/deny.yaml", deny);
    let denial = fabric.repository.commit("Deny everything");
    server.restart();
    fabric.reconcile_to(&denial);
    assert!(!is_allowed(fabric.import()));
}

#[test]
fn a_peer_without_state_waits_for_git() {
    let service = Service::echo();
    let mut fabric = TwoPeers::new(service.address());
    let mut server = GitServer::start(&fabric.repository.bare());
    server.stop();
    fabric.west.set_repository(&server.url());
    fabric.west.start();
    fabric
        .west
        .process()
        .wait_for_line("that Git is unreachable", |line| {
            line.contains(&server.address().to_string())
        });
    // Nothing is in force, so it isn't ready, and it says so.
    wait_for("the admin server answers", || {
        let answer = fabric
            .west
            .try_admin("/readyz")
            .map_err(|error| error.to_string())?;
        holds(answer.status == 503, || format!("{answer:?}"))
    });
    server.restart();
    fabric.west.reconcile();
    fabric.west.wait_until_ready();
    assert_eq!(fabric.west.revision().unwrap(), fabric.repository.head());
}

#[test]
fn a_peer_is_killed_and_comes_back() {
    let service = Service::echo();
    let mut fabric = TwoPeers::new(service.address());
    fabric.start();
    assert!(is_allowed(fabric.import()));

    // The exporter: the importer must find it again by itself.
    fabric.west.kill();
    assert!(!is_allowed(fabric.import()));
    fabric.west.start();
    fabric.west.wait_until_ready();
    wait_for("east reaches west again", || {
        holds(is_allowed(fabric.import()), || "refused".to_owned())
    });

    fabric.east.kill();
    fabric.east.start();
    fabric.east.wait_until_ready();
    wait_for("east serves its import again", || {
        holds(is_allowed(fabric.import()), || "refused".to_owned())
    });
}

#[test]
fn a_kill_at_any_time_leaves_a_state_to_start_from() {
    let service = Service::echo();
    let mut fabric = TwoPeers::new(service.address());
    fabric.start();
    for round in 0..5 {
        let namespace = format!("round-{round}");
        let policy = yaml::policy(&namespace, "allow", "allow");
        let path = format!("peers/west/{namespace}.yaml");
        fabric.repository.write(&path, policy);
        let commit = fabric.repository.commit("Change something");
        // Wherever in its work the kill finds it.
        fabric.west.reconcile();
        fabric.west.kill();
        fabric.west.start();
        fabric.west.wait_until_ready();
        fabric.west.wait_for_revision(&commit);
    }
    wait_for("the traffic goes on", || {
        holds(is_allowed(fabric.import()), || "refused".to_owned())
    });
}

#[test]
fn what_runs_comes_to_its_end_when_a_peer_is_told_to_end() {
    let service = Service::echo();
    let mut fabric = TwoPeers::new(service.address());
    fabric.start();
    let mut stream = connect(fabric.import()).unwrap();
    stream.write_all(b"word").unwrap();
    stream.read_exact(&mut [0; 4]).unwrap();

    fabric.east.process().signal(Signal::TERM);
    wait_for("east takes nothing new", || {
        holds(!is_allowed(fabric.import()), || "it does".to_owned())
    });
    stream.write_all(b"last").unwrap();
    stream.read_exact(&mut [0; 4]).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"");
    let status = fabric.east.wait();
    assert!(status.success(), "{status}");
}

#[test]
fn a_certificate_is_replaced_without_losing_a_connection() {
    let service = Service::echo();
    let mut fabric = TwoPeers::new(service.address());
    fabric.start();
    let mut stream = connect(fabric.import()).unwrap();
    let mut check = || {
        stream.write_all(b"word")?;
        stream.read_exact(&mut [0; 4])
    };
    check().unwrap();

    // The new one is committed beside the old one, then shown, then the old one goes.
    let new = fabric.authority.peer("west");
    let old = fabric.west.certificate();
    let both = format!("{old}{}", new.certificate);
    fabric.repository.write("peers/west/cert.pem", both);
    let beside = fabric.repository.commit("Commit west's new certificate");
    fabric.reconcile_to(&beside);
    check().unwrap();

    fabric.west.replace_identity(&new);
    fabric.west.reconcile();
    let fingerprint = fingerprint(&new.certificate).to_string();
    wait_for("west shows the new certificate", || {
        let shown = impostor::shown_certificate(fabric.west.gateway(), "west");
        let shown = shown.map_err(|error| error.to_string())?.to_string();
        holds(shown == fingerprint, || shown)
    });
    check().unwrap();
    assert!(is_allowed(fabric.import()));

    fabric
        .repository
        .write("peers/west/cert.pem", &new.certificate);
    let alone = fabric.repository.commit("Take the old certificate away");
    fabric.reconcile_to(&alone);
    assert!(is_allowed(fabric.import()));
}

/// Whether a word comes back through a new connection.
fn is_allowed(address: SocketAddr) -> bool {
    exchange(address, b"word").is_ok_and(|answer| answer == b"word")
}
