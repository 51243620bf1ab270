//! Connections that go through peers in between.

use std::net::SocketAddr;

use fabric::api::Action;
use gateway::tunnel::connection::{OpenError, establish};
use gateway::tunnel::frame::{Frame, Hello, Open};
use gateway::tunnel::{ConnectionFacts, Link};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::common::authority::Authority;
use crate::common::peer::{Peer, free_port, loopback};
use crate::common::plan::Planner;
use crate::common::service::{Service, breaks, echoes, echoing, talk};
use crate::common::soon;

/// Peers in a row, each with the ones beside it alone for peers: the first one imports, the last one
/// exports, and those in between do both.
struct Row {
    authority: Authority,
    _folder: TempDir,
    names: Vec<&'static str>,
    peers: Vec<Peer>,
    ports: Vec<u16>,
    service: Service,
}

impl Row {
    async fn start(names: &[&'static str], service: Service) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new("acme");
        let mut peers = Vec::new();
        for name in names {
            let leaf = authority.leaf(folder.path(), &[name]);
            peers.push(Peer::start(vec![leaf.files]).await);
        }
        Self {
            authority,
            _folder: folder,
            ports: names.iter().map(|_| free_port()).collect(),
            names: names.to_vec(),
            peers,
            service,
        }
    }

    async fn open(names: &[&'static str], service: Service) -> Self {
        let row = Self::start(names, service).await;
        for at in (0..names.len()).rev() {
            row.peers[at].apply(&row.plan(at).allow_all()).await;
        }
        row
    }

    /// What a peer imports and exports, without policies.
    fn plan(&self, at: usize) -> Planner {
        let mut plan = Planner::new(self.names[at], self.authority.certificate());
        if at > 0 {
            let before = self.names[at - 1];
            plan = plan.peer(before, &[]);
        }
        let Some(next) = self.names.get(at + 1) else {
            return plan.export("ledger", self.service.address);
        };
        plan = plan.peer(next, &[self.peers[at + 1].address()]);
        plan = plan.import("ledger", self.ports[at], &[(next, "ledger")]);
        if at > 0 { plan.relay("ledger") } else { plan }
    }

    async fn apply(&self, at: usize, plan: &Planner) {
        self.peers[at].apply(plan).await;
    }

    fn import(&self) -> SocketAddr {
        loopback(self.ports[0])
    }
}

const CLIENT: &[(&str, &str)] = &[
    ("client.clusterlink.net/namespace", "shop"),
    ("client.clusterlink.net/service-account", "till"),
    ("client.clusterlink.net/labels.app", "till"),
];

fn and<'a>(client: &[(&'a str, &'a str)], key: &'a str, value: &'a str) -> Vec<(&'a str, &'a str)> {
    let mut all = client.to_vec();
    all.push((key, value));
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_68_the_original_client_arrives_through_two_relays() {
    let names = ["west", "one", "two", "east"];
    let row = Row::start(&names, Service::echo().await).await;
    // Everyone allows the original client alone, and the adjacent peer alone.
    let peer = "peer.clusterlink.net/name";
    for at in (0..4).rev() {
        let mut plan = row.plan(at);
        // As a source it says that it is the peer itself; as a destination who stands in front.
        for (name, number) in [("onward", at as isize), ("inward", at as isize - 1)] {
            if let Ok(number) = usize::try_from(number) {
                let from = and(CLIENT, peer, names[number]);
                plan = plan.policy(name, Action::Allow, &from, &[]);
            }
        }
        row.apply(at, &plan).await;
    }
    assert_eq!(talk(row.import(), "hello").await.unwrap(), "hello");
    for at in [1, 2] {
        row.peers[at].decides("export", "allowed", 1.0).await;
        row.peers[at].decides("import", "allowed", 1.0).await;
    }
    // Nobody connected to the imports of the relays.
    for at in [1, 2] {
        let connections = "weft_import_connections_total";
        assert_eq!(row.peers[at].metric(connections).await, Some(0.0));
    }
    // Much of it, both ways at once, and an end of one direction alone.
    let sent: Vec<u8> = (0..3 << 20).map(|at: u32| (at / 251) as u8).collect();
    let socket = TcpStream::connect(row.import()).await.unwrap();
    let (mut reader, mut writer) = socket.into_split();
    let copy = sent.clone();
    let sending = tokio::spawn(async move {
        writer.write_all(&copy).await.unwrap();
        writer.shutdown().await.unwrap();
    });
    let mut back = Vec::new();
    soon("all of it", reader.read_to_end(&mut back))
        .await
        .unwrap();
    sending.await.unwrap();
    assert!(back == sent, "{} of {} bytes", back.len(), sent.len());
    // Who stands further away decides nothing: east knows two, and west's name is nobody's there.
    let from = and(CLIENT, peer, "west");
    let plan = row.plan(3).policy("west", Action::Allow, &from, &[]);
    row.apply(3, &plan.revision("west-alone")).await;
    assert!(talk(row.import(), "hello").await.is_err());
    row.peers[0].decides("import", "peer_denied", 1.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_68_a_relay_decides_by_the_original_client_on_both_of_its_sides() {
    let row = Row::open(&["west", "middle", "east"], Service::echo().await).await;
    let mut live = echoing(row.import()).await;
    for (number, (from, to)) in [
        // In front, by the peer there; behind, by the peer there; on either side by the client.
        (vec![("peer.clusterlink.net/name", "west")], vec![]),
        (vec![], vec![("peer.clusterlink.net/name", "east")]),
        (vec![("client.clusterlink.net/labels.app", "till")], vec![]),
    ]
    .into_iter()
    .enumerate()
    {
        let plan = row.plan(1).revision(&format!("deny-{number}"));
        let plan = plan.allow_all().policy("deny", Action::Deny, &from, &to);
        row.apply(1, &plan).await;
        // Also what lives by it is cut.
        breaks(&mut live).await;
        assert!(talk(row.import(), "x").await.is_err(), "{from:?} {to:?}");
        row.peers[0]
            .decides("import", "peer_denied", number as f64 + 1.0)
            .await;
        let plan = row.plan(1).revision(&format!("allow-{number}"));
        row.apply(1, &plan.allow_all()).await;
        live = echoing(row.import()).await;
    }
    // Another client than the one that comes.
    let other = [("client.clusterlink.net/labels.app", "other")];
    let plan = row.plan(1).revision("other").allow_all();
    row.apply(1, &plan.policy("deny", Action::Deny, &other, &[]))
        .await;
    assert!(echoes(&mut live).await);
    // Without its import the export leads nowhere.
    let plan = Planner::new("middle", row.authority.certificate())
        .revision("gone")
        .peer("west", &[])
        .peer("east", &[row.peers[2].address()])
        .relay("ledger");
    row.apply(1, &plan.allow_all()).await;
    breaks(&mut live).await;
    assert!(talk(row.import(), "x").await.is_err());
    let unreachable = "peer_export_unreachable";
    row.peers[0].decides("import", unreachable, 1.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_68_a_relay_says_why_it_cannot_go_on_and_tries_all_sources() {
    let row = Row::open(&["west", "middle", "east"], Service::echo().await).await;
    for (number, reason, plan) in [
        (0, "peer_denied", row.plan(2)),
        (
            1,
            "peer_missing_export",
            Planner::new("east", row.authority.certificate())
                .peer("middle", &[])
                .allow_all(),
        ),
        (
            2,
            "peer_export_unreachable",
            Planner::new("east", row.authority.certificate())
                .peer("middle", &[])
                .export("ledger", loopback(free_port()))
                .allow_all(),
        ),
    ] {
        row.apply(2, &plan.revision(&format!("plan-{number}")))
            .await;
        assert!(talk(row.import(), "hello").await.is_err(), "{reason}");
        row.peers[0].decides("import", reason, 1.0).await;
        row.peers[1].decides("export", reason, 1.0).await;
    }
    // A second source behind the relay: what the client has said reaches it, and it alone.
    let folder = tempfile::tempdir().unwrap();
    let leaf = row.authority.leaf(folder.path(), &["north"]);
    let north = Peer::start(vec![leaf.files]).await;
    let plan = Planner::new("north", row.authority.certificate())
        .peer("middle", &[])
        .export("ledger", row.service.address);
    north.apply(&plan.allow_all()).await;
    let sources = [("east", "ledger"), ("north", "ledger")];
    let plan = Planner::new("middle", row.authority.certificate())
        .revision("two-sources")
        .peer("west", &[])
        .peer("east", &[row.peers[2].address()])
        .peer("north", &[north.address()])
        .import("ledger", row.ports[1], &sources)
        .relay("ledger");
    row.apply(1, &plan.allow_all()).await;
    for _ in 0..3 {
        assert_eq!(talk(row.import(), "hello").await.unwrap(), "hello");
    }
    assert_eq!(row.service.served(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_68_a_circle_of_relays_is_refused_as_a_loop() {
    let row = Row::open(&["west", "one", "two", "east"], Service::echo().await).await;
    // Two gets it from one, and one from two.
    let plan = Planner::new("two", row.authority.certificate())
        .revision("circle")
        .peer("one", &[row.peers[1].address()])
        .import("ledger", row.ports[2], &[("one", "ledger")])
        .relay("ledger");
    row.apply(2, &plan.allow_all()).await;
    assert!(talk(row.import(), "hello").await.is_err());
    row.peers[0].decides("import", "loop", 1.0).await;
    row.peers[2].decides("export", "loop", 1.0).await;
    // Once around, and no further.
    assert_eq!(
        row.peers[2]
            .metric("weft_decisions_total{side=\"export\",reason=\"loop\"}")
            .await,
        Some(1.0)
    );
    // A way out of the circle is found.
    let sources = [("one", "ledger"), ("east", "ledger")];
    let plan = Planner::new("two", row.authority.certificate())
        .revision("way-out")
        .peer("one", &[row.peers[1].address()])
        .peer("east", &[row.peers[3].address()])
        .import("ledger", row.ports[2], &sources)
        .relay("ledger");
    row.apply(2, &plan.allow_all()).await;
    assert_eq!(talk(row.import(), "hello").await.unwrap(), "hello");
}

#[tokio::test]
async fn row_68_nothing_is_relayed_to_a_peer_that_takes_no_relays() {
    let open = |via: &[&str]| Open {
        request: [7; 16],
        export: "shop/ledger".parse().unwrap(),
        client: None,
        via: via.iter().map(|name| name.parse().unwrap()).collect(),
        trace: None,
    };
    for (capabilities, is_taken) in [(0, false), (1 << 2, true), (u64::MAX, true)] {
        let facts = ConnectionFacts {
            peer: "east".parse().unwrap(),
            dialled: true,
            address: loopback(1),
            gateway: None,
            chain: Vec::new(),
            own: fabric::api::Fingerprint::of_der(b"x"),
            made: rustls_pki_types::UnixTime::now(),
        };
        let hello = Hello {
            minor: 0,
            capabilities,
            window: 64 * 1024,
            tunnels: 10,
        };
        let (mut theirs, ours) = tokio::io::duplex(64 * 1024);
        let said = Frame::Hello(hello).encode().unwrap();
        theirs.write_all(&said).await.unwrap();
        let (connection, _incoming) = establish(facts, Link::plain(ours)).await.unwrap();
        assert!(connection.open(open(&[]), b"").is_ok());
        let relayed = connection.open(open(&["one"]), b"");
        assert_eq!(relayed.is_ok(), is_taken, "{capabilities}");
        if let Err(error) = relayed {
            assert_eq!(error, OpenError::NoRelays);
        }
    }
}
