use serde_json::Value;

use crate::sandbox::Sandbox;

fn explain(sandbox: &Sandbox, arguments: &[&str]) -> (i32, String) {
    let mut all = vec!["explain"];
    all.extend(arguments);
    let outcome = sandbox.weft("acme", &all);
    (outcome.code, outcome.stdout + &outcome.stderr)
}

#[test]
fn both_sides_have_to_allow() {
    let sandbox = Sandbox::new();
    sandbox.fabric();
    let till = ["west/shop", "--label", "app=till", "shop/ledger"];
    let (code, text) = explain(&sandbox, &till);
    assert_eq!(code, 0);
    insta::assert_snapshot!("explain_allowed", text);

    let (code, text) = explain(&sandbox, &["west/shop", "shop/ledger", "--steps"]);
    assert_eq!(code, 1);
    insta::assert_snapshot!("explain_denied_at_the_importer", text);

    sandbox.edit(
        "acme/peers/east/access.yaml",
        "name: west\n",
        "name: north\n",
    );
    let (code, text) = explain(&sandbox, &till);
    assert_eq!(code, 1);
    insta::assert_snapshot!("explain_denied_at_the_exporter", text);

    // At the commit it is as it was.
    let mut at_commit = till.to_vec();
    at_commit.extend(["--rev", "HEAD"]);
    let (code, text) = explain(&sandbox, &at_commit);
    assert_eq!(code, 0);
    // Wherever the line is broken.
    let words: Vec<_> = text.split_whitespace().collect();
    let words = words.join(" ");
    assert!(
        words.contains("peers/east/access.yaml:1 (commit "),
        "{text}"
    );
}

#[test]
fn an_unknown_client_is_denied_where_it_could_matter() {
    let sandbox = Sandbox::new();
    sandbox.fabric();
    let (code, text) = explain(&sandbox, &["west", "shop/ledger"]);
    assert_eq!(code, 1);
    insta::assert_snapshot!("explain_unknown_client", text);
    let (code, text) = explain(&sandbox, &["west", "--label", "a=b", "shop/ledger"]);
    assert_eq!(code, 2, "{text}");
}

#[test]
fn the_json_form_tells_the_same() {
    let sandbox = Sandbox::new();
    sandbox.fabric();
    let arguments = ["west/shop", "shop/ledger", "-o", "json", "--steps"];
    let (code, text) = explain(&sandbox, &arguments);
    assert_eq!(code, 1);
    let value: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["allowed"], false);
    let source = &value["sources"][0];
    assert_eq!(source["importer"]["reason"], "defaultDeny");
    assert_eq!(
        source["exporter"]["rule"]["origin"]["path"],
        "peers/east/access.yaml"
    );
    assert_eq!(source["importer"]["steps"].as_array().unwrap().len(), 5);
}

#[test]
fn what_is_not_there_is_told_with_what_was_meant() {
    let sandbox = Sandbox::new();
    sandbox.fabric();
    let (code, text) = explain(&sandbox, &["wst/shop", "shop/ledger"]);
    assert_eq!(code, 2);
    insta::assert_snapshot!(text, @r"
    error: the fabric has no peer wst in force
    hint: did you mean west?
    ");
    let (code, text) = explain(&sandbox, &["west/shop", "shop/leger"]);
    assert_eq!(code, 2);
    insta::assert_snapshot!(text, @r"
    error: the peer west has no import shop/leger in force
    hint: did you mean shop/ledger?
    ");
}
