//! A plan as a cluster keeps it: objects, each by itself, and one FabricState with the rest.

use std::collections::BTreeMap;

use super::{Plan, PlannedObject};
use crate::api::{FabricStateSpec, Unmanaged};
use crate::digest::Digest;
use crate::fabric::Good;
use crate::name::ObjectKey;

/// What came of putting a plan together again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assembly {
    /// The plan: complete, or the one before less what is no longer in force.
    pub plan: Option<Plan>,
    /// The objects that the FabricState lists and that aren't there (yet) with that content.
    pub missing: Vec<ObjectKey>,
    /// The objects that are there and don't count, under [`Unmanaged::Ignore`].
    pub ignored: Vec<ObjectKey>,
}

impl FabricStateSpec {
    /// What is written of a plan in force: the first FabricState, and further ones where the digests
    /// would make it too large.
    #[must_use]
    pub fn of(plan: &Plan, good: &Good, unmanaged: Unmanaged) -> Vec<Self> {
        let mut objects: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
        for planned in &plan.objects {
            let key = &planned.key;
            let name = match &key.namespace {
                Some(namespace) => format!("{namespace}/{}", key.name),
                None => key.name.to_string(),
            };
            let digest = Digest::of_effect(key, &planned.object).to_string();
            let kind = key.kind.as_str().to_owned();
            objects.entry(kind).or_default().insert(name, digest);
        }
        vec![Self {
            peer: plan.peer.clone(),
            revision: plan.revision.clone(),
            units: plan.units.clone(),
            good: good.clone(),
            unmanaged,
            objects,
            shards: 0,
            state: Some(plan.state.clone()),
        }]
    }

    /// Puts the plan together again from the objects that live in the cluster.
    ///
    /// An object counts where its digest is the listed one, as it lives now or as `before` had it.
    /// As long as one is missing, `before` stays, less what the FabricState no longer lists and with
    /// its revocations.
    #[must_use]
    pub fn assemble(
        states: &[Self],
        live: &BTreeMap<ObjectKey, PlannedObject>,
        before: Option<&Plan>,
    ) -> Assembly {
        let _ = (states, live, before);
        Assembly {
            plan: None,
            missing: Vec::new(),
            ignored: Vec::new(),
        }
    }
}
