//! What differs between what is wanted and what lives, written.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fabric::api::{Condition, PeerStatus};
use fabric::crd::CustomKind;
use fabric::mark;
use futures::StreamExt as _;
use futures::future::BoxFuture;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, Preconditions};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::fight::Fights;
use super::policy::Said;
use super::view::View;
use super::{Context, export, import, peer, policy};
use crate::kubernetes::cache::Name;
use crate::kubernetes::object::{LiveObject, Meta};
use crate::kubernetes::resource::api;
use crate::kubernetes::write::{Failure, RequestError, Writer};

/// So many requests are under way at a time: quick for a cluster full of objects, light for its server.
const PARALLEL: usize = 16;

/// What writes.
pub(super) struct Pen {
    context: Context,
    statuses: Writer,
    objects: Writer,
    /// What was written of each status, and over which state, until the watch shows it.
    written: BTreeMap<(CustomKind, Name), (String, Value)>,
    fights: Fights,
}

/// Requests to be sent.
struct Jobs<'a> {
    fights: Fights,
    requests: Vec<BoxFuture<'a, Answered>>,
    /// Whether something waits because of a fight.
    is_held: bool,
}

/// An object, and what the server said to the request about it.
type Answered = (String, Result<(), RequestError>);

// === impl Jobs ===

impl<'a> Jobs<'a> {
    /// Adds what writes an object, unless somebody undoes the same again and again; whether it did.
    fn write(
        &mut self,
        object: String,
        content: &Value,
        request: impl Future<Output = Result<(), RequestError>> + Send + 'a,
    ) -> bool {
        let content = content.to_string();
        let may = self.fights.may_write(&object, &content, Instant::now());
        match may {
            true => self.push(object, request),
            false => self.is_held = true,
        }
        may
    }

    /// Sends them.
    async fn run(self) -> (Fights, Vec<Answered>) {
        let requests = futures::stream::iter(self.requests);
        let results = requests.buffer_unordered(PARALLEL).collect().await;
        (self.fights, results)
    }

    /// Adds what deletes an object, unless somebody makes it again and again.
    fn delete(
        &mut self,
        object: &str,
        request: impl Future<Output = Result<(), RequestError>> + Send + 'a,
    ) {
        self.write(format!("the deletion of {object}"), &Value::Null, request);
    }

    fn push(
        &mut self,
        object: String,
        request: impl Future<Output = Result<(), RequestError>> + Send + 'a,
    ) {
        let request = async move { (object, request.await) };
        self.requests.push(Box::pin(request));
    }
}

// === impl Pen ===

impl Pen {
    pub(super) fn new(context: &Context) -> Self {
        let server = &context.connection.server;
        let writer = |manager| Writer::new(manager, server, context.leadership.clone());
        Self {
            context: context.clone(),
            statuses: writer(mark::STATUS_WRITER),
            objects: writer(mark::APPLIER),
            written: BTreeMap::new(),
            fights: Fights::default(),
        }
    }

    /// Writes all that differs; whether all of it could be written.
    pub(super) async fn write_all(&mut self, view: &View) -> bool {
        let now = Timestamp::now();
        let imports = import::wanted(view);
        let mut statuses: Vec<(Arc<LiveObject>, Value)> = Vec::new();
        let mut say = |object: &Arc<LiveObject>, said: &[Said], more: Value| {
            if let Some(status) = status(object, said, more, now) {
                statuses.push((Arc::clone(object), status));
            }
        };
        for export in &view.exports {
            say(export, &export::conditions(view, export), json!({}));
        }
        for import in &view.imports {
            if let Some(says) = imports.statuses.get(&import.key) {
                let mut more = json!({});
                if let Some(port) = says.target_port {
                    more["targetPort"] = json!(port);
                }
                say(import, &says.conditions, more);
            }
        }
        for peer in &view.peers {
            let before: PeerStatus =
                serde_json::from_value(peer.status.clone()).unwrap_or_default();
            let says = peer::says(view, peer, &before, now);
            let mut more = json!({});
            if !says.labels.is_empty() {
                more["labels"] = json!(says.labels);
            }
            if let Some(seen) = says.last_seen {
                more["lastSeen"] = json!(seen);
            }
            say(peer, &says.conditions, more);
        }
        for policy in &view.policies {
            let said = policy::conditions(view, policy);
            if !said.is_empty() || view.counts(policy).is_some() {
                say(policy, &said, json!({}));
            }
        }
        statuses.retain(|(object, status)| {
            let seen = self.written.get(&place(object));
            // The watch hasn't shown it yet.
            seen.is_none_or(|(version, written)| {
                *version != object.meta.resource_version || written != status
            })
        });
        let mut jobs = Jobs {
            fights: std::mem::take(&mut self.fights),
            requests: Vec::new(),
            is_held: false,
        };
        let mut written = Vec::new();
        for (object, status) in statuses {
            let shown = format!("the status of {}", object.key);
            let seen = (object.meta.resource_version.clone(), status.clone());
            let (place, says) = (place(&object), without_times(&status));
            if jobs.write(shown, &says, self.write_status(object, status)) {
                written.push((place, seen));
            }
        }
        self.services(view, &imports, &mut jobs);
        self.slices(view, &imports, &mut jobs);
        for report in &view.stale {
            let (client, kind) = (&self.context.connection.client, CustomKind::GatewayReport);
            let api = api(client, kind, Some(&view.system));
            self.delete(api, kind.as_str(), report.meta.clone(), &mut jobs);
        }
        let is_held = jobs.is_held;
        let (mut fights, results) = jobs.run().await;
        self.written.extend(written);
        let (mut is_done, mut leads) = (true, true);
        for (object, result) in results {
            match result.map_err(|error| (error.failure, error)) {
                Ok(()) => fights.note_done(&object),
                // Gone meanwhile, or another one by now: the watch tells.
                Err((Failure::NotFound | Failure::Conflict, _)) => is_done = false,
                Err((Failure::NotLeader, _)) => leads = false,
                Err((failure, error)) => {
                    tracing::warn!(reason = error.reason(), "{error}");
                    if matches!(failure, Failure::Refused | Failure::Forbidden) {
                        fights.note_refused(&object, Instant::now());
                    }
                    is_done = false;
                }
            }
        }
        fights.forget(Instant::now());
        self.fights = fights;
        if !leads {
            return true;
        }
        if !is_done {
            // What wasn't written is written anew.
            self.written.clear();
        }
        self.forget(view);
        is_done && !is_held
    }

    fn forget(&mut self, view: &View) {
        let sets = [&view.exports, &view.imports, &view.peers, &view.policies];
        let there: BTreeSet<_> = sets
            .into_iter()
            .flatten()
            .map(|object| (place(object), object.meta.resource_version.clone()))
            .collect();
        self.written
            .retain(|place, (version, _)| there.contains(&(place.clone(), version.clone())));
    }

    async fn write_status(
        &self,
        object: Arc<LiveObject>,
        status: Value,
    ) -> Result<(), RequestError> {
        let Some(kind) = object.kind() else {
            return Ok(());
        };
        let namespace = object.meta.namespace.as_deref();
        let body = json!({
            "apiVersion": format!("{}/{}", kind.group(), kind.version()),
            "kind": kind.as_str(),
            "metadata": { "name": object.meta.name, "namespace": namespace },
            "status": status,
        });
        let api = api(&self.context.connection.client, kind, namespace);
        self.statuses.apply_status(&api, &body).await.map(|_| ())
    }

    fn services<'a>(&'a self, view: &View, imports: &import::Wanted, jobs: &mut Jobs<'a>) {
        let client = &self.context.connection.client;
        let names: BTreeSet<Name> = imports.services.iter().map(|wanted| wanted.key()).collect();
        for wanted in &imports.services {
            let services: Api<Service> = Api::namespaced(client.clone(), &wanted.namespace);
            let (name, body) = (wanted.name.clone(), wanted.body());
            let shown = format!("Service {}/{name}", wanted.namespace);
            let named = shown.clone();
            match view.services.get(&wanted.key()) {
                None => {
                    let content = body.clone();
                    let request = async move {
                        let parameters = PatchParams::apply(mark::APPLIER);
                        let patch = Patch::Apply(body);
                        let request = services.patch(&name, &parameters, &patch);
                        let result = self.objects.request("apply", || named, request).await;
                        result.map(|_| ())
                    };
                    jobs.write(shown, &content, request);
                }
                Some(live) if live.meta.is_terminating || wanted.is_met_by(live) => {}
                Some(live) => {
                    let patch = Patch::Merge(wanted.patch(live));
                    let request = async move {
                        let parameters = PatchParams {
                            field_manager: Some(mark::APPLIER.to_owned()),
                            ..PatchParams::default()
                        };
                        let request = services.patch(&name, &parameters, &patch);
                        let result = self.objects.request("mend", || named, request).await;
                        result.map(|_| ())
                    };
                    jobs.write(shown, &body, request);
                }
            }
        }
        for (name, live) in &view.services {
            if live.is_ours() && !names.contains(name) && !live.meta.is_terminating {
                let namespace = name.0.as_deref().unwrap_or_default();
                let services: Api<DynamicObject> =
                    Api::namespaced_with(client.clone(), namespace, &core("Service", "services"));
                self.delete(services, "Service", live.meta.clone(), jobs);
            }
        }
    }

    fn slices<'a>(&'a self, view: &View, imports: &import::Wanted, jobs: &mut Jobs<'a>) {
        let client = &self.context.connection.client;
        let names: BTreeSet<Name> = imports.slices.iter().map(|wanted| wanted.key()).collect();
        for wanted in &imports.slices {
            let key = wanted.key();
            let is_met = view
                .slices
                .get(&key)
                .is_some_and(|live| live.meta.is_terminating || wanted.is_met_by(live));
            if is_met {
                continue;
            }
            let slices: Api<EndpointSlice> = Api::namespaced(client.clone(), &wanted.namespace);
            let (name, body) = (key.1, wanted.body());
            let shown = format!("EndpointSlice {}/{name}", wanted.namespace);
            let (named, content) = (shown.clone(), body.clone());
            let request = async move {
                let parameters = PatchParams::apply(mark::APPLIER).force();
                let patch = Patch::Apply(body);
                let request = slices.patch(&name, &parameters, &patch);
                let result = self.objects.request("apply", || named, request).await;
                result.map(|_| ())
            };
            jobs.write(shown, &content, request);
        }
        for (name, live) in &view.slices {
            if live.is_ours() && !names.contains(name) && !live.meta.is_terminating {
                let namespace = name.0.as_deref().unwrap_or_default();
                let gvk = GroupVersionKind::gvk("discovery.k8s.io", "v1", "EndpointSlice");
                let resource = ApiResource::from_gvk_with_plural(&gvk, "endpointslices");
                let slices: Api<DynamicObject> =
                    Api::namespaced_with(client.clone(), namespace, &resource);
                self.delete(slices, "EndpointSlice", live.meta.clone(), jobs);
            }
        }
    }

    fn delete<'a>(&'a self, api: Api<DynamicObject>, kind: &str, meta: Meta, jobs: &mut Jobs<'a>) {
        let namespace = meta.namespace.as_deref().unwrap_or_default();
        let shown = format!("{kind} {namespace}/{}", meta.name);
        let named = shown.clone();
        let request = async move {
            let parameters = DeleteParams {
                preconditions: Some(Preconditions {
                    uid: Some(meta.uid.clone()),
                    resource_version: None,
                }),
                ..DeleteParams::background()
            };
            let request = api.delete(&meta.name, &parameters);
            let result = self.objects.request("delete", || named, request).await;
            result.map(|_| ())
        };
        jobs.delete(&shown, request);
    }
}

/// The status to be written; none where it says the same already.
fn status(object: &LiveObject, said: &[Said], mut more: Value, now: Timestamp) -> Option<Value> {
    let before: Vec<Condition> =
        serde_json::from_value(object.status["conditions"].clone()).unwrap_or_default();
    let conditions: Vec<Condition> = said
        .iter()
        .map(|said| {
            let generation = Some(object.meta.generation);
            let old = before.iter().find(|old| old.kind == said.kind);
            Condition::new(
                said.kind,
                said.status,
                said.reason,
                said.message.as_str(),
                generation,
                now,
            )
            .after(old)
        })
        .collect();
    let mut rest = object.status.clone();
    if let Value::Object(fields) = &mut rest {
        fields.remove("conditions");
    } else {
        rest = json!({});
    }
    let is_same = rest == more
        && conditions.len() == before.len()
        && conditions
            .iter()
            .all(|new| before.iter().any(|old| old.says_the_same(new)));
    if is_same {
        return None;
    }
    more["conditions"] = json!(conditions);
    Some(more)
}

/// What a status says, whenever that began.
fn without_times(status: &Value) -> Value {
    let mut says = status.clone();
    for condition in says["conditions"].as_array_mut().into_iter().flatten() {
        if let Value::Object(fields) = condition {
            fields.remove("lastTransitionTime");
        }
    }
    says
}

fn place(object: &LiveObject) -> (CustomKind, Name) {
    let kind = object.kind().unwrap_or(CustomKind::Export);
    (
        kind,
        (object.meta.namespace.clone(), object.meta.name.clone()),
    )
}

fn core(kind: &str, plural: &str) -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("", "v1", kind), plural)
}
