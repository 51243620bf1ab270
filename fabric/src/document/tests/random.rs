//! Properties over generated values and texts.

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use super::*;

/// Any JSON value, with strings that YAML and JSON can both hold unescaped.
fn any_value() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        "[ -;=-~]{0,12}", // without `<`: the writer leaves the key `<<` plain
        "[a-zé\u{1f600}\\n\\t\"'#:,&*!|>%@`{}\\[\\]-]{0,12}",
        proptest::sample::select(vec![
            "",
            "~",
            "null",
            "no",
            "on",
            "y",
            "0755",
            "1e3",
            "80",
            "80.0",
            "-",
            "?",
            ":",
            "=",
            "---",
            "...",
            "- a",
            "a: b",
            " a",
            "a ",
            "a #b",
            "0x1F",
            "2026-01-01",
            "12:30",
            ".inf",
            "true",
            "\r\n",
            "\n\n a\n",
        ])
        .prop_map(str::to_owned),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_filter_map("finite", |number| {
            serde_json::Number::from_f64(number).map(Value::Number)
        }),
        text.clone().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 64, 8, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..8).prop_map(Value::from),
            btree_map(text.clone(), inner, 0..8)
                .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

/// The one document of a text that must be fine but for warnings.
fn reread(text: &str) -> Result<Value, TestCaseError> {
    let parsed = read(text);
    let grave = parsed
        .findings
        .iter()
        .find(|finding| finding.effect > Effect::Warn);
    prop_assert!(grave.is_none(), "{grave:?} in {text}");
    prop_assert_eq!(parsed.documents.len(), 1, "{}", text);
    Ok(parsed.documents[0].value.clone())
}

/// Every part of a value has its place inside its parent's.
fn check_places(value: &Value, pointer: &str, spans: &Spans) -> Result<(), TestCaseError> {
    let place = spans.value(pointer);
    let children: Vec<(String, &Value)> = match value {
        Value::Array(items) => items
            .iter()
            .enumerate()
            .map(|(index, item)| (index.to_string(), item))
            .collect(),
        Value::Object(entries) => entries
            .iter()
            .map(|(key, item)| (key.replace('~', "~0").replace('/', "~1"), item))
            .collect(),
        _ => return Ok(()),
    };
    for (name, child) in children {
        let inner = format!("{pointer}/{name}");
        let span = spans.value(&inner);
        prop_assert!(
            place.start <= span.start && span.end <= place.end,
            "{}",
            inner
        );
        prop_assert_eq!(spans.key(&inner).is_some(), value.is_object(), "{}", inner);
        check_places(child, &inner, spans)?;
    }
    Ok(())
}

/// Text that is nearly YAML.
fn any_text() -> impl Strategy<Value = String> {
    let part = proptest::sample::select(vec![
        "a",
        "b: ",
        "- ",
        "\n",
        "\n  ",
        "\n    ",
        "\n---\n",
        "\n...\n",
        ": ",
        "? ",
        "[",
        "]",
        "{",
        "}",
        ", ",
        "\"",
        "'",
        "|\n",
        ">-\n",
        "#c\n",
        " # c\n",
        "&x ",
        "*x",
        "!!str ",
        "! ",
        "%YAML 1.1\n",
        "\t",
        "\r\n",
        "\r",
        "é",
        "\u{feff}",
        "0755",
        "1.5",
        "on",
        "<<: ",
        "12: ",
        "\\",
        "\\n",
        "\0",
        "@",
        "`",
        "~",
    ]);
    vec(part, 0..60).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn json_written_as_yaml_reads_back(value in any_value()) {
        let text = serde_yaml::to_string(&value).unwrap();
        // A root that is nothing at all would be no document; it is written as `null`.
        prop_assert_eq!(reread(&text)?, value, "{}", text);
    }

    #[test]
    fn json_text_reads_back(value in any_value()) {
        prop_assert_eq!(reread(&serde_json::to_string(&value).unwrap())?, value.clone());
        prop_assert_eq!(reread(&serde_json::to_string_pretty(&value).unwrap())?, value);
    }

    #[test]
    fn every_part_of_a_value_has_a_place(value in any_value()) {
        for text in [serde_json::to_string(&value).unwrap(), serde_yaml::to_string(&value).unwrap()] {
            let parsed = read(&text);
            check_places(&value, "", &parsed.documents[0].spans)?;
        }
    }

    #[test]
    fn any_bytes_are_answered(bytes in vec(any::<u8>(), 0..300)) {
        prop_assert!(parse(&bytes, &Limits::default()).findings.len() < 2000);
    }

    #[test]
    fn any_text_is_answered_and_twice_the_same(text in any_text()) {
        let first = read(&text);
        let second = read(&text);
        prop_assert_eq!(&first.findings, &second.findings);
        prop_assert_eq!(values(&first), values(&second));
        let notes = first.documents.iter().flat_map(|document| {
            document.notes.iter().map(|note| {
                let same = document.spans.value(&note.pointer) == note.span;
                (same && document.value.pointer(&note.pointer).is_some(), note.span)
            })
        });
        let findings = first.findings.iter().flat_map(|finding| &finding.labels);
        let spans = notes.chain(findings.map(|(span, _)| (true, *span)));
        for (fits, span) in spans {
            prop_assert!(fits, "{:?}", span);
            let before = &text[..span.start as usize];
            let before = before.strip_prefix('\u{feff}').unwrap_or(before);
            let unified = before.replace("\r\n", "\n").replace('\r', "\n");
            let line = 1 + unified.matches('\n').count();
            let column = 1 + unified.rsplit('\n').next().unwrap_or_default().chars().count();
            prop_assert_eq!(span.line as usize, line);
            // The parser doesn't count a mark that begins a line, and the mark is reported.
            let begins_a_line = unified.starts_with('\u{feff}') || unified.contains("\n\u{feff}");
            if !unified.ends_with('\u{feff}') && !begins_a_line {
                prop_assert_eq!(span.column as usize, column);
            }
            prop_assert!(text.get(span.start as usize..span.end as usize).is_some());
        }
    }

    #[test]
    fn a_mistake_hides_no_other_document(text in any_text()) {
        // A text that opens no document by itself, between two that are fine. A directive in its
        // midst, behind certain other mistakes, makes the parser give the rest up.
        let mut text = text.replace('%', "");
        while text.contains("---") || text.contains("...") {
            text = text.replace("---", "").replace("...", "");
        }
        let parsed = read(&format!("first: 1\n---\n{text}\n---\nlast: 1\n"));
        let values = values(&parsed);
        prop_assert_eq!(values.first(), Some(&&json!({"first": 1})));
        prop_assert_eq!(values.last(), Some(&&json!({"last": 1})), "{:?}", parsed.findings);
    }
}
