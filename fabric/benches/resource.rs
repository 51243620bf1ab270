//! What reading one small file costs, and one that is wrong.

use fabric::document::Limits;
use fabric::{document, resource};

const EXPORT: &str = "apiVersion: clusterlink.net/v1alpha1\nkind: Export\nmetadata:\n  name: till\n  \
    namespace: shop\n  labels: {app: till, tier: front}\nspec:\n  host: till.shop.internal\n  port: 8080\n";

const POLICY: &str = "apiVersion: clusterlink.net/v1alpha1\nkind: AccessPolicy\nmetadata:\n  \
    name: allow\n  namespace: shop\nspec:\n  action: allow\n  from:\n  - workloadSelector:\n      \
    matchLabels: {client.clusterlink.net/namespace: shop}\n  to:\n  - workloadSelector:\n      \
    matchExpressions:\n      - {key: export.clusterlink.net/name, operator: In, values: [a, b]}\n";

const WRONG: &str = "apiVersion: clusterlink.net/v1alpha1\nkind: Export\nmetadata:\n  name: till\n  \
    namespace: shop\nspec:\n  hots: till.shop.internal\n  port: 80800\n";

fn main() {
    divan::main();
}

#[divan::bench(args = [EXPORT, POLICY, WRONG])]
fn read(text: &str) -> resource::File {
    resource::read(text.as_bytes(), &Limits::default())
}

/// The part of it that the text alone costs.
#[divan::bench(args = [EXPORT, POLICY, WRONG])]
fn parse(text: &str) -> document::Parsed {
    document::parse(text.as_bytes(), &Limits::default())
}
