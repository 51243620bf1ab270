//! What `kubectl` shows of each kind, and by which names it finds them.

use std::fmt::Write as _;

use fabric::crd::CustomKind;
use serde::Deserialize as _;
use serde_json::{Value, json};
use weft_tests::api_server::{ApiServer, Kubectl};

/// One object of each kind, with its status.
const OBJECTS: &str = include_str!("columns.yaml");

fn objects() -> Vec<Value> {
    serde_yaml::Deserializer::from_str(OBJECTS)
        .map(|document| Value::deserialize(document).unwrap())
        .collect()
}

/// A server that has them.
fn server() -> ApiServer {
    let server = ApiServer::start();
    let kubectl = server.kubectl();
    kubectl.run(&["create", "namespace", "shop"]);
    kubectl.apply(OBJECTS);
    for object in objects() {
        let kind = crate::server::kind(&object).unwrap();
        if kind.has_status_subresource() {
            let name = object["metadata"]["name"].as_str().unwrap();
            let patch = json!({ "status": object["status"] }).to_string();
            let arguments = [
                "patch",
                "--subresource=status",
                "--type=merge",
                "-p",
                &patch,
            ];
            let namespace = object["metadata"]["namespace"]
                .as_str()
                .unwrap_or("default");
            let resource = resource(kind);
            let which = ["-n", namespace, resource.as_str(), name];
            kubectl.run(&[&arguments[..], &which[..]].concat());
        }
    }
    server
}

fn resource(kind: CustomKind) -> String {
    format!("{}.{}", kind.plural(), kind.group())
}

/// A table with single columns two spaces apart, and with no times that pass.
fn table(kubectl: &Kubectl, arguments: &[&str]) -> String {
    let text = kubectl.run(&[&["get"], arguments].concat());
    let mut table = String::new();
    for line in text.lines() {
        let cells = line
            .split("  ")
            .map(str::trim)
            .filter(|cell| !cell.is_empty());
        let cells = cells.map(|cell| if is_age(cell) { "<age>" } else { cell });
        writeln!(table, "{}", cells.collect::<Vec<_>>().join("  ")).unwrap();
    }
    table
}

/// Whether it is a time as `kubectl` tells it: `5s`, `3m12s`, `2d`, `1y20d`.
fn is_age(cell: &str) -> bool {
    let units = cell.replace(|c: char| c.is_ascii_digit(), "");
    let is_unit = |c| matches!(c, 's' | 'm' | 'h' | 'd' | 'y');
    cell.starts_with(|c: char| c.is_ascii_digit())
        && !units.is_empty()
        && units.chars().all(is_unit)
}

#[test]
fn each_kind_is_shown_in_columns() {
    let server = server();
    let kubectl = server.kubectl();
    let mut text = String::new();
    for kind in CustomKind::ALL {
        let resource = resource(kind);
        for output in [&[][..], &["-o", "wide"][..]] {
            let table = table(&kubectl, &[&["-A", resource.as_str()], output].concat());
            writeln!(text, "$ kubectl get -A {resource} {}", output.join(" ")).unwrap();
            writeln!(text, "{table}").unwrap();
        }
    }
    insta::assert_snapshot!(text);
}

#[test]
fn short_names_and_a_category_find_the_kinds() {
    let server = server();
    let kubectl = server.kubectl();
    let mut all = Vec::new();
    for kind in CustomKind::ALL {
        let names = |name: &str| kubectl.run(&["get", "-A", "-o", "name", name]);
        let found = names(&resource(kind));
        assert_eq!(found.lines().count(), 1, "{found}");
        let singular = kind.as_str().to_lowercase();
        for name in [kind.short_name(), kind.plural(), &singular] {
            assert_eq!(names(name), found, "{name}");
        }
        all.push(found.trim_end().to_owned());
    }
    let weft = kubectl.run(&["get", "weft", "-A", "-o", "name"]);
    let mut weft: Vec<_> = weft.lines().collect();
    weft.sort_unstable();
    all.sort_unstable();
    assert_eq!(weft, all);
}

#[test]
fn every_field_is_explained() {
    let server = crate::server::shared();
    let kubectl = server.kubectl();
    let explained = |path: &str| kubectl.run(&["explain", path]);
    for kind in CustomKind::ALL {
        let parts: &[&str] = match kind {
            CustomKind::FabricState => &["spec"],
            CustomKind::GatewayReport => &["status"],
            _ => &["spec", "status"],
        };
        let text = explained(&resource(kind));
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains(kind.description()), "{text}");
        for part in parts {
            let text = explained(&format!("{}.{part}", resource(kind)));
            assert!(!text.contains("<no description>"), "{text}");
        }
    }
    insta::assert_snapshot!(explained("imports.clusterlink.net.spec"));
}
