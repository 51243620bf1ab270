//! Time and certificates: what is over, what begins later, what ends soon.

use jiff::{SignedDuration, Timestamp};

use super::CertificateFacts;
use crate::api::Certificates;
use crate::diagnostic::{Code, Finding};

/// A certificate that lives for years, as a CA's, isn't reported earlier than this before its end:
/// half a year is enough to replace a CA in every peer.
const EARLIEST: SignedDuration = SignedDuration::from_hours(180 * 24);

/// When certificates are renewed: after a part of their validity, `renewAt` of the fabric.
///
/// From then on they are reported to expire soon, those that live for years in their last 180 days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Renewal {
    percent: i32,
}

// === impl Renewal ===

impl Renewal {
    /// The moment from which a certificate is reported to expire soon.
    #[must_use]
    pub fn due(self, certificate: &CertificateFacts) -> Timestamp {
        let validity = certificate.not_before.duration_until(certificate.not_after);
        let part = validity / 100 * (100 - self.percent);
        certificate
            .not_after
            .saturating_sub(part.min(EARLIEST))
            .unwrap_or(Timestamp::MIN)
    }

    /// Until when time says the same about a certificate as at a moment.
    pub(crate) fn until(self, facts: &CertificateFacts, now: Timestamp) -> Timestamp {
        let due = self.due(facts);
        let mut turns = vec![facts.not_before, due, facts.not_after];
        if due <= now {
            // The days are told that are left.
            let days = now.duration_until(facts.not_after).as_hours() / 24;
            let day = facts
                .not_after
                .saturating_sub(SignedDuration::from_hours(24 * days));
            turns.extend(day);
        }
        if turns.contains(&now) {
            return now;
        }
        let ahead = turns.into_iter().filter(|turn| *turn > now);
        ahead.min().unwrap_or(Timestamp::MAX)
    }

    /// What time says about a certificate.
    pub(super) fn finding(self, facts: &CertificateFacts, now: Timestamp) -> Option<Finding> {
        let (code, message) = if now < facts.not_before {
            let message = format!("the certificate isn't valid before {}", facts.not_before);
            (Code::CertificateTime, message)
        } else if now > facts.not_after {
            let message = format!("the certificate expired on {}", facts.not_after);
            (Code::CertificateTime, message)
        } else if now >= self.due(facts) {
            let days = now.duration_until(facts.not_after).as_hours() / 24;
            let rest = match days {
                0 => "today".to_owned(),
                1 => "in a day".to_owned(),
                days => format!("in {days} days"),
            };
            let message = format!("the certificate expires {rest}, on {}", facts.not_after);
            (Code::CertificateExpiresSoon, message)
        } else {
            return None;
        };
        Some(Finding::new(code, facts.span, message))
    }
}

impl Default for Renewal {
    fn default() -> Self {
        Self { percent: 66 }
    }
}

impl From<&Certificates> for Renewal {
    fn from(certificates: &Certificates) -> Self {
        let percent = certificates.renew_at.strip_suffix('%');
        let percent = percent.and_then(|percent| percent.parse().ok());
        match percent.filter(|percent| (0..100).contains(percent)) {
            Some(percent) => Self { percent },
            None => Self::default(),
        }
    }
}
