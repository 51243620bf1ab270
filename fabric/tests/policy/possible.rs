//! Whether anybody could be allowed, against every client there can be.

use fabric::attributes::Client;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::drawn::{named_specs, world};
use super::oracle::oracle;
use super::world::{World, labels, one, policies};

fn could_allow(specs: &[(&str, &fabric::api::AccessPolicySpec)]) -> bool {
    let world = World::new();
    let World {
        namespace,
        client_peer,
        export,
        export_peer,
        ..
    } = &world;
    policies(specs.iter().copied()).could_allow(namespace, client_peer, export, export_peer)
}

#[test]
fn table() {
    let client = |operator: &str, values: &[&str]| {
        json!({ "matchExpressions": [
            { "key": "client.clusterlink.net/namespace", "operator": operator, "values": values },
        ] })
    };
    let export = |name: &str| json!({ "matchLabels": { "export.clusterlink.net/name": name } });
    let all = || json!({});
    let allow = |from: Value| one("allow", from, all());
    let deny = |from: Value| one("deny", from, all());
    let twice = json!({
        "matchLabels": { "client.clusterlink.net/labels.app": "a" },
        "matchExpressions": [
            { "key": "client.clusterlink.net/labels.app", "operator": "NotIn", "values": ["a"] },
        ],
    });
    for (specs, expected) in [
        (vec![], false),
        (vec![("bank/a", allow(all()))], true),
        (vec![("shop/a", allow(all()))], false),
        (vec![("bank/a", allow(client("In", &["x"])))], true),
        (vec![("bank/a", allow(twice))], false),
        (
            vec![("bank/a", one("allow", all(), export("other")))],
            false,
        ),
        (
            vec![("bank/a", one("allow", all(), export("ledger")))],
            true,
        ),
        (vec![("bank/a", allow(all())), ("d", deny(all()))], false),
        (
            vec![("a", allow(client("In", &["x"]))), ("bank/d", deny(all()))],
            true,
        ),
        // A deny of the very clients that are allowed, and one that leaves some.
        (
            vec![
                ("bank/a", allow(client("In", &["x"]))),
                ("d", deny(client("In", &["x", "y"]))),
            ],
            false,
        ),
        (
            vec![
                ("bank/a", allow(client("In", &["x", "z"]))),
                ("d", deny(client("In", &["x", "y"]))),
            ],
            true,
        ),
        (
            vec![
                ("bank/a", allow(client("In", &["x"]))),
                ("d", deny(client("NotIn", &["x"]))),
            ],
            true,
        ),
        (
            vec![
                ("bank/a", allow(client("Exists", &[]))),
                ("d", deny(client("NotIn", &["x"]))),
            ],
            true,
        ),
    ] {
        let named: Vec<_> = specs.iter().map(|(name, spec)| (*name, spec)).collect();
        assert_eq!(could_allow(&named), expected, "{specs:?}");
    }
}

/// Two lists of all values of many labels: what can't be tried is never said to be impossible.
#[test]
fn too_much_to_try_is_perhaps() {
    let term = |key: usize, operator: &str| {
        let key = format!("client.clusterlink.net/labels.l{key}");
        let values: Vec<_> = (0..50).map(|value| format!("v{value}")).collect();
        json!({ "key": key, "operator": operator, "values": values })
    };
    let all: Vec<_> = (0..20).map(|key| term(key, "In")).collect();
    let allow = one("allow", json!({ "matchExpressions": all }), json!({}));
    let denies: Vec<_> = (0..20)
        .map(|key| {
            one(
                "deny",
                json!({ "matchExpressions": [term(key, "In")] }),
                json!({}),
            )
        })
        .collect();
    let names: Vec<_> = (0..20).map(|key| format!("bank/d{key}")).collect();
    let mut specs: Vec<_> = names.iter().map(String::as_str).zip(&denies).collect();
    specs.push(("bank/a", &allow));
    // Fifty to the power of twenty clients would take longer than anybody waits.
    assert!(could_allow(&specs));
}

/// Every client that the alphabets of the oracle can tell apart.
fn clients() -> Vec<Option<Client>> {
    let mut clients = vec![None];
    let present = ["a", "b", "c", "else"];
    let values = [None, Some("a"), Some("b"), Some("c"), Some("else")];
    for namespace in present {
        for account in present {
            for x in values {
                for y in values {
                    let items = [("x", x), ("e.com/x", y)];
                    let items: Vec<_> = items
                        .iter()
                        .filter_map(|(key, value)| Some((*key, (*value)?)))
                        .collect();
                    clients.push(Some(Client {
                        namespace: namespace.to_owned(),
                        service_account: account.to_owned(),
                        labels: labels(&items),
                    }));
                }
            }
        }
    }
    clients
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 80, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn could_allow_tries_every_client(specs in named_specs(), mut world in world()) {
        let compiled = policies(specs.iter().map(|(name, spec)| (name.as_str(), spec)));
        let World { namespace, client_peer, export, export_peer, .. } = &world;
        let could = compiled.could_allow(namespace, client_peer, export, export_peer);
        let expected = clients().into_iter().any(|client| {
            world.client = client;
            oracle(&specs, &world.request()).starts_with("allow")
        });
        prop_assert_eq!(could, expected);
    }
}
