mod fix;

use std::io::{self, Write};
use std::path::PathBuf;

use anstyle::AnsiColor;
use fabric::diagnostic::Effect;
use fabric::fabric::Build;
use fabric::invariant;
use fabric::tree::Tree;

use crate::exit;
use crate::output::{OutputArgs, ReportFormat, columns};
use crate::render::remark::{Level, Remark};
use crate::render::text::Frames;
use crate::render::{count, escape, github, json, junit, markdown, sarif};
use crate::source::{Counts, ReadArgs};

/// Check a fabric repository
///
/// Reads every file of the fabric and reports everything that is wrong with it, at its place: what
/// can't be understood, what doesn't fit together, certificates that are wrong or run out, private
/// keys, policies that don't do what was probably meant, and broken invariants. Peers run the same check over the same
/// bytes before they put a commit in force.
///
/// Without --rev the files on disk are checked, leaving out what Git ignores; with it the files of
/// a commit, as the peers will see them. `weft code` explains each code.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  weft validate
  weft validate --rev HEAD ~/acme
  weft validate --fix
  weft validate -o text -o json=report.json
  weft validate --rev HEAD -o github -o sarif=weft.sarif -o markdown=summary.md

Exit codes:
  0  no errors (there may be warnings)
  1  errors
  2  wrong usage, or the repository can't be read")]
pub(crate) struct Validate {
    /// A place in the repository
    #[arg(value_name = "PATH", default_value = ".")]
    path: PathBuf,

    /// The commit to check: an id, a branch, a tag, HEAD~1
    ///
    /// A tree will do too, as `git write-tree` makes one of what is about to be committed.
    #[arg(long, value_name = "REV")]
    rev: Option<String>,

    /// Mend first what can be mended for certain, in the files on disk
    ///
    /// Quotes what is a string and doesn't look like one, writes `namespace: default` where it is
    /// missing, removes what only a server writes, and the like. What was mended is told on the
    /// standard error; the results are of the mended files.
    #[arg(long, conflicts_with = "rev")]
    fix: bool,

    /// Show notes too: what is worth knowing but changes nothing
    ///
    /// Without it they are only counted. The forms json, sarif and junit always have them.
    #[arg(long)]
    notes: bool,

    #[command(flatten)]
    output: OutputArgs<ReportFormat>,

    #[command(flatten)]
    read: ReadArgs,
}

impl Validate {
    /// Checks the repository.
    pub(crate) fn run(self) -> anyhow::Result<u8> {
        let mut source = self.read.source(&self.path);
        let (tree, mut build) = match self.fix {
            true => fix::run(&mut source)?,
            false => {
                let tree = source.tree(self.rev.as_deref())?;
                let build = source.build(&tree);
                (tree, build)
            }
        };
        let at = match &self.rev {
            None => String::new(),
            Some(revision) => match source.is_tree(revision)? {
                true => format!(" at tree {}", tree.revision().short()),
                false => format!(" at commit {}", tree.revision().short()),
            },
        };
        let _ = invariant::check(&mut build);
        let counts = Counts::of(&tree, &build);
        let least = match self.notes {
            true => Effect::Note,
            false => Effect::Warn,
        };
        self.output.write(|format, out| match format {
            ReportFormat::Text => write_text(&tree, &build, &counts, (least, &at), out),
            ReportFormat::Json => json::write_validation(tree.revision(), &build, &counts, out),
            ReportFormat::Sarif => sarif::write("validate", &remarks(&tree, &build), out),
            ReportFormat::Junit => {
                let files = tree.files().map(|(path, _)| &**path);
                let remarks = remarks(&tree, &build);
                junit::write("validate", junit::cases(files, &remarks), out)
            }
            ReportFormat::Github => {
                let mut remarks = remarks(&tree, &build);
                remarks.retain(|remark| remark.level >= Level::of(least));
                github::write(&remarks, out)
            }
            ReportFormat::Markdown => {
                markdown::write_validation(&tree, &build, &counts, least, out)
            }
        })?;
        Ok(match counts.errors {
            0 => exit::DONE,
            _ => exit::FINDINGS,
        })
    }
}

fn remarks(tree: &Tree, build: &Build) -> Vec<Remark> {
    let all = build.diagnostics.iter();
    all.map(|diagnostic| Remark::of(diagnostic, tree)).collect()
}

fn write_text(
    tree: &Tree,
    build: &Build,
    counts: &Counts,
    (least, at): (Effect, &str),
    out: &mut dyn Write,
) -> io::Result<()> {
    let frames = Frames::new(tree, columns());
    let shown = build.diagnostics.iter().filter(|d| d.effect >= least);
    for diagnostic in shown {
        frames.write(diagnostic, out)?;
    }
    write_summary(at, build, counts, least, out)
}

/// Writes the last line: how much was looked at, and what came out.
fn write_summary(
    at: &str,
    build: &Build,
    counts: &Counts,
    least: Effect,
    out: &mut dyn Write,
) -> io::Result<()> {
    let color = match (counts.errors, counts.warnings) {
        (0, 0) => AnsiColor::Green,
        (0, _) => AnsiColor::Yellow,
        _ => AnsiColor::Red,
    };
    let style = color.on_default().bold();
    let name = match &build.fabric {
        Some(fabric) if !fabric.name.is_empty() => format!(" {}", escape::text(&fabric.name)),
        _ => String::new(),
    };
    write!(
        out,
        "{style}{}{style:#}: fabric{name}{at}: {}, {}",
        match counts.errors {
            0 => "ok",
            _ => "failed",
        },
        count(counts.peers, "peer"),
        count(counts.files, "file"),
    )?;
    for (number, word) in [
        (counts.errors, "error"),
        (counts.warnings, "warning"),
        (counts.notes, "note"),
    ] {
        if number > 0 {
            write!(out, ", {}", count(number, word))?;
        }
    }
    if counts.notes > 0 && least > Effect::Note {
        write!(out, " (--notes shows them)")?;
    }
    if at.is_empty() {
        fix::offer(build, out)?;
    }
    if build.is_held {
        write!(out, "; the whole fabric is frozen")?;
    } else if !build.frozen.is_empty() {
        let frozen: Vec<_> = build.frozen.iter().map(|unit| escape::text(unit)).collect();
        write!(out, "; frozen: {}", frozen.join(", "))?;
    }
    writeln!(out)
}
