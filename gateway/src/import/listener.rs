//! One listener per import, which comes and goes with the snapshots.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use fabric::name::ObjectName;
use fabric::snapshot::Snapshot;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::connection;
use crate::gateway::ImportListener;
use crate::limits::admission::Admission;
use crate::listen::{accept, bind};
use crate::state::State;

/// Between two attempts to have an address that somebody else has.
const RETRY: Duration = Duration::from_secs(1);

/// The imports' listeners.
#[derive(Debug, Default)]
pub(crate) struct Listeners {
    running: BTreeMap<ObjectName, Listener>,
}

#[derive(Debug)]
struct Listener {
    address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
    /// Whether the first attempt to listen is over.
    tried: watch::Receiver<bool>,
}

// === impl Listeners ===

impl Listeners {
    /// Listens for exactly the imports of a snapshot; returns when each was tried once.
    pub(crate) async fn follow(&mut self, state: &Arc<State>, snapshot: Option<&Snapshot>) {
        let address = |port| SocketAddr::new(state.config.import_address, port);
        let wanted: BTreeMap<_, _> = snapshot
            .into_iter()
            .flat_map(|snapshot| snapshot.imports.values())
            .map(|import| (import.name.clone(), address(import.listen_port)))
            .collect();
        let (kept, gone) = std::mem::take(&mut self.running)
            .into_iter()
            .partition(|(name, listener)| wanted.get(name) == Some(&listener.address));
        self.running = kept;
        let gone: BTreeMap<_, Listener> = gone;
        // All of the old ones first, since ports may move from one import to another.
        for (name, listener) in gone {
            listener.stop.cancel();
            let _ = listener.task.await;
            state.listeners.lock().remove(&name);
        }
        for (name, address) in wanted {
            if let Entry::Vacant(entry) = self.running.entry(name) {
                let listener = Listener::start(state, entry.key().clone(), address);
                entry.insert(listener);
            }
        }
        for listener in self.running.values_mut() {
            // Errs only when the task is gone, which then has nothing more to try.
            let _ = listener.tried.wait_for(|tried| *tried).await;
        }
        state
            .balance
            .keep(|import| self.running.contains_key(import));
    }
}

// === impl Listener ===

impl Listener {
    fn start(state: &Arc<State>, import: ObjectName, address: SocketAddr) -> Self {
        let stop = state.draining.child_token();
        let (tried, receiver) = watch::channel(false);
        let run = run(Arc::clone(state), import, address, tried);
        let stopped = stop.clone();
        let task = state.tasks.spawn(async move {
            stopped.run_until_cancelled(run).await;
        });
        Self {
            address,
            stop,
            task,
            tried: receiver,
        }
    }
}

async fn run(
    state: Arc<State>,
    import: ObjectName,
    address: SocketAddr,
    tried: watch::Sender<bool>,
) {
    let tell = |listener| {
        state.listeners.lock().insert(import.clone(), listener);
        tried.send_replace(true);
    };
    let mut is_known = false;
    let listener = loop {
        match listen(&state, address) {
            Ok(listener) => break listener,
            Err(error) => {
                if !is_known {
                    tracing::warn!(%import, %address, %error, "an import can't listen; it is tried again");
                }
                is_known = true;
                tell(ImportListener::Failed(address, error.to_string()));
            }
        }
        tokio::time::sleep(RETRY).await;
    };
    tracing::info!(%import, %address, "an import listens");
    tell(ImportListener::Listening(
        listener.local_addr().unwrap_or(address),
    ));
    loop {
        let (socket, client) = accept(&state, &listener).await;
        state.metrics.import_connections.inc();
        // Before there is a task for it: what is too much costs no more than this.
        let admission = match Admission::of(&state, &import, client.ip()) {
            Ok(admission) => admission,
            Err(limit) => {
                connection::refuse(&state, &import, &socket, client, limit);
                continue;
            }
        };
        // Boxed out here: a block that boxes it has room for it besides.
        let serve = Box::pin(connection::serve(
            Arc::clone(&state),
            import.clone(),
            socket,
            client,
            admission,
        ));
        let stop = state.stop.clone();
        state.serving.spawn(async move {
            stop.run_until_cancelled(serve).await;
        });
    }
}

fn listen(state: &State, address: SocketAddr) -> std::io::Result<TcpListener> {
    if address.port() == state.listen.port() || address.port() == state.admin.port() {
        let text = "the port is the gateway's own";
        return Err(std::io::Error::new(std::io::ErrorKind::AddrInUse, text));
    }
    bind(address)
}
