//! A comment on a pull request as a picture: its Markdown laid out about as GitHub does, as SVG.
//!
//! Only what Weft writes is known: headings, paragraphs, bullets, code, bold text, line breaks, and
//! what is folded, which is shown folded. Each word is given the width that it is laid out with, so
//! that the picture is the same whatever fonts there are.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

/// Columns of the picture.
const WIDTH: f64 = 880.0;
/// What stands on both sides of the text.
const MARGIN: f64 = 20.0;
/// The bar that says whose comment it is.
const BAR: f64 = 38.0;
const SIZE: f64 = 13.0;
const LINE: f64 = 23.0;

/// Where the picture is kept.
pub fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/pull-request.svg")
}

/// The picture of the comment that the tests get for a pull request that widens access.
pub fn widening() -> String {
    let snapshot =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots/pull_request__widening.snap");
    let text = fs::read_to_string(&snapshot).expect("the snapshot is committed");
    let comment = text.splitn(3, "---\n").nth(2).expect("it has a head");
    // Of commits that are nobody's: what it compares, and what was pushed.
    let comment = comment.replacen("COMMIT", "c41d7be90a26", 1);
    draw(&comment.replace("COMMIT", "5f0e3c9a71d2"))
}

/// Draws a comment.
pub fn draw(markdown: &str) -> String {
    let mut page = Page {
        y: BAR + 14.0,
        ..Page::default()
    };
    let mut fold = None;
    for event in Parser::new_ext(markdown, Options::empty()) {
        page.event(event, &mut fold);
    }
    page.finish()
}

/// How a word looks.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Style {
    size: f64,
    bold: bool,
    code: bool,
    link: bool,
    faint: bool,
}

#[derive(Debug, Default)]
struct Page {
    body: String,
    y: f64,
    x: f64,
    indentation: f64,
    lists: usize,
    bold: bool,
    heading: f64,
    link: bool,
    small: bool,
    /// Whether something stands on the line.
    started: bool,
    /// Blanks that wait for a word.
    blank: bool,
}

// === impl Page ===

impl Page {
    /// Takes the next part of the text; `fold` is the inside of what is folded, where one is open.
    fn event(&mut self, event: Event<'_>, fold: &mut Option<()>) {
        // HTML comes before all: it opens and closes what is folded.
        if let Event::Html(html) | Event::InlineHtml(html) = &event {
            self.html(html, fold);
            return;
        }
        if fold.is_some() {
            return;
        }
        match event {
            Event::Start(Tag::Heading { level, .. }) => {
                self.y += 6.0;
                self.heading = if level as u8 <= 3 { 18.0 } else { 15.0 };
                self.bold = true;
            }
            Event::End(TagEnd::Heading(_)) => {
                self.new_line();
                self.heading = 0.0;
                self.bold = false;
                self.y += 6.0;
            }
            Event::Start(Tag::Strong) => self.bold = true,
            Event::End(TagEnd::Strong) => self.bold = false,
            Event::Start(Tag::Link { .. }) => self.link = true,
            Event::End(TagEnd::Link) => self.link = false,
            Event::Start(Tag::List(_)) => {
                self.new_line();
                self.lists += 1;
                self.indentation += 24.0;
            }
            Event::End(TagEnd::List(_)) => {
                self.new_line();
                self.lists -= 1;
                self.indentation -= 24.0;
                if self.lists == 0 {
                    self.y += 8.0;
                }
            }
            Event::Start(Tag::Item) => {
                self.new_line();
                let (x, y) = (MARGIN + self.indentation - 12.0, self.y + 10.0);
                let fill = if self.lists > 1 { "none" } else { "#1f2328" };
                let _ = writeln!(
                    self.body,
                    r##"<circle cx="{x}" cy="{y}" r="2.5" fill="{fill}" stroke="#1f2328"/>"##
                );
            }
            Event::End(TagEnd::Paragraph) => {
                self.new_line();
                self.y += 8.0;
            }
            Event::Text(text) => self.text(&text, false),
            Event::Code(text) => self.text(&text, true),
            Event::SoftBreak => self.blank = true,
            Event::HardBreak => self.new_line(),
            _ => {}
        }
    }

    fn html(&mut self, html: &str, fold: &mut Option<()>) {
        if let Some(rest) = html.trim().strip_prefix("<details><summary>") {
            let summary = rest.split("</summary>").next().unwrap_or_default();
            self.new_line();
            self.triangle();
            for (index, part) in summary.split("<code>").enumerate() {
                match part.split_once("</code>") {
                    Some((code, text)) if index > 0 => {
                        self.text(&unescape(code), true);
                        self.text(&unescape(text), false);
                    }
                    _ => self.text(&unescape(part), false),
                }
            }
            self.new_line();
            self.y += 4.0;
            *fold = Some(());
        } else if html.contains("</details>") {
            *fold = None;
        } else if html.contains("<br>") && fold.is_none() {
            self.new_line();
        } else if html.contains("<sub>") {
            self.y += 4.0;
            self.small = true;
        } else if html.contains("</sub>") {
            self.new_line();
            self.small = false;
        }
    }

    fn triangle(&mut self) {
        let (x, y) = (MARGIN, self.y);
        let _ = writeln!(
            self.body,
            r##"<path d="M{} {}l7 4.5l-7 4.5z" fill="#1f2328"/>"##,
            x + 2.0,
            y + 5.5
        );
        self.x = MARGIN + 18.0;
        self.started = true;
        self.blank = false;
    }

    fn text(&mut self, text: &str, code: bool) {
        let style = Style {
            size: match (self.heading > 0.0, code, self.small) {
                (true, _, _) => self.heading,
                (_, _, true) => 11.0,
                (_, true, _) => 12.0,
                _ => SIZE,
            },
            bold: self.bold,
            code,
            link: self.link,
            faint: self.small,
        };
        self.blank |= text.starts_with(' ');
        let words: Vec<_> = text.split(' ').filter(|word| !word.is_empty()).collect();
        let mut rest = words.as_slice();
        while !rest.is_empty() {
            rest = self.run(rest, style);
        }
        self.blank |= text.ends_with(' ');
    }

    /// Writes as many words as fit on the line, at least one; those that are left.
    fn run<'w>(&mut self, words: &'w [&'w str], style: Style) -> &'w [&'w str] {
        let left = MARGIN + self.indentation;
        let pad = if style.code { 5.0 } else { 0.0 };
        let space = match self.blank && self.started {
            true => width(" ", style),
            false => 0.0,
        };
        let x = if self.started { self.x + space } else { left };
        let fits = |count: usize| {
            let wide = width(&words[..count].join(" "), style) + 2.0 * pad;
            x + wide <= WIDTH - MARGIN
        };
        let count = (1..=words.len()).rev().find(|count| fits(*count));
        let count = match count {
            Some(count) => count,
            None if self.started => {
                self.new_line();
                return words;
            }
            None => 1,
        };
        let text = words[..count].join(" ");
        let wide = width(&text, style);
        if style.code {
            let _ = writeln!(
                self.body,
                r##"<rect x="{x:.1}" y="{:.1}" width="{:.1}" height="19" rx="4" fill="#eff1f3"/>"##,
                self.y + 0.5,
                wide + 2.0 * pad
            );
        }
        let family = match style.code {
            true => "'DejaVu Sans Mono',Menlo,Consolas,monospace",
            false => "Verdana,'DejaVu Sans',sans-serif",
        };
        let weight = if style.bold { 700 } else { 400 };
        let fill = match (style.link, style.faint) {
            (true, _) => "#0969da",
            (_, true) => "#59636e",
            _ => "#1f2328",
        };
        let _ = writeln!(
            self.body,
            r#"<text x="{:.1}" y="{:.1}" textLength="{wide:.1}" lengthAdjust="spacingAndGlyphs" font-family="{family}" font-size="{}" font-weight="{weight}" fill="{fill}">{}</text>"#,
            x + pad,
            self.y + style.size.max(SIZE) * 0.36 + 9.5,
            style.size,
            escape(&text)
        );
        self.x = x + wide + 2.0 * pad;
        self.started = true;
        self.blank = false;
        &words[count..]
    }

    fn new_line(&mut self) {
        if self.started {
            self.y += LINE + (self.heading - SIZE).max(0.0) * 0.6;
        }
        self.started = false;
        self.blank = false;
    }

    fn finish(mut self) -> String {
        self.new_line();
        let height = self.y + 10.0;
        let (inner, bottom) = (WIDTH - 1.0, height - 1.0);
        let mut whole = format!(
            r##"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height:.0}" viewBox="0 0 {WIDTH} {height:.0}" role="img" aria-label="The comment of weft plan on a pull request">
<rect x="0.5" y="0.5" width="{inner}" height="{bottom:.0}" rx="6" fill="#ffffff" stroke="#d1d9e0"/>
<path d="M1 {BAR}V7a6 6 0 0 1 6-6H{}a6 6 0 0 1 6 6V{BAR}z" fill="#f6f8fa"/>
<path d="M0 {BAR}H{WIDTH}" stroke="#d1d9e0"/>
"##,
            WIDTH - 7.0
        );
        let mut bar = Self {
            y: 8.0,
            bold: true,
            ..Self::default()
        };
        bar.text("github-actions ", false);
        bar.bold = false;
        bar.text("bot commented", false);
        whole.push_str(&bar.body);
        whole.push_str(&self.body);
        whole.push_str("</svg>\n");
        whole
    }
}

/// The width of a text; a character of code is as wide as any other.
fn width(text: &str, style: Style) -> f64 {
    if style.code {
        return text.chars().count() as f64 * style.size * 0.602;
    }
    let units: u32 = text.chars().map(units).sum();
    let bold = if style.bold { 1.15 } else { 1.0 };
    f64::from(units) / 1000.0 * style.size * bold
}

/// The width of a character in thousandths of the size.
fn units(c: char) -> u32 {
    let place = (c as usize).checked_sub(32);
    let known = place.and_then(|place| UNITS.get(place));
    known.copied().unwrap_or(636)
}

/// The widths of the characters of ASCII from the blank on, in DejaVu Sans; those of Verdana are
/// about the same.
const UNITS: [u32; 95] = [
    318, 401, 460, 838, 636, 950, 780, 275, 390, 390, 500, 838, 318, 361, 318, 337, 636, 636, 636,
    636, 636, 636, 636, 636, 636, 636, 337, 337, 838, 838, 838, 531, 1000, 684, 686, 698, 770, 632,
    575, 775, 752, 295, 295, 656, 557, 863, 748, 787, 603, 787, 695, 635, 611, 732, 684, 989, 685,
    611, 685, 390, 337, 390, 838, 500, 500, 613, 635, 550, 635, 615, 352, 635, 634, 278, 278, 579,
    278, 974, 634, 612, 635, 635, 411, 521, 392, 634, 592, 818, 592, 592, 525, 636, 337, 636, 838,
];

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

/// The text of HTML without its entities, of which Weft writes numbers alone.
fn unescape(html: &str) -> String {
    let mut parts = html.split("&#");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once(';') {
            Some((number, rest)) => {
                text.extend(number.parse().ok().and_then(char::from_u32));
                text.push_str(rest);
            }
            None => text.push_str(part),
        }
    }
    text
}
