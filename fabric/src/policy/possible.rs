//! Whether a connection could be allowed for any client at all.

use std::collections::{BTreeMap, BTreeSet};

use super::attribute::{Attribute, Side};
use super::selector::{Entry, Term, Verdict, contradiction};
use super::set::Policy;
use super::{Policies, Request, Tier};
use crate::api::Operator;
use crate::attributes::{Client, ExportAttributes, PeerAttributes};
use crate::effort::Effort;

/// Policies asked about one kind of client each before the answer is "perhaps": a few milliseconds
/// for the one import in thousands whose policies are entangled so.
const MAX_TRIES: usize = 1 << 16;

/// The values of one client attribute that policies can tell apart; none is its absence.
type Kinds = (Attribute, Vec<Option<String>>);

// === impl Policies ===

impl Policies {
    /// Whether there could be a client that is allowed, known or unknown.
    ///
    /// False is certain; true may be wrong where the policies tell more kinds of client apart than
    /// are tried.
    #[must_use]
    pub fn could_allow(
        &self,
        namespace: &str,
        client_peer: &PeerAttributes,
        export: &ExportAttributes,
        export_peer: &PeerAttributes,
    ) -> bool {
        let effort = Effort::new(usize::MAX);
        self.could_allow_within(namespace, client_peer, (export, export_peer), &effort)
    }

    /// The same, and true too where there is no effort left to tell.
    pub(crate) fn could_allow_within(
        &self,
        namespace: &str,
        client_peer: &PeerAttributes,
        (export, export_peer): (&ExportAttributes, &PeerAttributes),
        effort: &Effort,
    ) -> bool {
        let unknown = Request {
            namespace,
            client: None,
            client_peer,
            export,
            export_peer,
        };
        if !effort.affords(self.reach(&unknown)) || self.decide(&unknown).is_allowed() {
            return true;
        }
        let relevant = Relevant::new(self, &unknown);
        let allows = || relevant.tiers.iter().flat_map(|tier| &tier.allow);
        let entries = || allows().flat_map(|policy| open_entries(policy, &unknown));
        let is_allowed = |client: &Client| {
            let client = Some(client);
            relevant.is_allowed(&Request { client, ..unknown })
        };
        // Without an allow nobody is let in; and the plainest client that one wants mostly is.
        if entries().next().is_none() {
            return false;
        }
        let count = relevant.count();
        let mut tries = 0;
        for terms in entries() {
            tries += count;
            if tries > 16 * MAX_TRIES || !effort.affords(count) || is_allowed(&plainest(terms)) {
                return true;
            }
        }
        match relevant.kinds() {
            Some(kinds) => {
                every_client(&kinds).any(|client| !effort.affords(count) || is_allowed(&client))
            }
            None => true,
        }
    }
}

impl Policies {
    fn reach(&self, request: &Request<'_>) -> usize {
        let regular = self.regular.get(request.namespace);
        let tiers = [Some(&self.privileged), regular].into_iter().flatten();
        tiers
            .map(|tier| tier.deny.reach(request) + tier.allow.reach(request))
            .sum()
    }
}

/// The policies that can matter to some client of a request.
struct Relevant<'a> {
    tiers: Vec<RelevantTier<'a>>,
}

struct RelevantTier<'a> {
    deny: Vec<&'a Policy>,
    allow: Vec<&'a Policy>,
}

// === impl Relevant ===

impl<'a> Relevant<'a> {
    fn new(policies: &'a Policies, unknown: &'a Request<'_>) -> Self {
        let regular = policies.regular.get(unknown.namespace);
        let tiers = [Some(&policies.privileged), regular].into_iter().flatten();
        let relevant = |tier: &'a Tier| RelevantTier {
            deny: tier.deny.matching(unknown).collect(),
            allow: tier.allow.matching(unknown).collect(),
        };
        Self {
            tiers: tiers.map(relevant).collect(),
        }
    }

    fn count(&self) -> usize {
        let tiers = self.tiers.iter();
        tiers.map(|tier| tier.deny.len() + tier.allow.len()).sum()
    }

    /// What `decide` says of a known client.
    fn is_allowed(&self, request: &Request<'_>) -> bool {
        let matches = |policy: &&Policy| policy.verdict(request) == Verdict::Yes;
        for tier in &self.tiers {
            if tier.deny.iter().any(matches) {
                return false;
            }
            if tier.allow.iter().any(matches) {
                return true;
            }
        }
        false
    }

    /// All that the policies can tell clients apart by; none where that is too much to try.
    fn kinds(&self) -> Option<Vec<Kinds>> {
        let policies = || {
            self.tiers
                .iter()
                .flat_map(|tier| tier.deny.iter().chain(&tier.allow))
        };
        let entries = policies().flat_map(|policy| policy.side(Side::From));
        let terms: Vec<&Term> = entries
            .flat_map(|entry| match entry {
                Entry::Terms(terms) => &**terms,
                Entry::NotUnderstood => &[],
            })
            .collect();
        let fresh = fresh(terms.iter().copied());
        let mut values: BTreeMap<&Attribute, BTreeSet<&str>> = BTreeMap::new();
        for term in &terms {
            if let Some(attribute) = term.attribute.as_ref().filter(|it| it.is_of_client()) {
                let values = values.entry(attribute).or_default();
                values.extend(term.values.iter().map(|value| &**value));
            }
        }
        let mut tries = self.count();
        let mut kinds = Vec::new();
        for (attribute, values) in values {
            let listed = values.into_iter().map(|value| Some(value.to_owned()));
            let mut values: Vec<_> = listed.chain([Some(fresh.clone())]).collect();
            if matches!(attribute, Attribute::ClientLabel(_)) {
                values.push(None);
            }
            tries = tries.saturating_mul(values.len());
            if tries > MAX_TRIES {
                return None;
            }
            kinds.push((attribute.clone(), values));
        }
        Some(kinds)
    }
}

/// The entries of `from` that some client could match, whatever else the request is.
fn open_entries<'a>(policy: &'a Policy, unknown: &Request<'_>) -> impl Iterator<Item = &'a [Term]> {
    let is_open = |entry: &&Entry| entry.verdict(unknown, Verdict::No) != Verdict::No;
    let entries = policy.from.iter().filter(is_open);
    entries.filter_map(|entry| match entry {
        Entry::Terms(terms) => {
            let is_possible = contradiction(terms, Attribute::is_of_client).is_none();
            is_possible.then_some(&**terms)
        }
        Entry::NotUnderstood => None,
    })
}

/// A client that matches the terms and has no label that they don't ask for.
fn plainest(terms: &[Term]) -> Client {
    let mut groups: BTreeMap<&Attribute, Vec<&Term>> = BTreeMap::new();
    for term in terms {
        if let Some(attribute) = term.attribute.as_ref().filter(|it| it.is_of_client()) {
            groups.entry(attribute).or_default().push(term);
        }
    }
    let mut client = Client {
        namespace: fresh(terms),
        service_account: fresh(terms),
        ..Client::default()
    };
    for (attribute, group) in groups {
        let holds = |value: &&str| group.iter().all(|term| term.holds(Some(value)));
        let mut lists = group.iter().filter(|term| term.operator == Operator::In);
        let value = match lists.next() {
            Some(list) => {
                let mut values = list.values.iter().map(|value| &**value);
                values.find(holds).map(str::to_owned)
            }
            None if group.iter().any(|term| term.operator == Operator::Exists) => {
                Some(fresh(terms))
            }
            None => None,
        };
        set(&mut client, attribute, value.as_deref());
    }
    client
}

/// A value that no term lists: longer than all of them.
fn fresh<'a>(terms: impl IntoIterator<Item = &'a Term>) -> String {
    let values = terms.into_iter().flat_map(|term| &term.values);
    "x".repeat(values.map(|value| value.len()).max().unwrap_or(0) + 1)
}

fn set(client: &mut Client, attribute: &Attribute, value: Option<&str>) {
    let Some(value) = value.map(str::to_owned) else {
        return;
    };
    match attribute {
        Attribute::ClientNamespace => client.namespace = value,
        Attribute::ClientServiceAccount => client.service_account = value,
        Attribute::ClientLabel(key) => {
            client.labels.insert(key.to_string(), value);
        }
        _ => {}
    }
}

/// One client of every kind.
fn every_client(kinds: &[Kinds]) -> impl Iterator<Item = Client> {
    let count: usize = kinds.iter().map(|(_, values)| values.len()).product();
    (0..count).map(move |number| {
        let mut client = Client::default();
        let mut rest = number;
        for (attribute, values) in kinds {
            let value = values.get(rest % values.len()).and_then(Option::as_deref);
            set(&mut client, attribute, value);
            rest /= values.len();
        }
        client
    })
}
