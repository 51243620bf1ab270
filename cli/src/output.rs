//! Where results go: `-o FORMAT[=FILE]`.

mod wrap;

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anstream::{AutoStream, ColorChoice};
use anyhow::{Context as _, bail};

use self::wrap::Wrap;
use crate::render::escape;

/// A form of results that are no report on a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// A form of a report on a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReportFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
    /// For services that keep the findings of analyses.
    Sarif,
    /// For services that show the results of tests.
    Junit,
    /// For the log of a workflow on GitHub, which shows them beside the lines of a change.
    Github,
    /// For a comment on a change, or the summary of a job.
    Markdown,
}

/// The forms that a command has.
pub(crate) trait Form: Copy + Send + Sync + 'static {
    /// Each with the name that it is asked for by.
    const ALL: &'static [(&'static str, Self)];

    /// What `--help` says of the option.
    const HELP: &'static str;

    /// Whether it is for people to read as it is.
    fn is_text(self) -> bool;
}

/// One form of results, and where it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Output<F> {
    format: F,
    /// The standard output where there is none.
    file: Option<PathBuf>,
}

/// The option `-o`.
#[derive(Debug, clap::Args)]
pub(crate) struct OutputArgs<F: Form = Format> {
    /// The form of the results, and optionally the file that they go to
    #[arg(
        short = 'o',
        long = "format",
        value_name = "FORMAT[=FILE]",
        default_value = "text",
        long_help = F::HELP
    )]
    outputs: Vec<Output<F>>,
}

// === impl Form ===

impl Form for Format {
    const ALL: &'static [(&'static str, Self)] = &[("text", Self::Text), ("json", Self::Json)];

    const HELP: &'static str = "\
The form of the results, and optionally the file that they go to

FORMAT is `text` or `json`. May be given several times, for example `-o text -o json=report.json`. \
The fields of the JSON form are only ever added to as long as its `formatVersion` stays the same.";

    fn is_text(self) -> bool {
        self == Self::Text
    }
}

impl Form for ReportFormat {
    const ALL: &'static [(&'static str, Self)] = &[
        ("text", Self::Text),
        ("json", Self::Json),
        ("sarif", Self::Sarif),
        ("junit", Self::Junit),
        ("github", Self::Github),
        ("markdown", Self::Markdown),
    ];

    const HELP: &'static str = "\
The form of the results, and optionally the file that they go to

FORMAT is one of

  text      for people
  json      for programs; `schemas/` describes it
  sarif     for code scanning (SARIF 2.1.0)
  junit     for what shows the results of tests
  github    for the log of a workflow: annotations on the lines of a change
  markdown  for a comment on a change, or the summary of a job

May be given several times, for example `-o text -o json=report.json`. The fields of the JSON form \
are only ever added to as long as its `formatVersion` stays the same.";

    fn is_text(self) -> bool {
        self == Self::Text
    }
}

// === impl Output ===

impl<F: Form> FromStr for Output<F> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, file) = match text.split_once('=') {
            Some((_, "")) => return Err("no file stands after '='".to_owned()),
            Some((name, file)) => (name, Some(file.into())),
            None => (text, None),
        };
        match F::ALL.iter().find(|(known, _)| *known == name) {
            Some((_, format)) => Ok(Self {
                format: *format,
                file,
            }),
            None => Err(refusal::<F>(name)),
        }
    }
}

/// Why a command doesn't have a form.
fn refusal<F: Form>(name: &str) -> String {
    let names: Vec<_> = F::ALL.iter().map(|(name, _)| *name).collect();
    let names = names.join(", ");
    match ReportFormat::ALL.iter().any(|(known, _)| *known == name) {
        true => format!("the format {name} makes no sense for this command, which has: {names}"),
        false => format!("the format {name:?} isn't one of: {names}"),
    }
}

// === impl OutputArgs ===

impl<F: Form> OutputArgs<F> {
    /// Writes the results in every form that was asked for.
    pub(crate) fn write(
        &self,
        mut render: impl FnMut(F, &mut dyn Write) -> io::Result<()>,
    ) -> anyhow::Result<()> {
        if self.outputs.iter().filter(|o| o.file.is_none()).count() > 1 {
            bail!("only one form of the results can go to the standard output");
        }
        for (index, output) in self.outputs.iter().enumerate() {
            let mut others = self.outputs.iter().take(index);
            if let Some(path) = &output.file
                && others.any(|other| other.file.as_ref() == Some(path))
            {
                bail!(
                    "only one form of the results can go to {}",
                    escape::text(&path.to_string_lossy())
                );
            }
        }
        // What goes to a pipe that somebody closes comes last, and files are whole whatever happens.
        let (files, pipes): (Vec<_>, Vec<_>) = self.outputs.iter().partition(|o| o.file.is_some());
        for output in files.into_iter().chain(pipes) {
            match &output.file {
                Some(path) => write_file(path, |out| render(output.format, out))
                    .with_context(|| format!("cannot write {}", path.display()))?,
                None => write_stdout(|out| match wrapped_columns() {
                    Some(columns) if output.format.is_text() => {
                        let mut out = Wrap::new(out, columns);
                        render(output.format, &mut out)?;
                        out.flush()
                    }
                    _ => render(output.format, out),
                })?,
            }
        }
        Ok(())
    }
}

/// Writes to the standard output, with colours where they are wanted.
///
/// That nobody reads it to its end is no failure.
pub(crate) fn write_stdout(
    render: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> anyhow::Result<()> {
    let raw = io::stdout();
    let choice = AutoStream::choice(&raw);
    // The buffer stands before the stream that strips the colours, so that this works on large
    // pieces too.
    let mut out = BufWriter::with_capacity(1 << 16, AutoStream::new(raw.lock(), choice));
    match render(&mut out).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("cannot write to the standard output"),
    }
}

fn write_file(
    path: &Path,
    render: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let file = AutoStream::new(File::create(path)?, ColorChoice::Never);
    let mut out = BufWriter::new(file);
    render(&mut out)?;
    out.flush()
}

/// How many columns the person at the terminal has.
pub(crate) fn columns() -> usize {
    // As wide as a reviewer's window, where nothing better is known.
    const USUAL: usize = 120;
    asked_columns().unwrap_or_else(|| {
        terminal_size::terminal_size().map_or(USUAL, |(width, _)| usize::from(width.0))
    })
}

/// The columns that text is wrapped to: on a terminal, or where somebody says how wide it is. What
/// goes to a program stays in its lines.
fn wrapped_columns() -> Option<usize> {
    asked_columns().or_else(|| io::stdout().is_terminal().then(columns))
}

/// As many as COLUMNS says.
fn asked_columns() -> Option<usize> {
    std::env::var("COLUMNS").ok()?.parse().ok()
}

/// Says something to the person at the terminal; where that can't be written, nobody listens.
macro_rules! tell {
    ($($words:tt)*) => {{
        use std::io::Write as _;
        // In one piece, so that nothing comes between.
        let line = format!($($words)*) + "\n";
        let _ = anstream::stderr().write_all(line.as_bytes());
    }};
}
pub(crate) use tell;

/// Prints a short result; that nobody reads it is no failure.
macro_rules! print {
    ($($words:tt)*) => {{
        use std::io::Write as _;
        let _ = write!(anstream::stdout(), $($words)*);
    }};
}
pub(crate) use print;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats() {
        let json = Format::Json;
        for (text, wanted) in [
            ("json", Some((json, None))),
            ("json=a=b", Some((json, Some("a=b".into())))),
            ("text", Some((Format::Text, None))),
            ("yaml", None),
            ("sarif", None),
            ("json=", None),
        ] {
            let wanted = wanted.map(|(format, file)| Output { format, file });
            assert_eq!(text.parse::<Output<Format>>().ok(), wanted, "{text}");
        }
        for (name, format) in ReportFormat::ALL {
            let output = format!("{name}=file").parse::<Output<ReportFormat>>();
            assert_eq!(output.unwrap().format, *format);
        }
    }

    #[test]
    fn what_a_command_lacks_is_told_apart_from_what_there_is_not() {
        let refused = |text: &str| text.parse::<Output<Format>>().unwrap_err();
        insta::assert_snapshot!(refused("sarif=x"), @"the format sarif makes no sense for this command, which has: text, json");
        insta::assert_snapshot!(refused("yaml"), @r#"the format "yaml" isn't one of: text, json"#);
    }
}
