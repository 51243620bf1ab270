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

#[test]
fn a_new_allow() {
    let told = change(
        |files| {
            files.put("peers/west/policy.yaml", &allow_all("pay"));
        },
        |files| {
            files.put(
                "peers/west/policy.yaml",
                &policy(
                    "pay/base",
                    "allow",
                    client(&[("labels.app", "Exists", &[])]),
                ),
            );
        },
    );
    insta::assert_snapshot!(told);
}

#[test]
fn a_removed_import() {
    let told = change(
        |_| {},
        |files| {
            files.remove("peers/east/ledger.yaml");
        },
    );
    insta::assert_snapshot!(told);
}

#[test]
fn a_second_import() {
    let told = change(
        |_| {},
        |files| {
            files.put(
                "peers/east/second.yaml",
                &import("shop", "second", 9001, "west", "pay/ledger"),
            );
        },
    );
    insta::assert_snapshot!(told);
}
