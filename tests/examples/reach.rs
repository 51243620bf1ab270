//! How long the difference of two states takes, and how much memory.
//!
//! `cargo run --release -p weft-tests --example reach [PEERS [SHARED [OWN]]]`: so many peers of ten exports
//! and ten imports each, so many shared policies, and so many of the peers' own; by default 1,000,
//! 1,000 and 1,000. Prints a line per kind of change.
#![expect(
    clippy::print_stdout,
    clippy::expect_used,
    reason = "it measures and prints, and must stop where it can't"
)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use fabric::fabric::{Fabric, LastGood, build};
use fabric::origin::Revision;
use fabric::reach;
use fabric::tree::{Blob, EntryKind, Limits, Tree, Visit};
use serde_json::{Value, json};

const EXPORTS: usize = 10;

fn main() {
    let mut numbers = std::env::args()
        .skip(1)
        .map(|text| text.parse().expect("a number"));
    let peers = numbers.next().unwrap_or(1_000);
    let shared = numbers.next().unwrap_or(1_000);
    let own = numbers.next().unwrap_or(1_000);
    let mut files = Files::default();
    lay_down(&mut files, peers, shared, own);
    let before = files.fabric("before");
    println!(
        "{peers} peers, {EXPORTS} exports and imports each, {shared} shared policies, {own} own; \
         {} MB before",
        peak_memory()
    );
    let everything = json!({ "workloadSelector": {} });
    let changes: [(&str, Vec<(String, Value)>); 6] = [
        ("nothing", vec![]),
        (
            "one policy of one peer",
            vec![(
                "peers/p0/policies/new.yaml".to_owned(),
                policy(
                    Some("ns1"),
                    "new",
                    "allow",
                    from("namespace", "fresh"),
                    everything.clone(),
                ),
            )],
        ),
        (
            "the labels of one peer",
            vec![("peers/p1/peer.yaml".to_owned(), peer(1, "another"))],
        ),
        (
            "a shared policy about one peer",
            vec![(
                "policies/new.yaml".to_owned(),
                policy(
                    None,
                    "new",
                    "deny",
                    from("labels.app", "till"),
                    json!({ "workloadSelector": { "matchLabels": { "peer.clusterlink.net/name": "p3" } } }),
                ),
            )],
        ),
        (
            "a shared allow that touches everything",
            vec![(
                "policies/new.yaml".to_owned(),
                policy(
                    None,
                    "new",
                    "allow",
                    from("namespace", "fresh"),
                    everything.clone(),
                ),
            )],
        ),
        (
            "a shared deny that touches everything",
            vec![(
                "policies/a-new.yaml".to_owned(),
                policy(
                    None,
                    "a-new",
                    "deny",
                    from("labels.app", "app-1"),
                    everything,
                ),
            )],
        ),
    ];
    for (what, changed) in changes {
        let mut files = files.clone();
        for (path, object) in changed {
            files.put(path, &object);
        }
        let after = files.fabric("after");
        let start = Instant::now();
        let difference = reach::difference(Some(&before), Some(&after));
        let took = start.elapsed();
        let groups = difference.opened_groups().len() + difference.closed_groups().len();
        println!(
            "{what}: {took:.2?}; {} open, {} close, {} undecided, {groups} groups; peak {} MB",
            difference.opened.len(),
            difference.closed.len(),
            difference.undecided.len(),
            peak_memory()
        );
    }
}

/// The files of a repository, each read once.
#[derive(Clone, Default)]
struct Files(BTreeMap<String, Arc<Blob>>);

impl Files {
    fn put(&mut self, path: String, object: &Value) {
        let blob = Blob::new(object.to_string().into_bytes(), Limits::default().document);
        self.0.insert(path, Arc::new(blob));
    }

    fn fabric(&self, revision: &str) -> Fabric {
        let mut builder = Tree::builder(Revision::commit(revision), Limits::default());
        for (path, blob) in &self.0 {
            let kind = EntryKind::File { size: 1_000 };
            if builder.visit(path.as_bytes(), kind) == Visit::Read {
                builder.add(path.as_bytes(), Arc::clone(blob));
            }
        }
        let now = "2026-02-01T00:00:00Z".parse().expect("a time");
        let build = build(&builder.finish(), &LastGood::default(), now);
        build.fabric.expect("a fabric")
    }
}

fn lay_down(files: &mut Files, peers: usize, shared: usize, own: usize) {
    files.put(
        "fabric.yaml".to_owned(),
        &json!({
            "apiVersion": "weft.dev/v1alpha1", "kind": "Fabric",
            "metadata": { "name": "acme" }, "spec": {},
        }),
    );
    for index in 0..shared {
        let name = format!("s{index}");
        let action = if index % 4 == 0 { "deny" } else { "allow" };
        // Of each kind that people write: by namespace, by label, by the peers' region, by service.
        let (from, to) = match index % 5 {
            0 => (from("namespace", &format!("team-{index}")), json!({})),
            1 => (
                from("labels.app", &format!("app-{index}")),
                export("namespace", index % 7),
            ),
            2 => (both(&format!("team-{index}"), index), json!({})),
            3 => (
                from("service-account", &format!("robot-{index}")),
                region(index),
            ),
            _ => (
                from("labels.tier", &format!("tier-{index}")),
                export("name", index % EXPORTS),
            ),
        };
        let to = json!({ "workloadSelector": to });
        files.put(
            format!("policies/{name}.yaml"),
            &policy(None, &name, action, from, to),
        );
    }
    for number in 0..peers {
        let name = format!("p{number}");
        files.put(format!("peers/{name}/peer.yaml"), &peer(number, "none"));
        for index in 0..EXPORTS {
            files.put(
                format!("peers/{name}/export-{index}.yaml"),
                &object("Export", "ns1", &format!("e{index}"), json!({ "port": 80 })),
            );
            let source = (number * 7 + index * 13 + 1) % peers;
            files.put(
                format!("peers/{name}/import-{index}.yaml"),
                &object(
                    "Import",
                    "ns1",
                    &format!("i{index}"),
                    json!({
                        "port": 9_000 + index,
                        "sources": [{
                            "peer": format!("p{source}"),
                            "exportNamespace": "ns1",
                            "exportName": format!("e{index}"),
                        }],
                    }),
                ),
            );
        }
    }
    for index in 0..own {
        let (name, peer) = (format!("own{index}"), index % peers);
        files.put(
            format!("peers/p{peer}/policies/{name}.yaml"),
            &policy(
                Some("ns1"),
                &name,
                "allow",
                from("namespace", &format!("team-{}", index % 50)),
                json!({ "workloadSelector": {} }),
            ),
        );
    }
}

fn peer(number: usize, stage: &str) -> Value {
    json!({
        "apiVersion": "clusterlink.net/v1alpha1", "kind": "Peer",
        "metadata": {
            "name": format!("p{number}"),
            "labels": { "region": format!("r{}", number % 12), "stage": stage },
        },
        "spec": { "gateways": [] },
    })
}

fn object(kind: &str, namespace: &str, name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": "clusterlink.net/v1alpha1", "kind": kind,
        "metadata": { "name": name, "namespace": namespace }, "spec": spec,
    })
}

fn policy(namespace: Option<&str>, name: &str, action: &str, from: Value, to: Value) -> Value {
    let from = json!({ "workloadSelector": from });
    let to = match to.get("workloadSelector") {
        Some(_) => to,
        None => json!({ "workloadSelector": to }),
    };
    let spec = json!({ "action": action, "from": [from], "to": [to] });
    match namespace {
        Some(namespace) => object("AccessPolicy", namespace, name, spec),
        None => json!({
            "apiVersion": "clusterlink.net/v1alpha1", "kind": "PrivilegedAccessPolicy",
            "metadata": { "name": name }, "spec": spec,
        }),
    }
}

fn from(attribute: &str, value: &str) -> Value {
    json!({ "matchLabels": { format!("client.clusterlink.net/{attribute}"): value } })
}

fn both(namespace: &str, number: usize) -> Value {
    json!({ "matchLabels": {
        "client.clusterlink.net/namespace": namespace,
        "peer.clusterlink.net/labels.region": format!("r{}", number % 12),
    } })
}

fn export(attribute: &str, number: usize) -> Value {
    let value = match attribute {
        "namespace" => format!("ns{number}"),
        _ => format!("e{number}"),
    };
    json!({ "matchLabels": { format!("export.clusterlink.net/{attribute}"): value } })
}

fn region(number: usize) -> Value {
    json!({ "matchLabels": { "peer.clusterlink.net/labels.region": format!("r{}", number % 12) } })
}

/// The most memory that the process ever had, in MB.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kilobytes.unwrap_or(0) / 1024
}
