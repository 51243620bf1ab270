//! Comments: which there are, and to what the indentation of each says that it belongs.

use std::collections::BTreeMap;

use yaml_parser::{SyntaxKind, SyntaxNode};

/// The comments of a text in their order.
#[derive(Debug)]
pub(super) struct Comments(Vec<Comment>);

#[derive(Debug)]
struct Comment {
    start: usize,
    text: String,
    /// Columns before it, where it has a line of its own below some key.
    column: usize,
    place: Option<Place>,
    /// The columns of the mappings around the last key before it, from the outermost one.
    around: Vec<usize>,
}

/// To what the indentation of a comment says that it belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// To the mapping that so many others are around.
    In(usize),
    /// To what could stand below the key before it, whose whole value stands on its line.
    Below,
}

/// The texts of all comments, counted.
pub(super) fn count(text: &str) -> Option<BTreeMap<String, usize>> {
    let mut counts = BTreeMap::new();
    for comment in Comments::of(text)?.0 {
        *counts.entry(comment.text).or_default() += 1;
    }
    Some(counts)
}

// === impl Comments ===

impl Comments {
    /// The comments of a text.
    pub(super) fn of(text: &str) -> Option<Self> {
        let tree = yaml_parser::parse(text).ok()?;
        let mut comments = Vec::new();
        // The last key, and where the last thing ended that is no comment.
        let mut key: Option<SyntaxNode> = None;
        let mut content = 0;
        for element in tree.descendants_with_tokens() {
            if let Some(node) = element.as_node() {
                if node.kind() == SyntaxKind::BLOCK_MAP_KEY {
                    key = Some(node.clone());
                }
                continue;
            }
            let Some(token) = element.as_token() else {
                continue;
            };
            let range = token.text_range();
            match token.kind() {
                SyntaxKind::WHITESPACE => {}
                SyntaxKind::COMMENT => {
                    let start = usize::from(range.start());
                    comments.push(Comment::of(
                        text,
                        token.text(),
                        start,
                        key.as_ref(),
                        content,
                    ));
                }
                // What stood before is another document.
                SyntaxKind::DIRECTIVES_END | SyntaxKind::DOCUMENT_END => key = None,
                _ => content = usize::from(range.end()),
            }
        }
        Some(Self(comments))
    }

    /// Indents the comments of a text that was laid out again as deep as they belong.
    pub(super) fn restore(&self, laid_out: &str) -> Option<String> {
        let after = Self::of(laid_out)?;
        if after.0.len() != self.0.len() {
            return None;
        }
        let mut restored = String::with_capacity(laid_out.len());
        let mut seen = 0;
        for (before, after) in self.0.iter().zip(&after.0) {
            let wanted = match before.place {
                _ if after.place.is_none() => None,
                Some(Place::In(depth)) => after.around.get(depth).copied(),
                Some(Place::Below) => after.around.last().map(|column| column + 2),
                None => None,
            };
            if let Some(wanted) = wanted.filter(|wanted| after.column < *wanted) {
                let line = line_start(laid_out, after.start);
                restored.push_str(laid_out.get(seen..line)?);
                restored.push_str(&" ".repeat(wanted));
                seen = after.start;
            }
        }
        restored.push_str(laid_out.get(seen..)?);
        Some(restored)
    }
}

// === impl Comment ===

impl Comment {
    fn of(
        text: &str,
        written: &str,
        start: usize,
        key: Option<&SyntaxNode>,
        content: usize,
    ) -> Self {
        let line = line_start(text, start);
        let column = start - line;
        let before = text.get(line..start).unwrap_or_default();
        let own_line = before.bytes().all(|byte| byte == b' ');
        let mut around = Vec::new();
        if let Some(key) = key {
            let mappings = key
                .ancestors()
                .filter(|node| node.kind() == SyntaxKind::BLOCK_MAP);
            around.extend(mappings.map(|mapping| {
                let start = usize::from(mapping.text_range().start());
                start - line_start(text, start)
            }));
            around.reverse();
        }
        let one_line = key.is_some_and(|key| {
            let key = usize::from(key.text_range().start());
            text.get(key..content)
                .is_some_and(|text| !text.contains('\n'))
        });
        let place = match around.iter().rposition(|around| *around <= column) {
            _ if !own_line => None,
            Some(last) if last + 1 < around.len() => Some(Place::In(last)),
            Some(last) if around.get(last) == Some(&column) => Some(Place::In(last)),
            Some(_) if one_line => Some(Place::Below),
            Some(last) => Some(Place::In(last)),
            None => None,
        };
        Self {
            start,
            text: written.trim_end().to_owned(),
            column,
            place,
            around,
        }
    }
}

fn line_start(text: &str, place: usize) -> usize {
    let before = text.get(..place).unwrap_or_default();
    before.rfind('\n').map_or(0, |newline| newline + 1)
}
