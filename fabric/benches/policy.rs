//! Nanoseconds per decision, by the number of policies.
//!
//! `cargo bench -p fabric --bench policy`
#![expect(
    clippy::expect_used,
    reason = "what a bench lays down is right or it must stop"
)]

use divan::{Bencher, black_box};
use fabric::api::AccessPolicySpec;
use fabric::attributes::{Client, ExportAttributes, Labels, PeerAttributes};
use fabric::name::{Kind, ObjectKey, ObjectName};
use fabric::origin::{Origin, Revision};
use fabric::policy::{Policies, Request};
use serde_json::{Value, json};

const COUNTS: [usize; 3] = [1, 100, 10_000];

fn main() {
    divan::main();
}

/// Policies for as many services: all but the last can't match, and are never looked at.
#[divan::bench(args = COUNTS)]
fn one_service_each(bencher: Bencher<'_, '_>, count: usize) {
    let to = |index| json!({ "matchLabels": { "export.clusterlink.net/name": name(index) } });
    bench(bencher, count, true, |index| (client(), to(index)));
}

/// The same while the client is unknown.
#[divan::bench(args = COUNTS)]
fn one_service_each_unknown_client(bencher: Bencher<'_, '_>, count: usize) {
    let to = |index| json!({ "matchLabels": { "export.clusterlink.net/name": name(index) } });
    bench(bencher, count, false, |index| (client(), to(index)));
}

/// Policies for as many clients of the same services.
#[divan::bench(args = COUNTS)]
fn one_client_each(bencher: Bencher<'_, '_>, count: usize) {
    let from = |index| {
        json!({ "matchLabels": {
            "client.clusterlink.net/namespace": "shop",
            "client.clusterlink.net/service-account": name(index),
        } })
    };
    let to = || json!({ "matchLabels": { "export.clusterlink.net/namespace": "bank" } });
    bench(bencher, count, true, |index| (from(index), to()));
}

/// Policies that can't be filed under any value: each is looked at.
#[divan::bench(args = COUNTS)]
fn unfiled(bencher: Bencher<'_, '_>, count: usize) {
    let to = |index| {
        json!({ "matchExpressions": [
            { "key": "export.clusterlink.net/namespace", "operator": "Exists" },
            { "key": format!("export.clusterlink.net/labels.l{index}"), "operator": "Exists" },
        ] })
    };
    bench(bencher, count, true, |index| (json!({}), to(index)));
}

fn bench(
    bencher: Bencher<'_, '_>,
    count: usize,
    is_known: bool,
    selectors: impl Fn(usize) -> (Value, Value),
) {
    let mut policies = Policies::default();
    for index in 0..count {
        let (from, to) = selectors(index);
        let entry = |selector| json!([{ "workloadSelector": selector }]);
        let spec = json!({ "action": "allow", "from": entry(from), "to": entry(to) });
        let spec: AccessPolicySpec = serde_json::from_value(spec).expect("a policy");
        policies.add(key(index), origin(), &spec);
    }
    let labels = |items: &[(&str, &str)]| -> Labels {
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        items.iter().map(owned).collect()
    };
    let client = Client {
        namespace: "shop".to_owned(),
        service_account: name(count - 1),
        labels: labels(&[("app", "till"), ("tier", "web")]),
    };
    let peer = |name: &str| PeerAttributes {
        name: name.parse().expect("a name"),
        labels: labels(&[("region", "eu")]),
    };
    let export = |name: &str| ExportAttributes {
        name: ObjectName::new("bank", name).expect("a name"),
        labels: labels(&[("tier", "db")]),
    };
    let (east, west) = (peer("east"), peer("west"));
    let last = export(&name(count - 1));
    bencher.bench_local(|| {
        let request = Request {
            namespace: "bank",
            client: is_known.then_some(&client),
            client_peer: &east,
            export: &last,
            export_peer: &west,
        };
        black_box(policies.decide(black_box(&request)));
    });
}

fn client() -> Value {
    json!({ "matchLabels": { "client.clusterlink.net/namespace": "shop" } })
}

fn name(index: usize) -> String {
    format!("name-{index}")
}

fn key(index: usize) -> ObjectKey {
    ObjectKey {
        kind: Kind::AccessPolicy,
        namespace: Some("bank".into()),
        name: name(index).into(),
    }
}

fn origin() -> Origin {
    Origin {
        revision: Revision::working_tree(),
        path: "peers/west/policies.yaml".into(),
        line: 1,
    }
}
