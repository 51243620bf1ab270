//! Access that ends by the clock: nobody touches anything, and what it let through is cut.

use std::time::Duration;

use fabric::api::Action;
use jiff::{SignedDuration, Timestamp};

use crate::common::peer::{free_port, loopback};
use crate::common::plan::Planner;
use crate::common::service::{Service, breaks, echoes, echoing, talk};
use crate::common::until;
use crate::world::Pair;

const TO: &str = "export.clusterlink.net/name";

/// A moment that is mostly still to come when what names it is in force. Where it isn't, on a slow
/// machine, the end comes with the snapshot instead of after it.
fn soon() -> Timestamp {
    Timestamp::now() + SignedDuration::from_secs(2)
}

/// Two peers with a second import, `stock`, and what west's plan is but for the policies.
async fn two_imports() -> (Pair, Planner, std::net::SocketAddr, Service) {
    let pair = Pair::started(Service::echo().await).await;
    let (stock, service) = (loopback(free_port()), Service::echo().await);
    let east = pair.east_plan().export("stock", service.address);
    pair.east.apply(&east.allow_all()).await;
    let west = pair.west_plan();
    let west = west.import("stock", stock.port(), &[("east", "stock")]);
    (pair, west, stock, service)
}

fn ending(plan: &Planner, end: Timestamp) -> Planner {
    let plan = plan.clone().revision("ending");
    plan.annotated("weft.dev/expires", &end.to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_80_an_allow_that_expires_cuts_just_what_it_allowed() {
    let (pair, west, stock, _service) = two_imports().await;
    let west = west
        .policy("stock", Action::Allow, &[], &[(TO, "stock")])
        .policy("ledger", Action::Allow, &[], &[(TO, "ledger")]);
    pair.west.apply(&west).await;
    let (mut ledger, mut other) = (echoing(pair.import).await, echoing(stock).await);
    let end = soon();
    pair.west.apply(&ending(&west, end)).await;
    breaks(&mut ledger).await;
    let late = Timestamp::now().duration_since(end);
    println!("cut {late:#} after the policy's end");
    assert!(late >= SignedDuration::ZERO, "cut {late:#} too early");
    assert!(talk(pair.import, "hello").await.is_err());
    pair.west.decides("import", "default_deny", 1.0).await;
    assert!(echoes(&mut other).await);
    assert_eq!(talk(stock, "hello").await.unwrap(), "hello");
    pair.west.counts("weft_policies_over", 1.0).await;
    pair.west.counts("weft_connections_cut_total", 1.0).await;
    // No other snapshot came for that.
    assert_eq!(pair.west.metric("weft_snapshots_total").await, Some(2.0));
    // And whoever wonders why finds it.
    let (_, page) = pair.west.admin("/snapshot").await;
    let page: serde_json::Value = serde_json::from_str(&page).unwrap();
    let ended = serde_json::json!([{
        "policy": "AccessPolicy shop/ledger",
        "origin": "peers/x/ledger.yaml:7 (first)",
        "expires": end.to_string(),
    }]);
    assert_eq!(page["endedPolicies"], ended);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_allow_that_expires_where_the_service_is_cuts_too() {
    let pair = Pair::started(Service::echo().await).await;
    let east = pair.east_plan().allow_all();
    pair.east.apply(&east).await;
    pair.west.apply(&pair.west_plan().allow_all()).await;
    let mut ledger = echoing(pair.import).await;
    pair.east.apply(&ending(&east, soon())).await;
    breaks(&mut ledger).await;
    assert!(talk(pair.import, "hello").await.is_err());
    pair.east.decides("export", "default_deny", 1.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_allows_the_one_that_stays_is_enough() {
    let pair = Pair::started(Service::echo().await).await;
    pair.east.apply(&pair.east_plan().allow_all()).await;
    let both = pair
        .west_plan()
        .allow_all()
        .policy("visitors", Action::Allow, &[], &[]);
    pair.west.apply(&ending(&both, soon())).await;
    let mut ledger = echoing(pair.import).await;
    pair.west.counts("weft_policies_over", 1.0).await;
    assert!(echoes(&mut ledger).await);
    assert_eq!(talk(pair.import, "hello").await.unwrap(), "hello");
    assert_eq!(
        pair.west.metric("weft_connections_cut_total").await,
        Some(0.0)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deny_that_expires_opens_what_it_closed_and_cuts_nothing() {
    let (pair, west, stock, _service) = two_imports().await;
    let west = west
        .allow_all()
        .policy("freeze", Action::Deny, &[], &[(TO, "ledger")]);
    let end = soon();
    pair.west.apply(&ending(&west, end)).await;
    let mut other = echoing(stock).await;
    // Before and after, whichever of them it is by now on a slow machine.
    let before = talk(pair.import, "hello").await;
    assert!(before.is_err() || Timestamp::now() >= end);
    until("the end of the deny", || async {
        talk(pair.import, "hello").await.ok()
    })
    .await;
    assert!(Timestamp::now() >= end);
    assert!(echoes(&mut other).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_expired_before_it_comes_never_counts() {
    let pair = Pair::started(Service::echo().await).await;
    pair.east.apply(&pair.east_plan().allow_all()).await;
    let past = Timestamp::now() - SignedDuration::from_secs(3600);
    let west = pair.west_plan().allow_all();
    pair.west
        .apply(
            &west
                .clone()
                .annotated("weft.dev/expires", &past.to_string()),
        )
        .await;
    assert!(talk(pair.import, "hello").await.is_err());
    // Nor does one that can't be understood, which no check of a repository lets pass.
    let odd = west.clone().revision("second");
    pair.west
        .apply(&odd.annotated("weft.dev/expires", "tomorrow"))
        .await;
    assert!(talk(pair.import, "hello").await.is_err());
    let future = Timestamp::now() + SignedDuration::from_hours(1);
    let later = west.revision("third");
    pair.west
        .apply(&later.annotated("weft.dev/expires", &future.to_string()))
        .await;
    let mut ledger = echoing(pair.import).await;
    // It stays: the clock is looked at meanwhile.
    tokio::time::sleep(Duration::from_millis(1200)).await;
    assert!(echoes(&mut ledger).await);
}
