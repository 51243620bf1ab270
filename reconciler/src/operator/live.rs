//! What lives of what Instances are made of.

use std::collections::BTreeMap;
use std::sync::Arc;

use fabric::crd::CustomKind;
use kube::api::DynamicObject;
use kube::runtime::watcher;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::LiveInstance;
use super::made::{INSTANCE, Key, MANAGED_BY, MadeKind};
use crate::cluster::notify_on;
use crate::kubernetes::cache::Cache;
use crate::kubernetes::client::Connection;
use crate::kubernetes::object::Meta;
use crate::kubernetes::resource::api;

/// The labels of what Imports made.
const OF_IMPORTS: [(MadeKind, &str); 2] = [
    (MadeKind::Service, "clusterlink.net/import-name"),
    (
        MadeKind::EndpointSlice,
        "clusterlink.net/dataplane-endpointslice-name",
    ),
];

/// An object that lives.
#[derive(Clone, Debug)]
pub(super) struct Made {
    pub(super) key: Key,
    pub(super) meta: Meta,
    /// The value of the label that names the Instance.
    pub(super) instance: String,
    /// The object, as the server has it.
    pub(super) object: Value,
}

/// What is watched.
pub(super) struct Caches {
    pub(super) instances: Arc<Cache<LiveInstance>>,
    made: Vec<Arc<Cache<Made>>>,
    of_imports: Vec<Arc<Cache<Made>>>,
}

// === impl Caches ===

impl Caches {
    pub(super) fn watch(
        connection: &Connection,
        watch_seconds: u32,
        notify: &Arc<Notify>,
        tasks: &TaskTracker,
        cancelled: &CancellationToken,
    ) -> Self {
        let client = &connection.client;
        let config = || watcher::Config::default().timeout(watch_seconds);
        let labelled = |kind: MadeKind, selector: &str| {
            Cache::watch(
                kind.as_str(),
                kind.api(client, None),
                config().labels(selector),
                move |object| Made::of(kind, object),
                tasks,
                cancelled.clone(),
            )
        };
        let ours = format!("{}={}", MANAGED_BY.0, MANAGED_BY.1);
        let kinds = [
            MadeKind::ClusterRoleBinding,
            MadeKind::RoleBinding,
            MadeKind::Deployment,
            MadeKind::Service,
            MadeKind::ServiceAccount,
        ];
        let caches = Self {
            instances: Cache::watch(
                "instances",
                api(client, CustomKind::Instance, None),
                config(),
                LiveInstance::decode,
                tasks,
                cancelled.clone(),
            ),
            made: kinds.map(|kind| labelled(kind, &ours)).into(),
            of_imports: OF_IMPORTS.map(|(kind, label)| labelled(kind, label)).into(),
        };
        notify_on(&[&caches.instances], notify, tasks, cancelled);
        let all: Vec<_> = caches.made.iter().chain(&caches.of_imports).collect();
        notify_on(&all, notify, tasks, cancelled);
        caches
    }

    pub(super) async fn synced(&self) {
        self.instances.synced().await;
        for cache in self.made.iter().chain(&self.of_imports) {
            cache.synced().await;
        }
    }

    pub(super) fn made(&self) -> BTreeMap<Key, Made> {
        let all = self.made.iter().flat_map(|cache| cache.all());
        all.map(|made| (made.key.clone(), (*made).clone()))
            .collect()
    }

    /// What Imports made.
    pub(super) fn of_imports(&self) -> Vec<Arc<Made>> {
        let caches = self.of_imports.iter();
        caches.flat_map(|cache| cache.all()).collect()
    }
}

// === impl Made ===

impl Made {
    fn of(kind: MadeKind, object: DynamicObject) -> Self {
        let meta = Meta::of(&object.metadata);
        let resource = kind.resource();
        let mut value = object.data;
        value["apiVersion"] = json!(resource.api_version);
        value["kind"] = json!(resource.kind);
        value["metadata"] = json!({
            "name": meta.name,
            "namespace": meta.namespace,
            "labels": meta.labels,
            "annotations": meta.annotations,
        });
        Self {
            key: Key {
                kind,
                namespace: meta.namespace.clone(),
                name: meta.name.clone(),
            },
            instance: meta.labels.get(INSTANCE).cloned().unwrap_or_default(),
            meta,
            object: value,
        }
    }
}
