//! Random policies and requests.

use fabric::api::{
    AccessPolicySpec, Action, LabelSelector, Operator, Requirement, WorkloadSetOrSelector,
};
use fabric::attributes::{Client, ExportAttributes, Labels, PeerAttributes};
use fabric::name::ObjectName;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::world::{Named, World, entry};

const FROM_KEYS: &[&str] = &[
    "client.clusterlink.net/namespace",
    "client.clusterlink.net/service-account",
    "client.clusterlink.net/labels.x",
    "client.clusterlink.net/labels.e.com/x",
    "peer.clusterlink.net/name",
    "peer.clusterlink.net/labels.x",
    "export.clusterlink.net/name",
    "no-attribute",
];
const TO_KEYS: &[&str] = &[
    "export.clusterlink.net/name",
    "export.clusterlink.net/namespace",
    "export.clusterlink.net/labels.x",
    "export.clusterlink.net/labels.e.com/x",
    "peer.clusterlink.net/name",
    "peer.clusterlink.net/labels.x",
    "client.clusterlink.net/namespace",
    "no-attribute",
];
const VALUES: &[&str] = &["a", "b", "c"];

pub(crate) fn value() -> impl Strategy<Value = String> {
    select(VALUES).prop_map(str::to_owned)
}

pub(crate) fn some_labels() -> impl Strategy<Value = Labels> {
    let keys = subsequence(vec!["x", "e.com/x"], 0..=2);
    keys.prop_flat_map(|keys| {
        let values = proptest::collection::vec(value(), keys.len());
        values.prop_map(move |values| {
            let keys = keys.iter().map(|key| (*key).to_owned());
            keys.zip(values).collect()
        })
    })
}

fn requirement(keys: &'static [&'static str]) -> impl Strategy<Value = Requirement> {
    let values = subsequence(VALUES.to_vec(), 1..=2);
    (select(keys), 0..4_u8, values).prop_map(|(key, operator, values)| {
        let listed = || values.iter().map(|value| (*value).to_owned()).collect();
        let (operator, values) = match operator {
            0 => (Operator::In, listed()),
            1 => (Operator::NotIn, listed()),
            2 => (Operator::Exists, Vec::new()),
            _ => (Operator::DoesNotExist, Vec::new()),
        };
        Requirement {
            key: key.to_owned(),
            operator,
            values,
        }
    })
}

fn entries(keys: &'static [&'static str]) -> impl Strategy<Value = Vec<WorkloadSetOrSelector>> {
    let labels =
        proptest::collection::btree_map(select(keys).prop_map(str::to_owned), value(), 0..2);
    let expressions = proptest::collection::vec(requirement(keys), 0..3);
    let selector = (labels, expressions).prop_map(|(match_labels, match_expressions)| {
        entry(LabelSelector {
            match_labels,
            match_expressions,
        })
    });
    proptest::collection::vec(selector, 1..3)
}

pub(crate) fn named_specs() -> impl Strategy<Value = Named> {
    let name = select(vec![
        "p1", "p2", "p3", "a/r1", "a/r2", "a/r3", "b/r1", "b/r2",
    ]);
    let action = select(vec![Action::Allow, Action::Deny]);
    let spec = (action, entries(FROM_KEYS), entries(TO_KEYS))
        .prop_map(|(action, from, to)| AccessPolicySpec { action, from, to });
    proptest::collection::btree_map(name.prop_map(str::to_owned), spec, 0..9)
}

pub(crate) fn world() -> impl Strategy<Value = World> {
    let peer = || {
        (value(), some_labels()).prop_map(|(name, labels)| PeerAttributes {
            name: name.parse().unwrap(),
            labels,
        })
    };
    let client = (value(), value(), some_labels());
    let client = client.prop_map(|(namespace, service_account, labels)| Client {
        namespace,
        service_account,
        labels,
    });
    let export = (value(), value(), some_labels());
    let export = export.prop_map(|(namespace, name, labels)| ExportAttributes {
        name: ObjectName::new(&namespace, &name).unwrap(),
        labels,
    });
    let client = proptest::option::weighted(0.7, client);
    (select(vec!["a", "b"]), client, peer(), export, peer()).prop_map(
        |(namespace, client, client_peer, export, export_peer)| World {
            namespace: namespace.to_owned(),
            client,
            client_peer,
            export,
            export_peer,
        },
    )
}
