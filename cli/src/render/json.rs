//! Results for programs. Fields are only ever added as long as the version stays.

use std::io::{self, Write};

use fabric::fabric::Build;
use fabric::report::PlanReport;
use serde::Serialize;
use serde_json::{Value, json};

use super::escape::RUNNER_COMMAND;
use crate::source::Counts;

/// The version of every JSON form.
const FORMAT_VERSION: u32 = 1;

/// Writes what `weft validate` found.
pub(crate) fn write_validation(
    revision: &str,
    build: &Build,
    counts: &Counts,
    out: &mut dyn Write,
) -> io::Result<()> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Validation<'a> {
        format_version: u32,
        revision: &'a str,
        fabric: Option<&'a str>,
        summary: Value,
        diagnostics: &'a [fabric::diagnostic::Diagnostic],
    }
    let validation = Validation {
        format_version: FORMAT_VERSION,
        revision,
        fabric: build.fabric.as_ref().map(|fabric| fabric.name.as_str()),
        summary: json!({
            "files": counts.files,
            "peers": counts.peers,
            "errors": counts.errors,
            "warnings": counts.warnings,
            "notes": counts.notes,
            "frozenPeers": build.frozen,
            "fabricFrozen": build.is_held,
        }),
        diagnostics: &build.diagnostics,
    };
    write(&validation, out)
}

/// Writes what a change does.
pub(crate) fn write_plan(report: &PlanReport, out: &mut dyn Write) -> io::Result<()> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Plan<'a> {
        format_version: u32,
        #[serde(flatten)]
        report: &'a PlanReport,
    }
    let plan = Plan {
        format_version: FORMAT_VERSION,
        report,
    };
    write(&plan, out)
}

/// Writes a value, with the version in front where it is an object.
pub(crate) fn write_versioned(mut value: Value, out: &mut dyn Write) -> io::Result<()> {
    if let Value::Object(fields) = &mut value {
        fields.shift_insert(0, "formatVersion".to_owned(), FORMAT_VERSION.into());
    }
    write(&value, out)
}

/// Writes a value, and nothing that a runner of GitHub would take for a command to it.
pub(crate) fn write(value: &impl Serialize, out: &mut dyn Write) -> io::Result<()> {
    let text = serde_json::to_string_pretty(value)?;
    // Outside of a string a `#` doesn't stand in JSON.
    let text = text.replace(RUNNER_COMMAND, "##\\u005b");
    writeln!(out, "{text}")
}
