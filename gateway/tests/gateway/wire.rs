//! A peer that breaks the rules, frame by frame.

use std::net::Ipv4Addr;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use gateway::tunnel::frame::{Beat, Frame, Hello, Open};
use rustls::ClientConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::common::any_server::AnyServer;
use crate::common::authority::Leaf;
use crate::common::peer::free_port;
use crate::common::plan::Planner;
use crate::common::service::{Service, talk};
use crate::common::soon;
use crate::world::Pair;

/// A connection to a gateway, made by hand.
struct Raw {
    stream: TlsStream<TcpStream>,
    buffer: BytesMut,
}

async fn connect(pair: &Pair, leaf: Option<&Leaf>, alpn: &[u8]) -> std::io::Result<Raw> {
    connect_from("127.0.0.1", pair, leaf, alpn).await
}

async fn connect_from(
    from: &str,
    pair: &Pair,
    leaf: Option<&Leaf>,
    alpn: &[u8],
) -> std::io::Result<Raw> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyServer));
    let mut config = match leaf {
        None => builder.with_no_client_auth(),
        Some(leaf) => {
            let chain = CertificateDer::pem_file_iter(&leaf.files.certificate).unwrap();
            let key = PrivateKeyDer::from_pem_file(&leaf.files.key).unwrap();
            builder
                .with_client_auth_cert(chain.map(Result::unwrap).collect(), key)
                .unwrap()
        }
    };
    if !alpn.is_empty() {
        config.alpn_protocols = vec![alpn.to_vec()];
    }
    let socket = TcpSocket::new_v4()?;
    socket.bind((from.parse::<Ipv4Addr>().unwrap(), 0).into())?;
    let socket = socket.connect(pair.east.address()).await?;
    let name = ServerName::try_from("east").unwrap();
    let stream = TlsConnector::from(Arc::new(config))
        .connect(name, socket)
        .await?;
    Ok(Raw {
        stream,
        buffer: BytesMut::new(),
    })
}

impl Raw {
    /// A connection with the hello behind it.
    async fn greeted(pair: &Pair) -> Self {
        let mut raw = connect(pair, Some(&pair.west_leaf), b"weft/1")
            .await
            .unwrap();
        let hello = Hello {
            minor: 7,
            capabilities: u64::MAX,
            window: 64 * 1024,
            tunnels: 1000,
        };
        raw.send(&Frame::Hello(hello)).await;
        let frame = raw.receive().await;
        assert!(matches!(frame, Some(Frame::Hello(_))), "{frame:?}");
        raw
    }

    async fn send(&mut self, frame: &Frame) {
        self.bytes(&frame.encode().unwrap()).await;
    }

    async fn bytes(&mut self, bytes: &[u8]) {
        // The other side may have hung up in the middle; what it says is then read.
        let _ = self.stream.write_all(bytes).await;
        let _ = self.stream.flush().await;
    }

    /// The next frame that isn't a heartbeat; none at the end.
    async fn receive(&mut self) -> Option<Frame> {
        loop {
            match Frame::decode(&mut self.buffer).unwrap() {
                Some(Frame::Ping(beat)) => self.send(&Frame::Pong(beat)).await,
                Some(frame) => return Some(frame),
                None => {
                    let read = self.stream.read_buf(&mut self.buffer);
                    if soon("a frame or the end", read).await.unwrap_or(0) == 0 {
                        return None;
                    }
                }
            }
        }
    }

    /// Everything until the end.
    async fn rest(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        while let Some(frame) = self.receive().await {
            frames.push(frame);
        }
        frames
    }
}

fn open(id: u32, export: &str) -> Frame {
    let open = Open {
        request: [3; 16],
        export: export.parse().unwrap(),
        client: None,
        via: Vec::new(),
        trace: None,
    };
    Frame::Open(id, Box::new(open))
}

fn data(tunnel: u32, payload: &'static [u8]) -> Frame {
    Frame::Data {
        tunnel,
        payload: Bytes::from_static(payload),
        end: false,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_88_early_data_follows_open_in_one_write() {
    let pair = Pair::open(Service::echo().await).await;
    let mut raw = Raw::greeted(&pair).await;
    let mut bytes = open(1, "shop/ledger").encode().unwrap().to_vec();
    bytes.extend_from_slice(&data(1, b"at once").encode().unwrap());
    bytes.extend_from_slice(&[0x9f, 0, 0, 3, 0, 0, 0, 0, 1, 2, 3]); // of a later version
    raw.bytes(&bytes).await;
    assert_eq!(raw.receive().await, Some(Frame::Accept(1)));
    assert_eq!(raw.receive().await, Some(data(1, b"at once")));
    raw.send(&open(3, "shop/nothing")).await;
    let refused = raw.receive().await;
    assert!(
        matches!(refused, Some(Frame::Refuse(3, reason, _)) if reason.as_str() == "missing_export")
    );
    // Late frames of a tunnel that is over are no offence.
    raw.send(&data(3, b"late")).await;
    raw.send(&Frame::Window(3, 10)).await;
    let beat = Beat {
        token: 99,
        revision: "abc".to_owned(),
    };
    raw.send(&Frame::Ping(beat)).await;
    let pong = raw.receive().await;
    assert!(
        matches!(pong, Some(Frame::Pong(beat)) if beat.token == 99 && beat.revision == "first")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_breaks_the_rules_is_hung_up_on_and_nobody_else() {
    let pair = Pair::open(Service::echo().await).await;
    let ended = "weft_gateway_connections_ended_total{reason=\"protocol\"}";
    let too_much = vec![0; 60_000];
    let flood: Vec<u8> = (0..5)
        .flat_map(|_| {
            let frame = Frame::Data {
                tunnel: 1,
                payload: Bytes::from(too_much.clone()),
                end: false,
            };
            frame.encode().unwrap()
        })
        .collect();
    // Nothing of this is read by anybody, so that the credit can't come back.
    let sink = Service::start(|socket| async move {
        let _socket = socket;
        std::future::pending::<()>().await;
    })
    .await;
    let plan = pair.east_plan().revision("second");
    let plan = plan.export("sink", sink.address).allow_all();
    pair.east.apply(&plan).await;
    let opened = |frame: Vec<u8>| {
        let mut bytes = open(1, "shop/ledger").encode().unwrap().to_vec();
        bytes.extend(frame);
        bytes
    };
    let encoded = |frame: &Frame| frame.encode().unwrap().to_vec();
    let hello = Frame::Hello(Hello {
        minor: 0,
        capabilities: 0,
        window: 1 << 20,
        tunnels: 1,
    });
    let cases = [
        ("an unknown type", vec![0x33, 0, 0, 0, 0, 0, 0, 0]),
        ("data of a tunnel that never was", encoded(&data(5, b"x"))),
        (
            "an even id of who dialled",
            encoded(&open(2, "shop/ledger")),
        ),
        (
            "the same id twice",
            opened(encoded(&open(1, "shop/ledger"))),
        ),
        ("an answer to nothing", opened(encoded(&Frame::Accept(1)))),
        ("a second hello", encoded(&hello)),
        ("empty data", opened(vec![5, 0, 0, 0, 0, 0, 0, 1])),
        (
            "data behind the end",
            opened([5, 1, 0, 0, 0, 0, 0, 1].repeat(2)),
        ),
        (
            "a frame that is too long",
            vec![2, 0, 0xff, 0xff, 0, 0, 0, 1],
        ),
    ];
    for (at, (what, bytes)) in cases.into_iter().enumerate() {
        let mut raw = Raw::greeted(&pair).await;
        raw.bytes(&bytes).await;
        let frames = raw.rest().await;
        assert!(frames.len() <= 2, "{what}: {frames:?}");
        pair.east.counts(ended, 1.0 + at as f64).await;
    }
    // More than the credit, towards a service that reads nothing: after the kernel's own buffers.
    let mut raw = Raw::greeted(&pair).await;
    raw.send(&open(1, "shop/sink")).await;
    assert_eq!(raw.receive().await, Some(Frame::Accept(1)));
    let before = pair.east.metric(ended).await.unwrap();
    for _ in 0..400 {
        raw.bytes(&flood).await;
    }
    raw.rest().await;
    pair.east.counts(ended, before + 1.0).await;
    assert_eq!(talk(pair.import, "hello").await.unwrap(), "hello");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_is_answered_to_peers_alone() {
    let pair = Pair::open(Service::echo().await).await;
    for (path, expected) in [("/healthz", "HTTP/1.1 200"), ("/metrics", "HTTP/1.1 404")] {
        let mut raw = connect(&pair, Some(&pair.west_leaf), b"").await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: east\r\nconnection: close\r\n\r\n");
        raw.bytes(request.as_bytes()).await;
        let mut answer = String::new();
        let _ = soon("the answer", raw.stream.read_to_string(&mut answer)).await;
        assert!(answer.starts_with(expected), "{answer}");
    }
    // In TLS 1.3 who is refused learns it at the first read.
    let mut raw = connect(&pair, None, b"").await.unwrap();
    assert!(raw.stream.read_u8().await.is_err());
    pair.east.handshakes("accept", "no_certificate").await;
    assert!(connect(&pair, Some(&pair.west_leaf), b"h2").await.is_err());
    pair.east.handshakes("accept", "no_protocol").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_30_without_a_certificate_nobody_comes_in() {
    let pair = Pair::open(Service::echo().await).await;
    for (count, alpn) in [b"weft/1".as_slice(), b"http/1.1", b""]
        .into_iter()
        .enumerate()
    {
        // In TLS 1.3 who is refused learns it at the first read.
        let mut raw = connect(&pair, None, alpn).await.unwrap();
        assert!(raw.stream.read_u8().await.is_err());
        let refused = "weft_handshakes_total{role=\"accept\",result=\"no_certificate\"}";
        pair.east.counts(refused, count as f64 + 1.0).await;
    }
    assert_eq!(pair.service.served(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_31_what_is_for_the_inside_is_not_served_to_peers() {
    let pair = Pair::open(Service::echo().await).await;
    for path in ["/metrics", "/snapshot", "/readyz", "/", "/debug"] {
        let mut raw = connect(&pair, Some(&pair.west_leaf), b"").await.unwrap();
        raw.bytes(format!("GET {path} HTTP/1.1\r\nhost: east\r\n\r\n").as_bytes())
            .await;
        let mut answer = String::new();
        let _ = soon("the answer", raw.stream.read_to_string(&mut answer)).await;
        assert!(answer.starts_with("HTTP/1.1 404"), "{path}: {answer}");
        assert!(!answer.contains("weft_"), "{path}: {answer}");
    }
    // Where it is served, it is to this host alone, unless somebody says otherwise.
    assert!(pair.east.admin("/metrics").await.1.contains("weft_"));
    assert!(gateway::Config::new(Vec::new()).admin.ip().is_loopback());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_84_a_header_that_is_too_long_is_refused_and_counted() {
    let pair = Pair::started(Service::echo().await).await;
    let limited = |most| {
        let plan = pair.east_plan().allow_all();
        let plan = plan.state(|state| state.limits.header_bytes = most);
        plan.revision(&format!("{most} bytes"))
    };
    let hit = "weft_limits_hit_total{limit=\"header_bytes\"}";
    let mut hits = 0.0;
    // What the fabric says, and no more than the gateway bears itself.
    for (most, length, status) in [
        (0, 15_000, "200"),
        (0, 17_000, "431"),
        (500, 400, "200"),
        (500, 501, "431"),
        (100_000, 15_000, "200"),
        (100_000, 17_000, "431"),
    ] {
        pair.east.apply(&limited(most)).await;
        let mut raw = connect(&pair, Some(&pair.west_leaf), b"").await.unwrap();
        let head = "GET /healthz HTTP/1.1\r\nhost: east\r\nx: ";
        let padding = "x".repeat(length - head.len() - 4);
        raw.bytes(format!("{head}{padding}\r\n\r\n").as_bytes())
            .await;
        let mut answer = String::new();
        let _ = soon("the answer", raw.stream.read_to_string(&mut answer)).await;
        let expected = format!("HTTP/1.1 {status}");
        assert!(answer.starts_with(&expected), "{most} {length}: {answer}");
        if status == "431" {
            hits += 1.0;
            pair.east.counts(hit, hits).await;
        }
        assert_eq!(pair.east.metric(hit).await, Some(hits));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_best_key_exchange_is_chosen_and_nothing_is_resumed() {
    let pair = Pair::open(Service::echo().await).await;
    let raw = Raw::greeted(&pair).await;
    let (_, session) = raw.stream.get_ref();
    let group = session.negotiated_key_exchange_group().unwrap().name();
    assert_eq!(group, rustls::NamedGroup::X25519MLKEM768);
    assert_eq!(
        session.protocol_version(),
        Some(rustls::ProtocolVersion::TLSv1_3)
    );
    assert_eq!(session.tls13_tickets_received(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_68_hops_are_bounded_and_the_own_name_among_them_is_a_loop() {
    let pair = Pair::started(Service::echo().await).await;
    // East exports a service, and by another name what it imports from north, which isn't there.
    let plan = pair
        .east_plan()
        .peer("north", &[])
        .import("books", free_port(), &[("north", "books")])
        .relay("books");
    pair.east.apply(&plan.allow_all()).await;
    let mut raw = Raw::greeted(&pair).await;
    let eight = ["a", "b", "c", "d", "e", "f", "g", "h"];
    for (id, export, via, refused) in [
        (1, "shop/ledger", &eight[..0], None),
        // It ends here: eight may have been in between.
        (3, "shop/ledger", &eight[..], None),
        (5, "shop/ledger", &["a", "east", "b"][..], Some("loop")),
        // It would be the ninth.
        (7, "shop/books", &eight[..], Some("loop")),
        (9, "shop/books", &eight[..7], Some("export_unreachable")),
        // North had it already.
        (11, "shop/books", &["north"][..], Some("loop")),
    ] {
        let Frame::Open(_, mut open) = open(id, export) else {
            unreachable!()
        };
        open.via = via.iter().map(|name| name.parse().unwrap()).collect();
        raw.send(&Frame::Open(id, open)).await;
        let answer = raw.receive().await;
        let told = match &answer {
            Some(Frame::Refuse(_, reason, _)) => Some(reason.as_str()),
            Some(Frame::Accept(_)) => None,
            other => panic!("{other:?}"),
        };
        assert_eq!(told, refused, "{export} via {via:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_34_peer_attributes_are_not_what_the_other_side_says() {
    // North's certificate says who asks; a policy for west is none for it.
    let pair = Pair::started(Service::echo().await).await;
    let north = pair.authority.leaf(pair.folder.path(), &["north"]);
    let west_alone = [("peer.clusterlink.net/name", "west")];
    let plan: Planner = pair.east_plan().peer("north", &[]).policy(
        "west-alone",
        fabric::api::Action::Allow,
        &west_alone,
        &[],
    );
    pair.east.apply(&plan).await;
    let ask = async |certificate: &Leaf| {
        let mut raw = connect(&pair, Some(certificate), b"weft/1").await.unwrap();
        let hello = Hello {
            minor: 0,
            capabilities: 0,
            window: 64 * 1024,
            tunnels: 10,
        };
        raw.send(&Frame::Hello(hello)).await;
        raw.receive().await;
        raw.send(&open(1, "shop/ledger")).await;
        raw.receive().await
    };
    assert_eq!(ask(&pair.west_leaf).await, Some(Frame::Accept(1)));
    let refused = ask(&north).await;
    assert!(matches!(refused, Some(Frame::Refuse(1, reason, _)) if reason.as_str() == "denied"));
}

/// A service that reads to the end, and then neither says anything nor closes.
async fn silent() -> Service {
    Service::start(|mut socket| async move {
        let _ = tokio::io::copy(&mut socket, &mut tokio::io::sink()).await;
        std::future::pending::<()>().await;
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_behind_the_end_lets_go_of_a_silent_service() {
    let pair = Pair::open(silent().await).await;
    let mut raw = Raw::greeted(&pair).await;
    raw.send(&open(1, "shop/ledger")).await;
    assert_eq!(raw.receive().await, Some(Frame::Accept(1)));
    let end = Frame::Data {
        tunnel: 1,
        payload: Bytes::new(),
        end: true,
    };
    raw.send(&end).await;
    let aborted = gateway::tunnel::Reason::Aborted;
    raw.send(&Frame::Reset(1, aborted, String::new())).await;
    let ended = "weft_connections_ended_total{side=\"export\",reason=\"peer_aborted\"}";
    pair.east.counts(ended, 1.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_aborts_behind_its_end_lets_go_of_a_silent_service() {
    let pair = Pair::open(silent().await).await;
    let mut client = TcpStream::connect(pair.import).await.unwrap();
    client.write_all(b"that is all").await.unwrap();
    client.shutdown().await.unwrap();
    pair.east.decides("export", "allowed", 1.0).await;
    client.set_zero_linger().unwrap();
    drop(client);
    let ended = |side: &str, reason: &str| {
        format!("weft_connections_ended_total{{side=\"{side}\",reason=\"{reason}\"}}")
    };
    pair.west.counts(&ended("import", "aborted"), 1.0).await;
    pair.east
        .counts(&ended("export", "peer_aborted"), 1.0)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_host_with_hanging_handshakes_does_not_lock_out_another() {
    let pair = Pair::started(Service::echo().await).await;
    pair.east.apply(&pair.east_plan().allow_all()).await;
    let mut hanging = Vec::new();
    for _ in 0..65 {
        hanging.push(TcpStream::connect(pair.east.address()).await.unwrap());
    }
    pair.east.handshakes("accept", "limit").await;
    let mut raw = connect_from("127.0.0.2", &pair, Some(&pair.west_leaf), b"")
        .await
        .unwrap();
    raw.bytes(b"GET /healthz HTTP/1.1\r\nhost: east\r\n\r\n")
        .await;
    // To the end: a connection answers one request, and so never outlives its certificate.
    let mut answer = String::new();
    let _ = soon("the answer", raw.stream.read_to_string(&mut answer)).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_may_change_its_key_at_any_time() {
    let pair = Pair::open(Service::echo().await).await;
    let mut raw = Raw::greeted(&pair).await;
    for token in 1..=5 {
        raw.stream.get_mut().1.refresh_traffic_keys().unwrap();
        let beat = Beat {
            token,
            revision: String::new(),
        };
        raw.send(&Frame::Ping(beat)).await;
        let answer = raw.receive().await;
        let Some(Frame::Pong(answer)) = answer else {
            panic!("{answer:?}");
        };
        assert_eq!(answer.token, token);
    }
}
