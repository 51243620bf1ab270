//! The Secrets that a FabricSync names.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fabric::api::{FabricSyncSpec, SecretRef};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::Api;
use kube::runtime::watcher;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::task::Ended;
use crate::kubernetes::cache::Cache;
use crate::kubernetes::client::Connection;

/// A Secret that isn't seen by then may not be read.
const PATIENCE: Duration = Duration::from_secs(10);

/// The keys of a Secret.
type Data = BTreeMap<String, ByteString>;

/// The Secrets that a FabricSync names.
pub(super) struct Secrets {
    git: Option<Watched>,
    kubeconfig: Option<Watched>,
}

struct Watched {
    name: String,
    namespace: String,
    cache: Arc<Cache<Data>>,
}

// === impl Secrets ===

impl Secrets {
    /// Watches each by itself: no right to see others is needed.
    pub(super) fn watch(
        spec: &FabricSyncSpec,
        connection: &Connection,
        seconds: u32,
        tasks: &TaskTracker,
        cancelled: &CancellationToken,
    ) -> Self {
        let watch = |name: &str| {
            let config = watcher::Config::default()
                .fields(&format!("metadata.name={name}"))
                .timeout(seconds);
            let namespace = &connection.namespace;
            let secrets: Api<Secret> = Api::namespaced(connection.client.clone(), namespace);
            let cache = Cache::watch(
                "secrets",
                secrets,
                config,
                |secret: Secret| secret.data.unwrap_or_default(),
                tasks,
                cancelled.clone(),
            );
            Watched {
                name: name.to_owned(),
                namespace: namespace.clone(),
                cache,
            }
        };
        let named = |reference: &Option<SecretRef>| {
            reference.as_ref().map(|reference| watch(&reference.name))
        };
        Self {
            git: named(&spec.secret_ref),
            kubeconfig: named(&spec.kubeconfig_secret_ref),
        }
    }

    /// The credentials, and the kubeconfig of another cluster.
    pub(super) async fn first(
        &self,
        cancelled: &CancellationToken,
    ) -> Result<(Option<Data>, Option<Vec<u8>>), Ended> {
        let read = async {
            let git = match &self.git {
                Some(watched) => Some(watched.read().await?),
                None => None,
            };
            let kubeconfig = match &self.kubeconfig {
                Some(watched) => {
                    let mut data = watched.read().await?;
                    let kubeconfig = data.remove("kubeconfig");
                    let text = format!("the Secret {} has no key `kubeconfig`", watched.name);
                    Some(kubeconfig.ok_or(Ended::Failed("SecretIncomplete", text))?.0)
                }
                None => None,
            };
            Ok((git, kubeconfig))
        };
        let read = cancelled.run_until_cancelled(read).await;
        read.unwrap_or(Err(Ended::Cancelled))
    }

    /// Waits until one of them is another one.
    pub(super) async fn changed(&self) {
        let changed = |watched: &Option<Watched>| {
            let watched = watched.as_ref().map(|watched| {
                let changes = watched.cache.changes();
                (
                    watched.data(),
                    watched.cache.clone(),
                    changes,
                    watched.name.clone(),
                    watched.namespace.clone(),
                )
            });
            async move {
                let Some((before, cache, mut changes, name, namespace)) = watched else {
                    return std::future::pending().await;
                };
                loop {
                    changes.next().await;
                    let now = cache
                        .find(Some(&namespace), &name)
                        .map(|data| (*data).clone());
                    if now != before {
                        return;
                    }
                }
            }
        };
        tokio::select! {
            () = changed(&self.git) => {}
            () = changed(&self.kubeconfig) => {}
        }
    }
}

// === impl Watched ===

impl Watched {
    async fn read(&self) -> Result<Data, Ended> {
        if timeout(PATIENCE, self.cache.synced()).await.is_err() {
            let text = format!(
                "the Secret {} can't be read: the reconciler's account needs `list` and `watch` of it",
                self.name
            );
            return Err(Ended::Failed("SecretUnreadable", text));
        }
        self.data().ok_or_else(|| {
            let text = format!("the Secret {} isn't there", self.name);
            Ended::Failed("SecretNotFound", text)
        })
    }

    fn data(&self) -> Option<Data> {
        let found = self.cache.find(Some(&self.namespace), &self.name)?;
        Some((*found).clone())
    }
}
