//! The forms that reports are written in, by the real binary.

use std::io::Read as _;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::sandbox::Sandbox;

const FORMATS: [&str; 6] = ["text", "json", "sarif", "junit", "github", "markdown"];

/// A fabric in which a commit widens access, and the files on disk have a mistake.
fn changed() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.fabric();
    sandbox.edit(
        "acme/peers/west/access.yaml",
        "        client.clusterlink.net/labels.app: till\n",
        "",
    );
    sandbox.commit("acme", "Let everybody of the shop in");
    sandbox.edit("acme/peers/east/exports.yaml", "port: 8080", "prot: 8080");
    sandbox
}

#[test]
fn every_form_of_a_widening_plan() {
    let sandbox = changed();
    for format in ["github", "markdown", "junit"] {
        let outcome = sandbox.ok("acme", &["plan", "--head", "HEAD", "-o", format]);
        let commits = r"`[0-9a-f]{12}`";
        insta::with_settings!({filters => vec![(commits, "`[commit]`")]}, {
            insta::assert_snapshot!(format!("widening_{format}"), outcome.stdout);
        });
    }
}

#[test]
fn all_forms_at_once() {
    let sandbox = changed();
    for command in ["validate", "plan"] {
        let outputs = FORMATS.map(|format| format!("{format}=out.{format}"));
        let mut arguments = vec![command];
        arguments.extend(outputs.iter().flat_map(|output| ["-o", output]));
        let outcome = sandbox.weft("acme", &arguments);
        assert_eq!((outcome.code, &*outcome.stdout), (1, ""), "{outcome:?}");
        for format in FORMATS {
            let alone = sandbox.weft("acme", &[command, "-o", format]).stdout;
            assert_eq!(
                sandbox.read(&format!("acme/out.{format}")),
                alone,
                "{format}"
            );
            assert!(!alone.is_empty(), "{command} {format}");
        }
    }
    let two = sandbox.weft("acme", &["validate", "-o", "sarif", "-o", "junit"]);
    assert_eq!((two.code, &*two.stdout), (2, ""), "{two:?}");
}

#[test]
fn a_form_that_makes_no_sense_is_wrong_usage() {
    let sandbox = changed();
    let arguments = ["explain", "west/shop", "shop/ledger", "-o", "sarif"];
    let outcome = sandbox.weft("acme", &arguments);
    assert_eq!((outcome.code, &*outcome.stdout), (2, ""));
    let words = "the format sarif makes no sense for this command, which has: text, json";
    assert!(outcome.stderr.contains(words), "{outcome:?}");
}

#[test]
fn a_closed_pipe_changes_nothing_whatever_the_form() {
    let sandbox = changed();
    for command in ["validate", "plan"] {
        for format in FORMATS {
            let mut child = sandbox
                .command("acme", &[command, "-o", format])
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            drop(child.stdout.take());
            let mut said = String::new();
            child
                .stderr
                .take()
                .unwrap()
                .read_to_string(&mut said)
                .unwrap();
            assert_eq!(child.wait().unwrap().code(), Some(1), "{command} {format}");
            assert!(!said.contains("error:"), "{command} {format}: {said}");
        }
    }
}

#[test]
fn a_diagnostic_of_megabytes_stays_small_in_every_form() {
    let sandbox = changed();
    let key = "`k::]]>".repeat(1 << 18);
    let value = "v\\n::error::x ".repeat(1 << 17);
    let text = format!(
        "apiVersion: clusterlink.net/v1alpha1\nkind: Export\nmetadata:\n  name: {key}\n  namespace: shop\n\
         spec:\n  port: 80\n  \"{key}\": 1\n  host: \"{value}\"\n"
    );
    assert!(text.len() > 5 << 20);
    sandbox.write("acme/peers/east/large.yaml", &text);
    for (command, formats) in [
        ("validate", &FORMATS[..]),
        ("plan", &["github", "markdown"]),
    ] {
        for format in formats {
            let arguments = [command, "--max-file-bytes", "20000000", "-o", format];
            let outcome = sandbox.weft("acme", &arguments);
            assert_eq!(outcome.code, 1, "{format}");
            let size = outcome.stdout.len();
            assert!(size < 100_000, "{command} {format} has {size} bytes");
            assert!(outcome.stdout.contains("large.yaml"), "{command} {format}");
        }
    }
}

/// A committed schema that allows nothing but what it knows.
fn strict(command: &str) -> Value {
    let path = format!(
        "{}/../schemas/reports/{command}.json",
        env!("CARGO_MANIFEST_DIR")
    );
    let mut schema: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    tighten(&mut schema);
    schema
}

fn tighten(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            fields.values_mut().for_each(tighten);
            if fields.contains_key("properties") && !fields.contains_key("additionalProperties") {
                fields.insert("additionalProperties".to_owned(), false.into());
            }
        }
        Value::Array(items) => items.iter_mut().for_each(tighten),
        _ => {}
    }
}

#[test]
fn the_json_forms_are_as_their_schemas_say() {
    let sandbox = changed();
    for (command, arguments) in [
        ("validate", &["validate"][..]),
        ("validate", &["validate", "--rev", "HEAD"]),
        ("plan", &["plan"]),
        ("who-can", &["who-can", "shop/ledger", "--rev", "HEAD"]),
        ("who-can", &["who-can", "shop/ledger", "--rev", "HEAD~1"]),
        ("plan", &["plan", "--head", "HEAD"]),
        ("plan", &["plan", "--merge", "HEAD", "HEAD~1"]),
        (
            "explain",
            &[
                "explain",
                "west/shop",
                "shop/ledger",
                "--steps",
                "--rev",
                "HEAD",
            ],
        ),
        (
            "explain",
            &["explain", "west", "shop/ledger", "--rev", "HEAD"],
        ),
    ] {
        let arguments: Vec<_> = arguments.iter().copied().chain(["-o", "json"]).collect();
        let outcome = sandbox.weft("acme", &arguments);
        let report: Value = serde_json::from_str(&outcome.stdout).unwrap();
        let validator = jsonschema::draft202012::new(&strict(command)).unwrap();
        let errors = validator.iter_errors(&report);
        let errors: Vec<_> = errors
            .map(|e| format!("{}: {e}", e.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{arguments:?}: {errors:#?}");
        // A schema that accepts everything would be none.
        for wrong in [json!({}), json!({"formatVersion": 2}), json!([])] {
            assert!(!validator.is_valid(&wrong), "{command}: {wrong}");
        }
    }
}
