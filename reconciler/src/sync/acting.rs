//! Which FabricSync acts, and what it does: one task for each, begun anew when it changes.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fabric::api::{FabricSyncSpec, FabricSyncStatus, OnRewrite};
use fabric::crd::CustomKind;
use fabric::mark;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::credentials::{other_cluster, remote};
use super::secrets::Secrets;
use super::{Handle, Options, RETRY, status};
use crate::kubernetes::cache::Cache;
use crate::kubernetes::client::Connection;
use crate::kubernetes::event::Events;
use crate::kubernetes::lease::Leadership;
use crate::kubernetes::objects::{LiveSync, Objects};
use crate::kubernetes::resource::api;
use crate::kubernetes::write::Writer;
use crate::metrics::SyncMetrics;
use crate::reconcile::{self, Reconciler};
use crate::status::{History, Status};
use crate::store::kubernetes::{Cluster, Kubernetes, Settings, StoreStatus, Target};

/// Changes within so short a time are one status.
const COALESCE: Duration = Duration::from_millis(100);

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

/// What a FabricSync's task is made of.
struct Task {
    acting: Arc<Acting>,
    name: String,
    uid: String,
    generation: i64,
    spec: FabricSyncSpec,
}

/// Why a FabricSync's task ended.
pub(super) enum Ended {
    /// It was told to.
    Cancelled,
    /// Its Secret is another one now.
    Secret,
    /// Something isn't as it must be; one word, and why.
    Failed(&'static str, String),
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
    async fn say_idle(&self, sync: &LiveSync, reason: &str, message: &str) {
        let before: FabricSyncStatus =
            serde_json::from_value(sync.status.clone()).unwrap_or_default();
        let now = Timestamp::now();
        let status = status::idle(sync.meta.generation, reason, message, &before, now);
        if status != before {
            self.write(&sync.meta.name, &status).await;
        }
    }

    async fn write(&self, name: &str, status: &FabricSyncStatus) -> bool {
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

// === impl Task ===

impl Task {
    async fn run(self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let (tasks, token) = (TaskTracker::new(), stop.child_token());
            let ended = self.follow(&tasks, &token).await;
            token.cancel();
            tasks.close();
            tasks.wait().await;
            self.metrics().clear();
            match ended {
                Ended::Cancelled => return,
                Ended::Secret => tracing::info!(name = self.name, "the credentials changed"),
                Ended::Failed(reason, message) => {
                    tracing::warn!(name = self.name, reason, message, "the FabricSync fails");
                    if let Some(sync) = self.live() {
                        self.acting.say_idle(&sync, reason, &message).await;
                    }
                    stop.run_until_cancelled(tokio::time::sleep(RETRY)).await;
                }
            }
        }
    }

    fn metrics(&self) -> SyncMetrics {
        self.acting.handle.metrics().of_sync(&self.name)
    }

    fn live(&self) -> Option<Arc<LiveSync>> {
        let namespace = Some(self.acting.connection.namespace.as_str());
        self.acting.syncs.find(namespace, &self.name)
    }

    /// One life with the same credentials.
    async fn follow(&self, tasks: &TaskTracker, cancelled: &CancellationToken) -> Ended {
        let seconds = self.acting.options.watch_seconds;
        let hub = &self.acting.connection;
        let watched = Secrets::watch(&self.spec, hub, seconds, tasks, cancelled);
        let (secret, kubeconfig) = match watched.first(cancelled).await {
            Ok(found) => found,
            Err(ended) => return ended,
        };
        let directory = self.acting.options.directory.join(&self.name);
        let remote = match remote(&self.spec, secret.as_ref(), &directory) {
            Ok(remote) => remote,
            Err(error) => return Ended::Failed("InvalidSource", error.to_string()),
        };
        let connection = match kubeconfig {
            Some(kubeconfig) => match other_cluster(&kubeconfig, hub).await {
                Ok(connection) => connection,
                Err(message) => return Ended::Failed("InvalidKubeconfig", message),
            },
            None => self.acting.connection.clone(),
        };
        let target = Target {
            uid: self.uid.clone(),
            ..Target::new(&connection.namespace, &self.name, self.spec.peer.clone())
        };
        let objects = match self.spec.kubeconfig_secret_ref {
            Some(_) => Objects::watch(&connection, &target.namespace, seconds, tasks, cancelled),
            None => Arc::clone(&self.acting.objects),
        };
        // Events stand beside the objects that they are about.
        let events = match self.spec.kubeconfig_secret_ref {
            Some(_) => Events::new(
                connection.client.clone(),
                super::LEASE,
                &self.acting.options.identity,
            ),
            None => self.acting.events.clone(),
        };
        let cluster = Cluster {
            connection,
            objects,
            events,
            leadership: self.acting.leadership.clone(),
            metrics: self.metrics(),
        };
        let opened = Kubernetes::open(cluster, target, tasks, cancelled.clone());
        let store = match opened.await {
            Ok(store) => store,
            Err(_) if cancelled.is_cancelled() => return Ended::Cancelled,
            Err(error) => return Ended::Failed("ClusterUnreachable", error.to_string()),
        };
        store.configure(Settings {
            unmanaged: self.spec.unmanaged,
            adoption: self.spec.adoption,
            prune: self.spec.prune.clone(),
        });
        let reconciler = match self.reconciler(remote, &directory, &store) {
            Ok(reconciler) => reconciler,
            Err(error) => return Ended::Failed("StorageOperationFailed", error.to_string()),
        };
        let trigger = reconciler.trigger();
        self.acting.handle.triggers.lock().push(trigger.clone());
        let (status, rounds) = (reconciler.status(), reconciler.rounds());
        tasks.spawn(Arc::clone(&store).keep(cancelled.clone()));
        tasks.spawn(reconciler.run(cancelled.clone()));
        let report = Box::pin(self.report(status, store.status(), rounds, trigger.clone()));
        let ended = tokio::select! {
            () = report => Ended::Cancelled,
            () = watched.changed() => Ended::Secret,
            () = cancelled.cancelled() => Ended::Cancelled,
        };
        let mut triggers = self.acting.handle.triggers.lock();
        triggers.retain(|other| !other.is_same(&trigger));
        ended
    }

    fn reconciler(
        &self,
        remote: crate::git::Remote,
        directory: &Path,
        store: &Arc<Kubernetes>,
    ) -> Result<Reconciler<Arc<Kubernetes>>, crate::git::Error> {
        let git = directory.join("git");
        let mut options = reconcile::Options::new(self.spec.peer.clone(), remote, git);
        options.interval = self.spec.interval.get();
        options.limits = self.acting.options.limits;
        options.metrics = self.metrics();
        options.refuses_rewrites = self.spec.on_rewrite == OnRewrite::Refuse;
        Reconciler::new(options, Arc::clone(store))
    }

    /// Writes the status whenever it is another one, and hears of annotations.
    async fn report(
        &self,
        mut status: watch::Receiver<Status>,
        mut store: watch::Receiver<StoreStatus>,
        mut rounds: watch::Receiver<u64>,
        trigger: reconcile::Trigger,
    ) {
        let mut changes = self.acting.syncs.changes();
        let live = self.live();
        let mut written: FabricSyncStatus = live
            .as_ref()
            .and_then(|live| serde_json::from_value(live.status.clone()).ok())
            .unwrap_or_default();
        let mut handled = written.last_handled_reconcile_at.clone();
        // What was asked for, and the round that answers it.
        let mut asked: Option<(String, u64)> = None;
        let mut told: Option<(History, String)> = None;
        loop {
            let requested = self.live().and_then(|live| {
                let annotations = &live.meta.annotations;
                annotations.get(mark::RECONCILE_REQUESTED).cloned()
            });
            let done = *rounds.borrow_and_update();
            if let Some((value, round)) = &asked
                && done >= *round
            {
                handled = Some(value.clone());
                asked = None;
            }
            if let Some(value) = requested
                && handled.as_ref() != Some(&value)
                && asked.as_ref().is_none_or(|(asked, _)| *asked != value)
            {
                // One may be under way that didn't hear of it.
                let round = if done == 0 { 1 } else { done + 1 };
                asked = Some((value, round));
                trigger.fire();
            }
            let next = {
                let (status, store) = (status.borrow_and_update(), store.borrow_and_update());
                let facts = status::Facts {
                    generation: self.generation,
                    handled: handled.clone(),
                    status: &status,
                    store: &store,
                    is_observed: done > 0,
                };
                status::of(&facts, &written, Timestamp::now())
            };
            self.tell_of_rewrite(&status, &mut told).await;
            // Before the first round ended there is nothing to say that wasn't said.
            let is_news = done > 0 || written.conditions.is_empty();
            let mut retry = None;
            if is_news && next != written {
                if self.acting.write(&self.name, &next).await {
                    written = next;
                } else {
                    retry = Some(tokio::time::sleep(RETRY));
                }
            }
            tokio::select! {
                changed = status.changed() => if changed.is_err() { return },
                changed = store.changed() => if changed.is_err() { return },
                changed = rounds.changed() => if changed.is_err() { return },
                _ = changes.next() => {}
                () = async { match retry { Some(retry) => retry.await, None => std::future::pending().await } } => {}
            }
            tokio::time::sleep(COALESCE).await;
        }
    }

    async fn tell_of_rewrite(
        &self,
        status: &watch::Receiver<Status>,
        told: &mut Option<(History, String)>,
    ) {
        let (history, revision) = {
            let status = status.borrow();
            let revision = status.attempted.as_ref().map(ToString::to_string);
            (status.history, revision.unwrap_or_default())
        };
        let Some(history) = history.filter(|history| *history != History::Forward) else {
            return;
        };
        if self.spec.on_rewrite == OnRewrite::Accept || *told == Some((history, revision.clone())) {
            return;
        }
        let note = format!("the repository's history doesn't go on at {revision}: {history:?}");
        *told = Some((history, revision));
        let events = &self.acting.events;
        events
            .warn(&self.reference(), "HistoryRewritten", note)
            .await;
    }

    fn reference(&self) -> ObjectReference {
        ObjectReference {
            api_version: Some("weft.dev/v1alpha1".to_owned()),
            kind: Some("FabricSync".to_owned()),
            namespace: Some(self.acting.connection.namespace.clone()),
            name: Some(self.name.clone()),
            uid: Some(self.uid.clone()),
            ..ObjectReference::default()
        }
    }
}
