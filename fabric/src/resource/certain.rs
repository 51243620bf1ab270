//! Mends of which nobody can doubt that they were meant.
//!
//! Each looks at the text before it speaks: where that isn't laid out as expected there is no fix,
//! and a person reads the help instead.

use super::draft::Draft;
use crate::diagnostic::{Edit, Fix, Span};

/// Quotes the plain scalar at a place.
pub(super) fn quoted(text: &[u8], span: Span) -> Option<Fix> {
    let written = written(text, span)?;
    // What is quoted already, or spread over lines, isn't this simple.
    if written.starts_with(['"', '\'', '|', '>']) {
        return None;
    }
    Fix::quote(span, written)
}

/// Writes a whole number without its quotes.
pub(super) fn unquoted_number(text: &[u8], span: Span, value: &str) -> Option<Fix> {
    let written = written(text, span)?;
    let canonical = value
        .parse::<i64>()
        .is_ok_and(|number| number.to_string() == value);
    let quoted = ['"', '\''].into_iter().any(|quote| {
        let inner = written
            .strip_prefix(quote)
            .and_then(|rest| rest.strip_suffix(quote));
        inner == Some(value)
    });
    (canonical && quoted).then(|| Fix::replace(span, value))
}

/// Writes a word that differs in nothing but capitals as it is meant.
pub(super) fn other_case(text: &[u8], span: Span, value: &str, meant: &str) -> Option<Fix> {
    let written = written(text, span)?;
    let only_case = value != meant && value.eq_ignore_ascii_case(meant);
    let start = written.find(value)?;
    // Plain, or between quotes that stay.
    let around = written.len() - value.len();
    if !only_case || !matches!((start, around), (0, 0) | (1, 2)) {
        return None;
    }
    Some(Fix::replace(span, written.replacen(value, meant, 1)))
}

/// Removes whole entries of block mappings: their lines, with what is nested in them.
pub(super) fn without(draft: &Draft<'_>, pointers: &[&str]) -> Option<Fix> {
    let mut edits = Vec::with_capacity(pointers.len());
    for pointer in pointers {
        let (parent, _) = pointer.rsplit_once('/')?;
        let siblings = draft.entries(parent);
        // A mapping of nothing else would be gone with it.
        let mut others = siblings.filter(|(other, ..)| !pointers.contains(&other.as_str()));
        others.next()?;
        edits.push(Edit {
            span: lines_of(draft, pointer)?,
            replacement: String::new(),
        });
    }
    edits.sort_by_key(|edit| edit.span);
    join_neighbours(&mut edits);
    Some(Fix { edits })
}

/// Writes `namespace: default` after the name at a place.
pub(super) fn namespace(draft: &Draft<'_>, name: Span) -> Option<Fix> {
    // Without a name there is another mistake to mend first.
    draft.at("/metadata/name")?;
    let key = draft.key_span("/metadata/name");
    let before = before_on_line(draft.text, key)?;
    let flow = before.contains(['{', ',']) || before_is_flow(draft, key);
    if key.line != name.line || written(draft.text, name)?.contains('\n') {
        return None;
    }
    if flow {
        let place = Span {
            start: name.end,
            ..name
        };
        return Some(Fix::replace(place, ", namespace: default"));
    }
    if !before.chars().all(|c| matches!(c, ' ' | '-')) {
        return None;
    }
    let (_, end) = line_end(draft.text, name.end)?;
    let place = Span {
        start: end,
        end,
        ..name
    };
    let indentation = " ".repeat(before.len());
    Some(Fix::replace(
        place,
        format!("\n{indentation}namespace: default"),
    ))
}

/// Whether the mapping that a key stands in is written in braces that begin on an earlier line.
fn before_is_flow(draft: &Draft<'_>, _key: Span) -> bool {
    let metadata = draft.value_span("/metadata");
    written(draft.text, metadata).is_some_and(|text| text.starts_with('{'))
}

/// The lines of an entry of a block mapping, whole, where nothing else stands on them.
fn lines_of(draft: &Draft<'_>, pointer: &str) -> Option<Span> {
    let key = draft.key_span(pointer);
    let value = draft.value_span(pointer);
    let before = before_on_line(draft.text, key)?;
    if !before.chars().all(|c| c == ' ') {
        return None;
    }
    let (rest, _) = line_end(draft.text, value.end.max(key.end))?;
    let rest = rest.trim_start_matches(' ');
    // After a value that isn't written stands its colon.
    let rest = rest.strip_prefix(':').unwrap_or(rest).trim();
    if !(rest.is_empty() || rest.starts_with('#')) {
        return None;
    }
    let (_, end) = line_end(draft.text, value.end.max(key.end))?;
    let newline = draft.text.get(end as usize..)?;
    let width = match newline {
        [b'\r', b'\n', ..] => 2,
        [b'\n' | b'\r', ..] => 1,
        _ => 0,
    };
    Some(Span {
        start: key.start - before.len() as u32,
        end: end + width,
        line: key.line,
        column: 1,
    })
}

/// Makes one edit of removals that follow each other without a gap.
fn join_neighbours(edits: &mut Vec<Edit>) {
    edits.dedup_by(|next, edit| {
        let joined = edit.span.end == next.span.start;
        if joined {
            edit.span.end = next.span.end;
        }
        joined
    });
}

fn written(text: &[u8], span: Span) -> Option<&str> {
    std::str::from_utf8(text.get(span.start as usize..span.end as usize)?).ok()
}

/// What stands before a place on its line.
fn before_on_line(text: &[u8], span: Span) -> Option<&str> {
    let before = text.get(..span.start as usize)?;
    let start = before
        .iter()
        .rposition(|byte| matches!(byte, b'\n' | b'\r'))
        .map_or(0, |newline| newline + 1);
    std::str::from_utf8(before.get(start..)?).ok()
}

/// What stands between a place and the end of its line, and where that end is.
fn line_end(text: &[u8], from: u32) -> Option<(&str, u32)> {
    let after = text.get(from as usize..)?;
    let width = after
        .iter()
        .position(|byte| matches!(byte, b'\n' | b'\r'))
        .unwrap_or(after.len());
    let rest = std::str::from_utf8(after.get(..width)?).ok()?;
    Some((rest, from + width as u32))
}

#[cfg(test)]
mod tests {
    use crate::diagnostic::apply;
    use crate::document::Limits;
    use crate::resource::read;

    /// The text after all fixes of one reading, and how many findings carried one.
    fn mend(text: &str) -> (String, usize) {
        let file = read(text.as_bytes(), &Limits::default());
        let fixes: Vec<_> = file
            .findings
            .iter()
            .filter_map(|f| f.fix.as_ref())
            .collect();
        let (mended, _) = apply(text.as_bytes(), &fixes);
        (String::from_utf8(mended).unwrap(), fixes.len())
    }

    fn export(metadata: &str, spec: &str) -> String {
        format!(
            "apiVersion: clusterlink.net/v1alpha1\nkind: Export\nmetadata:\n{metadata}spec:\n{spec}"
        )
    }

    const METADATA: &str = "  name: a\n  namespace: b\n";
    const SPEC: &str = "  port: 80\n";

    #[test]
    fn certain_mistakes_are_mended() {
        let labels = |text: &str| export(&format!("{METADATA}  labels:\n{text}"), SPEC);
        for (before, after) in [
            // A string is wanted.
            (labels("    a: 80 # why\n"), labels("    a: \"80\" # why\n")),
            (labels("    a: True\n"), labels("    a: \"True\"\n")),
            (labels("    a: 1.50\n"), labels("    a: \"1.50\"\n")),
            (labels("    a: no\n"), labels("    a: \"no\"\n")),
            (labels("    on: x\n"), labels("    \"on\": x\n")),
            (labels("    12: x\n"), labels("    \"12\": x\n")),
            // A number is wanted.
            (export(METADATA, "  port: \"80\"\n"), export(METADATA, SPEC)),
            (export(METADATA, "  port: '80'\n"), export(METADATA, SPEC)),
            // Capitals.
            (export(METADATA, "  Port: 80\n"), export(METADATA, SPEC)),
            (
                export(METADATA, SPEC).replace("Export", "export"),
                export(METADATA, SPEC),
            ),
            (
                export(METADATA, SPEC).replace("Export", "'EXPORT'"),
                export(METADATA, SPEC).replace("Export", "'Export'"),
            ),
            // A namespace is missing.
            (
                export("  name: a # the first\n", SPEC),
                export("  name: a # the first\n  namespace: default\n", SPEC),
            ),
            (
                export("", SPEC).replace("metadata:", "metadata: {name: a}"),
                export("", SPEC).replace("metadata:", "metadata: {name: a, namespace: default}"),
            ),
            // What only a server writes.
            (
                export(
                    &format!(
                        "{METADATA}  uid: x # what\n  # kept\n  resourceVersion: '1'\n  generation: 1\n"
                    ),
                    &format!("{SPEC}status:\n  conditions:\n  - a: b\n"),
                ),
                export(&format!("{METADATA}  # kept\n"), SPEC),
            ),
        ] {
            let (mended, fixes) = mend(&before);
            assert!(fixes > 0, "{before}");
            assert_eq!(mended, after, "{before}");
            assert_eq!(mend(&after).1, 0, "{after}");
        }
    }

    #[test]
    fn what_isnt_certain_is_left() {
        for text in [
            // Not this number, or perhaps another one.
            export(METADATA, "  port: \"0755\"\n"),
            export(METADATA, "  port: 0755\n"),
            export(METADATA, "  port: ' 80'\n"),
            export(METADATA, "  port: 80.0\n"),
            // Another word.
            export(METADATA, "  prot: 80\n"),
            // Both are there.
            export(METADATA, "  Port: 81\n  port: 80\n"),
            // A mapping would be left without entries, or the line isn't its own.
            export("  uid: x\n", SPEC),
            export("", SPEC).replace("metadata:", "metadata: {name: a, namespace: b, uid: c}"),
            export(&format!("{METADATA}  labels:\n    a:\n"), SPEC),
            export(&format!("{METADATA}  labels:\n    ~: a\n"), SPEC),
        ] {
            assert_eq!(mend(&text), (text.clone(), 0), "{text}");
        }
    }
}
