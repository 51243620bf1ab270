//! A difference in lines of text.

use std::fmt::Write as _;

use fabric::attributes::Client;
use fabric::name::ObjectKey;
use fabric::reach::{Clients, Difference, Flip, Verdict, Why};

pub(crate) fn difference(difference: &Difference) -> String {
    let mut text = String::new();
    for (sign, flips) in [("+", &difference.opened), ("-", &difference.closed)] {
        for one in flips {
            writeln!(text, "{sign} {}", flip(one)).unwrap();
        }
    }
    for route in &difference.undecided {
        writeln!(text, "? {route:?}").unwrap();
    }
    text
}

fn flip(flip: &Flip) -> String {
    let route = &flip.route;
    format!(
        "{}:{} -> {}:{} for {}, such as {}: {} => {}",
        route.client_peer,
        route.import,
        route.export_peer,
        route.export,
        clients(&flip.clients),
        flip.example.as_ref().map_or_else(|| "?".to_owned(), client),
        verdict(&flip.before),
        verdict(&flip.after),
    )
}

pub(crate) fn clients(clients: &Clients) -> String {
    let Clients::Known(terms) = clients else {
        return "unknown".to_owned();
    };
    if terms.is_empty() {
        return "all".to_owned();
    }
    let term = |term: &fabric::reach::ClientTerm| {
        let values = term.values.join(",");
        format!("{} {:?} {values}", term.attribute, term.operator)
            .trim_end()
            .to_owned()
    };
    terms.iter().map(term).collect::<Vec<_>>().join(" & ")
}

pub(crate) fn client(client: &Client) -> String {
    let labels = client.labels.iter();
    let labels: String = labels
        .map(|(key, value)| format!(" {key}={value}"))
        .collect();
    format!("{}/{}{labels}", client.namespace, client.service_account)
}

pub(crate) fn verdict(verdict: &Verdict) -> String {
    format!("{} | {}", why(&verdict.importer), why(&verdict.exporter))
}

pub(crate) fn why(why: &Why) -> String {
    let name = |key: &ObjectKey| match &key.namespace {
        Some(namespace) => format!("{namespace}/{}", key.name),
        None => key.name.to_string(),
    };
    match why {
        Why::Allowed(rule) => format!("allow {}", name(&rule.key)),
        Why::Denied(rule) => format!("deny {}", name(&rule.key)),
        Why::UnknownClient(rule) => format!("unknown to {}", name(&rule.key)),
        Why::DefaultDeny => "default".to_owned(),
        Why::NoRoute => "none".to_owned(),
    }
}
