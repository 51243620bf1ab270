//! For each code what trips it, where, and its nearest neighbour that is fine.

use super::*;

/// A text, and the code, line and column of each of its findings.
type Case = (&'static str, &'static [(&'static str, u32, u32)]);

fn check(cases: &[Case]) {
    for (text, expected) in cases {
        assert_eq!(places(&read(text)), *expected, "{text:?}");
    }
}

#[test]
fn weft0001_not_utf8() {
    for (bytes, start, end, line, column) in [
        (&b"a: \xff"[..], 3, 4, 1, 4),
        (b"a: \xc3\xa9\r\nb\xc3", 8, 9, 2, 2),
        (b"\xef\xbb\xbfa\xe2\x82", 4, 6, 1, 2),
        (b"\xff\xfea\0", 0, 1, 1, 1),
        (b"\xc3\xa9\xe2\x28\xa1", 2, 3, 1, 2),
    ] {
        let parsed = parse(bytes, &Limits::default());
        assert_eq!(places(&parsed), [("WEFT0001", line, column)], "{bytes:?}");
        let span = parsed.findings[0].labels[0].0;
        assert_eq!((span.start, span.end), (start, end), "{bytes:?}");
    }
    check(&[("é: ü\n", &[])]);
}

#[test]
fn weft0002_syntax() {
    check(&[
        ("a: \"x\"\n", &[]),
        ("a: \"x\nb: 1\n", &[("WEFT0002", 1, 4)]),
        ("a: 'x\n---\nb: 1\n", &[("WEFT0002", 1, 4)]),
        ("a: 'x", &[("WEFT0002", 1, 4)]),
        ("a: [1, 2\n", &[("WEFT0002", 1, 4)]),
        ("a: {x: 1\n", &[("WEFT0002", 1, 4)]),
        ("a: }\n", &[("WEFT0002", 1, 4)]),
        ("a: b: c\n", &[("WEFT0002", 1, 5)]),
        ("a: @b\n", &[("WEFT0002", 1, 4)]),
        ("é: `b\n", &[("WEFT0002", 1, 4)]),
        ("a: - b\n", &[("WEFT0002", 1, 4)]),
        ("- a\nb: c\n", &[("WEFT0002", 2, 1)]),
        ("a: b\n c: d\n", &[("WEFT0002", 2, 3)]),
        ("x: 1\ny 2\nz: 3\n", &[("WEFT0002", 2, 1)]),
        ("a: \"b\" c\n", &[("WEFT0002", 1, 8)]),
        ("a:\n  - b\n - c\n", &[("WEFT0002", 3, 2)]),
        ("a: \"b\"#c\n", &[("WEFT0002", 1, 7)]),
        ("a: \u{1}\n", &[("WEFT0002", 1, 4)]),
        ("a: b\0\n", &[("WEFT0002", 1, 5)]),
    ]);
}

#[test]
fn weft0003_tab() {
    check(&[
        ("a:\tb\n", &[]),
        ("- \tb\n", &[]),
        ("[\n\t1\n\t]\n", &[]),
        ("{\n\t\"a\": {\n\t\t\"b\": 1\n\t}\n}\n", &[]),
        ("a: [\n\t1]\n", &[("WEFT0003", 2, 1)]),
        ("a: |\n  \tb\n", &[]),
        ("a: b\t# c\n", &[]),
        ("a: 1\n\tb: 2\n", &[("WEFT0003", 2, 1)]),
        ("a:\n\tb: 1\n", &[("WEFT0003", 2, 1)]),
        ("a:\n \tb: 1\n", &[("WEFT0003", 2, 2)]),
        ("\ta: b\n", &[("WEFT0003", 1, 1)]),
        ("a: b\n\tc\n", &[("WEFT0003", 2, 1)]),
        ("a:\n\t- b\n", &[("WEFT0003", 2, 1)]),
        ("a:\n  - b\n\t- c\n", &[("WEFT0003", 3, 1)]),
        ("a:\n  b: 1\n\tc: 2\n", &[("WEFT0003", 3, 1)]),
        ("a: 'x\n\ty'\n", &[("WEFT0003", 2, 1)]),
        ("a: |\n\tx\n", &[("WEFT0003", 2, 1)]),
        ("-\t- a\n", &[("WEFT0003", 1, 2)]),
        ("?\ta: b\n", &[("WEFT0003", 1, 2)]),
    ]);
}

#[test]
fn weft0004_byte_order_mark() {
    check(&[
        ("\u{feff}a: 1\n", &[]),
        ("a: 1\n---\n\u{feff}b: 1\n", &[("WEFT0004", 3, 1)]),
        ("a: \"é\u{feff}\"\n", &[("WEFT0004", 1, 6)]),
        ("a: b\u{feff}\n", &[("WEFT0004", 1, 5)]),
        ("\u{feff}\u{feff}a: 1\n", &[("WEFT0004", 1, 1)]),
    ]);
}

#[test]
fn weft0005_anchor() {
    check(&[
        ("a: \"&b\"\nc: '*d'\n\"<<\": e\nf: a & b * c\n", &[]),
        ("a: &b 1\n", &[("WEFT0005", 1, 4)]),
        ("&a b: 1\n", &[("WEFT0005", 1, 1)]),
        ("&a\nb: 1\n", &[("WEFT0005", 1, 1)]),
        (
            "a: &b 1\nc: *b\n",
            &[("WEFT0005", 1, 4), ("WEFT0005", 2, 4)],
        ),
        ("host: *.example.com\n", &[("WEFT0005", 1, 7)]),
        ("a: *\n", &[("WEFT0005", 1, 4)]),
        ("a: &\n", &[("WEFT0005", 1, 4)]),
        ("<<: *b\n", &[("WEFT0005", 1, 1)]),
        ("<<: {a: 1}\n", &[("WEFT0005", 1, 1)]),
        ("? *b\n: c\n", &[("WEFT0005", 1, 3)]),
        ("a: &b [*b]\n", &[("WEFT0005", 1, 4), ("WEFT0005", 1, 8)]),
    ]);
}

#[test]
fn weft0006_tag() {
    check(&[
        ("a: b!\nc: '!d'\n", &[]),
        ("a: !!str 5\n", &[("WEFT0006", 1, 4)]),
        ("a: ! 5\n", &[("WEFT0006", 1, 4)]),
        ("a: !\n", &[("WEFT0006", 1, 4)]),
        ("a: !b {c: 1}\n", &[("WEFT0006", 1, 4)]),
        ("!!map\na: 1\n", &[("WEFT0006", 1, 1)]),
        ("!!str a: 1\n", &[("WEFT0006", 1, 1)]),
        ("a: !<tag:yaml.org,2002:str> b\n", &[("WEFT0006", 1, 4)]),
        ("a: !b!c d\n", &[("WEFT0006", 1, 4)]),
    ]);
}

#[test]
fn weft0007_directive() {
    check(&[
        ("%YAML 1.2\n---\na: 1\n", &[]),
        (
            "%YAML 1.2 # why\n---\na: 1\n...\n%YAML 1.2\n---\nb: 1\n",
            &[],
        ),
        ("a: 50%\nb: |\n  %TAG\n", &[]),
        ("%YAML 1.1\n---\na: 1\n", &[("WEFT0007", 1, 1)]),
        (
            "# é\r\n%TAG ! tag:x,2000:\r\n---\na: 1\n",
            &[("WEFT0007", 2, 1)],
        ),
        ("\u{feff}%FOO bar\n---\na: 1\n", &[("WEFT0007", 1, 1)]),
        (
            "a: |\n  %x\n...\n\n%FOO\n%BAR\n--- b\n",
            &[("WEFT0007", 5, 1), ("WEFT0007", 6, 1)],
        ),
        ("%YAML 2.0\n---\na: 1\n---\nb: 1\n", &[("WEFT0007", 1, 1)]),
    ]);
}

#[test]
fn weft0008_duplicate_key() {
    check(&[
        ("a: {b: 1}\nc: {b: 1}\n", &[]),
        ("a: 1\n'a': 2\n", &[("WEFT0008", 2, 1)]),
        (
            "{a: 1, b: 2, a: 3, a: 4}",
            &[("WEFT0008", 1, 14), ("WEFT0008", 1, 20)],
        ),
        (
            "1: a\n\"1\": b\n",
            &[("WEFT0009", 1, 1), ("WEFT0008", 2, 1)],
        ),
    ]);
    let parsed = read("x:\n  é: 1\n  b: 2\n  é:\n    c: 3\n");
    let labels: Vec<_> = parsed.findings[0]
        .labels
        .iter()
        .map(|(span, text)| (span.line, span.column, text.as_str()))
        .collect();
    assert_eq!(labels, [(4, 3, "again here"), (2, 3, "first here")]);
    assert_eq!(values(&parsed), [&json!({"x": {"é": 1, "b": 2}})]);
}

#[test]
fn weft0009_key_not_string() {
    check(&[
        ("'12': a\n\"true\": b\n\"\": c\n", &[]),
        ("12: a\n", &[("WEFT0009", 1, 1)]),
        ("-1.5: a\n", &[("WEFT0009", 1, 1)]),
        ("a:\n  true: b\n", &[("WEFT0009", 2, 3)]),
        ("~: a\n", &[("WEFT0009", 1, 1)]),
        ("null: a\n", &[("WEFT0009", 1, 1)]),
        (": a\n", &[("WEFT0009", 1, 1)]),
        ("[a]: b\n", &[("WEFT0009", 1, 1)]),
        ("? {a: b}\n: c\n", &[("WEFT0009", 1, 3)]),
        ("? - a\n: b\n", &[("WEFT0009", 1, 3)]),
        ("host: {{ name }}\n", &[("WEFT0009", 1, 8)]),
    ]);
    let parsed = read("host: {{ name }}\n");
    let help = parsed.findings[0].help.as_deref().unwrap_or_default();
    assert!(help.contains("template"), "{help}");
}

#[test]
fn weft0010_file_too_large() {
    let limits = Limits {
        file_bytes: 8,
        ..Limits::default()
    };
    let parsed = parse(b"a: 12345", &limits);
    assert_eq!(places(&parsed), []);
    let parsed = parse(b"a: 123456", &limits);
    assert_eq!(places(&parsed), [("WEFT0010", 0, 0)]);
    assert!(parsed.documents.is_empty());
}

#[test]
fn weft0011_too_deep() {
    let flow = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
    let block = |levels: usize| "- ".repeat(levels) + "a";
    for deep in [flow, block] {
        assert_eq!(places(&read(&deep(64))), []);
    }
    assert_eq!(places(&read(&flow(65))), [("WEFT0011", 1, 65)]);
    assert_eq!(places(&read(&block(65))), [("WEFT0011", 1, 129)]);
    // Both kinds count together.
    let mixed = "- ".repeat(40) + &flow(24);
    assert_eq!(places(&read(&mixed)), []);
    let mixed = "- ".repeat(40) + &flow(25);
    assert_eq!(places(&read(&mixed)), [("WEFT0011", 1, 105)]);
    // Other documents of the file are read.
    let parsed = read(&format!("a: 1\n---\n{}\n---\nb: 1\n", flow(10_000)));
    assert_eq!(places(&parsed), [("WEFT0011", 3, 65)]);
    assert_eq!(parsed.documents.len(), 2);
    // Whatever the caller allows, no value can exhaust a stack.
    let limits = Limits {
        depth: usize::MAX,
        ..Limits::default()
    };
    assert_eq!(parse(flow(256).as_bytes(), &limits).findings, []);
    let parsed = parse(flow(257).as_bytes(), &limits);
    assert_eq!(places(&parsed), [("WEFT0011", 1, 257)]);
}

#[test]
fn weft0012_too_many_documents() {
    let limits = Limits {
        documents: 2,
        ..Limits::default()
    };
    let parsed = parse(b"a: 1\n---\n---\nb: 2\n---\n", &limits);
    assert_eq!(places(&parsed), []);
    let parsed = parse(b"a: 1\n---\nb: 2\n---\nc: 3\n---\nd: [\n", &limits);
    assert_eq!(places(&parsed), [("WEFT0012", 5, 1)]);
    assert_eq!(parsed.documents.len(), 2);
}

#[test]
fn weft0013_and_weft0014_are_left_to_the_schema() {
    let parsed = read("a: 0755\nb: 1.5\nc: 80\n");
    assert_eq!(places(&parsed), []);
    let codes: Vec<_> = parsed.documents[0]
        .notes
        .iter()
        .map(|note| (note.finding.code.as_str(), note.pointer.as_str()))
        .collect();
    assert_eq!(codes, [("WEFT0013", "/a"), ("WEFT0014", "/b")]);
}

#[test]
fn weft0015_ambiguous_key() {
    check(&[
        ("'on': 1\nonly: 2\n", &[]),
        ("on: 1\n", &[("WEFT0015", 1, 1)]),
        (
            "a: {y: 1, No: 2}\n",
            &[("WEFT0015", 1, 5), ("WEFT0015", 1, 11)],
        ),
        ("0755: a\n", &[("WEFT0015", 1, 1)]),
        ("2026-01-01: a\n", &[("WEFT0015", 1, 1)]),
    ]);
    let parsed = read("on: 1\n");
    assert_eq!(values(&parsed), [&json!({"on": 1})]);
    assert_eq!(parsed.findings[0].effect, Effect::Warn);
}

#[test]
fn weft0017_line_separator() {
    check(&[
        ("a: \"\\N\\L\\P\"\n", &[]),
        ("a: b\u{2028}\n", &[("WEFT0017", 1, 5)]),
        ("# a\u{2029}b: 1\n", &[("WEFT0017", 1, 4)]),
        ("a: 1\nb: '\u{85}'\n", &[("WEFT0017", 2, 5)]),
    ]);
}

#[test]
fn weft0016_too_many_nodes() {
    let limits = Limits {
        nodes: 5,
        ..Limits::default()
    };
    // Keys are values too.
    assert_eq!(places(&parse(b"a: [1, 2]\n", &limits)), []);
    let parsed = parse(b"a: [1, 2, 3]\n---\nb: [\n", &limits);
    assert_eq!(places(&parsed), [("WEFT0016", 1, 11)]);
    assert!(parsed.documents.is_empty());
}

#[test]
fn every_finding_that_can_be_mended_says_how() {
    let text = "\
a: &x 1
b: *x
c: !y z
d: 1
d: 2
1: e
on: f
g: \"h
i: j
";
    for finding in read(text).findings {
        assert!(finding.help.is_some(), "{finding:?}");
    }
}

#[test]
fn messages_show_odd_text_escaped_and_short() {
    let parsed = read(&format!(
        "\"\\e[31m{0}\": 1\n\"\\e[31m{0}\": 2\n",
        "k".repeat(500)
    ));
    let message = &parsed.findings[0].message;
    assert!(message.starts_with("the key `\\u{1b}[31mkkk"), "{message}");
    assert!(message.chars().count() < 150, "{message}");
}
