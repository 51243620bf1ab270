//! `tests/corpus`: each file begins with the findings that it must have, no more and no less,
//! one in a line: `# CODE line:column`, and after it, where each field is gone through, which field
//! of which kind it is.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use fabric::diagnostic::{Code, Effect, Finding};
use fabric::document::Limits;
use fabric::resource::{self, File};
use fabric::tree::{Blob, Text};
use serde_json::Value;

#[expect(
    clippy::disallowed_methods,
    reason = "the library reads no disk, but its tests do"
)]
fn files(directory: &str) -> Vec<(String, String)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/corpus")
        .join(directory);
    let mut files: Vec<_> = directory
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, std::fs::read_to_string(&path).unwrap())
        })
        .collect();
    files.sort();
    files
}

fn read(text: &str) -> File {
    resource::read(text.as_bytes(), &Limits::default())
}

/// The findings that a file says it has.
fn expected(text: &str) -> Vec<String> {
    text.lines()
        .map_while(|line| line.strip_prefix("# WEFT"))
        // What follows is the field that the mistake is in.
        .map(|line| line.splitn(3, ' ').take(2).collect::<Vec<_>>().join(" "))
        .map(|line| format!("WEFT{line}"))
        .collect()
}

/// The findings that it has, in the same form.
fn found(file: &File) -> Vec<String> {
    let mut found: Vec<_> = file.findings.iter().map(place_and_code).collect();
    found.sort();
    found
        .into_iter()
        .map(|(line, column, code)| format!("{code} {line}:{column}"))
        .collect()
}

fn place_and_code(finding: &Finding) -> (u32, u32, Code) {
    let (span, _) = finding.labels[0];
    (span.line, span.column, finding.code)
}

#[test]
fn good_files_are_understood() {
    let files = files("good");
    assert!(files.len() >= 19, "{}", files.len());
    for (name, text) in files {
        let file = read(&text);
        assert_eq!(found(&file), expected(&text), "{name}: {file:#?}");
        let frozen = |finding: &Finding| finding.effect == Effect::Freeze;
        assert!(!file.findings.iter().any(frozen), "{name}");
        let documents = text.matches("\nkind: ").count();
        let lists = text.contains("List\n") || text.ends_with("List\nmetadata:\n");
        assert!(lists || file.resources.len() == documents, "{name}");
    }
}

#[test]
fn bad_files_are_refused_at_the_right_place() {
    let files = files("bad");
    assert!(files.len() >= 300, "{}", files.len());
    let mut wrong = String::new();
    for (name, text) in files {
        let file = read(&text);
        let (found, expected) = (found(&file), expected(&text));
        if found != expected || expected.is_empty() {
            writeln!(wrong, "{name}: found {found:?}, expected {expected:?}").unwrap();
            writeln!(wrong, "{:#?}", file.findings).unwrap();
        }
        let frozen = |finding: &Finding| finding.effect == Effect::Freeze;
        assert!(file.findings.iter().any(frozen), "{name}");
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// Every code that one file can bring forth has a file, but for those that it takes a large or
/// an illegible one for.
#[test]
fn every_code_of_a_single_file_has_its_place() {
    let mut missing: BTreeSet<Code> = Code::ALL
        .iter()
        .copied()
        .filter(|code| code.as_str() < "WEFT0200" && *code != Code::MisplacedKind)
        .collect();
    for (_, text) in files("good").into_iter().chain(files("bad")) {
        for line in expected(&text) {
            let code = line.split(' ').next().unwrap();
            missing.remove(&code.parse().unwrap());
        }
    }
    let object = "kind: Export\n---\n";
    let large = |limits: &Limits, bytes: &[u8]| found(&resource::read(bytes, limits));
    let few = Limits {
        documents: 2,
        nodes: 9,
        ..Limits::default()
    };
    let text = "a: \u{e9}\n".replace('\u{e9}', "X");
    let not_utf8: Vec<u8> = text
        .bytes()
        .map(|byte| if byte == b'X' { 0xe9 } else { byte })
        .collect();
    let long = format!("{}\n", "#".repeat(1 << 20));
    for (limits, bytes, place) in [
        (Limits::default(), not_utf8, "WEFT0001 1:4"),
        (Limits::default(), long.into_bytes(), "WEFT0010 0:0"),
        (few, object.repeat(3).into_bytes(), "WEFT0012 5:1"),
        (
            few,
            b"a: [1, 2, 3, 4, 5, 6, 7, 8]\n".to_vec(),
            "WEFT0016 1:23",
        ),
    ] {
        let found = large(&limits, &bytes);
        assert!(
            found.iter().any(|found| found == place),
            "{place}: {found:?}"
        );
        missing.remove(&place[..8].parse().unwrap());
    }
    assert!(missing.is_empty(), "{missing:?}");
}

/// Every field of every kind, as the schemas have them, has a file in which it is wrong.
#[test]
fn every_field_of_every_kind_has_its_place() {
    let mut gone_through = BTreeSet::new();
    for (name, text) in files("bad") {
        for line in text.lines().map_while(|line| line.strip_prefix("# ")) {
            let [_, place, field] = line.splitn(3, ' ').collect::<Vec<_>>()[..] else {
                continue;
            };
            // It is what it says: the finding stands behind the field's key.
            let line: usize = place.split(':').next().unwrap().parse().unwrap();
            let line = text.lines().nth(line - 1).unwrap();
            let key = field.rsplit('/').next().unwrap();
            assert!(
                key == "*" || line.contains(&format!("{key}:")),
                "{name}: {line}"
            );
            gone_through.insert(field.to_owned());
        }
    }
    let mut fields = BTreeSet::new();
    for kind in [
        "Export",
        "Import",
        "Peer",
        "AccessPolicy",
        "Instance",
        "Fabric",
        "Revocations",
        "Workloads",
        "Invariant",
    ] {
        let schema = schema(kind);
        let mut all = BTreeSet::new();
        properties(&schema, &schema, "", &mut all);
        // Those that all kinds share count once; what only a server writes is WEFT0110.
        let is_shared = |field: &String| !field.starts_with("/spec");
        fields.extend(
            all.into_iter()
                .filter(|field| !is_shared(field))
                .map(|field| format!("{kind}{field}")),
        );
    }
    for field in [
        "apiVersion",
        "metadata",
        "metadata/name",
        "metadata/namespace",
        "metadata/labels",
        "metadata/labels/*",
        "metadata/annotations",
        "metadata/annotations/*",
    ] {
        fields.insert(format!("Export/{field}"));
    }
    assert!(fields.len() >= 97, "{}", fields.len());
    let missing: Vec<_> = fields.difference(&gone_through).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[expect(
    clippy::disallowed_methods,
    reason = "the library reads no disk, but its tests do"
)]
fn schema(kind: &str) -> Value {
    let name = format!("../schemas/{}.json", kind.to_lowercase());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The properties of a schema, as pointers in which `*` stands for any item or key.
fn properties(schema: &Value, root: &Value, at: &str, found: &mut BTreeSet<String>) {
    let schema = match schema["$ref"].as_str() {
        Some(reference) => root.pointer(&reference[1..]).unwrap(),
        None => schema,
    };
    for one_of in ["anyOf", "oneOf", "allOf"] {
        for schema in schema[one_of].as_array().into_iter().flatten() {
            properties(schema, root, at, found);
        }
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let at = format!("{at}/{name}");
        properties(property, root, &at, found);
        found.insert(at);
    }
    if schema["items"].is_object() {
        properties(&schema["items"], root, &format!("{at}/*"), found);
    }
    if schema["additionalProperties"].is_object() {
        found.insert(format!("{at}/*"));
    }
}

/// What was read out of a file and kept is what is read out of it.
#[test]
fn what_is_kept_of_a_file_says_the_same() {
    for (name, text) in files("good").into_iter().chain(files("bad")) {
        let limits = Limits::default();
        let read = Blob::new(text.clone().into_bytes(), limits);
        let file = read.resources();
        let kept = read.to_kept().unwrap();
        let kept_of = |text: &str| {
            let objects = Some(Text::from(kept.objects.clone()));
            let text = Text::from(text.as_bytes().to_vec());
            Blob::from_kept(text, limits, &kept.keys, objects).unwrap()
        };
        // Without the text the objects are those that were kept, and not read anew.
        for blob in [kept_of(""), kept_of(&text)] {
            let again = blob.resources();
            assert_eq!(again.findings, file.findings, "{name}");
            assert_eq!(again.resources.len(), file.resources.len(), "{name}");
            for (again, resource) in again.resources.iter().zip(&file.resources) {
                assert_eq!(again.object, resource.object, "{name}");
                assert_eq!((&again.key, again.line()), (&resource.key, resource.line()));
                if blob.bytes().is_empty() {
                    continue;
                }
                for pointer in [
                    "",
                    "/kind",
                    "/metadata/name",
                    "/spec/sources/0/peer",
                    "/spec/nothing",
                ] {
                    assert_eq!(
                        again.value_span(pointer),
                        resource.value_span(pointer),
                        "{name}"
                    );
                    assert_eq!(
                        again.key_span(pointer),
                        resource.key_span(pointer),
                        "{name}"
                    );
                }
            }
        }
    }
}

#[test]
fn findings_say_what_is_wrong_and_how_to_mend_it() {
    let mut words = String::new();
    for (name, text) in files("bad").into_iter().chain(files("good")) {
        let file = read(&text);
        if file.findings.is_empty() {
            continue;
        }
        writeln!(words, "{name}").unwrap();
        for finding in &file.findings {
            let (line, column, code) = place_and_code(finding);
            writeln!(words, "  {line}:{column} {code}: {}", finding.message).unwrap();
            for (span, _) in finding.labels.iter().skip(1) {
                writeln!(words, "    and {}:{}", span.line, span.column).unwrap();
            }
            if let Some(help) = &finding.help {
                writeln!(words, "    help: {help}").unwrap();
            }
        }
    }
    insta::assert_snapshot!(words);
}

#[test]
fn a_broken_object_takes_no_other_with_it() {
    let (_, text) = files("bad")
        .into_iter()
        .find(|(name, _)| name == "second-document")
        .unwrap();
    let file = read(&text);
    let keys: Vec<_> = file.resources.iter().map(|r| r.key.to_string()).collect();
    assert_eq!(keys, ["Export b/a"]);
}

#[test]
fn objects_of_a_list_know_their_place() {
    let (_, text) = files("good")
        .into_iter()
        .find(|(name, _)| name == "from-a-cluster")
        .unwrap();
    let file = read(&text);
    let places: Vec<_> = file
        .resources
        .iter()
        .map(|resource| {
            let port = resource.value_span("/spec/port");
            let shown = &text[port.start as usize..port.end as usize];
            (resource.key.to_string(), resource.line(), shown)
        })
        .collect();
    assert_eq!(
        places,
        [
            ("Export shop/till".to_owned(), 5, "8080"),
            ("Export yes/ledger".to_owned(), 21, "8081")
        ]
    );
}

#[test]
fn clusterlinks_peer_is_read_as_its_guide_prints_it() {
    let (_, text) = files("good")
        .into_iter()
        .find(|(name, _)| name == "clusterlink-peer")
        .unwrap();
    let file = read(&text);
    assert_eq!(file.findings, []);
    let expected = serde_json::json!({
        "apiVersion": "clusterlink.net/v1alpha1",
        "kind": "Peer",
        "metadata": { "name": "cluster17.us-east", "namespace": "clusterlink-system" },
        "spec": {
            "gateways": [
                { "host": "192.168.0.12", "port": 443 },
                { "host": "192.168.0.17", "port": 443 },
            ],
        },
    });
    let object = serde_json::to_value(&file.resources[0].object).unwrap();
    assert_eq!(object, expected);
}

#[test]
fn a_large_file_of_mistakes_is_a_small_answer() {
    let head = "apiVersion: clusterlink.net/v1alpha1\nkind: Import\n\
                metadata: {name: a, namespace: b}\nspec:\n  port: 80\n  sources:\n";
    for line in ["  - 1\n", "  - 0755\n", "  - {peer: A}\n", "  - {}\n"] {
        let text = format!("{head}{}", line.repeat((1 << 18) / line.len()));
        let file = read(&text);
        assert!(file.resources.is_empty());
        assert!(file.findings.len() <= 4 * 257, "{}", file.findings.len());
        let last = file
            .findings
            .iter()
            .any(|f| f.message.contains("more of this kind"));
        assert!(last, "{line}");
    }
}
