//! Requests that come too late, or with too much.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;

use super::caller::{ENVOY, GO};
use super::exports::{CLIENT, opted_in, west};
use crate::common::plan::Planner;
use crate::common::service::Service;
use crate::common::until;

/// Until when a token counts, as it says itself.
fn end(token: &str) -> Timestamp {
    let (payload, _) = token.split_once('.').unwrap();
    let payload = URL_SAFE_NO_PAD.decode(payload).unwrap();
    let payload: serde_json::Value = serde_json::from_slice(&payload).unwrap();
    Timestamp::from_millisecond(payload["x"].as_i64().unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_35_a_grant_that_was_not_used_in_time_opens_nothing() {
    let pair = opted_in(Service::echo().await, Planner::allow_all).await;
    let mut control = west(&pair, GO).await;
    let token = control.authorize("ledger", &CLIENT).await.unwrap().token();
    let end = end(&token);
    until("the grant's end", || async {
        (Timestamp::now() > end).then_some(())
    })
    .await;
    let late = west(&pair, ENVOY).await.tunnel(&token).await.unwrap();
    assert_eq!(late.status, 403, "{late:?}");
    pair.east.decides("export", "denied", 1.0).await;
    assert_eq!(pair.service.served(), 0);
    // The same, in time.
    let token = control.authorize("ledger", &CLIENT).await.unwrap().token();
    let mut data = west(&pair, ENVOY).await;
    assert_eq!(data.tunnel(&token).await.unwrap().status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_84_the_header_of_a_request_in_the_dialect_has_a_limit() {
    let pair = opted_in(Service::echo().await, Planner::allow_all).await;
    let status = async |bytes: usize| {
        let head = "GET /healthz HTTP/1.1\r\nhost: east\r\nx: ";
        let rest = "x".repeat(bytes - head.len() - 4);
        let mut caller = west(&pair, GO).await;
        let answer = caller.ask(&format!("{head}{rest}\r\n\r\n")).await;
        answer.map(|answer| answer.status)
    };
    let hit = "weft_limits_hit_total{limit=\"header_bytes\"}";
    let mut hits = 0.0;
    // What the fabric says, and no more than the gateway bears itself.
    for (most, fits, too_long) in [(3_000, 3_000, 3_001), (0, 60_000, 66_000)] {
        let plan = pair.east_plan().revision(&format!("{most} bytes"));
        let plan = plan.state(|state| state.limits.header_bytes = most);
        let plan = plan.speaks_clusterlink("west").allow_all();
        pair.east.apply(&plan).await;
        assert_eq!(status(fits).await.unwrap(), 200, "{fits}");
        assert_eq!(pair.east.metric(hit).await.unwrap_or_default(), hits);
        let refused = status(too_long).await;
        // What wasn't read of it may turn the answer into a reset.
        let is_refused = matches!(refused, Ok(431) | Err(_));
        assert!(is_refused, "{too_long}: {refused:?}");
        hits += 1.0;
        pair.east.counts(hit, hits).await;
    }
}
