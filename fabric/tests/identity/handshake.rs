//! What the gateway's TLS asks; it must not disagree with the check.

use fabric::identity::{self, Authorities, CertificateFacts, IdentityError, Usage};
use rcgen::ExtendedKeyUsagePurpose;

use super::issuer::{Authority, authority, leaf, now};

/// The verdict on a chain, the leaf first.
fn verdict(ca: &Authority, pem: &str, usage: Usage) -> Result<CertificateFacts, IdentityError> {
    let ca_file = identity::read(ca.pem.as_bytes());
    let authorities = Authorities::new(ca_file.certificates.iter().map(|facts| &facts.certificate));
    let file = identity::read(pem.as_bytes());
    let (leaf, others) = file.certificates.split_first().unwrap();
    let others: Vec<_> = others
        .iter()
        .map(|facts| facts.certificate.der().to_vec().into())
        .collect();
    authorities.verify(leaf.certificate.der(), &others, usage, now())
}

#[test]
fn accepted() {
    let ca = authority("ca").self_signed();
    let between = ca.below(&authority("between"));
    for pem in [
        ca.sign(&leaf(&["east"])),
        format!("{}{}", between.sign(&leaf(&["east"])), between.pem),
    ] {
        for usage in [Usage::Client, Usage::Server] {
            let facts = verdict(&ca, &pem, usage).unwrap();
            assert!(facts.proves(&"east".parse().unwrap()));
            assert!(!facts.proves(&"west".parse().unwrap()));
            let first = &identity::read(pem.as_bytes()).certificates[0];
            assert_eq!(facts.fingerprint, first.fingerprint);
        }
    }
    let wildcard = verdict(&ca, &ca.sign(&leaf(&["*.example"])), Usage::Client).unwrap();
    assert!(!wildcard.proves(&"east.example".parse().unwrap()));
}

#[test]
fn refused() {
    let ca = authority("ca").self_signed();
    let old_ca = authority("old")
        .with(|wish| wish.to = (2026, 5, 1))
        .self_signed();
    let between = ca.below(&authority("between").with(|wish| wish.to = (2026, 5, 1)));
    let east = leaf(&["east"]);
    let only = |usage| east.clone().with(|wish| wish.usages = vec![usage]);
    for (issuer, pem, expected) in [
        (
            &ca,
            ca.sign(&east.clone().with(|wish| wish.to = (2026, 5, 1))),
            "expired",
        ),
        (
            &ca,
            ca.sign(&east.clone().with(|wish| wish.from = (2026, 7, 1))),
            "not-yet-valid",
        ),
        (
            &ca,
            authority("x").self_signed().sign(&east),
            "unknown-issuer",
        ),
        (&ca, authority("ca").self_signed().sign(&east), "signature"),
        (&ca, ca.pem.clone(), "authority"),
        (
            &ca,
            ca.sign(&only(ExtendedKeyUsagePurpose::ServerAuth)),
            "usage",
        ),
        (&ca, include_str!("rsa-1024.pem").to_owned(), "weak-key"),
        (
            &ca,
            format!("{}{}", between.sign(&east), between.pem),
            "issuer-time",
        ),
        // webpki leaves the validity of the CA itself to its caller.
        (&old_ca, old_ca.sign(&east), "issuer-time"),
    ] {
        let error = verdict(issuer, &pem, Usage::Client).unwrap_err();
        assert_eq!(error.reason(), expected, "{error}");
    }
    let server = ca.sign(&only(ExtendedKeyUsagePurpose::ClientAuth));
    assert_eq!(
        verdict(&ca, &server, Usage::Server).unwrap_err().reason(),
        "usage"
    );
    let none = Authorities::default();
    let garbage = none.verify(b"no certificate", &[], Usage::Client, now());
    assert_eq!(garbage.unwrap_err().reason(), "malformed");
}
