//! What a change does, as remarks beside the lines that do it.

use std::sync::Arc;

use fabric::api::Gate;
use fabric::diagnostic::Code;
use fabric::gate::{GateOutcome, GateVerdict, IgnoredApproval};
use fabric::invariant::{InvariantOutcome, InvariantVerdict};
use fabric::origin::Origin;
use fabric::plan::PruneOutcome;
use fabric::reach::{Flip, Route};
use fabric::report::{
    ConflictKind, PlanReport, ReportedDiagnostic, SafeguardChange, SafeguardChangeKind,
};
use fabric::tree::Tree;

use super::junit::{self, Cases};
use super::remark::{Level, Place, Remark, Rule};
use super::{count, reach};

/// Access opens.
const OPENS: Rule = Rule {
    id: "access-opens",
    title: "access opens",
    explanation: "After this change, clients reach a service that they couldn't reach before.",
    level: Level::Warning,
};

/// Access closes.
const CLOSES: Rule = Rule {
    id: "access-closes",
    title: "access closes",
    explanation: "After this change, clients no longer reach a service that they could reach before.",
    level: Level::Note,
};

/// Nobody can tell.
const UNDECIDED: Rule = Rule {
    id: "access-undecided",
    title: "access that can't be told",
    explanation: "The policies on a way to a service are too entangled to tell exactly who is let \
        through. It counts as access that opens; fewer selectors make it clear.",
    level: Level::Warning,
};

/// The prune budget holds objects back.
const PRUNE: Rule = Rule {
    id: "prune-blocked",
    title: "the prune budget holds objects back",
    explanation: "More objects of a peer go than its prune budget allows. They stay, and stay in \
        force, until a commit approves it with a line `Weft-Approve: prune=NUMBER`.",
    level: Level::Warning,
};

/// A gate or an invariant goes or changes.
const SAFEGUARD: Rule = Rule {
    id: "safeguard-changes",
    title: "a gate or an invariant changes",
    explanation: "What stands against changes goes, or says something else: from the next change \
        on, less may be looked at.",
    level: Level::Warning,
};

/// A line looks like an approval.
const IGNORED: Rule = Rule {
    id: "approval-ignored",
    title: "an approval that approves nothing",
    explanation: "A line of a commit's message looks like an approval and isn't one: it is \
        misspelt, names several gates at once or too few objects. An approval is a line of its \
        own, `Weft-Approve: GATE`, or `Weft-Approve: prune=NUMBER`.",
    level: Level::Warning,
};

/// Two commits can't be merged.
const CONFLICT: Rule = Rule {
    id: "merge-conflict",
    title: "a file that can't be merged",
    explanation: "Two commits do different things to the file. One of them has to be brought up to date first.",
    level: Level::Error,
};

/// Everything that there is to say of a plan; the text of diagnostics' places is in the tree.
pub(crate) fn all(report: &PlanReport, tree: Option<&Tree>) -> Vec<Remark> {
    let mut remarks = Vec::new();
    if let Some(tree) = tree {
        let diagnostics = report.diagnostics.iter();
        remarks.extend(diagnostics.map(|reported| Remark::of(&reported.diagnostic, tree)));
    }
    let gates = report.gates.iter();
    remarks.extend(gates.filter_map(refusal));
    remarks.extend(report.ignored_approvals.iter().map(ignored));
    remarks.extend(report.safeguards.iter().filter_map(safeguard));
    remarks.extend(report.reach.opened.iter().map(|flip| flipped(flip, &OPENS)));
    remarks.extend(report.reach.undecided.iter().map(undecided));
    remarks.extend(
        report
            .reach
            .closed
            .iter()
            .map(|flip| flipped(flip, &CLOSES)),
    );
    for peer in &report.peers {
        if peer.prune.outcome == PruneOutcome::Blocked {
            let message = format!(
                "{} of {} stay until it is approved",
                count(peer.prune.counted.len(), "object"),
                peer.difference.peer,
            );
            remarks.push(whole(PRUNE, message));
        }
    }
    for conflict in report.merge.iter().flat_map(|merge| &merge.conflicts) {
        let message = match conflict.kind {
            ConflictKind::BothChanged => "both sides change it",
            ConflictKind::BothAdded => "both sides add it",
            ConflictKind::RemovedByFirst | ConflictKind::RemovedBySecond => {
                "one side removes it, the other changes it"
            }
        };
        let place = Place {
            path: conflict.path.as_str().into(),
            region: None,
        };
        remarks.push(Remark::new(
            CONFLICT,
            Level::Error,
            message.to_owned(),
            place,
        ));
    }
    remarks
}

/// Whether a counter-example is told by one of the diagnostics that are shown.
pub(crate) fn is_told(
    report: &PlanReport,
    verdict: &InvariantVerdict,
    message: &str,
    is_shown: fn(&ReportedDiagnostic) -> bool,
) -> bool {
    let mut shown = report.diagnostics.iter().filter(|told| is_shown(told));
    shown.any(|told| {
        let diagnostic = &told.diagnostic;
        let own = diagnostic.message.strip_prefix("broken: ");
        diagnostic.code == Code::InvariantBroken
            && diagnostic.path() == &*verdict.origin.path
            && own == Some(message)
    })
}

/// Those that belong beside the lines of the change: not what was there before, unless it is an
/// error.
pub(crate) fn new(report: &PlanReport, tree: Option<&Tree>) -> Vec<Remark> {
    let diagnostics = report.diagnostics.iter();
    let is_old: Vec<_> = diagnostics.map(|reported| !reported.is_new).collect();
    let mut remarks = all(report, tree);
    let mut index = 0;
    // Diagnostics come first, in their order, where there is a tree.
    remarks.retain(|remark| {
        let is_old = tree.is_some() && is_old.get(index).copied().unwrap_or(false);
        index += 1;
        !is_old || remark.level == Level::Error
    });
    remarks
}

/// The cases of a plan: the files that something is said of, the peers, the gates and the
/// invariants.
pub(crate) fn cases<'a>(report: &'a PlanReport, remarks: &'a [Remark]) -> Cases<'a> {
    let is_gate = |remark: &&Remark| {
        Gate::ALL
            .iter()
            .any(|gate| rule(*gate).id == remark.rule.id)
    };
    let (gates, others): (Vec<_>, Vec<_>) = remarks.iter().partition(is_gate);
    let mut cases = junit::cases([], others);
    for peer in &report.peers {
        cases.insert(format!("peer {}", peer.difference.peer).into(), Vec::new());
    }
    for verdict in &report.invariants {
        // A broken one is a diagnostic at its file.
        if verdict.outcome == InvariantOutcome::Holds {
            cases.insert(format!("invariant {}", verdict.name).into(), Vec::new());
        }
    }
    for verdict in &report.gates {
        let rule = rule(verdict.gate);
        let of_gate = gates
            .iter()
            .copied()
            .filter(|remark| remark.rule.id == rule.id);
        cases.insert(
            format!("gate {}", verdict.gate.as_str()).into(),
            of_gate.collect(),
        );
    }
    cases
}

/// The rule of a gate that refuses.
const fn rule(gate: Gate) -> Rule {
    let (id, explanation) = match gate {
        Gate::WidensAccess => (
            "gate-widens-access",
            "Somebody can reach more than before, and the fabric wants an approval for it: a line \
             `Weft-Approve: widens-access` in the message of a commit of the change.",
        ),
        Gate::Prune => (
            "gate-prune",
            "More is removed from a peer than its prune budget allows, and the fabric wants an \
             approval for it: a line `Weft-Approve: prune=NUMBER` in the message of a commit of the change.",
        ),
        Gate::Certificate => (
            "gate-certificate",
            "A certificate becomes trusted that wasn't, and the fabric wants an approval for it: a \
             line `Weft-Approve: certificate` in the message of a commit of the change.",
        ),
        Gate::PrivilegedPolicy => (
            "gate-privileged-policy",
            "A privileged policy comes, goes or changes, and the fabric wants an approval for it: a \
             line `Weft-Approve: privileged-policy` in the message of a commit of the change.",
        ),
        Gate::Safeguards => (
            "gate-safeguards",
            "A gate or an invariant goes, an invariant changes, or a guard rail is loosened, and the \
             fabric wants an approval for it: a line `Weft-Approve: safeguards` in the message of a \
             commit of the change.",
        ),
    };
    Rule {
        id,
        title: "a gate wants an approval",
        explanation,
        level: Level::Error,
    }
}

fn refusal(verdict: &GateVerdict) -> Option<Remark> {
    if verdict.outcome != GateOutcome::Refused {
        return None;
    }
    let message = format!("the gate {} wants an approval", verdict.gate.as_str());
    let mut remark = whole(rule(verdict.gate), message);
    remark.notes.clone_from(&verdict.reasons);
    if let Some(more @ 1..) = verdict.reason_count.checked_sub(verdict.reasons.len()) {
        remark.notes.push(format!("{} more", count(more, "reason")));
    }
    if let Some(trailer) = &verdict.trailer {
        let help = format!("help: approve it with a line `{trailer}` in a commit's message");
        remark.notes.push(help);
    }
    Some(remark)
}

fn ignored(ignored: &IgnoredApproval) -> Remark {
    let (line, commit) = (&ignored.line, ignored.commit.short());
    let message = format!("{line:?} of {commit} approves nothing: {}", ignored.reason);
    whole(IGNORED, message)
}

fn safeguard(change: &SafeguardChange) -> Option<Remark> {
    let what = match change.change {
        SafeguardChangeKind::Added => return None,
        SafeguardChangeKind::Changed => "changes",
        SafeguardChangeKind::Removed => "is removed",
    };
    let message = format!("the {} {} {what}", change.safeguard.as_str(), change.name);
    Some(match &change.origin {
        Some(origin) => Remark::new(SAFEGUARD, SAFEGUARD.level, message, place(origin)),
        None => whole(SAFEGUARD, message),
    })
}

fn flipped(flip: &Flip, rule: &Rule) -> Remark {
    let Route {
        export_peer,
        export,
        client_peer,
        import,
    } = &flip.route;
    let reach = match rule.id == OPENS.id {
        true => "now reach",
        false => "no longer reach",
    };
    let clients = reach::clients(&flip.clients, reach::TOLD);
    let message =
        format!("{clients} at {client_peer} {reach} {export} of {export_peer} through {import}");
    let after = reach::sides(flip, &flip.after);
    let before = reach::sides(flip, &flip.before);
    // What decides now is the place; where nothing does, what decided before.
    let mut rules = after.iter().chain(&before).filter_map(|(side, why)| {
        let rule = reach::rule(why)?;
        Some((
            place(&rule.origin),
            format!("the {side}: {}", reach::why(why)),
        ))
    });
    let first = rules.next();
    let mut remark = match first {
        Some((place, text)) => {
            let mut remark = Remark::new(*rule, rule.level, message, place);
            remark.notes.push(text);
            remark
        }
        None => whole(*rule, message),
    };
    let line = remark.place.clone();
    remark.related = rules.filter(|(place, _)| *place != line).take(1).collect();
    if let Some(client) = &flip.example {
        remark
            .notes
            .push(format!("for example {}", reach::client(client)));
    }
    remark
}

fn undecided(route: &Route) -> Remark {
    let Route {
        export_peer,
        export,
        client_peer,
        import,
    } = route;
    whole(
        UNDECIDED,
        format!(
            "which clients of {client_peer} reach {export} of {export_peer} through {import} can't be told"
        ),
    )
}

fn place(origin: &Origin) -> Place {
    Place::line(&origin.path, origin.line)
}

/// What concerns the whole fabric, and so stands at its file.
fn whole(rule: Rule, message: String) -> Remark {
    let place = Place {
        path: Arc::from("fabric.yaml"),
        region: None,
    };
    Remark::new(rule, rule.level, message, place)
}
