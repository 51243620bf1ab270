use super::*;

fn formatted(text: &str) -> String {
    match format(text.as_bytes(), &Limits::default()) {
        Ok(formatted) => formatted,
        Err(refused) => panic!("{refused:?}\n{text}"),
    }
}

#[test]
fn layout() {
    let text = "\
# About the whole.


kind:   Export
# About the spec.
spec:   # on its line
    port: 80   # http
    # below the port

    host: 'ledger.shop'
    # at the end of the spec
apiVersion: \"clusterlink.net/v1alpha1\"
metadata:
        # about the namespace
        namespace: shop
        labels:
            on: no
            since:   2026-01-01
            number: \"80\"
        name: ledger   
---
apiVersion: clusterlink.net/v1alpha1
kind: Import
metadata: {name: a,namespace:  b}
spec:
  sources:
      -   exportNamespace: shop # where
          exportName: ledger
          # who
          peer: west

      # the second
      - peer: east
        exportName: ledger
        exportNamespace: shop
  port: 80
";
    insta::assert_snapshot!(formatted(text));
}

#[test]
fn comments_stay_with_what_they_belong_to() {
    let template = include_str!("../../../fabric-repo-template/fabric.yaml");
    assert_eq!(formatted(template), template);
    let policy =
        include_str!("../../../fabric-repo-template/policies/protect-system-namespaces.yaml");
    assert_eq!(formatted(policy), policy);
}

#[test]
fn what_cant_be_read_is_refused() {
    for text in ["a: [", "a: 1\na: 2\n", "\ta: 1", "a: &x 1\n", "a: \u{0}"] {
        let refused = format(text.as_bytes(), &Limits::default());
        assert!(
            matches!(refused, Err(Refused::Unreadable(_))),
            "{text:?}: {refused:?}"
        );
    }
    let refused = format(b"a: 1\rb: 2\n", &Limits::default());
    assert_eq!(refused, Err(Refused::Uncertain));
}

/// Once it was given an empty line.
#[test]
fn an_empty_file_stays_empty() {
    assert_eq!(formatted(""), "");
}
