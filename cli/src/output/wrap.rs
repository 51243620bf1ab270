//! Text for people, no wider than what they look at.

use std::io::{self, Write};

use unicode_width::UnicodeWidthStr as _;

/// The narrowest that anything is wrapped to: below it words would stand one by one.
const NARROWEST: usize = 40;

/// Wraps lines at their spaces; what goes on is indented deeper than its line begins, but for prose.
///
/// Words aren't broken, as they are names and paths that people copy, and lines of the text of a file
/// aren't either: what stands below them belongs to their columns.
#[derive(Debug)]
pub(crate) struct Wrap<W> {
    out: W,
    columns: usize,
    /// The line that has begun.
    line: Vec<u8>,
}

// === impl Wrap ===

impl<W: Write> Wrap<W> {
    /// Wraps what is written to so many columns.
    pub(crate) fn new(out: W, columns: usize) -> Self {
        Self {
            out,
            columns: columns.max(NARROWEST),
            line: Vec::new(),
        }
    }

    fn write_line(&mut self) -> io::Result<()> {
        let line = std::mem::take(&mut self.line);
        match std::str::from_utf8(&line) {
            Ok(text) => self.out.write_all(wrapped(text, self.columns).as_bytes()),
            Err(_) => self.out.write_all(&line),
        }
    }
}

impl<W: Write> Write for Wrap<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                self.write_line()?;
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.write_line()?;
        self.out.flush()
    }
}

/// The line in as many lines as it takes.
fn wrapped(line: &str, columns: usize) -> String {
    if line.len() <= columns {
        return line.to_owned();
    }
    let plain = anstream::adapter::strip_str(line).to_string();
    let text = plain.trim_end();
    if text.width() <= columns || is_of_a_file(text) {
        return line.to_owned();
    }
    let begin = text.len() - text.trim_start().len();
    // Prose goes on where it began; what is deep already has to go somewhere.
    let is_prose = begin == 0 && !text.split(' ').next().unwrap_or_default().ends_with(':');
    let indent = match is_prose {
        true => 0,
        false => (begin + 2).min(columns / 2),
    };
    let mut result = String::with_capacity(line.len() + 64);
    let mut column = 0;
    let mut is_first = true;
    for word in line.split_inclusive(' ') {
        let width = visible(word.trim_end());
        if !is_first && width > 0 && column + width > columns {
            result.truncate(result.trim_end_matches(' ').len());
            result.push('\n');
            result.extend(std::iter::repeat_n(' ', indent));
            column = indent;
        }
        is_first &= width == 0;
        result.push_str(word);
        column += visible(word.trim_end_matches('\n'));
    }
    result
}

/// The columns that a text takes, without what colours it.
fn visible(text: &str) -> usize {
    match text.contains('\u{1b}') {
        true => anstream::adapter::strip_str(text).to_string().width(),
        false => text.width(),
    }
}

/// Whether a line is one of a frame around the text of a file.
fn is_of_a_file(line: &str) -> bool {
    let rest = line.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ');
    ["|", "-->", ":::", "..."]
        .iter()
        .any(|begin| rest.starts_with(begin))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str, columns: usize) -> String {
        let mut out = Vec::new();
        let mut wrap = Wrap::new(&mut out, columns);
        // In pieces that end anywhere.
        for piece in text.as_bytes().chunks(7) {
            wrap.write_all(piece).unwrap();
        }
        wrap.flush().unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn lines_are_broken_at_their_spaces() {
        for (text, wanted) in [
            ("short\n\n  lines\n", "short\n\n  lines\n"),
            (
                "error[WEFT0601]: broken: the client shop/cart of east reaches it\nend",
                "error[WEFT0601]: broken: the client\n  shop/cart of east reaches it\nend",
            ),
            (
                "    the client shop/cart of east reaches the ledger\n",
                "    the client shop/cart of east reaches\n      the ledger\n",
            ),
            // A name is never broken.
            (
                "  ~ AccessPolicy shop/a  peers/a-name-as-long-as-anybody-likes/policy.yaml:3\n",
                "  ~ AccessPolicy shop/a\n    peers/a-name-as-long-as-anybody-likes/policy.yaml:3\n",
            ),
            (
                "The peer doesn't export what the Import names, so it is dropped.\n",
                "The peer doesn't export what the Import\nnames, so it is dropped.\n",
            ),
            // Colours take no columns.
            (
                "\u{1b}[31mrefused\u{1b}[0m: 1 of 2 peers: 1 added, 2 gone\n",
                "\u{1b}[31mrefused\u{1b}[0m: 1 of 2 peers: 1 added, 2 gone\n",
            ),
            // Some letters take two.
            (
                "ü 日本語日本語日本語日本語日本語 日本語日本語\n",
                "ü 日本語日本語日本語日本語日本語\n日本語日本語\n",
            ),
        ] {
            assert_eq!(written(text, NARROWEST), wanted, "{text}");
        }
    }

    #[test]
    fn the_text_of_files_stays_in_its_columns() {
        let frame = "\
 --> peers/east/exports.yaml:1:1 and what is more than a line long\n\
  |\n\
1 | key: a value with spaces that is longer than the window is wide\n\
  |      ^^^^^^^ what is said of it, which may be longer than it is\n";
        assert_eq!(written(frame, NARROWEST), frame);
    }
}
