//! Which exports are no service of their own, but an import that is handed on.

use std::borrow::Cow;
use std::sync::Arc;

use super::{Export, Import, Snapshot};
use crate::name::ObjectName;

// === impl Snapshot ===

impl Snapshot {
    /// The import that an export hands on to other peers; none for a service of this peer.
    ///
    /// An import makes a Service of its namespace and name, and an export that aims there, by having
    /// that name itself or by its host, aims at the import. It is told from the text alone, so that
    /// it is the same wherever it is looked at, and where there is no cluster, too.
    #[must_use]
    pub fn relayed(&self, export: &Export) -> Option<&Arc<Import>> {
        let service = service_of_export(&export.attributes.name, export.host.as_deref())?;
        self.imports
            .get(&*service)
            .filter(|import| import.service_port == Some(export.port))
    }
}

/// The Service of a cluster that an export aims at; none for a host outside.
pub(crate) fn service_of_export<'a>(
    export: &'a ObjectName,
    host: Option<&str>,
) -> Option<Cow<'a, ObjectName>> {
    match host {
        None => Some(Cow::Borrowed(export)),
        Some(host) => service_of(host).map(Cow::Owned),
    }
}

/// The Service that a host names: `name.namespace.svc`, with `cluster.local` behind it or not.
fn service_of(host: &str) -> Option<ObjectName> {
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let host = host.strip_suffix(".cluster.local").unwrap_or(&host);
    let (name, namespace) = host.strip_suffix(".svc")?.rsplit_once('.')?;
    ObjectName::new(namespace, name).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::Object;
    use crate::name::{Kind, ObjectKey};
    use crate::origin::{Origin, Revision};
    use crate::plan::{Plan, PlannedObject, State};

    fn planned(kind: Kind, name: &str, object: Object) -> PlannedObject {
        let (namespace, short) = name.split_once('/').unwrap();
        PlannedObject {
            key: ObjectKey {
                kind,
                namespace: Some(namespace.into()),
                name: short.into(),
            },
            origin: Origin {
                revision: Revision::commit("first"),
                path: "peers/middle/x.yaml".into(),
                line: 1,
            },
            object,
        }
    }

    fn import(name: &str, labels: &serde_json::Value) -> PlannedObject {
        let import = json!({
            "metadata": { "name": name, "namespace": "shop", "labels": labels },
            "spec": { "port": 80, "targetPort": 7000, "sources": [] },
        });
        let import = serde_json::from_value(import).unwrap();
        planned(
            Kind::Import,
            &format!("shop/{name}"),
            Object::Import(import),
        )
    }

    fn export(name: &str, host: Option<&str>, port: u16) -> PlannedObject {
        let (namespace, short) = name.split_once('/').unwrap();
        let mut export = json!({
            "metadata": { "name": short, "namespace": namespace },
            "spec": { "port": port },
        });
        if let Some(host) = host {
            export["spec"]["host"] = json!(host);
        }
        let export = serde_json::from_value(export).unwrap();
        planned(Kind::Export, name, Object::Export(export))
    }

    #[test]
    fn row_68_an_export_of_an_import_is_told_by_its_name_and_port() {
        for (name, host, port, expected) in [
            ("shop/ledger", None, 80, true),
            ("shop/ledger", None, 7000, false),
            ("bank/ledger", None, 80, false),
            // Its Service is another's, to which the import only adds.
            ("shop/merged", None, 80, false),
            (
                "bank/books",
                Some("ledger.shop.svc.cluster.local"),
                80,
                true,
            ),
            ("bank/books", Some("Ledger.shop.svc."), 80, true),
            ("bank/books", Some("ledger.shop.svc"), 81, false),
            ("bank/books", Some("merged.shop.svc"), 80, false),
            ("bank/books", Some("ledger.shop"), 80, false),
            ("bank/books", Some("ledger.shop.svc.example.com"), 80, false),
            ("bank/books", Some("svc"), 80, false),
            // The own name says nothing where there is a host.
            ("shop/ledger", Some("10.0.0.1"), 80, false),
        ] {
            let plan = Plan {
                peer: "middle".parse().unwrap(),
                revision: Revision::commit("first"),
                units: std::collections::BTreeMap::new(),
                objects: vec![
                    import("ledger", &json!({})),
                    import("merged", &json!({ "import.clusterlink.net/merge": "true" })),
                    export(name, host, port),
                ],
                state: State::empty(),
            };
            let snapshot = Snapshot::compile(&plan);
            let export = snapshot.exports.values().next().unwrap();
            let relayed = snapshot.relayed(export).is_some();
            assert_eq!(relayed, expected, "{name} {host:?} {port}");
        }
    }
}
