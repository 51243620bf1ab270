//! What is watched, and one look at all of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fabric::api::{FabricStateSpec, GatewayReportStatus, Unmanaged};
use fabric::crd::CustomKind;
use fabric::mark;
use fabric::name::ObjectKey;
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::Api;
use kube::runtime::watcher;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Context;
use super::service::LiveService;
use super::slice::LiveSlice;
use crate::cluster::notify_on;
use crate::kubernetes::cache::{Cache, Name};
use crate::kubernetes::object::{LiveObject, Meta};
use crate::kubernetes::objects::{LiveSync, Objects};
use crate::kubernetes::resource::api;

/// What is watched.
pub(super) struct Caches {
    system: String,
    objects: Arc<Objects>,
    services: Arc<Cache<LiveService>>,
    slices: Arc<Cache<LiveSlice>>,
    pods: Arc<Cache<LivePod>>,
    reports: Arc<Cache<LiveReport>>,
    syncs: Arc<Cache<LiveSync>>,
    is_remote: bool,
}

/// One look at all of it.
pub(super) struct View {
    pub(super) system: String,
    pub(super) exports: Vec<Arc<LiveObject>>,
    pub(super) imports: Vec<Arc<LiveObject>>,
    pub(super) peers: Vec<Arc<LiveObject>>,
    pub(super) policies: Vec<Arc<LiveObject>>,
    pub(super) services: BTreeMap<Name, Arc<LiveService>>,
    pub(super) slices: BTreeMap<Name, Arc<LiveSlice>>,
    /// The reports of gateways that live.
    pub(super) reports: Vec<Arc<LiveReport>>,
    /// The reports of gateways that are gone.
    pub(super) stale: Vec<Arc<LiveReport>>,
    counting: Counting,
    /// The values of the label by which objects are the repository's.
    marks: BTreeSet<String>,
}

/// Which objects count.
enum Counting {
    /// All of them: there is no repository.
    All,
    /// Those of the repository, which are these, or carry our label until they are listed.
    Listed(BTreeSet<ObjectKey>),
    /// It isn't known yet: nothing was brought into force.
    Unknown,
}

/// A Pod of the system namespace.
pub(super) struct LivePod {
    uid: String,
    is_ready: bool,
}

/// A gateway's report.
pub(super) struct LiveReport {
    pub(super) meta: Meta,
    /// The uid of the Pod that it goes away with; none of a gateway outside.
    pod: Option<String>,
    pub(super) status: GatewayReportStatus,
}

// === impl Caches ===

impl Caches {
    pub(super) fn watch(
        context: &Context,
        notify: &Arc<Notify>,
        tasks: &TaskTracker,
        cancelled: &CancellationToken,
    ) -> Self {
        let client = &context.connection.client;
        let system = context.connection.namespace.as_str();
        let config = || watcher::Config::default().timeout(context.watch_seconds);
        let own = |kind: CustomKind| api(client, kind, Some(system));
        let caches = Self {
            system: system.to_owned(),
            objects: Arc::clone(&context.objects),
            services: Cache::watch(
                "services",
                Api::<Service>::all(client.clone()),
                config(),
                |service| LiveService::of(&service),
                tasks,
                cancelled.clone(),
            ),
            slices: Cache::watch(
                "endpointslices",
                Api::<EndpointSlice>::all(client.clone()),
                config(),
                |slice| LiveSlice::of(&slice),
                tasks,
                cancelled.clone(),
            ),
            pods: Cache::watch(
                "pods",
                Api::<Pod>::namespaced(client.clone(), system),
                config(),
                |pod| LivePod::of(&pod),
                tasks,
                cancelled.clone(),
            ),
            reports: Cache::watch(
                "gatewayreports",
                own(CustomKind::GatewayReport),
                config(),
                |mut object| {
                    let owners = object.metadata.owner_references.iter().flatten();
                    let pod = owners.clone().find(|owner| owner.kind == "Pod");
                    let status = object.data["status"].take();
                    LiveReport {
                        pod: pod.map(|owner| owner.uid.clone()),
                        meta: Meta::of(&object.metadata),
                        status: serde_json::from_value(status).unwrap_or_default(),
                    }
                },
                tasks,
                cancelled.clone(),
            ),
            syncs: Arc::clone(&context.syncs),
            is_remote: context.is_remote,
        };
        notify_on(&caches.counted(), notify, tasks, cancelled);
        notify_on(&[&caches.services], notify, tasks, cancelled);
        notify_on(&[&caches.slices], notify, tasks, cancelled);
        notify_on(&[&caches.pods], notify, tasks, cancelled);
        notify_on(&[&caches.reports], notify, tasks, cancelled);
        notify_on(&[&caches.objects.states], notify, tasks, cancelled);
        notify_on(&[&caches.syncs], notify, tasks, cancelled);
        caches
    }

    /// What can have conditions.
    fn counted(&self) -> [&Arc<Cache<LiveObject>>; 5] {
        let objects = &self.objects;
        [
            &objects.exports,
            &objects.imports,
            &objects.peers,
            &objects.policies,
            &objects.privileged,
        ]
    }

    pub(super) async fn synced(&self) {
        self.objects.synced().await;
        self.services.synced().await;
        self.slices.synced().await;
        self.pods.synced().await;
        self.reports.synced().await;
        self.syncs.synced().await;
    }

    pub(super) fn view(&self) -> View {
        let live = |cache: &Arc<Cache<LiveObject>>| {
            let mut objects = cache.all();
            objects.retain(|object| !object.meta.is_terminating);
            objects
        };
        let pods: BTreeMap<String, bool> = self
            .pods
            .all()
            .iter()
            .map(|pod| (pod.uid.clone(), pod.is_ready))
            .collect();
        let (mut reports, mut stale) = (Vec::new(), Vec::new());
        for report in self.reports.all() {
            match report.pod.as_ref().map(|uid| pods.get(uid)) {
                None | Some(Some(true)) => reports.push(report),
                Some(None) => stale.push(report),
                // It may come back.
                Some(Some(false)) => {}
            }
        }
        let objects = &self.objects;
        let services = self.services.all().into_iter();
        let slices = self.slices.all().into_iter();
        View {
            system: self.system.clone(),
            exports: live(&objects.exports),
            imports: live(&objects.imports),
            peers: live(&objects.peers),
            policies: [live(&objects.policies), live(&objects.privileged)].concat(),
            services: services.map(|service| (service.name(), service)).collect(),
            slices: slices.map(|slice| (slice.name(), slice)).collect(),
            reports,
            stale,
            counting: self.counting(),
            marks: self.marks(),
        }
    }

    /// The names of the FabricSyncs that are for this cluster.
    fn syncs(&self) -> Vec<String> {
        let is_remote = |sync: &LiveSync| match &sync.spec {
            Ok(spec) => spec.kubeconfig_secret_ref.is_some(),
            Err(_) => self.is_remote,
        };
        let syncs = self.syncs.all();
        let ours = syncs
            .iter()
            .filter(|sync| is_remote(sync) == self.is_remote);
        ours.map(|sync| sync.meta.name.clone()).collect()
    }

    fn marks(&self) -> BTreeSet<String> {
        let states = self.objects.states.all();
        let states = states.iter().map(|state| state.meta.name.clone());
        let names = states.chain(self.syncs());
        names
            .map(|name| mark::sync_label(&self.system, &name))
            .collect()
    }

    fn counting(&self) -> Counting {
        let states = self.objects.states.all();
        let specs: Vec<&FabricStateSpec> = states
            .iter()
            .filter_map(|state| state.spec.as_deref().ok())
            .collect();
        let honours = specs
            .iter()
            .any(|spec| spec.state.is_some() && spec.unmanaged == Unmanaged::Honour);
        if honours {
            return Counting::All;
        }
        if specs.is_empty() {
            return match self.syncs().is_empty() && states.is_empty() {
                true => Counting::All,
                false => Counting::Unknown,
            };
        }
        // Each by itself: that they belong together matters to gateways alone.
        let listed = specs.iter().flat_map(|spec| {
            let single = FabricStateSpec {
                shards: 0,
                shard_digests: Vec::new(),
                ..(*spec).clone()
            };
            FabricStateSpec::listed(&[single]).unwrap_or_default()
        });
        Counting::Listed(listed.map(|(key, _)| key).collect())
    }
}

// === impl View ===

impl View {
    /// The revision at which all gateways are.
    pub(super) fn enforced(&self) -> Option<&str> {
        let mut revisions = self.reports.iter().map(|report| &report.status.revision);
        let first = revisions.next()?.as_deref()?;
        revisions
            .all(|revision| revision.as_deref() == Some(first))
            .then_some(first)
    }

    /// Whether an object counts; none as long as that isn't known.
    pub(super) fn counts(&self, object: &LiveObject) -> Option<bool> {
        match &self.counting {
            Counting::All => Some(true),
            Counting::Listed(listed) if listed.contains(&object.key) => Some(true),
            _ if let Some(mark) = object.meta.labels.get(mark::SYNC) => {
                // Just applied, and listed in a moment. Another installation's is its to speak of,
                // and anybody may write a label.
                self.marks.contains(mark).then_some(true)
            }
            Counting::Listed(_) => Some(false),
            // What has a port counted before, and isn't taken away as long as nothing is known.
            Counting::Unknown => object.status["targetPort"].is_u64().then_some(true),
        }
    }

    pub(super) fn service(&self, namespace: &str, name: &str) -> Option<&Arc<LiveService>> {
        self.services
            .get(&(Some(namespace.to_owned()), name.to_owned()))
    }
}

// === impl LivePod ===

impl LivePod {
    fn of(pod: &Pod) -> Self {
        let status = pod.status.as_ref();
        let conditions = status.and_then(|status| status.conditions.as_ref());
        let is_ready = conditions
            .into_iter()
            .flatten()
            .any(|condition| condition.type_ == "Ready" && condition.status == "True");
        Self {
            uid: pod.metadata.uid.clone().unwrap_or_default(),
            is_ready: is_ready && pod.metadata.deletion_timestamp.is_none(),
        }
    }
}
