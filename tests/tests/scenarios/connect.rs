//! Connecting at all, with certificates that are replaced, and through replicas.

use weft_tests::certificates::Authority;
use weft_tests::peer::Peer;
use weft_tests::services::Service;
use weft_tests::yaml;

use super::common::{Fabric, PORT, ask, reaches};

#[test]
fn scenario_1_an_imported_service_answers() {
    let fabric = Fabric::started(&["cl0", "cl1"]);
    assert_eq!(fabric.ask().as_deref(), Some("cl0"));
}

#[test]
fn scenario_2_certificates_of_a_new_ca_are_taken_up_without_a_restart() {
    let mut fabric = Fabric::started(&["cl0", "cl1"]);
    let processes = |fabric: &Fabric| {
        fabric
            .peers
            .iter()
            .map(|peer| peer.process().id())
            .sum::<u32>()
    };
    let before = processes(&fabric);
    assert_eq!(fabric.ask().as_deref(), Some("cl0"));
    // A CA that only cl1 has a certificate of.
    let new = Authority::new("new-fabric");
    fabric.peers[1].replace_identity(&new.peer("cl1"));
    fabric.peers[1].reconcile();
    fabric.reaches("cl0", false);
    assert_eq!(fabric.ask(), None);
    // The fabric's, and cl0's, too.
    fabric.peers[0].replace_identity(&new.peer("cl0"));
    fabric.repository.write("ca/fabric.pem", new.pem());
    fabric.commit("Replace the CA");
    fabric.reaches("cl0", true);
    assert_eq!(fabric.ask().as_deref(), Some("cl0"));
    assert_eq!(processes(&fabric), before);
}

#[test]
fn scenario_22_row_53_three_replicas_on_both_sides() {
    let mut fabric = Fabric::new(&["cl0", "cl1"]);
    // The replicas of a peer have its name and its certificate, and addresses of their own.
    let replica = |name: &str, fabric: &Fabric| {
        let identity = fabric.authority.peer(name);
        Peer::new(name, &fabric.repository.url(), &identity)
    };
    let mut exporters = vec![replica("cl0", &fabric), replica("cl0", &fabric)];
    let mut importers = vec![replica("cl1", &fabric), replica("cl1", &fabric)];
    let gateways: Vec<_> = std::iter::once(&fabric.peers[0])
        .chain(&exporters)
        .map(Peer::gateway)
        .collect();
    fabric.gateways("cl0", &gateways);
    fabric.repository.commit("Three gateways");
    let mut all: Vec<&mut Peer> = fabric.peers.iter_mut().collect();
    all.extend(&mut exporters);
    all.extend(&mut importers);
    for peer in &mut all {
        peer.start();
    }
    for peer in &mut all {
        peer.wait_until_ready();
    }
    drop(all);
    let importers: Vec<&Peer> = std::iter::once(&fabric.peers[1])
        .chain(&importers)
        .collect();
    for importer in &importers {
        reaches(importer, "cl0", true);
        assert_eq!(ask(importer.import(PORT)).as_deref(), Some("cl0"));
    }
    for number in 0..100 {
        let importer = importers[number % importers.len()];
        assert_eq!(ask(importer.import(PORT)).as_deref(), Some("cl0"));
    }
    // Beyond theirs: one of the exporters goes down in order, and one like a power cut.
    exporters[0].terminate();
    for number in 0..30 {
        let importer = importers[number % importers.len()];
        assert_eq!(ask(importer.import(PORT)).as_deref(), Some("cl0"));
    }
    exporters[1].kill();
    for importer in importers {
        assert_eq!(ask(importer.import(PORT)).as_deref(), Some("cl0"));
    }
}

#[test]
fn row_68_a_service_is_relayed_by_a_peer_in_between() {
    let service = Service::banner("far");
    let fabric = Fabric::started(&["far", "middle", "near"]);
    // Near knows the service by middle alone, which exports what it imports.
    fabric.write(
        "far",
        "export",
        &yaml::export("default", "http-echo", service.address()),
    );
    let import = super::common::import(&["far"], "static");
    fabric.write("middle", "import", &import);
    let export = "apiVersion: clusterlink.net/v1alpha1\nkind: Export\nmetadata:\n  name: http-echo\n  \
                  namespace: default\nspec:\n  port: 80\n";
    fabric.write("middle", "export", export);
    fabric.write(
        "near",
        "import",
        &super::common::import(&["middle"], "static"),
    );
    fabric.commit("Relay");
    assert_eq!(fabric.ask().as_deref(), Some("far"));
    let relayed = fabric.peers[1].metric("weft_decisions_total", &["export", "allowed"]);
    assert!(relayed >= 1.0, "it didn't go by the middle");
}
