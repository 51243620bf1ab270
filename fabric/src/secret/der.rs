//! Private keys in DER, told by the outline of their ASN.1.

use std::ops::Range;

/// Only files below this size are looked at; the largest key in use has a few kilobytes.
const LARGEST: usize = 64 << 10;

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const OBJECT: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
const EXPLICIT_0: u8 = 0xa0;
const EXPLICIT_1: u8 = 0xa1;

/// Password-based encryption: PKCS#5 and PKCS#12.
const PKCS5: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05];
const PKCS12_PBE: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x01];

/// Whether a whole file is one private key.
pub(super) fn is_private_key(bytes: &[u8]) -> bool {
    if bytes.len() >= LARGEST || bytes.first() != Some(&SEQUENCE) {
        return false;
    }
    // A line break may have been added at the end.
    let rest_is_blank = |rest: &[u8]| rest.len() <= 2 && rest.trim_ascii().is_empty();
    match element(bytes) {
        Some((SEQUENCE, content, rest)) if rest_is_blank(rest) => {
            let parts = parts(content);
            parts.is_some_and(|parts| {
                is_pkcs8(&parts)
                    || is_encrypted(&parts)
                    || is_pkcs1(&parts)
                    || is_dsa(&parts)
                    || is_sec1(&parts)
            })
        }
        _ => false,
    }
}

/// One element: its tag and its content.
type Part<'b> = (u8, &'b [u8]);

/// version, algorithm, key, then attributes and the public key as may be.
fn is_pkcs8(parts: &[Part<'_>]) -> bool {
    match parts {
        [
            (INTEGER, [0 | 1]),
            (SEQUENCE, algorithm),
            (OCTET_STRING, key),
            rest @ ..,
        ] => {
            !key.is_empty()
                && names_an_algorithm(algorithm, |_| true)
                && rest.len() <= 2
                && rest
                    .iter()
                    .all(|(tag, _)| matches!(tag, 0xa0 | 0xa1 | 0x81))
        }
        _ => false,
    }
}

/// A password-based algorithm, and what it encrypted.
fn is_encrypted(parts: &[Part<'_>]) -> bool {
    match parts {
        [(SEQUENCE, algorithm), (OCTET_STRING, encrypted)] => {
            encrypted.len() >= 16
                && names_an_algorithm(algorithm, |name| {
                    name.starts_with(PKCS5) || name.starts_with(PKCS12_PBE)
                })
        }
        _ => false,
    }
}

/// version, modulus, both exponents, two primes and three more numbers, then further primes.
fn is_pkcs1(parts: &[Part<'_>]) -> bool {
    match parts {
        [(INTEGER, [version]), numbers @ ..] => {
            let expected = match version {
                0 => numbers.len() == 8,
                1 => numbers.len() == 9 && matches!(numbers.last(), Some((SEQUENCE, _))),
                _ => false,
            };
            // A modulus below 512 bits is no key.
            expected && are_numbers(numbers.get(..8).unwrap_or_default(), 64)
        }
        _ => false,
    }
}

/// version, p, q, g, the public key and the private one.
fn is_dsa(parts: &[Part<'_>]) -> bool {
    match parts {
        [(INTEGER, [0]), numbers @ ..] => numbers.len() == 5 && are_numbers(numbers, 64),
        _ => false,
    }
}

/// version, key, then the curve and the public key as may be.
fn is_sec1(parts: &[Part<'_>]) -> bool {
    /// From 112 to 521 bits.
    const KEY: Range<usize> = 14..67;
    match parts {
        [(INTEGER, [1]), (OCTET_STRING, key), rest @ ..] => {
            let inner = |content: &[u8], tag: u8| {
                element(content).is_some_and(|(found, _, rest)| found == tag && rest.is_empty())
            };
            let rest_fits = match rest {
                [] => true,
                [(EXPLICIT_0, curve)] => inner(curve, OBJECT) || inner(curve, SEQUENCE),
                [(EXPLICIT_1, public)] => inner(public, BIT_STRING),
                [(EXPLICIT_0, curve), (EXPLICIT_1, public)] => {
                    (inner(curve, OBJECT) || inner(curve, SEQUENCE)) && inner(public, BIT_STRING)
                }
                _ => false,
            };
            KEY.contains(&key.len()) && rest_fits
        }
        _ => false,
    }
}

/// Whether the parts are positive numbers, the first of them with at least so many bytes.
fn are_numbers(parts: &[Part<'_>], first: usize) -> bool {
    let positive = |content: &[u8]| content.first().is_some_and(|byte| *byte < 0x80);
    parts
        .iter()
        .all(|(tag, content)| *tag == INTEGER && positive(content))
        && parts
            .first()
            .is_some_and(|(_, content)| content.len() >= first)
}

fn names_an_algorithm(content: &[u8], fits: impl Fn(&[u8]) -> bool) -> bool {
    match element(content) {
        Some((OBJECT, name, _)) => name.len() >= 3 && fits(name),
        _ => false,
    }
}

/// All elements of a content, at most as many as a key has; nothing when it doesn't divide.
fn parts(mut content: &[u8]) -> Option<Vec<Part<'_>>> {
    /// A key of RSA with further primes has ten.
    const MOST: usize = 10;
    let mut parts = Vec::new();
    while !content.is_empty() {
        let (tag, inner, rest) = element(content)?;
        if parts.len() == MOST {
            return None;
        }
        parts.push((tag, inner));
        content = rest;
    }
    Some(parts)
}

/// The first element: its tag, its content, and what follows it.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x83 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            let length = digits
                .iter()
                .fold(0, |length, digit| length << 8 | usize::from(*digit));
            // DER takes the shortest form.
            if length < 0x80 || digits.first() == Some(&0) {
                return None;
            }
            (length, rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}
