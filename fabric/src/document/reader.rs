//! The events of the parser, made into documents.

use granit_parser::{Event, Marker, Parser, ScalarStyle, StructureStyle};
use serde_json::{Map, Value};

use super::draft::{Draft, Items, KeyState, Open};
use super::scalar::{self, Plain};
use super::spans::Node;
use super::syntax::{self, shown};
use super::{Document, Limits, Note, Parsed};
use crate::diagnostic::{Code, Finding, Fix, Span};
use crate::findings::Findings;

/// Text of JSON pointers in the notes of one file, in bytes. A note beyond is reported without
/// waiting for the schema, so that deep paths of long keys can't multiply a file's size.
const POINTER_BYTES: usize = 1 << 22;

/// Reads one file.
pub(super) struct Reader<'t> {
    /// The text without a byte order mark at its start.
    text: &'t str,
    /// Where `text` starts in the file.
    base: u32,
    limits: Limits,
    findings: Findings,
    /// Values read so far, in all documents.
    nodes: usize,
    /// Bytes of the notes' pointers so far.
    pointer_bytes: usize,
    documents: Vec<Document>,
    /// The document that is being read.
    draft: Draft,
    /// The end of what was read last, in `text`.
    end: usize,
    /// Whether the text after `end` was skipped after a mistake.
    skipped: bool,
    /// The tab that was reported last, in `text`.
    last_tab: Option<usize>,
}

/// How reading goes on after an event.
enum Next {
    Event,
    /// The rest of the document makes no sense, or too much of it.
    SkipDocument,
    /// Enough was read.
    Stop,
}

// === impl Reader ===

impl<'t> Reader<'t> {
    pub(super) fn new(text: &'t str, limits: &Limits, findings: Findings) -> Self {
        let (text, base) = match text.strip_prefix('\u{feff}') {
            Some(text) => (text, 3),
            None => (text, 0),
        };
        Self {
            text,
            base,
            limits: Limits {
                depth: limits.depth.min(Limits::MAX_DEPTH),
                ..*limits
            },
            findings,
            nodes: 0,
            pointer_bytes: 0,
            documents: Vec::new(),
            draft: Draft::default(),
            end: 0,
            skipped: false,
            last_tab: None,
        }
    }

    pub(super) fn read(mut self) -> Parsed {
        syntax::invisible(self.text, self.base, &mut self.findings);
        let options = granit_parser::options! {
            emit_anchor_events: true,
            emit_unresolved_aliases: true,
            // Comments would be buffered, up to a number that a long licence header exceeds.
            emit_comments: false,
            flow_nesting_limit: self.limits.depth,
            block_nesting_limit: self.limits.depth,
        };
        let mut parser = Parser::new_from_str_with_options(self.text, options);
        // The place of the last error; each one must be further on, so this ends.
        let mut last_error = None;
        loop {
            let next = match parser.next() {
                Some(Ok((event, span))) => self.event(event, span),
                Some(Err(error)) => {
                    let place = error.marker().index();
                    if last_error.is_some_and(|last| place <= last) {
                        break;
                    }
                    last_error = Some(place);
                    self.end = self
                        .end
                        .max(error.marker().byte_offset().unwrap_or_default());
                    syntax::report(
                        &error,
                        self.text,
                        self.base,
                        &self.limits,
                        &mut self.findings,
                    );
                    Next::SkipDocument
                }
                None => break,
            };
            match next {
                Next::Event => {}
                Next::SkipDocument => {
                    self.withhold();
                    self.skipped = true;
                    if !parser.proceed_next_document().unwrap_or(false) {
                        break;
                    }
                }
                Next::Stop => {
                    self.withhold();
                    break;
                }
            }
        }
        Parsed {
            documents: self.documents,
            findings: self.findings.finish(),
        }
    }

    fn event(&mut self, event: Event<'t>, place: granit_parser::Span) -> Next {
        let span = self.span(&place);
        match event {
            Event::DocumentStart(explicit, _) => {
                if explicit {
                    self.directives(&place.start);
                } else {
                    self.skipped = false;
                }
                self.draft = Draft::default();
            }
            Event::DocumentEnd => return self.finish_document(),
            Event::Anchor(_, name) => {
                self.findings.push_with(Code::Anchor, span, || {
                    Finding::new(Code::Anchor, span, format!("anchor {}", shown(&name)))
                        .with_help("remove the anchor, and write the value out where it is used")
                });
                return Next::Event;
            }
            Event::Alias(_) | Event::UnresolvedAlias(_) => return self.alias(span),
            Event::Scalar(text, style, _, _) => {
                self.tag(&place);
                self.indentation(span);
                self.remember_end(&place);
                return self.scalar(&text, style, span);
            }
            Event::SequenceStart(style, _, _) => {
                self.tag(&place);
                self.indentation(span);
                return self.open(Items::Sequence(Vec::new()), style, span);
            }
            Event::MappingStart(style, _, _) => {
                self.tag(&place);
                self.indentation(span);
                let entries = Map::new();
                return self.open(Items::Mapping { entries, key: None }, style, span);
            }
            Event::SequenceEnd | Event::MappingEnd => {
                self.remember_end(&place);
                return self.close(span);
            }
            _ => {}
        }
        self.remember_end(&place);
        Next::Event
    }

    fn remember_end(&mut self, place: &granit_parser::Span) {
        self.end = self.end.max(place.end.byte_offset().unwrap_or_default());
    }

    /// Our place for the parser's: in the file's bytes, without the white space behind.
    fn span(&self, place: &granit_parser::Span) -> Span {
        syntax::span(self.text, self.base, &place.start, &place.end)
    }

    /// Reports a tab that indents the node at `span`: the parser lets some of them pass.
    fn indentation(&mut self, span: Span) {
        if self.draft.open.last().is_some_and(|open| open.flow) {
            return;
        }
        let Some(tab) = syntax::indenting_tab(self.text, self.in_text(span.start)) else {
            return;
        };
        // A collection begins where its first part does.
        if self.last_tab != Some(tab) {
            self.last_tab = Some(tab);
            syntax::tab(self.text, self.base, span.line, tab, &mut self.findings);
        }
    }

    fn tag(&mut self, place: &granit_parser::Span) {
        let Some(tag) = place.tag_span() else { return };
        let span = self.span(&tag);
        let written = tag.slice(self.text).unwrap_or_default();
        self.findings.push_with(Code::Tag, span, || {
            let finding = Finding::new(Code::Tag, span, format!("tag {}", shown(written)));
            match written {
                "!" | "!!str" => finding.with_help("remove the tag, and quote the value"),
                _ if written.starts_with("!!") => finding.with_help("remove the tag"),
                _ => finding.with_help("quote the value if the exclamation mark belongs to it"),
            }
        });
    }

    /// Reports the directives before the document that starts at `start`.
    fn directives(&mut self, start: &Marker) {
        let end = start.byte_offset().unwrap_or_default();
        // Of what was skipped after a mistake nothing counts but a prefix of this document, which
        // begins after an end marker.
        if std::mem::take(&mut self.skipped) {
            let skipped = self.text.get(self.end..end).unwrap_or_default();
            self.end = match skipped.rfind("\n...").or_else(|| skipped.rfind("\r...")) {
                Some(marker) => self.end + marker + 1,
                None => end,
            };
        }
        let Some(between) = self.text.get(self.end..end) else {
            return;
        };
        // The rest of a line that began before isn't a directive.
        let mut whole_line = self.end == 0
            || self
                .text
                .get(..self.end)
                .is_some_and(|before| before.ends_with(['\n', '\r']));
        let mut line = (start.line() as u32).saturating_sub(syntax::breaks(between));
        let mut offset = self.end;
        let mut rest = between;
        while !rest.is_empty() {
            let width = rest.find(['\n', '\r']).map_or(rest.len(), |end| {
                let crlf = rest.get(end..).is_some_and(|rest| rest.starts_with("\r\n"));
                end + 1 + usize::from(crlf)
            });
            let (text, after) = rest.split_at(width);
            if whole_line && text.starts_with('%') && !syntax::is_yaml_1_2(text) {
                self.directive(text, offset, line);
            }
            whole_line = true;
            offset += width;
            line += 1;
            rest = after;
        }
    }

    fn directive(&mut self, text: &str, offset: usize, line: u32) {
        let written = text.split(" #").next().unwrap_or(text).trim_end();
        let span = Span {
            start: self.base + offset as u32,
            end: self.base + (offset + written.len()) as u32,
            line,
            column: 1,
        };
        self.findings.push_with(Code::Directive, span, || {
            let message = format!("directive {}", shown(written));
            Finding::new(Code::Directive, span, message).with_help("remove the line")
        });
    }

    /// Counts a value and looks at the limits. `None` means go on.
    fn admit(&mut self, span: Span) -> Option<Next> {
        let draft = &self.draft;
        if draft.open.is_empty()
            && draft.root.is_none()
            && self.documents.len() >= self.limits.documents
        {
            let limit = self.limits.documents;
            self.findings.push_with(Code::TooManyDocuments, span, || {
                let message = format!("more than {limit} documents in the file");
                Finding::new(Code::TooManyDocuments, span, message)
                    .with_help("split the file into several")
            });
            return Some(Next::Stop);
        }
        self.nodes += 1;
        if self.nodes > self.limits.nodes {
            let limit = self.limits.nodes;
            self.findings.push_with(Code::TooManyNodes, span, || {
                let message = format!("more than {limit} values in the file");
                Finding::new(Code::TooManyNodes, span, message)
                    .with_help("split the file into several")
            });
            return Some(Next::Stop);
        }
        None
    }

    fn alias(&mut self, span: Span) -> Next {
        self.draft.remember(span);
        if let Some(stop) = self.admit(span) {
            return stop;
        }
        // With a merge key the alias is a part of one mistake, which is reported already.
        if !self.draft.merges() {
            let written = self.written(span);
            self.findings.push_with(Code::Anchor, span, || {
                Finding::new(Code::Anchor, span, format!("alias {}", shown(written)))
                    .with_help("write the value out, or quote it if the asterisk belongs to it")
            });
        }
        self.draft.broken = true;
        self.draft.place(Value::Null, Node::leaf(span));
        Next::Event
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, span: Span) -> Next {
        let plain = style == ScalarStyle::Plain;
        // The parser writes `~` for what isn't written at all.
        let absent = plain && span.start == span.end;
        if absent && self.draft.open.is_empty() {
            return Next::Event;
        }
        self.draft.remember(span);
        if let Some(stop) = self.admit(span) {
            return stop;
        }
        if self.draft.awaits_key() {
            self.key(text, plain, absent, span);
            return Next::Event;
        }
        let span = match self.draft.key_place() {
            Some(key) if absent => key,
            None if absent => {
                let dash = self.dash_before(span);
                self.draft.begin_at(dash);
                dash
            }
            _ => span,
        };
        let value = if plain {
            match scalar::read(text) {
                Plain::Value(value) => value,
                Plain::Text => Value::String(text.to_owned()),
                Plain::Ambiguous(meaning) => {
                    self.note(Code::AmbiguousScalar, span, || {
                        let message = format!(
                            "{} is read as a string here, but as {meaning} by other tools",
                            shown(text)
                        );
                        Finding::new(Code::AmbiguousScalar, span, message)
                            .with_help(format!("quote it: {}", syntax::quoted(text)))
                    });
                    Value::String(text.to_owned())
                }
                Plain::Decimal(number) => {
                    self.note(Code::DecimalNumber, span, || {
                        let message = format!("{} is a number, but not a whole one", shown(text));
                        Finding::new(Code::DecimalNumber, span, message).with_help(format!(
                            "quote it if it is meant as text: {}; or write a whole number",
                            syntax::quoted(text)
                        ))
                    });
                    Value::Number(number)
                }
            }
        } else {
            Value::String(text.to_owned())
        };
        self.draft.place(value, Node::leaf(span));
        Next::Event
    }

    /// Adds what the schema may have to say about a scalar.
    fn note(&mut self, code: Code, span: Span, finding: impl FnOnce() -> Finding) {
        if !self.findings.admits(code, span) {
            return;
        }
        // A value that is dropped has no pointer, and no schema sees it.
        let pointer = self.draft.pointer().filter(|pointer| {
            self.pointer_bytes += pointer.len();
            self.pointer_bytes <= POINTER_BYTES
        });
        match pointer {
            Some(pointer) => self.draft.notes.push(Note {
                pointer,
                span,
                finding: finding(),
            }),
            None => self.findings.push_admitted(finding()),
        }
    }

    /// Takes a scalar as the next key of the innermost mapping.
    fn key(&mut self, text: &str, plain: bool, absent: bool, span: Span) {
        if plain && text == "<<" {
            self.findings.push_with(Code::Anchor, span, || {
                Finding::new(Code::Anchor, span, "a merge key")
                    .with_help("write the merged fields out")
            });
            self.draft.broken = true;
            self.draft.set_key(KeyState::Merge(span));
            return;
        }
        let read = if plain {
            scalar::read(text)
        } else {
            Plain::Text
        };
        match read {
            Plain::Value(_) | Plain::Decimal(_) => {
                let kind = match &read {
                    Plain::Value(Value::Null) => "null",
                    Plain::Value(Value::Bool(_)) => "a boolean",
                    _ => "a number",
                };
                self.findings.push_with(Code::KeyNotString, span, || {
                    if absent {
                        Finding::new(Code::KeyNotString, span, "a key is missing")
                            .with_help("write the key before the colon")
                    } else {
                        let message = format!("the key {} is {kind}, not a string", shown(text));
                        let finding = Finding::new(Code::KeyNotString, span, message)
                            .with_help(format!("quote it: {}", syntax::quoted(text)));
                        match read {
                            // Perhaps the key is what is missing.
                            Plain::Value(Value::Null) => finding,
                            _ => finding.with_fix(Fix::quote(span, text)),
                        }
                    }
                });
                if absent {
                    self.draft.broken = true;
                    self.draft.set_key(KeyState::Dropped(span));
                    return;
                }
            }
            Plain::Ambiguous(meaning) => self.findings.push_with(Code::AmbiguousKey, span, || {
                let message = format!(
                    "the key {} is read as a string here, but as {meaning} by other tools",
                    shown(text)
                );
                Finding::new(Code::AmbiguousKey, span, message)
                    .with_help(format!("quote it: {}", syntax::quoted(text)))
                    .with_fix(Fix::quote(span, text))
            }),
            Plain::Text => {}
        }
        if let Some(mark) = self.draft.holds_key(text) {
            // Looking the first one up takes time, so only for those that are reported.
            if self.findings.admits(Code::DuplicateKey, span) {
                let first = self.draft.spans.find_key(mark, text).unwrap_or(span);
                self.findings.push_admitted(
                    Finding::new(
                        Code::DuplicateKey,
                        span,
                        format!("the key {} stands twice in this mapping", shown(text)),
                    )
                    .with_text("again here")
                    .with_related(first, "first here")
                    .with_help("remove one of them"),
                );
            }
            self.draft.set_key(KeyState::Dropped(span));
        } else {
            let key = self.draft.spans.key(text, span);
            self.draft.set_key(KeyState::Good(key));
        }
    }

    fn open(&mut self, items: Items, style: StructureStyle, start: Span) -> Next {
        self.draft.remember(start);
        if let Some(stop) = self.admit(start) {
            return stop;
        }
        if self.draft.open.len() >= self.limits.depth {
            syntax::too_deep(start, &self.limits, &mut self.findings);
            return Next::SkipDocument;
        }
        self.draft.open.push(Open {
            items,
            flow: style == StructureStyle::Flow,
            start,
            mark: self.draft.spans.mark(),
            end: start.end,
        });
        Next::Event
    }

    fn close(&mut self, end: Span) -> Next {
        let Some(open) = self.draft.open.pop() else {
            return Next::Event;
        };
        // A block collection ends where the next thing begins; its text ends with its last item.
        let end = if end.start == end.end {
            open.end
        } else {
            end.end
        };
        let span = Span {
            end: end.max(open.start.start),
            ..open.start
        };
        let mapping = matches!(open.items, Items::Mapping { .. });
        let node = self.draft.spans.close(open.mark, span, mapping);
        let value = match open.items {
            Items::Sequence(items) => Value::Array(items),
            Items::Mapping { entries, .. } => Value::Object(entries),
        };
        if self.draft.awaits_key() {
            let template = matches!(&value, Value::Object(inner) if inner.len() <= 1)
                && self
                    .text
                    .get(self.in_text(span.start)..)
                    .is_some_and(|t| t.starts_with('{'));
            self.findings.push_with(Code::KeyNotString, span, || {
                let finding = Finding::new(
                    Code::KeyNotString,
                    span,
                    if mapping {
                        "a key is a mapping"
                    } else {
                        "a key is a sequence"
                    },
                );
                if template {
                    finding.with_help(
                        "keys are strings; a template such as {{ name }} is filled in before the \
                         file is committed",
                    )
                } else {
                    finding.with_help("keys are strings")
                }
            });
            self.draft.broken = true;
        }
        self.draft.remember(span);
        self.draft.place(value, node);
        Next::Event
    }

    fn finish_document(&mut self) -> Next {
        let mut draft = std::mem::take(&mut self.draft);
        let Some((value, node)) = draft.root.take() else {
            return Next::Event;
        };
        if draft.broken {
            self.draft = draft;
            self.withhold();
            return Next::Event;
        }
        self.documents.push(Document {
            value,
            spans: draft.spans.finish(node),
            notes: draft.notes,
        });
        Next::Event
    }

    /// Drops the document that is being read; what its notes say is said without the schema.
    fn withhold(&mut self) {
        let draft = std::mem::take(&mut self.draft);
        for note in draft.notes {
            self.findings.push_admitted(note.finding);
        }
    }

    /// The place of the dash of an item that isn't written.
    fn dash_before(&self, span: Span) -> Span {
        let before = self.text.get(..self.in_text(span.start));
        if before.is_some_and(|before| before.ends_with('-')) {
            Span {
                start: span.start - 1,
                column: span.column - 1,
                ..span
            }
        } else {
            span
        }
    }

    fn in_text(&self, offset: u32) -> usize {
        offset.saturating_sub(self.base) as usize
    }

    fn written(&self, span: Span) -> &'t str {
        self.text
            .get(self.in_text(span.start)..self.in_text(span.end))
            .unwrap_or_default()
    }
}
