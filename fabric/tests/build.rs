//! What a tree of files comes to: what is in force, what freezes, what is reported.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

#[path = "build/broken.rs"]
mod broken;
mod common;
#[path = "build/isolation.rs"]
mod isolation;
#[path = "build/known.rs"]
mod known;

use common::{Authority, Files, allow_all, export, import, now, peer, report};
use fabric::diagnostic::{Code, Effect, Example};
use fabric::fabric::{LastGood, build};
use fabric::invariant;
use fabric::name::{Kind, ObjectName, PeerName};
use fabric::origin::Revision;
use fabric::plan::{Plan, diff};
use fabric::snapshot::Snapshot;
use fabric::tree::{EntryKind, Limits, Scope, Tree, Visit};

fn name(text: &str) -> PeerName {
    text.parse().unwrap()
}

fn object(text: &str) -> ObjectName {
    text.parse().unwrap()
}

fn codes(build: &fabric::fabric::Build) -> Vec<Code> {
    build
        .diagnostics
        .iter()
        .map(|diagnostic| diagnostic.code)
        .collect()
}

#[test]
fn a_good_fabric_has_nothing_to_report() {
    let build = Files::two_peers().build();
    assert_eq!(report(&build, Effect::Note), "");
    let fabric = build.fabric.unwrap();
    let plan = Plan::of(&fabric, &name("east")).unwrap();
    let keys: Vec<_> = plan
        .objects
        .iter()
        .map(|object| object.key.to_string())
        .collect();
    assert_eq!(
        keys,
        ["Peer west", "Import shop/ledger", "AccessPolicy shop/allow"]
    );
    let snapshot = Snapshot::compile(&plan);
    assert_eq!(snapshot.remotes[&name("west")].peer.labels["region"], "us");
    assert_eq!(snapshot.remotes[&name("west")].certificates.len(), 1);
    assert_eq!(snapshot.imports[&object("shop/ledger")].listen_port, 9000);
}

#[test]
fn a_fabric_without_peers_is_fine() {
    let mut files = Files::two_peers();
    files.0.retain(|path, _| path == "fabric.yaml");
    let build = files.build();
    assert_eq!(report(&build, Effect::Note), "");
    assert!(build.fabric.is_some());
}

#[test]
fn without_a_fabric_nothing_is_in_force() {
    let build = Files::default().build();
    assert_eq!(codes(&build), [Code::NoFabric]);
    assert!(build.fabric.is_none() && build.is_held);
}

#[test]
fn an_import_that_leads_nowhere_loses_that_source_alone() {
    let mut files = Files::two_peers();
    files.put(
        "peers/east/ledger.yaml",
        &(import("shop", "ledger", 9000, "wets", "pay/ledger")
            + "  - {peer: west, exportName: ledgr, exportNamespace: pay}\n"
            + "  - {peer: west, exportName: ledger, exportNamespace: pay}\n"),
    );
    let build = files.build();
    assert_eq!(
        report(&build, Effect::Fail),
        "WEFT0204 Fail peers/east/ledger.yaml:8:11 the fabric has no peer \"wets\"\n\
         WEFT0205 Fail peers/east/ledger.yaml:11:30 the peer \"west\" exports no pay/ledgr\n"
    );
    let helps: Vec<_> = build
        .diagnostics
        .iter()
        .filter_map(|d| d.help.as_deref())
        .collect();
    assert_eq!(
        helps,
        ["did you mean \"west\"?", "did you mean \"pay/ledger\"?"]
    );
    let plan = Plan::of(&build.fabric.unwrap(), &name("east")).unwrap();
    let snapshot = Snapshot::compile(&plan);
    assert_eq!(snapshot.imports[&object("shop/ledger")].sources.len(), 1);
}

#[test]
fn a_broken_unit_freezes_alone() {
    let good = Files::two_peers();
    let mut files = good.clone();
    files
        .put(
            "peers/west/ledger.yaml",
            &export("pay", "renamed", 8080).replace("port", "prot"),
        )
        .put(
            "peers/east/more.yaml",
            &import("shop", "more", 9001, "west", "pay/unheard-of"),
        );

    // Never seen before: absent, and its exports unknown.
    let first = files.build();
    assert_eq!(
        first.frozen.iter().map(|unit| &**unit).collect::<Vec<_>>(),
        ["west"]
    );
    assert!(
        !codes(&first).contains(&Code::UnknownExport),
        "{}",
        report(&first, Effect::Note)
    );
    let fabric = first.fabric.unwrap();
    assert!(!fabric.units.contains_key(&name("west")));
    assert!(
        fabric.units[&name("east")]
            .imports
            .contains_key(&object("shop/more"))
    );

    // Seen before: it stays at what was good.
    let mut last_good = LastGood {
        shared: Some(good.tree("old")),
        ..LastGood::default()
    };
    last_good.units.insert(name("west"), good.tree("old"));
    let then = build(&files.tree("head"), &last_good, now());
    let fabric = then.fabric.unwrap();
    assert!(
        fabric.units[&name("west")]
            .exports
            .contains_key(&object("pay/ledger"))
    );
    assert_eq!(then.good.units[&name("west")].as_str(), "old");
    assert_eq!(then.good.units[&name("east")].as_str(), "head");
    assert_eq!(then.good.shared.unwrap().as_str(), "head");
}

#[test]
fn broken_shared_files_hold_the_fabric() {
    let good = Files::two_peers();
    let mut files = good.clone();
    files
        .put("fabric.yaml", "kind: Fabric\n")
        .put("peers/north/peer.yaml", &peer("north", "{}"))
        .put(
            "peers/east/ledger.yaml",
            &import("shop", "ledger", 9000, "wets", "pay/ledger"),
        );
    let mut last_good = LastGood {
        shared: Some(good.tree("old")),
        ..LastGood::default()
    };
    for unit in ["east", "west"] {
        last_good.units.insert(name(unit), good.tree("old"));
    }
    let build = build(&files.tree("head"), &last_good, now());
    assert!(build.is_held);
    assert!(
        codes(&build).contains(&Code::UnknownPeer),
        "every error is reported"
    );
    let fabric = build.fabric.unwrap();
    assert_eq!(fabric.revision.as_str(), "old");
    assert_eq!(
        fabric
            .units
            .keys()
            .map(PeerName::as_str)
            .collect::<Vec<_>>(),
        ["east", "west"]
    );
    assert!(
        fabric
            .units
            .values()
            .all(|unit| unit.revision.as_str() == "old")
    );
    assert!(
        fabric.units[&name("east")].imports[&object("shop/ledger")]
            .dropped
            .is_empty()
    );
}

#[test]
fn a_removed_peer_goes_whatever_its_importers_say() {
    let mut files = Files::two_peers();
    files.0.retain(|path, _| !path.starts_with("peers/west/"));
    let build = files.build();
    assert_eq!(
        report(&build, Effect::Fail),
        "WEFT0204 Fail peers/east/ledger.yaml:8:11 the fabric has no peer \"west\"\n"
    );
    let plan = Plan::of(&build.fabric.unwrap(), &name("east")).unwrap();
    assert!(Snapshot::compile(&plan).remotes.is_empty());
}

#[test]
fn a_unit_holds_one_peer_named_as_its_directory() {
    let mut files = Files::two_peers();
    files
        .replace("peers/east/peer.yaml", "name: east", "name: esat")
        .put("peers/west/again.yaml", &peer("west", "{}"))
        .put("peers/north/export.yaml", &export("pay", "ledger", 1))
        .put("peers/Odd Name/peer.yaml", &peer("odd", "{}"));
    let build = files.build();
    assert_eq!(
        report(&build, Effect::Freeze),
        "WEFT0109 Freeze peers/Odd Name/peer.yaml:0:0 the directory's name is no peer's name: it \
         holds 'O'; lower-case letters, digits and '-' are allowed, and '.' between parts\n\
         WEFT0203 Freeze peers/east/peer.yaml:4:9 the Peer is named \"esat\", its directory \"east\"\n\
         WEFT0202 Freeze peers/north/peer.yaml:0:0 the unit peers/north/ holds no Peer\n\
         WEFT0201 Freeze peers/west/peer.yaml:4:9 Peer west is described again: there is one only\n"
    );
    assert!(build.fabric.unwrap().units.is_empty());
}

#[test]
fn duplicates_name_both_places() {
    let mut files = Files::two_peers();
    files.put("peers/west/other.yaml", &export("pay", "ledger", 1));
    let build = files.build();
    let [diagnostic] = &*build.diagnostics else {
        panic!("{:?}", build.diagnostics)
    };
    assert_eq!(diagnostic.code, Code::DuplicateObject);
    let places: Vec<_> = diagnostic
        .labels
        .iter()
        .map(|l| (&*l.path, l.span.line))
        .collect();
    assert_eq!(
        places,
        [("peers/west/other.yaml", 3), ("peers/west/ledger.yaml", 3)]
    );
}

#[test]
fn kinds_stand_in_their_places() {
    let mut files = Files::two_peers();
    let fabric = files.0["fabric.yaml"].clone();
    files
        .put("peers/east/fabric.yaml", &fabric)
        .put("policies/p.yaml", &allow_all("shop"));
    let build = files.build();
    assert_eq!(
        report(&build, Effect::Freeze),
        "WEFT0103 Freeze peers/east/fabric.yaml:2:7 a Fabric doesn't belong here: it stands at the \
         top of the repository, not in a unit\n\
         WEFT0103 Freeze policies/p.yaml:2:7 a AccessPolicy doesn't belong here: only \
         PrivilegedAccessPolicy is read here\n"
    );
    assert!(build.is_held);
}

#[test]
fn two_imports_cannot_listen_on_one_port() {
    let mut files = Files::two_peers();
    files
        .put(
            "peers/east/second.yaml",
            &import("shop", "second", 9000, "west", "pay/ledger"),
        )
        .put(
            "peers/east/third.yaml",
            &import("shop", "third", 4443, "west", "pay/ledger"),
        );
    let build = files.build();
    assert_eq!(
        report(&build, Effect::Fail),
        "WEFT0206 Fail peers/east/second.yaml:6:15 port 9000 is taken by the import shop/ledger\n\
         WEFT0206 Fail peers/east/third.yaml:6:15 port 4443 is the gateway's own\n"
    );
    let fabric = build.fabric.unwrap();
    let imports = fabric.units[&name("east")]
        .imports
        .keys()
        .map(ToString::to_string);
    assert_eq!(imports.collect::<Vec<_>>(), ["shop/ledger"]);
}

#[test]
fn ports_that_stand_in_for_a_target_port_clash_without_kubernetes() {
    let mut files = Files::two_peers();
    let second =
        import("shop", "second", 9000, "west", "pay/ledger").replace("  targetPort: 9000\n", "");
    files.put("peers/east/second.yaml", &second);
    let in_a_cluster = files.build();
    assert_eq!(
        report(&in_a_cluster, Effect::Warn),
        "WEFT0206 Warn peers/east/second.yaml:5:9 without Kubernetes port 9000 is taken by the \
         import shop/ledger\n"
    );
    files.put(
        "peers/east/workloads.yaml",
        "apiVersion: weft.dev/v1alpha1\nkind: Workloads\nmetadata: {name: east}\nspec: {workloads: []}\n",
    );
    assert_eq!(
        report(&files.build(), Effect::Fail),
        "WEFT0206 Fail peers/east/second.yaml:5:9 port 9000 is taken by the import shop/ledger\n"
    );
}

#[test]
fn an_export_of_this_host_is_refused_unless_the_fabric_allows_it() {
    let mut files = Files::two_peers();
    files.replace(
        "peers/west/ledger.yaml",
        "host: ledger.example.com",
        "host: 127.0.0.1",
    );
    let refused = files.build();
    assert!(codes(&refused).contains(&Code::ExportHostRefused));
    assert!(
        refused.fabric.unwrap().units[&name("west")]
            .exports
            .is_empty()
    );
    files.replace(
        "fabric.yaml",
        "spec: {}",
        "spec: {exportHosts: {allow: [127.0.0.0/8]}}",
    );
    assert_eq!(report(&files.build(), Effect::Note), "");
}

#[test]
fn shared_policies_count_where_their_selector_says() {
    let privileged = |name: &str, peers: &str| {
        format!(
            "apiVersion: clusterlink.net/v1alpha1\nkind: PrivilegedAccessPolicy\nmetadata:\n  name: {name}\n  annotations: {{weft.dev/peers: {peers:?}}}\nspec:\n  action: deny\n  from: [{{workloadSelector: {{matchLabels: {{client.clusterlink.net/namespace: lab}}}}}}]\n  to: [{{workloadSelector: {{}}}}]\n"
        )
    };
    let mut files = Files::two_peers();
    files
        .put("policies/eu.yaml", &privileged("eu", "region in (eu)"))
        .put("policies/asia.yaml", &privileged("asia", "region=asia"))
        .put("peers/east/own.yaml", &privileged("eu", ""))
        .put("peers/west/own.yaml", &privileged("eu", ""));
    let build = files.build();
    let found = report(&build, Effect::Warn);
    assert!(
        found.contains("WEFT0210 Warn policies/asia.yaml:5:"),
        "{found}"
    );
    assert!(
        found.contains("WEFT0201 Fail peers/east/own.yaml:4:9"),
        "{found}"
    );
    assert!(!found.contains("peers/west"), "{found}");
    let fabric = build.fabric.unwrap();
    let policies = |peer: &str| -> Vec<String> {
        let plan = Plan::of(&fabric, &name(peer)).unwrap();
        let keys = plan
            .objects
            .iter()
            .filter(|object| object.key.namespace.is_none());
        keys.map(|object| format!("{} {}", object.key, object.origin.path))
            .collect()
    };
    assert_eq!(
        policies("east")[1..],
        ["PrivilegedAccessPolicy eu policies/eu.yaml"]
    );
    assert_eq!(
        policies("west")[1..],
        ["PrivilegedAccessPolicy eu peers/west/own.yaml"]
    );
}

#[test]
fn private_keys_freeze_a_unit_and_fail_elsewhere() {
    let key = rcgen::KeyPair::generate().unwrap().serialize_pem();
    let mut files = Files::two_peers();
    files
        .put("peers/east/notes.txt", &key)
        .put("docs/key.txt", &key);
    let build = files.build();
    assert_eq!(codes(&build), [Code::PrivateKey, Code::PrivateKey]);
    let effects: Vec<_> = build
        .diagnostics
        .iter()
        .map(|d| (d.path(), d.effect))
        .collect();
    assert_eq!(
        effects,
        [
            ("docs/key.txt", Effect::Fail),
            ("peers/east/notes.txt", Effect::Freeze)
        ]
    );
    assert!(
        build
            .diagnostics
            .iter()
            .all(|diagnostic| !diagnostic.shows_source)
    );
    assert!(build.frozen.contains("east") && !build.frozen.contains("west"));
}

#[test]
fn certificates_are_checked_against_the_ca_and_each_other() {
    let authority = Authority::new("acme");
    let key = rcgen::KeyPair::generate().unwrap();
    let mut files = Files::two_peers();
    files
        .put("ca/acme.pem", &authority.pem())
        .put("peers/east/cert.pem", &authority.leaf_of("east", &key))
        .put("peers/west/cert.pem", &authority.leaf_of("west", &key))
        .put("peers/north/peer.yaml", &peer("north", "{}"))
        .put(
            "peers/north/cert.pem",
            &Authority::new("other").leaf("north"),
        )
        .put("peers/south/peer.yaml", &peer("south", "{}"));
    let build = files.build();
    let found = report(&build, Effect::Note);
    assert!(
        found.contains("WEFT0310 Warn peers/west/cert.pem:1:1"),
        "{found}"
    );
    assert!(
        found.contains("WEFT0303 Fail peers/north/cert.pem:1:1"),
        "{found}"
    );
    assert!(
        found.contains("WEFT0306 Warn peers/south/peer.yaml:4:9"),
        "{found}"
    );
    assert_eq!(build.diagnostics.len(), 3, "{found}");
    let fabric = build.fabric.unwrap();
    assert_eq!(fabric.units.len(), 4, "nothing freezes between scopes");
    // Without it any certificate with north's name would do.
    assert_eq!(fabric.units[&name("north")].certificates.len(), 1);
}

#[test]
fn a_revoked_certificate_warns_and_is_in_every_plan() {
    let mut files = Files::two_peers();
    let fabric = files.build().fabric.unwrap();
    let print = fabric.units[&name("west")].certificates[0].fingerprint;
    files.put(
        "revocations.yaml",
        &format!(
            "apiVersion: weft.dev/v1alpha1\nkind: Revocations\nmetadata: {{name: acme}}\nspec:\n  certificates:\n  - {{fingerprint: {print}, reason: lost, date: \"2026-01-01\"}}\n"
        ),
    );
    let build = files.build();
    assert_eq!(codes(&build), [Code::CertificateRevoked]);
    let plan = Plan::of(&build.fabric.unwrap(), &name("east")).unwrap();
    assert!(plan.state.revoked.contains(&print));
}

#[test]
fn a_move_is_no_change() {
    let before = Files::two_peers();
    let mut after = before.clone();
    let text = after.0["peers/east/policy.yaml"].clone();
    after
        .remove("peers/east/policy.yaml")
        .put("peers/east/moved.yaml", &format!("# moved\n{text}"));
    after.replace(
        "peers/east/ledger.yaml",
        "targetPort: 9000",
        "targetPort: 9001",
    );
    after.put("peers/west/second.yaml", &export("pay", "second", 1));
    let plans = |files: &Files, revision: &str| {
        let build = build(&files.tree(revision), &LastGood::default(), now());
        let fabric = build.fabric.unwrap();
        ["east", "west"].map(|peer| Plan::of(&fabric, &name(peer)).unwrap())
    };
    let (old, new) = (plans(&before, "a"), plans(&after, "b"));
    let east = diff(&name("east"), Some(&old[0]), Some(&new[0]));
    assert!(east.added.is_empty() && east.removed.is_empty() && east.state.is_empty());
    let [change] = &*east.changed else {
        panic!("{east:?}")
    };
    assert_eq!(change.key.to_string(), "Import shop/ledger");
    assert_eq!(change.fields.len(), 1);
    assert_eq!(change.fields[0].pointer, "/spec/targetPort");
    let west = diff(&name("west"), Some(&old[1]), Some(&new[1]));
    assert_eq!(west.added.len(), 1);
    assert!(diff(&name("west"), Some(&old[1]), Some(&old[1])).is_empty());
}

#[test]
fn a_plan_holds_the_peers_own_instance_and_its_budget_and_no_other() {
    let mut files = Files::two_peers();
    let instance = |peer: &str| {
        format!(
            "apiVersion: clusterlink.net/v1alpha1\nkind: Instance\nmetadata: {{name: {peer}, namespace: clusterlink-operator}}\nspec: {{}}\n"
        )
    };
    for peer in ["east", "west"] {
        files.put(&format!("peers/{peer}/instance.yaml"), &instance(peer));
    }
    files.replace(
        "fabric.yaml",
        "spec: {}",
        "spec: {prune: {maxCount: 7, maxPercent: 3}}",
    );
    let fabric = files.build().fabric.unwrap();
    let plan = Plan::of(&fabric, &name("east")).unwrap();
    let instances = plan
        .objects
        .iter()
        .filter(|planned| planned.key.kind == Kind::Instance);
    let keys: Vec<String> = instances.map(|planned| planned.key.to_string()).collect();
    assert_eq!(keys, ["Instance clusterlink-operator/east"]);
    let prune = &plan.state.prune;
    assert_eq!((prune.max_count, prune.max_percent), (7, 3));
}

#[test]
fn a_plan_survives_being_stored() {
    let fabric = Files::two_peers().build().fabric.unwrap();
    let plan = Plan::of(&fabric, &name("east")).unwrap();
    let text = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan);
}

#[test]
fn links_freeze_what_they_stand_in_the_way_of() {
    for (path, held, frozen) in [
        ("peers/east", false, Some("east")),
        ("peers/east/policy.yaml", false, Some("east")),
        ("peers/east/deep/down", false, Some("east")),
        ("policies", true, None),
        ("ca", true, None),
        ("fabric.yaml", true, None),
        ("docs/link", false, None),
        ("README.md", false, None),
    ] {
        for kind in [EntryKind::Symlink, EntryKind::Submodule] {
            let mut files = Files::two_peers();
            files
                .0
                .retain(|file, _| file != path && !file.starts_with(&format!("{path}/")));
            let mut builder = files.builder("head");
            assert_eq!(builder.visit(path.as_bytes(), kind), Visit::Skip);
            let build = build(&builder.finish(), &LastGood::default(), now());
            assert_eq!(
                build.is_held,
                held,
                "{path}: {}",
                report(&build, Effect::Note)
            );
            assert_eq!(build.frozen.first().map(|unit| &**unit), frozen, "{path}");
        }
    }
}

#[test]
fn limits_hold() {
    let limits = Limits {
        files: 12,
        ..Limits::default()
    };
    let mut builder = Tree::builder(Revision::commit("head"), limits);
    for i in 0..20 {
        let file = EntryKind::File { size: 1 };
        builder.visit(format!("peers/p{i:02}/peer.yaml").as_bytes(), file);
        builder.visit(format!("docs/{i:02}.md").as_bytes(), file);
    }
    let large = EntryKind::File { size: 100 << 20 };
    assert_eq!(builder.visit(b"peers/east/large.yaml", large), Visit::Skip);
    assert_eq!(builder.visit(b"docs/large.iso", large), Visit::Skip);
    let deep = format!("peers/east/{}peer.yaml", "d/".repeat(40));
    assert_eq!(
        builder.visit(deep.as_bytes(), EntryKind::File { size: 1 }),
        Visit::Skip
    );
    let tree = builder.finish();
    let found: Vec<_> = tree
        .diagnostics()
        .iter()
        .map(|d| (d.code, d.path()))
        .collect();
    assert_eq!(
        found,
        [
            (Code::TooManyFiles, "peers/p12/peer.yaml"),
            (Code::NotSearched, "docs/12.md"),
            (Code::FileTooLarge, "peers/east/large.yaml"),
            (Code::NotSearched, "docs/large.iso"),
            (Code::PathTooDeep, &*deep),
        ]
    );
    assert!(
        tree.frozen().contains(&Scope::Shared),
        "what is missing can't be told"
    );
}

#[test]
fn files_that_look_as_if_they_were_read_are_named() {
    let mut files = Files::two_peers();
    files
        .put("peers/east/export.json", "{}")
        .put("peers/stray.yaml", "a: b")
        .put("stray.yml", "not: [closed")
        .put(".gitlab-ci.yml", "a: b")
        .put("charts/values.yaml", "not: [closed")
        .put("peers/east/Policy.yaml", "# a twin by case\n");
    let build = files.build();
    assert_eq!(
        report(&build, Effect::Note),
        "WEFT0506 Warn peers/east/export.json:0:0 the file is not read at this place or under this name\n\
         WEFT0507 Warn peers/east/policy.yaml:0:0 some systems can't tell this file's name from another's\n\
         WEFT0506 Warn peers/stray.yaml:0:0 the file is not read at this place or under this name\n\
         WEFT0506 Warn stray.yml:0:0 the file is not read at this place or under this name\n"
    );
}

#[test]
fn a_certificate_of_another_name_freezes_its_unit() {
    let authority = Authority::new("acme");
    let mut files = Files::two_peers();
    files
        .put("ca/acme.pem", &authority.pem())
        .put("peers/east/cert.pem", &authority.leaf("west"))
        .put("peers/west/cert.pem", &authority.leaf("west"));
    let build = files.build();
    assert_eq!(
        report(&build, Effect::Fail),
        "WEFT0302 Freeze peers/east/cert.pem:1:1 the certificate doesn't carry the peer's name \"east\"\n"
    );
    assert!(build.frozen.contains("east"));
}

#[test]
fn policies_that_come_to_nothing_are_told() {
    let policy = |namespace: &str, name: &str, action: &str, from: &str, to: &str| {
        format!(
            "apiVersion: clusterlink.net/v1alpha1\nkind: AccessPolicy\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec:\n  action: {action}\n  from: [{{workloadSelector: {{matchLabels: {{{from}}}}}}}]\n  to: [{{workloadSelector: {{matchLabels: {{{to}}}}}}}]\n"
        )
    };
    let mut files = Files::two_peers();
    files
        .put(
            "peers/west/typo.yaml",
            &policy(
                "pay",
                "typo",
                "deny",
                "",
                "export.clusterlink.net/name: ledgre",
            ),
        )
        .put(
            "peers/west/nobody.yaml",
            &policy(
                "pay",
                "nobody",
                "deny",
                "peer.clusterlink.net/name: esat",
                "",
            ),
        )
        .put(
            "peers/west/key.yaml",
            &policy(
                "pay",
                "key",
                "deny",
                "client.clusterlink.net/label.app: till",
                "",
            ),
        )
        .put(
            "peers/west/all.yaml",
            &policy("pay", "all", "allow", "", ""),
        )
        .put(
            "peers/west/idle.yaml",
            &policy("idle", "idle", "allow", "a: b", ""),
        );
    let build = files.build();
    let found = report(&build, Effect::Note);
    let at = |path: &str| {
        let of = build.diagnostics.iter().filter(|d| d.path() == path);
        of.map(|d| (d.code, d.span().line)).collect::<Vec<_>>()
    };
    assert_eq!(
        at("peers/west/typo.yaml"),
        [(Code::PolicyMatchesNothing, 7)],
        "{found}"
    );
    assert_eq!(
        at("peers/west/nobody.yaml"),
        [(Code::UnknownPeerInPolicy, 6)],
        "{found}"
    );
    assert_eq!(
        at("peers/west/key.yaml"),
        [(Code::UnknownAttribute, 6)],
        "{found}"
    );
    assert_eq!(
        at("peers/west/all.yaml"),
        [(Code::AllowsEverything, 6)],
        "{found}"
    );
    assert_eq!(
        at("peers/west/idle.yaml"),
        [(Code::UnknownAttribute, 6)],
        "{found}"
    );
    assert_eq!(report(&build, Effect::Fail), "", "warnings fail nothing");
}

#[test]
fn an_import_that_nobody_can_use_is_told_with_the_side() {
    let mut files = Files::two_peers();
    files.remove("peers/west/policy.yaml");
    assert_eq!(
        report(&files.build(), Effect::Note),
        "WEFT0401 Warn peers/east/ledger.yaml:8:5 no policy of west can ever allow this import\n"
    );
    files.remove("peers/east/policy.yaml");
    assert_eq!(
        report(&files.build(), Effect::Note),
        "WEFT0401 Warn peers/east/ledger.yaml:8:5 no policy of east, nor of west, can ever allow this import\n"
    );
    // A deny of every client closes it as well as no allow.
    files
        .put("peers/east/policy.yaml", &allow_all("shop"))
        .put("peers/west/policy.yaml", &allow_all("pay"))
        .put(
            "policies/close.yaml",
            "apiVersion: clusterlink.net/v1alpha1\nkind: PrivilegedAccessPolicy\nmetadata: {name: close}\nspec:\n  action: deny\n  from: [{workloadSelector: {}}]\n  to: [{workloadSelector: {matchLabels: {export.clusterlink.net/name: ledger}}}]\n",
        );
    assert_eq!(
        report(&files.build(), Effect::Note),
        "WEFT0401 Warn peers/east/ledger.yaml:8:5 no policy of east, nor of west, can ever allow this import\n"
    );
}

/// Each example holds its mistake and, mended, doesn't any more.
#[test]
fn examples_are_of_their_codes() {
    let count = |files: &Files, code: Code| {
        let mut build = files.build();
        let _ = invariant::check(&mut build);
        codes(&build).into_iter().filter(|one| *one == code).count()
    };
    for code in Code::ALL {
        let Some(Example { path, wrong, right }) = code.example() else {
            continue;
        };
        let mut files = Files::two_peers();
        let before = count(&files, *code);
        files.put(path, wrong);
        assert!(count(&files, *code) > before, "{code}:\n{wrong}");
        files.put(path, right);
        assert_eq!(count(&files, *code), before, "{code}:\n{right}");
    }
}
