//! An export that is an import: a peer's tunnel, carried on through a tunnel to another peer.
//!
//! The peer in front and the peer behind each know this one alone; what goes through all of them is
//! the client's attributes, the request's id and the list of peers that relayed it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fabric::snapshot::Import;
use tokio::time::timeout;

use crate::copy::idled;
use crate::decision::{End, Outcome, Record};
use crate::export::refuse;
use crate::import::source::{Found, Wanted, Way, describe, find};
use crate::limits::Quiet;
use crate::limits::admission::import_place;
use crate::live::{Entry, Subject};
use crate::metrics::{Bytes, Side};
use crate::state::State;
use crate::tunnel::connection::MAX_EARLY;
use crate::tunnel::frame::{MAX_VIA, Open};
use crate::tunnel::{Reason, Tunnel};
use crate::world::World;

/// Carries a tunnel that a peer opened for an export on to a source of the import behind it.
///
/// The peer in front may use the export; whether the client, as that peer tells it, may use the
/// import is decided here.
pub(crate) async fn serve(
    state: &Arc<State>,
    world: &Arc<World>,
    tunnel: Tunnel,
    open: &Open,
    import: &Arc<Import>,
    mut record: Record<'_>,
) {
    let started = Instant::now();
    let snapshot = &world.snapshot;
    record.import = Some(&import.name);
    if open.via.len() >= MAX_VIA {
        record.outcome = Outcome::Loop;
        record.detail = "too many peers relayed it";
        return refuse(state, &record, tunnel);
    }
    let _slot = match import_place(state, world, &import.name) {
        Ok(slot) => slot,
        Err(limit) => {
            record.hit(limit, &state.metrics);
            return refuse(state, &record, tunnel);
        }
    };
    let mut via = open.via.clone();
    via.push(snapshot.peer.name.clone());
    let early = tunnel.received(MAX_EARLY);
    let wanted = Wanted {
        request: open.request,
        import: &import.name,
        client: open.client.as_ref(),
        via: &via,
        early: &early,
        span: record.span,
    };
    let limit = patience(world.timeouts(state.config.timeouts).open, open.via.len());
    let found = tokio::select! {
        found = timeout(limit, find(state, world, &wanted)) => found,
        // Nobody waits for it any more.
        _ = tunnel.broken() => return,
    };
    let found = match found {
        Ok(Ok(found)) => found,
        Ok(Err(failures)) => {
            let detail = describe(&failures);
            let worst = failures.iter().max_by_key(|failure| failure.outcome);
            record.outcome = worst.map_or(Outcome::NoSource, |failure| failure.outcome);
            record.rule = worst.and_then(|failure| failure.rule);
            record.detail = &detail;
            return refuse(state, &record, tunnel);
        }
        Err(_) => {
            record.outcome = Outcome::PeerUnreachable;
            record.detail = "no source opened a tunnel in time";
            return refuse(state, &record, tunnel);
        }
    };
    let Found {
        source,
        rule,
        tunnel: Way::Weft(far),
        slot: _tunnel_slot,
    } = found
    else {
        // Not looked for: that dialect has no place for the hops.
        record.outcome = Outcome::PeerRefused;
        return refuse(state, &record, tunnel);
    };
    let Some(peer) = record.peer else { return };
    let subject = Subject::Relay {
        peer: peer.clone(),
        client: open.client.clone(),
        export: open.export.clone(),
        import: import.name.clone(),
        to: source.peer.clone(),
        source: source.export.name.clone(),
    };
    let Some(registered) = state.register(subject, world) else {
        far.reset(Reason::NoLongerAllowed);
        record.outcome = Outcome::NoLongerAllowed;
        return refuse(state, &record, tunnel);
    };
    let detail = format!("relayed to {} of {}", source.export.name, source.peer);
    record.detail = &detail;
    record.write(state);
    // The second of the two decisions: who may use the import.
    let onward = Record {
        side: Side::Import,
        rule,
        peer: Some(&source.peer),
        export: Some(&source.export.name),
        via: &via,
        detail: "",
        ..record
    };
    onward.write(state);
    tunnel.accept();
    let entry = registered.entry();
    let counters = state.counters(Side::Export);
    counters.received(entry, early.len());
    tunnel.passed_on(early.len());
    drop(early);
    let quiet = Quiet::of(&snapshot.limits);
    let end = carry(&tunnel, &far, entry, state, quiet).await;
    record.write_end(state, end, entry.bytes(), started.elapsed());
}

/// How long a relay looks for a source: a fifth less than the peer in front of it waits, so that
/// of several in a row the one beside the trouble says what it is.
fn patience(whole: Duration, hops: usize) -> Duration {
    (0..=hops).fold(whole, |patience, _| patience * 4 / 5)
}

/// Carries between two tunnels until both directions have ended, one breaks, or they are cut.
async fn carry(near: &Tunnel, far: &Tunnel, entry: &Entry, state: &State, quiet: Quiet) -> End {
    let counters = state.counters(Side::Export);
    let (inwards, outwards) = (&entry.from_peer, &entry.to_peer);
    let both = async {
        tokio::try_join!(
            forward(near, far, entry, (inwards, counters.bytes_from_peer())),
            forward(far, near, entry, (outwards, counters.bytes_to_peer())),
        )
    };
    let end = tokio::select! {
        biased;
        result = both => result.map_or_else(|end| end, |_| End::Complete),
        end = entry.until_cut() => end,
        () = idled(entry, quiet) => End::Idle,
        broken = near.broken() => broken.into(),
        broken = far.broken() => broken.into(),
    };
    if end != End::Complete {
        // What one side is told by the other goes through.
        let reason = match end {
            End::ByPeer(reason) => reason,
            end => end.reason(),
        };
        near.reset(reason);
        far.reset(reason);
    }
    end
}

async fn forward(
    from: &Tunnel,
    to: &Tunnel,
    entry: &Entry,
    (carried, counter): (&AtomicU64, &Bytes),
) -> Result<(), End> {
    while let Some(mut bytes) = from.receive().await? {
        while !bytes.is_empty() {
            let room = to.credit().await?.min(bytes.len());
            to.send(&bytes.split_to(room)).await?;
            counter.inc_by(room as u64);
            carried.fetch_add(room as u64, Ordering::Relaxed);
            // Credit is given back as the other side gives it: it is never held here.
            from.passed_on(room);
        }
    }
    entry.half_closed.store(true, Ordering::Relaxed);
    Ok(to.end()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_relay_waits_less_than_the_one_in_front_of_it() {
        let whole = Duration::from_secs(10);
        let mut before = whole;
        for hops in 0..MAX_VIA {
            let patience = patience(whole, hops);
            assert!(patience < before);
            before = patience;
        }
        // Enough for a way around the world and a handshake at the last one.
        assert!(before > Duration::from_secs(1));
    }
}
