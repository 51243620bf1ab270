//! Makes the fabric's CA and the peers' certificates.
//!
//! Everything is ECDSA P-256; keys are PKCS#8. Nothing here touches the disk: [`folder`] does.

pub(crate) mod folder;

use fabric::name::PeerName;
use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData as _, SanType, SerialNumber,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use thiserror::Error;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::{ASN1Time, FromDer as _};

/// How far a clock of another machine may be behind ours: certificates are valid since so long
/// before they were made.
const CLOCK_SKEW: std::time::Duration = std::time::Duration::from_secs(5 * 60);

/// X.520's bound on a common name; a longer peer name stands in the DNS name alone.
const COMMON_NAME_LENGTH: usize = 64;

/// A certificate and its private key, both as PEM.
pub(crate) struct KeyPairPem {
    /// The certificate, for a peer the leaf alone.
    pub(crate) certificate: String,
    /// The private key.
    pub(crate) key: String,
    /// The last moment at which the certificate is valid.
    pub(crate) not_after: Timestamp,
}

/// A CA that can sign.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
    not_after: Timestamp,
}

/// Why no certificate could be made.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    /// The library refused.
    #[error("cannot make the {what}")]
    Make {
        what: &'static str,
        source: rcgen::Error,
    },
    /// The CA's certificate isn't one.
    #[error("the file holds no CA certificate")]
    NoAuthority,
    /// The CA's key isn't one.
    #[error("the file holds no private key that can be used")]
    NoKey(#[source] rcgen::Error),
    /// The CA's key isn't its certificate's.
    #[error("the CA's private key doesn't belong to its certificate")]
    OtherKey,
    /// The CA's time is over, or hasn't come.
    #[error("the CA is valid from {not_before} to {not_after} only")]
    AuthorityTime {
        not_before: Timestamp,
        not_after: Timestamp,
    },
}

// === impl KeyPairPem ===

impl KeyPairPem {
    /// Makes the CA of a fabric.
    pub(crate) fn authority(
        fabric: &str,
        now: Timestamp,
        not_after: Timestamp,
    ) -> Result<Self, Failure> {
        let failed = |source| Failure::Make {
            what: "CA's certificate",
            source,
        };
        let key = generate()?;
        let mut params = params(fabric, now, not_after);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).map_err(failed)?;
        Ok(Self {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
            not_after,
        })
    }
}

// === impl Authority ===

impl Authority {
    /// Takes a CA from its two files.
    pub(crate) fn from_pem(certificate: &str, key: &str, now: Timestamp) -> Result<Self, Failure> {
        let key = KeyPair::from_pem(key).map_err(Failure::NoKey)?;
        let der = CertificateDer::from_pem_slice(certificate.as_bytes())
            .map_err(|_| Failure::NoAuthority)?;
        let (_, facts) = X509Certificate::from_der(&der).map_err(|_| Failure::NoAuthority)?;
        if !facts.is_ca() {
            return Err(Failure::NoAuthority);
        }
        if facts.public_key().raw != key.subject_public_key_info() {
            return Err(Failure::OtherKey);
        }
        let time = |at: ASN1Time| Timestamp::from_second(at.timestamp()).unwrap_or(Timestamp::MIN);
        let not_before = time(facts.validity().not_before);
        let not_after = time(facts.validity().not_after);
        if now < not_before || now >= not_after {
            return Err(Failure::AuthorityTime {
                not_before,
                not_after,
            });
        }
        let issuer = Issuer::from_ca_cert_der(&der, key).map_err(|_| Failure::NoAuthority)?;
        Ok(Self {
            issuer,
            certificate: certificate.to_owned(),
            not_after,
        })
    }

    /// The CA's certificate as PEM.
    pub(crate) fn certificate(&self) -> &str {
        &self.certificate
    }

    /// The last moment at which the CA, and so what it signs, is valid.
    pub(crate) const fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// Makes the certificate of a peer, with which it both serves and dials.
    pub(crate) fn issue(
        &self,
        peer: &PeerName,
        now: Timestamp,
        not_after: Timestamp,
    ) -> Result<KeyPairPem, Failure> {
        let failed = |source| Failure::Make {
            what: "peer's certificate",
            source,
        };
        let key = generate()?;
        let mut params = params(peer.as_str(), now, not_after);
        let name = peer.as_str().try_into().map_err(failed)?;
        params.subject_alt_names = vec![SanType::DnsName(name)];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &self.issuer).map_err(failed)?;
        Ok(KeyPairPem {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
            not_after,
        })
    }
}

fn generate() -> Result<KeyPair, Failure> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|source| Failure::Make {
        what: "private key",
        source,
    })
}

fn params(common_name: &str, now: Timestamp, not_after: Timestamp) -> CertificateParams {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let time = |at: Timestamp| {
        let seconds = u64::try_from(at.as_second()).unwrap_or_default();
        epoch + std::time::Duration::from_secs(seconds)
    };
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    if common_name.len() <= COMMON_NAME_LENGTH {
        params
            .distinguished_name
            .push(DnType::CommonName, common_name);
    }
    params.not_before = time(now) - CLOCK_SKEW;
    params.not_after = time(not_after);
    let mut serial: [u8; 16] = rand::random();
    // A serial number is positive and not zero.
    serial[0] = serial[0] & 0x7f | 0x40;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan as _;
    use x509_parser::extensions::{GeneralName, ParsedExtension};

    use super::*;

    fn now() -> Timestamp {
        "2026-01-01T00:00:00Z".parse().unwrap()
    }

    fn authority() -> (Authority, KeyPairPem) {
        let pem = KeyPairPem::authority("acme", now(), now() + 87_600.hours()).unwrap();
        let authority = Authority::from_pem(&pem.certificate, &pem.key, now()).unwrap();
        (authority, pem)
    }

    fn der(pem: &str) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
    }

    #[test]
    fn the_authority_says_what_it_may_do() {
        let (_, pem) = authority();
        let der = der(&pem.certificate);
        let (_, facts) = X509Certificate::from_der(&der).unwrap();
        assert_eq!(facts.subject().to_string(), "CN=acme");
        assert!(facts.is_ca());
        let usage = facts.key_usage().unwrap().unwrap();
        assert!(usage.critical && usage.value.key_cert_sign() && usage.value.crl_sign());
        assert!(!usage.value.digital_signature());
        assert!(has_extension(&facts, |e| matches!(
            e,
            ParsedExtension::SubjectKeyIdentifier(_)
        )));
        assert!(pem.key.starts_with("-----BEGIN PRIVATE KEY-----"));
    }

    #[test]
    fn a_peers_certificate_names_the_peer_and_nothing_else() {
        let (authority, _) = authority();
        let peer: PeerName = "cluster17.us-east".parse().unwrap();
        let pem = authority.issue(&peer, now(), now() + 2160.hours()).unwrap();
        let der = der(&pem.certificate);
        let (_, facts) = X509Certificate::from_der(&der).unwrap();
        assert_eq!(facts.subject().to_string(), "CN=cluster17.us-east");
        let names = facts.subject_alternative_name().unwrap().unwrap();
        assert_eq!(
            names.value.general_names,
            [GeneralName::DNSName("cluster17.us-east")]
        );
        assert!(!facts.is_ca());
        let usage = facts.key_usage().unwrap().unwrap().value;
        assert!(usage.digital_signature() && !usage.key_cert_sign());
        let extended = facts.extended_key_usage().unwrap().unwrap().value;
        assert!(extended.server_auth && extended.client_auth);
        assert!(has_extension(&facts, |e| matches!(
            e,
            ParsedExtension::AuthorityKeyIdentifier(_)
        )));
        assert_eq!(facts.raw_serial().len(), 16);
        let validity = facts.validity();
        assert_eq!(
            validity.not_before.timestamp(),
            now().as_second() - 300,
            "clocks differ"
        );
        assert_eq!(
            validity.not_after.timestamp(),
            (now() + 2160.hours()).as_second()
        );
    }

    #[test]
    fn a_long_name_stands_in_the_dns_name_alone() {
        let (authority, _) = authority();
        let name = format!("{0}.{0}.example", "a".repeat(60));
        let pem = authority
            .issue(&name.parse().unwrap(), now(), now() + 1.hour())
            .unwrap();
        let der = der(&pem.certificate);
        let (_, facts) = X509Certificate::from_der(&der).unwrap();
        assert_eq!(facts.subject().to_string(), "");
        let names = facts.subject_alternative_name().unwrap().unwrap();
        assert!(names.critical, "RFC 5280 wants it so without a subject");
        assert_eq!(names.value.general_names, [GeneralName::DNSName(&name)]);
    }

    #[test]
    fn two_certificates_differ_in_key_and_serial_number() {
        let (authority, _) = authority();
        let issue = || {
            let peer = "east".parse().unwrap();
            authority.issue(&peer, now(), now() + 1.hour()).unwrap()
        };
        let (one, two) = (issue(), issue());
        assert_ne!(one.key, two.key);
        let serial = |pem: &KeyPairPem| {
            let der = der(&pem.certificate);
            let (_, facts) = X509Certificate::from_der(&der).unwrap();
            facts.raw_serial().to_vec()
        };
        assert_ne!(serial(&one), serial(&two));
    }

    #[test]
    fn what_is_no_authority_signs_nothing() {
        let (authority, pem) = authority();
        let leaf = authority
            .issue(&"east".parse().unwrap(), now(), now() + 1.hour())
            .unwrap();
        let (_, other) = self::authority();
        let refused = |certificate: &str, key: &str, now: Timestamp| {
            let error = Authority::from_pem(certificate, key, now).err().unwrap();
            error.to_string()
        };
        assert_eq!(
            refused(&leaf.certificate, &leaf.key, now()),
            "the file holds no CA certificate"
        );
        assert_eq!(
            refused("", &pem.key, now()),
            "the file holds no CA certificate"
        );
        assert_eq!(
            refused(&pem.certificate, &pem.certificate, now()),
            "the file holds no private key that can be used"
        );
        assert_eq!(
            refused(&pem.certificate, &other.key, now()),
            "the CA's private key doesn't belong to its certificate"
        );
        let late = now() + 90_000.hours();
        assert!(refused(&pem.certificate, &pem.key, late).starts_with("the CA is valid from"));
    }

    fn has_extension(
        facts: &X509Certificate<'_>,
        is: impl Fn(&ParsedExtension<'_>) -> bool,
    ) -> bool {
        facts.extensions().iter().any(|e| is(e.parsed_extension()))
    }
}
