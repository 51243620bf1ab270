//! Who can reach what they couldn't before, and the other way round.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use fabric::name::PeerName;
use fabric::policy::Rule;
use fabric::reach::{Difference, Group, ImportingPeer, Route, Service, Verdict, Why};

use super::{LISTED, write_more};
use crate::render::reach::{clients, from, until};
use crate::render::{count, escape};

/// Names and values that are told of one set.
const TOLD: usize = 8;

/// Writes a difference.
pub(super) fn write(difference: &Difference, out: &mut dyn Write) -> io::Result<()> {
    for (groups, sign, color, title) in [
        (
            difference.opened_groups(),
            '+',
            AnsiColor::Red,
            "access opens (WIDER)",
        ),
        (
            difference.closed_groups(),
            '-',
            AnsiColor::Green,
            "access closes",
        ),
    ] {
        if !groups.is_empty() {
            let style = color.on_default().bold();
            writeln!(out, "{style}{title}{style:#}:")?;
            write_groups(&groups, sign, out)?;
            writeln!(out)?;
        }
    }
    if !difference.undecided.is_empty() {
        let style = AnsiColor::Red.on_default().bold();
        writeln!(
            out,
            "{style}access may open (WIDER){style:#}: too many policies act together to tell"
        )?;
        write_routes(&difference.undecided, out)?;
        writeln!(out)?;
    }
    Ok(())
}

/// Writes groups of flips: the services, then the clients and what decides of them.
pub(super) fn write_groups(groups: &[Group], sign: char, out: &mut dyn Write) -> io::Result<()> {
    let dim = Style::new().dimmed();
    for group in groups.iter().take(LISTED) {
        for service in group.services.iter().take(TOLD) {
            writeln!(out, "  {sign} {}", describe(service))?;
        }
        if let Some(more @ 1..) = group.services.len().checked_sub(TOLD) {
            writeln!(out, "    and {}", count(more, "more service"))?;
        }
        for flip in &group.flips {
            let clients = clients(&flip.clients, TOLD);
            writeln!(out, "      {}{}", escape::text(&clients), from(flip))?;
            for (when, verdict) in [("before:", &flip.before), ("now:   ", &flip.after)] {
                let mut when = when;
                for decision in decisions(verdict, &flip.route) {
                    writeln!(out, "        {dim}{when} {decision}{dim:#}")?;
                    when = "       ";
                }
            }
        }
    }
    write_more(groups.len(), "group", out)
}

fn describe(service: &Service) -> String {
    let Service {
        export,
        export_peer,
        imports,
    } = service;
    let from = |at: &ImportingPeer| match at.import == *export {
        // Mostly an import is named as the service is.
        true => at.client_peer.to_string(),
        false => format!("{} (import {})", at.client_peer, at.import),
    };
    let shown: Vec<_> = imports.iter().take(TOLD).map(from).collect();
    let more = match imports.len().checked_sub(TOLD) {
        None | Some(0) => String::new(),
        Some(more) => format!(" and {}", count(more, "more peer")),
    };
    format!("{export} of {export_peer}, from {}{more}", shown.join(", "))
}

/// Writes the routes of which it can't be told who may take them.
pub(super) fn write_routes(routes: &[Route], out: &mut dyn Write) -> io::Result<()> {
    for route in routes.iter().take(LISTED) {
        let Route {
            export,
            export_peer,
            client_peer,
            import,
        } = route;
        writeln!(
            out,
            "  ? {export} of {export_peer}, from {client_peer} (import {import})"
        )?;
    }
    write_more(routes.len(), "route", out)
}

/// What is decided, in words: the sides that refuse, or both where nobody does.
fn decisions(verdict: &Verdict, route: &Route) -> Vec<String> {
    let sides = [
        (&verdict.importer, &route.client_peer),
        (&verdict.exporter, &route.export_peer),
    ];
    if verdict.importer == Why::NoRoute || verdict.exporter == Why::NoRoute {
        return vec!["there is no such service, or no import of it".to_owned()];
    }
    sides
        .into_iter()
        .filter(|(why, _)| verdict.allowed == matches!(why, Why::Allowed(_)))
        .map(|(why, peer)| reason(why, peer))
        .collect()
}

fn reason(why: &Why, peer: &PeerName) -> String {
    match why {
        Why::Allowed(rule) => format!("allowed at {peer} by {}", place(rule)),
        Why::Denied(rule) => format!("denied at {peer} by {}", place(rule)),
        Why::UnknownClient(rule) => {
            format!("denied at {peer}: {} depends on the client", place(rule))
        }
        Why::DefaultDeny => format!("denied at {peer}: no policy allows it"),
        Why::NoRoute => format!("no route at {peer}"),
    }
}

fn place(rule: &Rule) -> String {
    let key = rule.key.to_string();
    let path = escape::text(&rule.origin.path);
    let until = until(rule.expires);
    format!(
        "{} ({path}:{}){until}",
        escape::text(&key),
        rule.origin.line
    )
}
