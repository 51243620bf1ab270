//! This gateway uses what a peer exports that runs ClusterLink.

use std::net::SocketAddr;

use fabric::api::{Action, LoadBalancing};
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

use super::exporter::{Exporter, GOOD, Manners, TOKEN};
use crate::common::authority::{Authority, Leaf};
use crate::common::peer::{Peer, free_port, loopback};
use crate::common::plan::Planner;
use crate::common::service::{Service, breaks, echoes, echoing, talk};
use crate::common::{soon, until};
use crate::world::Pair;

/// West, which runs Weft, imports from east, which runs ClusterLink.
struct Migration {
    folder: TempDir,
    authority: Authority,
    west: Peer,
    import: SocketAddr,
}

impl Migration {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new("acme");
        let west = authority.leaf(folder.path(), &["west"]);
        Self {
            west: Peer::start(vec![west.files]).await,
            folder,
            authority,
            import: loopback(free_port()),
        }
    }

    fn leaf(&self, name: &str) -> Leaf {
        self.authority.leaf(self.folder.path(), &[name])
    }

    async fn east(&self, manners: Manners) -> Exporter {
        Exporter::start(&self.authority, &self.leaf("east"), manners).await
    }

    fn plan(&self, gateways: &[SocketAddr]) -> Planner {
        Planner::new("west", self.authority.certificate())
            .peer("east", gateways)
            .speaks_clusterlink("east")
            .import("ledger", self.import.port(), &[("east", "ledger")])
    }

    /// East with such manners, and everything allowed.
    async fn with(manners: Manners) -> (Self, Exporter) {
        let migration = Self::new().await;
        let east = migration.east(manners).await;
        let plan = migration.plan(&[east.address]).allow_all();
        migration.west.apply(&plan).await;
        (migration, east)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_87_clusterlinks_exchange_with_a_gateway_that_imports() {
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        for closes in [false, true] {
            let manners = Manners {
                version,
                closes,
                ..GOOD
            };
            let (migration, east) = Migration::with(manners).await;
            migration.west.sees("east", true).await;
            // It tells no commit, so it isn't said to be behind.
            let in_step = "weft_peer_in_step{peer=\"east\"}";
            assert_eq!(migration.west.metric(in_step).await, None);
            echoing(migration.import).await;
            migration.west.decides("import", "allowed", 1.0).await;
            let opened = "weft_tunnel_opens_total{result=\"accepted\"}";
            migration.west.counts(opened, 1.0).await;
            let bytes = "weft_bytes_total{side=\"import\",direction=\"to_peer\"}";
            migration.west.counts(bytes, 4.0).await;
            let asked = &east.asked("POST")[0];
            let (_, body) = asked.split_once("\r\n\r\n").unwrap();
            let body: serde_json::Value = serde_json::from_str(body).unwrap();
            let expected = serde_json::json!({
                "ServiceName": "ledger",
                "ServiceNamespace": "shop",
                "SrcAttributes": {
                    "client.clusterlink.net/labels.app": "till",
                    "client.clusterlink.net/namespace": "shop",
                    "client.clusterlink.net/service-account": "till",
                    "peer.clusterlink.net/name": "west",
                },
            });
            assert_eq!(body, expected);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_89_the_end_of_a_request_does_not_cost_its_answer() {
    let (migration, _east) = Migration::with(GOOD).await;
    // The end of this direction would end both over there.
    let answer = talk(migration.import, "all of it").await.unwrap();
    assert_eq!(answer, "all of it");
    let ended = "weft_connections_ended_total{side=\"import\",reason=\"complete\"}";
    migration.west.counts(ended, 1.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_88_a_banner_in_one_record_with_the_answer_is_not_lost() {
    let banner = "220 welcome\r\n";
    let (migration, _east) = Migration::with(Manners { banner, ..GOOD }).await;
    let mut client = TcpStream::connect(migration.import).await.unwrap();
    let mut read = [0; 13];
    soon("the banner", client.read_exact(&mut read))
        .await
        .unwrap();
    assert_eq!(read, banner.as_bytes());
    assert!(echoes(&mut client).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_91_nothing_of_the_inside_is_sent_to_a_peer() {
    let (migration, east) = Migration::with(GOOD).await;
    migration.west.sees("east", true).await;
    echoing(migration.import).await;
    let address = east.address;
    let connect = format!(
        "CONNECT east:443 HTTP/1.1\r\nhost: east:443\r\nauthorization: Bearer {TOKEN}\r\n\r\n"
    );
    assert_eq!(east.asked("CONNECT"), [connect]);
    let health = format!("GET /healthz HTTP/1.1\r\nhost: {address}\r\n\r\n");
    assert_eq!(east.asked("GET")[0], health);
    let asked = &east.asked("POST")[0];
    let (head, body) = asked.split_once("\r\n\r\n").unwrap();
    let expected = format!(
        "POST /authz HTTP/1.1\r\nhost: {address}\r\n\
         content-type: application/json; charset=utf-8\r\ncontent-length: {}",
        body.len()
    );
    assert_eq!(head, expected);
    assert!(!body.contains("127.0.0.1"), "{body}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_63_what_clusterlink_refuses_goes_to_the_next_source() {
    for (manners, reason) in [
        ((403, 200), "peer_denied"),
        ((404, 200), "peer_missing_export"),
        ((500, 200), "peer_refused"),
        ((200, 403), "peer_denied"),
        ((200, 503), "peer_export_unreachable"),
    ] {
        let (authorize, connect) = manners;
        let bad = Manners {
            authorize,
            connect,
            ..GOOD
        };
        let migration = Migration::new().await;
        let (east, north) = (migration.east(bad).await, migration.leaf("north"));
        let north = Exporter::start(&migration.authority, &north, GOOD).await;
        let alone = migration.plan(&[east.address]).allow_all();
        migration.west.apply(&alone).await;
        assert!(talk(migration.import, "hello").await.is_err());
        migration.west.decides("import", reason, 1.0).await;
        let other = free_port();
        let sources = [("east", "ledger"), ("north", "ledger")];
        let both = migration
            .plan(&[east.address])
            .revision("second")
            .peer("north", &[north.address])
            .speaks_clusterlink("north")
            .import_with("both", other, &sources, LoadBalancing::Static)
            .allow_all();
        migration.west.apply(&both).await;
        echoing(loopback(other)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_72_the_importing_side_decides_too() {
    let migration = Migration::new().await;
    let east = migration.east(GOOD).await;
    let plan = migration.plan(&[east.address]).allow_all();
    let from = [("client.clusterlink.net/labels.app", "till")];
    let plan = plan.policy("no-tills", Action::Deny, &from, &[]);
    migration.west.apply(&plan).await;
    assert!(talk(migration.import, "hello").await.is_err());
    migration.west.decides("import", "denied", 1.0).await;
    assert_eq!(east.asked("POST"), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_33_the_name_of_the_dialled_peer_has_to_be_proven() {
    let migration = Migration::new().await;
    let mallory = migration.leaf("mallory");
    let east = Exporter::start(&migration.authority, &mallory, GOOD).await;
    let plan = migration.plan(&[east.address]).allow_all();
    migration.west.apply(&plan.peer("mallory", &[])).await;
    migration.west.sees("east", false).await;
    migration.west.handshakes("dial", "wrong_name").await;
    assert!(talk(migration.import, "hello").await.is_err());
    assert_eq!(east.asked(""), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tunnels_of_weft_are_not_spoken_by_tls_1_2() {
    let manners = Manners {
        protocol: "weft/1",
        ..GOOD
    };
    let (migration, east) = Migration::with(manners).await;
    migration.west.handshakes("dial", "tls_version").await;
    assert!(talk(migration.import, "hello").await.is_err());
    assert_eq!(east.asked(""), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_61_a_dead_gateway_beside_a_good_one_does_no_harm() {
    let migration = Migration::new().await;
    let east = migration.east(GOOD).await;
    // Takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gateways = [silent.local_addr().unwrap(), east.address, loopback(1)];
    migration
        .west
        .apply(&migration.plan(&gateways).allow_all())
        .await;
    migration.west.sees("east", true).await;
    for _ in 0..10 {
        echoing(migration.import).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_goes_and_comes_back_is_found_again() {
    let (migration, east) = Migration::with(GOOD).await;
    let mut live = echoing(migration.import).await;
    east.stop().await;
    breaks(&mut live).await;
    migration.west.sees("east", false).await;
    assert!(talk(migration.import, "hello").await.is_err());
    let east = migration.east(GOOD).await;
    let plan = migration.plan(&[east.address]).revision("second");
    migration.west.apply(&plan.allow_all()).await;
    migration.west.sees("east", true).await;
    echoing(migration.import).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_snapshot_cuts_what_lives() {
    let (migration, east) = Migration::with(GOOD).await;
    let west = &migration.west;
    let plan = |revision| migration.plan(&[east.address]).revision(revision);
    let mut live = echoing(migration.import).await;
    west.apply(&plan("denied")).await;
    breaks(&mut live).await;
    west.apply(&plan("again").allow_all()).await;
    let mut live = echoing(migration.import).await;
    // Without the opt-in, weft/1 is the one thing that is tried.
    let weft = Planner::new("west", migration.authority.certificate())
        .peer("east", &[east.address])
        .import("ledger", migration.import.port(), &[("east", "ledger")]);
    west.apply(&weft.revision("weft").allow_all()).await;
    breaks(&mut live).await;
    let asked = east.asked("").len();
    assert!(talk(migration.import, "hello").await.is_err());
    assert_eq!(east.asked("").len(), asked);
    west.handshakes("dial", "refused_by_peer").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_has_moved_to_weft_is_spoken_with_by_weft() {
    let pair = Pair::started(Service::echo().await).await;
    pair.east.apply(&pair.east_plan().allow_all()).await;
    // West hasn't heard of it yet.
    let plan = pair.west_plan().speaks_clusterlink("east").allow_all();
    pair.west.apply(&plan).await;
    pair.west.sees("east", true).await;
    assert_eq!(talk(pair.import, "hello").await.unwrap(), "hello");
    assert_eq!(
        pair.east.metric("weft_http_requests_total").await,
        Some(0.0)
    );
    let live = "weft_gateway_connections{role=\"accept\"}";
    until("a connection", || async {
        (pair.east.metric(live).await? >= 1.0).then_some(())
    })
    .await;
}
