//! What is known of an earlier state isn't checked again, and nothing comes out otherwise.

use std::sync::LazyLock;

use super::common::{Authority, Files, allow_all, export, import, now, peer};
use super::name;
use fabric::fabric::{Build, LastGood, build};
use fabric::origin::Revision;
use fabric::plan::Plan;
use fabric::report::{PlanReport, Question, State};
use fabric::tree::Tree;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

const PEERS: [&str; 4] = ["east", "north", "south", "west"];
const NAMES: [&str; 3] = ["bank", "ledger", "till"];

/// A CA, and a certificate of each peer.
static PEMS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let authority = Authority::new("acme");
    let leaves = PEERS.map(|peer| authority.leaf(peer));
    [authority.pem()].into_iter().chain(leaves).collect()
});

/// A fabric of four peers, each of which exports two services and imports from its neighbour.
fn mesh() -> Files {
    let mut files = Files::default();
    files.put(
        "fabric.yaml",
        "apiVersion: weft.dev/v1alpha1\nkind: Fabric\nmetadata: {name: acme}\nspec: {}\n",
    );
    files.put("ca/acme.pem", &PEMS[0]);
    files.put(
        "policies/guard.yaml",
        &policy(None, "deny", "client.clusterlink.net/namespace", "lab", ""),
    );
    for (index, unit) in PEERS.into_iter().enumerate() {
        let neighbour = PEERS[(index + 1) % PEERS.len()];
        let mut put = |file: &str, text: &str| {
            files.put(&format!("peers/{unit}/{file}"), text);
        };
        put("cert.pem", &PEMS[index + 1]);
        put("peer.yaml", &peer(unit, "{region: eu}"));
        put("bank.yaml", &export("pay", "bank", 1));
        put("ledger.yaml", &export("pay", "ledger", 2));
        put(
            "import.yaml",
            &import("shop", "ledger", 9000, neighbour, "pay/ledger"),
        );
        put("shop.yaml", &allow_all("shop"));
        put("pay.yaml", &allow_all("pay"));
    }
    files
}

/// A policy, privileged where it has no namespace, about one attribute on either side.
fn policy(namespace: Option<&str>, action: &str, key: &str, value: &str, to: &str) -> String {
    let (kind, namespace) = match namespace {
        Some(namespace) => ("AccessPolicy", format!(", namespace: {namespace}")),
        None => ("PrivilegedAccessPolicy", String::new()),
    };
    let to = match to {
        "" => "{}".to_owned(),
        name => format!("{{matchLabels: {{export.clusterlink.net/name: {name}}}}}"),
    };
    format!(
        "apiVersion: clusterlink.net/v1alpha1\nkind: {kind}\nmetadata: {{name: p{namespace}}}\nspec:\n  action: {action}\n  from: [{{workloadSelector: {{matchLabels: {{{key}: {value}}}}}}}]\n  to: [{{workloadSelector: {to}}}]\n"
    )
}

fn after(before: &Build, tree: &Tree) -> LastGood {
    let units = before.good.units.keys();
    LastGood {
        shared: before.good.shared.as_ref().map(|_| tree.clone()),
        units: units.map(|name| (name.clone(), tree.clone())).collect(),
    }
}

/// All that a build comes to, and what changes since another one, as text.
fn outcome(before: &Build, after: &Build) -> String {
    let plans = PEERS.map(|peer| {
        let fabric = after.fabric.as_ref()?;
        Plan::of(fabric, &name(peer))
    });
    let (base, head) = (Revision::commit("base"), Revision::commit("head"));
    let state = |revision, build| State {
        revision,
        build,
        invariants: &[],
    };
    let report = PlanReport::new(Question {
        before: Some(state(&base, before)),
        after: state(&head, after),
        commits: &[],
        peer: None,
    });
    let shown: Vec<_> = after.diagnostics.iter().map(|d| d.shows_source).collect();
    let diagnostics = &after.diagnostics;
    format!(
        "{:#?}",
        (
            diagnostics,
            shown,
            plans,
            &after.good,
            &after.frozen,
            report
        )
    )
}

/// The record of a tree, in which what the peer north is told says something else.
fn forged(tree: &Tree) -> Tree {
    let kept = String::from_utf8(tree.to_kept().unwrap()).unwrap();
    assert!(kept.contains("the peer north has no cert.pem"), "{kept}");
    let kept = kept.replace("the peer north has no cert.pem", "it is known");
    uncertified().tree("base").with_kept(kept.as_bytes())
}

/// The fabric in which north has no certificate and is told so.
fn uncertified() -> Files {
    let mut files = mesh();
    files.remove("peers/north/cert.pem");
    files
}

/// Whether what was kept of the peer north is believed, after some files were changed.
fn is_believed(now: Timestamp, change: impl Fn(&mut Files)) -> bool {
    let base = uncertified().tree("base");
    let _ = build(&base, &LastGood::default(), super::common::now());
    let base = forged(&base);
    let before = build(&base, &LastGood::default(), super::common::now());
    let mut files = uncertified();
    change(&mut files);
    let built = build(&files.tree("head"), &after(&before, &base), now);
    built
        .diagnostics
        .iter()
        .any(|d| d.message.starts_with("it is known"))
}

#[test]
fn what_is_the_same_is_not_checked_again() {
    let path = |file: &str| format!("peers/{file}");
    type Change = Box<dyn Fn(&mut Files)>;
    let put = |file: &str, text: String| -> Change {
        let path = path(file);
        Box::new(move |files| {
            files.put(&path, &text);
        })
    };
    let port = import("shop", "ledger", 9001, "north", "pay/ledger");
    let labelled =
        export("pay", "ledger", 2).replace("namespace: pay", "namespace: pay, labels: {a: b}");
    let other = Authority::new("other").pem();
    let cases: Vec<(&str, bool, Change)> = vec![
        ("nothing", true, Box::new(|_| ())),
        (
            "another's port",
            true,
            put("east/import.yaml", port.clone()),
        ),
        (
            "another's sources",
            true,
            put(
                "east/import.yaml",
                import("shop", "ledger", 9000, "north", "pay/bank"),
            ),
        ),
        (
            "another's new export",
            true,
            put("east/till.yaml", export("pay", "till", 3)),
        ),
        (
            "an export of what it doesn't import from",
            true,
            put("west/ledger.yaml", labelled.clone()),
        ),
        (
            "the labels of an export of its source",
            false,
            put("south/ledger.yaml", labelled),
        ),
        (
            "another port of an export of its source",
            true,
            put("south/ledger.yaml", export("pay", "ledger", 3)),
        ),
        (
            "a policy of its source",
            false,
            put("south/pay.yaml", allow_all("pay").replace("till", "cart")),
        ),
        (
            "an export that goes from its source",
            false,
            Box::new(|files| {
                files.remove("peers/south/ledger.yaml");
            }),
        ),
        (
            "a refused export",
            false,
            put(
                "west/bank.yaml",
                export("pay", "bank", 1).replace("bank.example.com", "127.0.0.1"),
            ),
        ),
        (
            "its own file",
            false,
            put(
                "north/import.yaml",
                import("shop", "ledger", 9002, "south", "pay/ledger"),
            ),
        ),
        (
            "a new peer",
            false,
            put("nigh/peer.yaml", peer("nigh", "{}")),
        ),
        (
            "a peer that goes",
            false,
            Box::new(|files| files.0.retain(|path, _| !path.starts_with("peers/west/"))),
        ),
        (
            "a peer's labels",
            false,
            put("west/peer.yaml", peer("west", "{region: us}")),
        ),
        (
            "a frozen peer",
            false,
            put("west/peer.yaml", "a: [b".to_owned()),
        ),
        (
            "a shared policy",
            false,
            Box::new(|files| {
                files.put("policies/guard.yaml", "# none\n");
            }),
        ),
        (
            "another CA",
            false,
            Box::new(move |files| {
                files.put("ca/other.pem", &other);
            }),
        ),
        (
            "what isn't read",
            true,
            Box::new(|files| {
                files.put("README.md", "x");
            }),
        ),
    ];
    for (what, expected, change) in cases {
        assert_eq!(is_believed(now(), change), expected, "{what}");
    }
}

#[test]
fn what_time_tells_is_asked_again() {
    // A certificate of the CA's that is told of every day from here on.
    let files = mesh();
    let tree = files.tree("base");
    let at = |text: &str| -> Timestamp { text.parse().unwrap() };
    let days = [
        "2026-02-01T00:00:00Z",
        "2026-09-30T12:00:00Z",
        "2026-10-01T11:59:59Z",
        "2026-10-01T12:00:00Z",
        "2026-12-31T01:00:00Z",
        "2027-01-01T00:00:00Z",
        "2027-01-01T00:00:01Z",
        "2027-06-01T00:00:00Z",
        "2025-12-31T00:00:00Z",
        "2026-02-01T00:00:00Z",
    ];
    for day in days {
        let known = build(&tree, &LastGood::default(), at(day));
        let fresh = build(&files.tree("base"), &LastGood::default(), at(day));
        assert_eq!(known.diagnostics, fresh.diagnostics, "{day}");
    }
    // Also step by step, where each step knows of the one before alone.
    let mut moment = at("2026-08-20T06:00:00Z");
    let mut kept = None::<Vec<u8>>;
    while moment < at("2027-01-03T00:00:00Z") {
        let tree = files.tree("base");
        let tree = match &kept {
            Some(kept) => tree.with_kept(kept),
            None => tree,
        };
        let known = build(&tree, &LastGood::default(), moment);
        let fresh_tree = files.tree("base");
        let fresh = build(&fresh_tree, &LastGood::default(), moment);
        assert_eq!(known.diagnostics, fresh.diagnostics, "{moment}");
        kept = fresh_tree.to_kept();
        moment += SignedDuration::from_hours(101);
    }
}

/// Days from the first moment of the tests: some on which policies end, and certificates come due.
const DAYS: [i64; 6] = [0, 1, 240, 241, 333, 334];

/// A policy that ends in the middle of one of the days.
fn expiring(text: &str, day: i64) -> String {
    let end = now() + SignedDuration::from_hours(24 * day + 12);
    text.replace(
        "{name: p",
        &format!(
            "{{annotations: {{weft.dev/expires: {:?}}}, name: p",
            end.to_string()
        ),
    )
}

/// A file of a unit and what stands there; nothing removes it.
fn change() -> impl Strategy<Value = (String, Option<String>)> {
    let text = |unit: &'static str| {
        let names = || prop::sample::select(&NAMES[..]);
        let peers = || prop::sample::select(&["east", "north", "south", "west", "wets"][..]);
        let namespaces = || prop::sample::select(&["shop", "pay", "none"][..]);
        let keys = prop::sample::select(
            &[
                "peer.clusterlink.net/name",
                "peer.clusterlink.net/labels.region",
                "client.clusterlink.net/namespace",
                "no-attribute",
            ][..],
        );
        prop_oneof![
            4 => (names(), 1..3_u16, any::<bool>()).prop_map(|(name, port, is_labelled)| {
                let text = export("pay", name, port);
                match is_labelled {
                    true => text.replace("namespace: pay", "namespace: pay, labels: {tier: a}"),
                    false => text,
                }
            }),
            6 => (names(), 9000..9003_u16, peers(), names()).prop_map(|(name, port, from, what)| {
                import("shop", name, port, from, &format!("pay/{what}"))
            }),
            6 => (
                    prop::option::of(prop::sample::select(&DAYS[..])),
                    namespaces(), prop::sample::select(&["allow", "deny"][..]), keys, peers(), prop::sample::select(&["", "bank", "legder"][..]))
                .prop_map(|(day, namespace, action, key, value, to)| {
                    let namespace = (namespace != "none").then_some(namespace);
                    let text = policy(namespace, action, key, value, to);
                    match day {
                        Some(day) => expiring(&text, day),
                        None => text,
                    }
                }),
            1 => Just(peer(unit, "{region: us}")),
            1 => Just(export("pay", "bank", 1).replace("bank.example.com", "127.0.0.1")),
            1 => Just("a: [b\n".to_owned()),
            1 => Just("# nothing\n".to_owned()),
        ]
    };
    const FILES: [&str; 5] = ["bank.yaml", "import.yaml", "shop.yaml", "x.yaml", "y.yaml"];
    let of_unit = prop::sample::select(&PEERS[..]).prop_flat_map(move |unit| {
        let file = prop::sample::select(&FILES[..]);
        (Just(unit), file, prop::option::weighted(0.85, text(unit)))
            .prop_map(|(unit, file, text)| (format!("peers/{unit}/{file}"), text))
    });
    prop_oneof![
        12 => of_unit,
        1 => prop::sample::select(&PEERS[..]).prop_map(|unit| (format!("peers/{unit}/cert.pem"), None)),
        1 => prop::sample::select(&["bank", "legder"][..]).prop_map(|to| {
            let text = policy(None, "deny", "peer.clusterlink.net/name", "east", to);
            ("policies/more.yaml".to_owned(), Some(text))
        }),
    ]
}

/// Fails with the first lines that differ: all of them are too many to be read.
fn is_same(known: &str, expected: &str) -> Result<(), TestCaseError> {
    let differing = known.lines().zip(expected.lines()).enumerate();
    let differing = differing.filter(|(_, (known, expected))| known != expected);
    let differing: Vec<_> = differing.take(5).collect();
    prop_assert!(known == expected, "{differing:#?}");
    Ok(())
}

fn apply(files: &mut Files, changes: Vec<(String, Option<String>)>) {
    for (path, text) in changes {
        match text {
            Some(text) => {
                files.put(&path, &text);
            }
            None => {
                files.0.remove(&path);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(96) })]

    #[test]
    fn what_is_known_comes_out_as_what_is_checked(
        first in prop::collection::vec(change(), 0..5),
        second in prop::collection::vec(change(), 0..3),
        third in prop::collection::vec(change(), 0..3),
        (days, more) in (prop::sample::select(&DAYS[..]), 0..30_i64),
    ) {
        let mut files = mesh();
        apply(&mut files, first);
        let (base, then) = (now() + SignedDuration::from_hours(24 * days), SignedDuration::from_hours(more));
        let mut old = files.tree("base");
        let mut before = build(&old, &LastGood::default(), base);
        for (step, changes) in [second, third].into_iter().enumerate() {
            let previous = files.clone();
            apply(&mut files, changes);
            let now = base + then * i32::try_from(step).unwrap();
            let head = files.tree("head");
            let known = build(&head, &after(&before, &old), now);
            // The same files, of which nothing is known.
            let mut last_good = after(&before, &old);
            last_good.shared = last_good.shared.map(|_| previous.tree(old.revision().as_str()));
            let expected = build(&files.tree("head"), &last_good, now);
            is_same(&outcome(&before, &known), &outcome(&before, &expected))?;
            // And once more by what was kept of it.
            if let Some(kept) = head.to_kept() {
                let again = build(&files.tree("head").with_kept(&kept), &after(&before, &old), now);
                is_same(&outcome(&before, &again), &outcome(&before, &expected))?;
            }
            (old, before) = (head, known);
        }
    }
}
