//! Diagnostics for people: a message, the place with its text, and how to mend it.

use std::io::{self, Write};

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{Annotation, AnnotationKind, Element, Level, Origin, Renderer, Snippet};
use fabric::diagnostic::{Diagnostic, Effect, Label};
use fabric::tree::Tree;

use super::escape;
use super::remark::freezes;
use super::window::{REACH, Window};

/// Lines of a file that are shown together; what is farther apart is shown as two pieces.
const LINES_TOGETHER: u32 = 6;

/// Shows diagnostics one by one.
#[derive(Debug)]
pub(crate) struct Frames<'a> {
    tree: &'a Tree,
    renderer: Renderer,
    /// The columns that the text of a file may take.
    width: usize,
}

// === impl Frames ===

impl<'a> Frames<'a> {
    /// Frames with the text of a tree's files, for a terminal of so many columns.
    pub(crate) fn new(tree: &'a Tree, columns: usize) -> Self {
        Self {
            tree,
            renderer: Renderer::styled()
                .decor_style(DecorStyle::Ascii)
                // Lines are cut before they get there.
                .term_width(10_000),
            // The number of the line and the bar beside it take up to eight columns.
            width: columns.saturating_sub(8).clamp(40, 400),
        }
    }

    /// Writes one diagnostic and an empty line.
    pub(crate) fn write(&self, diagnostic: &Diagnostic, out: &mut dyn Write) -> io::Result<()> {
        let message = escape::text(&diagnostic.message);
        let mut places = Vec::new();
        let mut group = level(diagnostic.effect)
            .primary_title(message)
            .id(diagnostic.code.as_str())
            .elements(self.elements(diagnostic, &mut places));
        if let Some(help) = &diagnostic.help {
            group = group.element(Level::HELP.message(escape::text(help)));
        }
        if let Some(words) = freezes(diagnostic) {
            group = group.element(Level::NOTE.message(words));
        }
        write_placed(&self.renderer.render(&[group]), &places, out)?;
        write!(out, "\n\n")
    }

    /// The places of a diagnostic, the offending one first.
    ///
    /// In the place of each stands a marker, and in `places` what it stands for: the renderer
    /// would tell the column in the text as it is shown.
    fn elements(&self, diagnostic: &Diagnostic, places: &mut Vec<String>) -> Vec<Element<'static>> {
        let mut elements = Vec::new();
        let mut rest = diagnostic.labels.as_slice();
        while let Some((first, _)) = rest.split_first() {
            let (here, after) = rest.split_at(together(rest));
            rest = after;
            let is_first = places.is_empty();
            let marker = format!("{MARKER}{}", places.len());
            places.push(place(first));
            let blob = self.tree.file(&first.path);
            match blob.filter(|_| diagnostic.shows_source && first.span.line > 0) {
                Some(blob) => {
                    let snippet = snippet(blob.bytes(), here, is_first, self.width);
                    elements.push(snippet.path(marker).into());
                }
                None => {
                    elements.push(Origin::path(marker).into());
                    let texts = here.iter().filter(|label| !label.text.is_empty());
                    elements.extend(texts.map(|label| {
                        let text = escape::text(&label.text).into_owned();
                        Element::from(Level::NOTE.message(text))
                    }));
                }
            }
        }
        elements
    }
}

/// Begins the marker of a place. All text of others is escaped, so it stands nowhere else.
const MARKER: char = '\u{2}';

/// Writes the rendered text with the places in the place of their markers.
fn write_placed(text: &str, places: &[String], out: &mut dyn Write) -> io::Result<()> {
    let mut parts = text.split(MARKER);
    out.write_all(parts.next().unwrap_or_default().as_bytes())?;
    for part in parts {
        // The marker's number, and the line and column as the renderer has them.
        let rest = part.trim_start_matches(|c: char| c.is_ascii_digit() || c == ':');
        let number = part.split(|c: char| !c.is_ascii_digit()).next();
        let number = number.and_then(|digits| digits.parse::<usize>().ok());
        let place = number.and_then(|number| places.get(number));
        out.write_all(place.map_or("", String::as_str).as_bytes())?;
        out.write_all(rest.as_bytes())?;
    }
    Ok(())
}

/// A place as editors and terminals understand it: `path:line:column`.
fn place(label: &Label) -> String {
    let path = escape::path(&label.path);
    match label.span.line {
        0 => path,
        line => format!("{path}:{line}:{}", label.span.column),
    }
}

/// How many labels from the first one on are shown in one piece of text.
fn together(labels: &[Label]) -> usize {
    let Some((first, others)) = labels.split_first() else {
        return 0;
    };
    let (mut low, mut high) = (first.span.line, first.span.line);
    let mut count = 1;
    for label in others {
        low = low.min(label.span.line);
        high = high.max(label.span.line);
        let is_far = label.span.start.abs_diff(first.span.start) as usize > REACH
            || high - low > LINES_TOGETHER;
        if label.path != first.path || low == 0 || is_far {
            break;
        }
        count += 1;
    }
    count
}

/// The text of the lines from the first to the last label.
fn snippet(
    bytes: &[u8],
    labels: &[Label],
    is_first: bool,
    width: usize,
) -> Snippet<'static, Annotation<'static>> {
    let spans: Vec<_> = labels.iter().map(|label| label.span).collect();
    let window = Window::of(bytes, &spans, width);
    let annotations = labels.iter().zip(window.marks).enumerate();
    let annotations = annotations.map(|(index, (label, mark))| {
        let kind = match index == 0 && is_first {
            true => AnnotationKind::Primary,
            false => AnnotationKind::Context,
        };
        let text = (!label.text.is_empty()).then(|| escape::text(&label.text).into_owned());
        kind.span(mark).label(text)
    });
    Snippet::source(window.text)
        .line_start(window.line as usize)
        .fold(false)
        .annotations(annotations.collect::<Vec<_>>())
}

fn level(effect: Effect) -> Level<'static> {
    match effect {
        Effect::Note => Level::NOTE,
        Effect::Warn => Level::WARNING,
        Effect::Fail | Effect::Freeze => Level::ERROR,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use fabric::diagnostic::{Code, Span};
    use fabric::origin::Revision;
    use fabric::tree::{Blob, Limits, Tree};

    use super::*;

    fn tree(files: &[(&str, &str)]) -> Tree {
        let mut builder = Tree::builder(Revision::working_tree(), Limits::default());
        for (path, text) in files {
            let blob = Blob::new(
                text.as_bytes().to_vec(),
                fabric::document::Limits::default(),
            );
            builder.add(path.as_bytes(), Arc::new(blob));
        }
        builder.finish()
    }

    fn span(text: &str, part: &str) -> Span {
        let start = text.find(part).unwrap();
        let line = text[..start].matches('\n').count();
        let column = text[..start]
            .chars()
            .rev()
            .take_while(|c| *c != '\n')
            .count();
        Span {
            start: u32::try_from(start).unwrap(),
            end: u32::try_from(start + part.len()).unwrap(),
            line: u32::try_from(line + 1).unwrap(),
            column: u32::try_from(column + 1).unwrap(),
        }
    }

    fn shown(files: &[(&str, &str)], diagnostic: &Diagnostic, columns: usize) -> String {
        let tree = tree(files);
        let mut out = Vec::new();
        let frames = Frames::new(&tree, columns);
        frames.write(diagnostic, &mut out).unwrap();
        anstream::adapter::strip_str(std::str::from_utf8(&out).unwrap()).to_string()
    }

    const EXPORT: &str = "\
apiVersion: clusterlink.net/v1alpha1
kind: Export
metadata:
  name: ledger
spec:
  portt: 80
";

    #[test]
    fn a_mistake_is_shown_at_its_key() {
        let path = "peers/east/exports.yaml".into();
        let diagnostic = Diagnostic::new(
            Code::UnknownField,
            &path,
            span(EXPORT, "portt"),
            "unknown field `portt`",
        )
        .with_text("not a field of an Export's spec")
        .with_help("did you mean `port`?");
        insta::assert_snapshot!(shown(&[(&path, EXPORT)], &diagnostic, 80));
    }

    #[test]
    fn related_places_near_and_far_and_in_other_files() {
        let path = "peers/east/exports.yaml".into();
        let other = "peers/east/more.yaml".into();
        let diagnostic = Diagnostic::new(
            Code::DuplicateObject,
            &path,
            span(EXPORT, "ledger"),
            "the Export default/ledger stands twice",
        )
        .with_text("here")
        .with_related(&path, span(EXPORT, "portt"), "with this")
        .with_related(&other, span(EXPORT, "name"), "and here first");
        let files = [(&*path, EXPORT), (&*other, EXPORT)];
        insta::assert_snapshot!(shown(&files, &diagnostic, 80));
    }

    #[test]
    fn a_whole_file_has_no_frame() {
        let path = "fabric.yaml".into();
        let diagnostic = Diagnostic::new(Code::NoFabric, &path, Span::FILE, "there is no Fabric")
            .with_text("expected here");
        insta::assert_snapshot!(shown(&[], &diagnostic, 80));
    }

    #[test]
    fn a_secret_is_never_shown() {
        let text = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n";
        let path: Arc<str> = "ca/key.pem".into();
        let mut diagnostic = Diagnostic::new(
            Code::PrivateKey,
            &path,
            span(text, "-----"),
            "a private key",
        );
        diagnostic.shows_source = false;
        let shown = shown(&[(&path, text)], &diagnostic, 80);
        assert!(
            !shown.contains("c2VjcmV0") && !shown.contains("BEGIN"),
            "{shown}"
        );
        insta::assert_snapshot!(shown);
    }

    #[test]
    fn hostile_text_stays_inside_its_frame() {
        let text = format!("a: \u{1b}[2J\u{202e}{}\n", "b".repeat(500));
        let path: Arc<str> = "peers/east/\u{1b}[2J\nerror: forged.yaml".into();
        let diagnostic = Diagnostic::new(
            Code::UnknownField,
            &path,
            span(&text, "\u{202e}"),
            "unknown field \u{1b}]0;x\u{7}",
        )
        .with_help("line one\nerror: forged");
        let shown = shown(&[(&path, &text)], &diagnostic, 60);
        assert!(!shown.contains('\u{1b}') && !shown.contains('\u{202e}'));
        insta::assert_snapshot!(shown);
    }
}
