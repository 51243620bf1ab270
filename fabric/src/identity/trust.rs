//! Which certificates are trusted; webpki decides.

use std::time::Duration;

use jiff::Timestamp;
use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm, TrustAnchor, UnixTime};
use webpki::aws_lc_rs as algorithm;
use webpki::{
    EndEntityCert, Error, ExtendedKeyUsageValidator, KeyPurposeId, KeyPurposeIdIter, KeyUsage,
    RequiredEkuNotFoundContext, VerifiedPath,
};

use super::{CertificateFacts, Key};
use crate::plan::Certificate;

/// The signatures that count in a chain: SHA-2 over keys of at least P-256 or RSA-2048.
const ALGORITHMS: &[&dyn SignatureVerificationAlgorithm] = &[
    algorithm::ECDSA_P256_SHA256,
    algorithm::ECDSA_P256_SHA384,
    algorithm::ECDSA_P256_SHA512,
    algorithm::ECDSA_P384_SHA256,
    algorithm::ECDSA_P384_SHA384,
    algorithm::ECDSA_P384_SHA512,
    algorithm::ECDSA_P521_SHA256,
    algorithm::ECDSA_P521_SHA384,
    algorithm::ECDSA_P521_SHA512,
    algorithm::ED25519,
    algorithm::RSA_PKCS1_2048_8192_SHA256,
    algorithm::RSA_PKCS1_2048_8192_SHA384,
    algorithm::RSA_PKCS1_2048_8192_SHA512,
    algorithm::RSA_PSS_2048_8192_SHA256_LEGACY_KEY,
    algorithm::RSA_PSS_2048_8192_SHA384_LEGACY_KEY,
    algorithm::RSA_PSS_2048_8192_SHA512_LEGACY_KEY,
];

/// The fabric's CAs, ready to decide about certificates.
#[derive(Clone, Debug, Default)]
pub struct Authorities {
    anchors: Vec<Anchor>,
    /// The same in the form that webpki takes.
    trusted: Vec<TrustAnchor<'static>>,
}

#[derive(Clone, Debug)]
struct Anchor {
    trusted: TrustAnchor<'static>,
    not_before: Timestamp,
    not_after: Timestamp,
}

/// What a certificate is used for in a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Usage {
    /// To dial another gateway.
    Client,
    /// To be dialled.
    Server,
}

/// Why a certificate isn't trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// It isn't a certificate, or not one that can be understood.
    #[error("the certificate can't be read: {0}")]
    Malformed(String),
    /// It is a CA's own certificate.
    #[error("the certificate is a CA's, which proves no peer")]
    Authority,
    /// Its key is too weak, or of a kind that isn't taken.
    #[error("the key is {0}; P-256, RSA-2048 or stronger is wanted")]
    WeakKey(Key),
    /// It isn't valid yet.
    #[error("the certificate isn't valid before {0}")]
    NotYetValid(Timestamp),
    /// It isn't valid any more.
    #[error("the certificate expired on {0}")]
    Expired(Timestamp),
    /// It may not be used so.
    #[error("the certificate may not be used {0}")]
    Usage(&'static str),
    /// No CA of the fabric signed it, directly or through the intermediates at hand.
    #[error("no CA of the fabric signed the certificate")]
    UnknownIssuer,
    /// A CA of the fabric should have signed it but did not: same name, another key.
    #[error(
        "the certificate names a CA of the fabric as its issuer, but that CA's key didn't sign it"
    )]
    Signature,
    /// An intermediate or the CA itself isn't valid at this time.
    #[error("the CA, or an intermediate between, isn't valid at this time")]
    IssuerTime,
    /// Anything else that is wrong with the chain.
    #[error("the chain of the certificate is wrong: {0}")]
    Chain(Error),
}

// === impl Authorities ===

impl Authorities {
    /// The CAs of these certificates; one that can't be read is left out, and trusts nobody.
    #[must_use]
    pub fn new<'a>(certificates: impl IntoIterator<Item = &'a Certificate>) -> Self {
        let anchors = certificates.into_iter().filter_map(|certificate| {
            let facts = CertificateFacts::from_der(certificate.der()).ok()?;
            let der = CertificateDer::from(certificate.der());
            let trusted = webpki::anchor_from_trusted_cert(&der).ok()?.to_owned();
            // What ca/ may not hold must not count either, whichever way it came here.
            let is_sound = facts.is_authority && facts.may_sign && facts.key.is_strong();
            is_sound.then_some(Anchor {
                trusted,
                not_before: facts.not_before,
                not_after: facts.not_after,
            })
        });
        let anchors: Vec<_> = anchors.collect();
        Self {
            trusted: anchors
                .iter()
                .map(|anchor| anchor.trusted.clone())
                .collect(),
            anchors,
        }
    }

    /// Whether there is no CA at all, so that nobody is trusted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.anchors.is_empty()
    }

    /// Decides about the certificate that the other side of a handshake shows, and tells what it
    /// says; which peer it proves, and whether it is revoked, is the caller's next question.
    pub fn verify(
        &self,
        leaf: &[u8],
        intermediates: &[CertificateDer<'_>],
        usage: Usage,
        now: Timestamp,
    ) -> Result<CertificateFacts, IdentityError> {
        let facts = CertificateFacts::from_der(leaf)?;
        facts.check_kind()?;
        if now < facts.not_before {
            return Err(IdentityError::NotYetValid(facts.not_before));
        }
        if now > facts.not_after {
            return Err(IdentityError::Expired(facts.not_after));
        }
        let anchors_at = Some(now);
        self.verify_path(leaf, intermediates, &[usage], now, anchors_at)?;
        Ok(facts)
    }

    /// Decides about a chain whatever the time: whether there is a moment at which it is sound.
    pub(super) fn verify_ever(
        &self,
        leaf: &CertificateFacts,
        intermediates: &[CertificateFacts],
        usages: &[Usage],
    ) -> Result<(), IdentityError> {
        let der = |facts: &CertificateFacts| CertificateDer::from(facts.certificate.der().to_vec());
        let chain: Vec<_> = intermediates.iter().map(der).collect();
        // Where the validities of a path overlap, they do so when the last of them begins.
        let begins = intermediates.iter().map(|facts| facts.not_before);
        let mut moments: Vec<_> = std::iter::once(leaf.not_before)
            .chain(begins.filter(|begin| leaf.is_valid_at(*begin)))
            .collect();
        moments.sort_unstable();
        moments.dedup();
        let mut first = Ok(());
        for moment in moments {
            let der = leaf.certificate.der();
            match self.verify_path(der, &chain, usages, moment, None) {
                Ok(()) => return Ok(()),
                // What isn't a matter of time says more.
                Err(error) if first.is_ok() || first == Err(IdentityError::IssuerTime) => {
                    first = Err(error);
                }
                Err(_) => {}
            }
        }
        first
    }

    /// Lets webpki look for a path; the CA's own validity, which webpki leaves to its caller, is
    /// asked at `anchors_at`.
    fn verify_path(
        &self,
        leaf: &[u8],
        intermediates: &[CertificateDer<'_>],
        usages: &[Usage],
        time: Timestamp,
        anchors_at: Option<Timestamp>,
    ) -> Result<(), IdentityError> {
        let leaf = CertificateDer::from(leaf);
        let leaf = EndEntityCert::try_from(&leaf).map_err(Self::explain)?;
        let is_anchor_valid = |path: &VerifiedPath<'_>| {
            let Some(now) = anchors_at else { return Ok(()) };
            let is_valid = self.anchors.iter().any(|anchor| {
                anchor.trusted == *path.anchor()
                    && anchor.not_before <= now
                    && now <= anchor.not_after
            });
            if is_valid {
                Ok(())
            } else {
                Err(Error::InvalidCertValidity)
            }
        };
        let seconds = u64::try_from(time.as_second()).unwrap_or(0);
        let path = leaf.verify_for_usage(
            ALGORITHMS,
            &self.trusted,
            intermediates,
            UnixTime::since_unix_epoch(Duration::from_secs(seconds)),
            Usages(usages),
            None,
            Some(&is_anchor_valid),
        );
        path.map(|_| ()).map_err(Self::explain)
    }

    fn explain(error: Error) -> IdentityError {
        match error {
            Error::UnknownIssuer => IdentityError::UnknownIssuer,
            Error::InvalidSignatureForPublicKey => IdentityError::Signature,
            Error::RequiredEkuNotFoundContext(missing) => {
                let usage = match missing.required == Usage::Server.key_usage() {
                    true => Usage::Server,
                    false => Usage::Client,
                };
                IdentityError::Usage(usage.words())
            }
            Error::EmptyEkuExtension => IdentityError::Usage("for anything: it lists no usage"),
            Error::CaUsedAsEndEntity => IdentityError::Authority,
            // The leaf's own validity is asked before.
            Error::CertExpired { .. }
            | Error::CertNotValidYet { .. }
            | Error::InvalidCertValidity => IdentityError::IssuerTime,
            Error::BadDer | Error::BadDerTime | Error::TrailingData(_) => {
                IdentityError::Malformed(error.to_string())
            }
            error => IdentityError::Chain(error),
        }
    }
}

// === impl CertificateFacts ===

impl CertificateFacts {
    /// Whether a peer's certificate is of the right kind by itself: no CA's, strong, for
    /// signatures.
    pub(super) fn check_kind(&self) -> Result<(), IdentityError> {
        if self.is_authority {
            return Err(IdentityError::Authority);
        }
        if !self.key.is_strong() {
            return Err(IdentityError::WeakKey(self.key.clone()));
        }
        if !self.may_sign {
            return Err(IdentityError::Usage(
                "to sign a handshake (digitalSignature)",
            ));
        }
        Ok(())
    }
}

// === impl Usages ===

/// Wants each of several usages of a chain that lists usages at all.
struct Usages<'a>(&'a [Usage]);

impl ExtendedKeyUsageValidator for Usages<'_> {
    fn validate(&self, listed: KeyPurposeIdIter<'_, '_>) -> Result<(), Error> {
        let listed = listed.collect::<Result<Vec<_>, _>>()?;
        let is_missing = |usage: &&Usage| !listed.contains(&usage.purpose());
        match self.0.iter().find(is_missing) {
            Some(missing) if !listed.is_empty() => {
                let missing = RequiredEkuNotFoundContext {
                    required: missing.key_usage(),
                    present: listed.iter().map(KeyPurposeId::to_decoded_oid).collect(),
                };
                Err(Error::RequiredEkuNotFoundContext(missing))
            }
            _ => Ok(()),
        }
    }
}

// === impl Usage ===

impl Usage {
    /// The usage as certificates list it: id-kp-clientAuth and id-kp-serverAuth of RFC 5280.
    const fn purpose(self) -> KeyPurposeId<'static> {
        match self {
            Self::Client => KeyPurposeId::new(&[0x2b, 6, 1, 5, 5, 7, 3, 2]),
            Self::Server => KeyPurposeId::new(&[0x2b, 6, 1, 5, 5, 7, 3, 1]),
        }
    }

    const fn key_usage(self) -> KeyUsage {
        match self {
            Self::Client => KeyUsage::client_auth(),
            Self::Server => KeyUsage::server_auth(),
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::Client => "to dial (client authentication)",
            Self::Server => "to be dialled (server authentication)",
        }
    }
}

// === impl IdentityError ===

impl IdentityError {
    /// The error in one word, for metrics and logs.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::Authority => "authority",
            Self::WeakKey(_) => "weak-key",
            Self::NotYetValid(_) => "not-yet-valid",
            Self::Expired(_) => "expired",
            Self::Usage(_) => "usage",
            Self::UnknownIssuer => "unknown-issuer",
            Self::Signature => "signature",
            Self::IssuerTime => "issuer-time",
            Self::Chain(_) => "chain",
        }
    }
}
