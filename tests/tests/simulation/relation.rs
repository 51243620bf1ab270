//! The reach relation, as a plan has it of a fabric that comes into force.

use std::collections::BTreeMap;

use fabric::api::Operator;
use fabric::attributes::Client;
use fabric::fabric::Fabric;
use fabric::name::ObjectName;
use fabric::reach::{ClientTerm, Clients, Flip, Route, Verdict, Why, difference};

use super::Tuple;
use super::drawn::Name;
use super::engines::shown;

/// All that is let through.
pub(crate) struct Relation {
    opened: BTreeMap<Key, Vec<Flip>>,
}

/// Client's peer, import, source.
type Key = (String, Name, (String, Name));

/// A tuple with what it is made of.
pub(crate) struct Owned {
    key: Key,
    client: Option<Client>,
}

// === impl Relation ===

impl Relation {
    pub(crate) fn new(fabric: &Fabric) -> Self {
        let opens = difference(None, Some(fabric));
        assert_eq!(opens.closed, []);
        assert_eq!(opens.undecided, []);
        let mut opened: BTreeMap<Key, Vec<Flip>> = BTreeMap::new();
        for flip in opens.opened {
            opened.entry(key(&flip.route)).or_default().push(flip);
        }
        Self { opened }
    }

    /// The same fabric once more changes nothing, and without it all that opened closes.
    pub(crate) fn check_differences(&self, fabric: &Fabric) {
        let same = difference(Some(fabric), Some(fabric));
        assert!(same.opened.is_empty() && same.closed.is_empty(), "{same:?}");
        let closes = difference(Some(fabric), None);
        let opened = self.opened.values().map(Vec::len).sum();
        assert_eq!((closes.closed.len(), closes.opened.len()), (opened, 0));
    }

    /// Whether the client of a tuple is among those that are let through.
    pub(crate) fn reaches(&self, tuple: &Tuple<'_>) -> bool {
        let source = tuple.source.clone();
        let key = (tuple.peer.to_owned(), tuple.import.clone(), source);
        let mut flips = self.opened.get(&key).into_iter().flatten();
        flips.any(|flip| holds(&flip.clients, tuple.client))
    }

    /// The examples, and what is said to decide of them.
    pub(crate) fn examples(&self) -> impl Iterator<Item = (Owned, [String; 2])> {
        self.opened.iter().flat_map(|(key, flips)| {
            flips.iter().map(|flip| {
                assert!(holds(&flip.clients, flip.example.as_ref()), "{flip:?}");
                let none = Verdict {
                    allowed: false,
                    importer: Why::NoRoute,
                    exporter: Why::NoRoute,
                };
                assert_eq!(flip.before, none);
                assert!(flip.after.allowed);
                let owned = Owned {
                    key: key.clone(),
                    client: flip.example.clone(),
                };
                (
                    owned,
                    [told(&flip.after.importer), told(&flip.after.exporter)],
                )
            })
        })
    }
}

// === impl Owned ===

impl Owned {
    pub(crate) fn borrow(&self) -> Tuple<'_> {
        let (peer, import, source) = &self.key;
        Tuple {
            client: self.client.as_ref(),
            peer,
            import,
            source,
        }
    }
}

fn key(route: &Route) -> Key {
    let pair = |name: &ObjectName| (name.namespace().to_owned(), name.name().to_owned());
    let source = (route.export_peer.to_string(), pair(&route.export));
    (route.client_peer.to_string(), pair(&route.import), source)
}

fn holds(clients: &Clients, client: Option<&Client>) -> bool {
    match (clients, client) {
        (Clients::Known(terms), Some(client)) => terms.iter().all(|term| term_holds(term, client)),
        (Clients::Unknown, None) => true,
        (Clients::Known(_), None) | (Clients::Unknown, Some(_)) => false,
    }
}

fn term_holds(term: &ClientTerm, client: &Client) -> bool {
    let attribute = term.attribute.to_string();
    let value = match attribute.as_str() {
        "namespace" => Some(&client.namespace),
        "service-account" => Some(&client.service_account),
        label => client.labels.get(label.strip_prefix("labels.").unwrap()),
    };
    let is_listed = value.is_some_and(|value| term.values.contains(value));
    match term.operator {
        Operator::In => is_listed,
        Operator::NotIn => !is_listed,
        Operator::Exists => value.is_some(),
        Operator::DoesNotExist => value.is_none(),
    }
}

fn told(why: &Why) -> String {
    match why {
        Why::Allowed(rule) => format!("allow by {}", shown(&rule.key)),
        Why::Denied(rule) => format!("deny by {}", shown(&rule.key)),
        Why::UnknownClient(rule) => format!("deny, unknown to {}", shown(&rule.key)),
        Why::DefaultDeny => "deny by default".to_owned(),
        Why::NoRoute => "refused".to_owned(),
    }
}
