mod merge;
mod text;

use std::mem::ManuallyDrop;
use std::path::PathBuf;

use anyhow::bail;
use fabric::diagnostic::{Effect, nearest};
use fabric::fabric::{Build, LastGood};
use fabric::invariant::{self, InvariantVerdict};
use fabric::name::PeerName;
use fabric::report::{self, PlanReport, Question, Verdict};
use fabric::tree::Tree;

use crate::exit;
use crate::failure::Hint as _;
use crate::output::{OutputArgs, ReportFormat, tell};
use crate::render::{count, escape, github, json, junit, markdown, plan as remarks, sarif};
use crate::source::{ReadArgs, Source};

/// Show what a change would do: to each peer, to who reaches what, and what stands against it
///
/// Compares two states of the repository as the peers would put them in force, without asking any
/// of them. Shown are
///
///   - errors and warnings that the newer state has and the older one hasn't;
///   - for each peer, objects that come (+), go (-) and change (~, field by field), what changes
///     beside them, such as trusted certificates, and what the prune budget says;
///   - access that opens and closes, for every client that there could be, with the rules that
///     decide before and after;
///   - the gates of fabric.yaml that want an approval, the invariants that don't hold, and gates
///     and invariants that come, go or change.
///
/// What is compared:
///   nothing given      HEAD with the files on disk: what you are about to commit
///   --base A           A with the files on disk
///   --head B           the parent of B with B: what that commit does
///   --base A --head B  A with B
///   --merge B C        the newest commit that B and C have in common, or --base, with what merging
///                      both onto it comes to; what only both together open is told apart
///
/// An object that only moves to another file doesn't change. A peer whose directory can't be
/// understood in the newer state stays at the older one, as it would in force. Values that may be
/// secrets, such as annotations, are hidden.
///
/// A gate is approved by a line of its own in the message of a commit between the two states, such
/// as `Weft-Approve: widens-access` or `Weft-Approve: prune=37`.
#[derive(Debug, clap::Args)]
#[command(
    verbatim_doc_comment,
    after_long_help = "\
Examples:
  weft plan
  weft plan --head HEAD --peer east
  weft plan --base origin/main --head HEAD -o json
  weft plan --base origin/main --head HEAD -o github -o markdown=summary.md
  weft plan --base origin/main --merge pull/7 pull/9
  weft plan --exit-code > /dev/null || echo 'something changes, or is wrong'

Exit codes:
  0  done
  1  the newer state has errors or breaks an invariant, or can't be merged
  2  wrong usage, or the repository can't be read
  3  changes are present, with --exit-code alone
  4  a gate wants an approval"
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

    /// The newer state is what merging two commits comes to
    #[arg(long, num_args = 2, value_names = ["REV", "REV"], conflicts_with = "head")]
    merge: Option<Vec<String>>,

    /// Show this peer alone; gates look at all of them
    #[arg(long, value_name = "NAME")]
    peer: Option<String>,

    /// Exit with 3 where something changes
    #[arg(long)]
    exit_code: bool,

    #[command(flatten)]
    output: OutputArgs<ReportFormat>,

    #[command(flatten)]
    read: ReadArgs,
}

/// A state of the repository, checked.
struct State {
    tree: Tree,
    build: Build,
    invariants: Vec<InvariantVerdict>,
}

impl Plan {
    /// Shows the plan.
    pub(crate) fn run(self) -> anyhow::Result<u8> {
        let mut source = self.read.source(&self.path);
        if let Some([first, second]) = self.merge.as_deref() {
            return self.merge(&mut source, first, second);
        }
        let base_revision = self.base_revision(&source)?;
        let base = base_revision
            .as_deref()
            .map(|revision| anyhow::Ok(State::base(&source.tree(Some(revision))?, &source)))
            .transpose()?;
        // The process ends with them, and to free them piece by piece takes a while.
        let base = ManuallyDrop::new(base);
        let tree = source.tree(self.head.as_deref())?;
        let head = ManuallyDrop::new(State::after(base.as_ref(), tree, &source));
        let commits = source.commits(
            base.as_ref().map(|base| base.tree.revision()),
            &[self.head.as_deref().unwrap_or("HEAD")],
        )?;
        let report = PlanReport::new(Question {
            before: base.as_ref().map(State::view),
            after: head.view(),
            commits: &commits,
            peer: self.shown_peer(&[base.as_ref(), Some(&head)])?.as_ref(),
        });
        self.show(&report, Some(&head))
    }

    /// Writes the report in every form that was asked for.
    fn show(&self, report: &PlanReport, head: Option<&State>) -> anyhow::Result<u8> {
        let tree = head.map(|head| &head.tree);
        self.output.write(|format, out| match format {
            ReportFormat::Text => text::write(report, tree, out),
            ReportFormat::Json => json::write_versioned(report, out),
            ReportFormat::Sarif => sarif::write("plan", &remarks::all(report, tree), out),
            ReportFormat::Junit => {
                let remarks = remarks::all(report, tree);
                junit::write("plan", remarks::cases(report, &remarks), out)
            }
            ReportFormat::Github => github::write(&remarks::new(report, tree), out),
            ReportFormat::Markdown => markdown::write_plan(report, tree, out),
        })?;
        Ok(match report.verdict {
            Verdict::Invalid => {
                if let Some(head) = head {
                    tell_errors(&head.build);
                }
                exit::FINDINGS
            }
            Verdict::Refused => exit::GATE,
            Verdict::Changes if self.exit_code => exit::CHANGES,
            Verdict::Changes | Verdict::Unchanged => exit::DONE,
        })
    }

    /// The older state's revision; none before the first commit.
    fn base_revision(&self, source: &Source) -> anyhow::Result<Option<String>> {
        Ok(match (&self.base, &self.head) {
            (Some(base), _) => Some(base.clone()),
            (None, None) if source.is_unborn()? => None,
            (None, None) => Some("HEAD".to_owned()),
            (None, Some(head)) => source.parent(head)?,
        })
    }

    /// The peer to show, which has to be in one of the states.
    fn shown_peer(&self, states: &[Option<&State>]) -> anyhow::Result<Option<PeerName>> {
        let Some(text) = &self.peer else {
            return Ok(None);
        };
        let fabrics = states
            .iter()
            .flatten()
            .filter_map(|s| s.build.fabric.as_ref());
        let names: Vec<&PeerName> = fabrics.flat_map(|fabric| fabric.units.keys()).collect();
        match names.iter().find(|name| name.as_str() == text) {
            Some(name) => Ok(Some((*name).clone())),
            None => unknown_peer(text, &names),
        }
    }
}

// === impl State ===

impl State {
    /// The older state, which stands by itself.
    fn base(tree: &Tree, source: &Source) -> Self {
        Self::build(tree.clone(), &LastGood::default(), source)
    }

    /// The newer state: a unit that can't be understood stays where it is in force, and that is
    /// the base.
    fn after(base: Option<&Self>, tree: Tree, source: &Source) -> Self {
        Self::build(tree, &base.map(Self::last_good).unwrap_or_default(), source)
    }

    fn build(tree: Tree, last_good: &LastGood, source: &Source) -> Self {
        let mut build = source.build_after(&tree, last_good);
        let invariants = invariant::check(&mut build);
        Self {
            tree,
            build,
            invariants,
        }
    }

    fn view(&self) -> report::State<'_> {
        report::State {
            revision: self.tree.revision(),
            build: &self.build,
            invariants: &self.invariants,
        }
    }

    /// What stays in force of the state where a newer one freezes it.
    fn last_good(&self) -> LastGood {
        let tree = || self.tree.clone();
        let good = &self.build.good;
        LastGood {
            shared: good.shared.as_ref().map(|_| tree()),
            units: good
                .units
                .keys()
                .map(|name| (name.clone(), tree()))
                .collect(),
        }
    }
}

fn unknown_peer<T>(text: &str, names: &[&PeerName]) -> anyhow::Result<T> {
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
        (false, number) => {
            let units: Vec<_> = build.frozen.iter().map(|unit| escape::text(unit)).collect();
            let stay = match number {
                1 => "stays as it is",
                _ => "stay as they are",
            };
            format!("; {} {stay}", units.join(", "))
        }
    };
    tell!(
        "the newer state has {}{effect} (`weft validate` tells more)",
        count(errors, "error")
    );
}
