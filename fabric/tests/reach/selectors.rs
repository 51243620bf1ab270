//! What changes are told as.

use fabric::reach;
use serde_json::{Value, json};

use super::common::{Files, allow_all, import};
use super::told;

/// The difference of a change to two peers, of which one imports from the other.
fn change(before: impl Fn(&mut Files), after: impl Fn(&mut Files)) -> String {
    let mut files = Files::two_peers();
    files.put(
        "peers/west/policy.yaml",
        &policy("pay/base", "allow", json!({})),
    );
    files.put(
        "peers/east/policy.yaml",
        &policy("shop/base", "allow", json!({})),
    );
    let mut old = files.clone();
    before(&mut old);
    let mut new = files;
    after(&mut new);
    let (old, new) = (old.build().fabric.unwrap(), new.build().fabric.unwrap());
    told::difference(&reach::difference(Some(&old), Some(&new)))
}

/// A policy `namespace/name`, or a privileged one `name`, that looks at clients alone.
fn policy(name: &str, action: &str, from: Value) -> String {
    let from = match from {
        Value::Array(entries) => entries,
        one => vec![one],
    };
    let from: Vec<_> = from
        .iter()
        .map(|selector| json!({ "workloadSelector": selector }))
        .collect();
    let (kind, metadata) = match name.split_once('/') {
        Some((namespace, name)) => (
            "AccessPolicy",
            json!({ "name": name, "namespace": namespace }),
        ),
        None => ("PrivilegedAccessPolicy", json!({ "name": name })),
    };
    json!({
        "apiVersion": "clusterlink.net/v1alpha1",
        "kind": kind,
        "metadata": metadata,
        "spec": { "action": action, "from": from, "to": [{ "workloadSelector": {} }] },
    })
    .to_string()
}

fn client(terms: &[(&str, &str, &[&str])]) -> Value {
    let terms: Vec<_> = terms
        .iter()
        .map(|(key, operator, values)| {
            let key = format!("client.clusterlink.net/{key}");
            match values {
                [] => json!({ "key": key, "operator": operator }),
                values => json!({ "key": key, "operator": operator, "values": values }),
            }
        })
        .collect();
    json!({ "matchExpressions": terms })
}

#[test]
fn nothing_changes() {
    assert_eq!(change(|_| {}, |_| {}), "");
}

/// Policies of the exporter before and after, and what is told of the change.
#[test]
fn selectors_are_few_and_small() {
    let all = || json!({});
    let app = |values: &[&str]| client(&[("labels.app", "In", values)]);
    let namespace = |values: &[&str]| client(&[("namespace", "In", values)]);
    let cases = [
        (
            "a namespace more",
            vec![("pay/a", "allow", namespace(&["shop"]))],
            vec![("pay/a", "allow", namespace(&["shop", "bank"]))],
        ),
        (
            "all but a namespace",
            vec![],
            vec![(
                "pay/a",
                "allow",
                client(&[("namespace", "NotIn", &["kube-system"])]),
            )],
        ),
        (
            "any value of a label but some",
            vec![("pay/a", "allow", app(&["till", "cart"]))],
            vec![("pay/a", "allow", client(&[("labels.app", "Exists", &[])]))],
        ),
        (
            "a label or none at all",
            vec![],
            vec![(
                "pay/a",
                "allow",
                json!([
                    app(&["till"]),
                    client(&[("labels.app", "DoesNotExist", &[])])
                ]),
            )],
        ),
        (
            "two policies that overlap",
            vec![],
            vec![
                ("pay/a", "allow", namespace(&["shop"])),
                ("pay/b", "allow", app(&["till"])),
            ],
        ),
        (
            "a deny that stands in front",
            vec![("pay/a", "allow", namespace(&["shop"]))],
            vec![
                ("pay/a", "allow", namespace(&["shop"])),
                (
                    "guard",
                    "deny",
                    client(&[("labels.quarantine", "Exists", &[])]),
                ),
            ],
        ),
        (
            "a deny that goes",
            vec![("pay/a", "allow", all()), ("pay/d", "deny", app(&["till"]))],
            vec![("pay/a", "allow", all())],
        ),
        (
            "an allow of the fabric before a deny of the namespace",
            vec![("pay/d", "deny", all())],
            vec![
                ("pay/d", "deny", all()),
                (
                    "trusted",
                    "allow",
                    client(&[("service-account", "In", &["auditor"])]),
                ),
            ],
        ),
        (
            "one opens, another closes",
            vec![("pay/a", "allow", app(&["till"]))],
            vec![("pay/a", "allow", app(&["cart"]))],
        ),
        (
            "the same in other words",
            vec![("pay/a", "allow", app(&["till", "cart"]))],
            vec![
                ("pay/b", "allow", app(&["cart"])),
                ("pay/c", "allow", app(&["till"])),
            ],
        ),
        (
            "what contradicts itself",
            vec![],
            vec![(
                "pay/a",
                "allow",
                client(&[
                    ("labels.app", "In", &["a"]),
                    ("labels.app", "NotIn", &["a"]),
                ]),
            )],
        ),
    ];
    let mut told = String::new();
    for (what, before, after) in cases {
        let with = |policies: &[(&str, &str, Value)]| {
            let policies: Vec<_> = policies
                .iter()
                .map(|(name, action, from)| policy(name, action, from.clone()))
                .collect();
            move |files: &mut Files| {
                files.remove("peers/west/policy.yaml");
                for (index, policy) in policies.iter().enumerate() {
                    files.put(&format!("peers/west/policies/{index}.yaml"), policy);
                }
            }
        };
        let lines = change(with(&before), with(&after));
        told.push_str(&format!("{what}:\n{lines}\n"));
    }
    insta::assert_snapshot!(told);
}

#[test]
fn a_declared_client_is_the_example() {
    let workloads = json!({
        "apiVersion": "weft.dev/v1alpha1", "kind": "Workloads", "metadata": { "name": "east" },
        "spec": { "workloads": [
            { "addresses": ["10.0.0.1/32"], "namespace": "bank", "serviceAccount": "a" },
            {
                "addresses": ["10.0.0.2/32"], "namespace": "shop", "serviceAccount": "b",
                "labels": { "app": "cart" },
            },
        ] },
    })
    .to_string();
    let told = change(
        |files| {
            files.put("peers/west/policy.yaml", &allow_all("pay"));
        },
        |files| {
            files.put("peers/east/workloads.yaml", &workloads);
            let app = client(&[("labels.app", "Exists", &[])]);
            files.put("peers/west/policy.yaml", &policy("pay/base", "allow", app));
        },
    );
    assert!(told.contains("such as shop/b app=cart: "), "{told}");
}

#[test]
fn routes_come_and_go() {
    let second = import("shop", "second", 9001, "west", "pay/ledger");
    let mut told = String::new();
    for (what, path, text) in [
        ("an import goes", "peers/east/ledger.yaml", ""),
        ("another import", "peers/east/second.yaml", &*second),
        ("the export goes", "peers/west/ledger.yaml", ""),
        ("the exporter goes", "peers/west/peer.yaml", ""),
    ] {
        let lines = change(
            |_| {},
            |files| {
                if path == "peers/west/peer.yaml" {
                    files.0.retain(|path, _| !path.starts_with("peers/west/"));
                } else {
                    files.put(path, text);
                }
            },
        );
        told.push_str(&format!("{what}:\n{lines}\n"));
    }
    insta::assert_snapshot!(told);
}

#[test]
fn nothing_in_force_lets_nobody_through() {
    let mut files = Files::two_peers();
    files.put(
        "peers/west/policy.yaml",
        &policy("pay/base", "allow", json!({})),
    );
    let fabric = files.build().fabric.unwrap();
    let all = reach::difference(None, Some(&fabric));
    assert_eq!((all.opened.len(), all.closed.len()), (1, 0));
    let none = reach::difference(Some(&fabric), None);
    assert_eq!((none.opened.len(), none.closed.len()), (0, 1));
    assert_eq!(reach::difference(None, None), reach::Difference::default());
}

/// Selectors without number: the route counts as opened, and nothing is said of it that isn't so.
#[test]
fn what_is_too_entangled_is_undecided() {
    let entries = (0..130).map(|index| {
        let (a, b) = (format!("labels.a{index}"), format!("labels.b{index}"));
        client(&[(&a, "Exists", &[]), (&b, "DoesNotExist", &[])])
    });
    let entangled = policy("pay/base", "allow", entries.collect());
    let told = change(
        |files| {
            files.remove("peers/west/policy.yaml");
        },
        |files| {
            files.put("peers/west/policy.yaml", &entangled);
        },
    );
    assert!(told.starts_with("? Route"), "{told}");
}

/// What a thousand peers gain is one line, whatever their own policies are.
#[test]
fn peers_that_gain_the_same_are_one_group() {
    let mut files = Files::two_peers();
    for index in 0..20 {
        let name = format!("p{index}");
        let of_peer = |file: &str| format!("peers/{name}/{file}.yaml");
        files.put(&of_peer("peer"), &super::common::peer(&name, "{}"));
        let from_west = import("shop", "ledger", 9000, "west", "pay/ledger");
        files.put(&of_peer("ledger"), &from_west);
        files.put(&of_peer("policy"), &policy("shop/base", "allow", json!({})));
    }
    files.put(
        "peers/east/policy.yaml",
        &policy("shop/base", "allow", json!({})),
    );
    let before = files.build().fabric.unwrap();
    let guests = client(&[("labels.guest", "Exists", &[])]);
    files.put(
        "peers/west/guests.yaml",
        &policy("pay/guests", "allow", guests),
    );
    let after = files.build().fabric.unwrap();
    let difference = reach::difference(Some(&before), Some(&after));
    assert_eq!(difference.opened.len(), 21);
    let [group] = &difference.opened_groups()[..] else {
        panic!("{:?}", difference.opened_groups());
    };
    assert_eq!(
        (group.clients.len(), group.services.len(), group.routes()),
        (1, 1, 21)
    );
    assert_eq!(difference.closed_groups(), []);
}
