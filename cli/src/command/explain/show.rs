use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use fabric::api::Action;
use fabric::policy::{Considered, Outcome, Scope, Step};
use serde::Serialize;

use super::judge::{Place, Side, SourceVerdict, Verdict, Why};
use crate::render::escape;

/// One of the five steps of a decision, as it is shown.
#[derive(Debug, Serialize)]
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
#[derive(Debug, Serialize)]
struct ConsideredShown {
    #[serde(flatten)]
    place: Place,
    /// Whether it matched, and if not, why, in words.
    outcome: String,
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
        Self {
            place: Place {
                key: considered.rule.key.clone(),
                origin: considered.rule.origin.clone(),
            },
            outcome: outcome(&considered.outcome),
        }
    }
}

fn outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Matched => "matches".to_owned(),
        Outcome::UnknownClient => "depends on the client, which isn't known".to_owned(),
        Outcome::Missed { mismatches, .. } => {
            let terms: Vec<_> = mismatches
                .iter()
                .map(|mismatch| match (&mismatch.key, &mismatch.actual) {
                    (Some(key), Some(actual)) => {
                        format!("{}: {key} is {actual:?}", mismatch.pointer)
                    }
                    (Some(key), None) => format!("{}: there is no {key}", mismatch.pointer),
                    (None, _) => format!("{}: the entry isn't understood", mismatch.pointer),
                })
                .collect();
            format!("doesn't match ({})", terms.join("; "))
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
    for step in &side.steps {
        write_step(step, out)?;
    }
    Ok(())
}

fn write_step(step: &StepShown, out: &mut dyn Write) -> io::Result<()> {
    let dim = Style::new().dimmed();
    let action = match step.action {
        Action::Allow => "allow",
        Action::Deny => "deny",
    };
    let ends = match step.decides {
        true => " <- decides",
        false => "",
    };
    writeln!(out, "    {} {action}{ends}", step.scope)?;
    for policy in &step.policies {
        writeln!(
            out,
            "      {}: {}",
            place(&policy.place),
            escape::text(&policy.outcome)
        )?;
    }
    if step.policies.is_empty() && !step.decides {
        writeln!(out, "      {dim}none looked at{dim:#}")?;
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
    format!("{} at {}", escape::text(&key), at(&place.origin))
}

fn at(origin: &fabric::origin::Origin) -> String {
    format!(
        "{}:{} ({})",
        escape::text(&origin.path),
        origin.line,
        origin.revision.short()
    )
}

fn write_word(allowed: bool, out: &mut dyn Write) -> io::Result<()> {
    let (color, word) = match allowed {
        true => (AnsiColor::Green, "allowed"),
        false => (AnsiColor::Red, "denied"),
    };
    let style = color.on_default().bold();
    write!(out, "{style}{word}{style:#}")
}
