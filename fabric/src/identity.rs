//! Facts about certificates: names, chain, validity, usage, fingerprint.
//!
//! x509-parser tells what a certificate says, webpki decides what is trusted. The check of the
//! repository and the gateway's TLS ask the same [`Authorities`].

mod authority;
mod facts;
mod peer;
mod pem;
mod renewal;
mod trust;

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::api::Fingerprint;
use crate::diagnostic::{Finding, Span};
use crate::name::PeerName;
use crate::plan::Certificate;

pub use authority::check_authorities;
pub use facts::Key;
pub use peer::{check_leaves, find_leaves};
pub use renewal::Renewal;
pub use trust::{Authorities, IdentityError, Usage};

/// The certificates of one PEM file, and what is wrong with the file by itself.
#[derive(Clone, Debug, Default)]
pub struct CertificateFile {
    /// The certificates in the order of the file.
    pub certificates: Vec<CertificateFacts>,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

/// What a certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFacts {
    /// The certificate.
    pub certificate: Certificate,
    /// Its fingerprint.
    pub fingerprint: Fingerprint,
    /// Its `BEGIN` line.
    pub span: Span,
    /// Its subject, for people.
    pub subject: String,
    /// Its DNS names, as written.
    pub dns_names: Vec<String>,
    /// The first moment at which it is valid.
    pub not_before: Timestamp,
    /// The last one.
    pub not_after: Timestamp,
    /// Whether it is a CA's.
    pub is_authority: bool,
    /// Whether its key may sign what its kind signs: certificates a CA's, handshakes any other.
    pub may_sign: bool,
    /// The kind of its public key.
    pub key: Key,
    /// The SHA-256 of its public key (SubjectPublicKeyInfo).
    pub key_digest: [u8; 32],
}

/// What the check of a peer's certificates goes by, besides the file.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// The names of all peers of the fabric.
    pub peers: &'a BTreeSet<PeerName>,
    /// The fabric's CAs.
    pub authorities: &'a Authorities,
    /// When certificates are renewed.
    pub renewal: Renewal,
    /// The time.
    pub now: Timestamp,
}

/// Reads a PEM file of certificates.
#[must_use]
pub fn read(bytes: &[u8]) -> CertificateFile {
    pem::read(bytes)
}

// === impl CertificateFacts ===

impl CertificateFacts {
    /// What a certificate of DER says, wherever it comes from.
    pub fn from_der(der: &[u8]) -> Result<Self, IdentityError> {
        facts::parse(der, Span::FILE).map_err(IdentityError::Malformed)
    }

    /// Whether the certificate proves the name of a peer: one of its DNS names is that very name.
    ///
    /// A wildcard proves no peer's name.
    #[must_use]
    pub fn proves(&self, peer: &PeerName) -> bool {
        self.dns_names
            .iter()
            .any(|name| name.eq_ignore_ascii_case(peer.as_str()))
    }

    /// Whether the certificate is valid at a moment.
    #[must_use]
    pub fn is_valid_at(&self, now: Timestamp) -> bool {
        self.not_before <= now && now <= self.not_after
    }
}
