//! A status and the rest of an object are written apart.

use fabric::crd::CustomKind;
use serde_json::{Value, json};
use weft_tests::api_server::{ApiServer, Kubectl};

use crate::corpus::families;

const TIME: &str = "2026-01-01T00:00:00Z";

fn path(kind: CustomKind, object: &Value) -> String {
    let (group, version, plural) = (kind.group(), kind.version(), kind.plural());
    let name = object["metadata"]["name"].as_str().unwrap();
    match object["metadata"]["namespace"].as_str() {
        Some(namespace) => {
            format!("/apis/{group}/{version}/namespaces/{namespace}/{plural}/{name}")
        }
        None => format!("/apis/{group}/{version}/{plural}/{name}"),
    }
}

fn put(kubectl: &Kubectl, path: &str, object: &Value) -> Result<Value, String> {
    let answer = kubectl.try_run(&["replace", "--raw", path, "-f", "-"], &object.to_string());
    answer.map(|text| serde_json::from_str(&text).unwrap())
}

/// A status that differs from none.
fn status(kind: CustomKind) -> Value {
    let condition = |kind: &str| {
        json!({
            "type": kind, "status": "True", "reason": "Because", "message": "",
            "lastTransitionTime": TIME,
        })
    };
    match kind {
        CustomKind::Instance => json!({
            "dataplane": { "conditions": { "DeploymentReady": condition("DeploymentReady") } },
        }),
        _ => json!({ "conditions": [condition("Accepted"), condition("Ready")] }),
    }
}

#[test]
fn neither_a_put_of_the_object_changes_its_status_nor_the_reverse() {
    let server = ApiServer::start();
    let kubectl = server.kubectl();
    kubectl.run(&["create", "namespace", "shop"]);
    let families = families();
    let goods = families.iter().map(|(_, family)| &family.good);
    let mut kinds = 0;
    for good in goods {
        let kind = crate::server::kind(good).unwrap();
        if !kind.has_status_subresource() {
            continue;
        }
        kinds += 1;
        let path = path(kind, good);
        let status_path = format!("{path}/status");
        // A status that comes with a new object is dropped.
        let mut object = good.clone();
        object["status"] = status(kind);
        kubectl.apply(&object.to_string());
        let read =
            || -> Value { serde_json::from_str(&kubectl.run(&["get", "--raw", &path])).unwrap() };
        let made = read();
        let conditions = |object: &Value| match kind {
            CustomKind::Instance => object["status"]["dataplane"]["conditions"].clone(),
            _ => object["status"]["conditions"].clone(),
        };
        assert_eq!(conditions(&made), Value::Null, "{made:#}");

        // By the status alone: neither spec, nor labels, nor the generation.
        let mut by_status = made.clone();
        by_status["status"] = status(kind);
        by_status["metadata"]["labels"] = json!({ "by": "status" });
        by_status["spec"] = spec_of_another(good);
        let with_status = put(&kubectl, &status_path, &by_status).unwrap();
        assert_eq!(with_status["spec"], made["spec"]);
        assert_eq!(
            with_status["metadata"]["labels"],
            made["metadata"]["labels"]
        );
        assert_eq!(with_status["metadata"]["generation"], 1);
        assert_eq!(conditions(&with_status), conditions(&object));

        // By the object: everything but the status.
        let mut by_object = with_status.clone();
        by_object["status"] = json!({});
        by_object["metadata"]["labels"] = json!({ "by": "object" });
        by_object["spec"] = spec_of_another(good);
        let changed = put(&kubectl, &path, &by_object).unwrap();
        assert_eq!(changed["status"], with_status["status"]);
        assert_eq!(changed["metadata"]["labels"]["by"], "object");
        assert_eq!(changed["metadata"]["generation"], 2);
        assert_ne!(changed["spec"], made["spec"]);
        assert_eq!(read(), changed);
    }
    assert_eq!(kinds, 7);
}

/// A good spec that isn't the one of the corpus's object.
fn spec_of_another(good: &Value) -> Value {
    let mut spec = good["spec"].clone();
    for (field, value) in [
        ("/port", json!(9)),
        ("/gateways", json!([])),
        ("/action", json!("deny")),
        ("/tag", json!("another")),
        ("/ref", json!("another")),
    ] {
        if let Some(place) = spec.pointer_mut(field) {
            *place = value;
        }
    }
    assert_ne!(spec, good["spec"], "{good:#}");
    spec
}

#[test]
fn a_status_holds_each_condition_once_and_only_whole() {
    let server = ApiServer::start();
    let kubectl = server.kubectl();
    kubectl.run(&["create", "namespace", "shop"]);
    let families = families();
    let (_, family) = families
        .iter()
        .find(|(file, _)| file == "export.yaml")
        .unwrap();
    let good = &family.good;
    kubectl.apply(&good.to_string());
    let status_path = format!("{}/status", path(CustomKind::Export, good));
    let one = json!({
        "type": "ExportValid", "status": "True", "reason": "Verified", "message": "",
        "lastTransitionTime": TIME, "observedGeneration": 1,
    });
    let with = |field: &str, value: Value| {
        let mut condition = one.clone();
        condition[field] = value;
        json!([condition])
    };
    let without = |field: &str| {
        let mut condition = one.clone();
        condition.as_object_mut().unwrap().remove(field);
        json!([condition])
    };
    let refused = [
        json!([one, one]),
        with("status", json!("true")),
        with("status", json!(true)),
        with("reason", json!("")),
        with("type", json!("")),
        with("type", json!("x".repeat(317))),
        with("lastTransitionTime", json!("yesterday")),
        with("observedGeneration", json!("1")),
        with("message", json!("x".repeat(32_769))),
        without("type"),
        without("status"),
        without("reason"),
        without("message"),
        without("lastTransitionTime"),
        json!({}),
    ];
    let status_of = |conditions: &Value| {
        let mut object = kubectl
            .find(&["export", "-n", "shop", "till"])
            .expect("it was applied");
        object["status"] = json!({ "conditions": conditions });
        put(&kubectl, &status_path, &object)
    };
    for conditions in refused {
        let answer = status_of(&conditions);
        assert!(answer.is_err(), "{conditions:#}");
    }
    for conditions in [
        json!([]),
        json!([one]),
        with("message", json!("x".repeat(32_768))),
        without("observedGeneration"),
    ] {
        status_of(&conditions).unwrap_or_else(|error| panic!("{conditions:#}: {error}"));
    }
}
