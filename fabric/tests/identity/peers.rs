//! What `cert.pem` of a peer may hold.

use std::collections::BTreeSet;

use fabric::diagnostic::Code;
use fabric::identity::{self, Authorities, Renewal, Surroundings};
use fabric::name::PeerName;
use rcgen::{ExtendedKeyUsagePurpose, KeyUsagePurpose};

use super::issuer::{Authority, authority, leaf, now, told};

/// Judges a file of the peer `east`: how many leaves it gives, and what is found.
///
/// However bad, a leaf with the name is given: without any, the peer would be open to each certificate
/// of the CA. A file without one is a Freeze.
fn judged(ca: &Authority, is_dialled: bool, pem: &str) -> (usize, String) {
    let peers: BTreeSet<PeerName> = ["east", "west", "north.example"]
        .map(|name| name.parse().unwrap())
        .into();
    let ca_file = identity::read(ca.pem.as_bytes());
    let certificates = ca_file.certificates.iter().map(|facts| &facts.certificate);
    let authorities = Authorities::new(certificates);
    let surroundings = Surroundings {
        peers: &peers,
        authorities: &authorities,
        renewal: Renewal::default(),
        now: now(),
    };
    let file = identity::read(pem.as_bytes());
    assert_eq!(told(&file.findings), "", "the file itself is sound");
    let east = "east".parse().unwrap();
    let (leaves, mut findings) = identity::find_leaves(&east, &file, &peers);
    let checked = identity::check_leaves(&east, is_dialled, &leaves, &file, &surroundings);
    findings.extend(checked);
    (leaves.len(), told(&findings))
}

#[test]
fn sound_files() {
    let ca = authority("ca").self_signed();
    let between = ca.below(&authority("between"));
    let lowest = between.below(&authority("lowest"));
    let east = leaf(&["east"]);
    let first = ca.sign(&east);
    for pem in [
        first.clone(),
        // Beside its successor; with the CA; the same certificate twice.
        format!("{first}{}", ca.sign(&east)),
        format!("{}{first}", ca.pem),
        format!("{first}{first}"),
        // Through intermediates, in any order.
        format!("{}{}", between.sign(&east), between.pem),
        format!("{}{}{}", between.pem, lowest.sign(&east), lowest.pem),
        // Other names that are no peer's; letters of either case.
        ca.sign(&leaf(&["gateway.east.example", "EAST", "*.example"])),
        // Without any usage, everything is allowed.
        ca.sign(&east.clone().with(|wish| {
            wish.usages.clear();
            wish.key_usages.clear();
        })),
        ca.sign(
            &east
                .clone()
                .with(|wish| wish.algorithm = &rcgen::PKCS_RSA_SHA256),
        ),
        ca.sign(
            &east
                .clone()
                .with(|wish| wish.algorithm = &rcgen::PKCS_ED25519),
        ),
        ca.sign(
            &east
                .clone()
                .with(|wish| wish.algorithm = &rcgen::PKCS_ECDSA_P384_SHA384),
        ),
    ] {
        let (leaves, found) = judged(&ca, true, &pem);
        assert_eq!(found, "");
        assert!((1..=2).contains(&leaves), "{leaves}");
    }
    let rsa = authority("rsa").with(|wish| wish.algorithm = &rcgen::PKCS_RSA_SHA256);
    let rsa = rsa.self_signed();
    assert_eq!(judged(&rsa, true, &rsa.sign(&east)), (1, String::new()));
}

#[test]
fn names() {
    let ca = authority("ca").self_signed();
    for (names, expected) in [
        (
            vec!["gateway"],
            "WEFT0302 Freeze 1: the certificate doesn't carry the peer's name \"east\" \
             | its DNS names: \"gateway\" \
             | issue a certificate with the DNS name \"east\": weft create peer-cert --name east",
        ),
        (
            vec!["eats"],
            "WEFT0302 Freeze 1: the certificate doesn't carry the peer's name \"east\" \
             | its DNS names: \"eats\" \
             | \"eats\" is nearly \"east\": the certificate, the directory and the Peer must agree",
        ),
        (
            vec!["west"],
            "WEFT0302 Freeze 1: the certificate doesn't carry the peer's name \"east\" \
             | its DNS names: \"west\" \
             | it is west's certificate, and belongs into peers/west/cert.pem",
        ),
        (
            vec![],
            "WEFT0302 Freeze 1: the certificate doesn't carry the peer's name \"east\" \
             | it has no DNS names \
             | issue a certificate with the DNS name \"east\": weft create peer-cert --name east",
        ),
        (
            vec!["*.east", "a", "b", "c", "d", "e"],
            "WEFT0302 Freeze 1: the certificate doesn't carry the peer's name \"east\" \
             | its DNS names: \"*.east\", \"a\", \"b\", \"c\", \"d\", and 1 more \
             | issue a certificate with the DNS name \"east\": weft create peer-cert --name east",
        ),
    ] {
        assert_eq!(
            judged(&ca, true, &ca.sign(&leaf(&names))),
            (0, expected.to_owned())
        );
    }
    let (leaves, found) = judged(
        &ca,
        true,
        &ca.sign(&leaf(&["east", "North.Example", "west"])),
    );
    assert_eq!(leaves, 1);
    assert_eq!(
        found,
        "WEFT0307 Fail 1: the certificate also carries the name of the peer \"north.example\" \
         | east could take north.example's place; issue a certificate without that name\n\
         WEFT0307 Fail 1: the certificate also carries the name of the peer \"west\" \
         | east could take west's place; issue a certificate without that name"
    );
    let (leaves, found) = judged(&ca, true, &ca.pem);
    assert_eq!(leaves, 0);
    assert!(
        found.starts_with("WEFT0302 Freeze 1: the file holds CA certificates alone"),
        "{found}"
    );
    let stray = format!(
        "{}{}",
        ca.sign(&leaf(&["east"])),
        ca.sign(&leaf(&["other"]))
    );
    let (leaves, found) = judged(&ca, true, &stray);
    assert_eq!(leaves, 1);
    assert!(found.starts_with("WEFT0302 Warn "), "{found}");
}

#[test]
fn too_many_leaves() {
    let ca = authority("ca").self_signed();
    let file: String = (0..3).map(|_| ca.sign(&leaf(&["east"]))).collect();
    let (_, found) = judged(&ca, true, &file);
    assert!(
        found.contains(Code::TooManyCertificates.as_str()),
        "{found}"
    );
    assert!(found.contains("3 certificates of the peer"), "{found}");
}

#[test]
fn usage() {
    let ca = authority("ca").self_signed();
    let with = |usages: &[ExtendedKeyUsagePurpose]| {
        ca.sign(&leaf(&["east"]).with(|wish| wish.usages = usages.to_vec()))
    };
    let client = "WEFT0308 Fail 1: the certificate may not be used to dial (client authentication)";
    let server =
        "WEFT0308 Fail 1: the certificate may not be used to be dialled (server authentication)";
    let both = format!("{client}\n{server}");
    use ExtendedKeyUsagePurpose::{Any, ClientAuth, CodeSigning, ServerAuth};
    for (usages, is_dialled, expected) in [
        (&[ClientAuth][..], false, ""),
        (&[ClientAuth], true, server),
        (&[ServerAuth], false, client),
        (&[ServerAuth], true, client),
        (&[ServerAuth, ClientAuth], true, ""),
        (&[CodeSigning], true, &both),
        // TLS doesn't take "any" for either, so neither does the check.
        (&[Any], false, client),
    ] {
        let (leaves, found) = judged(&ca, is_dialled, &with(usages));
        assert_eq!(found, expected, "{usages:?} {is_dialled}");
        assert_eq!(leaves, 1);
    }
    let no_signature =
        leaf(&["east"]).with(|wish| wish.key_usages = vec![KeyUsagePurpose::KeyEncipherment]);
    let (_, found) = judged(&ca, false, &ca.sign(&no_signature));
    assert!(
        found.contains("WEFT0308") && found.contains("digitalSignature"),
        "{found}"
    );
    let as_leaf = ca.sign(&authority("east").with(|wish| wish.names = vec!["east"]));
    let (leaves, found) = judged(&ca, false, &as_leaf);
    assert_eq!(leaves, 0);
    assert!(
        found.starts_with(
            "WEFT0308 Freeze 1: the certificate carries the peer's name but is a CA's"
        ),
        "{found}"
    );
}

#[test]
fn chains() {
    let ca = authority("ca").self_signed();
    let east = leaf(&["east"]);
    let foreign = authority("foreign").self_signed();
    let twin = authority("ca").self_signed();
    let between = ca.below(&authority("between"));
    let past = ca.below(&authority("past").with(|wish| wish.to = (2025, 1, 1)));
    let no_authority = ca.sign(&leaf(&["x"]).with(|wish| wish.common_name = "x"));
    let unknown = "WEFT0303 Fail 1: no CA of the fabric signed the certificate";
    for (pem, expected) in [
        (foreign.sign(&east), unknown),
        // Whoever brings their own CA along doesn't make it trusted.
        (format!("{}{}", foreign.sign(&east), foreign.pem), unknown),
        (between.sign(&east), unknown),
        (
            twin.sign(&east),
            "WEFT0303 Fail 1: the certificate names a CA of the fabric as its issuer",
        ),
        (
            format!("{}{}", past.sign(&east), past.pem),
            "WEFT0303 Fail 1: the certificate and the intermediates that signed it are never valid together",
        ),
        (
            format!("{}{no_authority}", foreign.sign(&east)),
            "WEFT0302 Warn",
        ),
    ] {
        let (leaves, found) = judged(&ca, true, &pem);
        assert!(found.starts_with(expected), "{found}");
        assert_eq!(leaves, 1);
    }
}

/// Time is told apart from everything that is wrong for good, and takes no leaf away.
#[test]
fn time() {
    let ca = authority("ca").self_signed();
    let foreign = authority("foreign").self_signed();
    let past = leaf(&["east"]).with(|wish| {
        wish.from = (2025, 1, 1);
        wish.to = (2026, 5, 1);
    });
    let future = leaf(&["east"]).with(|wish| wish.from = (2026, 7, 1));
    let soon = leaf(&["east"]).with(|wish| {
        wish.from = (2026, 4, 1);
        wish.to = (2026, 6, 29);
    });
    let expired = "WEFT0304 Fail 1: the certificate expired on 2026-05-01T00:00:00Z";
    assert_eq!(judged(&ca, true, &ca.sign(&past)), (1, expired.to_owned()));
    let early = "WEFT0304 Fail 1: the certificate isn't valid before 2026-07-01T00:00:00Z";
    assert_eq!(judged(&ca, true, &ca.sign(&future)), (1, early.to_owned()));
    let warned = "WEFT0305 Warn 1: the certificate expires in 28 days, on 2026-06-29T00:00:00Z";
    assert_eq!(judged(&ca, true, &ca.sign(&soon)), (1, warned.to_owned()));
    // A wrong chain shows also behind a wrong time.
    let (leaves, found) = judged(&ca, true, &foreign.sign(&past));
    assert_eq!(leaves, 1);
    assert!(
        found.contains("WEFT0303") && found.contains("WEFT0304"),
        "{found}"
    );
    // An intermediate that is over is reported itself, once for both leaves.
    let over = ca.below(&authority("over").with(|wish| wish.to = (2026, 5, 1)));
    let (one, two) = (over.sign(&leaf(&["east"])), over.sign(&leaf(&["east"])));
    let (leaves, found) = judged(&ca, true, &format!("{}{one}{two}", over.pem));
    assert_eq!((leaves, found.as_str()), (2, expired));
}

#[test]
fn weak_keys() {
    let ca = authority("ca").self_signed();
    let (leaves, found) = judged(&ca, true, include_str!("rsa-1024.pem"));
    assert_eq!(leaves, 1);
    let expected = "WEFT0309 Fail 1: the certificate's key is RSA-1024 | use a key of P-256";
    assert!(found.starts_with(expected), "{found}");
}
