//! What must hold for any bytes that stand where a file of the repository should.
//!
//! The fuzz targets compile this file, too.

use fabric::diagnostic::{Finding, Span};
use fabric::document::{Limits, Spans, parse};
use fabric::resource;
use fabric::secret::find_private_keys;
use serde_json::Value;

/// Any bytes read as YAML: no panic, the same answer twice, and places that lie inside the text.
pub(crate) fn document(bytes: &[u8]) {
    let parsed = parse(bytes, &Limits::default());
    let again = parse(bytes, &Limits::default());
    assert_eq!(parsed.findings, again.findings);
    assert_eq!(parsed.documents.len(), again.documents.len());
    for finding in &parsed.findings {
        assert!(!finding.labels.is_empty());
        for (span, _) in &finding.labels {
            check(*span, bytes);
        }
    }
    for (document, twin) in parsed.documents.iter().zip(&again.documents) {
        assert_eq!(document.value, twin.value);
        walk(&document.value, &mut String::new(), &document.spans, bytes);
        for note in &document.notes {
            check(note.span, bytes);
            assert!(document.value.pointer(&note.pointer).is_some());
            assert_eq!(document.spans.value(&note.pointer), note.span);
        }
    }
}

/// Any bytes read as objects: no panic, the same answer twice, and places that lie inside.
pub(crate) fn objects(bytes: &[u8]) {
    let file = resource::read(bytes, &Limits::default());
    lie_inside(&file.findings, bytes);
    let again = resource::read(bytes, &Limits::default());
    assert_eq!(file.findings, again.findings);
}

/// Any bytes searched for private keys: no panic, and places that lie inside the bytes.
pub(crate) fn secrets(bytes: &[u8]) {
    let findings = find_private_keys(bytes);
    assert!(findings.iter().all(|finding| !finding.shows_source));
    lie_inside(&findings, bytes);
}

fn lie_inside(findings: &[Finding], bytes: &[u8]) {
    for finding in findings {
        assert!(!finding.labels.is_empty());
        for (span, _) in &finding.labels {
            assert!(span.start <= span.end && span.end as usize <= bytes.len());
        }
    }
}

/// Every part of the value has a place in the text, inside that of its parent.
fn walk(value: &Value, pointer: &mut String, spans: &Spans, bytes: &[u8]) {
    let place = spans.value(pointer);
    check(place, bytes);
    let length = pointer.len();
    let mut child = |name: &str, child: &Value| {
        pointer.push('/');
        pointer.push_str(&name.replace('~', "~0").replace('/', "~1"));
        let inner = spans.value(pointer);
        assert!(place.start <= inner.start && inner.end <= place.end);
        walk(child, pointer, spans, bytes);
        pointer.truncate(length);
    };
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                child(&index.to_string(), item);
            }
        }
        Value::Object(entries) => {
            for (key, entry) in entries {
                child(key, entry);
            }
        }
        _ => {}
    }
}

/// A place starts on a character, and its line and column are those of its first byte.
fn check(span: Span, bytes: &[u8]) {
    if span == Span::FILE {
        return;
    }
    let (start, end) = (span.start as usize, span.end as usize);
    assert!(start <= end && end <= bytes.len(), "{span:?}");
    let before = std::str::from_utf8(&bytes[..start]).expect("a place starts on a character");
    let before = before.strip_prefix('\u{feff}').unwrap_or(before);
    let unified = before.replace("\r\n", "\n").replace('\r', "\n");
    let line = unified.matches('\n').count() + 1;
    assert_eq!(span.line as usize, line, "{span:?}");
    // The parser doesn't count a byte order mark that begins a line; the mark itself is reported.
    let before = unified.rsplit('\n').next().unwrap_or_default();
    if !before.starts_with('\u{feff}') {
        assert_eq!(span.column as usize, before.chars().count() + 1, "{span:?}");
    }
}
