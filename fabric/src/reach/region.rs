//! What a function says, in selectors: few and small ones for all that it says alike.

use std::collections::{BTreeMap, BTreeSet};

use super::Clients;
use super::cover::{self, Cube};
use super::diagram::{Diagram, Diagrams, Entangled, Operation};
use crate::attributes::Client;

/// Clients for whom a function says alike.
#[derive(Clone, Debug)]
pub(super) struct Region {
    /// The clients.
    pub(super) clients: Clients,
    /// One of them.
    pub(super) example: Client,
    /// The function's result for it.
    pub(super) result: u32,
}

/// The results that a function can have.
pub(super) fn results(diagrams: &Diagrams, function: Diagram) -> BTreeSet<u32> {
    let reachable = diagrams.reachable(function).into_iter();
    reachable.filter_map(Diagram::as_result).collect()
}

/// Describes the clients of each kind of result, in the order of the kinds; results without a kind
/// are left out.
///
/// What a kind is told for may hold clients of kinds before it, where that makes it simpler.
pub(super) fn regions<K>(
    diagrams: &mut Diagrams,
    function: Diagram,
    kinds: &BTreeMap<K, BTreeSet<u32>>,
    declared: &[Client],
) -> Result<Vec<Region>, Entangled> {
    let mut regions = Vec::new();
    let mut told = Diagram::NOTHING;
    for results in kinds.values() {
        let is_of_kind = |_: &Diagrams, result| u32::from(results.contains(&result));
        let set = diagrams.map(function, &is_of_kind)?;
        told = diagrams.apply(Operation::Or, set, told)?;
        for cube in cover::cover(diagrams, set, told)? {
            let example = example(diagrams, set, &cube, declared)?;
            regions.push(Region {
                clients: cube.clients(diagrams),
                result: diagrams.evaluate(function, &example),
                example,
            });
        }
    }
    Ok(regions)
}

/// A client of a set and of a cube that has some of it: one that is declared, or else the plainest.
pub(super) fn example(
    diagrams: &mut Diagrams,
    set: Diagram,
    cube: &Cube,
    declared: &[Client],
) -> Result<Client, Entangled> {
    let is_inside = |client: &&Client| {
        cube.has(diagrams, client) && diagrams.evaluate(set, client) == Diagram::YES
    };
    if let Some(client) = declared.iter().find(is_inside) {
        return Ok(client.clone());
    }
    let inside = diagrams.cube(cube.0.iter(), Diagram::EVERYTHING)?;
    let inside = diagrams.apply(Operation::And, inside, set)?;
    let plainest = cover::shortest(diagrams, inside)?.ok_or(Entangled)?;
    Ok(plainest.plainest(diagrams))
}
