//! A page of Markdown that never grows too long, and in which text of others is nothing but text.

use std::fmt::Write as _;

use crate::render::escape;

/// GitHub takes 65,536 characters for a comment. How it counts isn't told, so bytes are counted,
/// which are never fewer; the rest is for what a workflow adds.
pub(super) const LIMIT: usize = 65_000;

/// Headings, and the lines that count what is left out: a hundred bytes for each of twenty sections.
const HEADINGS: usize = 2_000;

/// The most characters of a text in a line. No name is longer (63 and 253, and a slash), and no
/// path that anybody wants to read.
const LONGEST: usize = 400;

/// A page, written from top to bottom.
#[derive(Debug, Default)]
pub(super) struct Page {
    text: String,
}

// === impl Page ===

impl Page {
    /// The page so far.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Bytes that are left of a share of what is left of the page, in percent.
    pub(super) fn room(&self, percent: usize) -> usize {
        (LIMIT - HEADINGS).saturating_sub(self.text.len()) * percent / 100
    }

    /// Writes text, which has to be short.
    pub(super) fn push(&mut self, text: &str) {
        self.text.push_str(text);
    }

    /// Writes pieces of a list, each with its line break, at most so many bytes; and how many of
    /// the `things` are left out.
    pub(super) fn push_list<I>(&mut self, room: usize, things: &str, pieces: I)
    where
        I: ExactSizeIterator<Item = String>,
    {
        let (kept, left_out) = fitting(room, pieces);
        self.text.push_str(&kept.concat());
        if left_out > 0 {
            let _ = writeln!(self.text, "- ... and {left_out} more {things}");
        }
    }

    /// Writes pieces in one block of text in which nothing is Markdown, at most so many bytes; and
    /// how many of the `things` are left out.
    pub(super) fn push_block<I>(&mut self, room: usize, language: &str, things: &str, pieces: I)
    where
        I: ExactSizeIterator<Item = String>,
    {
        let (kept, left_out) = fitting(room, pieces);
        if !kept.is_empty() {
            let text = kept.concat();
            let fence = fence(&text, 3);
            let _ = write!(
                self.text,
                "{fence}{language}\n{}\n{fence}\n",
                text.trim_end()
            );
        }
        if left_out > 0 {
            let _ = writeln!(self.text, "\n... and {left_out} more {things}");
        }
    }

    /// Writes something that is folded: a line that stays visible, and what `content` writes.
    pub(super) fn push_folded(&mut self, summary: &str, content: impl FnOnce(&mut Self)) {
        // Beside the empty lines, what is inside is Markdown again.
        let _ = write!(self.text, "<details><summary>{summary}</summary>\n\n");
        content(self);
        self.text.push_str("\n</details>\n\n");
    }
}

/// The first pieces that take at most so many bytes, and the number of the others.
fn fitting<I>(room: usize, pieces: I) -> (Vec<String>, usize)
where
    I: ExactSizeIterator<Item = String>,
{
    // The fences, the line that counts the rest, the end of what is folded.
    const AROUND: usize = 200;
    let total = pieces.len();
    let mut left = room.saturating_sub(AROUND);
    let mut longest = 0;
    let fits = |piece: &String| {
        // A fence is longer than any run of backticks, and stands twice.
        let run = longest_run(piece);
        let more = run.saturating_sub(longest) * 2;
        longest = longest.max(run);
        let rest = left.checked_sub(piece.len() + more);
        left = rest.unwrap_or(left);
        rest.is_some()
    };
    let kept: Vec<_> = pieces.take_while(fits).collect();
    let left_out = total - kept.len();
    (kept, left_out)
}

/// Text of others in a line of Markdown: shown as it is written, escaped, and never read.
///
/// Inside of code nothing is a link, a mention, a reference or HTML.
pub(super) fn code(text: &str) -> String {
    let text = cut(text);
    if text.trim().is_empty() {
        // Code of spaces alone is no code.
        return match text.len() {
            0 => "`\"\"`".to_owned(),
            _ => format!("`\"{text}\"`"),
        };
    }
    let fence = fence(&text, 1);
    let is_touching = text.starts_with(['`', ' ']) || text.ends_with(['`', ' ']);
    match is_touching {
        true => format!("{fence} {text} {fence}"),
        false => format!("{fence}{text}{fence}"),
    }
}

/// The text, escaped, as far as anybody reads it.
fn cut(text: &str) -> String {
    let mut text = escape::text(text).into_owned();
    if let Some((end, _)) = text.char_indices().nth(LONGEST) {
        text.truncate(end);
        text.push_str("...");
    }
    text
}

/// The same inside of HTML, such as a summary.
pub(super) fn html_code(text: &str) -> String {
    let text = cut(text);
    let mut html = String::from("<code>");
    for c in text.chars() {
        match c {
            // What is Markdown's could be read as Markdown.
            c if c.is_ascii_punctuation() && !matches!(c, '-' | '/' | '.' | ',') => {
                let _ = write!(html, "&#{};", u32::from(c));
            }
            c => html.push(c),
        }
    }
    html.push_str("</code>");
    html
}

/// A fence that isn't part of a text.
fn fence(text: &str, least: usize) -> String {
    "`".repeat((longest_run(text) + 1).max(least))
}

fn longest_run(text: &str) -> usize {
    let runs = text.split(|c| c != '`');
    runs.map(str::len).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag};

    use super::*;
    use crate::render::sample;

    /// What a reader of GitHub's Markdown makes of a page.
    fn events(text: &str) -> Vec<Event<'_>> {
        let options = Options::ENABLE_TABLES
            | Options::ENABLE_STRIKETHROUGH
            | Options::ENABLE_MATH
            | Options::ENABLE_GFM
            | Options::ENABLE_FOOTNOTES;
        Parser::new_ext(text, options).collect()
    }

    /// All HTML of a page.
    fn html(text: &str) -> String {
        let html = events(text).into_iter().filter_map(|event| match event {
            Event::Html(text) | Event::InlineHtml(text) => Some(text.into_string()),
            _ => None,
        });
        html.collect()
    }

    #[test]
    fn code_is_shown_as_it_is_written() {
        for (text, wanted) in [
            ("a", "`a`"),
            ("a`b", "``a`b``"),
            ("`a`", "`` `a` ``"),
            ("```", "```` ``` ````"),
            (" a", "`  a `"),
            ("", "`\"\"`"),
            (" ", "`\" \"`"),
            ("a\nb", "`a\\nb`"),
        ] {
            assert_eq!(code(text), wanted, "{text:?}");
        }
        assert_eq!(html_code("<b>&`"), "<code>&#60;b&#62;&#38;&#96;</code>");
    }

    #[test]
    fn a_page_ends_before_it_is_too_long() {
        let mut page = Page::default();
        page.push("# verdict\n\n");
        page.push_folded("more", |page| {
            let pieces = (0..10_000).map(|number| format!("- piece {number}\n"));
            page.push_list(page.room(50), "pieces", pieces);
        });
        let half = page.text().len();
        assert!((30_000..33_000).contains(&half), "{half}");
        let pieces = (0..10_000).map(|number| format!("`````` {number}\n"));
        page.push_block(page.room(100), "diff", "lines", pieces);
        assert!(page.text().len() < LIMIT, "{}", page.text().len());
        let last = page.text().lines().last().unwrap();
        assert!(
            last.starts_with("... and ") && last.ends_with(" more lines"),
            "{last}"
        );
        // The fence is of seven backticks, so that six of them are text.
        assert!(page.text().contains("\n```````diff\n`````` 0\n"));
    }

    proptest! {
        #![proptest_config(sample::config())]

        #[test]
        fn hostile_text_is_text(texts in proptest::collection::vec(sample::hostile_text(), 1..20)) {
            let mut page = Page::default();
            page.push("<!-- marker -->\n### Verdict\n\n");
            page.push_folded(&html_code(&texts[0]), |page| {
                let pieces = texts.iter().map(|text| format!("- one {} of them\n", code(text)));
                page.push_list(page.room(50), "pieces", pieces.collect::<Vec<_>>().into_iter());
            });
            let lines = texts.iter().map(|text| format!("+ {}\n", escape::text(text)));
            page.push_block(page.room(100), "diff", "lines", lines.collect::<Vec<_>>().into_iter());
            prop_assert!(page.text().len() <= LIMIT);

            let mut codes = Vec::new();
            let mut blocks = Vec::new();
            for event in events(page.text()) {
                match event {
                    Event::Code(text) => codes.push(text.into_string()),
                    Event::Start(Tag::CodeBlock(kind)) => {
                        prop_assert_eq!(kind, CodeBlockKind::Fenced("diff".into()));
                        blocks.push(String::new());
                    }
                    Event::Text(text) if !blocks.is_empty() => blocks[0].push_str(&text),
                    // Outside of code there are only words of ours.
                    Event::Text(text) => {
                        prop_assert!(["Verdict", "one ", " of them"].contains(&&*text), "{:?}", text);
                    }
                    Event::Start(Tag::Heading { .. } | Tag::List(None) | Tag::Item | Tag::HtmlBlock)
                    | Event::End(_)
                    | Event::Html(_) => {}
                    event => prop_assert!(false, "{:?} in {}", event, page.text()),
                }
            }
            let shown = |text: &String| match escape::text(text) {
                text if text.trim().is_empty() => format!("\"{text}\""),
                text => text.into_owned(),
            };
            prop_assert_eq!(codes, texts.iter().map(shown).collect::<Vec<_>>());
            let lines: Vec<_> = texts.iter().map(|text| format!("+ {}", escape::text(text))).collect();
            let (block, lines) = (blocks.concat(), lines.join("\n"));
            prop_assert_eq!(block.trim_end(), lines.trim_end());
            let html = html(page.text());
            let summary = html_code(&texts[0]);
            prop_assert_eq!(
                html,
                format!("<!-- marker -->\n<details><summary>{summary}</summary>\n</details>\n")
            );
        }
    }
}
