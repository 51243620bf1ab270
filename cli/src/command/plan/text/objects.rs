//! What changes in each peer.

use std::collections::BTreeMap;
use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use fabric::origin::Origin;
use fabric::plan::{FieldChange, PruneOutcome};
use fabric::report::{PeerChange, PlanReport, Presence, PruneReport};
use serde_json::Value;

use crate::render::{count, escape};

/// Names of peers that are told in one line, and characters of a value.
const NAMES: usize = 10;
const CHARACTERS: usize = 300;

/// Writes what changes in each peer; peers in which the same changes are told together, and so are
/// those in which nothing does.
pub(super) fn write(report: &PlanReport, out: &mut dyn Write) -> io::Result<()> {
    let bold = Style::new().bold();
    let mut groups: BTreeMap<usize, (String, Vec<&PeerChange>)> = BTreeMap::new();
    let mut first_of: BTreeMap<String, usize> = BTreeMap::new();
    for (index, change) in report.peers.iter().enumerate().filter(|(_, c)| c.is_some()) {
        let mut text = Vec::new();
        write_change(change, &mut text)?;
        let text = String::from_utf8_lossy(&text).into_owned();
        let first = *first_of.entry(text.clone()).or_insert(index);
        let (_, peers) = groups.entry(first).or_insert_with(|| (text, Vec::new()));
        peers.push(change);
    }
    for (text, peers) in groups.values() {
        let presence = match peers.first().and_then(|change| change.presence) {
            Some(Presence::Added) => " (new peer)",
            Some(Presence::Removed) => " (removed peer)",
            None => "",
        };
        let names = names(peers.iter().copied());
        write!(out, "{bold}{names}{bold:#}{presence}")?;
        if peers.len() > 1 {
            write!(out, " (the same in {})", count(peers.len(), "peer"))?;
        }
        writeln!(out)?;
        out.write_all(text.as_bytes())?;
        writeln!(out)?;
    }
    let same = || report.peers.iter().filter(|change| !change.is_some());
    if !groups.is_empty() && same().next().is_some() {
        writeln!(out, "unchanged: {}\n", names(same()))?;
    }
    Ok(())
}

fn names<'a>(peers: impl Iterator<Item = &'a PeerChange> + Clone) -> String {
    let all = peers.clone().count();
    let shown: Vec<_> = peers
        .take(NAMES)
        .map(|c| c.difference.peer.as_str())
        .collect();
    match all.checked_sub(NAMES) {
        None | Some(0) => shown.join(", "),
        Some(more) => format!("{} and {more} more", shown.join(", ")),
    }
}

fn write_change(change: &PeerChange, out: &mut dyn Write) -> io::Result<()> {
    let difference = &change.difference;
    for added in &difference.added {
        write_head('+', &added.key.to_string(), Some(&added.origin), out)?;
    }
    for change in &difference.changed {
        write_head('~', &change.key.to_string(), Some(&change.after), out)?;
        write_fields(&change.fields, out)?;
    }
    for removed in &difference.removed {
        write_head('-', &removed.key.to_string(), Some(&removed.origin), out)?;
    }
    // Of a peer that comes or goes it would be everything.
    if !difference.state.is_empty() && change.presence.is_none() {
        write_head('~', "beside the objects", None, out)?;
        write_fields(&difference.state, out)?;
    }
    write_prune(&change.prune, out)
}

fn write_prune(prune: &PruneReport, out: &mut dyn Write) -> io::Result<()> {
    let number = prune.counted.len();
    if number == 0 {
        return Ok(());
    }
    let (color, words) = match prune.outcome {
        PruneOutcome::Within => (AnsiColor::Green, "within the budget".to_owned()),
        PruneOutcome::Approved => (AnsiColor::Yellow, "above the budget, approved".to_owned()),
        PruneOutcome::Blocked => (
            AnsiColor::Red,
            format!("ABOVE THE BUDGET: they stay until `Weft-Approve: prune={number}`"),
        ),
    };
    let style = color.on_default();
    writeln!(
        out,
        "  prune: {number} of {}, {style}{words}{style:#} ({} or {}%)",
        count(usize::try_from(prune.total).unwrap_or(usize::MAX), "object"),
        prune.max_count,
        prune.max_percent
    )
}

fn write_head(
    sign: char,
    what: &str,
    origin: Option<&Origin>,
    out: &mut dyn Write,
) -> io::Result<()> {
    let color = match sign {
        '+' => AnsiColor::Green,
        '-' => AnsiColor::Red,
        _ => AnsiColor::Yellow,
    };
    let style = color.on_default();
    let dim = Style::new().dimmed();
    write!(out, "  {style}{sign} {}{style:#}", escape::text(what))?;
    if let Some(origin) = origin {
        let path = escape::text(&origin.path);
        write!(out, "  {dim}{path}:{}{dim:#}", origin.line)?;
    }
    writeln!(out)
}

fn write_fields(fields: &[FieldChange], out: &mut dyn Write) -> io::Result<()> {
    for field in fields {
        writeln!(
            out,
            "      {}: {} -> {}",
            escape::text(&field.pointer),
            value(field.before.as_ref()),
            value(field.after.as_ref())
        )?;
    }
    Ok(())
}

fn value(value: Option<&Value>) -> String {
    let Some(value) = value else {
        return "(absent)".to_owned();
    };
    let text = value.to_string();
    match text.char_indices().nth(CHARACTERS) {
        Some((end, _)) => format!("{}...", escape::text(text.get(..end).unwrap_or_default())),
        None => escape::text(&text).into_owned(),
    }
}
