//! Who can reach what they couldn't before, and the other way round.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use fabric::name::PeerName;
use fabric::policy::Rule;
use fabric::reach::{
    Decided, Difference, Flip, Group, ImportingPeer, Route, Service, Verdict, Why,
};

use super::{LISTED, write_more};
use crate::render::reach::{clients, from, until};
use crate::render::{count, escape};

/// Names and values that are told of one set.
const TOLD: usize = 8;

/// Rules that are told to decide of the same clients: more nobody compares.
const RULES: usize = 6;

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
        for Decided {
            clients: all,
            from: begin,
            flips,
        } in &group.clients
        {
            let all = clients(all, TOLD);
            writeln!(out, "      {}{}", escape::text(&all), from(*begin))?;
            let before = told(flips, |flip| &flip.before);
            let after = told(flips, |flip| &flip.after);
            for (when, decisions) in [("before:", before), ("now:   ", after)] {
                let mut when = when;
                for decision in decisions {
                    writeln!(out, "        {dim}{when} {decision}{dim:#}")?;
                    when = "       ";
                }
            }
        }
    }
    write_more(groups.len(), "group", out)
}

/// What is decided of the same clients, over all the routes: each reason once, with the peers.
fn told(flips: &[Flip], verdict: fn(&Flip) -> &Verdict) -> Vec<String> {
    let mut reasons: Vec<(Reason, Vec<&PeerName>)> = Vec::new();
    for (reason, peer) in flips
        .iter()
        .flat_map(|flip| decisions(verdict(flip), &flip.route))
    {
        if let Some((_, peers)) = reasons.iter_mut().find(|(known, _)| *known == reason) {
            if !peers.contains(&peer) {
                peers.push(peer);
            }
        } else if reasons.len() > RULES {
            // To compare them all would take their product.
            break;
        } else {
            reasons.push((reason, vec![peer]));
        }
    }
    let is_cut = reasons.len() > RULES;
    reasons.truncate(RULES);
    let mut lines: Vec<_> = reasons
        .iter()
        .map(|(reason, peers)| reason.at(peers))
        .collect();
    if is_cut {
        lines.push("other rules elsewhere (-o json has all)".to_owned());
    }
    lines
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

/// What is decided, and where: by the sides that refuse, or both where nobody does.
fn decisions<'a>(verdict: &Verdict, route: &'a Route) -> Vec<(Reason, &'a PeerName)> {
    let sides = [
        (&verdict.importer, &route.client_peer),
        (&verdict.exporter, &route.export_peer),
    ];
    if verdict.importer == Why::NoRoute || verdict.exporter == Why::NoRoute {
        let words = "there is no such service, or no import of it";
        return vec![(Reason(words.to_owned(), None), &route.client_peer)];
    }
    sides
        .into_iter()
        .filter(|(why, _)| verdict.allowed == matches!(why, Why::Allowed(_)))
        .map(|(why, peer)| (Reason::of(why), peer))
        .collect()
}

/// A reason in words: what stands before the peers, and what behind them; nothing behind where it
/// is of no peer.
#[derive(Debug, PartialEq, Eq)]
struct Reason(String, Option<String>);

impl Reason {
    fn of(why: &Why) -> Self {
        let (before, after) = match why {
            Why::Allowed(rule) => ("allowed at", format!(" by {}", place(rule))),
            Why::Denied(rule) => ("denied at", format!(" by {}", place(rule))),
            Why::UnknownClient(rule) => (
                "denied at",
                format!(": {} depends on the client", place(rule)),
            ),
            Why::DefaultDeny => ("denied at", ": no policy allows it".to_owned()),
            Why::NoRoute => ("no route at", String::new()),
        };
        Self(before.to_owned(), Some(after))
    }

    fn at(&self, peers: &[&PeerName]) -> String {
        let Self(before, Some(after)) = self else {
            return self.0.clone();
        };
        let shown: Vec<_> = peers.iter().take(TOLD).map(|peer| peer.as_str()).collect();
        let more = match peers.len().checked_sub(TOLD) {
            None | Some(0) => String::new(),
            Some(more) => format!(" and {}", count(more, "more peer")),
        };
        format!("{before} {}{more}{after}", shown.join(", "))
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
