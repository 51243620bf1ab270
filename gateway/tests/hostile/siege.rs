//! One gateway under attack, the peer that attacks it, and one that wants its work done meanwhile.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use gateway::Timeouts;
use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::common::authority::{Authority, Leaf};
use crate::common::peer::{Peer, free_port, loopback};
use crate::common::plan::Planner;
use crate::common::service::{Service, echoes, echoing, talk};
use crate::common::until;

/// Round trips that show that somebody's traffic goes on.
const ROUNDS: usize = 20;

/// `east` exports an echo; `north` imports it and is honest; `mallory` is a peer, too, and isn't.
pub(crate) struct Siege {
    pub folder: TempDir,
    pub authority: Authority,
    pub east: Peer,
    pub north: Peer,
    /// What mallory shows.
    pub mallory: Leaf,
    pub service: Service,
    /// Where north's clients connect.
    pub import: SocketAddr,
}

/// A client of north that never stops talking: over one long connection, and over ever new ones.
pub(crate) struct Bystander {
    import: SocketAddr,
    rounds: Arc<AtomicUsize>,
    longest: Arc<Mutex<Duration>>,
    stop: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

// === impl Siege ===

impl Siege {
    /// All started, and everything allowed.
    pub(crate) async fn begin() -> Self {
        Self::with(|plan| plan).await
    }

    /// The same, with something more in east's plan.
    pub(crate) async fn with(east_plan: impl FnOnce(Planner) -> Planner) -> Self {
        Self::with_timeouts(Timeouts::default(), east_plan).await
    }

    /// The same, with an east that waits for things as long as is said.
    pub(crate) async fn with_timeouts(
        timeouts: Timeouts,
        east_plan: impl FnOnce(Planner) -> Planner,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new("acme");
        let leaf = |name| authority.leaf(folder.path(), &[name]);
        let (east_leaf, north_leaf, mallory) = (leaf("east"), leaf("north"), leaf("mallory"));
        let siege = Self {
            east: Peer::start_with(vec![east_leaf.files], 0, timeouts).await,
            north: Peer::start(vec![north_leaf.files]).await,
            service: Service::echo().await,
            import: loopback(free_port()),
            mallory,
            authority,
            folder,
        };
        siege.east.apply(&east_plan(siege.east_plan())).await;
        siege.north.apply(&siege.north_plan()).await;
        siege
    }

    pub(crate) fn east_plan(&self) -> Planner {
        Planner::new("east", self.authority.certificate())
            .peer("north", &[])
            .peer("mallory", &[])
            .export("ledger", self.service.address)
            .allow_all()
    }

    pub(crate) fn north_plan(&self) -> Planner {
        Planner::new("north", self.authority.certificate())
            .peer("east", &[self.east.address()])
            .import("ledger", self.import.port(), &[("east", "ledger")])
            .allow_all()
    }

    /// Somebody whose traffic must go on.
    pub(crate) async fn bystander(&self) -> Bystander {
        Bystander::start(self.import).await
    }

    /// Waits until east carries exactly so many connections for peers.
    pub(crate) async fn east_carries(&self, count: f64) {
        let series = "weft_connections{side=\"export\"}";
        until(&format!("{series} {count}"), || async {
            (self.east.metric(series).await == Some(count)).then_some(())
        })
        .await;
    }
}

// === impl Bystander ===

impl Bystander {
    pub(crate) async fn start(import: SocketAddr) -> Self {
        let mut long = echoing(import).await;
        let (rounds, stop) = (
            Arc::new(AtomicUsize::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let longest = Arc::new(Mutex::new(Duration::ZERO));
        let (counter, over, slowest) =
            (Arc::clone(&rounds), Arc::clone(&stop), Arc::clone(&longest));
        let task = tokio::spawn(async move {
            while !over.load(Ordering::SeqCst) {
                let started = Instant::now();
                assert!(echoes(&mut long).await, "the bystander's connection broke");
                let answer = talk(import, "of my own").await;
                assert_eq!(
                    answer.unwrap(),
                    "of my own",
                    "the bystander's new connection"
                );
                let mut slowest = slowest.lock();
                *slowest = started.elapsed().max(*slowest);
                counter.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self {
            import,
            rounds,
            longest,
            stop,
            task,
        }
    }

    /// Waits for some more round trips, all of them under what is going on now.
    pub(crate) async fn goes_on(&self) {
        let wanted = self.rounds.load(Ordering::SeqCst) + ROUNDS;
        until("the bystander's next round trips", || async {
            assert!(!self.task.is_finished(), "the bystander has given up");
            (self.rounds.load(Ordering::SeqCst) >= wanted).then_some(())
        })
        .await;
    }

    /// The end; nothing may have failed. Prints how long the slowest took: two round trips and a
    /// new connection.
    pub(crate) async fn content(self, under: &str) {
        self.goes_on().await;
        self.stop.store(true, Ordering::SeqCst);
        self.task.await.unwrap();
        let rounds = self.rounds.load(Ordering::SeqCst);
        let longest = *self.longest.lock();
        eprintln!(
            "{under}: {rounds} rounds at {}, the slowest {longest:?}",
            self.import
        );
    }
}
