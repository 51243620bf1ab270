//! IPv6 wherever IPv4 is.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use fabric::api::Workload;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::common::authority::Authority;
use crate::common::peer::{Peer, free_port, loopback};
use crate::common::plan::Planner;
use crate::common::service::{Service, talk};
use crate::world::Pair;

const LOOPBACK: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_97_gateways_imports_exports_clients_and_the_admin_port_speak_ipv6() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("acme");
    let start = |name: &'static str| {
        let leaf = authority.leaf(folder.path(), &[name]);
        Peer::start_configured(vec![leaf.files], |config| {
            config.listen = (LOOPBACK, 0).into();
            config.admin = (LOOPBACK, 0).into();
            config.import_address = LOOPBACK;
        })
    };
    let (west, east) = (start("west").await, start("east").await);
    assert!(east.address().is_ipv6());
    let listener = TcpListener::bind((LOOPBACK, 0)).await.unwrap();
    let service = listener.local_addr().unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let _ = socket.write_all(b"hello").await;
        }
    });
    let allow_loopback = |state: &mut fabric::plan::State| {
        state.export_hosts.allow = vec!["::1".to_owned()];
        state.workloads = vec![Workload {
            addresses: vec!["::1/128".parse().unwrap()],
            namespace: "shop".to_owned(),
            service_account: "till".to_owned(),
            labels: std::collections::BTreeMap::new(),
        }];
    };
    let tills = [("client.clusterlink.net/service-account", "till")];
    let plan = Planner::new("east", authority.certificate())
        .state(allow_loopback)
        .peer("west", &[])
        .export("ledger", service)
        .policy("tills", fabric::api::Action::Allow, &tills, &[]);
    east.apply(&plan).await;
    let port = free_port();
    let plan = Planner::new("west", authority.certificate())
        .state(allow_loopback)
        .peer("east", &[east.address()])
        .import("ledger", port, &[("east", "ledger")]);
    west.apply(&plan.allow_all()).await;
    west.sees("east", true).await;
    let import = SocketAddr::new(LOOPBACK, port);
    assert_eq!(talk(import, "").await.unwrap(), "hello");
    // And what is refused is told with its brackets.
    let nobody = SocketAddr::new(LOOPBACK, free_port());
    let plan = Planner::new("west", authority.certificate())
        .revision("gone")
        .peer("gone", &[nobody]);
    west.apply(&plan).await;
    west.sees("gone", false).await;
    let failure = west.told("gone").await["failure"].to_string();
    assert!(
        failure.contains(&format!("connect to {nobody} of gone")),
        "{failure}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_97_a_listener_on_all_addresses_takes_both_ip_versions() {
    let pair = Pair::started(Service::echo().await).await;
    let east = Peer::start_configured(vec![pair.east_leaf.files.clone()], |config| {
        config.listen = (Ipv6Addr::UNSPECIFIED, 0).into();
    })
    .await;
    east.apply(&pair.east_plan().peer("x", &[]).allow_all())
        .await;
    let port = east.address().port();
    for (number, gateway) in [loopback(port), (LOOPBACK, port).into()]
        .into_iter()
        .enumerate()
    {
        let plan = Planner::new("west", pair.authority.certificate())
            .revision(&format!("by-{number}"))
            .peer("east", &[gateway])
            .import("ledger", pair.import.port(), &[("east", "ledger")]);
        pair.west.apply(&plan.allow_all()).await;
        assert_eq!(talk(pair.import, "x").await.unwrap(), "x", "{gateway}");
    }
}
