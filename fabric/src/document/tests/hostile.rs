//! Texts that were made to hurt. That they take linear time is measured elsewhere; here it shows in
//! the suite's duration only.

use super::*;

const LARGE: usize = 1 << 16;

fn filled(unit: &str) -> String {
    unit.repeat(LARGE / unit.len())
}

#[test]
fn one_character_many_thousand_times_is_answered() {
    for unit in [
        "[",
        "{",
        "\"",
        "'",
        "- ",
        "? ",
        ": ",
        "&a ",
        "*a ",
        "!a ",
        "%",
        ",",
        "]",
        "[a: ",
        "{? ",
        "---\n[\n",
        "---\n\"\n",
        "a: {{ x }}\n",
        "\r",
        "\t",
        "#",
        "\u{feff}",
        "\0",
        "| ",
        "> ",
        "@",
        "`",
    ] {
        let parsed = read(&filled(unit));
        // A few hundred of each code at most, whatever the text.
        assert!(parsed.findings.len() < 2000, "{unit:?}");
    }
}

#[test]
fn nesting_by_steps_is_too_deep() {
    let steps: String = (0..700).map(|level| " ".repeat(level) + "a:\n").collect();
    assert_eq!(places(&read(&steps)), [("WEFT0011", 65, 65)]);
}

#[test]
fn an_alias_bomb_is_never_expanded() {
    let mut text = "a0: &a0 [x, x, x]\n".to_owned();
    for level in 1..30 {
        let before = level - 1;
        text += &format!("a{level}: &a{level} [*a{before}, *a{before}, *a{before}]\n");
    }
    let parsed = read(&text);
    assert!(parsed.documents.is_empty());
    assert_eq!(parsed.findings.len(), 30 + 29 * 3);
    assert!(
        parsed
            .findings
            .iter()
            .all(|finding| finding.code == Code::Anchor)
    );
}

#[test]
fn more_findings_than_anybody_reads_are_counted() {
    let parsed = read(&"a: 1\n".repeat(1000));
    assert_eq!(parsed.findings.len(), 257);
    let last = &parsed.findings[256];
    assert_eq!(last.code, Code::DuplicateKey);
    assert_eq!(
        last.message,
        "743 more of this kind in the file are not listed"
    );
    assert_eq!(last.labels[0].0.line, 258);
    // A code that comes late isn't hidden by another's flood.
    let parsed = read(&("a: 1\n".repeat(1000) + "b: !c d\n"));
    assert!(
        parsed
            .findings
            .iter()
            .any(|finding| finding.code == Code::Tag)
    );
}

#[test]
fn long_pointers_of_many_notes_stay_small() {
    let text = format!("? {}\n: [{}]\n", "k".repeat(1 << 18), "1.5, ".repeat(200));
    let parsed = read(&text);
    let document = &parsed.documents[0];
    let bytes: usize = document.notes.iter().map(|note| note.pointer.len()).sum();
    assert!(bytes <= 1 << 22);
    assert_eq!(document.notes.len() + parsed.findings.len(), 200);
    assert!(!document.notes.is_empty());
}

#[test]
fn many_keys_are_found_again() {
    let text: String = (0..20_000)
        .map(|index| format!("k{index}: {index}\n"))
        .collect();
    let parsed = read(&text);
    let spans = &parsed.documents[0].spans;
    for index in 0..20_000_u32 {
        assert_eq!(spans.value(&format!("/k{index}")).line, index + 1);
    }
}
