//! Who reaches what, in words. Names are as they stand in the repository: escape them.

use fabric::api::Operator;
use fabric::attributes::Client;
use fabric::name::{ObjectName, PeerName};
use fabric::policy::Rule;
use fabric::reach::{ClientTerm, Clients, Flip, Verdict, Why};

/// Access to one service that opens or closes.
#[derive(Debug)]
pub(crate) struct Service<'a> {
    /// The peer that exports it.
    pub(crate) peer: &'a PeerName,
    /// The service there.
    pub(crate) export: &'a ObjectName,
    /// For whom.
    pub(crate) flips: Vec<&'a Flip>,
}

/// What opens or closes, service by service, in the order of the services.
pub(crate) fn by_service(flips: &[Flip]) -> Vec<Service<'_>> {
    let mut sorted: Vec<_> = flips.iter().collect();
    sorted.sort();
    let mut services: Vec<Service<'_>> = Vec::new();
    for flip in sorted {
        let (peer, export) = (&flip.route.export_peer, &flip.route.export);
        match services.last_mut() {
            Some(last) if last.peer == peer && last.export == export => last.flips.push(flip),
            _ => services.push(Service {
                peer,
                export,
                flips: vec![flip],
            }),
        }
    }
    services
}

/// The clients in words, such as `namespace shop, labels.app not in (cart, till)`.
pub(crate) fn clients(clients: &Clients) -> String {
    match clients {
        Clients::Unknown => "clients of which nothing is known".to_owned(),
        Clients::Known(terms) if terms.is_empty() => "every client".to_owned(),
        Clients::Known(terms) => {
            let terms: Vec<_> = terms.iter().map(term).collect();
            format!("clients with {}", terms.join(", "))
        }
    }
}

fn term(term: &ClientTerm) -> String {
    let ClientTerm {
        attribute,
        operator,
        values,
    } = term;
    match (operator, values.as_slice()) {
        (Operator::In, [value]) => format!("{attribute} {value}"),
        (Operator::In, _) => format!("{attribute} one of ({})", values.join(", ")),
        (Operator::NotIn, [value]) => format!("{attribute} not {value}"),
        (Operator::NotIn, _) => format!("{attribute} none of ({})", values.join(", ")),
        (Operator::Exists, _) => format!("any {attribute}"),
        (Operator::DoesNotExist, _) => format!("no {attribute}"),
    }
}

/// A client in words: `shop/till app=cart`.
pub(crate) fn client(client: &Client) -> String {
    let labels = client
        .labels
        .iter()
        .map(|(key, value)| format!(" {key}={value}"));
    format!(
        "{}/{}{}",
        client.namespace,
        client.service_account,
        labels.collect::<String>()
    )
}

/// What one side says, in words: `allowed by AccessPolicy shop/x`.
pub(crate) fn why(why: &Why) -> String {
    match why {
        Why::Allowed(rule) => format!("allowed by {}", rule.key),
        Why::Denied(rule) => format!("denied by {}", rule.key),
        Why::UnknownClient(rule) => {
            format!("denied, as {} depends on who the client is", rule.key)
        }
        Why::DefaultDeny => "denied, as no policy allows it".to_owned(),
        Why::NoRoute => "not there".to_owned(),
    }
}

/// The rule that decides on one side, where one does.
pub(crate) const fn rule(why: &Why) -> Option<&Rule> {
    match why {
        Why::Allowed(rule) | Why::Denied(rule) | Why::UnknownClient(rule) => Some(rule),
        Why::DefaultDeny | Why::NoRoute => None,
    }
}

/// The sides of a verdict, that where it isn't the same as before first.
pub(crate) fn sides<'a>(flip: &'a Flip, verdict: &'a Verdict) -> [(&'static str, &'a Why); 2] {
    let importer = ("importer", &verdict.importer);
    let exporter = ("exporter", &verdict.exporter);
    match flip.before.importer == flip.after.importer {
        true => [exporter, importer],
        false => [importer, exporter],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_in_words() {
        let term = |attribute: &str, operator, values: &[&str]| ClientTerm {
            attribute: attribute.to_owned(),
            operator,
            values: values.iter().map(|value| (*value).to_owned()).collect(),
        };
        let all = [
            term("namespace", Operator::In, &["shop"]),
            term("service-account", Operator::NotIn, &["a", "b"]),
            term("labels.app", Operator::Exists, &[]),
            term("labels.old", Operator::DoesNotExist, &[]),
            term("labels.x", Operator::NotIn, &["y"]),
        ];
        for (terms, wanted) in [
            (&all[..0], "every client"),
            (&all[..1], "clients with namespace shop"),
            (
                &all[1..],
                "clients with service-account none of (a, b), any labels.app, no labels.old, labels.x not y",
            ),
        ] {
            assert_eq!(clients(&Clients::Known(terms.to_vec())), wanted);
        }
    }
}
