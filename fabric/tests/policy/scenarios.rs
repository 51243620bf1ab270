//! The scenarios that ClusterLink itself is tested with, and tables of the semantics.

use serde_json::{Value, json};

use super::world::{World, labels, one, policies, spec, told};
use fabric::policy::{Outcome, Scope, Side};

const WORKLOAD: &str = "export.clusterlink.net/labels.workloadName";
const ENVIRONMENT: &str = "export.clusterlink.net/labels.environment";

/// ClusterLink: TestPrivilegedVsRegular.
#[test]
fn privileged_goes_before_regular() {
    let (allow, deny) = (
        one("allow", json!({}), json!({})),
        one("deny", json!({}), json!({})),
    );
    let world = World::new();
    let decided = |specs: &[_]| told(policies(specs.iter().copied()).decide(&world.request()));
    assert_eq!(decided(&[]), "deny by default");
    assert_eq!(decided(&[("bank/reg", &allow)]), "allow by bank/reg");
    assert_eq!(
        decided(&[("bank/reg", &allow), ("priv", &deny)]),
        "deny by /priv"
    );
}

/// ClusterLink: TestAllLayers.
#[test]
fn all_layers() {
    let metering = json!({ "matchLabels": { WORKLOAD: "global-metering-service" } });
    let metering_prod = json!({ "matchLabels": {
        WORKLOAD: "global-metering-service", ENVIRONMENT: "prod",
    } });
    let private_prod = json!({ "matchLabels": {
        "client.clusterlink.net/labels.clusterlink/metadata.gatewayName": "private",
        "client.clusterlink.net/labels.environment": "prod",
    } });
    let named = json!({ "matchExpressions": [{ "key": WORKLOAD, "operator": "Exists" }] });
    let specs = [
        (
            "priv-deny",
            one("deny", private_prod, metering_prod.clone()),
        ),
        ("priv-allow", one("allow", json!({}), metering_prod)),
        ("bank/deny", one("deny", json!({}), metering)),
        ("bank/allow", one("allow", json!({}), named)),
    ];
    let all = World::new();
    let other = World::new().with_export_labels(&[("workloadName", "other")]);
    let metering = World::new().with_export_labels(&[("workloadName", "global-metering-service")]);
    let prod = World::new().with_export_labels(&[
        ("workloadName", "global-metering-service"),
        ("environment", "prod"),
    ]);
    let private = prod.clone().with_client_labels(&[
        ("clusterlink/metadata.gatewayName", "private"),
        ("environment", "prod"),
    ]);
    let with =
        |skipped: usize| policies(specs.iter().skip(skipped).map(|(name, spec)| (*name, spec)));
    for (world, expected) in [
        (&all, "deny by default"),
        (&other, "allow by bank/allow"),
        (&metering, "deny by bank/deny"),
        (&prod, "allow by /priv-allow"),
        (&private, "deny by /priv-deny"),
    ] {
        assert_eq!(told(with(0).decide(&world.request())), expected);
    }
    // Policies are taken away from the top, and the same connection is asked again.
    for (skipped, expected) in [
        (1, "allow by /priv-allow"),
        (2, "deny by bank/deny"),
        (3, "allow by bank/allow"),
        (4, "deny by default"),
    ] {
        assert_eq!(told(with(skipped).decide(&private.request())), expected);
    }
}

/// ClusterLink: TestDependsOnClientAttrs, whose rule Weft asks per connection.
#[test]
fn depends_on_client_attributes() {
    let unknown = World::new().without_client();
    let everybody = one("allow", json!({}), json!({}));
    let by_label = json!({ "matchLabels": { "client.clusterlink.net/labels.app": "till" } });
    let labelled = one("deny", by_label.clone(), json!({}));
    let elsewhere = json!({ "matchLabels": { "export.clusterlink.net/name": "other" } });
    let labelled_elsewhere = one("deny", by_label, elsewhere);
    let decided = |specs: &[_]| told(policies(specs.iter().copied()).decide(&unknown.request()));
    assert_eq!(decided(&[]), "deny by default");
    assert_eq!(decided(&[("bank/all", &everybody)]), "allow by bank/all");
    assert_eq!(
        decided(&[("bank/all", &everybody), ("bank/label", &labelled)]),
        "deny, unknown to bank/label"
    );
    assert_eq!(
        decided(&[("bank/all", &everybody), ("label", &labelled)]),
        "deny, unknown to /label"
    );
    // A policy for another service says nothing about this one.
    assert_eq!(
        decided(&[("bank/all", &everybody), ("label", &labelled_elsewhere)]),
        "allow by bank/all"
    );
}

/// ClusterLink's end-to-end suite: TestPrivilegedPolicies.
#[test]
fn privileged_policies() {
    let all = || json!({});
    let (allow, deny) = (one("allow", all(), all()), one("deny", all(), all()));
    let world = World::new();
    for (specs, expected) in [
        (
            vec![("priv-allow", &allow), ("bank/deny", &deny)],
            "allow by /priv-allow",
        ),
        (
            vec![("priv-allow", &allow), ("priv-deny", &deny)],
            "deny by /priv-deny",
        ),
        (
            vec![("bank/allow", &allow), ("bank/deny", &deny)],
            "deny by bank/deny",
        ),
        (vec![("bank/allow", &allow)], "allow by bank/allow"),
        // Regular policies of another namespace say nothing.
        (vec![("shop/allow", &allow)], "deny by default"),
        (
            vec![("bank/allow", &allow), ("shop/deny", &deny)],
            "allow by bank/allow",
        ),
    ] {
        let decided = told(policies(specs.clone()).decide(&world.request()));
        assert_eq!(decided, expected, "{specs:?}");
    }
}

/// ClusterLink's end-to-end suite: TestPodAttributes, TestPolicyLabels and TestPeerLabels; and the
/// semantics of each operator.
#[test]
fn terms() {
    let mut world = World::new()
        .with_client_labels(&[("app", "client"), ("example.com/team", "red")])
        .with_export_labels(&[("tier", "db"), ("app.kubernetes.io/name", "ledger")]);
    world.client_peer.labels = labels(&[("region", "eu")]);
    world.export_peer.labels = labels(&[("region", "us"), ("topology.kubernetes.io/zone", "1a")]);
    let term = |key: &str, operator: &str, values: &[&str]| json!({ "matchExpressions": [{ "key": key, "operator": operator, "values": values }] });
    let is = |key: &str, value: &str| json!({ "matchLabels": { key: value } });
    let client = |key: &str| format!("client.clusterlink.net/{key}");
    let peer = |key: &str| format!("peer.clusterlink.net/{key}");
    let export = |key: &str| format!("export.clusterlink.net/{key}");
    let from: Vec<(Value, bool)> = vec![
        (is(&client("namespace"), "shop"), true),
        (is(&client("namespace"), "bank"), false),
        (is(&client("service-account"), "till"), true),
        (is(&client("service-account"), "default"), false),
        (is(&client("labels.app"), "client"), true),
        (is(&client("labels.app"), "server"), false),
        (is(&client("labels.example.com/team"), "red"), true),
        (is(&peer("name"), "east"), true),
        (is(&peer("name"), "west"), false),
        (is(&peer("labels.region"), "eu"), true),
        (is(&peer("labels.region"), "us"), false),
        (
            term(&client("labels.app"), "In", &["a", "client", "z"]),
            true,
        ),
        (term(&client("labels.app"), "In", &["a", "z"]), false),
        (term(&client("labels.none"), "In", &["a"]), false),
        (term(&client("labels.app"), "NotIn", &["a", "z"]), true),
        (
            term(&client("labels.app"), "NotIn", &["a", "client"]),
            false,
        ),
        (term(&client("labels.none"), "NotIn", &["a"]), true),
        (term(&client("labels.app"), "Exists", &[]), true),
        (term(&client("labels.none"), "Exists", &[]), false),
        (term(&client("labels.app"), "DoesNotExist", &[]), false),
        (term(&client("labels.none"), "DoesNotExist", &[]), true),
        // Keys that never stand on this side are absent.
        (is(&export("name"), "ledger"), false),
        (term(&export("name"), "Exists", &[]), false),
        (term(&export("name"), "NotIn", &["ledger"]), true),
        (term(&export("labels.tier"), "DoesNotExist", &[]), true),
        // So are keys that are no attribute at all.
        (is("app", "client"), false),
        (is(&client("labels."), "client"), false),
        (is(&client("name"), "client"), false),
        (term("client.clusterlink.net", "DoesNotExist", &[]), true),
    ];
    let to = vec![
        (is(&export("name"), "ledger"), true),
        (is(&export("name"), "other"), false),
        (is(&export("namespace"), "bank"), true),
        (is(&export("namespace"), "shop"), false),
        (is(&export("labels.tier"), "db"), true),
        (is(&export("labels.app.kubernetes.io/name"), "ledger"), true),
        (is(&peer("name"), "west"), true),
        (is(&peer("name"), "east"), false),
        (is(&peer("labels.region"), "us"), true),
        (is(&peer("labels.topology.kubernetes.io/zone"), "1a"), true),
        (is(&client("namespace"), "shop"), false),
        (term(&client("namespace"), "DoesNotExist", &[]), true),
    ];
    let check = |spec: &_, expected: bool| {
        let policies = policies([("bank/one", spec)]);
        let is_allowed = policies.decide(&world.request()).is_allowed();
        assert_eq!(is_allowed, expected, "{spec:?}");
    };
    for (selector, expected) in &from {
        check(&one("allow", selector.clone(), json!({})), *expected);
    }
    for (selector, expected) in &to {
        check(&one("allow", json!({}), selector.clone()), *expected);
    }
    // Entries are alternatives, the terms of an entry are not.
    let alternatives = [is(&export("name"), "other"), is(&export("name"), "ledger")];
    check(&spec("allow", &[json!({})], &alternatives), true);
    let both = json!({ "matchLabels": { export("name"): "ledger", export("labels.tier"): "web" } });
    check(&one("allow", json!({}), both), false);
}

/// What a newer writer may put there must not open anything.
#[test]
fn what_is_not_understood_fails_closed() {
    let world = World::new();
    let allow = one("allow", json!({}), json!({}));
    for (from, to) in [
        (json!([{}]), json!([{ "workloadSelector": {} }])),
        (
            json!([{ "workloadSets": ["a"] }]),
            json!([{ "workloadSelector": {} }]),
        ),
        (json!([{ "workloadSelector": {} }]), json!([])),
    ] {
        let spec = |action| {
            serde_json::from_value(json!({ "action": action, "from": from, "to": to })).unwrap()
        };
        let (odd_deny, odd_allow) = (spec("deny"), spec("allow"));
        let denied = policies([("bank/all", &allow), ("bank/odd", &odd_deny)]);
        assert_eq!(told(denied.decide(&world.request())), "deny by bank/odd");
        let not_allowed = policies([("bank/odd", &odd_allow)]);
        assert_eq!(
            told(not_allowed.decide(&world.request())),
            "deny by default"
        );
    }
}

#[test]
fn steps_tell_what_failed() {
    let deny = spec(
        "deny",
        &[json!({ "matchLabels": { "client.clusterlink.net/namespace": "other" } })],
        &[json!({})],
    );
    let allow = one("allow", json!({}), json!({}));
    let policies = policies([("no-other", &deny), ("bank/all", &allow)]);
    let world = World::new();
    let steps = policies.steps(&world.request());
    assert_eq!(steps.len(), 5);
    let Outcome::Missed { side, mismatches } = &steps[0].policies[0].outcome else {
        panic!("{steps:?}");
    };
    assert_eq!(*side, Side::From);
    assert_eq!(
        mismatches[0].pointer,
        "/spec/from/0/workloadSelector/matchLabels/client.clusterlink.net~1namespace"
    );
    assert_eq!(mismatches[0].actual.as_deref(), Some("shop"));
    assert_eq!(steps[3].policies[0].outcome, Outcome::Matched);
    assert_eq!(steps[3].decision.map(told).unwrap(), "allow by bank/all");
    assert_eq!((steps[4].scope, steps[4].decision), (Scope::Default, None));
}
