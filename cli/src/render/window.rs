//! A few lines of a file, made fit to be shown: escaped, and cut to a width.
//!
//! Only the lines that are shown are looked at, so that ten thousand diagnostics in one file of a
//! megabyte cost what they print.

use std::ops::Range;

use fabric::diagnostic::Span;

use super::escape;

/// What stands in the place of text that was cut off.
const CUT: &str = "...";

/// How far a line is looked for around what is shown of it. More than any terminal is wide, so that
/// a longer line is cut anyway, and little enough for a diagnostic on each byte of one.
pub(crate) const REACH: usize = 4096;

/// Lines of a file, ready to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    /// The lines.
    pub(crate) text: String,
    /// The number of the first one.
    pub(crate) line: u32,
    /// Where each span stands in `text`.
    pub(crate) marks: Vec<Range<usize>>,
}

/// One line, and where the spans on it stand.
struct Line {
    text: String,
    marks: Vec<Range<usize>>,
}

// === impl Window ===

impl Window {
    /// The lines from the first to the last of the spans, of which none is of a whole file and none
    /// farther than [`REACH`] from the first one.
    pub(crate) fn of(bytes: &[u8], spans: &[Span], width: usize) -> Self {
        let number = spans.iter().map(|span| span.line).min().unwrap_or(1);
        let first = spans.iter().map(|span| span.start).min().unwrap_or(0) as usize;
        let last = spans.iter().map(|span| span.start).max().unwrap_or(0) as usize;
        let first = line_start(bytes, first.min(bytes.len()));
        let mut window = Self {
            text: String::new(),
            line: number,
            marks: vec![0..0; spans.len()],
        };
        let mut start = first;
        loop {
            let end = line_end(bytes, start);
            let here: Vec<usize> = (0..spans.len())
                .filter(|index| {
                    spans
                        .get(*index)
                        .is_some_and(|span| on_line(*span, start, end, bytes.len()))
                })
                .collect();
            let ranges: Vec<Range<usize>> = here
                .iter()
                .filter_map(|index| spans.get(*index))
                .map(|span| within(*span, start, end))
                .collect();
            let line = Line::of(bytes.get(start..end).unwrap_or_default(), &ranges, width);
            let offset = window.text.len();
            for (index, mark) in here.into_iter().zip(line.marks) {
                if let Some(slot) = window.marks.get_mut(index) {
                    *slot = mark.start + offset..mark.end + offset;
                }
            }
            window.text.push_str(&line.text);
            if end >= last.min(bytes.len()) || end >= bytes.len() {
                break;
            }
            window.text.push('\n');
            start = end + 1;
        }
        window
    }
}

// === impl Line ===

impl Line {
    /// The line of these bytes; `ranges` are in bytes of the line.
    fn of(bytes: &[u8], ranges: &[Range<usize>], width: usize) -> Self {
        let focus = ranges.first().map_or(0, |range| range.start);
        let (from, to) = cut(bytes, focus, width);
        let mut text = String::new();
        let mut marks = vec![None..None; ranges.len()];
        if from > 0 {
            text.push_str(CUT);
        }
        let mut at = from;
        for chunk in bytes.get(from..to).unwrap_or_default().utf8_chunks() {
            let valid = chunk.valid().char_indices();
            let broken = (!chunk.invalid().is_empty()).then_some((chunk.valid().len(), '\u{fffd}'));
            for (offset, c) in valid.chain(broken) {
                place(&mut marks, ranges, at + offset, text.len());
                match c {
                    '\t' => text.push_str("    "),
                    c => escape::push(&mut text, c),
                }
            }
            at += chunk.valid().len() + chunk.invalid().len();
        }
        place(&mut marks, ranges, to, text.len());
        let end = text.len();
        if to < bytes.len() {
            text.push_str(CUT);
        }
        let marks = marks.into_iter().map(|mark: Range<Option<usize>>| {
            let start = mark.start.unwrap_or(end);
            start..mark.end.unwrap_or(end).max(start)
        });
        Self {
            marks: marks.collect(),
            text,
        }
    }
}

/// Notes where ranges begin and end, when the byte `at` of the line is shown at `shown`.
fn place(marks: &mut [Range<Option<usize>>], ranges: &[Range<usize>], at: usize, shown: usize) {
    for (mark, range) in marks.iter_mut().zip(ranges) {
        if mark.start.is_none() && at >= range.start {
            mark.start = Some(shown);
        }
        if mark.end.is_none() && at >= range.end {
            mark.end = Some(shown);
        }
    }
}

/// The part of a line to show: all of it where it fits, else what is around the focus.
fn cut(bytes: &[u8], focus: usize, width: usize) -> (usize, usize) {
    if bytes.len() <= width {
        return (0, bytes.len());
    }
    let from = focus.saturating_sub(width / 3);
    let from = from.min(bytes.len().saturating_sub(width));
    let to = (from + width).min(bytes.len());
    let is_boundary = |at: usize| bytes.get(at).is_none_or(|byte| byte & 0xc0 != 0x80);
    // A character of UTF-8 has at most four bytes; other bytes don't matter.
    let from = (from..from + 4).find(|at| is_boundary(*at)).unwrap_or(from);
    let to = (to..to + 4).find(|at| is_boundary(*at)).unwrap_or(to);
    (from, to.min(bytes.len()))
}

fn line_start(bytes: &[u8], at: usize) -> usize {
    let from = at.saturating_sub(REACH);
    let before = bytes.get(from..at).unwrap_or_default();
    before
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(from, |newline| from + newline + 1)
}

fn line_end(bytes: &[u8], start: usize) -> usize {
    // The line may begin REACH before the first span, and the last span be REACH behind that.
    let to = (start + 3 * REACH).min(bytes.len());
    let rest = bytes.get(start..to).unwrap_or_default();
    rest.iter()
        .position(|byte| *byte == b'\n')
        .map_or(to, |newline| start + newline)
}

fn on_line(span: Span, start: usize, end: usize, length: usize) -> bool {
    let at = (span.start as usize).min(length);
    start <= at && at <= end
}

/// The part of the span on the line, in bytes of the line; the rest of a longer one isn't shown.
fn within(span: Span, start: usize, end: usize) -> Range<usize> {
    let from = (span.start as usize).clamp(start, end) - start;
    let to = (span.end as usize).clamp(start, end) - start;
    from..to.max(from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(text: &str, part: &str) -> Span {
        let start = text.find(part).unwrap();
        let before = &text[..start];
        Span {
            start: u32::try_from(start).unwrap(),
            end: u32::try_from(start + part.len()).unwrap(),
            line: u32::try_from(before.matches('\n').count() + 1).unwrap(),
            column: 1,
        }
    }

    /// The window's text with the marks in brackets.
    fn shown(text: &[u8], spans: &[Span], width: usize) -> String {
        let window = Window::of(text, spans, width);
        let mut shown = window.text.clone();
        for mark in window.marks.iter().rev() {
            shown.insert(mark.end, ']');
            shown.insert(mark.start, '[');
        }
        format!("{}: {shown}", window.line)
    }

    #[test]
    fn only_the_lines_of_the_spans() {
        let text = "a: 1\nb: 2\nc: 3\nd: 4\n";
        let of = |parts: &[&str]| {
            let spans: Vec<_> = parts.iter().map(|part| span(text, part)).collect();
            shown(text.as_bytes(), &spans, 80)
        };
        assert_eq!(of(&["b"]), "2: [b]: 2");
        assert_eq!(of(&["b", "d"]), "2: [b]: 2\nc: 3\n[d]: 4");
        assert_eq!(of(&["1\nb: 2"]), "1: a: [1]");
        assert_eq!(of(&["4"]), "4: d: [4]");
    }

    #[test]
    fn what_misleads_is_escaped_and_marks_stay_in_place() {
        let text = "\tkey: \u{1b}[2J\u{202e}x";
        assert_eq!(
            shown(text.as_bytes(), &[span(text, "x")], 80),
            "1:     key: \\u{1b}[2J\\u{202e}[x]"
        );
        let broken = b"a: \xff\xfe b";
        let b = Span {
            start: 6,
            end: 7,
            line: 1,
            column: 6,
        };
        assert_eq!(shown(broken, &[b], 80), "1: a: \u{fffd}\u{fffd} [b]");
    }

    #[test]
    fn long_lines_are_cut_around_the_mark() {
        let text = format!(
            "{}é{}needle{}",
            "x".repeat(100),
            "y".repeat(100),
            "z".repeat(500)
        );
        let window = shown(text.as_bytes(), &[span(&text, "needle")], 30);
        assert_eq!(window, "1: ...yyyyyyyyyy[needle]zzzzzzzzzzzzzz...");
        let start = shown(text.as_bytes(), &[span(&text, "x")], 10);
        assert_eq!(start, "1: [x]xxxxxxxxx...");
    }

    #[test]
    fn spans_beyond_the_end_are_drawn_in() {
        for (start, end) in [(3, 3), (4, 9), (90, 95)] {
            let span = Span {
                start,
                end,
                line: 1,
                column: 1,
            };
            let window = Window::of(b"a: ", &[span], 80);
            assert_eq!((&*window.text, &window.marks[0]), ("a: ", &(3..3)));
        }
        let window = Window::of(b"", &[Span::default()], 80);
        assert_eq!((&*window.text, &window.marks[0]), ("", &(0..0)));
    }
}
