//! The destination: a peer's tunnel, who may use which export, and the way to the service.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use fabric::snapshot::Export;
use rand::Rng as _;
use socket2::SockRef;
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use crate::copy::carry;
use crate::decision::{Outcome, Record};
use crate::judge;
use crate::limits::Quiet;
use crate::limits::admission::{self, ExportAdmission};
use crate::listen::prepare;
use crate::live::Subject;
use crate::metrics::Side;
use crate::relay;
use crate::resolve::{authority, race};
use crate::state::State;
use crate::tunnel::Tunnel;
use crate::tunnel::connection::Closed;
use crate::tunnel::frame::Open;
use crate::world::World;

/// Serves one tunnel that a peer wants to open.
pub(crate) async fn serve(state: Arc<State>, tunnel: Tunnel, open: Open) {
    let started = Instant::now();
    let request = hex::encode(open.request);
    let peer = tunnel.connection().facts().peer.clone();
    let world = state.world();
    let traces = state.traces.as_ref();
    let span = traces.map(|traces| traces.begin("weft.export", open.trace.as_ref()));
    let mut record = Record {
        side: Side::Export,
        request: &request,
        outcome: Outcome::NoSnapshot,
        rule: None,
        snapshot: world.as_deref().map(|world| &*world.snapshot),
        address: None,
        client: open.client.as_deref(),
        import: None,
        peer: Some(&peer),
        export: Some(&open.export),
        via: &open.via,
        detail: "",
        span: span.as_ref(),
    };
    let refuse = |record: &Record<'_>, tunnel: Tunnel| refuse(&state, record, tunnel);
    let Some(world) = &world else {
        return refuse(&record, tunnel);
    };
    let snapshot = &world.snapshot;
    let is_loop = open.via.contains(&snapshot.peer.name);
    if state.draining.is_cancelled() || is_loop {
        record.outcome = if is_loop {
            Outcome::Loop
        } else {
            Outcome::Draining
        };
        return refuse(&record, tunnel);
    }
    if !snapshot.remotes.contains_key(&peer) {
        record.outcome = Outcome::UnknownPeer;
        return refuse(&record, tunnel);
    }
    if let Err(refused) = world.accepts(tunnel.connection()) {
        let connection = tunnel.connection();
        connection.close(Closed::Unaccepted(refused.as_str()));
        record.outcome = Outcome::UnknownPeer;
        record.detail = refused.as_str();
        return refuse(&record, tunnel);
    }
    let slot =
        admission::message(world, &open).and_then(|()| admission::tunnel(&state, world, &peer));
    let _slot = match slot {
        Ok(slot) => slot,
        Err(limit) => {
            record.hit(limit, &state.metrics);
            return refuse(&record, tunnel);
        }
    };
    let (outcome, rule) = judge::inbound(snapshot, open.client.as_deref(), &peer, &open.export);
    record.outcome = outcome;
    record.rule = rule;
    if outcome != Outcome::Allowed {
        return refuse(&record, tunnel);
    }
    let Some(export) = snapshot.exports.get(&open.export) else {
        record.outcome = Outcome::MissingExport;
        return refuse(&record, tunnel);
    };
    let _admission = match ExportAdmission::of(&state, world, export) {
        Ok(admission) => admission,
        Err(limit) => {
            record.hit(limit, &state.metrics);
            return refuse(&record, tunnel);
        }
    };
    if let Some(import) = world.relayed(export) {
        return Box::pin(relay::serve(&state, world, tunnel, &open, import, record)).await;
    }
    let step = span.as_ref().map(|span| span.child("weft.connect"));
    // Boxed, so that what carries the connection afterwards holds nothing of it.
    let connected = Box::pin(connect(&state, world, export)).await;
    if let (Some(step), Err((outcome, _))) = (&step, &connected) {
        step.fail(*outcome);
    }
    drop(step);
    let (socket, host, target) = match connected {
        Ok(connected) => connected,
        Err((outcome, text)) => {
            record.outcome = outcome;
            record.detail = &text;
            return refuse(&record, tunnel);
        }
    };
    let subject = Subject::Export {
        peer: peer.clone(),
        client: open.client.clone(),
        export: open.export.clone(),
        host,
        target,
    };
    let Some(registered) = state.register(subject, world) else {
        record.outcome = Outcome::NoLongerAllowed;
        return refuse(&record, tunnel);
    };
    let detail = target.to_string();
    record.detail = &detail;
    record.write(&state);
    tunnel.accept();
    let entry = registered.entry();
    let quiet = Quiet::of(&snapshot.limits);
    let counters = state.counters(Side::Export);
    let end = carry(socket, tunnel, entry, counters, quiet).await;
    record.write_end(&state, end, entry.bytes(), started.elapsed());
}

/// Refuses a tunnel; the log may be spared it, the counters not.
pub(crate) fn refuse(state: &State, record: &Record<'_>, tunnel: Tunnel) {
    if record.peer.is_none_or(|peer| state.budgets.peer(peer)) {
        record.write(state);
    } else {
        record.count(&state.metrics);
    }
    // The peer learns the reason, not what stands behind it.
    tunnel.refuse(record.outcome.reason(), "");
}

/// Connects to an exported service, within the guard rails.
pub(crate) async fn connect(
    state: &State,
    world: &World,
    export: &Export,
) -> Result<(TcpStream, Option<String>, SocketAddr), (Outcome, String)> {
    let (name, port) = (&export.attributes.name, export.port);
    // As the log names it.
    let host = export.host.clone().unwrap_or_else(|| name.to_string());
    let refused = |text: String| (Outcome::GuardRefused, text);
    if let Some(host) = &export.host {
        world
            .guard
            .check_text(host)
            .map_err(|refusal| refused(refusal.to_string()))?;
    }
    let connect = async {
        let addresses = match &export.host {
            Some(host) => state
                .resolve_exports
                .resolve(host, port)
                .await
                .map_err(|error| unreachable(host, port, &error))?,
            None => spread(
                world
                    .service(name, port)
                    .map_err(|reason| (Outcome::ExportUnreachable, reason))?,
            ),
        };
        let none = io::Error::from(io::ErrorKind::AddrNotAvailable);
        let attempts = addresses.into_iter().map(|address| {
            let (host, refused) = (&host, &refused);
            Box::pin(async move {
                // Each address by itself: what a name resolves to can change at any time.
                let checked = match &export.host {
                    Some(host) => world.check_target(host, address.ip()),
                    None => world.guard.check_address(address.ip(), None),
                };
                checked.map_err(|refusal| refused(refusal.to_string()))?;
                if is_own(state, address).await {
                    let text = "is the gateway's own; what is imported is exported by its Service";
                    return Err(refused(format!("{address} {text}")));
                }
                let socket = TcpStream::connect(address).await;
                let socket = socket.map_err(|error| unreachable(host, port, &error))?;
                Ok((socket, address))
            })
        });
        race(attempts)
            .await
            .map_err(|last| last.unwrap_or_else(|| unreachable(&host, port, &none)))
    };
    let (socket, address) = timeout(world.timeouts(state.config.timeouts).connect, connect)
        .await
        .unwrap_or_else(|_| {
            let error = io::Error::from(io::ErrorKind::TimedOut);
            Err(unreachable(&host, port, &error))
        })?;
    prepare(&SockRef::from(&socket));
    Ok((socket, export.host.clone(), address))
}

/// The endpoints of a Service, beginning with any of them.
fn spread(mut addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first = rand::rng().random_range(0..addresses.len().max(1));
    addresses.rotate_left(first);
    addresses
}

fn unreachable(host: &str, port: u16, error: &io::Error) -> (Outcome, String) {
    let text = format!("connect to {}: {error}", authority(host, port));
    (Outcome::ExportUnreachable, text)
}

/// Whether an address is that of the gateway's or of the admin port, or an import's listener: an
/// export that leads back into an import could go round without end.
async fn is_own(state: &State, address: SocketAddr) -> bool {
    let is_own_port = [state.listen, state.admin]
        .iter()
        .any(|own| own.port() == address.port());
    let imports = state.config.import_address;
    let to = address.ip();
    // Beside an import that listens at one address, another one may have a service at its port.
    let is_import =
        (imports.is_unspecified() || to.is_unspecified() || to.to_canonical() == imports)
            && state
                .listeners
                .lock()
                .values()
                .any(|listener| listener.address().port() == address.port());
    (is_own_port || is_import) && is_local(to).await
}

/// Whether an address is this host's: then packets to it leave from it. None is sent.
async fn is_local(address: IpAddr) -> bool {
    if address.is_loopback() || address.is_unspecified() {
        return true;
    }
    let any: SocketAddr = if address.is_ipv4() {
        (std::net::Ipv4Addr::UNSPECIFIED, 0).into()
    } else {
        (std::net::Ipv6Addr::UNSPECIFIED, 0).into()
    };
    let source = async {
        let socket = UdpSocket::bind(any).await?;
        socket.connect((address, 9)).await?;
        socket.local_addr()
    };
    source.await.is_ok_and(|source| source.ip() == address)
}
