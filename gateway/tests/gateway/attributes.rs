//! What policies see of clients, peers and exports, and what they decide by it.

use fabric::api::{Action, Workload};

use crate::common::peer::{Peer, free_port, loopback};
use crate::common::plan::Planner;
use crate::common::service::{Service, talk};
use crate::world::Pair;

/// A pair where both peers and the export have labels.
struct Labelled {
    pair: Pair,
    number: usize,
}

/// Which peer's policies a step is about.
#[derive(Clone, Copy, Debug, PartialEq)]
enum At {
    West,
    East,
}

impl Labelled {
    async fn start() -> Self {
        Self {
            pair: Pair::started(Service::echo().await).await,
            number: 0,
        }
    }

    fn west(&self) -> Planner {
        let known = |state: &mut fabric::plan::State| {
            state.labels = [("site".to_owned(), "shops".to_owned())].into();
            let export = [("env".to_owned(), "test".to_owned())].into();
            let export = [("shop/ledger".parse().unwrap(), export)].into();
            state.export_labels = [("east".parse().unwrap(), export)].into();
        };
        Planner::new("west", self.pair.authority.certificate())
            .state(known)
            .peer("east", &[self.pair.east.address()])
            .labelled(&[("site", "bank")])
            .import("ledger", self.pair.import.port(), &[("east", "ledger")])
            // Not the export's; those of the export count on both sides.
            .labelled(&[("env", "of-the-import")])
    }

    fn east(&self) -> Planner {
        let own = [("site".to_owned(), "bank".to_owned())];
        Planner::new("east", self.pair.authority.certificate())
            .state(|state| state.labels = own.into())
            .peer("west", &[])
            .labelled(&[("site", "shops")])
            .export("ledger", self.pair.service.address)
            .labelled(&[("env", "test")])
    }

    /// Puts policies in force at one peer, with everything allowed at the other, and connects.
    async fn passes(&mut self, at: At, add: impl Fn(Planner) -> Planner) -> bool {
        self.number += 1;
        let revision = format!("step-{}", self.number);
        let (west, east) = (self.west(), self.east());
        let (west, east) = match at {
            At::West => (add(west), east.allow_all()),
            At::East => (west.allow_all(), add(east)),
        };
        self.pair.east.apply(&east.revision(&revision)).await;
        self.pair.west.apply(&west.revision(&revision)).await;
        talk(self.pair.import, "x").await.is_ok()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_73_row_74_row_75_every_attribute_decides_on_both_sides() {
    let mut labelled = Labelled::start().await;
    let from = [
        ("client.clusterlink.net/namespace", "shop"),
        ("client.clusterlink.net/service-account", "till"),
        ("client.clusterlink.net/labels.app", "till"),
        ("peer.clusterlink.net/name", "west"),
        ("peer.clusterlink.net/labels.site", "shops"),
    ];
    let to = [
        ("export.clusterlink.net/name", "ledger"),
        ("export.clusterlink.net/namespace", "shop"),
        ("export.clusterlink.net/labels.env", "test"),
        ("peer.clusterlink.net/name", "east"),
        ("peer.clusterlink.net/labels.site", "bank"),
    ];
    for at in [At::West, At::East] {
        // All of them at once are needed and enough.
        let all = |plan: Planner| plan.policy("all", Action::Allow, &from, &to);
        assert!(labelled.passes(at, all).await, "{at:?}");
        // Each by itself decides: the one right value is denied, any other isn't.
        for (is_from, (key, value)) in from
            .map(|attribute| (true, attribute))
            .into_iter()
            .chain(to.map(|attribute| (false, attribute)))
        {
            for (value, passes) in [(value, false), ("another", true)] {
                let selected = [(key, value)];
                let deny = |plan: Planner| {
                    let (from, to): (&[_], &[_]) = match is_from {
                        true => (&selected, &[]),
                        false => (&[], &selected),
                    };
                    plan.allow_all().policy("deny", Action::Deny, from, to)
                };
                let passed = labelled.passes(at, deny).await;
                assert_eq!(passed, passes, "{at:?} {key}={value}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_40_an_exporter_says_which_peers_an_export_is_for() {
    let pair = Pair::started(Service::echo().await).await;
    let north = pair.authority.leaf(pair.folder.path(), &["north"]);
    let north = Peer::start(vec![north.files]).await;
    let import = loopback(free_port());
    let north_plan = Planner::new("north", pair.authority.certificate())
        .peer("east", &[pair.east.address()])
        .import("ledger", import.port(), &[("east", "ledger")])
        .import("books", free_port(), &[("east", "books")]);
    north.apply(&north_plan.allow_all()).await;
    let books = loopback(free_port());
    let west_plan = pair.west_plan();
    let west_plan = west_plan.import("books", books.port(), &[("east", "books")]);
    pair.west.apply(&west_plan.allow_all()).await;
    let for_peer = |plan: Planner, peer: &str, export: &str| {
        let (from, to) = (
            [("peer.clusterlink.net/name", peer)],
            [("export.clusterlink.net/name", export)],
        );
        plan.policy(&format!("{peer}-{export}"), Action::Allow, &from, &to)
    };
    let plan = pair.east_plan().peer("north", &[]);
    let plan = plan.export("books", pair.service.address);
    let plan = for_peer(plan, "west", "ledger");
    let plan = for_peer(plan, "west", "books");
    pair.east.apply(&for_peer(plan, "north", "books")).await;
    assert_eq!(talk(pair.import, "x").await.unwrap(), "x");
    assert_eq!(talk(books, "x").await.unwrap(), "x");
    assert!(talk(import, "x").await.is_err(), "north may not have it");
    north.decides("import", "peer_denied", 1.0).await;
    pair.east.decides("export", "denied", 1.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_70_each_tier_is_above_the_next_one() {
    let mut labelled = Labelled::start().await;
    for at in [At::West, At::East] {
        let tiers = |plan: Planner, from: usize| {
            let tiers: [fn(Planner) -> Planner; 4] = [
                |plan| plan.privileged("a", Action::Deny, &[], &[]),
                |plan| plan.privileged("b", Action::Allow, &[], &[]),
                |plan| plan.policy("c", Action::Deny, &[], &[]),
                |plan| plan.policy("d", Action::Allow, &[], &[]),
            ];
            tiers.iter().skip(from).fold(plan, |plan, add| add(plan))
        };
        for (from, passes) in [false, true, false, true, false].into_iter().enumerate() {
            let passed = labelled.passes(at, |plan| tiers(plan, from)).await;
            assert_eq!(passed, passes, "{at:?} without the first {from}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_71_a_regular_policy_acts_in_its_namespace_alone() {
    let mut labelled = Labelled::start().await;
    for at in [At::West, At::East] {
        for (namespace, passes) in [("shop", true), ("bank", false)] {
            let passed = labelled.passes(at, |plan| {
                let mut plan = plan.allow_all();
                let policy = plan.plan.objects.last_mut().unwrap();
                policy.key.namespace = Some(namespace.into());
                plan
            });
            assert_eq!(passed.await, passes, "{at:?} {namespace}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_78_the_labels_of_the_export_count_on_both_sides() {
    let mut labelled = Labelled::start().await;
    let env = |value: &'static str| {
        move |plan: Planner| {
            let to = [("export.clusterlink.net/labels.env", value)];
            plan.policy("env", Action::Allow, &[], &to)
        }
    };
    for at in [At::West, At::East] {
        assert!(labelled.passes(at, env("test")).await);
        assert!(!labelled.passes(at, env("of-the-import")).await);
    }
}

/// West's import, for clients that nobody knows.
async fn unknown() -> (Pair, u16) {
    let pair = Pair::started(Service::echo().await).await;
    let port = free_port();
    let east = pair.east_plan().allow_all();
    pair.east.apply(&east).await;
    (pair, port)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_76_an_unknown_client_is_denied_where_a_policy_asks_who_it_is() {
    let (pair, port) = unknown().await;
    let plan = |revision: &str| {
        Planner::new("west", pair.authority.certificate())
            .revision(revision)
            .state(|state| state.workloads.clear())
            .peer("east", &[pair.east.address()])
            .import("ledger", port, &[("east", "ledger")])
    };
    let tills = [("client.clusterlink.net/labels.app", "till")];
    pair.west.apply(&plan("a").allow_all()).await;
    assert_eq!(talk(loopback(port), "x").await.unwrap(), "x");
    // It might be one of those who are denied.
    let denied = plan("b").allow_all();
    pair.west
        .apply(&denied.policy("tills", Action::Deny, &tills, &[]))
        .await;
    assert!(talk(loopback(port), "x").await.is_err());
    pair.west.decides("import", "unknown_client", 1.0).await;
    // The other side is told that it is unknown, and has a policy that asks.
    pair.west.apply(&plan("c").allow_all()).await;
    let east = pair.east_plan().revision("asks").allow_all();
    pair.east
        .apply(&east.policy("tills", Action::Deny, &tills, &[]))
        .await;
    assert!(talk(loopback(port), "x").await.is_err());
    pair.east.decides("export", "unknown_client", 1.0).await;
    pair.west.decides("import", "peer_denied", 1.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_77_only_a_policy_that_could_decide_asks_who_the_client_is() {
    let (pair, port) = unknown().await;
    let tills = [("client.clusterlink.net/labels.app", "till")];
    let plan = Planner::new("west", pair.authority.certificate())
        .state(|state| state.workloads.clear())
        .peer("east", &[pair.east.address()])
        .import("ledger", port, &[("east", "ledger")])
        .allow_all()
        // Of another service, of another peer, and an allow below what decides already.
        .policy(
            "another-service",
            Action::Deny,
            &tills,
            &[("export.clusterlink.net/name", "books")],
        )
        .policy(
            "another-peer",
            Action::Deny,
            &tills,
            &[("peer.clusterlink.net/name", "north")],
        )
        .policy("tills", Action::Allow, &tills, &[]);
    // Of another namespace.
    let mut plan = plan.policy("another-namespace", Action::Deny, &tills, &[]);
    plan.plan.objects.last_mut().unwrap().key.namespace = Some("bank".into());
    pair.west.apply(&plan).await;
    assert_eq!(talk(loopback(port), "x").await.unwrap(), "x");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_79_clients_without_a_pod_are_who_their_address_says() {
    let pair = Pair::started(Service::echo().await).await;
    let tills = [("client.clusterlink.net/service-account", "narrow")];
    pair.east
        .apply(&pair.east_plan().policy("tills", Action::Allow, &tills, &[]))
        .await;
    let workload = |range: &str, account: &str| Workload {
        addresses: vec![range.parse().unwrap()],
        namespace: "shop".to_owned(),
        service_account: account.to_owned(),
        labels: std::collections::BTreeMap::new(),
    };
    let plan = |revision: &str, workloads: Vec<Workload>| {
        pair.west_plan()
            .revision(revision)
            .state(|state| state.workloads = workloads)
            .allow_all()
    };
    // The narrowest range that holds the address.
    let both = vec![
        workload("127.0.0.0/8", "wide"),
        workload("127.0.0.1/32", "narrow"),
    ];
    pair.west.apply(&plan("a", both)).await;
    assert_eq!(talk(pair.import, "x").await.unwrap(), "x");
    pair.west
        .apply(&plan("b", vec![workload("127.0.0.0/8", "wide")]))
        .await;
    assert!(talk(pair.import, "x").await.is_err());
    // Outside of all ranges it is nobody.
    pair.west
        .apply(&plan("c", vec![workload("10.0.0.0/8", "narrow")]))
        .await;
    assert!(talk(pair.import, "x").await.is_err());
    pair.east.decides("export", "unknown_client", 1.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_58_labels_of_a_peer_are_those_of_the_repository() {
    let labelled = Labelled::start().await;
    let pair = &labelled.pair;
    pair.east.apply(&labelled.east().allow_all()).await;
    pair.west.apply(&labelled.west().allow_all()).await;
    pair.west.sees("east", true).await;
    assert_eq!(pair.west.told("east").await["labels"]["site"], "bank");
    assert_eq!(pair.east.told("west").await["labels"]["site"], "shops");
    // Also before anybody answers: they come with the commit, not with the peer.
    let gone = Planner::new("west", pair.authority.certificate())
        .revision("gone")
        .peer("gone", &[loopback(free_port())])
        .labelled(&[("site", "nowhere")]);
    let leaf = pair.authority.leaf(pair.folder.path(), &["west"]);
    let west = Peer::start(vec![leaf.files]).await;
    west.apply(&gone).await;
    assert_eq!(west.told("gone").await["labels"]["site"], "nowhere");
}
