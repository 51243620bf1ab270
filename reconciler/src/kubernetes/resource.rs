//! Our kinds, as the client library names them.

use fabric::crd::CustomKind;
use fabric::name::{Kind, ObjectKey};
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject};
use kube::core::GroupVersionKind;

/// How a kind stands in a server's paths.
#[must_use]
pub fn resource(kind: CustomKind) -> ApiResource {
    let gvk = GroupVersionKind::gvk(kind.group(), kind.version(), kind.as_str());
    ApiResource::from_gvk_with_plural(&gvk, kind.plural())
}

/// The objects of a kind in one namespace; in all of them where it lives in none.
#[must_use]
pub fn api(client: &Client, kind: CustomKind, namespace: Option<&str>) -> Api<DynamicObject> {
    let resource = resource(kind);
    match namespace {
        Some(namespace) if kind.is_namespaced() => {
            Api::namespaced_with(client.clone(), namespace, &resource)
        }
        _ => Api::all_with(client.clone(), &resource),
    }
}

/// Where an object of the repository lives: a Peer in the system namespace.
#[must_use]
pub fn namespace_of<'a>(key: &'a ObjectKey, system: &'a str) -> Option<&'a str> {
    match key.kind {
        Kind::Peer => Some(system),
        _ => key.namespace.as_deref(),
    }
}
