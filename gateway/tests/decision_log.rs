//! The decision log says who, what, by which rule of which file and commit, and how it ended.
//!
//! By itself, since it listens to the log of the whole process.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use common::authority::Authority;
use common::logs::Logs;
use common::peer::{Peer, free_port, loopback};
use common::plan::Planner;
use common::service::{Service, talk};
use common::until;
use fabric::api::Action;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decision_names_its_rule_and_a_connection_its_end() {
    let logs = Logs::collect();
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("acme");
    let start = |name: &'static str| {
        let leaf = authority.leaf(folder.path(), &[name]);
        Peer::start(vec![leaf.files])
    };
    let (west, east) = (start("west").await, start("east").await);
    let (service, port) = (Service::echo().await, free_port());
    let tills = [("client.clusterlink.net/labels.app", "till")];
    let east_plan = Planner::new("east", authority.certificate())
        .revision("abc123")
        .peer("west", &[])
        .export("ledger", service.address)
        .policy("tills", Action::Allow, &tills, &[]);
    east.apply(&east_plan).await;
    let west_plan = Planner::new("west", authority.certificate())
        .revision("def456")
        .peer("east", &[east.address()])
        .import("ledger", port, &[("east", "ledger")]);
    west.apply(&west_plan.clone().allow_all()).await;
    assert_eq!(talk(loopback(port), "hello").await.unwrap(), "hello");

    let wait = async |with: &[&str]| {
        until(&format!("a line with {with:?}"), || async {
            logs.lines(with).pop()
        })
        .await
    };
    let decided = wait(&["side=import", "connection decided"]).await;
    for text in [
        "action=allow ",
        "reason=allowed ",
        "client.address=127.0.0.1:",
        "client.namespace=shop ",
        "client.service_account=till ",
        "import=shop/ledger ",
        "peer=east ",
        "export=shop/ledger ",
        "rule=AccessPolicy shop/allow-all ",
        "origin=peers/x/allow-all.yaml:7 ",
        "commit=def456 ",
        "revision=def456 ",
    ] {
        assert!(decided.contains(text), "no {text:?} in {decided}");
    }
    let (_, request) = decided.split_once("request=").unwrap();
    let (request, _) = request.split_once(' ').unwrap();
    // The same connection by the same name on the other side.
    let request = format!("request={request}");
    let decided = wait(&["side=export", "connection decided", &request]).await;
    for text in [
        "action=allow ",
        "peer=west ",
        "client.service_account=till ",
        "rule=AccessPolicy shop/tills ",
        "commit=abc123 ",
    ] {
        assert!(decided.contains(text), "no {text:?} in {decided}");
    }
    for side in ["side=import", "side=export"] {
        let ended = wait(&[side, "connection ended", &request]).await;
        for text in ["end=complete ", "bytes.to_peer=5 ", "bytes.from_peer=5 "] {
            assert!(ended.contains(text), "no {text:?} in {ended}");
        }
    }

    let denied = west_plan.revision("789").allow_all();
    let denied = denied.policy("no-tills", Action::Deny, &tills, &[]);
    west.apply(&denied).await;
    assert!(talk(loopback(port), "hello").await.is_err());
    let decided = wait(&["side=import", "reason=denied"]).await;
    for text in [
        "action=deny ",
        "rule=AccessPolicy shop/no-tills ",
        "origin=peers/x/no-tills.yaml:7 ",
        "revision=789 ",
        "detail=shop/ledger of east: denied ",
    ] {
        assert!(decided.contains(text), "no {text:?} in {decided}");
    }
    assert_eq!(logs.lines(&["side=export", "decided"]).len(), 1);
}
