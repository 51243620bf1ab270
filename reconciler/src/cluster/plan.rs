//! FabricStates and objects to plans, and plans to snapshots.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use fabric::api::{FabricStateSpec, IgnoredObject, Object};
use fabric::attributes::Labels;
use fabric::crd::CustomKind;
use fabric::fabric::Good;
use fabric::mark;
use fabric::name::{Kind, ObjectKey, PeerName};
use fabric::origin::{Origin, Revision};
use fabric::plan::{Plan, PlannedObject, State};
use fabric::snapshot::Snapshot;
use kube::runtime::watcher;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{BURST, Options, notify_on};
use crate::kubernetes::cache::Cache;
use crate::kubernetes::client::Connection;
use crate::kubernetes::object::{LiveObject, Meta};
use crate::kubernetes::resource::api;
use crate::store::{Approvals, Desired, Local, Store as _};

/// So many objects that don't count are named in a report.
const IGNORED: usize = 50;

/// What gateways watch of the fabric.
#[derive(Clone)]
struct Caches {
    objects: [Arc<Cache<LiveObject>>; 5],
    states: Arc<Cache<StateObject>>,
    /// When the FabricSyncs that are for this cluster were made, and their names.
    syncs: Arc<Cache<Option<(i64, String)>>>,
}

struct StateObject {
    meta: Meta,
    spec: Result<FabricStateSpec, String>,
}

struct Follower {
    caches: Caches,
    options: Options,
    local: Option<Local>,
    plan: Option<Plan>,
    snapshots: watch::Sender<Option<Arc<Snapshot>>>,
    ignored: watch::Sender<Vec<IgnoredObject>>,
}

/// What the cluster says.
struct Reading {
    plan: Option<Plan>,
    good: Good,
    ignored: Vec<IgnoredObject>,
}

/// Follows the cluster until `cancelled`.
pub(super) fn follow(
    connection: &Connection,
    options: Options,
    local: Option<Local>,
    tasks: &TaskTracker,
    cancelled: &CancellationToken,
) -> (
    watch::Receiver<Option<Arc<Snapshot>>>,
    watch::Receiver<Vec<IgnoredObject>>,
) {
    let caches = Caches::watch(connection, &options, tasks, cancelled);
    let notify = Arc::new(Notify::new());
    let objects: Vec<_> = caches.objects.iter().collect();
    notify_on(&objects, &notify, tasks, cancelled);
    notify_on(&[&caches.states], &notify, tasks, cancelled);
    notify_on(&[&caches.syncs], &notify, tasks, cancelled);

    let before = local.as_ref().and_then(|local| local.in_force());
    let plan = before.and_then(|desired| desired.plan.clone());
    let snapshot = plan.as_ref().map(compile);
    let (snapshots, receiver) = watch::channel(snapshot);
    let (ignored, ignored_receiver) = watch::channel(Vec::new());
    let follower = Follower {
        caches,
        options,
        local,
        plan,
        snapshots,
        ignored,
    };
    let token = cancelled.clone();
    tasks.spawn(async move {
        let run = Box::pin(follower.run(notify));
        token.run_until_cancelled(run).await;
    });
    (receiver, ignored_receiver)
}

// === impl Follower ===

impl Follower {
    async fn run(mut self, notify: Arc<Notify>) {
        // Half a list would look like a cluster from which much was removed.
        self.caches.synced().await;
        let mut authorities = self.authorities();
        loop {
            let (caches, options) = (self.caches.clone(), self.options.clone());
            let before = self.plan.clone();
            let known = authorities.clone();
            // Decoding and hashing of thousands of objects takes longer than others should wait.
            let read = move || read(&caches, &options, &known, before.as_ref());
            if let Ok(reading) = tokio::task::spawn_blocking(read).await {
                self.take(reading).await;
            }
            let mut look = tokio::time::interval(std::time::Duration::from_secs(1));
            loop {
                tokio::select! {
                    () = notify.notified() => break,
                    _ = look.tick() => {
                        let now = self.authorities();
                        if now != authorities {
                            authorities = now;
                            break;
                        }
                    }
                }
            }
            tokio::time::sleep(BURST).await;
        }
    }

    async fn take(&mut self, reading: Reading) {
        self.ignored.send_if_modified(|ignored| {
            std::mem::replace(ignored, reading.ignored.clone()) != reading.ignored
        });
        if reading.plan == self.plan {
            return;
        }
        if let Some(local) = &self.local {
            let revision = reading.plan.as_ref().map(|plan| plan.revision.clone());
            let desired = Desired {
                revision: revision.unwrap_or_else(Revision::cluster),
                plan: reading.plan.clone(),
                good: reading.good,
            };
            if let Err(error) = local.apply(desired, Approvals::default()).await {
                tracing::warn!(%error, "what is in force can't be kept over a restart");
            }
        }
        self.snapshots
            .send_replace(reading.plan.as_ref().map(compile));
        self.plan = reading.plan;
    }

    /// The bytes of the CA file, where there is one.
    fn authorities(&self) -> Vec<u8> {
        let path: Option<&PathBuf> = self.options.authorities.as_ref();
        path.and_then(|path| fs::read(path).ok())
            .unwrap_or_default()
    }
}

/// A snapshot of a plan, whose Imports listen at the ports that were leased for them.
fn compile(plan: &Plan) -> Arc<Snapshot> {
    let mut plan = plan.clone();
    plan.objects
        .retain_mut(|planned| match &mut planned.object {
            Object::Import(import) => {
                let port = import.metadata.annotations.get(mark::LEASED_PORT);
                match port.and_then(|port| port.parse().ok()) {
                    Some(port) => {
                        import.spec.target_port = port;
                        true
                    }
                    // It listens as soon as it has a port.
                    None => false,
                }
            }
            _ => true,
        });
    Arc::new(Snapshot::compile(&plan))
}

fn read(caches: &Caches, options: &Options, authorities: &[u8], before: Option<&Plan>) -> Reading {
    let states = caches.states();
    let listed = FabricStateSpec::listed(&states);
    let mut ignored = Vec::new();
    let mut live = BTreeMap::new();
    for object in caches.objects.iter().flat_map(|cache| cache.all()) {
        if object.meta.is_terminating {
            continue;
        }
        let is_listed = listed.as_ref().is_some_and(|l| l.contains_key(&object.key));
        // The repository's, and not in force yet or not any more: nobody applied it by hand.
        if listed.is_some() && !is_listed && object.meta.labels.contains_key(mark::SYNC) {
            continue;
        }
        match planned(&object, is_listed) {
            Ok(planned) => {
                live.insert(object.key.clone(), planned);
            }
            Err(message) => ignored.push(IgnoredObject {
                object: object.key.to_string(),
                message,
            }),
        }
    }
    let mut reading = Reading {
        plan: before.cloned(),
        good: Good::default(),
        ignored: Vec::new(),
    };
    if let Some(first) = states.first() {
        if first.peer == options.peer {
            let assembly = FabricStateSpec::assemble(&states, &live, before);
            if !assembly.is_complete {
                tracing::debug!(
                    missing = assembly.missing.len(),
                    "the new state isn't whole yet"
                );
            }
            ignored.extend(assembly.ignored.iter().map(|key| IgnoredObject {
                object: key.to_string(),
                message: "it isn't applied from the repository".to_owned(),
            }));
            reading.plan = assembly.plan;
            reading.good = first.good.clone();
        } else {
            tracing::error!(
                certificate = %options.peer,
                cluster = %first.peer,
                "the certificate is another peer's than the cluster is; nothing is in force"
            );
            reading.plan = None;
        }
    } else if !caches.states.is_empty() || caches.syncs.all().iter().any(|sync| sync.is_some()) {
        // Nothing was brought into force yet, or somebody deleted the state, which comes back; or
        // it can't be understood: that opens nothing either.
        tracing::info!("the cluster keeps to a repository, and says nothing of what is in force");
    } else {
        reading.plan = Some(by_hand(options, authorities, live));
    }
    ignored.truncate(IGNORED);
    reading.ignored = ignored;
    reading
}

/// An object as a plan has it.
fn planned(object: &LiveObject, is_listed: bool) -> Result<PlannedObject, String> {
    let mut decoded = (**object.object.as_ref().map_err(Clone::clone)?).clone();
    if let Object::Import(import) = &mut decoded
        && let Some(port) = object.status["targetPort"].as_u64()
    {
        let port = port.to_string();
        let annotations = &mut import.metadata.annotations;
        annotations.insert(mark::LEASED_PORT.to_owned(), port);
    }
    let by_hand = || {
        let key = &object.key;
        let path = match &key.namespace {
            Some(namespace) => format!("{}/{namespace}/{}", key.kind, key.name),
            None => format!("{}/{}", key.kind, key.name),
        };
        Origin::cluster(&path, object.meta.generation)
    };
    // What anybody may write into an annotation counts only on objects that the repository has.
    let told = object.origin().filter(|_| is_listed);
    Ok(PlannedObject {
        key: object.key.clone(),
        origin: told.unwrap_or_else(by_hand),
        object: decoded,
    })
}

/// The plan of a cluster without a repository, as ClusterLink has it: everything counts.
fn by_hand(
    options: &Options,
    authorities: &[u8],
    live: BTreeMap<ObjectKey, PlannedObject>,
) -> Plan {
    let authorities = fabric::identity::read(authorities).certificates.into_iter();
    let authorities = authorities
        .filter(|facts| facts.is_authority)
        .map(|facts| facts.certificate)
        .collect();
    Plan {
        peer: options.peer.clone(),
        revision: Revision::cluster(),
        units: BTreeMap::new(),
        objects: live.into_values().collect(),
        state: State {
            fabric: String::new(),
            labels: options.labels.clone(),
            authorities,
            certificates: BTreeMap::new(),
            revoked: BTreeSet::new(),
            export_labels: BTreeMap::<PeerName, BTreeMap<_, Labels>>::new(),
            workloads: Vec::new(),
            export_hosts: fabric::api::ExportHosts::default(),
            heartbeat: fabric::api::Heartbeat::default(),
            limits: fabric::api::Limits::default(),
            prune: fabric::api::Prune::default(),
        },
    }
}

// === impl Caches ===

impl Caches {
    fn watch(
        connection: &Connection,
        options: &Options,
        tasks: &TaskTracker,
        cancelled: &CancellationToken,
    ) -> Self {
        let client = &connection.client;
        let config = || watcher::Config::default().timeout(options.watch_seconds);
        let system = Some(options.namespace.as_str());
        let objects = |kind: CustomKind, repository: Kind, namespace: Option<&str>| {
            Cache::watch(
                kind.plural(),
                api(client, kind, namespace),
                config(),
                move |object| LiveObject::decode(repository, object),
                tasks,
                cancelled.clone(),
            )
        };
        Self {
            objects: [
                objects(CustomKind::Peer, Kind::Peer, system),
                objects(CustomKind::Export, Kind::Export, None),
                objects(CustomKind::Import, Kind::Import, None),
                objects(CustomKind::AccessPolicy, Kind::AccessPolicy, None),
                objects(
                    CustomKind::PrivilegedAccessPolicy,
                    Kind::PrivilegedAccessPolicy,
                    None,
                ),
            ],
            states: Cache::watch(
                "fabricstates",
                api(client, CustomKind::FabricState, system),
                config(),
                |mut object| StateObject {
                    meta: Meta::of(&object.metadata),
                    spec: serde_json::from_value(object.data["spec"].take())
                        .map_err(|error| error.to_string()),
                },
                tasks,
                cancelled.clone(),
            ),
            syncs: Cache::watch(
                "fabricsyncs",
                api(client, CustomKind::FabricSync, system),
                config(),
                |object| {
                    // Those of a hub are for other clusters.
                    let is_remote = !object.data["spec"]["kubeconfigSecretRef"].is_null();
                    let meta = Meta::of(&object.metadata);
                    (!is_remote).then_some((meta.created, meta.name))
                },
                tasks,
                cancelled.clone(),
            ),
        }
    }

    async fn synced(&self) {
        for cache in &self.objects {
            cache.synced().await;
        }
        self.states.synced().await;
        self.syncs.synced().await;
    }

    /// The FabricState that counts and those that go on from it; nothing where there is none.
    fn states(&self) -> Vec<FabricStateSpec> {
        let states: BTreeMap<String, Arc<StateObject>> = self
            .states
            .all()
            .into_iter()
            .map(|state| (state.meta.name.clone(), state))
            .collect();
        let spec = |name: &str| match &states.get(name)?.spec {
            Ok(spec) => Some(spec.clone()),
            Err(error) => {
                tracing::error!(name, error, "a FabricState can't be understood");
                None
            }
        };
        let syncs = self.syncs.all();
        let mut synced: Vec<_> = syncs.iter().filter_map(|sync| (**sync).as_ref()).collect();
        // The oldest acts.
        synced.sort();
        let synced = synced.into_iter().map(|(_, name)| name);
        // In a cluster that a hub looks after there is no FabricSync.
        let named = synced.chain(states.keys()).find(|name| {
            // Further ones have names of their own, and say neither of these.
            spec(name).is_some_and(|spec| spec.state.is_some() || spec.good.shared.is_some())
        });
        let Some(name) = named else {
            return Vec::new();
        };
        let Some(first) = spec(name) else {
            return Vec::new();
        };
        let further = (1..=first.shards).map_while(|number| spec(&format!("{name}-{number}")));
        std::iter::once(first.clone()).chain(further).collect()
    }
}
