//! Markdown for a comment on a change, or the summary of a job.
//!
//! It begins with a comment that nobody sees, by which a workflow finds its own comment again. The
//! verdict stands first; what doesn't fit is folded, then counted.

mod page;
mod plan;
#[cfg(test)]
mod tests;

use std::io::{self, Write};

use fabric::diagnostic::{Diagnostic, Effect};
use fabric::fabric::Build;
use fabric::origin::Revision;
use fabric::tree::Tree;

use self::page::{Page, code};
pub(crate) use self::plan::write_plan;
use super::count;
use super::text::Frames;
use crate::source::Counts;

/// Columns of a comment, about.
const WIDTH: usize = 100;

/// A diagnostic with its frame is rarely longer; a longer one is told without the frame.
const FRAME: usize = 4_000;

/// Writes what `weft validate` found.
pub(crate) fn write_validation(
    tree: &Tree,
    build: &Build,
    counts: &Counts,
    least: Effect,
    out: &mut dyn Write,
) -> io::Result<()> {
    let name = build.fabric.as_ref().map(|fabric| fabric.name.as_str());
    let mut page = Page::default();
    page.push(&marker("validate", name));
    page.push(&format!(
        "### {}\n\n",
        match counts.errors {
            0 => "Valid",
            _ => "Invalid",
        }
    ));
    if let Some(name) = name.filter(|name| !name.is_empty()) {
        page.push(&format!("Fabric {}", code(name)));
    } else {
        page.push("The fabric");
    }
    if *tree.revision() != Revision::working_tree() {
        page.push(&format!(" at commit {}", code(tree.revision().short())));
    }
    page.push(&format!(
        ": {}, {}, {}\n\n",
        count(counts.peers, "peer"),
        count(counts.files, "file"),
        counted(counts.errors, counts.warnings, counts.notes),
    ));
    page.push(&frozen(
        build.is_held,
        build.frozen.iter().map(|name| &**name),
    ));
    let shown = build.diagnostics.iter().filter(|d| d.effect >= least);
    push_diagnostics(&mut page, tree, &shown.collect::<Vec<_>>());
    out.write_all(page.text().as_bytes())
}

/// The comment by which a workflow finds what it wrote before of the same fabric.
fn marker(command: &str, fabric: Option<&str>) -> String {
    // Two hyphens would end the comment; no name has an underscore.
    let name = fabric.unwrap_or_default().chars();
    let name = name.map(|c| if c == '-' { '_' } else { c });
    let name = name.filter(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_'));
    // No name is longer than a DNS label.
    let name: String = name.take(63).collect();
    format!("<!-- weft-{command}:{name} -->\n")
}

/// Errors, warnings and notes in words.
fn counted(errors: usize, warnings: usize, notes: usize) -> String {
    let words = [(errors, "error"), (warnings, "warning"), (notes, "note")];
    let words = words.into_iter().filter(|(number, _)| *number > 0);
    let words: Vec<_> = words.map(|(number, word)| count(number, word)).collect();
    match words.is_empty() {
        true => "nothing to report".to_owned(),
        false => words.join(", "),
    }
}

/// What stays at its last good commit.
fn frozen<'a>(is_held: bool, units: impl ExactSizeIterator<Item = &'a str>) -> String {
    // More names than anybody looks at; the errors name them all.
    const NAMED: usize = 10;
    if is_held {
        return "**The whole fabric stays at its last good commit** until this is mended.\n\n"
            .to_owned();
    }
    let number = units.len();
    if number == 0 {
        return String::new();
    }
    let mut names: Vec<_> = units.take(NAMED).map(code).collect();
    if let Some(more @ 1..) = number.checked_sub(NAMED) {
        names.push(format!("{more} more"));
    }
    let stay = match number {
        1 => "stays at its",
        _ => "stay at their",
    };
    format!(
        "**{}** {stay} last good commit until this is mended.\n\n",
        names.join("**, **")
    )
}

/// Writes diagnostics: errors in full, the others folded.
fn push_diagnostics(page: &mut Page, tree: &Tree, diagnostics: &[&Diagnostic]) {
    let (errors, others): (Vec<_>, Vec<_>) = diagnostics
        .iter()
        .partition(|diagnostic| diagnostic.effect >= Effect::Fail);
    if !errors.is_empty() {
        let room = page.room(match others.is_empty() {
            true => 100,
            false => 70,
        });
        page.push_block(room, "text", "errors", frames(tree, &errors));
        page.push("\n");
    }
    if !others.is_empty() {
        let warnings = others.iter().filter(|d| d.effect == Effect::Warn).count();
        let summary = counted(0, warnings, others.len() - warnings);
        page.push_folded(&summary, |page| {
            let room = page.room(100);
            page.push_block(room, "text", "warnings and notes", frames(tree, &others));
        });
    }
}

/// Each diagnostic with its frame, as `weft validate` shows it.
fn frames<'a>(
    tree: &'a Tree,
    diagnostics: &'a [&Diagnostic],
) -> impl ExactSizeIterator<Item = String> + 'a {
    let frames = Frames::new(tree, WIDTH);
    diagnostics.iter().map(move |diagnostic| {
        let mut text = Vec::new();
        // A Vec takes all that is written.
        let _ = frames.write(diagnostic, &mut text);
        let text = String::from_utf8_lossy(&text);
        let mut text = anstream::adapter::strip_str(&text).to_string();
        if text.len() > FRAME {
            text.truncate(text.floor_char_boundary(FRAME));
            text.push_str("...\n\n");
        }
        text
    })
}
