//! The check of a repository and the server say the same of every object.

use std::fmt::Write as _;

use fabric::api::{self, Object};
use fabric::crd::CustomKind;
use fabric::diagnostic::Effect;
use fabric::document::Limits;
use fabric::resource;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use weft_tests::api_server::ApiServer;

use crate::corpus::{Change, changed, families, mutations};
use crate::server::{self, Verdict};

/// What the longest keys of labels begin with, up to their last ten characters.
const LONGEST_KEY: &str = "example.com/a-key-of-a-label-that-is-as-long-as-keys-may-be------";

/// An object, where it comes from, and what is wanted of both sides; none where only their being
/// equal is.
struct Case {
    name: String,
    object: Value,
    wanted: Option<Wanted>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Accepted,
    Refused,
    RefusedInRepository,
}

fn case(file: &str, good: &Value, change: &Change, wanted: Option<Wanted>) -> Case {
    let change_text = Value::Object(change.clone());
    Case {
        name: format!("{file} {change_text}"),
        object: changed(good, change),
        wanted,
    }
}

/// A namespace for every object of the corpus.
fn server_with_namespaces() -> ApiServer {
    let server = ApiServer::start();
    server.kubectl().run(&["create", "namespace", "shop"]);
    server
}

/// What the check of a repository says of an object by itself.
fn offline(object: &Value) -> Verdict {
    let file = resource::read(object.to_string().as_bytes(), &Limits::default());
    let mut grave = file
        .findings
        .iter()
        .filter(|one| one.effect >= Effect::Fail);
    match (grave.next(), file.resources.first()) {
        (None, Some(resource)) => Ok(serde_json::to_value(&resource.object).unwrap()),
        (Some(finding), _) => Err(format!("{}: {}", finding.code, finding.message)),
        (None, None) => Err("no object".to_owned()),
    }
}

/// Everything that is wrong with the verdicts over some cases, in words.
fn differences(server: &ApiServer, cases: &[Case]) -> String {
    let objects: Vec<_> = cases.iter().map(|case| case.object.clone()).collect();
    let verdicts = server::judge(&server.kubeconfig(), &objects);
    let mut differences = String::new();
    let mut accepted = 0;
    for (case, online) in cases.iter().zip(verdicts) {
        let kind = server::kind(&case.object).unwrap();
        if let Ok(stored) = &online {
            accepted += 1;
            if let Err(error) = decodes(kind, stored)
                && !is_sequence_for_a_time(&error)
            {
                writeln!(
                    differences,
                    "{}: is stored, can't be read: {error}",
                    case.name
                )
                .unwrap();
            }
        }
        let offline = kind.in_repository().map(|_| offline(&case.object));
        let is_right = match (case.wanted, &offline) {
            (None, None) => true,
            (None, Some(offline)) => offline.is_ok() == online.is_ok(),
            (Some(wanted), offline) => {
                let is_accepted = wanted == Wanted::Accepted;
                let may_be_stored = wanted != Wanted::Refused;
                let in_repository = offline
                    .as_ref()
                    .is_none_or(|one| one.is_ok() == is_accepted);
                in_repository && online.is_ok() == may_be_stored
            }
        };
        if !is_right {
            writeln!(differences, "{}", case.name).unwrap();
            writeln!(
                differences,
                "    in a repository: {}",
                words(offline.as_ref())
            )
            .unwrap();
            writeln!(differences, "    by the server:   {}", words(Some(&online))).unwrap();
        }
    }
    println!("{} objects, {accepted} of them accepted", cases.len());
    differences
}

/// The server's library takes a sequence wherever a `format` stands, as for the bytes of a text. Times
/// stand in statuses alone, which nobody but Weft writes.
fn is_sequence_for_a_time(error: &serde_json::Error) -> bool {
    error.to_string() == "invalid type: sequence, expected a timestamp string"
}

fn words(verdict: Option<&Verdict>) -> &str {
    match verdict {
        Some(Ok(_)) => "accepted",
        Some(Err(reason)) => reason,
        None => "not judged",
    }
}

/// Whether what the server stores can be read by those who live on it.
fn decodes(kind: CustomKind, stored: &Value) -> Result<(), serde_json::Error> {
    fn part<T: DeserializeOwned>(value: &Value) -> Result<(), serde_json::Error> {
        T::deserialize(value).map(drop)
    }
    match kind {
        CustomKind::FabricSync => part::<api::FabricSyncSpec>(&stored["spec"]),
        CustomKind::FabricState => part::<api::FabricStateSpec>(&stored["spec"]),
        CustomKind::GatewayReport => match stored.get("status") {
            Some(status) => part::<api::GatewayReportStatus>(status),
            None => Ok(()),
        },
        _ => part::<Object>(stored),
    }
}

#[test]
fn a_repository_and_a_server_refuse_the_same_objects() {
    let mut cases = Vec::new();
    for (file, family) in families() {
        let good = &family.good;
        cases.push(case(&file, good, &Change::new(), Some(Wanted::Accepted)));
        for (changes, wanted) in [
            (&family.accepted, Wanted::Accepted),
            (&family.refused, Wanted::Refused),
            (&family.refused_in_a_repository, Wanted::RefusedInRepository),
        ] {
            let changes = changes.iter();
            cases.extend(changes.map(|change| case(&file, good, change, Some(wanted))));
        }
    }
    assert!(cases.len() >= 100, "{}", cases.len());
    let differences = differences(&server_with_namespaces(), &cases);
    assert!(differences.is_empty(), "{differences}");
}

#[test]
fn a_repository_and_a_server_count_alike() {
    let families = families();
    let good = |name: &str| {
        let family = families.iter().find(|(file, _)| file == name);
        &family.unwrap().1.good
    };
    let mut cases = Vec::new();
    for (count, wanted) in [(64, Wanted::Accepted), (65, Wanted::Refused)] {
        let gateways = vec![json!({ "host": "gateway.example.com", "port": 443 }); count];
        let labels: Map<_, _> = (0..count)
            .map(|n| (format!("{}{n:010}", LONGEST_KEY), "v".repeat(63).into()))
            .collect();
        for (file, pointer, value) in [
            ("peer.yaml", "/spec/gateways", Value::Array(gateways)),
            ("instance.yaml", "/spec/peerLabels", Value::Object(labels)),
        ] {
            let change = Change::from_iter([(pointer.to_owned(), value)]);
            cases.push(case(file, good(file), &change, Some(wanted)));
        }
    }
    let differences = differences(&server_with_namespaces(), &cases);
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
                cases.push(case(&file, &family.good, &change, None));
            }
        }
    }
    let differences = differences(&server_with_namespaces(), &cases);
    assert!(differences.is_empty(), "{differences}");
}
