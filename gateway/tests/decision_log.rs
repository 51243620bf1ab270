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

    // Row 68: the hops of a relayed connection, and the same request in every log.
    let middle = start("middle").await;
    let middle_plan = Planner::new("middle", authority.certificate())
        .revision("relayed")
        .peer("west", &[])
        .peer("east", &[east.address()])
        .import("books", free_port(), &[("east", "books")])
        .relay("books");
    middle.apply(&middle_plan.allow_all()).await;
    let east_plan = east_plan
        .revision("bookkeeping")
        .peer("middle", &[])
        .export("books", service.address);
    east.apply(&east_plan).await;
    let west_plan = Planner::new("west", authority.certificate())
        .revision("through-the-middle")
        .peer("middle", &[middle.address()])
        .import("books", port, &[("middle", "books")]);
    west.apply(&west_plan.allow_all()).await;
    assert_eq!(talk(loopback(port), "hello").await.unwrap(), "hello");
    let at_west = ["side=import", "import=shop/books", "peer=middle", "decided"];
    let at_west = wait(&at_west).await;
    assert!(!at_west.contains("via="), "{at_west}");
    let (_, request) = at_west.split_once("request=").unwrap();
    let request = format!("request={}", request.split_once(' ').unwrap().0);
    for (line, texts) in [
        (
            ["side=export", "peer=west", "decided"],
            &[
                "import=shop/books ",
                "detail=relayed to shop/books of east ",
                "revision=relayed ",
            ][..],
        ),
        (
            ["side=import", "peer=east", "decided"],
            &["via=middle ", "client.service_account=till "],
        ),
        (
            ["side=export", "peer=middle", "decided"],
            &["via=middle ", "rule=AccessPolicy shop/tills "],
        ),
    ] {
        let decided = wait(&[&line[..], &[&request]].concat()).await;
        assert!(decided.contains("action=allow "), "{decided}");
        for text in texts {
            assert!(decided.contains(text), "no {text:?} in {decided}");
        }
    }
    until("its end at all three", || async {
        let ended = logs.lines(&["connection ended", "end=complete", &request]);
        (ended.len() == 3).then_some(())
    })
    .await;
}
