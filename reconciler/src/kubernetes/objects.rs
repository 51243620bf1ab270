//! The objects of a fabric as they live in one cluster, for all that look at them.

use std::sync::Arc;

use fabric::api::{FabricStateSpec, FabricSyncSpec};
use fabric::crd::CustomKind;
use fabric::name::{Kind, ObjectKey};
use kube::api::DynamicObject;
use kube::runtime::watcher;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::cache::{Cache, Name};
use super::client::Connection;
use super::object::{LiveObject, Meta};
use super::resource::{api, namespace_of};

/// The objects of a fabric as they live in one cluster: each kind is watched once.
///
/// Peers and FabricStates are those of the system namespace, the others those of the whole cluster:
/// what isn't applied from the repository must be seen as well.
#[derive(Debug)]
pub struct Objects {
    /// The Exports.
    pub exports: Arc<Cache<LiveObject>>,
    /// The Imports.
    pub imports: Arc<Cache<LiveObject>>,
    /// The Peers.
    pub peers: Arc<Cache<LiveObject>>,
    /// The AccessPolicies.
    pub policies: Arc<Cache<LiveObject>>,
    /// The PrivilegedAccessPolicies.
    pub privileged: Arc<Cache<LiveObject>>,
    /// The Instances.
    pub instances: Arc<Cache<LiveObject>>,
    /// The FabricStates.
    pub states: Arc<Cache<LiveState>>,
    system: String,
}

/// A FabricState as it lives in a cluster.
#[derive(Clone, Debug)]
pub struct LiveState {
    /// What the server says of it.
    pub meta: Meta,
    /// Its spec; the reason where it can't be understood.
    pub spec: Result<Arc<FabricStateSpec>, String>,
}

/// A FabricSync as it lives in a cluster.
#[derive(Debug)]
pub(crate) struct LiveSync {
    pub(crate) meta: Meta,
    pub(crate) spec: Result<FabricSyncSpec, String>,
    pub(crate) status: Value,
}

// === impl Objects ===

impl Objects {
    /// Watches them; the Peers and FabricStates of this system namespace.
    pub fn watch(
        connection: &Connection,
        system: &str,
        watch_seconds: u32,
        tasks: &TaskTracker,
        cancelled: &CancellationToken,
    ) -> Arc<Self> {
        let client = &connection.client;
        let config = || watcher::Config::default().timeout(watch_seconds);
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
        Arc::new(Self {
            exports: objects(CustomKind::Export, Kind::Export, None),
            imports: objects(CustomKind::Import, Kind::Import, None),
            peers: objects(CustomKind::Peer, Kind::Peer, Some(system)),
            policies: objects(CustomKind::AccessPolicy, Kind::AccessPolicy, None),
            privileged: objects(
                CustomKind::PrivilegedAccessPolicy,
                Kind::PrivilegedAccessPolicy,
                None,
            ),
            instances: objects(CustomKind::Instance, Kind::Instance, None),
            states: Cache::watch(
                CustomKind::FabricState.plural(),
                api(client, CustomKind::FabricState, Some(system)),
                config(),
                LiveState::decode,
                tasks,
                cancelled.clone(),
            ),
            system: system.to_owned(),
        })
    }

    /// The cache of a kind; none for those that stay in the repository.
    #[must_use]
    pub const fn of(&self, kind: Kind) -> Option<&Arc<Cache<LiveObject>>> {
        match kind {
            Kind::Peer => Some(&self.peers),
            Kind::Export => Some(&self.exports),
            Kind::Import => Some(&self.imports),
            Kind::AccessPolicy => Some(&self.policies),
            Kind::PrivilegedAccessPolicy => Some(&self.privileged),
            Kind::Instance => Some(&self.instances),
            Kind::Fabric | Kind::Revocations | Kind::Workloads | Kind::Invariant => None,
        }
    }

    /// An object by its key.
    #[must_use]
    pub fn find(&self, key: &ObjectKey) -> Option<Arc<LiveObject>> {
        self.of(key.kind)?
            .find(namespace_of(key, &self.system), &key.name)
    }

    /// All objects of the six kinds.
    pub fn all(&self) -> impl Iterator<Item = Arc<LiveObject>> {
        self.objects().into_iter().flat_map(|cache| cache.all())
    }

    /// Waits until everything was seen once.
    pub async fn synced(&self) {
        for cache in self.objects() {
            cache.synced().await;
        }
        self.states.synced().await;
    }

    /// Takes an object that a write gave back.
    pub(crate) fn put(&self, object: LiveObject) {
        let Some(cache) = self.of(object.key.kind) else {
            return;
        };
        let (uid, version) = (object.meta.uid.clone(), version(&object.meta));
        let name = (object.meta.namespace.clone(), object.meta.name.clone());
        // What the watch showed meanwhile may be newer already.
        cache.put(name, object, |old| {
            old.meta.uid != uid || self::version(&old.meta) < version
        });
    }

    /// Forgets an object that was deleted.
    pub(crate) fn remove(&self, key: &ObjectKey, uid: &str) {
        if let Some(cache) = self.of(key.kind) {
            cache.remove(&self.name(key), |old| old.meta.uid == uid);
        }
    }

    fn name(&self, key: &ObjectKey) -> Name {
        let namespace = namespace_of(key, &self.system);
        (namespace.map(str::to_owned), key.name.to_string())
    }

    pub(crate) fn objects(&self) -> [&Arc<Cache<LiveObject>>; 6] {
        [
            &self.exports,
            &self.imports,
            &self.peers,
            &self.policies,
            &self.privileged,
            &self.instances,
        ]
    }
}

// === impl LiveState ===

impl LiveState {
    pub(crate) fn decode(mut object: DynamicObject) -> Self {
        let spec = object.data["spec"].take();
        Self {
            meta: Meta::of(&object.metadata),
            spec: serde_json::from_value(spec)
                .map(Arc::new)
                .map_err(|error| error.to_string()),
        }
    }
}

// === impl LiveSync ===

impl LiveSync {
    pub(crate) fn decode(mut object: DynamicObject) -> Self {
        Self {
            meta: Meta::of(&object.metadata),
            spec: serde_json::from_value(object.data["spec"].take())
                .map_err(|error| error.to_string()),
            status: object.data["status"].take(),
        }
    }
}

/// Resource versions are numbers that grow, as servers promise since 1.35 and did before.
pub(crate) fn version(meta: &Meta) -> u64 {
    meta.resource_version.parse().unwrap_or(0)
}
