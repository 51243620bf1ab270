//! What once was wrong, each named for what it broke.

use super::common::{Authority, Files, allow_all, export, import, now, peer, report};
use super::{name, object};
use fabric::diagnostic::{Code, Effect};
use fabric::fabric::{LastGood, build};
use fabric::name::PeerName;
use fabric::tree::{EntryKind, Tree};

fn last_good(shared: &Tree, units: &[(&str, &Tree)]) -> LastGood {
    LastGood {
        shared: Some(shared.clone()),
        units: units
            .iter()
            .map(|(unit, tree)| (name(unit), (*tree).clone()))
            .collect(),
    }
}

#[test]
fn workloads_with_the_same_addresses_were_told_as_a_freeze_and_did_not_freeze() {
    let mut files = Files::two_peers();
    files.put(
        "peers/east/workloads.yaml",
        "apiVersion: weft.dev/v1alpha1\nkind: Workloads\nmetadata: {name: east}\nspec:\n  workloads:\n  - {addresses: [10.0.0.1, 10.0.0.1], namespace: shop, serviceAccount: a, labels: {}}\n  - {addresses: [10.0.0.2, 10.0.0.1/32], namespace: till, serviceAccount: a, labels: {}}\n",
    );
    let build = files.build();
    assert_eq!(
        report(&build, Effect::Fail),
        "WEFT0213 Freeze peers/east/workloads.yaml:7:28 the addresses 10.0.0.1/32 stand for two \
         workloads\n"
    );
    let labels = &build.diagnostics[0].labels;
    assert_eq!((labels[1].span.line, labels[1].span.column), (6, 18));
    assert!(build.frozen.contains("east"));
    assert!(!build.fabric.unwrap().units.contains_key("east"));
}

#[test]
fn a_held_fabric_lost_the_sources_of_units_that_never_were_good() {
    let mut good = Files::two_peers();
    good.replace("peers/west/ledger.yaml", "port:", "prot:");
    let mut head = good.clone();
    head.put("fabric.yaml", "kind: Fabric\n");
    let old = good.tree("old");
    let before = build(&old, &LastGood::default(), now());
    let then = build(
        &head.tree("head"),
        &last_good(&old, &[("east", &old)]),
        now(),
    );
    assert!(then.is_held);
    let dropped = |build: &fabric::fabric::Build| {
        let fabric = build.fabric.as_ref().unwrap();
        assert!(fabric.unknown.contains("west"));
        fabric.units["east"].imports[&object("shop/ledger")]
            .dropped
            .clone()
    };
    assert!(dropped(&before).is_empty());
    assert!(dropped(&then).is_empty());
}

#[test]
fn a_warning_in_fabric_yaml_stood_in_for_the_fabric() {
    let mut files = Files::two_peers();
    files.put("fabric.yaml", "kind: List\nitems: []\non: here\n");
    let build = files.build();
    let codes: Vec<_> = build.diagnostics.iter().map(|found| found.code).collect();
    assert_eq!(codes, [Code::NoFabric, Code::AmbiguousKey]);
    assert!(build.is_held && build.fabric.is_none());
}

#[test]
fn an_entry_that_could_not_be_read_was_told_as_missing_too() {
    for path in ["fabric.yaml", "peers/east/peer.yaml"] {
        let mut files = Files::two_peers();
        files.remove(path);
        let mut builder = files.builder("head");
        builder.visit(path.as_bytes(), EntryKind::Symlink);
        let build = build(&builder.finish(), &LastGood::default(), now());
        let codes: Vec<_> = build.diagnostics.iter().map(|found| found.code).collect();
        assert_eq!(codes, [Code::Symlink], "{}", report(&build, Effect::Note));
    }
}

#[test]
fn a_shared_policy_took_the_name_of_a_frozen_units_policy_in_silence() {
    let own = "apiVersion: clusterlink.net/v1alpha1\nkind: PrivilegedAccessPolicy\nmetadata: {name: guard}\nspec:\n  action: deny\n  from: [{workloadSelector: {matchLabels: {client.clusterlink.net/namespace: lab}}}]\n  to: [{workloadSelector: {}}]\n";
    let mut good = Files::two_peers();
    good.put("peers/west/guard.yaml", own);
    let mut head = good.clone();
    head.put("policies/guard.yaml", own)
        .replace("peers/west/ledger.yaml", "port:", "prot:");
    let old = good.tree("old");
    let build = build(
        &head.tree("head"),
        &last_good(&old, &[("west", &old)]),
        now(),
    );
    let found = report(&build, Effect::Fail);
    assert!(
        found.contains("WEFT0201 Fail peers/west/guard.yaml:3:18"),
        "{found}"
    );
    let fabric = build.fabric.unwrap();
    assert!(
        fabric.units["west"]
            .policies
            .iter()
            .all(|item| &**item.path() != "peers/west/guard.yaml")
    );
}

#[test]
fn a_port_that_only_may_clash_hid_one_that_does() {
    let mut files = Files::two_peers();
    let unwritten = |name: &str| {
        import("shop", name, 9000, "west", "pay/ledger").replace("  targetPort: 9000\n", "")
    };
    files
        .put("peers/east/a.yaml", &unwritten("aaa"))
        .put(
            "peers/east/z.yaml",
            &import("shop", "zzz", 9000, "west", "pay/ledger"),
        )
        .put(
            "peers/east/admin.yaml",
            &import("shop", "admin", 4480, "west", "pay/ledger"),
        );
    let build = files.build();
    assert_eq!(
        report(&build, Effect::Warn),
        "WEFT0206 Fail peers/east/admin.yaml:6:15 port 4480 is the gateway's own\n\
         WEFT0206 Warn peers/east/ledger.yaml:6:15 without Kubernetes port 9000 is taken by the \
         import shop/aaa\n\
         WEFT0206 Fail peers/east/z.yaml:6:15 port 9000 is taken by the import shop/ledger\n"
    );
    let related: Vec<_> = build
        .diagnostics
        .iter()
        .filter_map(|found| found.labels.get(1))
        .map(|label| (&*label.path, label.span.line))
        .collect();
    assert_eq!(
        related,
        [("peers/east/a.yaml", 5), ("peers/east/ledger.yaml", 6)],
        "each at the port that is meant"
    );
}

#[test]
fn json_of_other_tools_at_the_top_was_warned_of() {
    let mut files = Files::two_peers();
    files
        .put("package.json", "{}")
        .put("peers/east/package.json", "{}");
    let build = files.build();
    let paths: Vec<_> = build.diagnostics.iter().map(|found| found.path()).collect();
    assert_eq!(paths, ["peers/east/package.json"]);
}

/// Each of these took the product of what is there and what is wrong.
#[test]
fn hints_and_warnings_took_quadratic_time() {
    const MANY: usize = 2_200;
    let mut files = Files::default();
    let authority = Authority::new("acme");
    files.put("ca/acme.pem", &authority.pem()).put(
        "fabric.yaml",
        "apiVersion: weft.dev/v1alpha1\nkind: Fabric\nmetadata: {name: acme}\nspec: {}\n",
    );
    files.put("peers/east/peer.yaml", &peer("east", "{}"));
    let documents =
        |one: &dyn Fn(usize) -> String| (0..MANY).map(one).collect::<Vec<_>>().join("---\n");
    files
        .put(
            "peers/east/exports.yaml",
            &documents(&|i| export("pay", &format!("export-{i}"), 1)),
        )
        .put(
            "peers/east/imports.yaml",
            &documents(&|i| {
                import("shop", &format!("import-{i}"), 9000, "east", &format!("pay/exprt-{i}"))
                    .replace("  targetPort: 9000\n", "")
            }),
        )
        .put(
            "peers/east/policies.yaml",
            &documents(&|i| {
                allow_all("pay").replace("name: allow", &format!("name: a-{i}")).replace(
                    "to: [{workloadSelector: {}}]",
                    &format!(
                        "to: [{{workloadSelector: {{matchLabels: {{export.clusterlink.net/labels.x: v{i}}}}}}}]"
                    ),
                )
            }),
        );
    let build = files.build();
    let count = |code| {
        build
            .diagnostics
            .iter()
            .filter(|found| found.code == code)
            .count()
    };
    // What is wrong is always told; what only helps is told as far as the effort goes.
    assert_eq!(count(Code::UnknownExport), MANY);
    let helped = build
        .diagnostics
        .iter()
        .filter(|found| found.code == Code::UnknownExport && found.help.is_some())
        .count();
    assert!((1..MANY).contains(&helped), "{helped}");
    assert!((1..MANY).contains(&count(Code::PolicyMatchesNothing)));
}

#[test]
fn a_unit_is_read_alone_from_its_last_good_tree() {
    let mut good = Files::two_peers();
    good.put("peers/east2/peer.yaml", &peer("east2", "{}"));
    let old = good.tree("old");
    let paths: Vec<_> = old
        .files_below("peers/east/")
        .map(|(path, _)| &**path)
        .collect();
    assert_eq!(
        paths,
        [
            "peers/east/cert.pem",
            "peers/east/ledger.yaml",
            "peers/east/peer.yaml",
            "peers/east/policy.yaml"
        ]
    );
    let mut head = good.clone();
    head.put("peers/east/odd.yaml", "a: b\n");
    let then = build(
        &head.tree("head"),
        &last_good(&old, &[("east", &old)]),
        now(),
    );
    assert_eq!(then.good.units["east"].as_str(), "old");
    assert!(
        then.fabric
            .unwrap()
            .units
            .keys()
            .map(PeerName::as_str)
            .eq(["east", "east2", "west"])
    );
}

#[test]
fn a_frozen_unit_that_imports_from_itself_got_back_a_source_that_leads_nowhere() {
    let mut good = Files::two_peers();
    good.put(
        "peers/west/own.yaml",
        &import("shop", "own", 9000, "west", "pay/none"),
    );
    let old = good.tree("old");
    let mut head = good.clone();
    head.put("peers/west/broken.yaml", "kind: [");
    let then = build(
        &head.tree("head"),
        &last_good(&old, &[("east", &old), ("west", &old)]),
        now(),
    );
    let import = &then.fabric.unwrap().units["west"].imports[&object("shop/own")];
    assert_eq!(import.dropped.len(), 1);
}
