//! What a certificate says by itself.

use std::fmt;

use jiff::Timestamp;
use sha2::{Digest, Sha256};
use x509_parser::prelude::*;
use x509_parser::public_key::{PublicKey, RSAPublicKey};

use super::CertificateFacts;
use crate::api::Fingerprint;
use crate::diagnostic::Span;
use crate::plan::Certificate;

/// The kind of a public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// RSA, with the bits of its modulus.
    Rsa(usize),
    /// ECDSA over the curve of that name: P-256, P-384 or P-521.
    Ecdsa(&'static str),
    /// Ed25519.
    Ed25519,
    /// Anything else, weak or not supported: the object identifier of its algorithm or curve.
    Other(String),
}

/// Reads a certificate; the error says in words why it is none.
pub(super) fn parse(der: &[u8], span: Span) -> Result<CertificateFacts, String> {
    let (rest, x509) = X509Certificate::from_der(der).map_err(|error| match error {
        nom::Err::Incomplete(_) => "it is cut off".to_owned(),
        nom::Err::Error(why) | nom::Err::Failure(why) => why.to_string(),
    })?;
    if !rest.is_empty() {
        return Err(format!("{} bytes follow the certificate", rest.len()));
    }
    let words = |error: X509Error| error.to_string();
    let names = x509.subject_alternative_name().map_err(words)?;
    let names = names.iter().flat_map(|names| &names.value.general_names);
    let dns_names = names.filter_map(|name| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        _ => None,
    });
    let constraints = x509.basic_constraints().map_err(words)?;
    let is_authority = constraints.is_some_and(|constraints| constraints.value.ca);
    let may_sign = match x509.key_usage().map_err(words)? {
        Some(usage) if is_authority => usage.value.key_cert_sign(),
        Some(usage) => usage.value.digital_signature(),
        None => true,
    };
    let certificate = Certificate::from_der(der.to_vec());
    Ok(CertificateFacts {
        fingerprint: Fingerprint::of_der(der),
        certificate,
        span,
        subject: x509.subject().to_string(),
        dns_names: dns_names.collect(),
        not_before: timestamp(x509.validity().not_before),
        not_after: timestamp(x509.validity().not_after),
        is_authority,
        may_sign,
        key: key(x509.public_key()),
        key_digest: Sha256::digest(x509.public_key().raw).into(),
    })
}

fn timestamp(time: ASN1Time) -> Timestamp {
    // X.509 writes "never" as the last second of the year 9999, just beyond the last timestamp.
    Timestamp::from_second(time.timestamp()).unwrap_or_else(|_| match time.timestamp() {
        0.. => Timestamp::MAX,
        _ => Timestamp::MIN,
    })
}

fn key(info: &SubjectPublicKeyInfo<'_>) -> Key {
    let algorithm = info.algorithm.algorithm.to_id_string();
    match algorithm.as_str() {
        "1.2.840.113549.1.1.1" => match info.parsed() {
            Ok(PublicKey::RSA(key)) => Key::Rsa(modulus_bits(&key)),
            _ => Key::Other(algorithm),
        },
        "1.2.840.10045.2.1" => {
            let curve = info.algorithm.parameters.as_ref();
            let curve = curve.and_then(|curve| curve.as_oid().ok());
            match curve.map(|curve| curve.to_id_string()) {
                Some(curve) => match curve.as_str() {
                    "1.2.840.10045.3.1.7" => Key::Ecdsa("P-256"),
                    "1.3.132.0.34" => Key::Ecdsa("P-384"),
                    "1.3.132.0.35" => Key::Ecdsa("P-521"),
                    _ => Key::Other(curve),
                },
                None => Key::Other(algorithm),
            }
        }
        "1.3.101.112" => Key::Ed25519,
        _ => Key::Other(algorithm),
    }
}

fn modulus_bits(key: &RSAPublicKey<'_>) -> usize {
    let mut modulus = key.modulus;
    while let [0, rest @ ..] = modulus {
        modulus = rest;
    }
    let unused = modulus.first().map_or(0, |byte| byte.leading_zeros());
    modulus.len() * 8 - unused as usize
}

// === impl Key ===

impl Key {
    /// Whether the key is at least as strong as P-256 or RSA-2048, and one that TLS takes here.
    #[must_use]
    pub const fn is_strong(&self) -> bool {
        match self {
            Self::Rsa(bits) => *bits >= 2048,
            Self::Ecdsa(_) | Self::Ed25519 => true,
            Self::Other(_) => false,
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rsa(bits) => write!(f, "RSA-{bits}"),
            Self::Ecdsa(curve) => write!(f, "ECDSA {curve}"),
            Self::Ed25519 => f.write_str("Ed25519"),
            Self::Other(identifier) => write!(f, "a kind that isn't taken ({identifier})"),
        }
    }
}
