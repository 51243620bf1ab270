//! The local store: what is in force survives whatever happens to the process and its files.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use fabric::api::{ExportHosts, Heartbeat, Limits, Object, Prune};
use fabric::fabric::Good;
use fabric::name::{Kind, ObjectKey, PeerName};
use fabric::origin::{Origin, Revision};
use fabric::plan::{Plan, PlannedObject, State};
use reconciler::store::{Approvals, Desired, Local, Store, StoreError};

fn peer() -> PeerName {
    "east".parse().unwrap()
}

/// The state of a revision with Exports of these names and ports.
fn desired(revision: &str, exports: &[(&str, u16)]) -> Desired {
    let revision = Revision::commit(revision);
    let object = |(name, port): &(&str, u16)| PlannedObject {
        key: ObjectKey {
            kind: Kind::Export,
            namespace: Some("shop".into()),
            name: (*name).into(),
        },
        origin: Origin {
            revision: revision.clone(),
            path: "peers/east/exports.yaml".into(),
            line: 1,
        },
        object: serde_json::from_value::<Object>(serde_json::json!({
            "kind": "Export",
            "metadata": {"name": name, "namespace": "shop"},
            "spec": {"host": "10.0.0.1", "port": port},
        }))
        .unwrap(),
    };
    let units = BTreeMap::from([(peer(), revision.clone())]);
    let plan = Plan {
        peer: peer(),
        revision: revision.clone(),
        units: units.clone(),
        objects: exports.iter().map(object).collect(),
        state: State {
            fabric: "acme".to_owned(),
            labels: BTreeMap::default(),
            authorities: Vec::new(),
            certificates: BTreeMap::default(),
            revoked: Default::default(),
            export_labels: BTreeMap::default(),
            workloads: Vec::new(),
            export_hosts: ExportHosts::default(),
            heartbeat: Heartbeat::default(),
            limits: Limits::default(),
            prune: Prune::default(),
        },
    };
    Desired {
        revision: revision.clone(),
        plan: Some(plan),
        good: Good {
            shared: Some(revision),
            units,
        },
    }
}

fn names(keys: &[ObjectKey]) -> Vec<&str> {
    keys.iter().map(|key| key.name.as_ref()).collect()
}

fn revision(store: &Local) -> Option<String> {
    store
        .in_force()
        .map(|desired| desired.revision.as_str().to_owned())
}

/// The name and the content of every state file.
fn files(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_type().unwrap().is_file())
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read(entry.path()).unwrap())
        })
        .collect()
}

#[tokio::test]
async fn a_plan_is_in_force_at_once_and_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let store = Local::open(directory.path(), &peer()).unwrap();
    let mut snapshots = store.snapshots();
    assert!(snapshots.borrow_and_update().is_none());

    let first = desired("1", &[("a", 1), ("b", 1)]);
    let report = store
        .apply(first.clone(), Approvals::default())
        .await
        .unwrap();
    assert_eq!(names(&report.added), ["a", "b"]);
    assert!(report.is_written && snapshots.has_changed().unwrap());
    let snapshot = snapshots.borrow_and_update().clone().unwrap();
    assert_eq!(
        (snapshot.revision.as_str(), snapshot.exports.len()),
        ("1", 2)
    );

    let report = store
        .apply(desired("2", &[("b", 2), ("c", 1)]), Approvals::default())
        .await
        .unwrap();
    assert_eq!(names(&report.added), ["c"]);
    assert_eq!(names(&report.changed), ["b"]);
    assert_eq!(names(&report.removed), ["a"]);
    assert_eq!(report.unchanged, 0);
    let in_force = store.in_force().unwrap();

    drop(store);
    let store = Local::open(directory.path(), &peer()).unwrap();
    assert_eq!(store.in_force(), Some(in_force));
    let snapshot = store.snapshots().borrow().clone().unwrap();
    assert_eq!(
        (snapshot.revision.as_str(), snapshot.exports.len()),
        ("2", 2)
    );
}

#[tokio::test]
async fn an_equal_plan_writes_nothing_and_wakes_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let store = Local::open(directory.path(), &peer()).unwrap();
    store
        .apply(desired("1", &[("a", 1)]), Approvals::default())
        .await
        .unwrap();
    let (before, mut snapshots) = (files(directory.path()), store.snapshots());
    snapshots.mark_unchanged();
    let report = store
        .apply(desired("1", &[("a", 1)]), Approvals::default())
        .await
        .unwrap();
    assert_eq!((report.unchanged, report.is_written), (1, false));
    assert_eq!(files(directory.path()), before);
    assert!(!snapshots.has_changed().unwrap());
}

#[tokio::test]
async fn an_object_keeps_the_origin_of_its_content() {
    let directory = tempfile::tempdir().unwrap();
    let store = Local::open(directory.path(), &peer()).unwrap();
    store
        .apply(desired("1", &[("a", 1), ("b", 1)]), Approvals::default())
        .await
        .unwrap();
    store
        .apply(desired("2", &[("a", 1), ("b", 2)]), Approvals::default())
        .await
        .unwrap();
    let origins: Vec<_> = store
        .inventory()
        .into_iter()
        .map(|(key, origin)| (key.name.to_string(), origin.revision.to_string()))
        .collect();
    let pair = |name: &str, revision: &str| (name.to_owned(), revision.to_owned());
    assert_eq!(origins, [pair("a", "1"), pair("b", "2")]);
}

#[tokio::test]
async fn a_removed_peer_loses_everything_also_over_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let store = Local::open(directory.path(), &peer()).unwrap();
    store
        .apply(desired("1", &[("a", 1)]), Approvals::default())
        .await
        .unwrap();
    let gone = Desired {
        plan: None,
        ..desired("2", &[])
    };
    let report = store.apply(gone, Approvals::default()).await.unwrap();
    assert_eq!(names(&report.removed), ["a"]);
    assert!(store.snapshots().borrow().is_none());
    drop(store);
    let store = Local::open(directory.path(), &peer()).unwrap();
    assert!(store.snapshots().borrow().is_none());
    assert_eq!(revision(&store).as_deref(), Some("2"));
}

#[tokio::test]
async fn a_torn_or_damaged_file_is_never_believed() {
    let directory = tempfile::tempdir().unwrap();
    let store = Local::open(directory.path(), &peer()).unwrap();
    let mut newest = (String::new(), Vec::new());
    for number in ["1", "2", "3"] {
        let before = files(directory.path());
        store
            .apply(desired(number, &[("a", 1)]), Approvals::default())
            .await
            .unwrap();
        let after = files(directory.path());
        newest = after
            .into_iter()
            .find(|(name, bytes)| before.get(name) != Some(bytes))
            .unwrap();
    }
    drop(store);
    let (name, whole) = newest;
    let path = directory.path().join(name);
    let open = || revision(&Local::open(directory.path(), &peer()).unwrap());
    assert_eq!(open().as_deref(), Some("3"));
    // Cut off anywhere.
    for length in (0..whole.len()).step_by(17).chain([whole.len() - 1]) {
        fs::write(&path, &whole[..length]).unwrap();
        assert_eq!(open().as_deref(), Some("2"), "{length}");
    }
    // A bit turned over anywhere.
    for at in (0..whole.len()).step_by(13) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x04;
        fs::write(&path, bytes).unwrap();
        assert_eq!(open().as_deref(), Some("2"), "{at}");
    }
    // And the next state goes over the damaged file, not over the last good one.
    let store = Local::open(directory.path(), &peer()).unwrap();
    store
        .apply(desired("4", &[("a", 1)]), Approvals::default())
        .await
        .unwrap();
    drop(store);
    assert_eq!(open().as_deref(), Some("4"));
    let other = fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|other| other.extension().is_some_and(|e| e == "json") && *other != path);
    for other in other {
        assert!(
            String::from_utf8(fs::read(other).unwrap())
                .unwrap()
                .contains("\"revision\":\"2\"")
        );
    }
}

#[tokio::test]
async fn what_a_crash_leaves_behind_is_passed_over() {
    let directory = tempfile::tempdir().unwrap();
    let store = Local::open(directory.path(), &peer()).unwrap();
    store
        .apply(desired("1", &[("a", 1)]), Approvals::default())
        .await
        .unwrap();
    drop(store);
    // Killed while the next state was being written, at any byte of it.
    fs::write(directory.path().join("state.new"), "{\"format\":").unwrap();
    let store = Local::open(directory.path(), &peer()).unwrap();
    assert_eq!(revision(&store).as_deref(), Some("1"));
    store
        .apply(desired("2", &[("a", 1)]), Approvals::default())
        .await
        .unwrap();
    assert_eq!(revision(&store).as_deref(), Some("2"));
}

#[tokio::test]
async fn a_state_that_cannot_be_written_is_not_in_force() {
    let directory = tempfile::tempdir().unwrap();
    let store = Local::open(directory.path(), &peer()).unwrap();
    store
        .apply(desired("1", &[("a", 1)]), Approvals::default())
        .await
        .unwrap();
    // A directory in the way of the file; unlike permissions it stops root too.
    fs::create_dir(directory.path().join("state.new")).unwrap();
    let result = store
        .apply(desired("2", &[("a", 2)]), Approvals::default())
        .await;
    assert!(matches!(result, Err(StoreError::File { .. })));
    assert_eq!(revision(&store).as_deref(), Some("1"));
    let snapshot = store.snapshots().borrow().clone().unwrap();
    assert_eq!(snapshot.revision.as_str(), "1");
    fs::remove_dir(directory.path().join("state.new")).unwrap();
    store
        .apply(desired("2", &[("a", 2)]), Approvals::default())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_state_directory_has_one_process_and_one_peer() {
    let directory = tempfile::tempdir().unwrap();
    let store = Local::open(directory.path(), &peer()).unwrap();
    store
        .apply(desired("1", &[("a", 1)]), Approvals::default())
        .await
        .unwrap();
    let second = Local::open(directory.path(), &peer());
    assert!(matches!(second, Err(StoreError::InUse(_))));
    drop(store);
    let other = Local::open(directory.path(), &"west".parse().unwrap());
    assert!(matches!(other, Err(StoreError::OtherPeer { .. })));
    Local::open(directory.path(), &peer()).unwrap();
}

/// Where the process that is to be killed finds its state directory; unset in the tests themselves.
const VICTIM: &str = "WEFT_TEST_VICTIM_STATE";

/// Not a test of its own: the process that the next test kills.
#[tokio::test]
async fn victim_that_writes_until_it_is_killed() {
    let Ok(directory) = std::env::var(VICTIM) else {
        return;
    };
    let store = Local::open(Path::new(&directory), &peer()).unwrap();
    let first: u16 = revision(&store).map_or(0, |revision| revision.parse().unwrap());
    for number in first + 1.. {
        store
            .apply(
                desired(&number.to_string(), &[("a", number)]),
                Approvals::default(),
            )
            .await
            .unwrap();
        // Past the capture of a test's output.
        writeln!(std::io::stdout(), "\nwritten {number}").unwrap();
    }
}

#[tokio::test]
async fn a_killed_process_loses_nothing_that_it_said_was_in_force() {
    let directory = tempfile::tempdir().unwrap();
    for round in 0..20 {
        let mut victim = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "store::victim_that_writes_until_it_is_killed",
                "--nocapture",
            ])
            .env(VICTIM, directory.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(victim.stdout.take().unwrap()).lines();
        let mut written = lines
            .by_ref()
            .filter_map(|line| line.unwrap().strip_prefix("written ").map(str::to_owned));
        let last = written.nth(round % 4).unwrap();
        // Wherever it is by now in writing the next one.
        victim.kill().unwrap();
        victim.wait().unwrap();
        let last = written.last().unwrap_or(last);
        let store = Local::open(directory.path(), &peer()).unwrap();
        let found: u16 = revision(&store).unwrap().parse().unwrap();
        let last: u16 = last.parse().unwrap();
        assert!(found == last || found == last + 1, "{found} after {last}");
        let snapshot = store.snapshots().borrow().clone().unwrap();
        assert_eq!(snapshot.exports.values().next().unwrap().port, found);
    }
}
