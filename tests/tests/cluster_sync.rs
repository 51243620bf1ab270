//! `weft reconcile` and a real API server: what is applied, at which cost, and what failures do.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeSet;
use std::env;
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value;
use weft_tests::api_proxy::{ApiProxy, Fault, Seen};
use weft_tests::api_server::{ApiServer, Kubectl, condition, has_condition};
use weft_tests::network::Loopback;
use weft_tests::process::Signal;
use weft_tests::repository::FabricRepository;
use weft_tests::role::{Reconciler, SYSTEM};
use weft_tests::wait::{holds, wait_for};
use weft_tests::yaml;

const NAMESPACE: &str = "shop";

/// A cluster with a repository that it keeps to.
struct Cluster {
    server: ApiServer,
    proxy: ApiProxy,
    repository: FabricRepository,
}

impl Cluster {
    /// A cluster whose FabricSync says what `more` adds to its spec.
    fn new(more: &str) -> Self {
        let server = ApiServer::start();
        let repository = FabricRepository::new();
        repository.write("fabric.yaml", yaml::fabric());
        repository.write("ca/test.pem", authority());
        let gateway = "192.0.2.1:4443".parse().unwrap();
        for peer in ["east", "west"] {
            let path = format!("peers/{peer}/peer.yaml");
            repository.write(&path, yaml::peer(peer, gateway));
        }
        repository.write("peers/east/export.yaml", export("ledger", 8080));
        repository.write(
            "peers/east/allow.yaml",
            yaml::policy(NAMESPACE, "allow", "allow"),
        );
        repository.commit("Begin");
        let kubectl = server.kubectl();
        kubectl.run(&["create", "namespace", NAMESPACE]);
        let url = repository.url();
        kubectl.apply(&format!(
            "apiVersion: weft.dev/v1alpha1
kind: FabricSync
metadata: {{name: weft, namespace: {SYSTEM}}}
spec: {{peer: east, repository: \"{url}\", ref: main, interval: 1s{more}}}
"
        ));
        let proxy = ApiProxy::start(&server);
        Self {
            server,
            proxy,
            repository,
        }
    }

    fn reconciler(&self, name: &str) -> Reconciler {
        Reconciler::start(name, &self.proxy.kubeconfig(), &["--lease-duration", "5s"])
    }

    fn kubectl(&self) -> Kubectl {
        self.server.kubectl()
    }

    fn sync(&self) -> Value {
        let found = self.kubectl().find(&["fabricsync", "-n", SYSTEM, "weft"]);
        found.expect("the FabricSync is there")
    }

    fn wait_for_sync(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let sync = ["fabricsync", "-n", SYSTEM, "weft"];
        self.kubectl().wait_until(&sync, wanted)
    }

    /// Waits until a commit is in force, and all that it asks for is done.
    fn wait_until_in_force(&self, commit: &str) {
        self.wait_for_sync(|sync| {
            sync["status"]["revision"] == commit
                && sync["status"]["attemptedRevision"] == commit
                && has_condition(sync, "Ready", "True")
        });
    }

    fn export(&self, name: &str) -> Option<Value> {
        self.kubectl().find(&["export", "-n", NAMESPACE, name])
    }

    /// The Exports of the namespace.
    fn exports(&self) -> BTreeSet<String> {
        let text = self
            .kubectl()
            .run(&["get", "exports", "-n", NAMESPACE, "-o", "name"]);
        let names = text.lines().filter_map(|line| line.split_once('/'));
        names.map(|(_, name)| name.to_owned()).collect()
    }

    fn events(&self, reason: &str) -> Vec<Value> {
        let found = self.kubectl().find(&["events", "-A"]);
        let items = found.map(|list| list["items"].clone()).unwrap_or_default();
        let items = items.as_array().cloned().unwrap_or_default();
        items
            .into_iter()
            .filter(|event| event["reason"] == reason)
            .collect()
    }
}

fn authority() -> String {
    weft_tests::certificates::Authority::new("test")
        .pem()
        .to_owned()
}

fn export(name: &str, port: u16) -> String {
    yaml::export(NAMESPACE, name, SocketAddr::from(([10, 1, 2, 3], port)))
}

fn exports(count: usize, port: u16) -> String {
    let all: Vec<_> = (0..count)
        .map(|n| export(&format!("many-{n:04}"), port))
        .collect();
    all.join("---\n")
}

/// What was asked of the server but for statuses of objects and events.
fn applied(proxy: &ApiProxy) -> Vec<Seen> {
    let mut work = proxy.work();
    work.retain(|seen| {
        let is_status = seen.path.ends_with("/status") && !seen.path.contains("fabricsyncs");
        !is_status && !seen.path.contains("/events")
    });
    work
}

#[test]
fn nothing_costs_nothing_and_a_change_costs_one_patch() {
    let cluster = Cluster::new("");
    let reconciler = cluster.reconciler("one");
    cluster.wait_until_in_force(&cluster.repository.head());
    let before = cluster.export("ledger").unwrap();
    assert_eq!(before["spec"]["port"], 8080);
    wait_for("the statuses are written", || {
        let export = cluster.export("ledger").ok_or("gone")?;
        holds(has_condition(&export, "ExportValid", "True"), || {
            export.to_string()
        })
    });

    // Three rounds at the least, each of which looks into the repository.
    cluster.proxy.reset();
    let fetches = || reconciler.metric("weft_git_requests_total{op=\"fetch\",result=\"ok\"}");
    let before = fetches().unwrap();
    wait_for("some rounds went by", || {
        let now = fetches();
        holds(now.is_some_and(|now| now >= before + 3.0), || {
            format!("{now:?} fetches")
        })
    });
    assert_eq!(cluster.proxy.work(), []);

    cluster
        .repository
        .write("peers/east/export.yaml", export("ledger", 9090));
    let commit = cluster.repository.commit("Another port");
    cluster.wait_until_in_force(&commit);
    let work = cluster.proxy.work();
    let patches = |part: &str| work.iter().filter(|seen| seen.is_patch(part)).count();
    assert_eq!(patches("/exports/"), 1, "{work:#?}");
    assert_eq!(patches("/fabricstates/"), 1, "{work:#?}");
    let statuses = work
        .iter()
        .filter(|seen| seen.path.ends_with("/fabricsyncs/weft/status"));
    assert_eq!(statuses.count(), 1, "{work:#?}");
    assert_eq!(work.len(), 3, "{work:#?}");
    let after = cluster.export("ledger").unwrap();
    assert_eq!(after["spec"]["port"], 9090);
    assert_eq!(after["metadata"]["annotations"]["weft.dev/commit"], commit);
    assert_eq!(
        after["metadata"]["annotations"]["weft.dev/source"],
        "peers/east/export.yaml:1"
    );

    // A file that moved changes nothing but where the next change is said to stand.
    cluster.proxy.reset();
    cluster.repository.remove("peers/east/export.yaml");
    cluster
        .repository
        .write("peers/east/moved.yaml", export("ledger", 9090));
    let commit = cluster.repository.commit("Move");
    cluster.wait_until_in_force(&commit);
    assert_eq!(cluster.proxy.count(|seen| seen.is_patch("/exports/")), 0);

    let metric = |name: &str| reconciler.metric(name);
    let info = format!("weft_source_commit_info{{sync=\"weft\",commit=\"{commit}\"}}");
    assert_eq!(metric("weft_leader"), Some(1.0));
    assert_eq!(metric(&info), Some(1.0));
    assert_eq!(metric("weft_cluster_reachable{sync=\"weft\"}"), Some(1.0));
    let updated = "weft_apply_total{sync=\"weft\",kind=\"Export\",result=\"updated\"}";
    assert_eq!(metric(updated), Some(1.0));
    let in_force = "weft_objects{sync=\"weft\",kind=\"Export\",state=\"in_force\"}";
    assert_eq!(metric(in_force), Some(1.0));
    assert_eq!(metric("weft_commit_to_applied_seconds_count"), Some(2.0));
    assert_eq!(reconciler.admin("/healthz").unwrap().status, 200);
    assert_eq!(reconciler.admin("/readyz").unwrap().status, 200);
}

#[test]
fn a_thousand_objects_cost_a_thousand_patches() {
    let cluster = Cluster::new("");
    cluster
        .repository
        .write("peers/east/many.yaml", exports(1000, 80));
    let commit = cluster.repository.commit("Many");
    let begun = Instant::now();
    let mut reconciler = cluster.reconciler("one");
    cluster.wait_until_in_force(&commit);
    let cold = begun.elapsed();
    let work = applied(&cluster.proxy);
    let patches = work
        .iter()
        .filter(|seen| seen.is_patch("/exports/"))
        .count();
    assert_eq!(patches, 1001);
    let others: Vec<_> = work
        .iter()
        .filter(|seen| !seen.is_patch("/exports/"))
        .collect();
    println!("{others:#?}");
    println!(
        "1,000 objects cold: {cold:?} from the process's start; other requests: {}",
        others.len()
    );
    // Lists of what is watched, three more objects, the state and the status.
    let changes = others.iter().filter(|seen| seen.method != "GET").count();
    assert!(changes <= 8, "{others:#?}");
    assert!(others.len() - changes <= 40, "{others:#?}");

    // Another process finds all of it as it should be.
    reconciler.process().signal(Signal::TERM);
    reconciler.process().wait();
    cluster.proxy.reset();
    let _reconciler = cluster.reconciler("two");
    cluster
        .repository
        .write("peers/east/one.yaml", export("one", 80));
    let commit = cluster.repository.commit("One more");
    let begun = Instant::now();
    cluster.wait_until_in_force(&commit);
    println!(
        "1,000 objects warm, one new: {:?} from the process's start",
        begun.elapsed()
    );
    assert_eq!(cluster.proxy.count(|seen| seen.is_patch("/exports/")), 1);
}

#[test]
fn a_commit_that_deletes_much_waits_for_an_approval() {
    let cluster = Cluster::new("");
    cluster
        .repository
        .write("peers/east/many.yaml", exports(60, 80));
    let commit = cluster.repository.commit("Many");
    let _reconciler = cluster.reconciler("one");
    cluster.wait_until_in_force(&commit);
    cluster.repository.remove("peers/east/many.yaml");
    let commit = cluster.repository.commit("Nothing of it");
    let sync = cluster.wait_for_sync(|sync| {
        sync["status"]["revision"] == commit && has_condition(sync, "PruneBlocked", "True")
    });
    assert!(has_condition(&sync, "Ready", "False"));
    let (_, _, message) = condition(&sync, "PruneBlocked").unwrap();
    assert!(message.contains("Weft-Approve: prune=60"), "{message}");
    assert_eq!(sync["status"]["pruneBlocked"].as_array().unwrap().len(), 60);
    assert_eq!(cluster.exports().len(), 61);

    // Too few are no approval.
    cluster.repository.write("notes", "1");
    let commit = cluster.repository.commit("Some\n\nWeft-Approve: prune=59");
    cluster.wait_for_sync(|sync| sync["status"]["revision"] == commit);
    assert_eq!(cluster.exports().len(), 61);
    cluster.repository.write("notes", "2");
    let commit = cluster
        .repository
        .commit("All of them\n\nWeft-Approve: prune=60");
    cluster.wait_until_in_force(&commit);
    assert_eq!(cluster.exports(), ["ledger".to_owned()].into());
}

#[test]
fn drift_is_corrected_and_its_writer_named() {
    let cluster = Cluster::new("");
    let _reconciler = cluster.reconciler("one");
    cluster.wait_until_in_force(&cluster.repository.head());
    let kubectl = cluster.kubectl();
    let patch = r#"{"spec":{"port":1},"metadata":{"labels":{"team":"somebody"}}}"#;
    kubectl.run(&[
        "patch",
        "export",
        "-n",
        NAMESPACE,
        "ledger",
        "--type=merge",
        "-p",
        patch,
    ]);
    kubectl.wait_until(&["export", "-n", NAMESPACE, "ledger"], |export| {
        export["spec"]["port"] == 8080 && export["metadata"]["labels"]["team"].is_null()
    });
    let event = wait_for("an event tells", || {
        let events = cluster.events("DriftCorrected");
        events.into_iter().next().ok_or_else(|| "none".to_owned())
    });
    let note = event["note"]
        .as_str()
        .or_else(|| event["message"].as_str())
        .unwrap();
    assert!(note.contains("kubectl-patch"), "{note}");
    assert!(note.contains("/spec/port"), "{note}");

    kubectl.run(&[
        "delete",
        "export",
        "-n",
        NAMESPACE,
        "ledger",
        "--wait=false",
    ]);
    kubectl.wait_until(&["export", "-n", NAMESPACE, "ledger"], |export| {
        export["metadata"]["deletionTimestamp"].is_null() && export["spec"]["port"] == 8080
    });
}

#[test]
fn one_refused_object_stops_no_other() {
    let cluster = Cluster::new("");
    cluster
        .proxy
        .set_rule(|seen| (seen.path.ends_with("/exports/bad")).then_some(Fault::Answer(422, None)));
    cluster
        .repository
        .write("peers/east/bad.yaml", export("bad", 80));
    cluster
        .repository
        .write("peers/east/good.yaml", export("good", 80));
    let commit = cluster.repository.commit("One of them is refused");
    let _reconciler = cluster.reconciler("one");
    let sync = cluster.wait_for_sync(|sync| {
        sync["status"]["revision"] == commit && has_condition(sync, "Ready", "False")
    });
    let (_, reason, _) = condition(&sync, "Ready").unwrap();
    assert_eq!(reason, "ObjectsRefused");
    assert_eq!(sync["status"]["refused"][0]["object"], "Export shop/bad");
    assert_eq!(
        cluster.exports(),
        ["good".to_owned(), "ledger".to_owned()].into()
    );
    // It is tried again by itself.
    cluster.proxy.clear_rule();
    cluster.wait_until_in_force(&commit);
    assert!(cluster.export("bad").is_some());
}

#[test]
fn an_apply_goes_on_after_every_kind_of_failure() {
    let cluster = Cluster::new("");
    let _reconciler = cluster.reconciler("one");
    cluster.wait_until_in_force(&cluster.repository.head());
    let faults = [
        ("429", Fault::Answer(429, Some(1))),
        ("500", Fault::Answer(500, None)),
        ("409", Fault::Answer(409, None)),
        ("cut before", Fault::CutBefore),
        ("cut after", Fault::CutAfter),
        ("slow", Fault::Delay(Duration::from_millis(500))),
    ];
    for (round, (name, fault)) in faults.into_iter().enumerate() {
        let mut left = 4;
        let is_fault = move |seen: &Seen| {
            let counts = seen.method == "PATCH" && left > 0;
            left -= u32::from(counts);
            counts.then(|| fault.clone())
        };
        cluster.proxy.set_rule(is_fault);
        let port = 1000 + u16::try_from(round).unwrap();
        cluster
            .repository
            .write("peers/east/many.yaml", exports(8, port));
        let commit = cluster.repository.commit(name);
        cluster.wait_until_in_force(&commit);
        let list = cluster
            .kubectl()
            .find(&["exports", "-n", NAMESPACE])
            .unwrap();
        let items = list["items"].as_array().unwrap();
        let many = items
            .iter()
            .filter(|item| item["spec"]["port"] == port)
            .count();
        assert_eq!(many, 8, "after {name}");
    }
}

#[test]
fn a_server_that_was_away_and_watches_that_died_change_nothing() {
    let mut cluster = Cluster::new("");
    let arguments = ["--lease-duration", "5s", "--watch-timeout", "5"];
    let _reconciler = Reconciler::start("one", &cluster.proxy.kubeconfig(), &arguments);
    cluster.wait_until_in_force(&cluster.repository.head());

    // Open watches fall silent; what changes meanwhile is noticed by the next ones.
    cluster.proxy.silence_watches();
    let patch = r#"{"spec":{"port":1}}"#;
    let kubectl = cluster.kubectl();
    kubectl.run(&[
        "patch",
        "export",
        "-n",
        NAMESPACE,
        "ledger",
        "--type=merge",
        "-p",
        patch,
    ]);
    kubectl.wait_until(&["export", "-n", NAMESPACE, "ledger"], |export| {
        export["spec"]["port"] == 8080
    });

    cluster.server.kill();
    cluster
        .repository
        .write("peers/east/late.yaml", export("late", 80));
    let commit = cluster.repository.commit("While the server is away");
    cluster.server.resume();
    cluster.wait_until_in_force(&commit);
    assert!(cluster.export("late").is_some());
}

#[test]
fn a_killed_reconciler_converges_to_the_head() {
    // The long form: WEFT_KILLS=50 cargo test -p weft-tests --test cluster_sync killed -- --nocapture
    let kills = env::var("WEFT_KILLS")
        .ok()
        .and_then(|kills| kills.parse().ok());
    let kills: u32 = kills.unwrap_or(3);
    let cluster = Cluster::new("");
    for kill in 0..kills {
        let port = 1000 + u16::try_from(kill).unwrap();
        let count = 30 + usize::try_from(kill * 7 % 20).unwrap();
        cluster
            .repository
            .write("peers/east/many.yaml", exports(count, port));
        let commit = cluster.repository.commit("Change");
        let mut reconciler = cluster.reconciler("one");
        // After as many of its writes as never before.
        cluster.proxy.reset();
        let after = usize::try_from(kill * 13 % 40).unwrap();
        wait_for("it has written something", || {
            let count = cluster.proxy.count(|seen| seen.method == "PATCH");
            let is_over = cluster.sync()["status"]["revision"] == commit;
            holds(count >= after || is_over, || format!("{count} of {after}"))
        });
        reconciler.process().kill();
    }
    let _reconciler = cluster.reconciler("last");
    let head = cluster.repository.head();
    cluster.wait_until_in_force(&head);
    let list = cluster
        .kubectl()
        .find(&["exports", "-n", NAMESPACE])
        .unwrap();
    let items = list["items"].as_array().unwrap();
    let port = 1000 + u16::try_from(kills - 1).unwrap();
    let count = 30 + usize::try_from((kills - 1) * 7 % 20).unwrap();
    let many = items
        .iter()
        .filter(|item| item["spec"]["port"] == port)
        .count();
    assert_eq!((many, items.len()), (count, count + 1));
}

#[test]
fn a_leader_that_slept_writes_nothing() {
    let cluster = Cluster::new("");
    let mut first = cluster.reconciler("first");
    first.wait_until_it_leads();
    cluster.wait_until_in_force(&cluster.repository.head());
    let second = cluster.reconciler("second");
    first.process().signal(Signal::STOP);
    second.wait_until_it_leads();
    cluster
        .repository
        .write("peers/east/export.yaml", export("ledger", 9090));
    let commit = cluster.repository.commit("While the first one sleeps");
    cluster.wait_until_in_force(&commit);
    let version = |export: Value| export["metadata"]["resourceVersion"].clone();
    let before = version(cluster.export("ledger").unwrap());
    first.process().signal(Signal::CONT);
    first
        .process()
        .wait_for_line("that it leads no longer", |line| {
            line.contains("leads=false") || line.contains("another process leads")
        });
    assert_eq!(version(cluster.export("ledger").unwrap()), before);
    assert_eq!(cluster.export("ledger").unwrap()["spec"]["port"], 9090);
    drop(second);
}

#[test]
fn a_sync_is_suspended_asked_and_refuses_rewrites() {
    let cluster = Cluster::new(", onRewrite: Refuse, interval: 1h");
    let _reconciler = cluster.reconciler("one");
    let first = cluster.repository.head();
    cluster.wait_until_in_force(&first);
    let kubectl = cluster.kubectl();
    let set = |patch: &str| {
        let sync = [
            "patch",
            "fabricsync",
            "-n",
            SYSTEM,
            "weft",
            "--type=merge",
            "-p",
            patch,
        ];
        kubectl.run(&sync);
    };

    set(r#"{"spec":{"suspend":true}}"#);
    cluster.wait_for_sync(|sync| {
        condition(sync, "Ready").is_some_and(|(_, reason, _)| reason == "Suspended")
    });
    cluster
        .repository
        .write("peers/east/export.yaml", export("ledger", 9090));
    let second = cluster.repository.commit("While it is suspended");
    assert_eq!(cluster.export("ledger").unwrap()["spec"]["port"], 8080);
    set(r#"{"spec":{"suspend":false}}"#);
    cluster.wait_until_in_force(&second);

    let annotation = "weft.dev/reconcile-requested-at=now";
    kubectl.run(&["annotate", "fabricsync", "-n", SYSTEM, "weft", annotation]);
    cluster.wait_for_sync(|sync| sync["status"]["lastHandledReconcileAt"] == "now");

    cluster
        .repository
        .git(&["reset", "--quiet", "--hard", &first]);
    cluster
        .repository
        .git(&["push", "--quiet", "--force", "origin", "main"]);
    let sync = cluster.wait_for_sync(|sync| has_condition(sync, "Stalled", "True"));
    let (_, reason, _) = condition(&sync, "Ready").unwrap();
    assert_eq!(reason, "HistoryRewritten");
    assert_eq!(sync["status"]["revision"], second);
    assert_eq!(cluster.export("ledger").unwrap()["spec"]["port"], 9090);
}

#[test]
fn a_webhook_begins_a_round() {
    // A Git server over the network is asked once an hour; the webhook makes it a matter of a moment.
    let cluster = Cluster::new("");
    let server = weft_tests::git_server::GitServer::start(&cluster.repository.bare());
    let patch = format!(
        r#"{{"spec":{{"repository":"{}","interval":"1h"}}}}"#,
        server.url()
    );
    let kubectl = cluster.kubectl();
    kubectl.run(&[
        "patch",
        "fabricsync",
        "-n",
        SYSTEM,
        "weft",
        "--type=merge",
        "-p",
        &patch,
    ]);
    let secret = tempfile::NamedTempFile::new().unwrap();
    fs_write(secret.path(), "It's a Secret to Everybody\n");
    let loopback = Loopback::take();
    let address = loopback.at(4490);
    let _reconciler = Reconciler::start(
        "one",
        &cluster.proxy.kubeconfig(),
        &[
            "--webhook",
            &address.to_string(),
            "--webhook-secret",
            secret.path().to_str().unwrap(),
        ],
    );
    cluster.wait_until_in_force(&cluster.repository.head());
    cluster
        .repository
        .write("peers/east/export.yaml", export("ledger", 9090));
    let commit = cluster.repository.commit("Pushed");
    assert_eq!(post(address, "X-Gitlab-Token: wrong"), 403);
    assert_eq!(post(address, "X-Nothing: at all"), 401);
    let begun = Instant::now();
    assert_eq!(
        post(address, "X-Gitlab-Token: It's a Secret to Everybody"),
        202
    );
    cluster.wait_until_in_force(&commit);
    println!(
        "from the webhook to in force, as kubectl sees it: {:?}",
        begun.elapsed()
    );
}

fn fs_write(path: &std::path::Path, text: &str) {
    std::fs::write(path, text).unwrap();
}

/// Posts a webhook with a header; the answer's status.
fn post(address: SocketAddr, header: &str) -> u16 {
    use std::io::Read as _;
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!(
        "POST /hook HTTP/1.1\r\nHost: {address}\r\n{header}\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}
