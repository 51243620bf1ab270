use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::PathBuf;

use anstyle::{AnsiColor, Style};
use anyhow::bail;
use fabric::diagnostic::{Effect, nearest};
use fabric::fabric::{Build, Fabric, LastGood};
use fabric::name::PeerName;
use fabric::origin::Origin;
use fabric::plan::{Difference, FieldChange, Plan as PeerPlan, diff};
use fabric::tree::Tree;
use serde::Serialize;
use serde_json::{Value, json};

use crate::exit;
use crate::failure::Hint as _;
use crate::output::{Format, OutputArgs, tell};
use crate::render::{count, escape, json};
use crate::source::{ReadArgs, Source};

/// Show what a change would do, peer by peer
///
/// Compares two states of the repository as each peer would put them in force: objects that come
/// (+), go (-) and change (~, field by field), and what changes beside them, such as trusted
/// certificates. An object that only moves to another file doesn't change.
///
/// What is compared:
///   nothing given      HEAD with the files on disk: what you are about to commit
///   --base A           A with the files on disk
///   --head B           the parent of B with B: what that commit does
///   --base A --head B  A with B
///
/// A peer whose directory can't be understood in the newer state stays at the older one, as it
/// would in force; that is told, and the exit code is 1.
#[derive(Debug, clap::Args)]
#[command(
    verbatim_doc_comment,
    after_long_help = "\
Examples:
  weft plan
  weft plan --head HEAD --peer east
  weft plan --base origin/main -o json
  weft plan --exit-code > /dev/null || echo 'something changes, or is wrong'

Exit codes:
  0  done
  1  the newer state has errors, see `weft validate`
  2  wrong usage, or the repository can't be read
  3  changes are present, with --exit-code alone"
)]
pub(crate) struct Plan {
    /// A place in the repository
    #[arg(value_name = "PATH", default_value = ".")]
    path: PathBuf,

    /// The older state, a commit [default: HEAD, or the parent of --head]
    #[arg(long, value_name = "REV")]
    base: Option<String>,

    /// The newer state, a commit [default: the files on disk]
    #[arg(long, value_name = "REV")]
    head: Option<String>,

    /// Show this peer alone
    #[arg(long, value_name = "NAME")]
    peer: Option<String>,

    /// Exit with 3 where something changes
    #[arg(long)]
    exit_code: bool,

    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    read: ReadArgs,
}

/// One of the two states.
struct State {
    tree: Tree,
    build: Build,
}

/// What changes in one peer.
#[derive(Serialize)]
struct PeerChange {
    #[serde(flatten)]
    difference: Difference,
    /// Whether the peer itself comes or goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    presence: Option<Presence>,
}

/// Whether a peer comes or goes.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
enum Presence {
    Added,
    Removed,
}

impl Plan {
    /// Shows the plan.
    pub(crate) fn run(self) -> anyhow::Result<u8> {
        let mut source = self.read.source(&self.path);
        let base = self.base(&mut source)?;
        let tree = source.tree(self.head.as_deref())?;
        // A unit that can't be understood stays where it is in force, and that is the base.
        let build = source.build_after(&tree, &last_good(base.as_ref()));
        let head = State { tree, build };

        let changes = self.changes(base.as_ref(), &head)?;
        let old = base.as_ref().map(|base| base.tree.revision().as_str());
        self.output.write(|format, out| match format {
            Format::Text => write_text(&changes, out),
            Format::Json => {
                let value = json!({
                    "base": old,
                    "head": head.tree.revision(),
                    "frozenPeers": head.build.frozen,
                    "fabricFrozen": head.build.is_held,
                    "peers": changes,
                });
                json::write_versioned(value, out)
            }
        })?;
        if head.build.has(Effect::Fail) {
            tell_errors(&head.build);
            return Ok(exit::FINDINGS);
        }
        let is_changed = changes.iter().any(PeerChange::is_some);
        Ok(match self.exit_code && is_changed {
            true => exit::CHANGES,
            false => exit::DONE,
        })
    }

    /// The older state; none before the first commit.
    fn base(&self, source: &mut Source) -> anyhow::Result<Option<State>> {
        let revision = match (&self.base, &self.head) {
            (Some(base), _) => base.clone(),
            (None, None) if source.is_unborn()? => return Ok(None),
            (None, None) => "HEAD".to_owned(),
            (None, Some(head)) => match source.parent(head)? {
                Some(parent) => parent,
                None => return Ok(None),
            },
        };
        let tree = source.tree(Some(&revision))?;
        let build = source.build_after(&tree, &LastGood::default());
        Ok(Some(State { tree, build }))
    }

    /// The difference of each peer that is asked for, in the order of their names.
    fn changes(&self, base: Option<&State>, head: &State) -> anyhow::Result<Vec<PeerChange>> {
        let old = base.and_then(|base| base.build.fabric.as_ref());
        let new = head.build.fabric.as_ref();
        let names: BTreeSet<&PeerName> = [old, new]
            .into_iter()
            .flatten()
            .flat_map(|fabric| fabric.units.keys())
            .collect();
        let wanted = match &self.peer {
            None => names,
            Some(text) => match names.iter().find(|name| name.as_str() == text) {
                Some(name) => BTreeSet::from([*name]),
                None => return unknown_peer(text, &names),
            },
        };
        let plan = |fabric: Option<&Fabric>, name: &PeerName| {
            fabric.and_then(|fabric| PeerPlan::of(fabric, name))
        };
        let change = |name| {
            let (before, after) = (plan(old, name), plan(new, name));
            PeerChange {
                presence: match (&before, &after) {
                    (None, Some(_)) => Some(Presence::Added),
                    (Some(_), None) => Some(Presence::Removed),
                    _ => None,
                },
                difference: diff(name, before.as_ref(), after.as_ref()),
            }
        };
        Ok(wanted.into_iter().map(change).collect())
    }
}

// === impl PeerChange ===

impl PeerChange {
    fn is_some(&self) -> bool {
        self.presence.is_some() || !self.difference.is_empty()
    }
}

/// What stays in force of the base where the head freezes it.
fn last_good(base: Option<&State>) -> LastGood {
    let Some(State { tree, build }) = base else {
        return LastGood::default();
    };
    LastGood {
        shared: build.good.shared.as_ref().map(|_| tree.clone()),
        units: build
            .good
            .units
            .keys()
            .map(|name| (name.clone(), tree.clone()))
            .collect(),
    }
}

fn unknown_peer<T>(text: &str, names: &BTreeSet<&PeerName>) -> anyhow::Result<T> {
    let failed: anyhow::Result<T> = (|| bail!("there is no peer {text:?} in either state"))();
    match nearest(text, names.iter().map(|name| name.as_str())) {
        Some(near) => failed.hint(|| format!("did you mean {near}?")),
        None => failed,
    }
}

fn tell_errors(build: &Build) {
    let errors = build.diagnostics.iter();
    let errors = errors.filter(|d| d.effect >= Effect::Fail).count();
    let effect = match (build.is_held, build.frozen.len()) {
        (true, _) => "; the whole fabric stays as it is".to_owned(),
        (false, 0) => String::new(),
        (false, _) => {
            let units: Vec<_> = build.frozen.iter().map(|unit| escape::text(unit)).collect();
            format!("; {} stays as it is", units.join(", "))
        }
    };
    tell!(
        "the newer state has {}{effect} (`weft validate` tells more)",
        count(errors, "error")
    );
}

fn write_text(changes: &[PeerChange], out: &mut dyn Write) -> io::Result<()> {
    let bold = Style::new().bold();
    let some: Vec<_> = changes.iter().filter(|change| change.is_some()).collect();
    for change in &some {
        let presence = match change.presence {
            Some(Presence::Added) => " (new peer)",
            Some(Presence::Removed) => " (removed peer)",
            None => "",
        };
        writeln!(out, "{bold}{}{bold:#}{presence}", change.difference.peer)?;
        write_difference(change, out)?;
        writeln!(out)?;
    }
    if some.is_empty() {
        return writeln!(out, "nothing changes");
    }
    let sum = |size: fn(&Difference) -> usize| -> usize {
        some.iter().map(|change| size(&change.difference)).sum()
    };
    writeln!(
        out,
        "{} of {}: {} added, {} changed, {} removed",
        some.len(),
        count(changes.len(), "peer"),
        sum(|difference| difference.added.len()),
        sum(|difference| difference.changed.len()),
        sum(|difference| difference.removed.len()),
    )
}

fn write_difference(change: &PeerChange, out: &mut dyn Write) -> io::Result<()> {
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
    Ok(())
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
        write!(
            out,
            "  {dim}{}:{}{dim:#}",
            escape::text(&origin.path),
            origin.line
        )?;
    }
    writeln!(out)
}

fn write_fields(fields: &[FieldChange], out: &mut dyn Write) -> io::Result<()> {
    for field in fields {
        let value = |value: &Option<Value>| match value {
            Some(value) => escape::text(&value.to_string()).into_owned(),
            None => "(absent)".to_owned(),
        };
        writeln!(
            out,
            "      {}: {} -> {}",
            escape::text(&field.pointer),
            value(&field.before),
            value(&field.after)
        )?;
    }
    Ok(())
}
