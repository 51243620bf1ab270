//! What is wrong with text that isn't YAML, in words and at the right place.

use std::str::Utf8Error;

use granit_parser::{ErrorKind, Marker, ScanError};

use super::Limits;
use crate::diagnostic::{Code, Finding, Span};
use crate::findings::Findings;

const TAB: &str = "a tab stands where only spaces can indent";
const TAB_HELP: &str = "replace the tab with spaces";

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
pub(super) fn breaks(text: &str) -> u32 {
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

/// Reports byte order marks inside the text, and what YAML 1.1 takes for a line break and YAML 1.2
/// doesn't (YAML 1.2.2, §5.4).
pub(super) fn invisible(text: &str, base: u32, findings: &mut Findings) {
    // Counted on from one to the next, so that many of them take one pass.
    let mut seen = 0;
    let mut line = 1;
    let mut column = 1;
    for (offset, found) in text.match_indices(['\u{feff}', '\u{85}', '\u{2028}', '\u{2029}']) {
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
            end: base + (offset + found.len()) as u32,
            line,
            column,
        };
        let (code, message, help) = match found {
            "\u{feff}" => (
                Code::ByteOrderMark,
                "a byte order mark inside the text",
                "remove the invisible character U+FEFF",
            ),
            "\u{85}" => (Code::LineSeparator, OLD_BREAK, "write U+0085 as \"\\N\""),
            "\u{2028}" => (Code::LineSeparator, OLD_BREAK, "write U+2028 as \"\\L\""),
            _ => (Code::LineSeparator, OLD_BREAK, "write U+2029 as \"\\P\""),
        };
        findings.push_with(code, span, || {
            Finding::new(code, span, message).with_help(help)
        });
    }
}

const OLD_BREAK: &str = "a character that some tools take for a line break";

/// Whether a line is the one directive that is accepted.
pub(super) fn is_yaml_1_2(line: &str) -> bool {
    let mut words = line.split_whitespace();
    let accepted = words.next() == Some("%YAML") && words.next() == Some("1.2");
    accepted && words.next().is_none_or(|word| word.starts_with('#'))
}

/// Reports a document that is nested too deep.
pub(super) fn too_deep(span: Span, limits: &Limits, findings: &mut Findings) {
    let limit = limits.depth;
    findings.push_with(Code::TooDeep, span, || {
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
    let mark = error.marker();
    let mut offset = mark.byte_offset().unwrap_or(text.len()).min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    // The parser knows the line and the column already; counting them again would take another
    // pass for each error.
    let span = Span {
        line: mark.line() as u32,
        column: mark.col() as u32 + 1,
        ..width_at(text, base, offset)
    };
    let mistake = Mistake::of(error, text, offset);
    let span = match mistake.place {
        None => span,
        Some(moved) => moved_to(text, base, span, offset, moved),
    };
    match mistake.code {
        // All of them are reported before the first event.
        Code::ByteOrderMark => {}
        Code::TooDeep => too_deep(span, limits, findings),
        code => findings.push_with(code, span, || {
            let finding = Finding::new(code, span, mistake.message);
            match mistake.help {
                Some(help) => finding.with_help(help),
                None => finding,
            }
        }),
    }
}

/// One error of the parser, in our words.
struct Mistake {
    code: Code,
    message: String,
    help: Option<String>,
    /// Where it is, when that isn't where the parser stopped.
    place: Option<usize>,
}

impl Mistake {
    fn of(error: &ScanError, text: &str, offset: usize) -> Self {
        let kind = error.kind();
        let code = code(kind);
        let after = text.get(offset..).unwrap_or_default();
        if code == Code::Tab || (is_about_indentation(kind) && tab_in_line(text, offset).is_some())
        {
            return Self {
                code: Code::Tab,
                message: TAB.to_owned(),
                help: Some(TAB_HELP.to_owned()),
                place: tab_near(text, offset),
            };
        }
        let (message, help) = words(kind, after);
        let place = match kind {
            ErrorKind::InvalidQuotedScalarIndent => open_quote_before(text, offset),
            _ => None,
        };
        Self {
            code,
            message: message.map_or_else(|| error.info(), str::to_owned),
            help: help.map(str::to_owned),
            place,
        }
    }
}

fn code(kind: &ErrorKind) -> Code {
    match kind {
        ErrorKind::RecursionLimitExceeded => Code::TooDeep,
        ErrorKind::BomInsideDocument => Code::ByteOrderMark,
        ErrorKind::TabNotAllowed
        | ErrorKind::TabInBlockIndentation
        | ErrorKind::TabAtBlockScalarStart
        | ErrorKind::TabInIndentation
        | ErrorKind::TabInPlainScalar
        | ErrorKind::InvalidBlockEntryWhitespace
        | ErrorKind::InvalidMappingValueWhitespace => Code::Tab,
        ErrorKind::MissingAnchorOrAliasName => Code::Anchor,
        ErrorKind::ExpectedTagBang
        | ErrorKind::InvalidGlobalTagCharacter
        | ErrorKind::UndeclaredTagHandle
        | ErrorKind::InvalidTagTerminator
        | ErrorKind::MissingTagUri
        | ErrorKind::UnclosedVerbatimTag
        | ErrorKind::InvalidTagEscape
        | ErrorKind::InvalidTagUtf8LeadingByte
        | ErrorKind::InvalidTagUtf8TrailingByte
        | ErrorKind::InvalidTagUtf8 => Code::Tag,
        ErrorKind::DuplicateVersionDirective
        | ErrorKind::UnsupportedYamlMajorVersion
        | ErrorKind::DuplicateTagDirective
        | ErrorKind::ExpectedTagDirectiveBang
        | ErrorKind::MissingDocumentEndBeforeDirective
        | ErrorKind::InvalidDirectiveTerminator
        | ErrorKind::MissingYamlVersionSeparator
        | ErrorKind::MissingDirectiveName
        | ErrorKind::InvalidDirectiveName
        | ErrorKind::DirectiveByteLimitExceeded { .. }
        | ErrorKind::TooManyReservedDirectiveParams { .. }
        | ErrorKind::YamlVersionTooLong
        | ErrorKind::MissingYamlVersion
        | ErrorKind::InvalidTagDirectiveTerminator => Code::Directive,
        _ => Code::Syntax,
    }
}

/// The message and the help; without a message the parser's own words serve.
fn words(kind: &ErrorKind, after: &str) -> (Option<&'static str>, Option<&'static str>) {
    const QUOTE: Option<&str> = Some("quote the value if the character belongs to it");
    match kind {
        ErrorKind::MissingAnchorOrAliasName if after.starts_with('&') => {
            (Some("an anchor without a name"), QUOTE)
        }
        ErrorKind::MissingAnchorOrAliasName => (Some("an alias without a name"), QUOTE),
        ErrorKind::UnexpectedCharacter { character } if character.is_control() => (
            Some("a control character stands in the text"),
            Some("remove it"),
        ),
        ErrorKind::UnexpectedCharacter { .. } => {
            (Some("a value can't begin with this character"), QUOTE)
        }
        ErrorKind::UnclosedQuotedScalar | ErrorKind::DocumentIndicatorInQuotedScalar => (
            Some("the quoted string that begins here isn't closed"),
            None,
        ),
        ErrorKind::InvalidQuotedScalarIndent => (
            Some("a quoted string isn't closed, or its next line isn't indented"),
            Some("close the quote"),
        ),
        ErrorKind::UnclosedFlowCollection { open: '[' } => (
            Some("the list that begins here isn't closed"),
            Some("add a `]`"),
        ),
        ErrorKind::UnclosedFlowCollection { .. } => (
            Some("the mapping that begins here isn't closed"),
            Some("add a `}`"),
        ),
        ErrorKind::MisplacedFlowCollectionEnd => (Some("this bracket closes nothing"), QUOTE),
        ErrorKind::MismatchedFlowCollectionEnd { open: '[', .. } => {
            (Some("a list is closed by another bracket"), None)
        }
        ErrorKind::MismatchedFlowCollectionEnd { .. } => {
            (Some("a mapping is closed by another bracket"), None)
        }
        ErrorKind::MappingValueNotAllowed => (
            Some("a colon makes a mapping where none can stand"),
            Some("quote the value if the colon belongs to it, or mend the indentation"),
        ),
        ErrorKind::BlockSequenceEntryNotAllowed => (
            Some("a list can't begin on the line of its key"),
            Some("begin the list on a line of its own"),
        ),
        ErrorKind::ExpectedBlockMappingKey => (
            Some("a key is expected here; is the indentation right?"),
            None,
        ),
        ErrorKind::ExpectedBlockSequenceEntry => (
            Some("a `-` is expected here; is the indentation right?"),
            None,
        ),
        ErrorKind::ExpectedFlowSequenceSeparator => (Some("a `,` or `]` is expected here"), None),
        ErrorKind::ExpectedFlowMappingSeparator => (Some("a `,` or `}` is expected here"), None),
        ErrorKind::SimpleKeyExpected => (Some("a colon is missing after this key"), None),
        ErrorKind::UnknownQuotedScalarEscape => (
            Some("an unknown escape in a double-quoted string"),
            Some("write the backslash twice, or use single quotes"),
        ),
        ErrorKind::InvalidTrailingDoubleQuotedScalar
        | ErrorKind::InvalidTrailingSingleQuotedScalar => {
            (Some("text follows a quoted string"), None)
        }
        ErrorKind::CommentNotSeparated => (Some("a comment needs a space in front"), None),
        ErrorKind::UndeclaredTagHandle => (Some("a tag"), QUOTE),
        ErrorKind::ExpectedNodeContent
        | ErrorKind::UnexpectedEof
        | ErrorKind::UnexpectedEofFlowSequence
        | ErrorKind::UnexpectedEofFlowMapping
        | ErrorKind::UnexpectedEofImplicitFlowMapping
        | ErrorKind::UnexpectedEofBlockSequence
        | ErrorKind::UnexpectedEofBlockMapping => (Some("a value is expected here"), None),
        _ => (None, None),
    }
}

/// Errors that a tab in the indentation causes without the parser saying so.
fn is_about_indentation(kind: &ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::ExpectedBlockMappingKey
            | ErrorKind::ExpectedBlockSequenceEntry
            | ErrorKind::MappingValueNotAllowed
            | ErrorKind::SimpleKeyExpected
            | ErrorKind::InvalidIndentation
            | ErrorKind::InvalidQuotedScalarIndent
            | ErrorKind::BlockSequenceEntryNotAllowed
    )
}

/// The tab that the parser stumbled over near `offset`: in the indentation of the line, between the
/// line's dashes, or else in the indentation of a line after it.
fn tab_near(text: &str, offset: usize) -> Option<usize> {
    if let Some(found) = tab_in_line(text, offset) {
        return Some(found);
    }
    let mut start = offset;
    for line in text.get(offset..)?.split_inclusive(['\n', '\r']) {
        if start > offset {
            let blank = line.len() - line.trim_start_matches([' ', '\t']).len();
            if let Some(found) = line.get(..blank)?.find('\t') {
                return Some(start + found);
            }
        }
        start += line.len();
    }
    None
}

/// The tab in the indentation of the token at `offset`; nothing when something else stands before
/// the token on its line.
pub(super) fn indenting_tab(text: &str, offset: usize) -> Option<usize> {
    let before = text.get(..offset)?;
    let indentation = before.len() - before.trim_end_matches([' ', '\t']).len();
    let start = before.len() - indentation;
    let at_line_start = start == 0 || before[..start].ends_with(['\n', '\r']);
    let tab = before.get(start..)?.find('\t')?;
    at_line_start.then_some(start + tab)
}

/// Reports a tab as indentation.
pub(super) fn tab(text: &str, base: u32, line: u32, offset: usize, findings: &mut Findings) {
    // Only blanks stand before it on its line.
    let before = text.get(..offset).unwrap_or_default();
    let column = before.len() - before.trim_end_matches([' ', '\t']).len();
    let span = Span {
        line,
        column: 1 + column as u32,
        ..width_at(text, base, offset)
    };
    findings.push_with(Code::Tab, span, || {
        Finding::new(Code::Tab, span, TAB).with_help(TAB_HELP)
    });
}

/// The first tab in the indentation of the line of `offset`, the dashes of a list included.
fn tab_in_line(text: &str, offset: usize) -> Option<usize> {
    let before = text.get(..offset)?;
    let start = before.rfind(['\n', '\r']).map_or(0, |found| found + 1);
    let line = text.get(start..)?;
    let width = line
        .bytes()
        .take_while(|byte| matches!(byte, b' ' | b'\t' | b'-' | b'?' | b':'))
        .count();
    line.get(..width)?.find('\t').map(|found| start + found)
}

/// The quote that is open at the end of the line before the one of `offset`.
fn open_quote_before(text: &str, offset: usize) -> Option<usize> {
    let before = text
        .get(..offset)?
        .trim_end_matches([' ', '\t', '\n', '\r']);
    let start = before.rfind(['\n', '\r']).map_or(0, |found| found + 1);
    let mut open: Option<(usize, u8)> = None;
    let mut last = b' ';
    for (index, byte) in before.bytes().enumerate().skip(start) {
        match open {
            Some((_, quote)) if byte == quote && last != b'\\' => open = None,
            None if matches!(byte, b'"' | b'\'') && matches!(last, b' ' | b'[' | b'{' | b',') => {
                open = Some((index, byte));
            }
            _ => {}
        }
        last = byte;
    }
    open.map(|(index, _)| index)
}

/// The bytes of the character at `offset`.
fn width_at(text: &str, base: u32, offset: usize) -> Span {
    let after = text.get(offset..).unwrap_or_default();
    let width = after.chars().next().map_or(0, char::len_utf8);
    Span {
        start: base + offset as u32,
        end: base + (offset + width) as u32,
        ..Span::FILE
    }
}

/// The place at `to`, counted from the place `from` at `offset`.
fn moved_to(text: &str, base: u32, from: Span, offset: usize, to: usize) -> Span {
    let between = text.get(offset.min(to)..offset.max(to)).unwrap_or_default();
    let line = if to < offset {
        from.line - breaks(between).min(from.line)
    } else {
        from.line + breaks(between)
    };
    let before = text.get(..to).unwrap_or_default();
    let line_start = before.rfind(['\n', '\r']).map_or(0, |found| found + 1);
    Span {
        line,
        column: 1 + before[line_start..].chars().count() as u32,
        ..width_at(text, base, to)
    }
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
