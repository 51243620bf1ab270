//! The check of a CA file.

use jiff::Timestamp;

use super::{CertificateFacts, CertificateFile, Renewal};
use crate::diagnostic::{Code, Finding};

/// Checks a CA file: CA certificates alone, key strength, and validity at `now`.
///
/// Returns the certificates that the fabric may trust; time takes none of them away here.
#[must_use]
pub fn check_authorities(
    file: &CertificateFile,
    renewal: Renewal,
    now: Timestamp,
) -> (Vec<CertificateFacts>, Vec<Finding>) {
    let mut findings = Vec::new();
    let mut authorities: Vec<CertificateFacts> = Vec::new();
    for facts in &file.certificates {
        if !facts.is_authority {
            let message = "the certificate isn't a CA's, and ca/ holds CA certificates alone";
            let finding = Finding::new(Code::CertificateUsage, facts.span, message);
            let help = "a peer's certificate belongs into peers/NAME/cert.pem";
            findings.push(finding.with_help(help));
            continue;
        }
        let before = findings.len();
        if !facts.may_sign {
            let message = "the CA's key usage doesn't allow it to sign certificates (keyCertSign)";
            findings.push(Finding::new(Code::CertificateUsage, facts.span, message));
        }
        findings.extend(facts.weakness());
        let is_sound = findings.len() == before;
        findings.extend(renewal.finding(facts, now));
        let is_new = authorities
            .iter()
            .all(|known| known.fingerprint != facts.fingerprint);
        if is_sound && is_new {
            authorities.push(facts.clone());
        }
    }
    (authorities, findings)
}

// === impl CertificateFacts ===

impl CertificateFacts {
    /// The finding of a key that is too weak.
    pub(super) fn weakness(&self) -> Option<Finding> {
        if self.key.is_strong() {
            return None;
        }
        let message = format!("the certificate's key is {}", self.key);
        let finding = Finding::new(Code::WeakKey, self.span, message);
        Some(finding.with_help("use a key of P-256, RSA-2048 or stronger"))
    }
}
