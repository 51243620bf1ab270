//! Scenarios 14 and 15.

use weft_tests::installation::{GATEWAY, SYSTEM};
use weft_tests::namespace::isolated;

use super::common::{Fabric, peer};

#[test]
fn test_peer_status() {
    isolated(|| {
        let fabric = Fabric::new(1);
        let cluster = fabric.one();
        cluster.apply(&peer(cluster));
        cluster.wait_for_condition("peer", SYSTEM, "cl0", "PeerReachable", "True");
        cluster.scale(SYSTEM, GATEWAY, 0);
        cluster.wait_for_condition("peer", SYSTEM, "cl0", "PeerReachable", "False");
        cluster.scale(SYSTEM, GATEWAY, 1);
        cluster.wait_for_condition("peer", SYSTEM, "cl0", "PeerReachable", "True");
    });
}
