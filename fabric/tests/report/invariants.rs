//! Invariants: what holds, what is broken and by whom, what can't be understood.

use fabric::diagnostic::{Code, Effect};
use fabric::invariant::{self, InvariantOutcome};
use fabric::report::{PlanReport, Question, SafeguardChangeKind, Verdict};

use crate::Checked;
use crate::common::{Authority, Files, export, peer, report};

/// East imports pay/ledger from west and from north; the ledger lets clients of east in, and
/// east its tills.
fn shop() -> Files {
    let mut files = Files::two_peers();
    let authority = Authority::new("other");
    files
        .put("ca/other.pem", &authority.pem())
        .put("peers/north/cert.pem", &authority.leaf("north"))
        .put("peers/north/peer.yaml", &peer("north", "{region: eu}"))
        .put("peers/north/ledger.yaml", &export("pay", "ledger", 8080))
        .put(
            "peers/north/policy.yaml",
            &POLICY
                .replace("KEY", "peer.clusterlink.net/name")
                .replace("VALUE", "east"),
        );
    let west = files.0["peers/north/policy.yaml"].clone();
    files.put("peers/west/policy.yaml", &west);
    let ledger = files.0.get_mut("peers/east/ledger.yaml").unwrap();
    ledger.push_str("  - {peer: north, exportName: ledger, exportNamespace: pay}\n");
    files
}

const POLICY: &str = "\
apiVersion: clusterlink.net/v1alpha1
kind: AccessPolicy
metadata: {name: allow, namespace: pay}
spec:
  action: allow
  from: [{workloadSelector: {matchLabels: {KEY: VALUE}}}]
  to: [{workloadSelector: {}}]
";

fn invariant(rule: &str, from: &str, to: &str) -> String {
    format!(
        "apiVersion: weft.dev/v1alpha1\nkind: Invariant\nmetadata: {{name: it}}\nspec:\n  rule: \
         {rule}\n  from: [{{workloadSelector: {from}}}]\n  to: [{{workloadSelector: {to}}}]\n"
    )
}

const TILLS: &str = "{matchLabels: {client.clusterlink.net/labels.app: till}}";
const TILLS_OF_EAST: &str = "{matchLabels: {client.clusterlink.net/labels.app: till, \
                             peer.clusterlink.net/name: east}}";
const GUESTS: &str = "{matchLabels: {client.clusterlink.net/labels.app: guest}}";
const NO_TILLS: &str = "{matchExpressions: [{key: client.clusterlink.net/labels.app, operator: \
                        NotIn, values: [till]}]}";
const EAST: &str = "{matchLabels: {peer.clusterlink.net/name: east}}";
const OTHERS: &str = "{matchExpressions: [{key: peer.clusterlink.net/name, operator: NotIn, \
                      values: [east]}]}";
const NOBODY: &str = "{matchLabels: {peer.clusterlink.net/name: south}}";
const LEDGER: &str = "{matchLabels: {export.clusterlink.net/name: ledger}}";
const LEDGER_OF_WEST: &str = "{matchLabels: {export.clusterlink.net/name: ledger, \
                              peer.clusterlink.net/name: west}}";
const PAYROLL: &str = "{matchLabels: {export.clusterlink.net/name: payroll}}";

/// What the check says of an invariant, alone.
fn check(files: &Files, text: &str) -> (String, Option<InvariantOutcome>) {
    let mut files = files.clone();
    files.put("invariants/it.yaml", text);
    let checked = Checked::of(&files, "head", None);
    assert!(!checked.build.is_held, "an invariant freezes nothing");
    let outcome = checked.invariants.first().map(|verdict| verdict.outcome);
    let told = report(&checked.build, Effect::Warn);
    let lines = told.lines().filter(|line| line.contains("invariants/"));
    let words = lines.map(|line| {
        let (_, message) = line.split_once("it.yaml:").unwrap();
        message.split_once(' ').unwrap().1.to_owned() + "\n"
    });
    (words.collect(), outcome)
}

const UNKNOWN: &str = "broken: a client of east of which the peer knows nothing reaches \
                       pay/ledger of north through its import shop/ledger\n";

#[test]
fn what_holds_and_what_is_broken() {
    let shop = shop();
    let mut one_way = shop.clone();
    one_way.remove("peers/north/policy.yaml");
    let mut open = shop.clone();
    open.replace(
        "peers/east/policy.yaml",
        "client.clusterlink.net/labels.app: till",
        "peer.clusterlink.net/name: east",
    );
    for (files, rule, from, to, wanted) in [
        (&shop, "never", GUESTS, LEDGER, ""),
        (&shop, "never", NO_TILLS, LEDGER, ""),
        (&shop, "never", OTHERS, LEDGER, ""),
        (
            &shop,
            "never",
            TILLS,
            LEDGER,
            "broken: the client default/default with app=till of east reaches pay/ledger of north \
             through its import shop/ledger\n",
        ),
        (
            &open,
            "never",
            GUESTS,
            LEDGER,
            "broken: the client default/default with app=guest of east reaches pay/ledger of north \
             through its import shop/ledger\n",
        ),
        (&shop, "only", TILLS, LEDGER, ""),
        (&shop, "only", EAST, LEDGER, ""),
        (&open, "only", EAST, LEDGER, ""),
        (&open, "only", OTHERS, LEDGER, "somebody"),
        (&open, "only", TILLS, LEDGER, "somebody"),
        (&shop, "only", NOBODY, LEDGER, "somebody"),
        (&shop, "always", TILLS_OF_EAST, LEDGER, ""),
        (&one_way, "always", TILLS_OF_EAST, LEDGER, ""),
        (&one_way, "always", TILLS_OF_EAST, LEDGER_OF_WEST, ""),
        (&open, "always", EAST, LEDGER, ""),
        (
            &shop,
            "always",
            EAST,
            LEDGER,
            "broken: the client default/default of east doesn't reach pay/ledger: no policy of \
             east allows it\n",
        ),
        // West and north offer the ledger themselves.
        (&shop, "always", TILLS, LEDGER, ""),
        (
            &shop,
            "always",
            TILLS,
            LEDGER_OF_WEST,
            "broken: no client of north reaches pay/ledger: no import in force leads there\n",
        ),
        (&shop, "survives", TILLS_OF_EAST, LEDGER, ""),
        (
            &one_way,
            "survives",
            TILLS_OF_EAST,
            LEDGER,
            "broken: the client default/default with app=till of east doesn't reach pay/ledger \
             without west: no policy of north allows it\n",
        ),
        (
            &shop,
            "never",
            NOBODY,
            LEDGER,
            "no peer of the fabric matches `from`, so the invariant says nothing\n",
        ),
        (
            &shop,
            "never",
            TILLS,
            PAYROLL,
            "no export of the fabric matches `to`, so the invariant says nothing\n",
        ),
        (
            &shop,
            "always",
            TILLS,
            PAYROLL,
            "no export of the fabric matches `to`, so nothing is there that must be reached\n",
        ),
    ] {
        let (told, outcome) = check(files, &invariant(rule, from, to));
        let is_broken =
            wanted == "somebody" || wanted.contains("broken") || wanted.contains("must");
        let case = format!("{rule} {from} {to}: {told}");
        if wanted == "somebody" {
            assert!(
                told.starts_with("broken: ") && told.contains("reaches"),
                "{case}"
            );
        } else {
            assert_eq!(told, wanted, "{case}");
        }
        let holds = outcome == Some(InvariantOutcome::Holds);
        assert_eq!(holds, !is_broken, "{case}");
    }
    // Of somebody who isn't known it can only be feared.
    let (told, _) = check(&open, &invariant("only", TILLS, LEDGER));
    assert!(
        told == UNKNOWN || told.contains("default/default of east"),
        "{told}"
    );
}

#[test]
fn losses() {
    let shop = shop();
    let survives = |losing: &str| {
        let text = invariant("survives", TILLS_OF_EAST, LEDGER) + losing;
        check(&shop, &text).0
    };
    let lost = |words: &str| {
        format!(
            "broken: the client default/default with app=till of east doesn't reach pay/ledger \
             without {words}"
        )
    };
    assert_eq!(survives("  losing: {count: 1}\n"), "");
    let both = survives("  losing: {count: 2}\n");
    assert!(both.starts_with(&lost("north and west")), "{both}");
    assert_eq!(survives("  losing: {peers: [west, north]}\n"), "");
    assert_eq!(survives("  losing: {peers: [west], count: 2}\n"), "");
    // A client can't miss its own peer.
    assert_eq!(survives("  losing: {peers: [east, west], count: 2}\n"), "");
    let both = survives("  losing: {peers: [north, west], count: 2}\n");
    assert!(both.starts_with(&lost("north and west")), "{both}");
    // What is reached at home is never lost.
    let mut home = shop.clone();
    home.put("peers/east/pay.yaml", &export("pay", "ledger", 8080));
    home.put(
        "peers/east/pay-policy.yaml",
        &POLICY
            .replace("KEY", "peer.clusterlink.net/name")
            .replace("VALUE", "east"),
    );
    let ledger = home.0.get_mut("peers/east/ledger.yaml").unwrap();
    ledger.push_str("  - {peer: east, exportName: ledger, exportNamespace: pay}\n");
    let text = invariant("survives", TILLS_OF_EAST, LEDGER);
    assert_eq!(
        check(&home, &(text.clone() + "  losing: {count: 3}\n")).0,
        ""
    );
    home.remove("peers/east/pay-policy.yaml");
    let told = check(&home, &(text + "  losing: {count: 2}\n")).0;
    assert!(told.starts_with(&lost("north and west")), "{told}");
}

#[test]
fn what_cannot_be_understood_fails_and_freezes_nothing() {
    let shop = shop();
    let good = invariant("never", GUESTS, LEDGER);
    for (text, code) in [
        (good.replace("never", "nevr"), Code::NotOneOf),
        (
            good.replace("rule: never", "rul: never"),
            Code::UnknownField,
        ),
        (
            good.replace("labels.app: guest", "label.app: guest"),
            Code::BadInvariant,
        ),
        (
            good.replace("export.clusterlink.net", "client.clusterlink.net"),
            Code::BadInvariant,
        ),
        (good.clone() + "  losing: {count: 1}\n", Code::BadInvariant),
        (
            good.replace("never", "survives") + "  losing: {peers: [wst]}\n",
            Code::BadInvariant,
        ),
        (
            "apiVersion: weft.dev/v1alpha1\nkind: Fabric\nmetadata: {name: a}\nspec: {}\n"
                .to_owned(),
            Code::MisplacedKind,
        ),
        (format!("{good}---\n{good}"), Code::DuplicateObject),
        ("a: *b\n".to_owned(), Code::Anchor),
        (
            "version https://git-lfs.github.com/spec/v1\n".to_owned(),
            Code::LfsPointer,
        ),
    ] {
        let mut files = shop.clone();
        files.put("invariants/it.yaml", &text);
        let checked = Checked::of(&files, "head", None);
        let told = &checked.build.diagnostics;
        assert!(
            told.iter()
                .any(|d| d.code == code && d.effect == Effect::Fail),
            "{code}: {text}\n{told:?}"
        );
        assert!(told.iter().all(|d| d.effect < Effect::Freeze), "{told:?}");
        assert!(!checked.build.is_held);
    }
    // Elsewhere it is as every other kind at the wrong place.
    let mut files = shop;
    files.put("peers/east/it.yaml", &good);
    let checked = Checked::of(&files, "head", None);
    assert!(report(&checked.build, Effect::Freeze).contains("WEFT0103"));
}

#[test]
fn a_counter_example_names_its_places() {
    let mut files = shop();
    let text = invariant("never", TILLS, LEDGER) + "  reason: the auditors said so\n";
    files.put("invariants/money/it.yaml", &text);
    let checked = Checked::of(&files, "head", None);
    let broken = checked.build.diagnostics.iter();
    let mut broken = broken.filter(|d| d.code == Code::InvariantBroken);
    let diagnostic = broken.next().unwrap();
    let places: Vec<_> = diagnostic
        .labels
        .iter()
        .map(|label| format!("{}:{} {}", label.path, label.span.line, label.text))
        .collect();
    assert_eq!(
        places,
        [
            "invariants/money/it.yaml:5 \"it\" says `never`",
            "peers/east/ledger.yaml:3 the import",
            "peers/north/ledger.yaml:3 the export",
            "peers/east/policy.yaml:3 allows it on the importer's side",
            "peers/north/policy.yaml:3 allows it on the exporter's side",
        ]
    );
    assert!(
        diagnostic
            .help
            .as_ref()
            .unwrap()
            .contains("the auditors said so")
    );
}

/// However many invariants there are: what isn't looked at is told, and fails.
#[test]
fn what_takes_too_much_work_is_told_and_fails() {
    let mut files = shop();
    for number in 0..200 {
        let text = invariant("never", GUESTS, LEDGER);
        let text = text.replace("name: it", &format!("name: it-{number:03}"));
        files.put(&format!("invariants/{number:03}.yaml"), &text);
    }
    let checked = Checked::of(&files, "head", None);
    assert!(!checked.build.has(Effect::Fail));
    let mut build = checked.build;
    let verdicts = invariant::check_within(&mut build, 2_000);
    assert_eq!(verdicts.len(), 200);
    let (held, untold): (Vec<_>, Vec<_>) = verdicts
        .iter()
        .partition(|verdict| verdict.outcome == InvariantOutcome::Holds);
    // Those that come first are checked; the others have an error each.
    assert!(held.len() > 5 && untold.len() > 20, "{}", held.len());
    let all = untold
        .iter()
        .all(|verdict| verdict.outcome == InvariantOutcome::Undecided);
    assert!(all);
    let told: Vec<_> = build
        .diagnostics
        .iter()
        .filter(|diagnostic| diagnostic.code == Code::InvariantUndecided)
        .collect();
    assert_eq!(told.len(), untold.len());
    assert_eq!(
        told[0].message,
        format!(
            "{:?} isn't checked: together the invariants take more work than a check may",
            untold[0].name
        )
    );
}

/// Once the mend that was offered was to make the invariant narrower.
#[test]
fn what_is_unknown_is_told_as_such() {
    let mut files = shop();
    files.put("peers/south/peer.yaml", "kind: [");
    let (told, outcome) = check(&files, &invariant("always", EAST, PAYROLL));
    assert_eq!(
        told,
        "it can't be told whether \"it\" holds while south can't be understood\n"
    );
    assert_eq!(outcome, Some(InvariantOutcome::Undecided));
}

#[test]
fn a_plan_tells_what_was_broken_before() {
    let mut before = shop();
    before.put("invariants/it.yaml", &invariant("only", TILLS, LEDGER));
    let mut after = before.clone();
    after.replace(
        "peers/east/policy.yaml",
        "client.clusterlink.net/labels.app: till",
        "peer.clusterlink.net/name: east",
    );
    let states = |before: &Files, after: &Files| {
        let before = Checked::of(before, "base", None);
        let after = Checked::of(after, "head", Some(&before));
        PlanReport::new(Question {
            before: Some(before.state()),
            after: after.state(),
            commits: &[],
            peer: None,
        })
    };
    let broken = states(&before, &after);
    assert_eq!(broken.verdict, Verdict::Invalid);
    assert_eq!(broken.invariants.len(), 1);
    let verdict = &broken.invariants[0];
    assert_eq!(verdict.outcome, InvariantOutcome::Broken);
    assert_eq!(verdict.before, Some(InvariantOutcome::Holds));
    assert!(!verdict.counter_examples.is_empty());
    let mended = states(&after, &before);
    assert_eq!((mended.verdict, mended.mended), (Verdict::Changes, 1));
}

#[test]
fn the_guides_examples_are_understood() {
    let guide = include_str!("../../../docs/invariants.md");
    let mut blocks = 0;
    for block in guide.split("```yaml\n").skip(1) {
        let (block, _) = block.split_once("```").unwrap();
        // A block inside a list is indented as the list is.
        let indent = block.len() - block.trim_start_matches(' ').len();
        let lines = block
            .lines()
            .map(|line| line.get(indent..).unwrap_or_default());
        let mut files = shop();
        files.put("invariants/it.yaml", &lines.collect::<Vec<_>>().join("\n"));
        for name in ["eu-1", "eu-2", "us-1"] {
            files.put(
                &format!("peers/{name}/peer.yaml"),
                &peer(name, "{stage: test}"),
            );
        }
        let checked = Checked::of(&files, "head", None);
        assert_eq!(
            checked.invariants.len(),
            1,
            "{block}\n{:?}",
            checked.build.diagnostics
        );
        blocks += 1;
    }
    assert_eq!(blocks, 2);
}

/// Once an invariant could go in silence: no peer changes by it.
#[test]
fn an_invariant_that_goes_or_changes_is_told() {
    let plan = |before: &Files, after: &Files| {
        let before = Checked::of(before, "base", None);
        let after = Checked::of(after, "head", Some(&before));
        let report = PlanReport::new(Question {
            before: Some(before.state()),
            after: after.state(),
            commits: &[],
            peer: None,
        });
        let changes = report.safeguards.into_iter();
        let changes: Vec<_> = changes
            .map(|safeguard| (safeguard.name, safeguard.change))
            .collect();
        (report.verdict, changes)
    };
    let without = shop();
    let mut with = without.clone();
    with.put("invariants/it.yaml", &invariant("never", GUESTS, PAYROLL));
    let mut moved = without.clone();
    moved.put("invariants/of/it.yaml", &with.0["invariants/it.yaml"]);
    let mut weaker = without.clone();
    weaker.put("invariants/it.yaml", &invariant("never", NOBODY, PAYROLL));
    let told = |change| (Verdict::Changes, vec![("it".to_owned(), change)]);
    assert_eq!(plan(&with, &without), told(SafeguardChangeKind::Removed));
    assert_eq!(plan(&without, &with), told(SafeguardChangeKind::Added));
    assert_eq!(plan(&with, &weaker), told(SafeguardChangeKind::Changed));
    assert_eq!(plan(&with, &moved), (Verdict::Unchanged, Vec::new()));
}
