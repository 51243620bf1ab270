//! Makes certificates, each aspect of which can be bent.

use fabric::diagnostic::Finding;
use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

/// A CA, and the PEM of its certificate.
pub(crate) struct Authority {
    pub(crate) pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A day.
pub(crate) type Date = (i32, u8, u8);

/// What a certificate is to say.
#[derive(Clone)]
pub(crate) struct Wish {
    pub(crate) names: Vec<&'static str>,
    pub(crate) from: Date,
    pub(crate) to: Date,
    pub(crate) usages: Vec<ExtendedKeyUsagePurpose>,
    pub(crate) key_usages: Vec<KeyUsagePurpose>,
    pub(crate) is_authority: bool,
    pub(crate) common_name: &'static str,
    pub(crate) algorithm: &'static rcgen::SignatureAlgorithm,
}

/// The moment at which the tests stand.
pub(crate) fn now() -> Timestamp {
    "2026-06-01T00:00:00Z".parse().unwrap()
}

/// A sound leaf of these names, valid through 2026.
pub(crate) fn leaf(names: &[&'static str]) -> Wish {
    Wish {
        names: names.to_vec(),
        from: (2026, 1, 1),
        to: (2027, 1, 1),
        usages: vec![
            ExtendedKeyUsagePurpose::ClientAuth,
            ExtendedKeyUsagePurpose::ServerAuth,
        ],
        key_usages: vec![KeyUsagePurpose::DigitalSignature],
        is_authority: false,
        common_name: "leaf",
        algorithm: &rcgen::PKCS_ECDSA_P256_SHA256,
    }
}

/// A sound CA, valid for twenty years.
pub(crate) fn authority(common_name: &'static str) -> Wish {
    Wish {
        names: Vec::new(),
        from: (2020, 1, 1),
        to: (2040, 1, 1),
        usages: Vec::new(),
        key_usages: vec![KeyUsagePurpose::KeyCertSign],
        is_authority: true,
        common_name,
        algorithm: &rcgen::PKCS_ECDSA_P256_SHA256,
    }
}

// === impl Wish ===

impl Wish {
    pub(crate) fn with(mut self, bend: impl FnOnce(&mut Self)) -> Self {
        bend(&mut self);
        self
    }

    pub(crate) fn self_signed(&self) -> Authority {
        let (params, key) = (self.params(), self.key());
        Authority {
            pem: params.self_signed(&key).unwrap().pem(),
            issuer: Issuer::new(params, key),
        }
    }

    fn key(&self) -> KeyPair {
        KeyPair::generate_for(self.algorithm).unwrap()
    }

    fn params(&self) -> CertificateParams {
        let names: Vec<String> = self.names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params
            .distinguished_name
            .push(DnType::CommonName, self.common_name);
        params.not_before = date_time_ymd(self.from.0, self.from.1, self.from.2);
        params.not_after = date_time_ymd(self.to.0, self.to.1, self.to.2);
        params.extended_key_usages.clone_from(&self.usages);
        params.key_usages.clone_from(&self.key_usages);
        params.is_ca = match self.is_authority {
            true => IsCa::Ca(BasicConstraints::Unconstrained),
            false => IsCa::ExplicitNoCa,
        };
        params
    }
}

// === impl Authority ===

impl Authority {
    /// The PEM of a certificate that the CA signs.
    pub(crate) fn sign(&self, wish: &Wish) -> String {
        let signed = wish.params().signed_by(&wish.key(), &self.issuer);
        signed.unwrap().pem()
    }

    /// A CA below this one.
    pub(crate) fn below(&self, wish: &Wish) -> Self {
        let (params, key) = (wish.params(), wish.key());
        Self {
            pem: params.signed_by(&key, &self.issuer).unwrap().pem(),
            issuer: Issuer::new(params, key),
        }
    }
}

/// Findings in a line each: code, effect, message, what is beside it, help.
pub(crate) fn told(findings: &[Finding]) -> String {
    let tell = |finding: &Finding| {
        let (span, text) = &finding.labels[0];
        let mut line = format!(
            "{} {:?} {}: {}",
            finding.code, finding.effect, span.line, finding.message
        );
        for part in [Some(text), finding.help.as_ref()].into_iter().flatten() {
            if !part.is_empty() {
                line = format!("{line} | {part}");
            }
        }
        line
    };
    findings.iter().map(tell).collect::<Vec<_>>().join("\n")
}
