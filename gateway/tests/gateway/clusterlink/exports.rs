//! A peer that runs ClusterLink uses what this gateway exports.

use fabric::api::{Action, Duration};
use serde_json::json;
use tokio::io::AsyncReadExt;

use super::caller::{Caller, ENVOY, GO, Terms, connect};
use crate::common::plan::Planner;
use crate::common::service::Service;
use crate::world::Pair;

pub(super) const CLIENT: [(&str, &str); 3] = [
    ("client.clusterlink.net/namespace", "shop"),
    ("client.clusterlink.net/service-account", "till"),
    ("client.clusterlink.net/labels.app", "till"),
];

/// East exports to west, which has opted in.
pub(super) async fn opted_in(service: Service, change: impl FnOnce(Planner) -> Planner) -> Pair {
    let pair = Pair::started(service).await;
    let plan = pair.east_plan().peer("north", &[]);
    pair.east
        .apply(&change(plan.speaks_clusterlink("west")))
        .await;
    pair
}

pub(super) async fn west(pair: &Pair, terms: Terms) -> Caller {
    let east = pair.east.address();
    Caller::connect(east, &pair.west_leaf, terms).await.unwrap()
}

/// A tunnel to the export, granted and opened as ClusterLink does, over two connections.
async fn tunnel(pair: &Pair) -> Caller {
    let mut control = west(pair, GO).await;
    let token = control.authorize("ledger", &CLIENT).await.unwrap().token();
    let mut data = west(pair, ENVOY).await;
    let answer = data.tunnel(&token).await.unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    data
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_86_one_port_carries_health_access_and_tunnels_beside_weft() {
    let pair = opted_in(Service::echo().await, Planner::allow_all).await;
    for terms in [ENVOY, GO] {
        let mut one = west(&pair, terms).await;
        assert_eq!(one.health().await.unwrap().status, 200);
        let token = one.authorize("ledger", &CLIENT).await.unwrap().token();
        assert_eq!(one.tunnel(&token).await.unwrap().status, 200);
        one.send("ping").await.unwrap();
        assert_eq!(one.read(4).await.unwrap(), "ping");
    }
    // A peer that has moved to Weft needn't wait until the opt-in is gone.
    pair.west.apply(&pair.west_plan().allow_all()).await;
    pair.west.sees("east", true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_87_clusterlinks_exchange_with_a_gateway_that_exports() {
    let pair = opted_in(Service::echo().await, |plan| {
        let plan = plan.state(|state| {
            state.labels.insert("region".to_owned(), "eu".to_owned());
        });
        plan.allow_all()
    })
    .await;
    let mut control = west(&pair, GO).await;
    let health = control.health().await.unwrap();
    let labels = "eyJyZWdpb24iOiJldSJ9"; // {"region":"eu"}
    assert_eq!(health.headers["clusterlinkpeerlabels"], labels);
    let mut data = tunnel(&pair).await;
    data.send("all of it").await.unwrap();
    data.end().await;
    assert_eq!(data.until_end().await.unwrap(), "all of it");
    pair.east.decides("export", "allowed", 1.0).await;
    let ended = "weft_connections_ended_total{side=\"export\",reason=\"complete\"}";
    pair.east.counts(ended, 1.0).await;
    let bytes = "weft_bytes_total{side=\"export\",direction=\"from_peer\"}";
    pair.east.counts(bytes, 9.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_87_refusals_are_clusterlinks() {
    let pair = opted_in(Service::echo().await, |plan| {
        plan.policy("tills", Action::Allow, &[(CLIENT[0])], &[])
    })
    .await;
    let mut control = west(&pair, GO).await;
    let missing = control.authorize("nothing", &CLIENT).await.unwrap();
    let text = "Exported service 'shop/nothing' not found.\n";
    assert_eq!((missing.status, missing.body.as_str()), (404, text));
    let other = [(CLIENT[0].0, "bank"), CLIENT[1]];
    let denied = control.authorize("ledger", &other).await.unwrap();
    let text = "Permission denied for 'shop/ledger'.\n";
    assert_eq!((denied.status, denied.body.as_str()), (403, text));
    // Not known at all: a policy looks at who it is.
    let unknown = control.authorize("ledger", &[]).await.unwrap();
    assert_eq!(unknown.status, 403);
    pair.east.decides("export", "missing_export", 1.0).await;
    pair.east.decides("export", "default_deny", 1.0).await;
    pair.east.decides("export", "unknown_client", 1.0).await;
    for body in ["", "{", "[]", "{\"ServiceName\":7}"] {
        assert_eq!(control.post(body).await.unwrap().status, 400, "{body}");
    }
    for request in [
        "GET / HTTP/1.1\r\nhost: x\r\n\r\n",
        "GET /authz HTTP/1.1\r\nhost: x\r\n\r\n",
        "POST /healthz HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n",
        "DELETE /authz HTTP/1.1\r\nhost: x\r\n\r\n",
    ] {
        assert_eq!(control.ask(request).await.unwrap().status, 400, "{request}");
    }
    for (header, text) in [
        ("", "Missing 'authorization' header.\n"),
        (
            "authorization: Basic eDp5\r\n",
            "Authorization header is not using the bearer scheme.\n",
        ),
    ] {
        let request = format!("CONNECT east:443 HTTP/1.1\r\nhost: east:443\r\n{header}\r\n");
        let answer = west(&pair, ENVOY).await.ask(&request).await.unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (400, text));
    }
    let forged = west(&pair, ENVOY).await.tunnel("eyJ9.x").await.unwrap();
    assert_eq!(forged.status, 403);
    assert_eq!(pair.service.served(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_87_a_body_may_have_64_kib_and_not_a_byte_more() {
    let pair = opted_in(Service::echo().await, Planner::allow_all).await;
    let body = |length: usize| {
        let empty = json!({"ServiceName": "ledger", "ServiceNamespace": "shop", "Rest": ""});
        let rest = "x".repeat(length - empty.to_string().len());
        json!({"ServiceName": "ledger", "ServiceNamespace": "shop", "Rest": rest}).to_string()
    };
    let mut control = west(&pair, GO).await;
    assert_eq!(control.post(&body(65536)).await.unwrap().status, 200);
    assert_eq!(control.post(&body(65537)).await.unwrap().status, 413);
    // Nor where nobody says how long it is.
    let mut control = west(&pair, GO).await;
    let chunk = format!("8000\r\n{}\r\n", "x".repeat(0x8000));
    let head = "POST /authz HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
    let answer = control.ask(&(head.to_owned() + &chunk.repeat(3))).await;
    assert_eq!(answer.unwrap().status, 413);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_87_more_labels_than_a_header_bears_are_refused() {
    let pair = opted_in(Service::echo().await, Planner::allow_all).await;
    let keys: Vec<_> = (0..400)
        .map(|at| format!("client.clusterlink.net/labels.key-{at}"))
        .collect();
    let value = "v".repeat(63);
    let labels = keys.iter().map(|key| (key.as_str(), value.as_str()));
    let attributes: Vec<_> = CLIENT.into_iter().chain(labels).collect();
    let mut control = west(&pair, GO).await;
    let answer = control.authorize("ledger", &attributes).await.unwrap();
    assert_eq!(answer.status, 503);
    pair.east.decides("export", "limit", 1.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_84_limits_of_sizes_hold_for_the_dialect() {
    let pair = opted_in(Service::echo().await, |plan| {
        let plan = plan.state(|state| {
            state.limits.message_bytes = 400;
            state.limits.header_bytes = 2048;
        });
        plan.allow_all()
    })
    .await;
    tunnel(&pair).await;
    let value = "x".repeat(400);
    let long = ("client.clusterlink.net/labels.long", value.as_str());
    let mut control = west(&pair, GO).await;
    let answer = control.authorize("ledger", &[long]).await.unwrap();
    assert_eq!(answer.status, 413);
    let hit = "weft_limits_hit_total{limit=\"message_bytes\"}";
    pair.east.counts(hit, 1.0).await;
    let mut data = west(&pair, ENVOY).await;
    let answer = data.tunnel(&"x".repeat(2048)).await.unwrap();
    assert_eq!(answer.status, 431);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_90_what_is_half_closed_and_silent_is_ended_in_time_here_too() {
    let pair = opted_in(Service::silent().await, |plan| {
        let plan = plan.state(|state| {
            state.limits.half_closed_timeout = Duration::from_millis(600);
        });
        plan.allow_all()
    })
    .await;
    let mut data = tunnel(&pair).await;
    data.send("hello").await.unwrap();
    data.end().await;
    assert!(data.until_end().await.is_err());
    let ended = "weft_connections_ended_total{side=\"export\",reason=\"idle\"}";
    pair.east.counts(ended, 1.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_88_a_banner_is_never_in_one_record_with_the_answer() {
    let service = Service::start(|mut socket| async move {
        use tokio::io::AsyncWriteExt;
        let _ = socket.write_all(b"220 welcome\r\n").await;
        let _ = socket.read(&mut [0; 64]).await;
    })
    .await;
    let pair = opted_in(service, Planner::allow_all).await;
    for _ in 0..20 {
        let data = &mut tunnel(&pair).await;
        // The answer took a read of one record.
        assert_eq!(data.rest, b"");
        assert_eq!(data.read(13).await.unwrap(), "220 welcome\r\n");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_88_what_follows_connect_at_once_arrives_and_is_no_request() {
    let pair = opted_in(Service::echo().await, Planner::allow_all).await;
    for terms in [ENVOY, GO] {
        let mut data = west(&pair, terms).await;
        let token = data.authorize("ledger", &CLIENT).await.unwrap().token();
        let early = "POST /authz HTTP/1.1\r\nhost: x\r\n\r\n";
        let answer = data.ask(&(connect(&token) + early)).await.unwrap();
        assert_eq!(answer.status, 200);
        assert_eq!(data.read(early.len()).await.unwrap(), early);
    }
    // Behind a CONNECT that is refused, it is nobody's request either.
    let mut data = west(&pair, ENVOY).await;
    let early = "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";
    let answer = data.ask(&(connect("none") + early)).await.unwrap();
    assert_eq!(answer.status, 403);
    assert_eq!(data.until_end().await.unwrap_or_default(), "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_35_a_grant_is_of_its_peer_and_single_use() {
    let pair = opted_in(Service::echo().await, Planner::allow_all).await;
    let token = || async {
        let mut control = west(&pair, GO).await;
        control.authorize("ledger", &CLIENT).await.unwrap().token()
    };
    let used = token().await;
    assert_eq!(
        west(&pair, ENVOY).await.tunnel(&used).await.unwrap().status,
        200
    );
    assert_eq!(
        west(&pair, ENVOY).await.tunnel(&used).await.unwrap().status,
        403
    );
    // Another peer that has opted in, too, and has got hold of it.
    let north = pair.authority.leaf(pair.folder.path(), &["north"]);
    let plan = pair.east_plan().peer("north", &[]).revision("second");
    let plan = plan.speaks_clusterlink("west").speaks_clusterlink("north");
    pair.east.apply(&plan.clone().allow_all()).await;
    let stolen = token().await;
    let east = pair.east.address();
    let mut thief = Caller::connect(east, &north, ENVOY).await.unwrap();
    assert_eq!(thief.tunnel(&stolen).await.unwrap().status, 403);
    assert_eq!(
        west(&pair, ENVOY)
            .await
            .tunnel(&stolen)
            .await
            .unwrap()
            .status,
        200
    );
    // What was granted is decided anew.
    let granted = token().await;
    pair.east.apply(&plan.revision("third")).await;
    assert_eq!(
        west(&pair, ENVOY)
            .await
            .tunnel(&granted)
            .await
            .unwrap()
            .status,
        403
    );
    pair.east.decides("export", "default_deny", 1.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_34_what_is_said_of_the_peer_counts_for_nothing() {
    let pair = opted_in(Service::echo().await, |plan| {
        let north = [("peer.clusterlink.net/name", "north")];
        plan.policy("north", Action::Allow, &north, &[])
    })
    .await;
    let claim = ("peer.clusterlink.net/name", "north");
    let attributes: Vec<_> = CLIENT.into_iter().chain([claim]).collect();
    let mut control = west(&pair, GO).await;
    let answer = control.authorize("ledger", &attributes).await.unwrap();
    assert_eq!(answer.status, 403);
    let north = pair.authority.leaf(pair.folder.path(), &["north"]);
    let plan = pair.east_plan().peer("north", &[]).revision("second");
    let plan = plan.speaks_clusterlink("north").allow_all();
    pair.east.apply(&plan).await;
    let mut real = Caller::connect(pair.east.address(), &north, GO)
        .await
        .unwrap();
    assert_eq!(real.authorize("ledger", &[]).await.unwrap().status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_an_opt_in_there_is_no_dialect_and_no_tls_1_2() {
    // Nobody has opted in: version 1.2 isn't even agreed.
    let pair = Pair::open(Service::echo().await).await;
    let east = pair.east.address();
    assert!(Caller::connect(east, &pair.west_leaf, ENVOY).await.is_err());
    pair.east.handshakes("accept", "tls_version").await;
    let mut caller = west(&pair, GO).await;
    let answer = caller.authorize("ledger", &CLIENT).await.unwrap();
    assert_eq!(answer.status, 404);
    let mut caller = west(&pair, GO).await;
    assert_ne!(caller.tunnel("x").await.unwrap().status, 200);
    // Another peer has.
    let plan = pair.east_plan().peer("north", &[]).revision("second");
    let plan = plan.speaks_clusterlink("north").allow_all();
    pair.east.apply(&plan).await;
    let refused = async {
        let mut caller = Caller::connect(east, &pair.west_leaf, ENVOY).await?;
        caller.health().await
    };
    assert!(refused.await.is_err());
    let series = "weft_handshakes_total{role=\"accept\",result=\"tls_version\"}";
    pair.east.counts(series, 2.0).await;
    let mut caller = west(&pair, GO).await;
    let answer = caller.authorize("ledger", &CLIENT).await.unwrap();
    assert_eq!(answer.status, 404);
    // Nor does anybody speak weft/1 by it.
    let north = pair.authority.leaf(pair.folder.path(), &["north"]);
    let weft = Terms {
        alpn: Some(b"weft/1"),
        ..ENVOY
    };
    let refused = async {
        let mut caller = Caller::connect(east, &north, weft).await?;
        caller.read(1).await
    };
    assert!(refused.await.is_err());
    pair.east.counts(series, 3.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_snapshot_cuts_what_lives() {
    let pair = opted_in(Service::echo().await, Planner::allow_all).await;
    let lives = async |data: &mut Caller| {
        data.send("ping").await.unwrap();
        assert_eq!(data.read(4).await.unwrap(), "ping");
    };
    let plan = |revision| {
        pair.east_plan()
            .revision(revision)
            .speaks_clusterlink("west")
    };
    // No longer allowed.
    let mut data = tunnel(&pair).await;
    lives(&mut data).await;
    pair.east.apply(&plan("denied")).await;
    assert!(data.until_end().await.is_err());
    // No longer opted in; also what only waits for its next request.
    pair.east.apply(&plan("again").allow_all()).await;
    let mut data = tunnel(&pair).await;
    lives(&mut data).await;
    let mut control = west(&pair, GO).await;
    assert_eq!(control.health().await.unwrap().status, 200);
    pair.east
        .apply(&pair.east_plan().revision("out").allow_all())
        .await;
    assert!(data.until_end().await.is_err());
    assert!(control.until_end().await.unwrap_or_default().is_empty());
    let series = "weft_gateway_connections_ended_total{reason=\"not_opted_in\"}";
    pair.east.counts(series, 2.0).await;
    // Revoked.
    pair.east.apply(&plan("back").allow_all()).await;
    let mut data = tunnel(&pair).await;
    lives(&mut data).await;
    let revoked = plan("revoked").allow_all();
    pair.east
        .apply(&revoked.revoked(&pair.west_leaf.certificate))
        .await;
    assert!(data.until_end().await.is_err());
    let series = "weft_gateway_connections_ended_total{reason=\"revoked\"}";
    pair.east.counts(series, 1.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_waits_for_tunnels_and_takes_no_new_ones() {
    let pair = opted_in(Service::echo().await, Planner::allow_all).await;
    let mut data = tunnel(&pair).await;
    let mut control = west(&pair, GO).await;
    assert_eq!(control.health().await.unwrap().status, 200);
    let drain = tokio::spawn(pair.east.running.drain(crate::common::PATIENCE));
    assert!(control.until_end().await.unwrap_or_default().is_empty());
    data.send("still").await.unwrap();
    assert_eq!(data.read(5).await.unwrap(), "still");
    data.end().await;
    assert_eq!(data.until_end().await.unwrap(), "");
    crate::common::soon("the drain", drain).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_that_is_not_reached_is_said_before_the_tunnel() {
    let service = Service::echo().await;
    let gone = service.address;
    drop(service);
    let pair = opted_in(Service::echo().await, |plan| {
        plan.export("gone", gone).allow_all()
    })
    .await;
    let mut data = west(&pair, ENVOY).await;
    let token = data.authorize("gone", &CLIENT).await.unwrap().token();
    assert_eq!(data.tunnel(&token).await.unwrap().status, 503);
    pair.east.decides("export", "export_unreachable", 1.0).await;
}
