//! Which peers hand on what another peer exports.

use super::{Fabric, Item};
use crate::api::Object;
use crate::name::{ObjectName, PeerName};
use crate::snapshot::service_of_export;

impl Fabric {
    /// The Exports by which peers hand on a service of a peer that they import.
    ///
    /// What they say of an Import is told as [`Snapshot::relayed`](crate::snapshot::Snapshot::relayed)
    /// tells it.
    pub fn relays<'a>(
        &'a self,
        peer: &'a PeerName,
        export: &'a ObjectName,
    ) -> impl Iterator<Item = (&'a PeerName, &'a Item)> {
        let items = self
            .units
            .iter()
            .flat_map(|(name, unit)| unit.exports.values().map(move |item| (name, unit, item)));
        items.filter_map(move |(name, unit, item)| {
            let Object::Export(relay) = item.object() else {
                return None;
            };
            let own = item.name()?;
            let service = service_of_export(&own, relay.spec.host.as_deref())?;
            let import = unit.imports.get(&*service)?;
            let Object::Import(imported) = import.item.object() else {
                return None;
            };
            let mut sources = imported.spec.sources.iter().enumerate();
            let comes_from_it = sources.any(|(index, source)| {
                !import.dropped.contains(&index)
                    && source.peer == peer.as_str()
                    && source.export_namespace == export.namespace()
                    && source.export_name == export.name()
            });
            let is_its_service = !imported.is_merged() && imported.spec.port == relay.spec.port;
            (comes_from_it && is_its_service).then_some((name, item))
        })
    }
}
