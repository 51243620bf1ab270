//! The Deployment controller.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kube::{Resource as _, ResourceExt as _};
use rand::Rng as _;
use rand::distr::Alphanumeric;
use serde_json::json;

use super::Node;

/// The label that tells the Pods of one template from those of another.
const HASH: &str = "pod-template-hash";

// === impl Node ===

impl Node {
    /// Makes the Pods that Deployments want, and deletes those that they don't.
    pub(super) async fn sync_deployments(&self) -> Result<(), kube::Error> {
        let deployments = self.seen.deployments.state();
        for deployment in &deployments {
            if deployment.meta().deletion_timestamp.is_none() {
                self.sync_deployment(deployment).await?;
            }
        }
        // What a Deployment leaves behind goes with it.
        for pod in self.seen.pods.state() {
            let owner = pod
                .owner_references()
                .iter()
                .find(|owner| owner.kind == "Deployment");
            let is_orphan = owner.is_some_and(|owner| {
                !deployments
                    .iter()
                    .any(|deployment| deployment.uid().as_deref() == Some(owner.uid.as_str()))
            });
            // The Deployments may be seen later than their Pods, for a moment at the beginning.
            if is_orphan && is_alive(&pod) && self.seen.deployments.wait_until_ready().await.is_ok()
            {
                self.delete_pod(&pod).await?;
            }
        }
        Ok(())
    }

    /// Says of each Deployment how far it is.
    pub(super) async fn sync_deployment_statuses(&self) -> Result<(), kube::Error> {
        for deployment in self.seen.deployments.state() {
            let (wanted, pods) = (replicas(&deployment), self.pods_of(&deployment).await?);
            let hash = template_hash(&deployment);
            let ready = pods.iter().filter(|pod| is_ready(pod)).count();
            let updated = pods
                .iter()
                .filter(|pod| pod.labels().get(HASH) == Some(&hash))
                .count();
            let is_available = ready >= wanted;
            let is_complete = is_available && updated == pods.len() && updated == wanted;
            let text = |is: bool| if is { "True" } else { "False" };
            let status = json!({
                "observedGeneration": deployment.metadata.generation,
                "replicas": pods.len(),
                "updatedReplicas": updated,
                "readyReplicas": ready,
                "availableReplicas": ready,
                "unavailableReplicas": wanted.saturating_sub(ready),
                "conditions": [
                    {
                        "type": "Available",
                        "status": text(is_available),
                        "reason": if is_available { "MinimumReplicasAvailable" } else { "MinimumReplicasUnavailable" },
                        "message": "",
                    },
                    {
                        "type": "Progressing",
                        "status": "True",
                        "reason": if is_complete { "NewReplicaSetAvailable" } else { "ReplicaSetUpdated" },
                        "message": "",
                    },
                ],
            });
            let there = serde_json::to_value(&deployment.status).unwrap_or_default();
            if !is_part_of(&status, &there) {
                let api: Api<Deployment> = self.namespaced(&*deployment);
                let patch = Patch::Merge(json!({ "status": status }));
                api.patch_status(&deployment.name_any(), &PatchParams::default(), &patch)
                    .await?;
            }
        }
        Ok(())
    }

    async fn sync_deployment(&self, deployment: &Deployment) -> Result<(), kube::Error> {
        let hash = template_hash(deployment);
        let wanted = replicas(deployment);
        let pods: Vec<_> = self.pods_of(deployment).await?;
        let (new, old): (Vec<_>, Vec<_>) = pods
            .iter()
            .filter(|pod| is_alive(pod))
            .partition(|pod| pod.labels().get(HASH) == Some(&hash));
        let strategy = deployment
            .spec
            .as_ref()
            .and_then(|spec| spec.strategy.as_ref());
        let recreates =
            strategy.is_some_and(|strategy| strategy.type_.as_deref() == Some("Recreate"));
        if recreates && pods.len() > new.len() {
            for pod in old {
                self.delete_pod(pod).await?;
            }
            return Ok(());
        }
        for _ in new.len()..wanted {
            self.create_pod(deployment, &hash).await?;
        }
        // Those that aren't ready first.
        let mut surplus = new.clone();
        surplus.sort_by_key(|pod| is_ready(pod));
        for pod in surplus.iter().take(new.len().saturating_sub(wanted)) {
            self.delete_pod(pod).await?;
        }
        // An old one goes for each new one that is ready.
        let ready = new.iter().filter(|pod| is_ready(pod)).count();
        let kept = wanted.saturating_sub(ready);
        for pod in old.iter().skip(kept) {
            self.delete_pod(pod).await?;
        }
        Ok(())
    }

    /// Its Pods as they are now: the watch may not have shown yet what was done a moment ago.
    async fn pods_of(&self, deployment: &Deployment) -> Result<Vec<Arc<Pod>>, kube::Error> {
        let api: Api<Pod> = self.namespaced(deployment);
        let uid = deployment.uid().unwrap_or_default();
        let pods = api.list(&kube::api::ListParams::default()).await?;
        let owned = |pod: &Pod| pod.owner_references().iter().any(|owner| owner.uid == uid);
        Ok(pods.items.into_iter().filter(owned).map(Arc::new).collect())
    }

    async fn create_pod(&self, deployment: &Deployment, hash: &str) -> Result<(), kube::Error> {
        let template = deployment.spec.as_ref().map(|spec| spec.template.clone());
        let template = template.unwrap_or_default();
        let mut metadata = template.metadata.unwrap_or_default();
        let random: String = rand::rng()
            .sample_iter(Alphanumeric)
            .map(|byte| char::from(byte.to_ascii_lowercase()))
            .take(5)
            .collect();
        metadata.name = Some(format!("{}-{hash}-{random}", deployment.name_any()));
        metadata.namespace = deployment.namespace();
        metadata
            .labels
            .get_or_insert_default()
            .insert(HASH.to_owned(), hash.to_owned());
        metadata.owner_references = deployment
            .controller_owner_ref(&())
            .map(|owner| vec![owner]);
        let mut spec = template.spec.unwrap_or_default();
        spec.node_name = Some(self.name.clone());
        let pod = Pod {
            metadata,
            spec: Some(spec),
            status: None,
        };
        let api: Api<Pod> = self.namespaced(deployment);
        api.create(&PostParams::default(), &pod).await?;
        Ok(())
    }

    async fn delete_pod(&self, pod: &Pod) -> Result<(), kube::Error> {
        let api: Api<Pod> = self.namespaced(pod);
        let parameters = DeleteParams {
            preconditions: Some(kube::api::Preconditions {
                uid: pod.uid(),
                resource_version: None,
            }),
            ..DeleteParams::default()
        };
        drop(api.delete(&pod.name_any(), &parameters).await?);
        Ok(())
    }

    /// The objects of a kind in the namespace of an object.
    pub(super) fn namespaced<K, T>(&self, object: &T) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>,
        K::DynamicType: Default,
        T: kube::Resource,
    {
        let namespace = object.meta().namespace.clone().unwrap_or_default();
        Api::namespaced(self.client.clone(), &namespace)
    }
}

/// Whether a Pod says that it is ready.
pub(super) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

fn is_alive(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_none()
}

fn replicas(deployment: &Deployment) -> usize {
    let replicas = deployment.spec.as_ref().and_then(|spec| spec.replicas);
    usize::try_from(replicas.unwrap_or(1)).unwrap_or(0)
}

fn template_hash(deployment: &Deployment) -> String {
    let template = deployment.spec.as_ref().map(|spec| &spec.template);
    let mut hasher = DefaultHasher::new();
    serde_json::to_string(&template)
        .unwrap_or_default()
        .hash(&mut hasher);
    format!("{:010x}", hasher.finish() >> 24)
}

/// Whether a value has everything that another one says.
pub(super) fn is_part_of(part: &serde_json::Value, whole: &serde_json::Value) -> bool {
    use serde_json::Value::{Array, Null, Number, Object};
    match (part, whole) {
        (Object(part), Object(whole)) => part
            .iter()
            .all(|(key, value)| is_part_of(value, whole.get(key).unwrap_or(&Null))),
        (Array(part), Array(whole)) => {
            part.len() == whole.len()
                && part
                    .iter()
                    .zip(whole)
                    .all(|(part, whole)| is_part_of(part, whole))
        }
        // A count of none is left out.
        (Number(number), Null) => number.as_u64() == Some(0),
        (serde_json::Value::String(text), Null) => text.is_empty(),
        (part, whole) => part == whole,
    }
}

/// The labels of an object that a selector asks for.
pub(super) fn selects(selector: &BTreeMap<String, String>, pod: &Pod) -> bool {
    selector
        .iter()
        .all(|(key, value)| pod.labels().get(key) == Some(value))
}
