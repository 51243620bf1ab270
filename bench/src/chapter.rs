//! The places of a document that are written by the benchmark.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

const END: &str = "<!-- end of what bench/run wrote -->";

/// Puts a text between the marks of a place; nothing else of the document changes.
pub fn write(document: &Path, place: &str, text: &str) -> Result<()> {
    let shown = document.display();
    let before = fs::read_to_string(document).with_context(|| format!("reading {shown}"))?;
    let after = replace(&before, place, text)
        .with_context(|| format!("{shown} has no place marked {:?}", mark(place)))?;
    fs::write(document, after).with_context(|| format!("writing {shown}"))
}

fn mark(place: &str) -> String {
    format!("<!-- written by bench/run {place} -->")
}

fn replace(document: &str, place: &str, text: &str) -> Option<String> {
    let mark = mark(place);
    let (before, rest) = document.split_once(&mark)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{mark}\n{}\n{END}{after}", text.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stands_between_the_marks_is_replaced() {
        let document = format!(
            "# Title\n\n{}\nold\n{END}\n\nmore\n\n{}\nother\n{END}\n",
            mark("--write"),
            mark("--scale --write")
        );
        let once = replace(&document, "--write", "\nnew\n").unwrap();
        assert_eq!(once, document.replace("\nold\n", "\n\nnew\n"));
        assert_eq!(replace(&once, "--write", "\nnew\n").unwrap(), once);
        let other = replace(&once, "--scale --write", "another").unwrap();
        assert_eq!(other, once.replace("\nother\n", "\nanother\n"));
        assert_eq!(replace(&document, "--elsewhere", "new"), None);
        assert_eq!(replace(&mark("--write"), "--write", "new"), None);
    }
}
