//! A CA and the certificates that it signs.

use std::path::{Path, PathBuf};

use fabric::plan::Certificate;
use gateway::IdentityFiles;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    date_time_ymd,
};

/// A CA.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: Certificate,
    /// What stands behind the certificates that it signs, in PEM.
    chain: String,
}

/// A certificate with its key, in files.
#[derive(Clone)]
pub(crate) struct Leaf {
    pub files: IdentityFiles,
    pub certificate: Certificate,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self {
            certificate: Certificate::from_der(certificate.der().to_vec()),
            issuer: Issuer::new(params, key),
            chain: String::new(),
        }
    }

    /// One below it: a CA where `is_ca`, and otherwise a peer that takes itself for one.
    pub(crate) fn below(&self, name: &str, is_ca: bool) -> Self {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        if is_ca {
            params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        }
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Self {
            certificate: Certificate::from_der(certificate.der().to_vec()),
            chain: certificate.pem() + &self.chain,
            issuer: Issuer::new(params, key),
        }
    }

    pub(crate) fn certificate(&self) -> Certificate {
        self.certificate.clone()
    }

    /// A certificate for both roles, valid for long.
    pub(crate) fn leaf(&self, folder: &Path, names: &[&str]) -> Leaf {
        self.leaf_with(folder, names, |_| {})
    }

    /// A certificate that has expired.
    pub(crate) fn expired(&self, folder: &Path, names: &[&str]) -> Leaf {
        self.leaf_with(folder, names, |params| {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2021, 1, 1);
        })
    }

    pub(crate) fn leaf_with(
        &self,
        folder: &Path,
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Leaf {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let digits = hex::encode(&certificate.der()[certificate.der().len() - 8..]);
        let file = |what: &str| -> PathBuf { folder.join(format!("{digits}-{what}.pem")) };
        let files = IdentityFiles {
            certificate: file("cert"),
            key: file("key"),
        };
        std::fs::write(&files.certificate, certificate.pem() + &self.chain).unwrap();
        std::fs::write(&files.key, key.serialize_pem()).unwrap();
        Leaf {
            files,
            certificate: Certificate::from_der(certificate.der().to_vec()),
        }
    }
}
