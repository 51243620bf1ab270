//! The certificates that a gateway is started with.

use std::path::PathBuf;

use anyhow::bail;
use gateway::IdentityFiles;

/// Which files are a gateway's identity.
#[derive(Debug, clap::Args)]
pub(crate) struct IdentityArgs {
    /// The peer's certificate, and its intermediates behind it; may be given several times
    #[arg(long, value_name = "FILE", required = true)]
    pub(crate) cert: Vec<PathBuf>,

    /// The private key of the certificate; as many as there are certificates, in the same order
    #[arg(long, value_name = "FILE", required = true)]
    pub(crate) key: Vec<PathBuf>,
}

// === impl IdentityArgs ===

impl IdentityArgs {
    /// Each certificate with its key.
    pub(crate) fn files(&self) -> anyhow::Result<Vec<IdentityFiles>> {
        if self.cert.len() != self.key.len() {
            bail!(
                "there are {} certificates and {} keys: each --cert has its --key",
                self.cert.len(),
                self.key.len()
            );
        }
        let pairs = self.cert.iter().zip(&self.key);
        let files = pairs.map(|(certificate, key)| IdentityFiles {
            certificate: certificate.clone(),
            key: key.clone(),
        });
        Ok(files.collect())
    }
}
