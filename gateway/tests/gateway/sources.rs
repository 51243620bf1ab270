//! Which source serves a connection, and what happens when one can't.

use std::sync::Arc;

use fabric::api::{Action, LoadBalancing};
use fabric::cluster::{self, Cluster};
use tempfile::TempDir;
use tokio::sync::watch;

use crate::common::authority::Authority;
use crate::common::peer::{Peer, free_port, loopback};
use crate::common::plan::Planner;
use crate::common::service::{Service, talk};
use crate::common::soon;
use crate::world::Pair;

/// `west` imports from `east` and `north`, whose services say their peer's name.
struct Three {
    authority: Authority,
    folder: TempDir,
    west: Peer,
    east: Peer,
    north: Peer,
    port: u16,
    services: [Service; 2],
}

impl Three {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new("acme");
        let start = |name: &'static str| {
            let leaf = authority.leaf(folder.path(), &[name]);
            Peer::start(vec![leaf.files])
        };
        let (west, east, north) = (
            start("west").await,
            start("east").await,
            start("north").await,
        );
        let services = [Service::named("east").await, Service::named("north").await];
        let three = Self {
            port: free_port(),
            authority,
            folder,
            west,
            east,
            north,
            services,
        };
        let exporter = |name: &str, service: &Service| {
            Planner::new(name, three.authority.certificate())
                .peer("west", &[three.west.address()])
                .export("ledger", service.address)
                .allow_all()
        };
        let [east_service, north_service] = &three.services;
        three.east.apply(&exporter("east", east_service)).await;
        three.north.apply(&exporter("north", north_service)).await;
        three
    }

    fn west_plan(&self, scheme: LoadBalancing) -> Planner {
        Planner::new("west", self.authority.certificate())
            .peer("east", &[self.east.address()])
            .peer("north", &[self.north.address()])
            .import_with(
                "ledger",
                self.port,
                &[("east", "ledger"), ("north", "ledger")],
                scheme,
            )
    }

    async fn ask(&self) -> String {
        talk(loopback(self.port), "").await.unwrap()
    }

    async fn asks(&self, count: usize) -> Vec<String> {
        let mut answers = Vec::new();
        for _ in 0..count {
            answers.push(self.ask().await);
        }
        answers
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_62_sources_take_turns_or_keep_their_order() {
    let three = Three::start().await;
    let plan = three.west_plan(LoadBalancing::RoundRobin).allow_all();
    three.west.apply(&plan).await;
    three.west.sees("east", true).await;
    three.west.sees("north", true).await;
    assert_eq!(three.asks(4).await, ["east", "north", "east", "north"]);
    let plan = three.west_plan(LoadBalancing::Static).revision("second");
    three.west.apply(&plan.allow_all()).await;
    assert_eq!(three.asks(3).await, ["east", "east", "east"]);
    let plan = three.west_plan(LoadBalancing::Random).revision("third");
    three.west.apply(&plan.allow_all()).await;
    let answers = three.asks(40).await;
    assert!(answers.contains(&"east".to_owned()) && answers.contains(&"north".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_63_a_source_that_is_denied_or_missing_makes_room_for_the_next() {
    let three = Three::start().await;
    let east = [("peer.clusterlink.net/name", "east")];
    let plan = three.west_plan(LoadBalancing::Static).allow_all();
    // Denied at the source.
    let denied = plan.clone().policy("no-east", Action::Deny, &[], &east);
    three.west.apply(&denied).await;
    assert_eq!(three.ask().await, "north");
    // Denied at the destination.
    three.west.apply(&plan.clone().revision("second")).await;
    let at_east = || {
        Planner::new("east", three.authority.certificate()).peer("west", &[three.west.address()])
    };
    let service = three.services[0].address;
    three
        .east
        .apply(&at_east().revision("deny").export("ledger", service))
        .await;
    assert_eq!(three.ask().await, "north");
    // Missing.
    three
        .east
        .apply(&at_east().revision("missing").allow_all())
        .await;
    assert_eq!(three.ask().await, "north");
    three.east.decides("export", "missing_export", 1.0).await;
    // Its service is gone.
    let nobody = loopback(free_port());
    let plan_east = at_east().revision("gone").export("ledger", nobody);
    three.east.apply(&plan_east.allow_all()).await;
    assert_eq!(three.ask().await, "north");
    three
        .east
        .decides("export", "export_unreachable", 1.0)
        .await;
    // What the client says reaches the source that serves it, and it alone.
    assert_eq!(three.services[0].served(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_64_a_peer_that_is_not_there_disqualifies_its_source_alone() {
    let three = Three::start().await;
    let without = Planner::new("west", three.authority.certificate())
        .peer("north", &[three.north.address()])
        .import_with(
            "ledger",
            three.port,
            &[("east", "ledger"), ("north", "ledger")],
            LoadBalancing::Static,
        );
    three.west.apply(&without.allow_all()).await;
    assert_eq!(three.ask().await, "north");
    assert_eq!(three.ask().await, "north");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_63_an_unreachable_source_is_tried_last_and_not_never() {
    let three = Three::start().await;
    // East is down, and won't be up again for as long as this lasts.
    let address = three.east.address();
    let Three {
        authority,
        folder,
        west,
        east,
        north,
        port,
        services,
    } = three;
    drop(east);
    let plan = Planner::new("west", authority.certificate())
        .state(|state| state.heartbeat.up = u32::MAX)
        .peer("east", &[address])
        .peer("north", &[north.address()])
        .import_with(
            "ledger",
            port,
            &[("east", "ledger"), ("north", "ledger")],
            LoadBalancing::Static,
        );
    west.apply(&plan.clone().allow_all()).await;
    west.sees("east", false).await;
    west.sees("north", true).await;
    let leaf = authority.leaf(folder.path(), &["east"]);
    let east = Peer::start_at(vec![leaf.files], address.port()).await;
    let east_plan = Planner::new("east", authority.certificate())
        .peer("west", &[])
        .export("ledger", services[0].address);
    east.apply(&east_plan.allow_all()).await;
    // It is first in the list, and works; but it counts as down.
    assert_eq!(talk(loopback(port), "").await.unwrap(), "north");
    let at_north = Planner::new("north", authority.certificate()).peer("west", &[]);
    north.apply(&at_north.revision("second").allow_all()).await;
    assert_eq!(talk(loopback(port), "").await.unwrap(), "east");
    west.sees("east", false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_49_an_export_without_its_service_is_refused() {
    let mut pair = Pair::started(Service::echo().await).await;
    let (services, view) = watch::channel(Arc::<Cluster>::default());
    let leaf = pair.east_leaf.files.clone();
    pair.east = Peer::start_configured(vec![leaf], |config| config.cluster = Some(view)).await;
    let plan = Planner::new("east", pair.authority.certificate())
        .peer("west", &[])
        .relay("ledger");
    pair.east.apply(&plan.allow_all()).await;
    pair.west.apply(&pair.west_plan().allow_all()).await;
    assert!(talk(pair.import, "x").await.is_err());
    pair.east.decides("export", "export_unreachable", 1.0).await;
    pair.west
        .decides("import", "peer_export_unreachable", 1.0)
        .await;
    // With its Service it is served, and without it again it isn't.
    let ports = [(80, vec![pair.service.address])].into();
    let service = Arc::new(cluster::Service { ports });
    let with = Cluster {
        services: [("shop/ledger".parse().unwrap(), service)].into(),
        ..Cluster::default()
    };
    services.send_replace(Arc::new(with));
    assert_eq!(talk(pair.import, "x").await.unwrap(), "x");
    services.send_replace(Arc::default());
    assert!(talk(pair.import, "x").await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_93_each_failure_has_its_own_reason() {
    let three = Three::start().await;
    let nobody = loopback(free_port());
    let plan = |revision: &str, sources: &[(&str, &str)]| {
        Planner::new("west", three.authority.certificate())
            .revision(revision)
            .peer("east", &[three.east.address()])
            .peer("gone", &[nobody])
            .import("ledger", three.port, sources)
    };
    let port = loopback(three.port);
    three.west.apply(&plan("a", &[]).allow_all()).await;
    assert!(talk(port, "x").await.is_err());
    three.west.decides("import", "no_source", 1.0).await;
    let gone = plan("b", &[("gone", "ledger")]);
    three.west.apply(&gone.allow_all()).await;
    assert!(talk(port, "x").await.is_err());
    three.west.decides("import", "peer_unreachable", 1.0).await;
    let unknown = plan("c", &[("south", "ledger")]);
    three.west.apply(&unknown.allow_all()).await;
    assert!(talk(port, "x").await.is_err());
    three.west.decides("import", "unknown_peer", 1.0).await;
    let missing = plan("d", &[("east", "nothing")]);
    three.west.apply(&missing.allow_all()).await;
    assert!(talk(port, "x").await.is_err());
    three
        .west
        .decides("import", "peer_missing_export", 1.0)
        .await;
    let denied = plan("e", &[("east", "ledger")]);
    three.west.apply(&denied).await;
    assert!(talk(port, "x").await.is_err());
    three.west.decides("import", "default_deny", 1.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_dies_is_passed_over_and_comes_back() {
    let three = Three::start().await;
    let plan = three.west_plan(LoadBalancing::Static).allow_all();
    three.west.apply(&plan).await;
    assert_eq!(three.ask().await, "east");
    let Three {
        authority,
        folder,
        west,
        east,
        north: _north,
        port,
        services,
    } = three;
    let address = east.address();
    drop(east);
    west.sees("east", false).await;
    assert_eq!(talk(loopback(port), "").await.unwrap(), "north");
    let leaf = authority.leaf(folder.path(), &["east"]);
    let east = Peer::start_at(vec![leaf.files], address.port()).await;
    let plan = Planner::new("east", authority.certificate())
        .peer("west", &[west.address()])
        .export("ledger", services[0].address);
    east.apply(&plan.allow_all()).await;
    west.sees("east", true).await;
    assert_eq!(talk(loopback(port), "").await.unwrap(), "east");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_61_one_of_several_gateways_is_enough() {
    let three = Three::start().await;
    let nobody = loopback(free_port());
    let plan = Planner::new("west", three.authority.certificate())
        .peer("east", &[nobody, three.east.address(), nobody])
        .import("ledger", three.port, &[("east", "ledger")]);
    three.west.apply(&plan.allow_all()).await;
    three.west.sees("east", true).await;
    assert_eq!(three.ask().await, "east");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_only_dials_out_can_serve() {
    let three = Three::start().await;
    let plan = Planner::new("west", three.authority.certificate())
        .peer("east", &[])
        .import("ledger", three.port, &[("east", "ledger")]);
    three.west.apply(&plan.allow_all()).await;
    // East dials west for its heartbeat; west opens tunnels on that connection.
    three.west.sees("east", true).await;
    assert_eq!(three.ask().await, "east");
    assert_eq!(
        three
            .west
            .metric("weft_gateway_connections{role=\"dial\"}")
            .await,
        None
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_joined_a_dial_which_fails_gets_one_of_its_own() {
    let pair = Pair::started(Service::echo().await).await;
    pair.east
        .apply(&pair.east_plan().peer("x", &[]).allow_all())
        .await;
    // In front of east: the first connection hangs until it is told to fail.
    let front = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let plan = Planner::new("west", pair.authority.certificate())
        .peer("east", &[front.local_addr().unwrap()])
        .import("ledger", pair.import.port(), &[("east", "ledger")]);
    pair.west.apply(&plan.allow_all()).await;
    let (hanging, _) = soon("the heartbeat's dial", front.accept()).await.unwrap();
    let import = pair.import;
    let client = tokio::spawn(async move { talk(import, "hello").await });
    pair.west.counts("weft_import_connections_total", 1.0).await;
    // That it has joined isn't to be seen; when it is late, it has nothing to join.
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    drop(hanging);
    let address = pair.east.address();
    let pass = tokio::spawn(async move {
        let mut passing = tokio::task::JoinSet::new();
        while let Ok((mut near, _)) = front.accept().await {
            passing.spawn(async move {
                let mut far = tokio::net::TcpStream::connect(address).await?;
                tokio::io::copy_bidirectional(&mut near, &mut far).await
            });
        }
    });
    assert_eq!(client.await.unwrap().unwrap(), "hello");
    pass.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_can_import_from_itself() {
    let pair = Pair::started(Service::echo().await).await;
    let plan = Planner::new("west", pair.authority.certificate())
        .committed("west", &pair.west_leaf.certificate)
        .peer("west", &[pair.west.address()])
        .export("ledger", pair.service.address)
        .import("ledger", pair.import.port(), &[("west", "ledger")]);
    pair.west.apply(&plan.clone().allow_all()).await;
    pair.west.sees("west", true).await;
    assert_eq!(talk(pair.import, "hello").await.unwrap(), "hello");
    pair.west.decides("export", "allowed", 1.0).await;
    // And by its own rules.
    pair.west.apply(&plan.revision("second")).await;
    assert!(talk(pair.import, "hello").await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_that_leads_back_into_an_import_does_not_go_round() {
    let pair = Pair::started(Service::echo().await).await;
    let plan = Planner::new("west", pair.authority.certificate())
        .peer("west", &[pair.west.address()])
        .export("ledger", pair.import)
        .import("ledger", pair.import.port(), &[("west", "ledger")]);
    pair.west.apply(&plan.allow_all()).await;
    assert!(talk(pair.import, "hello").await.is_err());
    pair.west.decides("export", "guard_refused", 1.0).await;
    let once = "weft_import_connections_total";
    assert_eq!(pair.west.metric(once).await, Some(1.0));
}
