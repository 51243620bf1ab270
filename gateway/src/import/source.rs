//! Which source serves a connection: they are tried in their order until one opens a tunnel.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Instant;

use fabric::attributes::Client;
use fabric::name::{ObjectName, PeerName};
use fabric::policy::Rule;
use fabric::snapshot::{Remote, Source};
use tokio::time::timeout;

use crate::compat;
use crate::decision::Outcome;
use crate::dial;
use crate::judge;
use crate::limits::Slot;
use crate::limits::admission;
use crate::metrics::ResultLabel;
use crate::state::State;
use crate::trace::Span;
use crate::tunnel::connection::{Closed, OpenError};
use crate::tunnel::frame::Open;
use crate::tunnel::{Broken, Reason, Tunnel};
use crate::world::World;

/// Connections that are tried for one tunnel: some may be leaving just then.
const TRIES: usize = 3;

/// What a tunnel through an import is wanted for.
#[derive(Debug)]
pub(crate) struct Wanted<'a> {
    /// Names the connection in the logs of all gateways on its way.
    pub request: [u8; 16],
    /// The import.
    pub import: &'a ObjectName,
    /// The client, where it is known.
    pub client: Option<&'a Arc<Client>>,
    /// The peers that relayed the connection, this one included.
    pub via: &'a [PeerName],
    /// What the client has said already.
    pub early: &'a [u8],
    /// The connection's part of a trace, where there is one.
    pub span: Option<&'a Span<'a>>,
}

/// What came of looking for a source.
pub(crate) struct Found<'a> {
    pub source: &'a Source,
    pub rule: Option<&'a Rule>,
    pub tunnel: Way,
    pub slot: Slot<PeerName>,
}

/// How a source is reached.
pub(crate) enum Way {
    Weft(Tunnel),
    ClusterLink(Box<compat::Tunnel>),
}

/// What speaks against a source.
pub(crate) struct Failure<'a> {
    pub source: Option<&'a Source>,
    pub outcome: Outcome,
    pub rule: Option<&'a Rule>,
    pub text: String,
}

/// Tries the import's sources in their order until one opens a tunnel.
pub(crate) async fn find<'a>(
    state: &Arc<State>,
    world: &'a Arc<World>,
    wanted: &Wanted<'_>,
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
    let Some(import) = snapshot.imports.get(wanted.import) else {
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
    let tried = |failed: usize, served: Option<usize>| {
        let failed = order.sources.get(..failed).unwrap_or_default();
        state.balance.tried(&import.name, &order, failed, served);
    };
    let mut failures = Vec::new();
    for at in &order.sources {
        let Some(source) = import.sources.get(*at) else {
            continue;
        };
        let mut fail = |outcome, rule, text| {
            failures.push(Failure {
                source: Some(source),
                outcome,
                rule,
                text,
            });
        };
        if wanted.via.contains(&source.peer) {
            fail(Outcome::Loop, None, "the connection came by it".to_owned());
            continue;
        }
        let (outcome, rule) =
            judge::outbound(snapshot, wanted.client.map(Arc::as_ref), import, source);
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
        let span = wanted.span.map(|span| span.child("weft.tunnel"));
        if let Some(span) = &span {
            span.tell("weft.peer", source.peer.to_string());
            span.tell("weft.export", source.export.name.to_string());
        }
        let open = Open {
            request: wanted.request,
            export: source.export.name.clone(),
            client: wanted.client.cloned(),
            via: wanted.via.to_vec(),
            trace: span.as_ref().map(Span::context),
        };
        match open_tunnel(state, world, remote, &open, wanted.early).await {
            Ok(tunnel) => {
                tried(failures.len(), Some(*at));
                return Ok(Found {
                    source,
                    rule,
                    tunnel,
                    slot,
                });
            }
            Err((outcome, text, may_go_on)) => {
                if let Some(span) = &span {
                    span.fail(outcome);
                }
                fail(outcome, None, text);
                if !may_go_on {
                    break;
                }
            }
        }
    }
    tried(failures.len(), None);
    Err(failures)
}

/// Opens a tunnel to a peer; on failure also whether the early data may be given to another.
async fn open_tunnel(
    state: &Arc<State>,
    world: &World,
    remote: &Remote,
    open: &Open,
    early: &[u8],
) -> Result<Way, (Outcome, String, bool)> {
    if compat::import::applies(state, remote) {
        if !open.via.is_empty() {
            // The dialect has no place for the hops, so that a loop would never be found.
            let text = "the peer takes no relayed connections".to_owned();
            return Err((Outcome::PeerRefused, text, true));
        }
        let opened = compat::import::open(state, world, remote, open).await;
        if let Some(tunnel) = opened.map_err(|(outcome, text)| (outcome, text, true))? {
            return Ok(Way::ClusterLink(Box::new(tunnel)));
        }
    }
    let count = |result: &'static str| {
        let label = ResultLabel { result };
        state.metrics.tunnel_opens.get_or_create(&label).inc();
    };
    let limit = world.timeouts(state.config.timeouts).open;
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
        match timeout(limit, connection.room()).await {
            Ok(true) => {}
            Ok(false) => continue,
            Err(_) => {
                count("timeout");
                let text = "the peer reads nothing".to_owned();
                return Err((Outcome::PeerUnreachable, text, true));
            }
        }
        let tunnel = match connection.open(open.clone(), early) {
            Ok(tunnel) => tunnel,
            Err(OpenError::Unusable) => continue,
            Err(OpenError::DoesNotFit(error)) => {
                count("too_large");
                return Err((Outcome::Limit, error.to_string(), true));
            }
            Err(OpenError::NoRelays) => {
                count("no_relays");
                let text = "the peer takes no relayed connections".to_owned();
                return Err((Outcome::PeerRefused, text, true));
            }
        };
        let asked = Instant::now();
        let answer = tokio::select! {
            answer = timeout(limit, tunnel.answered()) => answer,
            // Without data nothing can arrive twice, so that another way is tried at once.
            () = connection.until_doubted(true), if early.is_empty() => {
                count("silent");
                "the connection fell silent".clone_into(&mut text);
                continue;
            }
        };
        let took = asked.elapsed().as_secs_f64();
        state.metrics.tunnel_open_duration.observe(took);
        match answer {
            Ok(Ok(())) => {
                count("accepted");
                return Ok(Way::Weft(tunnel));
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

/// All failures in one line, for people.
pub(crate) fn describe(failures: &[Failure<'_>]) -> String {
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
