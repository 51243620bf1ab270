//! Whether peers are reachable.

use std::net::SocketAddr;

use super::common::Fabric;

#[test]
fn scenarios_15_and_16_reachability() {
    let mut fabric = Fabric::started(&["cl0", "cl1"]);
    scenario_15_a_peer_is_unreachable_while_it_is_down(&mut fabric);
    scenario_16_several_gateways_of_a_peer(&fabric);
}

fn scenario_15_a_peer_is_unreachable_while_it_is_down(fabric: &mut Fabric) {
    fabric.reaches("cl0", true);
    fabric.peers[0].terminate();
    fabric.reaches("cl0", false);
    assert_eq!(fabric.ask(), None);
    fabric.peers[0].start();
    fabric.peers[0].wait_until_ready();
    fabric.reaches("cl0", true);
    assert_eq!(fabric.ask().as_deref(), Some("cl0"));
}

fn scenario_16_several_gateways_of_a_peer(fabric: &Fabric) {
    let good = fabric.peers[0].gateway();
    // Nobody listens at the next port.
    let bad = SocketAddr::new(good.ip(), good.port() + 1);
    for (gateways, reachable) in [
        (&[bad, good][..], true),
        (&[bad], false),
        (&[good, bad], true),
    ] {
        fabric.gateways("cl0", gateways);
        fabric.commit("Edit the gateways");
        fabric.reaches("cl0", reachable);
        for _ in 0..11 {
            assert_eq!(fabric.ask().is_some(), reachable, "{gateways:?}");
        }
    }
}
