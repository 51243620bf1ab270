use super::*;

fn read(text: &str) -> Parsed {
    parse(text.as_bytes(), &Limits::default())
}

#[test]
fn a_document_has_a_value_and_places() {
    let parsed = read("a: 1\nb:\n- x\n- {c/d: é y}\n");
    assert_eq!(parsed.findings, []);
    let document = &parsed.documents[0];
    assert_eq!(
        document.value,
        serde_json::json!({"a": 1, "b": ["x", {"c/d": "é y"}]})
    );
    let at = |span: Span| (span.line, span.column);
    assert_eq!(at(document.spans.value("/b/1/c~1d")), (4, 9));
    assert_eq!(document.spans.key("/b/1/c~1d").map(at), Some((4, 4)));
}
