//! One object at a time: what is sent for it, and what follows from the answer.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use fabric::crd::CustomKind;
use fabric::digest::Digest;
use fabric::mark;
use fabric::name::ObjectKey;
use fabric::plan::action::{Owner, Refusal, Step, Wanted, step};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, Preconditions};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{Goal, Kubernetes, body};
use crate::kubernetes::object::LiveObject;
use crate::kubernetes::resource::{api, namespace_of};
use crate::kubernetes::write::{Failure, RequestError};

/// So often one object is tried in one round: a conflict is over after one look, a server that
/// throttles lets some through each time.
const ATTEMPTS: u32 = 6;
/// The wait after a first request without an answer; it doubles.
pub(super) const FIRST_WAIT: Duration = Duration::from_millis(100);

/// What came of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Done {
    /// It was as it should be.
    Nothing,
    /// It was made.
    Created,
    /// It was changed.
    Updated,
    /// It became ours.
    Adopted,
    /// It is gone.
    Deleted,
    /// It is being deleted, and somebody's finalizer holds it.
    Terminating,
}

/// Why an object couldn't be dealt with.
#[derive(Debug)]
pub(super) enum Undone {
    /// It is left alone.
    Refused(Refusal),
    /// A request failed.
    Request(RequestError),
    /// The server answered well, and yet the object isn't as it should be; the fields.
    Otherwise(String),
    /// Not tried: the server doesn't answer.
    Down,
}

// === impl Kubernetes ===

impl Kubernetes {
    /// Brings one object into force.
    ///
    /// `listed` is the digest by which it counts as in force already.
    pub(super) async fn put_in_force(
        &self,
        wanted: &Wanted,
        listed: Option<Digest>,
    ) -> Result<Done, Undone> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let live = self.objects.find(&wanted.planned.key);
            match self.try_put(wanted, listed, live.as_deref()).await {
                Err(Undone::Request(error)) if attempt < ATTEMPTS => {
                    self.prepare_retry(&wanted.planned.key, error, attempt)
                        .await?;
                }
                result => return result,
            }
        }
    }

    async fn try_put(
        &self,
        wanted: &Wanted,
        listed: Option<Digest>,
        live: Option<&LiveObject>,
    ) -> Result<Done, Undone> {
        let adoption = self.settings.read().adoption;
        let known = live.map(|live| self.live_of(live, listed));
        let next = step(wanted, known.as_ref(), adoption);
        let done = match next {
            Step::Keep => return Ok(Done::Nothing),
            Step::Wait => return Ok(Done::Terminating),
            Step::Refuse(refusal) => return Err(Undone::Refused(refusal)),
            Step::Create => Done::Created,
            Step::Update => Done::Updated,
            Step::Adopt => Done::Adopted,
        };
        let key = &wanted.planned.key;
        let Some(api) = self.api(key) else {
            return Ok(Done::Nothing);
        };
        // Where somebody only added something, there is nothing to apply.
        let added = live
            .filter(|live| self.is_marked(wanted, live))
            .and_then(|live| {
                let there = live.object.as_deref().ok()?;
                body::surplus(&wanted.planned.object, there).filter(body::only_removes)
            });
        let mut now = match (added, live) {
            (Some(patch), Some(live)) => {
                let version = live.meta.resource_version.clone();
                self.merge(&api, key, patch, &version).await?
            }
            _ => {
                let namespace = namespace_of(key, &self.target.namespace);
                let version = live.map(|live| live.meta.resource_version.as_str());
                let body = body::applied(wanted, &self.label, namespace, version);
                // What isn't there yet is taken from nobody: without force, an object that appears
                // meanwhile is a conflict, and is looked at.
                let request = self.writer.apply(&api, &body, live.is_some());
                let answer = self.send(request).await?;
                LiveObject::decode(key.kind, answer)
            }
        };
        self.objects.put(now.clone());
        if let Some(patch) = self.surplus(wanted, &now) {
            let version = now.meta.resource_version.clone();
            now = self.merge(&api, key, patch, &version).await?;
            self.objects.put(now.clone());
        }
        if wanted.is_met_by(&self.live_of(&now, None)) {
            return Ok(done);
        }
        let fields = self.differences(wanted, &now);
        Err(Undone::Otherwise(shown(&fields)))
    }

    /// Takes an object that isn't wanted out of the cluster, whichever of its name it is by now, as
    /// long as it is ours.
    pub(super) async fn take_out(&self, key: &ObjectKey, goal: &Goal) -> Result<Done, Undone> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let is_wanted = goal
                .wanted
                .as_ref()
                .is_some_and(|wanted| wanted.contains_key(key));
            let live = self
                .objects
                .find(key)
                .filter(|live| !is_wanted && live.meta.owner(&self.label) == Owner::Us);
            let (Some(live), Some(api)) = (live, self.api(key)) else {
                return Ok(Done::Nothing);
            };
            if live.meta.is_terminating {
                return Ok(Done::Terminating);
            }
            let parameters = DeleteParams {
                preconditions: Some(Preconditions {
                    uid: Some(live.meta.uid.clone()),
                    resource_version: Some(live.meta.resource_version.clone()),
                }),
                ..DeleteParams::background()
            };
            let request = api.delete(&live.meta.name, &parameters);
            let request = self.writer.request("delete", || key.to_string(), request);
            match self.send(request).await {
                Ok(answer) => {
                    // The object itself is given back where a finalizer holds it.
                    let rest = answer.left().map(|left| LiveObject::decode(key.kind, left));
                    let held = rest
                        .filter(|rest| rest.meta.is_terminating && rest.meta.uid == live.meta.uid);
                    let Some(held) = held else {
                        self.objects.remove(key, &live.meta.uid);
                        return Ok(Done::Deleted);
                    };
                    self.objects.put(held);
                    return Ok(Done::Terminating);
                }
                Err(error) if error.failure == Failure::NotFound => {
                    self.objects.remove(key, &live.meta.uid);
                    return Ok(Done::Deleted);
                }
                Err(error) if attempt < ATTEMPTS => {
                    self.prepare_retry(key, error, attempt).await?;
                }
                Err(error) => return Err(Undone::Request(error)),
            }
        }
    }

    /// Sends a request when it is its turn.
    pub(super) async fn send<T>(
        &self,
        request: impl Future<Output = Result<T, RequestError>>,
    ) -> Result<T, RequestError> {
        let permit = self.throttle.acquire().await;
        let result = request.await;
        match &result {
            Ok(_) => permit.answered(),
            Err(error) => match error.failure {
                Failure::Throttled(after) => permit.throttled(after),
                Failure::Unavailable => permit.unanswered(),
                Failure::NotLeader => drop(permit),
                _ => permit.answered(),
            },
        }
        result
    }

    /// Does what a failed request calls for, where it can be sent again at once.
    async fn prepare_retry(
        &self,
        key: &ObjectKey,
        error: RequestError,
        attempt: u32,
    ) -> Result<(), Undone> {
        match error.failure {
            Failure::Conflict => self.look_again(key).await?,
            // The throttle waits.
            Failure::Throttled(_) => {}
            // A request that wasn't answered within its long deadline isn't sent again at once.
            Failure::Unavailable if error.source.is_some() && attempt < 3 => {
                if self.throttle.is_down() {
                    return Err(Undone::Down);
                }
                sleep(FIRST_WAIT * 2_u32.pow(attempt)).await;
            }
            _ => return Err(Undone::Request(error)),
        }
        Ok(())
    }

    /// Asks the server how an object stands, because it isn't as the watch has shown it so far.
    async fn look_again(&self, key: &ObjectKey) -> Result<(), RequestError> {
        let Some(api) = self.api(key) else {
            return Ok(());
        };
        let request = api.get_opt(&key.name);
        let request = self.writer.request("read", || key.to_string(), request);
        match self.send(request).await? {
            Some(object) => self.objects.put(LiveObject::decode(key.kind, object)),
            None => {
                if let Some(old) = self.objects.find(key) {
                    self.objects.remove(key, &old.meta.uid);
                }
            }
        }
        Ok(())
    }

    async fn merge(
        &self,
        api: &Api<DynamicObject>,
        key: &ObjectKey,
        mut patch: Value,
        version: &str,
    ) -> Result<LiveObject, RequestError> {
        patch["metadata"]["resourceVersion"] = json!(version);
        let parameters = PatchParams {
            field_manager: Some(mark::APPLIER.to_owned()),
            ..PatchParams::default()
        };
        let patch = Patch::Merge(&patch);
        let request = api.patch(&key.name, &parameters, &patch);
        let request = self.writer.request("correct", || key.to_string(), request);
        let answer = self.send(request).await?;
        Ok(LiveObject::decode(key.kind, answer))
    }

    /// Who changed an object: a question to the server, for the event about it.
    pub(super) async fn last_writer(
        &self,
        live: &LiveObject,
        fields: &BTreeSet<String>,
    ) -> Option<String> {
        let api = self.api(&live.key)?;
        let request = api.get(&live.meta.name);
        let request = self
            .writer
            .request("read", || live.key.to_string(), request);
        let object = self.send(request).await.ok()?;
        let managed = serde_json::to_value(&object.metadata.managed_fields).ok()?;
        body::writer(&managed, fields)
    }

    /// The fields in which an object isn't as it should be, our marks included.
    pub(super) fn differences(&self, wanted: &Wanted, live: &LiveObject) -> BTreeSet<String> {
        let mut fields = match &live.object {
            Ok(there) => body::differences(&wanted.planned.object, there),
            Err(_) => [String::from("/spec")].into(),
        };
        let label = live.meta.labels.get(mark::SYNC);
        if label.map(String::as_str) != Some(self.label.as_str()) {
            fields.insert("/metadata/labels/weft.dev~1sync".to_owned());
        }
        let origin = &wanted.planned.origin;
        let ours = [
            (mark::CONTENT, wanted.content.to_string()),
            (mark::COMMIT, origin.revision.to_string()),
            (mark::SOURCE, mark::source(origin)),
        ];
        let theirs = &wanted.planned.object.metadata().annotations;
        let ours = ours.iter().map(|(name, value)| (*name, value.as_str()));
        let all = ours.chain(theirs.iter().map(|(k, v)| (k.as_str(), v.as_str())));
        for (name, value) in all {
            if live.meta.annotations.get(name).map(String::as_str) != Some(value) {
                let name = name.replace('~', "~0").replace('/', "~1");
                fields.insert(format!("/metadata/annotations/{name}"));
            }
        }
        fields
    }

    /// What others added to an object that is applied.
    fn surplus(&self, wanted: &Wanted, live: &LiveObject) -> Option<Value> {
        body::surplus(&wanted.planned.object, live.object.as_deref().ok()?)
    }

    /// Whether an object carries all our marks.
    fn is_marked(&self, wanted: &Wanted, live: &LiveObject) -> bool {
        let is_mark = |field: &String| field.contains("weft.dev~1");
        let fields = self.differences(wanted, live);
        let annotations = fields
            .iter()
            .any(|field| field.starts_with("/metadata/annotations"));
        !annotations && !fields.iter().any(is_mark)
    }

    fn api(&self, key: &ObjectKey) -> Option<Api<DynamicObject>> {
        let kind = CustomKind::of(key.kind)?;
        let namespace = namespace_of(key, &self.target.namespace);
        Some(api(&self.client.0, kind, namespace))
    }
}

impl From<RequestError> for Undone {
    fn from(error: RequestError) -> Self {
        Self::Request(error)
    }
}

/// How events name an object that lives.
pub(super) fn reference(live: &Arc<LiveObject>) -> ObjectReference {
    ObjectReference {
        api_version: Some(live.key.kind.api_version().to_owned()),
        kind: Some(live.key.kind.as_str().to_owned()),
        namespace: live.meta.namespace.clone(),
        name: Some(live.meta.name.clone()),
        uid: Some(live.meta.uid.clone()),
        ..ObjectReference::default()
    }
}

/// Fields as people read them: not more than a few.
pub(super) fn shown(fields: &BTreeSet<String>) -> String {
    const SHOWN: usize = 5;
    let mut text: Vec<&str> = fields.iter().take(SHOWN).map(String::as_str).collect();
    if fields.len() > SHOWN {
        text.push("...");
    }
    text.join(", ")
}
