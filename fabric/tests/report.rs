//! What a change is reported to do: gates, the prune budget, new errors, what is hidden, merges.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;
#[path = "report/invariants.rs"]
mod invariants;

use std::collections::BTreeMap;

use common::{Authority, Files, export, import, now, peer};
use fabric::api::{Adoption, Gate};
use fabric::diagnostic::Code;
use fabric::fabric::{Build, LastGood, build};
use fabric::gate::{ApprovingCommit, GateOutcome};
use fabric::invariant::{self, InvariantVerdict};
use fabric::name::{Kind, PeerName};
use fabric::origin::Revision;
use fabric::plan::action::{Live, Owner, Rules, Wanted, actions};
use fabric::plan::{Changes, Plan, PruneOutcome, diff};
use fabric::report::{MergeReport, PlanReport, Question, SafeguardChangeKind, State, Verdict};
use fabric::tree::Tree;

/// A state with everything that a report borrows.
pub(crate) struct Checked {
    pub(crate) tree: Tree,
    pub(crate) build: Build,
    pub(crate) invariants: Vec<InvariantVerdict>,
}

impl Checked {
    pub(crate) fn of(files: &Files, revision: &str, before: Option<&Self>) -> Self {
        let tree = files.tree(revision);
        let good = before.map_or_else(LastGood::default, |before| LastGood {
            shared: Some(before.tree.clone()),
            units: before
                .build
                .good
                .units
                .keys()
                .map(|name| (name.clone(), before.tree.clone()))
                .collect(),
        });
        let mut build = build(&tree, &good, now());
        let invariants = invariant::check(&mut build);
        Self {
            tree,
            build,
            invariants,
        }
    }

    pub(crate) fn state(&self) -> State<'_> {
        State {
            revision: self.tree.revision(),
            build: &self.build,
            invariants: &self.invariants,
        }
    }
}

fn commit(message: &str) -> ApprovingCommit {
    ApprovingCommit {
        revision: Revision::commit("c0ffee"),
        message: message.to_owned(),
    }
}

fn report_of(before: Option<&Files>, after: &Files, message: &str) -> PlanReport {
    let before = before.map(|files| Checked::of(files, "base", None));
    let after = Checked::of(after, "head", before.as_ref());
    PlanReport::new(Question {
        before: before.as_ref().map(Checked::state),
        after: after.state(),
        commits: &[commit("no trailer here"), commit(message)],
        peer: None,
    })
}

const GATES: &str = "{gates: [widens-access, prune, certificate, privileged-policy]}";

fn gated() -> Files {
    let mut files = Files::two_peers();
    files.replace("fabric.yaml", "{}", GATES);
    files
}

const INVARIANT: &str = "\
apiVersion: weft.dev/v1alpha1
kind: Invariant
metadata: {name: no-guests}
spec:
  rule: never
  from: [{workloadSelector: {matchLabels: {client.clusterlink.net/labels.app: guest}}}]
  to: [{workloadSelector: {}}]
";

const PRIVILEGED: &str = "\
apiVersion: clusterlink.net/v1alpha1
kind: PrivilegedAccessPolicy
metadata: {name: no-guests}
spec:
  action: deny
  from: [{workloadSelector: {matchLabels: {client.clusterlink.net/labels.app: guest}}}]
  to: [{workloadSelector: {}}]
";

/// The gates that want an approval for a change of the gated fabric.
fn refusing(change: impl Fn(&mut Files)) -> Vec<Gate> {
    let before = gated();
    let mut after = before.clone();
    change(&mut after);
    let report = report_of(Some(&before), &after, "");
    let refused: Vec<_> = report
        .gates
        .iter()
        .filter(|gate| gate.outcome == GateOutcome::Refused)
        .map(|gate| gate.gate)
        .collect();
    let is_refused = report.verdict == Verdict::Refused;
    assert_eq!(is_refused, !refused.is_empty(), "{report:#?}");
    // What is asked for by each gate is what satisfies it.
    let trailers = report.gates.iter().filter_map(|gate| gate.trailer.clone());
    let message = format!("Merge\n\n{}", trailers.collect::<Vec<_>>().join("\n"));
    let approved = report_of(Some(&before), &after, &message);
    assert_ne!(approved.verdict, Verdict::Refused, "{message}");
    for gate in approved.gates {
        assert_eq!(
            gate.outcome == GateOutcome::Approved,
            refused.contains(&gate.gate)
        );
        assert_eq!(
            gate.approved_by.is_empty(),
            gate.outcome == GateOutcome::Passed
        );
    }
    refused
}

#[test]
fn what_each_gate_wants_an_approval_for() {
    let east = "peers/east/policy.yaml";
    let none: [Gate; 0] = [];
    assert_eq!(refusing(|_| {}), none);
    // A till of any sort instead of a till.
    assert_eq!(
        refusing(|files| {
            files.replace(east, "app: till", "app: pos");
            files.replace("peers/west/policy.yaml", "app: till", "app: pos");
        }),
        [Gate::WidensAccess]
    );
    assert_eq!(
        refusing(|files| {
            files.remove(east);
        }),
        none
    );
    assert_eq!(
        refusing(|files| {
            files.put("policies/guests.yaml", PRIVILEGED);
        }),
        [Gate::PrivilegedPolicy]
    );
    assert_eq!(
        refusing(|files| {
            files.put("peers/east/guests.yaml", PRIVILEGED);
        }),
        [Gate::PrivilegedPolicy]
    );
    // Another certificate, none at all, or another authority; a peer that goes takes its own away.
    let other = Authority::new("other");
    assert_eq!(
        refusing(|files| {
            files.put("ca/other.pem", &other.pem());
        }),
        [Gate::Certificate]
    );
    assert_eq!(
        refusing(|files| {
            files.put("ca/other.pem", &other.pem());
            files.put("peers/east/cert.pem", &other.leaf("east"));
        }),
        [Gate::Certificate]
    );
    assert_eq!(
        refusing(|files| {
            files.remove("peers/east/cert.pem");
        }),
        [Gate::Certificate]
    );
    // Without its files a peer is gone, and what it held is pruned there.
    assert_eq!(
        refusing(|files| files.0.retain(|path, _| !path.starts_with("peers/east/"))),
        [Gate::Prune]
    );
    // What guards the fabric: gates, the budget, where exports may aim at; invariants below.
    for spec in [
        GATES.replace("widens-access, ", ""),
        "{}".to_owned(),
        GATES.replace("{gates", "{prune: {maxCount: 26}, gates"),
        GATES.replace("{gates", "{prune: {maxPercent: 21}, gates"),
        GATES.replace("{gates", "{exportHosts: {allow: [127.0.0.1]}, gates"),
    ] {
        assert_eq!(
            refusing(|files| {
                files.replace("fabric.yaml", GATES, &spec);
            }),
            [Gate::Safeguards],
            "{spec}"
        );
    }
    for spec in [
        GATES.replace("{gates", "{prune: {maxCount: 24, maxPercent: 19}, gates"),
        GATES.replace("policy]", "policy, safeguards]"),
    ] {
        assert_eq!(
            refusing(|files| {
                files.replace("fabric.yaml", GATES, &spec);
            }),
            none,
            "{spec}"
        );
    }
    // A policy that only moves is none that comes or goes.
    assert_eq!(
        refusing(|files| {
            let text = files.0[east].clone();
            files
                .remove(east)
                .put("peers/east/moved.yaml", &format!("# Moved\n{text}"));
        }),
        none
    );
}

/// Once a pull request could take the invariant away that it broke, and no gate asked about it.
#[test]
fn an_invariant_that_goes_or_changes_wants_an_approval() {
    let judged = |spec: &str, invariant: &str| {
        let mut before = Files::two_peers();
        before.replace("fabric.yaml", "{}", spec);
        before.put("invariants/guests.yaml", INVARIANT);
        let mut after = before.clone();
        match invariant {
            "" => after.remove("invariants/guests.yaml"),
            text => after.put("invariants/guests.yaml", text),
        };
        let report = report_of(Some(&before), &after, "");
        let reasons = report.gates.into_iter().flat_map(|gate| gate.reasons);
        (report.verdict, reasons.collect::<Vec<_>>())
    };
    let goes = vec!["the invariant no-guests goes".to_owned()];
    let changes = vec!["the invariant no-guests changes".to_owned()];
    let narrower = INVARIANT.replace("guest}", "guests}");
    let refused = Verdict::Refused;
    for gates in ["{gates: [prune]}", "{gates: [safeguards]}"] {
        assert_eq!(judged(gates, ""), (refused, goes.clone()), "{gates}");
        assert_eq!(judged(gates, &narrower), (refused, changes.clone()));
        let same = format!("# Moved\n{INVARIANT}");
        assert_eq!(judged(gates, &same), (Verdict::Unchanged, Vec::new()));
    }
    // Without any gate nobody is asked.
    assert_eq!(judged("{}", ""), (Verdict::Changes, Vec::new()));
}

#[test]
fn what_looks_like_an_approval_is_told() {
    let before = gated();
    let mut after = before.clone();
    after.put("policies/guests.yaml", PRIVILEGED);
    let report = report_of(
        Some(&before),
        &after,
        "Add it\n\nWeft-Approve: privileged-policies",
    );
    assert_eq!(report.verdict, Verdict::Refused);
    let [ignored] = &report.ignored_approvals[..] else {
        panic!("{:?}", report.ignored_approvals);
    };
    assert_eq!(ignored.line, "Weft-Approve: privileged-policies");
    let reason = "there is no such gate: did you mean privileged-policy?";
    assert_eq!(ignored.reason, reason);
}

#[test]
fn a_change_cannot_switch_its_own_gate_off() {
    let before = gated();
    let mut after = before.clone();
    after.replace("fabric.yaml", GATES, "{}");
    after.put("policies/guests.yaml", PRIVILEGED);
    assert_eq!(
        report_of(Some(&before), &after, "").verdict,
        Verdict::Refused
    );
    // Nor does one that is only about to come let the change pass that brings it.
    let (before, mut after) = (Files::two_peers(), gated());
    after.put("policies/guests.yaml", PRIVILEGED);
    assert_eq!(
        report_of(Some(&before), &after, "").verdict,
        Verdict::Refused
    );
    let ungated = Files::two_peers();
    after.replace("fabric.yaml", GATES, "{}");
    assert_eq!(
        report_of(Some(&ungated), &after, "").verdict,
        Verdict::Changes
    );
}

/// Once no peer changed by it, a plan said that nothing does, and nobody saw that all gates went.
#[test]
fn gates_that_go_are_told_though_no_peer_changes() {
    let before = gated();
    let mut after = before.clone();
    after.replace("fabric.yaml", GATES, "{gates: [prune]}");
    let told = |before: &Files, after: &Files| -> Vec<_> {
        let report = report_of(Some(before), after, "Weft-Approve: safeguards");
        assert_eq!(report.verdict, Verdict::Changes);
        let changes = report.safeguards.into_iter();
        changes.map(|change| (change.name, change.change)).collect()
    };
    let of = |change: SafeguardChangeKind| -> Vec<_> {
        let names = ["certificate", "privileged-policy", "widens-access"];
        names.map(|name| (name.to_owned(), change)).into()
    };
    assert_eq!(told(&before, &after), of(SafeguardChangeKind::Removed));
    assert_eq!(told(&after, &before), of(SafeguardChangeKind::Added));
    assert_eq!(report_of(Some(&after), &after, "").safeguards, []);
}

#[test]
fn gates_stand_while_the_fabric_cannot_be_understood() {
    let mut mended = Files::two_peers();
    mended.put("policies/guests.yaml", PRIVILEGED);
    let mut base = gated();
    base.put("policies/broken.yaml", "kind: [");
    let report = report_of(Some(&base), &mended, "");
    assert_eq!(report.verdict, Verdict::Refused, "its gates were there");
    assert_eq!(report.gates.len(), Gate::ALL.len());
    // Nobody can tell which gates this one had.
    let mut base = Files::two_peers();
    base.put("fabric.yaml", "kind: [");
    let report = report_of(Some(&base), &mended, "");
    assert_eq!(report.verdict, Verdict::Refused, "it may have had any");
    // This one had none.
    let mut base = Files::two_peers();
    base.put("policies/broken.yaml", "kind: [");
    let report = report_of(Some(&base), &mended, "");
    assert_eq!(report.verdict, Verdict::Changes, "{:?}", report.gates);
}

#[test]
fn a_change_cannot_make_room_in_the_prune_budget_for_itself() {
    let mut before = Files::two_peers();
    let budget = "{gates: [prune], prune: {maxCount: 1, maxPercent: 1}}";
    before.replace("fabric.yaml", "{}", budget);
    for name in ["one", "two"] {
        before.put(&format!("peers/west/{name}.yaml"), &export("pay", name, 80));
    }
    let mut after = before.clone();
    after.replace("fabric.yaml", "maxCount: 1", "maxCount: 99");
    let room = "Weft-Approve: safeguards";
    let raised = report_of(Some(&before), &after, room);
    assert_eq!(raised.verdict, Verdict::Changes, "room alone is fine");
    for name in ["one", "two"] {
        after.remove(&format!("peers/west/{name}.yaml"));
    }
    let report = report_of(Some(&before), &after, "");
    assert_eq!(report.verdict, Verdict::Refused, "{:#?}", report.gates);
    let trailer = report.gates[0].trailer.clone().unwrap();
    assert_eq!(trailer, "Weft-Approve: prune=2");
    let approved = report_of(Some(&before), &after, &format!("{trailer}\n{room}"));
    assert_eq!(approved.verdict, Verdict::Changes);
}

#[test]
fn a_peer_that_takes_itself_out_of_a_privileged_policy_is_gated() {
    let mut before = Files::two_peers();
    before.replace("fabric.yaml", "{}", "{gates: [privileged-policy]}");
    let here = "metadata: {name: no-guests, annotations: {weft.dev/peers: \"!lab\"}}";
    let policy = PRIVILEGED.replace("metadata: {name: no-guests}", here);
    before.put("policies/guests.yaml", &policy);
    let mut after = before.clone();
    let text = after.0["peers/east/peer.yaml"].clone();
    let labelled = text.replacen("labels: {", "labels: {lab: \"1\", ", 1);
    assert_ne!(text, labelled, "{text}");
    after.put("peers/east/peer.yaml", &labelled);
    for (before, after, change) in [(&before, &after, "ceases"), (&after, &before, "begins")] {
        let report = report_of(Some(before), after, "");
        assert_eq!(
            report.verdict,
            Verdict::Refused,
            "{:#?}",
            report.diagnostics
        );
        let reason = format!("the shared privileged policy no-guests {change} to count in east");
        assert_eq!(report.gates[0].reasons, [reason]);
    }
}

#[test]
fn a_revocation_that_is_taken_back_is_trust() {
    let mut before = gated();
    before.put(
        "revocations.yaml",
        &format!(
            "apiVersion: weft.dev/v1alpha1\nkind: Revocations\nmetadata: {{name: acme}}\nspec: \
             {{certificates: [{{fingerprint: \"{}\"}}]}}\n",
            "ab".repeat(32)
        ),
    );
    let mut after = before.clone();
    after.remove("revocations.yaml");
    let report = report_of(Some(&before), &after, "");
    assert_eq!(report.verdict, Verdict::Refused);
    assert_eq!(
        report.gates[2].reasons,
        [format!(
            "the certificate {} is no longer revoked",
            "ab".repeat(32)
        )]
    );
    // And the other way round nobody is asked.
    assert_eq!(
        report_of(Some(&after), &before, "").verdict,
        Verdict::Changes
    );
}

/// What the peer's reconciler would hold back, by the function that it asks.
fn held_back(before: &Plan, after: Option<&Plan>, approved: Option<u32>) -> usize {
    let live: BTreeMap<_, _> = before
        .objects
        .iter()
        .map(|planned| {
            let wanted = Wanted::new(planned.clone());
            let live = Live {
                owner: Owner::Us,
                object: Some(planned.object.clone().into()),
                effect: Some(wanted.effect),
                content: Some(wanted.content),
                origin: Some(planned.origin.clone()),
                is_terminating: false,
                listed: Some(wanted.effect),
            };
            (planned.key.clone(), live)
        })
        .collect();
    let wanted = after.map(|plan| Wanted::of(plan.objects.clone(), &live, None));
    let rules = Rules {
        prune: after
            .map(|plan| plan.state.prune.clone())
            .unwrap_or_default(),
        approved,
        adoption: Adoption::Refuse,
    };
    actions(wanted.as_ref(), &live, &rules).blocked.len()
}

#[test]
fn the_prune_line_is_what_reconcilers_do() {
    let mut before = Files::two_peers();
    before.replace(
        "fabric.yaml",
        "{}",
        "{prune: {maxCount: 1, maxPercent: 50}}",
    );
    for number in 0..4 {
        let name = format!("extra-{number}");
        before.put(
            &format!("peers/west/{name}.yaml"),
            &export("pay", &name, 80),
        );
    }
    let east: PeerName = "east".parse().unwrap();
    let west: PeerName = "west".parse().unwrap();
    let mut seen = Vec::new();
    for gone in [0, 1, 2, 3, 4] {
        for approved in [None, Some(3), Some(4)] {
            let mut after = before.clone();
            for number in 0..gone {
                after.remove(&format!("peers/west/extra-{number}.yaml"));
            }
            let message = approved.map_or(String::new(), |n| format!("Weft-Approve: prune={n}"));
            let report = report_of(Some(&before), &after, &message);
            let (old, new) = (
                before.build().fabric.unwrap(),
                after.build().fabric.unwrap(),
            );
            for name in [&east, &west] {
                let change = report
                    .peers
                    .iter()
                    .find(|c| c.difference.peer == *name)
                    .unwrap();
                let (old, new) = (Plan::of(&old, name).unwrap(), Plan::of(&new, name));
                let held = held_back(&old, new.as_ref(), approved);
                let told = match change.prune.outcome {
                    PruneOutcome::Blocked => change.prune.counted.len(),
                    PruneOutcome::Within | PruneOutcome::Approved => 0,
                };
                assert_eq!(told, held, "{name}: {gone} gone, {approved:?} approved");
            }
            seen.push(report.peers[1].prune.outcome);
        }
    }
    for outcome in [
        PruneOutcome::Within,
        PruneOutcome::Approved,
        PruneOutcome::Blocked,
    ] {
        assert!(seen.contains(&outcome), "{outcome:?} never was");
    }
}

#[test]
fn a_peer_that_goes_is_held_back_where_it_was() {
    let before = Files::two_peers();
    let mut after = before.clone();
    after.0.retain(|path, _| !path.starts_with("peers/east/"));
    let report = report_of(Some(&before), &after, "");
    let old = before.build().fabric.unwrap();
    let east = Plan::of(&old, &"east".parse().unwrap()).unwrap();
    assert_eq!(report.peers[0].prune.outcome, PruneOutcome::Blocked);
    assert_eq!(
        report.peers[0].prune.counted.len(),
        held_back(&east, None, None)
    );
}

/// Changes of the fabric, each by itself.
const EDITS: [fn(&mut Files); 15] = [
    |_| {},
    |files| {
        files.replace("peers/west/ledger.yaml", "8080", "8081");
    },
    |files| {
        files.replace(
            "peers/west/ledger.yaml",
            "name: ledger",
            "name: ledger, labels: {a: b}",
        );
    },
    |files| {
        files.remove("peers/west/policy.yaml");
    },
    |files| {
        files.replace("peers/east/peer.yaml", "region: eu", "region: us");
    },
    |files| {
        files.replace("peers/west/peer.yaml", "4443", "4444");
    },
    |files| files.0.retain(|path, _| !path.starts_with("peers/west/")),
    |files| {
        files.put("peers/north/peer.yaml", &peer("north", "{region: us}"));
    },
    |files| {
        files.put("policies/guests.yaml", PRIVILEGED);
    },
    |files| {
        let only = "name: no-guests, annotations: {weft.dev/peers: region=us}";
        files.put(
            "policies/guests.yaml",
            &PRIVILEGED.replace("name: no-guests", only),
        );
    },
    |files| {
        files.put("peers/east/guests.yaml", PRIVILEGED);
    },
    |files| {
        files.replace("fabric.yaml", "{}", "{limits: {tunnelsPerPeer: 7}}");
    },
    |files| {
        files.remove("peers/east/cert.pem");
    },
    |files| {
        let itself = "  - {peer: east, exportName: ledger, exportNamespace: pay}\n";
        files.put("peers/east/own.yaml", &export("pay", "ledger", 90));
        files
            .0
            .get_mut("peers/east/ledger.yaml")
            .unwrap()
            .push_str(itself);
    },
    |files| {
        files.put(
            "peers/east/workloads.yaml",
            "apiVersion: weft.dev/v1alpha1\nkind: Workloads\nmetadata: {name: east}\nspec:\n  \
             workloads: [{addresses: [10.0.0.0/8], namespace: shop}]\n",
        );
    },
];

#[test]
fn what_changes_is_the_difference_of_the_plans() {
    let base = Files::two_peers();
    let mut builds = vec![None];
    for (index, edit) in EDITS.iter().enumerate() {
        let mut files = base.clone();
        edit(&mut files);
        builds.push(Some(files.build().fabric.unwrap()));
        // And together with another one.
        if !files.0.contains_key("peers/west/peer.yaml") || index == 3 {
            continue;
        }
        EDITS[(index + 7) % EDITS.len()](&mut files);
        builds.push(Some(files.build().fabric.unwrap()));
    }
    let mut changed = 0;
    for before in &builds {
        for after in &builds {
            let changes = Changes::new(before.as_ref(), after.as_ref());
            for name in changes.names() {
                let plan = |fabric: &Option<_>| Plan::of(fabric.as_ref()?, name);
                let (old, new) = (plan(before), plan(after));
                let wanted = diff(name, old.as_ref(), new.as_ref());
                assert_eq!(changes.of(name), wanted);
                let lasting = |plan: &Option<Plan>| {
                    let objects = plan.iter().flat_map(|plan| &plan.objects);
                    objects
                        .filter(|object| object.key.kind != Kind::Instance)
                        .count() as u64
                };
                assert_eq!(changes.lasting(name), (lasting(&old), lasting(&new)));
                changed += usize::from(!wanted.is_empty());
            }
        }
    }
    assert!(changed > 500, "{changed}");
}

#[test]
fn only_what_is_new_is_told_as_new() {
    let mut before = Files::two_peers();
    before.replace(
        "peers/east/ledger.yaml",
        "exportName: ledger",
        "exportName: ledgr",
    );
    let mut after = before.clone();
    // The old mistake moves, and a new one comes.
    let text = after.0["peers/east/ledger.yaml"].clone();
    after.put(
        "peers/east/ledger.yaml",
        &format!("# One line more.\n{text}"),
    );
    after.put(
        "peers/west/x.yaml",
        &import("pay", "x", 9100, "nobody", "a/b"),
    );
    let report = report_of(Some(&before), &after, "");
    let told: Vec<_> = report
        .diagnostics
        .iter()
        .map(|reported| (reported.diagnostic.code, reported.is_new))
        .collect();
    assert_eq!(
        told,
        [
            (Code::UnknownExport, false),
            (Code::PolicyMatchesNothing, false),
            (Code::UnknownPeer, true)
        ]
    );
    assert_eq!((report.verdict, report.mended), (Verdict::Invalid, 0));
    let report = report_of(Some(&after), &Files::two_peers(), "");
    assert_eq!((report.verdict, report.mended), (Verdict::Changes, 3));
}

#[test]
fn what_may_be_a_secret_is_hidden() {
    let before = Files::two_peers();
    let mut after = before.clone();
    after.put(
        "peers/east/ledger.yaml",
        &import("shop", "ledger", 9000, "west", "pay/ledger").replace(
            "namespace: shop",
            "namespace: shop, annotations: {note: hunter2, import.clusterlink.net/merge: \"true\"}",
        ),
    );
    after.put(
        "peers/west/instance.yaml",
        "apiVersion: clusterlink.net/v1alpha1\nkind: Instance\nmetadata:\n  name: west\n  namespace: \
         ops\n  annotations: {example.com/remark: hunter2}\nspec:\n  containerRegistry: \
         https://ada:hunter2@registry.example.com/x\n  ingress:\n    annotations:\n      \
         example.com/internal: \"yes\"\n      example.com/api-token: hunter2\n",
    );
    after.replace(
        "peers/west/peer.yaml",
        "region: us",
        "region: us, token: shown",
    );
    let report = report_of(Some(&before), &after, "");
    assert_eq!(report.verdict, Verdict::Changes, "{:?}", report.diagnostics);
    let text = serde_json::to_string(&report).unwrap();
    assert!(!text.contains("hunter2"), "{text}");
    for shown in [
        r#""note":"(hidden)""#,
        r#""import.clusterlink.net/merge":"true""#,
        r#""example.com/internal":"yes""#,
        r#""containerRegistry":"(hidden)""#,
        "shown",
    ] {
        assert!(text.contains(shown), "{shown} isn't in {text}");
    }
}

/// Two changes, each safe: one lets tills out of east, the other lets everybody of east in.
fn together() -> [Files; 4] {
    let mut base = Files::two_peers();
    base.replace("peers/east/policy.yaml", "app: till", "app: pos");
    base.replace("peers/west/policy.yaml", "app: till", "app: kiosk");
    let (mut first, mut second) = (base.clone(), base.clone());
    let client = "client.clusterlink.net/labels.app: pos";
    let broad = "peer.clusterlink.net/name: east";
    first.replace("peers/east/policy.yaml", client, broad);
    let client = "client.clusterlink.net/labels.app: kiosk";
    second.replace("peers/west/policy.yaml", client, broad);
    let mut both = first.clone();
    both.0.insert(
        "peers/west/policy.yaml".to_owned(),
        second.0["peers/west/policy.yaml"].clone(),
    );
    [base, first, second, both]
}

#[test]
fn what_opens_only_together_is_told() {
    let [base, first, second, both] = together();
    let base = Checked::of(&base, "base", None);
    let [first, second, both] =
        [&first, &second, &both].map(|files| Checked::of(files, "merge", Some(&base)));
    let question = |after| Question {
        before: Some(base.state()),
        after,
        commits: &[],
        peer: None,
    };
    let alone = PlanReport::new(question(first.state())).reach;
    assert_eq!(alone.opened.len(), 1, "kiosks alone: {alone:#?}");
    let question = question(both.state());
    let merge = MergeReport::new(Revision::commit("1"), Revision::commit("2"));
    let report =
        PlanReport::new(question).merged(merge, question, &[first.state(), second.state()]);
    let merge = report.merge.unwrap();
    let clients: Vec<_> = merge
        .opened_together
        .iter()
        .map(|flip| &flip.clients)
        .collect();
    // Neither pos, which the second opens, nor kiosks, which the first does.
    let text = serde_json::to_string(&clients).unwrap();
    assert_eq!(
        text,
        r#"[{"known":[{"attribute":"labels.app","operator":"NotIn","values":["kiosk","pos"]}]},"unknown"]"#
    );
    for flip in &merge.opened_together {
        assert!(flip.after.allowed && !flip.before.allowed, "{flip:#?}");
    }
}
