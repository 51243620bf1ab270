//! The namespace and the service account controller.

use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, PostParams};
use kube::discovery::{Discovery, Scope, verbs};
use kube::{Resource as _, ResourceExt as _};

use super::Node;

// === impl Node ===

impl Node {
    /// Gives each namespace its service account, and empties those that are being deleted.
    pub(super) async fn sync_namespaces(&self) -> Result<(), kube::Error> {
        for namespace in self.seen.namespaces.state() {
            let name = namespace.name_any();
            if namespace.meta().deletion_timestamp.is_some() {
                self.empty(&namespace).await?;
                continue;
            }
            let account = ServiceAccount {
                metadata: kube::api::ObjectMeta {
                    name: Some("default".to_owned()),
                    ..kube::api::ObjectMeta::default()
                },
                ..ServiceAccount::default()
            };
            let is_there = self
                .seen
                .accounts
                .find(|account| {
                    account.name_any() == "default"
                        && account.namespace().as_deref() == Some(name.as_str())
                })
                .is_some();
            if !is_there {
                let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), &name);
                match accounts.create(&PostParams::default(), &account).await {
                    Err(kube::Error::Api(status)) if status.code == 409 => {}
                    other => drop(other?),
                }
            }
        }
        Ok(())
    }

    /// Deletes everything in a namespace; once nothing is left, the namespace itself.
    async fn empty(&self, namespace: &Namespace) -> Result<(), kube::Error> {
        let name = namespace.name_any();
        let discovery = Discovery::new(self.client.clone()).run().await?;
        let mut left = 0;
        for group in discovery.groups() {
            for (resource, capabilities) in group.recommended_resources() {
                if capabilities.scope != Scope::Namespaced
                    || !capabilities.supports_operation(verbs::LIST)
                    || !capabilities.supports_operation(verbs::DELETE)
                {
                    continue;
                }
                let api: Api<DynamicObject> =
                    Api::namespaced_with(self.client.clone(), &name, &resource);
                for object in api.list(&ListParams::default()).await? {
                    left += 1;
                    if object.metadata.deletion_timestamp.is_none() {
                        let deleted = api
                            .delete(&object.name_any(), &DeleteParams::default())
                            .await;
                        if let Err(kube::Error::Api(status)) = &deleted
                            && status.code == 404
                        {
                            continue;
                        }
                        drop(deleted?);
                    }
                }
            }
        }
        if left == 0 {
            let mut emptied = namespace.clone();
            emptied.spec.get_or_insert_default().finalizers = None;
            emptied.metadata.managed_fields = None;
            let body = serde_json::to_vec(&emptied).expect("it came as JSON");
            let request = http::Request::put(format!("/api/v1/namespaces/{name}/finalize"))
                .header("content-type", "application/json")
                .body(body)
                .expect("a well-formed request");
            self.client.request::<serde_json::Value>(request).await?;
        }
        Ok(())
    }
}
