//! The search for private keys, which never belong into the repository.
//!
//! Found are, by their form and never by a file's name:
//!
//! - the begin line of a private key (PKCS#1, PKCS#8, EC, DSA, encrypted ones, OpenSSH, SSH2, PGP)
//!   with at least the beginning of a body behind it: 32 characters of base64 in pieces of 16 or
//!   more, in both cases of letters. Between them may stand line breaks, indentation, quotes,
//!   commas, comment signs and the escapes of a JSON string, before them the headers of an encrypted key.
//!   So prose that mentions a begin line, a template and `...` in an example are no keys, and a key
//!   that was pasted without its end is one;
//! - PuTTY's key files, by their first line and the head of their private part;
//! - the same in base64, as a Kubernetes Secret holds it: wrapped into lines or not, and at any
//!   alignment, so also behind a certificate in the same text;
//! - DER in files below 64 KiB: the whole file is one PKCS#8 (encrypted or not), PKCS#1, SEC1 or
//!   DSA key by its ASN.1 outline.
//!
//! Certificates, requests, public keys and key parameters are none of these. Not looked for are
//! keys inside archives and key stores (PKCS#12, JKS), in UTF-16, or disguised on purpose.

mod der;
mod encoded;
mod pem;

use crate::diagnostic::{Code, Finding, Span};

/// Keys that are reported of one file; a single one is enough to refuse it.
const REPORTED: usize = 100;

/// A stretch of bytes, and what is there.
struct Found {
    start: usize,
    end: usize,
    what: &'static str,
}

/// Every private key in a file's bytes (the first hundred of them): PEM and OpenSSH of all kinds,
/// encrypted ones too, the same in base64, and DER in small files. The findings never show the
/// text.
#[must_use]
pub fn find_private_keys(bytes: &[u8]) -> Vec<Finding> {
    let mut found = Vec::new();
    pem::find(bytes, &mut found);
    encoded::find(bytes, &mut found);
    found.sort_by_key(|found| (found.start, found.end));
    found.dedup_by_key(|found| found.start);
    found.truncate(REPORTED);
    if found.is_empty() && der::is_private_key(bytes) {
        return vec![finding(Span::FILE, "a private key in DER")];
    }
    let mut places = Places::default();
    found
        .iter()
        .map(|found| finding(places.span(bytes, found), found.what))
        .collect()
}

fn finding(span: Span, what: &str) -> Finding {
    Finding::new(
        Code::PrivateKey,
        span,
        format!("{what} is in the repository"),
    )
    .with_help(
        "take it out of the history, not only out of this file, and replace the key: whoever \
             could read the repository knows it",
    )
    .without_source()
}

/// Lines and columns, counted on from place to place.
struct Places {
    offset: usize,
    line: u32,
    line_start: usize,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            offset: 0,
            line: 1,
            line_start: 0,
        }
    }
}

impl Places {
    /// The span of something found; they come in the order of their starts.
    fn span(&mut self, bytes: &[u8], found: &Found) -> Span {
        let between = bytes.get(self.offset..found.start).unwrap_or_default();
        for end in memchr::memchr2_iter(b'\n', b'\r', between) {
            let end = self.offset + end;
            // The two bytes of one line break count once.
            if bytes.get(end) == Some(&b'\n') || bytes.get(end + 1) != Some(&b'\n') {
                self.line += 1;
            }
            self.line_start = end + 1;
        }
        self.offset = found.start;
        let line = bytes.get(self.line_start..found.start).unwrap_or_default();
        let mark: &[u8] = if self.line_start == 0 && line.starts_with(b"\xef\xbb\xbf") {
            b"\xef\xbb\xbf"
        } else {
            b""
        };
        // Characters, told by their first bytes: the file needn't be UTF-8.
        let characters = line
            .iter()
            .skip(mark.len())
            .filter(|byte| **byte & 0xc0 != 0x80)
            .count();
        Span {
            start: narrow(found.start),
            end: narrow(found.end),
            line: self.line,
            column: narrow(characters + 1),
        }
    }
}

/// Places are counted in 32 bits; nothing that large is searched.
fn narrow(offset: usize) -> u32 {
    u32::try_from(offset).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
