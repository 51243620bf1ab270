//! Services that exports aim at, and that don't do what services do.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::common::peer::{free_port, loopback};
use crate::common::service::{Service, breaks, talk};
use crate::siege::Siege;

/// North's plan with one more import, of an export of the same name.
async fn import(siege: &Siege, name: &str) -> std::net::SocketAddr {
    let address = loopback(free_port());
    let plan = siege.north_plan().revision(name);
    let plan = plan.import(name, address.port(), &[("east", name)]);
    siege.north.apply(&plan).await;
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_accepts_and_never_answers_holds_up_its_own_clients_alone() {
    let mute = Service::start(|mut socket| async move {
        let _ = tokio::io::copy(&mut socket, &mut tokio::io::sink()).await;
        std::future::pending::<()>().await;
    })
    .await;
    let siege = Siege::with(|plan| plan.export("mute", mute.address)).await;
    let address = import(&siege, "mute").await;
    let bystander = siege.bystander().await;
    let mut clients = Vec::new();
    for _ in 0..50 {
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"anybody there?").await.unwrap();
        clients.push(client);
    }
    siege.east_carries(51.0).await;
    bystander.goes_on().await;
    // Who gives up is let go of, on all of the way; who says to have ended only waits on.
    let mut patient = clients.pop().unwrap();
    patient.shutdown().await.unwrap();
    for client in &clients {
        client.set_zero_linger().unwrap();
    }
    drop(clients);
    siege.east_carries(2.0).await;
    bystander.content("a mute service").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_refuses_is_told_apart_from_one_that_says_nothing() {
    // A port that nobody has: bound, and not listened at.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = listener.local_addr().unwrap();
    drop(listener);
    let siege = Siege::with(|plan| plan.export("nobody", nobody)).await;
    let address = import(&siege, "nobody").await;
    let bystander = siege.bystander().await;
    for _ in 0..50 {
        assert!(talk(address, "hello").await.is_err());
    }
    siege
        .east
        .decides("export", "export_unreachable", 50.0)
        .await;
    siege
        .north
        .decides("import", "peer_export_unreachable", 50.0)
        .await;
    bystander.content("a service that refuses").await;
    siege.east_carries(0.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_breaks_off_in_the_middle_is_no_end_in_order() {
    let fickle = Service::start(|mut socket| async move {
        let _ = socket.read(&mut [0; 64]).await;
        let _ = socket.write_all(b"and the answer is").await;
        let _ = socket.set_zero_linger();
    })
    .await;
    let siege = Siege::with(|plan| plan.export("fickle", fickle.address)).await;
    let address = import(&siege, "fickle").await;
    let bystander = siege.bystander().await;
    for _ in 0..50 {
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"hello").await.unwrap();
        breaks(&mut client).await;
    }
    let ended = "weft_connections_ended_total{side=\"import\",reason=\"peer_aborted\"}";
    siege.north.counts(ended, 50.0).await;
    bystander.content("a fickle service").await;
    siege.east_carries(0.0).await;
}
