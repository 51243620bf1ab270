//! Whose certificate is accepted, and as whom.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use fabric::api::Fingerprint;
use fabric::identity::{self, IdentityError, Usage};
use fabric::name::PeerName;
use fabric::snapshot::Snapshot;
use jiff::Timestamp;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, OtherError, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

/// The fabric's CA certificates, ready to verify with.
///
/// The model's own judgement, so that what `weft validate` says of a certificate and what the
/// gateway does with it can't differ.
#[derive(Debug)]
pub(crate) struct Authorities(identity::Authorities);

/// As whom a certificate is shown.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Role<'a> {
    /// By whoever opened the connection: any one of the other peers.
    Client,
    /// By whom this side opened the connection to: exactly this peer.
    Server(&'a PeerName),
}

/// Why a certificate isn't accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Refused {
    /// It doesn't chain to a CA of the fabric.
    UnknownAuthority,
    /// It is past its validity.
    Expired,
    /// It isn't valid yet.
    NotValidYet,
    /// It may not be used for this.
    WrongUsage,
    /// Its key is too weak.
    WeakKey,
    /// It isn't the certificate of the peer that was dialled.
    WrongName,
    /// It carries the name of no peer, or of several.
    UnknownPeer,
    /// It is revoked.
    Revoked,
    /// The peer has committed certificates, and it is none of them.
    Uncommitted,
    /// It can't be understood.
    Malformed,
}

// === impl Authorities ===

impl Authorities {
    /// The CA certificates of a snapshot, without revoked ones.
    #[must_use]
    pub(crate) fn new(snapshot: &Snapshot) -> Self {
        let authorities = snapshot.authorities.iter();
        Self(identity::Authorities::new(authorities.filter(
            |authority| !snapshot.revoked.contains(&authority.fingerprint()),
        )))
    }

    /// Whether a chain, the own certificate first, is accepted, and as which peer.
    pub(crate) fn verify(
        &self,
        snapshot: &Snapshot,
        chain: &[CertificateDer<'_>],
        role: Role<'_>,
        now: UnixTime,
    ) -> Result<PeerName, Refused> {
        let (leaf, rest) = chain.split_first().ok_or(Refused::Malformed)?;
        let fingerprint = Fingerprint::of_der(leaf);
        if snapshot.revoked.contains(&fingerprint) {
            return Err(Refused::Revoked);
        }
        let intermediates: Vec<_> = rest
            .iter()
            .filter(|der| !snapshot.revoked.contains(&Fingerprint::of_der(der)))
            .cloned()
            .collect();
        let usage = match role {
            Role::Client => Usage::Client,
            Role::Server(_) => Usage::Server,
        };
        // A time that can't be told is no time at which a certificate is valid.
        let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let now = Timestamp::from_second(seconds).map_err(|_| Refused::Expired)?;
        let facts = self
            .0
            .verify(leaf, &intermediates, usage, now)
            .map_err(|error| Refused::from_identity(&error))?;

        // Peer names are lower case; DNS names may be written otherwise.
        let names: BTreeSet<_> = facts
            .dns_names
            .iter()
            .map(|name| name.to_ascii_lowercase())
            .collect();
        let mut peers = names
            .iter()
            .filter_map(|name| snapshot.remotes.get(name.as_str()));
        let remote = match (peers.next(), peers.next(), role) {
            (None, _, Role::Server(_)) => return Err(Refused::WrongName),
            (None, _, Role::Client) | (_, Some(_), _) => return Err(Refused::UnknownPeer),
            (Some(remote), None, _) => remote,
        };
        // A certificate that is ours as well would make two peers of one. (A peer that imports from
        // itself is one of its own remotes.)
        let own = &snapshot.peer.name;
        if remote.peer.name != *own && names.contains(own.as_str()) {
            return Err(Refused::UnknownPeer);
        }
        if let Role::Server(expected) = role
            && remote.peer.name != *expected
        {
            return Err(Refused::WrongName);
        }
        if !remote.certificates.is_empty() && !remote.certificates.contains(&fingerprint) {
            return Err(Refused::Uncommitted);
        }
        Ok(remote.peer.name.clone())
    }
}

// === impl Refused ===

impl Refused {
    const ALL: [Self; 10] = [
        Self::UnknownAuthority,
        Self::Expired,
        Self::NotValidYet,
        Self::WrongUsage,
        Self::WeakKey,
        Self::WrongName,
        Self::UnknownPeer,
        Self::Revoked,
        Self::Uncommitted,
        Self::Malformed,
    ];

    /// The stable name in logs and metrics.
    #[must_use]
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::UnknownAuthority => "unknown_authority",
            Self::Expired => "expired",
            Self::NotValidYet => "not_valid_yet",
            Self::WrongUsage => "wrong_usage",
            Self::WeakKey => "weak_key",
            Self::WrongName => "wrong_name",
            Self::UnknownPeer => "unknown_peer",
            Self::Revoked => "revoked",
            Self::Uncommitted => "uncommitted",
            Self::Malformed => "malformed",
        }
    }

    /// The error that makes TLS send the alert which fits best.
    fn into_rustls(self) -> CertificateError {
        match self {
            Self::UnknownAuthority => CertificateError::UnknownIssuer,
            Self::Expired => CertificateError::Expired,
            Self::NotValidYet => CertificateError::NotValidYet,
            Self::WrongUsage => CertificateError::InvalidPurpose,
            Self::Revoked => CertificateError::Revoked,
            Self::Malformed => CertificateError::BadEncoding,
            Self::WeakKey | Self::WrongName | Self::UnknownPeer | Self::Uncommitted => {
                CertificateError::Other(OtherError(Arc::new(self)))
            }
        }
    }

    /// The reason in an error that [`into_rustls`](Self::into_rustls) made.
    #[must_use]
    pub(crate) fn from_rustls(error: &CertificateError) -> Option<Self> {
        if let CertificateError::Other(OtherError(inner)) = error {
            return inner.downcast_ref().copied();
        }
        Self::ALL
            .into_iter()
            .find(|refused| refused.into_rustls() == *error)
    }

    const fn from_identity(error: &IdentityError) -> Self {
        match error {
            IdentityError::Malformed(_) => Self::Malformed,
            IdentityError::Authority | IdentityError::Usage(_) => Self::WrongUsage,
            IdentityError::WeakKey(_) => Self::WeakKey,
            IdentityError::NotYetValid(_) => Self::NotValidYet,
            IdentityError::Expired(_) => Self::Expired,
            IdentityError::UnknownIssuer
            | IdentityError::Signature
            | IdentityError::IssuerTime
            | IdentityError::Chain(_) => Self::UnknownAuthority,
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::error::Error for Refused {}

/// Verifies whoever opened a connection to this gateway.
#[derive(Debug)]
pub(super) struct VerifyClient {
    verify: Verify,
}

/// Verifies the gateway of the peer that was dialled.
#[derive(Debug)]
pub(super) struct VerifyServer {
    verify: Verify,
    peer: PeerName,
}

#[derive(Debug)]
struct Verify {
    snapshot: Arc<Snapshot>,
    authorities: Arc<Authorities>,
    algorithms: WebPkiSupportedAlgorithms,
}

// === impl Verify ===

impl Verify {
    fn new(
        provider: &CryptoProvider,
        snapshot: &Arc<Snapshot>,
        authorities: &Arc<Authorities>,
    ) -> Self {
        Self {
            snapshot: Arc::clone(snapshot),
            authorities: Arc::clone(authorities),
            algorithms: provider.signature_verification_algorithms,
        }
    }

    fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        role: Role<'_>,
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        let chain: Vec<_> = std::iter::once(leaf)
            .chain(intermediates)
            .cloned()
            .collect();
        self.authorities
            .verify(&self.snapshot, &chain, role, now)
            .map(|_| ())
            .map_err(|refused| rustls::Error::InvalidCertificate(refused.into_rustls()))
    }

    /// Asked only where version 1.2 is spoken at all.
    fn signature_of_tls12(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }
}

// === impl VerifyClient ===

impl VerifyClient {
    pub(super) fn new(
        provider: &CryptoProvider,
        snapshot: &Arc<Snapshot>,
        authorities: &Arc<Authorities>,
    ) -> Self {
        Self {
            verify: Verify::new(provider, snapshot, authorities),
        }
    }
}

impl ClientCertVerifier for VerifyClient {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.verify
            .verify(leaf, intermediates, Role::Client, now)
            .map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verify
            .signature_of_tls12(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verify.signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verify.algorithms.supported_schemes()
    }
}

// === impl VerifyServer ===

impl VerifyServer {
    pub(super) fn new(
        provider: &CryptoProvider,
        snapshot: &Arc<Snapshot>,
        authorities: &Arc<Authorities>,
        peer: &PeerName,
    ) -> Self {
        Self {
            verify: Verify::new(provider, snapshot, authorities),
            peer: peer.clone(),
        }
    }
}

impl ServerCertVerifier for VerifyServer {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.verify
            .verify(leaf, intermediates, Role::Server(&self.peer), now)
            .map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verify
            .signature_of_tls12(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verify.signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verify.algorithms.supported_schemes()
    }
}
