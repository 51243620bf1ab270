//! The signals that long-running commands listen for.

use std::io;

use tokio::signal::unix::{self, SignalKind, signal};

/// The signals that the process listens for.
pub(crate) struct Signals {
    hangup: unix::Signal,
    interrupt: unix::Signal,
    terminate: unix::Signal,
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// SIGHUP: read everything again.
    Reload,
    /// SIGTERM, SIGINT: come to an end.
    End,
}

// === impl Signals ===

impl Signals {
    /// Listens from now on; the signals no longer end the process by themselves.
    pub(crate) fn install() -> io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// The next signal.
    pub(crate) async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.hangup.recv() => Signal::Reload,
            _ = self.interrupt.recv() => Signal::End,
            _ = self.terminate.recv() => Signal::End,
        }
    }

    /// Waits until the process is told to end.
    pub(crate) async fn end(&mut self) {
        while self.next().await != Signal::End {}
    }
}
