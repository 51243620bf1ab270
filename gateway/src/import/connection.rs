//! One client's connection: who it is, which source may serve it, and the way there.

use std::fmt::Write as _;
use std::io::Read as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use fabric::attributes::Client;
use fabric::name::ObjectName;
use fabric::policy::Rule;
use fabric::snapshot::{Remote, Source};
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::copy::carry;
use crate::decision::{Outcome, Record, write_end};
use crate::dial;
use crate::judge;
use crate::limits::admission::{self, Admission};
use crate::limits::{Limit, Quiet, Slot};
use crate::live::Subject;
use crate::metrics::{ResultLabel, Side};
use crate::state::State;
use crate::tunnel::connection::{Closed, MAX_EARLY, OpenError};
use crate::tunnel::frame::Open;
use crate::tunnel::{Broken, Reason, Tunnel};
use crate::world::World;

/// Connections that are tried for one tunnel: some may be leaving just then.
const TRIES: usize = 3;

/// What came of looking for a source.
struct Found<'a> {
    source: &'a Source,
    rule: Option<&'a Rule>,
    tunnel: Tunnel,
    slot: Slot<fabric::name::PeerName>,
}

/// What speaks against a source.
struct Failure<'a> {
    source: Option<&'a Source>,
    outcome: Outcome,
    rule: Option<&'a Rule>,
    text: String,
}

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
        detail: "",
    };
    let refuse = |record: &Record<'_>, socket: TcpStream| {
        if state.budgets.import(&import) {
            record.write(&state.metrics);
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
    let open = |source: &Source| Open {
        request: id,
        export: source.export.name.clone(),
        client: client.as_deref().cloned(),
        via: Vec::new(),
    };
    let found = match find(&state, world, &import, client.as_deref(), &open, &early).await {
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
        tunnel.reset(Reason::NoLongerAllowed);
        record.outcome = Outcome::NoLongerAllowed;
        return refuse(&record, socket);
    };
    record.outcome = Outcome::Allowed;
    record.write(&state.metrics);
    let entry = registered.entry();
    let counters = state.counters(Side::Import);
    counters.early(entry, early.len());
    drop(early);
    let quiet = Quiet::of(&snapshot.limits);
    let end = carry(socket, tunnel, entry, counters, quiet).await;
    write_end(
        &state.metrics,
        Side::Import,
        &request,
        end,
        entry.bytes(),
        started.elapsed(),
    );
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
        detail: limit.words(),
    };
    if request.is_empty() {
        record.count(&state.metrics);
    } else {
        record.write(&state.metrics);
    }
}

/// What the client has said already: it goes out together with OPEN.
///
/// Asked of the system itself, since the runtime doesn't know yet whether there is something.
fn early(socket: &TcpStream) -> Vec<u8> {
    let mut early = vec![0; MAX_EARLY];
    let length = (&*SockRef::from(socket)).read(&mut early).unwrap_or(0);
    early.truncate(length);
    early.shrink_to_fit();
    early
}

/// Tries the import's sources in their order until one opens a tunnel.
async fn find<'a>(
    state: &Arc<State>,
    world: &'a Arc<World>,
    import: &ObjectName,
    client: Option<&'a Client>,
    open: &(impl Fn(&Source) -> Open + Sync),
    early: &[u8],
) -> Result<Found<'a>, Vec<Failure<'a>>> {
    let snapshot = &world.snapshot;
    let fail = |outcome| Failure {
        source: None,
        outcome,
        rule: None,
        text: String::new(),
    };
    if state.draining.is_cancelled() {
        return Err(vec![fail(Outcome::Draining)]);
    }
    let Some(import) = snapshot.imports.get(import) else {
        return Err(vec![fail(Outcome::MissingImport)]);
    };
    let is_down = |at: usize| {
        let source = import.sources.get(at);
        source.is_some_and(|source| state.reach.is_down(&source.peer))
    };
    let order = state.balance.order(
        &import.name,
        import.load_balancing,
        import.sources.len(),
        is_down,
    );
    let mut failures = Vec::new();
    for source in order.into_iter().filter_map(|at| import.sources.get(at)) {
        let mut fail = |outcome, rule, text| {
            failures.push(Failure {
                source: Some(source),
                outcome,
                rule,
                text,
            });
        };
        let (outcome, rule) = judge::outbound(snapshot, client, import, source);
        if outcome != Outcome::Allowed {
            fail(outcome, rule, String::new());
            continue;
        }
        let Some(remote) = snapshot.remotes.get(&source.peer) else {
            fail(Outcome::UnknownPeer, None, String::new());
            continue;
        };
        let slot = match admission::tunnel(state, world, &source.peer) {
            Ok(slot) => slot,
            Err(limit) => {
                state.metrics.limit(limit);
                fail(Outcome::Limit, None, limit.words().to_owned());
                continue;
            }
        };
        match open_tunnel(state, world, remote, &open(source), early).await {
            Ok(tunnel) => {
                return Ok(Found {
                    source,
                    rule,
                    tunnel,
                    slot,
                });
            }
            Err((outcome, text, may_go_on)) => {
                fail(outcome, None, text);
                if !may_go_on {
                    break;
                }
            }
        }
    }
    Err(failures)
}

/// Opens a tunnel to a peer; on failure also whether the early data may be given to another.
async fn open_tunnel(
    state: &Arc<State>,
    world: &World,
    remote: &Remote,
    open: &Open,
    early: &[u8],
) -> Result<Tunnel, (Outcome, String, bool)> {
    let count = |result: &'static str| {
        let label = ResultLabel { result };
        state.metrics.tunnel_opens.get_or_create(&label).inc();
    };
    let mut text = String::new();
    for _ in 0..TRIES {
        let connection = dial::connection(state, remote).await.map_err(|error| {
            count("unreachable");
            (Outcome::PeerUnreachable, error.to_string(), true)
        })?;
        if let Err(refused) = world.accepts(&connection) {
            connection.close(Closed::Unaccepted(refused.as_str()));
            text = refused.to_string();
            continue;
        }
        let tunnel = match connection.open(open.clone(), early) {
            Ok(tunnel) => tunnel,
            Err(OpenError::Unusable) => continue,
            Err(OpenError::DoesNotFit(error)) => {
                count("too_large");
                return Err((Outcome::Limit, error.to_string(), true));
            }
        };
        let asked = Instant::now();
        let answer = timeout(state.config.timeouts.open, tunnel.answered()).await;
        let took = asked.elapsed().as_secs_f64();
        state.metrics.tunnel_open_duration.observe(took);
        match answer {
            Ok(Ok(())) => {
                count("accepted");
                return Ok(tunnel);
            }
            // It took no more tunnels by the time that it was asked.
            Ok(Err(Broken::Refused(Reason::Draining, why))) => {
                count("draining");
                text = why;
            }
            // Without data nothing can arrive twice.
            Ok(Err(broken @ Broken::Lost)) if early.is_empty() => {
                count("lost");
                text = broken.to_string();
            }
            Ok(Err(broken)) => {
                let outcome = Outcome::of_broken(&broken);
                let refused = match &broken {
                    Broken::Refused(reason, _) | Broken::Reset(reason, _) => reason.as_str(),
                    Broken::Ended(_) | Broken::Lost => "lost",
                };
                count(refused);
                // Only after a REFUSE it is certain that the service saw nothing of the data.
                let may_go_on = early.is_empty() || matches!(broken, Broken::Refused(..));
                return Err((outcome, broken.to_string(), may_go_on));
            }
            Err(_) => {
                count("timeout");
                let text = "the peer didn't answer in time".to_owned();
                return Err((Outcome::PeerUnreachable, text, early.is_empty()));
            }
        }
    }
    Err((Outcome::PeerUnreachable, text, true))
}

fn describe(failures: &[Failure<'_>]) -> String {
    let mut text = String::new();
    for failure in failures {
        if !text.is_empty() {
            text.push_str("; ");
        }
        if let Some(source) = failure.source {
            let _ = write!(text, "{} of {}: ", source.export.name, source.peer);
        }
        text.push_str(failure.outcome.as_str());
        if !failure.text.is_empty() {
            let _ = write!(text, " ({})", failure.text);
        }
    }
    text
}
