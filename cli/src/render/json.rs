//! Results for programs. Fields are only ever added as long as the version stays.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::sync::Arc;

use fabric::diagnostic::Diagnostic;
use fabric::fabric::Build;
use fabric::origin::Revision;
use schemars::JsonSchema;
use serde::Serialize;

use super::escape::RUNNER_COMMAND;
use crate::source::Counts;

/// The version of every JSON form.
pub(crate) const FORMAT_VERSION: u32 = 1;

/// A result, with the version of its form in front.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Versioned<T> {
    format_version: u32,
    #[serde(flatten)]
    result: T,
}

/// What `weft validate` found.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Validation<'a> {
    /// What was checked: a commit's id, or `working-tree`.
    revision: &'a Revision,
    /// The fabric's name; none where its file can't be understood.
    fabric: Option<&'a str>,
    /// How much was looked at, and found.
    summary: Summary<'a>,
    /// All that is reported, in the order of the places.
    diagnostics: &'a [Diagnostic],
}

/// How much was looked at, and found.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Summary<'a> {
    /// Files of the fabric.
    files: usize,
    /// Peers in force.
    peers: usize,
    /// Diagnostics that fail the check.
    errors: usize,
    /// Warnings.
    warnings: usize,
    /// Notes.
    notes: usize,
    /// The directories of peers that stay at their last good state.
    frozen_peers: &'a BTreeSet<Arc<str>>,
    /// Whether the whole fabric stays at its last good state.
    fabric_frozen: bool,
}

/// Writes what `weft validate` found.
pub(crate) fn write_validation(
    revision: &Revision,
    build: &Build,
    counts: &Counts,
    out: &mut dyn Write,
) -> io::Result<()> {
    let validation = Validation {
        revision,
        fabric: build.fabric.as_ref().map(|fabric| fabric.name.as_str()),
        summary: Summary {
            files: counts.files,
            peers: counts.peers,
            errors: counts.errors,
            warnings: counts.warnings,
            notes: counts.notes,
            frozen_peers: &build.frozen,
            fabric_frozen: build.is_held,
        },
        diagnostics: &build.diagnostics,
    };
    write_versioned(&validation, out)
}

/// Writes a result, with the version in front.
pub(crate) fn write_versioned(result: impl Serialize, out: &mut dyn Write) -> io::Result<()> {
    let versioned = Versioned {
        format_version: FORMAT_VERSION,
        result,
    };
    write(&versioned, out)
}

/// Writes a value, and nothing that a runner of GitHub would take for a command to it.
pub(crate) fn write(value: &impl Serialize, out: &mut dyn Write) -> io::Result<()> {
    let text = serde_json::to_string_pretty(value)?;
    // Outside of a string a `#` doesn't stand in JSON.
    let text = text.replace(RUNNER_COMMAND, "##\\u005b");
    writeln!(out, "{text}")
}
