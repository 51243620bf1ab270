//! Fetching over smart HTTP, with and without TLS, from servers that are well and unwell.

use std::time::{Duration, Instant};

use base64::Engine;
use reconciler::git::{Credentials, FetchLimits, Remote, Secret};
use tokio_util::sync::CancellationToken;

use crate::origin::{Origin, Store, limits, oid, reason, report};
use crate::server::{Behaviour, Server};

const FABRIC: (&str, &str) = ("fabric.yaml", "kind: Fabric\n");

fn basic(user: &str, password: &str) -> String {
    let pair = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    format!("Basic {pair}")
}

fn credentials(password: &str) -> Credentials {
    Credentials::Basic {
        username: "weft".to_owned(),
        password: Secret::Value(password.to_owned()),
    }
}

#[test]
fn the_first_fetch_is_shallow_and_later_ones_bring_the_change() {
    let (origin, store) = (Origin::new(), Store::new());
    let server = Server::start(origin.root());
    let first = origin.commit(&[FABRIC]);
    let second = origin.commit(&[("policies/a.yaml", "a: 1\n")]);
    let fetched = store.fetch(&server.remote()).unwrap();
    assert_eq!((fetched.commit, fetched.is_new), (second, true));
    assert_eq!(store.files(second), ["fabric.yaml", "policies/a.yaml"]);
    assert!(!store.holds(first));
    server.requests();

    let again = store.fetch(&server.remote()).unwrap();
    assert_eq!((again.commit, again.is_new), (second, false));
    let requests: Vec<_> = server.requests().into_iter().map(|r| r.line).collect();
    assert_eq!(
        requests,
        ["GET /fabric.git/info/refs?service=git-upload-pack HTTP/1.1"]
    );

    let third = origin.commit(&[("policies/b.yaml", "b: 1\n")]);
    let fetched = store.fetch(&server.remote()).unwrap();
    assert_eq!((fetched.commit, fetched.is_new), (third, true));
    assert_eq!(store.files(third).len(), 3);
    // The new commit names the one before: nobody is asked.
    server.requests();
    assert_eq!(
        store.is_ancestor(&server.remote(), second, third),
        Some(true)
    );
    assert!(server.requests().is_empty());
}

#[test]
fn history_is_fetched_as_far_as_ancestry_needs_it() {
    let (origin, store) = (Origin::new(), Store::new());
    let server = Server::start(origin.root());
    let remote = server.remote();
    let root = origin.commit(&[FABRIC]);
    let mut commits = Vec::new();
    for i in 0..40 {
        commits.push(origin.commit(&[("policies/a.yaml", &format!("a: {i}\n"))]));
    }
    let tip = commits[39];
    // What was fetched before the change, as far as the store knows.
    origin
        .repository
        .reference("refs/heads/main", oid(commits[9]), true, "")
        .unwrap();
    store.fetch(&remote).unwrap();
    origin
        .repository
        .reference("refs/heads/main", oid(tip), true, "")
        .unwrap();
    store.fetch(&remote).unwrap();
    assert!(!store.holds(commits[38]) && !store.holds(commits[8]));

    assert_eq!(store.is_ancestor(&remote, commits[9], tip), Some(true));
    assert!(store.holds(commits[38]));
    assert_eq!(store.is_ancestor(&remote, root, tip), Some(true));

    // The branch is rewritten: its whole history is known to be another one.
    let other = origin.commit_on(None, &[("policies/b.yaml", "b: 1\n")]);
    assert_eq!(store.fetch(&remote).unwrap().commit, other);
    assert_eq!(store.is_ancestor(&remote, tip, other), Some(false));
    // And back: a commit that the store has seen already.
    origin
        .repository
        .reference("refs/heads/main", oid(commits[9]), true, "")
        .unwrap();
    assert_eq!(store.fetch(&remote).unwrap().commit, commits[9]);
    assert_eq!(store.files(commits[9]).len(), 2);
    assert_eq!(store.is_ancestor(&remote, commits[9], tip), Some(true));
}

#[test]
fn history_beyond_the_bound_counts_as_unknown() {
    let (origin, store) = (Origin::new(), Store::new());
    let server = Server::start(origin.root());
    let root = origin.commit(&[FABRIC]);
    let mut commit = origin.repository.find_commit(oid(root)).unwrap();
    for _ in 0..1_100 {
        let next = origin.commit_tree(commit.tree_id(), Some(&commit));
        commit = origin.repository.find_commit(oid(next)).unwrap();
    }
    let tip = store.fetch(&server.remote()).unwrap().commit;
    assert_eq!(store.is_ancestor(&server.remote(), root, tip), None);
}

#[test]
fn https_needs_a_certificate_of_a_trusted_ca() {
    let (origin, store) = (Origin::new(), Store::new());
    let server = Server::start_tls(origin.root());
    let commit = origin.commit(&[FABRIC]);
    assert_eq!(store.fetch(&server.remote()).unwrap().commit, commit);
    assert_eq!(store.files(commit), ["fabric.yaml"]);

    let untrusting = Remote::new(server.url().parse().unwrap());
    let error = store.fetch(&untrusting).unwrap_err();
    assert_eq!(
        error.reason(),
        "CertificateNotTrusted",
        "{}",
        report(&error)
    );

    let absent = untrusting.with_authorities(origin.root().join("absent.pem"));
    assert_eq!(reason(store.fetch(&absent)), "ConfigurationInvalid");
}

#[test]
fn credentials_are_shown_and_never_printed() {
    let (origin, store) = (Origin::new(), Store::new());
    let server = Server::start_tls(origin.root());
    origin.commit(&[FABRIC]);
    server.behave(Behaviour::Authorize(basic("weft", "hunter2")));

    let error = store.fetch(&server.remote()).unwrap_err();
    assert_eq!(error.reason(), "AuthenticationFailed");
    let wrong = server.remote().with_credentials(credentials("hunter3"));
    let error = store.fetch(&wrong).unwrap_err();
    assert_eq!(error.reason(), "AuthenticationFailed");
    for text in [report(&error), format!("{error:?}"), format!("{wrong:?}")] {
        assert!(!text.contains("hunter3"), "{text}");
        assert!(!text.contains(&basic("weft", "hunter3")), "{text}");
    }
    let right = server.remote().with_credentials(credentials("hunter2"));
    assert!(store.fetch(&right).unwrap().is_new);

    // In the address, as people paste it.
    let url = server.url().replace("//", "//weft:hunter2@");
    let authority = server.remote();
    let mut pasted = Remote::new(url.parse().unwrap());
    assert!(!pasted.address().to_string().contains("hunter2"));
    pasted = pasted.with_authorities(authority.authorities().unwrap().to_owned());
    store.fetch(&pasted).unwrap();
}

#[test]
fn a_token_file_may_be_replaced_between_fetches() {
    let (origin, store) = (Origin::new(), Store::new());
    let server = Server::start(origin.root());
    origin.commit(&[FABRIC]);
    let file = origin.root().join("token");
    let remote = server
        .remote()
        .with_credentials(Credentials::Bearer(Secret::File(file.clone())));
    server.behave(Behaviour::Authorize("Bearer two".to_owned()));

    assert_eq!(reason(store.fetch(&remote)), "AuthenticationFailed");
    std::fs::write(&file, "one\n").unwrap();
    assert_eq!(reason(store.fetch(&remote)), "AuthenticationFailed");
    std::fs::write(&file, "two\n").unwrap();
    store.fetch(&remote).unwrap();
    std::fs::write(&file, "two\nX-Header: smuggled\n").unwrap();
    assert_eq!(reason(store.fetch(&remote)), "AuthenticationFailed");
}

#[test]
fn credentials_never_go_over_a_network_unencrypted() {
    let store = Store::new();
    // Reserved for documentation: nothing would answer there.
    let remote = Remote::new("http://u:hunter2@192.0.2.1/fabric.git".parse().unwrap());
    let error = store.fetch(&remote).unwrap_err();
    assert_eq!(
        report(&error),
        "can't fetch HEAD of http://192.0.2.1/fabric.git: credentials are never sent to \
         http://192.0.2.1 over unencrypted http; use https"
    );
}

#[test]
fn a_redirect_to_another_server_gets_no_credentials() {
    let (origin, store) = (Origin::new(), Store::new());
    let (first, second) = (Server::start(origin.root()), Server::start(origin.root()));
    let commit = origin.commit(&[FABRIC]);
    first.behave(Behaviour::Redirect(second.url()));
    let remote = first.remote().with_credentials(credentials("hunter2"));
    assert_eq!(store.fetch(&remote).unwrap().commit, commit);
    assert!(
        first
            .requests()
            .iter()
            .all(|request| request.authorization.is_some())
    );
    let followed = second.requests();
    assert!(
        followed
            .iter()
            .any(|request| request.line.starts_with("POST "))
    );
    assert!(
        followed
            .iter()
            .all(|request| request.authorization.is_none())
    );

    // Within one server they stay.
    let here = Server::start(origin.root());
    let there = format!("http://{}/fabric.git/.", here.address());
    here.behave(Behaviour::Redirect(there));
    let remote = here.remote().with_credentials(credentials("hunter2"));
    assert!(store.fetch(&remote).is_err());
    let requests = here.requests();
    assert_eq!(requests.len(), 6, "bounded");
    assert!(
        requests
            .iter()
            .all(|request| request.authorization.is_some())
    );

    first.behave(Behaviour::Redirect(
        "http://127.0.0.1:1/other?x=".to_owned(),
    ));
    assert!(store.fetch(&first.remote()).is_err());
}

#[test]
fn https_is_never_left() {
    let (origin, store) = (Origin::new(), Store::new());
    let (server, plain) = (
        Server::start_tls(origin.root()),
        Server::start(origin.root()),
    );
    origin.commit(&[FABRIC]);
    server.behave(Behaviour::Redirect(plain.url()));
    let error = store.fetch(&server.remote()).unwrap_err();
    assert!(
        report(&error).ends_with("it leaves https"),
        "{}",
        report(&error)
    );
    assert!(plain.requests().is_empty());
}

#[test]
fn answers_that_are_no_gits_are_told_apart() {
    let (origin, store) = (Origin::new(), Store::new());
    let server = Server::start(origin.root());
    for (status, expected) in [
        (403, "AuthenticationFailed"),
        (404, "RepositoryNotFound"),
        (500, "GitOperationFailed"),
        (200, "GitOperationFailed"),
    ] {
        server.behave(Behaviour::Status(status));
        assert_eq!(reason(store.fetch(&server.remote())), expected, "{status}");
    }
    server.behave(Behaviour::Serve);
    assert_eq!(reason(store.fetch(&server.remote())), "EmptyRepository");
    origin.commit(&[FABRIC]);
    let absent = server.remote().with_reference("absent".parse().unwrap());
    assert_eq!(reason(store.fetch(&absent)), "ReferenceNotFound");
}

#[test]
fn a_server_that_is_gone_is_unreachable() {
    let (origin, store) = (Origin::new(), Store::new());
    let server = Server::start(origin.root());
    let remote = server.remote();
    drop(server);
    assert_eq!(reason(store.fetch(&remote)), "Unreachable");
}

#[test]
fn a_silent_server_is_left_at_the_deadline() {
    let (origin, store) = (Origin::new(), Store::new());
    for server in [
        Server::start(origin.root()),
        Server::start_tls(origin.root()),
    ] {
        server.behave(Behaviour::Silent);
        let limits = FetchLimits {
            deadline: Duration::from_millis(300),
            ..limits()
        };
        let result = store.fetch_within(&server.remote(), limits);
        assert_eq!(reason(result), "DeadlineExceeded");
    }
}

#[test]
fn a_fetch_is_cancelled_while_it_waits() {
    let (origin, store) = (Origin::new(), Store::new());
    let server = Server::start(origin.root());
    server.behave(Behaviour::Silent);
    let cancelled = CancellationToken::new();
    let begun = Instant::now();
    let result = std::thread::scope(|scope| {
        let token = cancelled.clone();
        let fetch = scope.spawn(|| {
            store
                .repository
                .fetch(&server.remote(), limits(), &cancelled)
        });
        while server.requests().is_empty() {
            std::thread::yield_now();
        }
        token.cancel();
        fetch.join().unwrap()
    });
    assert_eq!(reason(result), "Cancelled");
    assert!(begun.elapsed() < limits().deadline);
}

#[test]
fn a_pack_that_breaks_off_leaves_the_store_as_it_was() {
    let (origin, store) = (Origin::new(), Store::new());
    let server = Server::start(origin.root());
    let first = origin.commit(&[FABRIC]);
    store.fetch(&server.remote()).unwrap();
    let noise: String = (0..20_000_u64)
        .map(|i| format!("{:x}", i * i * 7919))
        .collect();
    let second = origin.commit(&[("policies/a.yaml", &noise)]);
    for bytes in [0, 10, 60, 500, 5_000] {
        server.behave(Behaviour::Cut(bytes));
        let error = store.fetch(&server.remote()).unwrap_err();
        assert!(
            ["Unreachable", "GitOperationFailed"].contains(&error.reason()),
            "{bytes}: {}",
            report(&error)
        );
        assert_eq!(
            store.raw().refname_to_id("refs/weft/head").unwrap(),
            oid(first)
        );
    }
    server.behave(Behaviour::Serve);
    assert_eq!(store.fetch(&server.remote()).unwrap().commit, second);
    assert_eq!(store.files(second).len(), 2);

    // More than is wanted, in bytes and in objects.
    let third = origin.commit(&[("policies/b.yaml", &noise[1..])]);
    let bytes = FetchLimits {
        bytes: 5_000,
        ..limits()
    };
    assert_eq!(
        reason(store.fetch_within(&server.remote(), bytes)),
        "RepositoryTooLarge"
    );
    let objects = FetchLimits {
        objects: 2,
        ..limits()
    };
    assert_eq!(
        reason(store.fetch_within(&server.remote(), objects)),
        "RepositoryTooLarge"
    );
    assert_eq!(store.fetch(&server.remote()).unwrap().commit, third);
}

#[test]
fn fetches_that_fail_in_the_end_do_not_fill_the_disk() {
    let (origin, store) = (Origin::new(), Store::new());
    let server = Server::start(origin.root());
    origin.commit(&[FABRIC]);
    let remote = server.remote().with_reference("data".parse().unwrap());
    for i in 0..60 {
        // A tag of something that is no commit: what was fetched for it is of no use.
        let blob = origin.repository.blob(format!("{i}").as_bytes()).unwrap();
        origin
            .repository
            .reference("refs/tags/data", blob, true, "")
            .unwrap();
        assert!(store.fetch(&remote).is_err());
    }
    let packs = std::fs::read_dir(store.raw().path().join("objects/pack")).unwrap();
    assert!(packs.count() / 2 < 55);
    // And it is still of use.
    let commit = origin.commit(&[("policies/a.yaml", "a: 1\n")]);
    assert_eq!(store.fetch(&server.remote()).unwrap().commit, commit);
}
