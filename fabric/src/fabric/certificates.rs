//! The CA's and the peers' certificates, against each other and the clock.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::Fabric;
use super::scope::{Shared, UnitScope};
use crate::api::{Fingerprint, Object};
use crate::diagnostic::{Code, Diagnostic, Finding, Span};
use crate::identity::{self, Authorities, CertificateFacts, Renewal, Surroundings};
use crate::name::PeerName;

/// What certificates are checked against.
pub(super) struct Trust {
    pub(super) authorities: Vec<CertificateFacts>,
    anchors: Authorities,
    revoked: BTreeSet<Fingerprint>,
    renewal: Renewal,
    now: Timestamp,
}

// === impl Trust ===

impl Trust {
    /// Reads and checks the CA files.
    pub(super) fn read(
        shared: &Shared,
        has_peers: bool,
        fabric: &Fabric,
        now: Timestamp,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Self {
        let renewal = Renewal::from(&fabric.spec.certificates);
        let mut authorities: Vec<CertificateFacts> = Vec::new();
        for (path, blob) in &shared.authorities {
            let (facts, findings) = identity::check_authorities(blob.certificates(), renewal, now);
            diagnostics.extend(findings.iter().map(|finding| finding.at(path)));
            for fact in facts {
                if authorities
                    .iter()
                    .all(|known| known.fingerprint != fact.fingerprint)
                {
                    authorities.push(fact);
                }
            }
        }
        if authorities.is_empty() && has_peers {
            let message = "the fabric has peers but no CA certificate in ca/";
            let path = "fabric.yaml".into();
            diagnostics.push(
                Diagnostic::new(Code::NoAuthority, &path, Span::FILE, message)
                    .with_help("`weft create fabric` makes a CA and puts its certificate there"),
            );
        }
        let anchors = Authorities::new(authorities.iter().map(|facts| &facts.certificate));
        Self {
            authorities,
            anchors,
            revoked: fabric.revoked.clone(),
            renewal,
            now,
        }
    }

    /// Until when time says the same about a unit's certificates.
    pub(super) fn until(&self, unit: &UnitScope) -> Timestamp {
        let certificates = unit.certificate.iter();
        let certificates = certificates.flat_map(|(_, blob)| &blob.certificates().certificates);
        let until = certificates.map(|facts| self.renewal.until(facts, self.now));
        until.min().unwrap_or(Timestamp::MAX)
    }

    /// Checks the leaves of a unit's `cert.pem`.
    pub(super) fn check_unit(
        &self,
        unit: &UnitScope,
        name: &PeerName,
        peers: &BTreeSet<PeerName>,
        diagnostics: &mut Vec<Diagnostic>,
    ) {
        let Some((path, blob)) = &unit.certificate else {
            if let Some(peer) = &unit.peer {
                let message = format!(
                    "the peer {name} has no cert.pem: any certificate of the CA with its name \
                     is accepted"
                );
                let span = peer.resource().value_span("/metadata/name");
                diagnostics.push(
                    Diagnostic::new(Code::NoCertificate, peer.path(), span, message).with_help(
                        format!("commit the peer's public certificate as peers/{name}/cert.pem"),
                    ),
                );
            }
            return;
        };
        let is_dialled = unit.peer.as_ref().is_some_and(|peer| match peer.object() {
            Object::Peer(peer) => !peer.spec.gateways.is_empty(),
            _ => false,
        });
        let surroundings = Surroundings {
            peers,
            authorities: &self.anchors,
            renewal: self.renewal,
            now: self.now,
        };
        let file = blob.certificates();
        let mut findings =
            identity::check_leaves(name, is_dialled, &unit.leaves, file, &surroundings);
        for leaf in unit
            .leaves
            .iter()
            .filter(|leaf| self.revoked.contains(&leaf.fingerprint))
        {
            let message = format!("the certificate {} is revoked", leaf.fingerprint);
            let finding = Finding::new(Code::CertificateRevoked, leaf.span, message);
            findings.push(finding.with_help("commit a new certificate, and remove this one"));
        }
        diagnostics.extend(findings.iter().map(|finding| finding.at(path)));
    }
}

/// Reports keys that two peers share.
pub(super) fn check_shared_keys(fabric: &Fabric, diagnostics: &mut Vec<Diagnostic>) {
    let mut owners: BTreeMap<[u8; 32], &PeerName> = BTreeMap::new();
    for (name, unit) in &fabric.units {
        for leaf in &unit.certificates {
            let owner = owners.entry(leaf.key_digest).or_insert(name);
            if *owner == name {
                continue;
            }
            let path = |peer: &PeerName| format!("peers/{peer}/cert.pem").into();
            let first = fabric.units.get(*owner).and_then(|unit| {
                unit.certificates
                    .iter()
                    .find(|other| other.key_digest == leaf.key_digest)
            });
            let message = format!("the peers {owner} and {name} use the same key");
            diagnostics.push(
                Diagnostic::new(Code::SharedKey, &path(name), leaf.span, message).with_related(
                    &path(owner),
                    first.map_or(Span::FILE, |first| first.span),
                    "the other one",
                ),
            );
        }
    }
}
