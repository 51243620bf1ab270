use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::time::Duration;

use rcgen::PublicKeyData as _;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert, aws_lc_rs};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;

use crate::sandbox::Sandbox;

fn certificates(pem: &str) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem.as_bytes())
        .map(Result::unwrap)
        .collect()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// How long a certificate is valid from now on, in hours.
fn hours_left(certificate: &CertificateDer<'_>) -> i64 {
    let (_, facts) = X509Certificate::from_der(certificate).unwrap();
    let left = facts.validity().not_after.timestamp() - UnixTime::now().as_secs() as i64;
    (left + 1800) / 3600
}

/// Checks a chain as TLS does, for both roles.
fn verify(chain: &[CertificateDer<'_>], authority: &CertificateDer<'_>, name: &str) {
    let anchor = anchor_from_trusted_cert(authority).unwrap();
    let leaf = EndEntityCert::try_from(&chain[0]).unwrap();
    for usage in [KeyUsage::server_auth(), KeyUsage::client_auth()] {
        let verified = leaf.verify_for_usage(
            &[aws_lc_rs::ECDSA_P256_SHA256],
            std::slice::from_ref(&anchor),
            &chain[1..],
            UnixTime::now(),
            usage,
            None,
            None,
        );
        verified.unwrap();
    }
    let wanted = ServerName::try_from(name).unwrap();
    leaf.verify_is_valid_for_subject_name(&wanted).unwrap();
    let other = ServerName::try_from("other").unwrap();
    leaf.verify_is_valid_for_subject_name(&other).unwrap_err();
}

fn assert_key_belongs(key: &str, certificate: &CertificateDer<'_>) {
    assert!(key.starts_with("-----BEGIN PRIVATE KEY-----"), "PKCS#8");
    let key = rcgen::KeyPair::from_pem(key).unwrap();
    let (_, facts) = X509Certificate::from_der(certificate).unwrap();
    assert_eq!(key.subject_public_key_info(), facts.public_key().raw);
    assert!(key.is_compatible(&rcgen::PKCS_ECDSA_P256_SHA256));
}

#[test]
fn the_layout_is_clusterlinks() {
    let sandbox = Sandbox::new();
    let fabric = sandbox.ok("", &["create", "fabric"]);
    assert_eq!(
        fabric.stdout,
        "/sandbox/default_fabric/cert.pem\n/sandbox/default_fabric/key.pem\n"
    );
    sandbox.ok("", &["create", "peer-cert", "--name", "cluster17.us-east"]);
    for path in ["default_fabric", "default_fabric/cluster17.us-east"] {
        assert_eq!(mode(&sandbox.path(path)), 0o700, "{path}");
        for file in ["cert.pem", "key.pem"] {
            assert_eq!(mode(&sandbox.path(path).join(file)), 0o600, "{path}/{file}");
        }
    }
    assert_eq!(sandbox.files("").len(), 4, "and nothing else");

    let authority = certificates(&sandbox.read("default_fabric/cert.pem"));
    assert_eq!(authority.len(), 1);
    assert_key_belongs(&sandbox.read("default_fabric/key.pem"), &authority[0]);
    assert_eq!(hours_left(&authority[0]), 87_600);
    let chain = certificates(&sandbox.read("default_fabric/cluster17.us-east/cert.pem"));
    assert_eq!(chain.len(), 2);
    assert_eq!(chain[1], authority[0]);
    assert_key_belongs(
        &sandbox.read("default_fabric/cluster17.us-east/key.pem"),
        &chain[0],
    );
    assert_eq!(hours_left(&chain[0]), 2160);
    verify(&chain, &authority[0], "cluster17.us-east");
}

#[test]
fn nothing_is_overwritten() {
    let sandbox = Sandbox::new();
    let fabric = ["create", "fabric", "--name", "acme"];
    let peer = ["create", "peer-cert", "--name", "east", "--fabric", "acme"];
    sandbox.ok("", &fabric);
    sandbox.ok("", &peer);
    let before: Vec<_> = sandbox
        .files("acme")
        .iter()
        .map(fs::read)
        .map(Result::unwrap)
        .collect();
    for arguments in [&fabric[..], &peer] {
        let outcome = sandbox.weft("", arguments);
        assert!(!outcome.stderr.contains("hint"), "{outcome:?}");
        assert_eq!(outcome.code, 2);
        assert_eq!(outcome.stdout, "");
        assert!(outcome.stderr.contains("exists already"), "{outcome:?}");
    }
    let after: Vec<_> = sandbox
        .files("acme")
        .iter()
        .map(fs::read)
        .map(Result::unwrap)
        .collect();
    assert_eq!(before, after);
}

#[test]
fn options_say_where_and_how_long() {
    let sandbox = Sandbox::new();
    sandbox.ok(
        "",
        &["create", "fabric", "--path", "keys", "--validity", "100h"],
    );
    sandbox.ok(
        "",
        &[
            "create",
            "peer-cert",
            "--name",
            "east",
            "--path",
            "keys",
            "--output",
            "usb",
            "--validity",
            "48h",
        ],
    );
    let chain = certificates(&sandbox.read("usb/cert.pem"));
    assert_eq!(hours_left(&chain[0]), 48);

    // The CA ends first.
    sandbox.ok(
        "",
        &["create", "peer-cert", "--name", "west", "--path", "keys"],
    );
    let chain = certificates(&sandbox.read("keys/default_fabric/west/cert.pem"));
    assert_eq!(hours_left(&chain[0]), 100);
    assert!(UnixTime::now().as_secs() > Duration::from_secs(300).as_secs());
}

#[test]
fn in_a_repository_the_certificate_goes_to_its_place_and_the_key_never() {
    let sandbox = Sandbox::new();
    sandbox.ok("", &["init", "acme"]);
    sandbox.edit(
        "acme/fabric.yaml",
        "spec: {}",
        "spec:\n  certificates:\n    validity: 72h",
    );
    let fabric = sandbox.ok("acme/peers", &["create", "fabric"]);
    assert_eq!(
        fabric.stdout,
        "/sandbox/home/.config/weft/acme/cert.pem\n\
         /sandbox/home/.config/weft/acme/key.pem\n\
         /sandbox/acme/ca/acme.pem\n"
    );
    let peer = sandbox.ok("acme", &["create", "peer-cert", "--name", "east"]);
    insta::assert_snapshot!(
        "create_peer_cert",
        format!("{}---\n{}", peer.stdout, scrub(&peer.stderr))
    );

    let authority = certificates(&sandbox.read("acme/ca/acme.pem"));
    let public = certificates(&sandbox.read("acme/peers/east/cert.pem"));
    assert_eq!((authority.len(), public.len()), (1, 1));
    verify(&public, &authority[0], "east");
    assert_eq!(hours_left(&public[0]), 72, "as fabric.yaml says");
    assert_eq!(
        mode(&sandbox.path("acme/peers/east/cert.pem")) & 0o644,
        0o644
    );
    assert_no_key(&sandbox, "acme");
}

#[test]
fn no_way_leads_a_key_into_a_repository() {
    let sandbox = Sandbox::new();
    sandbox.ok("", &["init", "acme"]);
    symlink(sandbox.path("acme/peers"), sandbox.path("link")).unwrap();
    for arguments in [
        // The folder of the fabric is the repository itself.
        &["create", "fabric", "--name", "acme"][..],
        &["create", "fabric", "--output", "acme/keys"],
        &["create", "fabric", "--output", "link/new"],
        &[
            "create",
            "fabric",
            "--fabric-repo",
            "acme",
            "--output",
            "acme",
        ],
    ] {
        let outcome = sandbox.weft("", arguments);
        assert_eq!(outcome.code, 2, "{arguments:?}: {outcome:#?}");
        assert!(
            outcome.stderr.contains("private keys never go into one"),
            "{outcome:?}"
        );
    }
    // These are taken as the repository, and the keys go elsewhere.
    sandbox.ok("", &["create", "fabric", "--path", "link"]);
    sandbox.ok(
        "",
        &["create", "peer-cert", "--name", "east", "--path", "acme"],
    );
    assert_no_key(&sandbox, "acme");
    assert!(sandbox.path("home/.config/weft/acme/east/key.pem").exists());
}

#[test]
fn a_repository_elsewhere_gets_the_certificates_too() {
    let sandbox = Sandbox::new();
    sandbox.ok("", &["init", "acme"]);
    sandbox.ok(
        "",
        &[
            "create",
            "fabric",
            "--path",
            "vault",
            "--fabric-repo",
            "acme",
        ],
    );
    sandbox.ok(
        "",
        &[
            "create",
            "peer-cert",
            "--name",
            "east",
            "--path",
            "vault",
            "--fabric-repo",
            "acme",
        ],
    );
    assert!(sandbox.path("vault/acme/east/key.pem").exists());
    assert!(sandbox.path("acme/ca/acme.pem").exists());
    assert!(sandbox.path("acme/peers/east/cert.pem").exists());
    assert_no_key(&sandbox, "acme");
}

#[test]
fn a_pair_that_never_reached_the_repository_is_not_lost() {
    let sandbox = Sandbox::new();
    sandbox.ok("", &["init", "acme"]);
    sandbox.ok("acme", &["create", "fabric"]);
    fs::remove_file(sandbox.path("acme/ca/acme.pem")).unwrap();
    let outcome = sandbox.weft("acme", &["create", "fabric"]);
    assert_eq!(outcome.code, 2);
    insta::assert_snapshot!(outcome.stderr);
}

#[test]
fn without_a_ca_the_error_says_what_helps() {
    let sandbox = Sandbox::new();
    sandbox.ok("", &["init", "acme"]);
    let outcome = sandbox.weft("acme", &["create", "peer-cert", "--name", "east"]);
    assert_eq!(outcome.code, 2);
    insta::assert_snapshot!(outcome.stderr);
    assert!(!sandbox.path("acme/peers/east").exists());
}

#[test]
fn a_ca_whose_key_is_anothers_signs_nothing() {
    let sandbox = Sandbox::new();
    sandbox.ok("", &["create", "fabric", "--name", "one"]);
    sandbox.ok("", &["create", "fabric", "--name", "two"]);
    fs::copy(sandbox.path("two/key.pem"), sandbox.path("one/key.pem")).unwrap();
    let outcome = sandbox.weft(
        "",
        &["create", "peer-cert", "--name", "east", "--fabric", "one"],
    );
    assert_eq!(outcome.code, 2);
    assert!(outcome.stderr.contains("doesn't belong"), "{outcome:?}");
    assert!(!sandbox.path("one/east").exists());
}

fn assert_no_key(sandbox: &Sandbox, directory: &str) {
    for file in sandbox.files(directory) {
        let text = fs::read_to_string(&file).unwrap();
        assert!(!text.contains("PRIVATE KEY"), "{}", file.display());
    }
}

/// The text without the day on which it was written.
fn scrub(text: &str) -> String {
    let is_day = |word: &str| word.len() == 10 && word.matches('-').count() == 2;
    let words = text.split_inclusive([' ', '\n']);
    words
        .map(|word| match is_day(word.trim_end()) {
            true => word.replace(word.trim_end(), "DAY"),
            false => word.to_owned(),
        })
        .collect()
}
