//! A document that is being read: the collections that are open, and what is known so far.

use serde_json::{Map, Value};

use super::Note;
use super::spans::{Key, Node, SpansBuilder};
use crate::diagnostic::Span;

/// A document that is being read.
#[derive(Default)]
pub(super) struct Draft {
    /// The collections around the next value, from the outermost.
    pub(super) open: Vec<Open>,
    pub(super) spans: SpansBuilder,
    pub(super) notes: Vec<Note>,
    pub(super) root: Option<(Value, Node)>,
    /// Whether a part of the value isn't known.
    pub(super) broken: bool,
}

/// A collection whose end hasn't come yet.
pub(super) struct Open {
    pub(super) items: Items,
    /// Whether it is written with brackets, inside which tabs don't indent.
    pub(super) flow: bool,
    pub(super) start: Span,
    /// Where its children begin among the pending ones.
    pub(super) mark: usize,
    /// The end of the last thing inside it.
    pub(super) end: u32,
}

/// What a collection holds so far.
pub(super) enum Items {
    Sequence(Vec<Value>),
    Mapping {
        entries: Map<String, Value>,
        /// The key whose value comes next.
        key: Option<KeyState>,
    },
}

/// What becomes of a key's value.
pub(super) enum KeyState {
    Good(Key),
    /// The key can't be used, so its value is read and dropped.
    Dropped(Span),
    /// The same for a merge key.
    Merge(Span),
}

// === impl Draft ===

impl Draft {
    /// Whether the next value is a key of the innermost mapping.
    pub(super) fn awaits_key(&self) -> bool {
        matches!(
            self.open.last().map(|open| &open.items),
            Some(Items::Mapping { key: None, .. })
        )
    }

    /// Whether the next value belongs to a merge key.
    pub(super) fn merges(&self) -> bool {
        matches!(self.key(), Some(KeyState::Merge(_)))
    }

    /// Where the key of the next value stands.
    pub(super) fn key_place(&self) -> Option<Span> {
        self.key().map(KeyState::span)
    }

    fn key(&self) -> Option<&KeyState> {
        match &self.open.last()?.items {
            Items::Mapping { key, .. } => key.as_ref(),
            Items::Sequence(_) => None,
        }
    }

    /// Where the innermost mapping's children begin, if it has this key already.
    pub(super) fn holds_key(&self, text: &str) -> Option<usize> {
        let open = self.open.last()?;
        match &open.items {
            Items::Mapping { entries, .. } if entries.contains_key(text) => Some(open.mark),
            _ => None,
        }
    }

    /// Takes the key of the next value.
    pub(super) fn set_key(&mut self, state: KeyState) {
        self.remember(state.span());
        if let Some(Items::Mapping { key, .. }) = self.open.last_mut().map(|open| &mut open.items) {
            *key = Some(state);
        }
    }

    /// Lets the innermost collection reach to the end of `span`.
    pub(super) fn remember(&mut self, span: Span) {
        if let Some(open) = self.open.last_mut() {
            open.end = open.end.max(span.end);
        }
    }

    /// Lets the innermost collection begin at `span` at the latest: the parser has that of a list
    /// that isn't indented behind its first dash.
    pub(super) fn begin_at(&mut self, span: Span) {
        if let Some(open) = self.open.last_mut()
            && span.start < open.start.start
        {
            open.start = span;
        }
    }

    /// Puts a complete value into its parent.
    pub(super) fn place(&mut self, value: Value, node: Node) {
        match self.open.last_mut().map(|open| &mut open.items) {
            None => self.root = Some((value, node)),
            Some(Items::Sequence(items)) => {
                items.push(value);
                self.spans.push(node, None);
            }
            Some(Items::Mapping { entries, key }) => match key.take() {
                // A collection or an alias in the place of a key.
                None => *key = Some(KeyState::Dropped(node.span)),
                Some(KeyState::Good(name)) => {
                    entries.insert(self.spans.text(&name).to_owned(), value);
                    self.spans.push(node, Some(name));
                }
                Some(KeyState::Dropped(_) | KeyState::Merge(_)) => {}
            },
        }
    }

    /// The JSON pointer of the next value; nothing where it will be dropped.
    pub(super) fn pointer(&self) -> Option<String> {
        let mut pointer = String::new();
        for open in &self.open {
            pointer.push('/');
            match &open.items {
                Items::Sequence(items) => pointer.push_str(&items.len().to_string()),
                Items::Mapping {
                    key: Some(KeyState::Good(key)),
                    ..
                } => {
                    let text = self.spans.text(key);
                    pointer.push_str(&text.replace('~', "~0").replace('/', "~1"));
                }
                Items::Mapping { .. } => return None,
            }
        }
        Some(pointer)
    }
}

// === impl KeyState ===

impl KeyState {
    fn span(&self) -> Span {
        match self {
            Self::Good(key) => key.span,
            Self::Dropped(span) | Self::Merge(span) => *span,
        }
    }
}
