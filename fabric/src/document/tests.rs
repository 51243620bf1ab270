use serde_json::json;

use super::*;
use crate::diagnostic::Effect;

mod codes;
mod hostile;
mod random;

fn read(text: &str) -> Parsed {
    parse(text.as_bytes(), &Limits::default())
}

/// Code, line and column of each finding.
fn places(parsed: &Parsed) -> Vec<(&'static str, u32, u32)> {
    let place = |finding: &Finding| {
        let span = finding.labels[0].0;
        (finding.code.as_str(), span.line, span.column)
    };
    parsed.findings.iter().map(place).collect()
}

fn values(parsed: &Parsed) -> Vec<&Value> {
    parsed
        .documents
        .iter()
        .map(|document| &document.value)
        .collect()
}

#[test]
fn every_part_has_its_place() {
    let text = "\
# comment
apiVersion: v1
metadata:
  name: x   # comment
  labels:
    a/b~c: \"q\"
    empty:
    tilde: ~
spec:
  list:
  - a
  - {p: 80, q: [1, 2 ]}
  -
  - - é
    - z
  text: |
    hello

    world

last: üx é
";
    let parsed = read(text);
    assert_eq!(parsed.findings, []);
    let spans = &parsed.documents[0].spans;
    for (pointer, line, column, written, key) in [
        ("/apiVersion", 2, 13, "v1", Some((2, 1))),
        ("/metadata/name", 4, 9, "x", Some((4, 3))),
        ("/metadata/labels/a~1b~0c", 6, 12, "\"q\"", Some((6, 5))),
        ("/metadata/labels/empty", 7, 5, "empty", Some((7, 5))),
        ("/metadata/labels/tilde", 8, 12, "~", Some((8, 5))),
        ("/spec/list/0", 11, 5, "a", None),
        ("/spec/list/1", 12, 5, "{p: 80, q: [1, 2 ]}", None),
        ("/spec/list/1/p", 12, 9, "80", Some((12, 6))),
        ("/spec/list/1/q", 12, 16, "[1, 2 ]", Some((12, 13))),
        ("/spec/list/1/q/1", 12, 20, "2", None),
        ("/spec/list/2", 13, 3, "-", None),
        ("/spec/list/3", 14, 5, "- é\n    - z", None),
        ("/spec/list/3/0", 14, 7, "é", None),
        ("/spec/text", 17, 5, "hello\n\n    world", Some((16, 3))),
        ("/last", 21, 7, "üx é", Some((21, 1))),
        // What isn't there has the place of its nearest parent, and no key.
        ("/metadata/name/x/y", 4, 9, "x", None),
        (
            "/spec/list/9",
            11,
            3,
            "- a\n  - {p: 80, q: [1, 2 ]}\n  -\n  - - é\n    - z",
            None,
        ),
        ("/spec/list/1/q/01", 12, 16, "[1, 2 ]", None),
        ("/spec/list/1/q/+1", 12, 16, "[1, 2 ]", None),
    ] {
        let span = spans.value(pointer);
        let found = &text[span.start as usize..span.end as usize];
        let expected = (line, column, written);
        // An indented list begins at its first item.
        if pointer == "/spec/list/9" {
            assert_eq!(span.line, line, "{pointer}");
        } else {
            assert_eq!((span.line, span.column, found), expected, "{pointer}");
        }
        let found = spans.key(pointer).map(|key| (key.line, key.column));
        assert_eq!(found, key, "{pointer}");
    }
    assert_eq!((spans.value("").line, spans.value("").column), (2, 1));
    assert_eq!(spans.key(""), None);
    let keys: Vec<_> = spans.keys("/metadata/labels").map(|(key, _)| key).collect();
    assert_eq!(keys, ["a/b~c", "empty", "tilde"]);
    assert_eq!(spans.keys("/spec/list").count(), 0);
    assert_eq!(spans.keys("/nowhere").count(), 0);
}

#[test]
fn keys_keep_the_order_of_the_text() {
    let parsed = read("z: 1\na: 2\nm: 3\n");
    let Value::Object(entries) = &parsed.documents[0].value else {
        panic!("not a mapping");
    };
    assert_eq!(entries.keys().collect::<Vec<_>>(), ["z", "a", "m"]);
}

#[test]
fn plain_scalars_are_read_by_the_table() {
    for (text, value) in [
        ("80", json!(80)),
        ("-1", json!(-1)),
        ("0", json!(0)),
        ("9223372036854775808", json!(9_223_372_036_854_775_808_u64)),
        ("-9223372036854775808", json!(i64::MIN)),
        ("true", json!(true)),
        ("True", json!(true)),
        ("FALSE", json!(false)),
        ("~", json!(null)),
        ("null", json!(null)),
        ("NULL", json!(null)),
        ("", json!(null)),
        ("tRUE", json!("tRUE")),
        ("abc", json!("abc")),
        ("10.0.0.1", json!("10.0.0.1")),
        ("10.0.0.0/24", json!("10.0.0.0/24")),
        ("1.2.3", json!("1.2.3")),
        ("90s", json!("90s")),
        ("66%", json!("66%")),
        ("1-2", json!("1-2")),
        ("0x", json!("0x")),
        ("0xg", json!("0xg")),
        ("1e", json!("1e")),
        ("-", json!([null])),
        ("--", json!("--")),
        (".", json!(".")),
        ("..", json!("..")),
        ("1:", json!({"1": null})),
        ("::1", json!("::1")),
        ("fe80::1", json!("fe80::1")),
        ("2001:db8::1", json!("2001:db8::1")),
        ("12:99", json!("12:99")),
        ("2026-13", json!("2026-13")),
        ("2026-01-01x", json!("2026-01-01x")),
        ("nope", json!("nope")),
        ("yEs", json!("yEs")),
        ("'80'", json!("80")),
        ("\"no\"", json!("no")),
        ("|\n  80", json!("80\n")),
        (">-\n  80", json!("80")),
    ] {
        let source = format!("a:\n  {text}\n");
        let parsed = read(&source);
        assert_eq!(values(&parsed), [&json!({"a": value})], "{text}");
        assert_eq!(parsed.documents[0].notes, [], "{text}");
    }
}

#[test]
fn scalars_that_tools_read_differently_are_noted() {
    for text in [
        "0755",
        "0x1F",
        "0X1f",
        "0o17",
        "0b101",
        "1_000",
        "+80",
        "-0",
        "00",
        "08",
        "-012",
        ".5",
        "5.",
        "+1.5",
        "01.5",
        "1_0.5",
        "1.e3",
        "-.5e3",
        "no",
        "No",
        "NO",
        "n",
        "N",
        "y",
        "Y",
        "yes",
        "on",
        "On",
        "off",
        "OFF",
        ".inf",
        "-.Inf",
        "+.INF",
        ".nan",
        ".NaN",
        "12:30:45",
        "22:22",
        "-1:30",
        "190:20:30.15",
        "2026-01-01",
        "2026-1-1",
        "2026-01-01T12:30:45Z",
        "2026-01-01 12:30:45.5 +01:00",
        "2026-01-01t1:30:45-5",
        "1e999",
        "18446744073709551616",
        "-9223372036854775809",
        "=",
    ] {
        let source = format!("a:\n  b/c: {text}\n");
        let parsed = read(&source);
        assert_eq!(parsed.findings, [], "{text}");
        let document = &parsed.documents[0];
        assert_eq!(document.value, json!({"a": {"b/c": text}}), "{text}");
        let [note] = &document.notes[..] else {
            panic!("{text}: {:?}", document.notes);
        };
        assert_eq!((note.span.line, note.span.column), (2, 8), "{text}");
        assert_eq!(note.pointer, "/a/b~1c");
        assert_eq!(note.span, document.spans.value(&note.pointer));
        assert_eq!(note.finding.code, Code::AmbiguousScalar, "{text}");
        assert_eq!(note.finding.effect, Effect::Warn);
        assert_eq!(note.finding.help, Some(format!("quote it: \"{text}\"")));
    }
}

#[test]
fn decimal_numbers_are_noted() {
    for (text, value) in [
        ("80.0", 80.0),
        ("1e3", 1000.0),
        ("1E+3", 1000.0),
        ("-1.5e-3", -0.0015),
        ("0.1", 0.1),
        ("-0.0", -0.0),
    ] {
        let parsed = read(&format!("- {text}"));
        assert_eq!(parsed.findings, [], "{text}");
        let document = &parsed.documents[0];
        assert_eq!(document.value, json!([value]), "{text}");
        let [note] = &document.notes[..] else {
            panic!("{text}: {:?}", document.notes);
        };
        assert_eq!(note.pointer, "/0");
        assert_eq!((note.span.line, note.span.column), (1, 3));
        assert_eq!(note.finding.code, Code::DecimalNumber);
        assert_eq!(note.finding.effect, Effect::Freeze);
    }
}

#[test]
fn files_without_a_document_are_fine() {
    for text in [
        "",
        "\n\n",
        "# comment\n",
        "\u{feff}",
        "---\n",
        "---\n---\n# x\n---\n...\n",
        "\u{feff}# x",
        " \t\n",
    ] {
        let parsed = read(text);
        assert_eq!(values(&parsed), [&json!(null); 0], "{text:?}");
        assert_eq!(parsed.findings, [], "{text:?}");
    }
}

#[test]
fn empty_documents_are_skipped() {
    let parsed = read("---\n---\na: 1\n---\n# nothing\n---\nb: 2\n...\n---\n");
    assert_eq!(values(&parsed), [&json!({"a": 1}), &json!({"b": 2})]);
    assert_eq!(parsed.findings, []);
}

#[test]
fn a_written_null_is_a_document() {
    assert_eq!(values(&read("--- ~\n---\nnull\n")), [&json!(null); 2]);
}

#[test]
fn line_breaks_of_all_kinds_count() {
    for newline in ["\n", "\r\n", "\r"] {
        let text = ["# x", "a: é 1", "b:", "  c: |", "    x", "  d: 0755"].join(newline);
        let parsed = read(&text);
        let note = &parsed.documents[0].notes[0];
        assert_eq!((note.span.line, note.span.column), (6, 6), "{newline:?}");
        assert_eq!(parsed.documents[0].value["b"]["c"], json!("x\n"));
    }
}

#[test]
fn a_byte_order_mark_at_the_start_moves_nothing() {
    let parsed = read("\u{feff}a: 0755");
    let span = parsed.documents[0].notes[0].span;
    assert_eq!(
        (span.start, span.end, span.line, span.column),
        (6, 10, 1, 4)
    );
}

#[test]
fn more_comments_than_the_parser_would_hold_are_fine() {
    let text = format!("{}a: 1\n{0}b:\n{0}- 1\n{0}", "# licence\n".repeat(500));
    assert_eq!(read(&text).findings, []);
}

#[test]
fn one_file_yields_all_its_errors() {
    let text = "\
a: &x 1
a: 2
b: \"\\q\"
---
ok: 1
---
c: [1, 2
---
12: *x
---
ok: 2
";
    let parsed = read(text);
    assert_eq!(
        places(&parsed),
        [
            ("WEFT0005", 1, 4),
            ("WEFT0008", 2, 1),
            ("WEFT0002", 3, 4),
            ("WEFT0002", 7, 4),
            ("WEFT0009", 9, 1),
            ("WEFT0005", 9, 5),
        ]
    );
    assert_eq!(values(&parsed), [&json!({"ok": 1}), &json!({"ok": 2})]);
}

#[test]
fn a_document_with_a_tag_an_anchor_or_a_twin_is_still_read() {
    let parsed = read("a: !!str &x b\nc: 1\nc: {d: 1.5}\n");
    assert_eq!(values(&parsed), [&json!({"a": "b", "c": 1})]);
    // The note inside the dropped twin has no pointer, so it is said at once.
    assert_eq!(
        places(&parsed),
        [
            ("WEFT0006", 1, 4),
            ("WEFT0005", 1, 10),
            ("WEFT0008", 3, 1),
            ("WEFT0014", 3, 8),
        ]
    );
}

#[test]
fn what_was_noted_in_an_unreadable_document_is_said_at_once() {
    let parsed = read("a: 1.5\nb: [\n");
    assert_eq!(places(&parsed), [("WEFT0014", 1, 4), ("WEFT0002", 2, 4)]);
}
