//! The check of a repository and the server say the same of every object.

use std::fmt::Write as _;

use fabric::api::{self, Object};
use fabric::crd::CustomKind;
use fabric::diagnostic::Effect;
use fabric::document::Limits;
use fabric::resource;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use weft_tests::api_server::ApiServer;

use crate::corpus::{ABSENT, Change, Family, changed, families, fields, mutations};
use crate::server::{self, Verdict};

/// What the longest keys of labels begin with, up to their last ten characters.
const LONGEST_KEY: &str = "example.com/a-key-of-a-label-that-is-as-long-as-keys-may-be------";

/// An object and what it was made by.
struct Case {
    name: String,
    object: Value,
    /// Whether a repository and a server take it; none where only their saying the same is wanted.
    wanted: Option<(bool, bool)>,
}

fn case(file: &str, family: &Family, change: &Change, wanted: Option<(bool, bool)>) -> Case {
    Case {
        name: format!("{file} {}", Value::Object(change.clone())),
        object: changed(&family.good, change),
        wanted,
    }
}

/// What `weft validate` says of an object by itself; none for kinds that aren't in repositories.
fn in_repository(object: &Value) -> Option<Verdict> {
    server::kind(object)?.in_repository()?;
    let file = resource::read(object.to_string().as_bytes(), &Limits::default());
    let is_grave = |one: &&fabric::diagnostic::Finding| one.effect >= Effect::Fail;
    Some(
        match (file.findings.iter().find(is_grave), file.resources.first()) {
            (None, Some(resource)) => Ok(serde_json::to_value(&resource.object).unwrap()),
            (Some(finding), _) => Err(format!("{}: {}", finding.code, finding.message)),
            (None, None) => Err("no object".to_owned()),
        },
    )
}

/// Everything that is wrong with the verdicts over some cases, in words.
fn differences(server: &ApiServer, cases: &[Case]) -> String {
    let objects: Vec<_> = cases.iter().map(|case| case.object.clone()).collect();
    let verdicts = server::judge(&server.kubeconfig(), &objects);
    let mut differences = String::new();
    let mut accepted = 0;
    for (case, online) in cases.iter().zip(verdicts) {
        let offline = in_repository(&case.object);
        let is_right = match (case.wanted, &offline) {
            (None, None) => true,
            (None, Some(offline)) => offline.is_ok() == online.is_ok(),
            (Some((_, wanted)), None) => online.is_ok() == wanted,
            (Some(wanted), Some(offline)) => (offline.is_ok(), online.is_ok()) == wanted,
        };
        if !is_right {
            let offline = offline.as_ref().map_or("not judged", words);
            writeln!(differences, "{}", case.name).unwrap();
            writeln!(differences, "    in a repository: {offline}").unwrap();
            writeln!(differences, "    by the server:   {}", words(&online)).unwrap();
        }
        if let Ok(stored) = online {
            accepted += 1;
            if let Err(error) = check_meaning(&case.object, &stored) {
                writeln!(differences, "{}\n    stored, but {error}", case.name).unwrap();
            }
        }
    }
    println!("{} objects, {accepted} of them accepted", cases.len());
    differences
}

fn words(verdict: &Verdict) -> &str {
    match verdict {
        Ok(_) => "accepted",
        Err(reason) => reason,
    }
}

/// Whether what the server stores, with its defaults, means to its readers what was sent.
fn check_meaning(sent: &Value, stored: &Value) -> Result<(), String> {
    let kind = server::kind(sent).unwrap();
    let stored = match meaning(kind, stored) {
        Ok(meaning) => meaning,
        // The server's library takes a sequence wherever a `format` stands, as for the bytes of a
        // text. Times stand in statuses alone, which nobody but Weft writes.
        Err(error) if error.ends_with("sequence, expected a timestamp string") => return Ok(()),
        Err(error) => return Err(format!("it can't be read: {error}")),
    };
    match meaning(kind, sent) {
        Ok(sent) if sent != stored => Err(format!("it means {stored}, and {sent} was sent")),
        // A null is nothing to the server alone.
        _ => Ok(()),
    }
}

/// What is read of an object beside its metadata.
fn meaning(kind: CustomKind, object: &Value) -> Result<Value, String> {
    fn of<T: Serialize + DeserializeOwned>(value: &Value) -> Result<Value, serde_json::Error> {
        serde_json::to_value(T::deserialize(value)?)
    }
    let meaning = match kind {
        CustomKind::FabricSync => of::<api::FabricSyncSpec>(&object["spec"]),
        CustomKind::FabricState => of::<api::FabricStateSpec>(&object["spec"]),
        CustomKind::GatewayReport => {
            let status = object.get("status").cloned();
            of::<api::GatewayReportStatus>(&status.unwrap_or_else(|| json!({})))
        }
        // Of the metadata, only what every object has.
        _ => {
            let mut object = object.clone();
            object["metadata"] = json!({ "name": "any" });
            of::<Object>(&object)
        }
    };
    meaning.map_err(|error| error.to_string())
}

/// As many gateways and labels as there may be, and one more.
fn counts(families: &[(String, Family)]) -> Vec<Case> {
    let mut cases = Vec::new();
    for (count, is_accepted) in [(64, true), (65, false)] {
        let gateways = vec![json!({ "host": "gateway.example.com", "port": 443 }); count];
        let labels: Map<_, _> = (0..count)
            .map(|n| (format!("{LONGEST_KEY}{n:010}"), "v".repeat(63).into()))
            .collect();
        let labels = Value::Object(labels);
        for (name, pointer, value) in [
            ("peer.yaml", "/spec/gateways", Value::Array(gateways)),
            ("instance.yaml", "/spec/peerLabels", labels.clone()),
            ("instance.yaml", "/spec/ingress/annotations", labels),
        ] {
            let (file, family) = families.iter().find(|(file, _)| file == name).unwrap();
            let change = Change::from_iter([(pointer.to_owned(), value)]);
            let mut case = case(file, family, &change, Some((is_accepted, is_accepted)));
            case.name = format!("{name} {pointer}: {count}");
            cases.push(case);
        }
    }
    cases
}

#[test]
fn a_repository_and_a_server_refuse_the_same_objects() {
    let families = families();
    let mut cases = counts(&families);
    for (file, family) in &families {
        let unchanged = [Change::new()];
        for (changes, wanted) in [
            (&unchanged[..], (true, true)),
            (&family.accepted, (true, true)),
            (&family.refused, (false, false)),
            (&family.refused_in_a_repository, (false, true)),
            (&family.refused_by_a_server, (true, false)),
        ] {
            let changes = changes.iter();
            cases.extend(changes.map(|change| case(file, family, change, Some(wanted))));
        }
    }
    assert!(cases.len() >= 400, "{}", cases.len());
    let differences = differences(&server::shared(), &cases);
    assert!(differences.is_empty(), "{differences}");
}

#[test]
fn a_repository_and_a_server_agree_on_every_small_mistake() {
    let mut cases = Vec::new();
    for (file, family) in families() {
        for change in mutations(&family.good) {
            // Where the object belongs stands in the address, which kubectl makes out of these.
            let address = ["/apiVersion", "/kind", "/metadata/namespace"];
            if !address.iter().any(|part| change.contains_key(*part)) {
                cases.push(case(&file, &family, &change, None));
            }
        }
    }
    assert!(cases.len() >= 1000, "{}", cases.len());
    let differences = differences(&server::shared(), &cases);
    assert!(differences.is_empty(), "{differences}");
}

#[test]
fn a_null_is_refused_in_a_repository_and_nothing_to_a_server() {
    let mut names = Vec::new();
    let mut nulls = Vec::new();
    let mut absents = Vec::new();
    for (file, family) in families() {
        for pointer in fields(&family.good) {
            let one = |value: Value| Change::from_iter([(pointer.clone(), value)]);
            names.push(format!("{file} {pointer}"));
            nulls.push(changed(&family.good, &one(Value::Null)));
            absents.push(changed(&family.good, &one(ABSENT.into())));
        }
    }
    let server = server::shared();
    let of_null = server::judge(&server.kubeconfig(), &nulls);
    let of_absent = server::judge(&server.kubeconfig(), &absents);
    let mut differences = String::new();
    for (index, name) in names.iter().enumerate() {
        let (null, absent) = (&of_null[index], &of_absent[index]);
        let spec = |verdict: &Verdict| verdict.as_ref().ok().map(|stored| stored["spec"].clone());
        if spec(null) != spec(absent) {
            let (null, absent) = (words(null), words(absent));
            writeln!(
                differences,
                "{name}\n    null: {null}\n    absent: {absent}"
            )
            .unwrap();
        }
        if in_repository(&nulls[index]).is_some_and(|verdict| verdict.is_ok()) {
            writeln!(differences, "{name}: a repository takes a null").unwrap();
        }
    }
    assert!(differences.is_empty(), "{differences}");
}
