//! The decision log, as a test reads it.

use std::fmt::{Debug, Write as _};
use std::sync::Arc;

use parking_lot::Mutex;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

/// The events at `weft::decision`, one line each.
#[derive(Clone, Default)]
pub(crate) struct Logs(Arc<Mutex<Vec<String>>>);

struct Line(String);

impl Logs {
    /// Collects the log of the whole process from now on.
    pub(crate) fn collect() -> Self {
        let logs = Self::default();
        tracing_subscriber::registry().with(logs.clone()).init();
        logs
    }

    /// The lines that hold all of these texts.
    pub(crate) fn lines(&self, with: &[&str]) -> Vec<String> {
        let lines = self.0.lock();
        let wanted = |line: &&String| with.iter().all(|text| line.contains(text));
        lines.iter().filter(wanted).cloned().collect()
    }
}

impl<S: Subscriber> Layer<S> for Logs {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() == "weft::decision" {
            let mut line = Line(String::new());
            event.record(&mut line);
            self.0.lock().push(line.0);
        }
    }
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        let _ = write!(self.0, "{field}={value} ");
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let _ = write!(self.0, "{field}={value:?} ");
    }
}
