//! The check of a peer's `cert.pem`.

use std::collections::BTreeSet;

use super::{CertificateFacts, CertificateFile, IdentityError, Surroundings, Usage};
use crate::diagnostic::{Code, Effect, Finding, Span, nearest};
use crate::name::PeerName;

/// One certificate in use, and the one that takes its place.
const MAX_LEAVES: usize = 2;

/// Finds in a peer's `cert.pem` the leaves that carry the peer's name: one or two.
///
/// What it reports is of the file by itself: without a leaf, or with too many, the file can't be
/// understood. `peers` are the names of all peers, to tell whose certificate it is instead.
#[must_use]
pub fn find_leaves(
    peer: &PeerName,
    file: &CertificateFile,
    peers: &BTreeSet<PeerName>,
) -> (Vec<CertificateFacts>, Vec<Finding>) {
    let mut seen = BTreeSet::new();
    let certificates = file
        .certificates
        .iter()
        .filter(|facts| seen.insert(facts.fingerprint));
    let (authorities, others): (Vec<_>, Vec<_>) =
        certificates.partition(|facts| facts.is_authority);
    let (leaves, strangers): (Vec<_>, Vec<_>) =
        others.into_iter().partition(|facts| facts.proves(peer));
    if leaves.is_empty() {
        let finding = refuse_nameless(peer, peers, &authorities, &strangers);
        return (Vec::new(), finding.into_iter().collect());
    }
    let mut findings = Vec::new();
    for stranger in strangers {
        let message = format!(
            "the certificate isn't used: it doesn't carry the name {:?}",
            peer.as_str()
        );
        let finding = Finding::new(Code::CertificateName, stranger.span, message);
        let names = names_in_words(&stranger.dns_names);
        findings.push(finding.with_effect(Effect::Warn).with_text(names));
    }
    if let (Some(third), Some(first)) = (leaves.get(MAX_LEAVES), leaves.first()) {
        let message = format!("{} certificates of the peer in one file", leaves.len());
        let finding = Finding::new(Code::TooManyCertificates, third.span, message)
            .with_related(first.span, "the first one")
            .with_help("keep the one in use and its successor, and remove the others");
        findings.push(finding);
    }
    (leaves.into_iter().cloned().collect(), findings)
}

/// Checks the leaves that [`find_leaves`] found: chain to the fabric's CA through the file's own
/// intermediates, usage, key strength, and validity at `now`.
///
/// A peer that `is_dialled` has gateways, so that its certificate must also serve. A leaf with
/// findings stays one of the peer's: TLS refuses it, and without it any certificate would do.
#[must_use]
pub fn check_leaves(
    peer: &PeerName,
    is_dialled: bool,
    leaves: &[CertificateFacts],
    file: &CertificateFile,
    surroundings: &Surroundings<'_>,
) -> Vec<Finding> {
    let authorities = file.certificates.iter().filter(|facts| facts.is_authority);
    let mut check = Check {
        peer,
        is_dialled,
        surroundings,
        findings: Vec::new(),
        intermediates: authorities.cloned().collect(),
    };
    for leaf in leaves {
        check.leaf(leaf);
    }
    check.findings
}

struct Check<'a> {
    peer: &'a PeerName,
    is_dialled: bool,
    surroundings: &'a Surroundings<'a>,
    findings: Vec<Finding>,
    /// The file's own CA certificates, which may stand between a leaf and the fabric's CA.
    intermediates: Vec<CertificateFacts>,
}

impl Check<'_> {
    /// Reports everything about one leaf.
    fn leaf(&mut self, leaf: &CertificateFacts) {
        self.check_other_peers(leaf);
        self.findings.extend(leaf.weakness());
        if let Err(error @ IdentityError::Usage(_)) = leaf.check_kind() {
            self.refuse(leaf.span, &error);
        }
        let is_chained = self.check_chain(leaf);
        let Surroundings { renewal, now, .. } = *self.surroundings;
        self.findings.extend(renewal.finding(leaf, now));
        if is_chained && leaf.is_valid_at(now) {
            self.check_issuer_time(leaf);
        }
    }

    fn check_other_peers(&mut self, leaf: &CertificateFacts) {
        let names = leaf.dns_names.iter().map(|name| name.to_ascii_lowercase());
        let others: BTreeSet<String> = names
            .filter(|name| name != self.peer.as_str())
            .filter(|name| self.surroundings.peers.contains(name.as_str()))
            .collect();
        for other in others {
            let message = format!("the certificate also carries the name of the peer {other:?}");
            let finding = Finding::new(Code::CertificateOtherPeer, leaf.span, message);
            let help = format!(
                "{} could take {other}'s place; issue a certificate without that name",
                self.peer
            );
            self.findings.push(finding.with_help(help));
        }
    }

    /// Reports what is wrong with the chain and the usage at any time.
    fn check_chain(&mut self, leaf: &CertificateFacts) -> bool {
        let usages: &[Usage] = match self.is_dialled {
            true => &[Usage::Client, Usage::Server],
            false => &[Usage::Client],
        };
        let authorities = self.surroundings.authorities;
        let verify = |usages| authorities.verify_ever(leaf, &self.intermediates, usages);
        if verify(usages).is_ok() {
            return true;
        }
        // Something is wrong: what, is asked for each usage, so that each is reported.
        let each = usages.iter().map(std::slice::from_ref);
        let errors: Vec<_> = each.filter_map(|usage| verify(usage).err()).collect();
        let mut reported = Vec::new();
        for error in &errors {
            // A wrong chain is wrong for every usage.
            if !reported.contains(&error) {
                self.refuse(leaf.span, error);
                reported.push(error);
            }
        }
        false
    }

    fn refuse(&mut self, span: Span, error: &IdentityError) {
        let code = match error {
            IdentityError::Usage(_) | IdentityError::Authority => Code::CertificateUsage,
            IdentityError::WeakKey(_) => Code::WeakKey,
            IdentityError::Malformed(_) => Code::BadCertificate,
            IdentityError::NotYetValid(_) | IdentityError::Expired(_) => Code::CertificateTime,
            IdentityError::UnknownIssuer
            | IdentityError::Signature
            | IdentityError::IssuerTime
            | IdentityError::Chain(_) => Code::CertificateChain,
        };
        let message = match error {
            // The question was whether there is any moment at all.
            IdentityError::IssuerTime => {
                "the certificate and the intermediates that signed it are never valid together"
                    .to_owned()
            }
            error => error.to_string(),
        };
        let mut finding = Finding::new(code, span, message);
        if *error == IdentityError::UnknownIssuer {
            finding.help = Some(match self.surroundings.authorities.is_empty() {
                true => "the fabric has no CA yet; put its certificate into ca/".to_owned(),
                false => "sign it with a CA of ca/, or add the intermediates between to this file"
                    .to_owned(),
            });
        }
        self.findings.push(finding);
    }

    /// Reports the intermediates that time keeps a valid leaf from being trusted by.
    fn check_issuer_time(&mut self, leaf: &CertificateFacts) {
        let Surroundings {
            renewal,
            now,
            authorities,
            ..
        } = *self.surroundings;
        if self
            .intermediates
            .iter()
            .all(|facts| facts.is_valid_at(now))
        {
            return;
        }
        let der = |facts: &CertificateFacts| facts.certificate.der().to_vec().into();
        let chain: Vec<_> = self.intermediates.iter().map(der).collect();
        let verdict = authorities.verify(leaf.certificate.der(), &chain, Usage::Client, now);
        if verdict.err() != Some(IdentityError::IssuerTime) {
            return;
        }
        for intermediate in &self.intermediates {
            // Two leaves share their intermediates, which are reported once.
            if !intermediate.is_valid_at(now)
                && let Some(finding) = renewal.finding(intermediate, now)
                && !self.findings.contains(&finding)
            {
                self.findings.push(finding);
            }
        }
    }
}

/// Says why a file doesn't prove the peer's name; of one without any certificate that is said
/// already.
fn refuse_nameless(
    peer: &PeerName,
    peers: &BTreeSet<PeerName>,
    authorities: &[&CertificateFacts],
    others: &[&CertificateFacts],
) -> Option<Finding> {
    if let Some(authority) = authorities.iter().find(|facts| facts.proves(peer)) {
        let message = "the certificate carries the peer's name but is a CA's";
        let help = "issue a certificate for the peer that is no CA's; a CA's proves no peer";
        // Without a leaf any certificate would do, so this can't be left at a failed check.
        return Some(
            Finding::new(Code::CertificateUsage, authority.span, message)
                .with_effect(Effect::Freeze)
                .with_help(help),
        );
    }
    let peer = peer.as_str();
    let first = others.first().or_else(|| authorities.first())?;
    let all: Vec<&str> = others
        .iter()
        .flat_map(|facts| &facts.dns_names)
        .map(String::as_str)
        .collect();
    let message = match others {
        [] => format!("the file holds CA certificates alone, and none of the peer {peer:?}"),
        [_] => format!("the certificate doesn't carry the peer's name {peer:?}"),
        _ => format!("no certificate of the file carries the peer's name {peer:?}"),
    };
    let owner = all.iter().find(|name| peers.contains(**name));
    let proper = all.iter().copied().filter(|name| !name.contains('*'));
    let help = match (owner, nearest(peer, proper)) {
        (Some(owner), _) => {
            format!("it is {owner}'s certificate, and belongs into peers/{owner}/cert.pem")
        }
        (None, Some(near)) => format!(
            "{near:?} is nearly {peer:?}: the certificate, the directory and the Peer must agree"
        ),
        (None, None) => format!(
            "issue a certificate with the DNS name {peer:?}: weft create peer-cert --name {peer}"
        ),
    };
    let finding = Finding::new(Code::CertificateName, first.span, message).with_help(help);
    Some(match others {
        [] => finding,
        _ => finding.with_text(names_in_words(&first.dns_names)),
    })
}

fn names_in_words(names: &[String]) -> String {
    // As many names as a line holds; a certificate may carry thousands.
    const SHOWN: usize = 5;
    let shown: Vec<_> = names
        .iter()
        .take(SHOWN)
        .map(|name| format!("{name:?}"))
        .collect();
    match names.len() {
        0 => "it has no DNS names".to_owned(),
        count if count > SHOWN => format!(
            "its DNS names: {}, and {} more",
            shown.join(", "),
            count - SHOWN
        ),
        _ => format!("its DNS names: {}", shown.join(", ")),
    }
}
