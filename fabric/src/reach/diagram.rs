//! Functions of clients, as decision diagrams: what is the same function is the same diagram.
//!
//! A node looks at one attribute: a few values have a way of their own, every other value has one,
//! and the absence of the attribute has one. Attributes are in one order on every way, no node has
//! only equal ways, and no two nodes are equal; so a function has one diagram, whatever it was made
//! from, and two are compared by their numbers.

use std::collections::HashMap;
use std::sync::Arc;

use super::attribute::ClientAttribute;
use super::values::ValueSet;
use crate::attributes::Client;

/// A diagram: a node, or the result itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Diagram(u32);

/// An attribute, by its place in the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Variable(u32);

/// A value that some policy lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Value(u32);

/// There is more to tell apart than is bearable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entangled;

/// A node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Node {
    pub(super) variable: Variable,
    /// The values that have a way of their own, in order.
    pub(super) ways: Box<[(Value, Diagram)]>,
    /// The way of every other value.
    pub(super) other: Diagram,
    /// The way without the attribute; that of the others where every client has it.
    pub(super) absent: Diagram,
}

/// How two functions are put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Operation {
    /// The first one, and the second where the first says nothing.
    First,
    /// Both results.
    Pair,
    /// Of two sets what is in both.
    And,
    /// Of two sets what is in either.
    Or,
    /// Of two sets what is in the first alone.
    Without,
    /// A function for those who are in a set, and nothing for all others.
    Within,
}

/// All diagrams that are compared with each other.
#[derive(Debug, Default)]
pub(super) struct Diagrams {
    nodes: Vec<Arc<Node>>,
    numbers: HashMap<Arc<Node>, Diagram>,
    results: HashMap<(Operation, Diagram, Diagram), Diagram>,
    pairs: Vec<(u32, u32)>,
    pair_numbers: HashMap<(u32, u32), u32>,
    attributes: Vec<ClientAttribute>,
    variables: HashMap<ClientAttribute, Variable>,
    texts: Vec<Arc<str>>,
    values: HashMap<Arc<str>, Value>,
    /// How many steps may still be taken.
    patience: usize,
    /// How many ways the nodes and the remembered results have together.
    size: usize,
}

/// Attributes that are told apart at once: a diagram is walked by a recursion as deep as there are
/// attributes, and this deep it needs a few hundred KB of stack.
const MAX_VARIABLES: usize = 1_000;

const RESULT: u32 = 1 << 31;

// === impl Diagram ===

impl Diagram {
    /// Nothing: no client is in the set, or no policy matches.
    pub(super) const NOTHING: Self = Self(RESULT);
    /// Every client is in the set.
    pub(super) const EVERYTHING: Self = Self::result(Self::YES);
    /// The result of a set for those who are in it.
    pub(super) const YES: u32 = 1;

    /// The same result for every client.
    pub(super) const fn result(number: u32) -> Self {
        Self(RESULT | number)
    }

    /// The result, where it is the same for every client.
    pub(super) const fn as_result(self) -> Option<u32> {
        match self.0 & RESULT {
            0 => None,
            _ => Some(self.0 & !RESULT),
        }
    }
}

// === impl Diagrams ===

impl Diagrams {
    /// How many steps may still be taken.
    pub(super) const fn patience(&self) -> usize {
        self.patience
    }

    /// So many steps may be taken from now on.
    pub(super) const fn allow(&mut self, steps: usize) {
        self.patience = steps;
    }

    /// How much is kept: ways of nodes and remembered results, some tens of bytes each.
    pub(super) const fn size(&self) -> usize {
        self.size
    }

    pub(super) fn spend(&mut self, steps: usize) -> Result<(), Entangled> {
        self.patience = self.patience.checked_sub(steps).ok_or(Entangled)?;
        Ok(())
    }

    /// The attribute's place; those come first that are asked for first, before all labels the two
    /// that every client has.
    pub(super) fn variable(&mut self, attribute: &ClientAttribute) -> Result<Variable, Entangled> {
        if self.attributes.is_empty() {
            for attribute in [ClientAttribute::Namespace, ClientAttribute::ServiceAccount] {
                self.add_variable(&attribute)?;
            }
        }
        match self.variables.get(attribute) {
            Some(variable) => Ok(*variable),
            None => self.add_variable(attribute),
        }
    }

    fn add_variable(&mut self, attribute: &ClientAttribute) -> Result<Variable, Entangled> {
        if self.attributes.len() >= MAX_VARIABLES {
            return Err(Entangled);
        }
        let number = u32::try_from(self.attributes.len()).map_err(|_| Entangled)?;
        self.attributes.push(attribute.clone());
        self.variables.insert(attribute.clone(), Variable(number));
        Ok(Variable(number))
    }

    #[expect(
        clippy::indexing_slicing,
        reason = "a variable is the place of an attribute"
    )]
    pub(super) fn attribute(&self, variable: Variable) -> &ClientAttribute {
        &self.attributes[variable.0 as usize]
    }

    pub(super) fn value(&mut self, text: &str) -> Result<Value, Entangled> {
        if let Some(value) = self.values.get(text) {
            return Ok(*value);
        }
        let value = Value(u32::try_from(self.texts.len()).map_err(|_| Entangled)?);
        let text: Arc<str> = text.into();
        self.texts.push(Arc::clone(&text));
        self.values.insert(text, value);
        Ok(value)
    }

    /// The value of a text; none for one that nobody lists.
    pub(super) fn known_value(&self, text: &str) -> Option<Value> {
        self.values.get(text).copied()
    }

    #[expect(clippy::indexing_slicing, reason = "a value is the place of a text")]
    pub(super) fn text(&self, value: Value) -> &Arc<str> {
        &self.texts[value.0 as usize]
    }

    /// What a result of [`Operation::Pair`] is made of.
    #[expect(clippy::indexing_slicing, reason = "asked of results of pairs alone")]
    pub(super) fn pair(&self, result: u32) -> (u32, u32) {
        self.pairs[result as usize]
    }

    /// The node of a diagram that isn't a result.
    #[expect(
        clippy::indexing_slicing,
        reason = "a diagram is a result or the place of a node"
    )]
    pub(super) fn node(&self, diagram: Diagram) -> Option<&Arc<Node>> {
        match diagram.as_result() {
            None => Some(&self.nodes[diagram.0 as usize]),
            Some(_) => None,
        }
    }

    /// The diagram that asks for one attribute and goes on.
    pub(super) fn ask(
        &mut self,
        variable: Variable,
        ways: Vec<(Value, Diagram)>,
        other: Diagram,
        absent: Diagram,
    ) -> Result<Diagram, Entangled> {
        let mut ways = ways;
        ways.retain(|(_, way)| *way != other);
        let absent = match self.attribute(variable).can_be_absent() {
            true => absent,
            false => other,
        };
        if ways.is_empty() && absent == other {
            return Ok(other);
        }
        let node = Arc::new(Node {
            variable,
            ways: ways.into(),
            other,
            absent,
        });
        if let Some(known) = self.numbers.get(&node) {
            return Ok(*known);
        }
        self.spend(node.ways.len() + 1)?;
        self.size += node.ways.len() + 4;
        let number = u32::try_from(self.nodes.len()).map_err(|_| Entangled)?;
        let diagram = Diagram(number & !RESULT);
        self.nodes.push(Arc::clone(&node));
        self.numbers.insert(node, diagram);
        Ok(diagram)
    }

    /// The function that gives `then` where every attribute is of its set, and nothing elsewhere;
    /// the sets are in the order of the variables.
    pub(super) fn cube<'a>(
        &mut self,
        sets: impl DoubleEndedIterator<Item = (&'a Variable, &'a ValueSet)>,
        then: Diagram,
    ) -> Result<Diagram, Entangled> {
        let mut below = then;
        for (variable, set) in sets.rev() {
            let way = |is_in| if is_in { below } else { Diagram::NOTHING };
            let ways = set.listed.iter();
            let ways = ways.map(|value| (*value, way(!set.is_rest))).collect();
            below = self.ask(*variable, ways, way(set.is_rest), way(set.absent))?;
        }
        Ok(below)
    }

    /// Two functions put together.
    pub(super) fn apply(
        &mut self,
        operation: Operation,
        a: Diagram,
        b: Diagram,
    ) -> Result<Diagram, Entangled> {
        if let Some(result) = self.result_of(operation, a, b)? {
            return Ok(result);
        }
        if let Some(known) = self.results.get(&(operation, a, b)) {
            return Ok(*known);
        }
        let (first, second) = (self.node(a).cloned(), self.node(b).cloned());
        let variables = [&first, &second].into_iter().flatten().map(|n| n.variable);
        let Some(variable) = variables.min() else {
            return Err(Entangled);
        };
        let a_part = Part::of(first.as_deref(), a, variable);
        let b_part = Part::of(second.as_deref(), b, variable);
        self.spend(1 + a_part.ways.len() + b_part.ways.len())?;
        let mut ways = Vec::with_capacity(a_part.ways.len().max(b_part.ways.len()));
        for (value, a, b) in merge(&a_part, &b_part) {
            ways.push((value, self.apply(operation, a, b)?));
        }
        let other = self.apply(operation, a_part.other, b_part.other)?;
        let absent = self.apply(operation, a_part.absent, b_part.absent)?;
        let result = self.ask(variable, ways, other, absent)?;
        self.size += 1;
        self.results.insert((operation, a, b), result);
        Ok(result)
    }

    /// The result where no node has to be looked at.
    fn result_of(
        &mut self,
        operation: Operation,
        a: Diagram,
        b: Diagram,
    ) -> Result<Option<Diagram>, Entangled> {
        use Operation::{And, First, Or, Pair, Within, Without};
        let (nothing, everything) = (Diagram::NOTHING, Diagram::EVERYTHING);
        Ok(match operation {
            First if a == nothing => Some(b),
            First if a.as_result().is_some() || b == nothing || a == b => Some(a),
            And if a == nothing || b == nothing => Some(nothing),
            And if a == everything || a == b => Some(b),
            And if b == everything => Some(a),
            Or if a == everything || b == everything => Some(everything),
            Or if a == nothing || a == b => Some(b),
            Or if b == nothing => Some(a),
            Without if a == nothing || b == everything || a == b => Some(nothing),
            Without if b == nothing => Some(a),
            Within if a == nothing || b == nothing => Some(nothing),
            Within if a == everything => Some(b),
            Pair => match (a.as_result(), b.as_result()) {
                (Some(a), Some(b)) => Some(Diagram::result(self.pair_number(a, b)?)),
                _ => None,
            },
            _ => None,
        })
    }

    fn pair_number(&mut self, a: u32, b: u32) -> Result<u32, Entangled> {
        if let Some(known) = self.pair_numbers.get(&(a, b)) {
            return Ok(*known);
        }
        let number = u32::try_from(self.pairs.len()).map_err(|_| Entangled)?;
        self.size += 2;
        self.pairs.push((a, b));
        self.pair_numbers.insert((a, b), number);
        Ok(number)
    }

    /// The function with other results.
    pub(super) fn map(
        &mut self,
        diagram: Diagram,
        result: &dyn Fn(&Self, u32) -> u32,
    ) -> Result<Diagram, Entangled> {
        self.map_known(diagram, result, &mut HashMap::new())
    }

    fn map_known(
        &mut self,
        diagram: Diagram,
        result: &dyn Fn(&Self, u32) -> u32,
        known: &mut HashMap<Diagram, Diagram>,
    ) -> Result<Diagram, Entangled> {
        if let Some(number) = diagram.as_result() {
            return Ok(Diagram::result(result(self, number)));
        }
        if let Some(known) = known.get(&diagram) {
            return Ok(*known);
        }
        let Some(node) = self.node(diagram).cloned() else {
            return Ok(diagram);
        };
        self.spend(1 + node.ways.len())?;
        let mut ways = Vec::with_capacity(node.ways.len());
        for (value, way) in &node.ways {
            ways.push((*value, self.map_known(*way, result, known)?));
        }
        let other = self.map_known(node.other, result, known)?;
        let absent = self.map_known(node.absent, result, known)?;
        let mapped = self.ask(node.variable, ways, other, absent)?;
        known.insert(diagram, mapped);
        Ok(mapped)
    }

    /// The nodes of a diagram and of what they lead to, each once.
    pub(super) fn reachable(&self, diagram: Diagram) -> Vec<Diagram> {
        let mut seen = std::collections::HashSet::from([diagram]);
        let mut order = vec![diagram];
        let mut next = 0;
        while let Some(diagram) = order.get(next).copied() {
            next += 1;
            let Some(node) = self.node(diagram) else {
                continue;
            };
            let ways = node.ways.iter().map(|(_, way)| *way);
            for way in ways.chain([node.other, node.absent]) {
                if seen.insert(way) {
                    order.push(way);
                }
            }
        }
        order
    }

    /// The result for one client.
    pub(super) fn evaluate(&self, diagram: Diagram, client: &Client) -> u32 {
        let mut at = diagram;
        loop {
            if let Some(result) = at.as_result() {
                return result;
            }
            let Some(node) = self.node(at) else { return 0 };
            at = match self.attribute(node.variable).of(client) {
                None => node.absent,
                Some(text) => self
                    .known_value(text)
                    .map_or(node.other, |value| node.way(value)),
            };
        }
    }
}

// === impl Node ===

impl Node {
    /// The way of a value.
    pub(super) fn way(&self, value: Value) -> Diagram {
        match self.ways.binary_search_by_key(&value, |(value, _)| *value) {
            Ok(place) => self.ways.get(place).map_or(self.other, |(_, way)| *way),
            Err(_) => self.other,
        }
    }

    /// The ways, each with all that goes it, in a fixed order.
    pub(super) fn groups(&self) -> Vec<(ValueSet, Diagram)> {
        let mut groups: Vec<(ValueSet, Diagram)> = Vec::new();
        let mut places: HashMap<Diagram, usize> = HashMap::new();
        let rest = ValueSet {
            listed: self.ways.iter().map(|(value, _)| *value).collect(),
            is_rest: true,
            absent: false,
        };
        places.insert(self.other, 0);
        groups.push((rest, self.other));
        for (value, way) in &self.ways {
            let place = *places.entry(*way).or_insert(groups.len());
            match groups.get_mut(place) {
                Some((set, _)) => {
                    set.listed.insert(*value);
                }
                None => groups.push((ValueSet::of(*value), *way)),
            }
        }
        let place = *places.entry(self.absent).or_insert(groups.len());
        match groups.get_mut(place) {
            Some((set, _)) => set.absent = true,
            None => groups.push((ValueSet::ABSENT, self.absent)),
        }
        groups
    }
}

/// The ways of a diagram by one variable, which may not be its own.
struct Part<'a> {
    ways: &'a [(Value, Diagram)],
    other: Diagram,
    absent: Diagram,
}

impl<'a> Part<'a> {
    fn of(node: Option<&'a Node>, diagram: Diagram, variable: Variable) -> Self {
        match node {
            Some(node) if node.variable == variable => Self {
                ways: &node.ways,
                other: node.other,
                absent: node.absent,
            },
            _ => Self {
                ways: &[],
                other: diagram,
                absent: diagram,
            },
        }
    }
}

/// The values that have a way of their own in either, with the ways of both.
fn merge<'a>(
    a: &'a Part<'_>,
    b: &'a Part<'_>,
) -> impl Iterator<Item = (Value, Diagram, Diagram)> + 'a {
    let (mut first, mut second) = (a.ways.iter().peekable(), b.ways.iter().peekable());
    std::iter::from_fn(move || match (first.peek(), second.peek()) {
        (None, None) => None,
        (Some((value, way)), None) => {
            first.next();
            Some((*value, *way, b.other))
        }
        (None, Some((value, way))) => {
            second.next();
            Some((*value, a.other, *way))
        }
        (Some((left, way)), Some((right, other_way))) => Some(match left.cmp(right) {
            std::cmp::Ordering::Less => {
                first.next();
                (*left, *way, b.other)
            }
            std::cmp::Ordering::Greater => {
                second.next();
                (*right, a.other, *other_way)
            }
            std::cmp::Ordering::Equal => {
                first.next();
                second.next();
                (*left, *way, *other_way)
            }
        }),
    })
}
