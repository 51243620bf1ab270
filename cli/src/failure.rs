//! How a failure of the world, or of usage, is told.

use std::error::Error;
use std::fmt;

use anstyle::{AnsiColor, Style};

use crate::render::escape;

/// An error, and what certainly helps against it.
#[derive(Debug)]
struct Hinted {
    error: anyhow::Error,
    hint: String,
}

/// Adds a hint to an error.
pub(crate) trait Hint<T> {
    /// The same result, whose error says what certainly helps against it.
    fn hint(self, hint: impl FnOnce() -> String) -> anyhow::Result<T>;
}

// === impl Hinted ===

impl fmt::Display for Hinted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl Error for Hinted {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error.source()
    }
}

// === impl Result ===

impl<T, E: Into<anyhow::Error>> Hint<T> for Result<T, E> {
    fn hint(self, hint: impl FnOnce() -> String) -> anyhow::Result<T> {
        self.map_err(|error| {
            let error = error.into();
            let hint = hint();
            anyhow::Error::new(Hinted { error, hint })
        })
    }
}

/// Tells the error, what caused it, and what helps.
pub(crate) fn print(error: &anyhow::Error) {
    let mut stderr = anstream::stderr().lock();
    // Where not even this can be written, the exit code alone has to tell.
    let _ = write(&mut stderr, error);
}

fn write(out: &mut dyn std::io::Write, error: &anyhow::Error) -> std::io::Result<()> {
    let red = AnsiColor::Red.on_default().bold();
    let cyan = AnsiColor::Cyan.on_default().bold();
    let bold = Style::new().bold();
    let mut last = escape::text(&error.to_string()).into_owned();
    writeln!(out, "{red}error{red:#}: {last}")?;
    for cause in error.chain().skip(1) {
        // What an API server says is told once, and in its words.
        if let Some(kube::Error::Api(status)) = cause.downcast_ref() {
            let text = escape::text(&status.message);
            writeln!(out, "  {bold}caused by{bold:#}: {text}")?;
            break;
        }
        let text = escape::text(&cause.to_string()).into_owned();
        // Some errors repeat their source's words in their own.
        if !last.ends_with(&text) {
            writeln!(out, "  {bold}caused by{bold:#}: {text}")?;
        }
        last = text;
    }
    for cause in error.chain() {
        if let Some(Hinted { hint, .. }) = cause.downcast_ref() {
            writeln!(out, "{cyan}hint{cyan:#}: {hint}")?;
        }
        if is_other_owner(cause) {
            writeln!(
                out,
                "{cyan}hint{cyan:#}: the repository belongs to another user; where you trust it, \
                 say so with `git config --global --add safe.directory PATH`"
            )?;
        }
    }
    Ok(())
}

fn is_other_owner(cause: &(dyn Error + 'static)) -> bool {
    cause
        .downcast_ref::<git2::Error>()
        .is_some_and(|error| error.code() == git2::ErrorCode::Owner)
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn an_error_tells_its_causes_and_the_hint() {
        let error = std::fs::read("/nonexistent/\u{202e}key.pem")
            .context("cannot read the key")
            .hint(|| "make it with `weft create`".to_owned())
            .context("cannot start")
            .unwrap_err();
        let mut told = Vec::new();
        write(&mut told, &error).unwrap();
        let told = anstream::adapter::strip_bytes(&told).into_vec();
        insta::assert_snapshot!(String::from_utf8(told).unwrap(), @r"
        error: cannot start
          caused by: cannot read the key
          caused by: No such file or directory (os error 2)
        hint: make it with `weft create`
        ");
    }
}
