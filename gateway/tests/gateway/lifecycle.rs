//! Start, limits, guard rails, drain, and what the admin port tells.

use std::time::Duration;

use fabric::api;
use gateway::{Config, Gateway, IdentityFiles, StartError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::common::service::{Service, breaks, echoes, echoing, talk};
use crate::common::{soon, until};
use crate::world::Pair;

#[tokio::test]
async fn without_a_certificate_there_is_no_start() {
    let folder = tempfile::tempdir().unwrap();
    let files = IdentityFiles {
        certificate: folder.path().join("cert.pem"),
        key: folder.path().join("key.pem"),
    };
    let (_sender, snapshots) = watch::channel(None);
    let config = Config::new(vec![files.clone()]);
    let error = Gateway::start(config, snapshots, None).await.unwrap_err();
    let StartError::Identity { path, .. } = error else {
        panic!("{error}");
    };
    assert_eq!(path, files.certificate);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_admin_port_tells_what_is_in_force() {
    let pair = Pair::started(Service::echo().await).await;
    assert_eq!(pair.west.admin("/healthz").await.0, 200);
    let (status, body) = pair.west.admin("/readyz").await;
    assert_eq!(
        (status, body.as_str()),
        (503, "there is no snapshot in force\n")
    );
    pair.east.apply(&pair.east_plan().allow_all()).await;
    pair.west.apply(&pair.west_plan().allow_all()).await;
    assert_eq!(pair.west.admin("/readyz").await.0, 200);
    pair.west.sees("east", true).await;
    let socket = echoing(pair.import).await;

    let (status, body) = pair.west.admin("/snapshot").await;
    assert_eq!(status, 200);
    let snapshot: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(snapshot["status"]["by"], "the test");
    assert_eq!(snapshot["fabric"], "acme");
    assert_eq!(snapshot["revision"], "first");
    assert_eq!(snapshot["peers"][0]["name"], "east");
    assert_eq!(snapshot["peers"][0]["reachable"], true);
    assert_eq!(snapshot["peers"][0]["revision"], "first");
    assert_eq!(snapshot["imports"][0]["name"], "shop/ledger");
    assert_eq!(snapshot["imports"][0]["address"], pair.import.to_string());
    assert_eq!(snapshot["imports"][0]["connections"], 1);
    let info = "weft_snapshot_info{fabric=\"acme\",revision=\"first\"}";
    assert_eq!(pair.west.metric(info).await, Some(1.0));
    assert_eq!(pair.west.admin("/nothing").await.0, 404);
    drop(socket);
    until("no live connection", || async {
        let live = pair.west.metric("weft_connections{side=\"import\"}").await;
        (live == Some(0.0)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_92_an_export_aims_neither_at_loopback_nor_at_the_gateway_itself() {
    let pair = Pair::started(Service::echo().await).await;
    pair.west.apply(&pair.west_plan().allow_all()).await;
    let plan = pair.east_plan().allow_all();
    let guarded = plan.state(|state| state.export_hosts.allow.clear());
    pair.east.apply(&guarded).await;
    assert!(talk(pair.import, "hello").await.is_err());
    pair.east.decides("export", "guard_refused", 1.0).await;
    assert_eq!(pair.service.served(), 0);
    // Loopback is allowed now, but not the gateway's own ports.
    for (at, own) in [pair.east.address(), pair.east.running.admin_addr()]
        .into_iter()
        .enumerate()
    {
        let plan = crate::common::plan::Planner::new("east", pair.authority.certificate())
            .revision(&format!("own-{at}"))
            .peer("west", &[pair.west.address()])
            .export("ledger", own)
            .allow_all();
        pair.east.apply(&plan).await;
        let answer = talk(pair.import, "GET /metrics HTTP/1.0\r\n\r\n").await;
        assert!(answer.is_err(), "{answer:?}");
        let refused = 2.0 + at as f64;
        pair.east.decides("export", "guard_refused", refused).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_of_the_snapshot_hold() {
    let pair = Pair::started(Service::echo().await).await;
    let limits = api::Limits {
        connections_per_import: 2,
        ..api::Limits::default()
    };
    pair.east.apply(&pair.east_plan().allow_all()).await;
    let plan = pair.west_plan().allow_all();
    let plan = plan.state(|state| state.limits = limits);
    pair.west.apply(&plan).await;
    let (mut one, two) = (echoing(pair.import).await, echoing(pair.import).await);
    assert!(talk(pair.import, "hello").await.is_err());
    pair.west.decides("import", "limit", 1.0).await;
    drop(two);
    until("a free place", || async {
        talk(pair.import, "hello").await.ok()
    })
    .await;
    assert!(echoes(&mut one).await);

    let limits = api::Limits {
        tunnels_per_peer: 1,
        ..api::Limits::default()
    };
    let plan = pair.east_plan().revision("second").allow_all();
    pair.east
        .apply(&plan.state(|state| state.limits = limits))
        .await;
    assert!(talk(pair.import, "hello").await.is_err());
    pair.east.decides("export", "limit", 1.0).await;
    assert!(echoes(&mut one).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_90_a_connection_that_carries_nothing_is_ended_in_time() {
    // Only where the fabric says so.
    assert!(api::Limits::default().idle_timeout.get().is_zero());
    let pair = Pair::started(Service::echo().await).await;
    pair.east.apply(&pair.east_plan().allow_all()).await;
    let limits = api::Limits {
        idle_timeout: api::Duration::from_secs(3),
        ..api::Limits::default()
    };
    let plan = pair.west_plan().allow_all();
    pair.west
        .apply(&plan.state(|state| state.limits = limits))
        .await;
    let mut socket = echoing(pair.import).await;
    breaks(&mut socket).await;
    let series = "weft_connections_ended_total{side=\"import\",reason=\"idle\"}";
    pair.west.counts(series, 1.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_lets_run_what_runs_and_takes_nothing_new() {
    let pair = Pair::open(Service::echo().await).await;
    let mut socket = echoing(pair.import).await;
    let (import, admin) = (pair.import, pair.west.running.admin_addr());
    let drain = tokio::spawn(pair.west.running.drain(Duration::from_secs(60)));
    until("the closed import", || async {
        let refused = TcpStream::connect(import).await.err()?;
        (refused.kind() == std::io::ErrorKind::ConnectionRefused).then_some(())
    })
    .await;
    assert!(echoes(&mut socket).await);
    assert!(!drain.is_finished());
    socket.shutdown().await.unwrap();
    let mut rest = Vec::new();
    soon("the end in order", socket.read_to_end(&mut rest))
        .await
        .unwrap();
    soon("the drain", drain).await.unwrap();
    assert!(TcpStream::connect(admin).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_cuts_at_its_deadline_and_says_so_to_the_peer() {
    let pair = Pair::open(Service::echo().await).await;
    let mut socket = echoing(pair.import).await;
    let drain = pair.east.running.drain(Duration::from_millis(100));
    soon("the drain", drain).await;
    breaks(&mut socket).await;
    let series = "weft_connections_ended_total{side=\"import\",reason=\"peer_draining\"}";
    pair.west.counts(series, 1.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_connections_at_once_spread_over_several_to_the_peer() {
    let pair = Pair::open(Service::echo().await).await;
    let mut all = Vec::new();
    for _ in 0..100 {
        all.push(echoing(pair.import).await);
    }
    pair.west
        .counts("weft_gateway_connections{role=\"dial\"}", 2.0)
        .await;
    for socket in &mut all {
        assert!(echoes(socket).await);
    }
}
