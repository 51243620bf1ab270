//! Whether one more connection is let in, before anything else is done for it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use fabric::name::{ObjectName, PeerName};
use fabric::snapshot::Export;

use super::{CONNECTIONS_PER_EXPORT, CONNECTIONS_PER_IMPORT, Limit, Slot, TUNNELS_PER_PEER, bound};
use crate::state::State;
use crate::tunnel::frame::{Frame, HEADER_LENGTH, Open};
use crate::world::World;

/// A client's connection that is within the limits; they are given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Admission {
    /// The snapshot in force when it came: the connection is judged by it.
    pub world: Option<Arc<World>>,
    _import: Option<Slot<ObjectName>>,
    _client: Option<Slot<IpAddr>>,
}

/// A peer's connection that is within the limits of the export; they are given back when it is
/// dropped.
#[derive(Debug)]
pub(crate) struct ExportAdmission {
    _export: Slot<ObjectName>,
}

// === impl Admission ===

impl Admission {
    /// Lets a client's connection in.
    pub(crate) fn of(state: &State, import: &ObjectName, address: IpAddr) -> Result<Self, Limit> {
        let mut admission = Self {
            world: state.world(),
            _import: None,
            _client: None,
        };
        let Some(world) = &admission.world else {
            return Ok(admission);
        };
        let limit = world.snapshot.limits.connections_per_client;
        if limit > 0 {
            let most = bound(CONNECTIONS_PER_IMPORT, limit);
            let slot = state.clients.take(&address.to_canonical(), most);
            admission._client = Some(slot.ok_or(Limit::ConnectionsPerClient)?);
        }
        admission._import = Some(import_place(state, world, import)?);
        Ok(admission)
    }
}

// === impl ExportAdmission ===

impl ExportAdmission {
    /// Lets a peer's connection in.
    pub(crate) fn of(state: &State, world: &World, export: &Export) -> Result<Self, Limit> {
        let (limits, own) = (&world.snapshot.limits, export.limits);
        let name = &export.attributes.name;
        let most = bound(CONNECTIONS_PER_EXPORT, limits.connections_per_export);
        let slot = state
            .export_connections
            .take(name, bound(most, own.connections));
        let slot = slot.ok_or(Limit::ConnectionsPerExport)?;
        let rate = tighter(
            limits.new_connections_per_export,
            own.connections_per_second,
        );
        if !state.export_rates.take(name, rate, Instant::now()) {
            return Err(Limit::NewConnectionsPerExport);
        }
        Ok(Self { _export: slot })
    }
}

/// A place for one more connection through an import.
pub(crate) fn import_place(
    state: &State,
    world: &World,
    import: &ObjectName,
) -> Result<Slot<ObjectName>, Limit> {
    let (limits, imports) = (&world.snapshot.limits, &world.snapshot.imports);
    let own = imports.get(import).map(|import| import.limits);
    let own = own.unwrap_or_default();
    // First what takes a place, so that a refused connection costs no token.
    let most = bound(CONNECTIONS_PER_IMPORT, limits.connections_per_import);
    let slot = state
        .import_connections
        .take(import, bound(most, own.connections));
    let slot = slot.ok_or(Limit::ConnectionsPerImport)?;
    let rate = tighter(
        limits.new_connections_per_import,
        own.connections_per_second,
    );
    if !state.import_rates.take(import, rate, Instant::now()) {
        return Err(Limit::NewConnectionsPerImport);
    }
    Ok(slot)
}

/// Whether what a peer says of a connection isn't too much.
pub(crate) fn message(world: &World, open: &Open) -> Result<(), Limit> {
    let most = world.snapshot.limits.message_bytes;
    if most == 0 {
        return Ok(());
    }
    match Frame::Open(1, Box::new(open.clone())).encode() {
        Ok(frame) if frame.len() <= HEADER_LENGTH + most as usize => Ok(()),
        _ => Err(Limit::MessageBytes),
    }
}

/// A place for one more tunnel with a peer.
pub(crate) fn tunnel(
    state: &State,
    world: &World,
    peer: &PeerName,
) -> Result<Slot<PeerName>, Limit> {
    let most = bound(TUNNELS_PER_PEER, world.snapshot.limits.tunnels_per_peer);
    state.tunnels.take(peer, most).ok_or(Limit::TunnelsPerPeer)
}

/// The tighter of two limits, of which 0 is none.
const fn tighter(one: u32, other: u32) -> u32 {
    match (one, other) {
        (0, limit) | (limit, 0) => limit,
        _ if one < other => one,
        _ => other,
    }
}

#[cfg(test)]
mod tests {
    use super::tighter;

    #[test]
    fn none_is_no_limit() {
        let cases = [(0, 0), (0, 5), (5, 0), (5, 7), (7, 5)];
        assert_eq!(
            cases.map(|(one, other)| tighter(one, other)),
            [0, 5, 5, 5, 5]
        );
    }
}
