use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use fabric::api::Action;
use fabric::origin::{Origin, Revision};
use fabric::policy::{Considered, Outcome, Scope, Step};
use schemars::JsonSchema;
use serde::Serialize;

use super::judge::{Place, Side, SourceVerdict, Verdict, Why};
use crate::render::escape;
use crate::render::reach::until;

/// One of the five steps of a decision, as it is shown.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct StepShown {
    /// Whose policies it looks at: `privileged`, `namespace` or `default`.
    scope: &'static str,
    /// What its policies do.
    action: Action,
    /// Whether it decided.
    decides: bool,
    /// What it looked at.
    policies: Vec<ConsideredShown>,
}

/// A policy that was looked at.
#[derive(Debug, Serialize, JsonSchema)]
struct ConsideredShown {
    #[serde(flatten)]
    place: Place,
    /// Whether it matched.
    outcome: OutcomeShown,
    /// The terms that didn't match, of each entry the first one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    mismatches: Vec<MismatchShown>,
}

/// Whether a policy matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
enum OutcomeShown {
    Matched,
    UnknownClient,
    Missed,
}

/// A term that didn't match.
#[derive(Debug, Serialize, JsonSchema)]
struct MismatchShown {
    /// Where it stands in the policy, as a JSON pointer.
    pointer: String,
    /// The attribute that it is about.
    key: Option<String>,
    /// What the connection has for it.
    actual: Option<String>,
}

// === impl StepShown ===

impl StepShown {
    /// The step as it is shown.
    pub(super) fn of(step: &Step<'_>) -> Self {
        Self {
            scope: match step.scope {
                Scope::Privileged => "privileged",
                Scope::Regular => "namespace",
                Scope::Default => "default",
            },
            action: step.action,
            decides: step.decision.is_some(),
            policies: step.policies.iter().map(ConsideredShown::of).collect(),
        }
    }
}

// === impl ConsideredShown ===

impl ConsideredShown {
    fn of(considered: &Considered<'_>) -> Self {
        let (outcome, mismatches) = match &considered.outcome {
            Outcome::Matched => (OutcomeShown::Matched, &[][..]),
            Outcome::UnknownClient => (OutcomeShown::UnknownClient, &[][..]),
            Outcome::Missed { mismatches, .. } => (OutcomeShown::Missed, &mismatches[..]),
        };
        let mismatches = mismatches.iter().map(|mismatch| MismatchShown {
            pointer: mismatch.pointer.clone(),
            key: mismatch.key.clone(),
            actual: mismatch.actual.clone(),
        });
        Self {
            place: Place::of(considered.rule),
            outcome,
            mismatches: mismatches.collect(),
        }
    }

    fn words(&self) -> String {
        match self.outcome {
            OutcomeShown::Matched => "matches".to_owned(),
            OutcomeShown::UnknownClient => "depends on the client, which isn't known".to_owned(),
            OutcomeShown::Missed => {
                let terms: Vec<_> = self.mismatches.iter().map(MismatchShown::words).collect();
                format!("doesn't match: {}", terms.join("; "))
            }
        }
    }
}

// === impl MismatchShown ===

impl MismatchShown {
    fn words(&self) -> String {
        match (&self.key, &self.actual) {
            (Some(key), Some(actual)) => format!("{key} is {actual:?}"),
            (Some(key), None) => format!("there is no {key}"),
            (None, _) => format!("{} isn't understood", self.pointer),
        }
    }
}

/// Writes the verdict for people.
pub(super) fn write_text(verdict: &Verdict, out: &mut dyn Write) -> io::Result<()> {
    write_word(verdict.allowed, out)?;
    writeln!(out, ": {} to {}", client(verdict), verdict.import)?;
    writeln!(out, "  import at {}", at(&verdict.origin))?;
    if verdict.sources.is_empty() {
        writeln!(
            out,
            "  it has no sources in force, so nothing can be reached"
        )?;
    }
    for source in &verdict.sources {
        write_source(verdict, source, out)?;
    }
    Ok(())
}

fn client(verdict: &Verdict) -> String {
    let Some(client) = &verdict.client else {
        return format!("an unknown client of {}", verdict.peer);
    };
    let labels: Vec<_> = client
        .labels
        .iter()
        .map(|(key, value)| format!(" {key}={value}"))
        .collect();
    let text = format!(
        "{}/{}/{}{}",
        verdict.peer,
        client.namespace,
        client.service_account,
        labels.concat()
    );
    escape::text(&text).into_owned()
}

fn write_source(verdict: &Verdict, source: &SourceVerdict, out: &mut dyn Write) -> io::Result<()> {
    let bold = Style::new().bold();
    writeln!(out)?;
    write!(
        out,
        "{bold}source {} {}{bold:#}: ",
        source.peer, source.export
    )?;
    write_word(source.allowed, out)?;
    writeln!(out)?;
    write_side("importer", verdict.peer.as_str(), &source.importer, out)?;
    write_side("exporter", source.peer.as_str(), &source.exporter, out)
}

fn write_side(role: &str, peer: &str, side: &Side, out: &mut dyn Write) -> io::Result<()> {
    write!(out, "  {role} {peer}: ")?;
    write_word(side.allowed, out)?;
    match (side.reason, &side.rule) {
        (Why::Policy, Some(rule)) => writeln!(out, " by {}", place(rule)),
        (Why::UnknownClient, Some(rule)) => writeln!(
            out,
            ", because the client isn't known and it could matter to {}",
            place(rule)
        ),
        (why, _) => writeln!(out, ", because {}", why.words()),
    }?;
    let mut is_decided = false;
    for step in &side.steps {
        write_step(step, is_decided, out)?;
        is_decided |= step.decides;
    }
    Ok(())
}

fn write_step(step: &StepShown, is_decided: bool, out: &mut dyn Write) -> io::Result<()> {
    let dim = Style::new().dimmed();
    let action = match step.action {
        Action::Allow => "allow",
        Action::Deny => "deny",
    };
    write!(out, "    {} {action}: ", step.scope)?;
    match (step.decides, step.policies.is_empty()) {
        (true, _) => writeln!(out, "decides"),
        (false, _) if is_decided => writeln!(out, "{dim}not reached{dim:#}"),
        (false, true) => writeln!(out, "{dim}no policies{dim:#}"),
        (false, false) => writeln!(out, "no match"),
    }?;
    for policy in &step.policies {
        writeln!(
            out,
            "      {}: {}",
            place(&policy.place),
            escape::text(&policy.words())
        )?;
    }
    Ok(())
}

impl Why {
    const fn words(self) -> &'static str {
        match self {
            Self::Policy | Self::UnknownClient => "a policy says so",
            Self::DefaultDeny => "no policy allows it",
            Self::NoPeer => "the peer isn't in force, so what it exports isn't known",
            Self::NotPeered => "the two peers don't know each other",
            Self::NoExport => "the peer doesn't export it",
        }
    }
}

fn place(place: &Place) -> String {
    let key = place.key.to_string();
    let until = until(place.expires);
    format!("{} at {}{until}", escape::text(&key), at(&place.origin))
}

fn at(origin: &Origin) -> String {
    let path = escape::text(&origin.path);
    let line = origin.line;
    match origin.revision == Revision::working_tree() {
        true => format!("{path}:{line}"),
        false => format!("{path}:{line} (commit {})", origin.revision.short()),
    }
}

fn write_word(allowed: bool, out: &mut dyn Write) -> io::Result<()> {
    let (color, word) = match allowed {
        true => (AnsiColor::Green, "allowed"),
        false => (AnsiColor::Red, "denied"),
    };
    let style = color.on_default().bold();
    write!(out, "{style}{word}{style:#}")
}
