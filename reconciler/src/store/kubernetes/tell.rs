use k8s_openapi::api::core::v1::ObjectReference;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::SyncEvents;
use crate::kubernetes::event::Events;

/// So many events may wait for the server; further ones are in the log alone. What a whole fabric
/// could have to say at once is in the status, which has room for it.
const WAITING: usize = 64;

/// Writes events in the background, so that nothing waits for them.
#[derive(Clone, Debug)]
pub(super) struct Teller {
    queue: mpsc::Sender<Told>,
}

#[derive(Debug)]
struct Told {
    about: About,
    is_warning: bool,
    reason: &'static str,
    note: String,
}

/// What an event is about.
#[derive(Debug)]
enum About {
    /// An object in the cluster that is kept.
    Object(ObjectReference),
    /// The FabricSync, which may live in another one.
    Sync,
}

// === impl Teller ===

impl Teller {
    pub(super) fn new(
        events: Events,
        sync: SyncEvents,
        tasks: &TaskTracker,
        cancelled: CancellationToken,
    ) -> Self {
        let (queue, mut told) = mpsc::channel::<Told>(WAITING);
        tasks.spawn(async move {
            let write = async {
                while let Some(event) = told.recv().await {
                    let Told {
                        about,
                        is_warning,
                        reason,
                        note,
                    } = event;
                    let (events, about) = match &about {
                        About::Object(about) => (&events, about),
                        About::Sync => (&sync.events, &sync.reference),
                    };
                    if is_warning {
                        events.warn(about, reason, note).await;
                    } else {
                        events.note(about, reason, note).await;
                    }
                }
            };
            cancelled.run_until_cancelled(Box::pin(write)).await;
        });
        Self { queue }
    }

    pub(super) fn warn(&self, about: ObjectReference, reason: &'static str, note: String) {
        self.tell(About::Object(about), true, reason, note);
    }

    pub(super) fn note(&self, about: ObjectReference, reason: &'static str, note: String) {
        self.tell(About::Object(about), false, reason, note);
    }

    pub(super) fn warn_of_sync(&self, reason: &'static str, note: String) {
        self.tell(About::Sync, true, reason, note);
    }

    pub(super) fn note_of_sync(&self, reason: &'static str, note: String) {
        self.tell(About::Sync, false, reason, note);
    }

    fn tell(&self, about: About, is_warning: bool, reason: &'static str, note: String) {
        let name = match &about {
            About::Object(about) => about.name.clone().unwrap_or_default(),
            About::Sync => "FabricSync".to_owned(),
        };
        let event = Told {
            about,
            is_warning,
            reason,
            note,
        };
        if let Err(error) = self.queue.try_send(event) {
            tracing::warn!(object = name, reason, %error, "an event is lost");
        }
    }
}
