//! Strangers: TLS spoken to a gateway, or in place of one, by somebody who isn't a peer.

use std::io::{self, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use fabric::api::Fingerprint;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls13_signature};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, ServerConfig, ServerConnection,
    SignatureScheme, StreamOwned,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::certificates::Identity;
use crate::network::connect;

/// The protocol that gateways speak.
const ALPN: &[u8] = b"weft/1";

/// Dials a gateway as a peer would and returns how that ends: the alert that refuses us, or that
/// the gateway said something, which is no error.
///
/// In TLS 1.3 a client's handshake is over before the server has seen its certificate, so only what
/// is read afterwards tells.
pub fn dial(gateway: SocketAddr, name: &str, identity: Option<&Identity>) -> io::Result<()> {
    open(gateway, name, identity)?.read_exact(&mut [0])
}

/// Dials a gateway and returns the certificate that it shows.
pub fn shown_certificate(gateway: SocketAddr, name: &str) -> io::Result<Fingerprint> {
    let mut stream = open(gateway, name, None)?;
    // Our own certificate is missing, so this fails; the other side's was seen before that.
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    let shown = stream
        .conn
        .peer_certificates()
        .and_then(|chain| chain.first());
    let shown = shown.ok_or_else(|| io::Error::other("no certificate is shown"))?;
    Ok(Fingerprint::of_der(shown))
}

/// Begins a connection with a gateway.
fn open(
    gateway: SocketAddr,
    name: &str,
    identity: Option<&Identity>,
) -> io::Result<StreamOwned<ClientConnection, TcpStream>> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("the provider has TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyServer(provider)));
    let mut config = match identity {
        Some(identity) => builder
            .with_client_auth_cert(identity.chain(), identity.private_key())
            .expect("the key goes with the certificate"),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![ALPN.to_vec()];
    let name = ServerName::try_from(name.to_owned()).expect("a DNS name");
    let connection = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    Ok(StreamOwned::new(connection, connect(gateway)?))
}

/// Listens in place of a gateway with a certificate that may be wrong, and takes any client.
///
/// Ends with the process: the tests that use it are few.
pub fn serve(gateway: SocketAddr, identity: &Identity) {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("the provider has TLS 1.3")
        .with_no_client_auth()
        .with_single_cert(identity.chain(), identity.private_key())
        .expect("the key goes with the certificate");
    config.alpn_protocols = vec![ALPN.to_vec()];
    let config = Arc::new(config);
    let listener = TcpListener::bind(gateway).expect("the address is the test's");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let config = Arc::clone(&config);
            thread::spawn(move || {
                let connection = ServerConnection::new(config).map_err(io::Error::other)?;
                // Reads until the other side has had enough.
                let mut stream = StreamOwned::new(connection, stream);
                io::copy(&mut stream, &mut io::sink())
            });
        }
    });
}

/// Takes any server, as the one who dials here isn't under test.
#[derive(Debug)]
struct AnyServer(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.2 is not spoken".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
