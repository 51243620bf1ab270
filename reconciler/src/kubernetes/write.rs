//! Requests that write: each by one field manager, with a deadline, and failures that say what to do
//! next.

use std::time::Duration;

use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, Preconditions};
use serde_json::Value;
use tokio::time::timeout;

use super::lease::Leadership;

/// A server that hasn't answered by then won't: its own limit is a minute, and what is asked of it
/// here takes milliseconds.
const DEADLINE: Duration = Duration::from_secs(20);

/// Writes as one field manager.
#[derive(Clone, Debug)]
pub struct Writer {
    manager: &'static str,
    server: String,
    leadership: Leadership,
}

/// A request failed.
#[derive(Debug, thiserror::Error)]
#[error("can't {operation} {object} at {server}")]
pub struct RequestError {
    /// What was to be done.
    pub operation: &'static str,
    /// With which object, as `Kind namespace/name`.
    pub object: String,
    /// The server.
    pub server: String,
    /// What to do about it.
    pub failure: Failure,
    /// Why; none where no answer came in time.
    #[source]
    pub source: Option<Box<kube::Error>>,
}

/// What a failed request calls for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The object is another one than was thought, or somebody else's field: look again.
    Conflict,
    /// The object, its namespace or its kind isn't there.
    NotFound,
    /// The server won't have this: the same request fails again.
    Refused,
    /// We may not.
    Forbidden,
    /// The server is overloaded: come back, so late where it says when.
    Throttled(Option<Duration>),
    /// The server can't be reached, doesn't answer, or failed itself.
    Unavailable,
    /// Nothing was sent: another process leads.
    NotLeader,
}

// === impl Writer ===

impl Writer {
    /// What writes as `manager` as long as this process leads; `server` is named in errors.
    #[must_use]
    pub fn new(manager: &'static str, server: &str, leadership: Leadership) -> Self {
        Self {
            manager,
            server: server.to_owned(),
            leadership,
        }
    }

    /// Applies an object (`apiVersion`, `kind`, `metadata` and what else we want to own) on the
    /// server's side; fields of other managers become ours where `force` is set.
    ///
    /// With a `resourceVersion` in the metadata the object must still be in that state.
    pub async fn apply(
        &self,
        api: &Api<DynamicObject>,
        object: &Value,
        force: bool,
    ) -> Result<DynamicObject, RequestError> {
        let name = name_of(object);
        let parameters = self.parameters(force);
        let patch = Patch::Apply(object);
        let request = api.patch(name, &parameters, &patch);
        self.request("apply", || shown(object), request).await
    }

    /// Applies the status of an object: `apiVersion`, `kind`, name and `status`.
    pub async fn apply_status(
        &self,
        api: &Api<DynamicObject>,
        object: &Value,
    ) -> Result<DynamicObject, RequestError> {
        let name = name_of(object);
        let parameters = self.parameters(true);
        let patch = Patch::Apply(object);
        let request = api.patch_status(name, &parameters, &patch);
        self.request("write the status of", || shown(object), request)
            .await
    }

    /// Deletes exactly the object that was seen: another one of its name, or a later state of it,
    /// stays.
    pub async fn delete(
        &self,
        api: &Api<DynamicObject>,
        shown: &str,
        name: &str,
        uid: &str,
        resource_version: &str,
    ) -> Result<(), RequestError> {
        let parameters = DeleteParams {
            preconditions: Some(Preconditions {
                uid: Some(uid.to_owned()),
                resource_version: Some(resource_version.to_owned()),
            }),
            ..DeleteParams::background()
        };
        let request = api.delete(name, &parameters);
        self.request("delete", || shown.to_owned(), request)
            .await
            .map(|_| ())
    }

    /// Sends a request with a deadline; `shown` names the object where it fails.
    pub async fn request<T>(
        &self,
        operation: &'static str,
        shown: impl FnOnce() -> String,
        request: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, RequestError> {
        let error = |failure, source| RequestError {
            operation,
            object: shown(),
            server: self.server.clone(),
            failure,
            source,
        };
        if !self.leadership.holds() {
            return Err(error(Failure::NotLeader, None));
        }
        match timeout(DEADLINE, request).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(source)) => Err(error(Failure::of(&source), Some(Box::new(source)))),
            Err(_) => Err(error(Failure::Unavailable, None)),
        }
    }

    fn parameters(&self, force: bool) -> PatchParams {
        let parameters = PatchParams::apply(self.manager);
        if force {
            parameters.force()
        } else {
            parameters
        }
    }
}

// === impl RequestError ===

impl RequestError {
    /// What the server said, or why nothing was heard of it.
    #[must_use]
    pub fn reason(&self) -> String {
        match self.source.as_deref() {
            _ if self.failure == Failure::NotLeader => "another process leads".to_owned(),
            Some(kube::Error::Api(status)) => status.message.clone(),
            Some(error) => error.to_string(),
            None => "no answer came in time".to_owned(),
        }
    }
}

// === impl Failure ===

impl Failure {
    /// What an error of the client library calls for.
    #[must_use]
    pub fn of(error: &kube::Error) -> Self {
        let kube::Error::Api(status) = error else {
            return Self::Unavailable;
        };
        let after = || {
            let seconds = status.details.as_ref()?.retry_after_seconds;
            (seconds > 0).then(|| Duration::from_secs(seconds.into()))
        };
        match status.code {
            404 => Self::NotFound,
            401 | 403 => Self::Forbidden,
            409 => Self::Conflict,
            429 => Self::Throttled(after()),
            500.. => match after() {
                Some(after) => Self::Throttled(Some(after)),
                None => Self::Unavailable,
            },
            _ => Self::Refused,
        }
    }
}

fn name_of(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

fn shown(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (kind, name) = (text(&object["kind"]), name_of(object));
    match object["metadata"]["namespace"].as_str() {
        Some(namespace) => format!("{kind} {namespace}/{name}"),
        None => format!("{kind} {name}"),
    }
}
