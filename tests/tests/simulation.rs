//! What `weft explain` and the plan of a change say is what gateways do.
//!
//! Random fabrics are written as files, built, planned for each peer, brought through the form in
//! which a host keeps its plan, and compiled as a gateway does. For every client, peer, import and
//! source four answers must be one: that of the judge of `weft explain`, that of the engines of
//! the two gateways (the client reaches the second one in a frame, as over the wire), that of the
//! reach relation by which a plan tells what opens and closes, and that of an oracle that knows
//! nothing but what was drawn.
//!
//! `WEFT_SIMULATION_TUPLES` (100,000 without it) says how many to compare at least, and
//! `WEFT_SIMULATION_SEED` (0) with which fabric to begin.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "simulation/drawn.rs"]
mod drawn;
#[path = "simulation/engines.rs"]
mod engines;
#[path = "../../fabric/tests/policy/oracle.rs"]
mod oracle;
#[path = "simulation/relation.rs"]
mod relation;

use std::collections::BTreeMap;
use std::env;
use std::thread;

use fabric::attributes::{Client, ExportAttributes, PeerAttributes};
use fabric::diagnostic::Effect;
use fabric::fabric::{LastGood, build};
use fabric::name::ObjectName;
use fabric::policy::Request;
use jiff::Timestamp;
use weft_tests::certificates::Authority;

use drawn::{Drawn, Name, Peer};
use engines::{Answers, Engines};
use relation::Relation;

/// The client and its way.
#[derive(Debug)]
struct Tuple<'a> {
    client: Option<&'a Client>,
    peer: &'a str,
    import: &'a Name,
    /// Peer and export.
    source: &'a (String, Name),
}

#[test]
fn what_is_foretold_is_what_gateways_do() {
    let number = |name: &str, default: u64| match env::var(name) {
        Ok(text) => text.parse().unwrap(),
        Err(_) => default,
    };
    let wanted = number("WEFT_SIMULATION_TUPLES", 100_000);
    let first = number("WEFT_SIMULATION_SEED", 0);
    let authority = Authority::new("drawn");
    // The fabrics are dealt out, so that the same ones are looked at however quick each thread is.
    let threads = thread::available_parallelism().map_or(1, |number| number.get() as u64);
    let work = &|thread: u64| {
        let mut seen = BTreeMap::new();
        let (mut compared, mut fabrics) = (0, 0);
        while compared * threads < wanted {
            let seed = first + fabrics * threads + thread;
            compared += compare(seed, authority.pem(), &mut seen);
            fabrics += 1;
        }
        (compared, fabrics, seen)
    };
    let (mut compared, mut fabrics, mut seen) = (0, 0, BTreeMap::new());
    thread::scope(|scope| {
        let threads: Vec<_> = (0..threads)
            .map(|at| scope.spawn(move || work(at)))
            .collect();
        for done in threads.into_iter().map(|thread| thread.join().unwrap()) {
            compared += done.0;
            fabrics += done.1;
            for (kind, count) in done.2 {
                *seen.entry(kind).or_default() += count;
            }
        }
    });
    eprintln!("{compared} tuples of {fabrics} fabrics: {seen:?}");
    // Nothing of what there is to decide may be missing in what was drawn.
    for kind in [
        "allow by privileged, allow by privileged",
        "allow by regular, allow by regular",
        "allow by privileged, allow by regular",
        "allow by regular, deny by default",
        "allow by regular, deny by regular",
        "allow by regular, deny by privileged",
        "allow by regular, unknown to regular",
        "deny by default, allow by regular",
        "deny by regular, allow by regular",
        "deny by privileged, allow by regular",
        "unknown to privileged, allow by regular",
        "refused, refused",
    ] {
        let count: u64 = seen.get(kind).copied().unwrap_or(0);
        assert!(count * 10_000 >= compared.min(100_000), "{kind}: {seen:?}");
    }
}

/// Compares all tuples of one fabric; how many those were.
fn compare(seed: u64, authority: &str, seen: &mut BTreeMap<String, u64>) -> u64 {
    let drawn = Drawn::new(seed);
    let files = drawn.files(authority, seed);
    let now: Timestamp = Timestamp::now();
    let built = build(&drawn::tree(&files), &LastGood::default(), now);
    let frozen: Vec<_> = built.frozen.iter().map(|unit| unit.to_string()).collect();
    let broken = drawn.peers.iter().filter(|(_, peer)| peer.is_broken);
    let broken: Vec<_> = broken.map(|(name, _)| name.clone()).collect();
    let freezes = |effect| built.diagnostics.iter().any(|d| d.effect == effect);
    assert_eq!(frozen, broken, "seed {seed}: {:?}", built.diagnostics);
    assert_eq!(freezes(Effect::Freeze), !broken.is_empty(), "seed {seed}");
    // Each 64th goes through the whole store on disk.
    let fabric = built.fabric.unwrap();
    let engines = Engines::new(&fabric, seed.is_multiple_of(64));
    let relation = Relation::new(&fabric);
    if seed.is_multiple_of(16) {
        relation.check_differences(&fabric);
    }
    for (tuple, told) in relation.examples() {
        let tuple = tuple.borrow();
        assert_eq!(told, expect(&drawn, &tuple), "seed {seed}: {tuple:?}");
    }

    let mut compared = 0;
    for (name, peer) in drawn.peers.iter().filter(|(_, peer)| !peer.is_broken) {
        engines.check_imports(name, &in_force(&drawn, peer));
        engines.check_workloads(name, &peer.workloads);
        let clients = drawn.clients(peer, seed);
        for (import, sources) in in_force(&drawn, peer) {
            for source in sources {
                for client in &clients {
                    let tuple = Tuple {
                        client: client.as_ref(),
                        peer: name,
                        import,
                        source,
                    };
                    let expected = expect(&drawn, &tuple);
                    let answers = engines.answer(&tuple);
                    let is_allowed = expected.iter().all(|side| side.starts_with("allow"));
                    let reaches = relation.reaches(&tuple);
                    if answers != Answers::all(&expected) || reaches != is_allowed {
                        panic!(
                            "seed {seed}: {name} {import:?} {source:?} {client:?}\n\
                             {expected:?} is right\n{answers:#?}\nreach: {reaches}\n{files:#?}"
                        );
                    }
                    let kind = expected.map(|side| kind(&side).to_owned()).join(", ");
                    *seen.entry(kind).or_default() += 1;
                    compared += 1;
                }
            }
        }
    }
    compared
}

/// The imports of a peer with the sources that lead somewhere, or may do so.
fn in_force<'a>(drawn: &Drawn, peer: &'a Peer) -> BTreeMap<&'a Name, Vec<&'a (String, Name)>> {
    let leads = |(peer, export): &&(String, Name)| {
        let there = &drawn.peers[peer];
        there.is_broken || there.exports.contains_key(export)
    };
    let imports = peer.imports.iter();
    imports
        .map(|(name, import)| (name, import.sources.iter().filter(leads).collect()))
        .collect()
}

/// What the oracle says: where the connection begins, and where it ends.
fn expect(drawn: &Drawn, tuple: &Tuple<'_>) -> [String; 2] {
    let (export_peer, export) = tuple.source;
    let (here, there) = (&drawn.peers[tuple.peer], &drawn.peers[export_peer]);
    if there.is_broken {
        return ["refused", "refused"].map(str::to_owned);
    }
    let attributes = |name: &str, peer: &Peer| PeerAttributes {
        name: name.parse().unwrap(),
        labels: peer.labels.clone(),
    };
    let export_attributes = ExportAttributes {
        name: ObjectName::new(&export.0, &export.1).unwrap(),
        labels: there.exports[export].clone(),
    };
    let ask = |peer: &Peer, namespace: &str| {
        let request = Request {
            namespace,
            client: tuple.client,
            client_peer: &attributes(tuple.peer, here),
            export: &export_attributes,
            export_peer: &attributes(export_peer, there),
        };
        oracle::oracle(&drawn.policies_of(peer), &request)
    };
    [ask(here, &tuple.import.0), ask(there, &export.0)]
}

fn kind(answer: &str) -> &'static str {
    let is_privileged = answer.contains(" /");
    match (answer, is_privileged) {
        ("refused", _) => "refused",
        ("deny by default", _) => "deny by default",
        (text, true) if text.starts_with("allow") => "allow by privileged",
        (text, false) if text.starts_with("allow") => "allow by regular",
        (text, true) if text.contains("unknown") => "unknown to privileged",
        (text, false) if text.contains("unknown") => "unknown to regular",
        (_, true) => "deny by privileged",
        (_, false) => "deny by regular",
    }
}
