//! The FabricState: what is in force, for the gateways and for the process after this one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fabric::api::{ExportHosts, FabricStateSpec, Heartbeat, Limits, Prune};
use fabric::crd::CustomKind;
use fabric::digest::Digest;
use fabric::mark;
use fabric::name::{Kind, ObjectKey};
use fabric::plan::action::{self, Live, Owner};
use fabric::plan::{Plan, PlannedObject, State};
use kube::api::{Api, DynamicObject};
use serde_json::json;

use super::caches::{LiveState, version};
use super::{Desired, Goal, Kubernetes};
use crate::kubernetes::resource::api;
use crate::kubernetes::write::{Failure, RequestError};

/// So often a FabricState is tried: only who fights with us makes more than one conflict.
const ATTEMPTS: u32 = 4;

/// The digests of what counts as in force; none where the cluster has no FabricState.
pub(super) type Listed = Option<BTreeMap<ObjectKey, Digest>>;

// === impl Kubernetes ===

impl Kubernetes {
    /// Takes from the cluster what was in force before this process.
    pub(super) fn remember(&self) {
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
        let live = self.caches.all().filter_map(|live| {
            let planned = PlannedObject {
                key: live.key.clone(),
                origin: live.origin()?,
                object: live.object.as_deref().ok()?.clone(),
            };
            Some((live.key.clone(), planned))
        });
        let specs: Vec<FabricStateSpec> = specs.iter().map(|spec| (**spec).clone()).collect();
        let assembly = FabricStateSpec::assemble(&specs, &live.collect(), None);
        let Some(first) = specs.into_iter().next() else {
            return;
        };
        let objects = first.objects.values().map(BTreeMap::len).sum();
        let revision = first.revision.clone();
        tracing::info!(%revision, objects, "the cluster says what is in force");
        self.memory.lock().in_force = Some(Arc::new(Desired {
            revision: revision.clone(),
            plan: assembly.plan,
            good: first.good,
        }));
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
        let all = self.caches.all().map(|object| {
            let digest = match listed {
                Some(listed) => listed.get(&object.key).copied(),
                // Without a FabricState everything counts, so that nothing is deleted unseen.
                None => object.effect(),
            };
            let live = self.live_of(&object, digest);
            (object.key.clone(), live)
        });
        all.collect()
    }

    /// The FabricStates as they live: the first one, and those that go on from it.
    fn specs(&self) -> Vec<Arc<FabricStateSpec>> {
        let find = |name: &str| {
            let state = self
                .caches
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
    /// others there are.
    pub(super) async fn write_state(
        &self,
        goal: &Goal,
        live: &BTreeMap<ObjectKey, Live>,
        blocked: &BTreeSet<ObjectKey>,
    ) -> Result<(Option<Plan>, bool), RequestError> {
        let empty = BTreeMap::new();
        let wanted = goal.wanted.as_ref().unwrap_or(&empty);
        let dummy;
        let desired = match &goal.desired.plan {
            Some(plan) => plan,
            None => {
                dummy = self.nothing(goal);
                &dummy
            }
        };
        let plan = action::in_force(desired, wanted, live, blocked);
        // Gateways don't look at Instances.
        let mut counted = plan.clone();
        counted
            .objects
            .retain(|object| object.key.kind != Kind::Instance);
        let unmanaged = self.settings.read().unmanaged;
        let mut specs = FabricStateSpec::of(&counted, &goal.desired.good, unmanaged);
        if goal.desired.plan.is_none() {
            for spec in &mut specs {
                spec.state = None;
            }
        }
        let mut is_written = false;
        for (number, spec) in (0..).zip(&specs).collect::<Vec<_>>().into_iter().rev() {
            is_written |= self.write_one(&self.name(number), spec).await?;
        }
        let mut surplus = u32::try_from(specs.len()).unwrap_or(u32::MAX);
        while self.delete_one(&self.name(surplus)).await? {
            surplus += 1;
            is_written = true;
        }
        Ok((goal.desired.plan.is_some().then_some(plan), is_written))
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
                    Failure::Conflict => self.read_state(name).await?,
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
        let states = &self.caches.states;
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
                self.caches.states.remove(&name, |_| true);
            }
        }
        Ok(())
    }

    fn put_state(&self, object: DynamicObject) {
        let state = LiveState::decode(object);
        let name = (state.meta.namespace.clone(), state.meta.name.clone());
        let (uid, number) = (state.meta.uid.clone(), version(&state.meta));
        self.caches.states.put(name, state, |old| {
            old.meta.uid != uid || version(&old.meta) < number
        });
    }

    fn state(&self, name: &str) -> Option<Arc<LiveState>> {
        let namespace = Some(self.target.namespace.as_str());
        self.caches.states.find(namespace, name)
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
    fn nothing(&self, goal: &Goal) -> Plan {
        Plan {
            peer: self.target.peer.clone(),
            revision: goal.desired.revision.clone(),
            units: BTreeMap::new(),
            objects: Vec::new(),
            state: State {
                fabric: String::new(),
                labels: BTreeMap::new(),
                authorities: Vec::new(),
                certificates: BTreeMap::new(),
                revoked: BTreeSet::new(),
                export_labels: BTreeMap::new(),
                workloads: Vec::new(),
                export_hosts: ExportHosts::default(),
                heartbeat: Heartbeat::default(),
                limits: Limits::default(),
                prune: Prune::default(),
            },
        }
    }
}
