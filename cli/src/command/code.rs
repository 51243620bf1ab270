use std::io::{self, Write};

use anstyle::Style;
use fabric::diagnostic::{self, Effect, nearest};
use serde_json::json;

use crate::exit;
use crate::failure::Hint as _;
use crate::output::{Format, OutputArgs};
use crate::render::escape;

/// Explain a diagnostic's code
///
/// Every diagnostic carries a code that never changes its meaning. This tells what the code is
/// about, what it does, and how it is mended; without a code it lists all of them.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  weft code WEFT0205
  weft code
  weft code -o json")]
pub(crate) struct Code {
    /// The code, such as WEFT0112
    #[arg(value_name = "CODE")]
    code: Option<String>,

    #[command(flatten)]
    output: OutputArgs,
}

impl Code {
    /// Prints the explanation, or the list.
    pub(crate) fn run(&self) -> anyhow::Result<u8> {
        let codes = match &self.code {
            Some(text) => &[find(text)?],
            None => diagnostic::Code::ALL,
        };
        let is_list = self.code.is_none();
        self.output.write(|format, out| match format {
            Format::Json => write_json(codes, out),
            Format::Text if is_list => codes
                .iter()
                .try_for_each(|code| writeln!(out, "{code}  {}", code.title())),
            Format::Text => codes.iter().try_for_each(|code| write_text(*code, out)),
        })?;
        Ok(exit::DONE)
    }
}

fn find(text: &str) -> anyhow::Result<diagnostic::Code> {
    let upper = text.to_ascii_uppercase();
    let known = || diagnostic::Code::ALL.iter().map(|code| code.as_str());
    upper
        .parse()
        .map_err(|()| anyhow::anyhow!("there is no code {text:?}"))
        .hint(|| match nearest(&upper, known()) {
            Some(near) => format!("did you mean {near}? `weft code` lists all codes"),
            None => "`weft code` lists all codes".to_owned(),
        })
}

fn write_text(code: diagnostic::Code, out: &mut dyn Write) -> io::Result<()> {
    let bold = Style::new().bold();
    writeln!(out, "{bold}{code}{bold:#}: {}", code.title())?;
    writeln!(out)?;
    writeln!(out, "{}", code.explanation())?;
    writeln!(out)?;
    writeln!(out, "Effect: {}", effect(code.effect()))?;
    let Some(example) = code.example() else {
        return Ok(());
    };
    for (words, text) in [("Wrong", example.wrong), ("Right", example.right)] {
        writeln!(out, "\n{words}, {}:\n", example.path)?;
        for line in text.lines() {
            writeln!(out, "    {}", escape::text(line))?;
        }
    }
    Ok(())
}

fn effect(effect: Effect) -> &'static str {
    match effect {
        Effect::Note => "note; worth knowing, changes nothing",
        Effect::Warn => "warn; probably not what was meant, changes nothing",
        Effect::Fail => {
            "fail; `weft validate` fails, and only the part that it concerns is dropped"
        }
        Effect::Freeze => {
            "freeze; its unit, or for a shared file the fabric, stays at the last good commit"
        }
    }
}

fn write_json(codes: &[diagnostic::Code], out: &mut dyn Write) -> io::Result<()> {
    let codes: Vec<_> = codes
        .iter()
        .map(|code| {
            json!({
                "code": code,
                "effect": code.effect(),
                "title": code.title(),
                "explanation": code.explanation(),
                "example": code.example(),
            })
        })
        .collect();
    serde_json::to_writer_pretty(&mut *out, &json!({"formatVersion": 1, "codes": codes}))?;
    writeln!(out)
}
