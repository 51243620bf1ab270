//! TLS between gateways: version 1.3 alone, both sides authenticated, nothing resumed. Only where a
//! peer speaks ClusterLink's dialect there is version 1.2, too: see [`compat`](crate::compat).
//!
//! A resumed session would skip the check of the certificate, so neither tickets nor stored
//! sessions exist on either side.

pub(crate) mod handshake;
pub(crate) mod identity;
mod record;
#[cfg(test)]
pub(crate) use record::tests as record_tests;
pub(crate) mod verify;

use std::io;
use std::sync::Arc;

use fabric::name::PeerName;
use fabric::snapshot::Snapshot;
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::NoServerSessionStorage;
use rustls::sign::SingleCertAndKey;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ServerConfig, SupportedProtocolVersion};
use rustls_pki_types::ServerName;

use identity::Identity;
use verify::{Authorities, Refused, VerifyClient, VerifyServer};

/// The ALPN of the tunnel protocol.
pub(crate) const ALPN_WEFT: &[u8] = b"weft/1";

/// The ALPN of what the gateway port serves by HTTP.
const ALPN_HTTP: &[u8] = b"http/1.1";

/// Unencrypted bytes that TLS takes in one go where rustls reads and writes the records.
pub(crate) const TLS_BUFFER: usize = 64 * 1024;

/// The cryptography: AES-128 first (ChaCha20 is five times slower where AES has instructions),
/// X25519MLKEM768 first.
#[must_use]
pub(crate) fn provider() -> Arc<CryptoProvider> {
    use aws_lc_rs::cipher_suite::{
        TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256,
    };
    use aws_lc_rs::kx_group::{SECP256R1, SECP384R1, X25519, X25519MLKEM768};
    Arc::new(CryptoProvider {
        cipher_suites: vec![
            TLS13_AES_128_GCM_SHA256,
            TLS13_AES_256_GCM_SHA384,
            TLS13_CHACHA20_POLY1305_SHA256,
        ],
        kx_groups: vec![X25519MLKEM768, X25519, SECP256R1, SECP384R1],
        ..aws_lc_rs::default_provider()
    })
}

/// The versions and the cryptography with peers that speak `weft/1`, or also ClusterLink's dialect:
/// its data plane offers TLS 1.2 alone.
fn terms(
    provider: &Arc<CryptoProvider>,
    speaks_clusterlink: bool,
) -> (Vec<&'static SupportedProtocolVersion>, Arc<CryptoProvider>) {
    use aws_lc_rs::cipher_suite::{
        TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    };
    if !speaks_clusterlink {
        return (vec![&TLS13], Arc::clone(provider));
    }
    let mut provider = CryptoProvider::clone(provider);
    provider.cipher_suites.extend([
        TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    ]);
    (vec![&TLS13, &TLS12], Arc::new(provider))
}

/// The configuration for connections that other gateways open.
///
/// The version is agreed before the peer is known: where one peer has opted in, whoever accepts has
/// to refuse version 1.2 to the others.
pub(crate) fn server(
    provider: &Arc<CryptoProvider>,
    identity: &Identity,
    snapshot: &Arc<Snapshot>,
    authorities: &Arc<Authorities>,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let verifier = VerifyClient::new(provider, snapshot, authorities);
    let mut remotes = snapshot.remotes.values();
    let speaks_clusterlink = remotes.any(|remote| remote.compatibility.is_some());
    let (versions, provider) = terms(provider, speaks_clusterlink);
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions)?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(identity.key())));
    config.alpn_protocols = vec![ALPN_WEFT.to_vec(), ALPN_HTTP.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    // The records behind the handshake are read and written by `record`.
    config.enable_secret_extraction = true;
    Ok(Arc::new(config))
}

/// The configuration for a connection to one peer's gateway.
pub(crate) fn client(
    provider: &Arc<CryptoProvider>,
    identity: &Identity,
    snapshot: &Arc<Snapshot>,
    authorities: &Arc<Authorities>,
    peer: &PeerName,
) -> Result<Arc<ClientConfig>, rustls::Error> {
    let verifier = VerifyServer::new(provider, snapshot, authorities, peer);
    let remote = snapshot.remotes.get(peer);
    let speaks_clusterlink = remote.is_some_and(|remote| remote.compatibility.is_some());
    let (versions, provider) = terms(provider, speaks_clusterlink);
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity.key())));
    config.alpn_protocols = vec![ALPN_WEFT.to_vec()];
    if speaks_clusterlink {
        // Behind the other: a peer that runs Weft by now says so by its choice.
        config.alpn_protocols.push(ALPN_HTTP.to_vec());
    }
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    config.enable_secret_extraction = true;
    Ok(Arc::new(config))
}

/// The name to ask a peer's gateway for.
///
/// Every peer name but one like `10.0.0.1` is a DNS name; who it is was never decided by this
/// name, so another one is as good there.
#[must_use]
pub(crate) fn server_name(peer: &PeerName) -> ServerName<'static> {
    ServerName::try_from(peer.as_str().to_owned())
        .unwrap_or_else(|_| ServerName::IpAddress(std::net::Ipv4Addr::UNSPECIFIED.into()))
}

/// Why a handshake failed, as a stable name.
#[must_use]
pub(crate) fn failure(error: &io::Error) -> &'static str {
    use rustls::{AlertDescription, Error, PeerIncompatible};
    let tls = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<Error>());
    match tls {
        Some(Error::InvalidCertificate(error)) => {
            Refused::from_rustls(error).map_or("bad_certificate", Refused::as_str)
        }
        Some(Error::NoCertificatesPresented) => "no_certificate",
        Some(Error::NoApplicationProtocol) => "no_protocol",
        Some(Error::AlertReceived(AlertDescription::NoApplicationProtocol)) => "no_protocol",
        Some(Error::PeerIncompatible(
            PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled
            | PeerIncompatible::SupportedVersionsExtensionRequired,
        )) => "tls_version",
        // What the other side thinks of our certificate, mostly.
        Some(Error::AlertReceived(_)) => "refused_by_peer",
        Some(_) => "tls",
        None => "io",
    }
}
