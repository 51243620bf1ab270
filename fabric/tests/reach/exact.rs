//! The reach of random fabrics, against every client that there can be.
//!
//! What is right is decided here by an oracle of its own for the whole way: an importer's side and an
//! exporter's, each asked as a gateway would, by [`oracle`](super::oracle).

use std::collections::{BTreeMap, BTreeSet};

use fabric::api::{AccessPolicySpec, Operator};
use fabric::attributes::{Client, ExportAttributes, Labels, PeerAttributes};
use fabric::fabric::Fabric;
use fabric::name::{ObjectName, PeerName};
use fabric::reach::{self, ClientTerm, Clients, Reach, Route, Search, Selection, Verdict, Wanted};
use jiff::SignedDuration;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::json;

use super::common::{Files, now};
use super::drawn::{named_specs, some_labels};
use super::oracle::oracle;
use super::told;
use super::world::{Named, World};

/// A fabric of peers named a, b and c, in which anything may be.
#[derive(Clone, Debug)]
pub(crate) struct Random {
    pub(crate) peers: BTreeMap<String, Peer>,
    /// Privileged policies for all peers.
    pub(crate) shared: Named,
    /// When policies end, by their names: in hours from now.
    pub(crate) ends: BTreeMap<String, i64>,
}

#[derive(Clone, Debug)]
pub(crate) struct Peer {
    labels: Labels,
    /// Labels by namespace and name.
    exports: BTreeMap<(String, String), Labels>,
    /// By namespace and name.
    imports: BTreeMap<(String, String), Vec<Source>>,
    policies: Named,
    /// Declared workloads.
    workloads: Vec<Client>,
}

/// Peer, namespace and name of an export.
type Source = (String, String, String);

fn letter() -> impl Strategy<Value = String> {
    select(vec!["a", "b", "c"]).prop_map(str::to_owned)
}

fn a_or_b() -> impl Strategy<Value = String> {
    select(vec!["a", "b"]).prop_map(str::to_owned)
}

fn some_client() -> impl Strategy<Value = Client> {
    (letter(), letter(), some_labels()).prop_map(|(namespace, service_account, labels)| Client {
        namespace,
        service_account,
        labels,
    })
}

fn some_peer() -> impl Strategy<Value = Peer> {
    let exports = btree_map((a_or_b(), a_or_b()), some_labels(), 1..3);
    let sources = vec((a_or_b(), a_or_b(), a_or_b()), 1..3);
    let imports = btree_map((a_or_b(), letter()), sources, 0..3);
    let workloads = vec(some_client(), 0..3);
    (some_labels(), exports, imports, named_specs(), workloads).prop_map(
        |(labels, exports, imports, policies, workloads)| Peer {
            labels,
            exports,
            imports,
            policies,
            workloads,
        },
    )
}

pub(crate) fn random() -> impl Strategy<Value = Random> {
    let shared = named_specs().prop_map(|specs| {
        // Other names than those of the units' own.
        let privileged = specs.into_iter().filter(|(name, _)| !name.contains('/'));
        privileged
            .map(|(name, spec)| (format!("s{name}"), spec))
            .collect()
    });
    (btree_map(a_or_b(), some_peer(), 1..3), shared).prop_map(|(peers, shared)| Random {
        peers,
        shared,
        ends: BTreeMap::new(),
    })
}

/// Ends for about half of all policies, some of them over.
fn ends() -> impl Strategy<Value = BTreeMap<String, i64>> {
    let names = [
        "p1", "p2", "p3", "sp1", "sp2", "sp3", "a/r1", "a/r2", "a/r3", "b/r1", "b/r2", "a/base",
        "b/base",
    ];
    let names = names.map(str::to_owned);
    btree_map(select(names.to_vec()), -1..3_i64, 4..12)
}

/// Fabrics in which access depends on each part: all services are there and imported, and few policies
/// stand against those that let some in. Of those in which anything may be, nearly all let nobody in.
fn lively() -> impl Strategy<Value = Random> {
    let exports = || btree_map((a_or_b(), a_or_b()), some_labels(), 4);
    let sources = || vec((a_or_b(), a_or_b(), a_or_b()), 1..3);
    let imports = move || btree_map((a_or_b(), letter()), sources(), 1..4);
    let lets_in = (lets_some_in(), lets_some_in());
    let peer = (some_peer(), exports(), imports(), lets_in, 0..3_usize);
    let peer = peer.prop_map(|(mut peer, exports, imports, lets_in, kept)| {
        peer.exports = exports;
        peer.imports = imports;
        peer.policies = peer.policies.into_iter().take(kept).collect();
        let (a, b) = lets_in;
        peer.policies.insert("a/base".to_owned(), a);
        peer.policies.insert("b/base".to_owned(), b);
        peer
    });
    (btree_map(a_or_b(), peer, 2), random()).prop_map(|(peers, other)| Random {
        peers,
        shared: other.shared.into_iter().take(1).collect(),
        ends: BTreeMap::new(),
    })
}

/// An allow for all services, for everybody or for some.
fn lets_some_in() -> impl Strategy<Value = AccessPolicySpec> {
    let from = select(vec![
        json!({}),
        json!({}),
        json!({"matchLabels": {"client.clusterlink.net/namespace": "a"}}),
        json!({"matchLabels": {"client.clusterlink.net/labels.x": "b"}}),
        json!({"matchLabels": {"peer.clusterlink.net/labels.x": "a"}}),
        json!({"matchExpressions": [
            {"key": "client.clusterlink.net/labels.x", "operator": "DoesNotExist"},
        ]}),
    ]);
    from.prop_map(|from| {
        let spec = json!({
            "action": "allow",
            "from": [{"workloadSelector": from}],
            "to": [{"workloadSelector": {}}],
        });
        serde_json::from_value(spec).unwrap()
    })
}

fn either() -> impl Strategy<Value = Random> {
    prop_oneof![lively(), random()]
}

fn pairs() -> impl Strategy<Value = (Random, Random)> {
    prop_oneof![3 => pair(lively().boxed()), 1 => pair(random().boxed())]
}

/// Mostly a small change, as people make them; sometimes all is another.
fn pair(random: BoxedStrategy<Random>) -> impl Strategy<Value = (Random, Random)> {
    let changed = (random.clone(), random, 0..8_u8, a_or_b());
    changed.prop_map(|(before, other, what, peer)| {
        let mut after = before.clone();
        let theirs = other.peers.get(&peer);
        match (what, after.peers.get_mut(&peer), theirs) {
            (0, ..) => after = other,
            (1, ..) => after.shared = other.shared,
            (2, Some(_), None) => {
                after.peers.remove(&peer);
            }
            (3, Some(ours), Some(theirs)) => ours.labels.clone_from(&theirs.labels),
            (4, Some(ours), Some(theirs)) => ours.exports.clone_from(&theirs.exports),
            (5, Some(ours), Some(theirs)) => ours.imports.clone_from(&theirs.imports),
            (_, Some(ours), Some(theirs)) => ours.policies.clone_from(&theirs.policies),
            (..) => {}
        }
        (before, after)
    })
}

// === impl Random ===

impl Random {
    pub(crate) fn fabric(&self) -> Fabric {
        let mut files = Files::default();
        files.put(
            "fabric.yaml",
            "apiVersion: weft.dev/v1alpha1\nkind: Fabric\nmetadata: {name: acme}\nspec: {}\n",
        );
        for (name, spec) in &self.shared {
            let text = policy(name, spec, self.ends.get(name));
            files.put(&format!("policies/{name}.yaml"), &text);
        }
        for (name, peer) in &self.peers {
            let mut put = |file: String, object: serde_json::Value| {
                files.put(&format!("peers/{name}/{file}.yaml"), &object.to_string());
            };
            put(
                "peer".into(),
                json!({
                    "apiVersion": "clusterlink.net/v1alpha1", "kind": "Peer",
                    "metadata": { "name": name, "labels": peer.labels },
                    "spec": { "gateways": [] },
                }),
            );
            for ((namespace, export), labels) in &peer.exports {
                put(
                    format!("export-{namespace}-{export}"),
                    json!({
                        "apiVersion": "clusterlink.net/v1alpha1", "kind": "Export",
                        "metadata": { "name": export, "namespace": namespace, "labels": labels },
                        "spec": { "port": 80 },
                    }),
                );
            }
            for (index, ((namespace, import), sources)) in peer.imports.iter().enumerate() {
                let sources: Vec<_> = sources
                    .iter()
                    .map(|(peer, namespace, name)| {
                        json!({ "peer": peer, "exportNamespace": namespace, "exportName": name })
                    })
                    .collect();
                put(
                    format!("import-{namespace}-{import}"),
                    json!({
                        "apiVersion": "clusterlink.net/v1alpha1", "kind": "Import",
                        "metadata": { "name": import, "namespace": namespace },
                        "spec": { "port": 9000 + index, "sources": sources },
                    }),
                );
            }
            let workloads: Vec<_> = peer
                .workloads
                .iter()
                .enumerate()
                .map(|(index, client)| {
                    json!({
                        "addresses": [format!("10.0.0.{index}/32")],
                        "namespace": client.namespace,
                        "serviceAccount": client.service_account,
                        "labels": client.labels,
                    })
                })
                .collect();
            put(
                "workloads".into(),
                json!({
                    "apiVersion": "weft.dev/v1alpha1", "kind": "Workloads",
                    "metadata": { "name": name }, "spec": { "workloads": workloads },
                }),
            );
            for (key, spec) in &peer.policies {
                let path = format!("peers/{name}/policy-{}.yaml", key.replace('/', "-"));
                files.put(&path, &policy(key, spec, self.ends.get(key)));
            }
        }
        files.build().fabric.unwrap()
    }

    /// What decides over a route: the importer's side and the exporter's, as [`told::why`] has them.
    fn decide(&self, route: &Route, client: Option<&Client>) -> (String, String) {
        let none = || ("none".to_owned(), "none".to_owned());
        let of_peer = |name: &PeerName| self.peers.get(name.as_str());
        let (Some(importer), Some(exporter)) =
            (of_peer(&route.client_peer), of_peer(&route.export_peer))
        else {
            return none();
        };
        let owned = |name: &ObjectName| (name.namespace().to_owned(), name.name().to_owned());
        let (namespace, name) = owned(&route.export);
        let source = (
            route.export_peer.to_string(),
            namespace.clone(),
            name.clone(),
        );
        let imports = importer.imports.get(&owned(&route.import));
        let export = exporter.exports.get(&(namespace.clone(), name));
        let (true, Some(labels)) = (imports.is_some_and(|all| all.contains(&source)), export)
        else {
            return none();
        };
        let attributes = |name: &PeerName, peer: &Peer| PeerAttributes {
            name: name.clone(),
            labels: peer.labels.clone(),
        };
        let side = |peer: &Peer, namespace: &str| {
            let mut specs = self.shared.clone();
            specs.extend(peer.policies.clone());
            let world = World {
                namespace: namespace.to_owned(),
                client: client.cloned(),
                client_peer: attributes(&route.client_peer, importer),
                export: ExportAttributes {
                    name: route.export.clone(),
                    labels: labels.clone(),
                },
                export_peer: attributes(&route.export_peer, exporter),
            };
            let told = oracle(&specs, &world.request());
            let short = told
                .replace("deny by default", "default")
                .replace("deny, unknown to ", "unknown to ")
                .replace(" by ", " ");
            short.replace(" /", " ")
        };
        (
            side(importer, route.import.namespace()),
            side(exporter, &namespace),
        )
    }

    /// The same so many hours from now: without the policies that have ended.
    fn at(&self, hours: i64) -> Self {
        let mut then = self.clone();
        let counts = |name: &str| self.ends.get(name).is_none_or(|end| *end > hours);
        then.shared.retain(|name, _| counts(name));
        for peer in then.peers.values_mut() {
            peer.policies.retain(|name, _| counts(name));
        }
        then
    }

    fn routes(&self) -> BTreeSet<Route> {
        let mut routes = BTreeSet::new();
        for (peer, content) in &self.peers {
            for ((namespace, name), sources) in &content.imports {
                for (export_peer, export_namespace, export) in sources {
                    routes.insert(Route {
                        export_peer: export_peer.parse().unwrap(),
                        export: ObjectName::new(export_namespace, export).unwrap(),
                        client_peer: peer.parse().unwrap(),
                        import: ObjectName::new(namespace, name).unwrap(),
                    });
                }
            }
        }
        routes
    }
}

fn policy(key: &str, spec: &AccessPolicySpec, end: Option<&i64>) -> String {
    let (kind, mut metadata) = match key.split_once('/') {
        Some((namespace, name)) => (
            "AccessPolicy",
            json!({ "name": name, "namespace": namespace }),
        ),
        None => ("PrivilegedAccessPolicy", json!({ "name": key })),
    };
    if let Some(hours) = end {
        let end = now() + SignedDuration::from_hours(*hours);
        metadata["annotations"] = json!({ "weft.dev/expires": end.to_string() });
    }
    json!({
        "apiVersion": "clusterlink.net/v1alpha1",
        "kind": kind, "metadata": metadata, "spec": spec,
    })
    .to_string()
}

/// Every client that policies over the values a, b and c can tell from another, the unknown one
/// first.
fn every_client() -> Vec<Option<Client>> {
    let values = ["a", "b", "c", "fresh"];
    let labels = || values.into_iter().map(Some).chain([None]);
    let mut clients = vec![None];
    for namespace in values {
        for account in values {
            for x in labels() {
                for long_x in labels() {
                    let label = |key: &str, value: Option<&str>| {
                        value.map(|value| (key.to_owned(), value.to_owned()))
                    };
                    clients.push(Some(Client {
                        namespace: namespace.to_owned(),
                        service_account: account.to_owned(),
                        labels: [label("x", x), label("e.com/x", long_x)]
                            .into_iter()
                            .flatten()
                            .collect(),
                    }));
                }
            }
        }
    }
    clients
}

fn is_allowed((importer, exporter): &(String, String)) -> bool {
    importer.starts_with("allow ") && exporter.starts_with("allow ")
}

fn told_sides(verdict: &Verdict) -> (String, String) {
    (told::why(&verdict.importer), told::why(&verdict.exporter))
}

/// Whether a selector is meant for a client, by its words.
fn selects(clients: &Clients, client: Option<&Client>) -> bool {
    let (terms, client) = match (clients, client) {
        (Clients::Unknown, client) => return client.is_none(),
        (Clients::Known(_), None) => return false,
        (Clients::Known(terms), Some(client)) => (terms, client),
    };
    terms.iter().all(|term: &ClientTerm| {
        let value = match term.attribute.to_string().as_str() {
            "namespace" => Some(&client.namespace),
            "service-account" => Some(&client.service_account),
            label => client.labels.get(label.strip_prefix("labels.").unwrap()),
        };
        match term.operator {
            Operator::In => value.is_some_and(|value| term.values.contains(value)),
            Operator::NotIn => !value.is_some_and(|value| term.values.contains(value)),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
        }
    })
}

/// A difference is compared with an oracle's only where there is one: most of the drawn changes have to
/// open or close something, in all the ways that there are.
#[test]
fn what_is_drawn_flips_often_enough() {
    const DRAWN: usize = 64;
    let mut runner = TestRunner::deterministic();
    let (mut changing, mut opened, mut closed, mut unknown) = (0, 0, 0, 0);
    for _ in 0..DRAWN {
        let (before, after) = pairs().new_tree(&mut runner).unwrap().current();
        let difference = reach::difference(Some(&before.fabric()), Some(&after.fabric()));
        let flips = difference.opened.iter().chain(&difference.closed);
        unknown += flips
            .filter(|flip| flip.clients == Clients::Unknown)
            .count();
        opened += usize::from(!difference.opened.is_empty());
        closed += usize::from(!difference.closed.is_empty());
        changing += usize::from(!difference.opened.is_empty() || !difference.closed.is_empty());
    }
    println!(
        "{changing} of {DRAWN} flip: {opened} open, {closed} close; {unknown} flips of unknown clients"
    );
    assert!(changing >= DRAWN / 2, "{changing}");
    assert!(
        opened >= DRAWN / 4 && closed >= DRAWN / 4,
        "{opened} {closed}"
    );
    assert!(unknown >= DRAWN / 8, "{unknown}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_verdict_is_the_oracles(random in either()) {
        let fabric = random.fabric();
        let mut reach = Reach::new(&fabric);
        for route in random.routes() {
            for client in every_client() {
                let verdict = reach.verdict(&route, client.as_ref()).unwrap();
                let expected = random.decide(&route, client.as_ref());
                prop_assert_eq!(told_sides(&verdict), expected.clone(), "{:?} {:?}", route, client);
                prop_assert_eq!(verdict.allowed, is_allowed(&expected));
            }
        }
    }

    #[test]
    fn a_difference_is_of_those_who_flip((before, after) in pairs()) {
        let (old, new) = (before.fabric(), after.fabric());
        let difference = reach::difference(Some(&old), Some(&new));
        prop_assert_eq!(&difference.undecided, &[]);
        for flip in difference.opened.iter().chain(&difference.closed) {
            let example = flip.example.as_ref();
            prop_assert!(selects(&flip.clients, example), "{:?}", flip);
            prop_assert_eq!(told_sides(&flip.before), before.decide(&flip.route, example));
            prop_assert_eq!(told_sides(&flip.after), after.decide(&flip.route, example));
        }
        let mut routes = before.routes();
        routes.extend(after.routes());
        for route in routes {
            for client in every_client() {
                let client = client.as_ref();
                let was = is_allowed(&before.decide(&route, client));
                let is = is_allowed(&after.decide(&route, client));
                for (flips, expected) in [
                    (&difference.opened, !was && is),
                    (&difference.closed, was && !is),
                ] {
                    let mut of_route = flips.iter().filter(|flip| flip.route == route);
                    let is_told = of_route.any(|flip| selects(&flip.clients, client));
                    prop_assert_eq!(
                        is_told, expected,
                        "{:?} {:?}\n{}", route, client, told::difference(&difference)
                    );
                }
            }
        }
    }

    #[test]
    fn a_search_finds_whom_there_is(random in either(), only in some_client(), enough in 0..3_usize) {
        let fabric = random.fabric();
        let mut reach = Reach::new(&fabric);
        let own = [
            Clients::Known(vec![ClientTerm {
                attribute: "namespace".parse().unwrap(),
                operator: Operator::In,
                values: vec![only.namespace.clone()],
            }]),
            Clients::Unknown,
        ];
        let others = [Clients::Known(vec![ClientTerm {
            attribute: "labels.x".parse().unwrap(),
            operator: Operator::Exists,
            values: Vec::new(),
        }])];
        let all: Vec<Route> = random.routes().into_iter().collect();
        for peer in ["a", "b"] {
            let routes: Vec<Route> =
                all.iter().filter(|route| route.client_peer.as_str() == peer).cloned().collect();
            for among in [
                Selection::ALL,
                Selection { any_of: &own, except: &others },
                Selection { any_of: &others, except: &own },
            ] {
                for wanted in [Wanted::Allowed, Wanted::AllowedByFewerThan(enough)] {
                    let is_wanted = |client: Option<&Client>| {
                        let reached: BTreeSet<_> = routes
                            .iter()
                            .filter(|route| is_allowed(&random.decide(route, client)))
                            .map(|route| &route.export_peer)
                            .collect();
                        match wanted {
                            Wanted::Allowed => !reached.is_empty(),
                            Wanted::AllowedByFewerThan(enough) => reached.len() < enough,
                        }
                    };
                    let is_among = |client: Option<&Client>| {
                        let any = |all: &[Clients]| all.iter().any(|one| selects(one, client));
                        any(among.any_of) && !any(among.except)
                    };
                    let clients = every_client();
                    let mut candidates = clients
                        .iter()
                        .map(Option::as_ref)
                        .filter(|client| is_among(*client) && is_wanted(*client));
                    match reach.search(&routes, among, wanted) {
                        Search::Found(witness) => {
                            let client = witness.client.as_ref();
                            prop_assert!(is_among(client) && is_wanted(client), "{:?}", witness);
                            prop_assert!(selects(&witness.clients, client));
                            for client in &clients {
                                let client = client.as_ref();
                                if selects(&witness.clients, client) {
                                    prop_assert!(is_among(client) && is_wanted(client));
                                }
                            }
                            for (route, verdict) in &witness.verdicts {
                                prop_assert_eq!(told_sides(verdict), random.decide(route, client));
                            }
                        }
                        Search::Nobody => prop_assert_eq!(candidates.next(), None),
                        Search::Undecided => prop_assert!(false, "undecided"),
                    }
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_ends_by_the_clock_is_told_from_the_moment_that_it_does(
        (mut before, mut after) in pairs(), old_ends in ends(), new_ends in ends(),
    ) {
        (before.ends, after.ends) = (old_ends, new_ends);
        let difference = reach::difference(Some(&before.fabric()), Some(&after.fabric()));
        prop_assert_eq!(&difference.undecided, &[]);
        let moments = 0..3;
        let states: Vec<_> = moments.clone().map(|at| (before.at(at), after.at(at))).collect();
        let mut routes = before.routes();
        routes.extend(after.routes());
        for route in routes {
            for client in every_client() {
                let client = client.as_ref();
                let allowed = |state: &Random| is_allowed(&state.decide(&route, client));
                let cases: Vec<_> = states.iter().map(|(old, new)| (allowed(old), allowed(new))).collect();
                for (flips, wanted) in [
                    (&difference.opened, (false, true)),
                    (&difference.closed, (true, false)),
                ] {
                    let expected = cases.iter().position(|case| *case == wanted);
                    let told = flips.iter().filter(|flip| flip.route == route);
                    let told = told.filter(|flip| selects(&flip.clients, client));
                    let first = told.map(|flip| flip.from).min();
                    let expected = expected.map(|hours| match hours {
                        0 => None,
                        hours => Some(now() + SignedDuration::from_hours(hours as i64)),
                    });
                    prop_assert_eq!(first, expected, "{:?} {:?} {:?}", route, client, cases);
                }
            }
        }
        // And one state by itself, as it is now.
        let fabric = after.fabric();
        let mut reach = Reach::new(&fabric);
        let now = after.at(0);
        for route in after.routes() {
            for client in every_client().into_iter().step_by(7) {
                let verdict = reach.verdict(&route, client.as_ref()).unwrap();
                prop_assert_eq!(told_sides(&verdict), now.decide(&route, client.as_ref()));
            }
        }
    }
}
