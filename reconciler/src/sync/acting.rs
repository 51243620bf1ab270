//! Which FabricSync acts, and what it does: one task for each, begun anew when it changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use fabric::api::FabricSyncStatus;
use fabric::crd::CustomKind;
use fabric::mark;
use jiff::Timestamp;
use serde_json::json;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::task::Task;
use super::{Handle, Options, status};
use crate::kubernetes::cache::Cache;
use crate::kubernetes::client::Connection;
use crate::kubernetes::event::Events;
use crate::kubernetes::lease::Leadership;
use crate::kubernetes::objects::{LiveSync, Objects};
use crate::kubernetes::resource::api;
use crate::kubernetes::write::Writer;

/// What the FabricSyncs of a namespace come to.
pub(super) struct Acting {
    pub(super) connection: Connection,
    pub(super) options: Options,
    pub(super) leadership: Leadership,
    pub(super) events: Events,
    pub(super) handle: Handle,
    pub(super) syncs: Arc<Cache<LiveSync>>,
    /// What lives in the cluster that we run in.
    pub(super) objects: Arc<Objects>,
    pub(super) tasks: TaskTracker,
}

/// A FabricSync's task.
struct Running {
    /// What it was begun with: another generation or object begins it anew.
    begun: (String, i64),
    stop: CancellationToken,
    task: JoinHandle<()>,
}

// === impl Acting ===

impl Acting {
    pub(super) async fn run(self, cancelled: CancellationToken) {
        let acting = Arc::new(self);
        let mut changes = acting.syncs.changes();
        let mut running: BTreeMap<String, Running> = BTreeMap::new();
        loop {
            acting.arrange(&mut running, &cancelled).await;
            tokio::select! {
                _ = changes.next() => {}
                () = cancelled.cancelled() => break,
            }
        }
        for (_, running) in running {
            running.stop.cancel();
            let _ = running.task.await;
        }
    }

    /// Begins, ends and begins anew what the FabricSyncs ask for.
    async fn arrange(
        self: &Arc<Self>,
        running: &mut BTreeMap<String, Running>,
        cancelled: &CancellationToken,
    ) {
        let mut syncs = self.syncs.all();
        syncs.retain(|sync| !sync.meta.is_terminating);
        syncs.sort_by_key(|sync| (sync.meta.created, sync.meta.name.clone()));
        // One for this cluster, the oldest, and in a hub any number for others.
        let mut local = None;
        let mut idle: Vec<(Arc<LiveSync>, &str, String)> = Vec::new();
        let mut wanted: BTreeMap<String, Arc<LiveSync>> = BTreeMap::new();
        for sync in syncs {
            let name = sync.meta.name.clone();
            let spec = match &sync.spec {
                Ok(spec) => spec,
                Err(error) => {
                    idle.push((Arc::clone(&sync), "InvalidSpec", error.clone()));
                    continue;
                }
            };
            let is_remote = spec.kubeconfig_secret_ref.is_some();
            if is_remote && !self.options.hub {
                let text = "spec.kubeconfigSecretRef is heeded by `weft reconcile --hub` alone";
                idle.push((sync, "NotAHub", text.to_owned()));
                continue;
            }
            if !is_remote {
                if let Some(first) = &local {
                    let text = format!("the FabricSync {first} is older; a cluster keeps to one");
                    idle.push((sync, "Superseded", text));
                    continue;
                }
                local = Some(name.clone());
            }
            if spec.suspend {
                let text = "nothing is fetched or applied; what is in force stays";
                idle.push((sync, "Suspended", text.to_owned()));
                continue;
            }
            wanted.insert(name, sync);
        }
        let begun = |sync: &LiveSync| (sync.meta.uid.clone(), sync.meta.generation);
        let names: Vec<String> = running.keys().cloned().collect();
        for name in names {
            let stays = |running: &Running| {
                let sync = wanted.get(&name)?;
                (begun(sync) == running.begun && !running.task.is_finished()).then_some(())
            };
            if running.get(&name).and_then(stays).is_none()
                && let Some(running) = running.remove(&name)
            {
                running.stop.cancel();
                let _ = running.task.await;
            }
        }
        // Once it is true: a task that ran has come to its end.
        for (sync, reason, message) in idle {
            self.say_idle(&sync, reason, &message).await;
        }
        for (name, sync) in wanted {
            if running.contains_key(&name) {
                continue;
            }
            let Ok(spec) = sync.spec.clone() else {
                continue;
            };
            let task = Task {
                acting: Arc::clone(self),
                name: name.clone(),
                uid: sync.meta.uid.clone(),
                generation: sync.meta.generation,
                spec,
            };
            let stop = cancelled.child_token();
            let entry = Running {
                begun: begun(&sync),
                task: self.tasks.spawn(Box::pin(task.run(stop.clone()))),
                stop,
            };
            running.insert(name, entry);
        }
    }

    /// Says why a FabricSync does nothing, once.
    pub(super) async fn say_idle(&self, sync: &LiveSync, reason: &str, message: &str) {
        let before: FabricSyncStatus =
            serde_json::from_value(sync.status.clone()).unwrap_or_default();
        let now = Timestamp::now();
        let status = status::idle(sync.meta.generation, reason, message, &before, now);
        if status != before {
            self.write(&sync.meta.name, &status).await;
        }
    }

    pub(super) async fn write(&self, name: &str, status: &FabricSyncStatus) -> bool {
        let namespace = &self.connection.namespace;
        let api = api(
            &self.connection.client,
            CustomKind::FabricSync,
            Some(namespace),
        );
        let server = &self.connection.server;
        let writer = Writer::new(mark::STATUS_WRITER, server, self.leadership.clone());
        let body = json!({
            "apiVersion": "weft.dev/v1alpha1",
            "kind": "FabricSync",
            "metadata": { "name": name, "namespace": namespace },
            "status": status,
        });
        match writer.apply_status(&api, &body).await {
            Ok(_) => true,
            Err(error) => {
                tracing::warn!(name, reason = error.reason(), "the status can't be written");
                false
            }
        }
    }
}
