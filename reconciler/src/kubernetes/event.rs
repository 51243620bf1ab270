//! Events on objects: what a person is told who looks at one.

use std::time::Duration;

use fabric::digest::Digest;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use tokio::time::timeout;

/// An event that can't be written by then is dropped; the log has it too.
const DEADLINE: Duration = Duration::from_secs(5);
/// The longest note that a server takes.
const LONGEST_NOTE: usize = 1024;

/// Writes events; the same event again within minutes is counted, not written anew.
#[derive(Clone)]
pub struct Events {
    recorder: Recorder,
}

// === impl Events ===

impl Events {
    /// Events of a controller, such as `weft-reconciler`, of which `instance` is one process.
    #[must_use]
    pub fn new(client: Client, controller: &str, instance: &str) -> Self {
        let reporter = Reporter {
            controller: controller.to_owned(),
            instance: Some(instance.to_owned()),
        };
        Self {
            recorder: Recorder::new(client, reporter),
        }
    }

    /// Says that something is wrong with an object; `reason` is one word in CamelCase.
    pub async fn warn(&self, about: &ObjectReference, reason: &str, note: String) {
        self.publish(EventType::Warning, about, reason, note).await;
    }

    /// Says that something happened to an object.
    pub async fn note(&self, about: &ObjectReference, reason: &str, note: String) {
        self.publish(EventType::Normal, about, reason, note).await;
    }

    async fn publish(&self, kind: EventType, about: &ObjectReference, reason: &str, note: String) {
        let name = about.name.as_deref().unwrap_or_default();
        tracing::info!(object = name, reason, note, "event");
        let mut note = note;
        note.truncate(note.floor_char_boundary(LONGEST_NOTE));
        let event = Event {
            type_: kind,
            reason: reason.to_owned(),
            // Events of the same action are counted, not written: another note is another action.
            action: format!("{reason}-{}", short_digest(&note)),
            note: Some(note),
            secondary: None,
        };
        match timeout(DEADLINE, self.recorder.publish(&event, about)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(object = name, reason, %error, "an event is lost"),
            Err(_) => tracing::warn!(object = name, reason, "an event is lost: no answer in time"),
        }
    }
}

fn short_digest(note: &str) -> String {
    let mut digest = Digest::of_bytes(note.as_bytes()).to_string();
    digest.truncate(12);
    digest
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Events")
    }
}
