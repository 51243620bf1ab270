//! The FabricState: what is in force, for the gateways and for the process after this one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fabric::api::{FabricStateSpec, Unmanaged};
use fabric::crd::CustomKind;
use fabric::digest::Digest;
use fabric::mark;
use fabric::name::{Kind, ObjectKey};
use fabric::plan::action::{self, Live, Owner, Standing, Version};
use fabric::plan::{Plan, PlannedObject, State};
use kube::api::{Api, DynamicObject};
use serde_json::json;
use tokio::time::sleep;

use super::send::FIRST_WAIT;
use super::{Desired, Goal, Kubernetes};
use crate::kubernetes::objects::{LiveState, version};
use crate::kubernetes::resource::api;
use crate::kubernetes::write::{Failure, RequestError};
use crate::metrics::ObjectState;

/// What is in force.
#[derive(Debug)]
pub(super) enum InForce {
    /// As the cluster said when this process began.
    Remembered(Arc<Desired>),
    /// A goal, as far as it was reached.
    Applied {
        goal: Arc<Goal>,
        /// What is wanted and isn't in force.
        absent: BTreeSet<ObjectKey>,
        /// What is in force as it was before.
        others: BTreeMap<ObjectKey, PlannedObject>,
    },
}

/// All that a FabricState is made from, and the states of the FabricStates that say it.
#[derive(Debug)]
pub(super) struct Compared {
    goal: Arc<Goal>,
    unmanaged: Unmanaged,
    pub(super) digests: BTreeMap<ObjectKey, Digest>,
    states: Vec<(String, String)>,
}

/// So often a FabricState is tried: only who fights with us makes more than one conflict.
const ATTEMPTS: u32 = 4;

/// The digests of what counts as in force; none where the cluster has no FabricState.
pub(super) type Listed = Option<BTreeMap<ObjectKey, Digest>>;

// === impl Kubernetes ===

impl Kubernetes {
    /// Takes from the cluster what is in force where it isn't what this process brought about:
    /// another one led meanwhile, or leads.
    pub(super) fn look_for_another_leader(&self) {
        if self.has_another_led() {
            self.remember();
        }
    }

    /// Whether the FabricState says something that this process neither wrote nor found.
    pub(super) fn has_another_led(&self) -> bool {
        let memory = self.memory.lock();
        match &memory.goal {
            None => memory.remembered != self.state_versions(),
            Some(goal) => {
                // Before the first comparison, what is there is older than the goal. And while we
                // lead without a break, it is nobody's business to write it: it is put right.
                let Some(compared) = &memory.compared else {
                    return false;
                };
                if memory.term == self.leadership.term() {
                    return false;
                }
                let (before, after) = (&compared.goal.desired, &goal.desired);
                let is_other = |first: &Arc<FabricStateSpec>| {
                    first.peer != self.target.peer
                        || (first.revision != before.revision && first.revision != after.revision)
                };
                compared.states != self.state_versions()
                    && self.specs().first().is_some_and(is_other)
            }
        }
    }

    /// Forgets what is to be in force, and takes from the cluster what is.
    pub(super) fn remember(&self) {
        {
            let mut memory = self.memory.lock();
            memory.goal = None;
            memory.in_force = None;
            memory.compared = None;
            memory.met.clear();
            memory.troubles.clear();
            memory.remembered = self.state_versions();
        }
        let specs = self.specs();
        let Some(first) = specs.first() else {
            return;
        };
        if first.peer != self.target.peer {
            tracing::warn!(
                before = %first.peer,
                peer = %self.target.peer,
                "the cluster was another peer before"
            );
            return;
        }
        let ours = self.objects.all().filter(|live| live.content().is_some());
        let listed = self.listed().unwrap_or_default();
        let objects = listed.len();
        // What can't be found is being put back: a round was interrupted.
        let found = ours.filter_map(|live| {
            let digest = listed.get(&live.key)?;
            let planned = PlannedObject {
                key: live.key.clone(),
                origin: live.origin()?,
                object: live.object.as_deref().ok()?.clone(),
            };
            (live.effect() == Some(*digest)).then(|| (live.key.clone(), planned))
        });
        let found: BTreeMap<ObjectKey, PlannedObject> = found.collect();
        let plan = first.state.as_ref().map(|state| Plan {
            peer: first.peer.clone(),
            revision: first.revision.clone(),
            units: first.units.clone(),
            objects: found.into_values().collect(),
            state: state.clone(),
        });
        let revision = first.revision.clone();
        tracing::info!(%revision, objects, "the cluster says what is in force");
        let desired = Desired {
            revision: revision.clone(),
            plan,
            good: first.good.clone(),
        };
        self.memory.lock().in_force = Some(InForce::Remembered(Arc::new(desired)));
        self.status.send_modify(|status| {
            status.revision = Some(revision);
            status.objects = objects;
        });
    }

    /// What counts as in force in the cluster.
    pub(super) fn listed(&self) -> Listed {
        let specs = self.specs();
        if specs.is_empty() {
            return None;
        }
        let mut listed = BTreeMap::new();
        for (kind, objects) in specs.iter().flat_map(|spec| &spec.objects) {
            let Ok(kind) = kind.parse::<Kind>() else {
                continue;
            };
            for (name, digest) in objects {
                let (namespace, name) = match name.split_once('/') {
                    Some((namespace, name)) => (Some(namespace.into()), name),
                    None => (None, name.as_str()),
                };
                let key = ObjectKey {
                    kind,
                    namespace,
                    name: name.into(),
                };
                if let Ok(digest) = digest.parse() {
                    listed.insert(key, digest);
                }
            }
        }
        Some(listed)
    }

    /// All objects as they live.
    pub(super) fn live(&self, listed: &Listed) -> BTreeMap<ObjectKey, Live> {
        let held: BTreeSet<ObjectKey> = self.status.borrow().blocked.iter().cloned().collect();
        let all = self.objects.all().map(|object| {
            let there = listed
                .as_ref()
                .and_then(|listed| listed.get(&object.key).copied());
            // Without a FabricState everything counts, so that nothing is deleted unseen. What was
            // held back still is, though it left the FabricState because somebody changed it.
            let counts = listed.is_none() || held.contains(&object.key);
            let digest = match counts.then(|| object.effect().or_else(|| object.content())) {
                Some(digest) => there.or(digest),
                None => there,
            };
            let mut live = self.live_of(&object, there);
            live.listed = digest;
            if live.owner == Owner::Nobody && live.content.is_some() && digest.is_some() {
                live.owner = Owner::Unmarked;
            }
            (object.key.clone(), live)
        });
        all.collect()
    }

    /// The FabricStates as they live: the first one, and those that go on from it.
    fn specs(&self) -> Vec<Arc<FabricStateSpec>> {
        let find = |name: &str| {
            let state = self
                .objects
                .states
                .find(Some(&self.target.namespace), name)?;
            state.spec.as_ref().ok().cloned()
        };
        let Some(first) = find(&self.target.name) else {
            return Vec::new();
        };
        let further = (1..=first.shards).map_while(|number| find(&self.name(number)));
        let further: Vec<_> = further.collect();
        [vec![first], further].concat()
    }

    /// Writes the FabricState where it isn't as it is to be, the first object last: it says how many
    /// others there are. Gives how many objects are in force, and whether anything was written.
    pub(super) async fn write_state(
        &self,
        goal: &Arc<Goal>,
        standing: Standing<'_>,
    ) -> Result<(usize, bool), RequestError> {
        let empty = BTreeMap::new();
        let wanted = goal.wanted.as_ref().unwrap_or(&empty);
        let versions = action::in_force(wanted, standing);
        let kinds = versions.keys().map(|key| key.kind);
        self.metrics.set_objects(ObjectState::InForce, kinds);
        let unmanaged = self.settings.read().unmanaged;
        let digests = versions.iter().filter_map(|(key, version)| {
            let digest = match version {
                Version::Wanted => wanted.get(key)?.effect,
                Version::Before => *standing.listed.get(key)?,
            };
            Some((key.clone(), digest))
        });
        let compared = Compared {
            goal: Arc::clone(goal),
            unmanaged,
            digests: digests.collect(),
            states: Vec::new(),
        };
        if let Some(before) = &self.memory.lock().compared
            && before.is_same(&compared)
            && before.states == self.state_versions()
        {
            return Ok((versions.len(), false));
        }

        let others: BTreeMap<ObjectKey, PlannedObject> = versions
            .iter()
            .filter(|(_, version)| **version == Version::Before)
            .filter_map(|(key, _)| {
                let live = standing.live.get(key)?;
                let planned = PlannedObject {
                    key: key.clone(),
                    origin: live.origin.clone()?,
                    object: live.object.as_deref()?.clone(),
                };
                Some((key.clone(), planned))
            })
            .collect();
        let in_force = InForce::Applied {
            absent: wanted
                .keys()
                .filter(|key| !versions.contains_key(*key))
                .cloned()
                .collect(),
            goal: Arc::clone(goal),
            others,
        };
        let specs = self.specs_of(goal, &in_force, unmanaged);
        let mut is_written = false;
        for (number, spec) in (0..).zip(&specs).collect::<Vec<_>>().into_iter().rev() {
            is_written |= self.write_one(&self.name(number), spec).await?;
        }
        let mut surplus = u32::try_from(specs.len()).unwrap_or(u32::MAX);
        while self.delete_one(&self.name(surplus)).await? {
            surplus += 1;
            is_written = true;
        }
        let compared = Compared {
            states: self.state_versions(),
            ..compared
        };
        let mut memory = self.memory.lock();
        memory.in_force = Some(in_force);
        memory.compared = Some(compared);
        Ok((versions.len(), is_written))
    }

    fn specs_of(
        &self,
        goal: &Goal,
        in_force: &InForce,
        unmanaged: Unmanaged,
    ) -> Vec<FabricStateSpec> {
        // Gateways don't look at Instances.
        let mut objects = in_force.objects();
        objects.retain(|object| object.key.kind != Kind::Instance);
        let good = &goal.desired.good;
        match &goal.desired.plan {
            Some(plan) => {
                let plan = Plan {
                    objects,
                    ..plan.clone()
                };
                FabricStateSpec::of(&plan, good, unmanaged)
            }
            // What is held back is counted, though nothing is in force without a state.
            None => {
                let plan = self.nothing(goal, objects);
                let mut specs = FabricStateSpec::of(&plan, good, unmanaged);
                specs.iter_mut().for_each(|spec| spec.state = None);
                specs
            }
        }
    }

    /// The states that the FabricStates of ours are in.
    fn state_versions(&self) -> Vec<(String, String)> {
        let states = self.objects.states.all();
        let ours = states
            .iter()
            .filter(|state| state.meta.owner(&self.label) == Owner::Us);
        ours.map(|state| (state.meta.name.clone(), state.meta.resource_version.clone()))
            .collect()
    }

    async fn write_one(&self, name: &str, spec: &FabricStateSpec) -> Result<bool, RequestError> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let live = self.state(name);
            let is_same = live.as_ref().is_some_and(|live| {
                let label = live.meta.labels.get(mark::SYNC);
                live.spec.as_deref() == Ok(spec) && label == Some(&self.label)
            });
            if is_same {
                return Ok(false);
            }
            let mut body = json!({
                "apiVersion": "weft.dev/v1alpha1",
                "kind": "FabricState",
                "metadata": {
                    "name": name,
                    "namespace": self.target.namespace,
                    "labels": {mark::SYNC: self.label},
                },
                "spec": spec,
            });
            if let Some(live) = &live {
                body["metadata"]["resourceVersion"] = json!(live.meta.resource_version);
            }
            let api = self.states();
            let request = self.writer.apply(&api, &body, live.is_some());
            match self.send(request).await {
                Ok(answer) => {
                    self.put_state(answer);
                    return Ok(true);
                }
                Err(error) if attempt < ATTEMPTS => match error.failure {
                    Failure::Throttled(_) => {}
                    Failure::Conflict => {
                        self.read_state(name).await?;
                        if self.has_another_led() {
                            return Err(error);
                        }
                    }
                    // Unless it was waited for long enough.
                    Failure::Unavailable if error.source.is_some() => {
                        sleep(FIRST_WAIT * 2_u32.pow(attempt)).await;
                    }
                    _ => return Err(error),
                },
                Err(error) => return Err(error),
            }
        }
    }

    /// Deletes a FabricState that nothing goes on in any more; whether there was one of ours.
    async fn delete_one(&self, name: &str) -> Result<bool, RequestError> {
        let live = self.state(name);
        let ours = live.filter(|live| live.meta.owner(&self.label) == Owner::Us);
        let Some(live) = ours.filter(|live| !live.meta.is_terminating) else {
            return Ok(false);
        };
        let shown = format!("FabricState {}/{name}", self.target.namespace);
        let (uid, version) = (&live.meta.uid, &live.meta.resource_version);
        let api = self.states();
        let request = self.writer.delete(&api, &shown, name, uid, version);
        self.send(request).await?;
        let name = (Some(self.target.namespace.clone()), name.to_owned());
        let states = &self.objects.states;
        states.remove(&name, |old| old.meta.uid == live.meta.uid);
        Ok(true)
    }

    async fn read_state(&self, name: &str) -> Result<(), RequestError> {
        let shown = || format!("FabricState {}/{name}", self.target.namespace);
        let api = self.states();
        let request = self.writer.request("read", shown, api.get_opt(name));
        match self.send(request).await? {
            Some(object) => self.put_state(object),
            None => {
                let name = (Some(self.target.namespace.clone()), name.to_owned());
                self.objects.states.remove(&name, |_| true);
            }
        }
        Ok(())
    }

    fn put_state(&self, object: DynamicObject) {
        let state = LiveState::decode(object);
        let name = (state.meta.namespace.clone(), state.meta.name.clone());
        let (uid, number) = (state.meta.uid.clone(), version(&state.meta));
        self.objects.states.put(name, state, |old| {
            old.meta.uid != uid || version(&old.meta) < number
        });
    }

    fn state(&self, name: &str) -> Option<Arc<LiveState>> {
        let namespace = Some(self.target.namespace.as_str());
        self.objects.states.find(namespace, name)
    }

    fn states(&self) -> Api<DynamicObject> {
        let namespace = Some(self.target.namespace.as_str());
        api(&self.client.0, CustomKind::FabricState, namespace)
    }

    fn name(&self, number: u32) -> String {
        match number {
            0 => self.target.name.clone(),
            _ => format!("{}-{number}", self.target.name),
        }
    }

    /// A plan without anything, of a peer that the fabric doesn't have (any more).
    fn nothing(&self, goal: &Goal, objects: Vec<PlannedObject>) -> Plan {
        Plan {
            peer: self.target.peer.clone(),
            revision: goal.desired.revision.clone(),
            units: BTreeMap::new(),
            objects,
            state: State::empty(),
        }
    }
}

// === impl InForce ===

impl InForce {
    /// The same as a plan; it is made when it is asked for, rather than to be kept twice.
    pub(super) fn desired(&self) -> Arc<Desired> {
        let goal = match self {
            Self::Remembered(desired) => return Arc::clone(desired),
            Self::Applied { goal, .. } => goal,
        };
        let plan = goal.desired.plan.as_ref();
        Arc::new(Desired {
            plan: plan.map(|plan| Plan {
                objects: self.objects(),
                ..plan.clone()
            }),
            ..goal.desired.clone()
        })
    }

    /// The objects in force, in the order of their keys.
    fn objects(&self) -> Vec<PlannedObject> {
        let (goal, absent, others) = match self {
            Self::Remembered(desired) => {
                let plan = desired.plan.as_ref();
                return plan.map(|plan| plan.objects.clone()).unwrap_or_default();
            }
            Self::Applied {
                goal,
                absent,
                others,
            } => (goal, absent, others),
        };
        let wanted = goal.wanted.iter().flatten();
        let wanted = wanted.filter(|(key, _)| !absent.contains(*key) && !others.contains_key(*key));
        let mut objects: Vec<PlannedObject> = wanted
            .map(|(_, wanted)| wanted.planned.clone())
            .chain(others.values().cloned())
            .collect();
        objects.sort_by(|a, b| a.key.cmp(&b.key));
        objects
    }
}

// === impl Compared ===

impl Compared {
    fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.goal, &other.goal)
            && self.unmanaged == other.unmanaged
            && self.digests == other.digests
    }
}
