//! Remarks for the tests of the forms, ordinary and hostile ones.

use fabric::api::{Gate, Operator};
use fabric::attributes::Client;
use fabric::diagnostic::{Code, Diagnostic, Effect, Span};
use fabric::document;
use fabric::gate::{GateOutcome, GateVerdict, IgnoredApproval};
use fabric::invariant::{CounterExample, InvariantOutcome, InvariantVerdict};
use fabric::name::{Kind, ObjectKey, PeerName};
use fabric::origin::{Origin, Revision};
use fabric::plan::{Change, Difference, FieldChange, PlannedObject, PruneOutcome};
use fabric::policy::Rule;
use fabric::reach::{self, ClientAttribute, ClientTerm, Clients, Flip, Route, Why};
use fabric::report::{
    PeerChange, PlanReport, PruneReport, ReportedDiagnostic, Safeguard, SafeguardChange,
    SafeguardChangeKind, Verdict,
};
use fabric::tree::Blob;
use proptest::prelude::*;

use super::remark::{self, Level, Place, Region, Remark};

/// What other readers than ours give a meaning to.
const HOSTILE: &[&str] = &[
    "%0A",
    "%25",
    "%",
    "::",
    "::set-output name=x::y",
    "##[error]",
    "\n",
    "\r\n",
    "\r",
    ",",
    ":",
    "=",
    "`",
    "``",
    "```",
    "~~~",
    "```\n",
    "\n```\n",
    "<!--",
    "-->",
    "<details>",
    "</details>",
    "</summary>",
    "<script>",
    "</code>",
    "&lt;",
    "&",
    "<",
    ">",
    "\"",
    "'",
    "]]>",
    "<![CDATA[",
    "<?xml",
    "@team",
    "@org/team",
    "#12",
    "GH-12",
    "https://evil.example",
    "www.evil.example",
    "[a](b)",
    "![a](b)",
    "|",
    "\\",
    "*",
    "_",
    "$x$",
    "\0",
    "\u{1b}[2J",
    "\u{7f}",
    "\u{85}",
    "\u{2028}",
    "\u{202e}",
    "\u{feff}",
    "\u{fffe}",
    "\u{ffff}",
    "\u{fffd}",
    "\u{10ffff}",
    "😀",
    "é",
    "e\u{301}",
    " ",
    "\t",
    "a",
    "b/",
    "../",
    "/",
    "C:\\",
    "%2F",
    "?",
    "# ",
    "- ",
    "1. ",
    "    ",
];

/// As many cases as there are hostile pieces, a few times; nothing is written beside the sources.
pub(super) fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 512,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// A plan in which everything happens, with texts of others of a list in turn, and as many of each
/// thing as is asked for.
pub(super) fn report(texts: &[String], many: usize) -> PlanReport {
    let mut texts = texts.iter().cycle();
    let mut text = || texts.next().cloned().unwrap_or_default();
    let name: PeerName = "west".parse().unwrap();
    let route = Route {
        export_peer: "east".parse().unwrap(),
        export: "pay/ledger".parse().unwrap(),
        client_peer: name.clone(),
        import: "shop/ledger".parse().unwrap(),
    };
    let origin = |path: String| Origin {
        revision: Revision::working_tree(),
        path: path.into(),
        line: 3,
    };
    let key = |name: String| ObjectKey {
        kind: Kind::AccessPolicy,
        namespace: Some("shop".into()),
        name: name.into(),
    };
    let mut flips = || -> Vec<Flip> {
        let flip = |number: usize| {
            let mut rule = || Rule {
                key: key(text()),
                origin: origin(text()),
                expires: None,
            };
            let (importer, exporter, old) = (rule(), rule(), rule());
            Flip {
                route: Route {
                    export: format!("pay/ledger-{number}").parse().unwrap(),
                    ..route.clone()
                },
                from: None,
                clients: Clients::Known(vec![ClientTerm {
                    attribute: ClientAttribute::Label(text().into()),
                    operator: Operator::NotIn,
                    values: vec![text(), text()],
                }]),
                example: Some(Client {
                    namespace: text(),
                    service_account: text(),
                    labels: [(text(), text())].into(),
                }),
                before: reach::Verdict {
                    allowed: false,
                    importer: Why::Denied(old),
                    exporter: Why::Allowed(exporter.clone()),
                },
                after: reach::Verdict {
                    allowed: true,
                    importer: Why::Allowed(importer),
                    exporter: Why::Allowed(exporter),
                },
            }
        };
        (0..many).map(flip).collect()
    };
    let (opened, closed) = (flips(), flips());
    let object = Blob::new(EXPORT.as_bytes().to_vec(), document::Limits::default());
    let object = object.resources().resources[0].object.clone();
    let mut planned = || PlannedObject {
        key: key(text()),
        origin: origin(text()),
        object: object.clone(),
    };
    // For each of as many peers.
    let added: Vec<_> = (0..many.min(30)).map(|_| planned()).collect();
    let removed = vec![planned()];
    let changed = Change {
        key: key(text()),
        before: origin(text()),
        after: origin(text()),
        fields: vec![FieldChange {
            pointer: text(),
            before: Some(text().into()),
            after: Some(text().into()),
        }],
    };
    let difference = Difference {
        peer: name.clone(),
        added,
        removed,
        changed: vec![changed],
        state: Vec::new(),
    };
    let peer = PeerChange {
        difference,
        presence: None,
        prune: PruneReport {
            counted: vec![key(text())],
            total: 4,
            max_count: 25,
            max_percent: 20,
            outcome: PruneOutcome::Blocked,
        },
    };
    let diagnostic = |effect: Effect| {
        let path = text().into();
        let diagnostic = Diagnostic::new(Code::UnknownField, &path, Span::FILE, text());
        ReportedDiagnostic {
            diagnostic: diagnostic.with_help(text()).with_effect(effect),
            is_new: true,
        }
    };
    let effects = [Effect::Fail, Effect::Warn]
        .into_iter()
        .cycle()
        .take(many * 2);
    PlanReport {
        fabric: Some("acme".to_owned()),
        base: Some(Revision::commit("1111111111111111111111111111111111111111")),
        head: Revision::working_tree(),
        merge: None,
        verdict: Verdict::Refused,
        diagnostics: effects.map(diagnostic).collect(),
        mended: 1,
        frozen_peers: ["north".into()].into(),
        fabric_frozen: false,
        peers: vec![peer; many],
        reach: reach::Difference {
            opened,
            closed,
            undecided: vec![route.clone(); many],
        },
        gates: vec![GateVerdict {
            gate: Gate::WidensAccess,
            outcome: GateOutcome::Refused,
            reasons: vec!["ledger-0 of east opens to clients of west".to_owned()],
            reason_count: many,
            trailer: Some("Weft-Approve: widens-access".to_owned()),
            approved_by: Vec::new(),
        }],
        ignored_approvals: vec![
            IgnoredApproval {
                commit: Revision::commit("2222222222222222222222222222222222222222"),
                line: text(),
                reason: "there is no such gate: did you mean prune=NUMBER?".to_owned(),
            };
            many.min(10)
        ],
        safeguards: vec![
            SafeguardChange {
                safeguard: Safeguard::Invariant,
                name: text(),
                change: SafeguardChangeKind::Removed,
                origin: None,
            };
            many
        ],
        invariants: vec![
            InvariantVerdict {
                name: "tills-alone".to_owned(),
                origin: origin("invariants/tills.yaml".to_owned()),
                outcome: InvariantOutcome::Broken,
                before: Some(InvariantOutcome::Holds),
                counter_examples: vec![CounterExample {
                    message: "shop/cart of west reaches pay/ledger of east".to_owned(),
                    peer: name.clone(),
                    route: Some(route),
                    client: None,
                    verdict: None,
                    lost: Vec::new(),
                }],
            };
            many
        ],
    }
}

const EXPORT: &str = "\
apiVersion: clusterlink.net/v1alpha1
kind: Export
metadata: {name: ledger, namespace: pay}
spec: {port: 80}
";

/// A usual remark.
pub(super) fn remark(message: &str) -> Remark {
    let place = Place {
        path: "peers/east/exports.yaml".into(),
        region: Some(Region {
            line: 2,
            column: 3,
            end_line: 2,
            end_column: 7,
        }),
    };
    Remark::new(
        remark::Rule::of(Code::UnknownField),
        Level::Error,
        message.to_owned(),
        place,
    )
}

/// Text that wants to be more than text.
pub(super) fn hostile_text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        3 => proptest::sample::select(HOSTILE).prop_map(str::to_owned),
        1 => any::<char>().prop_map(String::from),
        1 => "[a-z]{1,8}",
    ];
    proptest::collection::vec(piece, 1..12).prop_map(|pieces| pieces.concat())
}

/// A remark of which every text is hostile.
pub(super) fn hostile_remark() -> impl Strategy<Value = Remark> {
    let texts = (
        hostile_text(),
        hostile_text(),
        hostile_text(),
        hostile_text(),
        hostile_text(),
    );
    texts.prop_map(|(message, path, note, other, text)| {
        let mut remark = remark(&message);
        remark.place.path = path.into();
        remark.notes.push(note);
        let place = Place {
            path: other.into(),
            region: remark.place.region,
        };
        remark.related.push((place, text.clone()));
        remark.line = Some(text);
        remark
    })
}
