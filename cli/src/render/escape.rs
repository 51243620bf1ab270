//! Text of others, made fit for a terminal.
//!
//! A repository's names and values may hold anything: escape sequences that take a terminal over,
//! line breaks that forge lines of output, directions that show text in another order than it has.

use std::borrow::Cow;

use fabric::diagnostic::short;

/// What begins a command to GitHub's runner wherever it stands in a line of a step's output (the old
/// form of `::command::`, which counts at the beginning of a line alone).
pub(crate) const RUNNER_COMMAND: &str = "##[";

/// The text with every character escaped that doesn't show as what it is, or does something.
pub(crate) fn text(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_hidden) && !text.contains(RUNNER_COMMAND) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        push(&mut escaped, c);
    }
    Cow::Owned(escaped)
}

/// A path, escaped, and without its middle where nobody reads all of it.
pub(crate) fn path(path: &str) -> String {
    short(text(path).into_owned())
}

/// Appends a character, escaped where it doesn't show as what it is.
pub(crate) fn push(out: &mut String, c: char) {
    match c {
        // The text before it may be the beginning of a runner's command.
        '[' if out.ends_with("##") => out.push_str("\\u{5b}"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        c if is_hidden(c) => out.extend(c.escape_unicode()),
        c => out.push(c),
    }
}

/// Whether a character shows as something else than itself: as nothing, as a movement of the
/// cursor, or as a change of the direction of the text around it.
pub(crate) fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            // Zero width, directions, line and paragraph separators, invisible operators.
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}' | '\u{fffe}' | '\u{ffff}'
            // Musical controls, tags, further variation selectors, private use.
            | '\u{1d173}'..='\u{1d17a}' | '\u{e000}'..='\u{f8ff}' | '\u{e0000}'..='\u{10ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_misleads_is_escaped_and_the_rest_stays() {
        for (raw, shown) in [
            ("peers/østen/peer.yaml", "peers/østen/peer.yaml"),
            ("a\u{1b}[31mb", "a\\u{1b}[31mb"),
            ("a\nerror: forged", "a\\nerror: forged"),
            ("key\u{202e}lmay.", "key\\u{202e}lmay."),
            ("a\u{200b}b\u{feff}", "a\\u{200b}b\\u{feff}"),
            ("\u{9b}2J", "\\u{9b}2J"),
            ("a [b] #[c] ##[group]d", "a [b] #[c] ##\\u{5b}group]d"),
            ("###[error]", "###\\u{5b}error]"),
        ] {
            assert_eq!(text(raw), shown);
        }
    }
}
