//! The one form of a fabric's YAML: same meaning, same comments, other layout.
//!
//! Layout is `pretty_yaml`'s, which keeps comments. Around it stand what it doesn't know: the
//! order of the API's keys, quotes, and comments that are indented below a value of one line.
//! Whatever these do, the result is read again and compared: a text that wouldn't say the same is
//! refused.

mod comments;
mod order;
mod quotes;

use std::collections::BTreeMap;

use pretty_yaml::config::{FormatOptions, LanguageOptions, LayoutOptions, LineBreak, Quotes};

use crate::diagnostic::{Code, Effect, Finding};
use crate::document::{self, Limits};
use crate::resource;
use comments::Comments;

/// Why a text isn't formatted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It can't be read as YAML; what is wrong with it.
    Unreadable(Vec<Finding>),
    /// No form of it was found that surely says the same.
    Uncertain,
}

/// Times that a text is formatted until it stays as it is. One is nearly always enough; quotes that
/// only fit once the layout is mended take another.
const ROUNDS: usize = 4;

/// The columns that a flow sequence or mapping may fill before it is broken into lines.
const WIDTH: usize = 100;

/// Formats a file's text; formatting the result once more changes nothing.
pub fn format(bytes: &[u8], limits: &Limits) -> Result<String, Refused> {
    let before = Meaning::of(bytes, limits)?;
    let text = std::str::from_utf8(bytes).map_err(|_| Refused::Uncertain)?;
    let mut text = text
        .strip_prefix('\u{feff}')
        .unwrap_or(text)
        .replace("\r\n", "\n");
    // A lone carriage return ends a line too, but nearly no tool knows.
    if text.contains('\r') {
        return Err(Refused::Uncertain);
    }
    if text.is_empty() {
        return Ok(text);
    }
    for _ in 0..ROUNDS {
        let next = round(&text, limits).ok_or(Refused::Uncertain)?;
        if next == text {
            return match Meaning::of(text.as_bytes(), limits) {
                Ok(after) if after == before => Ok(text),
                _ => Err(Refused::Uncertain),
            };
        }
        text = next;
    }
    Err(Refused::Uncertain)
}

/// All steps once.
fn round(text: &str, limits: &Limits) -> Option<String> {
    let text = quotes::add(text, limits)?;
    let text = quotes::remove(&text)?;
    let text = order::order(&text, limits);
    let placed = Comments::of(&text)?;
    let laid_out = pretty_yaml::format_text(&text, &options()).ok()?;
    placed.restore(&laid_out)
}

fn options() -> FormatOptions {
    FormatOptions {
        layout: LayoutOptions {
            print_width: WIDTH,
            indent_width: 2,
            line_break: LineBreak::Lf,
        },
        language: LanguageOptions {
            quotes: Quotes::PreferDouble,
            trailing_comma: false,
            indent_block_sequence_in_map: false,
            brace_spacing: false,
            ..LanguageOptions::default()
        },
    }
}

/// What a text says, to be compared.
#[derive(Debug, PartialEq)]
struct Meaning {
    /// The value of each document; the order of keys says nothing.
    values: Vec<serde_json::Value>,
    /// What is to be said of it, counted, without places and without what quotes mend.
    findings: BTreeMap<(Code, Effect, String, Option<String>), usize>,
    /// The comments, counted.
    comments: BTreeMap<String, usize>,
}

impl Meaning {
    fn of(bytes: &[u8], limits: &Limits) -> Result<Self, Refused> {
        let parsed = document::parse(bytes, limits);
        if parsed.findings.iter().any(|f| f.effect == Effect::Freeze) {
            return Err(Refused::Unreadable(parsed.findings));
        }
        let mut findings = BTreeMap::new();
        for finding in resource::read(bytes, limits).findings {
            if !matches!(finding.code, Code::AmbiguousScalar | Code::AmbiguousKey) {
                let Finding {
                    code,
                    effect,
                    message,
                    help,
                    ..
                } = finding;
                *findings.entry((code, effect, message, help)).or_default() += 1;
            }
        }
        let text = std::str::from_utf8(bytes).map_err(|_| Refused::Uncertain)?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        Ok(Self {
            values: parsed.documents.into_iter().map(|d| d.value).collect(),
            findings,
            comments: comments::count(text).ok_or(Refused::Uncertain)?,
        })
    }
}

#[cfg(test)]
mod tests;
