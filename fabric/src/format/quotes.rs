//! Quotes: where other tools would read a plain scalar otherwise, and nowhere without need.

use yaml_parser::SyntaxKind;

use crate::diagnostic::{Code, Edit, Fix, Span, apply};
use crate::document::{Limits, is_plain_text};
use crate::resource;

/// Times that a text is read and quoted again: of each code 256 findings are told at once. More
/// than that many ambiguous scalars in one file are somebody's joke, and stay as they are.
const ROUNDS: usize = 64;

/// Quotes what is a string here and something else to other tools.
pub(super) fn add(text: &str, limits: &Limits) -> Option<String> {
    let mut text = text.to_owned();
    for _ in 0..ROUNDS {
        let file = resource::read(text.as_bytes(), limits);
        let ambiguous = |code| matches!(code, Code::AmbiguousScalar | Code::AmbiguousKey);
        let findings = file.findings.iter().filter(|f| ambiguous(f.code));
        let fixes: Vec<_> = findings.filter_map(|f| f.fix.as_ref()).collect();
        if fixes.is_empty() {
            return Some(text);
        }
        let (quoted, _) = apply(text.as_bytes(), &fixes);
        text = String::from_utf8(quoted).ok()?;
    }
    None
}

/// Takes the quotes from what is the same string without them.
pub(super) fn remove(text: &str) -> Option<String> {
    let tree = yaml_parser::parse(text).ok()?;
    let mut fixes = Vec::new();
    for element in tree.descendants_with_tokens() {
        let Some(token) = element.as_token() else {
            continue;
        };
        let quote = match token.kind() {
            SyntaxKind::DOUBLE_QUOTED_SCALAR => '"',
            SyntaxKind::SINGLE_QUOTED_SCALAR => '\'',
            _ => continue,
        };
        let written = token.text();
        let inner = written
            .strip_prefix(quote)
            .and_then(|rest| rest.strip_suffix(quote));
        let range = token.text_range();
        let (start, end) = (usize::from(range.start()), usize::from(range.end()));
        // Without quotes the colon of a key needs a blank after it.
        let after = text.get(end..).unwrap_or_default();
        let colon = after
            .strip_prefix(':')
            .is_some_and(|rest| !rest.starts_with([' ', '\n']));
        if let Some(inner) = inner
            && is_simple(inner)
            && !colon
        {
            fixes.push(Fix {
                edits: vec![Edit {
                    span: Span {
                        start: start as u32,
                        end: end as u32,
                        ..Span::FILE
                    },
                    replacement: inner.to_owned(),
                }],
            });
        }
    }
    let (unquoted, _) = apply(text.as_bytes(), &fixes.iter().collect::<Vec<_>>());
    String::from_utf8(unquoted).ok()
}

/// Whether nobody, tool or person, can take the text for anything but a string: it begins with a
/// letter, and holds nothing that means something in YAML.
fn is_simple(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'/'))
        && is_plain_text(text)
}
