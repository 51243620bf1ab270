//! Private keys as text.

use std::sync::LazyLock;

use memchr::memmem::{self, Finder};

use super::Found;

/// What every begin line of a private key ends with, but for its dashes.
pub(super) const PRIVATE_KEY: &[u8] = b"PRIVATE KEY";

/// How far behind a begin line its body is looked for: the headers of an encrypted key, a long
/// comment and deep indentation fit.
const BODY_WINDOW: usize = 2048;

/// Characters of base64 that make a body; the shortest key there is has 64.
const BODY: usize = 32;

/// The shortest piece that counts: longer than almost all words, shorter than any line of a key.
const PIECE: usize = 16;

static FINDER: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new(PRIVATE_KEY));
static PUTTY: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new(b"PuTTY-User-Key-File-"));

/// Finds the private keys in a text.
pub(super) fn find(bytes: &[u8], found: &mut Vec<Found>) {
    for hit in FINDER.find_iter(bytes) {
        if let Some((start, end)) = begin_line(bytes, hit)
            && has_body(bytes.get(end..).unwrap_or_default())
        {
            found.push(Found {
                start,
                end,
                what: "a private key",
            });
        }
    }
    putty(bytes, found);
}

/// The begin line around the words `PRIVATE KEY` at `hit`.
pub(super) fn begin_line(bytes: &[u8], hit: usize) -> Option<(usize, usize)> {
    // `---- BEGIN SSH2 ENCRYPTED ` is the longest that stands before.
    let before = bytes.get(hit.saturating_sub(40)..hit)?;
    let label = before
        .iter()
        .rev()
        .take_while(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || **byte == b' ')
        .count();
    let (before, label) = before.split_at(before.len() - label);
    let opening = before
        .iter()
        .rev()
        .take_while(|byte| **byte == b'-')
        .count();
    if opening < 4 || !label.trim_ascii_start().starts_with(b"BEGIN ") {
        return None;
    }
    let after = bytes.get(hit + PRIVATE_KEY.len()..)?;
    let rest = after.strip_prefix(b" BLOCK").unwrap_or(after);
    let rest = rest.strip_prefix(b" ").unwrap_or(rest);
    let closing = rest.iter().take_while(|byte| **byte == b'-').count();
    let end = bytes.len() - rest.len() + closing;
    (closing >= 4).then_some((hit - label.len() - opening, end))
}

/// Whether what follows a begin line is the body of a key.
pub(super) fn has_body(after: &[u8]) -> bool {
    let mut rest = after.get(..BODY_WINDOW).unwrap_or(after);
    // An encrypted key of the old kind has two headers, PGP and SSH2 have a few.
    for _ in 0..8 {
        rest = skip_separators(rest);
        let line = rest.get(..line_length(rest)).unwrap_or(rest);
        let named = line.first().is_some_and(u8::is_ascii_alphabetic);
        if !named || memmem::find(line, b": ").is_none() {
            break;
        }
        rest = rest.get(line.len()..).unwrap_or_default();
    }
    let mut length = 0;
    let mut letters = [false; 128];
    while length < BODY {
        rest = skip_separators(rest);
        let width = rest.iter().take_while(|byte| is_base64(**byte)).count();
        let (piece, after) = rest.split_at(width);
        match piece.len() {
            0 => return false,
            PIECE.. => {
                length += piece.len();
                for byte in piece {
                    if let Some(seen) = letters.get_mut(usize::from(*byte)) {
                        *seen = true;
                    }
                }
            }
            // A `+` or a comment sign between the lines.
            1 | 2 => {}
            _ => return false,
        }
        rest = after;
    }
    // Neither a row of one letter nor a placeholder in capitals.
    let seen = |range: std::ops::RangeInclusive<u8>| {
        range
            .filter(|byte| letters.get(usize::from(*byte)) == Some(&true))
            .count()
    };
    seen(0..=127) >= 8 && seen(b'a'..=b'z') > 0 && seen(b'A'..=b'Z') > 0
}

/// Whether the byte is one of base64's 64 characters.
pub(super) fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/')
}

/// The bytes up to the end of the line, be it a line break or the escape of one.
fn line_length(bytes: &[u8]) -> usize {
    memchr::memchr3(b'\n', b'\r', b'\\', bytes).unwrap_or(bytes.len())
}

/// What may stand between the lines of a key: white space, the escapes of it in a string, quotes,
/// commas, comment signs.
fn skip_separators(mut bytes: &[u8]) -> &[u8] {
    loop {
        match bytes {
            [b'\\', b'n' | b'r' | b't', rest @ ..]
            | [
                b' ' | b'\t' | b'\n' | b'\r' | b'\\' | b'"' | b'\'' | b',' | b'#' | b'*' | b'>'
                | b'|' | b';',
                rest @ ..,
            ] => bytes = rest,
            _ => return bytes,
        }
    }
}

/// Finds the key files of PuTTY.
fn putty(bytes: &[u8], found: &mut Vec<Found>) {
    const PRIVATE: &[u8] = b"Private-Lines: ";
    // Looked for once for all heads before it, so that many heads take one pass.
    let mut private = 0;
    for start in PUTTY.find_iter(bytes) {
        if private < start {
            let rest = bytes.get(start..).unwrap_or_default();
            match memmem::find(rest, PRIVATE) {
                Some(offset) => private = start + offset,
                None => return,
            }
        }
        let head = bytes.get(start..).unwrap_or_default();
        let end = start + line_length(head);
        let body = bytes.get(private + PRIVATE.len()..).unwrap_or_default();
        let digits = body.iter().take_while(|byte| byte.is_ascii_digit()).count();
        // The public part of the longest key stands between them.
        let near = private - start < 1 << 14;
        if near && digits > 0 && has_body(body.get(digits..).unwrap_or_default()) {
            found.push(Found {
                start,
                end,
                what: "a private key of PuTTY",
            });
        }
    }
}
