//! The comment on a change: what it does, the gravest thing first.

use std::fmt::Write as _;
use std::io::{self, Write};

use fabric::diagnostic::{Diagnostic, Effect};
use fabric::gate::{GateOutcome, GateVerdict, IgnoredApproval};
use fabric::invariant::{InvariantOutcome, InvariantVerdict};
use fabric::origin::{Origin, Revision};
use fabric::plan::{FieldChange, PruneOutcome};
use fabric::reach::{
    Clients, Decided, Flip, Group, ImportingPeer, Route, Service, Why, groups_by_service,
};
use fabric::report::{
    MergeReport, PeerChange, PlanReport, Presence, SafeguardChange, SafeguardChangeKind, Verdict,
};
use fabric::tree::Tree;
use serde_json::Value;

use super::page::{Page, code, html_code};
use super::{counted, frames, frozen, marker};
use crate::render::plan::is_told;
use crate::render::reach::{self, TOLD};
use crate::render::{count, escape};

/// Services that are shown before the rest is folded: about a screen.
const VISIBLE: usize = 8;

/// Bytes of what is told of one service: a dozen ways to it. One service doesn't take the page from
/// the others.
const SERVICE: usize = 4_000;

/// Writes what a change does; diagnostics have frames where the newer state's tree is given.
pub(crate) fn write_plan(
    report: &PlanReport,
    tree: Option<&Tree>,
    out: &mut dyn Write,
) -> io::Result<()> {
    let mut page = Page::default();
    page.push(&marker("plan", report.fabric.as_deref()));
    push_verdict(&mut page, report);
    push_conflicts(&mut page, report.merge.as_ref());
    push_gates(&mut page, report);
    push_ignored(&mut page, &report.ignored_approvals);
    push_safeguards(&mut page, &report.safeguards);
    push_errors(&mut page, report, tree);
    push_invariants(&mut page, report);
    push_together(&mut page, report.merge.as_ref());
    push_access(&mut page, report);
    push_peers(&mut page, &report.peers);
    push_warnings(&mut page, report, tree);
    out.write_all(page.text().as_bytes())
}

/// Writes what the change comes to, in a few lines.
fn push_verdict(page: &mut Page, report: &PlanReport) {
    let widens = !report.reach.opened.is_empty() || !report.reach.undecided.is_empty();
    let mut safeguards = report.safeguards.iter();
    let loosens = safeguards.any(|safeguard| safeguard.change != SafeguardChangeKind::Added);
    let refused = report
        .gates
        .iter()
        .filter(|gate| gate.outcome == GateOutcome::Refused);
    let refused: Vec<_> = refused.map(|gate| code(gate.gate.as_str())).collect();
    let heading = match (report.verdict, widens) {
        (Verdict::Invalid, false) => "Invalid".to_owned(),
        (Verdict::Invalid, true) => "Invalid, and widens access".to_owned(),
        (Verdict::Refused, false) => format!("Wants an approval: {}", refused.join(", ")),
        (Verdict::Refused, true) => {
            format!(
                "Widens access, and wants an approval: {}",
                refused.join(", ")
            )
        }
        (Verdict::Changes | Verdict::Unchanged, true) => "Widens access".to_owned(),
        (Verdict::Changes, false) if loosens => {
            "Opens nothing, but gates or invariants change".to_owned()
        }
        (Verdict::Changes, false) => "Ok, and opens nothing".to_owned(),
        (Verdict::Unchanged, false) => "Ok, nothing changes".to_owned(),
    };
    page.push(&format!("### {heading}\n\n"));

    let mut line = match report.fabric.as_deref().filter(|name| !name.is_empty()) {
        Some(name) => format!("Fabric {}", code(name)),
        None => "The fabric".to_owned(),
    };
    let base = report
        .base
        .as_ref()
        .map_or_else(|| "nothing".to_owned(), revision);
    let _ = write!(line, " from {base} to {}", revision(&report.head));
    if let Some(merge) = &report.merge {
        let (first, second) = (revision(&merge.first), revision(&merge.second));
        let _ = write!(line, " (the merge of {first} and {second})");
    }
    page.push(&format!("{line}: {}.\n\n", sums(report)));
    let units = report.frozen_peers.iter().map(|unit| &**unit);
    page.push(&frozen(report.fabric_frozen, units));
}

/// The numbers of a change.
fn sums(report: &PlanReport) -> String {
    let changed = report.peers.iter().filter(|peer| peer.is_some());
    let mut words = Vec::new();
    let number = changed.clone().count();
    if number > 0 {
        let sum = |size: fn(&PeerChange) -> usize| changed.clone().map(size).sum::<usize>();
        words.push(format!(
            "{number} of {} with {} added, {} changed, {} removed",
            count(report.peers.len(), "peer"),
            sum(|peer| peer.difference.added.len()),
            sum(|peer| peer.difference.changed.len()),
            sum(|peer| peer.difference.removed.len()),
        ));
    } else {
        words.push("no peer changes".to_owned());
    }
    let flows = |flips: &[Flip], word: &str| match services(flips).len() {
        0 => None,
        number => Some(format!("access to {} {word}", count(number, "service"))),
    };
    words.extend(flows(&report.reach.opened, "**opens**"));
    words.extend(flows(&report.reach.closed, "closes"));
    let undecided = report.reach.undecided.len();
    if undecided > 0 {
        words.push(format!("{} **can't be told**", count(undecided, "way")));
    }
    let of = |is_wanted: fn(Effect) -> bool| {
        let all = report
            .diagnostics
            .iter()
            .map(|reported| &reported.diagnostic);
        all.filter(|diagnostic| is_wanted(diagnostic.effect))
            .count()
    };
    let errors = of(|effect| effect >= Effect::Fail);
    let warnings = of(|effect| effect == Effect::Warn);
    if errors + warnings > 0 {
        words.push(counted(errors, warnings, 0));
    }
    if report.mended > 0 {
        words.push(format!("{} mended", count(report.mended, "finding")));
    }
    words.join("; ")
}

fn push_conflicts(page: &mut Page, merge: Option<&MergeReport>) {
    let Some(merge) = merge.filter(|merge| !merge.conflicts.is_empty()) else {
        return;
    };
    page.push("#### These files can't be merged\n\n");
    let conflicts = merge.conflicts.iter();
    let pieces = conflicts.map(|conflict| format!("- {}\n", code(&conflict.path)));
    page.push_list(page.room(50), "files", pieces);
    page.push("\n");
}

fn push_gates(page: &mut Page, report: &PlanReport) {
    let told: Vec<_> = report
        .gates
        .iter()
        .filter(|verdict| verdict.outcome != GateOutcome::Passed)
        .collect();
    if told.is_empty() {
        return;
    }
    page.push("#### Gates\n\n");
    if let Some(merge) = &report.merge
        && merge.gates_from == merge.first
    {
        let (first, second) = (revision(&merge.first), revision(&merge.second));
        page.push(&format!("Of what {second} adds to {first}:\n\n"));
    }
    page.push_list(page.room(30), "gates", told.into_iter().map(gate));
    page.push("\n");
}

fn gate(verdict: &GateVerdict) -> String {
    let name = code(verdict.gate.as_str());
    let mut text = match verdict.outcome {
        GateOutcome::Passed => format!("- {name} passes"),
        GateOutcome::Approved => {
            let commits: Vec<_> = verdict.approved_by.iter().take(3).map(revision).collect();
            format!("- {name} is approved by {}", commits.join(", "))
        }
        GateOutcome::Refused => format!("- **{name} wants an approval**"),
    };
    if let Some(trailer) = verdict
        .trailer
        .as_ref()
        .filter(|_| verdict.outcome == GateOutcome::Refused)
    {
        let _ = write!(
            text,
            ": a line {} in the message of a commit",
            code(trailer)
        );
    }
    text.push('\n');
    for reason in &verdict.reasons {
        let _ = writeln!(text, "  - {}", code(reason));
    }
    if let Some(more @ 1..) = verdict.reason_count.checked_sub(verdict.reasons.len()) {
        let _ = writeln!(text, "  - ... and {}", count(more, "more reason"));
    }
    text
}

/// Writes the lines that look like approvals and are none.
fn push_ignored(page: &mut Page, ignored: &[IgnoredApproval]) {
    if ignored.is_empty() {
        return;
    }
    page.push("#### Approves nothing\n\n");
    let pieces = ignored.iter().map(|ignored| {
        let (line, commit) = (code(&ignored.line), revision(&ignored.commit));
        format!("- {line} of {commit}: {}\n", code(&ignored.reason))
    });
    page.push_list(page.room(10), "lines", pieces);
    page.push("\n");
}

fn push_safeguards(page: &mut Page, safeguards: &[SafeguardChange]) {
    if safeguards.is_empty() {
        return;
    }
    page.push("#### Gates and invariants that change\n\n");
    page.push_list(page.room(20), "changes", safeguards.iter().map(safeguard));
    page.push("\n");
}

fn safeguard(safeguard: &SafeguardChange) -> String {
    let kind = safeguard.safeguard.as_str();
    let name = code(&safeguard.name);
    let place = safeguard.origin.as_ref().map(at);
    let place = place.map_or_else(String::new, |place| format!(" ({place})"));
    match safeguard.change {
        SafeguardChangeKind::Added => format!("- {kind} {name} is added{place}\n"),
        SafeguardChangeKind::Changed => format!("- **{kind} {name} changes**{place}\n"),
        SafeguardChangeKind::Removed => format!("- **{kind} {name} is removed**{place}\n"),
    }
}

fn push_errors(page: &mut Page, report: &PlanReport, tree: Option<&Tree>) {
    let errors = diagnostics(report, |effect, _| effect >= Effect::Fail);
    if let Some(tree) = tree.filter(|_| !errors.is_empty()) {
        page.push("#### Errors\n\n");
        page.push_block(page.room(50), "text", "errors", frames(tree, &errors));
        page.push("\n");
    }
}

/// Writes what isn't wrong enough to stand above; what was there before is counted.
fn push_warnings(page: &mut Page, report: &PlanReport, tree: Option<&Tree>) {
    let new = diagnostics(report, |effect, is_new| effect == Effect::Warn && is_new);
    let old = diagnostics(report, |effect, is_new| effect == Effect::Warn && !is_new).len();
    if let Some(tree) = tree.filter(|_| !new.is_empty()) {
        let summary = count(new.len(), "new warning");
        page.push_folded(&summary, |page| {
            page.push_block(page.room(100), "text", "warnings", frames(tree, &new));
        });
    }
    if old > 0 {
        page.push(&format!("{} not of this change.\n", count(old, "warning")));
    }
}

fn diagnostics(report: &PlanReport, is_wanted: fn(Effect, bool) -> bool) -> Vec<&Diagnostic> {
    let all = report.diagnostics.iter();
    let wanted = all.filter(|reported| is_wanted(reported.diagnostic.effect, reported.is_new));
    wanted.map(|reported| &reported.diagnostic).collect()
}

fn push_invariants(page: &mut Page, report: &PlanReport) {
    let broken: Vec<_> = report
        .invariants
        .iter()
        .filter(|invariant| invariant.outcome != InvariantOutcome::Holds)
        .collect();
    if broken.is_empty() {
        return;
    }
    page.push("#### Broken invariants\n\n");
    page.push_list(
        page.room(40),
        "invariants",
        broken.into_iter().map(|verdict| invariant(report, verdict)),
    );
    page.push("\n");
}

fn invariant(report: &PlanReport, verdict: &InvariantVerdict) -> String {
    let mut text = format!("- {} ({})", code(&verdict.name), at(&verdict.origin));
    text.push_str(match (verdict.outcome, verdict.before) {
        (InvariantOutcome::Undecided, _) => " can't be told",
        (_, Some(InvariantOutcome::Holds)) => " held before this change",
        (_, Some(_)) => " didn't hold before either",
        (_, None) => "",
    });
    text.push('\n');
    let examples = verdict.counter_examples.iter();
    // An error above shows it with its places.
    let untold = examples.filter(|one| !is_told(report, verdict, &one.message, |_| true));
    // Each shows the same in another way.
    for example in untold.take(3) {
        let _ = writeln!(text, "  - {}", code(&example.message));
    }
    text
}

/// Writes what only two commits together do.
fn push_together(page: &mut Page, merge: Option<&MergeReport>) {
    let Some(merge) = merge else { return };
    if merge.opened_together.is_empty() && merge.undecided_together.is_empty() {
        return;
    }
    page.push("#### Opens only by both commits together\n\n");
    push_services(page, 40, &services(&merge.opened_together), true);
    let ways = merge.undecided_together.iter().map(undecided);
    page.push_list(page.room(20), "ways", ways);
    page.push("\n");
}

fn push_access(page: &mut Page, report: &PlanReport) {
    let opened = services(&report.reach.opened);
    let closed = services(&report.reach.closed);
    if !opened.is_empty() {
        page.push("#### Opens\n\n");
        push_services(page, 45, &opened, true);
    }
    if !report.reach.undecided.is_empty() {
        page.push("#### Can't be told, so counts as opened\n\n");
        let ways = report.reach.undecided.iter().map(undecided);
        page.push_list(page.room(20), "ways", ways);
        page.push("\n");
    }
    if !closed.is_empty() {
        page.push("#### Closes\n\n");
        push_services(page, 30, &closed, false);
    }
}

/// The groups of each service.
fn services(flips: &[Flip]) -> Vec<Vec<Group>> {
    let mut services: Vec<Vec<Group>> = Vec::new();
    let of = |group: &Group| {
        let service = group.services.first();
        service.map(|service| (service.export_peer.clone(), service.export.clone()))
    };
    for group in groups_by_service(flips) {
        match services.last_mut() {
            Some(groups) if groups.first().map(of) == Some(of(&group)) => groups.push(group),
            _ => services.push(vec![group]),
        }
    }
    services
}

/// Writes the services, all but the first ones folded, in a share of the room.
fn push_services(page: &mut Page, percent: usize, services: &[Vec<Group>], opens: bool) {
    let room = page.room(percent);
    let (visible, folded) = services.split_at(services.len().min(VISIBLE));
    let before = page.text().len();
    page.push_list(room, "services", visible.iter().map(|s| service(s, opens)));
    page.push("\n");
    let left = room.saturating_sub(page.text().len() - before);
    if !folded.is_empty() {
        let summary = count(folded.len(), "more service");
        page.push_folded(&summary, |page| {
            page.push_list(left, "services", folded.iter().map(|s| service(s, opens)));
        });
    }
}

fn service(groups: &[Group], opens: bool) -> String {
    let mark = match opens {
        true => " - **widens access**",
        false => "",
    };
    let each = groups
        .iter()
        .flat_map(|group| group.services.first().map(|service| (service, group)));
    let each = each.flat_map(|(service, group)| {
        let clients = group.clients.iter();
        clients.map(move |decided| (service, decided))
    });
    let Some((first, _)) = each.clone().next() else {
        return String::new();
    };
    let name = code(&first.export.to_string());
    let peer = code(first.export_peer.as_str());
    let mut text = format!("- **{name}** of {peer}{mark}\n");
    let mut told = 0;
    for (service, decided) in each.clone() {
        let line = format!("  - {}", flipped(service, decided));
        if text.len() + line.len() > SERVICE {
            break;
        }
        text.push_str(&line);
        told += 1;
    }
    if let Some(more @ 1..) = each.count().checked_sub(told) {
        let _ = writeln!(text, "  - ... and for {}", count(more, "more group"));
    }
    text
}

/// Some clients, and why it is as it is for them.
fn flipped(service: &Service, decided: &Decided) -> String {
    let clients = match &decided.clients {
        Clients::Known(terms) if !terms.is_empty() => code(&reach::clients(&decided.clients, TOLD)),
        // Words of ours.
        clients => reach::clients(clients, TOLD),
    };
    let ways = service.imports.iter().take(TOLD);
    let ways = ways.map(|at: &ImportingPeer| match at.import == service.export {
        // Mostly an import is named as the service is.
        true => code(at.client_peer.as_str()),
        false => format!(
            "{} (import {})",
            code(at.client_peer.as_str()),
            code(&at.import.to_string())
        ),
    });
    let mut ways = ways.collect::<Vec<_>>().join(", ");
    if let Some(more @ 1..) = service.imports.len().checked_sub(TOLD) {
        let _ = write!(ways, " and {}", count(more, "more peer"));
    }
    let before = decisions("before", &decided.flips, |flip| &flip.before);
    let after = decisions("now", &decided.flips, |flip| &flip.after);
    let begin = reach::from(decided.from);
    format!("from {ways}: {clients}{begin}{before}{after}\n")
}

/// What is decided of the same clients, each reason once and on a line of its own.
fn decisions(when: &str, flips: &[Flip], verdict: fn(&Flip) -> &fabric::reach::Verdict) -> String {
    // More nobody compares.
    const TOLD: usize = 4;
    let mut reasons: Vec<String> = Vec::new();
    for reason in flips.iter().map(|flip| decision(verdict(flip))) {
        if !reasons.contains(&reason) {
            reasons.push(reason);
        }
        if reasons.len() > TOLD {
            break;
        }
    }
    let is_cut = reasons.len() > TOLD;
    reasons.truncate(TOLD);
    if is_cut {
        reasons.push("other rules elsewhere".to_owned());
    }
    format!("<br>{when}: {}", reasons.join("<br>or: "))
}

/// What is decided, in words: the sides that refuse, or both where nobody does.
fn decision(verdict: &fabric::reach::Verdict) -> String {
    if verdict.importer == Why::NoRoute || verdict.exporter == Why::NoRoute {
        return "there is no such service, or no import of it".to_owned();
    }
    let sides = [
        ("importer", &verdict.importer),
        ("exporter", &verdict.exporter),
    ];
    let told = sides
        .into_iter()
        .filter(|(_, why)| verdict.allowed == matches!(why, Why::Allowed(_)));
    let told = told.map(|(side, why)| {
        let origin = reach::rule(why).map(|rule| {
            let until = reach::until(rule.expires);
            format!(" at {}{until}", at(&rule.origin))
        });
        let origin = origin.unwrap_or_default();
        match why {
            // Words of ours.
            Why::DefaultDeny | Why::NoRoute => format!("{side} {}", reach::why(why)),
            why => format!("{side} {}{origin}", code(&reach::why(why))),
        }
    });
    told.collect::<Vec<_>>().join("; ")
}

fn undecided(route: &Route) -> String {
    format!(
        "- {} of {} for clients of {} through {}\n",
        code(&route.export.to_string()),
        code(route.export_peer.as_str()),
        code(route.client_peer.as_str()),
        code(&route.import.to_string()),
    )
}

/// Writes the plan of each peer, folded.
fn push_peers(page: &mut Page, peers: &[PeerChange]) {
    let (changed, same): (Vec<_>, Vec<_>) = peers.iter().partition(|peer| peer.is_some());
    if !changed.is_empty() {
        page.push("#### Each peer\n\n");
    }
    for (index, peer) in changed.iter().enumerate() {
        // A peer gets half of what is left, so that the last ones are at least named.
        let room = page.room(match changed.len() - index {
            1 => 80,
            _ => 50,
        });
        let head = format!(
            "{}{}",
            html_code(peer.difference.peer.as_str()),
            numbers(peer)
        );
        // What is folded, and the line that counts the others.
        if room < head.len() + 1_000 {
            let left = count(changed.len() - index, "more peer");
            page.push(&format!("... and {left} with changes\n\n"));
            break;
        }
        let entries = entries(peer);
        page.push_folded(&head, |page| {
            let room = room - head.len();
            page.push_block(room, "diff", "lines", entries.into_iter());
            page.push(&prune(peer));
        });
    }
    if !same.is_empty() && !changed.is_empty() {
        page.push(&format!(
            "Nothing changes in {}.\n\n",
            count(same.len(), "other peer")
        ));
    }
}

/// How much changes in a peer.
fn numbers(peer: &PeerChange) -> String {
    let difference = &peer.difference;
    let presence = match peer.presence {
        Some(Presence::Added) => " (new peer)",
        Some(Presence::Removed) => " (removed peer)",
        None => "",
    };
    format!(
        "{presence}: {} added, {} changed, {} removed",
        difference.added.len(),
        difference.changed.len(),
        difference.removed.len()
    )
}

/// The lines of a peer's plan, as a difference of texts has them.
fn entries(peer: &PeerChange) -> Vec<String> {
    let difference = &peer.difference;
    let mut entries = Vec::new();
    let head = |sign: char, what: &str, origin: &Origin| {
        let place = format!("{}:{}", escape::path(&origin.path), origin.line);
        format!("{sign} {}  {place}\n", escape::text(what))
    };
    for added in &difference.added {
        entries.push(head('+', &added.key.to_string(), &added.origin));
    }
    for change in &difference.changed {
        entries.push(head('!', &change.key.to_string(), &change.after));
        entries.extend(change.fields.iter().map(field));
    }
    for removed in &difference.removed {
        entries.push(head('-', &removed.key.to_string(), &removed.origin));
    }
    // Of a peer that comes or goes it would be everything.
    if !difference.state.is_empty() && peer.presence.is_none() {
        entries.push("! beside the objects\n".to_owned());
        entries.extend(difference.state.iter().map(field));
    }
    entries
}

fn field(change: &FieldChange) -> String {
    let pointer = escape::path(&change.pointer);
    let line = |sign: char, value: &Option<Value>| {
        let value = value.as_ref()?;
        let value = escape::path(&value.to_string());
        Some(format!("{sign}   {pointer}: {value}\n"))
    };
    let lines = [line('-', &change.before), line('+', &change.after)];
    lines.into_iter().flatten().collect()
}

fn prune(peer: &PeerChange) -> String {
    let prune = &peer.prune;
    let outcome = match prune.outcome {
        PruneOutcome::Within if prune.counted.is_empty() => return String::new(),
        PruneOutcome::Within => "within the budget",
        PruneOutcome::Approved => "above the budget, and approved",
        PruneOutcome::Blocked => "**above the budget: they stay until it is approved**",
    };
    format!(
        "\nPrune budget: {} of {} go (at once at most {}, or {}%), {outcome}.\n",
        prune.counted.len(),
        count(usize::try_from(prune.total).unwrap_or(usize::MAX), "object"),
        prune.max_count,
        prune.max_percent,
    )
}

fn at(origin: &Origin) -> String {
    code(&format!("{}:{}", origin.path, origin.line))
}

fn revision(revision: &Revision) -> String {
    if *revision == Revision::working_tree() {
        "the files on disk".to_owned()
    } else if *revision == Revision::merge_result() {
        "what merging comes to".to_owned()
    } else {
        code(revision.short())
    }
}
