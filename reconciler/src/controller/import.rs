//! Imports: their ports, their Services, and what their conditions say of both.

use std::collections::BTreeMap;
use std::sync::Arc;

use fabric::api::{ConditionStatus, Import, ImportStatus, Object};
use fabric::name::{ObjectKey, ObjectName};
use fabric::port::{Conflict, Wish, lease};

use super::RESERVED;
use super::policy::{Said, accepted};
use super::service::{ServiceSpec, US, WantedService, system_name};
use super::slice::WantedSlice;
use super::view::View;
use crate::kubernetes::object::LiveObject;

/// The label of the gateways' Pods.
const GATEWAYS: (&str, &str) = ("app", "cl-dataplane");
/// The Service in front of the gateways, whose EndpointSlices merged Imports follow.
const FRONT: &str = "clusterlink";

/// What the Imports of a cluster want.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    pub(super) services: Vec<WantedService>,
    pub(super) slices: Vec<WantedSlice>,
    /// What each Import's status says.
    pub(super) statuses: BTreeMap<ObjectKey, ImportSays>,
}

/// What an Import's status says.
#[derive(Debug, Default)]
pub(super) struct ImportSays {
    pub(super) conditions: Vec<Said>,
    pub(super) target_port: Option<u16>,
}

/// What the Imports of a cluster want.
pub(super) fn wanted(view: &View) -> Wanted {
    let mut wanted = Wanted::default();
    let mut counting: Vec<(&Arc<LiveObject>, &Import, ObjectName)> = Vec::new();
    for live in &view.imports {
        let conditions = accepted(view, live);
        let is_refused = !conditions.is_empty();
        if !is_refused && view.counts(live).is_none() {
            continue;
        }
        let says = ImportSays {
            conditions,
            target_port: None,
        };
        wanted.statuses.insert(live.key.clone(), says);
        let (Ok(Object::Import(import)), Some(true), false) =
            (live.object.as_deref(), view.counts(live), is_refused)
        else {
            continue;
        };
        let namespace = live.meta.namespace.as_deref().unwrap_or_default();
        if let Ok(name) = ObjectName::new(namespace, &live.meta.name) {
            counting.push((live, import, name));
        }
    }
    let wishes = counting.iter().map(|(live, import, name)| {
        let status: ImportStatus = serde_json::from_value(live.status.clone()).unwrap_or_default();
        Wish {
            import: name.clone(),
            created: live.meta.created,
            port: (import.spec.target_port != 0).then_some(import.spec.target_port),
            held: status.target_port,
        }
    });
    let leases = lease(wishes.collect(), &RESERVED);
    for (live, import, name) in counting {
        let lease = leases.get(&name).cloned();
        let lease = lease.unwrap_or(Err(Conflict::Exhausted));
        let port = lease.as_ref().ok().copied();
        let services = match port {
            Some(port) => demand(view, &name, import, port, &mut wanted),
            // Without a port there is nothing to lead to.
            None => Err("there is no listening port".to_owned()),
        };
        let Some(says) = wanted.statuses.get_mut(&live.key) else {
            continue;
        };
        says.target_port = port;
        says.conditions.push(match lease {
            Ok(port) => leased(view, &name, port),
            Err(conflict) => {
                let kind = "ImportTargetPortValid";
                Said::new(kind, ConditionStatus::False, "Error", &conflict.to_string())
            }
        });
        let kind = "ImportServiceValid";
        says.conditions.push(match services {
            Ok(()) => Said::new(kind, ConditionStatus::True, "Valid", ""),
            Err(message) => Said::new(kind, ConditionStatus::False, "Error", &message),
        });
    }
    wanted
}

/// What is said of a leased port: the gateways may not be able to have it.
fn leased(view: &View, name: &ObjectName, port: u16) -> Said {
    let kind = "ImportTargetPortValid";
    let text = name.to_string();
    let failed = view.reports.iter().find_map(|report| {
        let failed = report.status.failed_imports.iter();
        let failed = failed.into_iter().find(|failed| failed.name == text)?;
        let gateway = &report.meta.name;
        Some(format!(
            "gateway {gateway} can't listen at port {port}: {}",
            failed.message
        ))
    });
    match failed {
        None => Said::new(kind, ConditionStatus::True, "Leased", ""),
        Some(message) => Said::new(kind, ConditionStatus::False, "Error", &message),
    }
}

/// Adds the Services or the slices that an Import wants; the reason where it can't have them.
fn demand(
    view: &View,
    name: &ObjectName,
    import: &Import,
    port: u16,
    wanted: &mut Wanted,
) -> Result<(), String> {
    let (namespace, short) = (name.namespace(), name.name());
    if import.is_merged() {
        let Some(service) = view.service(namespace, short).filter(|s| !s.is_ours()) else {
            return Err(format!(
                "import service '{namespace}/{short}' does not exist"
            ));
        };
        let port_name = service.ports.get(&import.spec.port.get());
        let Some(port_name) = port_name else {
            let port = import.spec.port;
            return Err(format!(
                "import service '{namespace}/{short}' has no port {port}"
            ));
        };
        let fronts = view.slices.values().filter(|slice| {
            let is_there = slice.meta.namespace.as_deref() == Some(&view.system);
            is_there && slice.service() == Some(FRONT) && !slice.meta.is_terminating
        });
        for front in fronts {
            wanted.slices.push(WantedSlice {
                namespace: namespace.to_owned(),
                import: short.to_owned(),
                follows: front.meta.name.clone(),
                address_type: front.address_type.clone(),
                endpoints: front.endpoints.clone(),
                port: (port_name.clone(), port),
            });
        }
        return Ok(());
    }
    let cluster = ServiceSpec {
        external_name: None,
        selector: BTreeMap::from([(GATEWAYS.0.to_owned(), GATEWAYS.1.to_owned())]),
        ports: vec![(import.spec.port.get(), port)],
    };
    let service = |namespace: &str, own: &str, spec: ServiceSpec| WantedService {
        namespace: namespace.to_owned(),
        name: own.to_owned(),
        import: (name.namespace().to_owned(), short.to_owned()),
        spec,
    };
    let services = if namespace == view.system {
        vec![service(namespace, short, cluster)]
    } else {
        let system = system_name(namespace, short);
        let external = ServiceSpec {
            external_name: Some(format!("{system}.{}.svc.cluster.local", view.system)),
            ..ServiceSpec::default()
        };
        vec![
            service(&view.system, &system, cluster),
            service(namespace, short, external),
        ]
    };
    for service in &services {
        let live = view.service(&service.namespace, &service.name);
        if let Some(live) = live.filter(|live| live.manager() != Some(US)) {
            let manager = live.manager().unwrap_or_default();
            return Err(format!(
                "service '{}/{}' already exists and managed by '{manager}'",
                service.namespace, service.name
            ));
        }
    }
    wanted.services.extend(services);
    Ok(())
}
