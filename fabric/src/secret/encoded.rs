//! Private keys as text in base64.

use std::sync::LazyLock;

use memchr::memmem::Finder;

use super::Found;
use super::pem;

/// `PRIVATE KEY` in base64, without the characters that its neighbours share: for each alignment
/// how many characters of the group of four stand before, and the text.
const PATTERNS: [(usize, &[u8]); 3] = [
    (0, b"UFJJVkFURSBLRV"),
    (2, b"BSSVZBVEUgS0VZ"),
    (3, b"QUklWQVRFIEtFW"),
];

/// Characters of base64 that are decoded on either side of the pattern: a begin line and its label
/// before, the headers and the start of a body behind.
const BEFORE: usize = 64;
/// The same behind it for the begin line alone.
const LINE: usize = 40;
const BEHIND: usize = 1024;

/// Lines of base64 are at least this long where a text is wrapped; the last one may be shorter.
const WRAPPED: usize = 40;

static FINDERS: LazyLock<[Finder<'_>; 3]> =
    LazyLock::new(|| PATTERNS.map(|(_, pattern)| Finder::new(pattern)));

/// Finds the private keys inside base64.
pub(super) fn find(bytes: &[u8], found: &mut Vec<Found>) {
    for hit in hits(bytes) {
        if is_key(bytes, hit) {
            found.push(word(bytes, hit.offset));
        }
    }
    for block in Blocks::new(bytes) {
        for hit in hits(&block.text) {
            if is_key(&block.text, hit) {
                found.push(word(bytes, block.offset(hit.offset)));
            }
        }
    }
}

/// A pattern in a text.
#[derive(Clone, Copy)]
struct Hit {
    offset: usize,
    /// The characters before it in its group of four.
    shift: usize,
    /// The bytes before its first one in its group of three.
    alignment: usize,
}

/// Where the patterns stand.
fn hits(text: &[u8]) -> impl Iterator<Item = Hit> {
    let finders = FINDERS.iter().zip(PATTERNS).enumerate();
    finders.flat_map(move |(alignment, (finder, (shift, _)))| {
        finder.find_iter(text).map(move |offset| Hit {
            offset,
            shift,
            alignment,
        })
    })
}

/// Whether the text around a pattern decodes to the beginning of a private key.
fn is_key(text: &[u8], hit: Hit) -> bool {
    let Some(group) = hit.offset.checked_sub(hit.shift) else {
        return false;
    };
    let before = text.get(..group).unwrap_or_default();
    let run = before
        .iter()
        .rev()
        .take(BEFORE)
        .take_while(|byte| pem::is_base64(**byte))
        .count();
    let start = group - run / 4 * 4;
    let at = (group - start) / 4 * 3 + hit.alignment;
    // First the begin line alone: a text may be full of patterns, and a body is long.
    [BEFORE + LINE, BEFORE + BEHIND].into_iter().all(|width| {
        let decoded = decode(text.get(start..).unwrap_or_default(), width);
        pem::begin_line(&decoded, at).is_some_and(|(_, end)| {
            width == BEFORE + LINE || pem::has_body(decoded.get(end..).unwrap_or_default())
        })
    })
}

/// The word of base64 around `hit`.
fn word(bytes: &[u8], hit: usize) -> Found {
    let reach = |byte: &&u8| pem::is_base64(**byte) || **byte == b'=';
    let (before, behind) = bytes.split_at(hit.min(bytes.len()));
    // The start of a long line without a break is as good a place as any within it.
    let before = before.iter().rev().take(BEFORE).take_while(reach).count();
    let behind = behind.iter().take(BEHIND).take_while(reach).count();
    Found {
        start: hit - before,
        end: hit + behind,
        what: "a private key in base64",
    }
}

/// The bytes that the characters of base64 at the start of a text stand for, at most `width` of
/// them; what is left of a group is dropped.
fn decode(text: &[u8], width: usize) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(width / 4 * 3);
    for group in text.get(..width).unwrap_or(text).chunks_exact(4) {
        let mut bits = 0_u32;
        for byte in group {
            let value = match byte {
                b'A'..=b'Z' => byte - b'A',
                b'a'..=b'z' => byte - b'a' + 26,
                b'0'..=b'9' => byte - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                _ => return decoded,
            };
            bits = bits << 6 | u32::from(value);
        }
        let [_, first, second, third] = bits.to_be_bytes();
        decoded.extend([first, second, third]);
    }
    decoded
}

/// A text of base64 that is wrapped into several lines, joined.
struct Block {
    text: Vec<u8>,
    /// Where each line begins in `text` and in the file.
    lines: Vec<(usize, usize)>,
}

impl Block {
    /// Where a character of the text stands in the file.
    fn offset(&self, position: usize) -> usize {
        let line = self
            .lines
            .partition_point(|(start, _)| *start <= position)
            .saturating_sub(1);
        let (start, offset) = self.lines.get(line).copied().unwrap_or_default();
        offset + (position - start)
    }
}

/// The wrapped texts of base64 in a file.
struct Blocks<'b> {
    bytes: &'b [u8],
    /// The start of the next line.
    next: usize,
}

impl<'b> Blocks<'b> {
    fn new(bytes: &'b [u8]) -> Self {
        Self { bytes, next: 0 }
    }

    /// The next line, where it starts, without the white space around it.
    fn line(&mut self) -> Option<(usize, &'b [u8])> {
        let rest = self
            .bytes
            .get(self.next..)
            .filter(|rest| !rest.is_empty())?;
        let length = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        let line = rest.get(..length)?;
        let inner = line.trim_ascii_start();
        let start = self.next + (line.len() - inner.len());
        self.next += length + 1;
        Some((start, inner.trim_ascii_end()))
    }
}

impl Iterator for Blocks<'_> {
    type Item = Block;

    fn next(&mut self) -> Option<Block> {
        let mut block = Block {
            text: Vec::new(),
            lines: Vec::new(),
        };
        loop {
            let line = self.line();
            // A first line may have its key or a quote in front, a last one its padding behind.
            if let Some((start, line)) = line {
                let tail = line
                    .iter()
                    .rev()
                    .take_while(|byte| pem::is_base64(**byte))
                    .count();
                let whole = tail == line.len();
                if whole && tail > 0 && (tail >= WRAPPED || !block.lines.is_empty()) {
                    block.push(start, line);
                    if tail >= WRAPPED {
                        continue;
                    }
                } else if block.lines.is_empty() && tail >= WRAPPED {
                    let (_, word) = line.split_at(line.len() - tail);
                    block.push(start + line.len() - tail, word);
                    continue;
                }
            }
            if block.lines.len() > 1 {
                return Some(block);
            }
            line?;
            block = Block {
                text: Vec::new(),
                lines: Vec::new(),
            };
        }
    }
}

impl Block {
    fn push(&mut self, offset: usize, line: &[u8]) {
        self.lines.push((self.text.len(), offset));
        self.text.extend_from_slice(line);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::secret) fn encode(bytes: &[u8]) -> String {
        const LETTERS: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut text = String::new();
        for group in bytes.chunks(3) {
            let mut bits = 0_u32;
            for index in 0..3 {
                bits = bits << 8 | u32::from(group.get(index).copied().unwrap_or_default());
            }
            for index in 0..4 {
                if index <= group.len() {
                    let letter = bits >> (18 - 6 * index) & 63;
                    text.push(char::from(LETTERS[letter as usize]));
                } else {
                    text.push('=');
                }
            }
        }
        text
    }

    #[test]
    fn the_patterns_are_what_every_alignment_has() {
        for (alignment, (shift, pattern)) in PATTERNS.into_iter().enumerate() {
            for filler in [0_u8, 0xff, b'A'] {
                let mut bytes = vec![filler; alignment];
                bytes.extend_from_slice(pem::PRIVATE_KEY);
                bytes.extend([filler; 4]);
                let text = encode(&bytes);
                assert_eq!(&text.as_bytes()[shift..shift + pattern.len()], pattern);
            }
        }
    }

    #[test]
    fn decoding_undoes_encoding() {
        let bytes: Vec<u8> = (0..=255).chain(0..=1).collect();
        assert_eq!(decode(encode(&bytes).as_bytes(), 1024), bytes);
    }
}
