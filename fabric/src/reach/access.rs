//! Who can take a route, and where nobody can, why.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Serialize;

use super::diagram::{Diagram, Entangled};
use super::network::End;
use super::policies::{Decided, Sides, State};
use super::{Clients, Reach, Route, Verdict, Why, region};
use crate::attributes::Client;

/// Who can take a route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Access {
    /// The route.
    pub route: Route,
    /// Who can take it.
    pub outcome: Outcome,
}

/// Who is let through.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// These clients, and nobody else.
    Granted(Vec<Grant>),
    /// Nobody.
    Refused(Refusal),
    /// The policies are too entangled to be told apart exactly.
    Undecided,
}

/// Clients that are let through.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Grant {
    /// The clients.
    pub clients: Clients,
    /// One of them; none for unknown ones. One that is declared where there is one.
    pub example: Option<Client>,
    /// What is decided of the example.
    pub verdict: Verdict,
}

/// Why nobody is let through.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Refusal {
    /// All that refuses where connections begin; none where some are let through there.
    pub importer: Option<Vec<Why>>,
    /// All that refuses where they end; none where some are let through there. Where neither side
    /// refuses everybody, each refuses those whom the other lets through.
    pub exporter: Option<Vec<Why>>,
}

// === impl Reach ===

impl Reach<'_> {
    /// Who can take a route.
    pub fn access(&mut self, route: &Route) -> Access {
        self.begin();
        let outcome = self.outcome(route).unwrap_or(Outcome::Undecided);
        Access {
            route: route.clone(),
            outcome,
        }
    }

    fn outcome(&mut self, route: &Route) -> Result<Outcome, Entangled> {
        let decision = self.decide(route)?;
        let allowed = self.engine.allowed(decision)?;
        let mut grants = Vec::new();
        if allowed != Diagram::NOTHING {
            let deciding = {
                let way = self.network.routes.get(route);
                self.engine.deciding(way, State::After, allowed)?
            };
            // What different policies allow is told apart.
            let diagrams = &mut self.engine.diagrams;
            let mut kinds: BTreeMap<Sides<Decided>, BTreeSet<u32>> = BTreeMap::new();
            for result in region::results(diagrams, deciding) {
                let (importer, exporter) = diagrams.pair(result);
                let sides = Sides {
                    importer: Decided::of(importer),
                    exporter: Decided::of(exporter),
                };
                if self.engine.policies.lets_through(sides) {
                    kinds.entry(sides).or_default().insert(result);
                }
            }
            let declared: Vec<_> = self
                .network
                .declared(&route.client_peer)
                .into_iter()
                .collect();
            for region in region::regions(diagrams, deciding, &kinds, &declared)? {
                let verdict = self.verdict_of(route, Some(&region.example))?;
                grants.push(Grant {
                    clients: region.clients,
                    example: Some(region.example),
                    verdict,
                });
            }
        }
        if self.engine.policies.lets_through(decision.unknown()) {
            grants.push(Grant {
                clients: Clients::Unknown,
                example: None,
                verdict: self.verdict_of(route, None)?,
            });
        }
        if !grants.is_empty() {
            return Ok(Outcome::Granted(grants));
        }
        let refuses_unknown = |decided| !self.engine.policies.allows(decided);
        let refuses = Sides {
            importer: decision.importer.allowed == Diagram::NOTHING
                && refuses_unknown(decision.importer.unknown),
            exporter: decision.exporter.allowed == Diagram::NOTHING
                && refuses_unknown(decision.exporter.unknown),
        };
        Ok(Outcome::Refused(Refusal {
            importer: match refuses.importer {
                true => Some(self.refusing(route, End::Importer)?),
                false => None,
            },
            exporter: match refuses.exporter {
                true => Some(self.refusing(route, End::Exporter)?),
                false => None,
            },
        }))
    }

    /// All that decides on a side, of known clients.
    fn refusing(&mut self, route: &Route, end: End) -> Result<Vec<Why>, Entangled> {
        let way = self.network.routes.get(route);
        let everybody = Diagram::EVERYTHING;
        let deciding = self
            .engine
            .deciding_end(way, end, State::After, everybody)?;
        let results = region::results(&self.engine.diagrams, deciding);
        let why = |result| self.engine.policies.why(Decided::of(result), State::After);
        Ok(results.into_iter().map(why).collect())
    }
}
