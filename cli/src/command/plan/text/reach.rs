//! Who can reach what they couldn't before, and the other way round.

use std::collections::BTreeMap;
use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use fabric::api::Operator;
use fabric::name::{ObjectName, PeerName};
use fabric::policy::Rule;
use fabric::reach::{ClientTerm, Clients, Difference, Flip, Route, Verdict, Why};

use super::LISTED;
use crate::render::{count, escape};

/// Names and values that are told of one set.
const TOLD: usize = 8;

/// Flips of one service that are told together: of the same clients in several peers.
type Groups<'a> = BTreeMap<(&'a PeerName, &'a ObjectName), Vec<Group<'a>>>;

/// Flips of the same clients, decided by the same rules.
struct Group<'a> {
    flip: &'a Flip,
    peers: Vec<String>,
}

/// Writes a difference.
pub(super) fn write(difference: &Difference, out: &mut dyn Write) -> io::Result<()> {
    for (flips, sign, color, title) in [
        (
            &difference.opened,
            '+',
            AnsiColor::Red,
            "access opens (WIDER)",
        ),
        (&difference.closed, '-', AnsiColor::Green, "access closes"),
    ] {
        if !flips.is_empty() {
            let style = color.on_default().bold();
            writeln!(out, "{style}{title}{style:#}:")?;
            write_flips(flips, sign, out)?;
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

/// Writes flips, service by service.
pub(super) fn write_flips(flips: &[Flip], sign: char, out: &mut dyn Write) -> io::Result<()> {
    let mut services: Groups<'_> = BTreeMap::new();
    for flip in flips {
        let groups = services
            .entry((&flip.route.export_peer, &flip.route.export))
            .or_default();
        let name = peer_and_import(&flip.route);
        match groups.iter_mut().find(|group| group.is_of(flip)) {
            Some(group) => group.peers.push(name),
            None => groups.push(Group {
                flip,
                peers: vec![name],
            }),
        }
    }
    let dim = Style::new().dimmed();
    let mut shown = 0;
    for ((peer, export), groups) in &services {
        if shown >= LISTED {
            break;
        }
        writeln!(out, "  {export} of {peer}")?;
        for group in groups {
            shown += 1;
            if shown > LISTED {
                break;
            }
            let Group { flip, peers } = group;
            writeln!(out, "    {sign} {}", list(peers))?;
            writeln!(out, "        {}", clients(&flip.clients))?;
            for (when, verdict) in [("before:", &flip.before), ("now:   ", &flip.after)] {
                writeln!(
                    out,
                    "        {dim}{when} {}{dim:#}",
                    decision(verdict, &flip.route)
                )?;
            }
        }
    }
    let all: usize = services.values().map(Vec::len).sum();
    match all.checked_sub(LISTED) {
        None | Some(0) => Ok(()),
        Some(more) => writeln!(out, "  and {} more (-o json has all)", count(more, "entry")),
    }
}

/// Writes the routes of which it can't be told who may take them.
pub(super) fn write_routes(routes: &[Route], out: &mut dyn Write) -> io::Result<()> {
    for route in routes.iter().take(LISTED) {
        let Route {
            export,
            export_peer,
            ..
        } = route;
        writeln!(
            out,
            "    ? {export} of {export_peer} from {}",
            peer_and_import(route)
        )?;
    }
    match routes.len().checked_sub(LISTED) {
        None | Some(0) => Ok(()),
        Some(more) => writeln!(out, "    and {more} more (-o json has all)"),
    }
}

// === impl Group ===

impl Group<'_> {
    fn is_of(&self, flip: &Flip) -> bool {
        let own = self.flip;
        own.clients == flip.clients && own.before == flip.before && own.after == flip.after
    }
}

fn peer_and_import(route: &Route) -> String {
    // Mostly an import is named as the service is.
    match route.import == route.export {
        true => route.client_peer.to_string(),
        false => format!("{} (import {})", route.client_peer, route.import),
    }
}

fn list(names: &[String]) -> String {
    let shown = names.get(..TOLD).unwrap_or(names).join(", ");
    match names.len().checked_sub(TOLD) {
        None | Some(0) => format!("from {shown}"),
        Some(more) => format!("from {shown} and {}", count(more, "more peer")),
    }
}

fn clients(clients: &Clients) -> String {
    match clients {
        Clients::Unknown => "clients of which the peer knows nothing".to_owned(),
        Clients::Known(terms) if terms.is_empty() => "every client that the peer knows".to_owned(),
        Clients::Known(terms) => {
            let terms: Vec<_> = terms.iter().map(term).collect();
            format!("clients with {}", terms.join(", "))
        }
    }
}

fn term(term: &ClientTerm) -> String {
    let attribute = term.attribute.to_string();
    let attribute = escape::text(&attribute);
    let values = || {
        let shown: Vec<_> = term
            .values
            .iter()
            .take(TOLD)
            .map(|v| escape::text(v))
            .collect();
        let more = match term.values.len().checked_sub(TOLD) {
            None | Some(0) => String::new(),
            Some(more) => format!(", {more} more"),
        };
        format!("{}{more}", shown.join(", "))
    };
    match (term.operator, term.values.len()) {
        (Operator::In, 1) => format!("{attribute} = {}", values()),
        (Operator::NotIn, 1) => format!("{attribute} != {}", values()),
        (Operator::In, _) => format!("{attribute} in ({})", values()),
        (Operator::NotIn, _) => format!("{attribute} not in ({})", values()),
        (Operator::Exists, _) => format!("any {attribute}"),
        (Operator::DoesNotExist, _) => format!("no {attribute}"),
    }
}

/// What is decided, in words: the side that refuses, or both where nobody does.
fn decision(verdict: &Verdict, route: &Route) -> String {
    let sides = [
        (&verdict.importer, &route.client_peer),
        (&verdict.exporter, &route.export_peer),
    ];
    if verdict.importer == Why::NoRoute || verdict.exporter == Why::NoRoute {
        return "there is no such import of such a service".to_owned();
    }
    let told: Vec<_> = sides
        .into_iter()
        .filter(|(why, _)| verdict.allowed == matches!(why, Why::Allowed(_)))
        .map(|(why, peer)| reason(why, peer))
        .collect();
    told.join(", ")
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
    format!("{} ({path}:{})", escape::text(&key), rule.origin.line)
}
