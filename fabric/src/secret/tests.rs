//! The keys in these tests are none: their numbers come from a counter, so that this file holds
//! nothing that the search itself would refuse.

use proptest::prelude::*;

use super::encoded::tests::encode;
use super::*;

/// Bytes that look random and are the same each time.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
    .take(length)
    .collect()
}

fn wrapped(text: &str, width: usize, separator: &str) -> String {
    let lines: Vec<_> = text
        .as_bytes()
        .chunks(width)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    lines.join(separator)
}

/// A PEM text with this label. The dashes are made here: see above.
fn pem(label: &str, separator: &str) -> String {
    let dashes = "-".repeat(5);
    let body = wrapped(&encode(&noise(120)), 64, separator);
    format!(
        "{dashes}BEGIN {label}{dashes}{separator}{body}{separator}{dashes}END {label}{dashes}{separator}"
    )
}

fn places(text: impl AsRef<[u8]>) -> Vec<(u32, u32)> {
    find_private_keys(text.as_ref())
        .iter()
        .map(|finding| (finding.labels[0].0.line, finding.labels[0].0.column))
        .collect()
}

const LABELS: [&str; 8] = [
    "PRIVATE KEY",
    "ENCRYPTED PRIVATE KEY",
    "RSA PRIVATE KEY",
    "EC PRIVATE KEY",
    "DSA PRIVATE KEY",
    "OPENSSH PRIVATE KEY",
    "PGP PRIVATE KEY BLOCK",
    "ANY PRIVATE KEY",
];

const PUBLIC_LABELS: [&str; 8] = [
    "CERTIFICATE",
    "TRUSTED CERTIFICATE",
    "CERTIFICATE REQUEST",
    "NEW CERTIFICATE REQUEST",
    "PUBLIC KEY",
    "RSA PUBLIC KEY",
    "EC PARAMETERS",
    "X509 CRL",
];

#[test]
fn keys_of_all_kinds_are_found_at_their_begin_line() {
    for label in LABELS {
        let key = pem(label, "\n");
        assert_eq!(places(&key), [(1, 1)], "{label}");
        assert_eq!(
            places(format!("# é\r\n\r\n{}", pem(label, "\r\n"))),
            [(3, 1)]
        );
        let indented = format!("tls:\n  key: |\n    {}", pem(label, "\n    "));
        assert_eq!(places(&indented), [(3, 5)], "{label}");
        let json = format!("{{\"é\": \"{}\"}}", pem(label, "\\n"));
        assert_eq!(places(&json), [(1, 8)], "{label}");
        let twice_escaped = format!("{{\"a\": \"{}\"}}", pem(label, "\\\\n"));
        assert_eq!(places(&twice_escaped), [(1, 8)], "{label}");
        let list = format!("[\"{}\"]", pem(label, "\",\n \""));
        assert_eq!(places(&list), [(1, 3)], "{label}");
        assert_eq!(
            places(format!("// {}", pem(label, "\n// "))),
            [(1, 4)],
            "{label}"
        );
        assert_eq!(
            places(format!("# {}", pem(label, "\n# "))),
            [(1, 3)],
            "{label}"
        );
        assert_eq!(places(pem(label, " ")), [(1, 1)], "{label}");
    }
}

#[test]
fn a_key_without_its_end_is_found() {
    let key = pem("EC PRIVATE KEY", "\n");
    assert_eq!(places(&key[..key.len() / 2]), [(1, 1)]);
}

#[test]
fn several_keys_are_found_each() {
    let key = pem("EC PRIVATE KEY", "\n");
    let text = format!("{key}\n{}{key}", pem("CERTIFICATE", "\n"));
    assert_eq!(places(text), [(1, 1), (12, 1)]);
}

#[test]
fn the_headers_of_an_encrypted_key_are_passed_over() {
    for separator in ["\n", "\r\n", "\n      ", "\\n"] {
        let key = pem("RSA PRIVATE KEY", separator);
        let (begin, rest) = key.split_once(separator).unwrap();
        let headers = format!(
            "Proc-Type: 4,ENCRYPTED{separator}DEK-Info: AES-128-CBC,00112233445566778899AABBCCDDEEFF{separator}"
        );
        let text = format!("{begin}{separator}{headers}{separator}{rest}");
        assert_eq!(places(text), [(1, 1)], "{separator:?}");
    }
}

#[test]
fn a_key_of_ssh2_is_found() {
    let dashes = "-".repeat(4);
    let body = wrapped(&encode(&noise(200)), 70, "\n");
    let text = format!(
        "{dashes} BEGIN SSH2 ENCRYPTED PRIVATE KEY {dashes}\nComment: \"1024-bit\"\n{body}\n"
    );
    assert_eq!(places(text), [(1, 1)]);
}

#[test]
fn a_key_file_of_putty_is_found() {
    let lines = wrapped(&encode(&noise(96)), 64, "\n");
    let text = |private: &str| {
        format!(
            "\nPuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\nComment: x\nPublic-Lines: 2\n\
             {lines}\n{private}"
        )
    };
    assert_eq!(
        places(text(&format!("Private-Lines: 2\n{lines}\n"))),
        [(2, 1)]
    );
    assert_eq!(places(text("")), []);
    assert_eq!(
        places("PuTTY-User-Key-File-3 has a line Private-Lines: 2 and more"),
        []
    );
}

#[test]
fn a_key_in_base64_is_found_at_any_alignment_and_width() {
    for label in LABELS {
        for alignment in 0..3 {
            let front = "x".repeat(alignment);
            let inner = format!("{front}\n{}{}", pem("CERTIFICATE", "\n"), pem(label, "\n"));
            let text = encode(inner.as_bytes());
            assert_eq!(
                places(format!("data:\n  tls.key: {text}\n")).len(),
                1,
                "{label}"
            );
            for width in [64, 70, 76] {
                let folded = format!("key: |\n  {}\n", wrapped(&text, width, "\n  "));
                assert_eq!(places(&folded).len(), 1, "{label} {alignment} {width}");
            }
        }
    }
    let plain = encode(pem("PRIVATE KEY", "\n").as_bytes());
    assert_eq!(places(format!("data:\n  tls.key: {plain}\n")), [(2, 12)]);
    assert_eq!(
        places(format!("a: '{}'", wrapped(&plain, 76, "\n  "))),
        [(1, 5)]
    );
}

#[test]
fn public_things_are_not_found() {
    for label in PUBLIC_LABELS {
        let text = pem(label, "\n");
        assert_eq!(places(&text), [], "{label}");
        assert_eq!(places(encode(text.as_bytes())), [], "{label}");
    }
}

#[test]
fn words_about_keys_are_not_found() {
    let begin = format!("{0}BEGIN PRIVATE KEY{0}", "-".repeat(5));
    let end = begin.replace("BEGIN", "END");
    for body in [
        "",
        "...",
        "\n...\n",
        "\nMIIEvQIBADANBg...\n",
        " is how a key begins, and so it is found by tools that look for it.",
        "\n<put the key here>\n",
        "\n{{ .Values.privateKey }}\n",
        "\n$PRIVATE_KEY\n",
        "\nREPLACETHISWITHTHEBASE64OFYOURPRIVATEKEY\n",
        "\nxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n",
        "\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n",
        "\", \"-----BEGIN CERTIFICATE-----\"",
    ] {
        let text = format!("{begin}{body}{end}\n");
        assert_eq!(places(&text), [], "{body:?}");
        assert_eq!(places(encode(text.as_bytes())), [], "{body:?}");
    }
    assert_eq!(places("a PRIVATE KEY and BEGIN PRIVATE KEY"), []);
}

// DER, put together from its elements.

fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut bytes = vec![tag];
    match length {
        0..=0x7f => bytes.push(length as u8),
        0x80..=0xff => bytes.extend([0x81, length as u8]),
        _ => bytes.extend([0x82, (length >> 8) as u8, length as u8]),
    }
    bytes.extend(content);
    bytes
}

fn sequence(parts: &[Vec<u8>]) -> Vec<u8> {
    element(0x30, &parts.concat())
}

fn number(length: usize) -> Vec<u8> {
    let mut digits = noise(length);
    digits[0] &= 0x7f;
    element(0x02, &digits)
}

fn small(value: u8) -> Vec<u8> {
    element(0x02, &[value])
}

fn rsa(primes: usize) -> Vec<u8> {
    let mut parts = vec![small(0), number(256), small(3), number(256)];
    parts.extend((0..5).map(|_| number(128)));
    parts.truncate(4 + primes);
    sequence(&parts)
}

fn algorithm(name: &[u8]) -> Vec<u8> {
    sequence(&[element(0x06, name), element(0x05, &[])])
}

const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const PBES2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0d];

#[test]
fn keys_in_der_are_found() {
    let curve = element(0xa0, &element(0x06, &[0x2a, 0x86, 0x48, 0xce]));
    let public = element(0xa1, &element(0x03, &noise(66)));
    let key = element(0x04, &noise(32));
    for (name, bytes) in [
        ("pkcs1", rsa(5)),
        (
            "pkcs8",
            sequence(&[small(0), algorithm(RSA), element(0x04, &rsa(5))]),
        ),
        (
            "encrypted",
            sequence(&[algorithm(PBES2), element(0x04, &noise(200))]),
        ),
        (
            "dsa",
            sequence(&[
                small(0),
                number(128),
                number(20),
                number(128),
                number(128),
                number(20),
            ]),
        ),
        ("sec1", sequence(&[small(1), key.clone(), curve, public])),
        ("sec1, short", sequence(&[small(1), key])),
    ] {
        let findings = find_private_keys(&bytes);
        assert_eq!(findings.len(), 1, "{name}");
        assert_eq!(findings[0].labels[0].0, Span::FILE);
        assert_eq!(places([&bytes[..], b"\n"].concat()).len(), 1, "{name}");
        assert_eq!(places([&bytes[..], b"more"].concat()), [], "{name}");
        assert_eq!(places(&bytes[..bytes.len() - 1]), [], "{name}");
    }
}

#[test]
fn other_der_is_not_found() {
    let public_key = sequence(&[algorithm(RSA), element(0x03, &noise(270))]);
    for (name, bytes) in [
        ("public key", public_key),
        ("rsa public key", sequence(&[number(256), small(3)])),
        ("signature", sequence(&[number(32), number(32)])),
        (
            "digest",
            sequence(&[algorithm(RSA), element(0x04, &noise(32))]),
        ),
        ("too few numbers", rsa(4)),
        ("empty", sequence(&[])),
    ] {
        assert_eq!(places(bytes), [], "{name}");
    }
    let ca = rcgen::generate_simple_self_signed(["east.example".to_owned()]).unwrap();
    assert_eq!(places(ca.cert.der()), []);
    assert_eq!(places(ca.cert.pem()), []);
    let request = rcgen::CertificateParams::new(["east.example".to_owned()])
        .and_then(|params| params.serialize_request(&ca.signing_key))
        .unwrap();
    assert_eq!(places(request.der()), []);
    assert_eq!(places(ca.signing_key.public_key_pem()), []);
}

#[test]
fn real_keys_are_found() {
    for algorithm in [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ED25519] {
        let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
        assert_eq!(places(key.serialize_pem()), [(1, 1)]);
        assert_eq!(places(encode(key.serialize_pem().as_bytes())), [(1, 1)]);
        assert_eq!(places(key.serialize_der()), [(0, 0)]);
    }
}

#[test]
fn der_in_large_files_is_not_looked_at() {
    let key = sequence(&[
        small(0),
        algorithm(RSA),
        element(0x04, &noise((64 << 10) - 64)),
    ]);
    assert!(key.len() < 64 << 10);
    assert_eq!(places(&key).len(), 1);
    let key = sequence(&[small(0), algorithm(RSA), element(0x04, &noise(64 << 10))]);
    assert_eq!(places(&key), []);
}

#[test]
fn the_text_is_never_shown() {
    let findings = find_private_keys(pem("PRIVATE KEY", "\n").as_bytes());
    assert!(findings.iter().all(|finding| !finding.shows_source));
}

#[test]
fn the_number_of_findings_is_bounded() {
    let text = pem("PRIVATE KEY", "\n").repeat(1000);
    assert_eq!(places(text).len(), REPORTED);
}

proptest! {
    #[test]
    fn random_bytes_are_no_key(bytes in proptest::collection::vec(any::<u8>(), 0..4096)) {
        prop_assert_eq!(places(&bytes), []);
    }

    #[test]
    fn random_der_never_panics(mut bytes in proptest::collection::vec(0_u8..0x40, 2..300)) {
        bytes[0] = 0x30;
        let rest = bytes.len() - 2;
        bytes[1] = u8::try_from(rest.min(0x7f)).unwrap();
        prop_assert!(find_private_keys(&bytes).len() <= 1);
    }

    #[test]
    fn a_key_is_found_wherever_it_stands(
        front in "[ -,.-~\n]{0,200}",
        label in proptest::sample::select(&LABELS[..]),
    ) {
        prop_assert_eq!(places(format!("{front}\n{}", pem(label, "\n"))).len(), 1);
        let encoded = encode(format!("{front}{}", pem(label, "\n")).as_bytes());
        prop_assert_eq!(places(&encoded).len(), 1);
    }
}
