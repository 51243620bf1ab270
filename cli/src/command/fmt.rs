use std::collections::BTreeSet;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use fabric::diagnostic::Finding;
use fabric::format::{Refused, format};
use fabric::tree::{Place, Tree, locate};

use crate::exit;
use crate::output::{columns, tell, write_stdout};
use crate::render::text::Frames;
use crate::render::{count, escape};
use crate::repository::{FabricDirectory, resolve};
use crate::rewrite;
use crate::source::LimitArgs;

/// Lay out the fabric's YAML in its one form
///
/// Keys come in the order of the API, two spaces indent, quotes stand where some tool would read a
/// value as something else than a string and nowhere else, and comments stay with what they belong
/// to. What a file says never changes: a file that can't be read, or of which no other form surely
/// says the same, stays as it is, byte for byte.
///
/// Only files that Weft reads are touched, and none that Git ignores. The names of those that were
/// changed are written to the standard output.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  weft fmt
  weft fmt --check peers/east fabric.yaml

Exit codes:
  0  every file has its form now; with --check, had it already
  1  some file can't be read; with --check, or would be changed
  2  wrong usage, or a failure of the world")]
pub(crate) struct Fmt {
    /// Files and directories of a fabric repository
    #[arg(value_name = "PATH", default_value = ".")]
    paths: Vec<PathBuf>,

    /// Change nothing; only tell which files would be changed
    #[arg(long)]
    check: bool,

    #[command(flatten)]
    limits: LimitArgs,
}

/// What became of the files.
#[derive(Debug, Default)]
struct Outcome {
    seen: usize,
    changed: Vec<String>,
    unreadable: usize,
}

impl Fmt {
    /// Formats the files.
    pub(crate) fn run(self) -> anyhow::Result<u8> {
        let mut outcome = Outcome::default();
        // A file that two paths name is formatted once.
        let mut done = BTreeSet::new();
        for path in &self.paths {
            self.path(path, &mut done, &mut outcome)?;
        }
        let changed = outcome.changed.len();
        write_stdout(|out| {
            for path in &outcome.changed {
                writeln!(out, "{}", escape::text(path))?;
            }
            Ok(())
        })?;
        tell!(
            "{} of {} {}",
            changed,
            count(outcome.seen, "file"),
            match self.check {
                true => "would be changed",
                false => "changed",
            }
        );
        Ok(
            match outcome.unreadable > 0 || (self.check && changed > 0) {
                true => exit::FINDINGS,
                false => exit::DONE,
            },
        )
    }

    fn path(
        &self,
        path: &Path,
        done: &mut BTreeSet<PathBuf>,
        outcome: &mut Outcome,
    ) -> anyhow::Result<()> {
        let shown = path.display();
        let kind = std::fs::symlink_metadata(path)
            .with_context(|| format!("cannot look at {shown}"))?
            .file_type();
        if kind.is_symlink() && !path.is_dir() {
            bail!("{shown} is a symbolic link, and none is followed");
        }
        let top = FabricDirectory::at(path)?;
        let whole = resolve(path).with_context(|| format!("cannot look at {shown}"))?;
        let tree = reconciler::git::working_tree(top.path(), &self.limits.limits())?;
        let mut found = false;
        for (name, blob) in tree.files() {
            let file = top.path().join(&**name);
            if !is_yaml(name) || !file.starts_with(&whole) {
                continue;
            }
            found = true;
            if !done.insert(file.clone()) {
                continue;
            }
            outcome.seen += 1;
            // As the user would name it from where they are.
            let shown = match file.strip_prefix(&whole) {
                Ok(rest) if rest.as_os_str().is_empty() => path.to_owned(),
                Ok(rest) if path == Path::new(".") => rest.to_owned(),
                Ok(rest) => path.join(rest),
                Err(_) => file.clone(),
            };
            let shown = shown.to_string_lossy().into_owned();
            match format(blob.bytes(), &self.limits.limits().document) {
                Ok(text) if text.as_bytes() == blob.bytes() => {}
                Ok(text) => {
                    if !self.check {
                        rewrite::replace(top.path(), name, blob.bytes(), text.as_bytes())?;
                    }
                    outcome.changed.push(shown);
                }
                Err(Refused::Unreadable(findings)) => {
                    outcome.unreadable += 1;
                    tell_findings(&tree, name, &findings)?;
                }
                Err(Refused::Uncertain) => tell!(
                    "{} stays as it is: no other form of it surely says the same",
                    escape::text(&shown)
                ),
            }
        }
        if !found && !kind.is_dir() {
            bail!("{shown} isn't a YAML file that Weft reads");
        }
        Ok(())
    }
}

/// Whether Weft reads a file as YAML.
fn is_yaml(path: &str) -> bool {
    let (_, place) = locate(path);
    matches!(
        place,
        Place::Fabric | Place::Revocations | Place::Policy | Place::Unit
    )
}

fn tell_findings(tree: &Tree, path: &str, findings: &[Finding]) -> io::Result<()> {
    let frames = Frames::new(tree, columns());
    let mut out = anstream::stderr().lock();
    for finding in findings {
        frames.write(&finding.at(&path.into()), &mut out)?;
    }
    out.flush()
}
