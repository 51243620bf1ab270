//! What is sent for what.

use std::time::{Duration, Instant};

use weft_tests::api_server::{ApiServer, has_condition};
use weft_tests::certificates::Authority;
use weft_tests::process::Signal;
use weft_tests::role::ClusterGateway;
use weft_tests::wait::{holds, wait_for, wait_within};

use super::stage::*;

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

/// What many objects cost a reconciler and a gateway; beside it, `kubectl` with the same objects.
///
/// `docs/benchmarks.md` has the command and the results.
#[test]
#[ignore = "a benchmark"]
fn measure_many_objects() {
    for count in [1_000, 10_000] {
        let cluster = Cluster::new("");
        for (number, names) in names(count).chunks(500).enumerate() {
            let objects: Vec<_> = names.iter().map(|name| export(name, 80)).collect();
            let path = format!("peers/east/many-{number}.yaml");
            cluster.repository.write(&path, objects.join("---\n"));
        }
        let in_force = |commit: &str| {
            wait_within(PATIENCE, "it is in force", || {
                let sync = cluster.sync();
                let is_it = sync["status"]["revision"] == commit;
                holds(is_it && has_condition(&sync, "Ready", "True"), || {
                    sync.to_string()
                })
            });
        };
        let commit = cluster.repository.commit("Many");
        let begun = Instant::now();
        let mut reconciler = cluster.reconciler("one");
        in_force(&commit);
        let cold = begun.elapsed();
        wait_within(PATIENCE, "all conditions are written", || {
            let written = cluster.proxy.count(|seen| {
                seen.method == "PATCH"
                    && seen.path.contains("/exports/")
                    && seen.path.ends_with("/status")
            });
            holds(written > count, || format!("{written} of {count}"))
        });
        let all = begun.elapsed();
        let usage = reconciler.process().usage();
        println!(
            "{count} objects, cold: in force after {cold:.2?}, all conditions after {all:.2?}; {usage}"
        );

        let authority = Authority::new("test");
        let kubeconfig = cluster.server.kubeconfig();
        let mut gateway = ClusterGateway::new("east", &kubeconfig, &authority.peer("east"));
        gateway.start();
        wait_within(PATIENCE, "the gateway has it", || {
            let snapshot = gateway.snapshot()?;
            holds(snapshot["revision"] == commit, || {
                snapshot["revision"].to_string()
            })
        });
        println!(
            "{count} objects, the gateway: {}",
            gateway.process().usage()
        );

        reconciler.process().signal(Signal::TERM);
        reconciler.process().wait();
        cluster
            .repository
            .write("peers/east/export.yaml", export("ledger", 9090));
        let commit = cluster.repository.commit("One of them");
        let begun = Instant::now();
        let mut reconciler = cluster.reconciler("two");
        in_force(&commit);
        let usage = reconciler.process().usage();
        println!(
            "{count} objects, warm, one changed: in force after {:.2?}; {usage}",
            begun.elapsed()
        );
        cluster
            .repository
            .write("peers/east/export.yaml", export("ledger", 9091));
        let commit = cluster.repository.commit("One more of them");
        let begun = Instant::now();
        reconciler.hook();
        in_force(&commit);
        println!(
            "{count} objects, running, one changed: in force after {:.2?}",
            begun.elapsed()
        );
        drop((reconciler, gateway));

        let server = ApiServer::start();
        let kubectl = server.kubectl();
        kubectl.run(&["create", "namespace", NAMESPACE]);
        let objects: Vec<_> = names(count).iter().map(|name| export(name, 80)).collect();
        let begun = Instant::now();
        kubectl.run_with(
            &["apply", "--server-side", "-f", "-"],
            &objects.join("---\n"),
        );
        println!(
            "{count} objects, `kubectl apply --server-side`: {:.2?}",
            begun.elapsed()
        );
    }
}

/// For ten thousand objects, on a machine that does something else too.
const PATIENCE: Duration = Duration::from_secs(900);

fn names(count: usize) -> Vec<String> {
    (0..count)
        .map(|number| format!("many-{number:05}"))
        .collect()
}
