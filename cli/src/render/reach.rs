//! Who reaches what, in words. Names are as they stand in the repository: escape them.

use fabric::api::Operator;
use fabric::attributes::Client;
use fabric::policy::Rule;
use fabric::reach::{ClientTerm, Clients, Flip, Verdict, Why};
use jiff::Timestamp;

/// Values of a term, and peers of a group, that are told where there is little room.
pub(crate) const TOLD: usize = 5;

/// The clients in words, such as `clients with namespace = shop, labels.app not in (cart, till)`;
/// of each term so many values at most.
pub(crate) fn clients(clients: &Clients, told: usize) -> String {
    match clients {
        Clients::Unknown => "clients of which the peer knows nothing".to_owned(),
        Clients::Known(terms) if terms.is_empty() => "every client that the peer knows".to_owned(),
        Clients::Known(terms) => {
            let terms: Vec<_> = terms.iter().map(|one| term(one, told)).collect();
            format!("clients with {}", terms.join(", "))
        }
    }
}

fn term(term: &ClientTerm, told: usize) -> String {
    let ClientTerm {
        attribute,
        operator,
        values,
    } = term;
    let shown = values.get(..told).unwrap_or(values).join(", ");
    let shown = match values.len().checked_sub(told) {
        None | Some(0) => shown,
        Some(more) => format!("{shown}, {more} more"),
    };
    match (operator, values.len()) {
        (Operator::In, 1) => format!("{attribute} = {shown}"),
        (Operator::NotIn, 1) => format!("{attribute} != {shown}"),
        (Operator::In, _) => format!("{attribute} in ({shown})"),
        (Operator::NotIn, _) => format!("{attribute} not in ({shown})"),
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

/// When a rule ends, to stand behind it; nothing where it doesn't.
pub(crate) fn until(expires: Option<Timestamp>) -> String {
    expires
        .map(|end| format!(", until {end}"))
        .unwrap_or_default()
}

/// From when on access is otherwise, to stand behind the clients; nothing where it is at once.
pub(crate) fn from(begin: Option<Timestamp>) -> String {
    begin
        .map(|from| format!(", from {from} on"))
        .unwrap_or_default()
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
            attribute: attribute.parse().unwrap(),
            operator,
            values: values.iter().map(|value| (*value).to_owned()).collect(),
        };
        let all = [
            term("namespace", Operator::In, &["shop"]),
            term("service-account", Operator::NotIn, &["a", "b"]),
            term("labels.app", Operator::Exists, &[]),
            term("labels.old", Operator::DoesNotExist, &[]),
            term("labels.x", Operator::NotIn, &["y"]),
            term(
                "labels.z",
                Operator::In,
                &["a", "b", "c", "d", "e", "f", "g"],
            ),
        ];
        for (terms, wanted) in [
            (&all[..0], "every client that the peer knows"),
            (&all[..1], "clients with namespace = shop"),
            (
                &all[1..],
                "clients with service-account not in (a, b), any labels.app, no labels.old, labels.x != y, \
                 labels.z in (a, b, c, d, e, 2 more)",
            ),
        ] {
            assert_eq!(clients(&Clients::Known(terms.to_vec()), TOLD), wanted);
        }
    }
}
