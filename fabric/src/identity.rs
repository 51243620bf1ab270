//! Facts about certificates: names, chain, validity, usage, fingerprint.

use jiff::Timestamp;

use crate::api::Fingerprint;
use crate::diagnostic::{Finding, Span};
use crate::name::PeerName;
use crate::plan::Certificate;

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
    /// Its DNS names, as written.
    pub dns_names: Vec<String>,
    /// The first moment at which it is valid.
    pub not_before: Timestamp,
    /// The last one.
    pub not_after: Timestamp,
    /// Whether it is a CA's.
    pub is_authority: bool,
    /// The SHA-256 of its public key (SubjectPublicKeyInfo).
    pub key_digest: [u8; 32],
}

/// Reads a PEM file of certificates.
#[must_use]
pub fn read(bytes: &[u8]) -> CertificateFile {
    let _ = bytes;
    CertificateFile::default()
}

/// Checks a peer's `cert.pem`: leaves with the peer's name (at most two), chain to the fabric's CA
/// through the file's own intermediates, usage, key strength, and validity at `now`.
#[must_use]
pub fn check_peer(
    peer: &PeerName,
    is_dialled: bool,
    file: &CertificateFile,
    authorities: &[CertificateFacts],
    peers: &std::collections::BTreeSet<PeerName>,
    now: Timestamp,
) -> (Vec<CertificateFacts>, Vec<Finding>) {
    let _ = (peer, is_dialled, file, authorities, peers, now);
    (Vec::new(), Vec::new())
}

/// Checks a CA file: CA certificates alone, key strength, and validity at `now`.
#[must_use]
pub fn check_authorities(
    file: &CertificateFile,
    now: Timestamp,
) -> (Vec<CertificateFacts>, Vec<Finding>) {
    let _ = (file, now);
    (Vec::new(), Vec::new())
}
