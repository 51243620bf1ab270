//! The work for one FabricSync, from its Secrets to its status.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fabric::api::{FabricSyncSpec, FabricSyncStatus, OnRewrite};
use fabric::mark;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::credentials::{other_cluster, remote};
use super::secrets::Secrets;
use super::{LEASE, RETRY, status};
use crate::controller;
use crate::kubernetes::client::Connection;
use crate::kubernetes::event::Events;
use crate::kubernetes::lease::{Candidate, Leadership};
use crate::kubernetes::objects::{LiveSync, Objects};
use crate::metrics::SyncMetrics;
use crate::reconcile::{self, Reconciler};
use crate::status::{History, Status};
use crate::store::kubernetes::{Cluster, Kubernetes, Settings, StoreStatus, SyncEvents, Target};

use super::acting::Acting;

/// Changes within so short a time are one status.
const COALESCE: Duration = Duration::from_millis(100);
/// Another cluster that isn't ours by then is said to be out of reach.
const PATIENCE: Duration = Duration::from_secs(10);
/// The Lease of hubs in the clusters that they lead into.
const HUB_LEASE: &str = "weft-hub";

/// What a FabricSync's task is made of.
pub(super) struct Task {
    pub(super) acting: Arc<Acting>,
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) generation: i64,
    pub(super) spec: FabricSyncSpec,
}

/// Why a FabricSync's task ended.
pub(super) enum Ended {
    /// It was told to.
    Cancelled,
    /// Its Secret is another one now.
    Secret,
    /// We no longer lead in the other cluster.
    Lost,
    /// Something isn't as it must be; one word, and why.
    Failed(&'static str, String),
}

// === impl Task ===

impl Task {
    pub(super) async fn run(self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let (tasks, token) = (TaskTracker::new(), stop.child_token());
            let election = CancellationToken::new();
            let ended = self.follow(&tasks, &token, &election).await;
            token.cancel();
            tasks.close();
            tasks.wait().await;
            // After the last write, so that the next leader finds nobody at work.
            election.cancel();
            self.metrics(&self.acting.connection).clear();
            match ended {
                Ended::Cancelled => return,
                Ended::Lost => tracing::warn!(name = self.name, "the leadership there is lost"),
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

    fn metrics(&self, connection: &Connection) -> SyncMetrics {
        let metrics = self.acting.handle.metrics();
        metrics.of_sync(&self.name, &connection.server)
    }

    fn live(&self) -> Option<Arc<LiveSync>> {
        let namespace = Some(self.acting.connection.namespace.as_str());
        self.acting.syncs.find(namespace, &self.name)
    }

    /// One life with the same credentials.
    async fn follow(
        &self,
        tasks: &TaskTracker,
        cancelled: &CancellationToken,
        election: &CancellationToken,
    ) -> Ended {
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
        let work = async {
            let Some(kubeconfig) = kubeconfig else {
                let cluster = self.own_cluster();
                return self
                    .keep(cluster, remote, &directory, tasks, cancelled)
                    .await;
            };
            let connection = match other_cluster(&kubeconfig, hub).await {
                Ok(connection) => connection,
                Err(message) => return Ended::Failed("InvalidKubeconfig", message),
            };
            let (cluster, mut leading) = self.other_cluster(connection, tasks, cancelled, election);
            self.wait_to_lead(&cluster, &mut leading).await;
            let look_after = self.look_after(&cluster, cancelled.clone(), election.clone());
            tasks.spawn(look_after);
            tokio::select! {
                ended = self.keep(cluster, remote, &directory, tasks, cancelled) => ended,
                _ = leading.wait_for(|leads| !*leads) => Ended::Lost,
            }
        };
        tokio::select! {
            ended = Box::pin(work) => ended,
            () = watched.changed() => Ended::Secret,
            () = cancelled.cancelled() => Ended::Cancelled,
        }
    }

    /// The cluster that we run in.
    fn own_cluster(&self) -> Cluster {
        let acting = &self.acting;
        Cluster {
            connection: acting.connection.clone(),
            objects: Arc::clone(&acting.objects),
            events: acting.events.clone(),
            leadership: acting.leadership.clone(),
            metrics: self.metrics(&acting.connection),
        }
    }

    /// Another cluster, and whether we lead there: by a Lease in it, so that never two hubs write.
    fn other_cluster(
        &self,
        connection: Connection,
        tasks: &TaskTracker,
        cancelled: &CancellationToken,
        election: &CancellationToken,
    ) -> (Cluster, watch::Receiver<bool>) {
        let options = &self.acting.options;
        let leadership = Leadership::none();
        let (leads, leading) = watch::channel(false);
        // Two FabricSyncs that lead into the same cluster are two candidates.
        let identity = format!("{}/{}", options.identity, self.name);
        let candidate = Candidate::new(&connection, HUB_LEASE, identity, options.lease);
        let run = candidate.run(leadership.clone(), leads, election.clone());
        self.acting.tasks.spawn(run);
        let (namespace, seconds) = (&connection.namespace, options.watch_seconds);
        let cluster = Cluster {
            objects: Objects::watch(&connection, namespace, seconds, tasks, cancelled),
            // Events stand beside the objects that they are about.
            events: Events::new(connection.client.clone(), HUB_LEASE, &options.identity),
            leadership,
            metrics: self.metrics(&connection),
            connection,
        };
        (cluster, leading)
    }

    /// Waits until we lead in another cluster, and says where that takes long.
    async fn wait_to_lead(&self, cluster: &Cluster, leading: &mut watch::Receiver<bool>) {
        let wait = leading.wait_for(|leads| *leads);
        let say = async {
            tokio::time::sleep(PATIENCE).await;
            cluster.metrics.set_reachable(false);
            let text = format!(
                "the Lease {}/{HUB_LEASE} at {} can't be had: the server doesn't answer or doesn't \
                 let us, or another hub or FabricSync has it",
                cluster.connection.namespace, cluster.connection.server
            );
            tracing::warn!(name = self.name, "{text}");
            if let Some(sync) = self.live() {
                self.acting
                    .say_idle(&sync, "ClusterUnreachable", &text)
                    .await;
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            _ = wait => {}
            () = say => {}
        }
    }

    /// Does in another cluster what its own reconciler would, as long as it has none: conditions,
    /// ports, Services.
    fn look_after(
        &self,
        cluster: &Cluster,
        cancelled: CancellationToken,
        election: CancellationToken,
    ) -> impl Future<Output = ()> + use<> {
        let options = &self.acting.options;
        let leadership = Leadership::none();
        let (leads, mut leading) = watch::channel(false);
        let identity = format!("{}/{}", options.identity, self.name);
        let candidate = Candidate::new(&cluster.connection, LEASE, identity, options.lease);
        let context = controller::Context {
            connection: cluster.connection.clone(),
            leadership: leadership.clone(),
            events: cluster.events.clone(),
            watch_seconds: options.watch_seconds,
            objects: Arc::clone(&cluster.objects),
            syncs: Arc::clone(&self.acting.syncs),
            is_remote: true,
            metrics: self.acting.handle.metrics().clone(),
        };
        let run = candidate.run(leadership, leads, election);
        self.acting.tasks.spawn(run);
        async move {
            while !cancelled.is_cancelled() {
                let wait = async { leading.wait_for(|leads| *leads).await.is_ok() };
                if cancelled.run_until_cancelled(wait).await != Some(true) {
                    return;
                }
                let token = cancelled.child_token();
                let lost = async {
                    let wait = async { leading.wait_for(|leads| !*leads).await.is_ok() };
                    token.run_until_cancelled(wait).await;
                    token.cancel();
                };
                tokio::join!(controller::run(context.clone(), token.clone()), lost);
            }
        }
    }

    /// Keeps a cluster to the repository.
    async fn keep(
        &self,
        cluster: Cluster,
        remote: crate::git::Remote,
        directory: &Path,
        tasks: &TaskTracker,
        cancelled: &CancellationToken,
    ) -> Ended {
        let (namespace, metrics) = (&cluster.connection.namespace, cluster.metrics.clone());
        let target = Target::new(namespace, &self.name, self.spec.peer.clone());
        let sync = SyncEvents {
            events: self.acting.events.clone(),
            reference: self.reference(),
        };
        let opened = Kubernetes::open(cluster, target, sync, tasks, cancelled.clone());
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
        let reconciler = match self.reconciler(remote, directory, metrics, &store) {
            Ok(reconciler) => reconciler,
            Err(error) => return Ended::Failed("StorageOperationFailed", error.to_string()),
        };
        let trigger = reconciler.trigger();
        let _listed = self.acting.handle.list(&trigger);
        let (status, rounds) = (reconciler.status(), reconciler.rounds());
        tasks.spawn(Arc::clone(&store).keep(cancelled.clone()));
        tasks.spawn(reconciler.run(cancelled.clone()));
        self.report(status, store.status(), rounds, trigger).await;
        if cancelled.is_cancelled() {
            return Ended::Cancelled;
        }
        let text = "the work ended by a mistake of ours, and begins anew; the log says more";
        Ended::Failed("InternalError", text.to_owned())
    }

    fn reconciler(
        &self,
        remote: crate::git::Remote,
        directory: &Path,
        metrics: SyncMetrics,
        store: &Arc<Kubernetes>,
    ) -> Result<Reconciler<Arc<Kubernetes>>, crate::git::Error> {
        let git = directory.join("git");
        let mut options = reconcile::Options::new(self.spec.peer.clone(), remote, git);
        options.interval = self.spec.interval.get();
        options.limits = self.acting.options.limits;
        options.metrics = metrics;
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
