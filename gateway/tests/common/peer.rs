//! A gateway in this process, and what it says of itself.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use fabric::origin::Revision;
use fabric::snapshot::Snapshot;
use gateway::{Config, Gateway, IdentityFiles, Running, StatusProvider, Timeouts};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::plan::Planner;
use super::{soon, until};

/// A busy machine shall not look like a dead peer.
const PATIENT: Timeouts = Timeouts {
    handshake: Duration::from_secs(30),
    dial: Duration::from_secs(30),
    open: Duration::from_secs(40),
    connect: Duration::from_secs(30),
};

/// A gateway in this process.
pub(crate) struct Peer {
    pub running: Running,
    snapshots: watch::Sender<Option<Arc<Snapshot>>>,
}

/// A port that nobody has at the moment, and that this process gives out once.
///
/// It is below those that the system gives out by itself, so that no connection takes it before
/// the import does.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port =
            10_000 + (std::process::id().wrapping_mul(997).wrapping_add(step) % 20_000) as u16;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

pub(crate) fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

impl Peer {
    /// Starts a gateway without a snapshot.
    pub(crate) async fn start(identities: Vec<IdentityFiles>) -> Self {
        Self::start_at(identities, 0).await
    }

    pub(crate) async fn start_at(identities: Vec<IdentityFiles>, port: u16) -> Self {
        Self::start_with(identities, port, PATIENT).await
    }

    pub(crate) async fn start_with(
        identities: Vec<IdentityFiles>,
        port: u16,
        timeouts: Timeouts,
    ) -> Self {
        Self::start_configured(identities, |config| {
            config.listen = loopback(port);
            config.timeouts = timeouts;
        })
        .await
    }

    /// Starts a gateway on a free port of loopback, configured otherwise than usual.
    pub(crate) async fn start_configured(
        identities: Vec<IdentityFiles>,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let (snapshots, receiver) = watch::channel(None);
        let mut config = Config {
            listen: loopback(0),
            admin: loopback(0),
            timeouts: PATIENT,
            ..Config::new(identities)
        };
        change(&mut config);
        let status: StatusProvider = Arc::new(|| json!({ "by": "the test" }));
        let running = Gateway::start(config, receiver, Some(status))
            .await
            .unwrap();
        Self { running, snapshots }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.running.listen_addr()
    }

    /// Puts a plan in force, and waits until it is.
    pub(crate) async fn apply(&self, planner: &Planner) {
        let revision = planner.plan.revision.clone();
        let snapshot = Arc::new(Snapshot::compile(&planner.plan));
        self.snapshots.send_replace(Some(snapshot));
        self.in_force(Some(revision)).await;
    }

    /// Takes the snapshot away.
    pub(crate) async fn take_away(&self) {
        self.snapshots.send_replace(None);
        self.in_force(None).await;
    }

    async fn in_force(&self, revision: Option<Revision>) {
        let mut in_force = self.running.in_force();
        let changed = in_force.wait_for(|current| *current == revision);
        soon("the snapshot in force", changed).await.unwrap();
    }

    /// The status and the body that the admin port answers.
    pub(crate) async fn admin(&self, path: &str) -> (u16, String) {
        let mut socket = TcpStream::connect(self.running.admin_addr()).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        soon(
            "the admin port's answer",
            socket.read_to_string(&mut answer),
        )
        .await
        .unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        (status, body.to_owned())
    }

    /// What the snapshot's page says of a peer.
    pub(crate) async fn told(&self, peer: &str) -> serde_json::Value {
        let (_, body) = self.admin("/snapshot").await;
        let told: serde_json::Value = serde_json::from_str(&body).unwrap();
        let peers = told["peers"].as_array().unwrap();
        let told = peers.iter().find(|told| told["name"] == peer);
        told.cloned().unwrap_or_default()
    }

    /// A metric's value; none when it isn't there.
    pub(crate) async fn metric(&self, series: &str) -> Option<f64> {
        let (_, body) = self.admin("/metrics").await;
        body.lines()
            .find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
    }

    /// Waits until a metric is at least so much.
    pub(crate) async fn counts(&self, series: &str, at_least: f64) {
        let enough = || async {
            let value = self.metric(series).await?;
            (value >= at_least).then_some(())
        };
        until(&format!("{series} >= {at_least}"), enough).await;
    }

    /// Waits until a decision of so many is counted.
    pub(crate) async fn decides(&self, side: &str, reason: &str, at_least: f64) {
        let series = format!("weft_decisions_total{{side=\"{side}\",reason=\"{reason}\"}}");
        self.counts(&series, at_least).await;
    }

    pub(crate) async fn handshakes(&self, role: &str, result: &str) {
        let series = format!("weft_handshakes_total{{role=\"{role}\",result=\"{result}\"}}");
        self.counts(&series, 1.0).await;
    }

    /// Waits until a peer counts as reachable or not.
    pub(crate) async fn sees(&self, peer: &str, reachable: bool) {
        let series = format!("weft_peer_reachable{{peer=\"{peer}\"}}");
        let wanted = f64::from(u8::from(reachable));
        until(&format!("{series} {wanted}"), || async {
            (self.metric(&series).await == Some(wanted)).then_some(())
        })
        .await;
    }
}
