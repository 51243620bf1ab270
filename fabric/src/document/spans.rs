//! The places of a document's parts: a flat tree, looked up by JSON pointer.

use std::borrow::Cow;

use crate::diagnostic::Span;

/// Where the parts of a document stand.
///
/// Children of one parent stand side by side, those of a mapping sorted by key, so a lookup takes
/// logarithmic time at each level, and a document costs four allocations.
#[derive(Clone, Debug, Default)]
pub struct Spans {
    /// Every value; the root is the last one.
    nodes: Box<[Node]>,
    /// Every key of every mapping.
    keys: Box<[Key]>,
    /// The text of the keys.
    texts: Box<str>,
}

/// One value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    pub(super) span: Span,
    /// The first child in `nodes`.
    first: u32,
    /// How many children there are.
    count: u32,
    /// The first child's key in `keys`, or [`NO_KEYS`].
    keys: u32,
}

/// One key of a mapping.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    pub(super) span: Span,
    /// Its text in `texts`.
    start: u32,
    end: u32,
}

/// The tree while it grows. Places are counted in 32 bits: a file has fewer than 2^32 bytes, and
/// every value and every byte of a key takes at least one of them.
#[derive(Debug, Default)]
pub(super) struct SpansBuilder {
    nodes: Vec<Node>,
    keys: Vec<Key>,
    texts: String,
    /// Children whose parent isn't complete yet.
    pending: Vec<(Node, Option<Key>)>,
}

/// What stands for "not a mapping".
const NO_KEYS: u32 = u32::MAX;

// === impl Spans ===

impl Spans {
    /// Where the value that a JSON pointer names stands; the nearest parent's place where it names
    /// nothing. A value that isn't written (`key:` and nothing more) has its key's place.
    #[must_use]
    pub fn value(&self, pointer: &str) -> Span {
        let Some(mut place) = self.nodes.last() else {
            return Span::FILE;
        };
        for token in tokens(pointer) {
            match self.child(place, &token) {
                Some((child, _)) => place = child,
                None => break,
            }
        }
        place.span
    }

    /// Where the key of the value that a JSON pointer names stands, for an item of a mapping.
    #[must_use]
    pub fn key(&self, pointer: &str) -> Option<Span> {
        let mut place = self.nodes.last()?;
        let mut key = None;
        for token in tokens(pointer) {
            (place, key) = self.child(place, &token)?;
        }
        key.map(|key| key.span)
    }

    /// The keys of the mapping that a JSON pointer names, sorted, each with its place; nothing
    /// where it names no mapping.
    pub fn keys(&self, pointer: &str) -> impl Iterator<Item = (&str, Span)> {
        let mut place = self.nodes.last();
        for token in tokens(pointer) {
            place = place
                .and_then(|parent| self.child(parent, &token))
                .map(|(child, _)| child);
        }
        let keys = place.and_then(|place| self.keys_of(place));
        keys.unwrap_or_default()
            .iter()
            .map(|key| (self.text(key), key.span))
    }

    fn child(&self, parent: &Node, token: &str) -> Option<(&Node, Option<&Key>)> {
        let children = self
            .nodes
            .get(parent.first as usize..)?
            .get(..parent.count as usize)?;
        match self.keys_of(parent) {
            Some(keys) => {
                let found = keys
                    .binary_search_by(|key| self.text(key).cmp(token))
                    .ok()?;
                Some((children.get(found)?, keys.get(found)))
            }
            None => {
                let canonical = token == "0" || !token.starts_with(['0', '+']);
                let index = token.parse::<usize>().ok().filter(|_| canonical)?;
                Some((children.get(index)?, None))
            }
        }
    }

    fn keys_of(&self, parent: &Node) -> Option<&[Key]> {
        if parent.keys == NO_KEYS {
            return None;
        }
        self.keys
            .get(parent.keys as usize..)?
            .get(..parent.count as usize)
    }

    fn text(&self, key: &Key) -> &str {
        key.text(&self.texts)
    }
}

// === impl Node ===

impl Node {
    /// A value without children.
    pub(super) const fn leaf(span: Span) -> Self {
        Self {
            span,
            first: 0,
            count: 0,
            keys: NO_KEYS,
        }
    }
}

// === impl Key ===

impl Key {
    fn text<'a>(&self, texts: &'a str) -> &'a str {
        texts
            .get(self.start as usize..self.end as usize)
            .unwrap_or_default()
    }
}

// === impl SpansBuilder ===

impl SpansBuilder {
    /// How many children wait for their parent: the mark where a new parent's children begin.
    pub(super) fn mark(&self) -> usize {
        self.pending.len()
    }

    /// Keeps a key's text.
    pub(super) fn key(&mut self, text: &str, span: Span) -> Key {
        let start = self.texts.len() as u32;
        self.texts.push_str(text);
        Key {
            span,
            start,
            end: self.texts.len() as u32,
        }
    }

    /// The text of a key.
    pub(super) fn text(&self, key: &Key) -> &str {
        key.text(&self.texts)
    }

    /// Adds the next child of the innermost open parent.
    pub(super) fn push(&mut self, node: Node, key: Option<Key>) {
        self.pending.push((node, key));
    }

    /// The place of the child with this key among those since `mark`.
    pub(super) fn find_key(&self, mark: usize, text: &str) -> Option<Span> {
        let children = self.pending.get(mark..)?.iter();
        children
            .filter_map(|(_, key)| key.as_ref())
            .find(|key| self.text(key) == text)
            .map(|key| key.span)
    }

    /// Makes everything since `mark` the children of one value.
    pub(super) fn close(&mut self, mark: usize, span: Span, mapping: bool) -> Node {
        let texts = &self.texts;
        let children = self.pending.get_mut(mark..).unwrap_or_default();
        if mapping {
            // Keys are unique, so an unstable sort is as good.
            children.sort_unstable_by(|(_, a), (_, b)| {
                let text = |key: &Option<Key>| key.map_or("", |key| key.text(texts));
                text(a).cmp(text(b))
            });
        }
        let node = Node {
            span,
            first: self.nodes.len() as u32,
            count: children.len() as u32,
            keys: if mapping {
                self.keys.len() as u32
            } else {
                NO_KEYS
            },
        };
        for (child, key) in self.pending.drain(mark..) {
            self.nodes.push(child);
            self.keys.extend(key);
        }
        node
    }

    /// The whole tree.
    pub(super) fn finish(mut self, root: Node) -> Spans {
        self.nodes.push(root);
        Spans {
            nodes: self.nodes.into(),
            keys: self.keys.into(),
            texts: self.texts.into(),
        }
    }
}

/// The parts of a JSON pointer (RFC 6901), unescaped.
fn tokens(pointer: &str) -> impl Iterator<Item = Cow<'_, str>> {
    let mut parts = pointer.split('/');
    // What stands before the first slash; a pointer has nothing there.
    parts.next();
    parts.map(|part| {
        if part.contains('~') {
            Cow::Owned(part.replace("~1", "/").replace("~0", "~"))
        } else {
            Cow::Borrowed(part)
        }
    })
}
