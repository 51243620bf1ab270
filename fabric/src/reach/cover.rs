//! Few and small selectors for a set of clients.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::attribute::ClientAttribute;
use super::diagram::{Diagram, Diagrams, Entangled, Operation, Variable};
use super::values::ValueSet;
use super::{ClientTerm, Clients};
use crate::api::Operator;
use crate::attributes::Client;

/// Clients by a set of values for each of some attributes.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cube(pub(super) BTreeMap<Variable, ValueSet>);

/// Selectors of one set: beyond it nobody would read them, and to find each takes a look at all that
/// isn't covered yet.
const MAX_CUBES: usize = 128;

/// Steps that it costs to look at a way of a node, whose values are put together.
const WAY: usize = 4;

/// Selectors that cover a set and nothing outside `bound`, which holds the set: none can be left
/// out, and none says more than it must.
pub(super) fn cover(
    diagrams: &mut Diagrams,
    set: Diagram,
    bound: Diagram,
) -> Result<Vec<Cube>, Entangled> {
    let mut cubes = Vec::new();
    let mut rest = set;
    while let Some(seed) = shortest(diagrams, rest)? {
        if cubes.len() >= MAX_CUBES {
            return Err(Entangled);
        }
        let cube = grow(diagrams, seed, bound)?;
        let covered = diagrams.cube(cube.0.iter(), Diagram::EVERYTHING)?;
        rest = diagrams.apply(Operation::Without, rest, covered)?;
        cubes.push((cube, covered));
    }
    without_superfluous(diagrams, set, cubes)
}

/// Leaves out what the others cover already.
fn without_superfluous(
    diagrams: &mut Diagrams,
    set: Diagram,
    cubes: Vec<(Cube, Diagram)>,
) -> Result<Vec<Cube>, Entangled> {
    // What is covered by all from a place on.
    let mut after = vec![Diagram::NOTHING];
    for (_, covered) in cubes.iter().rev() {
        let last = after.last().copied().unwrap_or(Diagram::NOTHING);
        after.push(diagrams.apply(Operation::Or, last, *covered)?);
    }
    after.pop();
    let mut before = Diagram::NOTHING;
    let mut kept = Vec::new();
    for (cube, covered) in cubes {
        let others = after.pop().unwrap_or(Diagram::NOTHING);
        let others = diagrams.apply(Operation::Or, before, others)?;
        let needed = diagrams.apply(Operation::And, covered, set)?;
        if diagrams.apply(Operation::Without, needed, others)? != Diagram::NOTHING {
            before = diagrams.apply(Operation::Or, before, covered)?;
            kept.push(cube);
        }
    }
    Ok(kept)
}

/// The clients of a set that take the fewest terms to describe; none where the set is empty.
pub(super) fn shortest(diagrams: &mut Diagrams, set: Diagram) -> Result<Option<Cube>, Entangled> {
    let mut costs: HashMap<Diagram, usize> = HashMap::from([(Diagram::EVERYTHING, 0)]);
    let mut steps: HashMap<Diagram, (Variable, ValueSet, Diagram)> = HashMap::new();
    for diagram in from_results_up(diagrams, set) {
        let Some(node) = diagrams.node(diagram).cloned() else {
            continue;
        };
        diagrams.spend(WAY * (1 + node.ways.len()))?;
        let can_be_absent = diagrams.attribute(node.variable).can_be_absent();
        for (values, way) in node.groups() {
            let Some(below) = costs.get(&way).copied() else {
                continue;
            };
            for values in values.sayable(can_be_absent) {
                let cost = below + terms_of(&values, can_be_absent);
                if costs.get(&diagram).is_none_or(|known| cost < *known) {
                    costs.insert(diagram, cost);
                    steps.insert(diagram, (node.variable, values, way));
                }
            }
        }
    }
    if !costs.contains_key(&set) {
        return Ok(None);
    }
    let mut cube = Cube::default();
    let mut at = set;
    while let Some((variable, values, way)) = steps.get(&at) {
        cube.0.insert(*variable, values.clone());
        at = *way;
    }
    Ok(Some(cube))
}

/// A diagram and all below it, each after all that it leads to.
fn from_results_up(diagrams: &Diagrams, diagram: Diagram) -> Vec<Diagram> {
    let mut order = diagrams.reachable(diagram);
    order.sort_by_key(|diagram| std::cmp::Reverse(diagrams.node(*diagram).map(|n| n.variable)));
    order
}

/// How many terms it takes to ask for a set.
fn terms_of(set: &ValueSet, can_be_absent: bool) -> usize {
    match can_be_absent && set.is_rest && !set.absent && !set.listed.is_empty() {
        true => 2,
        false => 1,
    }
}

/// The largest selector around a client of a set that says nothing outside of it.
pub(super) fn around(
    diagrams: &mut Diagrams,
    set: Diagram,
    client: &Client,
) -> Result<Cube, Entangled> {
    let mut cube = Cube::default();
    let mut at = set;
    while let Some(node) = diagrams.node(at).cloned() {
        let attribute = diagrams.attribute(node.variable);
        let can_be_absent = attribute.can_be_absent();
        let value = attribute.of(client);
        let value = value.map(|text| diagrams.known_value(text));
        at = match value {
            None => node.absent,
            Some(None) => node.other,
            Some(Some(value)) => node.way(value),
        };
        let has_client = |set: &ValueSet| match value {
            None => set.absent,
            Some(None) => set.is_rest,
            Some(Some(value)) => set.has(value),
        };
        let groups = node.groups().into_iter().map(|(group, _)| group);
        let mut sayable = groups.flat_map(|group| group.sayable(can_be_absent));
        cube.0
            .extend(sayable.find(has_client).map(|set| (node.variable, set)));
    }
    grow(diagrams, cube, set)
}

/// The largest selector around one that says nothing outside `bound`: attributes that don't matter
/// go, the later ones first, and the others take what values they can.
fn grow(diagrams: &mut Diagrams, mut cube: Cube, bound: Diagram) -> Result<Cube, Entangled> {
    let variables: Vec<Variable> = cube.0.keys().rev().copied().collect();
    for variable in &variables {
        let Some(own) = cube.0.remove(variable) else {
            continue;
        };
        let possible = possible(diagrams, &cube, *variable, bound)?;
        if possible == ValueSet::ALL {
            continue;
        }
        let can_be_absent = diagrams.attribute(*variable).can_be_absent();
        let sayable = possible.sayable(can_be_absent);
        let grown = sayable.into_iter().find(|set| own.is_subset(set));
        cube.0.insert(*variable, grown.unwrap_or(own));
    }
    Ok(cube)
}

/// The values of an attribute for which all of a cube is in a set.
fn possible(
    diagrams: &mut Diagrams,
    cube: &Cube,
    variable: Variable,
    set: Diagram,
) -> Result<ValueSet, Entangled> {
    let mut known = HashMap::from([
        (Diagram::NOTHING, ValueSet::NONE),
        (Diagram::EVERYTHING, ValueSet::ALL),
    ]);
    for diagram in from_results_up(diagrams, set) {
        let Some(node) = diagrams.node(diagram).cloned() else {
            continue;
        };
        diagrams.spend(WAY * (1 + node.ways.len()))?;
        let mut values = ValueSet::ALL;
        let groups = node.groups();
        if node.variable == variable {
            values = ValueSet::NONE;
            for (group, way) in groups {
                // Below this node the variable doesn't stand: it is all or nothing.
                if known.get(&way) == Some(&ValueSet::ALL) {
                    values = values.unite(&group);
                }
            }
        } else {
            let asked = cube.0.get(&node.variable);
            for (group, way) in groups {
                if asked.is_none_or(|asked| !asked.intersect(&group).is_empty())
                    && let Some(below) = known.get(&way)
                {
                    values = values.intersect(below);
                }
            }
        }
        known.insert(diagram, values);
    }
    Ok(known.remove(&set).unwrap_or(ValueSet::NONE))
}

// === impl Cube ===

impl Cube {
    /// The clients for which all conditions hold.
    pub(super) fn of<'a, 'b>(
        diagrams: &mut Diagrams,
        conditions: impl IntoIterator<
            Item = (&'a ClientAttribute, Operator, impl Iterator<Item = &'b str>),
        >,
    ) -> Result<Self, Entangled> {
        let mut cube = Self::default();
        for (attribute, operator, values) in conditions {
            let variable = diagrams.variable(attribute)?;
            let can_be_absent = attribute.can_be_absent();
            let mut listed = BTreeSet::new();
            for text in values {
                listed.insert(diagrams.value(text)?);
            }
            let set = match operator {
                Operator::In => ValueSet {
                    listed,
                    ..ValueSet::NONE
                },
                Operator::NotIn => ValueSet {
                    listed,
                    ..ValueSet::ALL
                },
                Operator::Exists => ValueSet {
                    absent: !can_be_absent,
                    ..ValueSet::ALL
                },
                Operator::DoesNotExist => ValueSet {
                    absent: can_be_absent,
                    ..ValueSet::NONE
                },
            };
            let known = cube.0.entry(variable).or_insert(ValueSet::ALL);
            *known = known.intersect(&set);
        }
        Ok(cube)
    }

    /// Whether a client is one of them.
    pub(super) fn has(&self, diagrams: &Diagrams, client: &Client) -> bool {
        self.0.iter().all(
            |(variable, set)| match diagrams.attribute(*variable).of(client) {
                None => set.absent,
                Some(text) => match diagrams.known_value(text) {
                    Some(value) => set.has(value),
                    None => set.is_rest,
                },
            },
        )
    }

    /// The clients, for people.
    pub(super) fn clients(&self, diagrams: &Diagrams) -> Clients {
        let mut terms = Vec::new();
        for (variable, set) in &self.0 {
            let attribute = diagrams.attribute(*variable);
            let mut term = |operator, values| {
                terms.push(ClientTerm {
                    attribute: attribute.clone(),
                    operator,
                    values,
                });
            };
            let mut listed: Vec<String> = set
                .listed
                .iter()
                .map(|value| diagrams.text(*value).to_string())
                .collect();
            listed.sort();
            let can_be_absent = attribute.can_be_absent();
            match (set.is_rest, set.absent) {
                (true, false) if can_be_absent => {
                    term(Operator::Exists, Vec::new());
                    if !listed.is_empty() {
                        term(Operator::NotIn, listed);
                    }
                }
                (true, _) => term(Operator::NotIn, listed),
                (false, true) if can_be_absent => term(Operator::DoesNotExist, Vec::new()),
                (false, _) => term(Operator::In, listed),
            }
        }
        terms.sort_by(|a, b| a.attribute.cmp(&b.attribute));
        Clients::Known(terms)
    }

    /// The plainest client of them.
    pub(super) fn plainest(&self, diagrams: &Diagrams) -> Client {
        let mut client = Client {
            namespace: "default".to_owned(),
            service_account: "default".to_owned(),
            ..Client::default()
        };
        for (variable, set) in &self.0 {
            let attribute = diagrams.attribute(*variable);
            match attribute {
                ClientAttribute::Namespace => client.namespace = plainest(diagrams, set, "default"),
                ClientAttribute::ServiceAccount => {
                    client.service_account = plainest(diagrams, set, "default");
                }
                ClientAttribute::Label(_) if set.absent => {}
                ClientAttribute::Label(key) => {
                    let value = plainest(diagrams, set, "any");
                    client.labels.insert(key.to_string(), value);
                }
            }
        }
        client
    }
}

/// The plainest value of a set: the usual one where it may be, and else one that nobody lists.
fn plainest(diagrams: &Diagrams, set: &ValueSet, usual: &str) -> String {
    if !set.is_rest {
        let texts = set.listed.iter().map(|value| diagrams.text(*value));
        return texts.min().map(ToString::to_string).unwrap_or_default();
    }
    let is_free = |text: &str| {
        diagrams
            .known_value(text)
            .is_none_or(|value| !set.listed.contains(&value))
    };
    let numbered = (1_usize..).map(|number| format!("other-{number}"));
    let candidates = [usual.to_owned(), "other".to_owned()]
        .into_iter()
        .chain(numbered);
    // There are more candidates than values in the list.
    let mut candidates = candidates.take(set.listed.len() + 3);
    candidates.find(|text| is_free(text)).unwrap_or_default()
}
