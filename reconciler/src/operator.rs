//! Instances to what they are made of: Deployments, Services, access to the API.
//!
//! What is wanted of all Instances is computed each time as a whole, compared with what lives, and what
//! differs is written. One Instance acts for each namespace, the oldest; what none wants any more goes.

mod live;
mod made;
mod status;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use fabric::api::{Instance, InstanceSpec};
use fabric::crd::CustomKind;
use fabric::mark;
use jiff::Timestamp;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::kubernetes::client::Connection;
use crate::kubernetes::election::{self, Term};
use crate::kubernetes::lease::Candidate;
use crate::kubernetes::object::Meta;
use crate::kubernetes::resource::api;
use crate::kubernetes::write::{Failure, RequestError, Writer};
use crate::sync::Handle;

use self::live::{Caches, Made};
use self::made::{MadeKind, Wanted};

/// The Lease of the role.
const LEASE: &str = "weft-operator";
/// Events within so short a time are looked at together.
const BURST: Duration = Duration::from_millis(50);
/// After something couldn't be written.
const RETRY: Duration = Duration::from_secs(2);
/// What keeps an Instance until all that was made of it is gone; ClusterLink's name.
pub const FINALIZER: &str = "instance.clusterlink.net/finalizer";

/// What an operator is told at its start.
#[derive(Clone, Debug)]
pub struct Options {
    /// What tells this process from others of its role.
    pub identity: String,
    /// How long a leader that falls silent still leads.
    pub lease: Duration,
    /// How long one watch lasts.
    pub watch_seconds: u32,
}

/// An Instance as it lives.
#[derive(Debug)]
pub(crate) struct LiveInstance {
    pub(crate) meta: Meta,
    pub(crate) finalizers: Vec<String>,
    pub(crate) instance: Result<Instance, String>,
    pub(crate) status: Value,
}

struct Operator {
    connection: Connection,
    writer: Writer,
    statuses: Writer,
    /// What was written over which state, so that a server that keeps something otherwise isn't asked
    /// again and again.
    written: BTreeMap<made::Key, (String, Value)>,
}

/// Makes what Instances ask for, until `cancelled`; only while no other process does.
pub async fn run(
    connection: Connection,
    options: Options,
    handle: Handle,
    cancelled: CancellationToken,
) {
    let candidate = Candidate::new(&connection, LEASE, options.identity.clone(), options.lease);
    let work = |term| lead(&connection, &options, &handle, term);
    let ended = || handle.set_leads(false);
    election::lead(candidate, &cancelled, work, ended).await;
}

async fn lead(connection: &Connection, options: &Options, handle: &Handle, term: Term) {
    let notify = Arc::new(Notify::new());
    let caches = Caches::watch(
        connection,
        options.watch_seconds,
        &notify,
        &term.tasks,
        &term.over,
    );
    caches.synced().await;
    handle.set_leads(true);
    handle.set_synced();
    let writer = |manager| Writer::new(manager, &connection.server, term.leadership.clone());
    let mut operator = Operator {
        connection: connection.clone(),
        writer: writer(mark::OPERATOR),
        statuses: writer(mark::STATUS_WRITER),
        written: BTreeMap::new(),
    };
    loop {
        let is_done = operator.pass(&caches).await;
        let retry = async {
            match is_done {
                true => std::future::pending().await,
                false => tokio::time::sleep(RETRY).await,
            }
        };
        tokio::select! {
            () = notify.notified() => {}
            () = retry => {}
        }
        tokio::time::sleep(BURST).await;
    }
}

/// What an Instance of this spec would be made of, for a cluster without an operator: labelled as what
/// is installed, since an operator takes away what is labelled as its own and no Instance wants.
#[must_use]
pub fn objects(spec: &InstanceSpec) -> Vec<Value> {
    let mut objects = made::bodies(spec);
    for object in &mut objects {
        object["metadata"]["labels"] = json!({ "app.kubernetes.io/part-of": "weft" });
    }
    objects
}

// === impl Operator ===

impl Operator {
    /// Compares and writes; whether all of it could be written.
    async fn pass(&mut self, caches: &Caches) -> bool {
        let mut instances = caches.instances.all();
        instances.sort_by_key(|live| {
            let meta = &live.meta;
            (meta.created, meta.namespace.clone(), meta.name.clone())
        });
        let made = caches.made();
        let mut owners: BTreeMap<String, String> = BTreeMap::new();
        let mut wanted: BTreeMap<made::Key, Wanted> = BTreeMap::new();
        let mut acting: BTreeSet<String> = BTreeSet::new();
        // What an Instance was made of goes with it, before the next one of its namespace acts.
        let (leaving, staying): (Vec<_>, Vec<_>) =
            instances.iter().partition(|live| live.meta.is_terminating);
        for live in leaving.iter().filter(|live| live.is_held()) {
            if let Ok(instance) = &live.instance {
                owners.insert(instance.spec.namespace.clone(), live.shown());
            }
        }
        for live in &staying {
            let Ok(instance) = &live.instance else {
                continue;
            };
            let namespace = &instance.spec.namespace;
            if owners.contains_key(namespace) {
                continue;
            }
            owners.insert(namespace.clone(), live.shown());
            acting.insert(live.shown());
            for object in made::wanted(&live.meta, &instance.spec) {
                wanted.insert(object.key.clone(), object);
            }
        }
        let mut results = Vec::new();
        for live in &instances {
            let holds = acting.contains(&live.shown());
            if holds && !live.is_held() {
                let finalizers = [live.finalizers.clone(), vec![FINALIZER.to_owned()]].concat();
                results.push(self.set_finalizers(live, &finalizers).await);
            }
        }
        // Access goes first: what is to go makes nothing new then.
        let mut gone: Vec<&Made> = made
            .values()
            .filter(|made| !wanted.contains_key(&made.key))
            .collect();
        gone.sort_by_key(|made| made.key.kind.order());
        for made in gone {
            if !made.meta.is_terminating {
                results.push(self.delete(made).await);
            }
        }
        // Accounts and what they may do before what runs as them.
        let mut in_order: Vec<&Wanted> = wanted.values().collect();
        in_order.sort_by_key(|object| object.key.kind == MadeKind::Deployment);
        for object in in_order {
            let live = made.get(&object.key);
            if live.is_some_and(|live| live.meta.is_terminating || object.is_met_by(&live.object)) {
                continue;
            }
            let version = live.map_or_else(String::new, |live| live.meta.resource_version.clone());
            let attempt = (version, object.body.clone());
            // What isn't there is made, however often somebody deletes it.
            if live.is_some() && self.written.get(&object.key) == Some(&attempt) {
                continue;
            }
            let result = self.apply(object).await;
            if result.is_ok() {
                self.written.insert(object.key.clone(), attempt);
            }
            results.push(result);
        }
        self.written.retain(|key, _| wanted.contains_key(key));
        for live in &instances {
            if live.meta.is_terminating {
                let label = made::label(&live.meta);
                let is_left = made.values().any(|made| made.instance == label);
                // Another Instance looks after them.
                let imports = match staying.is_empty() {
                    true => caches.of_imports(),
                    false => Vec::new(),
                };
                for left in &imports {
                    if !left.meta.is_terminating {
                        results.push(self.delete(left).await);
                    }
                }
                if !is_left && imports.is_empty() && live.is_held() {
                    let rest: Vec<_> = live
                        .finalizers
                        .iter()
                        .filter(|f| *f != FINALIZER)
                        .cloned()
                        .collect();
                    results.push(self.set_finalizers(live, &rest).await);
                }
                continue;
            }
            let owner = live
                .instance
                .as_ref()
                .ok()
                .and_then(|instance| owners.get(&instance.spec.namespace))
                .filter(|owner| **owner != live.shown());
            let status = status::of(live, owner.map(String::as_str), &made, Timestamp::now());
            if let Some(status) = status {
                results.push(self.write_status(live, status).await);
            }
        }
        let mut is_done = true;
        for error in results.into_iter().filter_map(Result::err) {
            match error.failure {
                Failure::NotFound | Failure::Conflict => {}
                Failure::NotLeader => return true,
                _ => tracing::warn!(reason = error.reason(), "{error}"),
            }
            is_done = false;
        }
        is_done
    }

    async fn apply(&self, wanted: &Wanted) -> Result<(), RequestError> {
        let key = &wanted.key;
        tracing::info!(object = %key, "applied");
        let api = key
            .kind
            .api(&self.connection.client, key.namespace.as_deref());
        self.writer
            .apply(&api, &wanted.body, true)
            .await
            .map(|_| ())
    }

    async fn delete(&self, made: &Made) -> Result<(), RequestError> {
        let key = &made.key;
        tracing::info!(object = %key, "deleted");
        let api = key
            .kind
            .api(&self.connection.client, key.namespace.as_deref());
        let shown = key.to_string();
        let (uid, version) = (&made.meta.uid, &made.meta.resource_version);
        let result = self
            .writer
            .delete(&api, &shown, &key.name, uid, version)
            .await;
        match result {
            Err(error) if error.failure == Failure::NotFound => Ok(()),
            result => result,
        }
    }

    async fn set_finalizers(
        &self,
        live: &LiveInstance,
        finalizers: &[String],
    ) -> Result<(), RequestError> {
        let patch = Patch::Merge(json!({
            "metadata": {
                "resourceVersion": live.meta.resource_version,
                "finalizers": finalizers,
            },
        }));
        let parameters = PatchParams {
            field_manager: Some(mark::OPERATOR.to_owned()),
            ..PatchParams::default()
        };
        let api = self.instances(live);
        let request = api.patch(&live.meta.name, &parameters, &patch);
        let shown = || format!("Instance {}", live.shown());
        self.writer
            .request("set the finalizers of", shown, request)
            .await?;
        Ok(())
    }

    async fn write_status(&self, live: &LiveInstance, status: Value) -> Result<(), RequestError> {
        let body = json!({
            "apiVersion": "clusterlink.net/v1alpha1",
            "kind": "Instance",
            "metadata": { "name": live.meta.name, "namespace": live.meta.namespace },
            "status": status,
        });
        let api = self.instances(live);
        self.statuses.apply_status(&api, &body).await.map(|_| ())
    }

    fn instances(&self, live: &LiveInstance) -> Api<DynamicObject> {
        let namespace = live.meta.namespace.as_deref();
        api(&self.connection.client, CustomKind::Instance, namespace)
    }
}

// === impl LiveInstance ===

impl LiveInstance {
    /// Whether it stays until what it was made of is gone.
    fn is_held(&self) -> bool {
        self.finalizers.iter().any(|name| name == FINALIZER)
    }

    pub(crate) fn decode(mut object: DynamicObject) -> Self {
        let status = object.data["status"].take();
        let name = object.metadata.name.clone().unwrap_or_default();
        let spec = match object.data["spec"].take() {
            Value::Null => json!({}),
            spec => spec,
        };
        let value = json!({ "metadata": { "name": name }, "spec": spec });
        Self {
            meta: Meta::of(&object.metadata),
            finalizers: object.metadata.finalizers.clone().unwrap_or_default(),
            instance: serde_json::from_value(value).map_err(|error| error.to_string()),
            status,
        }
    }

    /// Namespace and name.
    pub(crate) fn shown(&self) -> String {
        let namespace = self.meta.namespace.as_deref().unwrap_or_default();
        format!("{namespace}/{}", self.meta.name)
    }
}
