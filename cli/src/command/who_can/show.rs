//! Who can reach a service, for people.

use std::collections::BTreeMap;
use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use fabric::name::ObjectKey;
use fabric::origin::{Origin, Revision};
use fabric::reach::{Access, Clients, Outcome, Refusal, Route, Verdict, Why};

use super::{Answer, Relay, Service};
use crate::render::reach::{self, client, clients, rule, why};
use crate::render::{count, escape};

/// Peers, and reasons, that are told of what is the same for all of them.
const TOLD: usize = 8;

/// What is the same of several imports: who is let through, and by policies of which names.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Kind<'a> {
    Granted(Vec<(&'a Clients, [Option<&'a ObjectKey>; 2])>),
    Refused([Option<Vec<String>>; 2]),
    Undecided,
}

/// Writes who can.
pub(super) fn write_text(answer: &Answer, out: &mut dyn Write) -> io::Result<()> {
    for (index, service) in answer.services.iter().enumerate() {
        if index > 0 {
            writeln!(out)?;
        }
        write_service(service, out)?;
    }
    Ok(())
}

fn write_service(service: &Service, out: &mut dyn Write) -> io::Result<()> {
    let bold = Style::new().bold();
    let (export, peer) = (&service.export, &service.export_peer);
    writeln!(
        out,
        "{bold}{export} of {peer}{bold:#} at {}",
        at(&service.origin)
    )?;
    // In the order in which each was met first, those who can before those who can't.
    let mut places: BTreeMap<Kind<'_>, usize> = BTreeMap::new();
    let mut groups: Vec<Vec<&Access>> = Vec::new();
    for access in &service.access {
        let place = *places.entry(Kind::of(access)).or_insert(groups.len());
        match groups.get_mut(place) {
            Some(group) => group.push(access),
            None => groups.push(vec![access]),
        }
    }
    groups.sort_by_key(|group| {
        let first = group.first().map(|access| &access.outcome);
        matches!(first, Some(Outcome::Refused(_)))
    });
    for group in groups {
        write_group(&group, out)?;
    }
    if service.access.is_empty() {
        write_nobody(out)?;
        writeln!(out, " can reach it: no peer imports it")?;
    } else if !service.without_import.is_empty() {
        let names: Vec<_> = service
            .without_import
            .iter()
            .map(ToString::to_string)
            .collect();
        write_nobody(out)?;
        writeln!(out, " of {}: no import of it", list(&names, "peer"))?;
    }
    for relay in &service.relays {
        let Relay {
            peer,
            export,
            origin,
        } = relay;
        let yellow = AnsiColor::Yellow.on_default().bold();
        writeln!(
            out,
            "  {yellow}handed on{yellow:#} by {peer}, at {}: who reaches {export} of {peer} may reach it, too",
            at(origin)
        )?;
    }
    Ok(())
}

fn write_group(group: &[&Access], out: &mut dyn Write) -> io::Result<()> {
    let Some(Access { route, outcome }) = group.first() else {
        return Ok(());
    };
    let names: Vec<_> = group
        .iter()
        .map(|access| peer_and_import(&access.route))
        .collect();
    let from = list(&names, "peer");
    match outcome {
        Outcome::Granted(grants) => {
            let green = AnsiColor::Green.on_default().bold();
            writeln!(out, "  {green}from{green:#} {from}")?;
            for grant in grants {
                writeln!(
                    out,
                    "    {}",
                    escape::text(&clients(&grant.clients, reach::TOLD))
                )?;
                if let Some(example) = &grant.example {
                    let dim = Style::new().dimmed();
                    let example = client(example);
                    writeln!(
                        out,
                        "      {dim}for example {}{dim:#}",
                        escape::text(&example)
                    )?;
                }
                write_verdict(&grant.verdict, route, out)?;
            }
        }
        Outcome::Refused(refusal) => {
            write_nobody(out)?;
            writeln!(out, " of {from}")?;
            write_refusal(refusal, route, out)?;
        }
        Outcome::Undecided => {
            let red = AnsiColor::Red.on_default().bold();
            writeln!(
                out,
                "  {red}perhaps from{red:#} {from}: too many policies act together to tell"
            )?;
        }
    }
    Ok(())
}

fn write_nobody(out: &mut dyn Write) -> io::Result<()> {
    let red = AnsiColor::Red.on_default().bold();
    write!(out, "  {red}nobody{red:#}")
}

fn write_verdict(verdict: &Verdict, route: &Route, out: &mut dyn Write) -> io::Result<()> {
    for (role, peer, reason) in [
        ("importer", &route.client_peer, &verdict.importer),
        ("exporter", &route.export_peer, &verdict.exporter),
    ] {
        writeln!(out, "      {role} {peer}: {}", placed(reason))?;
    }
    Ok(())
}

fn write_refusal(refusal: &Refusal, route: &Route, out: &mut dyn Write) -> io::Result<()> {
    let sides = [
        ("importer", &route.client_peer, &refusal.importer),
        ("exporter", &route.export_peer, &refusal.exporter),
    ];
    if refusal.importer.is_none() && refusal.exporter.is_none() {
        return writeln!(
            out,
            "    the importer {} and the exporter {} each let some through, but nobody in common",
            route.client_peer, route.export_peer
        );
    }
    for (role, peer, reasons) in sides {
        let Some(reasons) = reasons else { continue };
        for reason in reasons.iter().take(TOLD) {
            writeln!(out, "    {role} {peer}: {}", placed(reason))?;
        }
        if let Some(more @ 1..) = reasons.len().checked_sub(TOLD) {
            writeln!(out, "    and by {more} more")?;
        }
    }
    Ok(())
}

/// What decides, and where it stands.
fn placed(reason: &Why) -> String {
    let text = why(reason);
    let text = escape::text(&text);
    match rule(reason) {
        Some(rule) => {
            let until = reach::until(rule.expires);
            format!("{text} at {}{until}", at(&rule.origin))
        }
        None => text.into_owned(),
    }
}

fn peer_and_import(route: &Route) -> String {
    match route.import == route.export {
        true => route.client_peer.to_string(),
        false => format!("{} (import {})", route.client_peer, route.import),
    }
}

fn list(names: &[String], thing: &str) -> String {
    let shown = names.get(..TOLD).unwrap_or(names).join(", ");
    match names.len().checked_sub(TOLD) {
        None | Some(0) => shown,
        Some(more) => format!("{shown} and {}", count(more, &format!("more {thing}"))),
    }
}

fn at(origin: &Origin) -> String {
    let path = escape::text(&origin.path);
    let line = origin.line;
    match origin.revision == Revision::working_tree() {
        true => format!("{path}:{line}"),
        false => format!("{path}:{line} (commit {})", origin.revision.short()),
    }
}

// === impl Kind ===

impl<'a> Kind<'a> {
    fn of(access: &'a Access) -> Self {
        match &access.outcome {
            Outcome::Granted(grants) => {
                let keys = |verdict: &'a Verdict| {
                    [&verdict.importer, &verdict.exporter]
                        .map(|why| rule(why).map(|rule| &rule.key))
                };
                let grants = grants.iter();
                Self::Granted(
                    grants
                        .map(|grant| (&grant.clients, keys(&grant.verdict)))
                        .collect(),
                )
            }
            Outcome::Refused(refusal) => {
                let sides = [&refusal.importer, &refusal.exporter];
                Self::Refused(sides.map(|reasons| {
                    let reasons = reasons.as_ref()?;
                    Some(reasons.iter().map(why).collect())
                }))
            }
            Outcome::Undecided => Self::Undecided,
        }
    }
}
