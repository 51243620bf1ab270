//! What policies look at, and which of them decides.

use super::common::{Fabric, allow_all, policy, privileged};

const NAME: &str = "export.clusterlink.net/name: http-echo";

fn labels(labels: &[&str]) -> String {
    format!("matchLabels: {{{}}}", labels.join(", "))
}

#[test]
fn scenarios_18_to_21_policies() {
    let fabric = Fabric::started(&["cl0", "cl1"]);
    scenario_18_services_and_peers(&fabric);
    scenario_19_clients(&fabric);
    scenario_20_the_tiers(&fabric);
    scenario_21_labels_of_peers(&fabric);
}

/// Commits what was written; whether a client is served then.
fn serves(fabric: &Fabric, step: &str) -> bool {
    fabric.commit(step);
    fabric.ask().is_some()
}

fn scenario_18_services_and_peers(fabric: &Fabric) {
    let src = "peer.clusterlink.net/name: cl1";
    let dst = "peer.clusterlink.net/name: cl0";
    let test = "export.clusterlink.net/labels.env: test";
    let allow = |to: &[&str]| policy("allow-all", "allow", "", &labels(to));
    fabric.write("cl1", "allow", &allow(&[NAME, dst, test]));
    let by_peers = policy("allow-all", "allow", &labels(&[src]), &labels(&[dst]));
    fabric.write("cl0", "allow", &by_peers);
    assert!(serves(fabric, "1: service, peer and label"));
    for (peer, step, from, to) in [
        ("cl1", "2: deny the service", None, Some(NAME)),
        ("cl1", "4: deny the destination's peer", None, Some(dst)),
        ("cl0", "6: deny the source's peer", Some(src), None),
    ] {
        let side = |attribute: Option<&str>| attribute.map(|attribute| labels(&[attribute]));
        let (from, to) = (side(from).unwrap_or_default(), side(to).unwrap_or_default());
        fabric.write(peer, "deny", &policy("deny", "deny", &from, &to));
        assert!(!serves(fabric, step));
        fabric.remove(peer, "deny");
        assert!(serves(fabric, "3, 5, 7: delete it"), "after {step}");
    }
    let wrong = "export.clusterlink.net/name: another";
    fabric.write("cl1", "allow", &allow(&[wrong, dst]));
    assert!(!serves(fabric, "8: another service"));
    let prod = "export.clusterlink.net/labels.env: prod";
    let more = |to: &[&str]| policy("more", "allow", "", &labels(to));
    fabric.write("cl1", "more", &more(&[NAME, prod]));
    assert!(!serves(fabric, "9: another label"));
    fabric.write("cl1", "more", &more(&[NAME, test]));
    assert!(serves(fabric, "10: the right one"));
    fabric.remove("cl1", "more");
    for peer in ["cl0", "cl1"] {
        fabric.write(peer, "allow", &allow_all());
    }
}

fn scenario_19_clients(fabric: &Fabric) {
    let account = |name: &str| {
        let from = format!("client.clusterlink.net/service-account: {name}");
        policy("deny", "deny", &labels(&[&from]), "")
    };
    fabric.write("cl0", "deny", &account("non-default"));
    fabric.write("cl1", "deny", &account("non-default"));
    assert!(serves(fabric, "2: another account is denied on both sides"));
    fabric.write("cl1", "deny", &account("default"));
    assert!(!serves(fabric, "3: the account is denied at the source"));
    fabric.remove("cl1", "deny");
    fabric.write("cl0", "deny", &account("default"));
    assert!(!serves(fabric, "4: at the destination alone"));
    fabric.remove("cl0", "deny");
    let others = "matchExpressions: [{key: client.clusterlink.net/labels.app, operator: NotIn, \
                  values: [client]}]";
    fabric.write("cl1", "deny", &policy("deny", "deny", others, ""));
    assert!(serves(fabric, "5: all but the client are denied"));
    fabric.remove("cl1", "deny");
}

fn scenario_20_the_tiers(fabric: &Fabric) {
    let tiers = [
        ("1", privileged("first", "deny", "", "")),
        ("2", privileged("second", "allow", "", "")),
        ("3", policy("third", "deny", "", "")),
        ("allow", allow_all()),
    ];
    for (file, text) in &tiers {
        fabric.write("cl0", file, text);
    }
    assert!(!serves(fabric, "All tiers"));
    for ((file, _), passes) in tiers.iter().zip([true, false, true, false]) {
        fabric.remove("cl0", file);
        assert_eq!(serves(fabric, "Delete one"), passes, "without {file}");
    }
    fabric.write("cl0", "allow", &allow_all());
}

fn scenario_21_labels_of_peers(fabric: &Fabric) {
    let label = |key: &str, value: &str| {
        labels(&[&format!("peer.clusterlink.net/labels.{key}: \"{value}\"")])
    };
    let ip = |at: usize| fabric.peers[at].gateway().ip().to_string();
    let by_cluster = policy("deny", "deny", &label("cluster", "cl1"), "");
    fabric.write("cl0", "deny", &by_cluster);
    assert!(!serves(fabric, "1: cl0 denies the cluster"));
    let by_ip = privileged("allow-ip", "allow", &label("ip", &ip(1)), "");
    fabric.write("cl0", "allow-ip", &by_ip);
    assert!(serves(fabric, "2: and allows its address above that"));
    let deny = |ip: &str| policy("deny", "deny", "", &label("ip", ip));
    fabric.write("cl1", "deny", &deny("192.0.2.1"));
    assert!(serves(fabric, "3: cl1 denies another address"));
    fabric.write("cl1", "deny", &deny(&ip(0)));
    assert!(!serves(fabric, "4: and cl0's"));
}
