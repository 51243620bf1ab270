//! A plan for people.

mod objects;
mod reach;

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use fabric::api::Gate;
use fabric::diagnostic::Effect;
use fabric::gate::{GateOutcome, IgnoredApproval};
use fabric::invariant::InvariantOutcome;
use fabric::plan;
use fabric::reach::Difference;
use fabric::report::{
    Conflict, ConflictKind, MergeReport, MergeStep, PlanReport, SafeguardChange,
    SafeguardChangeKind, Verdict,
};
use fabric::tree::Tree;

use crate::output::columns;
use crate::render::plan::is_told;
use crate::render::text::Frames;
use crate::render::{count, escape};

/// Files of a conflict, flips and the like that are listed; the JSON form has all of them.
const LISTED: usize = 50;

/// Writes a plan; the tree is the newer state's, where there is one.
pub(super) fn write(
    report: &PlanReport,
    tree: Option<&Tree>,
    out: &mut dyn Write,
) -> io::Result<()> {
    if let Some(merge) = &report.merge {
        write_merge(merge, out)?;
        if merge.conflicting.is_some() {
            return Ok(());
        }
    }
    write_diagnostics(report, tree, out)?;
    objects::write(report, out)?;
    reach::write(&report.reach, out)?;
    if let Some(merge) = &report.merge {
        write_together(report, merge, out)?;
    }
    write_safeguards(&report.safeguards, out)?;
    write_gates(report, out)?;
    write_ignored(&report.ignored_approvals, out)?;
    write_invariants(report, out)?;
    write_summary(report, out)
}

/// Writes what the newer state is told, and the older one wasn't.
fn write_diagnostics(
    report: &PlanReport,
    tree: Option<&Tree>,
    out: &mut dyn Write,
) -> io::Result<()> {
    let Some(tree) = tree else { return Ok(()) };
    let frames = Frames::new(tree, columns());
    let new = report.diagnostics.iter().filter(|d| d.is_new);
    for reported in new.filter(|d| d.diagnostic.effect >= Effect::Warn) {
        frames.write(&reported.diagnostic, out)?;
    }
    Ok(())
}

fn write_merge(merge: &MergeReport, out: &mut dyn Write) -> io::Result<()> {
    let (first, second) = (merge.first.short(), merge.second.short());
    let words = match merge.conflicting {
        None => {
            return writeln!(out, "the merge of {first} and {second}:\n");
        }
        Some(MergeStep::First) => format!("{first} can't be merged onto the base"),
        Some(MergeStep::Second) => format!("{second} can't be merged onto the base"),
        Some(MergeStep::Both) => format!("{first} and {second} can't be merged with each other"),
    };
    let style = AnsiColor::Red.on_default().bold();
    writeln!(out, "{style}conflict{style:#}: {words}")?;
    for Conflict { path, kind } in merge.conflicts.iter().take(LISTED) {
        let what = match kind {
            ConflictKind::BothChanged => "changed on both sides",
            ConflictKind::BothAdded => "added on both sides",
            ConflictKind::RemovedByFirst => "removed on the first side, changed on the second",
            ConflictKind::RemovedBySecond => "changed on the first side, removed on the second",
        };
        writeln!(out, "  {}: {what}", escape::text(path))?;
    }
    write_more(merge.conflicts.len(), "file", out)
}

/// Says how many of a list aren't shown.
fn write_more(all: usize, thing: &str, out: &mut dyn Write) -> io::Result<()> {
    match all.checked_sub(LISTED) {
        None | Some(0) => Ok(()),
        Some(more) => writeln!(out, "  and {} more (-o json has all)", count(more, thing)),
    }
}

fn write_together(report: &PlanReport, merge: &MergeReport, out: &mut dyn Write) -> io::Result<()> {
    let errors = merge.errors_together.len();
    let is_safe = merge.opened_together.is_empty() && merge.undecided_together.is_empty();
    let (first, second) = (merge.first.short(), merge.second.short());
    if errors > 0 {
        writeln!(
            out,
            "together: {} that neither {first} nor {second} has alone",
            count(errors, "error")
        )?;
        let all = merge.errors_together.iter();
        for reported in all
            .filter_map(|index| report.diagnostics.get(*index))
            .take(LISTED)
        {
            let diagnostic = &reported.diagnostic;
            let (code, message) = (diagnostic.code, escape::text(&diagnostic.message));
            writeln!(out, "  {code}: {message}")?;
        }
        write_more(errors, "error", out)?;
        writeln!(out)?;
    }
    if is_safe {
        return writeln!(
            out,
            "together nothing opens that one of the two doesn't open alone\n"
        );
    }
    let style = AnsiColor::Red.on_default().bold();
    writeln!(
        out,
        "{style}opens only together{style:#} (neither {first} nor {second} opens it alone):"
    )?;
    let together = Difference {
        opened: merge.opened_together.clone(),
        ..Difference::default()
    };
    reach::write_groups(&together.opened_groups(), '!', out)?;
    reach::write_routes(&merge.undecided_together, out)?;
    writeln!(out)
}

fn write_safeguards(safeguards: &[SafeguardChange], out: &mut dyn Write) -> io::Result<()> {
    if safeguards.is_empty() {
        return Ok(());
    }
    let bold = Style::new().bold();
    writeln!(out, "{bold}gates and invariants that change{bold:#}:")?;
    for safeguard in safeguards.iter().take(LISTED) {
        let (mark, color) = match safeguard.change {
            SafeguardChangeKind::Added => ('+', AnsiColor::Green),
            SafeguardChangeKind::Changed => ('~', AnsiColor::Yellow),
            SafeguardChangeKind::Removed => ('-', AnsiColor::Red),
        };
        let style = color.on_default();
        let (kind, name) = (safeguard.safeguard.as_str(), escape::text(&safeguard.name));
        write!(out, "  {style}{mark}{style:#} {kind} {name}")?;
        match &safeguard.origin {
            Some(origin) => writeln!(out, "  {}:{}", escape::text(&origin.path), origin.line)?,
            None => writeln!(out)?,
        }
    }
    write_more(safeguards.len(), "change", out)?;
    writeln!(out)
}

fn write_gates(report: &PlanReport, out: &mut dyn Write) -> io::Result<()> {
    let gates = &report.gates;
    if gates.is_empty() {
        return Ok(());
    }
    if let Some(merge) = &report.merge
        && merge.gates_from == merge.first
    {
        let (first, second) = (merge.first.short(), merge.second.short());
        writeln!(out, "the gates judge what {second} adds to {first}:")?;
    }
    let (passed, asked): (Vec<_>, Vec<_>) = gates
        .iter()
        .partition(|verdict| verdict.outcome == GateOutcome::Passed);
    if !passed.is_empty() {
        let names: Vec<_> = passed.iter().map(|verdict| verdict.gate.as_str()).collect();
        writeln!(out, "gates passed: {}", names.join(", "))?;
    }
    for verdict in asked {
        let (color, words) = match verdict.outcome {
            GateOutcome::Passed | GateOutcome::Approved => (AnsiColor::Yellow, "approved"),
            GateOutcome::Refused => (AnsiColor::Red, "wants an approval"),
        };
        let style = color.on_default();
        write!(out, "gate {}: {style}{words}{style:#}", verdict.gate)?;
        if !verdict.approved_by.is_empty() {
            let commits: Vec<_> = verdict.approved_by.iter().map(|c| c.short()).collect();
            write!(out, " by {}", commits.join(", "))?;
        }
        writeln!(out)?;
        for reason in &verdict.reasons {
            writeln!(out, "  {}", escape::text(reason))?;
        }
        if let Some(more @ 1..) = verdict.reason_count.checked_sub(verdict.reasons.len()) {
            writeln!(out, "  and {more} more")?;
        }
        if let (GateOutcome::Refused, Some(trailer)) = (verdict.outcome, &verdict.trailer) {
            let about = match verdict.gate {
                Gate::Prune => ", otherwise peers hold the objects back",
                _ => "",
            };
            writeln!(
                out,
                "  a commit with the line `{trailer}` in its message approves it{about}"
            )?;
        }
    }
    writeln!(out)
}

fn write_ignored(ignored: &[IgnoredApproval], out: &mut dyn Write) -> io::Result<()> {
    if ignored.is_empty() {
        return Ok(());
    }
    let style = AnsiColor::Yellow.on_default();
    for IgnoredApproval {
        commit,
        line,
        reason,
    } in ignored
    {
        let (commit, line) = (commit.short(), escape::text(line));
        let reason = escape::text(reason);
        writeln!(
            out,
            "{style}ignored{style:#}: `{line}` of {commit} approves nothing: {reason}"
        )?;
    }
    writeln!(out)
}

fn write_invariants(report: &PlanReport, out: &mut dyn Write) -> io::Result<()> {
    let invariants = &report.invariants;
    let bad: Vec<_> = invariants
        .iter()
        .filter(|verdict| verdict.outcome != InvariantOutcome::Holds)
        .collect();
    let Some(held) = invariants
        .len()
        .checked_sub(bad.len())
        .filter(|_| !invariants.is_empty())
    else {
        return Ok(());
    };
    if bad.is_empty() {
        let words = match held {
            1 => "the invariant holds".to_owned(),
            _ => format!("all {held} invariants hold"),
        };
        return writeln!(out, "{words}\n");
    }
    writeln!(out, "invariants ({held} of {} hold):", invariants.len())?;
    for verdict in bad.iter().take(LISTED) {
        let style = AnsiColor::Red.on_default();
        let words = match verdict.outcome {
            InvariantOutcome::Undecided => "can't be told",
            _ => "broken",
        };
        let since = match verdict.before {
            Some(InvariantOutcome::Holds) => ", it held before",
            Some(_) => ", as before",
            None => "",
        };
        writeln!(
            out,
            "  {}: {style}{words}{style:#}{since}",
            escape::text(&verdict.name)
        )?;
        for example in &verdict.counter_examples {
            // What is new stands above, with its places.
            if !is_told(report, verdict, &example.message, |told| told.is_new) {
                writeln!(out, "    {}", escape::text(&example.message))?;
            }
        }
    }
    write_more(bad.len(), "invariant", out)?;
    writeln!(out)
}

fn write_summary(report: &PlanReport, out: &mut dyn Write) -> io::Result<()> {
    let changed: Vec<_> = report.peers.iter().filter(|peer| peer.is_some()).collect();
    let style = match report.verdict {
        Verdict::Unchanged | Verdict::Changes => Style::new(),
        Verdict::Refused | Verdict::Invalid => AnsiColor::Red.on_default().bold(),
    };
    match report.verdict {
        Verdict::Unchanged => return writeln!(out, "nothing changes"),
        Verdict::Changes => {}
        Verdict::Refused => write!(out, "{style}refused{style:#}: ")?,
        Verdict::Invalid => write!(out, "{style}invalid{style:#}: ")?,
    }
    let sum = |size: fn(&plan::Difference) -> usize| -> usize {
        changed.iter().map(|change| size(&change.difference)).sum()
    };
    write!(
        out,
        "{} of {}: {} added, {} changed, {} removed",
        changed.len(),
        count(report.peers.len(), "peer"),
        sum(|difference| difference.added.len()),
        sum(|difference| difference.changed.len()),
        sum(|difference| difference.removed.len()),
    )?;
    let opened = report.reach.opened.len() + report.reach.undecided.len();
    match (opened, report.reach.closed.len()) {
        (0, 0) => write!(out, "; nobody reaches more or less")?,
        (0, _) => write!(out, "; access closes")?,
        (_, 0) => write!(out, "; access opens")?,
        _ => write!(out, "; access opens and closes")?,
    }
    match report.safeguards.is_empty() {
        true => writeln!(out),
        false => writeln!(out, "; gates or invariants change"),
    }
}
