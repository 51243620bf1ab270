//! SARIF 2.1.0, for services that keep the findings of analyses, as far as they read it.
//!
//! The types hold what is written and nothing else. (serde-sarif has types for the whole format; it
//! makes them while it is built, with a second copy of the tools that everybody else makes code with.)

mod log;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use fabric::diagnostic::short;
use fabric::digest::Digest;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use self::log::{
    ArtifactChange, ArtifactLocation, BaseId, Configuration, Description, Driver, Fix, Invocation,
    Location, Log, Notification, PhysicalLocation, RegionShown, RelatedLocation, Replaced,
    Reporting, Result, Run, Text, Tool,
};
use super::remark::{Level, Place, Remark, Rule};
use super::{count, json};

/// GitHub refuses a file with more results in a run.
const RESULTS: usize = 25_000;

/// GitHub refuses a file of more than 10 MB when it is compressed. What stands in every result
/// compresses well; what others wrote may not compress at all, so this much of it is kept.
const TEXT_BYTES: usize = 8_000_000;

/// GitHub shows no more places of a result.
const RELATED: usize = 100;

/// By what relative paths are resolved, as services call it.
const ROOT: &str = "%SRCROOT%";

/// The address of the project, where there is one; pages of the guide are told from there.
const REPOSITORY: &str = env!("CARGO_PKG_REPOSITORY");

/// Writes the remarks of a command as one run.
pub(crate) fn write(command: &str, remarks: &[Remark], out: &mut dyn Write) -> io::Result<()> {
    json::write(&log(command, remarks), out)
}

fn log(command: &str, remarks: &[Remark]) -> Log {
    let mut sorted: Vec<_> = remarks.iter().collect();
    sorted.sort_by(|a, b| a.importance().cmp(&b.importance()));
    let kept = sorted.iter().take(RESULTS);
    let mut bytes = 0;
    let kept = kept.take_while(|remark| {
        bytes += text_bytes(remark);
        bytes <= TEXT_BYTES
    });
    let kept: Vec<_> = kept.copied().collect();
    let rules: BTreeSet<Rule> = kept.iter().map(|remark| remark.rule).collect();
    let indices: BTreeMap<&str, usize> = rules
        .iter()
        .enumerate()
        .map(|(index, rule)| (rule.id, index))
        .collect();
    let mut seen = BTreeMap::new();
    let results = kept.iter().map(|remark| {
        let index = indices.get(remark.rule.id).copied().unwrap_or(0);
        result(remark, index, &mut seen)
    });
    let results = results.collect();
    let left_out = sorted.len() - kept.len();
    Log {
        schema: "https://json.schemastore.org/sarif-2.1.0.json",
        version: "2.1.0",
        runs: [Run {
            tool: Tool {
                driver: Driver {
                    name: "weft",
                    semantic_version: env!("CARGO_PKG_VERSION"),
                    information_uri: (!REPOSITORY.is_empty()).then_some(REPOSITORY),
                    rules: rules.iter().map(reporting).collect(),
                },
            },
            automation_details: Description {
                id: format!("weft/{command}/"),
            },
            original_uri_base_ids: BTreeMap::from([(
                ROOT,
                BaseId {
                    description: Text::new("the top of the repository"),
                },
            )]),
            column_kind: "unicodeCodePoints",
            invocations: [Invocation {
                execution_successful: true,
                tool_execution_notifications: notifications(left_out),
            }],
            results,
        }],
    }
}

/// A note where something was left out.
fn notifications(left_out: usize) -> Vec<Notification> {
    let note = |number| Notification {
        level: Level::Warning.word(),
        message: Text::new(format!(
            "{} left out, the least important: services refuse larger files",
            match number {
                1 => "1 result was".to_owned(),
                _ => format!("{} were", count(number, "result")),
            }
        )),
    };
    (left_out > 0).then(|| note(left_out)).into_iter().collect()
}

/// How much text of others a remark has.
fn text_bytes(remark: &Remark) -> usize {
    let notes: usize = remark.notes.iter().map(String::len).sum();
    let related = remark.related.iter().take(RELATED);
    let related: usize = related
        .map(|(place, text)| place.path.len() * 2 + text.len())
        .sum();
    let fix: usize = remark.fix.iter().map(|fix| fix.text.len()).sum();
    remark.message.len() + remark.place.path.len() + notes + related + fix
}

fn reporting(rule: &Rule) -> Reporting {
    Reporting {
        id: rule.id,
        short_description: Text::new(rule.title),
        full_description: Text::new(rule.explanation),
        help: Text::new(rule.explanation),
        help_uri: (!REPOSITORY.is_empty()).then(|| {
            let anchor = rule.id.to_ascii_lowercase();
            format!("{REPOSITORY}/blob/main/docs/diagnostics.md#{anchor}")
        }),
        default_configuration: Configuration {
            level: rule.level.word(),
        },
    }
}

/// The result that a remark is; `seen` counts those that nothing else tells apart.
fn result(remark: &Remark, rule_index: usize, seen: &mut BTreeMap<String, usize>) -> Result {
    let related = remark.related.iter().take(RELATED).zip(1..);
    let related: Vec<_> = related
        .map(|((place, text), id)| RelatedLocation {
            id,
            physical_location: physical(place),
            message: (!text.is_empty()).then(|| Text::new(plain(text))),
        })
        .collect();
    let mut lines = vec![plain(&remark.message)];
    lines.extend(remark.notes.iter().map(|note| plain(note)));
    // A service shows the related places that the message links to.
    lines.extend(
        remark
            .related
            .iter()
            .zip(&related)
            .map(|((place, text), location)| {
                let id = location.id;
                // Brackets would end the link's text.
                let shown = place.shown().replace(['[', ']', '\\'], "_");
                match text.is_empty() {
                    true => format!("see [{shown}]({id})"),
                    false => format!("[{shown}]({id}): {}", plain(text)),
                }
            }),
    );
    Result {
        rule_id: remark.rule.id,
        rule_index,
        level: remark.level.word(),
        message: Text::new(lines.join("\n")),
        locations: [Location {
            physical_location: physical(&remark.place),
        }],
        related_locations: related,
        partial_fingerprints: BTreeMap::from([("weftPlace/v1", fingerprint(remark, seen))]),
        fixes: fix(remark).into_iter().collect(),
    }
}

/// What `weft validate --fix` does about it.
fn fix(remark: &Remark) -> Option<Fix> {
    let replacements = remark.fix.iter().map(|replacement| Replaced {
        deleted_region: RegionShown {
            start_line: replacement.region.line,
            start_column: Some(replacement.region.column),
            end_line: Some(replacement.region.end_line),
            end_column: Some(replacement.region.end_column),
        },
        inserted_content: (!replacement.text.is_empty())
            .then(|| Text::new(replacement.text.clone())),
    });
    (!remark.fix.is_empty()).then(|| Fix {
        description: Text::new("what `weft validate --fix` does"),
        artifact_changes: [ArtifactChange {
            artifact_location: ArtifactLocation {
                uri: uri(&remark.place.path),
                uri_base_id: ROOT,
            },
            replacements: replacements.collect(),
        }],
    })
}

/// Text in which nothing is a link.
fn plain(text: &str) -> String {
    super::escape::text(text).replace("](", "] (")
}

fn physical(place: &Place) -> PhysicalLocation {
    PhysicalLocation {
        artifact_location: ArtifactLocation {
            uri: uri(&place.path),
            uri_base_id: ROOT,
        },
        // A place without a line is refused.
        region: match place.region {
            None => RegionShown {
                start_line: 1,
                ..RegionShown::default()
            },
            Some(region) if region.is_empty() => RegionShown {
                start_line: region.line.max(1),
                ..RegionShown::default()
            },
            Some(region) => RegionShown {
                start_line: region.line.max(1),
                start_column: Some(region.column.max(1)),
                end_line: Some(region.end_line.max(1)),
                end_column: Some(region.end_column.max(1)),
            },
        },
    }
}

/// The path as a relative reference (RFC 3986).
fn uri(path: &str) -> String {
    // What means nothing in a path, so that nothing else is told than a path.
    const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
        .remove(b'/')
        .remove(b'-')
        .remove(b'.')
        .remove(b'_')
        .remove(b'~');
    // Longer ones aren't paths of any file on a disk.
    const LONGEST: usize = 4096;
    let path = match path.len() > LONGEST {
        true => short(path.to_owned()),
        false => path.to_owned(),
    };
    let uri = utf8_percent_encode(&path, ESCAPED).to_string();
    match uri.strip_prefix('/') {
        // A slash in front would name a host, or the root of the disk.
        Some(rest) => format!("%2F{rest}"),
        None => uri,
    }
}

/// What a result is known by when lines move: the rule, the file, and the text of the line.
fn fingerprint(remark: &Remark, seen: &mut BTreeMap<String, usize>) -> String {
    let line = remark.line.as_deref().unwrap_or_default();
    let parts = [remark.rule.id, &*remark.place.path, line];
    // Each with its length, so that no two lists of parts are the same text.
    let parts = parts.map(|part| format!("{}:{part}", part.len()));
    let digest = Digest::of_bytes(parts.concat().as_bytes()).to_string();
    // As many digits as keep ten thousand results apart.
    let digest: String = digest
        .chars()
        .filter(char::is_ascii_hexdigit)
        .take(32)
        .collect();
    let number = seen.entry(digest.clone()).or_insert(0);
    *number += 1;
    format!("{digest}:{number}")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use fabric::diagnostic::{Code, Diagnostic, Edit, Fix, Span};
    use fabric::origin::Revision;
    use fabric::tree::{Blob, Limits, Tree};
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::render::sample;

    fn written(remarks: &[Remark]) -> Value {
        let mut out = Vec::new();
        write("validate", remarks, &mut out).unwrap();
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn paths_are_relative_references() {
        for (path, wanted) in [
            ("peers/east/exports.yaml", "peers/east/exports.yaml"),
            (
                "peers/a b\n/ü:%0A.yaml",
                "peers/a%20b%0A/%C3%BC%3A%250A.yaml",
            ),
            ("//host/x", "%2F/host/x"),
            ("c:/x?y#z", "c%3A/x%3Fy%23z"),
        ] {
            assert_eq!(uri(path), wanted);
        }
    }

    #[test]
    fn a_fingerprint_outlives_moves_and_tells_twins_apart() {
        let mut remark = sample::remark("wrong");
        remark.line = Some("portt: 80".to_owned());
        let prints = |remarks: &[Remark]| -> Vec<String> {
            let results = written(remarks)["runs"][0]["results"].take();
            let prints = results.as_array().unwrap().iter();
            let prints = prints.map(|result| result["partialFingerprints"]["weftPlace/v1"].clone());
            prints
                .map(|print| print.as_str().unwrap().to_owned())
                .collect()
        };
        let first = prints(&[remark.clone(), remark.clone()]);
        assert_ne!(first[0], first[1]);
        let mut moved = remark.clone();
        moved.place = Place::line(&moved.place.path, 99);
        assert_eq!(prints(&[moved])[0], first[0]);
        remark.line = Some("portt: 81".to_owned());
        assert_ne!(prints(&[remark])[0], first[0]);
    }

    /// A tool that applies a fix has to come to what `--fix` comes to.
    #[test]
    fn a_fix_is_told_by_lines_and_columns() {
        let text = "metadata:\n  größe: 1\n  uid: x\nspec: {}\n";
        let blob = Blob::new(
            text.as_bytes().to_vec(),
            fabric::document::Limits::default(),
        );
        let path = "peers/east/exports.yaml".into();
        let mut builder = Tree::builder(Revision::working_tree(), Limits::default());
        builder.add(b"peers/east/exports.yaml", Arc::new(blob));
        let tree = builder.finish();
        let span = |part: &str, line, column| {
            let start = u32::try_from(text.find(part).unwrap()).unwrap();
            let end = start + u32::try_from(part.len()).unwrap();
            Span {
                start,
                end,
                line,
                column,
            }
        };
        let edit = |span, replacement: &str| Edit {
            span,
            replacement: replacement.to_owned(),
        };
        let place = span("1", 2, 10);
        let insertion = Span {
            end: place.start,
            ..place
        };
        let edits = vec![edit(insertion, "\""), edit(span("  uid: x\n", 3, 1), "")];
        let mut diagnostic = Diagnostic::new(Code::WrongType, &path, place, "x");
        diagnostic.fix = Some(Fix { edits });
        let log = written(&[Remark::of(&diagnostic, &tree)]);
        let change = &log["runs"][0]["results"][0]["fixes"][0]["artifactChanges"][0];
        assert_eq!(change["artifactLocation"]["uri"], "peers/east/exports.yaml");
        let region = |line, column, end_line, end_column| {
            serde_json::json!({
                "startLine": line, "startColumn": column,
                "endLine": end_line, "endColumn": end_column,
            })
        };
        assert_eq!(
            change["replacements"],
            serde_json::json!([
                {"deletedRegion": region(2, 10, 2, 10), "insertedContent": {"text": "\""}},
                {"deletedRegion": region(3, 1, 4, 1)},
            ])
        );
    }

    #[test]
    fn what_is_too_much_is_left_out_and_that_is_said() {
        let run = |remarks: &[Remark]| written(remarks)["runs"][0].take();
        let few = run(&[sample::remark("wrong")]);
        assert_eq!(
            few["invocations"][0].get("toolExecutionNotifications"),
            None
        );

        let mut many = vec![sample::remark("wrong"); RESULTS + 7];
        for remark in many.iter_mut().take(9) {
            remark.level = Level::Note;
        }
        let run_of_many = run(&many);
        assert_eq!(run_of_many["results"].as_array().unwrap().len(), RESULTS);
        let note =
            &run_of_many["invocations"][0]["toolExecutionNotifications"][0]["message"]["text"];
        assert!(
            note.as_str()
                .unwrap()
                .starts_with("7 results were left out"),
            "{note}"
        );
        // The least important ones are what was left out.
        let notes = run_of_many["results"].as_array().unwrap().iter();
        assert_eq!(notes.filter(|result| result["level"] == "note").count(), 2);

        let mut large = sample::remark(&"x".repeat(900));
        large.notes = vec!["y".repeat(900); 10];
        let count = run(&vec![large; 1_000])["results"]
            .as_array()
            .unwrap()
            .len();
        assert_eq!(
            count,
            TEXT_BYTES / (900 + 9_000 + "peers/east/exports.yaml".len())
        );
    }

    proptest! {
        #![proptest_config(sample::config())]

        #[test]
        fn hostile_text_is_a_text(remark in sample::hostile_remark()) {
            let log = written(std::slice::from_ref(&remark));
            let result = &log["runs"][0]["results"][0];
            let message = result["message"]["text"].as_str().unwrap();
            // Every link of the message is ours.
            let links = message.matches("](").count();
            prop_assert_eq!(links, remark.related.len());
            let location = &result["locations"][0]["physicalLocation"];
            let uri = location["artifactLocation"]["uri"].as_str().unwrap();
            let decoded = percent_encoding::percent_decode_str(uri).decode_utf8().unwrap();
            prop_assert_eq!(&*decoded, &*remark.place.path);
            let is_allowed = |c: char| c.is_ascii_alphanumeric() || "/-._~%".contains(c);
            prop_assert!(uri.chars().all(is_allowed) && !uri.starts_with('/'), "{}", uri);
            prop_assert!(location["region"]["startLine"].as_u64() >= Some(1));
        }
    }
}
