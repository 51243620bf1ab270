//! Fetching from a repository on this machine.

use std::fs;
use std::time::Duration;

use reconciler::git::{Error, FetchLimits, Remote, Repository};
use tokio_util::sync::CancellationToken;

use crate::origin::{Origin, Store, limits, oid, reason, report};
use crate::server::Server;

const FABRIC: (&str, &str) = ("fabric.yaml", "kind: Fabric\n");

#[test]
fn a_commit_comes_without_its_history_and_only_once() {
    let (origin, store) = (Origin::new(), Store::new());
    let first = origin.commit(&[FABRIC]);
    let second = origin.commit(&[("policies/a.yaml", "a: 1\n")]);

    let fetched = store.fetch(&origin.remote()).unwrap();
    assert_eq!((fetched.commit, fetched.is_new), (second, true));
    assert_eq!(store.files(second), ["fabric.yaml", "policies/a.yaml"]);
    assert!(!store.holds(first));
    assert!(store.raw().is_shallow());

    let again = store.fetch(&origin.remote()).unwrap();
    assert_eq!(
        (again.commit, again.is_new, again.received),
        (second, false, 0)
    );
}

#[test]
fn a_later_commit_brings_only_what_it_changes() {
    let (origin, store) = (Origin::new(), Store::new());
    let files: Vec<_> = (0..500)
        .map(|i| {
            (
                format!("policies/{i}/p.yaml"),
                format!("n: {i}\n").repeat(20),
            )
        })
        .collect();
    let files: Vec<_> = files
        .iter()
        .map(|(p, c)| (p.as_str(), c.as_str()))
        .collect();
    origin.commit(&files);
    let whole = store.fetch(&origin.remote()).unwrap().received;
    let second = origin.commit(&[("policies/7/p.yaml", "n: other\n")]);
    let change = store.fetch(&origin.remote()).unwrap();
    assert_eq!(store.files(second).len(), 500);
    // Three trees, one of them with 500 entries, a commit and a blob.
    assert!(
        change.received * 2 < whole,
        "{} of {whole}",
        change.received
    );
}

#[test]
fn the_store_follows_wherever_the_reference_goes() {
    let (origin, store) = (Origin::new(), Store::new());
    let remote = origin.remote();
    let first = origin.commit(&[FABRIC]);
    let second = origin.commit(&[("policies/a.yaml", "a: 1\n")]);
    store.fetch(&remote).unwrap();

    // Rewound.
    let main = "refs/heads/main";
    origin
        .repository
        .reference(main, oid(first), true, "")
        .unwrap();
    assert_eq!(store.fetch(&remote).unwrap().commit, first);
    assert_eq!(store.files(first), ["fabric.yaml"]);
    assert_eq!(store.is_ancestor(&remote, second, first), Some(false));
    assert_eq!(store.is_ancestor(&remote, first, second), Some(true));

    // Rewritten.
    let other = origin.commit_on(None, &[("policies/b.yaml", "b: 1\n")]);
    assert_eq!(store.fetch(&remote).unwrap().commit, other);
    assert_eq!(store.is_ancestor(&remote, first, other), Some(false));
    assert_eq!(store.files(other), ["policies/b.yaml"]);
    // What was there before can still be read.
    assert_eq!(store.files(second).len(), 2);
}

#[test]
fn a_reference_is_a_branch_a_tag_or_a_whole_name() {
    let (origin, store) = (Origin::new(), Store::new());
    let first = origin.commit(&[FABRIC]);
    let second = origin.commit(&[("policies/a.yaml", "a: 1\n")]);
    let tagged = origin.repository.find_object(oid(first), None).unwrap();
    let tagger = git2::Signature::now("Ada", "ada@weft.example").unwrap();
    origin
        .repository
        .tag("v1", &tagged, &tagger, "one", false)
        .unwrap();
    origin
        .repository
        .reference("refs/pull/7/head", oid(first), false, "")
        .unwrap();
    for (name, commit) in [
        ("HEAD", second),
        ("main", second),
        ("refs/heads/main", second),
        ("v1", first),
        ("refs/pull/7/head", first),
        ("pull/7/head", first),
    ] {
        let remote = origin.remote().with_reference(name.parse().unwrap());
        assert_eq!(store.fetch(&remote).unwrap().commit, commit, "{name}");
    }
    let remote = origin.remote().with_reference("absent".parse().unwrap());
    assert_eq!(reason(store.fetch(&remote)), "ReferenceNotFound");
}

#[test]
fn what_is_not_there_is_told_apart() {
    let (origin, store) = (Origin::new(), Store::new());
    let error = store.fetch(&origin.remote()).unwrap_err();
    assert_eq!(error.reason(), "EmptyRepository");
    let path = origin.path();
    assert_eq!(
        report(&error),
        format!(
            "can't fetch HEAD of {}: the repository is empty",
            path.display()
        )
    );
    let absent = Remote::new(origin.root().join("absent.git").into());
    assert_eq!(reason(store.fetch(&absent)), "RepositoryNotFound");

    let blob = origin.repository.blob(b"no commit").unwrap();
    origin
        .repository
        .reference("refs/tags/blob", blob, false, "")
        .unwrap();
    let blob = origin.remote().with_reference("blob".parse().unwrap());
    assert_eq!(reason(store.fetch(&blob)), "ReferenceNotFound");
}

#[test]
fn a_fetch_ends_at_its_limits_and_the_store_stays_as_it_was() {
    let (origin, store) = (Origin::new(), Store::new());
    let remote = origin.remote();
    let first = origin.commit(&[FABRIC]);
    store.fetch(&remote).unwrap();
    let noise: String = (0..20_000_u64)
        .map(|i| format!("{:x}", i * i * 7919))
        .collect();
    let second = origin.commit(&[("policies/a.yaml", &noise)]);

    let bytes = FetchLimits {
        bytes: 1_000,
        ..limits()
    };
    assert_eq!(
        reason(store.fetch_within(&remote, bytes)),
        "RepositoryTooLarge"
    );
    let objects = FetchLimits {
        objects: 2,
        ..limits()
    };
    assert_eq!(
        reason(store.fetch_within(&remote, objects)),
        "RepositoryTooLarge"
    );
    let deadline = FetchLimits {
        deadline: Duration::ZERO,
        ..limits()
    };
    assert_eq!(
        reason(store.fetch_within(&remote, deadline)),
        "DeadlineExceeded"
    );
    let cancelled = CancellationToken::new();
    cancelled.cancel();
    let result = store.repository.fetch(&remote, limits(), &cancelled);
    assert_eq!(reason(result), "Cancelled");

    assert!(!store.holds(second));
    let head = store.raw().refname_to_id("refs/weft/head").unwrap();
    assert_eq!(head, oid(first));
    assert_eq!(store.fetch(&remote).unwrap().commit, second);
}

#[test]
fn commits_are_kept_as_long_as_they_are_named() {
    let (origin, store) = (Origin::new(), Store::new());
    let remote = origin.remote();
    let commits = [(); 3].map(|()| {
        let commit = origin.commit(&[FABRIC]);
        store.fetch(&remote).unwrap();
        commit
    });
    let kept = || {
        let raw = store.raw();
        let names: Vec<_> = raw
            .references_glob("refs/weft/keep/*")
            .unwrap()
            .map(|reference| oid(reference.unwrap().name().unwrap()[15..].parse().unwrap()))
            .collect();
        names
    };
    store.repository.keep(&commits[..2]).unwrap();
    assert_eq!(kept().len(), 2);
    store.repository.keep(&commits[2..]).unwrap();
    assert_eq!(kept(), [oid(commits[2])]);
}

#[test]
fn a_store_that_a_killed_process_left_is_cleaned_and_two_never_share_it() {
    let (origin, directory) = (Origin::new(), tempfile::tempdir().unwrap());
    let path = directory.path().join("git");
    let open = || Repository::open_or_init(&path);
    let fetch =
        |store: &Repository| store.fetch(&origin.remote(), limits(), &CancellationToken::new());
    origin.commit(&[FABRIC]);
    let store = open().unwrap();
    fetch(&store).unwrap();
    assert!(matches!(open(), Err(Error::InUse(_))));
    drop(store);
    for residue in [
        "refs/weft/head.lock",
        "config.lock",
        "objects/pack/pack_git2_x1",
        "shallow.new",
    ] {
        fs::write(path.join(residue), "").unwrap();
    }
    let commit = origin.commit(&[("policies/a.yaml", "a: 1\n")]);
    let store = open().unwrap();
    assert_eq!(fetch(&store).unwrap().commit, commit);
    assert!(!path.join("objects/pack/pack_git2_x1").exists());
}

#[test]
fn a_store_of_many_commits_stays_small_and_keeps_what_is_named() {
    let (origin, store) = (Origin::new(), Store::new());
    let server = Server::start(origin.root());
    let (local, http) = (origin.remote(), server.remote());
    let frozen = origin.commit(&[FABRIC, ("policies/old.yaml", "a: old\n")]);
    store.fetch(&http).unwrap();
    let mut tip = frozen;
    for i in 0..60 {
        tip = origin.commit(&[("policies/a.yaml", &format!("a: {i}\n"))]);
        store.fetch(&local).unwrap();
        store.repository.keep(&[frozen, tip]).unwrap();
    }
    let packs = || {
        let directory = store.raw().path().join("objects/pack");
        fs::read_dir(directory).unwrap().count() / 2
    };
    assert!(packs() < 20, "{}", packs());
    assert_eq!(store.files(frozen), ["fabric.yaml", "policies/old.yaml"]);
    assert_eq!(store.files(tip).len(), 3);
    // What is left is a sound shallow repository, for Git and for a server.
    let checked = std::process::Command::new("git")
        .arg("-C")
        .arg(store.raw().path())
        .args(["fsck", "--full", "--strict"])
        .output()
        .unwrap();
    assert!(checked.status.success(), "{checked:?}");
    let next = origin.commit(&[("policies/b.yaml", "b: 1\n")]);
    assert_eq!(store.fetch(&http).unwrap().commit, next);
    assert_eq!(store.files(next).len(), 4);
    assert_eq!(store.is_ancestor(&http, frozen, next), Some(true));
}
