use serde_json::Value;

use crate::sandbox::Sandbox;

fn who_can(sandbox: &Sandbox, arguments: &[&str]) -> (i32, String) {
    let mut all = vec!["who-can"];
    all.extend(arguments);
    let outcome = sandbox.weft("acme", &all);
    (outcome.code, outcome.stdout + &outcome.stderr)
}

/// A policy of east or of all peers that denies clients by an attribute.
fn deny(kind: &str, metadata: &str, key: &str) -> String {
    format!(
        "apiVersion: clusterlink.net/v1alpha1\nkind: {kind}\nmetadata: {metadata}\nspec:\n  \
         action: deny\n  from:\n  - workloadSelector:\n      matchExpressions:\n      - {key}\n  \
         to:\n  - workloadSelector: {{}}\n"
    )
}

#[test]
fn who_can_and_by_which_rules() {
    let sandbox = Sandbox::new();
    sandbox.fabric();
    let (code, text) = who_can(&sandbox, &["shop/ledger"]);
    assert_eq!(code, 0, "{text}");
    insta::assert_snapshot!("who_can", text);

    // A label that nobody has declared is told all the same.
    sandbox.write(
        "acme/policies/quarantine.yaml",
        &deny(
            "PrivilegedAccessPolicy",
            "{name: quarantine}",
            "{key: client.clusterlink.net/labels.quarantine, operator: Exists}",
        ),
    );
    let (code, text) = who_can(&sandbox, &["shop/ledger"]);
    assert_eq!(code, 0, "{text}");
    insta::assert_snapshot!("who_can_but_for_some", text);

    // At the commit it is as it was.
    let (code, text) = who_can(&sandbox, &["shop/ledger", "--rev", "HEAD"]);
    assert_eq!(code, 0);
    assert!(
        !text.contains("quarantine") && text.contains("(commit "),
        "{text}"
    );
}

#[test]
fn nobody_can_and_why() {
    let sandbox = Sandbox::new();
    sandbox.fabric();
    let everybody = "{key: peer.clusterlink.net/name, operator: Exists}";
    let closed = deny("AccessPolicy", "{name: closed, namespace: shop}", everybody);
    sandbox.write("acme/peers/east/closed.yaml", &closed);
    let (code, text) = who_can(&sandbox, &["shop/ledger"]);
    assert_eq!(code, 1, "{text}");
    insta::assert_snapshot!("who_can_nobody", text);

    // Each side lets others through.
    let others = "{key: client.clusterlink.net/labels.app, operator: In, values: [till]}";
    let closed = deny("AccessPolicy", "{name: closed, namespace: shop}", others);
    sandbox.write("acme/peers/east/closed.yaml", &closed);
    let (code, text) = who_can(&sandbox, &["shop/ledger"]);
    assert_eq!(code, 1, "{text}");
    insta::assert_snapshot!("who_can_nobody_in_common", text);

    sandbox.write("acme/peers/west/imports.yaml", "");
    let (code, text) = who_can(&sandbox, &["shop/ledger"]);
    assert_eq!(code, 1, "{text}");
    insta::assert_snapshot!("who_can_no_import", text);
}

#[test]
fn the_json_form_tells_the_same() {
    let sandbox = Sandbox::new();
    sandbox.fabric();
    let (code, text) = who_can(&sandbox, &["shop/ledger", "-o", "json"]);
    assert_eq!(code, 0, "{text}");
    let value: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["formatVersion"], 1);
    assert_eq!(value["reachable"], true);
    let service = &value["services"][0];
    assert_eq!(service["exportPeer"], "east");
    assert_eq!(service["withoutImport"], serde_json::json!(["east"]));
    let grant = &service["access"][0]["outcome"]["granted"][0];
    assert_eq!(grant["verdict"]["allowed"], true);
    let rule = &grant["verdict"]["exporter"]["allowed"];
    assert_eq!(rule["origin"]["path"], "peers/east/access.yaml");
    assert!(grant["clients"]["known"].is_array(), "{text}");
}

#[test]
fn whoever_hands_it_on_is_told() {
    let sandbox = Sandbox::new();
    sandbox.fabric();
    let import = sandbox.read("acme/peers/west/imports.yaml");
    let port = import.lines().find(|line| line.starts_with("  port: "));
    let port = port.unwrap().trim();
    let relay = |host: &str| {
        format!(
            "apiVersion: clusterlink.net/v1alpha1\nkind: Export\n\
             metadata: {{name: books, namespace: shop}}\nspec:\n  host: {host}\n  {port}\n"
        )
    };
    sandbox.write(
        "acme/peers/west/relay.yaml",
        &relay("ledger.shop.svc.cluster.local"),
    );
    let (code, text) = who_can(&sandbox, &["shop/ledger"]);
    assert_eq!(code, 0, "{text}");
    let told = "handed on by west, at peers/west/relay.yaml:1: \
                who reaches shop/books of west may reach it, too";
    assert!(text.contains(told), "{text}");
    let (_, text) = who_can(&sandbox, &["shop/ledger", "-o", "json"]);
    let value: Value = serde_json::from_str(&text).unwrap();
    let relays = &value["services"][0]["relays"];
    assert_eq!(relays[0]["export"], "shop/books");
    assert_eq!(relays.as_array().map(Vec::len), Some(1));
    // Another service of that port is none.
    sandbox.write(
        "acme/peers/west/relay.yaml",
        &relay("other.shop.svc.cluster.local"),
    );
    let (_, text) = who_can(&sandbox, &["shop/ledger"]);
    assert!(!text.contains("handed on"), "{text}");
}

#[test]
fn what_is_not_there_is_told_with_what_was_meant() {
    let sandbox = Sandbox::new();
    sandbox.fabric();
    let (code, text) = who_can(&sandbox, &["shop/legder"]);
    assert_eq!(code, 2);
    insta::assert_snapshot!(text, @r"
    error: no peer of the fabric exports shop/legder
    hint: did you mean shop/ledger?
    ");
    let (code, text) = who_can(&sandbox, &["shop/ledger", "--peer", "wst"]);
    assert_eq!(code, 2);
    insta::assert_snapshot!(text, @r"
    error: the fabric has no peer wst in force
    hint: did you mean west?
    ");
    let (code, text) = who_can(&sandbox, &["shop/ledger", "--peer", "west"]);
    assert_eq!(code, 2);
    insta::assert_snapshot!(text, @"error: the peer west exports no shop/ledger");
}
