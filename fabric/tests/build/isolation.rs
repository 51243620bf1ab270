//! Whatever order files come in, and whatever happens to one unit, the others stand as they stood.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::common::{Files, allow_all, export, import, now, peer};
use super::name;
use fabric::fabric::{Build, LastGood, Unit, build};
use fabric::name::PeerName;
use fabric::origin::Revision;
use fabric::plan::Plan;
use fabric::tree::{Blob, EntryKind, Limits, Tree, Visit};
use proptest::prelude::*;

const PEERS: [&str; 4] = ["east", "north", "south", "west"];
const NAMES: [&str; 3] = ["bank", "ledger", "till"];

/// What may stand in a file of a unit: a good object, an odd one, or nonsense.
fn content(peer_name: &'static str) -> impl Strategy<Value = String> {
    let names = || prop::sample::select(&NAMES[..]);
    let peers = || prop::sample::select(&["east", "north", "south", "west", "wets"][..]);
    prop_oneof![
        4 => (names(), 1..3_u16).prop_map(|(name, port)| export("pay", name, port)),
        4 => (names(), 9000..9003_u16, peers(), names()).prop_map(|(name, port, from, what)| {
            import("shop", name, port, from, &format!("pay/{what}"))
        }),
        2 => prop::sample::select(&["shop", "pay"][..]).prop_map(allow_all),
        1 => Just(peer(peer_name, "{region: eu}")),
        1 => Just(peer(peer_name, "{region: us}")),
        1 => Just(export("pay", "ledger", 1).replace("port", "prot")),
        1 => Just("a: [b\n".to_owned()),
        1 => Just("# nothing\n".to_owned()),
        1 => Just(export("pay", "bank", 1).replace("bank.example.com", "127.0.0.1")),
        1 => Just(privileged("guard", "")),
        1 => "[ -~\n]{0,40}",
    ]
}

fn privileged(name: &str, peers: &str) -> String {
    format!(
        "apiVersion: clusterlink.net/v1alpha1\nkind: PrivilegedAccessPolicy\nmetadata:\n  name: {name}\n  annotations: {{weft.dev/peers: {peers:?}}}\nspec:\n  action: deny\n  from: [{{workloadSelector: {{matchLabels: {{client.clusterlink.net/namespace: lab}}}}}}]\n  to: [{{workloadSelector: {{}}}}]\n"
    )
}

/// The files of a unit that change.
const FILES: [&str; 6] = [
    "peer.yaml",
    "a.yaml",
    "b.yaml",
    "deep/c.yml",
    "cert.pem",
    "notes.txt",
];

/// A path of a unit, and what stands there; nothing removes the file.
fn change(unit: &'static str) -> impl Strategy<Value = (String, Option<String>)> {
    (
        prop::sample::select(&FILES[..]),
        prop::option::weighted(0.8, content(unit)),
    )
        .prop_map(move |(file, text)| (format!("peers/{unit}/{file}"), text))
}

fn fabrics() -> impl Strategy<Value = Files> {
    let units = PEERS.map(|unit| prop::collection::vec(change(unit), 0..4));
    let shared = prop::option::of(prop::sample::select(&["", "region=eu", "region=us"][..]));
    (units, shared).prop_map(|(units, shared)| {
        let mut files = Files::default();
        files.put(
            "fabric.yaml",
            "apiVersion: weft.dev/v1alpha1\nkind: Fabric\nmetadata: {name: acme}\nspec: {}\n",
        );
        if let Some(peers) = shared {
            files.put("policies/guard.yaml", &privileged("guard", peers));
        }
        for unit in PEERS {
            files.put(
                &format!("peers/{unit}/peer.yaml"),
                &peer(unit, "{region: eu}"),
            );
        }
        for (path, text) in units.into_iter().flatten() {
            apply(&mut files, path, text);
        }
        files
    })
}

fn apply(files: &mut Files, path: String, text: Option<String>) {
    match text {
        Some(text) => files.put(&path, &text),
        None => {
            files.0.remove(&path);
            files
        }
    };
}

fn tree_in_order(files: &[(&String, &String)]) -> Tree {
    let mut builder = Tree::builder(Revision::commit("head"), Limits::default());
    for (path, text) in files {
        let size = text.len() as u64;
        let blob = match builder.visit(path.as_bytes(), EntryKind::File { size }) {
            Visit::Read => Blob::new(text.as_bytes().to_vec(), Limits::default().document),
            Visit::Search => Blob::searched(text.as_bytes()),
            Visit::Skip => continue,
        };
        builder.add(path.as_bytes(), Arc::new(blob));
    }
    builder.finish()
}

/// All that a build comes to, as text.
fn outcome(build: &Build) -> String {
    let fabric = build.fabric.as_ref();
    let plans: Vec<_> = PEERS
        .iter()
        .map(|peer| fabric.and_then(|fabric| Plan::of(fabric, &name(peer))))
        .collect();
    format!(
        "{:#?}",
        (
            &build.diagnostics,
            plans,
            &build.good,
            &build.frozen,
            build.is_held
        )
    )
}

/// What stands in force of a unit by itself, without the sources of `changed`: its revision aside.
fn own(unit: &Unit, changed: &str) -> String {
    let exports: Vec<_> = unit.exports.values().map(|item| item.object()).collect();
    let policies: Vec<_> = unit.policies.iter().map(|item| item.object()).collect();
    let imports: Vec<_> = unit
        .imports
        .values()
        .map(|import| {
            let mut object = import.in_force().unwrap();
            object.spec.sources.retain(|source| source.peer != changed);
            object
        })
        .collect();
    let peer = unit.peer.object();
    format!(
        "{:#?}",
        (
            peer,
            &unit.attributes,
            exports,
            policies,
            imports,
            &unit.certificates
        )
    )
}

fn after(before: &Build, tree: &Tree) -> LastGood {
    LastGood {
        shared: before.good.shared.as_ref().map(|_| tree.clone()),
        units: before
            .good
            .units
            .keys()
            .map(|name| (name.clone(), tree.clone()))
            .collect(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn the_order_of_files_says_nothing(files in fabrics(), seed in any::<u64>()) {
        let sorted: Vec<_> = files.0.iter().collect();
        let mut shuffled = sorted.clone();
        // Any order will do, so long as the seed decides it.
        shuffled.sort_by_key(|(path, _)| {
            path.bytes().fold(seed, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            })
        });
        let [first, second] = [sorted, shuffled]
            .map(|files| build(&tree_in_order(&files), &LastGood::default(), now()));
        prop_assert_eq!(outcome(&first), outcome(&second));
    }

    #[test]
    fn a_unit_changes_the_others_through_their_imports_alone(
        files in fabrics(),
        (changed, changes) in prop::sample::select(&PEERS[..])
            .prop_flat_map(|unit| (Just(unit), prop::collection::vec(change(unit), 1..4))),
    ) {
        let old = files.tree("old");
        let before = build(&old, &LastGood::default(), now());
        let mut head = files;
        for (path, text) in changes {
            apply(&mut head, path, text);
        }
        let then = build(&head.tree("head"), &after(&before, &old), now());
        let others = |build: &Build| {
            let fabric = build.fabric.as_ref().unwrap();
            let others = fabric.units.iter().filter(|(name, _)| name.as_str() != changed);
            others
                .map(|(name, unit)| (name.clone(), own(unit, changed)))
                .collect::<Vec<_>>()
        };
        prop_assert_eq!(others(&before), others(&then));
        let frozen = |build: &Build| {
            let frozen = build.frozen.iter().filter(|unit| &***unit != changed);
            frozen.cloned().collect::<BTreeSet<_>>()
        };
        prop_assert_eq!(frozen(&before), frozen(&then));

        // And the changed unit itself: new where it is good, and where it isn't, as it was.
        let [was, is] = [&before, &then].map(|build| {
            let fabric = build.fabric.as_ref().unwrap();
            fabric.units.get(changed).map(|unit| own(unit, ""))
        });
        if then.frozen.contains(changed) {
            prop_assert_eq!(was, is);
        } else if let Some(revision) = then.good.units.get(changed) {
            prop_assert_eq!(revision.as_str(), "head");
        }
        let is_there = then.good.units.keys().all(|name: &PeerName| {
            head.0.keys().any(|path| path.starts_with(&format!("peers/{name}/")))
        });
        prop_assert!(is_there, "what is removed is gone");
    }
}
