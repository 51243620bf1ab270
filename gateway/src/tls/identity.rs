//! The gateway's own certificates and keys.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use fabric::api::Fingerprint;
use fabric::identity::CertificateFacts;
use fabric::snapshot::Snapshot;
use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::AsyncReadExt;

use crate::compat::grant::GrantKey;
use crate::config::IdentityFiles;
use crate::gateway::StartError;

/// The largest certificate or key file: a chain of a dozen RSA certificates fits.
const MAX_FILE: u64 = 256 * 1024;

/// Certificates that are remembered beside those on disk: the one before, and the one before that.
const MAX_IDENTITIES: usize = 8;

/// One certificate of this gateway, with its chain and key.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    key: Arc<CertifiedKey>,
    fingerprint: Fingerprint,
    grants: GrantKey,
    /// Seconds since 1970.
    not_before: i64,
    not_after: i64,
}

/// The certificates that this gateway can show.
///
/// One that was replaced on disk is kept: the new one is shown only once it is committed.
#[derive(Debug, Default)]
pub(crate) struct Identities {
    /// Those on disk first, in the order of the configuration.
    known: Vec<Identity>,
}

// === impl Identity ===

impl Identity {
    /// Reads a certificate and its key.
    pub(crate) async fn read(
        provider: &CryptoProvider,
        files: &IdentityFiles,
    ) -> Result<Self, StartError> {
        let failed = |path: &Path, reason: String| StartError::Identity {
            path: path.to_owned(),
            reason,
        };
        let of_certificate = |reason: String| failed(&files.certificate, reason);
        let certificate = read(&files.certificate).await.map_err(of_certificate)?;
        let chain = CertificateDer::pem_slice_iter(&certificate)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| of_certificate(error.to_string()))?;
        let leaf = chain
            .first()
            .ok_or_else(|| of_certificate("there is no certificate in it".to_owned()))?;
        let facts =
            CertificateFacts::from_der(leaf).map_err(|error| of_certificate(error.to_string()))?;
        let of_key = |reason: String| failed(&files.key, reason);
        let key = read(&files.key).await.map_err(of_key)?;
        let key = PrivateKeyDer::from_pem_slice(&key).map_err(|error| of_key(error.to_string()))?;
        let grants = GrantKey::derive(key.secret_der());
        let key = CertifiedKey::from_der(chain, key, provider)
            .map_err(|error| of_key(format!("with {}: {error}", files.certificate.display())))?;
        Ok(Self {
            key: Arc::new(key),
            fingerprint: facts.fingerprint,
            grants,
            not_before: facts.not_before.as_second(),
            not_after: facts.not_after.as_second(),
        })
    }

    /// The certificate's SHA-256.
    #[must_use]
    pub(crate) const fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// What access is granted with; the same in every replica that has the private key.
    #[must_use]
    pub(crate) const fn grants(&self) -> &GrantKey {
        &self.grants
    }

    /// The last second of its validity, counted from 1970.
    #[must_use]
    pub(crate) const fn not_after(&self) -> i64 {
        self.not_after
    }

    /// The chain and the key, as TLS wants them.
    #[must_use]
    pub(crate) fn key(&self) -> CertifiedKey {
        CertifiedKey::clone(&self.key)
    }
}

async fn read(path: &Path) -> Result<Vec<u8>, String> {
    let read = async {
        let file = tokio::fs::File::open(path).await?;
        let mut bytes = Vec::new();
        file.take(MAX_FILE + 1).read_to_end(&mut bytes).await?;
        Ok::<_, std::io::Error>(bytes)
    };
    let bytes = read.await.map_err(|error| error.to_string())?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(format!("it is longer than {MAX_FILE} bytes"));
    }
    Ok(bytes)
}

// === impl Identities ===

impl Identities {
    /// Reads all files anew; those that can't be read are said, and what was known stays known.
    pub(crate) async fn reload(
        &mut self,
        provider: &CryptoProvider,
        files: &[IdentityFiles],
    ) -> Vec<StartError> {
        let (mut read, mut errors) = (Vec::new(), Vec::new());
        for files in files {
            match Identity::read(provider, files).await {
                Ok(identity) => read.push(identity),
                Err(error) => errors.push(error),
            }
        }
        read.append(&mut self.known);
        let mut seen = BTreeSet::new();
        read.retain(|identity| seen.insert(identity.fingerprint));
        read.truncate(MAX_IDENTITIES.max(files.len()));
        self.known = read;
        errors
    }

    /// The certificate to show: a committed one that is valid now, the newest of several.
    ///
    /// Without a committed one, whichever is valid; without a valid one, whichever there is: peers
    /// refuse it by themselves, and say why.
    #[must_use]
    pub(crate) fn choose(&self, snapshot: &Snapshot, now: i64) -> Option<&Identity> {
        let rank = |identity: &Identity| {
            let is_valid = identity.not_before <= now && now <= identity.not_after;
            let is_revoked = snapshot.revoked.contains(&identity.fingerprint);
            (
                !is_revoked,
                self.is_committed(snapshot, identity),
                is_valid,
                identity.not_before,
            )
        };
        // The first of equals, since max_by_key takes the last.
        self.known
            .iter()
            .rev()
            .max_by_key(|identity| rank(identity))
    }

    /// Whether other peers would recognise the certificate by the repository.
    #[expect(clippy::unused_self, reason = "said of one of its own")]
    #[must_use]
    pub(crate) fn is_committed(&self, snapshot: &Snapshot, identity: &Identity) -> bool {
        snapshot.certificates.is_empty() || snapshot.certificates.contains(&identity.fingerprint)
    }

    /// What access was granted with by any of them.
    pub(crate) fn grants(&self) -> impl Iterator<Item = &GrantKey> {
        self.known.iter().map(Identity::grants)
    }

    /// Whether there is none at all.
    #[must_use]
    pub(crate) const fn is_empty(&self) -> bool {
        self.known.is_empty()
    }
}
