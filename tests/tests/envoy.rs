//! A fabric that is migrated peer by peer: one peer still runs ClusterLink, with a real Envoy.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{Read, Write};
use std::net::SocketAddr;

use weft_tests::certificates::Authority;
use weft_tests::clusterlink::{ClusterLink, Place, installed};
use weft_tests::fabric::{IMPORT_PORT, NAMESPACE};
use weft_tests::namespace::skip;
use weft_tests::network::connect;
use weft_tests::peer::Peer;
use weft_tests::repository::FabricRepository;
use weft_tests::services::{Service, exchange_patterns};
use weft_tests::wait::wait_for;
use weft_tests::yaml;

/// A peer that runs Weft, and all but the process of one that runs ClusterLink.
struct Migration {
    authority: Authority,
    repository: FabricRepository,
    weft: Peer,
    place: Option<Place>,
}

impl Migration {
    /// Not started yet; none, and said so, where there is no Envoy.
    fn new(test: &str) -> Option<Self> {
        if installed().is_none() {
            skip(test, "WEFT_ENVOY isn't set; see tests/envoy/install");
            return None;
        }
        let (authority, repository) = (Authority::new("fabric"), FabricRepository::new());
        let weft = Peer::new("weft", &repository.url(), &authority.peer("weft"));
        let place = Place::take();
        repository.write("fabric.yaml", yaml::fabric());
        repository.write("ca/fabric.pem", authority.pem());
        repository.write("peers/weft/peer.yaml", yaml::peer("weft", weft.gateway()));
        repository.write(
            "peers/weft/workloads.yaml",
            yaml::workloads("weft", NAMESPACE),
        );
        repository.write(
            "peers/weft/allow.yaml",
            yaml::policy(NAMESPACE, "allow", "allow"),
        );
        let peer = yaml::peer("link", place.gateway()).replace(
            "metadata:\n",
            "metadata:\n  annotations: {weft.dev/compatibility: clusterlink}\n",
        );
        assert!(peer.contains("compatibility"), "{peer}");
        repository.write("peers/link/peer.yaml", peer);
        Some(Self {
            authority,
            repository,
            weft,
            place: Some(place),
        })
    }

    /// The peer that runs Weft exports a service to the one that runs ClusterLink.
    fn exporting(test: &str, service: SocketAddr) -> Option<(Self, ClusterLink)> {
        let mut migration = Self::new(test)?;
        let export = yaml::export(NAMESPACE, "service", service);
        migration.repository.write("peers/weft/export.yaml", export);
        migration.repository.commit("Lay down the fabric");
        migration.weft.start();
        migration.weft.wait_until_ready();
        let link = ClusterLink::importer(
            migration.place.take()?,
            &migration.authority.peer("link"),
            migration.authority.pem(),
            "weft",
            migration.weft.gateway(),
        );
        Some((migration, link))
    }

    /// The peer that runs Weft imports a service from the one that runs ClusterLink.
    fn importing(test: &str, service: SocketAddr) -> Option<(Self, ClusterLink)> {
        let mut migration = Self::new(test)?;
        let import = yaml::import(NAMESPACE, "service", IMPORT_PORT, "link");
        migration.repository.write("peers/weft/import.yaml", import);
        let export = yaml::export(NAMESPACE, "service", service);
        migration.repository.write("peers/link/export.yaml", export);
        migration.repository.commit("Lay down the fabric");
        let link = ClusterLink::exporter(
            migration.place.take()?,
            &migration.authority.peer("link"),
            migration.authority.pem(),
            service,
        );
        migration.weft.start();
        migration.weft.wait_until_ready();
        Some((migration, link))
    }

    fn import(&self) -> SocketAddr {
        self.weft.import(IMPORT_PORT)
    }
}

/// Sends a line through an echo and waits for it, with the connection kept.
fn echo(address: SocketAddr) -> std::io::Result<std::net::TcpStream> {
    let mut stream = connect(address)?;
    stream.write_all(b"through and back")?;
    let mut answer = [0; 16];
    stream.read_exact(&mut answer)?;
    assert_eq!(&answer, b"through and back");
    Ok(stream)
}

/// Carries 8 MiB both ways at once, and compares all of it.
fn bulk(address: SocketAddr) {
    const BYTES: u64 = 8 << 20;
    let stream = connect(address).unwrap();
    exchange_patterns(&stream, 8, 7, BYTES).unwrap();
    let mut verdict = [0; 6];
    (&stream).read_exact(&mut verdict).unwrap();
    assert_eq!(&verdict, b"intact");
}

#[test]
fn row_87_envoy_imports_from_weft() {
    let service = Service::echo();
    let test = "row_87_envoy_imports_from_weft";
    let Some((migration, link)) = Migration::exporting(test, service.address()) else {
        return;
    };
    let mut live = echo(link.import()).unwrap();
    for _ in 0..20 {
        echo(link.import()).unwrap();
    }
    for asked in link.asked().iter().take(5) {
        eprintln!("{} took {:?}", asked.method, asked.took);
    }
    // The only place where it is spoken, and what Envoy speaks as a client.
    let statistics = link.statistics();
    assert_eq!(
        statistics["cluster.remote-peer-weft.ssl.versions.TLSv1.2"],
        "21"
    );
    // A changed policy cuts what lives, and refuses what comes.
    let deny = yaml::policy(NAMESPACE, "deny", "deny");
    migration.repository.write("peers/weft/deny.yaml", deny);
    migration
        .weft
        .reconcile_to(&migration.repository.commit("Deny"));
    let mut rest = Vec::new();
    assert!(live.read_to_end(&mut rest).is_err() || rest.is_empty());
    assert!(echo(link.import()).is_err());
}

#[test]
fn row_87_weft_imports_from_envoy() {
    let service = Service::echo();
    let test = "row_87_weft_imports_from_envoy";
    let Some((migration, mut link)) = Migration::importing(test, service.address()) else {
        return;
    };
    let live = echo(migration.import()).unwrap();
    for _ in 0..20 {
        echo(migration.import()).unwrap();
    }
    let asked = link.asked();
    let count = |method: &str| asked.iter().filter(|asked| asked.method == method).count();
    assert_eq!((count("POST"), count("CONNECT")), (21, 21));
    assert!(count("GET") > 0);
    // Connections are opened ahead, and one carries access and then the tunnel.
    let connections = &link.statistics()["http.ingress.downstream_cx_total"];
    println!("{connections} TLS connections for 21 tunnels");
    // A dead gateway is noticed, and so are its connections.
    link.kill();
    let mut live = live;
    assert!(live.read_to_end(&mut Vec::new()).is_err());
    assert!(echo(migration.import()).is_err());
}

#[test]
fn row_88_a_banner_is_not_lost_with_envoy_on_either_side() {
    let banner = "220 ready when you are\r\n";
    let service = Service::banner(banner);
    let greets = |address| {
        let mut stream = connect(address).unwrap();
        let mut said = vec![0; banner.len()];
        stream.read_exact(&mut said).unwrap();
        assert_eq!(said, banner.as_bytes());
    };
    let test = "row_88_a_banner_is_not_lost_with_envoy_on_either_side";
    let Some((_migration, link)) = Migration::exporting(test, service.address()) else {
        return;
    };
    for _ in 0..20 {
        greets(link.import());
    }
    let Some((migration, _link)) = Migration::importing(test, service.address()) else {
        return;
    };
    for _ in 0..20 {
        greets(migration.import());
    }
}

#[test]
fn row_87_bulk_goes_through_envoy_unharmed_in_both_directions() {
    let service = Service::exchange(7, 8 << 20);
    let test = "row_87_bulk_goes_through_envoy_unharmed_in_both_directions";
    let Some((_migration, link)) = Migration::exporting(test, service.address()) else {
        return;
    };
    bulk(link.import());
    let Some((migration, _link)) = Migration::importing(test, service.address()) else {
        return;
    };
    bulk(migration.import());
}

#[test]
fn without_the_opt_in_envoy_gets_nothing() {
    let service = Service::echo();
    let test = "without_the_opt_in_envoy_gets_nothing";
    let Some((migration, link)) = Migration::exporting(test, service.address()) else {
        return;
    };
    let mut live = echo(link.import()).unwrap();
    let peer = yaml::peer("link", "127.0.0.1:1".parse().unwrap());
    migration.repository.write("peers/link/peer.yaml", peer);
    migration
        .weft
        .reconcile_to(&migration.repository.commit("Opt out"));
    let mut rest = Vec::new();
    assert!(live.read_to_end(&mut rest).is_err() || rest.is_empty());
    wait_for("nothing goes through", || match echo(link.import()) {
        Err(_) => Ok(()),
        Ok(_) => Err("it does".to_owned()),
    });
    let accepted = service.accepted();
    assert!(echo(link.import()).is_err());
    assert_eq!(service.accepted(), accepted);
}
