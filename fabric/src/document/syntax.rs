//! What is wrong with text that isn't YAML, in words and at the right place.

use std::str::Utf8Error;

use granit_parser::{ErrorKind, Marker, ScanError};

use super::Limits;
use super::findings::Findings;
use crate::diagnostic::{Code, Finding, Span};

/// Our place for two of the parser's marks: `base` is where `text` starts in the file.
pub(super) fn span(text: &str, base: u32, start: &Marker, end: &Marker) -> Span {
    let first = start.byte_offset().unwrap_or_default();
    let last = end.byte_offset().unwrap_or_default();
    // Block scalars reach over their last line break.
    let length = text
        .get(first..last)
        .map_or(0, |text| text.trim_end().len());
    Span {
        start: base + first as u32,
        end: base + (first + length) as u32,
        line: start.line() as u32,
        column: start.col() as u32 + 1,
    }
}

/// The place of the character at `offset`, which is on a character's boundary.
fn place(text: &str, base: u32, offset: usize) -> Span {
    let before = text.get(..offset).unwrap_or(text);
    let after = text.get(offset..).unwrap_or_default();
    let line_start = before.rfind(['\n', '\r']).map_or(0, |found| found + 1);
    let width = after.chars().next().map_or(0, char::len_utf8);
    Span {
        start: base + offset as u32,
        end: base + (offset + width) as u32,
        line: 1 + breaks(before),
        column: 1 + before[line_start..].chars().count() as u32,
    }
}

/// The line breaks in a text: LF, CR LF, and CR alone.
fn breaks(text: &str) -> u32 {
    let bytes = text.as_bytes();
    let lone = |(index, byte): (usize, &u8)| {
        *byte == b'\n' || (*byte == b'\r' && bytes.get(index + 1) != Some(&b'\n'))
    };
    bytes.iter().enumerate().filter(|pair| lone(*pair)).count() as u32
}

/// The finding for bytes that aren't UTF-8.
pub(super) fn not_utf8(bytes: &[u8], error: Utf8Error) -> Finding {
    let good = bytes.get(..error.valid_up_to()).unwrap_or_default();
    let good = std::str::from_utf8(good).unwrap_or_default();
    let (text, base) = match good.strip_prefix('\u{feff}') {
        Some(text) => (text, 3),
        None => (good, 0),
    };
    let mut span = place(text, base, text.len());
    let bad = bytes.len() - error.valid_up_to();
    span.end = span.start + error.error_len().unwrap_or(bad) as u32;
    let help = match bytes {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => "the file looks like UTF-16; save it as UTF-8",
        _ => "save the file as UTF-8",
    };
    Finding::new(Code::NotUtf8, span, "the text isn't UTF-8 from here on").with_help(help)
}

/// Reports byte order marks inside the text.
pub(super) fn byte_order_marks(text: &str, base: u32, findings: &mut Findings) {
    // Counted on from mark to mark, so that many of them take one pass.
    let mut seen = 0;
    let mut line = 1;
    let mut column = 1;
    for (offset, mark) in text.match_indices('\u{feff}') {
        let between = text.get(seen..offset).unwrap_or_default();
        let new_lines = breaks(between);
        if new_lines > 0 {
            line += new_lines;
            column = 1;
        }
        let last_line = between.rfind(['\n', '\r']).map_or(0, |found| found + 1);
        column += between[last_line..].chars().count() as u32;
        seen = offset;
        let span = Span {
            start: base + offset as u32,
            end: base + (offset + mark.len()) as u32,
            line,
            column,
        };
        findings.push(Code::ByteOrderMark, span, || {
            Finding::new(
                Code::ByteOrderMark,
                span,
                "a byte order mark inside the text",
            )
            .with_help("remove the invisible character U+FEFF")
        });
    }
}

/// Whether a line is the one directive that is accepted.
pub(super) fn is_yaml_1_2(line: &str) -> bool {
    let mut words = line.split_whitespace();
    let accepted = words.next() == Some("%YAML") && words.next() == Some("1.2");
    accepted && words.next().is_none_or(|word| word.starts_with('#'))
}

/// Reports a document that is nested too deep.
pub(super) fn too_deep(span: Span, limits: &Limits, findings: &mut Findings) {
    let limit = limits.depth;
    findings.push(Code::TooDeep, span, || {
        let message = format!("the document is nested more than {limit} levels deep");
        Finding::new(Code::TooDeep, span, message)
    });
}

/// Reports where the parser could not go on.
pub(super) fn report(
    error: &ScanError,
    text: &str,
    base: u32,
    limits: &Limits,
    findings: &mut Findings,
) {
    let offset = error.marker().byte_offset().unwrap_or(text.len());
    let span = place(text, base, offset.min(text.len()));
    if *error.kind() == ErrorKind::RecursionLimitExceeded {
        return too_deep(span, limits, findings);
    }
    // All of them are reported before the first event.
    if *error.kind() == ErrorKind::BomInsideDocument {
        return;
    }
    let info = error.info();
    findings.push(Code::Syntax, span, || {
        Finding::new(Code::Syntax, span, info)
    });
}

/// A text as messages show it: between backticks, escaped, and not too long.
pub(super) fn shown(text: &str) -> String {
    /// More than any name of the API; the place shows the rest.
    const SHOWN: usize = 64;
    let mut shown = String::from("`");
    let mut letters = text.chars();
    for letter in letters.by_ref().take(SHOWN) {
        if letter == '"' || letter == '\'' || letter == '\\' {
            shown.push(letter);
        } else {
            shown.extend(letter.escape_debug());
        }
    }
    if letters.next().is_some() {
        shown.push('…');
    }
    shown.push('`');
    shown
}

/// A plain scalar with quotes around it.
pub(super) fn quoted(text: &str) -> String {
    let inner = shown(text);
    format!("\"{}\"", inner.trim_matches('`'))
}
