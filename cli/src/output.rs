//! Where results go: `-o FORMAT[=FILE]`.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anstream::{AutoStream, ColorChoice};
use anyhow::{Context as _, bail};

/// A form of results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// One form of results, and where it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Output {
    format: Format,
    /// The standard output where there is none.
    file: Option<PathBuf>,
}

/// The option `-o`.
#[derive(Debug, clap::Args)]
pub(crate) struct OutputArgs {
    /// The form of the results, and optionally the file that they go to
    ///
    /// FORMAT is `text` or `json`. May be given several times, for example `-o text -o
    /// json=report.json`. The fields of the JSON form are only ever added to as long as its
    /// `formatVersion` stays the same.
    #[arg(
        short = 'o',
        long = "format",
        value_name = "FORMAT[=FILE]",
        default_value = "text"
    )]
    outputs: Vec<Output>,
}

// === impl Output ===

impl FromStr for Output {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (format, file) = match text.split_once('=') {
            Some((_, "")) => return Err("no file stands after '='".to_owned()),
            Some((format, file)) => (format, Some(file.into())),
            None => (text, None),
        };
        let format = match format {
            "text" => Format::Text,
            "json" => Format::Json,
            other => return Err(format!("the format {other:?} isn't one of: text, json")),
        };
        Ok(Self { format, file })
    }
}

// === impl OutputArgs ===

impl OutputArgs {
    /// Writes the results in every form that was asked for.
    pub(crate) fn write(
        &self,
        mut render: impl FnMut(Format, &mut dyn Write) -> io::Result<()>,
    ) -> anyhow::Result<()> {
        if self.outputs.iter().filter(|o| o.file.is_none()).count() > 1 {
            bail!("only one form of the results can go to the standard output");
        }
        for output in &self.outputs {
            match &output.file {
                Some(path) => write_file(path, |out| render(output.format, out))
                    .with_context(|| format!("cannot write {}", path.display()))?,
                None => write_stdout(|out| render(output.format, out))?,
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
    let known = std::env::var("COLUMNS")
        .ok()
        .and_then(|text| text.parse().ok());
    known.unwrap_or_else(|| {
        terminal_size::terminal_size().map_or(USUAL, |(width, _)| usize::from(width.0))
    })
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
            ("json=", None),
        ] {
            let wanted = wanted.map(|(format, file)| Output { format, file });
            assert_eq!(text.parse::<Output>().ok(), wanted, "{text}");
        }
    }
}
