//! A peer that says to be another one, or somebody else's client.

use std::sync::Arc;

use fabric::api::Action;
use fabric::attributes::Client;
use gateway::tunnel::frame::Frame;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::common::plan::Planner;
use crate::common::service::talk;
use crate::common::soon;
use crate::intruder::{Intruder, data, open, open_as};
use crate::proxy::{Fault, Proxy, Way};
use crate::siege::{Bystander, Siege};

/// A plan of east's by which only north may, by its name, its labels, or both.
fn north_alone(siege: &Siege, attributes: &[(&str, &str)]) -> Planner {
    Planner::new("east", siege.authority.certificate())
        .revision("north alone")
        .peer("north", &[])
        .peer("mallory", &[])
        .export("ledger", siege.service.address)
        .policy("north-alone", Action::Allow, attributes, &[])
}

/// A client with labels that look like everything that a policy could ask for.
fn pretender() -> Client {
    let labels = [
        ("peer.clusterlink.net/name", "north"),
        ("peer.clusterlink.net/labels.site", "north"),
        ("clusterlink/metadata.gatewayName", "north"),
        ("name", "north"),
        ("site", "north"),
    ];
    Client {
        namespace: "shop".to_owned(),
        service_account: "north".to_owned(),
        labels: labels
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_34_a_peer_is_who_its_certificate_says_and_not_who_it_says() {
    let siege = Siege::begin().await;
    let name = [("peer.clusterlink.net/name", "north")];
    siege.east.apply(&north_alone(&siege, &name)).await;
    let bystander = siege.bystander().await;
    let mut mallory = Intruder::greeted(siege.east.address(), &siege.mallory).await;
    let claims = [None, Some(pretender())];
    for (at, claim) in claims.into_iter().enumerate() {
        let id = at as u32 * 2 + 1;
        mallory.send(&open_as(id, "shop/ledger", claim)).await;
        let answer = mallory.receive().await;
        assert!(
            matches!(&answer, Some(Frame::Refuse(_, reason, _)) if reason.as_str() == "denied"),
            "{answer:?}"
        );
    }
    // Who shows both names is nobody; who shows north's from another fabric is a stranger.
    let folder = siege.folder.path();
    let both = siege.authority.leaf(folder, &["mallory", "north"]);
    let other = crate::common::authority::Authority::new("acme");
    let forged = other.leaf(folder, &["north"]);
    for (leaf, reason) in [(both, "unknown_peer"), (forged, "unknown_authority")] {
        let dialled = Intruder::connect(siege.east.address(), &leaf, b"weft/1").await;
        // In TLS 1.3 who is refused learns it at the first read.
        if let Ok(mut mallory) = dialled {
            assert!(soon("the refusal", mallory.stream.read_u8()).await.is_err());
        }
        siege.east.handshakes("accept", reason).await;
    }
    bystander.content("false names").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_34_the_labels_of_a_peer_are_those_of_the_repository() {
    let siege = Siege::begin().await;
    let labels = [("peer.clusterlink.net/labels.site", "north")];
    // Nobody has that label in the repository, whatever is said.
    siege.east.apply(&north_alone(&siege, &labels)).await;
    let mut mallory = Intruder::greeted(siege.east.address(), &siege.mallory).await;
    mallory
        .send(&open_as(1, "shop/ledger", Some(pretender())))
        .await;
    let answer = mallory.receive().await;
    assert!(
        matches!(&answer, Some(Frame::Refuse(1, reason, _)) if reason.as_str() == "denied"),
        "{answer:?}"
    );
    assert!(talk(siege.import, "hello").await.is_err());
    assert_eq!(siege.service.served(), 0);
}

/// Carries one connection and writes down what who dialled has sent.
async fn recorder(to: std::net::SocketAddr) -> (std::net::SocketAddr, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let record = Arc::new(Mutex::new(Vec::new()));
    let tape = Arc::clone(&record);
    tokio::spawn(async move {
        let (below, _) = listener.accept().await.unwrap();
        let above = TcpStream::connect(to).await.unwrap();
        let ((mut from_below, mut to_below), (mut from_above, mut to_above)) =
            (below.into_split(), above.into_split());
        let down = tokio::io::copy(&mut from_above, &mut to_below);
        let up = async {
            let mut buffer = vec![0; 64 * 1024];
            while let Ok(length @ 1..) = from_below.read(&mut buffer).await {
                tape.lock().extend_from_slice(&buffer[..length]);
                to_above.write_all(&buffer[..length]).await?;
            }
            to_above.shutdown().await
        };
        let _ = tokio::join!(down, up);
    });
    (address, record)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_35_what_was_granted_once_can_not_be_replayed() {
    let siege = Siege::begin().await;
    let bystander = siege.bystander().await;
    // A whole session of north's: handshake, hello, OPEN with its data.
    let (wire, record) = recorder(siege.east.address()).await;
    let leaf = siege.authority.leaf(siege.folder.path(), &["north"]);
    let mut north = Intruder::greeted(wire, &leaf).await;
    north.opened(1, "shop/ledger").await;
    north.send(&data(1, b"transfer it".as_slice())).await;
    assert_eq!(
        north.receive().await,
        Some(data(1, b"transfer it".as_slice()))
    );
    let tape = record.lock().clone();
    let allowed = "weft_decisions_total{side=\"export\",reason=\"allowed\"}";
    bystander.content("a recorded session").await;
    siege.east_carries(1.0).await;
    let (before, served) = (siege.east.metric(allowed).await, siege.service.served());
    for _ in 0..3 {
        let mut socket = TcpStream::connect(siege.east.address()).await.unwrap();
        let _ = socket.write_all(&tape).await;
        let _ = soon("the end", socket.read_to_end(&mut Vec::new())).await;
    }
    assert_eq!(siege.east.metric(allowed).await, before);
    assert_eq!(siege.service.served(), served);
    // And an OPEN holds for its own connection, export and moment: the same request id means nothing.
    let plan = north_alone(&siege, &[("peer.clusterlink.net/name", "north")]);
    siege.east.apply(&plan).await;
    let mut mallory = Intruder::greeted(siege.east.address(), &siege.mallory).await;
    mallory.send(&open(1, "shop/ledger")).await;
    let answer = mallory.receive().await;
    assert!(matches!(answer, Some(Frame::Refuse(1, ..))), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_60_two_good_gateways_are_no_deadlock_and_a_removed_peer_is_left_alone() {
    let siege = Siege::begin().await;
    let (one, two) = (
        Proxy::start(siege.east.address()).await,
        Proxy::start(siege.east.address()).await,
    );
    // Both dials are under way at the same time, and neither is the end of the other.
    let plan = |revision: &str| {
        Planner::new("north", siege.authority.certificate())
            .revision(revision)
            .peer("east", &[one.address, two.address])
            .import("ledger", siege.import.port(), &[("east", "ledger")])
            .allow_all()
    };
    for round in 0..5 {
        siege.north.take_away().await;
        siege
            .north
            .apply(&plan(&format!("two gateways {round}")))
            .await;
        siege.north.sees("east", true).await;
        let bystander = Bystander::start(siege.import).await;
        bystander.content("two good gateways").await;
    }
    // One answers nothing any more; who has the choice notices by itself.
    one.set(Fault::Swallow(Way::Down, 0));
    siege.north.take_away().await;
    siege.north.apply(&plan("one is dead")).await;
    let bystander = Bystander::start(siege.import).await;
    bystander.content("a dead and a good gateway").await;

    let without = Planner::new("north", siege.authority.certificate()).revision("without");
    siege.north.apply(&without).await;
    let gone = || async {
        let reachable = siege
            .north
            .metric("weft_peer_reachable{peer=\"east\"}")
            .await;
        let live = siege
            .north
            .metric("weft_gateway_connections{role=\"dial\"}")
            .await;
        (reachable.is_none() && live == Some(0.0)).then_some(())
    };
    crate::common::until("nothing of the removed peer", gone).await;
    let dialled = (one.accepted(), two.accepted());
    // Several heartbeats' time: nobody dials a peer that isn't there.
    for _ in 0..20 {
        siege.north.admin("/metrics").await;
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    assert_eq!((one.accepted(), two.accepted()), dialled);
}
