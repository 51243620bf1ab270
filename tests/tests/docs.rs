//! The documentation says what the code does.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use fabric::api::FabricSpec;
use fabric::crd::CustomKind;
use serde_json::Value;
use weft_tests::binary::run;
use weft_tests::reference;

#[test]
fn the_table_of_codes_is_up_to_date() {
    let path = reference::diagnostics_path();
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == reference::diagnostics(),
        "run `cargo run -p weft-tests --example diagnostics`"
    );
}

/// The fields that the reference leaves to the rows of `spec.from[]`.
const SAME: &str = "spec.to[].";

#[test]
fn the_reference_lists_every_field_of_every_kind() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let reference = fs::read_to_string(root.join("docs/resources.md")).unwrap();
    let sections: Vec<(&str, BTreeSet<String>)> = reference
        .split("\n## ")
        .skip(1)
        .map(|section| {
            let heading = section.lines().next().unwrap_or_default();
            let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
            // Annotations of ours are no fields of the schema.
            let fields = rows
                .filter_map(|row| row.split_once('`'))
                .filter(|(field, _)| !field.starts_with("metadata."));
            (heading, fields.map(|(field, _)| field.to_owned()).collect())
        })
        .collect();
    let mut count = 0;
    for entry in fs::read_dir(root.join("schemas/crds")).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        let definition: Value = serde_yaml::from_str(&text).unwrap();
        let Some(kind) = definition["spec"]["names"]["kind"].as_str() else {
            continue;
        };
        let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        let mut fields = BTreeSet::new();
        for part in ["spec", "status"] {
            collect(&schema["properties"][part], part, &mut fields);
        }
        fields.retain(|field| !field.starts_with(SAME));
        let section = sections
            .iter()
            .find(|(heading, _)| heading.split(' ').any(|word| word == kind));
        let (_, written) = section.unwrap_or_else(|| panic!("docs/resources.md lacks {kind}"));
        assert_eq!(*written, fields, "{kind} in docs/resources.md");
        count += 1;
    }
    assert_eq!(count, 9, "the kinds");
}

#[test]
fn the_reference_lists_the_columns_of_every_kind() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let reference = fs::read_to_string(root.join("docs/resources.md")).unwrap();
    for kind in CustomKind::ALL {
        let definition: Value = serde_yaml::from_str(kind.text()).unwrap();
        let columns = &definition["spec"]["versions"][0]["additionalPrinterColumns"];
        let (wide, usual): (Vec<_>, Vec<_>) = columns
            .as_array()
            .unwrap()
            .iter()
            .partition(|column| column["priority"].as_u64() > Some(0));
        let names = |columns: Vec<&Value>| {
            let names = columns.iter().map(|column| column["name"].as_str());
            names.map(Option::unwrap).collect::<Vec<_>>().join(", ")
        };
        let more = match wide.is_empty() {
            true => String::new(),
            false => format!("; with `-o wide` {}", names(wide)),
        };
        let line = format!("Columns: {}{more}.", names(usual));
        let section = reference.split("\n## ").find(|section| {
            let heading = section.lines().next().unwrap_or_default();
            heading.split(' ').any(|word| word == kind.as_str())
        });
        let lines = section
            .unwrap()
            .lines()
            .filter(|line| line.starts_with("Columns: "));
        assert_eq!(lines.collect::<Vec<_>>(), [line.as_str()], "{kind:?}");
        let row = format!("`{}` |", kind.short_name());
        assert!(reference.contains(&row), "{row}");
    }
}

/// The defaults of a command's flags, as its help has them.
fn defaults(command: &str) -> BTreeMap<String, Option<String>> {
    let help = run(Path::new("."), &[command, "--help"]);
    let help = String::from_utf8(help.stdout).unwrap();
    let mut defaults = BTreeMap::new();
    let mut flag = None;
    for line in help.lines().map(str::trim) {
        if line.starts_with("--") {
            let name = line.split(' ').next().unwrap_or_default().to_owned();
            // The examples below have them again.
            defaults.entry(name.clone()).or_insert(None);
            flag = Some(name);
        }
        let default = line.strip_prefix("[default: ");
        if let (Some(flag), Some(default)) = (&flag, default) {
            let default = default.trim_end_matches(']').to_owned();
            defaults.insert(flag.clone(), Some(default));
        }
    }
    defaults
}

#[test]
fn the_flags_of_the_configuration_have_the_defaults_that_are_written() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let page = fs::read_to_string(root.join("docs/configuration.md")).unwrap();
    let (_, section) = page.split_once("\n## weft run\n").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let defaults = defaults("run");
    let mut count = 0;
    for line in section.lines().filter(|line| line.starts_with("| `--")) {
        let cells: Vec<_> = line
            .split(" |")
            .map(|cell| cell.trim_matches([' ', '|']))
            .collect();
        let quoted = |cell: &str| -> Vec<String> {
            let parts = cell.split('`').skip(1).step_by(2);
            parts.map(str::to_owned).collect()
        };
        let written = quoted(cells[1]);
        for (at, flag) in quoted(cells[0]).iter().enumerate() {
            let flag = flag.split(' ').next().unwrap();
            let default = defaults.get(flag);
            let default = default.unwrap_or_else(|| panic!("weft run has no {flag}"));
            if let Some(default) = default {
                assert_eq!(
                    written.get(at),
                    Some(default),
                    "{flag} in docs/configuration.md"
                );
                count += 1;
            }
        }
    }
    assert!(count >= 8, "{count} defaults are written");
}

#[test]
fn what_the_comments_of_a_new_fabric_say_are_the_defaults() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../fabric-repo-template/fabric.yaml"
    );
    let written = fs::read_to_string(path).unwrap();
    let mut count = 0;
    let uncommented: Vec<_> = written
        .lines()
        .map(|line| {
            // What is YAML in them: a key, and what it is.
            let Some(rest) = line.strip_prefix("  # ") else {
                return line.replace("spec: {}", "spec:");
            };
            let key = rest.split(':').next().unwrap_or_default().trim_start();
            let is_key = rest.contains(':') && key.chars().all(|c| c.is_ascii_alphabetic());
            count += usize::from(is_key);
            match is_key {
                true => format!("  {rest}"),
                false => line.to_owned(),
            }
        })
        .collect();
    assert!(count > 20, "{count} keys are found");
    let text = uncommented.join("\n");
    let fabric: serde_yaml::Value = serde_yaml::from_str(&text).unwrap();
    let spec: FabricSpec = serde_yaml::from_value(fabric["spec"].clone())
        .unwrap_or_else(|error| panic!("{error}:\n{text}"));
    assert_eq!(spec, FabricSpec::default());
}

#[test]
fn every_link_leads_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut pages = vec![root.join("README.md"), root.join("CONTRIBUTING.md")];
    for folder in ["docs", "docs/adr"] {
        let entries = fs::read_dir(root.join(folder)).unwrap();
        let files = entries.map(|entry| entry.unwrap().path());
        pages.extend(files.filter(|path| path.extension().is_some_and(|ext| ext == "md")));
    }
    let mut broken = Vec::new();
    let mut count = 0;
    for page in &pages {
        let text = fs::read_to_string(page).unwrap();
        let targets = text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split_once(')'));
        for (target, _) in targets.filter(|(target, _)| !target.starts_with("http")) {
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let path = match file {
                "" => page.clone(),
                file => page.parent().unwrap().join(file),
            };
            let is_there = match anchor {
                "" => path.exists(),
                anchor => fs::read_to_string(&path).is_ok_and(|text| has_anchor(&text, anchor)),
            };
            if !is_there {
                broken.push(format!("{}: {target}", page.display()));
            }
            count += 1;
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
    assert!(count > 50, "links are found");
}

/// Whether a page has an anchor: a heading's, or one that is written out.
fn has_anchor(text: &str, anchor: &str) -> bool {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let mut anchors = headings.map(|heading| {
        let words = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = words.chars().filter_map(|c| match c {
            ' ' => Some('-'),
            c => (c.is_alphanumeric() || "-_".contains(c)).then_some(c),
        });
        kept.collect::<String>()
    });
    anchors.any(|found| found == anchor) || text.contains(&format!("<a id=\"{anchor}\">"))
}

/// The fields of a schema that carry something: not the objects that they stand in.
fn collect(schema: &Value, path: &str, fields: &mut BTreeSet<String>) {
    let Some(properties) = schema["properties"].as_object() else {
        if !schema.is_null() {
            fields.insert(path.to_owned());
        }
        return;
    };
    for (name, property) in properties {
        let path = format!("{path}.{name}");
        if name == "conditions" {
            let suffix = if property["type"] == "array" {
                "[]"
            } else {
                ""
            };
            fields.insert(format!("{path}{suffix}"));
        } else if property["type"] == "array" {
            fields.insert(format!("{path}[]"));
            let items = &property["items"];
            if !items["properties"].is_null() {
                collect(items, &format!("{path}[]"), fields);
            }
        } else {
            collect(property, &path, fields);
        }
    }
}
