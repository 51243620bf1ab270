//! Random fabrics, as their authors would think of them and as files.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fabric::api::{
    AccessPolicySpec, Action, LabelSelector, Operator, Requirement, WorkloadSetOrSelector,
};
use fabric::attributes::{Client, Labels};
use fabric::origin::Revision;
use fabric::tree::{Blob, EntryKind, Limits, Tree, Visit};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};

/// Names and values of every kind: few, so that they meet.
const WORDS: [&str; 3] = ["a", "b", "c"];
const LABEL_KEYS: [&str; 2] = ["x", "e.com/x"];
const FROM_KEYS: [&str; 8] = [
    "client.clusterlink.net/namespace",
    "client.clusterlink.net/service-account",
    "client.clusterlink.net/labels.x",
    "client.clusterlink.net/labels.e.com/x",
    "peer.clusterlink.net/name",
    "peer.clusterlink.net/labels.x",
    "export.clusterlink.net/name",
    "no-attribute",
];
const TO_KEYS: [&str; 8] = [
    "export.clusterlink.net/name",
    "export.clusterlink.net/namespace",
    "export.clusterlink.net/labels.x",
    "export.clusterlink.net/labels.e.com/x",
    "peer.clusterlink.net/name",
    "peer.clusterlink.net/labels.x",
    "client.clusterlink.net/namespace",
    "no-attribute",
];

/// Namespace and name.
pub(crate) type Name = (String, String);

/// A fabric.
#[derive(Debug)]
pub(crate) struct Drawn {
    pub(crate) peers: BTreeMap<String, Peer>,
    pub(crate) shared: BTreeMap<String, Shared>,
}

#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) labels: Labels,
    pub(crate) exports: BTreeMap<Name, Labels>,
    pub(crate) imports: BTreeMap<Name, Import>,
    /// By name, that of a regular one with its namespace before it.
    pub(crate) policies: BTreeMap<String, AccessPolicySpec>,
    pub(crate) workloads: Vec<Client>,
    /// Whether a file of its unit can't be understood.
    pub(crate) is_broken: bool,
}

#[derive(Debug)]
pub(crate) struct Import {
    pub(crate) labels: Labels,
    /// Peer and export.
    pub(crate) sources: BTreeSet<(String, Name)>,
}

/// A policy of `policies/`.
#[derive(Debug)]
pub(crate) struct Shared {
    /// The terms of `weft.dev/peers`; none for every peer.
    peers: Option<Vec<Term>>,
    pub(crate) spec: AccessPolicySpec,
}

#[derive(Debug)]
struct Term {
    key: &'static str,
    operator: Operator,
    values: Vec<&'static str>,
    /// Whether a single value is written with `=` or `!=`.
    is_short: bool,
}

// === impl Drawn ===

impl Drawn {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let rng = &mut rng;
        let mut peers = BTreeMap::new();
        for name in ["a", "b", "c", "west.example"]
            .into_iter()
            .take(rng.random_range(2..=4))
        {
            peers.insert(name.to_owned(), Peer::new(rng));
        }
        let offers: Vec<(String, Name)> = peers
            .iter()
            .flat_map(|(peer, unit)| unit.exports.keys().map(|name| (peer.clone(), name.clone())))
            .collect();
        for unit in peers.values_mut() {
            unit.imports = imports(rng, &offers);
        }
        let shared = (0..rng.random_range(0_u32..4).saturating_sub(1)).map(|index| {
            let peers = rng.random_bool(0.5).then(|| {
                let terms = rng.random_range(1..=2);
                (0..terms).map(|_| Term::new(rng)).collect()
            });
            let spec = policy(rng);
            (format!("s{index}"), Shared { peers, spec })
        });
        let shared = shared.collect();
        Self { peers, shared }
    }

    /// The policies that count in a peer.
    pub(crate) fn policies_of(&self, peer: &Peer) -> BTreeMap<String, AccessPolicySpec> {
        let mut policies = peer.policies.clone();
        for (name, shared) in &self.shared {
            if shared.selects(&peer.labels) {
                policies.insert(name.clone(), shared.spec.clone());
            }
        }
        policies
    }

    /// Clients of a peer: its declared ones, some that nobody has declared, and an unknown one.
    pub(crate) fn clients(&self, peer: &Peer, seed: u64) -> Vec<Option<Client>> {
        let mut rng = StdRng::seed_from_u64(seed);
        let declared = peer.workloads.iter().cloned().map(Some);
        let mut clients: Vec<_> = std::iter::once(None).chain(declared).collect();
        clients.extend((0..30).map(|_| Some(client(&mut rng))));
        // Values that stand nowhere in the fabric.
        let mut stranger = client(&mut rng);
        stranger.labels.insert("x".to_owned(), "other".to_owned());
        clients.push(Some(stranger));
        clients
    }

    /// The files of the repository.
    pub(crate) fn files(&self, authority: &str, seed: u64) -> BTreeMap<String, String> {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut files = BTreeMap::new();
        files.insert("ca/fabric.pem".to_owned(), authority.to_owned());
        let fabric = object("weft.dev", "Fabric", json!({"name": "drawn"}), json!({}));
        files.insert("fabric.yaml".to_owned(), yaml(&fabric));
        for (name, shared) in &self.shared {
            let mut metadata = json!({"name": name});
            if let Some(peers) = &shared.peers {
                let terms: Vec<_> = peers.iter().map(Term::text).collect();
                metadata["annotations"] = json!({"weft.dev/peers": terms.join(", ")});
            }
            let policy = object(
                "clusterlink.net",
                "PrivilegedAccessPolicy",
                metadata,
                json!(shared.spec),
            );
            files.insert(format!("policies/{name}.yaml"), yaml(&policy));
        }
        for (name, peer) in &self.peers {
            let objects = peer.objects(name);
            let in_one = rng.random_bool(0.5);
            for (index, object) in objects.iter().enumerate() {
                let path = match in_one {
                    true => format!("peers/{name}/all.yaml"),
                    false => format!("peers/{name}/sub/{index}.yaml"),
                };
                let file: &mut String = files.entry(path).or_default();
                if !file.is_empty() {
                    file.push_str("---\n");
                }
                file.push_str(&yaml(object));
            }
            if peer.is_broken {
                files.insert(
                    format!("peers/{name}/broken.yaml"),
                    "kind: [Peer\n".to_owned(),
                );
            }
        }
        files
    }
}

/// The tree of some files.
pub(crate) fn tree(files: &BTreeMap<String, String>) -> Tree {
    let limits = Limits::default();
    let mut builder = Tree::builder(Revision::commit("drawn"), limits);
    for (path, text) in files {
        let size = text.len() as u64;
        let visit = builder.visit(path.as_bytes(), EntryKind::File { size });
        assert_eq!(visit, Visit::Read, "{path}");
        let blob = Blob::new(text.clone().into_bytes(), limits.document);
        builder.add(path.as_bytes(), Arc::new(blob));
    }
    builder.finish()
}

// === impl Peer ===

impl Peer {
    fn new(rng: &mut StdRng) -> Self {
        let exports = (0..rng.random_range(1..=3)).map(|_| (name(rng), labels(rng)));
        let exports = exports.collect();
        let policies = (0..rng.random_range(2..9)).map(|index| {
            let name = match rng.random_range(0..8) {
                0 => format!("p{index}"),
                _ => format!("{}/r{index}", word(rng)),
            };
            (name, policy(rng))
        });
        let policies = policies.collect();
        let workloads = (0..rng.random_range(0..3)).map(|_| client(rng)).collect();
        Self {
            labels: labels(rng),
            exports,
            imports: BTreeMap::new(),
            policies,
            workloads,
            is_broken: rng.random_bool(0.05),
        }
    }

    fn objects(&self, name: &str) -> Vec<Value> {
        let metadata = json!({"name": name, "labels": self.labels});
        let gateways = json!({"gateways": [{"host": "gateway.example.com", "port": 4443}]});
        let mut objects = vec![object("clusterlink.net", "Peer", metadata, gateways)];
        for ((namespace, name), labels) in &self.exports {
            let metadata = json!({"name": name, "namespace": namespace, "labels": labels});
            let spec = json!({"host": "service.example.com", "port": 80});
            objects.push(object("clusterlink.net", "Export", metadata, spec));
        }
        for (index, ((namespace, name), import)) in self.imports.iter().enumerate() {
            let metadata = json!({"name": name, "namespace": namespace, "labels": import.labels});
            let source = |(peer, (namespace, name)): &(String, Name)| json!({"peer": peer, "exportName": name, "exportNamespace": namespace});
            let sources: Vec<_> = import.sources.iter().map(source).collect();
            let spec = json!({"port": 80, "targetPort": 10_000 + index, "sources": sources});
            objects.push(object("clusterlink.net", "Import", metadata, spec));
        }
        for (name, spec) in &self.policies {
            let (kind, metadata) = match name.split_once('/') {
                Some((namespace, name)) => (
                    "AccessPolicy",
                    json!({"name": name, "namespace": namespace}),
                ),
                None => ("PrivilegedAccessPolicy", json!({"name": name})),
            };
            objects.push(object("clusterlink.net", kind, metadata, json!(spec)));
        }
        if !self.workloads.is_empty() {
            let workload = |(index, client): (usize, &Client)| {
                let mut workload = json!(client);
                workload["addresses"] = json!([address(index)]);
                workload
            };
            let workloads: Vec<_> = self.workloads.iter().enumerate().map(workload).collect();
            let spec = json!({"workloads": workloads});
            objects.push(object("weft.dev", "Workloads", json!({"name": name}), spec));
        }
        objects
    }
}

/// Where the declared workload of this index connects from.
pub(crate) fn address(index: usize) -> String {
    format!("10.9.0.{}", index + 1)
}

// === impl Shared ===

impl Shared {
    /// As Kubernetes' documentation of label selectors has it.
    fn selects(&self, labels: &Labels) -> bool {
        self.peers.iter().flatten().all(|term| {
            let value = labels.get(term.key);
            let is_listed = value.is_some_and(|value| term.values.contains(&value.as_str()));
            match term.operator {
                Operator::In => is_listed,
                Operator::NotIn => !is_listed,
                Operator::Exists => value.is_some(),
                Operator::DoesNotExist => value.is_none(),
            }
        })
    }
}

// === impl Term ===

impl Term {
    fn new(rng: &mut StdRng) -> Self {
        let operator = operator(rng);
        let mut values = Vec::new();
        if matches!(operator, Operator::In | Operator::NotIn) {
            values.extend(
                WORDS
                    .choose_multiple(rng, 2)
                    .copied()
                    .take(rng.random_range(1..=2)),
            );
        }
        let key = if rng.random_bool(0.7) {
            LABEL_KEYS[0]
        } else {
            LABEL_KEYS[1]
        };
        let is_short = rng.random_bool(0.5);
        Self {
            key,
            operator,
            values,
            is_short,
        }
    }

    fn text(&self) -> String {
        let Self { key, values, .. } = self;
        match (self.operator, values.as_slice()) {
            (Operator::In, [value]) if self.is_short => format!("{key}={value}"),
            (Operator::NotIn, [value]) if self.is_short => format!("{key}!={value}"),
            (Operator::In, values) => format!("{key} in ({})", values.join(", ")),
            (Operator::NotIn, values) => format!("{key} notin ({})", values.join(", ")),
            (Operator::Exists, _) => (*key).to_owned(),
            (Operator::DoesNotExist, _) => format!("!{key}"),
        }
    }
}

// --- parts ---

fn word(rng: &mut StdRng) -> String {
    (*WORDS.choose(rng).unwrap()).to_owned()
}

fn name(rng: &mut StdRng) -> Name {
    (word(rng), word(rng))
}

fn labels(rng: &mut StdRng) -> Labels {
    let keys = LABEL_KEYS.into_iter().filter(|_| rng.random_bool(0.5));
    let keys: Vec<_> = keys.collect();
    keys.into_iter()
        .map(|key| (key.to_owned(), word(rng)))
        .collect()
}

fn client(rng: &mut StdRng) -> Client {
    Client {
        namespace: word(rng),
        service_account: word(rng),
        labels: labels(rng),
    }
}

fn imports(rng: &mut StdRng, offers: &[(String, Name)]) -> BTreeMap<Name, Import> {
    let mut imports = BTreeMap::new();
    for _ in 0..rng.random_range(1..=3) {
        let sources = rng.random_range(1..=3);
        let mut sources: BTreeSet<_> = offers.choose_multiple(rng, sources).cloned().collect();
        // One that leads nowhere: it is dropped.
        if rng.random_bool(0.1) {
            sources.insert(("a".to_owned(), ("a".to_owned(), "nothing".to_owned())));
        }
        let labels = labels(rng);
        imports.insert(name(rng), Import { labels, sources });
    }
    imports
}

fn operator(rng: &mut StdRng) -> Operator {
    match rng.random_range(0..6) {
        0..=2 => Operator::In,
        3 => Operator::NotIn,
        4 => Operator::Exists,
        _ => Operator::DoesNotExist,
    }
}

fn policy(rng: &mut StdRng) -> AccessPolicySpec {
    // Allows are broad and denies narrow, as else hardly anything would be let through.
    let is_allow = rng.random_bool(0.7);
    let most = if is_allow { 2 } else { 3 };
    AccessPolicySpec {
        action: if is_allow {
            Action::Allow
        } else {
            Action::Deny
        },
        from: entries(rng, &FROM_KEYS, most),
        to: entries(rng, &TO_KEYS, most),
    }
}

fn entries(rng: &mut StdRng, keys: &[&str], most: usize) -> Vec<WorkloadSetOrSelector> {
    let entries = (0..rng.random_range(1..=2)).map(|_| {
        let mut selector = LabelSelector::default();
        for _ in 0..rng.random_range(0..most) {
            let key = (*keys.choose(rng).unwrap()).to_owned();
            if rng.random_bool(0.4) {
                selector.match_labels.insert(key, word(rng));
                continue;
            }
            let operator = operator(rng);
            let values = match operator {
                Operator::In | Operator::NotIn => {
                    let count = rng.random_range(1..=2);
                    let values = WORDS.choose_multiple(rng, count);
                    values.map(|value| (*value).to_owned()).collect()
                }
                Operator::Exists | Operator::DoesNotExist => Vec::new(),
            };
            selector.match_expressions.push(Requirement {
                key,
                operator,
                values,
            });
        }
        WorkloadSetOrSelector {
            workload_sets: Vec::new(),
            workload_selector: Some(selector),
        }
    });
    entries.collect()
}

fn object(group: &str, kind: &str, metadata: Value, spec: Value) -> Value {
    json!({
        "apiVersion": format!("{group}/v1alpha1"),
        "kind": kind,
        "metadata": metadata,
        "spec": spec,
    })
}

fn yaml(value: &Value) -> String {
    serde_yaml::to_string(value).unwrap()
}
