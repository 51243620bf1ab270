//! A changed snapshot: what it no longer allows is cut, and nothing else.

use std::net::SocketAddr;

use fabric::api::Action;

use crate::common::peer::{free_port, loopback};
use crate::common::plan::Planner;
use crate::common::service::{Service, breaks, echoes, echoing, talk};
use crate::world::Pair;

/// Two exports and two imports, so that one can be taken and the other must stay.
struct Two {
    pair: Pair,
    stock: Service,
    stock_import: SocketAddr,
}

impl Two {
    async fn open() -> Self {
        let two = Self {
            pair: Pair::started(Service::echo().await).await,
            stock: Service::echo().await,
            stock_import: loopback(free_port()),
        };
        two.pair.east.apply(&two.east("first").allow_all()).await;
        two.pair.west.apply(&two.west("first").allow_all()).await;
        two
    }

    fn east(&self, revision: &str) -> Planner {
        let plan = self.pair.east_plan().revision(revision);
        plan.export("stock", self.stock.address)
    }

    fn west(&self, revision: &str) -> Planner {
        let plan = self.pair.west_plan().revision(revision);
        plan.import("stock", self.stock_import.port(), &[("east", "stock")])
    }
}

fn without_ledger(plan: Planner) -> Planner {
    let ledger = [("export.clusterlink.net/name", "ledger")];
    plan.allow_all()
        .policy("no-ledger", Action::Deny, &[], &ledger)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_deny_at_the_destination_cuts_just_what_it_denies() {
    let two = Two::open().await;
    let mut ledger = echoing(two.pair.import).await;
    let mut stock = echoing(two.stock_import).await;
    two.pair
        .east
        .apply(&without_ledger(two.east("second")))
        .await;
    breaks(&mut ledger).await;
    assert!(echoes(&mut stock).await);
    assert!(talk(two.pair.import, "hello").await.is_err());
    let ended = |side: &str, reason: &str| {
        format!("weft_connections_ended_total{{side=\"{side}\",reason=\"{reason}\"}}")
    };
    let (west, east) = (&two.pair.west, &two.pair.east);
    east.counts(&ended("export", "no_longer_allowed"), 1.0)
        .await;
    west.counts(&ended("import", "peer_no_longer_allowed"), 1.0)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_deny_at_the_source_cuts_just_what_it_denies() {
    let two = Two::open().await;
    let mut ledger = echoing(two.pair.import).await;
    let mut stock = echoing(two.stock_import).await;
    two.pair
        .west
        .apply(&without_ledger(two.west("second")))
        .await;
    breaks(&mut ledger).await;
    assert!(echoes(&mut stock).await);
    // And back.
    two.pair.west.apply(&two.west("third").allow_all()).await;
    assert_eq!(talk(two.pair.import, "hello").await.unwrap(), "hello");
    assert!(echoes(&mut stock).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_still_allowed_by_another_rule_stays() {
    let two = Two::open().await;
    let mut ledger = echoing(two.pair.import).await;
    let till = [("client.clusterlink.net/labels.app", "till")];
    let other_rule = |plan: Planner| plan.policy("tills", Action::Allow, &till, &[]);
    two.pair.east.apply(&other_rule(two.east("second"))).await;
    two.pair.west.apply(&other_rule(two.west("second"))).await;
    assert!(echoes(&mut ledger).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_is_another_by_now_is_judged_anew() {
    let two = Two::open().await;
    let mut ledger = echoing(two.pair.import).await;
    let till = [("client.clusterlink.net/labels.app", "till")];
    let plan = two
        .west("second")
        .policy("tills", Action::Allow, &till, &[]);
    two.pair.west.apply(&plan).await;
    assert!(echoes(&mut ledger).await);
    let plan = plan
        .revision("third")
        .state(|state| state.workloads.clear());
    two.pair.west.apply(&plan).await;
    breaks(&mut ledger).await;
    assert!(talk(two.pair.import, "hello").await.is_err());
    two.pair.west.decides("import", "unknown_client", 1.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_with_other_labels_than_the_destination_was_told_is_cut() {
    let two = Two::open().await;
    let till = [("client.clusterlink.net/labels.app", "till")];
    let tills = two
        .east("second")
        .policy("tills", Action::Allow, &till, &[]);
    two.pair.east.apply(&tills).await;
    let mut ledger = echoing(two.pair.import).await;
    // West allows everything; it is east that looked at the label.
    let plan = two.west("second").allow_all().state(|state| {
        for workload in &mut state.workloads {
            workload.labels.insert("app".to_owned(), "kiosk".to_owned());
        }
    });
    two.pair.west.apply(&plan).await;
    breaks(&mut ledger).await;
    assert!(talk(two.pair.import, "hello").await.is_err());
    two.pair.east.decides("export", "default_deny", 1.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_peer_loses_its_connections() {
    let two = Two::open().await;
    let mut ledger = echoing(two.pair.import).await;
    let plan = Planner::new("east", two.pair.authority.certificate()).revision("second");
    let plan = plan.export("ledger", two.pair.service.address).allow_all();
    two.pair.east.apply(&plan).await;
    breaks(&mut ledger).await;
    two.pair.east.handshakes("accept", "unknown_peer").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_that_aims_elsewhere_leaves_nobody_at_the_old_place() {
    let two = Two::open().await;
    let (mut ledger, mut stock) = (
        echoing(two.pair.import).await,
        echoing(two.stock_import).await,
    );
    let moved = Service::named("the new place").await;
    let plan = Planner::new("east", two.pair.authority.certificate())
        .revision("second")
        .peer("west", &[two.pair.west.address()])
        .export("ledger", moved.address)
        .export("stock", two.stock.address)
        .allow_all();
    two.pair.east.apply(&plan).await;
    breaks(&mut ledger).await;
    assert!(echoes(&mut stock).await);
    let answer = talk(two.pair.import, "").await.unwrap();
    assert_eq!(answer, "the new place");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_snapshot_nothing_is_let_through() {
    let two = Two::open().await;
    let mut ledger = echoing(two.pair.import).await;
    two.pair.east.take_away().await;
    breaks(&mut ledger).await;
    two.pair.east.handshakes("accept", "no_snapshot").await;
    assert_eq!(two.pair.east.admin("/readyz").await.0, 503);
    assert!(talk(two.pair.import, "hello").await.is_err());
    two.pair.east.apply(&two.east("back").allow_all()).await;
    two.pair.west.sees("east", true).await;
    assert_eq!(talk(two.pair.import, "hello").await.unwrap(), "hello");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listeners_come_and_go_and_swap_their_ports() {
    let two = Two::open().await;
    let (ledger, stock) = (two.pair.import.port(), two.stock_import.port());
    let named = Service::named("stock").await;
    let swapped = |revision: &str, ledger: u16, stock: u16| {
        Planner::new("west", two.pair.authority.certificate())
            .revision(revision)
            .peer("east", &[two.pair.east.address()])
            .import("ledger", ledger, &[("east", "ledger")])
            .import("stock", stock, &[("east", "stock")])
            .allow_all()
    };
    let plan = two.pair.east_plan().revision("second");
    let plan = plan.export("stock", named.address).allow_all();
    two.pair.east.apply(&plan).await;
    two.pair.west.apply(&swapped("second", stock, ledger)).await;
    assert_eq!(talk(two.pair.import, "hello").await.unwrap(), "stock");
    assert_eq!(talk(two.stock_import, "hello").await.unwrap(), "hello");
    // Without imports nobody listens.
    let plan = Planner::new("west", two.pair.authority.certificate()).revision("third");
    two.pair.west.apply(&plan).await;
    let refused = talk(two.pair.import, "hello").await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_that_somebody_has_is_taken_once_it_is_free() {
    let two = Two::open().await;
    let thief = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = thief.local_addr().unwrap().port();
    let plan = two.west("second").allow_all();
    let plan = plan.import("third", port, &[("east", "ledger")]);
    two.pair.west.apply(&plan).await;
    let (status, body) = two.pair.west.admin("/readyz").await;
    assert_eq!(status, 503);
    assert!(
        body.contains("import shop/third can't listen at 127.0.0.1:"),
        "{body}"
    );
    // The others go on.
    assert_eq!(talk(two.pair.import, "hello").await.unwrap(), "hello");
    drop(thief);
    crate::common::until("the freed port", || async {
        (two.pair.west.admin("/readyz").await.0 == 200).then_some(())
    })
    .await;
    assert_eq!(talk(loopback(port), "hello").await.unwrap(), "hello");
}
