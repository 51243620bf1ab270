//! What a policy does that its author hardly meant.

use fabric::attributes::{ExportAttributes, Labels, PeerAttributes};
use fabric::name::ObjectName;
use fabric::policy::effects::{Oddity, Service, Universe, inspect, matches_nothing};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::drawn::{named_specs, some_labels, value, world};
use super::oracle::{Answer, answer};
use super::world::{labels, one, spec};

/// An oddity in a line: code, place, message, help.
fn told(oddity: &Oddity) -> String {
    let Oddity {
        code,
        pointer,
        at_key,
        message,
        help,
    } = oddity;
    let at = if *at_key { "key " } else { "" };
    let help = help.as_deref().unwrap_or("");
    format!("{code} {at}{pointer}: {message} | {help}")
}

fn all_told(oddities: &[Oddity]) -> String {
    oddities.iter().map(told).collect::<Vec<_>>().join("\n")
}

fn term(key: &str, operator: &str, values: &[&str]) -> Value {
    json!({ "key": key, "operator": operator, "values": values })
}

fn terms(terms: &[Value]) -> Value {
    json!({ "matchExpressions": terms })
}

#[test]
fn unknown_attributes() {
    let label = |key: &str| json!({ "matchLabels": { key: "x" } });
    for (side, key, help) in [
        (
            "from",
            "client.clusterlink.net/namespce",
            "did you mean \"client.clusterlink.net/namespace\"?",
        ),
        (
            "from",
            "client.clusterlink.net/name",
            "the label \"name\" of the client is \"client.clusterlink.net/labels.name\"",
        ),
        (
            "from",
            "client.clusterlink.net/label.app",
            "did you mean \"client.clusterlink.net/labels.app\"?",
        ),
        (
            "from",
            "client.clusterlink.net/labels/app",
            "did you mean \"client.clusterlink.net/labels.app\"?",
        ),
        (
            "from",
            "clients.clusterlink.net/labels.app",
            "did you mean \"client.clusterlink.net/labels.app\"?",
        ),
        (
            "from",
            "app",
            "the label \"app\" of the client is \"client.clusterlink.net/labels.app\"",
        ),
        (
            "from",
            "app.kubernetes.io/name",
            "the label \"app.kubernetes.io/name\" of the client is \"client.clusterlink.net/labels.app.kubernetes.io/name\"",
        ),
        (
            "from",
            "export.clusterlink.net/name",
            "the attribute stands in `to` alone",
        ),
        (
            "to",
            "client.clusterlink.net/labels.app",
            "the attribute stands in `from` alone",
        ),
        (
            "to",
            "export.clusterlink.net/nam",
            "did you mean \"export.clusterlink.net/name\"?",
        ),
        (
            "to",
            "tier",
            "the label \"tier\" of the service is \"export.clusterlink.net/labels.tier\"",
        ),
        (
            "to",
            "export.clusterlink.net/labels.",
            "the attributes are export.clusterlink.net/name, export.clusterlink.net/namespace, peer.clusterlink.net/name, and export.clusterlink.net/labels.KEY",
        ),
    ] {
        let selector = label(key);
        let spec = match side {
            "from" => one("allow", selector, label("peer.clusterlink.net/name")),
            _ => one("allow", label("peer.clusterlink.net/name"), selector),
        };
        let escaped = key.replace('/', "~1");
        assert_eq!(
            all_told(&inspect(&spec)),
            format!(
                "WEFT0404 key /spec/{side}/0/workloadSelector/matchLabels/{escaped}: {key:?} is no \
                 attribute in `{side}`, so the term never holds: the entry allows nothing | {help}"
            ),
        );
    }
    for (action, operator, values, effect) in [
        (
            "deny",
            "In",
            &["x"][..],
            "the term never holds: THE ENTRY DENIES NOTHING",
        ),
        (
            "deny",
            "NotIn",
            &["x"],
            "the term always holds: THE DENY IS WIDER THAN IT LOOKS",
        ),
        (
            "allow",
            "Exists",
            &[],
            "the term never holds: the entry allows nothing",
        ),
        (
            "allow",
            "DoesNotExist",
            &[],
            "the term always holds: the allow is wider than it looks",
        ),
    ] {
        let first = term("client.clusterlink.net/namespace", "In", &["a"]);
        let selector = terms(&[first, term("appp", operator, values)]);
        let oddities = inspect(&spec(action, &[json!({}), selector], &[json!({})]));
        let told = all_told(&oddities[..1]);
        let place = "WEFT0404 /spec/from/1/workloadSelector/matchExpressions/1/key: ";
        assert!(told.starts_with(place) && told.contains(effect), "{told}");
    }
}

#[test]
fn contradictions() {
    let namespace = "client.clusterlink.net/namespace";
    let app = "client.clusterlink.net/labels.app";
    let name = "peer.clusterlink.net/name";
    // The term at which it becomes impossible, or none.
    for (selector, place) in [
        (
            vec![term(namespace, "In", &["a"]), term(namespace, "In", &["b"])],
            Some(1),
        ),
        (
            vec![
                term(namespace, "In", &["a", "b"]),
                term(namespace, "In", &["b", "c"]),
            ],
            None,
        ),
        (
            vec![
                term(namespace, "In", &["a", "b"]),
                term(app, "In", &["c"]),
                term(namespace, "NotIn", &["a"]),
                term(namespace, "NotIn", &["b"]),
                term(namespace, "Exists", &[]),
            ],
            Some(3),
        ),
        (
            vec![term(app, "Exists", &[]), term(app, "DoesNotExist", &[])],
            Some(1),
        ),
        (
            vec![term(app, "NotIn", &["a"]), term(app, "DoesNotExist", &[])],
            None,
        ),
        (
            vec![term(app, "NotIn", &["a"]), term(app, "Exists", &[])],
            None,
        ),
        (vec![term(app, "In", &[])], Some(0)),
        (vec![term(name, "DoesNotExist", &[])], Some(0)),
        (
            vec![term(namespace, "In", &["a"]), term(app, "In", &["b"])],
            None,
        ),
    ] {
        let oddities = inspect(&one("deny", terms(&selector), json!({})));
        let pointers: Vec<_> = oddities
            .iter()
            .map(|oddity| oddity.pointer.as_str())
            .collect();
        let expected =
            place.map(|place| format!("/spec/from/0/workloadSelector/matchExpressions/{place}"));
        assert_eq!(
            pointers,
            expected.iter().collect::<Vec<_>>(),
            "{selector:?}"
        );
    }
    let mixed = json!({
        "matchLabels": { namespace: "a" },
        "matchExpressions": [term(namespace, "NotIn", &["a"])],
    });
    assert_eq!(
        all_told(&inspect(&one("deny", mixed, json!({})))),
        "WEFT0405 /spec/from/0/workloadSelector/matchExpressions/0: no value satisfies this \
         together with the other terms on the same key: client.clusterlink.net/namespace; the \
         entry denies nobody | alternatives are entries of their own; the terms of one entry must \
         all hold"
    );
}

#[test]
fn everything() {
    let some = || json!({ "matchLabels": { "peer.clusterlink.net/name": "east" } });
    for (action, from, to, pointer) in [
        (
            "allow",
            vec![json!({})],
            vec![json!({})],
            Some("/spec/from/0"),
        ),
        (
            "allow",
            vec![some(), json!({})],
            vec![some(), json!({})],
            Some("/spec/from/1"),
        ),
        ("allow", vec![some()], vec![json!({})], None),
        ("allow", vec![json!({})], vec![some()], None),
        ("deny", vec![json!({})], vec![json!({})], None),
    ] {
        let oddities = inspect(&spec(action, &from, &to));
        let pointers: Vec<_> = oddities
            .iter()
            .map(|oddity| oddity.pointer.as_str())
            .collect();
        assert_eq!(pointers, pointer.into_iter().collect::<Vec<_>>());
    }
}

#[test]
fn nothing() {
    let peer = |name: &str, items| PeerAttributes {
        name: name.parse().unwrap(),
        labels: labels(items),
    };
    let (east, west) = (peer("east", &[("region", "eu")]), peer("west", &[]));
    let export = |name: &str| ExportAttributes {
        name: ObjectName::new("bank", name).unwrap(),
        labels: labels(&[("tier", "db")]),
    };
    let (ledger, vault) = (export("ledger"), export("vault"));
    let services = [(&ledger, &west), (&vault, &east)];
    let services = services.map(|(export, peer)| Service { export, peer });
    let universe = Universe::new([&east, &west], services);
    let is = |key: &str, value: &str| json!({ "matchLabels": { key: value } });
    let name = "export.clusterlink.net/name";
    let peer_name = "peer.clusterlink.net/name";
    let at_west = json!({ "matchLabels": { name: "vault", peer_name: "west" } });
    let twice = terms(&[
        term("client.clusterlink.net/namespace", "In", &["a"]),
        term("client.clusterlink.net/namespace", "In", &["b"]),
    ]);
    let nothing = |action, from: &[Value], to: &[Value]| {
        matches_nothing(&spec(action, from, to), &universe)
            .as_ref()
            .map(told)
    };
    let all = json!({});
    let everyone = std::slice::from_ref(&all);
    for (from, to) in [
        (all.clone(), all.clone()),
        (
            is("client.clusterlink.net/namespace", "whatever"),
            all.clone(),
        ),
        (
            is("peer.clusterlink.net/labels.region", "eu"),
            is(name, "ledger"),
        ),
        (all.clone(), is(peer_name, "east")),
        (all.clone(), is("export.clusterlink.net/labels.tier", "db")),
    ] {
        assert_eq!(nothing("allow", &[from], &[to]), None);
    }
    assert_eq!(
        nothing("allow", everyone, &[is(name, "legder")]).unwrap(),
        "WEFT0402 /spec/to/0: no service of the fabric matches `to`, so the policy allows nothing \
         | there is no \"legder\"; did you mean \"ledger\"?"
    );
    assert_eq!(
        nothing("deny", &[is(peer_name, "north")], everyone).unwrap(),
        "WEFT0402 /spec/from/0: no peer of the fabric matches `from`, so the policy denies nothing \
         | there is no \"north\""
    );
    for (from, to, place) in [
        (all.clone(), at_west, "/spec/to/0:"),
        (
            is("peer.clusterlink.net/labels.region", "us"),
            all.clone(),
            "/spec/from/0:",
        ),
        (twice, all.clone(), "/spec/from/0:"),
    ] {
        assert!(nothing("deny", &[from], &[to]).unwrap().contains(place));
    }
    let two = [is(name, "a"), is(name, "b")];
    assert!(
        nothing("deny", everyone, &two)
            .unwrap()
            .contains(" /spec/to:")
    );
    assert_eq!(
        nothing("deny", everyone, &[is(name, "a"), is(name, "vault")]),
        None
    );
}

fn peer_attributes() -> impl Strategy<Value = PeerAttributes> {
    (value(), some_labels()).prop_map(|(name, labels)| PeerAttributes {
        name: name.parse().unwrap(),
        labels,
    })
}

fn export_attributes() -> impl Strategy<Value = ExportAttributes> {
    (value(), value(), some_labels()).prop_map(|(namespace, name, labels): (_, _, Labels)| {
        ExportAttributes {
            name: ObjectName::new(&namespace, &name).unwrap(),
            labels,
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// A policy that is said to match nothing matches nothing, whatever is drawn.
    #[test]
    fn nothing_is_never_said_wrongly(
        specs in named_specs(),
        peers in proptest::collection::vec(peer_attributes(), 1..3),
        services in proptest::collection::vec((export_attributes(), peer_attributes()), 1..3),
        mut world in world(),
    ) {
        let all = services.iter().map(|(export, peer)| Service { export, peer });
        let universe = Universe::new(&peers, all);
        for spec in specs.values() {
            if matches_nothing(spec, &universe).is_none() {
                continue;
            }
            for peer in &peers {
                for (export, export_peer) in &services {
                    world.client_peer = peer.clone();
                    world.export = export.clone();
                    world.export_peer = export_peer.clone();
                    prop_assert_ne!(answer(spec, &world.request()), Answer::Matches);
                }
            }
        }
    }
}
