//! Few and small selectors for a set of clients.

use std::collections::{BTreeMap, HashMap};

use super::attribute::ClientAttribute;
use super::diagram::{Diagram, Diagrams, Entangled, Operation, Variable};
use super::values::ValueSet;
use super::{ClientTerm, Clients};
use crate::api::Operator;
use crate::attributes::Client;

/// Clients by a set of values for each of some attributes.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cube(pub(super) BTreeMap<Variable, ValueSet>);

/// Selectors of one set: beyond it nobody would read them.
const MAX_CUBES: usize = 256;

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
    let mut costs: HashMap<Diagram, (usize, Option<(Variable, ValueSet, Diagram)>)> =
        HashMap::from([(Diagram::EVERYTHING, (0, None))]);
    // From the results up: a node comes after all that it leads to.
    let mut order = diagrams.reachable(set);
    order.sort_by_key(|diagram| std::cmp::Reverse(diagrams.node(*diagram).map(|n| n.variable)));
    for diagram in order {
        let Some(node) = diagrams.node(diagram).cloned() else {
            continue;
        };
        diagrams.spend(1 + node.ways.len())?;
        let can_be_absent = diagrams.attribute(node.variable).can_be_absent();
        let mut best: Option<(usize, Option<(Variable, ValueSet, Diagram)>)> = None;
        for (values, way) in node.groups() {
            let Some((below, _)) = costs.get(&way) else {
                continue;
            };
            for values in values.sayable(can_be_absent) {
                let cost = below + terms_of(&values, can_be_absent);
                if best.as_ref().is_none_or(|(known, _)| cost < *known) {
                    best = Some((cost, Some((node.variable, values, way))));
                }
            }
        }
        if let Some(best) = best {
            costs.insert(diagram, best);
        }
    }
    if !costs.contains_key(&set) {
        return Ok(None);
    }
    let mut cube = Cube::default();
    let mut at = set;
    while let Some((_, Some((variable, values, way)))) = costs.get(&at) {
        cube.0.insert(*variable, values.clone());
        at = *way;
    }
    Ok(Some(cube))
}

/// How many terms it takes to ask for a set.
fn terms_of(set: &ValueSet, can_be_absent: bool) -> usize {
    match can_be_absent && set.is_rest && !set.absent && !set.listed.is_empty() {
        true => 2,
        false => 1,
    }
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
    let mut order = diagrams.reachable(set);
    order.sort_by_key(|diagram| std::cmp::Reverse(diagrams.node(*diagram).map(|n| n.variable)));
    for diagram in order {
        let Some(node) = diagrams.node(diagram).cloned() else {
            continue;
        };
        diagrams.spend(1 + node.ways.len())?;
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
