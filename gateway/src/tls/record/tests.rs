//! Records against those of rustls itself, and against everything else.

mod cost;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::super::handshake::{self, Shaken};
use super::*;

const NAME: &str = "east.test";

/// Configurations of two sides that trust each other.
pub(crate) fn configs() -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec![NAME.to_owned()]).unwrap();
    let certificate: CertificateDer<'static> = params.self_signed(&key).unwrap().der().clone();
    let key = || PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let roots = Arc::new(roots);
    let provider = crate::tls::provider();
    let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(
        Arc::clone(&roots),
        Arc::clone(&provider),
    );
    let mut server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(vec![certificate.clone()], key())
        .unwrap();
    server.send_tls13_tickets = 0;
    server.enable_secret_extraction = true;
    let mut client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![certificate], key())
        .unwrap();
    client.enable_secret_extraction = true;
    (Arc::new(server), Arc::new(client))
}

pub(crate) fn name() -> ServerName<'static> {
    ServerName::try_from(NAME).unwrap()
}

pub(crate) async fn sockets() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap());
    let (client, server) = tokio::join!(client, listener.accept());
    (client.unwrap(), server.unwrap().0)
}

/// Both ends by us.
async fn ours() -> (Shaken, Shaken) {
    let (server, client) = configs();
    let (near, far) = sockets().await;
    let (client, server) = tokio::join!(
        handshake::ask(client, name(), near),
        handshake::answer(server, far, BytesMut::new())
    );
    (client.unwrap(), server.unwrap())
}

/// A server by us, and rustls as its client.
async fn with_rustls() -> (TlsStream<TcpStream>, Shaken) {
    let (server, client) = configs();
    let (near, far) = sockets().await;
    let (client, server) = tokio::join!(
        TlsConnector::from(client).connect(name(), near),
        handshake::answer(server, far, BytesMut::new())
    );
    (client.unwrap(), server.unwrap())
}

fn seal(sealer: &mut Sealer, plain: &[u8]) -> Vec<u8> {
    let mut out = VecDeque::new();
    sealer.seal(&[plain], &mut out).unwrap();
    Vec::from(out).concat()
}

fn close(sealer: &mut Sealer) -> Vec<u8> {
    let mut out = VecDeque::new();
    sealer.close(&mut out).unwrap();
    Vec::from(out).concat()
}

/// Everything that bytes are opened to, however they are cut.
fn open(opener: &mut Opener, bytes: &[u8], step: usize) -> io::Result<(Vec<u8>, bool)> {
    let (mut received, mut plain) = (BytesMut::new(), Vec::new());
    for piece in bytes.chunks(step) {
        received.extend_from_slice(piece);
        while let Some(opened) = opener.unseal(&mut received)? {
            match opened {
                Opened::Data(bytes) => plain.extend_from_slice(&bytes),
                Opened::Closed => return Ok((plain, true)),
            }
        }
    }
    assert!(received.is_empty(), "half a record is left");
    Ok((plain, false))
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8).collect()
}

fn tls_error(error: &io::Error) -> &Error {
    error.get_ref().unwrap().downcast_ref().unwrap()
}

#[tokio::test]
async fn what_is_sealed_is_opened_however_it_is_cut() {
    let (mut client, mut server) = ours().await;
    for length in [1, 100, 16_383, 16_384, 16_385, 65_536, 300_007] {
        for step in [1_000_000, 16_384, 4099, 7] {
            let plain = pattern(length);
            let sealed = seal(&mut client.sealer, &plain);
            assert_eq!(
                open(&mut server.opener, &sealed, step).unwrap(),
                (plain, false)
            );
        }
    }
    let sealed = [
        seal(&mut server.sealer, b"and back"),
        close(&mut server.sealer),
    ]
    .concat();
    let (plain, closed) = open(&mut client.opener, &sealed, 5).unwrap();
    assert_eq!((&plain[..], closed), (&b"and back"[..], true));
}

#[tokio::test]
async fn pieces_are_sealed_as_one() {
    let (mut client, mut server) = ours().await;
    let plain = pattern(50_000);
    let mut out = VecDeque::new();
    let pieces: Vec<_> = plain.chunks(9_001).collect();
    client.sealer.seal(&pieces, &mut out).unwrap();
    assert_eq!(out.len(), 4, "records are full");
    let sealed = Vec::from(out).concat();
    assert_eq!(open(&mut server.opener, &sealed, 999).unwrap().0, plain);
}

#[tokio::test]
async fn rustls_reads_what_we_write_and_the_other_way_round() {
    let (mut client, mut server) = with_rustls().await;
    // As if a key were good for three records.
    server.sealer.limit = 3;
    let plain = pattern(400_000);
    let (mut reader, mut writer) = server.socket.split();
    let sealed = [seal(&mut server.sealer, &plain), close(&mut server.sealer)].concat();
    assert!(server.sealer.sequence <= 3);
    let mut read = Vec::new();
    let (written, result) = tokio::join!(writer.write_all(&sealed), client.read_to_end(&mut read));
    written.unwrap();
    result.unwrap();
    assert_eq!(read, plain);

    // rustls changes its key, and asks for ours to be changed.
    client.write_all(&plain[..100]).await.unwrap();
    client.get_mut().1.refresh_traffic_keys().unwrap();
    client.write_all(&plain[100..]).await.unwrap();
    client.shutdown().await.unwrap();
    let mut received = server.received.to_vec();
    reader.read_to_end(&mut received).await.unwrap();
    let (read, closed) = open(&mut server.opener, &received, 10_000).unwrap();
    assert!(read == plain && closed);
}

#[tokio::test]
async fn a_key_is_changed_when_the_other_side_asks() {
    let (mut client, mut server) = ours().await;
    let mut out = VecDeque::new();
    let message = [KEY_UPDATE, 0, 0, 1, 1];
    let record = client
        .sealer
        .record(ContentType::Handshake, OutboundChunks::Single(&message))
        .unwrap();
    out.push_back(record);
    let secrets = client.sealer.shared.secrets.lock().next_sealing().unwrap();
    client.sealer.encrypter = encrypter(client.sealer.shared.suite, secrets).unwrap();
    client.sealer.sequence = 0;
    client
        .sealer
        .seal(&[b"under the new key"], &mut out)
        .unwrap();
    let sealed = Vec::from(out).concat();
    let (plain, _) = open(&mut server.opener, &sealed, 1000).unwrap();
    assert_eq!(plain, b"under the new key");
    assert_eq!(server.opener.sequence, 1);

    seal(
        &mut client.sealer,
        b"not received, and so not counted by the other side",
    );
    let answer = seal(&mut server.sealer, b"under the other new key");
    assert_eq!(
        server.sealer.sequence, 1,
        "only the data is under the new key"
    );
    let (plain, _) = open(&mut client.opener, &answer, 1000).unwrap();
    assert_eq!(plain, b"under the other new key");
    assert_eq!(client.opener.sequence, 1);
}

#[tokio::test]
async fn a_flipped_byte_is_refused_and_the_other_side_told() {
    let length = {
        let (mut client, _) = ours().await;
        seal(&mut client.sealer, b"intact").len()
    };
    for at in 0..length {
        let (mut client, mut server) = ours().await;
        let mut sealed = seal(&mut client.sealer, b"intact");
        // A record that says it is longer waits for more, and is refused then.
        sealed.resize(length + 70_000, 0);
        sealed[at] ^= 1;
        let mut received = BytesMut::from(&sealed[..]);
        let result = server.opener.unseal(&mut received);
        let error = result.expect_err("a flipped byte");
        assert!(!error.to_string().contains("intact"));
        let alert = close(&mut server.sealer);
        let error = open(&mut client.opener, &alert, 1000).unwrap_err();
        let Error::AlertReceived(alert) = tls_error(&error) else {
            panic!("{error}");
        };
        let expected = [
            AlertDescription::BadRecordMac,
            AlertDescription::UnexpectedMessage,
            AlertDescription::RecordOverflow,
        ];
        assert!(expected.contains(alert), "{at}: {alert:?}");
    }
}

#[tokio::test]
async fn a_record_is_refused_twice_and_out_of_order() {
    let (mut client, mut server) = ours().await;
    let [one, two] = [b"one", b"two"].map(|plain| seal(&mut client.sealer, plain));
    assert!(open(&mut server.opener, &one, 1000).is_ok());
    let error = open(&mut server.opener, &one, 1000).unwrap_err();
    assert_eq!(tls_error(&error), &Error::DecryptError);
    let (_, mut server) = ours().await;
    assert!(open(&mut server.opener, &two, 1000).is_err());
}

#[tokio::test]
async fn nothing_is_taken_in_the_clear() {
    // close_notify, a change of cipher, a handshake message, something else, and nothing of TLS.
    for record in [
        &[21, 3, 3, 0, 2, 1, 0][..],
        &[20, 3, 3, 0, 1, 1],
        &[22, 3, 3, 0, 4, 0, 0, 0, 0],
        &[99, 3, 3, 0, 1, 0],
        b"GET / HTTP/1.1\r\n",
    ] {
        let (_, mut server) = ours().await;
        let error = open(&mut server.opener, record, 1000).unwrap_err();
        assert!(
            matches!(tls_error(&error), Error::PeerMisbehaved(_)),
            "{error}"
        );
    }
    let (_, mut server) = ours().await;
    let long = [&[23, 3, 3, 0x41, 1][..], &[0; 0x4101]].concat();
    let error = open(&mut server.opener, &long, 1000).unwrap_err();
    assert_eq!(tls_error(&error), &Error::PeerSentOversizedRecord);
    for short in [&[23, 3, 3, 0, 0][..], &[23, 3, 3, 0, 3, 1, 2, 3]] {
        let (_, mut server) = ours().await;
        assert!(open(&mut server.opener, short, 1000).is_err());
    }
}

#[tokio::test]
async fn what_a_peer_may_say_behind_the_handshake_is_bounded() {
    let ticket = [&[NEW_SESSION_TICKET, 0, 0, 30][..], &[7; 30]].concat();
    let two = [&ticket[..], &[KEY_UPDATE, 0, 0, 1, 0]].concat();
    let cases: [(ContentType, &[u8], bool); 12] = [
        (ContentType::Handshake, &ticket, true),
        (ContentType::Handshake, &[KEY_UPDATE, 0, 0, 1, 2], false),
        (ContentType::Handshake, &[KEY_UPDATE, 0, 0, 1], false),
        (ContentType::Handshake, &[KEY_UPDATE, 0, 0, 1, 0, 0], false),
        (ContentType::Handshake, &[KEY_UPDATE, 0, 0, 0], false),
        (ContentType::Handshake, &[1, 0, 0, 1, 0], false),
        (ContentType::Handshake, &[KEY_UPDATE, 0], false),
        (ContentType::Alert, &[WARNING, USER_CANCELED], true),
        (ContentType::Alert, &[FATAL, 40], false),
        (ContentType::Alert, &[FATAL], false),
        (ContentType::Alert, &[FATAL, 40, 0], false),
        (ContentType::Unknown(99), &[1], false),
    ];
    for (typ, message, is_good) in cases {
        let (mut client, mut server) = ours().await;
        let record = client.sealer.record(typ, OutboundChunks::Single(message));
        let bytes = [record.unwrap(), seal(&mut client.sealer, b"behind")].concat();
        let opened = open(&mut server.opener, &bytes, 1000);
        assert_eq!(opened.is_ok(), is_good, "{typ:?} {message:?}");
    }
    // A ticket and a new key in one record are both good.
    let (mut client, mut server) = ours().await;
    let record = client
        .sealer
        .record(ContentType::Handshake, OutboundChunks::Single(&two));
    assert!(open(&mut server.opener, &record.unwrap(), 1000).is_ok());
    assert_eq!(server.opener.sequence, 0);

    let (mut client, mut server) = ours().await;
    let mut empty = || {
        let nothing = OutboundChunks::Single(&[]);
        client.sealer.record(ContentType::ApplicationData, nothing)
    };
    let many: Vec<_> = (0..=MAX_EMPTY).flat_map(|_| empty().unwrap()).collect();
    let error = open(&mut server.opener, &many, 1000).unwrap_err();
    assert!(
        matches!(tls_error(&error), Error::PeerMisbehaved(_)),
        "{error}"
    );
}

#[tokio::test]
async fn new_keys_and_tickets_without_data_are_bounded() {
    let ticket = [&[NEW_SESSION_TICKET, 0, 0, 30][..], &[7; 30]].concat();
    let cases: [(ContentType, &[u8]); 3] = [
        (ContentType::Handshake, &[KEY_UPDATE, 0, 0, 1, 0]),
        (ContentType::Handshake, &ticket),
        (ContentType::Alert, &[WARNING, USER_CANCELED]),
    ];
    for (typ, message) in cases {
        let (mut client, mut server) = ours().await;
        let sealer = &mut client.sealer;
        let mut say = |opener: &mut Opener| {
            let record = sealer.record(typ, OutboundChunks::Single(message)).unwrap();
            if message.first() == Some(&KEY_UPDATE) {
                let secrets = sealer.shared.secrets.lock().next_sealing().unwrap();
                sealer.encrypter = encrypter(sealer.shared.suite, secrets).unwrap();
                sealer.sequence = 0;
            }
            open(opener, &record, 1000).map(|_| ())
        };
        for _ in 0..MAX_EMPTY {
            say(&mut server.opener).unwrap();
        }
        let error = say(&mut server.opener).unwrap_err();
        assert!(
            matches!(tls_error(&error), Error::PeerMisbehaved(_)),
            "{error}"
        );
    }
    // With data between them there may be any number.
    let (mut client, mut server) = ours().await;
    client.sealer.limit = 1;
    for _ in 0..4 * MAX_EMPTY {
        let sealed = seal(&mut client.sealer, b"data");
        assert_eq!(open(&mut server.opener, &sealed, 1000).unwrap().0, b"data");
    }
}

#[tokio::test]
async fn data_right_behind_the_handshake_is_not_lost() {
    let (server, client) = configs();
    let (near, far) = sockets().await;
    let early = async {
        let mut client = handshake::ask(client, name(), near).await.unwrap();
        let sealed = seal(&mut client.sealer, b"at once");
        client.socket.write_all(&sealed).await.unwrap();
        client
    };
    let (_client, server) = tokio::join!(early, async {
        // It waits until everything is there, so that one read has all of it.
        let mut server = handshake::answer(server, far, BytesMut::new())
            .await
            .unwrap();
        while server.received.len() < 5 + 7 + 17 {
            server.socket.read_buf(&mut server.received).await.unwrap();
        }
        server
    });
    let Shaken {
        mut opener,
        mut received,
        ..
    } = server;
    let opened = opener.unseal(&mut received).unwrap();
    assert_eq!(opened, Some(Opened::Data((&b"at once"[..]).into())));
}
