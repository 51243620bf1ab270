//! A network in memory: hosts that come and go, wires that are slow or cut.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fabric::api::Gateway;
use fabric::name::PeerName;
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rustls_pki_types::{CertificateDer, UnixTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::link;
use crate::pool::DialError;
use crate::state::State;
use crate::tunnel::connection::{Connection, establish};
use crate::tunnel::frame::Open;
use crate::tunnel::{Accept, ConnectionFacts, Link, Tunnel};
use crate::world::World;

/// A tunnel that was accepted: at which address, and for which request.
type Accepted = (String, [u8; 16]);

/// How a host can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    /// It answers.
    Up,
    /// It is gone: what was connected is told, and who connects is refused.
    Down,
    /// Nothing comes through, and nobody is told.
    CutOff,
}

/// All hosts that can be dialled, by name.
#[derive(Debug)]
pub(crate) struct Network {
    hosts: BTreeMap<String, Host>,
    dice: Mutex<StdRng>,
    /// Every tunnel that was accepted: by whom, for which request, and whether data came with it.
    accepted: Arc<Mutex<Vec<Accepted>>>,
}

#[derive(Debug)]
struct Host {
    peer: PeerName,
    chain: Vec<CertificateDer<'static>>,
    condition: watch::Sender<Condition>,
    delay: watch::Sender<Duration>,
    /// Cancelled when the host goes down.
    alive: Mutex<CancellationToken>,
}

/// A gateway at the other end: it takes every tunnel and echoes.
struct Echo {
    host: String,
    accepted: Arc<Mutex<Vec<Accepted>>>,
    tasks: tokio_util::task::TaskTracker,
}

// === impl Network ===

impl Network {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            hosts: BTreeMap::new(),
            dice: Mutex::new(StdRng::seed_from_u64(seed)),
            accepted: Arc::default(),
        }
    }

    pub(crate) fn add(
        &mut self,
        name: &str,
        peer: &PeerName,
        certificate: CertificateDer<'static>,
    ) {
        let host = Host {
            peer: peer.clone(),
            chain: vec![certificate],
            condition: watch::Sender::new(Condition::Up),
            delay: watch::Sender::new(Duration::from_millis(5)),
            alive: Mutex::default(),
        };
        self.hosts.insert(name.to_owned(), host);
    }

    /// How a host is from now on.
    pub(crate) fn set(&self, name: &str, condition: Condition) {
        let host = &self.hosts[name];
        if condition == Condition::Down {
            std::mem::take(&mut *host.alive.lock()).cancel();
        }
        host.condition.send_replace(condition);
    }

    /// How long everything to and from a host takes, each way.
    pub(crate) fn slow(&self, name: &str, delay: Duration) {
        self.hosts[name].delay.send_replace(delay);
    }

    /// The requests that were accepted so far, with who accepted each.
    pub(crate) fn accepted(&self) -> Vec<(String, [u8; 16])> {
        self.accepted.lock().clone()
    }

    /// What stands for a connect and a handshake.
    pub(crate) async fn dial(
        &self,
        state: &Arc<State>,
        world: &Arc<World>,
        peer: &PeerName,
        gateway: &Gateway,
    ) -> Result<Arc<Connection>, DialError> {
        let error = |reason, text: &str| DialError {
            reason,
            text: format!("{}: {text}", gateway.host),
        };
        let name = format!("{}:{}", gateway.host, gateway.port);
        let name = name.as_str();
        let host = self
            .hosts
            .get(name)
            .ok_or_else(|| error("connect", "no such host"))?;
        assert_eq!(host.peer, *peer, "a peer is dialled at its own gateways");
        let connect = async {
            let _ = host
                .condition
                .subscribe()
                .wait_for(|c| *c != Condition::CutOff)
                .await;
            let delay = *host.delay.borrow();
            sleep(delay * 2).await;
            *host.condition.borrow() == Condition::Up
        };
        match timeout(world.timeouts(state.config.timeouts).dial, connect).await {
            Ok(true) => {}
            Ok(false) => return Err(error("connect", "refused")),
            Err(_) => return Err(error("connect_timeout", "timed out")),
        }
        let facts = |dialled| ConnectionFacts {
            peer: peer.clone(),
            dialled,
            address: ([192, 0, 2, 1], 4443).into(),
            gateway: Some(gateway.clone()),
            chain: host.chain.clone(),
            own: world.identity.fingerprint(),
            made: UnixTime::now(),
        };
        let (ours, above) = tokio::io::duplex(256 * 1024);
        let (below, theirs) = tokio::io::duplex(256 * 1024);
        let alive = host.alive.lock().clone();
        self.wire(state, host, above, below, alive.clone());
        self.answer(state, name, facts(false), theirs, alive);
        timeout(
            state.config.timeouts.handshake,
            link::start(state, Link::plain(ours), facts(true)),
        )
        .await
        .unwrap_or_else(|_| Err(error("timeout", "the handshake timed out")))
    }

    /// Carries bytes both ways, each piece as late as the host is far; in order, whatever happens.
    fn wire(
        &self,
        state: &State,
        host: &Host,
        above: DuplexStream,
        below: DuplexStream,
        alive: CancellationToken,
    ) {
        let (from_above, to_above) = tokio::io::split(above);
        let (from_below, to_below) = tokio::io::split(below);
        let jitter = self.dice.lock().random_range(0..5);
        let pump = |from, to| {
            carry(
                from,
                to,
                host.condition.subscribe(),
                host.delay.subscribe(),
                jitter,
            )
        };
        let (up, down) = (pump(from_above, to_below), pump(from_below, to_above));
        let stop = state.stop.clone();
        state.tasks.spawn(async move {
            let both = async { tokio::join!(up, down) };
            // A host that goes down takes the wire along: both ends come to their end.
            alive
                .run_until_cancelled(stop.run_until_cancelled(both))
                .await;
        });
    }

    /// The gateway at the other end.
    fn answer(
        &self,
        state: &State,
        host: &str,
        facts: ConnectionFacts,
        stream: DuplexStream,
        alive: CancellationToken,
    ) {
        let accept = Arc::new(Echo {
            host: host.to_owned(),
            accepted: Arc::clone(&self.accepted),
            tasks: state.tasks.clone(),
        });
        let stop = state.stop.clone();
        state.tasks.spawn(async move {
            let run = async {
                let Ok((connection, incoming)) = establish(facts, Link::plain(stream)).await else {
                    return;
                };
                connection.run(incoming, accept).await;
            };
            alive
                .run_until_cancelled(stop.run_until_cancelled(run))
                .await;
        });
    }
}

/// Carries one direction.
async fn carry(
    mut from: ReadHalf<DuplexStream>,
    mut to: WriteHalf<DuplexStream>,
    mut condition: watch::Receiver<Condition>,
    delay: watch::Receiver<Duration>,
    jitter: u64,
) {
    let (sender, mut way) = mpsc::unbounded_channel::<(Instant, Bytes)>();
    let send = async move {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
            let late = *delay.borrow() + Duration::from_millis(jitter);
            let piece = Bytes::copy_from_slice(&buffer[..length]);
            let _ = sender.send((Instant::now() + late, piece));
        }
    };
    let receive = async move {
        while let Some((at, piece)) = way.recv().await {
            sleep_until(at).await;
            // What is lost is sent again, and so comes when the way is whole.
            let _ = condition.wait_for(|c| *c != Condition::CutOff).await;
            if to.write_all(&piece).await.is_err() {
                return;
            }
        }
        let _ = to.shutdown().await;
    };
    tokio::join!(send, receive);
}

// === impl Echo ===

impl Accept for Echo {
    fn accept(&self, tunnel: Tunnel, open: Open) {
        let entry = (self.host.clone(), open.request);
        self.accepted.lock().push(entry);
        self.tasks.spawn(async move {
            tunnel.accept();
            while let Ok(Some(bytes)) = tunnel.receive().await {
                tunnel.passed_on(bytes.len());
            }
            let _ = tunnel.end();
        });
    }

    fn revision(&self) -> String {
        "simulated".to_owned()
    }
}
