//! The policies of one step, filed so that those that can't match are not even looked at.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::attribute::{Attribute, Side, Value};
use super::selector::{Entry, Verdict};
use super::{Request, Rule};
use crate::api::{AccessPolicySpec, Action, Operator};

/// The policies of one step.
///
/// A policy all of whose `to` (or `from`) entries want one of a few values of the same attribute
/// is filed under those values; the others are looked at every time.
#[derive(Clone, Debug, Default)]
pub(super) struct PolicySet {
    /// All of them, in order.
    all: Vec<Arc<Policy>>,
    /// Those that are filed nowhere, in order.
    unfiled: Vec<Arc<Policy>>,
    /// Those that are filed by a value of the client's, in order: while the client is unknown,
    /// each of them may count.
    by_client: Vec<Arc<Policy>>,
    files: BTreeMap<Attribute, File>,
}

/// The policies that want one of a few values of an attribute, in order for each value.
type File = HashMap<Box<str>, Vec<Arc<Policy>>>;

/// One compiled policy.
#[derive(Clone, Debug)]
pub(super) struct Policy {
    pub(super) rule: Rule,
    pub(super) from: Box<[Entry]>,
    pub(super) to: Box<[Entry]>,
    /// What an entry counts as that isn't understood: a deny denies then, an allow doesn't allow.
    otherwise: Verdict,
}

// === impl PolicySet ===

impl PolicySet {
    pub(super) fn add(&mut self, policy: Policy) {
        self.file(Arc::new(policy));
    }

    fn file(&mut self, policy: Arc<Policy>) {
        insert(&mut self.all, &policy);
        // The attribute under whose values the fewest stand already divides the policies best.
        let crowd = |(attribute, values): &(&Attribute, BTreeSet<&str>)| {
            let file = self.files.get(*attribute);
            let crowds = values.iter().map(|value| file?.get(*value).map(Vec::len));
            crowds.max().flatten().unwrap_or(0)
        };
        let anchors = policy.anchors();
        let Some((attribute, values)) = anchors.into_iter().min_by_key(crowd) else {
            insert(&mut self.unfiled, &policy);
            return;
        };
        if attribute.is_of_client() {
            insert(&mut self.by_client, &policy);
        }
        let file = self.files.entry(attribute.clone()).or_default();
        for value in values {
            insert(file.entry(value.into()).or_default(), &policy);
        }
    }

    /// Those of the policies for which it holds.
    pub(super) fn filtered(&self, keep: impl Fn(&Rule) -> bool) -> Self {
        let mut kept = Self::default();
        for policy in self.all.iter().filter(|policy| keep(&policy.rule)) {
            kept.file(Arc::clone(policy));
        }
        kept
    }

    /// All policies, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Policy> {
        self.all.iter().map(Arc::as_ref)
    }

    /// The first policy that matches, or else the first one that may match.
    pub(super) fn find(&self, request: &Request<'_>) -> Option<(Verdict, &Rule)> {
        let lists = self.lists(request);
        lists.fold(None, |best, policies| search(policies, request, best))
    }

    /// The policies that match or may match, in no particular order.
    pub(super) fn matching<'a>(
        &'a self,
        request: &'a Request<'_>,
    ) -> impl Iterator<Item = &'a Policy> {
        let policies = self.lists(request).flatten().map(Arc::as_ref);
        policies.filter(|policy| policy.verdict(request) != Verdict::No)
    }

    /// How many policies are looked at for a request.
    pub(super) fn reach(&self, request: &Request<'_>) -> usize {
        self.lists(request).map(<[_]>::len).sum()
    }

    /// The lists that hold every policy that matches or may match, each of them once.
    fn lists<'a>(&'a self, request: &Request<'_>) -> impl Iterator<Item = &'a [Arc<Policy>]> {
        let request = *request;
        let by_client = request
            .client
            .is_none()
            .then_some(self.by_client.as_slice());
        let filed = self.files.iter().filter_map(move |(attribute, file)| {
            match attribute.value(&request) {
                Value::Present(value) => file.get(value).map(Vec::as_slice),
                Value::Absent | Value::Unknown => None,
            }
        });
        std::iter::once(self.unfiled.as_slice())
            .chain(by_client)
            .chain(filed)
    }
}

fn insert(policies: &mut Vec<Arc<Policy>>, policy: &Arc<Policy>) {
    let place = policies.partition_point(|other| other.rule <= policy.rule);
    policies.insert(place, Arc::clone(policy));
}

fn search<'a>(
    policies: &'a [Arc<Policy>],
    request: &Request<'_>,
    mut best: Option<(Verdict, &'a Rule)>,
) -> Option<(Verdict, &'a Rule)> {
    for policy in policies {
        if matches!(best, Some((Verdict::Yes, rule)) if *rule <= policy.rule) {
            break;
        }
        let verdict = policy.verdict(request);
        let is_better = match best {
            _ if verdict == Verdict::No => false,
            None => true,
            Some((known, rule)) => verdict > known || (verdict == known && policy.rule < *rule),
        };
        if is_better {
            best = Some((verdict, &policy.rule));
        }
    }
    best
}

// === impl Policy ===

impl Policy {
    pub(super) fn compile(rule: Rule, spec: &AccessPolicySpec) -> Self {
        let otherwise = match spec.action {
            Action::Allow => Verdict::No,
            Action::Deny => Verdict::Yes,
        };
        let compile = |side, entries: &[_]| match entries {
            // No entry at all is as much a mistake as one that isn't understood.
            [] => Box::from([Entry::NotUnderstood]),
            entries => entries
                .iter()
                .map(|entry| Entry::compile(side, entry))
                .collect(),
        };
        Self {
            rule,
            from: compile(Side::From, &spec.from),
            to: compile(Side::To, &spec.to),
            otherwise,
        }
    }

    /// What an entry counts as that isn't understood.
    pub(super) const fn otherwise(&self) -> Verdict {
        self.otherwise
    }

    #[inline]
    pub(super) fn verdict(&self, request: &Request<'_>) -> Verdict {
        match self.side_verdict(Side::To, request) {
            Verdict::No => Verdict::No,
            to => to.min(self.side_verdict(Side::From, request)),
        }
    }

    #[inline]
    pub(super) fn side_verdict(&self, side: Side, request: &Request<'_>) -> Verdict {
        let mut best = Verdict::No;
        for entry in self.side(side) {
            match entry.verdict(request, self.otherwise) {
                Verdict::Yes => return Verdict::Yes,
                verdict => best = best.max(verdict),
            }
        }
        best
    }

    pub(super) fn side(&self, side: Side) -> &[Entry] {
        match side {
            Side::From => &self.from,
            Side::To => &self.to,
        }
    }

    /// The attributes of which the policy wants one of a few values, with those values.
    fn anchors(&self) -> Vec<(&Attribute, BTreeSet<&str>)> {
        let sides = [Side::To, Side::From];
        let anchors = sides.into_iter().flat_map(|side| self.side_anchors(side));
        anchors.collect()
    }

    fn side_anchors(&self, side: Side) -> Vec<(&Attribute, BTreeSet<&str>)> {
        let mut anchors: Option<BTreeMap<&Attribute, BTreeSet<&str>>> = None;
        for entry in self.side(side) {
            let terms = match entry {
                Entry::Terms(terms) => terms,
                Entry::NotUnderstood if self.otherwise == Verdict::No => continue,
                Entry::NotUnderstood => return Vec::new(),
            };
            let mut wanted: BTreeMap<&Attribute, BTreeSet<&str>> = BTreeMap::new();
            for term in terms {
                if let (Operator::In, Some(attribute)) = (term.operator, &term.attribute) {
                    let values = term.values.iter().map(|value| &**value);
                    wanted.entry(attribute).or_insert_with(|| values.collect());
                }
            }
            anchors = Some(match anchors {
                None => wanted,
                Some(mut known) => {
                    known.retain(|attribute, values| match wanted.get(attribute) {
                        Some(further) => {
                            values.extend(further);
                            true
                        }
                        None => false,
                    });
                    known
                }
            });
        }
        anchors.unwrap_or_default().into_iter().collect()
    }
}
