//! What Weft is installed of, and how objects of any of its kinds are applied and deleted.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use fabric::crd::CustomKind;
use fabric::mark;
use include_dir::{Dir, include_dir};
use kube::Client;
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, Preconditions,
};
use kube::core::GroupVersionKind;
use serde::Deserialize as _;
use serde_json::Value;

/// The base that `weft deploy` installs, as kustomize has it too.
static BASE: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../deploy/base");

/// A definition that isn't served by then won't be.
const ESTABLISHED: Duration = Duration::from_secs(60);

/// An object by its kind, namespace and name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Its kind in the server's paths.
    pub(crate) resource: ApiResource,
    /// Its namespace, where it lives in one.
    pub(crate) namespace: Option<String>,
    /// Its name.
    pub(crate) name: String,
}

/// The objects of the base, in the order of its files; the definitions aren't among them.
pub(crate) fn base() -> anyhow::Result<Vec<Value>> {
    let mut objects = Vec::new();
    for name in ["namespaces.yaml", "roles.yaml", "operator.yaml"] {
        let file = BASE
            .get_file(name)
            .context("a file of the base is missing")?;
        let text = file.contents_utf8().unwrap_or_default();
        objects.extend(documents(text).with_context(|| format!("deploy/base/{name}"))?);
    }
    Ok(objects)
}

/// The definitions of our kinds.
pub(crate) fn definitions() -> anyhow::Result<Vec<Value>> {
    let mut definitions = Vec::new();
    for kind in CustomKind::ALL {
        definitions.extend(documents(kind.text())?);
    }
    Ok(definitions)
}

/// Reads YAML of ours.
fn documents(text: &str) -> anyhow::Result<Vec<Value>> {
    serde_yaml::Deserializer::from_str(text)
        .map(|document| Ok(Value::deserialize(document)?))
        .collect()
}

/// Objects as YAML, one document each.
pub(crate) fn yaml(objects: &[Value]) -> anyhow::Result<String> {
    let documents: Result<Vec<_>, _> = objects.iter().map(serde_yaml::to_string).collect();
    Ok(documents?.join("---\n"))
}

/// The resource of a kind that we install or make.
pub(crate) fn resource(kind: &str) -> anyhow::Result<ApiResource> {
    if let Some(kind) = CustomKind::ALL
        .into_iter()
        .find(|custom| custom.as_str() == kind)
    {
        return Ok(reconciler::kubernetes::resource::resource(kind));
    }
    let (group, plural) = match kind {
        "Namespace" => ("", "namespaces"),
        "ServiceAccount" => ("", "serviceaccounts"),
        "Secret" => ("", "secrets"),
        "Service" => ("", "services"),
        "Deployment" => ("apps", "deployments"),
        "ClusterRole" => ("rbac.authorization.k8s.io", "clusterroles"),
        "ClusterRoleBinding" => ("rbac.authorization.k8s.io", "clusterrolebindings"),
        "RoleBinding" => ("rbac.authorization.k8s.io", "rolebindings"),
        "EndpointSlice" => ("discovery.k8s.io", "endpointslices"),
        "Lease" => ("coordination.k8s.io", "leases"),
        "CustomResourceDefinition" => ("apiextensions.k8s.io", "customresourcedefinitions"),
        other => bail!("{other} is no kind of ours"),
    };
    let gvk = GroupVersionKind::gvk(group, "v1", kind);
    Ok(ApiResource::from_gvk_with_plural(&gvk, plural))
}

/// The objects of a resource in a namespace, or in the whole cluster.
pub(crate) fn api(
    client: &Client,
    resource: &ApiResource,
    namespace: Option<&str>,
) -> Api<DynamicObject> {
    match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, resource),
        None => Api::all_with(client.clone(), resource),
    }
}

/// Applies an object on the server's side, or only asks whether it could be.
pub(crate) async fn apply(client: &Client, object: &Value, is_trial: bool) -> anyhow::Result<()> {
    let place = Place::of(object)?;
    let api = api(client, &place.resource, place.namespace.as_deref());
    let mut parameters = PatchParams::apply(mark::DEPLOYER).force();
    parameters.dry_run = is_trial;
    api.patch(&place.name, &parameters, &Patch::Apply(object))
        .await
        .with_context(|| format!("cannot apply the {place}"))?;
    Ok(())
}

/// Waits until definitions are served.
pub(crate) async fn wait_until_established(client: &Client) -> anyhow::Result<()> {
    let resource = resource("CustomResourceDefinition")?;
    let begun = Instant::now();
    for kind in CustomKind::ALL {
        let name = format!("{}.{}", kind.plural(), kind.group());
        loop {
            let found = api(client, &resource, None).get(&name).await;
            let found = found.with_context(|| format!("cannot look at the definition {name}"))?;
            let conditions = found.data["status"]["conditions"].as_array();
            let is_established = conditions.into_iter().flatten().any(|condition| {
                condition["type"] == "Established" && condition["status"] == "True"
            });
            if is_established {
                break;
            }
            if begun.elapsed() > ESTABLISHED {
                bail!(
                    "the definition {name} isn't served after {} s",
                    ESTABLISHED.as_secs()
                );
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    Ok(())
}

/// The objects of a kind that labels select, in the whole cluster; nothing of a kind that isn't there.
pub(crate) async fn list(
    client: &Client,
    kind: &str,
    labels: &str,
) -> anyhow::Result<Vec<DynamicObject>> {
    let resource = resource(kind)?;
    let parameters = ListParams::default().labels(labels);
    match api(client, &resource, None).list(&parameters).await {
        Ok(list) => Ok(list.items),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(Vec::new()),
        Err(error) => Err(error).with_context(|| format!("cannot list the {}", resource.plural)),
    }
}

/// Deletes an object; whether it was there.
pub(crate) async fn delete(
    client: &Client,
    place: &Place,
    uid: Option<&str>,
) -> anyhow::Result<bool> {
    let api = api(client, &place.resource, place.namespace.as_deref());
    let parameters = DeleteParams {
        preconditions: uid.map(|uid| Preconditions {
            uid: Some(uid.to_owned()),
            resource_version: None,
        }),
        ..DeleteParams::background()
    };
    match api.delete(&place.name, &parameters).await {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
        Err(error) => Err(error).with_context(|| format!("cannot delete the {place}")),
    }
}

// === impl Place ===

impl Place {
    /// The place of an object.
    pub(crate) fn of(object: &Value) -> anyhow::Result<Self> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let kind = text(&object["kind"]).unwrap_or_default();
        Ok(Self {
            resource: resource(&kind)?,
            namespace: text(&object["metadata"]["namespace"]),
            name: text(&object["metadata"]["name"]).context("an object has no name")?,
        })
    }

    /// The place of an object that lives.
    pub(crate) fn of_live(resource: &ApiResource, object: &DynamicObject) -> Self {
        Self {
            resource: resource.clone(),
            namespace: object.metadata.namespace.clone(),
            name: object.metadata.name.clone().unwrap_or_default(),
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} {namespace}/{}", self.resource.kind, self.name),
            None => write!(f, "{} {}", self.resource.kind, self.name),
        }
    }
}
