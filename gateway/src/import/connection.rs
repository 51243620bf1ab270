//! One client's connection: who it is, which source may serve it, and the way there.

use std::io::Read as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use fabric::name::ObjectName;
use socket2::SockRef;
use tokio::net::TcpStream;

use super::source::{Found, Wanted, Way, describe, find};
use crate::copy::{carry, with_buffer};
use crate::decision::{Outcome, Record};
use crate::limits::admission::Admission;
use crate::limits::{Limit, Quiet};
use crate::live::Subject;
use crate::metrics::Side;
use crate::state::State;
use crate::tunnel::Reason;
use crate::tunnel::connection::MAX_EARLY;

/// Serves one client.
pub(crate) async fn serve(
    state: Arc<State>,
    import: ObjectName,
    socket: TcpStream,
    address: SocketAddr,
    admission: Admission,
) {
    let started = Instant::now();
    let id: [u8; 16] = rand::random();
    let request = hex::encode(id);
    // Its places are given back at the end.
    let world = &admission.world;
    let snapshot = world.as_deref().map(|world| &*world.snapshot);
    let known = world
        .as_ref()
        .and_then(|world| world.client_at(address.ip()));
    let traces = state.traces.as_ref();
    let span = traces.map(|traces| traces.begin("weft.import", None));
    let mut record = Record {
        side: Side::Import,
        request: &request,
        outcome: Outcome::NoSnapshot,
        rule: None,
        snapshot,
        address: Some(address),
        client: known.as_deref(),
        import: Some(&import),
        peer: None,
        export: None,
        via: &[],
        detail: "",
        span: span.as_ref(),
    };
    let refuse = |record: &Record<'_>, socket: TcpStream| {
        if state.budgets.import(&import) {
            record.write(&state);
        } else {
            record.count(&state.metrics);
        }
        // RST: the client shall not take nothing for an answer.
        let _ = socket.set_zero_linger();
    };
    let Some(world) = world else {
        return refuse(&record, socket);
    };
    let snapshot = &world.snapshot;
    let client = world.client_soon(address.ip()).await;
    record.client = client.as_deref();
    let early = early(&socket);
    let wanted = Wanted {
        request: id,
        import: &import,
        client: client.as_ref(),
        via: &[],
        early: &early,
        span: span.as_ref(),
    };
    // Boxed, so that what carries the connection afterwards holds nothing of it.
    let found = match Box::pin(find(&state, world, &wanted)).await {
        Ok(found) => found,
        Err(failures) => {
            let detail = describe(&failures);
            let worst = failures.iter().max_by_key(|failure| failure.outcome);
            record.outcome = worst.map_or(Outcome::NoSource, |failure| failure.outcome);
            record.rule = worst.and_then(|failure| failure.rule);
            let source = worst.and_then(|failure| failure.source);
            record.peer = source.map(|source| &source.peer);
            record.export = source.map(|source| &source.export.name);
            record.detail = &detail;
            return refuse(&record, socket);
        }
    };
    let Found {
        source,
        rule,
        tunnel,
        slot: _tunnel_slot,
    } = found;
    record.peer = Some(&source.peer);
    record.export = Some(&source.export.name);
    record.rule = rule;
    let subject = Subject::Import {
        address: address.ip(),
        client: client.clone(),
        import: import.clone(),
        peer: source.peer.clone(),
        export: source.export.name.clone(),
    };
    let Some(registered) = state.register(subject, world) else {
        match &tunnel {
            Way::Weft(tunnel) => tunnel.reset(Reason::NoLongerAllowed),
            Way::ClusterLink(tunnel) => tunnel.reset(),
        }
        record.outcome = Outcome::NoLongerAllowed;
        return refuse(&record, socket);
    };
    record.outcome = Outcome::Allowed;
    record.write(&state);
    let entry = registered.entry();
    let counters = state.counters(Side::Import);
    counters.early(entry, early.len());
    let quiet = Quiet::of(&snapshot.limits);
    let end = match tunnel {
        Way::Weft(tunnel) => {
            drop(early);
            carry(socket, tunnel, entry, counters, quiet).await
        }
        // Nothing was sent before the peer's answer.
        Way::ClusterLink(tunnel) => {
            Box::pin(tunnel.carry(socket, early, entry, counters, quiet)).await
        }
    };
    record.write_end(&state, end, entry.bytes(), started.elapsed());
}

/// Refuses a client that there is no room for.
pub(crate) fn refuse(
    state: &State,
    import: &ObjectName,
    socket: &TcpStream,
    address: SocketAddr,
    limit: Limit,
) {
    state.metrics.limit(limit);
    let _ = socket.set_zero_linger();
    let world = state.world();
    let request = match state.budgets.import(import) {
        true => hex::encode(rand::random::<[u8; 16]>()),
        false => String::new(),
    };
    let record = Record {
        side: Side::Import,
        request: &request,
        outcome: Outcome::Limit,
        rule: None,
        snapshot: world.as_deref().map(|world| &*world.snapshot),
        address: Some(address),
        client: None,
        import: Some(import),
        peer: None,
        export: None,
        via: &[],
        detail: limit.words(),
        span: None,
    };
    if request.is_empty() {
        record.count(&state.metrics);
    } else {
        record.write(state);
    }
}

/// What the client has said already: it goes out together with OPEN.
///
/// Asked of the system itself, since the runtime doesn't know yet whether there is something.
fn early(socket: &TcpStream) -> Vec<u8> {
    with_buffer(MAX_EARLY, |buffer| {
        let length = (&*SockRef::from(socket)).read(buffer).unwrap_or(0);
        buffer.get(..length).unwrap_or_default().to_vec()
    })
}
