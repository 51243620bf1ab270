//! Formatting never changes what a text says: over the corpus, and over generated texts with
//! comments.

#![expect(
    clippy::disallowed_methods,
    reason = "the tests read their own corpus from disk"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use fabric::diagnostic::Code;
use fabric::document::{self, Limits};
use fabric::format::{Refused, format};
use fabric::resource;
use proptest::collection::vec;
use proptest::prelude::*;

/// What a text says, told without the formatter's own parser: its values, and what Weft finds wrong
/// with it but for the quotes.
fn meaning(text: &str) -> (Vec<serde_json::Value>, BTreeMap<String, usize>) {
    let documents = document::parse(text.as_bytes(), &Limits::default()).documents;
    let values = documents
        .into_iter()
        .map(|document| document.value)
        .collect();
    let mut findings = BTreeMap::new();
    for finding in resource::read(text.as_bytes(), &Limits::default()).findings {
        if !matches!(finding.code, Code::AmbiguousScalar | Code::AmbiguousKey) {
            let told = format!("{} {} {:?}", finding.code, finding.message, finding.help);
            *findings.entry(told).or_default() += 1;
        }
    }
    (values, findings)
}

fn assert_same(before: &str, after: &str) {
    assert_eq!(meaning(before), meaning(after), "{before}\n=>\n{after}");
    let again = format(after.as_bytes(), &Limits::default());
    assert_eq!(again.as_deref(), Ok(after), "twice isn't once");
    assert!(!after.contains('\t') || before.contains('\t'));
    for line in after.lines() {
        assert!(line == line.trim_end() || before.contains(line), "{line:?}");
    }
}

#[test]
fn the_corpus_keeps_its_meaning() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = [
        "tests/corpus/good",
        "tests/corpus/bad",
        "../fabric-repo-template/policies",
    ];
    let mut formatted = 0;
    for folder in folders {
        for entry in fs::read_dir(top.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let Ok(text) = fs::read_to_string(&path) else {
                continue;
            };
            if path.extension().is_none_or(|extension| extension != "yaml") {
                continue;
            }
            match format(text.as_bytes(), &Limits::default()) {
                Ok(after) => {
                    assert_same(&text, &after);
                    formatted += 1;
                }
                Err(Refused::Unreadable(findings)) => assert!(!findings.is_empty()),
                Err(Refused::Uncertain) => panic!("{} can't be formatted", path.display()),
            }
        }
    }
    assert!(formatted > 50, "{formatted}");
}

/// Writes one document of the API by a row of decisions: order of keys, indentation, quotes, flow
/// style, comments. Each comment says where it belongs.
struct Writer<'a> {
    decisions: std::slice::Iter<'a, u8>,
    text: String,
    /// Comments that stand right above a key's line, by the key's own name.
    above: Vec<(String, String)>,
    /// Comments at the end of a key's line.
    beside: Vec<(String, String)>,
    comments: usize,
}

impl Writer<'_> {
    fn choose(&mut self, among: u8) -> u8 {
        self.decisions.next().copied().unwrap_or_default() % among
    }

    fn comment(&mut self) -> String {
        self.comments += 1;
        format!("# c{} of: {{many}} - \"things\"", self.comments)
    }

    fn scalar(&mut self, value: &str) -> String {
        match self.choose(4) {
            0 => format!("'{value}'"),
            1 => format!("\"{value}\""),
            _ => value.to_owned(),
        }
    }

    /// A mapping of unique keys; `first` is what its first line begins with already.
    fn mapping(&mut self, indentation: usize, mut entries: Vec<(&str, Node)>, first: bool) {
        let length = entries.len() as u8;
        let turn = self.choose(length.max(1));
        entries.rotate_left(turn.into());
        if self.choose(2) == 1 {
            entries.reverse();
        }
        for (index, (key, node)) in entries.into_iter().enumerate() {
            let inline = first && index == 0;
            // A key with a value of its own, which no other line has.
            let name = format!("{key}:");
            if !inline {
                match self.choose(6) {
                    0 if index > 0 || indentation > 0 => {
                        let comment = self.comment();
                        self.line(indentation, &comment);
                        self.above.push((comment, name.clone()));
                    }
                    1 => self.text.push('\n'),
                    _ => {}
                }
                self.text.push_str(&" ".repeat(indentation));
            }
            self.text.push_str(&name);
            self.node(indentation, &name, node);
        }
    }

    fn node(&mut self, indentation: usize, name: &str, node: Node) {
        let deeper = indentation + 1 + usize::from(self.choose(4));
        match node {
            Node::Plain(value) => {
                let blanks = " ".repeat(1 + usize::from(self.choose(3)));
                let value = self.scalar(value);
                self.text.push_str(&blanks);
                self.text.push_str(&value);
                self.end_of_line(name);
                // Of something that could stand below.
                if self.choose(12) == 0 {
                    let comment = self.comment();
                    self.line(indentation + 2, &comment);
                }
            }
            Node::Number(value) => {
                self.text.push(' ');
                self.text.push_str(value);
                self.end_of_line(name);
            }
            Node::Text(value) => {
                let style = self.choose(2);
                self.text.push_str([" |\n", " >-\n"][usize::from(style)]);
                for line in value.lines() {
                    self.line(deeper, line);
                }
            }
            Node::Mapping(entries)
                if self.choose(5) == 0 && entries.iter().all(|e| e.1.is_leaf()) =>
            {
                let blank = if self.choose(2) == 0 { " " } else { "" };
                self.text.push_str(" {");
                for (index, (key, node)) in entries.into_iter().enumerate() {
                    if index > 0 {
                        self.text.push_str(&format!(",{blank}"));
                    }
                    let value = match node {
                        Node::Plain(value) => self.scalar(value),
                        Node::Number(value) => value.to_owned(),
                        _ => unreachable!("a leaf"),
                    };
                    self.text.push_str(&format!("{blank}{key}: {value}"));
                }
                self.text.push_str(&format!("{blank}}}"));
                self.end_of_line(name);
            }
            Node::Mapping(entries) => {
                self.end_of_line(name);
                self.mapping(deeper, entries, false);
                if self.choose(8) == 0 {
                    let comment = self.comment();
                    self.line(deeper, &comment);
                }
            }
            Node::Sequence(items) => {
                self.end_of_line(name);
                let column = indentation + usize::from(self.choose(4));
                for entries in items {
                    if self.choose(5) == 0 {
                        let comment = self.comment();
                        self.line(column, &comment);
                    }
                    let blanks = 1 + usize::from(self.choose(3));
                    self.text.push_str(&" ".repeat(column));
                    self.text.push('-');
                    self.text.push_str(&" ".repeat(blanks));
                    self.mapping(column + 1 + blanks, entries, true);
                }
            }
        }
    }

    fn end_of_line(&mut self, name: &str) {
        match self.choose(6) {
            0 => {
                let comment = self.comment();
                self.text.push_str("  ");
                self.text.push_str(&comment);
                self.beside.push((comment, name.to_owned()));
            }
            1 => self.text.push_str("   "),
            _ => {}
        }
        self.text.push('\n');
    }

    fn line(&mut self, indentation: usize, text: &str) {
        self.text.push_str(&" ".repeat(indentation));
        self.text.push_str(text);
        self.text.push('\n');
    }
}

enum Node {
    Plain(&'static str),
    Number(&'static str),
    Text(&'static str),
    Mapping(Vec<(&'static str, Self)>),
    Sequence(Vec<Vec<(&'static str, Self)>>),
}

impl Node {
    fn is_leaf(&self) -> bool {
        matches!(self, Self::Plain(_) | Self::Number(_))
    }
}

/// Objects in which no key stands twice, so that a comment's neighbour can be told by its name.
fn object(kind: u8) -> Vec<(&'static str, Node)> {
    use Node::{Mapping, Number, Plain, Sequence, Text};
    let metadata = Mapping(vec![
        ("name", Plain("ledger")),
        ("namespace", Plain("shop")),
        (
            "labels",
            Mapping(vec![("app", Plain("till")), ("since", Plain("2026-01-01"))]),
        ),
        (
            "annotations",
            Mapping(vec![(
                "example.org/note",
                Text("a note\n  of lines\nand more\n"),
            )]),
        ),
    ]);
    let (kind, spec) = match kind % 3 {
        0 => (
            "Export",
            Mapping(vec![
                ("host", Plain("ledger.shop.internal")),
                ("port", Number("80")),
            ]),
        ),
        1 => (
            "Import",
            Mapping(vec![
                ("port", Number("80")),
                ("lbScheme", Plain("random")),
                (
                    "sources",
                    Sequence(vec![vec![
                        ("peer", Plain("east")),
                        ("exportName", Plain("ledger")),
                        ("exportNamespace", Plain("shop")),
                    ]]),
                ),
            ]),
        ),
        _ => (
            "AccessPolicy",
            Mapping(vec![
                ("action", Plain("allow")),
                (
                    "from",
                    Sequence(vec![vec![(
                        "workloadSelector",
                        Mapping(vec![("matchLabels", Mapping(vec![("x", Plain("no"))]))]),
                    )]]),
                ),
                (
                    "to",
                    Sequence(vec![vec![("workloadSelectors", Number("1"))]]),
                ),
            ]),
        ),
    };
    vec![
        ("apiVersion", Plain("clusterlink.net/v1alpha1")),
        ("kind", Plain(kind)),
        ("metadata", metadata),
        ("spec", spec),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn generated_texts_keep_their_meaning_and_comments(
        decisions in vec(any::<u8>(), 0..120),
        kind in any::<u8>(),
        head in any::<bool>(),
    ) {
        let mut writer = Writer {
            decisions: decisions.iter(),
            text: String::new(),
            above: Vec::new(),
            beside: Vec::new(),
            comments: 0,
        };
        if head {
            writer.text.push_str("# The head.\n\n");
        }
        writer.mapping(0, object(kind), false);
        let before = writer.text.clone();
        let after = match format(before.as_bytes(), &Limits::default()) {
            Ok(after) => after,
            Err(refused) => panic!("{refused:?}\n{before}"),
        };
        assert_same(&before, &after);

        let lines: Vec<&str> = after.lines().collect();
        if head {
            prop_assert_eq!(lines.first(), Some(&"# The head."));
        }
        let at = |comment: &str| lines.iter().position(|line| line.contains(comment)).unwrap();
        for number in 1..=writer.comments {
            at(&format!("# c{number} of"));
        }
        for (comment, key) in &writer.beside {
            let line = lines[at(comment)];
            prop_assert!(line.contains(key), "{comment} isn't beside {key} any more\n{before}\n=>\n{after}");
        }
        for (comment, key) in &writer.above {
            let below = lines[at(comment) + 1..].iter().find(|line| !line.trim().starts_with('#'));
            let is_there = below.is_some_and(|line| line.trim_start_matches([' ', '-']).starts_with(key.as_str()));
            prop_assert!(is_there, "{comment} isn't above {key} any more\n{before}\n=>\n{after}");
        }
        // The API's order.
        let order: Vec<_> = ["apiVersion:", "kind:", "metadata:", "spec:"]
            .iter()
            .map(|key| lines.iter().position(|line| line.starts_with(key)).unwrap())
            .collect();
        prop_assert!(order.is_sorted(), "{after}");
    }

    #[test]
    fn any_text_is_refused_or_says_the_same(text in "[a-c:#\\-\\[\\]{},'\"|>?&* \n\t\r]{0,40}") {
        if let Ok(after) = format(text.as_bytes(), &Limits::default()) {
            let again = format(after.as_bytes(), &Limits::default());
            prop_assert_eq!(again.as_deref(), Ok(after.as_str()), "{:?}", text);
        }
    }
}
