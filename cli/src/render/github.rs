//! Annotations for the log of a workflow on GitHub: `::error file=..,line=..::message`.
//!
//! The runner takes each line that begins with `::` for a command, whoever wrote it. So every
//! text is escaped, and a line that isn't a command of ours begins with a word of ours.

use std::fmt::Write as _;
use std::io::{self, Write};

use super::remark::{Level, Remark};
use super::{count, escape};

/// Annotations of a level that are shown: GitHub shows no more of a step's.
const SHOWN: usize = 10;

/// Writes the most important remarks of each level, and how many there are beside them.
pub(crate) fn write(remarks: &[Remark], out: &mut dyn Write) -> io::Result<()> {
    let mut sorted: Vec<_> = remarks.iter().collect();
    sorted.sort_by(|a, b| a.importance().cmp(&b.importance()));
    let mut left_out = Vec::new();
    for level in Level::DESCENDING {
        let of_level: Vec<_> = sorted.iter().filter(|r| r.level == level).collect();
        for remark in of_level.iter().take(SHOWN) {
            writeln!(out, "{}", command(remark))?;
        }
        if let Some(more @ 1..) = of_level.len().checked_sub(SHOWN) {
            left_out.push(count(more, &format!("more {}", level.word())));
        }
    }
    match left_out.is_empty() {
        true => Ok(()),
        false => writeln!(
            out,
            "not shown as annotations: {} (`-o markdown` and `-o sarif` list them)",
            left_out.join(", ")
        ),
    }
}

/// The remark as a command, on one line.
fn command(remark: &Remark) -> String {
    let name = match remark.level {
        Level::Note => "notice",
        Level::Warning => "warning",
        Level::Error => "error",
    };
    let place = &remark.place;
    let mut command = format!("::{name} file={}", property(&file(&place.path)));
    // Without a line it isn't shown beside the change at all.
    let line = place.first_line();
    let end = place.region.map_or(line, |region| region.end_line);
    let _ = write!(command, ",line={line},endLine={end}");
    if let Some(region) = place
        .region
        .filter(|region| line == end && !region.is_empty())
    {
        // Columns count within one line only, and the last one is the last character's.
        let end = region.end_column.saturating_sub(1).max(region.column);
        let _ = write!(command, ",col={},endColumn={end}", region.column);
    }
    let title = format!("{}: {}", remark.rule.id, remark.rule.title);
    let _ = write!(command, ",title={}", property(&title));
    let _ = write!(command, "::{}", data(&remark.lines().join("\n")));
    command
}

/// The path as the runner is to know it: as it is, unless that would do something to a terminal.
fn file(path: &str) -> String {
    let is_harmless = |c: char| matches!(c, '\n' | '\r') || !escape::is_hidden(c);
    match path.chars().all(is_harmless) {
        true => fabric::diagnostic::short(path.to_owned()),
        false => escape::path(path),
    }
}

/// A command's data, escaped as the runner reads it.
fn data(text: &str) -> String {
    // In this order: what is escaped must not be escaped again.
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

/// A property's value, escaped as the runner reads it.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::render::sample;

    /// What the runner makes of a line: the command's name, its properties and its data.
    type Parsed = (String, Vec<(String, String)>, String);

    /// Reads a line as the runner does; none where it is no command.
    fn parse(line: &str) -> Option<Parsed> {
        let rest = line.trim_start().strip_prefix("::")?;
        let (head, data) = rest.split_once("::")?;
        let (name, properties) = head.split_once(' ').unwrap_or((head, ""));
        let properties = properties.trim().split(',').filter(|pair| !pair.is_empty());
        let properties = properties.filter_map(|pair| {
            let (key, value) = pair.split_once('=')?;
            let value = value
                .replace("%0D", "\r")
                .replace("%0A", "\n")
                .replace("%3A", ":")
                .replace("%2C", ",")
                .replace("%25", "%");
            Some((key.to_owned(), value))
        });
        let data = data
            .replace("%0D", "\r")
            .replace("%0A", "\n")
            .replace("%25", "%");
        Some((name.to_owned(), properties.collect(), data))
    }

    fn written(remarks: &[Remark]) -> String {
        let mut out = Vec::new();
        write(remarks, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_gravest_are_shown_and_the_rest_counted() {
        let mut remarks = Vec::new();
        for (number, level) in [(12, Level::Warning), (2, Level::Note), (11, Level::Error)] {
            for line in (1..=number).rev() {
                let mut remark = sample::remark(&format!("wrong {line}"));
                remark.level = level;
                remark.place = crate::render::remark::Place::line(&"a.yaml".into(), line);
                remarks.push(remark);
            }
        }
        let text = written(&remarks);
        let names: Vec<_> = text
            .lines()
            .filter_map(parse)
            .map(|(name, ..)| name)
            .collect();
        assert_eq!(names.iter().filter(|name| *name == "error").count(), 10);
        assert_eq!(names.iter().filter(|name| *name == "warning").count(), 10);
        assert_eq!(names.iter().filter(|name| *name == "notice").count(), 2);
        assert!(
            text.starts_with("::error file=a.yaml,line=1,endLine=1,"),
            "{text}"
        );
        let last = text.lines().last().unwrap();
        assert!(last.contains("1 more error, 2 more warnings ("), "{last}");
    }

    #[test]
    fn escapes_are_the_runners() {
        let mut remark = sample::remark("100% wrong:\n::set-output name=a::b");
        remark.place.path = "peers/a,b:c%0A\n::x/y.yaml".into();
        insta::assert_snapshot!(written(&[remark]), @r"::error file=peers/a%2Cb%3Ac%250A%0A%3A%3Ax/y.yaml,line=2,endLine=2,col=3,endColumn=6,title=WEFT0104%3A an unknown field::100%25 wrong:\n::set-output name=a::b");
    }

    proptest! {
        #![proptest_config(sample::config())]

        #[test]
        fn one_command_a_line_whatever_the_text(remark in sample::hostile_remark()) {
            let text = written(std::slice::from_ref(&remark));
            prop_assert_eq!(text.lines().count(), 1);
            // What only some readers take for a line's end isn't there either.
            let is_plain = !text.trim_end().chars().any(escape::is_hidden);
            prop_assert!(is_plain, "{}", text);
            let (name, properties, data) = parse(&text).unwrap();
            prop_assert_eq!(name, "error");
            let keys: Vec<_> = properties.iter().map(|(key, _)| key.as_str()).collect();
            prop_assert_eq!(keys, ["file", "line", "endLine", "col", "endColumn", "title"]);
            let (_, path) = &properties[0];
            let is_exact = *path == *remark.place.path;
            prop_assert!(is_exact || *path == escape::path(&remark.place.path), "{}", path);
            prop_assert_eq!(data.trim_end_matches('\n'), remark.lines().join("\n"));
        }
    }
}
