//! The loop: what is in force follows the repository, and stays when the repository can't be
//! followed.

use std::fs;
use std::path::Path;
use std::time::Duration;

use reconciler::git::{CommitId, Remote};
use reconciler::reconcile::{Options, Reconciler, Trigger};
use reconciler::status::{History, Status};
use reconciler::store::{Local, Store as _};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::origin::{Origin, oid};
use crate::server::Server;

const FABRIC: &str =
    "apiVersion: weft.dev/v1alpha1\nkind: Fabric\nmetadata: {name: acme}\nspec: {}\n";

fn peer(name: &str) -> String {
    format!(
        "apiVersion: clusterlink.net/v1alpha1\nkind: Peer\nmetadata: {{name: {name}}}\n\
         spec: {{gateways: [{{host: 192.0.2.1, port: 4443}}]}}\n"
    )
}

fn export(name: &str, port: u16) -> String {
    format!(
        "apiVersion: clusterlink.net/v1alpha1\nkind: Export\n\
         metadata: {{name: {name}, namespace: shop}}\nspec: {{host: 10.0.0.1, port: {port}}}\n"
    )
}

/// A fabric of two peers, of which `east` exports `a`.
fn fabric(origin: &Origin) -> CommitId {
    origin.commit(&[
        ("fabric.yaml", FABRIC),
        ("peers/east/peer.yaml", &peer("east")),
        ("peers/west/peer.yaml", &peer("west")),
        ("peers/east/a.yaml", &export("a", 1)),
    ])
}

/// A reconciler that runs.
struct Running {
    store: Local,
    status: watch::Receiver<Status>,
    trigger: Trigger,
    cancelled: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    fn start(state: &Path, remote: Remote) -> Self {
        Self::start_with(state, remote, |_| {})
    }

    fn start_with(state: &Path, remote: Remote, change: impl FnOnce(&mut Options)) -> Self {
        let store = Local::open(state, &"east".parse().unwrap()).unwrap();
        let peer = store.peer().clone();
        let mut options = Options::new(peer, remote, store.git_directory());
        // Nothing but triggers begins a round, unless a test wants it otherwise.
        options.interval = Duration::from_secs(3600);
        options.watch = None;
        change(&mut options);
        let reconciler = Reconciler::new(options, store.clone()).unwrap();
        let cancelled = CancellationToken::new();
        Self {
            store,
            status: reconciler.status(),
            trigger: reconciler.trigger(),
            task: tokio::spawn(reconciler.run(cancelled.clone())),
            cancelled,
        }
    }

    /// Waits until the status is so.
    async fn until(&mut self, what: &str, is_so: impl FnMut(&Status) -> bool) -> Status {
        let waiting = tokio::time::timeout(Duration::from_secs(60), self.status.wait_for(is_so));
        let status = waiting.await.map(|status| status.unwrap().clone());
        status.unwrap_or_else(|_| panic!("not {what}: {:#?}", self.status.borrow()))
    }

    /// Waits until a commit was dealt with, after asking for it.
    async fn settle(&mut self, commit: CommitId) -> Status {
        self.trigger.fire();
        self.until("settled", |status| {
            status.attempted == Some(commit.revision()) && status.failure.is_none()
        })
        .await
    }

    /// Waits until a commit is in force, after asking for it.
    async fn bring(&mut self, commit: CommitId) -> Status {
        self.trigger.fire();
        self.until("in force", |status| {
            status.in_force == Some(commit.revision())
        })
        .await
    }

    fn exports(&self) -> Vec<(String, u16)> {
        let snapshot = self.store.snapshots().borrow().clone();
        let exports = snapshot.iter().flat_map(|snapshot| &snapshot.exports);
        exports
            .map(|(name, export)| (name.name().to_owned(), export.port))
            .collect()
    }

    async fn stop(self) {
        self.cancelled.cancel();
        self.task.await.unwrap();
    }
}

fn named(exports: &[(&str, u16)]) -> Vec<(String, u16)> {
    exports
        .iter()
        .map(|(name, port)| ((*name).to_owned(), *port))
        .collect()
}

#[tokio::test]
async fn a_commit_comes_into_force_and_the_next_one_too() {
    let (origin, state) = (Origin::new(), tempfile::tempdir().unwrap());
    let first = fabric(&origin);
    let mut running = Running::start(state.path(), origin.remote());
    let status = running.bring(first).await;
    assert!(status.is_ready());
    assert_eq!(running.exports(), named(&[("a", 1)]));
    assert_eq!(status.units.keys().collect::<Vec<_>>(), ["east", "west"]);

    let second = origin.commit(&[("peers/east/b.yaml", &export("b", 2))]);
    running.bring(second).await;
    let status = running
        .until("history", |status| status.history.is_some())
        .await;
    assert_eq!(status.history, Some(History::Forward));
    assert_eq!(running.exports(), named(&[("a", 1), ("b", 2)]));
    let inventory = running.store.inventory();
    let origins: Vec<_> = inventory
        .iter()
        .filter(|(key, _)| key.kind == fabric::name::Kind::Export)
        .map(|(_, origin)| origin.revision.clone())
        .collect();
    assert_eq!(origins, [first.revision(), second.revision()]);

    // Back again, and the status says so.
    origin
        .repository
        .reference("refs/heads/main", oid(first), true, "")
        .unwrap();
    running.bring(first).await;
    assert_eq!(running.exports(), named(&[("a", 1)]));
    let rewound = |status: &Status| status.history == Some(History::Rewound);
    running.until("rewound", rewound).await;
    running.stop().await;
}

#[tokio::test]
async fn a_moved_reference_is_noticed_without_a_trigger() {
    let (origin, state) = (Origin::new(), tempfile::tempdir().unwrap());
    let first = fabric(&origin);
    let mut running = Running::start_with(state.path(), origin.remote(), |options| {
        options.watch = Some(Duration::from_millis(10));
    });
    let is = |commit: CommitId| move |status: &Status| status.in_force == Some(commit.revision());
    running.until("in force", is(first)).await;
    for port in 2..5 {
        let commit = origin.commit(&[("peers/east/a.yaml", &export("a", port))]);
        running.until("noticed", is(commit)).await;
        assert_eq!(running.exports(), named(&[("a", port)]));
    }
    // Also where the branch comes out of a packed file.
    let packed = std::process::Command::new("git")
        .arg("-C")
        .arg(origin.path())
        .args(["pack-refs", "--all"])
        .status();
    assert!(packed.unwrap().success());
    let commit = origin.commit(&[("peers/east/a.yaml", &export("a", 9))]);
    running.until("noticed", is(commit)).await;
    running.stop().await;
}

#[tokio::test]
async fn a_commit_that_is_settled_costs_one_request_and_nothing_else() {
    let (origin, state) = (Origin::new(), tempfile::tempdir().unwrap());
    let server = Server::start(origin.root());
    let first = fabric(&origin);
    let mut running = Running::start(state.path(), server.remote());
    running.bring(first).await;
    let before = contents(state.path());
    running.status.mark_unchanged();
    let mut snapshots = running.store.snapshots();
    snapshots.mark_unchanged();
    server.requests();
    for _ in 0..3 {
        running.trigger.fire();
        while server.requests().is_empty() {
            tokio::task::yield_now().await;
        }
    }
    running.cancelled.cancel();
    running.task.await.unwrap();
    assert!(!snapshots.has_changed().unwrap());
    // Only the end of the loop is news, not what it did.
    assert_eq!(running.status.borrow().in_force, Some(first.revision()));
    assert_eq!(contents(state.path()), before);
}

/// Every file below a directory.
fn contents(directory: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    let mut pending = vec![directory.to_owned()];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => pending.push(path),
                false => files.push((path.clone(), fs::read(path).unwrap())),
            }
        }
    }
    files.sort();
    files
}

#[tokio::test]
async fn the_last_good_state_is_in_force_with_git_gone_and_git_may_come_back() {
    let (origin, state) = (Origin::new(), tempfile::tempdir().unwrap());
    let first = fabric(&origin);
    let mut running = Running::start(state.path(), origin.remote());
    running.bring(first).await;
    running.stop().await;

    let away = origin.root().join("away.git");
    fs::rename(origin.path(), &away).unwrap();
    let mut running = Running::start(state.path(), origin.remote());
    // Before anything was fetched.
    assert_eq!(running.exports(), named(&[("a", 1)]));
    assert_eq!(running.status.borrow().in_force, Some(first.revision()));
    let failed = |attempts| {
        move |status: &Status| {
            let failure = status.failure.as_ref();
            failure.is_some_and(|failure| failure.attempts >= attempts)
        }
    };
    let status = running.until("failing", failed(1)).await;
    let failure = status.failure.clone().unwrap();
    assert_eq!(failure.reason, "RepositoryNotFound");
    assert!(!status.is_ready() && status.in_force == Some(first.revision()));
    // It tries again by itself.
    let status = running.until("failing twice", failed(2)).await;
    assert_eq!(status.failure.unwrap().since, failure.since);

    fs::rename(&away, origin.path()).unwrap();
    let second = origin.commit(&[("peers/east/b.yaml", &export("b", 2))]);
    running.until("back", |status| status.is_ready()).await;
    assert_eq!(running.status.borrow().in_force, Some(second.revision()));
    assert_eq!(running.exports(), named(&[("a", 1), ("b", 2)]));
    running.stop().await;
}

#[tokio::test]
async fn a_broken_unit_stands_still_while_the_others_go_on() {
    let (origin, state) = (Origin::new(), tempfile::tempdir().unwrap());
    let first = fabric(&origin);
    let mut running = Running::start(state.path(), origin.remote());
    running.bring(first).await;

    // East breaks; west gets labels, which east sees.
    let labelled = peer("west").replace("{name: west}", "{name: west, labels: {site: lab}}");
    let second = origin.commit(&[
        ("peers/east/a.yaml", "spec: [unclosed\n"),
        ("peers/west/peer.yaml", &labelled),
    ]);
    let status = running.settle(second).await;
    assert_eq!(status.in_force, Some(second.revision()));
    assert!(status.units["east"].is_frozen && !status.units["west"].is_frozen);
    assert_eq!(status.units["east"].revision, Some(first.revision()));
    assert_eq!(status.units["west"].revision, Some(second.revision()));
    assert!(!status.diagnostics.is_empty());
    assert_eq!(running.exports(), named(&[("a", 1)]));
    let west = |running: &Running| {
        let snapshot = running.store.snapshots().borrow().clone().unwrap();
        snapshot.remotes["west"]
            .peer
            .labels
            .get("site")
            .map(ToString::to_string)
    };
    assert_eq!(west(&running).as_deref(), Some("lab"));

    // It does so over a restart: what was good is read from the older commit again.
    running.stop().await;
    let mut running = Running::start(state.path(), origin.remote());
    let status = running.settle(second).await;
    assert_eq!(status.units["east"].revision, Some(first.revision()));
    assert_eq!(running.exports(), named(&[("a", 1)]));

    let third = origin.commit(&[("peers/east/a.yaml", &export("a", 3))]);
    let status = running.bring(third).await;
    assert!(!status.units["east"].is_frozen);
    assert_eq!(running.exports(), named(&[("a", 3)]));
    running.stop().await;
}

#[tokio::test]
async fn broken_shared_files_hold_the_whole_fabric() {
    let (origin, state) = (Origin::new(), tempfile::tempdir().unwrap());
    let first = fabric(&origin);
    let mut running = Running::start(state.path(), origin.remote());
    running.bring(first).await;
    let second = origin.commit(&[
        ("fabric.yaml", "kind: [\n"),
        ("peers/east/b.yaml", &export("b", 2)),
    ]);
    let status = running.settle(second).await;
    assert!(status.is_held && !status.is_ready());
    assert_eq!(running.exports(), named(&[("a", 1)]));
    running.stop().await;
    // It does so over a restart, and for whatever comes on top.
    let mut running = Running::start(state.path(), origin.remote());
    assert!(running.settle(second).await.is_held);
    assert_eq!(running.exports(), named(&[("a", 1)]));
    let third = origin.commit(&[("peers/east/c.yaml", &export("c", 3))]);
    assert!(running.settle(third).await.is_held);
    assert_eq!(running.exports(), named(&[("a", 1)]));
    running.stop().await;
    // A peer that never saw a good state has nothing in force.
    let fresh = tempfile::tempdir().unwrap();
    let mut running = Running::start(fresh.path(), origin.remote());
    let status = running.settle(third).await;
    assert!(status.is_held && status.in_force.is_none());
    assert!(running.store.snapshots().borrow().is_none());
    let fourth = origin.commit(&[("fabric.yaml", FABRIC)]);
    running.bring(fourth).await;
    assert_eq!(running.exports(), named(&[("a", 1), ("b", 2), ("c", 3)]));
    running.stop().await;
}

#[tokio::test]
async fn a_removed_peer_is_out_of_force() {
    let (origin, state) = (Origin::new(), tempfile::tempdir().unwrap());
    let first = fabric(&origin);
    let mut running = Running::start(state.path(), origin.remote());
    running.bring(first).await;
    let second = origin.commit_on(
        None,
        &[
            ("fabric.yaml", FABRIC),
            ("peers/west/peer.yaml", &peer("west")),
        ],
    );
    running.trigger.fire();
    let status = running
        .until("out of force", |status| {
            status.attempted == Some(second.revision()) && status.failure.is_some()
        })
        .await;
    assert_eq!(status.in_force, None);
    assert_eq!(status.failure.unwrap().reason, "NothingInForce");
    assert!(running.store.snapshots().borrow().is_none());
    origin
        .repository
        .reference("refs/heads/main", oid(first), true, "")
        .unwrap();
    assert!(running.bring(first).await.in_force.is_some());
    running.until("ready", Status::is_ready).await;
    running.stop().await;
}

#[tokio::test]
async fn a_full_disk_changes_nothing_and_is_tried_again() {
    let (origin, state) = (Origin::new(), tempfile::tempdir().unwrap());
    let first = fabric(&origin);
    let mut running = Running::start(state.path(), origin.remote());
    running.bring(first).await;
    // A directory in the way of the new file, which stops root too.
    let obstacle = state.path().join("state.new");
    fs::create_dir(&obstacle).unwrap();
    let second = origin.commit(&[("peers/east/b.yaml", &export("b", 2))]);
    running.trigger.fire();
    let status = running
        .until("failing", |status| status.failure.is_some())
        .await;
    assert_eq!(status.failure.unwrap().reason, "StorageOperationFailed");
    assert_eq!(status.in_force, Some(first.revision()));
    assert_eq!(running.exports(), named(&[("a", 1)]));
    fs::remove_dir(&obstacle).unwrap();
    running.bring(second).await;
    running.until("ready", Status::is_ready).await;
    running.stop().await;
}

#[tokio::test]
async fn a_damaged_git_store_is_made_anew() {
    let (origin, state) = (Origin::new(), tempfile::tempdir().unwrap());
    let first = fabric(&origin);
    let mut running = Running::start(state.path(), origin.remote());
    running.bring(first).await;
    running.stop().await;
    // The references say that the commit is there, and its objects are gone.
    let pack = state.path().join("git/objects/pack");
    for entry in fs::read_dir(&pack).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    let mut running = Running::start(state.path(), origin.remote());
    assert_eq!(running.exports(), named(&[("a", 1)]));
    running
        .until("failing", |status| status.failure.is_some())
        .await;
    // By the next attempt it is whole, and what came meanwhile is in it.
    let second = origin.commit(&[("peers/east/a.yaml", &export("a", 2))]);
    running.bring(second).await;
    running.until("ready", Status::is_ready).await;
    let third = origin.commit(&[("peers/east/b.yaml", &export("b", 2))]);
    running.bring(third).await;
    running.stop().await;
}

#[tokio::test]
async fn a_git_store_that_cannot_be_opened_or_vanishes_is_made_anew() {
    let (origin, state) = (Origin::new(), tempfile::tempdir().unwrap());
    let first = fabric(&origin);
    let mut running = Running::start(state.path(), origin.remote());
    running.bring(first).await;
    running.stop().await;
    // Torn by a power cut.
    fs::write(state.path().join("git/config"), "[core\0").unwrap();
    let mut running = Running::start(state.path(), origin.remote());
    assert_eq!(running.exports(), named(&[("a", 1)]));
    let second = origin.commit(&[("peers/east/a.yaml", &export("a", 2))]);
    running.bring(second).await;
    // Gone while it is used.
    fs::remove_dir_all(state.path().join("git")).unwrap();
    let third = origin.commit(&[("peers/east/a.yaml", &export("a", 3))]);
    running.bring(third).await;
    running.stop().await;
}

#[tokio::test]
async fn a_git_store_made_anew_gets_back_what_a_frozen_unit_stands_at() {
    for is_local in [true, false] {
        let (origin, state) = (Origin::new(), tempfile::tempdir().unwrap());
        let server = Server::start(origin.root());
        let remote = || match is_local {
            true => origin.remote(),
            false => server.remote(),
        };
        let first = fabric(&origin);
        let mut running = Running::start(state.path(), remote());
        running.bring(first).await;
        let second = origin.commit(&[("peers/east/a.yaml", "spec: [unclosed\n")]);
        running.settle(second).await;
        running.stop().await;
        fs::remove_dir_all(state.path().join("git")).unwrap();

        let mut running = Running::start(state.path(), remote());
        let third = origin.commit(&[("peers/west/b.yaml", &export("b", 2))]);
        let status = running.settle(third).await;
        assert!(status.units["east"].is_frozen);
        assert_eq!(status.units["east"].revision, Some(first.revision()));
        assert_eq!(status.units["west"].revision, Some(third.revision()));
        assert_eq!(running.exports(), named(&[("a", 1)]));
        running.stop().await;
    }
}
