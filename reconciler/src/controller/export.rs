//! Exports: whether there is what they offer.

use std::sync::Arc;

use fabric::api::{ConditionStatus, Object};

use super::policy::{Said, accepted};
use super::view::View;
use crate::kubernetes::object::LiveObject;

/// What an Export's conditions say.
pub(super) fn conditions(view: &View, export: &Arc<LiveObject>) -> Vec<Said> {
    let mut said = accepted(view, export);
    let Ok(Object::Export(spec)) = export.object.as_deref() else {
        return said;
    };
    if spec.spec.host.is_some() {
        said.push(Said::new(
            "ExportValid",
            ConditionStatus::True,
            "Verified",
            "",
        ));
        return said;
    }
    let (namespace, name) = (
        export.meta.namespace.as_deref().unwrap_or_default(),
        &export.meta.name,
    );
    let port = spec.spec.port.get();
    let error = match view.service(namespace, name) {
        None => Some(format!(
            "export service '{namespace}/{name}' does not exist"
        )),
        Some(service) if service.spec.external_name.is_some() => None,
        Some(service) if !service.ports.contains_key(&port) => Some(format!(
            "export service '{namespace}/{name}' has no port {port}"
        )),
        Some(_) => None,
    };
    said.push(match error {
        None => Said::new("ExportValid", ConditionStatus::True, "Verified", ""),
        Some(error) => Said::new("ExportValid", ConditionStatus::False, "Error", &error),
    });
    said
}
