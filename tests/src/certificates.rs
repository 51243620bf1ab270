//! Certificates, right ones and wrong ones.

use std::fs;
use std::path::{Path, PathBuf};

use fabric::api::Fingerprint;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// A certificate authority.
#[derive(Debug)]
pub struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// What a leaf is to be like, where it isn't the usual one.
#[derive(Clone, Debug)]
pub struct Request {
    names: Vec<String>,
    organization: Option<String>,
    validity: ((i32, u8, u8), (i32, u8, u8)),
    usages: Vec<ExtendedKeyUsagePurpose>,
}

/// A certificate and its key.
#[derive(Debug)]
pub struct Identity {
    /// The certificate in PEM.
    pub certificate: String,
    /// The key in PEM.
    pub key: String,
    der: (CertificateDer<'static>, Vec<u8>),
}

/// The files that a [`Identity`] was written to.
#[derive(Clone, Debug)]
pub struct IdentityFiles {
    /// The certificate's file.
    pub certificate: PathBuf,
    /// The key's file.
    pub key: PathBuf,
}

// === impl Authority ===

impl Authority {
    /// A new authority.
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2100, 1, 1);
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Self {
            pem,
            issuer: Issuer::new(params, key),
        }
    }

    /// The authority's certificate in PEM.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A certificate of a peer.
    pub fn peer(&self, name: &str) -> Identity {
        self.issue(&Request::new(name))
    }

    /// A certificate as asked for.
    pub fn issue(&self, request: &Request) -> Identity {
        self.sign(request, &KeyPair::generate().expect("a key"))
    }

    /// A certificate as asked for, of the key of another.
    pub fn reissue(&self, request: &Request, other: &Identity) -> Identity {
        self.sign(request, &KeyPair::from_pem(&other.key).expect("a key"))
    }

    fn sign(&self, request: &Request, key: &KeyPair) -> Identity {
        let mut params =
            CertificateParams::new(request.names.clone()).expect("the names are DNS names");
        let name = request.names.first().cloned().unwrap_or_default();
        params.distinguished_name.push(DnType::CommonName, name);
        if let Some(organization) = &request.organization {
            let kind = DnType::OrganizationName;
            params.distinguished_name.push(kind, organization);
        }
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages.clone_from(&request.usages);
        let ((y, m, d), end) = request.validity;
        params.not_before = date_time_ymd(y, m, d);
        params.not_after = date_time_ymd(end.0, end.1, end.2);
        let certificate = params.signed_by(key, &self.issuer).expect("a certificate");
        Identity {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
            der: (certificate.der().clone(), key.serialize_der()),
        }
    }
}

// === impl Request ===

impl Request {
    /// A certificate with a DNS name (or an address), valid now and for long.
    pub fn new(name: &str) -> Self {
        Self {
            names: vec![name.to_owned()],
            organization: None,
            validity: ((2020, 1, 1), (2099, 1, 1)),
            usages: vec![
                ExtendedKeyUsagePurpose::ServerAuth,
                ExtendedKeyUsagePurpose::ClientAuth,
            ],
        }
    }

    /// The same, of an organization: to Kubernetes, of a group.
    #[must_use]
    pub fn of_organization(mut self, name: &str) -> Self {
        self.organization = Some(name.to_owned());
        self
    }

    /// The same, with a further name.
    #[must_use]
    pub fn also(mut self, name: &str) -> Self {
        self.names.push(name.to_owned());
        self
    }

    /// The same, valid until a day.
    #[must_use]
    pub fn until(mut self, year: i32, month: u8, day: u8) -> Self {
        self.validity.1 = (year, month, day);
        self
    }

    /// The same, for dialling alone.
    #[must_use]
    pub fn for_clients_alone(mut self) -> Self {
        self.usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self
    }

    /// The same, no longer valid.
    #[must_use]
    pub fn expired(mut self) -> Self {
        self.validity = ((2020, 1, 1), (2021, 1, 1));
        self
    }
}

// === impl Identity ===

impl Identity {
    /// Writes certificate and key to files `<name>.pem` and `<name>.key` in a folder.
    pub fn write(&self, folder: &Path, name: &str) -> IdentityFiles {
        let files = IdentityFiles {
            certificate: folder.join(format!("{name}.pem")),
            key: folder.join(format!("{name}.key")),
        };
        fs::write(&files.certificate, &self.certificate).expect("the folder is ours");
        fs::write(&files.key, &self.key).expect("the folder is ours");
        restrict(&files.key);
        files
    }

    /// The certificate as TLS takes it.
    pub fn chain(&self) -> Vec<CertificateDer<'static>> {
        vec![self.der.0.clone()]
    }

    /// The key as TLS takes it.
    pub fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.der.1.clone()).into()
    }
}

/// The fingerprint of a certificate in PEM, as `revocations.yaml` writes it.
pub fn fingerprint(pem: &str) -> Fingerprint {
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).expect("it is a certificate");
    Fingerprint::of_der(&der)
}

/// Leaves a file to its owner alone, as a key's should be.
fn restrict(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("the file is ours");
}
