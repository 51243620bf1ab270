//! What a file of `ca/` may hold.

use fabric::api::Certificates;
use fabric::identity::{self, Authorities, Renewal};

use super::issuer::{authority, leaf, now, told};

fn judged(pem: &str) -> (usize, String) {
    let file = identity::read(pem.as_bytes());
    assert_eq!(told(&file.findings), "", "the file itself is sound");
    let (authorities, findings) = identity::check_authorities(&file, Renewal::default(), now());
    (authorities.len(), told(&findings))
}

#[test]
fn files() {
    let ca = authority("ca").self_signed();
    let next = authority("next").self_signed();
    let usage = authority("usage").with(|wish| {
        wish.key_usages = vec![rcgen::KeyUsagePurpose::CrlSign];
    });
    let dated = |from, to| {
        let wish = authority("dated").with(|wish| (wish.from, wish.to) = (from, to));
        wish.self_signed().pem
    };
    for (pem, count, expected) in [
        (ca.pem.clone(), 1, ""),
        (format!("{}{}{}", ca.pem, next.pem, ca.pem), 2, ""),
        (
            ca.sign(&leaf(&["east"])),
            0,
            "WEFT0308 Fail 1: the certificate isn't a CA's",
        ),
        (
            usage.self_signed().pem,
            0,
            "WEFT0308 Fail 1: the CA's key usage",
        ),
        (
            include_str!("p-224-ca.pem").to_owned(),
            0,
            "WEFT0309 Fail 1: the certificate's key is",
        ),
        (
            dated((2020, 1, 1), (2026, 5, 1)),
            1,
            "WEFT0304 Fail 1: the certificate expired",
        ),
        (
            dated((2026, 7, 1), (2030, 1, 1)),
            1,
            "WEFT0304 Fail 1: the certificate isn't valid before",
        ),
        (
            dated((2020, 1, 1), (2026, 10, 1)),
            1,
            "WEFT0305 Warn 1: the certificate expires in 122 days",
        ),
        // Two thirds of its life are over, but it has more than half a year left.
        (dated((2016, 1, 1), (2027, 1, 1)), 1, ""),
    ] {
        let (authorities, found) = judged(&pem);
        assert_eq!(authorities, count, "{found}");
        assert!(
            found.starts_with(expected) && found.is_empty() == expected.is_empty(),
            "{found}"
        );
    }
}

#[test]
fn renewal_follows_the_fabric() {
    let wish = leaf(&["east"]).with(|wish| {
        wish.from = (2026, 1, 1);
        wish.to = (2026, 4, 11);
    });
    let pem = authority("ca").self_signed().sign(&wish);
    let facts = &identity::read(pem.as_bytes()).certificates[0];
    for (renew_at, due) in [
        ("66%", "2026-03-08T00:00:00Z"),
        ("50%", "2026-02-20T00:00:00Z"),
        ("0%", "2026-01-01T00:00:00Z"),
        ("what", "2026-03-08T00:00:00Z"),
    ] {
        let renewal = Renewal::from(&Certificates {
            renew_at: renew_at.to_owned(),
            ..Certificates::default()
        });
        assert_eq!(renewal.due(facts).to_string(), due, "{renew_at}");
    }
}

#[test]
fn what_is_unsound_is_trusted_by_nobody() {
    let ca = authority("ca").self_signed();
    let not_one = ca.sign(&leaf(&["east"]));
    let weak = include_str!("p-224-ca.pem");
    for pem in [not_one.as_str(), weak] {
        let file = identity::read(pem.as_bytes());
        let certificates = file.certificates.iter().map(|facts| &facts.certificate);
        assert!(Authorities::new(certificates).is_empty());
    }
}
